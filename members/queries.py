"""Reads of members: finding them, what they have, what happened, and why."""

from calendar import isleap
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from django.db import connections
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Sum

from members.models import (
    Activity,
    Identifier,
    Insight,
    LedgerEntry,
    Lot,
    Member,
    ParkedReturn,
    PointsAccount,
    Purchase,
    PurchaseLine,
    RuleTrace,
    TierStatus,
    WorkItem,
)
from programs.queries import ProgramInForce, Unit, units
from programs.rules import missing_to_keep, missing_to_next
from tenants.routers import CLIENT

# ── finding members ─────────────────────────────────────────────────────────────────────────────────────────────────


def member_ids_for(values: Sequence[str]) -> dict[str, UUID]:
    """The active members that identifiers or member numbers lead to; a merged one leads to the member it became."""
    if not values:
        return {}
    with connections[CLIENT].cursor() as cursor:
        cursor.execute(_FIND, {"values": list(values)})
        return dict(cursor.fetchall())


def find_members(text: str, *, limit: int = 20) -> QuerySet[Member]:
    """Members for one search field: any identifier or number exactly, else names that contain the text."""
    bare = text.strip()
    digits = "+" + "".join(c for c in bare if c.isdigit())
    matching = Identifier.objects.filter(
        member=OuterRef("pk"), value__in={bare, bare.lower(), bare.upper(), bare.replace(" ", "").upper(), digits}
    )
    found = Member.objects.filter(Q(Exists(matching)) | Q(number=bare.upper()) | Q(identity__name__icontains=bare))
    return found.filter(status=Member.Status.ACTIVE).select_related("identity", "insight").order_by("pk")[:limit]


def member_by_id(member_id: UUID) -> Member | None:
    """The member with everything its page shows in the head."""
    return (
        Member.objects.select_related("identity", "insight", "tier_status")
        .prefetch_related("identifiers")
        .filter(pk=member_id)
        .first()
    )


# ── what they have ──────────────────────────────────────────────────────────────────────────────────────────────────


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


def balances(*, member_id: UUID, at: datetime) -> list[Balance]:
    """The member's balance in every unit, also those not collected yet."""
    with connections[CLIENT].cursor() as cursor:
        cursor.execute(_BALANCES, {"member": member_id, "at": at})
        rows = {row[0]: row[1:] for row in cursor.fetchall()}
    return [Balance(unit, *rows.get(unit.id, (0, 0, 0, 0, 0, None, 0))) for unit in units()]


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


# ── what happened ───────────────────────────────────────────────────────────────────────────────────────────────────


def entries_of(member_id: UUID) -> QuerySet[LedgerEntry]:
    """The member's ledger, newest first, with what each entry is about."""
    return (
        LedgerEntry.objects.filter(account__member_id=member_id)
        .select_related("account__unit", "purchase", "activity", "lot")
        .order_by("-id")
    )


def traces_of(source_ids: Sequence[UUID]) -> dict[UUID, list[RuleTrace]]:
    """Why purchases and activities earned what they did, by source; the rules that gave most come first."""
    traces: dict[UUID, list[RuleTrace]] = {source_id: [] for source_id in source_ids}
    rows = RuleTrace.objects.filter(source_id__in=source_ids).select_related("rule__unit")
    for trace in rows.order_by("source_id", F("amount").desc(), "rule__code"):
        traces[trace.source_id].append(trace)
    return traces


def purchases() -> QuerySet[Purchase]:
    """Purchases of the client, newest first, with their lines and member."""
    return Purchase.objects.select_related("member", "location", "sale").prefetch_related("lines").order_by("-id")


def purchase_by_id(purchase_id: UUID) -> Purchase | None:
    """One purchase with its lines."""
    return purchases().filter(pk=purchase_id).first()


def activities() -> QuerySet[Activity]:
    """Activities of the client, newest first."""
    return Activity.objects.select_related("member", "location").order_by("-id")


