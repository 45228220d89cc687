"""Versions of the program."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Max

from programs.models import EarningRule, Program, Tier, UnitType
from programs.rules import Problem, ProgramError, ProgramSpec, parse_program

__all__ = ["ProgramError", "next_version", "publish_program"]


def publish_program(*, document: Mapping[str, Any], at: datetime, by: UUID | None = None) -> Program:
    """
    Publish a document as the next version; the one before is archived, and a draft stays one, behind it.

    Belongs inside a transaction of the caller.

    :raises ProgramError: naming each field that is wrong
    """
    spec = parse_program(document)
    units = _put_units(spec)
    versions = list(Program.objects.select_for_update().order_by("-version"))
    draft = next((one for one in versions if one.status == Program.Status.DRAFT), None)
    # The version on its way is a draft too until its parts stand, and there is room for one.
    if draft is not None:
        Program.objects.filter(pk=draft.pk).delete()
    program = Program.objects.create(version=next_version(), name=spec.name, document=dict(document), created_at=at)
    _add_rules(program=program, spec=spec, units=units, document=document)
    _add_tiers(program=program, spec=spec)
    Program.objects.filter(status=Program.Status.PUBLISHED).update(status=Program.Status.ARCHIVED)
    Program.objects.filter(pk=program.pk).update(status=Program.Status.PUBLISHED, published_at=at, published_by=by)
    if draft is not None:
        draft.version = program.version + 1
        draft.save(force_insert=True)
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
                "debt_limit": unit.debt_limit,
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


def next_version() -> int:
    """The number the next published version will bear."""
    published = Program.objects.exclude(status=Program.Status.DRAFT)
    return (published.aggregate(last=Max("version"))["last"] or 0) + 1
