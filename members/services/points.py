"""Points leave and change hands: holds, spends, corrections, moves between members, expiry."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import connections
from django.db.models import F
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from members import ledger
from members.ledger import NotEnoughPoints
from members.models import Allocation, Hold, HoldLot, LedgerEntry, Lot, PointsAccount
from members.rules import midnight
from members.services.refusals import KeyReused, Refused
from programs.queries import Unit, units
from tenants.routers import CLIENT

__all__ = ["NotEnoughPoints"]

HOLD_LASTS = timedelta(minutes=30)


@dataclass(frozen=True)
class HandLimits:
    """How many whole units a person may give or take by hand, at a time and, of those given, in a day."""

    at_a_time: int
    a_day: int | None = None


MANAGERS_LIMITS: Final = HandLimits(at_a_time=500, a_day=2_000)
OWNERS_LIMITS: Final = HandLimits(at_a_time=10_000)


class OverLimit(Refused):
    """More than the person may give or take by hand."""

    code = "over_limit"


class HoldSettled(Refused):
    """The hold has been captured, voided or has run out already."""

    code = "hold_settled"


def hold_points(
    *, member_id: UUID, unit: Unit, amount: int, key: str, at: datetime, zone: ZoneInfo, lasts: timedelta = HOLD_LASTS
) -> Hold:
    """
    Set points aside, once per key; they can be captured or voided until the hold runs out.

    :raises NotEnoughPoints: if less is available
    :raises KeyReused: if the key came with another member or amount
    """
    ledger.lock([member_id])
    if known := Hold.objects.select_related("account").filter(key=key).first():
        if (known.account.member_id, known.account.unit_id, known.amount) != (member_id, unit.id, amount):
            raise KeyReused(_("This key came with another request before."), field="key")
        return known
    book = ledger.Book(member_ids=[member_id], at=at, zone=zone)
    account = book.account(member_id=member_id, unit=unit)
    if account.available(at) < amount:
        raise NotEnoughPoints(asked=amount, available=account.available(at))
    hold = Hold.objects.create(account_id=account.id, amount=amount, key=key, at=at, expires_at=at + lasts)
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


def void_hold(*, hold_id: UUID) -> Hold:
    """Let go of points set aside; again changes nothing. :raises HoldSettled: if it was captured"""
    hold, _member_id = _locked(hold_id)
    if hold.state == Hold.State.CAPTURED:
        raise HoldSettled(_("This hold has been captured."), field="hold")
    if hold.state == Hold.State.HELD:
        _let_go(hold)
        Hold.objects.filter(pk=hold.pk).update(state=Hold.State.VOIDED)
    hold.state = Hold.State.VOIDED
    return hold


def release_overdue_holds(*, at: datetime, limit: int = 1000) -> list[UUID]:
    """Void holds that have run out; their ids."""
    overdue = Hold.objects.filter(state=Hold.State.HELD, expires_at__lte=at).order_by("expires_at")
    members = dict(overdue.values_list("pk", "account__member_id")[:limit])
    # All at once, in order: one by one they could wait in a ring for somebody who locks several.
    ledger.lock(set(members.values()))
    still_held = list(overdue.filter(pk__in=members).values_list("pk", flat=True))
    for hold_id in still_held:
        void_hold(hold_id=hold_id)
    return still_held


def _locked(hold_id: UUID) -> tuple[Hold, UUID]:
    found = Hold.objects.filter(pk=hold_id).values_list("account__member_id", flat=True).first()
    if found is None:
        raise HoldSettled(_("No such hold."), field="hold")
    ledger.lock([found])
    return Hold.objects.select_related("entry", "account").get(pk=hold_id), found


def _let_go(hold: Hold) -> list[tuple[UUID, int]]:
    parts = list(HoldLot.objects.filter(hold=hold).values_list("lot_id", "amount"))
    held = dict(Lot.objects.filter(pk__in=[lot_id for lot_id, _amount in parts]).values_list("pk", "held"))
    for lot_id, amount in parts:
        Lot.objects.filter(pk=lot_id).update(held=held[lot_id] - amount)
    return parts


def restore_spend(*, entry_id: UUID, reason: str, at: datetime, zone: ZoneInfo, by: UUID | None = None) -> LedgerEntry:
    """Give a spend back, once, to the lots it came from with their dates."""
    spend = LedgerEntry.objects.select_related("account").get(pk=entry_id, kind=LedgerEntry.Kind.SPEND)
    ledger.lock([spend.account.member_id])
    key = f"restore:{entry_id}"
    if known := LedgerEntry.objects.filter(key=key).first():
        return known
    book = ledger.Book(member_ids=[spend.account.member_id], at=at, zone=zone)
    account = _account_of(book=book, account=spend.account)
    parts = list(Allocation.objects.filter(entry=spend).values_list("lot_id", "amount"))
    cause = ledger.Cause(key=key, occurred_at=at, corrects_id=entry_id, reason=reason, made_by=by)
    restored = book.restore(account=account, parts=parts, cause=cause)
    book.write()
    return LedgerEntry.objects.get(pk=restored)


def adjust_points(
    *, member_id: UUID, unit: Unit, amount: int, reason: str, key: str, at: datetime, zone: ZoneInfo, by: UUID | None
) -> LedgerEntry:
    """
    Put a balance right by hand, with a reason, once per key; what is taken comes from available lots, as a spend does.

    :raises NotEnoughPoints: when more would be taken than is there
    """
    if not amount or not reason.strip():
        raise Refused(_("Give an amount other than 0 and a reason."), field="amount" if not amount else "reason")
    ledger.lock([member_id])
    if known := LedgerEntry.objects.select_related("account").filter(key=key).first():
        if (known.account.member_id, known.account.unit_id, known.amount) != (member_id, unit.id, amount):
            raise KeyReused(_("This key came with another request before."), field="key")
        return known
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
    if abs(amount) > limits.at_a_time * step:
        raise OverLimit(_over(limits), field="amount")
    if limits.a_day is not None and amount > 0:
        _hold_person(by)
        if not LedgerEntry.objects.filter(key=key).exists():
            _stay_in_day(amount=amount, step=step, most=limits.a_day, by=by, at=at, zone=zone)
    return adjust_points(member_id=member_id, unit=unit, amount=amount, reason=reason, key=key, at=at, zone=zone, by=by)


def _over(limits: HandLimits) -> str:
    if limits.a_day is None:
        words = _("More than %(n)s at a time needs a second person to agree, and that is not possible here yet.")
    else:
        words = _("You may give or take at most %(n)s at a time; ask the owner for more.")
    return words % {"n": number_format(limits.at_a_time, force_grouping=True)}


def _stay_in_day(*, amount: int, step: int, most: int, by: UUID, at: datetime, zone: ZoneInfo) -> None:
    given = given_by_hand(by=by, at=at, zone=zone)
    if given * step + amount > most * step:
        left = max(most - given, 0)
        words = _("You may give %(most)s a day over all members, and %(left)s of it are left today.")
        raise OverLimit(
            words
            % {"most": number_format(most, force_grouping=True), "left": number_format(left, force_grouping=True)},
            field="amount",
        )


def given_by_hand(*, by: UUID, at: datetime, zone: ZoneInfo) -> int:
    """How many whole units the person has given by hand on the local day of `at`, over all members and units."""
    since = midnight(day=at.astimezone(zone).date(), zone=zone)
    with connections[CLIENT].cursor() as cursor:
        cursor.execute(_GIVEN, {"by": by, "since": since, "floor": _first_id(since)})
        (total,) = cursor.fetchone()
    return int(total)


def _first_id(since: datetime) -> UUID:
    """Ids tell their time: no entry made since then has a smaller one, a day's grace for clocks included."""
    return UUID(int=int((since - timedelta(days=1)).timestamp() * 1000) << 80)


