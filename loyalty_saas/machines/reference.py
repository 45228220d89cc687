"""The reference of the API, made from the very description that the API itself gives out, once per process."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pprint import pformat
from typing import Any, Final

from django.utils.functional import Promise
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext_lazy as _

from loyalty_saas.api.problems import PROBLEMS
from loyalty_saas.api.schema import CLIENT, described

_DEPTH: Final = 4
_METHODS: Final = ("get", "post", "patch", "put", "delete")
# In the order in which a shop needs them.
GROUPS: Final[dict[str, tuple[str | Promise, str | Promise, str]]] = {
    "purchases": (_("Purchases"), _("Sales, returns and voids come in and bring points."), "receipt-text"),
    "members": (_("Members"), _("Enrol members, find them by any identifier, read what they have."), "users"),
    "rewards": (_("Rewards"), _("What members can have for their points."), "gift"),
    "redemptions": (_("Redemptions"), _("Hold the points, hand the reward over, or let go."), "ticket"),
    "activities": (_("Activities"), _("Whatever else earns: trips, visits, reviews."), "activity"),
    "adjustments": (_("Adjustments"), _("Corrections by hand, with a reason."), "pencil"),
    "transfers": (_("Transfers"), _("Points from one member to another."), "arrow-left-right"),
    "households": (_("Households"), _("Members who spend together."), "users-round"),
    "parked-returns": (_("Parked returns"), _("Returns that found no sale and wait for a manager."), "undo-2"),
    "locations": (_("Locations"), _("Shops, web shops, vans."), "map-pin"),
    "program": (_("Program"), _("The rules, tiers and rewards in force."), "layers"),
    "figures": (_("Figures"), _("The days of the shop in numbers."), "chart-column"),
}
_EXAMPLES: Final[dict[str, Any]] = {
    "member": "+4915112345678",
    "from_member": "+4915112345678",
    "to_member": "ana@example.com",
    "members": ["+4915112345678", "ana@example.com"],
    "household": "01998c2e-7d1f-7000-8000-000000000004",
    "document": "R-1001",
    "sale": "R-1001",
    "reference": "trip-77",
    "currency": "EUR",
    "location": "harbour",
    "channel": "store",
    "terminal": "till-1",
    "sku": "MUG-01",
    "category": "kitchen",
    "quantity": "1",
    "unit_price": "1250",
    "discount": 0,
    "amount": 1250,
    "position": 1,
    "earning": True,
    "occurred_at": "2026-11-22T14:30:00+01:00",
    "reward": "10-off",
    "unit": "points",
    "reason": "Goodwill for a late delivery",
    "name": "Ana Example",
    "phone": "+4915112345678",
    "email": "ana@example.com",
    "card": "4000 1234 5678",
    "pos": "customer-311",
    "birthday": "1990-05-17",
    "language": "en",
    "purpose": "marketing",
    "granted": True,
    "text_version": "2026-01",
    "double": "M7KQ2Z9A",
    "code": "harbour",
    "value": "+4915112345678",
    "kind": None,
    "activity": "01998c2e-7d1f-7000-8000-000000000001",
    "purchase": "01998c2e-7d1f-7000-8000-000000000002",
    "redemption": "01998c2e-7d1f-7000-8000-000000000003",
    "properties": {"days": 7},
    "title": "",
}
_SALE: Final = {
    "kind": "sale",
    "document": "R-1001",
    "member": "+4915112345678",
    "location": "harbour",
    "lines": [{"sku": "MUG-01", "quantity": 2, "unit_price": "1250"}, {"sku": "TEA-02", "quantity": 1, "amount": 690}],
}
# Bodies worth more than what the shapes alone would give.
_BODIES: Final[dict[str, Any]] = {
    "purchases_record": _SALE,
    "purchases_preview": {key: _SALE[key] for key in ("member", "location", "lines")},
    "activities_record": {
        "kind": "trip",
        "reference": "trip-77",
        "member": "+4915112345678",
        "properties": {"days": 7},
    },
    "adjustments_make": {"member": "+4915112345678", "unit": "points", "amount": 50, "reason": "Late delivery"},
    "locations_add": {"code": "harbour", "name": "Harbour shop"},
}
_PROGRAM: Final = {
    "name": "Shop club",
    "units": [{"code": "points", "name": "Points", "kind": "points"}],
    "rules": [
        {
            "code": "spend",
            "name": "One point for every 1.00",
            "unit": "points",
            "trigger": "purchase",
            "effect": {"kind": "per_amount", "points": 1, "per": 100},
        }
    ],
}
# Shorter than this it only says again what the summary says.
_SAYS_SOMETHING: Final = 45
# A sample shows what a first request looks like: what it needs, and these if they are there.
_ALSO: Final = frozenset({"amount", "occurred_at", "sku", "quantity", "lines", "identifiers", "phone", "name", "days"})


def said(words: str) -> SafeString:
    """Words of the description as the page shows them: paragraphs, and code between back quotes."""
    paragraphs = [re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(part)) for part in re.split(r"\n\s*\n", words)]
    return mark_safe("".join(f"<p>{part}</p>" for part in paragraphs if part))  # noqa: S308 (ours, and escaped)


@dataclass(frozen=True)
class Field:
    """One field of a body, or one parameter, at its depth."""

    name: str
    kind: str
    words: str
    required: bool
    choices: tuple[str, ...] = ()
    limits: str = ""
    depth: int = 0

    @property
    def said(self) -> SafeString:
        """What it is."""
        return said(self.words)


@dataclass(frozen=True)
class Trouble:
    """One problem that an operation can answer with."""

    code: str
    status: int
    title: str | Promise


@dataclass(frozen=True)
class Answer:
    """One good answer."""

    status: str
    words: str
    fields: tuple[Field, ...]


@dataclass(frozen=True)
class Operation:
    """One operation with all that is to be known of it."""

    id: str
    method: str
    path: str
    summary: str
    words: str
    scope: str
    keyed: bool
    parameters: tuple[Field, ...]
    body: tuple[Field, ...]
    body_words: str
    answers: tuple[Answer, ...]
    troubles: tuple[Trouble, ...]
    example: str
    example_path: str

    @property
    def sought(self) -> str:
        """What the filter looks through."""
        return f"{self.summary} {self.method} {self.path} {self.id} {self.scope}".lower()

    @property
    def said(self) -> SafeString:
        """What it does."""
        return said(self.words)

    @property
    def body_said(self) -> SafeString:
        """What its body is."""
        return said(self.body_words)

    @property
    def python(self) -> str:
        """The example as Python writes it, indented for a call."""
        written = pformat(json.loads(self.example), indent=4, width=76, sort_dicts=False) if self.example else ""
        return written.replace("'", '"').replace("\n", "\n    ")

    @property
    def own_troubles(self) -> list[Trouble]:
        """Those that not every operation has."""
        return [trouble for trouble in self.troubles if trouble.code not in _GENERAL]


@dataclass(frozen=True)
class Group:
    """The operations of one noun."""

    tag: str
    title: str | Promise
    words: str | Promise
    icon: str
    operations: list[Operation] = field(default_factory=list)


@dataclass(frozen=True)
class Reference:
    """The whole of it."""

    version: str
    groups: list[Group]
    troubles: list[Trouble]
    general: list[Trouble]


_GENERAL: Final = frozenset(
    {
        "not_authenticated",
        "authentication_failed",
        "permission_denied",
        "method_not_allowed",
        "unavailable",
        "parse_error",
        "too_large",
        "unsupported_media_type",
        "invalid",
    }
)


@lru_cache(maxsize=1)
def reference() -> Reference:
    """The API of a client's host."""
    whole = described(CLIENT)
    groups: dict[str, Group] = {tag: Group(tag, *said) for tag, said in GROUPS.items()}
    for path, item in whole["paths"].items():
        for method in _METHODS:
            if method in item:
                operation = item[method]
                tag = operation["tags"][0]
                group = groups.setdefault(tag, Group(tag, tag.replace("-", " ").capitalize(), "", "braces"))
                group.operations.append(_operation(whole, path, method, operation))
    troubles = [_trouble(code) for code in PROBLEMS]
    general = [trouble for trouble in troubles if trouble.code in _GENERAL]
    return Reference(str(whole["info"]["version"]), [g for g in groups.values() if g.operations], troubles, general)


