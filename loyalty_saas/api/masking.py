"""
What of a call may be kept in the shop's log: fields by allow-list, everything else masked.

A field that nobody thought of is masked; a value that looks like an address or a phone number is masked wherever it
stands. Values keep their place, so that the shape of a body can be seen and replayed.
"""

import json
import re
from typing import Any, Final
from urllib.parse import parse_qsl, quote
from uuid import UUID

MASK: Final = "•••"
MORE: Final = "…"
MOST_BYTES: Final = 4096
# Long lists are cut: a body may have 500 lines, and nobody reads them.
MOST_IN_LIST: Final = 20
MOST_VALUES: Final = 400

# Figures, dates, switches and words of ours: numbers, true, false, null and short plain words are shown.
_PLAIN: Final = frozenset({
    "account_id", "active", "amount", "at", "available", "available_at", "balance", "balances", "basis", "before",
    "category", "channel", "consents", "credit", "credits", "currency", "day", "debt", "decimals", "discount",
    "earned", "earning", "entries", "errors", "expires_at", "figures", "from", "granted", "granted_at", "has_more",
    "held", "held_until", "identifiers", "interval", "joined_at", "keep", "kind", "kinds", "level", "levels",
    "limit", "lines", "location", "members", "merged", "method", "missing_to_keep", "missing_to_next",
    "new_members", "next_expiry", "next_expiry_amount", "occurred_at", "offers", "pending", "percent", "period",
    "points", "points_follow", "position", "price", "purchases", "purpose", "quantity", "rate", "received_at",
    "remaining", "repeated", "result", "results", "returned", "returns", "revenue", "reward", "rewards", "rule",
    "rules", "sales", "settled_at", "shared", "since", "sku", "source", "spend", "state", "status", "terminal", "tier",
    "tiers", "title", "to", "trace", "traces", "trigger", "type", "unit", "unit_price", "units", "until",
    "value_minor", "verdict", "version",
})  # fmt: skip
# Numbers that the shop itself gives its papers.
_PAPERS: Final = frozenset({"document", "sale", "reference"})
_PROBLEM: Final = frozenset({"title", "detail"})
_NAMES_OF_FIELDS: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_ADDRESS: Final = re.compile(r"@|(?:\+|\b00)\d[\d\s()/-]{6,}|\d[\d\s()/-]{8,}\d")
_WORD: Final = re.compile(r"[\w./: +-]{0,64}")
_CODE: Final = re.compile(r"[a-z][a-z0-9_-]{0,49}")
_FIELD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.\[\]-]{0,79}")
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\d([T ][\d:.]+(Z|[+-]\d\d:?\d\d)?)?")
_QUOTED: Final = re.compile(r"[\"“„'«].*[\"”“'»]")


class _Budget:
    """How many values may still be looked at."""

    def __init__(self) -> None:
        self.left = MOST_VALUES


def masked(value: Any) -> Any:
    """A body with only what may be shown."""
    return _any(value, field="", problem=_is_problem(value), budget=_Budget())


def kept_text(value: Any) -> str:
    """A body as it is kept: JSON with only what may be shown, at most 4 KiB."""
    if value is None:
        return ""
    text = json.dumps(masked(value), ensure_ascii=False, default=str)
    raw = text.encode()
    return text if len(raw) <= MOST_BYTES else raw[: MOST_BYTES - 3].decode(errors="ignore") + MORE


def kept_path(path: str, *, given: dict[str, Any], known: bool) -> str:
    """An address whose parts are words of the API or ids; `given` is what the route found in it."""
    if known:
        hidden = {str(value) for value in given.values() if not _is_id(str(value))}
        return "/".join(MASK if part in hidden else part for part in path.split("/"))[:300]
    head, rest = path.split("/")[:4], path.split("/")[4:]
    shown = [part if not part or re.fullmatch(r"[a-z][a-z0-9-]{0,29}", part) else MASK for part in head]
    return "/".join([*shown, *(MASK if part else "" for part in rest)])[:300]


def kept_query(query: str) -> str:
    """The parameters of an address with only what may be shown."""
    pairs = parse_qsl(query, keep_blank_values=True)[:20]
    shown = [(_name(name), _text(value, field=name)) for name, value in pairs]
    return "&".join(f"{name}={quote(value, safe=',:')}" for name, value in shown).replace(quote(MASK), MASK)[:300]


def _any(value: Any, *, field: str, problem: bool, budget: _Budget) -> Any:
    budget.left -= 1
    if budget.left < 0:
        return MORE
    if isinstance(value, dict):
        return {_name(k): _any(v, field=str(k), problem=problem, budget=budget) for k, v in list(value.items())[:60]}
    if isinstance(value, list | tuple):
        shown = [_any(one, field=field, problem=problem, budget=budget) for one in value[:MOST_IN_LIST]]
        return [*shown, MORE] if len(value) > MOST_IN_LIST else shown
    return _value(value, field=field, problem=problem)


def _value(value: Any, *, field: str, problem: bool) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, str):
        if problem and field in _PROBLEM:
            return _words(value)
        if problem and field == "field":
            return value if _FIELD.fullmatch(value) and not _ADDRESS.search(value) else MASK
        return _text(value, field=field)
    # Numbers, Decimals and days: shown where the field is known, else a phone could come as a number.
    return _shown_number(value, field=field)


def _shown_number(value: Any, *, field: str) -> Any:
    if field not in _PLAIN:
        return MASK
    return value if isinstance(value, int | float) else str(value)


def _text(value: str, *, field: str) -> str:
    if value == "" or _is_id(value):
        return value
    if field == "code":
        return value if _CODE.fullmatch(value) else MASK
    if field in _PAPERS:
        return value if len(value) <= 64 and "@" not in value and not value.startswith("+") else MASK
    if field not in _PLAIN:
        return MASK
    if _MOMENT.fullmatch(value):
        return value
    return value if _WORD.fullmatch(value) and not _ADDRESS.search(value) else MASK


def _words(text: str) -> str:
    """Words of ours, without what they quote of the caller's."""
    bare = _QUOTED.sub(MASK, text)
    return MASK if _ADDRESS.search(bare) else bare[:300]


def _name(name: Any) -> str:
    return name if isinstance(name, str) and _NAMES_OF_FIELDS.fullmatch(name) else MASK


def _is_problem(value: Any) -> bool:
    return isinstance(value, dict) and str(value.get("type", "")).startswith("/api/v1/problems/")


def _is_id(text: str) -> bool:
    try:
        return len(text) == 36 and bool(UUID(text))
    except ValueError:
        return False
