"""Households: who spends together, and who waits for a second person."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connections
from django.db.models import Prefetch, QuerySet

from members.models import AdjustmentRequest, Household, HouseholdMember, Member
from programs.queries import SLIDING, Unit, sliding, units
from tenants.routers import CLIENT


@dataclass(frozen=True)
class Mate:
    """One of a household with what they have available of each unit."""

    member: Member
    joined_at: datetime
    available: list[tuple[Unit, int]]


def household_of(member_id: UUID) -> Household | None:
    """The household a member spends with now."""
    return Household.objects.filter(memberships__member=member_id, memberships__left_at=None).first()


def mates(*, household_id: UUID, at: datetime) -> list[Mate]:
    """Those of a household with what each has, the first to join first; as many queries for two as for twenty."""
    rows = HouseholdMember.objects.filter(household=household_id, left_at=None).select_related("member__identity")
    present, of = list(rows.order_by("joined_at", "pk")), units()
    found = _available([row.member_id for row in present], of=of, at=at)
    return [
        Mate(row.member, row.joined_at, [(unit, found.get((row.member_id, unit.id), 0)) for unit in of])
        for row in present
    ]


def _available(member_ids: Sequence[UUID], *, of: Sequence[Unit], at: datetime) -> dict[tuple[UUID, UUID], int]:
    with connections[CLIENT].cursor() as cursor:
        cursor.execute(_AVAILABLE, {"members": list(member_ids), "at": at, **sliding(of)})
        return {(member_id, unit_id): amount for member_id, unit_id, amount in cursor.fetchall()}


def households() -> QuerySet[Household]:
    """Households that have not ended, newest first, with their members."""
    present = HouseholdMember.objects.filter(left_at=None).select_related("member").order_by("joined_at", "pk")
    return (
        Household.objects.filter(ended_at=None)
        .prefetch_related(Prefetch("memberships", present, to_attr="present"))
        .order_by("-id")
    )


def household_by_id(household_id: UUID) -> Household | None:
    """One household, also one that has ended, with its members."""
    present = HouseholdMember.objects.filter(left_at=None).select_related("member").order_by("joined_at", "pk")
    found = Household.objects.filter(pk=household_id)
    return found.prefetch_related(Prefetch("memberships", present, to_attr="present")).first()


def requests_waiting(*, at: datetime) -> QuerySet[AdjustmentRequest]:
    """Corrections that wait for a second person, the oldest first."""
    waiting = AdjustmentRequest.objects.filter(state=AdjustmentRequest.State.WAITING, expires_at__gt=at)
    return waiting.select_related("member__identity", "unit").order_by("asked_at", "pk")


def requests_settled() -> QuerySet[AdjustmentRequest]:
    """Corrections that have been decided, withdrawn or have lapsed, the newest first."""
    settled = AdjustmentRequest.objects.exclude(state=AdjustmentRequest.State.WAITING)
    return settled.select_related("member__identity", "unit").order_by("-settled_at", "-pk")


_AVAILABLE = f"""
    WITH sliding AS ({SLIDING})
    SELECT a.member_id, a.unit_id, sum(l.remaining - l.held)::bigint
    FROM members_pointsaccount a JOIN members_lot l ON l.account_id = a.id AND l.remaining > 0
    LEFT JOIN sliding s ON s.unit_id = a.unit_id AND (s.since IS NULL OR l.available_at >= s.since)
    WHERE a.member_id = ANY(%(members)s::uuid[]) AND l.available_at <= %(at)s
      AND (l.expires_at IS NULL OR l.expires_at > %(at)s)
      AND (l.expires_at IS NOT NULL OR s.unit_id IS NULL OR a.slides_until > %(at)s)
    GROUP BY a.member_id, a.unit_id
"""  # noqa: S608 (constants alone)
