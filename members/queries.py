"""Reads of members: finding them, what they have, what happened, and why."""

from calendar import isleap
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from django.db import connections
from django.db.models import Count, Exists, F, FilteredRelation, OuterRef, Prefetch, Q, QuerySet, Sum

from members.models import (
    Activity,
    Consent,
    Hold,
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
    TierChange,
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


def find_members(text: str, *, also: Sequence[str] = (), limit: int = 20) -> QuerySet[Member]:
    """
    Members for one search field: whom an identifier or number leads to, else those whose name contains the text.

    `also` are further spellings, such as a phone number with the code of the country.
    """
    found = _by_text(text, also=also).filter(status=Member.Status.ACTIVE)
    return found.select_related("identity", "insight").order_by("pk")[:limit]


def _by_text(text: str, *, also: Sequence[str] = ()) -> QuerySet[Member]:
    bare = text.strip()
    exact = [bare, bare.lower(), bare.upper(), bare.replace(" ", "").upper(), *also]
    if any(c.isdigit() for c in bare):
        exact.append("+" + "".join(c for c in bare if c.isdigit()))
    found = set(member_ids_for(list(dict.fromkeys(exact))).values())
    return Member.objects.filter(pk__in=found) if found else Member.objects.filter(identity__name__icontains=bare)


def member_by_id(member_id: UUID) -> Member | None:
    """The member with everything its page shows in the head."""
    return (
        Member.objects.select_related("identity", "insight", "tier_status")
        .prefetch_related("identifiers")
        .filter(pk=member_id)
        .first()
    )


# ── lists ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Asked:
    """Whom a list is to show; what is empty does not matter. Of `has`, ``no-`` before a kind means without one."""

    text: str = ""
    also: tuple[str, ...] = ()
    segment: str = ""
    tier: str | None = None
    has: str = ""
    joined_from: datetime | None = None
    joined_before: datetime | None = None


NO_SEGMENT = "none"
"""Members who have not bought anything."""
MARKETING = "marketing"
"""The consent to news by all channels; those to one channel begin with it."""


def listed(asked: Asked, *, unit_id: UUID | None = None) -> QuerySet[Member]:
    """Active members whom a list asks for; ``account__balance`` is what they have of the unit."""
    found = _by_text(asked.text, also=asked.also) if asked.text else Member.objects.all()
    account = FilteredRelation("accounts", condition=Q(accounts__unit=unit_id))
    found = found.filter(status=Member.Status.ACTIVE).alias(account=account)
    if asked.segment == NO_SEGMENT:
        found = found.filter(~Exists(Insight.objects.filter(pk=OuterRef("pk")).exclude(segment="")))
    elif asked.segment:
        found = found.filter(insight__segment=asked.segment)
    if asked.tier is not None:
        found = found.filter(tier_status__tier=asked.tier) if asked.tier else found.filter(_without_tier())
    if asked.joined_from:
        found = found.filter(joined_at__gte=asked.joined_from)
    if asked.joined_before:
        found = found.filter(joined_at__lt=asked.joined_before)
    return found.filter(_reached_by(asked.has)) if asked.has else found


def _without_tier() -> Q:
    return Q(~Exists(TierStatus.objects.filter(pk=OuterRef("pk")).exclude(tier="")))


def _reached_by(has: str) -> Q:
    found = Exists(Identifier.objects.filter(member=OuterRef("pk"), kind=has.removeprefix("no-")))
    return ~Q(found) if has.startswith("no-") else Q(found)


@dataclass(frozen=True)
class MemberLine:
    """One member as a list shows it: what they have by unit, and what they allowed last."""

    member: Member
    balances: dict[UUID, int]
    consents: dict[str, tuple[bool, datetime]]

    @property
    def agrees_to_news(self) -> bool:
        """Whether news may be sent by any channel: what was said last counts, for all channels or for one."""
        said = {purpose: one for purpose, one in self.consents.items() if purpose.startswith(MARKETING)}
        withdrawn = next((at for granted, at in [said[MARKETING]] if not granted), None) if MARKETING in said else None
        return any(granted and (withdrawn is None or at > withdrawn) for granted, at in said.values())

    def identifier(self, kind: str) -> str:
        """One of their identifiers of that kind, or nothing."""
        return next((one.value for one in self.member.identifiers.all() if one.kind == kind), "")


def member_lines(member_ids: Sequence[UUID], *, with_consents: bool = False) -> list[MemberLine]:
    """These members in that order, with all that a list shows of them, in the same few queries for any number."""
    members = (
        Member.objects.select_related("identity", "insight", "tier_status")
        .prefetch_related(Prefetch("identifiers", Identifier.objects.order_by("pk")))
        .in_bulk(list(member_ids))
    )
    held: dict[UUID, dict[UUID, int]] = {member_id: {} for member_id in member_ids}
    accounts = PointsAccount.objects.filter(member__in=held).values_list("member_id", "unit_id", "balance")
    for member_id, unit_id, balance in accounts:
        held[member_id][unit_id] = balance
    allowed = _allowed(member_ids) if with_consents else {}
    return [MemberLine(members[one], held[one], allowed.get(one, {})) for one in member_ids if one in members]


def _allowed(member_ids: Sequence[UUID]) -> dict[UUID, dict[str, tuple[bool, datetime]]]:
    newest = Consent.objects.filter(member__in=list(member_ids)).order_by("member", "purpose", "-at", "-pk")
    allowed: dict[UUID, dict[str, tuple[bool, datetime]]] = {}
    rows = newest.distinct("member", "purpose").values_list("member_id", "purpose", "granted", "at")
    for member_id, purpose, granted, at in rows:
        allowed.setdefault(member_id, {})[purpose] = (granted, at)
    return allowed


def tiers_held() -> dict[str, int]:
    """How many active members hold each tier, by code; none is an empty code."""
    rows = TierStatus.objects.filter(member__status=Member.Status.ACTIVE)
    held = dict(rows.exclude(tier="").values_list("tier").annotate(n=Count("pk")))
    members = Member.objects.filter(status=Member.Status.ACTIVE).count()
    return {**held, "": members - sum(held.values())}


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


def balances(*, member_id: UUID, at: datetime, of: Sequence[Unit] | None = None) -> list[Balance]:
    """The member's balance in every unit, also those not collected yet; `of` are the units if they are at hand."""
    with connections[CLIENT].cursor() as cursor:
        cursor.execute(_BALANCES, {"member": member_id, "at": at})
        rows = {row[0]: row[1:] for row in cursor.fetchall()}
    return [Balance(unit, *rows.get(unit.id, (0, 0, 0, 0, 0, None, 0))) for unit in (units() if of is None else of)]


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
    found = Purchase.objects.select_related("member__identity", "location", "sale")
    return found.prefetch_related("lines").order_by("-id")


def purchase_by_id(purchase_id: UUID) -> Purchase | None:
    """One purchase with its lines."""
    return purchases().filter(pk=purchase_id).first()


def activities() -> QuerySet[Activity]:
    """Activities of the client, newest first."""
    return Activity.objects.select_related("member", "location").order_by("-id")


def family_of(member_id: UUID) -> list[UUID]:
    """The member and those merged into it: what they bought and held before keeps its rows."""
    return [member_id, *Member.objects.filter(merged_into=member_id).values_list("pk", flat=True)]


def purchases_of(member_ids: Sequence[UUID]) -> QuerySet[Purchase]:
    """What these members bought and brought back, newest first."""
    bought = Purchase.objects.filter(member__in=list(member_ids))
    return bought.select_related("location").prefetch_related("lines").order_by("-occurred_at", "-id")


def points_of_purchases(purchase_ids: Sequence[UUID]) -> dict[UUID, list[tuple[UUID, int]]]:
    """What each purchase moved, by unit, in the unit's smallest step."""
    moved: dict[UUID, list[tuple[UUID, int]]] = {}
    rows = LedgerEntry.objects.filter(purchase__in=list(purchase_ids)).values_list("purchase_id", "account__unit_id")
    for purchase_id, unit_id, total in rows.annotate(total=Sum("amount")).order_by("account__unit__code"):
        moved.setdefault(purchase_id, []).append((unit_id, total))
    return moved


def entries_of_purchase(purchase_id: UUID) -> QuerySet[LedgerEntry]:
    """What a purchase moved, oldest first."""
    moved = LedgerEntry.objects.filter(purchase=purchase_id).select_related("account__unit", "purchase", "activity")
    return moved.order_by("pk")


def returns_of(purchase_id: UUID) -> QuerySet[Purchase]:
    """What brought something of a sale back, oldest first: by naming it, or by its lines being matched to it."""
    matched = Purchase.objects.filter(lines__matches__sale_line__purchase=purchase_id).values("pk")
    return Purchase.objects.filter(Q(sale=purchase_id) | Q(pk__in=matched)).distinct().order_by("occurred_at", "pk")


def purchases_by_document(document: str, *, limit: int = 5) -> QuerySet[Purchase]:
    """Receipts of that number, newest first: from several locations there can be several."""
    found = Purchase.objects.filter(document=document)
    return found.select_related("member__identity", "location").order_by("-occurred_at", "-pk")[:limit]


def lots_of(member_id: UUID) -> QuerySet[Lot]:
    """The lots of a member that still hold points, soonest expiry first."""
    lots = Lot.objects.filter(account__member=member_id, remaining__gt=0)
    rows = lots.select_related("account__unit", "entry__purchase", "entry__activity", "entry__account__unit")
    return rows.order_by(F("expires_at").asc(nulls_last=True), "available_at", "pk")


def tier_changes_of(member_ids: Sequence[UUID]) -> QuerySet[TierChange]:
    """Moves between tiers, newest first."""
    return TierChange.objects.filter(member__in=list(member_ids)).order_by("-at", "-pk")


def consents_of(member_ids: Sequence[UUID]) -> QuerySet[Consent]:
    """All that was allowed or withdrawn, newest first."""
    return Consent.objects.filter(member__in=list(member_ids)).order_by("-at", "-pk")


def has_open_hold(member_id: UUID) -> bool:
    """Whether points of a member are set aside for a reward."""
    return Hold.objects.filter(account__member=member_id, state=Hold.State.HELD).exists()


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


def best_balances(*, unit_id: UUID, top: int) -> list[PointsAccount]:
    """The accounts of one unit that hold most."""
    rows = PointsAccount.objects.filter(unit=unit_id, balance__gt=0).select_related("member__identity")
    return list(rows.order_by("-balance", "pk")[:top])


def visits_by_hour(*, since: datetime, zone: str) -> list[tuple[int, int, int]]:
    """Sales since then by ISO weekday and hour of the shop: (weekday, hour, how many)."""
    with connections[CLIENT].cursor() as cursor:
        cursor.execute(_VISITS, {"since": since, "zone": zone})
        return [(weekday, hour, n) for weekday, hour, n in cursor.fetchall()]


def newest_sale() -> datetime | None:
    """When the newest sale that we know of was received."""
    newest = Purchase.objects.filter(kind=Purchase.Kind.SALE).order_by("-pk").values_list("received_at", flat=True)
    return newest.first()


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
