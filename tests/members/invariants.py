"""What must hold in a client's books: the door of tests to `members.queries.invariants`."""

from typing import Any

from loyalty_saas.flows.proofs import laws
from members.queries.invariants import breaches
from tenants.context import client_connection, use_client
from tenants.models import Client

CHECKS: dict[str, str] = {law.name: law.sql for law in laws()}


def problems(cursor: Any) -> list[str]:
    """Each law that does not hold, with some of what breaks it; `cursor` stands in the client."""
    zone = getattr(client_connection().tenant, "time_zone", "UTC")
    found = breaches(cursor=cursor, laws=laws(), zone=zone, at=None)
    return [f"{one.name}: {', '.join(one.examples)}{' …' if one.rows > len(one.examples) else ''}" for one in found]


def check(client: Client) -> None:
    """:raises AssertionError: naming what does not hold in the client's books"""
    with use_client(client), client_connection().cursor() as cursor:
        found = problems(cursor)
    # Spelled out: pytest explains an assert only in modules that it collects.
    assert not found, "\n".join(found)
