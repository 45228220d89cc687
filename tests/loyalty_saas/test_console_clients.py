"""One client's page: what its provider sees there, and what it may do."""

import re
from datetime import timedelta

import pytest
from django.core import mail
from django.utils import timezone

from loyalty_saas import workers
from loyalty_saas.flows import figures
from loyalty_saas.flows.figures import roll_up_days
from loyalty_saas.portal.figures import owed
from members.models import Purchase
from tenants.access import Actor
from tenants.context import use_client
from tenants.keys import uuid7
from tenants.models import ApiKey, AuditEvent, Client, Invitation, KpiDay, Provider, Role, RoleGrant
from tests.http import ClientBrowser
from tests.loyalty_saas.consoles import a_client, a_day, clients_without_a_schema_go, msp, staff, text_of
from tests.loyalty_saas.shops import counted_queries, credit, sale
from tests.machines import Answer, Machine
from tests.people import browser, person

__all__ = ["clients_without_a_schema_go", "msp", "staff"]


@pytest.fixture
def console(provider: Provider) -> ClientBrowser:
    """The console, open before one of Northwind's people."""
    return browser(None, person(Actor.PROVIDER, provider=provider))


def page_of(client: Client, rest: str = "") -> str:
    """The address of a client's page."""
    return f"/clients/{client.pk}/{rest}"


def test_the_page_shows_figures_people_keys_and_addresses(msp: Provider, staff: ClientBrowser) -> None:
    client = a_client(msp, "Petal & Stem")
    a_day(client, sales=17, revenue=12_300, liability=4_500)
    owner = person(Role.OWNER, client=client)
    RoleGrant.objects.create(user=person(), role="manager", client=client)
    ApiKey.objects.create(name="Till", prefix=uuid7().hex[:12], secret_hash="x", client=client)
    body = staff.get(page_of(client)).content.decode()
    for words in (
        "Petal &amp; Stem",
        owner.email,
        "Manager",
        "Till",
        "never used",
        client.domains.get().host,
        "$123.00",
    ):
        assert words in body


def test_another_providers_client_is_not_there(staff: ClientBrowser, bravo: Client) -> None:
    known, unknown = staff.get(page_of(bravo)), staff.get(f"/clients/{uuid7()}/")
    assert (known.status_code, known.content) == (404, unknown.content)


@pytest.mark.parametrize("deed", ["suspend", "resume", "invite", "recount"])
def test_nothing_can_be_done_to_another_providers_client(staff: ClientBrowser, bravo: Client, deed: str) -> None:
    rest = "recount/" if deed == "recount" else ""
    answer = staff.post(page_of(bravo, rest), {"do": deed, "reason": "Mine now", "email": "x@example.com"})
    assert answer.status_code == 404
    assert Client.objects.get(pk=bravo.pk).is_open


def test_a_program_is_suspended_and_resumed_with_reasons_that_are_kept(console: ClientBrowser, bravo: Client) -> None:
    assert console.post(page_of(bravo), {"do": "suspend", "reason": "Invoices unpaid"}).status_code == 302
    assert (Client.objects.get(pk=bravo.pk).status, ClientBrowser(bravo).get("/").status_code) == ("suspended", 503)
    assert "Invoices unpaid" in console.get(page_of(bravo)).content.decode()
    console.post(page_of(bravo), {"do": "resume", "reason": "Paid"})
    events = AuditEvent.objects.filter(client=bravo).order_by("-sequence")[:2]
    assert [(one.action, one.detail["reason"]) for one in events] == [
        ("client.resumed", "Paid"),
        ("client.suspended", "Invoices unpaid"),
    ]
    assert Client.objects.get(pk=bravo.pk).closed_reason == ""


def test_without_a_reason_nothing_is_suspended(console: ClientBrowser, bravo: Client) -> None:
    answer = console.post(page_of(bravo), {"do": "suspend", "reason": " "})
    assert answer.status_code == 422
    assert 'id="rest" aria-labelledby="rest-title" data-open' in answer.content.decode()
    assert Client.objects.get(pk=bravo.pk).is_open


