"""Tasks that name the client they work for, or say that they work for the platform."""

from typing import Any

from celery import Task

from tenants.context import client_connection, client_context


class TenantTask(Task):
    """A task inside one client's schema. The caller must name it; the body never sees it."""

    abstract = True
    # Celery would hold calls to the body's signature, which lacks schema_name.
    typing = False

    def __call__(self, *, schema_name: str, **kwargs: Any) -> Any:
        """Run in the client. :raises ClientUnavailable: unknown, suspended or closed"""
        try:
            with client_context(schema_name):
                return super().__call__(**kwargs)
        finally:
            client_connection().forget_client()


class PlatformTask(Task):
    """A task over the public tables; a client's rows are out of its reach."""

    abstract = True
