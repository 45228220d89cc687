"""What becomes of the rewards of a member who leaves."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from rewards.models import OfferAssignment, RewardIssue
from rewards.services.redemptions import take_back_redemption, void_redemption

State = RewardIssue.State


def cancel_rewards(
    *, member_ids: Sequence[UUID], reason: str, at: datetime, zone: ZoneInfo, by: UUID | None = None
) -> int:
    """
    Cancel what these locked members have reserved, or have and not used yet; how many. Their offers end too.

    The points come back to their lots, and lapse there as the membership is closed.
    """
    open_issues = RewardIssue.objects.filter(member__in=list(member_ids), state__in=[State.RESERVED, State.ISSUED])
    found = list(open_issues.order_by("pk").values_list("pk", "state"))
    for issue_id, state in found:
        if state == State.RESERVED:
            void_redemption(issue_id=issue_id, at=at)
        else:
            take_back_redemption(issue_id=issue_id, reason=reason, at=at, zone=zone, by=by)
    OfferAssignment.objects.filter(pk__in=list(member_ids)).delete()
    return len(found)
