"""The door: a request belongs to the platform, to one open client, or to nobody."""

from collections.abc import Callable

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.utils.translation import gettext as _

from tenants.context import client_connection
from tenants.models import Client
from tenants.queries import client_of_host

HEALTH = {"/livez", "/readyz"}
Handler = Callable[[HttpRequest], HttpResponseBase]


class HostMiddleware:
    """Sets ``request.client`` (None on the platform host) and stands in that client until the answer is complete."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        request.client = None  # type: ignore[attr-defined]
        host = _host(request)
        if request.path in HEALTH or host == settings.PLATFORM_HOST:
            request.urlconf = settings.PLATFORM_URLCONF
            return self.get_response(request)
        try:
            client = client_of_host(host) if host else None
        except (OperationalError, InterfaceError):
            return unavailable(request)
        if client is None:
            return _refuse(request, 404, _("No shop has this address."))
        if not client.is_open:
            return _refuse(request, 503, _("This shop's program is not available at the moment."))
        return self._answer(request, client)

    def _answer(self, request: HttpRequest, client: Client) -> HttpResponseBase:
        request.client = client  # type: ignore[attr-defined]
        connection = client_connection()
        connection.set_tenant(client)
        try:
            return self.get_response(request)
        finally:
            connection.forget_client(goes_on=getattr(request, "something_follows", False))


def _host(request: HttpRequest) -> str | None:
    try:
        return request.get_host().rpartition(":")[0].lower() or request.get_host().lower()
    except DisallowedHost:
        return None


def unavailable(request: HttpRequest) -> HttpResponse:
    """That the database cannot be reached, and that it is worth trying again."""
    answer = _refuse(request, 503, _("The database cannot be reached; try again in a moment."))
    answer["Retry-After"] = "1"
    return answer


def _refuse(request: HttpRequest, status: int, words: str) -> HttpResponse:
    if not request.path.startswith("/api/"):
        return HttpResponse(words, status=status, content_type="text/plain; charset=utf-8")
    kind = "not_found" if status == 404 else "unavailable"
    problem = {"type": f"/api/v1/problems/{kind}", "title": words, "status": status, "code": kind, "detail": words}
    return JsonResponse(problem, status=status, content_type="application/problem+json")
