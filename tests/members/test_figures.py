"""Figures by local day, against a hand count."""

from datetime import date, datetime, timedelta
from typing import Any

import pytest

from loyalty_saas.flows.figures import roll_up, roll_up_days
from loyalty_saas.flows.nights import spend_night
from loyalty_saas.tasks import _is_due
from members.models import Member
from members.queries import client_figures, open_work
from tenants.models import Client, KpiDay
from tests.members.world import (
    BERLIN,
    DAY,
    NOON,
    adjust,
    bring_back,
    buy,
    credit,
    do,
    line,
    live,
    new_member,
    spend,
    tell,
    unit,
)

LATE = datetime(2026, 6, 17, 23, 59, tzinfo=BERLIN)
EARLY = datetime(2026, 6, 18, 0, 1, tzinfo=BERLIN)
WEDNESDAY, THURSDAY, FRIDAY = date(2026, 6, 17), date(2026, 6, 18), date(2026, 6, 19)


@pytest.fixture
def week(acme: Client, ana: Member, bob: Member) -> None:
    """Wednesday to Friday, with things that happen on both sides of a local midnight."""
    live()
    eve = new_member("eve")
    Member.objects.filter(pk=eve.pk).update(joined_at=EARLY)
    buy(ana, receipt="R-1", lines=[line(1000, sku="tea"), line(500, sku="cup")], at=NOON)
    buy(ana, receipt="R-2", lines=[line(300, sku="tea")], at=LATE)
    buy(bob, receipt="R-3", lines=[line(200)], at=LATE)
    buy(ana, receipt="R-4", lines=[line(700)], at=EARLY)
    buy(eve, receipt="R-5", lines=[line(40)], at=EARLY)
    do(eve, "trip", at=EARLY + DAY, amount=9000)
    bring_back(ana, receipt="B-1", sale="R-1", lines=[line(500, sku="cup")], at=EARLY + DAY)
    bring_back(bob, receipt="B-2", lines=[line(200, sku="jam")], at=EARLY + DAY)
    credit(at=NOON + 2 * DAY)
    spend(ana, 100, at=NOON + 2 * DAY)


def day(client: Client, which: date) -> dict[str, Any]:
    names = ("members", "new_members", "active_members", "sales", "repeat_sales", "returns", "revenue", "repeat_revenue",
             "earned", "reversed", "spent", "outstanding", "waiting", "parked")  # fmt: skip
    row = KpiDay.objects.get(client=client, day=which)
    return {name: getattr(row, name) for name in names if getattr(row, name)}


def test_each_local_day_has_its_own_figures(acme: Client, week: None) -> None:
    assert roll_up(first=WEDNESDAY, last=FRIDAY, at=NOON + 2 * DAY) == 3

    assert day(acme, WEDNESDAY) == {
        "members": 2, "active_members": 2, "sales": 3, "revenue": 2000, "earned": 2000, "outstanding": 2000,
    }  # fmt: skip
    assert day(acme, THURSDAY) == {
        "members": 3, "new_members": 1, "active_members": 2, "sales": 2, "repeat_sales": 1, "revenue": 740, "repeat_revenue": 700,
        "earned": 740, "outstanding": 2740,
    }  # fmt: skip
    assert day(acme, FRIDAY) == {
        "members": 3, "active_members": 3, "sales": 1, "repeat_sales": 1, "returns": 2, "revenue": 9000 - 700,
        "repeat_revenue": 9000 - 700, "reversed": 500, "spent": 100, "outstanding": 2140, "parked": 1,
    }  # fmt: skip


def test_counting_again_changes_nothing_and_late_purchases_are_added_to_their_day(
    acme: Client, week: None, ana: Member
) -> None:
    roll_up(first=WEDNESDAY, last=FRIDAY, at=NOON + 2 * DAY)
    before = day(acme, WEDNESDAY)
    roll_up(first=WEDNESDAY, last=FRIDAY, at=NOON + 2 * DAY)
    assert day(acme, WEDNESDAY) == before

    buy(ana, receipt="late", lines=[line(10)], at=NOON)
    credit(at=NOON + 2 * DAY)
    roll_up(first=WEDNESDAY, last=FRIDAY, at=NOON + 2 * DAY)
    assert day(acme, WEDNESDAY) == {**before, "sales": 4, "revenue": 2010, "earned": 2010, "outstanding": 2010}


def test_the_last_days_end_with_today_by_the_client_s_clock(acme: Client, week: None) -> None:
    assert roll_up_days(days=2, at=EARLY) == 2
    assert sorted(tell(KpiDay.objects.filter(client=acme), "day")) == [WEDNESDAY, THURSDAY]


def test_what_waits_is_shown(acme: Client, ana: Member) -> None:
    buy(ana, receipt="R-1", lines=[line(1)])
    assert open_work() == {"waiting": 1, "parked": 0}
    roll_up_days(days=1, at=NOON)
    assert day(acme, WEDNESDAY)["waiting"] == 1
    live()
    credit()


def test_another_client_s_figures_stay_out(acme: Client, bravo: Client, week: None) -> None:
    roll_up(first=WEDNESDAY, last=FRIDAY, at=NOON)
    assert not KpiDay.objects.filter(client=bravo).exists()


def test_the_figures_of_a_client_are_those_of_its_rows(acme: Client, week: None, ana: Member) -> None:
    assert client_figures(top=2) == {
        "lines": 8, "members": 3, "sales": 5, "returns": 2, "earned": 2740, "reversed": 500, "unmatched_lines": 1,
        "balance": 2140, "top_members": [{"member": "ana", "balance": 1900}, {"member": "bob", "balance": 200}],
    }  # fmt: skip


def test_the_night_is_due_once_a_local_day_and_spending_it_twice_does_no_harm(
    acme: Client, week: None, ana: Member
) -> None:
    after = datetime(2026, 6, 20, 0, 5, tzinfo=BERLIN)
    assert _is_due(acme, at=after)
    spend_night(at=after)
    assert not _is_due(acme, at=after + timedelta(hours=23))
    assert _is_due(acme, at=after + timedelta(hours=24))

    before = (client_figures(), day(acme, FRIDAY))
    spend_night(at=after)
    assert (client_figures(), day(acme, FRIDAY)) == before


def test_points_stand_to_the_end_of_their_last_day_and_lapse_with_the_next(acme: Client, ana: Member) -> None:
    live(units=[unit(expiry={"policy": "rolling", "months": 1})])
    adjust(ana, 100)
    spend_night(at=datetime(2026, 7, 18, 0, 5, tzinfo=BERLIN))

    last = KpiDay.objects.filter(client=acme).order_by("day")
    assert tell(last, "day", "outstanding") == [(date(2026, 7, 17), 100), (date(2026, 7, 18), 0)]
