"""A member leaves: what they have lapses, what they owe is let go of, and nothing leads to them any more."""

from contextlib import suppress
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from members import ledger
from members.models import (
    AdjustmentRequest,
    CardLink,
    CardSession,
    Consent,
    Hold,
    HouseholdMember,
    Identifier,
    Identity,
    Member,
    TierGrant,
)
from members.queries import family_of
from members.services import households, points, tiers
from members.services.refusals import Refused, UnknownMember
from programs.queries import NoProgram, program_in_force


def hold_leaver(member_id: UUID) -> Member:
    """
    Lock a member who leaves, and those whose points their leaving may touch, until the caller's transaction ends.

    :raises UnknownMember: there is none
    :raises Refused: they have become another member
    """
    lent = households.lenders_of(list(_open_holds(member_id))).values()
    lenders = {households.lender_id(entry) for entries in lent for entry, _amount in entries}
    ledger.lock({*family_of(member_id), *households.mates_of(member_id), *lenders})
    member = Member.objects.filter(pk=member_id).first()
    if member is None:
        raise UnknownMember(_("No such member."), field="member")
    if member.status == Member.Status.MERGED:
        raise Refused(_("This member is merged into another already."), field="member")
    return member


def close_member(*, member_id: UUID, reason: str, at: datetime, zone: ZoneInfo, by: UUID | None) -> Member:
    """
    End a membership inside the caller's transaction, with a reason that stands in the books; again changes nothing.

    What is held for them is let go of, and what their household lent goes back. All they have lapses, what they owe is
    let go of, and so is whatever is credited to them later. Name and identifiers go: the same person may join anew.

    :raises UnknownMember: there is none
    :raises Refused: without a reason, or when they have become another member
    """
    why = reason.strip()[:150]
    if not why:
        raise Refused(_("Enter a reason."), field="reason")
    member = hold_leaver(member_id)
    if member.status == Member.Status.CLOSED:
        return member
    for hold_id in _open_holds(member_id).order_by("pk").values_list("pk", flat=True):
        points.void_hold(hold_id=hold_id, at=at)
    points.leave_nothing(member_ids=[member_id], at=at, zone=zone, reason=f"{points.LEFT}: {why}", by=by)
    _leave_household(member_id, at=at)
    _end_requests(member_id, by=by, at=at)
    _forget(member_id, at=at)
    Member.objects.filter(pk=member_id).update(status=Member.Status.CLOSED, card_code=None)
    _end_tier(member_id, at=at)
    member.refresh_from_db()
    return member


def _open_holds(member_id: UUID) -> QuerySet[Hold]:
    return Hold.objects.filter(account__member_id=member_id, state=Hold.State.HELD)


def _leave_household(member_id: UUID, *, at: datetime) -> None:
    place = HouseholdMember.objects.filter(member=member_id, left_at=None).first()
    if place is not None:
        households.remove_from_household(household_id=place.household_id, member_id=member_id, at=at)


def _end_requests(member_id: UUID, *, by: UUID | None, at: datetime) -> None:
    """Nobody is asked any more to agree to a correction."""
    state = AdjustmentRequest.State
    waiting = AdjustmentRequest.objects.filter(member=member_id, state=state.WAITING)
    waiting.update(state=state.WITHDRAWN, settled_by=by, settled_at=at)


def _forget(member_id: UUID, *, at: datetime) -> None:
    """Who they are, how they were found, what they allowed, and their card."""
    Identifier.objects.filter(member=member_id).delete()
    Identity.objects.filter(pk=member_id).update(name="", birthday=None)
    newest = Consent.objects.filter(member=member_id).order_by("purpose", "-pk").distinct("purpose")
    Consent.objects.bulk_create(
        Consent(member_id=member_id, purpose=one.purpose, granted=False, text_version=one.text_version,
                source="closing", at=at)
        for one in newest if one.granted
    )  # fmt: skip
    CardLink.objects.filter(member=member_id, used_at=None, expires_at__gt=at).update(expires_at=at)
    CardSession.objects.filter(member=member_id, ended_at=None).update(ended_at=at)


def _end_tier(member_id: UUID, *, at: datetime) -> None:
    """A tier given by hand ends with the membership; the one earned is a matter of what happened, and stays."""
    if TierGrant.objects.filter(member=member_id, ended_at=None).update(ended_at=at):
        with suppress(NoProgram):
            tiers.settle_again(member_ids=[member_id], program=program_in_force(), at=at, by_hand=True)
