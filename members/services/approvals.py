"""
Corrections above what one person may do alone: asked for by one, agreed by a second, booked once (R31).

A request is bound to its member, unit and amount, which the database lets nobody change; it is settled once, never by
the one who asked, and lapses when nobody has decided in time.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from django.utils.translation import gettext as _

from members import ledger
from members.models import AdjustmentRequest, Member
from members.services.limits import HandLimits, stay_at_a_time
from members.services.points import adjust_points
from members.services.refusals import KeyReused, Refused
from programs.queries import Unit, units

State = AdjustmentRequest.State

WAITS: Final = timedelta(days=7)


class RequestSettled(Refused):
    """The request has been agreed, refused, withdrawn or has lapsed already."""

    code = "request_settled"


class OwnRequest(Refused):
    """Nobody agrees to what they asked for themselves."""

    code = "own_request"


class UnknownRequest(Refused):
    """There is no such request."""

    code = "unknown_request"


def ask_for_adjustment(
    *, member_id: UUID, unit: Unit, amount: int, reason: str, key: str, by: UUID, at: datetime
) -> AdjustmentRequest:
    """
    Ask a second person for a correction, once per key; nothing is booked yet.

    :raises KeyReused: if the key came with another request before
    """
    if not amount or not reason.strip():
        raise Refused(_("Give an amount other than 0 and a reason."), field="reason" if amount else "amount")
    ledger.lock([member_id])
    if known := AdjustmentRequest.objects.filter(key=key).first():
        if (known.member_id, known.unit_id, known.amount, known.asked_by) != (member_id, unit.id, amount, by):
            raise KeyReused(_("This key came with another request before."), field="key")
        return known
    _active(member_id)
    return AdjustmentRequest.objects.create(
        member_id=member_id, unit_id=unit.id, amount=amount, reason=reason.strip(), key=key, asked_by=by, asked_at=at,
        expires_at=at + WAITS,
    )  # fmt: skip


def agree_to_adjustment(
    *, request_id: UUID, limits: Sequence[HandLimits], by: UUID, at: datetime, zone: ZoneInfo
) -> AdjustmentRequest:
    """
    Book exactly what was asked for, once, inside the caller's transaction; `limits` are those that bind `by`, if any.

    :raises OwnRequest: by the one who asked
    :raises RequestSettled: when it is settled already or has lapsed
    :raises members.services.limits.OverLimit: more than a person of this standing may agree to
    :raises NotEnoughPoints: when more would be taken than is there; the request goes on waiting
    """
    request = _waiting(request_id, at=at)
    if request.asked_by == by:
        raise OwnRequest(_("You asked for this yourself: another person has to agree."), field="request")
    unit = next(unit for unit in units() if unit.id == request.unit_id)
    for one in limits:
        stay_at_a_time(amount=request.amount, step=10**unit.decimals, limits=one)
    _active(request.member_id)
    entry = adjust_points(
        member_id=request.member_id, unit=unit, amount=request.amount, reason=request.reason,
        key=f"agreed:{request.pk}", at=at, zone=zone, by=request.asked_by,
    )  # fmt: skip
    return _settle(request, state=State.AGREED, by=by, at=at, entry_id=entry.pk)


def refuse_adjustment(*, request_id: UUID, by: UUID, at: datetime) -> AdjustmentRequest:
    """Decline a request of somebody else. :raises OwnRequest: that is withdrawn instead :raises RequestSettled:"""
    request = _waiting(request_id, at=at)
    if request.asked_by == by:
        raise OwnRequest(_("You asked for this yourself: withdraw it instead."), field="request")
    return _settle(request, state=State.REFUSED, by=by, at=at)


def withdraw_adjustment(*, request_id: UUID, by: UUID, at: datetime) -> AdjustmentRequest:
    """Take one's own request back. :raises Refused: it is somebody else's :raises RequestSettled:"""
    request = _waiting(request_id, at=at)
    if request.asked_by != by:
        raise Refused(_("Only the one who asked can withdraw this."), field="request")
    return _settle(request, state=State.WITHDRAWN, by=by, at=at)


def lapse_requests(*, at: datetime) -> int:
    """Close requests that nobody decided in time; how many. Twice does no harm."""
    overdue = AdjustmentRequest.objects.filter(state=State.WAITING, expires_at__lte=at)
    return overdue.update(state=State.LAPSED, settled_at=at)


def _waiting(request_id: UUID, *, at: datetime) -> AdjustmentRequest:
    """The request, held: of several who decide at once the first does, the others are told."""
    request = AdjustmentRequest.objects.filter(pk=request_id).first()
    if request is None:
        raise UnknownRequest(_("There is no such request."), field="request")
    # Members before requests, as everywhere, so that nobody waits in a ring.
    ledger.lock([request.member_id])
    request = AdjustmentRequest.objects.select_for_update().get(pk=request_id)
    if request.state != State.WAITING or request.expires_at <= at:
        raise RequestSettled(_("This has been decided already, or nobody decided in time."), field="request")
    return request


def _active(member_id: UUID) -> None:
    if not Member.objects.filter(pk=member_id, status=Member.Status.ACTIVE).exists():
        raise Refused(_("This member is merged or closed already."), field="member")


def _settle(
    request: AdjustmentRequest, *, state: str, by: UUID, at: datetime, entry_id: UUID | None = None
) -> AdjustmentRequest:
    AdjustmentRequest.objects.filter(pk=request.pk).update(state=state, settled_by=by, settled_at=at, entry_id=entry_id)
    request.refresh_from_db()
    return request
