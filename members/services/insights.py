"""What purchases tell of members: counts kept up with each credit, scores and segments refreshed for those touched."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import connections, transaction

from members import ledger, rules
from members.models import Insight, InsightScale
from tenants.routers import CLIENT

# Members held at a time while all are scored anew.
PART = 1000
_GROWN = 1.1


@dataclass(slots=True)
class Figures:
    """Counts of one member that any order of purchases leaves the same."""

    purchases: int = 0
    spend: int = 0
    first_day: date | None = None
    last_day: date | None = None
    last_visit: date | None = None

    def note_sale(self, *, amount: int, day: date) -> None:
        """Count a sale of `amount` minor units."""
        self.purchases += 1
        self.spend += amount
        if self.first_day is None or day < self.first_day:
            self.first_day = day
        if self.last_day is None or day > self.last_day:
            self.last_day = day
        self.note_visit(day=day)

    def note_return(self, *, amount: int) -> None:
        """Count a return; its amount is negative."""
        self.spend += amount

    def note_visit(self, *, day: date) -> None:
        """Remember the latest day on which the member was there."""
        if self.last_visit is None or day > self.last_visit:
            self.last_visit = day


def save(*, cursor: Any, figures: dict[UUID, Figures]) -> None:
    """Write the counts of a batch's members."""
    rows = [
        {
            "member_id": str(member_id),
            "purchases": one.purchases,
            "spend": one.spend,
            "first_day": one.first_day.isoformat() if one.first_day else None,
            "last_day": one.last_day.isoformat() if one.last_day else None,
            "last_visit": one.last_visit.isoformat() if one.last_visit else None,
        }
        for member_id, one in figures.items()
    ]
    cursor.execute(_UPSERT, [json.dumps(rows)])


def refresh(*, member_ids: Sequence[UUID], at: datetime, zone: ZoneInfo) -> None:
    """Score these members and put each into its segment."""
    scale = InsightScale.objects.first() or rescale(at=at, zone=zone)
    today = at.astimezone(zone).date()
    with connections[CLIENT].cursor() as cursor:
        cursor.execute(_SELECT, [list(member_ids)])
        rows = [row for row in (_scored(*one, scale=scale, today=today) for one in cursor.fetchall()) if row]
        if rows:
            cursor.execute(_UPDATE, {"rows": json.dumps(rows), "at": at})


def _scored(
    member_id: UUID, purchases: int, spend: int, first: date | None, last: date | None, *before: Any,
    scale: InsightScale, today: date,
) -> dict[str, Any] | None:  # fmt: skip
    if first is None or last is None:
        return None
    days_since = max((today - last).days, 0)
    frequency = rules.score(value=purchases, bounds=scale.purchases)
    value = rules.score(value=spend, bounds=scale.spend)
    recency = rules.score(value=days_since, bounds=scale.recency_days, rising=False)
    gap = rules.gap_days(purchases=purchases, first_day=first, last_day=last, usual=scale.usual_gap_days)
    segment = rules.segment_of(purchases=purchases, days_since=days_since, gap=gap, frequency=frequency, value=value)
    if before == (recency, frequency, value, segment):
        return None
    return {"member_id": str(member_id), "r": recency, "f": frequency, "m": value, "segment": segment}


def rescale(*, at: datetime, zone: ZoneInfo) -> InsightScale:
    """Take the shop's yardsticks anew from all members: quintiles of recency, frequency, value; the usual gap."""
    with connections[CLIENT].cursor() as cursor:
        cursor.execute(_QUINTILES, {"today": at.astimezone(zone).date()})
        recency, purchases, spend, gap, members = cursor.fetchone()
    scale, _new = InsightScale.objects.update_or_create(
        id=1,
        defaults={
            "recency_days": _ascending(recency),
            "purchases": _ascending(purchases),
            "spend": _ascending(spend),
            "usual_gap_days": int(gap or 30),
            "members": members,
            "at": at,
        },
    )
    return scale


def _ascending(bounds: Iterable[int] | None) -> list[int]:
    return [int(bound) for bound in bounds or [0, 0, 0, 0]]