def _trouble(code: str) -> Trouble:
    return Trouble(code, PROBLEMS[code].status, PROBLEMS[code].title)


def _operation(whole: dict[str, Any], path: str, method: str, operation: dict[str, Any]) -> Operation:
    parameters = operation.get("parameters", [])
    shape = _content(operation.get("requestBody", {}))
    answers = {status: answer for status, answer in operation["responses"].items() if status < "400"}
    security = operation.get("security") or [{}]
    return Operation(
        id=operation["operationId"],
        method=method.upper(),
        path=path,
        summary=operation.get("summary", ""),
        words=words if len(words := operation.get("description", "")) >= _SAYS_SOMETHING else "",
        scope=next(iter(security[0].get("apiKey", [])), ""),
        keyed=any(one["name"] == "Idempotency-Key" for one in parameters),
        parameters=tuple(_parameter(whole, one) for one in parameters),
        body=tuple(_fields(whole, shape)) if shape else (),
        body_words=_resolved(whole, shape).get("description", "") if shape else "",
        answers=tuple(_answer(whole, status, answer) for status, answer in answers.items()),
        troubles=tuple(_troubles(operation)),
        example=json.dumps(_body(whole, operation, path), indent=2, ensure_ascii=False) if shape else "",
        example_path=re.sub(r"\{(\w+)\}", lambda m: str(_EXAMPLES.get(m[1]) or "…").replace("+", "%2B"), path),
    )


