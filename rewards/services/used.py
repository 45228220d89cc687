"""Rewards used on a sale: what they paid of it, and their points given back when it, or a part of it, comes back."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from members.models import Member, Purchase, PurchaseLine
from members.services import points
from members.services.refusals import Refused
from programs.rules import reversal
from rewards.models import Reward, RewardIssue
from rewards.services.redemptions import UnknownRedemption, capture_redemption

State = RewardIssue.State
_OPEN = (State.ISSUED, State.USED)


def paid_with(*, redemptions: Sequence[UUID], amount: int) -> int:
    """How much of a sale these rewards paid, in minor units: money off is a way of paying, other rewards are not."""
    worth = RewardIssue.objects.filter(pk__in=redemptions, reward__kind=Reward.Kind.MONEY)
    return min(sum(worth.values_list("reward__value", flat=True)), max(0, amount))


def use_on_sale(
    *, redemptions: Sequence[UUID], sale_id: UUID, at: datetime, zone: ZoneInfo, by: UUID | None = None
) -> list[RewardIssue]:
    """
    Use rewards on a sale, spending what is still held for them, inside the caller's transaction; again is no harm.

    :raises UnknownRedemption: one that is not there
    :raises Refused: another member's, used on another sale, or cancelled
    """
    sale = Purchase.objects.select_related("member").filter(pk=sale_id, kind=Purchase.Kind.SALE).first()
    if sale is None:
        raise Refused(_("A reward is used on a sale, and this is none."), field="purchase")
    found = {one.pk: one for one in RewardIssue.objects.select_related("member").filter(pk__in=redemptions)}
    if missing := [one for one in redemptions if one not in found]:
        raise UnknownRedemption(_("There is no such redemption: %(id)s.") % {"id": missing[0]}, field="redemptions")
    for issue in found.values():
        _check(issue=issue, sale=sale)
    return [_use(issue=found[one], sale_id=sale_id, at=at, zone=zone, by=by) for one in sorted(found)]


def _check(*, issue: RewardIssue, sale: Purchase) -> None:
    if _person(issue.member) != _person(sale.member):
        raise Refused(_("This reward is another member's."), field="redemptions")
    if issue.purchase_id not in {None, sale.pk}:
        raise Refused(_("This reward was used on another sale."), field="redemptions")
    if issue.state not in {State.RESERVED, *_OPEN}:
        raise Refused(_("This reward was cancelled, or its time ran out."), field="redemptions")


def _person(member: Member) -> UUID:
    return member.merged_into_id or member.pk


def _use(*, issue: RewardIssue, sale_id: UUID, at: datetime, zone: ZoneInfo, by: UUID | None) -> RewardIssue:
    capture_redemption(issue_id=issue.pk, at=at, zone=zone, by=by)
    RewardIssue.objects.filter(pk=issue.pk, state__in=_OPEN).update(state=State.USED, purchase_id=sale_id)
    issue.state, issue.purchase_id = State.USED, sale_id
    return issue


def used_on(sale_ids: Iterable[UUID]) -> QuerySet[RewardIssue]:
    """Rewards used on these sales whose points are not all given back."""
    found = RewardIssue.objects.select_related("hold").filter(purchase_id__in=set(sale_ids), state__in=_OPEN)
    return found.order_by("pk")


def give_back(*, returns: Sequence[tuple[UUID, UUID]], at: datetime, zone: ZoneInfo) -> int:
    """
    For each return with a sale that it took from, give back the share of the rewards used on that sale; how many.

    The share goes by what was paid for the lines that came back, as `reversal` splits it: any split of returns gives
    back what the whole does, and the whole gives back all. A reward given back in full is cancelled.
    """
    by_sale: dict[UUID, UUID] = {sale_id: return_id for return_id, sale_id in returns}
    done = 0
    for issue in used_on(by_sale) if by_sale else ():
        if issue.purchase_id is not None:
            done += _give_back(issue=issue, return_id=by_sale[issue.purchase_id], at=at, zone=zone)
    return done


def _give_back(*, issue: RewardIssue, return_id: UUID, at: datetime, zone: ZoneInfo) -> bool:
    price = issue.hold.amount
    part = _share_back(price=price, sale_id=issue.purchase_id) - issue.given_back
    if part <= 0 or issue.hold.entry_id is None:
        return False
    points.restore_part(
        entry_id=issue.hold.entry_id,
        amount=part,
        before=issue.given_back,
        key=f"restore:{issue.pk.hex}:{return_id.hex}",
        reason=_("Given back with a return"),
        at=at,
        zone=zone,
    )
    issue.given_back += part
    if issue.given_back == price:
        issue.state, issue.settled_at = State.CANCELLED, at
    issue.save(update_fields=["given_back", "state", "settled_at"])
    return True


def _share_back(*, price: int, sale_id: UUID | None) -> int:
    """How much of a price is to be given back by now, by the amounts of what came back; by pieces if all was free."""
    lines = list(PurchaseLine.objects.filter(purchase=sale_id).values_list("amount", "quantity", "returned"))
    if all(quantity == returned for _amount, quantity, returned in lines):
        return price
    whole = Decimal(sum(amount for amount, _quantity, _returned in lines))
    back = Decimal(sum(_worth(*line) for line in lines))
    if whole <= 0:
        whole = sum((quantity for _amount, quantity, _returned in lines), Decimal(0))
        back = sum((returned for _amount, _quantity, returned in lines), Decimal(0))
    return reversal(price, whole, Decimal(0), min(max(back, Decimal(0)), whole))


def _worth(amount: int, quantity: Decimal, returned: Decimal) -> int:
    worth = reversal(abs(amount), quantity, Decimal(0), returned)
    return worth if amount >= 0 else -worth
