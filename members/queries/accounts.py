"""What members have: balances, lots, holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connections
from django.db.models import F, QuerySet

from members.models import (
    Hold,
    Lot,
    PointsAccount,
)
from programs.queries import Unit, units
from tenants.routers import CLIENT


@dataclass(frozen=True)
class Balance:
    """What a member has of one unit, in its smallest step."""

    unit: Unit
    balance: int
    available: int
    pending: int
    held: int
    debt: int
    next_expiry: datetime | None
    next_expiry_amount: int


def balances(*, member_id: UUID, at: datetime, of: Sequence[Unit] | None = None) -> list[Balance]:
    """The member's balance in every unit, also those not collected yet; `of` are the units if they are at hand."""
    with connections[CLIENT].cursor() as cursor:
        cursor.execute(_BALANCES, {"member": member_id, "at": at})
        rows = {row[0]: row[1:] for row in cursor.fetchall()}
    return [Balance(unit, *rows.get(unit.id, (0, 0, 0, 0, 0, None, 0))) for unit in (units() if of is None else of)]


def lots_of(member_id: UUID) -> QuerySet[Lot]:
    """The lots of a member that still hold points, soonest expiry first."""
    lots = Lot.objects.filter(account__member=member_id, remaining__gt=0)
    rows = lots.select_related("account__unit", "entry__purchase", "entry__activity", "entry__account__unit")
    return rows.order_by(F("expires_at").asc(nulls_last=True), "available_at", "pk")


def has_open_hold(member_id: UUID) -> bool:
    """Whether points of a member are set aside for a reward."""
    return Hold.objects.filter(account__member=member_id, state=Hold.State.HELD).exists()


def open_lots(*, account_id: UUID) -> QuerySet[Lot]:
    """The lots of an account that still hold points, soonest expiry first."""
    return Lot.objects.filter(account_id=account_id, remaining__gt=0).order_by(F("expires_at").asc(nulls_last=True))


def best_balances(*, unit_id: UUID, top: int) -> list[PointsAccount]:
    """The accounts of one unit that hold most."""
    rows = PointsAccount.objects.filter(unit=unit_id, balance__gt=0).select_related("member__identity")
    return list(rows.order_by("-balance", "pk")[:top])


_BALANCES = """
    SELECT a.unit_id, a.balance,
           COALESCE(sum(l.remaining - l.held) FILTER (WHERE l.available_at <= %(at)s
                    AND (l.expires_at IS NULL OR l.expires_at > %(at)s)), 0)::bigint,
           COALESCE(sum(l.remaining) FILTER (WHERE l.available_at > %(at)s), 0)::bigint,
           COALESCE(sum(l.held), 0)::bigint, a.debt,
           min(l.expires_at) FILTER (WHERE l.expires_at > %(at)s),
           COALESCE((SELECT sum(n.remaining) FROM members_lot n WHERE n.account_id = a.id AND n.remaining > 0
                     AND n.expires_at = min(l.expires_at) FILTER (WHERE l.expires_at > %(at)s)), 0)::bigint
    FROM members_pointsaccount a LEFT JOIN members_lot l ON l.account_id = a.id AND l.remaining > 0
    WHERE a.member_id = %(member)s GROUP BY a.id
"""
