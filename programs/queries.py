"""Reads of programs: the one in force, compiled once per version."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final, cast
from uuid import UUID

from django.db import connections
from django.db.models import Q, QuerySet

from programs.models import EarningRule, Location, Product, Program, UnitType
from programs.rules import CompiledRules, ProgramSpec, compile_rules, parse_program
from programs.rules.specs import ExpiryPolicy
from tenants.context import current_schema
from tenants.routers import CLIENT


class NoProgram(Exception):
    """The client has published no program yet."""


@dataclass(frozen=True)
class Unit:
    """
    A unit type as the ledger needs it; amounts are in its smallest step.

    Where expiry slides, lots without a date of their own lapse with their account, except those that became available
    before `slides_from`: a version of the program before had promised something else.
    """

    id: UUID
    code: str
    name: str
    kind: str
    decimals: int
    pending_days: int
    expiry: ExpiryPolicy
    expiry_months: int
    may_owe: bool
    debt_limit: int | None = None
    slides_from: datetime | None = None

    def slides(self, *, available_at: datetime, expires_at: datetime | None) -> bool:
        """Whether a lot with these dates lapses with its account."""
        if self.expiry != "sliding" or expires_at is not None:
            return False
        return self.slides_from is None or available_at >= self.slides_from


@dataclass(frozen=True)
class ProgramInForce:
    """A published version with its rules compiled, its rule rows and its units by code."""

    id: UUID
    version: int
    spec: ProgramSpec
    compiled: CompiledRules
    rule_ids: dict[str, UUID]
    rule_names: dict[str, str]
    units: dict[str, Unit]


def program_in_force() -> ProgramInForce:
    """The published program. :raises NoProgram: if there is none"""
    with connections[CLIENT].cursor() as cursor:
        cursor.execute(_IN_FORCE, [Program.Status.PUBLISHED])
        found = cursor.fetchone()
    return program_of(found[0] if found else None)


def program_of(program_id: UUID | None) -> ProgramInForce:
    """The published program, whose id somebody has read. :raises NoProgram: if there is none"""
    if program_id is None:
        raise NoProgram("No program is published.")
    return _compiled(current_schema() or "", program_id)


def draft() -> Program | None:
    """The version that can still change, if somebody has begun one."""
    return Program.objects.filter(status=Program.Status.DRAFT).first()


def versions() -> QuerySet[Program]:
    """All versions that were ever published, newest first."""
    return Program.objects.exclude(status=Program.Status.DRAFT).order_by("-version")


@lru_cache(maxsize=2000)
def _compiled(schema_name: str, program_id: UUID) -> ProgramInForce:
    """A published version never changes, so neither does what it compiles to."""
    program = Program.objects.get(pk=program_id)
    spec = parse_program(program.document)
    rules = EarningRule.objects.filter(program=program).values_list("code", "id", "name")
    return ProgramInForce(
        id=program.id,
        version=program.version,
        spec=spec,
        compiled=compile_rules(spec.rules, spec.earning),
        rule_ids={code: rule_id for code, rule_id, _name in rules},
        rule_names={code: name for code, _rule_id, name in rules},
        units={unit.code: unit for unit in units()},
    )


def _unit(row: UnitType, slides_from: datetime | None) -> Unit:
    return Unit(
        id=row.id,
        code=row.code,
        name=row.name,
        kind=row.kind,
        decimals=row.decimals,
        pending_days=row.pending_days,
        expiry=cast(ExpiryPolicy, row.expiry),
        expiry_months=row.expiry_months,
        may_owe=row.may_owe,
        debt_limit=row.debt_limit,
        slides_from=slides_from,
    )


def unit_by_code(code: str) -> Unit | None:
    """The unit of that code, if the client has it."""
    return next(iter(_units(list(UnitType.objects.filter(code=code)))), None)


def units() -> list[Unit]:
    """All units of the client, by code."""
    return _units(list(UnitType.objects.order_by("code")))


def _units(rows: list[UnitType]) -> list[Unit]:
    sliding = any(row.expiry == UnitType.Expiry.SLIDING for row in rows)
    since = _slides_from() if sliding else {}
    return [_unit(row, since.get(row.code)) for row in rows]


SLIDING: Final = "SELECT unit_id, since FROM unnest(%(sliding)s::uuid[], %(since)s::timestamptz[]) AS r(unit_id, since)"
"""SQL for the units whose expiry slides; its parameters are those of `sliding`."""


def sliding(of: Sequence[Unit]) -> dict[str, list[UUID] | list[datetime | None]]:
    """Which units slide, and from when on, as parameters of `SLIDING`."""
    found = [unit for unit in of if unit.expiry == "sliding"]
    return {"sliding": [unit.id for unit in found], "since": [unit.slides_from for unit in found]}


def _slides_from() -> dict[str, datetime]:
    """From when on units slide without a break, where a version of the program before promised something else."""
    with connections[CLIENT].cursor() as cursor:
        cursor.execute(_SLIDING_SINCE)
        return {code: since + _until_available(pending_days) for code, since, pending_days in cursor.fetchall()}


def _until_available(pending_days: int) -> timedelta:
    """What was pending at the change was promised the old way; a day more at each end, since days are local."""
    return timedelta(days=pending_days + 2) if pending_days else timedelta()


def location_by_code(code: str) -> Location | None:
    """The location of that code, if the client has it."""
    return Location.objects.filter(code=code).first()


def products_by_sku(skus: list[str]) -> dict[str, Product]:
    """The catalogue's products among `skus`."""
    with connections[CLIENT].cursor() as cursor:
        cursor.execute(_PRODUCTS, [skus])
        return {row[1]: Product(*row) for row in cursor.fetchall()}


def products_like(text: str, *, limit: int) -> list[Product]:
    """Products by article number or a part of their name, those of exactly that number first."""
    exact = list(Product.objects.filter(sku=text))
    named = Product.objects.filter(Q(name__icontains=text) | Q(sku__istartswith=text)).order_by("name", "sku")
    return [*exact, *(one for one in named[:limit] if one not in exact)][:limit]


# Asked with every purchase: as SQL these two cost a tenth of what the ORM takes to write them anew each time.
_IN_FORCE = "SELECT id FROM programs_program WHERE status = %s ORDER BY id LIMIT 1"
IN_FORCE: Final = _IN_FORCE.replace("%s", f"'{Program.Status.PUBLISHED}'")
"""SQL for the id of the published program, to be asked for among other things."""
_PRODUCTS = "SELECT id, sku, name, category, earning FROM programs_product WHERE sku = ANY(%s)"
_SLIDING_SINCE = """
    WITH said AS (
        SELECT p.version, p.published_at, u.unit ->> 'code' AS code,
               COALESCE(u.unit -> 'expiry' ->> 'policy', 'none') AS policy,
               COALESCE((u.unit ->> 'pending_days')::int, 0) AS pending_days
        FROM programs_program p CROSS JOIN LATERAL jsonb_array_elements(p.document -> 'units') AS u(unit)
        WHERE p.status <> 'draft'
    ), otherwise AS (
        SELECT DISTINCT ON (code) code, version, pending_days FROM said WHERE policy <> 'sliding'
        ORDER BY code, version DESC
    )
    SELECT s.code, min(s.published_at), o.pending_days FROM said s JOIN otherwise o USING (code)
    WHERE s.version > o.version GROUP BY s.code, o.pending_days
"""
