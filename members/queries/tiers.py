"""Where members stand in the program's tiers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Count, QuerySet

from members.models import (
    Member,
    TierChange,
    TierStatus,
)
from programs.queries import ProgramInForce
from programs.rules import missing_to_keep, missing_to_next


def tiers_held() -> dict[str, int]:
    """How many active members hold each tier, by code; none is an empty code."""
    rows = TierStatus.objects.filter(member__status=Member.Status.ACTIVE)
    held = dict(rows.exclude(tier="").values_list("tier").annotate(n=Count("pk")))
    members = Member.objects.filter(status=Member.Status.ACTIVE).count()
    return {**held, "": members - sum(held.values())}


@dataclass(frozen=True)
class TierView:
    """The tier held, the figure it rests on, and what is missing to rise and to keep it."""

    code: str
    name: str
    basis: int
    since: datetime | None
    next_code: str
    next_name: str
    missing_to_next: int
    missing_to_keep: int


def tier_of(*, member_id: UUID, program: ProgramInForce) -> TierView | None:
    """Where the member stands in the program's tiers; None if the program has none."""
    tiers = program.spec.tiers
    if tiers is None:
        return None
    status = TierStatus.objects.filter(pk=member_id).first() or TierStatus(tier="", basis=0)
    names = {level.code: level.name for level in tiers.levels}
    following = missing_to_next(tiers.levels, status.basis, status.tier or None)
    return TierView(
        code=status.tier,
        name=names.get(status.tier, ""),
        basis=status.basis,
        since=status.since,
        next_code=following[0] if following else "",
        next_name=names[following[0]] if following else "",
        missing_to_next=following[1] if following else 0,
        missing_to_keep=missing_to_keep(tiers.levels, status.basis, status.tier or None),
    )


def tier_changes_of(member_ids: Sequence[UUID]) -> QuerySet[TierChange]:
    """Moves between tiers, newest first."""
    return TierChange.objects.filter(member__in=list(member_ids)).order_by("-at", "-pk")
