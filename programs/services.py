"""Changes to programs and catalogue."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Max

from programs.models import EarningRule, Location, Product, Program, Tier, UnitType
from programs.rules import Problem, ProgramError, ProgramSpec, parse_program

__all__ = ["ProgramError", "add_location", "publish_program", "put_products"]


def publish_program(*, document: Mapping[str, Any], at: datetime, by: UUID | None = None) -> Program:
    """
    Publish a document as the next version; the one before is archived.

    Belongs inside a transaction of the caller.

    :raises ProgramError: naming each field that is wrong
    """
    spec = parse_program(document)
    units = _put_units(spec)
    last = Program.objects.select_for_update().order_by("-version").values_list("version", flat=True).first() or 0
    program = Program.objects.create(version=last + 1, name=spec.name, document=dict(document), created_at=at)
    _add_rules(program=program, spec=spec, units=units, document=document)
    _add_tiers(program=program, spec=spec)
    Program.objects.filter(status=Program.Status.PUBLISHED).update(status=Program.Status.ARCHIVED)
    Program.objects.filter(pk=program.pk).update(status=Program.Status.PUBLISHED, published_at=at, published_by=by)
    program.refresh_from_db()
    return program


def _put_units(spec: ProgramSpec) -> dict[str, UnitType]:
    known = {unit.code: unit for unit in UnitType.objects.select_for_update()}
    problems = [
        Problem(f"units[{i}].{field}", "cannot change: members already collect this unit")
        for i, unit in enumerate(spec.units)
        for field in ("kind", "decimals")
        if unit.code in known and getattr(known[unit.code], field) != getattr(unit, field)
    ]
    if problems:
        raise ProgramError(tuple(problems))
    for unit in spec.units:
        known[unit.code], _new = UnitType.objects.update_or_create(
            code=unit.code,
            defaults={
                "name": unit.name,
                "kind": unit.kind,
                "decimals": unit.decimals,
                "pending_days": unit.pending_days,
                "expiry": unit.expiry.policy,
                "expiry_months": unit.expiry.months or 0,
                "may_owe": unit.may_owe,
            },
        )
    return known


def _add_rules(*, program: Program, spec: ProgramSpec, units: dict[str, UnitType], document: Mapping[str, Any]) -> None:
    EarningRule.objects.bulk_create(
        EarningRule(
            program=program,
            code=rule.code,
            name=rule.name,
            unit=units[rule.unit],
            trigger=rule.trigger,
            priority=rule.priority,
            spec=document["rules"][i],
        )
        for i, rule in enumerate(spec.rules)
    )


def _add_tiers(*, program: Program, spec: ProgramSpec) -> None:
    levels = spec.tiers.levels if spec.tiers else ()
    Tier.objects.bulk_create(
        Tier(
            program=program,
            rank=rank,
            code=level.code,
            name=level.name,
            enter=level.enter,
            keep=level.keep,
            benefits=list(level.benefits),
        )
        for rank, level in enumerate(levels, start=1)
    )


def add_location(*, code: str, name: str = "") -> Location:
    """The location of that code, made if it is new."""
    location, _new = Location.objects.get_or_create(code=code, defaults={"name": name or code})
    return location


def put_products(products: Iterable[Product]) -> int:
    """Add products to the catalogue or bring name and category up to date; how many were given."""
    rows = list(products)
    Product.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["sku"], update_fields=["name", "category", "earning"]
    )
    return len(rows)


def next_version() -> int:
    """The number the next published version will bear."""
    return (Program.objects.aggregate(last=Max("version"))["last"] or 0) + 1
