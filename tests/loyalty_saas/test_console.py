"""The provider's console: clients by trouble, figures from public rows alone, and a new client by a form."""

import re
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from typing import Any

import pytest
from django.utils import timezone, translation

from loyalty_saas.console import figures
from loyalty_saas.console.forms import AddClient
from loyalty_saas.drawing import Chart, Series, chart_days, nice_top
from loyalty_saas.flows.onboarding import onboard
from loyalty_saas.templatetags import loyalty as said
from tenants.access import Actor
from tenants.keys import new_schema_name, uuid7
from tenants.models import Client, Domain, KpiDay, Onboarding, Provider, WaitingClient
from tests.http import ClientBrowser
from tests.loyalty_saas.shops import counted_queries
from tests.people import browser, person

NewMsp = Callable[[], Provider]


@pytest.fixture
def msp() -> Provider:
    """A provider that no other test has."""
    return Provider.objects.create(slug=f"msp-{uuid7().hex[-10:]}", name="Beacon IT")


@pytest.fixture
def staff(msp: Provider) -> ClientBrowser:
    """The console, open before one of the provider's people."""
    return browser(None, person(Actor.PROVIDER, provider=msp))


@pytest.fixture(autouse=True)
def _clients_without_a_schema_go() -> Iterator[None]:
    """`manage.py migrate` would miss their schemas, in other tests."""
    before = set(Client.objects.values_list("pk", flat=True))
    yield
    for client in Client.objects.exclude(pk__in=before):
        if client.slug == client.schema_name[2:]:
            client.delete()


def a_client(msp: Provider, name: str = "Petal", **given: Any) -> Client:
    """A client of which the console sees public rows only: it has no schema at all."""
    values = {
        "trade": "retail",
        "currency": "USD",
        "time_zone": "UTC",
        "languages": ["en"],
        "template": "retail",
        **given,
    }
    schema = new_schema_name()
    client = Client.objects.create(provider=msp, slug=schema[2:], name=name, schema_name=schema, **values)
    Domain.objects.create(client=client, host=f"{client.slug}.localhost")
    return client


def a_day(client: Client, *, back: int = 0, **counts: Any) -> KpiDay:
    """One counted day, so many days ago."""
    at = timezone.now()
    values = {"members": 10, "sales": 5, "revenue": 5000, "repeat_revenue": 2000, "counted_at": at, **counts}
    return KpiDay.objects.create(client=client, day=at.date() - timedelta(days=back), **values)


def names(page: ClientBrowser, address: str = "/") -> list[str]:
    """The clients of the table, in its order."""
    body = page.get(address).content.decode()
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
        a_day(
            dollars, back=back, members=10 + back, sales=100, revenue=100_000, repeat_revenue=25_000, outstanding=7_000
        )
    a_day(dollars, back=30, sales=50, revenue=77_700, repeat_revenue=0)
    a_day(euros, members=5, sales=1, revenue=20_000, repeat_revenue=10_000, outstanding=345)
    providers = Provider.objects.filter(pk=msp.pk)
    totals = figures.totals(figures.client_lines(providers=providers, at=timezone.now()))
    assert (totals.members, totals.sales, totals.sales_before, totals.outstanding) == (15, 201, 50, 7_345)
    assert totals.revenue_by_currency == [("USD", 200_000), ("EUR", 20_000)]
    assert totals.repeat_shares == [("USD", 0.25), ("EUR", 0.5)]
    body = staff.get("/").content.decode()
    assert "$2,000" in body
    assert "€200" in body
    assert "25.0%" in body


def test_a_provider_sees_its_own_clients_and_the_operator_all(msp: Provider, staff: ClientBrowser) -> None:
    other = Provider.objects.create(slug=f"msp-{uuid7().hex[-10:]}", name="Rival")
    mine, theirs = a_client(msp, f"Mine {uuid7()}"), a_client(other, f"Theirs {uuid7()}")
    a_day(mine)
    a_day(theirs)
    assert names(staff) == [mine.name]
    operator = person(Actor.PLATFORM)
    from tenants.queries import standing

    all_of_them = figures.providers_of(
        user=operator, standing=standing(user=operator, client=None, at=timezone.now()), at=timezone.now()
    )
    assert {mine.pk, theirs.pk} <= {
        line.client.pk for line in figures.client_lines(providers=all_of_them, at=timezone.now())
    }


def test_the_page_costs_the_same_for_any_number_of_clients(msp: Provider, staff: ClientBrowser) -> None:
    counts = []
    for number in (1, 12):
        for n in range(number):
            a_day(a_client(msp, f"Client {n}"))
        with counted_queries() as so_far:
            staff.get("/")
        counts.append(so_far())
    assert counts[0] == counts[1] <= 14


