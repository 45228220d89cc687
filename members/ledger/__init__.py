"""
The points ledger: the only place that writes entries, lots and allocations.

A Book is opened on locked members, moved in memory and written in a handful of statements, whether it holds one spend
or five hundred purchases. Triggers move balances and lots; the database refuses what does not add up.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import connections

from members.copying import NULL, copy_lines, or_null, text
from members.ledger.accounts import Account, Cause, NotEnoughPoints, OpenLot, lock
from members.models import LedgerEntry
from members.rules import midnight
from programs.queries import Unit, units
from programs.rules import expires_on, slides_to
from tenants.keys import uuid7, uuid7_above
from tenants.routers import CLIENT

__all__ = ["Account", "Book", "Cause", "NotEnoughPoints", "OpenLot", "lifetime", "lock", "pick"]

Kind = LedgerEntry.Kind
# Plain, since a member of an enumeration takes longer to be written than all the rest of an entry.
_EARN: Final = str(Kind.EARN)


class Book:
    """The accounts of locked members, moved in memory, written at once."""

    def __init__(self, *, member_ids: Sequence[UUID], at: datetime, zone: ZoneInfo, with_lots: bool = True) -> None:
        self.at, self.zone = at, zone
        self._at_text = str(at)
        self._accounts = _load_accounts(member_ids)
        self._dates: dict[tuple[str, date], tuple[datetime, datetime | None]] = {}
        self._slid: dict[tuple[int, date], datetime] = {}
        self._sliding: dict[UUID, Unit] | None = None
        self._new_accounts: list[Account] = []
        self._entries: list[str] = []
        self._written = "", ""
        self._texts: dict[datetime | None, str] = {}
        self._lots: list[str] = []
        self._allocations: list[str] = []
        if with_lots:
            self._load_lots(list(self._accounts.values()))

    def account(self, *, member_id: UUID, unit: Unit) -> Account:
        """The member's account of the unit, opened if there is none."""
        found = self._accounts.get((member_id, unit.id))
        if found is None:
            found = Account(id=uuid7(), member_id=member_id, unit_id=unit.id, is_new=True, has_lots=True)
            self._accounts[member_id, unit.id] = found
            self._new_accounts.append(found)
        # As the program says now, which need not be what it said when the account was opened.
        found.may_owe, found.debt_limit = unit.may_owe, unit.debt_limit
        found.months = unit.expiry_months if unit.expiry == "sliding" else 0
        return found

    def accounts(self, *, unit: Unit) -> list[Account]:
        """All accounts of the unit that are there, in the order of their members."""
        found = sorted(member_id for member_id, unit_id in self._accounts if unit_id == unit.id)
        return [self.account(member_id=member_id, unit=unit) for member_id in found]

    # ── movements ───────────────────────────────────────────────────────────────────────────────────────────────

    def earn(
        self,
        *,
        account: Account,
        unit: Unit,
        amount: int,
        cause: Cause,
        kind: str = _EARN,
        dates: tuple[datetime, datetime | None] | None = None,
        day: date | None = None,
    ) -> UUID:
        """
        Give points in a lot of their own, pending and expiring as the unit (or `dates`) says; debt is paid first.

        `day` is the local day of the cause, where the caller knows it.
        """
        if account.months:
            self._lapse_if_over(account=account, occurred_at=cause.occurred_at)
            self._slide(account=account, occurred_at=cause.occurred_at)
        entry_id = self._enter(account=account, kind=kind, amount=amount, cause=cause)
        available_at, expires_at = dates or self._lifetime(unit=unit, occurred_at=cause.occurred_at, day=day)
        lot = OpenLot(entry_id, amount, 0, available_at, expires_at)
        entry, occurred = self._written
        available = occurred if available_at is cause.occurred_at else available_at
        self._lots.append(f"{entry}\t{account.text}\t{amount}\t0\t{available}\t{self._text_of(expires_at)}")
        if account.months and unit.slides(available_at=available_at, expires_at=expires_at):
            lot.slides, lot.expires_at = True, account.slides_until
        account.lots[entry_id] = lot
        if account.debt:
            paid = min(account.debt, amount)
            account.debt -= paid
            self._allocate(account=account, entry_id=entry_id, lot=lot, amount=paid)
        return entry_id

    def spend(self, *, account: Account, amount: int, cause: Cause, kind: str = Kind.SPEND) -> UUID:
        """Take available points, soonest expiry first. :raises NotEnoughPoints:"""
        available = account.available(self.at)
        if available < amount:
            raise NotEnoughPoints(asked=amount, available=available)
        parts = [(lot.entry_id, part) for lot, part in pick(lots=account.lots.values(), amount=amount, at=self.at)]
        return self.capture(account=account, parts=parts, cause=cause, kind=kind)

    def capture(
        self, *, account: Account, parts: Sequence[tuple[UUID, int]], cause: Cause, kind: str = Kind.SPEND
    ) -> UUID:
        """Spend exactly these parts of lots; a hold that pinned them has let go of them already."""
        entry_id = self._enter(account=account, kind=kind, amount=-sum(p for _lot, p in parts), cause=cause)
        for lot_id, part in parts:
            self._allocate(account=account, entry_id=entry_id, lot=account.lots[lot_id], amount=part)
        if account.months and kind == Kind.SPEND:
            self._lapse_if_over(account=account, occurred_at=cause.occurred_at)
            self._slide(account=account, occurred_at=cause.occurred_at)
        return entry_id

    def take_back(
        self, *, account: Account, amount: int, cause: Cause, first: UUID | None = None, kind: str = Kind.REVERSE
    ) -> tuple[UUID | None, int]:
        """
        Take points back: from the lot `first`, then pending lots, then available ones, then as debt up to its limit.

        Returns the entry and how much is forgiven, because the program allows no debt or no more of it.
        """
        parts = _parts_to_take_back(account=account, amount=amount, first=first, at=self.at)
        short = amount - sum(part for _lot, part in parts)
        owed = account.owes(short)
        taken = amount - short + owed
        if not taken:
            return None, short
        entry_id = self._enter(account=account, kind=kind, amount=-taken, cause=cause)
        for lot, part in parts:
            self._allocate(account=account, entry_id=entry_id, lot=lot, amount=part)
        account.debt += owed
        return entry_id, short - owed

    def expire_due(self) -> int:
        """Let lapse what is left, and not held, of every lot whose time is over; how many lots."""
        due = [
            (account, lot)
            for account in self._accounts.values()
            for lot in sorted(account.lots.values(), key=_spending_order)
            if lot.expires_at is not None and lot.expires_at <= self.at and lot.remaining > lot.held
        ]
        for account, lot in due:
            self._lapse(account=account, lot=lot)
        return len(due)

    def _lapse_if_over(self, *, account: Account, occurred_at: datetime) -> None:
        """
        Let a sliding account lapse before a deed that came after its end, whether or not a night has noticed that end.

        A deed from before the end saves the account, however late it is told.
        """
        if account.slides_until is None or account.slides_until > min(occurred_at, self.at):
            return
        if not account.has_lots:
            self._load_lots([account])
        over = [lot for lot in account.lots.values() if lot.slides and lot.remaining > lot.held]
        for lot in sorted(over, key=_spending_order):
            self._lapse(account=account, lot=lot)

    def _lapse(self, *, account: Account, lot: OpenLot) -> None:
        amount = lot.remaining - lot.held
        # What is left can lapse in several goes: a hold lets go of its part, a spend is given back.
        key = f"expire:{lot.entry_id}:{lot.remaining}:{self.at.isoformat()}"
        cause = Cause(key=key, occurred_at=lot.expires_at or self.at, corrects_id=lot.entry_id)
        entry_id = self._enter(account=account, kind=Kind.EXPIRE, amount=-amount, cause=cause)
        self._allocate(account=account, entry_id=entry_id, lot=lot, amount=amount)

    def move(self, *, source: Account, target: Account, unit: Unit, tag: str, made_by: UUID | None) -> None:
        """Move every lot of an account to another member's, with its dates, and the debt whole."""
        for lot in list(source.lots.values()):
            cause = Cause(key=f"{tag}:{lot.entry_id}", occurred_at=self.at, made_by=made_by)
            self.move_part(source=source, target=target, unit=unit, lot=lot, amount=lot.remaining, cause=cause)
        if source.debt:
            self._move_debt(source=source, target=target, unit=unit, tag=tag, made_by=made_by)

    def move_some(self, *, source: Account, target: Account, unit: Unit, amount: int, cause: Cause) -> None:
        """Move available points, soonest expiry first, lot by lot with their dates. :raises NotEnoughPoints:"""
        available = source.available(self.at)
        if available < amount:
            raise NotEnoughPoints(asked=amount, available=available)
        for lot, part in pick(lots=source.lots.values(), amount=amount, at=self.at):
            of_lot = replace(cause, key=f"{cause.key}:{lot.entry_id}")
            self.move_part(source=source, target=target, unit=unit, lot=lot, amount=part, cause=of_lot)

    def move_part(
        self, *, source: Account, target: Account, unit: Unit, lot: OpenLot, amount: int, cause: Cause
    ) -> UUID:
        """Move a part of one lot by a pair of entries, the second naming the first; the lot it arrives in."""
        out = self._enter(account=source, kind=Kind.MOVE, amount=-amount, cause=replace(cause, key=f"{cause.key}:out"))
        self._allocate(account=source, entry_id=out, lot=lot, amount=amount)
        arriving = replace(cause, key=f"{cause.key}:in", corrects_id=out)
        return self.earn(account=target, unit=unit, amount=amount, cause=arriving, kind=Kind.MOVE, dates=lot.dates)

    def _move_debt(self, *, source: Account, target: Account, unit: Unit, tag: str, made_by: UUID | None) -> None:
        """What is owed is owed already: no limit and no change of policy lets go of it on the way."""
        key, amount = f"{tag}:{source.id}:debt:{source.debt}", source.debt
        parts = _parts_to_take_back(account=target, amount=amount, first=None, at=self.at)
        cause = Cause(key=f"{key}:in", occurred_at=self.at, made_by=made_by)
        taken = self._enter(account=target, kind=Kind.MOVE, amount=-amount, cause=cause)
        for lot, part in parts:
            self._allocate(account=target, entry_id=taken, lot=lot, amount=part)
        target.debt += amount - sum(part for _lot, part in parts)
        cause = Cause(key=f"{key}:out", occurred_at=self.at, corrects_id=taken, made_by=made_by)
        self.earn(account=source, unit=unit, amount=amount, cause=cause, kind=Kind.MOVE)

    def restore(self, *, account: Account, parts: Sequence[tuple[UUID, int]], cause: Cause) -> UUID:
        """Give a spend's points back to the very lots they came from, with their dates."""
        entry_id = self._enter(account=account, kind=Kind.RESTORE, amount=sum(p for _lot, p in parts), cause=cause)
        for lot_id, part in parts:
            self._allocations.append(_allocation(entry_id=entry_id, lot_id=lot_id, amount=-part))
            if lot_id in account.lots:
                account.lots[lot_id].remaining += part
        return entry_id

    # ── writing ─────────────────────────────────────────────────────────────────────────────────────────────────

    def write(self) -> None:
        """Send all movements to the database, whose triggers move balances and lots."""
        with connections[CLIENT].cursor() as cursor:
            if self._new_accounts:
                cursor.execute(_INSERT_ACCOUNTS, [_json(_account_row(a) for a in self._new_accounts)])
            copy_lines(cursor=cursor, table="members_ledgerentry", columns=_ENTRY, lines=self._entries)
            copy_lines(cursor=cursor, table="members_lot", columns=_LOT, lines=self._lots)
            copy_lines(cursor=cursor, table="members_allocation", columns=_ALLOCATION, lines=self._allocations)
            if owing := [a for a in self._accounts.values() if a.debt != a.owed_before]:
                cursor.execute(_UPDATE_DEBTS, [_json(_debt_row(a) for a in owing)])
            if slid := [a for a in self._accounts.values() if a.slides_until != a.slid_before and not a.is_new]:
                cursor.execute(_UPDATE_SLIDES, [_json(_slide_row(a) for a in slid)])

    def _lifetime(
        self, *, unit: Unit, occurred_at: datetime, day: date | None = None
    ) -> tuple[datetime, datetime | None]:
        """Worked out once for each unit and local day: most of a batch falls on a few."""
        day = day or occurred_at.astimezone(self.zone).date()
        dates = self._dates.get((unit.code, day))
        if dates is None:
            dates = self._dates[unit.code, day] = lifetime(unit=unit, occurred_at=occurred_at, zone=self.zone)
        return dates if unit.pending_days else (occurred_at, dates[1])

    def _slide(self, *, account: Account, occurred_at: datetime) -> None:
        """Put the end of a sliding account off to so many months after this deed; never back."""
        day = occurred_at.astimezone(self.zone).date()
        until = self._slid.get((account.months, day))
        if until is None:
            last = slides_to(account.months, day)
            until = self._slid[account.months, day] = midnight(day=last + timedelta(days=1), zone=self.zone)
        if account.slides_until is not None and account.slides_until >= until:
            return
        account.slides_until = until
        for lot in account.lots.values():
            if lot.slides:
                lot.expires_at = until

    def _enter(self, *, account: Account, kind: str, amount: int, cause: Cause) -> UUID:
        entry_id = uuid7_above(account.floor)
        account.floor = entry_id.int
        # Its lot bears the same id and, mostly, moment: they are written out once.
        self._written = entry, occurred = str(entry_id), str(cause.occurred_at)
        account.balance += amount
        self._entries.append(
            f"{entry}\t{account.text}\t{kind}\t{amount}\t{account.balance}\t{text(cause.key)}\t"
            f"{cause.purchase_id or NULL}\t{cause.activity_id or NULL}\t{cause.corrects_id or NULL}\t"
            f"{text(cause.reason)}\t{cause.made_by or NULL}\t{occurred}\t{self._at_text}"
        )
        return entry_id

    def _text_of(self, moment: datetime | None) -> str:
        """As it is written; most of a batch expires on a few days."""
        written = self._texts.get(moment)
        if written is None:
            written = self._texts[moment] = or_null(moment)
        return written

    def _allocate(self, *, account: Account, entry_id: UUID, lot: OpenLot, amount: int) -> None:
        lot.remaining -= amount
        if not lot.remaining:
            account.lots.pop(lot.entry_id, None)
        self._allocations.append(_allocation(entry_id=entry_id, lot_id=lot.entry_id, amount=amount))

    def load_lots(self, member_ids: Iterable[UUID]) -> None:
        """Fetch the open lots of these members' accounts."""
        wanted = set(member_ids)
        self._load_lots([a for a in self._accounts.values() if a.member_id in wanted])

    def _load_lots(self, accounts: list[Account]) -> None:
        by_id = {account.id: account for account in accounts if not account.is_new}
        if not by_id:
            return
        with connections[CLIENT].cursor() as cursor:
            cursor.execute(_SELECT_LOTS, [list(by_id)])
            for account_id, *row in cursor.fetchall():
                account, lot = by_id[account_id], OpenLot(*row)
                if lot.expires_at is None and account.slides_until is not None:
                    self._end_with_account(account=account, lot=lot)
                account.lots[lot.entry_id] = lot
        for account in by_id.values():
            account.has_lots = True

    def _end_with_account(self, *, account: Account, lot: OpenLot) -> None:
        if self._sliding is None:
            self._sliding = {unit.id: unit for unit in units() if unit.expiry == "sliding"}
        unit = self._sliding.get(account.unit_id)
        if unit is not None and unit.slides(available_at=lot.available_at, expires_at=None):
            lot.slides, lot.expires_at = True, account.slides_until


