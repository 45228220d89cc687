"""The audit trail as the provider reads it: in words, filtered, of its own clients alone."""

from datetime import timedelta

import pytest
from django.utils import timezone

from tenants.access import Actor
from tenants.context import public_atomic
from tenants.keys import uuid7
from tenants.models import ApiKey, Client, Provider, RoleGrant, User
from tenants.services import audit
from tests.http import ClientBrowser
from tests.loyalty_saas.consoles import clients_without_a_schema_go, msp, staff, text_of
from tests.loyalty_saas.shops import counted_queries
from tests.people import browser, person

__all__ = ["clients_without_a_schema_go", "msp", "staff"]


@pytest.fixture
def me(provider: Provider) -> User:
    """One of Northwind's people."""
    user = person(Actor.PROVIDER, provider=provider)
    User.objects.filter(pk=user.pk).update(name=f"Dana {uuid7().hex[-8:]}")
    return User.objects.get(pk=user.pk)


@pytest.fixture
def console(me: User) -> ClientBrowser:
    """The console, open before that person."""
    return browser(None, me)


def note(action: str, actor: str, *, client: Client | None = None, days: int = 0, **detail: str) -> None:
    """An event so many days ago."""
    with public_atomic():
        audit.record(action=action, actor=actor, client=client, detail=detail, at=timezone.now() - timedelta(days=days))


def test_events_are_told_in_words_with_the_names_of_people_and_keys(
    console: ClientBrowser, me: User, bravo: Client
) -> None:
    ApiKey.objects.create(name="Web shop", prefix=(prefix := uuid7().hex[-12:]), secret_hash="x", client=bravo)
    note("client.suspended", f"user:{me.pk}", client=bravo, reason="Invoices unpaid")
    note("points.adjusted", f"key:{prefix}", client=bravo)
    note("till.enrolled", f"user:{uuid7()}", client=bravo)
    body = console.get(f"/activity/?client={bravo.slug}").content.decode()
    for words in (
        "Suspended the program",
        "Invoices unpaid",
        me.name,
        "Key “Web shop”",
        "Till enrolled",
        "Somebody who is gone",
    ):
        assert words in body


def test_filters_leave_what_fits(console: ClientBrowser, me: User, bravo: Client) -> None:
    note("client.suspended", f"user:{me.pk}", client=bravo, reason="One")
    note("program.published", "command", client=bravo, reason="Two")
    note("client.resumed", "command", client=bravo, days=60, reason="Three")

    def found(query: str) -> list[str]:
        body = console.get(f"/activity/?client={bravo.slug}&{query}").content.decode()
        return [words for words in ("One", "Two", "Three") if f">{words}<" in body]

    assert found("") == ["One", "Two"]
    assert found("since=all") == ["One", "Two", "Three"]
    assert found("kind=client&since=all") == ["One", "Three"]
    assert found(f"who={me.name}&since=all") == ["One"]
    assert found("who=nobody+of+that+name") == []


def test_a_house_sees_its_own_events_and_no_others(
    msp: Provider, staff: ClientBrowser, provider: Provider, bravo: Client
) -> None:
    note("client.suspended", "command", client=bravo, reason="Foreign client")
    note("team.removed", "command", provider=str(provider.pk), reason="Foreign house")
    note("team.removed", "command", provider=str(msp.pk), reason="Own house")
    note("platform.changed", "command", reason="Platform")
    body = staff.get("/activity/?since=all").content.decode()
    assert "Own house" in body
    for words in ("Foreign client", "Foreign house", ">Platform<"):
        assert words not in body
    operator = browser(None, person(Actor.PLATFORM)).get("/activity/?since=1").content.decode()
    for words in ("Foreign house", "Own house", ">Platform<"):
        assert words in operator


def test_the_export_has_what_was_filtered(console: ClientBrowser, me: User, bravo: Client) -> None:
    note("client.suspended", f"user:{me.pk}", client=bravo, reason="=1+1")
    note("program.published", "command", client=bravo)
    answer = console.get(f"/activity/?client={bravo.slug}&kind=client&format=csv")
    lines = text_of(answer).splitlines()
    assert me.name in lines[1]
    assert "'=1+1" in lines[1]
    assert not any("program.published" in line for line in lines)


def test_the_page_costs_the_same_for_any_number_of_events(console: ClientBrowser, bravo: Client) -> None:
    counts = []
    for number in (1, 30):
        for _n in range(number):
            user = User.objects.create_user(f"{uuid7().hex}@example.com", name="N")
            RoleGrant.objects.create(user=user, role="clerk", client=bravo)
            note("points.adjusted", f"user:{user.pk}", client=bravo)
        with counted_queries(cold=True) as so_far:
            console.get(f"/activity/?client={bravo.slug}")
        counts.append(so_far())
    assert counts[1] <= counts[0] <= 12


def test_without_events_the_page_says_what_to_do(staff: ClientBrowser) -> None:
    assert "Show everything" in staff.get("/activity/").content.decode()
