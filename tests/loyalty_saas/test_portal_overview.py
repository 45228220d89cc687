"""The owner's first page: trends, what needs attention, when members come, and the first steps of a new shop."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core.cache import cache
from django.utils import timezone

from loyalty_saas.portal import figures
from loyalty_saas.portal.heat import Heat
from members import queries
from members.models import ImportJob, Member, Purchase, WorkItem
from programs.models import Clerk, Device, Location, Program
from tenants.access import Actor
from tenants.models import Client, KpiDay, Provider
from tests.http import ClientBrowser
from tests.loyalty_saas.portals import at_portal, cost, words
from tests.loyalty_saas.shops import credit, join, sale
from tests.machines import Answer, Machine
from tests.people import browser, person


@pytest.fixture(autouse=True)
def _counted_anew() -> None:
    cache.clear()


@pytest.fixture
def owner(shop: Client) -> ClientBrowser:
    """The portal, open before the owner."""
    return at_portal(shop)


def a_day(client: Client, *, back: int, **counts: Any) -> KpiDay:
    """One counted day of the shop, so many days ago."""
    today = timezone.now().astimezone(ZoneInfo(client.time_zone)).date()
    values = {"sales": 5, "revenue": 10_000, "repeat_revenue": 4_000, **counts}
    return KpiDay.objects.create(client=client, day=today - timedelta(days=back), counted_at=timezone.now(), **values)


# ── three numbers and their trends ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("days", "revenue"), [("30", "€200"), ("90", "€300"), ("365", "€400"), ("7", "€200")])
def test_the_period_is_switched(shop: Client, owner: ClientBrowser, days: str, revenue: str) -> None:
    for back in (1, 2, 40, 200):
        a_day(shop, back=back)
    assert f"of {revenue}" in words(owner.get("/", {"days": days})).replace("€200.00", "€200")


def test_each_number_has_twelve_weeks_behind_it(shop: Client) -> None:
    for back in range(84):
        a_day(shop, back=back, earned=10, reversed=3, repeat_revenue=10_000 if back < 7 else 5_000)
    numbers = figures.three_numbers(days=figures.days_of(shop), at=timezone.now())
    assert numbers.repeat_shares == [500] * 11 + [1000]
    assert numbers.given_weeks == [49] * 12
    assert numbers.repeat_revenues == [35_000] * 11 + [70_000]


def test_what_it_brings_is_set_against_the_period_before(shop: Client) -> None:
    a_day(shop, back=1, repeat_revenue=6_000)
    a_day(shop, back=35, repeat_revenue=4_000)
    assert figures.three_numbers(days=figures.days_of(shop), at=timezone.now()).bring_change == pytest.approx(0.5)


# ── what needs attention ────────────────────────────────────────────────────────────────────────────────────────────


def attention(page: ClientBrowser) -> str:
    """What stands under “Needs attention”."""
    return words(page.get("/")).partition("Needs attention")[2].partition("Revenue per day")[0]


def test_where_all_is_well_it_says_so(owner: ClientBrowser) -> None:
    assert "All is well." in attention(owner)


def test_a_till_that_is_silent_is_named_unless_it_was_taken_off(owner: ClientBrowser) -> None:
    at, place = timezone.now(), Location.objects.create(code="main", name="Main")
    for name, seen, revoked in (("Bar", 4, None), ("Door", 1, None), ("Old", 9, at)):
        Device.objects.create(name=name, location=place, token_hash=name, enrolled_at=at, revoked_at=revoked,
                              seen_at=at - timedelta(days=seen))  # fmt: skip
    said = attention(owner)
    assert "1 till has not been seen for 3 days. Bar" in said
    assert ("Door" in said, "Old" in said) == (False, False)


def test_a_shop_without_purchases_for_days_is_asked_why(
    owner: ClientBrowser, till: Machine, ana: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    till.post("/purchases", sale(ana["id"], "R-1"))
    assert "No purchases" not in attention(owner)
    then = timezone.now() - timedelta(days=5, hours=1)
    monkeypatch.setattr("loyalty_saas.portal.views.overview.queries.newest_sale", lambda: then)
    assert "No purchases for 5 days." in attention(owner)


def test_purchases_set_aside_and_failed_files_and_drafts_are_named(
    owner: ClientBrowser, till: Machine, ana: Answer
) -> None:
    till.post("/purchases", sale(ana["id"], "R-1"))
    WorkItem.objects.update(quarantined_at=timezone.now())
    ImportJob.objects.create(name="tills.csv", content_hash="x", path="x", state="failed")
    Program.objects.create(version=99, name="Next", document={}, edited_at=timezone.now())
    said = attention(owner)
    for one in (
        "1 purchase could not be credited.",
        "A file could not be read to its end. tills.csv",
        "A draft of the program is not published.",
    ):
        assert one in said
    # The gravest comes first.
    assert said.index("could not be credited") < said.index("could not be read") < said.index("A draft")
    ImportJob.objects.update(started_at=timezone.now() - timedelta(days=8))
    assert "could not be read" not in attention(owner)


def test_a_provider_is_told_of_the_program_and_of_no_member(shop: Client, till: Machine, provider: Provider) -> None:
    join(till, "Bertha")
    page = browser(shop, person(Actor.PROVIDER, provider=provider)).get("/")
    said = words(page)
    assert ("Bertha" in said, "Members by tier" in said, "When members come" in said) == (False, False, False)
    assert "Needs attention" in said


# ── the first steps ─────────────────────────────────────────────────────────────────────────────────────────────────


def steps(page: ClientBrowser) -> list[bool]:
    """The first steps, done or not."""
    part = re.search(r"What to do next.*?</ol>", page.get("/").content.decode(), re.DOTALL)
    return ["badge-good" in one for one in part[0].split("<li")[1:]] if part else []


def test_a_new_shop_is_led_to_its_first_purchase(acme: Client) -> None:
    page = at_portal(acme)
    assert steps(page) == [False] * 5
    for route in ("/program/", "/staff/", "/members/new/", "/imports/"):
        assert f'href="{route}"' in page.get("/").content.decode()


def test_what_is_done_is_ticked_and_the_list_goes_with_the_first_purchase(owner: ClientBrowser, till: Machine) -> None:
    assert steps(owner) == [True, False, False, False, False]
    Clerk.objects.create(name="Kim")
    at = timezone.now()
    Device.objects.create(name="Till", location=Location.objects.create(code="m", name="M"), token_hash="x",
                          enrolled_at=at, seen_at=at)  # fmt: skip
    assert steps(owner) == [True, True, True, False, False]
    ana = join(till)
    assert steps(owner) == [True, True, True, True, False]
    till.post("/purchases", sale(ana["id"], "R-1"))
    assert steps(owner) == []


# ── when members come ───────────────────────────────────────────────────────────────────────────────────────────────


def test_visits_are_counted_by_the_shops_weekday_and_hour(till: Machine, ana: Answer) -> None:
    # 22:30 in UTC on a Wednesday in July is Thursday, half past midnight, in Berlin.
    for document, at in (
        ("R-1", "2026-07-01T22:30:00Z"),
        ("R-2", "2026-07-01T22:59:00Z"),
        ("R-3", "2026-06-30T06:00:00Z"),
    ):
        till.post("/purchases", sale(ana["id"], document, occurred_at=at))
    since = datetime(2026, 6, 30, 12, tzinfo=UTC)
    assert queries.visits_by_hour(since=since, zone="Europe/Berlin") == [(4, 0, 2)]
    assert Purchase.objects.count() == 3


def test_the_heat_says_in_words_and_in_a_table_what_it_draws() -> None:
    heat = Heat.of([(1, 9, 2), (6, 11, 8)])
    assert heat.hours == [9, 10, 11]
    assert heat.sentence == "Most visits come on Saturday from 11\u202fAM: 8 of 10 in 90 days."
    assert [row[1] for row in heat.table] == [list("2000000"), list("0000000"), list("0000080")]
    depths = {(one.x, one.y): one.depth for one in heat.squares if one.depth}
    assert sorted(depths.values()) == [0.31, 1.0]
    assert len(heat.squares) == 21
    assert Heat.of([]).is_empty


def test_heat_and_tiers_are_counted_once_in_some_minutes(owner: ClientBrowser, till: Machine, ana: Answer) -> None:
    till.post("/purchases", sale(ana["id"], "R-1", 60_000))
    credit()
    first = words(owner.get("/"))
    assert "Silver 1 100.0%" in first
    Member.objects.update(status="closed")
    assert "Silver 1 100.0%" in words(owner.get("/"))
    cache.clear()
    assert "Silver" not in words(owner.get("/")).partition("Members by tier")[2]


def test_when_members_come_is_fetched_by_the_first_page_and_kept_for_the_next(
    owner: ClientBrowser, till: Machine, ana: Answer
) -> None:
    till.post("/purchases", sale(ana["id"], "R-1"))
    first = owner.get("/").text
    assert 'hx-get="/when/"' in first
    assert "When members come" not in first
    assert "1 of 1 in 90 days" in words(owner.get("/when/"))
    assert "1 of 1 in 90 days" in words(owner.get("/"))


def test_the_first_page_costs_the_same_for_any_number_of_members(owner: ClientBrowser, till: Machine) -> None:
    counts = []
    for number in (1, 9):
        for n in range(number):
            till.post("/purchases", sale(join(till, f"Zoe {number}-{n}")["id"], f"R-{number}-{n}"))
        credit()
        counts.append(cost(owner, "/"))
    assert counts[0] == counts[1] <= 26
