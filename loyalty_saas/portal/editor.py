"""The program on the workbench: the draft or what is in force, its parts, and how a change finds its way back."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import UUID

from django.http import HttpRequest
from django.utils.text import slugify

from loyalty_saas.sentences_changes import Change, program_changes
from loyalty_saas.sentences_words import Wording
from programs.models import Location, Product, Program, UnitType
from programs.queries import draft, versions
from programs.rules import (
    Condition,
    OfferSpec,
    ProgramError,
    ProgramSpec,
    RuleSpec,
    TierSetSpec,
    UnitSpec,
    parse_program,
)
from tenants.models import User

Document = dict[str, Any]
EMPTY: Document = {"name": "", "units": [], "rules": [], "tiers": None, "rewards": [], "offers": []}
_LISTS = ("units", "rules", "rewards", "offers")
_CODE_LENGTH = 30


@dataclass(frozen=True)
class Bench:
    """The draft if there is one, the version in force if there is one, and the client's currency."""

    draft: Program | None
    in_force: Program | None
    currency: str

    @property
    def base(self) -> Program | None:
        """What is worked on: the draft or, until something is changed, the version in force."""
        return self.draft or self.in_force

    @cached_property
    def document(self) -> Document:
        """A copy of what is worked on, with every list there."""
        return {**EMPTY, **json.loads(json.dumps(self.base.document))} if self.base else {**EMPTY}

    @cached_property
    def spec(self) -> ProgramSpec | None:
        """What is worked on, read."""
        return parse_program(self.base.document) if self.base else None

    @cached_property
    def live(self) -> ProgramSpec | None:
        """What is in force, read."""
        return parse_program(self.in_force.document) if self.in_force else None

    @cached_property
    def places(self) -> dict[str, str]:
        """The locations' names by code."""
        return dict(Location.objects.order_by("name").values_list("code", "name"))

    @cached_property
    def wording(self) -> Wording:
        """How things are called in what is worked on."""
        if self.spec is None:
            return Wording(currency=self.currency)
        return Wording.of(self.spec, currency=self.currency, places=self.places)

    @cached_property
    def changes(self) -> list[Change]:
        """What the draft changes of what is in force."""
        if self.draft is None or self.spec is None:
            return []
        before = self.live or ProgramSpec(name=self.spec.name, units=())
        return program_changes(before, self.spec, currency=self.currency, places=self.places)

    @property
    def seen(self) -> str:
        """What a form carries, so that it notices when somebody else was faster."""
        return token(self.draft)

    @cached_property
    def used_units(self) -> set[str]:
        """Units that were ever published: members may hold them."""
        return set(UnitType.objects.values_list("code", flat=True))

    @property
    def is_overtaken(self) -> bool:
        """Whether another version was published since the draft was begun."""
        begun, out = self.draft, self.in_force
        return bool(begun and out and out.published_at and out.published_at > begun.created_at)


def bench_of(*, currency: str) -> Bench:
    """The workbench of the client we stand in."""
    in_force = versions().filter(status=Program.Status.PUBLISHED).first()
    return Bench(draft=draft(), in_force=in_force, currency=currency)


def token(version: Program | None) -> str:
    """When a draft was last edited, as a form carries it."""
    return version.edited_at.isoformat() if version and version.edited_at else ""


def seen_in(request: HttpRequest) -> datetime | None:
    """When the draft was last edited that the visitor had before him."""
    written = request.POST.get("seen", "")
    try:
        return datetime.fromisoformat(written) if written else None
    except ValueError:
        # Never the moment of an edit, so that nothing is overwritten.
        return datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def names_of(user_ids: Iterable[UUID | None]) -> dict[UUID, str]:
    """What those are called who changed or published something; machines have no name here."""
    return {user.pk: str(user) for user in User.objects.filter(pk__in={one for one in user_ids if one})}


# ── parts of a document ─────────────────────────────────────────────────────────────────────────────────────────────


def part_of(document: Document, name: str, code: str) -> tuple[int, Document] | None:
    """A part by its code, with its place in the list."""
    parts = document.get(name) or []
    return next(((place, part) for place, part in enumerate(parts) if part.get("code") == code), None)


def with_part(document: Document, name: str, part: Document) -> tuple[Document, int]:
    """The document with a part in place of the one of its code, or at the end; and the place."""
    parts, found = list(document.get(name) or []), part_of(document, name, part["code"])
    place = found[0] if found else len(parts)
    parts[place : place + 1] = [part]
    return {**document, name: parts}, place


def without_part(document: Document, name: str, code: str) -> Document:
    """The document without a part."""
    return {**document, name: [part for part in document.get(name) or [] if part.get("code") != code]}


def settled(old: Mapping[str, Any], new: Document) -> Document:
    """The new document, with every part that means what it meant kept word for word."""
    try:
        was, now = parse_program(old), parse_program(new)
    except ProgramError:
        return new
    kept = {**new, "tiers": old.get("tiers") if was.tiers == now.tiers else new["tiers"]}
    for name in _LISTS:
        known = {one.code: (part, one) for part, one in zip(old.get(name) or [], getattr(was, name), strict=True)}
        kept[name] = [
            known[one.code][0] if one.code in known and _meaning(known[one.code][1]) == _meaning(one) else part
            for part, one in zip(new[name], getattr(now, name), strict=True)
        ]
    return {name: value for name, value in kept.items() if value or name in old}


def _meaning(part: Any) -> object:
    """What a part says, whatever the order within a choice of several."""
    said = {name: getattr(part, name) for name in part.__slots__}
    if isinstance(part, RuleSpec):
        said["conditions"] = tuple(map(_unordered, part.conditions))
        said["effect"] = replace(part.effect, of=tuple(sorted(part.effect.of)))
    if isinstance(part, OfferSpec):
        said["segments"] = frozenset(part.segments)
    return said


def _unordered(condition: Condition) -> object:
    value = condition.value
    if condition.field == "first_purchase":
        return condition.field, bool(value) == (condition.op == "eq")
    values = value if isinstance(value, tuple) else (value,)
    # A number and the same number as a text are not the same condition.
    said = [(one, type(one) is str) for one in values]
    return condition.field, condition.op, frozenset(said) if condition.op in ("in", "not_in") else tuple(said)


def new_code(name: str, taken: Iterable[str], *, most: int = _CODE_LENGTH) -> str:
    """A code for something new, after its name."""
    known = set(taken)
    stem = re.sub(r"[^a-z0-9_-]", "", slugify(name))[: most - 4].strip("-_") or "part"
    return next(code for n in range(1, 10_000) if (code := stem if n == 1 else f"{stem}-{n}") not in known)


def codes_in(parts: Iterable[Mapping[str, Any]]) -> set[str]:
    """The codes of parts of a document."""
    return {str(part.get("code", "")) for part in parts}


def units_of(spec: ProgramSpec | None) -> Sequence[UnitSpec]:
    """The units of a program, none without one."""
    return spec.units if spec else ()


def tiers_of(spec: ProgramSpec | None) -> TierSetSpec | None:
    """The tiers of a program, if it has any."""
    return spec.tiers if spec else None


def known_categories(limit: int = 200) -> list[str]:
    """Categories of the catalogue, to choose from while typing."""
    found = Product.objects.exclude(category="").order_by("category").values_list("category", flat=True).distinct()
    return list(found[:limit])
