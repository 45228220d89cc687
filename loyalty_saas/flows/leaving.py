"""A member leaves: rewards, points, household, card and name, in one transaction."""

from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import transaction

from members.models import Member
from members.queries import family_of
from members.services import closing
from rewards.services import cancel_rewards


def leave(*, member_id: UUID, reason: str, at: datetime, zone: ZoneInfo, by: UUID | None = None) -> tuple[Member, bool]:
    """
    Close a membership with all that hangs on it; the member, and whether this was what closed it.

    :raises members.services.refusals.Refused: without a reason, or merged into another; nothing has changed then
    """
    with transaction.atomic():
        open_before = closing.hold_leaver(member_id).status == Member.Status.ACTIVE
        if open_before and reason.strip():
            cancel_rewards(member_ids=family_of(member_id), reason=reason.strip()[:150], at=at, zone=zone, by=by)
        return closing.close_member(member_id=member_id, reason=reason, at=at, zone=zone, by=by), open_before
