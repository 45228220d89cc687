"""
How points are used as they grow older, and what that lets us expect of those still there.

The chain-ladder method on cohorts: of the points earned in one month, the share used at each age in months is taken
over all cohorts old enough to tell, weighted by volume (development factors; J. Friedland, "Estimating Unpaid Claims
Using Basic Techniques", Casualty Actuarial Society 2010, chapter 7; T. Mack, "Distribution-free calculation of the
standard error of chain ladder reserve estimates", ASTIN Bulletin 23, 1993). We develop what is still there rather than
what was used, so that a young cohort of which nothing was used yet is no nought that stays one.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Final

ENOUGH_MONTHS: Final = 6
TAIL_MONTHS: Final = 6

SALE, GIVEN, REDEEMED, EXPIRED, REVERSED, CORRECTED = "sale", "given", "redeemed", "expired", "reversed", "corrected"
CREDITS: Final = (SALE, GIVEN)


@dataclass(frozen=True, slots=True)
class Flow:
    """So many points of one cohort and end that came or went in a month; months are named by their first day."""

    cohort: date
    ends: date | None
    month: date
    what: str
    amount: int


@dataclass(slots=True)
class Cell:
    """What became of the points of one cohort (and end) so far."""

    sale: int = 0
    given: int = 0
    redeemed: int = 0
    expired: int = 0
    reversed: int = 0
    corrected: int = 0

    def add(self, what: str, amount: int) -> None:
        """Count so many more."""
        setattr(self, what, getattr(self, what) + amount)

    @property
    def earned(self) -> int:
        """All that was given out."""
        return self.sale + self.given

    @property
    def taken_back(self) -> int:
        """What returns and corrections took."""
        return self.reversed + self.corrected

    @property
    def outstanding(self) -> int:
        """What is still there."""
        return self.earned - self.redeemed - self.expired - self.taken_back


@dataclass
class Development:
    """What was there at each age, and how much of it was used in that month, over all cohorts."""

    there: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    used: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    months: int = 0

    @property
    def is_enough(self) -> bool:
        """Whether there is history to go by."""
        return self.months >= ENOUGH_MONTHS and sum(self.used.values()) > 0

    def rates(self) -> tuple[list[Decimal], Decimal]:
        """The share used in a month at each age, and at all ages beyond: that of the last ones seen."""
        ages = [age for age in range(max(self.there, default=-1) + 1) if self.there[age] > 0]
        known = [_share(self.used[age], self.there[age]) for age in range(ages[-1] + 1)] if ages else []
        tail = ages[-TAIL_MONTHS:]
        return known, _share(sum(self.used[age] for age in tail), sum(self.there[age] for age in tail))


def _share(part: int, whole: int) -> Decimal:
    return min(max(Decimal(part) / whole, Decimal(0)), Decimal(1)) if whole > 0 else Decimal(0)


class Outlook:
    """What share of points of an age will be used before they end; `part` of the present month is still ahead."""

    def __init__(self, development: Development, *, month: date, part: Decimal) -> None:
        self.is_enough = development.is_enough
        self._month, self._part = month, part
        self._rates, self._tail = development.rates()
        self._kept: dict[tuple[int, int | None], Decimal] = {}

    def expected(self, *, cohort: date, ends: date | None, outstanding: int) -> int:
        """How many of those still there will be used; without history to go by, all of them: that is prudent."""
        if not self.is_enough or outstanding <= 0:
            return max(outstanding, 0)
        ahead = None if ends is None else months_between(self._month, ends)
        if ahead is not None and ahead < 0:
            return 0
        return int(outstanding * self._used(max(months_between(cohort, self._month), 0), ahead))

    def _used(self, age: int, ahead: int | None) -> Decimal:
        share = self._kept.get((age, ahead))
        if share is None:
            share = self._kept[age, ahead] = self._worked_out(age, ahead)
        return share

    def _worked_out(self, age: int, ahead: int | None) -> Decimal:
        if ahead is None and self._tail > 0:
            # What never ends is used some day.
            return Decimal(1)
        left = 1 - self._rate(age) * self._part
        for more in range(1, (len(self._rates) if ahead is None else ahead) + 1):
            left *= 1 - self._rate(age + more)
        return 1 - left

    def _rate(self, age: int) -> Decimal:
        return self._rates[age] if age < len(self._rates) else self._tail


@dataclass(frozen=True)
class State:
    """Where the cohorts of a unit stand at the end of a month, or now; what moved in it, and what to expect."""

    month: date
    cells: dict[tuple[date, date | None], Cell]
    moved: dict[date, Cell]
    outlook: Outlook

    def cohorts(self) -> dict[date, tuple[Cell, int]]:
        """Each month's points over all their ends, and how many of those still there will be used."""
        found: dict[date, tuple[Cell, int]] = {}
        for (cohort, ends), cell in sorted(self.cells.items(), key=lambda one: one[0][0]):
            whole, expected = found.get(cohort, (Cell(), 0))
            for what in (SALE, GIVEN, REDEEMED, EXPIRED, REVERSED, CORRECTED):
                whole.add(what, getattr(cell, what))
            more = self.outlook.expected(cohort=cohort, ends=ends, outstanding=cell.outstanding)
            found[cohort] = (whole, expected + more)
        return found


def states(flows: Iterable[Flow], *, today: date) -> Iterator[State]:
    """
    Where it stood at the end of each month since the first flow; the last state is that of today.

    Each is to be looked at before the next is asked for: the counts go on.
    """
    by_month: dict[date, list[Flow]] = defaultdict(list)
    this_month = today.replace(day=1)
    for flow in flows:
        by_month[min(flow.month, this_month)].append(flow)
    cells: dict[tuple[date, date | None], Cell] = defaultdict(Cell)
    development = Development()
    month = min(by_month, default=this_month)
    while month < this_month:
        moved = _move(cells, by_month[month])
        _develop(development, cells, moved, month=month)
        following = add_month(month)
        yield State(month, cells, moved, Outlook(development, month=following, part=Decimal(1)))
        month = following
    moved = _move(cells, by_month[this_month])
    length = (add_month(this_month) - this_month).days
    part = Decimal(length - today.day + 1) / length
    yield State(this_month, cells, moved, Outlook(development, month=this_month, part=part))


def _move(cells: dict[tuple[date, date | None], Cell], flows: Iterable[Flow]) -> dict[date, Cell]:
    """Count a month's flows; what moved, by cohort."""
    moved: dict[date, Cell] = defaultdict(Cell)
    for flow in flows:
        cells[flow.cohort, flow.ends].add(flow.what, flow.amount)
        moved[flow.cohort].add(flow.what, flow.amount)
    return moved


def _develop(
    development: Development,
    cells: dict[tuple[date, date | None], Cell],
    moved: dict[date, Cell],
    *,
    month: date,
) -> None:
    """Learn from a month that is over: what each cohort held in it and used of it."""
    left: dict[date, int] = defaultdict(int)
    for (cohort, _ends), cell in cells.items():
        left[cohort] += cell.outstanding
    for cohort, outstanding in left.items():
        went = moved.get(cohort, Cell())
        age = max(months_between(cohort, month), 0)
        # What was there before anything of it went.
        development.there[age] += outstanding + went.redeemed + went.expired + went.taken_back
        development.used[age] += went.redeemed
    development.months += bool(left)


def add_month(month: date) -> date:
    """The first day of the month after."""
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def months_between(first: date, last: date) -> int:
    """How many months after `first` the month `last` is."""
    return (last.year - first.year) * 12 + last.month - first.month
