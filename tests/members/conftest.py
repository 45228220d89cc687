"""Ana, a member of Acme; and books that add up at the end of every test."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from members.models import Member
    from tenants.models import Client


@pytest.fixture(autouse=True)
def _the_books_add_up(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test in Acme: balances, lots, holds, traces and returns fit together."""
    acme: Client | None = request.getfixturevalue("acme") if "acme" in request.fixturenames else None
    yield
    if acme is not None:
        from tests.members import invariants

        invariants.check(acme)


@pytest.fixture
def ana(acme: "Client") -> "Member":
    """A member of Acme."""
    from tests.members.world import new_member

    return new_member("ana")


@pytest.fixture
def bob(acme: "Client") -> "Member":
    """Another one."""
    from tests.members.world import new_member

    return new_member("bob")
