"""Figures over a whole client."""

from datetime import date, datetime
from typing import Any

from django.db import connections
from django.db.models import Count, QuerySet, Sum

from members.models import (
    Insight,
    LedgerEntry,
    Member,
    ParkedReturn,
    PointsAccount,
    Purchase,
    PurchaseLine,
    WorkItem,
)
from programs.queries import units
from tenants.routers import CLIENT


def client_figures(*, unit_code: str | None = None, top: int = 10) -> dict[str, Any]:
    """
    The client's figures as counted from rows; points of one unit (the first by code unless named), smallest step.

    Sales and returns are documents, lines are those of both, `unmatched_lines` found no sale for all they bring back.
    """
    unit = next((u for u in units() if unit_code in {None, u.code}), None)
    kinds = dict(Purchase.objects.values_list("kind").annotate(n=Count("pk")))
    entries = LedgerEntry.objects.filter(account__unit_id=unit.id if unit else None)
    sums = dict(entries.values_list("kind").annotate(total=Sum("amount")))
    accounts = PointsAccount.objects.filter(unit_id=unit.id if unit else None)
    return {
        "lines": PurchaseLine.objects.count(),
        "members": Member.objects.filter(status=Member.Status.ACTIVE).count(),
        "sales": kinds.get("sale", 0),
        "returns": kinds.get("return", 0) + kinds.get("void", 0),
        "earned": sums.get("earn", 0),
        "reversed": -sums.get("reverse", 0),
        "unmatched_lines": ParkedReturn.objects.count(),
        "balance": accounts.aggregate(total=Sum("balance"))["total"] or 0,
        "top_members": _top_members(accounts=accounts, top=top),
    }


def _top_members(*, accounts: QuerySet[PointsAccount], top: int) -> list[dict[str, Any]]:
    rows = accounts.select_related("member").prefetch_related("member__identifiers").order_by("-balance", "pk")[:top]
    return [
        {
            "member": next((i.value for i in row.member.identifiers.all() if i.kind == "pos"), row.member.number),
            "balance": row.balance,
        }
        for row in rows
    ]


def segments() -> dict[str, int]:
    """How many members are in each segment."""
    counted = Insight.objects.exclude(segment="").values_list("segment").annotate(n=Count("pk"))
    return dict(counted.order_by("segment"))


def figures_by_day(*, first: date, last: date, zone: str) -> list[dict[str, Any]]:
    """The figures of each local day from `first` to `last`: what happened on it, and what stood at its end."""
    with connections[CLIENT].cursor() as cursor:
        cursor.execute(_DAYS, {"first": first, "last": last, "zone": zone})
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def open_work() -> dict[str, int]:
    """What waits now: purchases for their points, parked returns for a manager."""
    return {
        "waiting": WorkItem.objects.count(),
        "parked": ParkedReturn.objects.filter(state=ParkedReturn.State.OPEN).count(),
    }


def visits_by_hour(*, since: datetime, zone: str) -> list[tuple[int, int, int]]:
    """Sales since then by ISO weekday and hour of the shop: (weekday, hour, how many)."""
    with connections[CLIENT].cursor() as cursor:
        cursor.execute(_VISITS, {"since": since, "zone": zone})
        return [(weekday, hour, n) for weekday, hour, n in cursor.fetchall()]


def newest_sale() -> datetime | None:
    """When the newest sale that we know of was received."""
    newest = Purchase.objects.filter(kind=Purchase.Kind.SALE).order_by("-pk").values_list("received_at", flat=True)
    return newest.first()


_DAYS = """
    WITH days AS (
        SELECT day::date FROM generate_series(%(first)s::date, %(last)s::date, interval '1 day') AS r(day)
    ), joined AS (
        SELECT (joined_at AT TIME ZONE %(zone)s)::date AS day, count(*) AS n
        FROM members_member WHERE status = 'active' GROUP BY 1
    ), bought AS (
        SELECT p.day, count(DISTINCT p.member_id) AS active_members, count(*) FILTER (WHERE p.kind = 'sale') AS sales,
               count(*) FILTER (WHERE p.kind <> 'sale') AS returns, sum(p.amount) AS revenue,
               sum(p.amount) FILTER (WHERE i.first_day < p.day) AS repeat_revenue,
               count(*) FILTER (WHERE p.kind = 'sale' AND i.first_day < p.day) AS repeat_sales
        FROM (SELECT member_id, day, kind, amount FROM members_purchase WHERE day BETWEEN %(first)s AND %(last)s
              UNION ALL
              SELECT member_id, day, 'sale', amount FROM members_activity
              WHERE amount > 0 AND day BETWEEN %(first)s AND %(last)s) p
        LEFT JOIN members_insight i ON i.member_id = p.member_id GROUP BY p.day
    ), moved AS (
        SELECT (occurred_at AT TIME ZONE %(zone)s)::date AS day, sum(amount) AS total,
               sum(amount) FILTER (WHERE kind = 'earn') AS earned,
               -sum(amount) FILTER (WHERE kind = 'reverse') AS reversed,
               -sum(amount) FILTER (WHERE kind = 'spend') AS spent
        FROM members_ledgerentry
        WHERE occurred_at >= (%(first)s::date::timestamp AT TIME ZONE %(zone)s) GROUP BY 1
    )
    SELECT d.day, COALESCE((SELECT sum(n) FROM joined j WHERE j.day <= d.day), 0)::integer AS members,
           COALESCE((SELECT n FROM joined j WHERE j.day = d.day), 0)::integer AS new_members,
           COALESCE(b.active_members, 0) AS active_members, COALESCE(b.sales, 0) AS sales,
           COALESCE(b.repeat_sales, 0) AS repeat_sales,
           COALESCE(b.returns, 0) AS returns, COALESCE(b.revenue, 0)::bigint AS revenue,
           COALESCE(b.repeat_revenue, 0)::bigint AS repeat_revenue, COALESCE(m.earned, 0)::bigint AS earned,
           COALESCE(m.reversed, 0)::bigint AS reversed, COALESCE(m.spent, 0)::bigint AS spent,
           (COALESCE((SELECT sum(balance) FROM members_pointsaccount), 0)
            - COALESCE((SELECT sum(total) FROM moved e WHERE e.day > d.day), 0))::bigint AS outstanding
    FROM days d LEFT JOIN bought b ON b.day = d.day LEFT JOIN moved m ON m.day = d.day ORDER BY d.day
"""


_VISITS = """
    SELECT extract(isodow FROM occurred_at AT TIME ZONE %(zone)s)::integer,
           extract(hour FROM occurred_at AT TIME ZONE %(zone)s)::integer, count(*)
    FROM members_purchase WHERE kind = 'sale' AND occurred_at >= %(since)s GROUP BY 1, 2
"""
