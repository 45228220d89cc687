"""The log of a shop's machines as its developers ask for it: filtered, turned over by key, told as commands."""

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db.models import Q, QuerySet
from django.utils.dateparse import parse_datetime
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from loyalty_saas.api.masking import MASK, MORE
from loyalty_saas.api.problems import PROBLEMS
from members.models import ApiRequest

PAGE: Final = 50
METHODS: Final = ("GET", "POST", "PATCH", "PUT", "DELETE")
SPANS: Final[dict[str, tuple[str | Promise, timedelta]]] = {
    "hour": (_("The last hour"), timedelta(hours=1)),
    "day": (_("The last 24 hours"), timedelta(days=1)),
    "week": (_("The last 7 days"), timedelta(days=7)),
}
_WRITES: Final = frozenset({"POST", "PATCH", "PUT"})


@dataclass(frozen=True)
class Wanted:
    """What is looked for; what is not known among it is not looked for."""

    failed: bool = False
    method: str = ""
    path: str = ""
    key: str = ""
    span: str = ""
    before: tuple[datetime, UUID] | None = None

    @staticmethod
    def of(query: dict[str, str]) -> "Wanted":
        """As the address asks."""
        method, span = query.get("method", ""), query.get("span", "")
        return Wanted(
            failed=query.get("failed") == "1",
            method=method if method in METHODS else "",
            path=query.get("path", "").replace("\x00", "")[:100],
            key=query.get("key", "").replace("\x00", "")[:16],
            span=span if span in SPANS else "",
            before=_cursor(query.get("before", "")),
        )

    @property
    def is_narrowed(self) -> bool:
        """Whether not all is looked for."""
        return bool(self.failed or self.method or self.path or self.key or self.span)


def _cursor(text: str) -> tuple[datetime, UUID] | None:
    moment, _between, row = text.partition("_")
    try:
        at = parse_datetime(moment)
        return (at, UUID(row)) if at and at.tzinfo else None
    except ValueError:
        return None


def cursor_of(row: ApiRequest) -> str:
    """Where the page that begins after this row begins."""
    return f"{row.at.isoformat()}_{row.pk}"


def lines(wanted: Wanted, *, at: datetime) -> QuerySet[ApiRequest]:
    """The newest first; one index serves all of them, another those that failed."""
    found = ApiRequest.objects.defer("body", "answer").order_by("-at", "-id")
    if wanted.failed:
        found = found.filter(status__gte=400)
    if wanted.method:
        found = found.filter(method=wanted.method)
    if wanted.path:
        found = found.filter(path__icontains=wanted.path)
    if wanted.key:
        found = found.filter(key_prefix=wanted.key)
    if wanted.span:
        found = found.filter(at__gte=at - SPANS[wanted.span][1])
    if wanted.before:
        moment, row = wanted.before
        found = found.filter(Q(at__lt=moment) | Q(at=moment, id__lt=row), at__lte=moment)
    return found


# ── one of them ─────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Told:
    """One call as its page shows it."""

    row: ApiRequest
    body: str
    answer: str
    curl: str
    masked: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        """The path with its query."""
        return f"{self.row.path}?{self.row.query}" if self.row.query else self.row.path

    @property
    def title(self) -> str:
        """What the problem is called."""
        kind = PROBLEMS.get(self.row.problem)
        return str(kind.title) if kind else self.row.problem

    @property
    def detail(self) -> str:
        """What went wrong this time."""
        read = _read(self.row.answer)
        return str(read.get("detail", "")) if isinstance(read, dict) else ""

    @property
    def fields(self) -> list[dict[str, str]]:
        """Each wrong field."""
        read = _read(self.row.answer)
        errors = read.get("errors", []) if isinstance(read, dict) else []
        return [error for error in errors if isinstance(error, dict)]

    @property
    def is_cut(self) -> bool:
        """Whether the body was too long to be kept whole."""
        return MORE in self.row.body

    @property
    def is_keyed(self) -> bool:
        """Whether it writes, so that a replay needs a new Idempotency-Key."""
        return self.row.method in _WRITES


def told(row: ApiRequest, *, host: str) -> Told:
    """One call, with a command that sends it again."""
    return Told(row, _indented(row.body), _indented(row.answer), curl(row, host=host), sorted(set(_masked(row))))


def curl(row: ApiRequest, *, host: str) -> str:
    """A command for a shell that sends it again, the key taken from the environment."""
    address = f"{host}{row.path}" + (f"?{row.query}" if row.query else "")
    parts = [f"curl --request {row.method} {shlex.quote(address)}", '--header "Authorization: Bearer $LOYALTY_KEY"']
    if row.method in _WRITES:
        parts += ['--header "Idempotency-Key: $(uuidgen)"', '--header "Content-Type: application/json"']
    if row.body:
        parts.append(f"--data {shlex.quote(_indented(row.body))}")
    return " \\\n  ".join(parts)


def _masked(row: ApiRequest) -> Iterator[str]:
    """The names of what is to be filled in before it is sent again."""
    if MASK in row.path:
        yield str(_("the address"))
    if MASK in row.query:
        yield str(_("the query"))
    yield from _hidden(_read(row.body), name="")


def _hidden(value: Any, *, name: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _hidden(inner, name=f"{name}.{key}" if name else key)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _hidden(inner, name=f"{name}.{place}")
    elif value == MASK:
        yield name


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _indented(text: str) -> str:
    read = _read(text)
    return text if read is None else json.dumps(read, indent=2, ensure_ascii=False)
