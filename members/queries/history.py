"""What happened, and why it earned what it did."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from uuid import UUID

from django.db.models import BooleanField, Case, CharField, F, OuterRef, Q, QuerySet, Subquery, Sum, When
from django.db.models.expressions import RawSQL
from django.db.models.functions import Coalesce

from members.models import (
    Activity,
    LedgerEntry,
    ParkedReturn,
    PointsAccount,
    Purchase,
    ReturnMatch,
    RuleTrace,
    WorkItem,
)


def entries_of(member_id: UUID) -> QuerySet[LedgerEntry]:
    """
    The member's ledger, newest first, with what each entry is about.

    The accounts are asked for first: told by id, a page is read from the index, and not the whole ledger for each page.
    """
    accounts = list(PointsAccount.objects.filter(member_id=member_id).values_list("pk", flat=True))
    return (
        LedgerEntry.objects.filter(account_id__in=accounts)
        .select_related("account__unit", "purchase", "activity", "lot")
        .annotate(other_number=other_number())
        .order_by("-id")
    )


def movements_of(member_id: UUID) -> QuerySet[LedgerEntry]:
    """As `entries_of`, but what was moved lot by lot at once stands there once, as `moved_together` adds it up."""
    last_lots = RawSQL(_ENDS_ITS_MOVE, (), output_field=BooleanField())  # noqa: S611 - a constant
    return entries_of(member_id).filter(last_lots)


def moved_together(entries: Iterable[LedgerEntry]) -> dict[UUID, int]:
    """For those of `movements_of` that are moves: what went or came with each, all its lots together."""
    moves = [entry for entry in entries if entry.kind == LedgerEntry.Kind.MOVE]
    if not moves:
        return {}
    at_once = Q()
    for entry in moves:
        at_once |= Q(account_id=entry.account_id, at=entry.at)
    parts = LedgerEntry.objects.filter(at_once).annotate(other_number=other_number()).order_by("account_id", "pk")
    sums: dict[UUID, int] = {}
    for _move, run in groupby(parts, key=_together):
        lots = list(run)
        sums |= dict.fromkeys((lot.pk for lot in lots), sum(lot.amount for lot in lots))
    return {entry.pk: sums[entry.pk] for entry in moves}


def _together(entry: LedgerEntry) -> tuple[object, ...]:
    if entry.kind != LedgerEntry.Kind.MOVE:
        return (entry.pk,)
    way = entry.key.partition(":")[0]
    return entry.account_id, entry.at, way, entry.amount > 0, getattr(entry, "other_number", None)


# As an expression of the ORM this would take longer to put together than to answer.
_ENDS_ITS_MOVE = """
    (members_ledgerentry.kind <> 'move' OR NOT COALESCE((
        SELECT n.kind = 'move' AND n.at = members_ledgerentry.at
           AND sign(n.amount) = sign(members_ledgerentry.amount)
           AND split_part(n.key, ':', 1) = split_part(members_ledgerentry.key, ':', 1)
           AND COALESCE((SELECT o.account_id FROM members_ledgerentry o WHERE o.id = n.corrects_id),
                        (SELECT o.account_id FROM members_ledgerentry o
                         WHERE o.corrects_id = n.id AND o.kind = 'move' LIMIT 1))
             = COALESCE((SELECT o.account_id FROM members_ledgerentry o WHERE o.id = members_ledgerentry.corrects_id),
                        (SELECT o.account_id FROM members_ledgerentry o
                         WHERE o.corrects_id = members_ledgerentry.id AND o.kind = 'move' LIMIT 1))
        FROM members_ledgerentry n
        WHERE n.account_id = members_ledgerentry.account_id AND n.id > members_ledgerentry.id
        ORDER BY n.id LIMIT 1), false))
"""


def other_number(entry: str = "") -> Case:
    """The number of the member at the other end of a move; `entry` is the way to the entry from where one stands."""
    to = LedgerEntry.objects.filter(corrects=OuterRef(f"{entry}pk"), kind=LedgerEntry.Kind.MOVE)
    came_from = LedgerEntry.objects.filter(pk=OuterRef(f"{entry}corrects"))
    numbers = [Subquery(rows.values("account__member__number")[:1]) for rows in (came_from, to)]
    moved = When(**{f"{entry}kind": LedgerEntry.Kind.MOVE}, then=Coalesce(*numbers))
    return Case(moved, default=None, output_field=CharField())


def traces_of(source_ids: Sequence[UUID]) -> dict[UUID, list[RuleTrace]]:
    """
    Why purchases and activities earned what they did, by source; the rules that gave most come first.

    Where a return took from one more sale after it had been traced, the match with that sale carries the trace.
    """
    traces: dict[UUID, list[RuleTrace]] = {source_id: [] for source_id in source_ids}
    later = ReturnMatch.objects.filter(return_line__purchase__in=source_ids)
    of_these = Q(source_id__in=source_ids) | Q(source_id__in=later.values("pk"))
    rows = list(RuleTrace.objects.filter(of_these).select_related("rule__unit").order_by(*_MOST_FIRST))
    strange = {trace.source_id for trace in rows} - set(source_ids)
    returns = dict(later.filter(pk__in=strange).values_list("pk", "return_line__purchase")) if strange else {}
    for trace in rows:
        traces[returns.get(trace.source_id, trace.source_id)].append(trace)
    return traces


_MOST_FIRST = ("source_id", F("amount").desc(), "rule__code")


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


def awaiting_a_sale(purchase_ids: Sequence[UUID]) -> list[UUID]:
    """Which of these are returns of which something has found no sale yet."""
    waiting = ParkedReturn.objects.filter(state=ParkedReturn.State.OPEN, line__purchase__in=list(purchase_ids))
    return list(waiting.values_list("line__purchase", flat=True).distinct())


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
