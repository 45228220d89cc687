"""The page on which the shop reads what it owes its members, and the journal for its books."""

from collections import defaultdict
from datetime import timedelta
from decimal import Decimal
from random import Random

import pytest
from django.core.cache import cache
from django.utils import timezone

from loyalty_saas.flows.purchases import credit_next_batch
from members.models import Member, PointsAccount
from members.services.accrual import NOTHING
from tenants.access import Actor
from tenants.context import use_client
from tenants.models import Client, KpiDay
from tests.loyalty_saas.portals import at_portal, cost, file_of, words
from tests.machines import Machine
from tests.members.world import PENNY, buy, line, live, new_member, spend, unit
from tests.people import browser, person

COFFEE = {"code": "coffee", "name": "Coffee", "kind": "product", "unit": "points", "price": 100, "value": 250}


@pytest.fixture
def club(acme: Client) -> Client:
    """Eight months of purchases of three members, half of whom use what they have."""
    live(PENNY, units=[unit(expiry={"policy": "rolling", "months": 24})], rewards=[COFFEE])
    now, chance = timezone.now(), Random(4)
    members = [new_member() for _one in range(3)]
    for back in range(240, 0, -12):
        at = now - timedelta(days=back)
        for member in members:
            buy(member, receipt=f"R-{member.number}-{back}", lines=[line(chance.randint(100, 900))], at=at)
        while credit_next_batch(at=at) != NOTHING:
            pass
        spend(members[0], 80, at=at)
    KpiDay.objects.create(client=acme, day=now.date(), outstanding=1, liability=12_345, counted_at=now)
    cache.clear()
    return acme


def held(client: Client) -> int:
    """What all members have."""
    with use_client(client):
        return sum(PointsAccount.objects.values_list("balance", flat=True))


def test_the_page_says_in_plain_words_what_members_hold_and_how_much_will_be_used(club: Client) -> None:
    said = words(at_portal(club, Actor.MANAGER).get("/liability/"))
    assert f"Members hold {held(club):,} Points, worth about €" in said
    assert "We expect" in said
    for heading in ("Outstanding", "Expected to be used", "Expected never to be used", "Lapses soon", "When it lapses"):
        assert heading in said
    assert "By the month in which it was earned" in said


def test_with_too_little_history_the_page_foretells_nothing(acme: Client) -> None:
    live(PENNY, rewards=[COFFEE])
    ana = new_member("ana")
    buy(ana, receipt="R-1", lines=[line(500)], at=timezone.now())
    while credit_next_batch(at=timezone.now()) != NOTHING:
        pass
    said = words(at_portal(acme).get("/liability/"))
    assert "cannot be said yet" in said
    assert "We expect" not in said


def test_before_the_first_point_the_page_says_so(acme: Client) -> None:
    live(PENNY)
    assert "Nothing is owed yet" in words(at_portal(acme).get("/liability/"))


def test_units_without_a_reward_have_no_value_and_no_journal(acme: Client) -> None:
    live(PENNY)
    buy(new_member(), receipt="R-1", lines=[line(500)], at=timezone.now())
    while credit_next_batch(at=timezone.now()) != NOTHING:
        pass
    said = words(at_portal(acme).get("/liability/"))
    assert "Members hold 500 Points. No reward says what one is worth." in said
    assert "Download the journal" not in said


def test_every_entry_of_the_journal_balances_and_the_file_ties_to_the_page(club: Client) -> None:
    page = at_portal(club)
    today = timezone.localdate()
    first = (today - timedelta(days=300)).strftime("%Y-%m")
    answer = page.get("/liability/journal.csv", {"first": _first_month(page), "last": f"{today:%Y-%m}"})
    assert answer["Content-Disposition"].endswith('.csv"')
    head, *rows = file_of(answer)
    assert head == ["Date", "Account", "Debit", "Credit", "Unit", "Points", "Text"]
    assert len(rows) > 20
    assert rows[0][0] > first
    for debit, credit in zip(rows[::2], rows[1::2], strict=True):
        assert (debit[0], debit[6], debit[2]) == (credit[0], credit[6], credit[3])
        assert (debit[3], credit[2]) == ("", "")
    balances, points = defaultdict(Decimal), Decimal(0)
    for _day, account, debit, credit, _unit, moved, _text in rows:
        balances[account] += Decimal(credit or 0) - Decimal(debit or 0)
        points += Decimal(moved or 0)
    assert sum(balances.values()) == 0
    assert points == held(club)
    assert f"€{balances['Contract liability: points']:,}" in words(page.get("/liability/"))


def _first_month(page: object) -> str:
    """The earliest month that the form offers."""
    body = page.get("/liability/").content.decode()  # type: ignore[attr-defined]
    return sorted(part[:7] for part in body.split('<option value="')[1:])[0]


def test_months_that_make_no_journal_are_refused_at_the_field(club: Client) -> None:
    page = at_portal(club)
    last, first = f"{timezone.localdate():%Y-%m}", _first_month(page)
    turned = page.get("/liability/journal.csv", {"first": last, "last": first})
    assert (turned.status_code, "The last month is before the first." in words(turned)) == (422, True)
    unknown = page.get("/liability/journal.csv", {"first": "1999-01", "last": "=1+1"})
    assert unknown.status_code == 422
    assert page.get("/liability/journal.csv").status_code == 422


@pytest.mark.parametrize("path", ["/liability/", "/liability/journal.csv"])
def test_only_those_who_manage_the_shop_see_what_it_owes(acme: Client, bravo: Client, path: str) -> None:
    assert at_portal(acme, Actor.CLERK).get(path).status_code in {403, 404}
    assert browser(acme, person(Actor.OWNER, client=bravo)).get(path).status_code in {403, 404}
    provider = browser(acme, person(Actor.PROVIDER, provider=acme.provider))
    assert provider.get(path).status_code in {403, 404}


def test_the_page_takes_as_many_queries_for_many_members_as_for_few(club: Client) -> None:
    page = at_portal(club)
    few = cost(page, "/liability/")
    with use_client(club):
        for place in range(10):
            buy(new_member(), receipt=f"M-{place}", lines=[line(100)], at=timezone.now())
        while credit_next_batch(at=timezone.now()) != NOTHING:
            pass
        assert Member.objects.count() == 13
        cache.clear()
    assert cost(page, "/liability/") <= few


def test_machines_read_the_same_figures(club: Client) -> None:
    said = Machine(club).get("/figures/liability")
    assert said.status == 200
    (one,) = said["units"]
    assert (one["unit"], one["outstanding"], one["owed"]) == ("points", held(club), 0)
    assert one["value"] == held(club) * 5 // 2
    assert sum(end["amount"] for end in one["by_end"]) == one["outstanding"]
    assert sum(line["outstanding"] for line in one["cohorts"]) == one["outstanding"]
    assert sum(line["expected"] for line in one["cohorts"]) == one["expected"] < one["outstanding"]
    assert Machine(club, scopes=["members:read"]).get("/figures/liability").status == 403