def _hold_person(by: UUID) -> None:
    """Two awards at once would both find the day's room."""
    with connections[CLIENT].cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [int.from_bytes(by.bytes[8:], "big", signed=True)])


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
        book.move(source=source, target=target, unit=unit, made_by=by)
    book.write()


def expire_points(*, at: datetime, zone: ZoneInfo, limit: int = 10_000) -> int:
    """Let lapse what is left of lots whose time is over, held parts excepted; how many lots. Twice does no harm."""
    due = Lot.objects.filter(expires_at__lte=at, remaining__gt=F("held")).order_by("expires_at")
    rows = list(due.values_list("entry_id", "account_id", "account__member_id")[:limit])
    if not rows:
        return 0
    member_ids = sorted({member_id for _entry, _account, member_id in rows})
    ledger.lock(member_ids)
    book = ledger.Book(member_ids=member_ids, at=at, zone=zone)
    expired = book.expire_due()
    book.write()
    return expired


def _account_of(*, book: ledger.Book, account: PointsAccount) -> ledger.Account:
    unit = next(u for u in units() if u.id == account.unit_id)
    return book.account(member_id=account.member_id, unit=unit)


_GIVEN = """
    SELECT COALESCE(ceil(sum(e.amount / power(10, u.decimals))), 0)::bigint
    FROM members_ledgerentry e JOIN members_pointsaccount a ON a.id = e.account_id
    JOIN programs_unittype u ON u.id = a.unit_id
    WHERE e.id >= %(floor)s AND e.kind = 'adjust' AND e.amount > 0 AND e.made_by = %(by)s AND e.at >= %(since)s
"""
