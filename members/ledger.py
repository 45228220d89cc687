"""
The points ledger: the only place that writes entries, lots and allocations.

A Book is opened on locked members, moved in memory and written in a handful of statements, whether it holds one spend
or five hundred purchases. Triggers move balances and lots; the database refuses what does not add up.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import connections

from members.copying import copy_lines, or_null, text
from members.models import LedgerEntry, Member
from members.rules import midnight
from programs.queries import Unit
from programs.rules import expires_on
from tenants.keys import uuid7
from tenants.routers import CLIENT

Kind = LedgerEntry.Kind


class NotEnoughPoints(Exception):
    """The account has less available than is asked for."""

    def __init__(self, *, asked: int, available: int) -> None:
        super().__init__(f"{asked} asked for, {available} available.")
        self.asked, self.available = asked, available


@dataclass(slots=True)
class OpenLot:
    """A lot with points in it, as the book sees it."""

    entry_id: UUID
    remaining: int
    held: int
    available_at: datetime
    expires_at: datetime | None

    def free(self, at: datetime) -> int:
        """What may be spent of it at `at`."""
        if self.available_at > at or (self.expires_at is not None and self.expires_at <= at):
            return 0
        return self.remaining - self.held


@dataclass(slots=True)
class Account:
    """One member's account of one unit while the book is open."""

    id: UUID
    member_id: UUID
    unit_id: UUID
    balance: int = 0
    debt: int = 0
    owed_before: int = 0
    may_owe: bool = False
    is_new: bool = False
    # The id as it is written, once instead of in every row.
    text: str = ""
    lots: dict[UUID, OpenLot] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.text = str(self.id)

    def available(self, at: datetime) -> int:
        """What may be spent at `at`."""
        return sum(lot.free(at) for lot in self.lots.values())


@dataclass(frozen=True, slots=True)
class Cause:
    """What a movement is about: its unique key, the purchase or activity, and the entry it corrects."""

    key: str
    occurred_at: datetime
    purchase_id: UUID | None = None
    activity_id: UUID | None = None
    corrects_id: UUID | None = None
    reason: str = ""
    made_by: UUID | None = None


def lock(member_ids: Iterable[UUID]) -> None:
    """Hold members in id order until the transaction ends, so that two writers never wait for each other in a ring."""
    list(
        Member.objects.select_for_update(no_key=True)
        .filter(pk__in=list(member_ids))
        .order_by("pk")
        .values_list("pk", flat=True)
    )


