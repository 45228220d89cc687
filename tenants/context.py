"""Standing in one client: the database connection, the cache keys, the files and the log lines follow."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from django.apps import apps
from django.db import connections, transaction

from tenants.routers import CLIENT, PUBLIC

if TYPE_CHECKING:
    from tenants.models import Client
    from tenants.postgresql.base import DatabaseWrapper


class ClientUnavailable(Exception):
    """No such client, or one that is suspended, closed or not ready."""


def client_connection() -> "DatabaseWrapper":
    """The connection that stands in a client's schema."""
    return cast("DatabaseWrapper", connections[CLIENT])


def current_schema() -> str | None:
    """The schema of the client we stand in, or None."""
    schema_name: str | None = client_connection().schema_name
    return schema_name


def current_client() -> "Client":
    """The client we stand in. :raises ClientUnavailable: outside any"""
    client = client_connection().tenant
    if client is None:
        raise ClientUnavailable("No client is open.")
    return cast("Client", client)


@contextmanager
def use_client(client: "Client") -> Iterator["Client"]:
    """Stand in a client that the caller has already looked up and found open."""
    connection = client_connection()
    before = connection.tenant
    connection.set_tenant(client)
    try:
        yield client
    finally:
        if before is None:
            connection.forget_client()
        else:
            connection.set_tenant(before)


@contextmanager
def client_context(schema_name: str) -> Iterator["Client"]:
    """Stand in the client of that schema. :raises ClientUnavailable: unknown, suspended or closed"""
    client: Client | None = apps.get_model("tenants.Client")._default_manager.filter(schema_name=schema_name).first()
    if client is None or not client.is_open:
        raise ClientUnavailable(f"Client {schema_name} is not open.")
    with use_client(client):
        yield client


def public_atomic() -> "transaction.Atomic":
    """A transaction over the public tables."""
    return transaction.atomic(using=PUBLIC)
