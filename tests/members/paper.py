"""The books of a few members as one would keep them on paper: what the services must come to."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from tests.members.world import BERLIN, DAY

PENDING_DAYS = 3
NOWHERE = UUID(int=2**128 - 1)


@dataclass(eq=False)
class Pot:
    """A lot; `place` is its entry's id, known once it is in the books."""

    owner: "Person"
    gave: int
    left: int
    available: datetime
    expires: datetime
    held: int = 0
    place: UUID = NOWHERE

    def free(self, at: datetime) -> int:
        return self.left - self.held if self.available <= at < self.expires else 0

    @property
    def order(self) -> tuple[datetime, datetime, UUID]:
        return self.expires, self.available, self.place


@dataclass(eq=False)
class Person:
    """A member: debt, pots, who they have become, with whom they spend, and whether they have left."""

    name: str
    debt: int = 0
    pots: list[Pot] = field(default_factory=list)
    merged_into: "Person | None" = None
    home: int | None = None
    has_left: bool = False

    def available(self, at: datetime) -> int:
        return sum(pot.free(at) for pot in self.pots)

    @property
    def now(self) -> "Person":
        """Whom they have become."""
        return self.merged_into or self


@dataclass(eq=False)
class Pledge:
    """A hold: which parts of pots it pins, and which of them were lent by whom."""

    owner: Person
    amount: int
    until: datetime
    parts: list[tuple[Pot, int]]
    lent: dict[Pot, Person]
    state: str = "held"


@dataclass(eq=False)
class Spend:
    """Parts of pots that were spent, in their order, and how much of it has been given back."""

    owner: Person
    parts: list[tuple[Pot, int]]
    back: int = 0

    @property
    def amount(self) -> int:
        return sum(part for _pot, part in self.parts)


@dataclass(eq=False)
class Sale:
    """A sale of two pieces: how many have come back, and the pot it filled."""

    owner: Person
    receipt: str
    worth: int
    pot: Pot
    back: int = 0