def lifetime(*, unit: Unit, occurred_at: datetime, zone: ZoneInfo) -> tuple[datetime, datetime | None]:
    """
    From when points earned at `occurred_at` may be spent, and the instant at which they lapse (None: never).

    A pending period ends at the start of a local day; a lot promised until a date lives to the end of that local day.
    """
    day = occurred_at.astimezone(zone).date()
    available = occurred_at
    if unit.pending_days:
        available = midnight(day=day + timedelta(days=unit.pending_days), zone=zone)
    last = expires_on(unit.expiry, unit.expiry_months, day)
    return available, midnight(day=last + timedelta(days=1), zone=zone) if last else None


def pick(*, lots: Iterable[OpenLot], amount: int, at: datetime) -> list[tuple[OpenLot, int]]:
    """Parts of available lots that make up `amount`: soonest expiry first, then oldest, never-expiring last."""
    parts = []
    for lot in sorted(lots, key=_spending_order):
        if amount <= 0:
            break
        if part := min(lot.free(at), amount):
            parts.append((lot, part))
            amount -= part
    return parts


def _spending_order(lot: OpenLot) -> tuple[bool, datetime, datetime, UUID]:
    return lot.expires_at is None, lot.expires_at or lot.available_at, lot.available_at, lot.entry_id