def is_waiting(source_id: UUID) -> bool:
    """Whether a purchase or activity still waits for its points."""
    return WorkItem.objects.filter(pk=source_id).exists()


def set_aside() -> QuerySet[WorkItem]:
    """Items that failed too often and wait for a person."""
    return WorkItem.objects.filter(quarantined_at__isnull=False).order_by("quarantined_at")


def parked_returns() -> QuerySet[ParkedReturn]:
    """Return lines that found no sale and wait for a manager, newest first."""
    return (
        ParkedReturn.objects.filter(state=ParkedReturn.State.OPEN)
        .select_related("line__purchase__member__identity", "line__purchase__location")
        .order_by("-line_id")
    )


def birthdays_on(day: date) -> list[UUID]:
    """Active members whose birthday it is; those born on 29 February celebrate on the 28th in other years."""
    days = [(day.month, day.day)]
    if (day.month, day.day) == (2, 28) and not isleap(day.year):
        days.append((2, 29))
    born = Q()
    for month, number in days:
        born |= Q(identity__birthday__month=month, identity__birthday__day=number)
    return list(Member.objects.filter(born, status=Member.Status.ACTIVE).order_by("pk").values_list("pk", flat=True))


# ── figures ─────────────────────────────────────────────────────────────────────────────────────────────────────────


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


def open_lots(*, account_id: UUID) -> QuerySet[Lot]:
    """The lots of an account that still hold points, soonest expiry first."""
    return Lot.objects.filter(account_id=account_id, remaining__gt=0).order_by(F("expires_at").asc(nulls_last=True))


_FIND = """
    WITH wanted AS (SELECT DISTINCT v FROM unnest(%(values)s::text[]) AS r(v)),
    found AS (
        SELECT w.v, i.member_id AS id FROM wanted w JOIN members_identifier i ON i.value = w.v
        UNION SELECT w.v, m.id FROM wanted w JOIN members_member m ON m.number = w.v
        UNION SELECT w.v, m.id FROM wanted w JOIN members_member m
            ON m.id = CASE WHEN w.v ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN w.v::uuid END
    )
    SELECT f.v, min(COALESCE(m.merged_into_id, m.id)::text)::uuid FROM found f JOIN members_member m ON m.id = f.id
    WHERE m.status <> 'closed' GROUP BY f.v HAVING count(DISTINCT COALESCE(m.merged_into_id, m.id)) = 1
"""
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
_DAYS = """
    WITH days AS (
        SELECT day::date FROM generate_series(%(first)s::date, %(last)s::date, interval '1 day') AS r(day)
    ), joined AS (
        SELECT (joined_at AT TIME ZONE %(zone)s)::date AS day, count(*) AS n
        FROM members_member WHERE status = 'active' GROUP BY 1
    ), bought AS (
        SELECT p.day, count(DISTINCT p.member_id) AS active_members, count(*) FILTER (WHERE p.kind = 'sale') AS sales,
               count(*) FILTER (WHERE p.kind <> 'sale') AS returns, sum(p.amount) AS revenue,
               sum(p.amount) FILTER (WHERE i.first_day < p.day) AS repeat_revenue
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
           COALESCE(b.returns, 0) AS returns, COALESCE(b.revenue, 0)::bigint AS revenue,
           COALESCE(b.repeat_revenue, 0)::bigint AS repeat_revenue, COALESCE(m.earned, 0)::bigint AS earned,
           COALESCE(m.reversed, 0)::bigint AS reversed, COALESCE(m.spent, 0)::bigint AS spent,
           (COALESCE((SELECT sum(balance) FROM members_pointsaccount), 0)
            - COALESCE((SELECT sum(total) FROM moved e WHERE e.day > d.day), 0))::bigint AS outstanding
    FROM days d LEFT JOIN bought b ON b.day = d.day LEFT JOIN moved m ON m.day = d.day ORDER BY d.day
"""
