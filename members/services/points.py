"""Points leave and change hands: holds, spends, corrections, moves between members, expiry."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from django.utils.translation import gettext as _

from members import ledger
from members.ledger import NotEnoughPoints, expiry
from members.models import Allocation, Hold, HoldLot, LedgerEntry, Lot, Member, PointsAccount
from members.services import households
from members.services.limits import (
    MANAGERS_LIMITS,
    OWNERS_LIMITS,
    HandLimits,
    OverLimit,
    given_by_hand,
    hold_person,
    stay_at_a_time,
    stay_in_day,
)
from members.services.refusals import KeyReused, Refused, UnknownMember
from programs.queries import Unit, units
from tenants.context import current_client
from tenants.keys import uuid7

__all__ = ["MANAGERS_LIMITS", "OWNERS_LIMITS", "HandLimits", "NotEnoughPoints", "OverLimit", "given_by_hand"]

HOLD_LASTS = timedelta(minutes=30)
LEFT: Final = "Membership ended"
Kind = LedgerEntry.Kind


class HoldSettled(Refused):
    """The hold has been captured, voided or has run out already."""

    code = "hold_settled"


def hold_points(
    *, member_id: UUID, unit: Unit, amount: int, key: str, at: datetime, zone: ZoneInfo, lasts: timedelta = HOLD_LASTS
) -> Hold:
    """
    Set points aside, once per key; they can be captured or voided until the hold runs out.

    What the member lacks comes from the others of the household.

    :raises NotEnoughPoints: if less is available
    :raises KeyReused: if the key came with another member or amount
    """
    mates = households.mates_of(member_id)
    ledger.lock([member_id, *mates])
    if known := Hold.objects.select_related("account").filter(key=key).first():
        if (known.account.member_id, known.account.unit_id, known.amount) != (member_id, unit.id, amount):
            raise KeyReused(_("This key came with another request before."), field="key")
        return known
    # Who is in the household is certain only now; somebody new who is not locked does not count yet.
    still = set(mates).intersection(households.mates_of(member_id)) if mates else set()
    book = ledger.Book(member_ids=[member_id, *still], at=at, zone=zone)
    account = book.account(member_id=member_id, unit=unit)
    hold = Hold(account_id=account.id, amount=amount, key=key, at=at, expires_at=at + lasts)
    if account.available(at) < amount:
        households.fill_up(book=book, account=account, unit=unit, amount=amount, tag=f"{households.TAG}{hold.pk}")
        book.write()
    hold.save(force_insert=True)
    parts = ledger.pick(lots=account.lots.values(), amount=amount, at=at)
    HoldLot.objects.bulk_create(HoldLot(hold=hold, lot_id=lot.entry_id, amount=part) for lot, part in parts)
    for lot, part in parts:
        Lot.objects.filter(pk=lot.entry_id).update(held=lot.held + part)
    return hold


def capture_hold(*, hold_id: UUID, at: datetime, zone: ZoneInfo, by: UUID | None = None) -> LedgerEntry:
    """Turn a hold into a spend of exactly the lots it pinned; again gives the same entry. :raises HoldSettled:"""
    hold, member_id = _locked(hold_id)
    if hold.state == Hold.State.CAPTURED and hold.entry is not None:
        return hold.entry
    if hold.state != Hold.State.HELD or hold.expires_at <= at:
        raise HoldSettled(_("This hold is no longer open."), field="hold")
    parts = _let_go(hold)
    book = ledger.Book(member_ids=[member_id], at=at, zone=zone)
    account = _account_of(book=book, account=hold.account)
    cause = ledger.Cause(key=f"spend:{hold.pk}", occurred_at=at, made_by=by)
    entry_id = book.capture(account=account, parts=parts, cause=cause)
    book.write()
    Hold.objects.filter(pk=hold.pk).update(state=Hold.State.CAPTURED, entry_id=entry_id)
    return LedgerEntry.objects.get(pk=entry_id)


def void_hold(*, hold_id: UUID, at: datetime) -> Hold:
    """
    Let go of points set aside, those lent by the household to the lenders; again changes nothing.

    :raises HoldSettled: if it was captured
    """
    hold, member_id = _locked(hold_id, with_lenders=True)
    if hold.state == Hold.State.CAPTURED:
        raise HoldSettled(_("This hold has been captured."), field="hold")
    if hold.state == Hold.State.HELD:
        lent = households.lenders_of([hold]).get(hold.pk)
        _let_go(hold)
        Hold.objects.filter(pk=hold.pk).update(state=Hold.State.VOIDED)
        if lent:
            unit, zone = _unit_of(hold.account), ZoneInfo(current_client().time_zone)
            households.give_back(hold=hold, spender_id=member_id, lent=lent, unit=unit, at=at, zone=zone)
            leave_nothing(member_ids=_left({households.lender_id(entry) for entry, _n in lent}), at=at, zone=zone)
    hold.state = Hold.State.VOIDED
    return hold


def release_overdue_holds(*, at: datetime, limit: int = 1000) -> list[UUID]:
    """Void holds that have run out; their ids."""
    overdue = Hold.objects.filter(state=Hold.State.HELD, expires_at__lte=at).order_by("expires_at")
    found = list(overdue.select_related("account")[:limit])
    # All at once, in order: one by one they could wait in a ring for somebody who locks several.
    ledger.lock({hold.account.member_id for hold in found} | _lender_ids(found))
    still_held = list(overdue.filter(pk__in=[hold.pk for hold in found]).values_list("pk", flat=True))
    for hold_id in still_held:
        void_hold(hold_id=hold_id, at=at)
    return still_held


def _locked(hold_id: UUID, *, with_lenders: bool = False) -> tuple[Hold, UUID]:
    found = Hold.objects.select_related("account").filter(pk=hold_id).first()
    if found is None:
        raise HoldSettled(_("No such hold."), field="hold")
    member_id = found.account.member_id
    ledger.lock({member_id} | (_lender_ids([found]) if with_lenders else set()))
    return Hold.objects.select_related("entry", "account").get(pk=hold_id), member_id


def _lender_ids(holds: Sequence[Hold]) -> set[UUID]:
    lent = households.lenders_of(holds).values()
    return {households.lender_id(entry) for entries in lent for entry, _amount in entries}


def _let_go(hold: Hold) -> list[tuple[UUID, int]]:
    parts = list(HoldLot.objects.filter(hold=hold).values_list("lot_id", "amount"))
    held = dict(Lot.objects.filter(pk__in=[lot_id for lot_id, _amount in parts]).values_list("pk", "held"))
    for lot_id, amount in parts:
        Lot.objects.filter(pk=lot_id).update(held=held[lot_id] - amount)
    return parts


def restore_spend(*, entry_id: UUID, reason: str, at: datetime, zone: ZoneInfo, by: UUID | None = None) -> LedgerEntry:
    """
    Give a spend back, once, to the lots it came from with their dates.

    Where the member has been merged since, what is in those lots then follows to the one kept; where they have left,
    it lapses.
    """
    spend = LedgerEntry.objects.get(pk=entry_id, kind=LedgerEntry.Kind.SPEND)
    key = f"restore:{entry_id}"
    return restore_part(
        entry_id=entry_id, amount=-spend.amount, before=0, key=key, reason=reason, at=at, zone=zone, by=by
    )


def restore_part(
    *,
    entry_id: UUID,
    amount: int,
    before: int,
    key: str,
    reason: str,
    at: datetime,
    zone: ZoneInfo,
    by: UUID | None = None,
) -> LedgerEntry:
    """
    Give so much of a spend back, once per key, after `before` of it already was: the lots spent last come first.

    However a spend is given back in parts, the whole of it restores each lot as it was.
    """
    spend = LedgerEntry.objects.select_related("account__member").get(pk=entry_id, kind=LedgerEntry.Kind.SPEND)
    owner = spend.account.member
    ledger.lock(filter(None, [owner.pk, owner.merged_into_id]))
    if known := LedgerEntry.objects.filter(key=key).first():
        return known
    book = ledger.Book(member_ids=[owner.pk], at=at, zone=zone)
    account = _account_of(book=book, account=spend.account)
    spent = Allocation.objects.filter(entry=spend).order_by("-pk").values_list("lot_id", "amount")
    parts = _between(parts=list(spent), first=before, last=before + amount)
    cause = ledger.Cause(key=key, occurred_at=at, corrects_id=entry_id, reason=reason, made_by=by)
    restored = book.restore(account=account, parts=parts, cause=cause)
    book.write()
    if owner.merged_into_id:
        _follow(account=spend.account, to_id=owner.merged_into_id, tag=f"move:{restored}", at=at, zone=zone, by=by)
    leave_nothing(member_ids=_left([owner.merged_into_id or owner.pk]), at=at, zone=zone)
    return LedgerEntry.objects.get(pk=restored)


def _between(*, parts: Sequence[tuple[UUID, int]], first: int, last: int) -> list[tuple[UUID, int]]:
    """What of these parts lies between two figures when they are laid end to end."""
    found, start = [], 0
    for lot_id, amount in parts:
        part = min(last, start + amount) - max(first, start)
        if part > 0:
            found.append((lot_id, part))
        start += amount
    return found


def _follow(*, account: PointsAccount, to_id: UUID, tag: str, at: datetime, zone: ZoneInfo, by: UUID | None) -> None:
    """What has come back to a merged membership goes where all of it went."""
    book = ledger.Book(member_ids=[account.member_id, to_id], at=at, zone=zone)
    unit = _unit_of(account)
    source, target = (book.account(member_id=one, unit=unit) for one in (account.member_id, to_id))
    book.move(source=source, target=target, unit=unit, tag=tag, made_by=by)
    book.write()


def adjust_points(
    *, member_id: UUID, unit: Unit, amount: int, reason: str, key: str, at: datetime, zone: ZoneInfo, by: UUID | None
) -> LedgerEntry:
    """
    Put a balance right by hand, with a reason, once per key; what is taken comes from available lots, as a spend does.

    :raises NotEnoughPoints: when more would be taken than is there
    :raises UnknownMember: the member has left
    """
    if not amount or not reason.strip():
        raise Refused(_("Give an amount other than 0 and a reason."), field="amount" if not amount else "reason")
    ledger.lock([member_id])
    if known := LedgerEntry.objects.select_related("account").filter(key=key).first():
        if (known.account.member_id, known.account.unit_id, known.amount) != (member_id, unit.id, amount):
            raise KeyReused(_("This key came with another request before."), field="key")
        return known
    if _left([member_id]):
        raise UnknownMember(_("This membership has ended."), field="member")
    book = ledger.Book(member_ids=[member_id], at=at, zone=zone)
    account = book.account(member_id=member_id, unit=unit)
    cause = ledger.Cause(key=key, occurred_at=at, reason=reason.strip(), made_by=by)
    if amount > 0:
        book.earn(account=account, unit=unit, amount=amount, cause=cause, kind=LedgerEntry.Kind.ADJUST)
    else:
        book.spend(account=account, amount=-amount, cause=cause, kind=LedgerEntry.Kind.ADJUST)
    book.write()
    return LedgerEntry.objects.get(key=key)


def adjust_by_hand(
    *,
    member_id: UUID,
    unit: Unit,
    amount: int,
    reason: str,
    key: str,
    limits: HandLimits,
    by: UUID,
    at: datetime,
    zone: ZoneInfo,
) -> LedgerEntry:
    """
    Put a balance right within what the person may, once per key, inside the caller's transaction.

    :raises OverLimit: more than the person's limits allow
    :raises NotEnoughPoints: when more would be taken than is there
    """
    step = 10**unit.decimals
    stay_at_a_time(amount=amount, step=step, limits=limits)
    if limits.a_day is not None and amount > 0:
        hold_person(by)
        if not LedgerEntry.objects.filter(key=key).exists():
            stay_in_day(amount=amount, step=step, most=limits.a_day, by=by, at=at, zone=zone)
    return adjust_points(member_id=member_id, unit=unit, amount=amount, reason=reason, key=key, at=at, zone=zone, by=by)


def move_balance(*, from_id: UUID, to_id: UUID, at: datetime, by: UUID | None, zone: ZoneInfo) -> None:
    """
    Move all points of one locked member to another, lot by lot with their dates, and the debt with them.

    :raises Refused: while a hold of the one is open
    """
    ledger.lock([from_id, to_id])
    if Hold.objects.filter(account__member_id=from_id, state=Hold.State.HELD).exists():
        raise Refused(_("Points of this member are held for a reward; finish or void it first."), field="double")
    book = ledger.Book(member_ids=[from_id, to_id], at=at, zone=zone)
    for unit in units():
        source = book.account(member_id=from_id, unit=unit)
        target = book.account(member_id=to_id, unit=unit)
        book.move(source=source, target=target, unit=unit, tag="move", made_by=by)
    book.write()


def leave_nothing(
    *, member_ids: Iterable[UUID], at: datetime, zone: ZoneInfo, reason: str = "", by: UUID | None = None
) -> None:
    """
    What locked members who have left still have lapses, and what they owe is let go of; again changes nothing.

    Nothing of theirs is held any more.
    """
    ids = sorted(member_ids)
    if not ids:
        return
    book = ledger.Book(member_ids=ids, at=at, zone=zone)
    for unit in units():
        for account in book.accounts(unit=unit):
            _empty(book=book, account=account, unit=unit, reason=reason or LEFT, by=by)
    book.write()


def _empty(*, book: ledger.Book, account: ledger.Account, unit: Unit, reason: str, by: UUID | None) -> None:
    cause = ledger.Cause(key="", occurred_at=book.at, reason=reason, made_by=by)
    if owed := account.debt:
        # What comes for it pays it, and opens an empty lot.
        book.earn(
            account=account, unit=unit, amount=owed, cause=replace(cause, key=f"let-go:{uuid7()}"), kind=Kind.ADJUST
        )
    for lot in list(account.lots.values()):
        lapse = replace(cause, key=f"left:{lot.entry_id}:{uuid7()}", corrects_id=lot.entry_id)
        book.capture(account=account, parts=[(lot.entry_id, lot.remaining)], cause=lapse, kind=Kind.EXPIRE)


def _left(member_ids: Iterable[UUID]) -> list[UUID]:
    """Those of them whose membership has ended."""
    found = Member.objects.filter(pk__in=list(member_ids), status=Member.Status.CLOSED)
    return list(found.values_list("pk", flat=True))


def expire_points(*, at: datetime, zone: ZoneInfo, limit: int = 10_000) -> int:
    """
    Let lapse what is left of lots whose time is over, held parts excepted; how many lots. Twice does no harm.

    Takes the members of `limit` lots at a time, each time in a transaction of the caller: call until nothing is due.
    """
    member_ids = expiry.hold_due(at=at, limit=limit)
    return expiry.lapse(member_ids=member_ids, at=at) if member_ids else 0


def _account_of(*, book: ledger.Book, account: PointsAccount) -> ledger.Account:
    return book.account(member_id=account.member_id, unit=_unit_of(account))


def _unit_of(account: PointsAccount) -> Unit:
    return next(unit for unit in units() if unit.id == account.unit_id)
