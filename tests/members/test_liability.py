"""What is owed to members ties to the ledger, what is expected follows from cohorts, and the journal balances."""

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from uuid import uuid4

import pytest
from django.db import transaction
from django.db.models import Sum

from members.models import Member, PointsAccount
from members.queries import journal
from members.queries.journal import MonthBook, apportion, month_books
from members.queries.liability import Past, UnitLiability, liability, pasts
from members.queries.projection import Cell, Development, Flow, Outlook, add_month, states
from members.services.enrolment import merge_members
from programs.queries import Unit
from tests.members.world import (
    BERLIN,
    DAY,
    NOON,
    adjust,
    bring_back,
    buy,
    credit,
    do,
    expire,
    line,
    live,
    restore,
    rule,
    spend,
    unit,
)

JANUARY = date(2025, 1, 1)
POINTS = Unit(uuid4(), "points", "Points", "points", 0, 0, "none", 0, False)


def owed(at: datetime = NOON) -> UnitLiability:
    """The liability of the only unit."""
    (found,) = liability(of=pasts(zone="Europe/Berlin"), at=at, zone=BERLIN)
    return found


def months(count: int) -> list[date]:
    """So many months from January 2025."""
    found = [JANUARY]
    while len(found) < count:
        found.append(add_month(found[-1]))
    return found


# ── from the ledger ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_cohorts_and_ends_tie_to_the_ledger(ana: Member, bob: Member) -> None:
    live(
        *[rule("penny", {"kind": "per_amount", "points": 1, "per": 1}, trigger="line")],
        rule("joined", {"kind": "fixed", "points": 40}, trigger="sign_up"),
        units=[unit(may_owe=True, expiry={"policy": "rolling", "months": 3})],
    )
    do(ana, "sign_up", at=NOON - 120 * DAY)
    buy(ana, receipt="R-1", lines=[line(1000, sku="tea", quantity=2)], at=NOON - 70 * DAY)
    buy(bob, receipt="R-2", lines=[line(300, sku="jam")], at=NOON - 40 * DAY)
    credit()
    expire(at=NOON - 20 * DAY)
    restore(spend(ana, 100))
    spend(ana, 250)
    bring_back(ana, receipt="B-1", sale="R-1", lines=[line(500, sku="tea")])
    credit()
    spend(bob, 200)
    bring_back(bob, receipt="B-2", sale="R-2", lines=[line(300, sku="jam")])
    credit()
    adjust(ana, 30)
    found = owed()

    totals = PointsAccount.objects.aggregate(held=Sum("in_lots"), owed=Sum("debt"), balance=Sum("balance"))
    assert (found.in_lots, found.owed, found.outstanding) == (totals["held"], totals["owed"], totals["balance"])
    assert found.owed == 200
    assert sum(points for _end, points in found.by_end) == found.in_lots
    assert [(c.month.month, c.earned, c.redeemed, c.expired, c.taken_back, c.outstanding) for c in found.cohorts] == [
        (2, 40, 0, 40, 0, 0),
        (4, 1000, 250, 0, 500, 250),
        (5, 300, 200, 0, 100, 0),
        (6, 30, 0, 0, 0, 30),
    ]
    assert [(end and end.month, points) for end, points in found.by_end] == [(7, 250), (9, 30)]
    assert found.ends_soon == 250


def test_points_that_changed_hands_keep_the_month_in_which_they_were_earned(ana: Member, bob: Member) -> None:
    live()
    buy(bob, receipt="R-1", lines=[line(500)], at=NOON - 100 * DAY)
    credit()
    before = owed().cohorts
    with transaction.atomic():
        merge_members(kept_id=ana.pk, double_id=bob.pk, at=NOON, by=None, zone=BERLIN)
    assert owed().cohorts == before
    assert [(line.month.month, line.earned, line.taken_back, line.outstanding) for line in before] == [(3, 500, 0, 500)]


def test_without_history_nothing_is_foretold_and_all_is_taken_to_be_used(ana: Member) -> None:
    live()
    buy(ana, receipt="R-1", lines=[line(500)])
    credit()
    found = owed()
    assert (found.is_enough, found.expected, found.breakage) == (False, 500, 0)


# ── what is expected ────────────────────────────────────────────────────────────────────────────────────────────────


def flow(cohort: date, what: str, amount: int, *, month: date | None = None, ends: date | None = None) -> Flow:
    """So many points."""
    return Flow(cohort, ends, month or cohort, what, amount)