def _parts_to_take_back(
    *, account: Account, amount: int, first: UUID | None, at: datetime
) -> list[tuple[OpenLot, int]]:
    if (
        first is not None
        and first in account.lots
        and account.lots[first].remaining - account.lots[first].held >= amount
    ):
        return [(account.lots[first], amount)]
    parts = []
    order = sorted(
        account.lots.values(), key=lambda lot: (lot.entry_id != first, lot.available_at <= at, *_spending_order(lot))
    )
    for lot in order:
        if amount <= 0:
            break
        if part := min(lot.remaining - lot.held, amount):
            parts.append((lot, part))
            amount -= part
    return parts


def _load_accounts(member_ids: Sequence[UUID]) -> dict[tuple[UUID, UUID], Account]:
    with connections[CLIENT].cursor() as cursor:
        cursor.execute(_SELECT_ACCOUNTS, [list(member_ids)])
        accounts = [Account(*row) for row in cursor.fetchall()]
    return {(account.member_id, account.unit_id): account for account in accounts}


def _account_row(account: Account) -> dict[str, Any]:
    return {
        "id": account.text,
        "member_id": str(account.member_id),
        "unit_id": str(account.unit_id),
        "may_owe": account.may_owe,
        "slides_until": _moment(account.slides_until),
    }


