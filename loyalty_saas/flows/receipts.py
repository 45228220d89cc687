"""A receipt that was booked to the wrong member goes to the right one."""

from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext as _

from loyalty_saas import workers
from members.models import Member, Purchase
from members.services.purchases import LineInput, PurchaseInput, record_purchase
from members.services.refusals import Refused, UnknownMember, UnknownPurchase
from rewards.models import RewardIssue
from tenants.context import current_client

_MARK = "~"
_LONGEST = 64


def move_receipt(*, purchase_id: UUID, to_id: UUID, at: datetime) -> UUID:
    """
    Void a sale and record the same sale again, at the same moment, for the member whose it was; its new id.

    Points follow when both are credited: what the one got is taken back, the other gets what the rules of today give.

    :raises Refused: it is no sale, is theirs already, came back in part, or a reward was used on it
    """
    with transaction.atomic():
        sale = Purchase.objects.select_related("member", "location").filter(pk=purchase_id).first()
        if sale is None:
            raise UnknownPurchase(_("There is no such receipt."), field="receipt")
        _can_move(sale, to_id=to_id)
        voided = record_purchase(purchase=_void(sale), at=at)
        if voided.repeated:
            raise Refused(_("This receipt has been cancelled already."), field="receipt")
        moved = record_purchase(purchase=_again(sale, to_id=to_id), at=at)
    workers.wake(current_client().schema_name)
    return moved.purchase_id


def _can_move(sale: Purchase, *, to_id: UUID) -> None:
    if sale.kind != Purchase.Kind.SALE:
        raise Refused(_("Only a sale can be moved to another member."), field="receipt")
    if not Member.objects.filter(pk=to_id, status=Member.Status.ACTIVE).exists():
        raise UnknownMember(_("No such member."), field="to")
    if to_id in {sale.member_id, sale.member.merged_into_id}:
        raise Refused(_("It belongs to this member already."), field="to")
    if sale.taken_back_by.exists():
        raise Refused(_("Something of this receipt has come back already."), field="receipt")
    if sale.paid_by_points or RewardIssue.objects.filter(purchase_id=sale.pk).exists():
        raise Refused(_("A reward was used on this receipt: take the sale back at the till instead."), field="receipt")


def _void(sale: Purchase) -> PurchaseInput:
    return PurchaseInput(
        kind=Purchase.Kind.VOID,
        document=sale.document,
        member_id=sale.member.merged_into_id or sale.member_id,
        currency=sale.currency,
        amount=0,
        occurred_at=sale.occurred_at,
        source=sale.source,
        location_id=sale.location_id,
        location_code=sale.location.code if sale.location else "",
        terminal=sale.terminal,
        channel=sale.channel,
        clerk_id=sale.clerk_id,
        sale_document=sale.document,
    )


def _again(sale: Purchase, *, to_id: UUID) -> PurchaseInput:
    lines = tuple(
        LineInput(
            quantity=line.quantity,
            amount=line.amount,
            sku=line.sku,
            category=line.category,
            unit_price=line.unit_price,
            discount=line.discount,
            earning=line.earning,
        )
        for line in sale.lines.order_by("position")
    )
    return PurchaseInput(
        kind=Purchase.Kind.SALE,
        document=_next_document(sale),
        member_id=to_id,
        currency=sale.currency,
        amount=sale.amount,
        occurred_at=sale.occurred_at,
        lines=lines,
        source=sale.source,
        location_id=sale.location_id,
        location_code=sale.location.code if sale.location else "",
        terminal=sale.terminal,
        channel=sale.channel,
        clerk_id=sale.clerk_id,
    )


def _next_document(sale: Purchase) -> str:
    """R-17 becomes R-17~2, and that R-17~3."""
    base, _mark, number = sale.document.rpartition(_MARK)
    place = int(number) + 1 if base and number.isdecimal() else 2
    base = base if base and number.isdecimal() else sale.document
    ending = f"{_MARK}{place}"
    return f"{base[: _LONGEST - len(ending)]}{ending}"
