"""What members have: balances, lots, holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connections
from django.db.models import Case, DateTimeField, F, Q, QuerySet, When
from django.db.models.functions import Coalesce

from members.models import (
    Hold,
    Lot,
    PointsAccount,
)
from members.queries.history import other_number
from programs.queries import SLIDING, Unit, sliding, units
from tenants.routers import CLIENT


@dataclass(frozen=True)
class Balance:
    """What a member has of one unit, in its smallest step; `shared` is what others of the household could add."""

    unit: Unit
    balance: int
    available: int
    pending: int
    held: int
    debt: int
    next_expiry: datetime | None
    next_expiry_amount: int
    shared: int = 0

    @property
    def spendable(self) -> int:
        """What can be spent now, the household's help included: its points make up for a debt first."""
        return self.available + max(self.shared - self.debt, 0)


def balances(*, member_id: UUID, at: datetime, of: Sequence[Unit] | None = None) -> list[Balance]:
    """The member's balance in every unit, also those not collected yet; `of` are the units if they are at hand."""
    of = units() if of is None else of
    with connections[CLIENT].cursor() as cursor:
        cursor.execute(_BALANCES, {"member": member_id, "at": at, **sliding(of)})
        rows = {row[0]: row[1:] for row in cursor.fetchall()}
    return [Balance(unit, *rows.get(unit.id, (0, 0, 0, 0, 0, None, 0))) for unit in of]


def lots_of(member_id: UUID) -> QuerySet[Lot]:
    """The lots of a member that still hold points, soonest expiry first; `ends_at` also where expiry slides."""
    lots = Lot.objects.filter(account__member=member_id, remaining__gt=0)
    lots = lots.annotate(ends_at=_ends_at(units()), other_number=other_number("entry__"))
    rows = lots.select_related("account__unit", "entry__purchase", "entry__activity", "entry__account__unit")
    return rows.order_by(F("ends_at").asc(nulls_last=True), "available_at", "pk")


def _ends_at(of: Sequence[Unit]) -> Coalesce:
    """When a lot ends: on its own date, or with its account where it slides."""
    slides = [
        When(
            Q(account__unit=unit.id) & (Q(available_at__gte=unit.slides_from) if unit.slides_from else Q()),
            then=F("account__slides_until"),
        )
        for unit in of
        if unit.expiry == "sliding"
    ]
    return Coalesce(F("expires_at"), Case(*slides, default=None, output_field=DateTimeField()))


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


_BALANCES = f"""
    WITH sliding AS ({SLIDING}), ends AS (
        SELECT a.id AS account_id, a.member_id, a.unit_id, l.remaining, l.held, l.available_at,
               CASE WHEN l.expires_at IS NOT NULL THEN l.expires_at
                    WHEN s.unit_id IS NOT NULL AND (s.since IS NULL OR l.available_at >= s.since) THEN a.slides_until
               END AS ends_at
        FROM members_pointsaccount a JOIN members_lot l ON l.account_id = a.id AND l.remaining > 0
        LEFT JOIN sliding s ON s.unit_id = a.unit_id
        WHERE a.member_id = %(member)s OR a.member_id = ANY(ARRAY(
            SELECT o.member_id FROM members_householdmember h
            JOIN members_householdmember o ON o.household_id = h.household_id AND o.left_at IS NULL
            WHERE h.member_id = %(member)s AND h.left_at IS NULL AND o.member_id <> h.member_id))
    ), next AS (
        SELECT DISTINCT ON (account_id) account_id, ends_at, sum(remaining)::bigint AS amount
        FROM ends WHERE ends_at > %(at)s AND member_id = %(member)s
        GROUP BY account_id, ends_at ORDER BY account_id, ends_at
    )
    SELECT COALESCE(a.unit_id, o.unit_id), COALESCE(a.balance, 0), COALESCE(a.available, 0), COALESCE(a.pending, 0),
           COALESCE(a.held, 0), COALESCE(a.debt, 0), a.ends_at, COALESCE(a.amount, 0), COALESCE(o.shared, 0)
    FROM (
        SELECT a.unit_id, a.balance, a.debt, n.ends_at, n.amount,
               (sum(l.remaining - l.held) FILTER (WHERE l.available_at <= %(at)s
                AND (l.ends_at IS NULL OR l.ends_at > %(at)s)))::bigint AS available,
               (sum(l.remaining) FILTER (WHERE l.available_at > %(at)s))::bigint AS pending,
               sum(l.held)::bigint AS held
        FROM members_pointsaccount a LEFT JOIN ends l ON l.account_id = a.id LEFT JOIN next n ON n.account_id = a.id
        WHERE a.member_id = %(member)s GROUP BY a.id, n.ends_at, n.amount
    ) AS a FULL JOIN (
        SELECT unit_id, sum(remaining - held)::bigint AS shared FROM ends
        WHERE member_id <> %(member)s AND available_at <= %(at)s AND (ends_at IS NULL OR ends_at > %(at)s)
        GROUP BY unit_id
    ) AS o ON o.unit_id = a.unit_id
"""  # noqa: S608 (constants alone)