@dataclass
class Paper:
    """The rules of the books."""

    may_owe: bool
    debt_limit: int | None = None
    people: list[Person] = field(default_factory=list)

    # ── in ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def earn(self, who: Person, amount: int, at: datetime) -> Pot:
        day = at.astimezone(BERLIN).date()
        available = datetime(day.year, day.month, day.day, tzinfo=BERLIN) + PENDING_DAYS * DAY
        month = day.month % 12 + 1
        # No day after the 28th is used, so the day stays the same.
        last = day.replace(year=day.year + (month == 1), month=month)
        return self.put(who, amount, (available, datetime(last.year, last.month, last.day, tzinfo=BERLIN) + DAY))

    def put(self, who: Person, amount: int, dates: tuple[datetime, datetime]) -> Pot:
        """A new pot; debt is paid first."""
        paid = min(who.debt, amount)
        who.debt -= paid
        pot = Pot(who, amount, amount - paid, *dates)
        who.pots.append(pot)
        return pot

    # ── out ─────────────────────────────────────────────────────────────────────────────────────────────────────

    @staticmethod
    def pick(pots: Iterable[Pot], amount: int, at: datetime) -> list[tuple[Pot, int]] | None:
        parts = []
        for pot in sorted(pots, key=lambda pot: pot.order):
            if part := min(pot.free(at), amount):
                parts.append((pot, part))
                amount -= part
        return None if amount else parts

    def take(self, who: Person, amount: int, at: datetime) -> bool:
        """Take available points; whether there were enough."""
        parts = self.pick(who.pots, amount, at)
        for pot, part in parts or []:
            pot.left -= part
        return parts is not None

    def take_back(self, who: Person, amount: int, at: datetime, first: Pot) -> None:
        """From the pot that was filled, then pending ones, then available ones, then as debt."""
        if first.owner is who and first.left - first.held >= amount:
            order = [first]
        else:
            order = self._back_order(who, at, first)
        for pot in order:
            part = min(pot.left - pot.held, amount)
            pot.left -= part
            amount -= part
        if self.may_owe:
            who.debt += amount if self.debt_limit is None else min(amount, max(self.debt_limit - who.debt, 0))

    @staticmethod
    def _back_order(who: Person, at: datetime, first: Pot | None) -> list[Pot]:
        return sorted(who.pots, key=lambda pot: (pot is not first, pot.available <= at, *pot.order))

    def lapse(self, at: datetime) -> int:
        due = [pot for who in self.people for pot in who.pots if pot.expires <= at and pot.left > pot.held]
        for pot in due:
            pot.left = pot.held
        return len(due)

    # ── from one to another ─────────────────────────────────────────────────────────────────────────────────────

    def send(self, giver: Person, taker: Person, amount: int, at: datetime) -> bool:
        parts = self.pick(giver.pots, amount, at)
        for pot, part in parts or []:
            self._carry(pot, part, taker)
        return parts is not None

    def _carry(self, pot: Pot, part: int, taker: Person) -> Pot:
        pot.left -= part
        return self.put(taker, part, (pot.available, pot.expires))

    def pour(self, double: Person, kept: Person, at: datetime, *, order: Sequence[UUID]) -> None:
        """All pots with their dates, in the order in which they went, and then the debt."""
        for pot in _in_order([pot for pot in double.pots if pot.left], order):
            self._carry(pot, pot.left, kept)
        if owed := double.debt:
            self._carry_debt(owed, kept, at)
            # What comes for it pays it in the books of the double.
            self.earn(double, owed, at)

    def _carry_debt(self, amount: int, kept: Person, at: datetime) -> None:
        for pot in self._back_order(kept, at, None):
            part = min(pot.left - pot.held, amount)
            pot.left -= part
            amount -= part
        kept.debt += amount

    def mates(self, who: Person) -> list[Person]:
        return [one for one in self.people if one is not who and who.home is not None and one.home == who.home]

    def merge(self, kept: Person, double: Person, at: datetime, *, order: Sequence[UUID]) -> None:
        self.pour(double, kept, at, order=order)
        if kept.home is None:
            kept.home = double.home
        double.home = None
        for one in self.people:
            if one.merged_into is double or one is double:
                one.merged_into = kept

    def leave(self, who: Person, pledges: Iterable["Pledge"], at: datetime, *, order: Sequence[UUID]) -> None:
        """What is held is let go of, what was lent goes back, and nothing is left, owed or shared."""
        for pledge in pledges:
            self.let_go(pledge, spent=False)
            self.hand_back(pledge, order=order)
        who.home, who.has_left = None, True
        self.empty(at)

    def empty(self, at: datetime) -> None:
        """Whatever those who have left still have or owe, or have or owe again, is gone at once."""
        for who in self.people:
            if who.has_left:
                if owed := who.debt:
                    self.earn(who, owed, at)
                for pot in who.pots:
                    pot.left = 0

    # ── holds ───────────────────────────────────────────────────────────────────────────────────────────────────

    def pledge(self, who: Person, amount: int, at: datetime, *, lasts: timedelta) -> Pledge | None:
        """Pin points, those that lack first fetched from the household."""
        lent: dict[Pot, Person] = {}
        if who.available(at) < amount:
            missing = amount - who.available(at) + who.debt
            parts = self.pick([pot for mate in self.mates(who) for pot in mate.pots], missing, at)
            if parts is None:
                return None
            for pot, part in parts:
                lent[self._carry(pot, part, who)] = pot.owner
        return Pledge(who, amount, at + lasts, [], lent)

    def pin(self, pledge: Pledge, at: datetime) -> None:
        """After the pots that were fetched have their places."""
        pledge.parts = self.pick(pledge.owner.pots, pledge.amount, at) or []
        for pot, part in pledge.parts:
            pot.held += part

    def let_go(self, pledge: Pledge, *, spent: bool) -> None:
        for pot, part in pledge.parts:
            pot.held -= part
            pot.left -= part if spent else 0
        pledge.state = "captured" if spent else "voided"

    def hand_back(self, pledge: Pledge, *, order: Sequence[UUID]) -> None:
        """What was lent and not spent goes back to the lenders."""
        parts = dict(pledge.parts)
        for pot in _in_order([pot for pot in parts if pot in pledge.lent], order):
            if (lender := pledge.lent[pot].now) is not pledge.owner:
                self._carry(pot, min(parts[pot], pot.left - pot.held), lender)

    def restore(self, spend: Spend, amount: int, at: datetime, *, order: Sequence[UUID]) -> None:
        """Give so much of a spend back, the parts spent last first; to a merged member's lots, and on from there."""
        first, last, start = spend.back, spend.back + amount, 0
        for pot, whole in reversed(spend.parts):
            pot.left += max(min(last, start + whole) - max(first, start), 0)
            start += whole
        spend.back += amount
        if spend.owner.merged_into:
            self.pour(spend.owner, spend.owner.merged_into, at, order=order)


def _in_order(pots: list[Pot], order: Sequence[UUID]) -> list[Pot]:
    """Which of several goes first is nobody's promise, but matters where a debt waits for the first."""
    return sorted(pots, key=lambda pot: order.index(pot.place) if pot.place in order else len(order))


def balance(who: Person, at: datetime) -> Sequence[int]:
    """The stored balance, what is available, what is held, and the debt."""
    left = sum(pot.left for pot in who.pots)
    return left - who.debt, who.available(at), sum(pot.held for pot in who.pots), who.debt
