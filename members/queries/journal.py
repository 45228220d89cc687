"""
What members hold as entries for the books, by month and unit.

After IFRS 15 (ASC 606 alike), paragraphs B39 to B46 and Example 52: of what is paid for a sale, the part that its
points are worth beside it (relative stand-alone prices, the chance of use counted in) is deferred as a contract
liability; it becomes revenue as points are used, in proportion to all that are expected to be used, which releases the
expected breakage along with use, and what lapses at once. Points given without a sale are a cost of marketing.

All is exact: prices and balances are fractions, and a month's entries are rounded by largest remainder, so that opening
plus entries is closing, in points and in money.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from math import floor
from typing import Final

from members.queries.liability import Past
from members.queries.projection import (
    CORRECTED,
    EXPIRED,
    GIVEN,
    REDEEMED,
    REVERSED,
    SALE,
    Cell,
    State,
    add_month,
    states,
)
from programs.queries import Unit

BREAKAGE: Final = "breakage"
KINDS: Final = (SALE, GIVEN, REVERSED, CORRECTED, REDEEMED, EXPIRED, BREAKAGE)


@dataclass(frozen=True)
class Posting:
    """One entry of the journal: by how much the contract liability rises (or falls) in money and in points."""

    day: date
    unit: Unit
    kind: str
    amount: int
    points: int


@dataclass(frozen=True)
class MonthBook:
    """One month of one unit: what the liability was, what moved it, and what it is, in minor units and in points."""

    month: date
    unit: Unit
    opening: int
    closing: int
    opening_points: int
    closing_points: int
    postings: list[Posting]


@dataclass(frozen=True)
class Price:
    """What is deferred for a point of one month: of one earned with a sale, of one given, and of both on average."""

    sale: Fraction
    given: Fraction
    average: Fraction


@dataclass(frozen=True)
class Carried:
    """What the points of one month are carried at, and the price behind it."""

    cell: Cell
    price: Price
    amount: Fraction


def month_books(*, past: Past, worth: Fraction, today: date) -> Iterator[MonthBook]:
    """The months of one unit since its first point; one smallest step is `worth` so much money, in minor units."""
    prices: dict[date, Price] = {}
    before, points = Fraction(0), 0
    for state in states(past.flows, today=today):
        carried = _carried(state, prices=prices, sales=past.sales, worth=worth)
        after = sum((one.amount for one in carried.values()), Fraction(0))
        points_after = sum(one.cell.outstanding for one in carried.values())
        day = min(add_month(state.month) - timedelta(days=1), today)
        postings = _postings(state, carried, moved=after - before, total=floor(after) - floor(before))
        yield MonthBook(
            state.month,
            past.unit,
            floor(before),
            floor(after),
            points,
            points_after,
            [Posting(day, past.unit, kind, amount, count) for kind, amount, count in postings],
        )
        before, points = after, points_after


def _carried(
    state: State, *, prices: dict[date, Price], sales: dict[date, int], worth: Fraction
) -> dict[date, Carried]:
    found = {}
    for cohort, (cell, expected) in state.cohorts().items():
        used = cell.redeemed + expected
        price = prices.get(cohort) or price_of(cell, used=used, sales=sales.get(cohort, 0), worth=worth)
        if cohort <= state.month:
            # Fixed when its month is over; a return can be told of a month before its sale's.
            prices[cohort] = price
        found[cohort] = Carried(cell, price, carrying(cell, used=used, price=price.average))
    return found


def price_of(cell: Cell, *, used: int, sales: int, worth: Fraction) -> Price:
    """What is deferred for a point: its worth by the chance of its use, and with a sale the relative part of that."""
    net = cell.earned - cell.taken_back
    given = worth * (min(Fraction(used, net), Fraction(1)) if net > 0 else 1)
    alone = given * cell.sale
    sale = given * sales / (sales + alone) if sales + alone > 0 else given
    average = (sale * cell.sale + given * cell.given) / cell.earned if cell.earned else given
    return Price(sale, given, average)


def carrying(cell: Cell, *, used: int, price: Fraction) -> Fraction:
    """What is still deferred: all that was, less the share of all expected use that has happened; never above face."""
    face = price * cell.outstanding
    net = cell.earned - cell.taken_back
    if used <= 0 or cell.redeemed <= 0:
        return face
    return min(face, price * net * (1 - Fraction(cell.redeemed, used)))


def _postings(
    state: State, carried: dict[date, Carried], *, moved: Fraction, total: int
) -> Iterable[tuple[str, int, int]]:
    """What moved the liability, by kind, in whole minor units that sum to `total`."""
    exact = dict.fromkeys(KINDS, Fraction(0))
    points = dict.fromkeys(KINDS, 0)
    for cohort, cell in state.moved.items():
        price = carried[cohort].price
        exact[SALE] += price.sale * cell.sale
        exact[GIVEN] += price.given * cell.given
        points[SALE] += cell.sale
        points[GIVEN] += cell.given
        for kind in (REVERSED, CORRECTED, REDEEMED, EXPIRED):
            exact[kind] -= price.average * getattr(cell, kind)
            points[kind] -= getattr(cell, kind)
    exact[BREAKAGE] = moved - sum(exact.values())
    rounded = apportion([exact[kind] for kind in KINDS], total=total)
    return [(kind, n, points[kind]) for kind, n in zip(KINDS, rounded, strict=True) if n or points[kind]]


def apportion(parts: Sequence[Fraction], *, total: int) -> list[int]:
    """Whole numbers that sum to `total`, each the part below or above its fraction: by largest remainder (Hamilton)."""
    whole = [floor(part) for part in parts]
    order = sorted(range(len(parts)), key=lambda i: parts[i] - whole[i], reverse=True)
    for i in order[: total - sum(whole)]:
        whole[i] += 1
    return whole