def test_many_clients_come_in_pages(msp: Provider, staff: ClientBrowser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loyalty_saas.console.views.PAGE", 3)
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


# ── a new client ────────────────────────────────────────────────────────────────────────────────────────────────────


def asked(msp: Provider, **other: Any) -> dict[str, Any]:
    """A form filled in as it should be."""
    return {
        "provider": str(msp.pk),
        "name": "Petal & Stem",
        "trade": "retail",
        "template": "retail",
        "currency": "USD",
        "time_zone": "America/Denver",
        "languages": ["en"],
        "domain": f"{uuid7().hex}.example.com",
        "owner_email": "rosa@example.com",
        **other,
    }


def test_a_new_client_goes_from_the_form_to_its_address(msp: Provider, staff: ClientBrowser) -> None:
    answer = staff.post("/clients/add/", form := asked(msp))
    assert answer.status_code == 302
    wanted = Onboarding.objects.get(provider=msp)
    assert answer["Location"] == f"/clients/onboarding/{wanted.pk}/"
    waiting = staff.get(answer["Location"]).content.decode()
    assert "Taking a database schema" in waiting
    assert 'hx-trigger="every 1s"' in waiting
    assert '<noscript><meta http-equiv="refresh"' in waiting
    onboard(onboarding_id=wanted.pk, at=timezone.now())
    done = staff.get(answer["Location"]).content.decode()
    assert f"http://{form['domain']}/" in done
    assert "every 1s" not in done, "a finished page must not go on asking"


def test_a_fragment_is_answered_with_the_progress_alone(msp: Provider, staff: ClientBrowser) -> None:
    address = staff.post("/clients/add/", asked(msp))["Location"]
    fragment = staff.get(address, headers={"HX-Request": "true"}).content.decode()
    assert fragment.lstrip().startswith("<section")
    assert "<html" not in fragment


def test_a_failed_onboarding_says_why_and_that_nothing_is_left(msp: Provider, staff: ClientBrowser) -> None:
    wanted = Onboarding.objects.create(
        provider=msp, request={"name": "Petal"}, state="failed", error="The address is taken.", step=3
    )
    body = staff.get(f"/clients/onboarding/{wanted.pk}/").content.decode()
    assert "The address is taken." in body
    assert "Nothing was left behind" in body


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("trade", "piracy"),
        ("template", "nothing"),
        ("currency", "XXX"),
        ("time_zone", "Mars/Olympus"),
        ("languages", []),
        ("domain", "not a host!"),
        ("owner_email", "rosa"),
    ],
)
def test_a_refusal_stands_at_its_field_and_the_rest_is_kept(
    msp: Provider, staff: ClientBrowser, field: str, value: Any
) -> None:
    answer = staff.post("/clients/add/", asked(msp, **{field: value}))
    body = answer.content.decode()
    assert answer.status_code == 422
    assert re.search(rf'id="id_{field}_errors"', body), "the error must be tied to its field"
    assert body.count('_errors"><p class="error"') == 1
    if field != "name":
        assert 'value="Petal &amp; Stem"' in body
    assert not Onboarding.objects.filter(provider=msp).exists()


def test_all_that_is_wrong_is_said_at_once(msp: Provider) -> None:
    form = AddClient(asked(msp, domain="not a host!", owner_email="rosa"), providers=Provider.objects.filter(pk=msp.pk))
    assert set(form.errors) == {"domain", "owner_email"}


def test_a_client_cannot_be_put_under_another_provider(msp: Provider, staff: ClientBrowser, provider: Provider) -> None:
    assert staff.post("/clients/add/", asked(msp, provider=str(provider.pk))).status_code == 422


def test_another_providers_onboarding_is_not_there(staff: ClientBrowser, provider: Provider) -> None:
    foreign = Onboarding.objects.create(provider=provider, request={"name": "Hidden"})
    known, unknown = (staff.get(f"/clients/onboarding/{key}/") for key in (foreign.pk, uuid7()))
    assert (known.status_code, known.content) == (404, unknown.content)


def test_a_form_begins_where_the_last_client_is(msp: Provider) -> None:
    a_client(msp, currency="CHF", time_zone="Europe/Zurich", languages=["de"])
    form = AddClient(providers=Provider.objects.filter(pk=msp.pk))
    assert (form.initial["currency"], form.initial["time_zone"], form.initial["languages"]) == (
        "CHF",
        "Europe/Zurich",
        ["de"],
    )


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
