"""Tasks that name the client they work for, or say that they work for the platform."""

from typing import Any

from celery import Task
from django.db import connections

from tenants.context import client_connection, client_context


def look_at_connections() -> None:
    """
    Drop connections that the database has ended, and have the others checked before their next use.

    Django does so for each request; Celery only after CELERY_DB_REUSE_MAX tasks, and until then every task would fail.
    """
    for connection in connections.all(initialized_only=True):
        connection.close_if_unusable_or_obsolete()


class TenantTask(Task):
    """A task inside one client's schema. The caller must name it; the body never sees it."""

    abstract = True
    # Celery would hold calls to the body's signature, which lacks schema_name.
    typing = False

    def __call__(self, *, schema_name: str, **kwargs: Any) -> Any:
        """Run in the client. :raises ClientUnavailable: unknown, suspended or closed"""
        look_at_connections()
        try:
            with client_context(schema_name):
                return super().__call__(**kwargs)
        finally:
            client_connection().forget_client()


class PlatformTask(Task):
    """A task over the public tables; a client's rows are out of its reach."""

    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run outside any client."""
        look_at_connections()
        return super().__call__(*args, **kwargs)
