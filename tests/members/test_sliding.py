"""Where expiry slides, everything lapses so long after the member last earned or spent; and debt has its limit."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import transaction

from loyalty_saas.flows.programs import publish
from members.ledger import NotEnoughPoints
from members.models import LedgerEntry, Lot, Member, PointsAccount, RuleTrace
from members.queries import lots_of, slides_until_by_entries
from members.services.enrolment import merge_members
from programs.models import UnitType
from programs.queries import unit_by_code
from programs.rules import ProgramError
from tenants.models import Client
from tests.members.world import (
    BERLIN,
    DAY,
    NOON,
    PENNY,
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
    points,
    program,
    restore,
    spend,
    tell,
    unit,
    void,
)

MINUTE = timedelta(minutes=1)
TWO_MONTHS = {"policy": "sliding", "months": 2}
# The end of 17 August 2026: two months after the day of NOON.
END = datetime(2026, 8, 18, tzinfo=BERLIN)


def club(**given: Any) -> None:
    live(units=[unit(expiry=TWO_MONTHS, **given)])


def earn(who: Member, amount: int, *, at: datetime = NOON, receipt: str = "", received: datetime | None = None) -> None:
    """Buy and be credited, as it happens or when it is told."""
    buy(who, receipt=receipt or f"{who.number} {at}", lines=[line(amount)], at=at, received=received)
    credit(at=received or at)


def again(at: datetime, **given: Any) -> None:
    """Publish another program later."""
    publish(document=program(PENNY, **given), at=at)


def ends(who: Member) -> datetime | None:
    """Until when the account slides, as stored; the entries say the same."""
    account = PointsAccount.objects.get(member=who)
    by_entries = slides_until_by_entries(zone=BERLIN)
    assert by_entries.get(account.pk) == account.slides_until
    return account.slides_until


# ── what moves the end ──────────────────────────────────────────────────────────────────────────────────────────────


def test_the_end_is_the_last_local_day_so_many_months_after_the_last_deed(ana: Member) -> None:
    club()
    earn(ana, 100)

    assert ends(ana) == END
    assert tell(Lot.objects.all(), "expires_at") == [None]
    found = balance_of(ana)
    assert (found.next_expiry, found.next_expiry_amount) == (END, 100)
    assert tell(lots_of(ana.pk), "ends_at") == [END]


@pytest.mark.parametrize("deed", ["earn", "spend", "give"])
def test_earning_spending_and_being_given_put_the_end_off(ana: Member, deed: str) -> None:
    club()
    earn(ana, 100)
    later = NOON + 20 * DAY
    {"earn": lambda: earn(ana, 5, at=later), "spend": lambda: spend(ana, 5, at=later),
     "give": lambda: adjust(ana, 5, at=later)}[deed]()  # fmt: skip

    assert ends(ana) == datetime(2026, 9, 8, tzinfo=BERLIN)


@pytest.mark.parametrize("deed", ["hold", "take away", "bring back", "give back"])
def test_nothing_else_puts_the_end_off(ana: Member, deed: str) -> None:
    club()
    buy(ana, receipt="R", lines=[line(100)])
    credit()
    spent, later = spend(ana, 10), NOON + 20 * DAY
    if deed == "hold":
        void(hold(ana, 5, at=later))
    elif deed == "take away":
        adjust(ana, -5, at=later)
    elif deed == "give back":
        restore(spent, at=later)
    else:
        bring_back(ana, receipt="B", sale="R", at=later)
        credit(at=later)

    assert ends(ana) == END


def test_a_purchase_told_late_never_puts_the_end_back(ana: Member) -> None:
    club()
    earn(ana, 100)
    earn(ana, 50, at=NOON - 20 * DAY, received=NOON + DAY)

    assert ends(ana) == END


# ── what lapses ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_all_of_the_account_lapses_at_its_end_and_once(ana: Member, bob: Member) -> None:
    club()
    earn(ana, 100)
    earn(ana, 50, at=NOON + MINUTE)
    earn(bob, 70, at=NOON + DAY)

    assert expire(at=END - MINUTE) == 0
    assert expire(at=END) == 2
    assert expire(at=END) == 0
    assert (points(ana), points(bob)) == (0, 70)
    entry = LedgerEntry.objects.filter(kind="expire").first()
    assert entry is not None
    assert (entry.occurred_at, entry.corrects_id is not None) == (END, True)


def test_nothing_is_available_after_the_end_even_before_the_night_has_come(ana: Member) -> None:
    club()
    earn(ana, 100)

    assert (balance_of(ana, at=END).available, balance_of(ana, at=END).balance) == (0, 100)
    with pytest.raises(NotEnoughPoints):
        hold(ana, 1, at=END)


def test_a_deed_after_the_end_saves_nothing_though_the_night_has_not_come(ana: Member) -> None:
    club()
    earn(ana, 100)
    earn(ana, 30, at=END + MINUTE)

    assert points(ana) == 30
    assert tell(LedgerEntry.objects.order_by("pk"), "kind", "amount") == [("earn", 100), ("expire", -100), ("earn", 30)]
    assert expire(at=END + DAY) == 0
    assert ends(ana) == datetime(2026, 10, 19, tzinfo=BERLIN)


def test_a_deed_before_the_end_saves_all_though_it_is_credited_after(ana: Member) -> None:
    club()
    earn(ana, 100)
    buy(ana, receipt="late", lines=[line(30)], at=END - MINUTE)

    assert expire(at=END + MINUTE) == 0  # it waits to be credited
    credit(at=END + 2 * MINUTE)
    assert expire(at=END + 3 * MINUTE) == 0
    assert points(ana) == 130


def test_what_is_held_stays_and_its_capture_takes_no_more_than_that(ana: Member) -> None:
    club()
    earn(ana, 100)
    held = hold(ana, 40, at=END - MINUTE)
    assert expire(at=END) == 1
    assert points(ana) == 40

    capture(held, at=END + MINUTE)
    assert points(ana) == 0


def test_a_capture_after_the_end_lets_the_rest_lapse(ana: Member) -> None:
    club()
    earn(ana, 100)
    held = hold(ana, 40, at=END - MINUTE)
    capture(held, at=END + MINUTE)

    assert points(ana) == 0
    assert tell(LedgerEntry.objects.order_by("pk"), "kind", "amount") == [
        ("earn", 100),
        ("spend", -40),
        ("expire", -60),
    ]


def test_merged_points_last_as_long_as_what_was_given_at_the_merge(ana: Member, bob: Member) -> None:
    club()
    earn(ana, 100)
    earn(bob, 50, at=NOON + DAY)
    with transaction.atomic():
        merge_members(kept_id=ana.pk, double_id=bob.pk, at=NOON + 2 * DAY, by=None, zone=BERLIN)

    assert ends(ana) == END + 2 * DAY
    assert points(ana) == 150
    assert expire(at=END + 2 * DAY) == 2


# ── another promise ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_was_promised_for_ever_stays_when_the_unit_begins_to_slide(ana: Member) -> None:
    live()
    earn(ana, 100)
    again(NOON + DAY, units=[unit(expiry=TWO_MONTHS)])
    earn(ana, 10, at=NOON + 2 * DAY)

    assert balance_of(ana, at=NOON + 3 * DAY).next_expiry_amount == 10
    assert expire(at=NOON + 300 * DAY) == 1
    assert points(ana) == 100
    spend(ana, 100, at=NOON + 301 * DAY)


def test_what_was_pending_when_the_unit_began_to_slide_stays_too(ana: Member) -> None:
    live(units=[unit(pending_days=14)])
    earn(ana, 100)
    again(NOON + DAY, units=[unit(pending_days=14, expiry=TWO_MONTHS)])
    earn(ana, 10, at=NOON + 20 * DAY)

    assert expire(at=NOON + 300 * DAY) == 1
    assert points(ana) == 100


def test_what_has_a_date_of_its_own_keeps_it_when_the_unit_begins_to_slide(ana: Member) -> None:
    live(units=[unit(expiry={"policy": "rolling", "months": 1})])
    earn(ana, 100)
    again(NOON + DAY, units=[unit(expiry=TWO_MONTHS)])
    earn(ana, 10, at=NOON + 2 * DAY)

    assert expire(at=datetime(2026, 7, 18, tzinfo=BERLIN)) == 1
    assert points(ana) == 10


def test_what_slid_never_lapses_once_the_unit_slides_no_more(ana: Member) -> None:
    club()
    earn(ana, 100)
    again(NOON + DAY, units=[unit()])
    earn(ana, 10, at=NOON + 2 * DAY)

    assert balance_of(ana).next_expiry is None
    assert expire(at=NOON + 900 * DAY) == 0
    again(NOON + 901 * DAY, units=[unit(expiry=TWO_MONTHS)])
    assert expire(at=NOON + 902 * DAY) == 0
    assert points(ana) == 110


def test_fewer_months_shorten_nothing_that_was_promised(ana: Member) -> None:
    live(units=[unit(expiry={"policy": "sliding", "months": 12})])
    earn(ana, 100)
    again(NOON + DAY, units=[unit(expiry=TWO_MONTHS)])
    earn(ana, 10, at=NOON + 2 * DAY)

    assert ends(ana) == datetime(2027, 6, 18, tzinfo=BERLIN)


# ── how far below zero ──────────────────────────────────────────────────────────────────────────────────────────────


def spent_and_returned(who: Member, amount: int, receipt: str) -> RuleTrace:
    """What the rule says of a sale that came back after its points were spent."""
    earn(who, amount, receipt=receipt)
    spend(who, amount)
    bring_back(who, receipt=f"{receipt} back", sale=receipt, at=NOON + MINUTE)
    credit(at=NOON + MINUTE)
    return RuleTrace.objects.get(reason="taken_back")


@pytest.mark.parametrize(("limit", "owed"), [(None, 100), (100, 100), (99, 99), (40, 40), (0, 0)])
def test_what_is_clawed_back_stops_at_the_limit_and_the_rest_is_forgiven(
    ana: Member, limit: int | None, owed: int
) -> None:
    live(units=[unit(may_owe=True, **({} if limit is None else {"debt_limit": limit}))])
    trace = spent_and_returned(ana, 100, "R")

    assert (points(ana), balance_of(ana).debt) == (-owed, owed)
    assert trace.detail.get("forgiven", 0) == 100 - owed


def test_a_limit_lowered_under_what_is_owed_leaves_the_debt_and_lets_it_grow_no_more(ana: Member) -> None:
    live(units=[unit(may_owe=True, debt_limit=100)])
    earn(ana, 100, receipt="A")
    earn(ana, 30, receipt="B", at=NOON + MINUTE)
    spend(ana, 130, at=NOON + MINUTE)
    bring_back(ana, receipt="A back", sale="A", at=NOON + 2 * MINUTE)
    credit(at=NOON + 2 * MINUTE)
    again(NOON + DAY, units=[unit(may_owe=True, debt_limit=10)])
    bring_back(ana, receipt="B back", sale="B", at=NOON + 2 * DAY)
    credit(at=NOON + 2 * DAY)
    assert balance_of(ana).debt == 100

    earn(ana, 50, at=NOON + 3 * DAY)
    assert balance_of(ana).debt == 50


def test_a_merge_carries_the_whole_debt_whatever_the_limit(ana: Member, bob: Member) -> None:
    live(units=[unit(may_owe=True, debt_limit=100)])
    spent_and_returned(bob, 100, "R")
    again(NOON + DAY, units=[unit(may_owe=False)])
    with transaction.atomic():
        merge_members(kept_id=ana.pk, double_id=bob.pk, at=NOON + DAY, by=None, zone=BERLIN)

    assert (points(ana), points(bob)) == (-100, 0)


# ── the document ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_published_unit_bears_its_policy_and_limit(acme: Client) -> None:
    live(units=[unit(expiry=TWO_MONTHS, may_owe=True, debt_limit=500)])

    row = UnitType.objects.get()
    assert (row.expiry, row.expiry_months, row.debt_limit) == ("sliding", 2, 500)
    found = unit_by_code("points")
    assert found is not None
    assert (found.expiry, found.debt_limit, found.slides_from) == ("sliding", 500, None)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"expiry": {"policy": "sliding"}}, "sliding expiry counts in months"),
        ({"debt_limit": 5}, "only for a unit that members may owe"),
        ({"may_owe": True, "debt_limit": -1}, "debt_limit"),
        ({"may_owe": True, "debt_limit": "5"}, "debt_limit"),
    ],
)
def test_a_limit_without_debt_and_sliding_without_months_are_refused(
    acme: Client, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(ProgramError, match=said):
        live(units=[unit(**given)])
