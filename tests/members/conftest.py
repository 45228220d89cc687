"""Ana, a member of Acme; and books that add up at the end of every test."""

from collections.abc import Iterator

import pytest

from members.models import Member
from tenants.context import client_connection, use_client
from tenants.models import Client
from tests.members import invariants
from tests.members.world import new_member


@pytest.fixture(autouse=True)
def _the_books_add_up(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test in Acme: balances, lots, holds, traces and returns fit together."""
    acme: Client | None = request.getfixturevalue("acme") if "acme" in request.fixturenames else None
    yield
    if acme is not None:
        with use_client(acme), client_connection().cursor() as cursor:
            assert invariants.problems(cursor) == []


@pytest.fixture
def ana(acme: Client) -> Member:
    """A member of Acme."""
    return new_member("ana")


@pytest.fixture
def bob(acme: Client) -> Member:
    """Another one."""
    return new_member("bob")
