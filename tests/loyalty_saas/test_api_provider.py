"""A provider's clients through the API of the platform's host."""

from datetime import date, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from django.utils import timezone

from loyalty_saas.flows import onboarding as flow
from tenants.models import AuditEvent, Client, KpiDay, Onboarding, Provider
from tests.loyalty_saas.shops import counted_queries
from tests.loyalty_saas.test_api_door import HOSTILE
from tests.machines import Machine

WANTED = {"name": "Café Anna", "trade": "cafe", "currency": "EUR", "time_zone": "Europe/Berlin", "template": "cafe"}


@pytest.fixture
def house() -> Provider:
    """A provider of this test's own."""
    number = Provider.objects.count()
    return Provider.objects.create(slug=f"house-{number}-{timezone.now():%H%M%S%f}", name="House")


@pytest.fixture
def console(house: Provider) -> Machine:
    """A machine of that provider with every scope."""
    return Machine(None, provider=house)


def own(client: Client, provider: Provider) -> Client:
    """The client, given to that provider."""
    Client.objects.filter(pk=client.pk).update(provider=provider)
    return client


def test_a_business_is_taken_in_and_watched_until_it_is_there(console: Machine, house: Provider) -> None:
    asked = console.post("/clients", {**WANTED, "owner_email": "anna@example.com"}, key=None)
    assert (asked.status, asked["state"], asked["client"]) == (202, "waiting", None)
    assert len(asked["steps"]) == len(flow.STEPS)

    flow.onboard(onboarding_id=Onboarding.objects.get(pk=asked["id"]).pk, at=timezone.now())

    done = console.get(f"/onboardings/{asked['id']}")
    assert (done["state"], done["error"]) == ("done", "")
    client = console.get(f"/clients/{done['client']}")
    assert (client["name"], client["trade"], client["status"], client["url"]) == (
        "Café Anna",
        "cafe",
        "active",
        done["url"],
    )
    assert Client.objects.get(slug=done["client"]).provider == house
    till = Machine(Client.objects.get(slug=done["client"]))
    assert till.get("/program")["name"]


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"name": ""}, 400, "name"),
        ({"name": "a\nb"}, 422, "name"),
        ({"trade": "bank"}, 400, "trade"),
        ({"currency": "XXY"}, 422, "currency"),
        ({"currency": "EURO"}, 400, "currency"),
        ({"time_zone": "Mars/Olympus"}, 422, "time_zone"),
        ({"template": "bank"}, 422, "template"),
        ({"languages": []}, 400, "languages"),
        ({"languages": ["xx"]}, 400, "languages.0"),
        ({"slug": "Not A Slug"}, 422, "slug"),
        ({"slug": "admin"}, 422, "slug"),
        ({"domain": "no host"}, 422, "domain"),
        ({"owner_email": "nobody"}, 422, "owner_email"),
        ({"provider": "other"}, 400, "provider"),
        ({"schema_name": "c_x"}, 400, "schema_name"),
        ({"status": "active"}, 400, "status"),
    ],
)
def test_a_business_that_cannot_be_taken_in_is_told_the_field(
    console: Machine, change: dict[str, Any], status: int, field: str
) -> None:
    answer = console.post("/clients", {**WANTED, **change}, key=None)

    assert (answer.status, answer.fields) == (status, [field])


def test_all_that_is_wrong_is_told_at_once(console: Machine) -> None:
    answer = console.post("/clients", {**WANTED, "currency": "XXY", "time_zone": "x", "template": "y"}, key=None)

    assert answer.fields == ["currency", "time_zone", "template"]