def rescale_if_grown(*, at: datetime, zone: ZoneInfo) -> bool:
    """Take the yardsticks anew once a tenth more members have purchases; whether that was so."""
    scale = InsightScale.objects.first()
    members = Insight.objects.filter(purchases__gt=0).count()
    if scale is not None and members < scale.members * _GROWN:
        return False
    rescale(at=at, zone=zone)
    return True


def refresh_all(*, at: datetime, zone: ZoneInfo) -> list[UUID]:
    """
    Score every member with purchases and find their favourites; their ids.

    Each part is a transaction of its own, and its members are held as crediting holds them: what waits of them is
    passed over for that moment instead of waited for. A caller's transaction would hold them all until its end.

    :raises RuntimeError: within a transaction
    """
    member_ids = list(Insight.objects.filter(purchases__gt=0).order_by("pk").values_list("pk", flat=True))
    for start in range(0, len(member_ids), PART):
        part = member_ids[start : start + PART]
        with transaction.atomic(durable=True):
            ledger.lock(part)
            refresh(member_ids=part, at=at, zone=zone)
            find_favourites(member_ids=part)
    return member_ids


def find_favourites(*, member_ids: Sequence[UUID]) -> None:
    """Remember for each member the product bought most often, if it was bought at least twice."""
    with connections[CLIENT].cursor() as cursor:
        cursor.execute(_FAVOURITES, [list(member_ids)])


_UPSERT = """
    INSERT INTO members_insight (member_id, purchases, spend, first_day, last_day, last_visit, recency, frequency,
                                 value, segment, favourite)
    SELECT member_id, purchases, spend, first_day, last_day, last_visit, 0, 0, 0, '', ''
    FROM jsonb_to_recordset(%s::jsonb) AS r(member_id uuid, purchases integer, spend bigint, first_day date,
         last_day date, last_visit date)
    ON CONFLICT (member_id) DO UPDATE SET purchases = excluded.purchases, spend = excluded.spend,
        first_day = excluded.first_day, last_day = excluded.last_day, last_visit = excluded.last_visit
"""
_SELECT = """
    SELECT member_id, purchases, spend, first_day, last_day, recency, frequency, value, segment
    FROM members_insight WHERE member_id = ANY(%s::uuid[]) AND first_day IS NOT NULL
"""
_UPDATE = """
    UPDATE members_insight i
    SET recency = r.r, frequency = r.f, value = r.m, segment = r.segment, refreshed_at = %(at)s
    FROM jsonb_to_recordset(%(rows)s::jsonb) AS r(member_id uuid, r smallint, f smallint, m smallint, segment text)
    WHERE i.member_id = r.member_id
"""
_QUINTILES = """
    SELECT percentile_disc(ARRAY[0.2, 0.4, 0.6, 0.8]) WITHIN GROUP (ORDER BY %(today)s - last_day),
           percentile_disc(ARRAY[0.2, 0.4, 0.6, 0.8]) WITHIN GROUP (ORDER BY purchases),
           percentile_disc(ARRAY[0.2, 0.4, 0.6, 0.8]) WITHIN GROUP (ORDER BY spend),
           percentile_disc(0.5) WITHIN GROUP (ORDER BY (last_day - first_day) / (purchases - 1))
               FILTER (WHERE purchases > 1),
           count(*)
    FROM members_insight WHERE purchases > 0
"""
_FAVOURITES = """
    WITH bought AS (
        SELECT p.member_id, l.sku, count(*) AS times FROM members_purchase p
        JOIN members_purchaseline l ON l.purchase_id = p.id
        WHERE p.member_id = ANY(%s::uuid[]) AND p.kind = 'sale' AND l.sku <> '' GROUP BY p.member_id, l.sku
    ), best AS (
        SELECT DISTINCT ON (member_id) member_id, sku FROM bought WHERE times > 1 ORDER BY member_id, times DESC, sku
    )
    UPDATE members_insight i SET favourite = b.sku FROM best b
    WHERE i.member_id = b.member_id AND i.favourite <> b.sku
"""
