"""R02 and R08: random lives of a member through the services, beside a plain model in memory that says what must come."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from members.ledger import NotEnoughPoints
from members.models import Hold, LedgerEntry, Lot, Member
from members.services.points import HoldSettled
from tenants.models import Client
from tests.members.world import (
    BERLIN,
    DAY,
    NOON,
    adjust,
    balance_of,
    bring_back,
    buy,
    capture,
    credit,
    expire,
    hold,
    line,
    live,
    new_member,
    restore,
    unit,
    void,
)

ROUNDS = count()
MINUTE = timedelta(minutes=1)
EXPIRY = {"policy": "rolling", "months": 1}
PENDING_DAYS = 3


@dataclass
class Pot:
    """A lot as one would draw it on paper."""

    place: int
    gave: int
    left: int
    available: datetime
    expires: datetime
    held: int = 0

    def free(self, at: datetime) -> int:
        return self.left - self.held if self.available <= at < self.expires else 0


@dataclass
class Paper:
    """The books of one member on paper."""

    may_owe: bool
    pots: list[Pot] = field(default_factory=list)
    debt: int = 0

    def earn(self, amount: int, at: datetime) -> Pot:
        day = at.astimezone(BERLIN).date()
        available = datetime(day.year, day.month, day.day, tzinfo=BERLIN) + PENDING_DAYS * DAY
        month = day.month % 12 + 1
        # No day after the 28th is used, so the day stays the same.
        last = day.replace(year=day.year + (month == 1), month=month)
        expires = datetime(last.year, last.month, last.day, tzinfo=BERLIN) + DAY
        paid = min(self.debt, amount)
        self.debt -= paid
        pot = Pot(len(self.pots), amount, amount - paid, available, expires)
        self.pots.append(pot)
        return pot

    def pick(self, amount: int, at: datetime) -> list[tuple[Pot, int]] | None:
        parts = []
        for pot in sorted(self.pots, key=lambda pot: (pot.expires, pot.available, pot.place)):
            if part := min(pot.free(at), amount):
                parts.append((pot, part))
                amount -= part
        return None if amount else parts

    def take_back(self, amount: int, at: datetime, first: Pot | None) -> None:
        if first is None or first.left - first.held < amount:
            order = sorted(
                self.pots,
                key=lambda pot: (pot is not first, pot.available <= at, pot.expires, pot.available, pot.place),
            )
        else:
            order = [first]
        for pot in order:
            part = min(pot.left - pot.held, amount)
            pot.left -= part
            amount -= part
        self.debt += amount if self.may_owe else 0

    def lapse(self, at: datetime) -> int:
        due = [pot for pot in self.pots if pot.expires <= at and pot.left > pot.held]
        for pot in due:
            pot.left = pot.held
        return len(due)

    def sight(self, at: datetime) -> tuple[int, int, int, int]:
        left = sum(pot.left for pot in self.pots)
        return left - self.debt, sum(pot.free(at) for pot in self.pots), sum(pot.held for pot in self.pots), self.debt


class Life:
    """One member's life, told to the services and to the paper alike."""

    def __init__(self, *, may_owe: bool) -> None:
        self.name = f"life {next(ROUNDS)}"
        self.member: Member = new_member(self.name)
        self.paper, self.now = Paper(may_owe), NOON.replace(day=1)
        self.sales: list[tuple[str, Pot, int]] = []
        self.holds: list[tuple[Hold, list[tuple[Pot, int]], str]] = []
        self.spends: list[tuple[LedgerEntry, list[tuple[Pot, int]]]] = []
        self.told = count()
        self.accepted = self.refused = 0

    def tell(self, deed: str, amount: int) -> None:
        getattr(self, deed)(amount)
        found = balance_of(self.member, at=self.now)
        assert (found.balance, found.available, found.held, found.debt) == self.paper.sight(self.now), deed

    def _expects(self, refusal: type[Exception] | None, deed: Any) -> Any:
        if refusal is None:
            self.accepted += 1
            return deed()
        self.refused += 1
        with pytest.raises(refusal):
            deed()
        return None

    # ── what can happen ─────────────────────────────────────────────────────────────────────────────────────────

    def wait(self, amount: int) -> None:
        self.now += (amount % 12 + 1) * DAY
        if self.now.astimezone(BERLIN).day > 28:
            self.now += 4 * DAY

    def buy(self, amount: int) -> None:
        receipt = f"{self.name} R-{next(self.told)}"
        buy(self.member, receipt=receipt, lines=[line(amount, quantity=2)], at=self.now)
        credit(at=self.now)
        self.sales.append((receipt, self.paper.earn(amount, self.now), amount))

    def bring_back(self, amount: int) -> None:
        if not self.sales:
            return
        receipt, pot, worth = self.sales.pop(amount % len(self.sales))
        bring_back(self.member, receipt=f"{receipt} back", sale=receipt, at=self.now)
        credit(at=self.now)
        self.paper.take_back(worth, self.now, pot)

    def bring_half_back(self, amount: int) -> None:
        if not self.sales:
            return
        receipt, pot, worth = self.sales.pop(amount % len(self.sales))
        bring_back(self.member, receipt=f"{receipt} half", sale=receipt, lines=[line(0)], at=self.now)
        credit(at=self.now)
        self.paper.take_back(worth // 2, self.now, pot)

    def hold(self, amount: int) -> None:
        parts = self.paper.pick(amount, self.now)
        held = self._expects(
            None if parts else NotEnoughPoints, lambda: hold(self.member, amount, at=self.now, lasts=5 * DAY)
        )
        if parts:
            for pot, part in parts:
                pot.held += part
            self.holds.append((held, parts, "held"))

    def capture(self, amount: int) -> None:
        self._settle(amount, "captured")

    def void(self, amount: int) -> None:
        self._settle(amount, "voided")

    def _settle(self, amount: int, end: str) -> None:
        if not self.holds:
            return
        place = amount % len(self.holds)
        held, parts, state = self.holds[place]
        if end == "captured":
            fits = state == "captured" or (state == "held" and held.expires_at > self.now)
            entry = self._expects(None if fits else HoldSettled, lambda: capture(held, at=self.now))
        else:
            fits = state != "captured"
            self._expects(None if fits else HoldSettled, lambda: void(held))
        if not fits or state != "held":
            return
        for pot, part in parts:
            pot.held -= part
            pot.left -= part if end == "captured" else 0
        if end == "captured":
            self.spends.append((entry, parts))
        self.holds[place] = (held, parts, end)

    def restore(self, amount: int) -> None:
        if not self.spends:
            return
        entry, parts = self.spends.pop(amount % len(self.spends))
        restore(entry, at=self.now)
        for pot, part in parts:
            pot.left += part

    def expire(self, _amount: int) -> None:
        assert expire(at=self.now) == self.paper.lapse(self.now)
        assert expire(at=self.now) == 0

    def give(self, amount: int) -> None:
        adjust(self.member, amount, at=self.now)
        self.paper.earn(amount, self.now)

    def deduct(self, amount: int) -> None:
        fits = self.paper.sight(self.now)[1] >= amount
        self._expects(None if fits else NotEnoughPoints, lambda: adjust(self.member, -amount, at=self.now))
        if fits:
            for pot, part in self.paper.pick(amount, self.now) or []:
                pot.left -= part


DEEDS = ["buy", "buy", "wait", "wait", "bring_back", "bring_half_back", "hold", "hold", "capture", "void", "restore",
         "expire", "give", "deduct"]  # fmt: skip
Lives = st.lists(st.tuples(st.sampled_from(DEEDS), st.integers(1, 500)), min_size=5, max_size=40)


@pytest.fixture
def owing_club(acme: Client) -> None:
    live(units=[unit(may_owe=True, pending_days=PENDING_DAYS, expiry=EXPIRY)])


@pytest.fixture
def strict_club(acme: Client) -> None:
    live(units=[unit(pending_days=PENDING_DAYS, expiry=EXPIRY)])


def live_it(deeds: list[tuple[str, int]], *, may_owe: bool) -> None:
    life = Life(may_owe=may_owe)
    for deed, amount in deeds:
        life.tell(deed, amount)
    lots = Lot.objects.filter(account__member=life.member).order_by("entry_id")
    found = list(lots.values_list("remaining", "held", "available_at", "expires_at"))
    assert found == [(pot.left, pot.held, pot.available, pot.expires) for pot in life.paper.pots]
    # Nothing of this life may be due in the next one.
    expire(at=life.now + 400 * DAY)


_often = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@_often
@given(deeds=Lives)
def test_r02_the_services_do_what_the_paper_says_where_points_may_be_owed(
    owing_club: None, deeds: list[tuple[str, int]]
) -> None:
    live_it(deeds, may_owe=True)


@_often
@given(deeds=Lives)
def test_r02_the_services_do_what_the_paper_says_where_no_points_may_be_owed(
    strict_club: None, deeds: list[tuple[str, int]]
) -> None:
    live_it(deeds, may_owe=False)


@pytest.mark.parametrize("broken", ["newest first", "debt forgotten"])
def test_r02_negative_control_another_order_or_a_forgotten_debt_is_caught(
    owing_club: None, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from members import ledger

    if broken == "newest first":
        monkeypatch.setattr(ledger, "_spending_order", lambda lot: (-lot.available_at.timestamp(), lot.entry_id))
        deeds = [
            ("buy", 100),
            ("wait", 3),
            ("buy", 100),
            ("wait", 6),
            ("hold", 50),
            ("capture", 0),
            ("wait", 11),
            ("wait", 5),
        ]
        deeds += [("expire", 0)]
    else:
        monkeypatch.setattr(ledger, "_UPDATE_DEBTS", "SELECT %s::jsonb")
        deeds = [("buy", 100), ("wait", 5), ("hold", 100), ("capture", 0), ("bring_back", 0)]

    with pytest.raises(Exception, match="assert|Balance is not"):
        live_it(deeds, may_owe=True)
    monkeypatch.undo()
    credit(at=NOON + 90 * DAY)
