"""The provider's console: clients by trouble, figures from public rows alone, and a new client by a form."""

import re
from datetime import date, timedelta

import pytest
from django.utils import timezone, translation

from loyalty_saas.console import figures
from loyalty_saas.drawing import Chart, Series, chart_days, nice_top
from loyalty_saas.templatetags import loyalty as said
from tenants.access import Actor
from tenants.keys import uuid7
from tenants.models import Client, Invitation, Onboarding, Provider, RoleGrant, WaitingClient
from tests.http import ClientBrowser
from tests.loyalty_saas.consoles import a_client, a_day, clients_without_a_schema_go, msp, staff, text_of
from tests.loyalty_saas.shops import counted_queries
from tests.people import person

__all__ = ["clients_without_a_schema_go", "msp", "staff"]


def names(page: ClientBrowser, address: str = "/") -> list[str]:
    """The clients of the table, in its order."""
    return names_in(page.get(address).content.decode())


def names_in(body: str) -> list[str]:
    """The clients of a page's table, in its order."""
    return re.findall(r'class="block font-medium text-ink" href="[^"]+">([^<]+)</a>', body)


def test_clients_in_trouble_come_first_then_by_name(msp: Provider, staff: ClientBrowser) -> None:
    for name in ("Zinnia", "Aster"):
        a_day(a_client(msp, name))
    quiet = a_client(msp, "Quiet")
    a_day(quiet, back=0, sales=0)
    a_day(quiet, back=4)
    a_day(a_client(msp, "Parked"), parked=2)
    stuck = a_client(msp, "Stuck")
    a_day(stuck)
    WaitingClient.objects.create(schema_name=stuck.schema_name, since=timezone.now() - timedelta(minutes=7))
    assert names(staff) == ["Stuck", "Quiet", "Parked", "Aster", "Zinnia"]


def test_each_trouble_is_told_in_a_sentence(msp: Provider, staff: ClientBrowser) -> None:
    stuck, quiet, silent = (a_client(msp, name) for name in ("Stuck", "Quiet", "Silent"))
    a_day(stuck, parked=1)
    WaitingClient.objects.create(schema_name=stuck.schema_name, since=timezone.now() - timedelta(minutes=7, seconds=5))
    a_day(quiet, back=3)
    a_day(quiet, back=0, sales=0)
    a_day(silent, back=2, counted_at=timezone.now() - timedelta(hours=40))
    body = staff.get("/").content.decode()
    for words in (
        "Purchases have been waiting for points for 7 minutes.",
        "1 return found no sale.",
        "No sale for 3 days.",
        "No figures have come in for more than a day.",
    ):
        assert words in body


def test_work_that_has_only_just_come_in_is_no_trouble(msp: Provider, staff: ClientBrowser) -> None:
    client = a_client(msp)
    a_day(client)
    WaitingClient.objects.create(schema_name=client.schema_name, since=timezone.now())
    assert "All is well." in staff.get("/").content.decode()


def test_figures_are_sums_of_thirty_days_and_money_stays_apart_by_currency(msp: Provider, staff: ClientBrowser) -> None:
    dollars, euros = a_client(msp, "Dollars"), a_client(msp, "Euros", currency="EUR")
    for back in (0, 29):
        a_day(dollars, back=back, members=10 + back, sales=100, revenue=100_000, repeat_revenue=25_000, liability=7_000)
    a_day(dollars, back=30, sales=50, revenue=77_700, repeat_revenue=0)
    a_day(euros, members=5, sales=1, revenue=20_000, repeat_revenue=10_000, liability=345)
    found = summary_of(msp, days=30)
    assert (found.now.sales, found.past.sales, found.stocks[-1].members) == (201, 50, 15)
    assert (found.now.revenue, found.now.repeat_share("USD")) == ({"USD": 200_000, "EUR": 20_000}, 0.25)
    assert (found.now.repeat_share("EUR"), found.past.repeat_share("USD")) == (0.5, 0)
    assert found.stocks[-1].liability == {"USD": 7_000, "EUR": 345}
    body = staff.get("/").content.decode()
    for said_there in ("25.0%", "50.0% EUR", "$70", "€3.45", "201"):
        assert said_there in body


def test_a_provider_sees_its_own_clients_and_the_operator_all(msp: Provider, staff: ClientBrowser) -> None:
    other = Provider.objects.create(slug=f"msp-{uuid7().hex[-10:]}", name="Rival")
    mine, theirs = a_client(msp, f"Mine {uuid7()}"), a_client(other, f"Theirs {uuid7()}")
    a_day(mine)
    a_day(theirs)
    assert names(staff) == [mine.name]
    operator = person(Actor.PLATFORM)
    from tenants.queries import standing

    at = timezone.now()
    all_of_them = figures.providers_of(user=operator, standing=standing(user=operator, client=None, at=at), at=at)
    assert {mine.pk, theirs.pk} <= set(figures.clients_of(all_of_them).values_list("pk", flat=True))


