"""Reads of rewards and offers."""

from uuid import UUID

from django.db.models import QuerySet

from rewards.models import OfferAssignment, Reward, RewardIssue


def shelf() -> QuerySet[Reward]:
    """Rewards that members can have now, cheapest first."""
    return Reward.objects.filter(active=True).order_by("price", "code")


def redemptions() -> QuerySet[RewardIssue]:
    """Rewards reserved and issued, newest first."""
    return RewardIssue.objects.select_related("reward", "member", "hold").order_by("-id")


def current_offer(member_id: UUID) -> OfferAssignment | None:
    """The member's offer, if there is one."""
    return OfferAssignment.objects.select_related("offer").filter(pk=member_id, offer__active=True).first()
