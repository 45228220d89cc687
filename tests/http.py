"""HTTP to one client's host or to the platform, without a server."""

from typing import Any

from django.conf import settings
from django.test import Client as Browser

from tenants.context import client_connection
from tenants.models import Client


class ClientBrowser(Browser):
    """Django's test browser on the host of `client` (None: the platform's); the caller stands where he stood."""

    def __init__(self, client: Client | None = None, **defaults: Any) -> None:
        host = client.domains.get(is_primary=True).host if client else settings.PLATFORM_HOST
        super().__init__(**{"HTTP_HOST": host, **defaults})

    def request(self, **request: Any) -> Any:
        """Send it as from outside: standing nowhere."""
        connection = client_connection()
        stood = connection.tenant
        connection.forget_client()
        try:
            return super().request(**request)
        finally:
            if stood is not None:
                connection.set_tenant(stood)
