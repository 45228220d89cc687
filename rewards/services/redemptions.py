"""A reward for points: reserved with a hold, issued when the hold is captured, cancelled when it is voided."""

from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from django.utils.translation import gettext as _

from members.models import Hold
from members.services import points
from members.services.refusals import KeyReused, Refused
from programs.queries import unit_by_code
from rewards.models import Reward, RewardIssue
from tenants.keys import random_code

State = RewardIssue.State


class UnknownReward(Refused):
    """The shelf has no such reward."""

    code = "unknown_reward"


class UnknownRedemption(Refused):
    """There is no such redemption."""

    code = "unknown_redemption"


def redeem(
    *, member_id: UUID, reward_code: str, key: str, at: datetime, zone: ZoneInfo, location: str = ""
) -> RewardIssue:
    """
    Reserve a reward for a member, once per key: its points are held until captured or voided.

    Belongs inside a transaction of the caller.

    :raises UnknownReward: not on the shelf
    :raises members.services.points.NotEnoughPoints: below the price
    """
    reward = Reward.objects.filter(code=reward_code, active=True).first()
    unit = unit_by_code(reward.unit_code) if reward else None
    if reward is None or unit is None:
        raise UnknownReward(_("There is no such reward."), field="reward")
    hold = points.hold_points(member_id=member_id, unit=unit, amount=reward.price, key=key, at=at, zone=zone)
    known = RewardIssue.objects.select_related("reward", "hold").filter(hold=hold).first()
    if known is not None:
        if known.reward_id != reward.pk:
            raise KeyReused(_("This key came with another request before."), field="key")
        return known
    return RewardIssue.objects.create(
        reward=reward, member_id=member_id, hold=hold, code=random_code(16).upper(), location=location, at=at
    )


def capture_redemption(*, issue_id: UUID, at: datetime, zone: ZoneInfo, by: UUID | None = None) -> RewardIssue:
    """Spend the points held and issue the reward; again changes nothing. :raises Refused: if it was cancelled"""
    issue = _issue(issue_id)
    points.capture_hold(hold_id=issue.hold_id, at=at, zone=zone, by=by)
    return _settle(issue, State.ISSUED, at=at)


def void_redemption(*, issue_id: UUID, at: datetime) -> RewardIssue:
    """Let the points go and cancel the reward; again changes nothing. :raises Refused: if it was issued"""
    issue = _issue(issue_id)
    points.void_hold(hold_id=issue.hold_id, at=at)
    return _settle(issue, State.CANCELLED, at=at)


def take_back_redemption(
    *, issue_id: UUID, reason: str, at: datetime, zone: ZoneInfo, by: UUID | None = None
) -> RewardIssue:
    """
    Cancel a reward that was issued by mistake and give its points back to the lots they came from, once.

    One that was used on a sale goes back with that sale.

    :raises Refused: unless it is issued, and not used yet
    """
    issue = _issue(issue_id)
    if issue.state not in {State.ISSUED, State.CANCELLED} or issue.hold.entry_id is None or issue.given_back:
        raise Refused(_("This reward can no longer be taken back."), field="redemption")
    points.restore_spend(entry_id=issue.hold.entry_id, reason=reason, at=at, zone=zone, by=by)
    changed = RewardIssue.objects.filter(pk=issue.pk, state=State.ISSUED).update(state=State.CANCELLED, settled_at=at)
    if not changed:
        issue.refresh_from_db()
    else:
        issue.state, issue.settled_at = State.CANCELLED, at
    return issue


def release_overdue(*, at: datetime) -> int:
    """Cancel reservations whose hold has run out; how many."""
    hold_ids = points.release_overdue_holds(at=at)
    stale = RewardIssue.objects.filter(hold_id__in=hold_ids, state=State.RESERVED, hold__state=Hold.State.VOIDED)
    return stale.update(state=State.EXPIRED, settled_at=at)


def _issue(issue_id: UUID) -> RewardIssue:
    issue = RewardIssue.objects.select_related("reward", "hold").filter(pk=issue_id).first()
    if issue is None:
        raise UnknownRedemption(_("There is no such redemption."), field="redemption")
    return issue


def _settle(issue: RewardIssue, state: str, *, at: datetime) -> RewardIssue:
    changed = RewardIssue.objects.filter(pk=issue.pk, state=State.RESERVED).update(state=state, settled_at=at)
    if changed:
        issue.state, issue.settled_at = State(state), at
    else:
        issue.refresh_from_db()
    return issue
