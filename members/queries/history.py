"""What happened, and why it earned what it did."""

from collections.abc import Sequence
from uuid import UUID

from django.db.models import F, Q, QuerySet, Sum

from members.models import (
    Activity,
    LedgerEntry,
    ParkedReturn,
    Purchase,
    RuleTrace,
    WorkItem,
)


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
