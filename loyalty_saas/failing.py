"""What a visitor sees of a request that failed outside any view that could have said why."""

import sys

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.views.defaults import server_error

from tenants.middleware import unavailable


def failed(request: HttpRequest) -> HttpResponse:
    """503 while the database is away, since that passes; 500 for what is our mistake."""
    if isinstance(sys.exc_info()[1], OperationalError | InterfaceError):
        return unavailable(request)
    return server_error(request)
