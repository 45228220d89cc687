"""Points go from one member to another: by agreement of the two, through a machine or by a manager's hand."""

from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from django.utils.translation import gettext as _

from members import ledger
from members.models import Member, Transfer
from members.services.limits import HandLimits, hold_person, stay_at_a_time, stay_in_day
from members.services.refusals import KeyReused, Refused, UnknownMember
from programs.queries import Unit


def transfer_points(
    *,
    from_id: UUID,
    to_id: UUID,
    unit: Unit,
    amount: int,
    key: str,
    reason: str,
    at: datetime,
    zone: ZoneInfo,
    by: UUID | None = None,
) -> Transfer:
    """
    Move available points of one member to another, once per key: soonest expiry first, lot by lot with their dates.

    Belongs inside a transaction of the caller.

    :raises NotEnoughPoints: if less is available
    :raises KeyReused: if the key came with another transfer before
    :raises Refused: to oneself, of nothing, without a reason, or where a membership is closed or merged
    """
    if amount <= 0 or not reason.strip():
        raise Refused(_("Give an amount above 0 and a reason."), field="amount" if amount <= 0 else "reason")
    if from_id == to_id:
        raise Refused(_("Points go to somebody else."), field="to_member")
    ledger.lock([from_id, to_id])
    if known := Transfer.objects.filter(key=key).first():
        return _same(known, from_id=from_id, to_id=to_id, unit=unit, amount=amount)
    _both_active(from_id=from_id, to_id=to_id)
    made = Transfer(
        from_member_id=from_id, to_member_id=to_id, unit_id=unit.id, amount=amount, key=key, reason=reason.strip(),
        made_by=by, at=at,
    )  # fmt: skip
    book = ledger.Book(member_ids=[from_id, to_id], at=at, zone=zone)
    cause = ledger.Cause(key=f"transfer:{made.pk}", occurred_at=at, reason=made.reason, made_by=by)
    source, target = (book.account(member_id=one, unit=unit) for one in (from_id, to_id))
    book.move_some(source=source, target=target, unit=unit, amount=amount, cause=cause)
    book.write()
    made.save(force_insert=True)
    return made


def _same(known: Transfer, *, from_id: UUID, to_id: UUID, unit: Unit, amount: int) -> Transfer:
    if (known.from_member_id, known.to_member_id, known.unit_id, known.amount) != (from_id, to_id, unit.id, amount):
        raise KeyReused(_("This key came with another request before."), field="key")
    return known


def _both_active(*, from_id: UUID, to_id: UUID) -> None:
    states = dict(Member.objects.filter(pk__in=[from_id, to_id]).values_list("pk", "status"))
    for field, member_id in (("from_member", from_id), ("to_member", to_id)):
        if member_id not in states:
            raise UnknownMember(_("No such member."), field=field)
        if states[member_id] != Member.Status.ACTIVE:
            raise Refused(_("This member is merged or closed already."), field=field)


def transfer_by_hand(
    *,
    from_id: UUID,
    to_id: UUID,
    unit: Unit,
    amount: int,
    reason: str,
    key: str,
    limits: HandLimits,
    by: UUID,
    at: datetime,
    zone: ZoneInfo,
) -> Transfer:
    """
    Move points within what the person may, once per key, inside the caller's transaction; as `transfer_points`.

    :raises members.services.limits.OverLimit: more than the person's limits allow
    """
    step = 10**unit.decimals
    stay_at_a_time(amount=amount, step=step, limits=limits)
    if limits.a_day is not None:
        hold_person(by)
        if not Transfer.objects.filter(key=key).exists():
            stay_in_day(amount=amount, step=step, most=limits.a_day, by=by, at=at, zone=zone)
    return transfer_points(
        from_id=from_id, to_id=to_id, unit=unit, amount=amount, key=key, reason=reason, at=at, zone=zone, by=by
    )
