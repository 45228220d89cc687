"""A shop with a program, a till that may do everything, and Ana, who has joined."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tenants.models import Client
    from tests.machines import Answer, Machine


@pytest.fixture
def shop(acme: "Client") -> "Client":
    """Acme with a program; the test stands in it."""
    from tests.loyalty_saas.shops import open_shop

    open_shop()
    return acme


@pytest.fixture
def till(shop: "Client") -> "Machine":
    """A machine at Acme whose key has every scope."""
    from tests.machines import Machine

    return Machine(shop)


@pytest.fixture
def ana(till: "Machine") -> "Answer":
    """A member of Acme with 50 points for joining."""
    from tests.loyalty_saas.shops import join

    return join(till, "Ana", phone="+4915112345678", email="ana@example.com", card="4000 1234 5678", pos="ana-1")