def test_expected_use_follows_the_factors_of_older_cohorts() -> None:
    """Each month 1,000 points of which a tenth is used at age 1 and a fifth of the rest at age 2; they end at age 3."""
    flows = []
    for cohort in months(8):
        one, two = add_month(cohort), add_month(add_month(cohort))
        ends = add_month(two)
        flows.append(flow(cohort, "sale", 1000, ends=ends))
        for month, used in ((one, 100), (two, 180)):
            if month <= months(8)[-1]:
                flows.append(flow(cohort, "redeemed", used, month=month, ends=ends))
    *_before, now = states(flows, today=add_month(months(8)[-1]))
    found = {cohort: (cell.outstanding, expected) for cohort, (cell, expected) in now.cohorts().items()}
    youngest, older, oldest = months(8)[-1], months(8)[-2], months(8)[-3]
    assert now.outlook.is_enough
    # 1,000 less a tenth, less a fifth of that; the month in which they end adds what was used at that age: nothing.
    assert found[youngest] == (1000, 280)
    assert found[older] == (900, 180)
    assert found[oldest] == (720, 0)


def test_factors_need_half_a_year_and_some_use() -> None:
    short = Development(there={0: 10}, used={0: 5}, months=5)
    unused = Development(there={0: 10}, used={0: 0}, months=12)
    assert [short.is_enough, unused.is_enough, replace(short, months=6).is_enough] == [False, False, True]


def test_what_never_ends_is_used_some_day_and_what_is_over_is_not() -> None:
    development = Development(there={0: 100, 1: 80}, used={0: 20, 1: 8}, months=6)
    outlook = Outlook(development, month=date(2025, 3, 1), part=Decimal(1))
    assert outlook.expected(cohort=date(2025, 2, 1), ends=None, outstanding=50) == 50
    assert outlook.expected(cohort=date(2025, 2, 1), ends=date(2025, 2, 1), outstanding=50) == 0
    assert outlook.expected(cohort=date(2025, 2, 1), ends=date(2025, 3, 1), outstanding=50) == 5


# ── the journal ─────────────────────────────────────────────────────────────────────────────────────────────────────


def books_of(flows: Sequence[Flow], sales: dict[date, int], *, today: date, worth: Fraction) -> list[MonthBook]:
    """The months of these flows."""
    return list(month_books(past=Past(POINTS, flows, sales, 0), worth=worth, today=today))


