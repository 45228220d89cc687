"""Reads of programs: the one in force, compiled once per version."""

from dataclasses import dataclass
from functools import lru_cache
from typing import cast
from uuid import UUID

from django.db.models import Q, QuerySet

from programs.models import EarningRule, Location, Product, Program, UnitType
from programs.rules import CompiledRules, ProgramSpec, compile_rules, parse_program
from programs.rules.specs import ExpiryPolicy
from tenants.context import current_schema


class NoProgram(Exception):
    """The client has published no program yet."""


@dataclass(frozen=True)
class Unit:
    """A unit type as the ledger needs it; amounts are in its smallest step."""

    id: UUID
    code: str
    name: str
    kind: str
    decimals: int
    pending_days: int
    expiry: ExpiryPolicy
    expiry_months: int
    may_owe: bool


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
    program_id = Program.objects.filter(status=Program.Status.PUBLISHED).values_list("id", flat=True).first()
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
        compiled=compile_rules(spec.rules),
        rule_ids={code: rule_id for code, rule_id, _name in rules},
        rule_names={code: name for code, _rule_id, name in rules},
        units={row.code: _unit(row) for row in UnitType.objects.all()},
    )


def _unit(row: UnitType) -> Unit:
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
    )


def unit_by_code(code: str) -> Unit | None:
    """The unit of that code, if the client has it."""
    row = UnitType.objects.filter(code=code).first()
    return _unit(row) if row else None


def units() -> list[Unit]:
    """All units of the client, by code."""
    return [_unit(row) for row in UnitType.objects.order_by("code")]


def location_by_code(code: str) -> Location | None:
    """The location of that code, if the client has it."""
    return Location.objects.filter(code=code).first()


def products_by_sku(skus: list[str]) -> dict[str, Product]:
    """The catalogue's products among `skus`."""
    return {product.sku: product for product in Product.objects.filter(sku__in=skus)}


def products_like(text: str, *, limit: int) -> list[Product]:
    """Products by article number or a part of their name, those of exactly that number first."""
    exact = list(Product.objects.filter(sku=text))
    named = Product.objects.filter(Q(name__icontains=text) | Q(sku__istartswith=text)).order_by("name", "sku")
    return [*exact, *(one for one in named[:limit] if one not in exact)][:limit]