def _debt_row(account: Account) -> dict[str, Any]:
    """An account that owed more before its limit was lowered owes no more than it did."""
    limit = None if account.debt_limit is None else max(account.debt_limit, account.debt)
    return {"id": account.text, "debt": account.debt, "debt_limit": limit}


def _slide_row(account: Account) -> dict[str, Any]:
    return {"id": account.text, "slides_until": _moment(account.slides_until)}


def _moment(at: datetime | None) -> str | None:
    return at.isoformat() if at is not None else None


def _allocation(*, entry_id: UUID, lot_id: UUID, amount: int) -> str:
    return f"{uuid7()}\t{entry_id}\t{lot_id}\t{amount}"


def _json(rows: Iterable[dict[str, Any]]) -> str:
    return json.dumps(list(rows))


_SELECT_ACCOUNTS = """
    SELECT id, member_id, unit_id, balance, debt, may_owe, debt_limit, slides_until, newest
    FROM members_pointsaccount WHERE member_id = ANY(%s::uuid[])
"""
_SELECT_LOTS = """
    SELECT account_id, entry_id, remaining, held, available_at, expires_at
    FROM members_lot WHERE account_id = ANY(%s::uuid[]) AND remaining > 0
"""
_INSERT_ACCOUNTS = """
    INSERT INTO members_pointsaccount (id, member_id, unit_id, balance, in_lots, debt, may_owe, slides_until)
    SELECT id, member_id, unit_id, 0, 0, 0, may_owe, slides_until
    FROM jsonb_to_recordset(%s::jsonb) AS r(id uuid, member_id uuid, unit_id uuid, may_owe boolean,
         slides_until timestamptz)
"""
_ENTRY = (
    "id", "account_id", "kind", "amount", "balance_after", "key", "purchase_id", "activity_id", "corrects_id", "reason",
    "made_by", "occurred_at", "at",
)  # fmt: skip
_LOT = ("entry_id", "account_id", "remaining", "held", "available_at", "expires_at")
_ALLOCATION = ("id", "entry_id", "lot_id", "amount")
_UPDATE_DEBTS = """
    UPDATE members_pointsaccount a
    SET debt = r.debt, debt_limit = r.debt_limit, may_owe = a.may_owe OR r.debt > 0
    FROM jsonb_to_recordset(%s::jsonb) AS r(id uuid, debt bigint, debt_limit bigint) WHERE a.id = r.id
"""
_UPDATE_SLIDES = """
    UPDATE members_pointsaccount a SET slides_until = r.slides_until
    FROM jsonb_to_recordset(%s::jsonb) AS r(id uuid, slides_until timestamptz) WHERE a.id = r.id
"""