def test_the_owner_gets_a_new_link_and_the_old_one_dies(console: ClientBrowser, bravo: Client) -> None:
    links = []
    for _time in range(2):
        console.post(page_of(bravo), {"do": "invite", "email": "Rosa@Example.com"})
        links.append(re.search(r"http://[^/]+(/invitation/\S+)", str(mail.outbox[-1].body)))
    old, new = (link[1] for link in links if link)
    shop = ClientBrowser(bravo)
    assert (shop.get(old).status_code, shop.get(new).status_code) == (404, 200)
    assert Invitation.objects.filter(client=bravo, role="owner").count() == 1
    assert mail.outbox[-1].to == ["rosa@example.com"]


def test_an_owner_is_not_invited_twice(console: ClientBrowser, bravo: Client) -> None:
    owner = person(Role.OWNER, client=bravo)
    answer = console.post(page_of(bravo), {"do": "invite", "email": owner.email})
    assert answer.status_code == 422
    assert "This person is the owner already." in answer.content.decode()


def test_a_recount_is_sent_to_the_workers_and_noted(
    console: ClientBrowser, bravo: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[object] = []

    def send_once(*, schema_name: str, **given: object) -> bool:
        sent.append(schema_name)
        return True

    monkeypatch.setattr(workers, "send_once", send_once)
    console.post(page_of(bravo, "recount/"))
    assert sent == [bravo.schema_name]
    assert AuditEvent.objects.filter(client=bravo, action="figures.recounted").exists()


def test_a_recount_that_cannot_be_sent_says_so(
    console: ClientBrowser, bravo: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "send_once", lambda **given: False)
    assert b"Nothing could be sent" in console.post(page_of(bravo, "recount/"), follow=True).content
    assert not AuditEvent.objects.filter(client=bravo, action="figures.recounted").exists()


def test_the_days_go_out_as_a_file_with_plain_numbers(msp: Provider, staff: ClientBrowser) -> None:
    client = a_client(msp, currency="JPY")
    a_day(client, revenue=12_345, liability=900)
    a_day(client, back=40)
    lines = text_of(staff.get(page_of(client, "?format=csv"))).splitlines()
    assert len(lines) == 2
    assert ",JPY,12345," in lines[1]


def test_the_page_costs_the_same_for_any_history(msp: Provider, staff: ClientBrowser) -> None:
    client, counts = a_client(msp), []
    for days in (range(1), range(1, 60)):
        for back in days:
            a_day(client, back=back)
            RoleGrant.objects.create(user=person(factor=False), role="clerk", client=client)
        with counted_queries(cold=True) as so_far:
            staff.get(page_of(client))
        counts.append(so_far())
    assert counts[1] <= counts[0] <= 24


# ── what the roll-up brings ─────────────────────────────────────────────────────────────────────────────────────────


def test_what_members_hold_is_valued_as_in_the_portal_and_the_last_sale_is_dated(
    shop: Client, till: Machine, ana: Answer
) -> None:
    assert till.post("/purchases", sale("ana-1", "R-1", 12_345)).status == 201
    credit()
    roll_up_days(days=3, at=timezone.now())
    newest = KpiDay.objects.filter(client=shop).latest("day")
    assert newest.liability == sum(one.value or 0 for one in owed()) > 0
    assert newest.last_sale_at == Purchase.objects.get().occurred_at


def test_a_day_before_anything_was_earned_owes_nothing(shop: Client, ana: Answer) -> None:
    credit()
    roll_up_days(days=3, at=timezone.now())
    rows = list(KpiDay.objects.filter(client=shop).order_by("day"))
    assert (rows[0].liability, rows[0].last_sale_at) == (0, None)
    assert rows[-1].liability > 0


def test_the_last_sale_is_known_from_the_day_before(shop: Client, till: Machine, ana: Answer) -> None:
    assert till.post("/purchases", sale("ana-1", "R-1", 500)).status == 201
    roll_up_days(days=1, at=timezone.now())
    tomorrow = timezone.now() + timedelta(days=1)
    with use_client(shop):
        figures.roll_up_days(days=1, at=tomorrow)
    assert KpiDay.objects.filter(client=shop).latest("day").last_sale_at == Purchase.objects.get().occurred_at
