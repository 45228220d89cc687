"""The owner's connection, which alone makes and changes tables and roles."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from django.core.exceptions import ImproperlyConfigured
from django.db import connections, transaction

from tenants.routers import OWNER

if TYPE_CHECKING:
    from tenants.postgresql.base import DatabaseWrapper

Params = Sequence[Any] | Mapping[str, Any] | None
# Held while schemas are made, migrated or dropped, so that two workers never do so at once.
_SCHEMAS_LOCK = 7_205_759_403


def owner_connection() -> "DatabaseWrapper":
    """The connection of the owner's login. :raises ImproperlyConfigured: where that login is not known"""
    if OWNER not in connections:
        raise ImproperlyConfigured("DATABASE_URL, the owner's login, is needed to make or change schemas.")
    return cast("DatabaseWrapper", connections[OWNER])


def owner_atomic() -> "transaction.Atomic":
    """A transaction of the owner's."""
    return transaction.atomic(using=OWNER)


def run(sql: str, params: Params = None) -> None:
    """Run SQL of our own, one statement or several in one message, as the owner."""
    with owner_connection().cursor() as cursor:
        cursor.execute(sql, params)


def rows(sql: str, params: Params = None) -> list[tuple[Any, ...]]:
    """The rows that a query of the owner's answers."""
    with owner_connection().cursor() as cursor:
        cursor.execute(sql, params)
        return cast("list[tuple[Any, ...]]", cursor.fetchall())


def quoted(name: str) -> str:
    """A name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


@contextmanager
def standing_in(schema_name: str) -> Iterator["DatabaseWrapper"]:
    """The owner's connection with its path on one schema."""
    connection = owner_connection()
    connection.set_schema(schema_name)
    try:
        yield connection
    finally:
        connection.forget_client()


@contextmanager
def schemas_held() -> Iterator[None]:
    """Wait until nobody else makes, migrates or drops schemas here, and keep others from it meanwhile."""
    run("SELECT pg_advisory_lock(%s)", [_SCHEMAS_LOCK])
    try:
        yield
    finally:
        run("SELECT pg_advisory_unlock(%s)", [_SCHEMAS_LOCK])