def test_figures_come_day_by_day(console: Machine, house: Provider, acme: Client) -> None:
    own(acme, house)
    for back in range(40):
        day = date(2026, 3, 31) - timedelta(days=back)
        KpiDay.objects.create(client=acme, day=day, sales=back, revenue=100 * back, counted_at=timezone.now())

    found = console.get(f"/clients/{acme.slug}/kpis?since=2026-03-30&until=2026-03-31")
    assert (found["client"], found["currency"]) == (acme.slug, "EUR")
    assert [(one["day"], one["sales"], one["revenue"]) for one in found["results"]] == [
        ("2026-03-30", 1, 100),
        ("2026-03-31", 0, 0),
    ]
    assert len(console.get(f"/clients/{acme.slug}/kpis?until=2026-03-31")["results"]) == 31
    for query, status in (("since=x", 400), ("since=2026-02-01&until=2026-01-01", 422), ("since=2020-01-01", 422)):
        answer = console.get(f"/clients/{acme.slug}/kpis?{query}")
        assert (answer.status, answer.fields) == (status, ["since"])


def test_a_client_is_suspended_and_resumed(console: Machine, house: Provider, acme: Client) -> None:
    own(acme, house)
    till = Machine(acme)
    assert till.get("/members").status == 200

    suspended = console.post(f"/clients/{acme.slug}/suspend", {"reason": "not paid"}, key=None)
    assert (suspended.status, suspended["status"], suspended["status_reason"]) == (200, "suspended", "not paid")
    assert till.get("/members").status == 503
    assert console.post(f"/clients/{acme.slug}/suspend", {}, key=None).status == 200

    resumed = console.post(f"/clients/{acme.slug}/resume", key=None)
    assert (resumed.status, resumed["status"], resumed["status_reason"]) == (200, "active", "")
    assert till.get("/members").status == 200
    actions = AuditEvent.objects.filter(client=acme).order_by("sequence").values_list("action", flat=True)
    assert [action for action in actions if "client" in action] == ["client.suspended", "client.resumed"]

    Client.objects.filter(pk=acme.pk).update(status="closed")
    for change in ("suspend", "resume"):
        closed = console.post(f"/clients/{acme.slug}/{change}", {}, key=None)
        assert (closed.status, closed.code) == (409, "client_closed")


def test_anothers_clients_are_not_there(console: Machine, acme: Client, provider: Provider) -> None:
    onboarding = Onboarding.objects.create(provider=provider, request={"name": "Theirs"})

    for method, path in (("GET", ""), ("GET", "/kpis"), ("POST", "/suspend"), ("POST", "/resume")):
        theirs = console.send(method, f"/clients/{acme.slug}{path}", {} if method == "POST" else None)
        nobodys = console.send(method, f"/clients/nobody{path}", {} if method == "POST" else None)
        assert (theirs.status, theirs.body) == (404, nobodys.body)
    assert console.get(f"/onboardings/{onboarding.pk}").status == 404
    assert console.get("/clients")["results"] == []
    assert Client.objects.get(pk=acme.pk).status == "active"


def test_a_page_of_clients_costs_the_same_for_any_length(console: Machine, house: Provider, new_client: Any) -> None:
    def cost() -> int:
        with counted_queries() as count:
            assert console.get("/clients").status == 200
        return count()

    made = [own(new_client("One"), house)]
    console.get("/clients")
    first = cost()
    made += [own(new_client("More"), house) for _n in range(3)]

    # Clients, and their domains.
    assert (first, cost()) == (2, 2)
    assert [one["slug"] for one in console.get("/clients")["results"]] == [client.slug for client in reversed(made)]
    page = console.get("/clients?limit=3")
    assert len(console.get(f"/clients?cursor={page['next_cursor']}")["results"]) == 1


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda one: one[:20])
def test_hostile_names_are_nobodys(console: Machine, hostile: str) -> None:
    for path in ("/clients/%s", "/clients/%s/kpis", "/onboardings/%s"):
        assert console.get(path % hostile).status == 404
    assert console.post(f"/clients/{hostile}/suspend", {}, key=None).status == 404
    assert console.get(f"/clients?cursor={quote(hostile)}").status == 400