def _body(whole: dict[str, Any], operation: dict[str, Any], path: str) -> Any:
    if path.endswith("/program"):
        return _PROGRAM
    if path.endswith("/locations"):
        return _BODIES["locations_add"]
    known = _BODIES.get(operation["operationId"])
    return known if known is not None else _example(whole, _content(operation["requestBody"]), name="")


def _content(holder: dict[str, Any]) -> dict[str, Any]:
    content = holder.get("content", {})
    shape: dict[str, Any] = content.get("application/json", {}).get("schema", {})
    return shape


def _answer(whole: dict[str, Any], status: str, answer: dict[str, Any]) -> Answer:
    shape = _content(answer)
    return Answer(status, answer.get("description", ""), tuple(_fields(whole, shape)) if shape else ())


def _troubles(operation: dict[str, Any]) -> Iterator[Trouble]:
    for status, answer in operation["responses"].items():
        if status >= "400":
            yield from (_trouble(code) for code in re.findall(r"- `(\w+)`", answer.get("description", "")))


def _parameter(whole: dict[str, Any], one: dict[str, Any]) -> Field:
    shape = _resolved(whole, one.get("schema", {}))
    where = {"path": "path", "query": "query", "header": "header"}[one["in"]]
    return Field(
        name=one["name"],
        kind=f"{where} · {_kind(whole, shape)}",
        words=one.get("description", ""),
        required=bool(one.get("required")),
        choices=_choices(shape),
        limits=_limits(shape),
    )


# ── shapes ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _resolved(whole: dict[str, Any], shape: dict[str, Any]) -> dict[str, Any]:
    """The shape itself, where a reference or a list of one part stands for it."""
    if "$ref" in shape:
        name = shape["$ref"].rpartition("/")[2]
        return {**whole["components"]["schemas"][name], **{k: v for k, v in shape.items() if k != "$ref"}}
    for joined in ("allOf", "anyOf", "oneOf"):
        parts = [part for part in shape.get(joined, []) if part.get("type") != "null"]
        if len(parts) == 1:
            return {**_resolved(whole, parts[0]), **{k: v for k, v in shape.items() if k != joined}}
    return shape


def _fields(whole: dict[str, Any], shape: dict[str, Any], *, prefix: str = "", depth: int = 0) -> Iterator[Field]:
    shape = _resolved(whole, shape)
    if _type(shape) == "array" and not prefix:
        yield from _fields(whole, shape.get("items", {}), prefix="[].", depth=depth)
        return
    required = set(shape.get("required", []))
    for name, inner in shape.get("properties", {}).items():
        one = _resolved(whole, inner)
        yield Field(
            name=f"{prefix}{name}",
            kind=_kind(whole, one),
            words=one.get("description", ""),
            required=name in required,
            choices=_choices(one),
            limits=_limits(one),
            depth=depth,
        )
        if depth < _DEPTH:
            of_list = _type(one) == "array"
            below = _resolved(whole, one.get("items", {})) if of_list else one
            if below.get("properties"):
                mark = f"{prefix}{name}[]." if of_list else f"{prefix}{name}."
                yield from _fields(whole, below, prefix=mark, depth=depth + 1)


def _type(shape: dict[str, Any]) -> str:
    """The type of what is there, if it is there."""
    kinds = shape.get("type", "any")
    return kinds if isinstance(kinds, str) else " or ".join(kind for kind in kinds if kind != "null")


def _kind(whole: dict[str, Any], shape: dict[str, Any]) -> str:
    kind = _type(shape)
    if kind == "array":
        inner = _resolved(whole, shape.get("items", {}))
        return f"list of {inner.get('format') or _type(inner)}"
    return {"date-time": "moment", "uuid": "id", "date": "date"}.get(shape.get("format", ""), kind)


def _choices(shape: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(value) for value in shape.get("enum", []) if value not in ("", None))


def _limits(shape: dict[str, Any]) -> str:
    parts = []
    if "minimum" in shape or "maximum" in shape:
        parts.append(f"{shape.get('minimum', '…')} – {shape.get('maximum', '…')}")
    if "maxLength" in shape:
        parts.append(f"≤ {shape['maxLength']} characters")
    if "maxItems" in shape:
        parts.append(f"≤ {shape['maxItems']}")
    return ", ".join(parts)


def _example(whole: dict[str, Any], shape: dict[str, Any], *, name: str) -> Any:
    """A small body that would be accepted."""
    shape = _resolved(whole, shape)
    if shape.get("properties"):
        needed = set(shape.get("required", []))
        wanted = [key for key in shape["properties"] if key in needed or key in _ALSO]
        if name == "lines[]":
            wanted = [key for key in wanted if key in {"sku", "quantity", "amount"}]
        return {key: _example(whole, shape["properties"][key], name=key) for key in wanted}
    if _type(shape) == "array":
        return [_example(whole, shape.get("items", {}), name=f"{name}[]")]
    known = _EXAMPLES.get(name)
    if known is not None:
        return known
    choices = _choices(shape)
    return choices[0] if choices else {"integer": 1, "boolean": True, "number": 1}.get(_type(shape), "…")
