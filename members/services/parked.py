"""Return lines that found no sale, settled by a manager."""

from datetime import datetime
from uuid import UUID

from django.utils.translation import gettext as _

from members import ledger
from members.models import ParkedReturn, Purchase
from members.services.refusals import Refused


def dismiss_parked_return(*, line_id: UUID, reason: str, by: UUID | None, at: datetime) -> ParkedReturn:
    """Close a parked return with a reason; points stay as they are. :raises Refused: unknown, closed, or no reason"""
    if not reason.strip():
        raise Refused(_("Give a reason."), field="reason")
    # A worker may be matching it to a sale that has just arrived.
    ledger.lock(Purchase.objects.filter(lines=line_id).values_list("member", flat=True))
    parked = ParkedReturn.objects.select_for_update().filter(pk=line_id).first()
    if parked is None or parked.state != ParkedReturn.State.OPEN:
        raise Refused(_("This return is not waiting any more."), field="line")
    parked.state, parked.reason, parked.settled_by, parked.settled_at = (
        ParkedReturn.State.DISMISSED,
        reason[:200],
        by,
        at,
    )
    parked.save()
    return parked