def test_the_page_costs_the_same_for_any_number_of_clients(msp: Provider, staff: ClientBrowser) -> None:
    counts = []
    for number in (1, 12):
        for n in range(number):
            a_day(a_client(msp, f"Client {n}"))
        with counted_queries(cold=True) as so_far:
            staff.get("/")
        counts.append(so_far())
    # The look of the house is remembered for a second: the second page may save that query.
    assert counts[1] <= counts[0] <= 16


def test_many_clients_come_in_pages(msp: Provider, staff: ClientBrowser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loyalty_saas.console.listing.PAGE", 3)
    for n in range(4):
        a_day(a_client(msp, f"Client {n}"))
    assert (names(staff), names(staff, "/?page=2")) == (["Client 0", "Client 1", "Client 2"], ["Client 3"])
    assert names(staff, "/?page=nonsense") == names(staff)


def test_without_clients_the_page_says_what_to_do(staff: ClientBrowser) -> None:
    body = staff.get("/").content.decode()
    assert "No client yet" in body
    assert "/clients/add/" in body


def test_a_name_cannot_bring_script_into_the_page(msp: Provider, staff: ClientBrowser) -> None:
    a_day(a_client(msp, "<script>alert(1)</script>"))
    assert b"<script>alert" not in staff.get("/").content


# ── periods, tabs, order, export ────────────────────────────────────────────────────────────────────────────────────


def summary_of(msp: Provider, *, days: int) -> figures.Summary:
    """The figures of all clients of a provider over a period."""
    clients = Client.objects.filter(provider=msp)
    span = figures.Span(figures.PERIODS[days], timezone.now().date())
    sums = figures.sums_by_client(clients=clients, span=span)
    return figures.summary(
        clients=clients, currencies=dict(clients.values_list("pk", "currency")), sums=sums, span=span
    )


@pytest.mark.parametrize(("days", "sales", "before"), [(30, 10, 20), (90, 30, 40), (365, 70, 0)])
def test_a_period_counts_its_days_and_compares_with_as_many_before(
    msp: Provider, days: int, sales: int, before: int
) -> None:
    client = a_client(msp)
    for back, count in ((29, 10), (30, 20), (90, 40)):
        a_day(client, back=back, sales=count)
    found = summary_of(msp, days=days)
    assert (found.now.sales, found.past.sales) == (sales, before)


def test_a_year_is_counted_once_a_minute_and_for_just_these_clients(msp: Provider, staff: ClientBrowser) -> None:
    first = a_client(msp, "First")
    a_day(first, back=3, sales=1_234)
    assert "1,234" in staff.get("/?days=365").content.decode()
    a_day(first, back=2, sales=1_000)
    assert "2,234" not in staff.get("/?days=365").content.decode()
    assert "2,234" in staff.get("/?days=90").content.decode()
    a_day(a_client(msp, "Second"), back=2, sales=5)
    assert "2,239" in staff.get("/?days=365").content.decode()


def test_a_client_not_counted_on_a_day_stands_as_it_last_did(msp: Provider) -> None:
    early, late = a_client(msp, "Early"), a_client(msp, "Late")
    a_day(early, back=20, members=100, liability=5_000)
    a_day(late, back=0, members=7, liability=300)
    stocks = summary_of(msp, days=30).stocks
    assert (stocks[0].members, stocks[-1].members, stocks[-1].liability["USD"]) == (0, 107, 5_300)


def test_sales_to_members_who_came_back_are_counted_over_all_clients(msp: Provider) -> None:
    for client, repeat in ((a_client(msp, "Half"), 5), (a_client(msp, "None"), 0)):
        a_day(client, back=1, sales=10, repeat_sales=repeat)
    day = summary_of(msp, days=30).days[timezone.now().date() - timedelta(days=1)]
    assert (day.sales, day.returning, day.selling) == (20, 5, 2)


def test_tabs_show_who_is_at_risk_and_who_is_on_the_way_in(msp: Provider, staff: ClientBrowser) -> None:
    a_day(a_client(msp, "Well"))
    a_day(a_client(msp, "Quiet"), back=5)
    a_day(a_client(msp, "Fresh"), sales=0)
    Onboarding.objects.create(provider=msp, request={"name": "Half filled"}, state="draft", step=2)
    body = staff.get("/?show=onboarding").content.decode()
    assert (names(staff, "/?show=risk"), names_in(body)) == (["Quiet"], ["Fresh"])
    assert "Half filled" in body
    assert re.search(r"Onboarding <span[^>]*>2<", body)


def test_the_list_is_filtered_and_sorted_by_its_address(msp: Provider, staff: ClientBrowser) -> None:
    for name, members in (("Ash", 5), ("Birch", 50), ("Cedar", 20)):
        a_day(a_client(msp, name), members=members)
    assert names(staff, "/?sort=-members") == ["Birch", "Cedar", "Ash"]
    assert names(staff, "/clients/?sort=members") == ["Ash", "Cedar", "Birch"]
    assert names(staff, "/?sort=password&q=ED") == ["Cedar"]


def test_the_export_has_all_that_was_filtered_and_money_as_numbers(msp: Provider, staff: ClientBrowser) -> None:
    a_day(a_client(msp, "=cmd|calc"), revenue=123_456, liability=1_000)
    a_day(a_client(msp, "Other"))
    answer = staff.get("/?format=csv&q=cmd")
    text = text_of(answer)
    assert answer["Content-Type"].startswith("text/csv")
    assert "'=cmd|calc" in text
    assert "1234.56" in text
    assert "Other" not in text


def test_the_last_sale_is_told_by_the_minute(msp: Provider, staff: ClientBrowser) -> None:
    a_day(a_client(msp), last_sale_at=timezone.now() - timedelta(minutes=2, seconds=5))
    assert "2 minutes ago" in staff.get("/").content.decode()


def test_each_trouble_says_what_to_do(msp: Provider, staff: ClientBrowser) -> None:
    a_day(a_client(msp, "Quiet"), back=4)
    a_client(msp, "Resting", status="suspended", closed_reason="Invoices unpaid")
    body = staff.get("/").content.decode()
    assert "Call the shop" in body
    assert "The program is suspended: Invoices unpaid" in body


def test_an_owner_who_never_came_is_a_trouble_after_some_days(msp: Provider, staff: ClientBrowser) -> None:
    waiting, invited = a_client(msp, "Waiting"), a_client(msp, "Invited")
    for client, days in ((waiting, 4), (invited, 1)):
        a_day(client)
        at = timezone.now() - timedelta(days=days)
        Invitation.objects.create(
            email="o@example.com", role="owner", client=client, token_hash=uuid7().hex, invited_at=at, expires_at=at
        )
    assert "The owner has not accepted the invitation." in staff.get("/").content.decode()
    assert names(staff)[0] == "Waiting"
    RoleGrant.objects.create(user=person(), role="owner", client=waiting)
    assert "The owner has not accepted" not in staff.get("/").content.decode()


# ── drawing and speaking ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_chart_averages_seven_days_and_its_table_keeps_the_sums() -> None:
    days = chart_days(until=date(2026, 11, 22), count=14)
    chart = Chart("", [Series("Sales", "all", [7] * len(days))], days)
    assert chart.sizes[0].lines[0].points.count(",") == 14
    assert len({point.split(",")[1] for point in chart.sizes[0].lines[0].points.split()}) == 1
    assert chart.weeks == [(date(2026, 11, 16), ["49"]), (date(2026, 11, 9), ["49"])]


@pytest.mark.parametrize(("highest", "top"), [(0, 2), (1.5, 2), (3, 4), (9.9, 10), (10, 10), (11, 20), (5200, 6000)])
def test_an_axis_ends_at_a_round_number(highest: float, top: int) -> None:
    assert nice_top(highest) == top


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ["$18.40", "¥1,840", "$1,840", "$0", "1,234.50", "41.3%", "−4.1%", "Nov 22, 2026"]),
        (
            "de",
            ["18,40\xa0$", "1.840\xa0¥", "1.840\xa0$", "0\xa0$", "1.234,50", "41,3\xa0%", "−4,1\xa0%", "22.11.2026"],
        ),
    ],
)
def test_money_numbers_and_days_are_written_as_the_viewer_does(language: str, words: list[str]) -> None:
    with translation.override(language):
        assert [
            said.money(1840, "USD"),
            said.money(1840, "JPY"),
            said.round_money(184_000, "USD"),
            said.round_money(0, "USD"),
            said.number(123_450, 2),
            said.percent(0.413),
            said.signed_percent(-0.041),
            said.day(date(2026, 11, 22)),
        ] == words


def test_an_unknown_language_is_answered_in_english() -> None:
    with translation.override("tlh"):
        assert said.number(1000) == "1,000"