def test_example_52_of_ifrs_15(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Sales of 100,000 with 10,000 points worth 1 each, of which 9,500 are expected to be used: 8,676 is deferred.

    4,500 are used: 4,110 of it is revenue. Then 8,500 in all are used and 9,700 expected: 3,493 more.
    """
    flows = [
        flow(JANUARY, "sale", 10_000),
        flow(JANUARY, "redeemed", 4_500, month=date(2025, 2, 1)),
        flow(JANUARY, "redeemed", 4_000, month=date(2025, 3, 1)),
    ]
    in_all = {0: 9_500, 4_500: 9_500, 8_500: 9_700}
    monkeypatch.setattr(
        Outlook,
        "expected",
        lambda self, cohort, ends, outstanding: in_all[10_000 - outstanding] - (10_000 - outstanding),
    )
    first, second, third = books_of(flows, {JANUARY: 100_000}, today=date(2025, 3, 31), worth=Fraction(1))
    assert (first.closing, second.closing, third.closing) == (8_675, 4_566, 1_073)
    assert [second.closing - second.opening, third.closing - third.opening] == [-4_109, -3_493]


def history(chance: random.Random) -> tuple[list[Flow], dict[date, int], date]:
    """Months in which points come and go at random, never more than there are."""
    span = months(chance.randint(1, 30))
    left: dict[tuple[date, date | None], int] = defaultdict(int)
    flows, sales = [], {}
    for month in span:
        for ends in {None, chance.choice([None, add_month(add_month(month))])}:
            given, sold = chance.randint(0, 50), chance.randint(0, 5_000)
            flows += [flow(month, "sale", sold, ends=ends), flow(month, "given", given, ends=ends)]
            left[month, ends] += given + sold
        sales[month] = chance.choice([0, chance.randint(0, 10_000_000)])
        for (cohort, ends), there in list(left.items()):
            for what in ("redeemed", "expired", "reversed", "corrected"):
                part = chance.randint(0, max(there // 3, 0))
                left[cohort, ends] -= part
                there -= part
                flows.append(flow(cohort, what, part, month=month, ends=ends))
        if chance.random() < 0.2 and flows[-1].amount and flows[-1].what == "corrected":
            # A spend given back.
            back = flows[-4]
            flows.append(replace(back, amount=-back.amount))
            left[back.cohort, back.ends] += back.amount
    return flows, sales, span[-1] + timedelta(days=chance.randint(0, 27))


def problems_of(
    books: Sequence[MonthBook], flows: Sequence[Flow], sales: dict[date, int], worth: Fraction
) -> Iterator[str]:
    """What does not tie: entries to balances, points to the flows, money to what outstanding points are carried at."""
    money, points = 0, 0
    for book in books:
        if (book.opening, book.opening_points) != (money, points):
            yield f"{book.month}: opens with {book.opening}, not {money}"
        money, points = (
            book.opening + sum(one.amount for one in book.postings),
            points + sum(one.points for one in book.postings),
        )
        if (book.closing, book.closing_points) != (money, points):
            yield f"{book.month}: closes with {book.closing}, not {money}"
    there = sum(one.amount if one.what in {"sale", "given"} else -one.amount for one in flows)
    if points != there:
        yield f"{points} points in the books, {there} in the ledger"
    if not 0 <= money <= worth * there:
        yield f"{money} for {there} points worth {worth} each"
    if abs(money - carried(flows, sales, worth, today=books[-1].postings[-1].day if books[-1].postings else None)) > 1:
        yield f"carried at {money}"


def carried(flows: Sequence[Flow], sales: dict[date, int], worth: Fraction, *, today: date | None) -> Fraction:
    """What outstanding points are worth to the books, worked out from the end: no running on from month to month."""
    if today is None:
        return Fraction(0)
    prices: dict[date, Fraction] = {}
    total = Fraction(0)
    for state in states(flows, today=today):
        total = Fraction(0)
        for cohort, (cell, expected) in state.cohorts().items():
            used = cell.redeemed + expected
            prices.setdefault(
                cohort, journal.price_of(cell, used=used, sales=sales.get(cohort, 0), worth=worth).average
            )
            share = 1 - Fraction(cell.redeemed, used) if used and cell.redeemed > 0 else Fraction(1)
            net = cell.earned - cell.taken_back
            total += (
                min(prices[cohort] * cell.outstanding, prices[cohort] * net * share)
                if used
                else prices[cohort] * cell.outstanding
            )
    return total


SEED = 20261122


@pytest.mark.parametrize("seed", range(SEED, SEED + 40))
def test_the_journal_of_any_history_balances_and_closes_with_what_is_outstanding(seed: int) -> None:
    print(f"seed {seed}")  # noqa: T201
    chance = random.Random(seed)
    flows, sales, today = history(chance)
    worth = Fraction(chance.randint(1, 500), chance.randint(1, 1000))
    books = books_of(flows, sales, today=today, worth=worth)
    assert list(problems_of(books, flows, sales, worth)) == []


def test_a_journal_that_rounds_each_entry_by_itself_does_not_tie(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control: plain rounding, and forgetting what lapsed, are each found."""
    flows, sales, today = history(random.Random(SEED))
    worth = Fraction(7, 30)
    monkeypatch.setattr(journal, "apportion", lambda parts, total: [round(part) for part in parts])
    assert list(problems_of(books_of(flows, sales, today=today, worth=worth), flows, sales, worth))
    monkeypatch.undo()
    forgetful = [one for one in flows if one.what != "expired"]
    assert list(problems_of(books_of(forgetful, sales, today=today, worth=worth), flows, sales, worth))


def test_the_books_of_a_real_ledger_close_with_what_its_lots_hold(ana: Member) -> None:
    live(units=[unit(may_owe=True, expiry={"policy": "rolling", "months": 2})])
    chance = random.Random(SEED)
    for back in range(300, 0, -9):
        at = NOON - back * DAY
        buy(ana, receipt=f"R-{back}", lines=[line(chance.randint(1, 900), sku="tea", quantity=3)], at=at)
        credit(at=at)
        expire(at=at)
        if back % 2:
            spend(ana, chance.randint(1, 60), at=at)
        if back % 4 == 0:
            bring_back(ana, receipt=f"B-{back}", sale=f"R-{back}", lines=[line(1, sku="tea")], at=at)
            credit(at=at)
    (past,) = pasts(zone="Europe/Berlin")
    books = list(month_books(past=past, worth=Fraction(5, 2), today=NOON.date()))
    assert list(problems_of(books, past.flows, past.sales, Fraction(5, 2))) == []
    assert books[-1].closing_points == PointsAccount.objects.aggregate(held=Sum("in_lots"))["held"]
    assert {one.kind for book in books for one in book.postings} >= {"sale", "redeemed", "expired", "reversed"}


def test_whole_numbers_share_a_total_by_largest_remainder() -> None:
    assert apportion([Fraction(7, 3), Fraction(-5, 3), Fraction(1, 2)], total=1) == [2, -2, 1]
    assert apportion([Fraction(1, 2), Fraction(0)], total=1) == [1, 0]
    assert apportion([], total=0) == []


def test_points_expected_never_to_be_used_are_released_along_with_use_not_before() -> None:
    unused = Cell(sale=100)
    half = Cell(sale=100, redeemed=25)
    assert journal.carrying(unused, used=50, price=Fraction(1)) == 100
    # Half of what is expected to be used was: half of all is revenue, though three quarters are there.
    assert journal.carrying(half, used=50, price=Fraction(1)) == 50
