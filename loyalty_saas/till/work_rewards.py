"""Rewards handed over at a till: held and spent in one, and given back within ten minutes."""

from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from loyalty_saas.flows.purchases import zone
from loyalty_saas.till.work_input import ClientKey
from loyalty_saas.till.work_sales import UNDO_FOR, Stand, TooLate, first_id
from members.services import idempotency
from members.services.idempotency import Answer
from rewards import services
from rewards.models import Reward, RewardIssue

State = RewardIssue.State
# A product is had beside the sale, and stays when something of that comes back.
LESS_TO_PAY = (Reward.Kind.MONEY, Reward.Kind.DISCOUNT)


def redeem(*, stand: Stand, member_id: UUID, reward_code: str, key: ClientKey, at: datetime) -> Answer:
    """
    Hand a reward over, once per key; the answer names its issue.

    :raises members.services.points.NotEnoughPoints: below the price
    :raises members.services.refusals.Refused: with the reason
    """

    def work() -> dict[str, str]:
        issue = services.redeem(
            member_id=member_id,
            reward_code=reward_code,
            key=f"{_prefix(stand)}{key.value}",
            at=at,
            zone=zone(),
            location=stand.device.location.code,
        )
        services.capture_redemption(issue_id=issue.pk, at=at, zone=zone(), by=stand.clerk_id)
        return {"id": str(issue.pk)}

    bound = stand.key(key, route="till.redeem", body=[str(member_id), reward_code])
    return idempotency.once(key=bound, status=201, at=at, work=work)


def issue_of(issue_id: UUID) -> RewardIssue:
    """A reward on its way, with what it is."""
    return RewardIssue.objects.select_related("reward").get(pk=issue_id)


def hand_over(*, stand: Stand, issue_id: UUID, at: datetime) -> RewardIssue:
    """Hand over a reward that was reserved elsewhere; again changes nothing. :raises Refused: it was cancelled"""
    with transaction.atomic():
        return services.capture_redemption(issue_id=issue_id, at=at, zone=zone(), by=stand.clerk_id)


def last_redemption(*, stand: Stand, at: datetime) -> RewardIssue | None:
    """The last reward of this till that one tap can still undo."""
    return _own(stand, at=at).order_by("-pk").first()


def for_next_sale(*, stand: Stand, member_id: UUID, at: datetime) -> list[UUID]:
    """Rewards by which the sale under way costs less: handed over at this till minutes ago, on no sale yet."""
    own = _own(stand, at=at).filter(member__in=[member_id], reward__kind__in=LESS_TO_PAY, purchase_id=None)
    return list(own.values_list("pk", flat=True))


def undo_redemption(*, stand: Stand, issue_id: UUID, at: datetime) -> RewardIssue:
    """Give the points of a reward of this very till back; again changes nothing. :raises TooLate: after ten minutes"""
    own = RewardIssue.objects.filter(pk=issue_id, pk__gte=first_id(at - UNDO_FOR), hold__key__startswith=_prefix(stand))
    if not own.exists():
        raise TooLate(_("This can no longer be undone here: a manager can give the points back."), field="redemption")
    with transaction.atomic():
        return services.take_back_redemption(
            issue_id=issue_id, reason=_("Undone at the till"), at=at, zone=zone(), by=stand.clerk_id
        )


def _own(stand: Stand, *, at: datetime) -> QuerySet[RewardIssue]:
    recent = RewardIssue.objects.select_related("reward", "member__identity", "hold").filter(
        pk__gte=first_id(at - UNDO_FOR)
    )
    return recent.filter(state=State.ISSUED, hold__key__startswith=_prefix(stand))


def _prefix(stand: Stand) -> str:
    return f"till:{stand.device.pk.hex}:"
