"""
What every test may use: real servers, a database of the run's own, a provider, and clients that no other test has.

Nothing is rolled back or emptied: a test that wants a client gets a new one.
"""

import os
import shutil
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from tests import database
from tests.live import _session_redis, _session_web, live, live_redis, live_server_url, worker  # noqa: F401
from tests.proof.record import proof_record  # noqa: F401

if TYPE_CHECKING:
    from tenants.models import Client, Provider
    from tests.http import ClientBrowser

FOUND = dict(os.environ)
RUN = database.choose()
# Before anything reads the settings.
os.environ.update(RUN.environment, DJANGO_SETTINGS_MODULE="loyalty_saas.settings")

SPARES = 20


class NewClient(Protocol):
    """Makes a client: committed, open, with an empty schema, or with what a template puts there."""

    def __call__(
        self,
        name: str = "Acme",
        *,
        trade: str = "retail",
        currency: str = "EUR",
        time_zone: str = "Europe/Berlin",
        template: str | None = None,
        domain: str | None = None,
    ) -> "Client": ...


def pytest_configure(config: pytest.Config) -> None:
    """Set Django up now that the settings can find the run's database."""
    import django

    django.setup()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Processes among which files are dealt out choose a database each, so they begin as this one was begun."""
    if session.config.getoption("dist", "no") != "no" and not hasattr(session.config, "workerinput"):
        for name in RUN.environment:
            os.environ.pop(name, None)
        # Told before the choice, the settings would be read without it.
        os.environ.update({name: value for name, value in FOUND.items() if name != "DJANGO_SETTINGS_MODULE"})
        shutil.rmtree(RUN.media, ignore_errors=True)


# ── the database ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="session")
def django_db_setup(django_db_blocker: Any) -> Iterator[None]:
    """The run's own database, migrated once; Django's way of making one knows no roles."""
    from django.core.management import call_command
    from django.db import connections

    with database.database(RUN), django_db_blocker.unblock():
        call_command("migrate", stdout=open(os.devnull, "w"), stderr=open(os.devnull, "w"))  # noqa: SIM115
        yield
        connections.close_all()
    shutil.rmtree(RUN.media, ignore_errors=True)


@pytest.fixture(autouse=True, scope="session")
def _database_is_open(request: pytest.FixtureRequest) -> None:
    """Every test may use the database, unless it runs without Django."""
    if request.config.pluginmanager.has_plugin("django"):
        request.getfixturevalue("django_db_setup")


@pytest.fixture(autouse=True)
def _nobody_is_left_in_a_language(request: pytest.FixtureRequest) -> Iterator[None]:
    """A request activates its visitor's language in this thread; the next test begins in English again."""
    yield
    if request.config.pluginmanager.has_plugin("django"):
        from django.utils import translation

        translation.deactivate()


@pytest.fixture(autouse=True)
def _nobody_is_left_in_a_client(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if request.config.pluginmanager.has_plugin("django"):
        from django.db import connections

        from tenants.context import client_connection

        left = [alias for alias in connections if connections[alias].in_atomic_block]
        client_connection().forget_client()
        assert not left, f"The test left a transaction open: {left}"


# ── who is there ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def provider() -> "Provider":
    """The provider Northwind, the same in all tests."""
    from tenants.models import Provider

    return Provider.objects.get_or_create(slug="northwind", defaults={"name": "Northwind MSP"})[0]


@pytest.fixture(scope="session")
def spare_batch(request: pytest.FixtureRequest) -> int:
    """Schemas made at a time: a single test does not wait for twenty."""
    return max(2, min(SPARES, len(request.session.items)))


@pytest.fixture
def new_client(provider: "Provider", spare_batch: int) -> NewClient:
    """A function that makes clients of Northwind, each with a schema and a slug of its own."""
    from tests.clients import make_client

    return partial(make_client, provider=provider, spare_batch=spare_batch)


@pytest.fixture
def acme(new_client: NewClient) -> Iterator["Client"]:
    """The client Acme; the test stands in it."""
    from tenants.context import use_client

    client = new_client("Acme")
    with use_client(client):
        yield client


@pytest.fixture
def bravo(new_client: NewClient) -> "Client":
    """Another client, which the test does not stand in."""
    return new_client("Bravo")


@pytest.fixture
def api() -> type["ClientBrowser"]:
    """`api(client)` speaks HTTP to that client's host, inside this process."""
    from tests.http import ClientBrowser

    return ClientBrowser
