"""Where each rule of the ledger ends: the last moment, the last point, the last lot that still counts, and the next."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import transaction

from members import ledger
from members.ledger import Account, Cause, OpenLot, lifetime, pick
from members.models import Allocation, LedgerEntry, Lot, Member, PointsAccount, RuleTrace
from members.services import points
from members.services.refusals import KeyReused, Refused
from programs.queries import Unit
from tenants.models import Client
from tests.members import world
from tests.members.world import BERLIN, DAY, NOON, live, the_unit, unit

TICK = timedelta(microseconds=1)


def lot(number: int, remaining: int = 10, *, held: int = 0, available: datetime = NOON - DAY, expires: datetime | None = None) -> OpenLot:  # fmt: skip
    return OpenLot(UUID(int=number), remaining, held, available, expires)


def parts(*lots: OpenLot, amount: int, at: datetime = NOON) -> list[tuple[int, int]]:
    return [(one.entry_id.int, part) for one, part in pick(lots=lots, amount=amount, at=at)]


# ── one lot ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("given", "free"),
    [
        ({}, 10),
        ({"held": 4}, 6),
        ({"held": 10}, 0),
        ({"available": NOON}, 10),
        ({"available": NOON + TICK}, 0),
        ({"expires": NOON + TICK}, 10),
        ({"expires": NOON}, 0),
        ({"expires": NOON - DAY}, 0),
    ],
)
def test_a_lot_counts_from_the_moment_it_is_available_until_just_before_it_ends(given: Any, free: int) -> None:
    assert lot(1, **given).free(NOON) == free


def test_a_lot_that_slides_keeps_no_end_of_its_own() -> None:
    own = lot(1, expires=NOON + DAY)
    assert own.dates == (NOON - DAY, NOON + DAY)
    sliding = replace(own, slides=True)
    assert sliding.dates == (NOON - DAY, None)


# ── which lots a spend takes ────────────────────────────────────────────────────────────────────────────────────────


def test_a_spend_takes_what_ends_first_then_what_came_first_and_what_never_ends_last() -> None:
    never, late, soon = lot(1), lot(2, expires=NOON + 2 * DAY), lot(3, expires=NOON + DAY)
    older = lot(4, expires=NOON + DAY, available=NOON - 2 * DAY)
    twin = lot(5, expires=NOON + DAY)
    assert parts(never, late, twin, soon, older, amount=50) == [(4, 10), (3, 10), (5, 10), (2, 10), (1, 10)]
    assert parts(never, late, twin, soon, older, amount=21) == [(4, 10), (3, 10), (5, 1)]
    assert parts(never, late, twin, soon, older, amount=20) == [(4, 10), (3, 10)]


def test_a_spend_passes_over_lots_with_nothing_free_and_takes_no_more_than_there_is() -> None:
    pinned, ended, part = lot(1, held=10), lot(2, expires=NOON), lot(3, held=9)
    assert parts(pinned, ended, part, lot(4), amount=5) == [(3, 1), (4, 4)]
    assert parts(pinned, ended, part, amount=5) == [(3, 1)]
    assert parts(lot(1), amount=0) == []


# ── which lots a return takes ───────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def unit_of_points(acme: Client) -> Unit:
    live()
    return the_unit()


def account_with(*lots: OpenLot, **given: Any) -> Account:
    made = Account(id=uuid4(), member_id=uuid4(), unit_id=uuid4(), balance=sum(one.remaining for one in lots), **given)
    made.lots = {one.entry_id: one for one in lots}
    made.has_lots = True
    return made


def taken(account: Account, amount: int, first: int | None = None) -> tuple[list[tuple[int, int]], int, int]:
    """What a return takes of each lot, what it leaves as debt, and what it forgives."""
    before = {one.entry_id.int: one.remaining for one in account.lots.values()}
    book = ledger.Book(member_ids=[], at=NOON, zone=BERLIN)
    cause = Cause(key="back", occurred_at=NOON)
    _entry, forgiven = book.take_back(
        account=account, amount=amount, cause=cause, first=UUID(int=first) if first else None
    )
    left = {one.entry_id.int: one.remaining for one in account.lots.values()}
    found = [(number, was - left.get(number, 0)) for number, was in before.items() if was != left.get(number, 0)]
    return found, account.debt, forgiven


def test_a_return_takes_from_its_own_lot_alone_where_that_is_enough(acme: Client) -> None:
    assert taken(account_with(lot(1), lot(2)), 10, first=2) == ([(2, 10)], 0, 0)
    assert taken(account_with(lot(1), lot(2, held=1)), 10, first=2) == ([(1, 1), (2, 9)], 0, 0)
    assert taken(account_with(lot(1), lot(2, held=1)), 9, first=2) == ([(2, 9)], 0, 0)


def test_then_from_pending_lots_then_from_available_ones_by_their_ends(acme: Client) -> None:
    def some() -> Account:
        return account_with(lot(3, available=NOON), lot(2, expires=NOON + DAY), lot(1, available=NOON + TICK))

    assert taken(some(), 25) == ([(3, 5), (2, 10), (1, 10)], 0, 0)
    assert taken(some(), 10) == ([(1, 10)], 0, 0)
    assert taken(some(), 15, first=3) == ([(3, 10), (1, 5)], 0, 0)


def test_what_is_short_is_forgiven_or_owed_up_to_the_limit(acme: Client) -> None:
    assert taken(account_with(lot(1)), 15) == ([(1, 10)], 0, 5)
    assert taken(account_with(lot(1), may_owe=True), 15) == ([(1, 10)], 5, 0)
    assert taken(account_with(lot(1), may_owe=True, debt_limit=5), 15) == ([(1, 10)], 5, 0)
    assert taken(account_with(lot(1), may_owe=True, debt_limit=4), 15) == ([(1, 10)], 4, 1)
    assert taken(account_with(lot(1), may_owe=True, debt=3, debt_limit=4), 15) == ([(1, 10)], 4, 4)
    # A limit lowered below what is owed already leaves no room, and takes nothing off.
    assert taken(account_with(may_owe=True, debt=9, debt_limit=4), 5) == ([], 9, 5)
    assert taken(account_with(lot(1, held=10)), 5) == ([], 0, 5)


def test_a_return_that_takes_nothing_writes_nothing(acme: Client) -> None:
    book = ledger.Book(member_ids=[], at=NOON, zone=BERLIN)
    assert book.take_back(account=account_with(), amount=7, cause=Cause(key="k", occurred_at=NOON)) == (None, 7)
    book.write()
    assert not LedgerEntry.objects.exists()


# ── how long points last ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("given", "available", "expires"),
    [
        ({}, NOON, None),
        ({"pending_days": 1}, datetime(2026, 6, 18, tzinfo=BERLIN), None),
        ({"pending_days": 14}, datetime(2026, 7, 1, tzinfo=BERLIN), None),
        ({"expiry": {"policy": "rolling", "months": 1}}, NOON, datetime(2026, 7, 18, tzinfo=BERLIN)),
        ({"expiry": {"policy": "rolling", "months": 12}}, NOON, datetime(2027, 6, 18, tzinfo=BERLIN)),
    ],
)
def test_points_begin_and_end_with_local_days(acme: Client, given: Any, available: datetime, expires: Any) -> None:
    live(units=[unit(**given)])
    assert lifetime(unit=the_unit(), occurred_at=NOON, zone=BERLIN) == (available, expires)


# ── what services refuse, and what a key means ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("amount", "reason", "field"), [(0, "Goodwill", "amount"), (5, "  ", "reason"), (0, "", "amount")])  # fmt: skip
def test_a_correction_needs_an_amount_and_a_reason(ana: Member, amount: int, reason: str, field: str) -> None:
    live()
    with pytest.raises(Refused) as caught:
        world.adjust(ana, amount, reason=reason)
    assert caught.value.field == field
    assert world.points(ana) == 0


def test_a_key_stands_for_one_correction_of_one_member(ana: Member, bob: Member) -> None:
    live(units=[unit(), unit("stamps")])
    first = world.adjust(ana, 5, key="k", reason=" Goodwill ")
    assert first.reason == "Goodwill"
    assert world.adjust(ana, 5, key="k").pk == first.pk
    for member, amount, code in ((bob, 5, "points"), (ana, 6, "points"), (ana, -5, "points"), (ana, 5, "stamps")):
        with pytest.raises(KeyReused) as caught:
            world.adjust(member, amount, key="k", code=code)
        assert caught.value.field == "key"
    assert (world.points(ana), world.points(bob)) == (5, 0)


def test_a_key_stands_for_one_hold_of_one_member(ana: Member, bob: Member) -> None:
    live()
    for member in (ana, bob):
        world.adjust(member, 20)
    first = world.hold(ana, 5, key="k")
    assert world.hold(ana, 5, key="k").pk == first.pk
    for member, amount in ((bob, 5), (ana, 6)):
        with pytest.raises(KeyReused):
            world.hold(member, amount, key="k")
    assert world.balance_of(ana).available == 15


def test_a_hold_can_be_spent_until_the_very_moment_it_runs_out(ana: Member) -> None:
    live()
    world.adjust(ana, 10)
    held = world.hold(ana, 10, lasts=timedelta(minutes=5))
    with pytest.raises(Refused):
        world.capture(held, at=NOON + timedelta(minutes=5))
    spent = world.capture(held, at=NOON + timedelta(minutes=5) - TICK)
    assert spent.amount == -10
    assert world.points(ana) == 0


def test_a_spend_takes_its_parts_and_gives_them_back_the_last_first(ana: Member) -> None:
    live(units=[unit(expiry={"policy": "rolling", "months": 1})])
    for days in (3, 2, 1):
        world.adjust(ana, 10, at=NOON - days * DAY)
    spent = world.spend(ana, 25)
    remaining = dict(Lot.objects.values_list("expires_at", "remaining"))
    assert [left for _end, left in sorted(remaining.items())] == [0, 0, 5]
    assert sum(Allocation.objects.filter(entry=spent).values_list("amount", flat=True)) == 25
    world.restore(spent)
    assert list(Lot.objects.order_by("expires_at").values_list("remaining", flat=True)) == [10, 10, 10]
    assert PointsAccount.objects.get(member=ana).balance == 30


# ── one book, several deeds ─────────────────────────────────────────────────────────────────────────────────────────


def test_what_a_book_has_moved_already_counts_when_a_sliding_account_lapses_in_it(ana: Member) -> None:
    live(units=[unit(expiry={"policy": "sliding", "months": 1})])
    world.adjust(ana, 10)
    late = NOON + 60 * DAY
    with transaction.atomic():
        ledger.lock([ana.pk])
        book = ledger.Book(member_ids=[ana.pk], at=late, zone=BERLIN)
        account = book.account(member_id=ana.pk, unit=the_unit())
        taken_back = book.take_back(account=account, amount=4, cause=Cause(key="back", occurred_at=late))
        book.earn(account=account, unit=the_unit(), amount=7, cause=Cause(key="give", occurred_at=late), kind="adjust")
        book.write()
    assert taken_back[1] == 0
    assert list(LedgerEntry.objects.order_by("pk").values_list("kind", "amount")) == [
        ("adjust", 10), ("reverse", -4), ("expire", -6), ("adjust", 7),
    ]  # fmt: skip
    assert world.points(ana) == 7


@pytest.mark.parametrize("with_lots", [True, False])
def test_a_book_opened_without_lots_lets_a_sliding_account_lapse_all_the_same(ana: Member, with_lots: bool) -> None:
    live(units=[unit(expiry={"policy": "sliding", "months": 1})])
    world.adjust(ana, 10)
    late = NOON + 60 * DAY
    with transaction.atomic():
        ledger.lock([ana.pk])
        book = ledger.Book(member_ids=[ana.pk], at=late, zone=BERLIN, with_lots=with_lots)
        account = book.account(member_id=ana.pk, unit=the_unit())
        book.earn(account=account, unit=the_unit(), amount=7, cause=Cause(key="give", occurred_at=late), kind="adjust")
        book.write()
    assert world.points(ana) == 7
    assert sorted(Lot.objects.values_list("remaining", flat=True)) == [0, 7]


def test_debt_is_paid_by_what_comes_and_only_as_far_as_it_goes(ana: Member) -> None:
    live(units=[unit(may_owe=True, debt_limit=20)])
    with transaction.atomic():
        ledger.lock([ana.pk])
        book = ledger.Book(member_ids=[ana.pk], at=NOON, zone=BERLIN)
        account = book.account(member_id=ana.pk, unit=the_unit())
        assert book.take_back(account=account, amount=25, cause=Cause(key="back", occurred_at=NOON))[1] == 5
        book.earn(account=account, unit=the_unit(), amount=8, cause=Cause(key="one", occurred_at=NOON), kind="adjust")
        assert account.debt == 12
        book.write()
    assert (world.points(ana), world.balance_of(ana).available) == (-12, 0)
    world.adjust(ana, 15)
    assert (world.points(ana), world.balance_of(ana).available) == (3, 3)
    assert PointsAccount.objects.get(member=ana).debt == 0


def test_points_given_over_and_over_are_refused_from_the_first_that_is_not_there(ana: Member, bob: Member) -> None:
    live()
    world.adjust(ana, 10)
    with transaction.atomic():
        ledger.lock([ana.pk, bob.pk])
        book = ledger.Book(member_ids=[ana.pk, bob.pk], at=NOON, zone=BERLIN)
        source, target = (book.account(member_id=one.pk, unit=the_unit()) for one in (ana, bob))
        with pytest.raises(ledger.NotEnoughPoints) as caught:
            book.move_some(
                source=source, target=target, unit=the_unit(), amount=11, cause=Cause(key="m", occurred_at=NOON)
            )
        assert (caught.value.asked, caught.value.available) == (11, 10)
        with pytest.raises(ledger.NotEnoughPoints) as caught:
            book.spend(account=source, amount=11, cause=Cause(key="s", occurred_at=NOON))
        assert (caught.value.asked, caught.value.available) == (11, 10)
        book.move_some(source=source, target=target, unit=the_unit(), amount=10, cause=Cause(key="m", occurred_at=NOON))
        book.write()
    assert (world.points(ana), world.points(bob)) == (0, 10)


def test_a_return_s_trace_tells_by_its_own_lines_what_each_took_back(ana: Member) -> None:
    live()
    world.buy(
        ana, receipt="R-1", lines=[world.line(100, sku="tea"), world.line(30, sku="bun"), world.line(7, sku="pen")]
    )
    world.credit()
    back = [world.line(7, sku="pen", position=3), world.line(100, sku="tea", position=1)]
    world.bring_back(ana, receipt="B-1", sale="R-1", lines=back, at=NOON + DAY)
    world.credit(at=NOON + DAY)
    told = RuleTrace.objects.get(reason="taken_back")
    assert (told.amount, told.line_amounts) == (-107, [-7, -100])
    assert world.points(ana) == 30


ANNE = uuid4()


@pytest.mark.parametrize(("amounts", "fits"), [((5, 5), True), ((5, 5, 1), False), ((6,), False), ((5, -5, 5), True)])
def test_what_one_person_gives_in_a_day_ends_at_their_limits(ana: Member, amounts: Any, fits: bool) -> None:
    live(units=[unit(decimals=1)])
    limits = points.HandLimits(at_a_time=5, a_day=10)

    def give(amount: int, number: int) -> None:
        with transaction.atomic():
            points.adjust_by_hand(
                member_id=ana.pk, unit=the_unit(), amount=amount, reason="Sorry", key=f"{number}", limits=limits,
                by=ANNE, at=NOON, zone=BERLIN,
            )  # fmt: skip

    *first, last = amounts
    for number, amount in enumerate(first):
        # The same once more gives nothing, and counts once.
        give(amount * 10, number)
        give(amount * 10, number)
    if fits:
        give(last * 10, 9)
        assert world.points(ana) == sum(amounts) * 10
    else:
        with pytest.raises(points.OverLimit) as caught:
            give(last * 10 - 9 if len(amounts) > 1 else last * 10, 9)
        assert caught.value.field == "amount"
        assert world.points(ana) == sum(first) * 10


def test_a_lot_of_one_point_comes_back_with_the_rest(ana: Member) -> None:
    live(units=[unit(expiry={"policy": "rolling", "months": 1})])
    for amount, days in ((1, 3), (10, 2), (1, 1)):
        world.adjust(ana, amount, at=NOON - days * DAY)
    world.restore(world.spend(ana, 12))
    assert list(Lot.objects.order_by("expires_at").values_list("remaining", flat=True)) == [1, 10, 1]
    assert world.balance_of(ana).available == 12