class Book:
    """The accounts of locked members, moved in memory, written at once."""

    def __init__(self, *, member_ids: Sequence[UUID], at: datetime, zone: ZoneInfo, with_lots: bool = True) -> None:
        self.at, self.zone = at, zone
        self._at_text = str(at)
        self._accounts = _load_accounts(member_ids)
        self._dates: dict[tuple[UUID, date], tuple[datetime, datetime | None]] = {}
        self._new_accounts: list[Account] = []
        self._entries: list[str] = []
        self._lots: list[str] = []
        self._allocations: list[str] = []
        if with_lots:
            self._load_lots(list(self._accounts.values()))

    def account(self, *, member_id: UUID, unit: Unit) -> Account:
        """The member's account of the unit, opened if there is none."""
        found = self._accounts.get((member_id, unit.id))
        if found is None:
            found = Account(id=uuid7(), member_id=member_id, unit_id=unit.id, may_owe=unit.may_owe, is_new=True)
            self._accounts[member_id, unit.id] = found
            self._new_accounts.append(found)
        # As the program says now, which need not be what it said when the account was opened.
        found.may_owe = unit.may_owe
        return found

    # ── movements ───────────────────────────────────────────────────────────────────────────────────────────────

    def earn(
        self,
        *,
        account: Account,
        unit: Unit,
        amount: int,
        cause: Cause,
        kind: str = Kind.EARN,
        dates: tuple[datetime, datetime | None] | None = None,
    ) -> UUID:
        """Give points in a lot of their own, pending and expiring as the unit (or `dates`) says; debt is paid first."""
        entry_id = self._enter(account=account, kind=kind, amount=amount, cause=cause)
        dates = dates or self._lifetime(unit=unit, occurred_at=cause.occurred_at)
        lot = OpenLot(entry_id, amount, 0, *dates)
        account.lots[entry_id] = lot
        self._lots.append(f"{entry_id}\t{account.text}\t{amount}\t0\t{lot.available_at}\t{or_null(lot.expires_at)}")
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
        entry_id = self._enter(account=account, kind=kind, amount=-amount, cause=cause)
        for lot, part in pick(lots=account.lots.values(), amount=amount, at=self.at):
            self._allocate(account=account, entry_id=entry_id, lot=lot, amount=part)
        return entry_id

    def capture(self, *, account: Account, parts: Sequence[tuple[UUID, int]], cause: Cause) -> UUID:
        """Spend exactly the parts of lots that a hold pinned; the hold has let go of them already."""
        entry_id = self._enter(account=account, kind=Kind.SPEND, amount=-sum(p for _lot, p in parts), cause=cause)
        for lot_id, part in parts:
            self._allocate(account=account, entry_id=entry_id, lot=account.lots[lot_id], amount=part)
        return entry_id

    def take_back(
        self, *, account: Account, amount: int, cause: Cause, first: UUID | None = None, kind: str = Kind.REVERSE
    ) -> tuple[UUID | None, int]:
        """
        Take points back: from the lot `first`, then pending lots, then available ones, then as debt where allowed.

        Returns the entry and how much could not be taken because the program allows no debt.
        """
        parts = _parts_to_take_back(account=account, amount=amount, first=first, at=self.at)
        short = amount - sum(part for _lot, part in parts)
        owed = short if account.may_owe else 0
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
            for lot in list(account.lots.values())
            if lot.expires_at is not None and lot.expires_at <= self.at and lot.remaining > lot.held
        ]
        for account, lot in due:
            amount = lot.remaining - lot.held
            # What is left can lapse in several goes: a hold lets go of its part, a spend is given back.
            key = f"expire:{lot.entry_id}:{lot.remaining}:{self.at.isoformat()}"
            cause = Cause(key=key, occurred_at=lot.expires_at or self.at, corrects_id=lot.entry_id)
            entry_id = self._enter(account=account, kind=Kind.EXPIRE, amount=-amount, cause=cause)
            self._allocate(account=account, entry_id=entry_id, lot=lot, amount=amount)
        return len(due)

    def move(self, *, source: Account, target: Account, unit: Unit, made_by: UUID | None) -> None:
        """Move every lot of an account to another member's, with its dates, and the debt."""
        for lot in list(source.lots.values()):
            amount, dates = lot.remaining, (lot.available_at, lot.expires_at)
            cause = Cause(key=f"move:{lot.entry_id}:out", occurred_at=self.at, made_by=made_by)
            out = self._enter(account=source, kind=Kind.MOVE, amount=-amount, cause=cause)
            self._allocate(account=source, entry_id=out, lot=lot, amount=amount)
            cause = Cause(key=f"move:{lot.entry_id}:in", occurred_at=self.at, corrects_id=out, made_by=made_by)
            self.earn(account=target, unit=unit, amount=amount, cause=cause, kind=Kind.MOVE, dates=dates)
        if source.debt:
            key = f"move:{source.id}:debt:{source.debt}"
            cause = Cause(key=f"{key}:in", occurred_at=self.at, made_by=made_by)
            taken, short = self.take_back(account=target, amount=source.debt, cause=cause, kind=Kind.MOVE)
            cause = Cause(key=f"{key}:out", occurred_at=self.at, corrects_id=taken, made_by=made_by)
            if taken is not None:
                self.earn(account=source, unit=unit, amount=source.debt - short, cause=cause, kind=Kind.MOVE)

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
                cursor.execute(_UPDATE_DEBTS, [_json({"id": str(a.id), "debt": a.debt} for a in owing)])

    def _lifetime(self, *, unit: Unit, occurred_at: datetime) -> tuple[datetime, datetime | None]:
        """Worked out once for each unit and local day: most of a batch falls on a few."""
        day = occurred_at.astimezone(self.zone).date()
        dates = self._dates.get((unit.id, day))
        if dates is None:
            dates = self._dates[unit.id, day] = lifetime(unit=unit, occurred_at=occurred_at, zone=self.zone)
        return dates if unit.pending_days else (occurred_at, dates[1])

    def _enter(self, *, account: Account, kind: str, amount: int, cause: Cause) -> UUID:
        entry_id = uuid7()
        account.balance += amount
        self._entries.append(
            f"{entry_id}\t{account.text}\t{kind}\t{amount}\t{account.balance}\t{text(cause.key)}\t"
            f"{or_null(cause.purchase_id)}\t{or_null(cause.activity_id)}\t{or_null(cause.corrects_id)}\t"
            f"{text(cause.reason)}\t{or_null(cause.made_by)}\t{cause.occurred_at}\t{self._at_text}"
        )
        return entry_id

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
            for account_id, *lot in cursor.fetchall():
                by_id[account_id].lots[lot[0]] = OpenLot(*lot)


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
        return {
            (member_id, unit_id): Account(account_id, member_id, unit_id, balance, debt, debt, may_owe)
            for account_id, member_id, unit_id, balance, debt, may_owe in cursor.fetchall()
        }


def _account_row(account: Account) -> dict[str, Any]:
    return {
        "id": account.text,
        "member_id": str(account.member_id),
        "unit_id": str(account.unit_id),
        "may_owe": account.may_owe,
    }


def _allocation(*, entry_id: UUID, lot_id: UUID, amount: int) -> str:
    return f"{uuid7()}\t{entry_id}\t{lot_id}\t{amount}"


def _json(rows: Iterable[dict[str, Any]]) -> str:
    return json.dumps(list(rows))


_SELECT_ACCOUNTS = """
    SELECT id, member_id, unit_id, balance, debt, may_owe FROM members_pointsaccount WHERE member_id = ANY(%s::uuid[])
"""
_SELECT_LOTS = """
    SELECT account_id, entry_id, remaining, held, available_at, expires_at
    FROM members_lot WHERE account_id = ANY(%s::uuid[]) AND remaining > 0
"""
_INSERT_ACCOUNTS = """
    INSERT INTO members_pointsaccount (id, member_id, unit_id, balance, in_lots, debt, may_owe)
    SELECT id, member_id, unit_id, 0, 0, 0, may_owe
    FROM jsonb_to_recordset(%s::jsonb) AS r(id uuid, member_id uuid, unit_id uuid, may_owe boolean)
"""
_ENTRY = (
    "id", "account_id", "kind", "amount", "balance_after", "key", "purchase_id", "activity_id", "corrects_id", "reason",
    "made_by", "occurred_at", "at",
)  # fmt: skip
_LOT = ("entry_id", "account_id", "remaining", "held", "available_at", "expires_at")
_ALLOCATION = ("id", "entry_id", "lot_id", "amount")
_UPDATE_DEBTS = """
    UPDATE members_pointsaccount a SET debt = r.debt, may_owe = a.may_owe OR r.debt > 0
    FROM jsonb_to_recordset(%s::jsonb) AS r(id uuid, debt bigint) WHERE a.id = r.id
"""
