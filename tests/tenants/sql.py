"""Plain SQL for tests: on the connection of the client we stand in, and as the bare login of the application."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
import psycopg2.extensions
from django.conf import settings

from tenants.context import client_connection
from tenants.models import Client
from tenants.schemas.owner import rows


def ask(sql: str, params: list[Any] | None = None) -> list[tuple[Any, ...]]:
    """What the client connection answers."""
    with client_connection().cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall() if cursor.description else []


@contextmanager
def app_login() -> Iterator[psycopg2.extensions.connection]:
    """A connection of the application's login that nothing of ours watches over."""
    known = settings.DATABASES["default"]
    connection = psycopg2.connect(
        host=known["HOST"], port=known["PORT"], dbname=known["NAME"], user=known["USER"], password=known["PASSWORD"]
    )
    connection.autocommit = True
    try:
        yield connection
    finally:
        connection.close()


def answer(connection: psycopg2.extensions.connection, sql: str) -> list[tuple[Any, ...]]:
    """What such a connection answers."""
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else []


def tables(schema_name: str) -> list[str]:
    """The tables that stand in a schema."""
    return [name for (name,) in rows("SELECT tablename FROM pg_tables WHERE schemaname = %s ORDER BY 1", [schema_name])]


def canary(client: Client, word: str) -> None:
    """Leave a member in `client` whose number is `word`."""
    from members.models import Member
    from tenants.context import use_client

    with use_client(client):
        Member.objects.create(number=word)
