# ruff: noqa: S608 (put together of constants; values travel apart)
"""What members hold and have not used yet: when it ends, when it was earned, and how much of it will be used."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import connections

from members.queries.projection import Cell, Flow, State, add_month, states
from programs.queries import Unit, units
from tenants.routers import CLIENT

SOON_MONTHS: Final = 3


@dataclass(frozen=True)
class CohortLine:
    """The points earned in one month and what became of them; expected is of those still there."""

    month: date
    earned: int
    redeemed: int
    expired: int
    taken_back: int
    outstanding: int
    expected: int

    @property
    def breakage(self) -> int:
        """How many of those still there will never be used."""
        return self.outstanding - self.expected


@dataclass(frozen=True)
class UnitLiability:
    """What members hold of one unit: `in_lots` less what some of them owe; estimates only where `is_enough` history."""

    unit: Unit
    in_lots: int
    owed: int
    by_end: list[tuple[date | None, int]]
    cohorts: list[CohortLine]
    is_enough: bool
    ends_soon: int
    soon: date

    @property
    def outstanding(self) -> int:
        """What is owed to members on the whole: the sum of all balances."""
        return self.in_lots - self.owed

    @property
    def expected(self) -> int:
        """How much of what is there will be used."""
        return sum(line.expected for line in self.cohorts)

    @property
    def breakage(self) -> int:
        """How much of what is there will never be used."""
        return sum(line.breakage for line in self.cohorts)


@dataclass(frozen=True)
class Past:
    """All that ever came and went of one unit, and the sales that it was earned with, by month, in minor units."""

    unit: Unit
    flows: Sequence[Flow]
    sales: dict[date, int]
    owed: int


def pasts(*, zone: str) -> list[Past]:
    """What came and went of each unit, in two passes over the ledger."""
    flows: dict[UUID, list[Flow]] = defaultdict(list)
    sales: dict[UUID, dict[date, int]] = defaultdict(dict)
    with connections[CLIENT].cursor() as cursor:
        cursor.execute(_FLOWS, {"zone": zone})
        for unit_id, *flow in cursor.fetchall():
            flows[unit_id].append(Flow(*flow))
        cursor.execute(_SALES, {"zone": zone})
        for unit_id, month, amount in cursor.fetchall():
            sales[unit_id][month] = amount
        cursor.execute(_OWED)
        owed = dict(cursor.fetchall())
    return [Past(unit, flows[unit.id], sales[unit.id], owed.get(unit.id, 0)) for unit in units()]


def liability(*, of: Sequence[Past], at: datetime, zone: ZoneInfo) -> list[UnitLiability]:
    """What members hold of each unit now."""
    today = at.astimezone(zone).date()
    return [_of_unit(past, today=today) for past in of]


def _of_unit(past: Past, *, today: date) -> UnitLiability:
    *_before, now = states(past.flows, today=today)
    by_end: dict[date | None, int] = defaultdict(int)
    for (_cohort, ends), cell in now.cells.items():
        by_end[ends] += cell.outstanding
    soon = today.replace(day=1)
    for _month in range(SOON_MONTHS):
        soon = add_month(soon)
    return UnitLiability(
        unit=past.unit,
        in_lots=sum(by_end.values()),
        owed=past.owed,
        by_end=[(end, by_end[end]) for end in sorted(by_end, key=lambda end: end or date.max) if by_end[end]],
        cohorts=_lines(now),
        is_enough=now.outlook.is_enough,
        ends_soon=sum(amount for end, amount in by_end.items() if end is not None and end < soon),
        soon=soon,
    )


def _lines(now: State) -> list[CohortLine]:
    def line(month: date, cell: Cell, expected: int) -> CohortLine:
        return CohortLine(month, cell.earned, cell.redeemed, cell.expired, cell.taken_back, cell.outstanding, expected)

    return [line(month, cell, expected) for month, (cell, expected) in now.cohorts().items()]


def _month(moment: str) -> str:
    return f"date_trunc('month', {moment} AT TIME ZONE %(zone)s)::date"


# A point that was moved keeps the month in which it was earned: its lot is followed back to the first one.
_FLOWS: Final = f"""
    WITH RECURSIVE walk AS (
        SELECT e.id AS lot_id, e.id AS at_lot, e.kind, e.corrects_id, e.occurred_at
        FROM members_ledgerentry e JOIN members_lot l ON l.entry_id = e.id WHERE e.kind = 'move'
        UNION ALL
        SELECT w.lot_id, e.id, e.kind, e.corrects_id, e.occurred_at FROM walk w
        JOIN members_allocation x ON x.entry_id = w.corrects_id JOIN members_ledgerentry e ON e.id = x.lot_id
        WHERE w.kind = 'move'
    ), born AS (
        SELECT lot_id, min(occurred_at) AS at FROM walk WHERE kind <> 'move' GROUP BY lot_id
    ), lot AS MATERIALIZED (
        SELECT l.entry_id, a.unit_id, {_month("COALESCE(b.at, e.occurred_at)")} AS cohort,
               date_trunc('month', (COALESCE(l.expires_at, CASE WHEN u.expiry = 'sliding' THEN a.slides_until END)
                                    AT TIME ZONE %(zone)s)::date - 1)::date AS ends,
               {_month("e.occurred_at")} AS month, e.amount,
               CASE WHEN e.kind = 'move' THEN 'corrected'
                    WHEN e.kind = 'earn' AND (e.purchase_id IS NOT NULL OR v.amount > 0) THEN 'sale'
                    ELSE 'given' END AS what
        FROM members_lot l JOIN members_ledgerentry e ON e.id = l.entry_id
        JOIN members_pointsaccount a ON a.id = l.account_id JOIN programs_unittype u ON u.id = a.unit_id
        LEFT JOIN members_activity v ON v.id = e.activity_id LEFT JOIN born b ON b.lot_id = l.entry_id
    )
    SELECT unit_id, cohort, ends, month, what, sum(CASE what WHEN 'corrected' THEN -amount ELSE amount END)::bigint
    FROM lot GROUP BY 1, 2, 3, 4, 5
    UNION ALL
    SELECT l.unit_id, l.cohort, l.ends, {_month("e.occurred_at")},
           CASE WHEN x.entry_id = x.lot_id THEN 'reversed' WHEN e.kind IN ('spend', 'restore') THEN 'redeemed'
                WHEN e.kind = 'expire' THEN 'expired' WHEN e.kind = 'reverse' THEN 'reversed' ELSE 'corrected' END,
           sum(x.amount)::bigint
    FROM members_allocation x JOIN members_ledgerentry e ON e.id = x.entry_id JOIN lot l ON l.entry_id = x.lot_id
    GROUP BY 1, 2, 3, 4, 5
"""
_SALES: Final = f"""
    SELECT a.unit_id, {_month("e.occurred_at")}, sum(COALESCE(p.amount, v.amount))::bigint
    FROM members_ledgerentry e JOIN members_pointsaccount a ON a.id = e.account_id
    LEFT JOIN members_purchase p ON p.id = e.purchase_id LEFT JOIN members_activity v ON v.id = e.activity_id
    WHERE e.kind = 'earn' AND COALESCE(p.amount, v.amount) > 0 GROUP BY 1, 2
"""
_OWED: Final = "SELECT unit_id, sum(debt)::bigint FROM members_pointsaccount WHERE debt > 0 GROUP BY unit_id"
