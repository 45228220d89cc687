"""A provider with clients of which the console sees public rows only, and the console open before its people."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from tenants.access import Actor
from tenants.keys import new_schema_name, uuid7
from tenants.models import Client, Domain, KpiDay, Provider
from tests.http import ClientBrowser
from tests.people import browser, person


@pytest.fixture
def msp() -> Provider:
    """A provider that no other test has."""
    return Provider.objects.create(slug=f"msp-{uuid7().hex[-10:]}", name="Beacon IT")


@pytest.fixture
def staff(msp: Provider) -> ClientBrowser:
    """The console, open before one of the provider's people."""
    return browser(None, person(Actor.PROVIDER, provider=msp))


@pytest.fixture(autouse=True)
def clients_without_a_schema_go() -> Iterator[None]:
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


def text_of(download: Any) -> str:
    """A streamed file as text, without the mark of its encoding."""
    return b"".join(download.streaming_content).decode("utf-8-sig")
