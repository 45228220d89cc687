"""A host leads to one open client, to the platform, or nowhere."""

import secrets

import pytest
from django.conf import settings
from django.http import HttpRequest, HttpResponse

from members.models import Member
from tenants import middleware, queries
from tenants.context import client_connection, current_client
from tenants.models import Client
from tests.conftest import NewClient
from tests.tenants.sql import canary


def _visit(host: str) -> tuple[int, str]:
    """Status and body for a request to that host, from a view that tells where it stands and whom it sees."""

    def view(request: HttpRequest) -> HttpResponse:
        if request.client is None:  # type: ignore[attr-defined]
            return HttpResponse("platform")
        return HttpResponse(f"{current_client().slug}: {', '.join(Member.objects.values_list('number', flat=True))}")

    queries.client_of_host.forget()
    request = HttpRequest()
    request.method, request.path, request.META["HTTP_HOST"] = "GET", "/", host
    answer = middleware.HostMiddleware(view)(request)
    assert isinstance(answer, HttpResponse)
    return answer.status_code, answer.content.decode()


def test_a_request_stands_in_the_client_of_its_host_and_nowhere_afterwards(new_client: NewClient) -> None:
    acme, bravo = new_client("Acme"), new_client("Bravo")
    canary(acme, "from-acme")
    canary(bravo, "from-bravo")

    for client in (acme, bravo, acme):
        host = client.domains.get().host
        assert _visit(host) == (200, f"{client.slug}: from-{client.name.lower()}")
        assert _visit(f"{host.upper()}:8000")[1] == f"{client.slug}: from-{client.name.lower()}"
        assert client_connection().schema_name is None


def test_the_platforms_host_stands_in_no_client() -> None:
    assert _visit(settings.PLATFORM_HOST) == (200, "platform")


@pytest.mark.parametrize(
    "host", ["unknown.localhost", "localhost", "evil.example", "127.0.0.1", "acme.localhost.", "bad_host!"]
)
def test_r17_an_unknown_host_is_404(host: str) -> None:
    status, words = _visit(host)

    assert status == 404
    assert "platform" not in words


@pytest.mark.parametrize("status", [Client.Status.SUSPENDED, Client.Status.CLOSED])
def test_r17_a_suspended_or_closed_client_is_503(new_client: NewClient, status: str) -> None:
    client = new_client()
    canary(client, word := secrets.token_hex(4))
    Client.objects.filter(pk=client.pk).update(status=status)

    code, words = _visit(client.domains.get().host)

    assert code == 503
    assert word not in words


def test_a_forwarded_host_is_not_believed(new_client: NewClient) -> None:
    client = new_client()
    request = HttpRequest()
    request.META.update({"HTTP_HOST": settings.PLATFORM_HOST, "HTTP_X_FORWARDED_HOST": client.domains.get().host})
    request.path = "/"

    middleware.HostMiddleware(lambda request: HttpResponse())(request)

    assert request.client is None  # type: ignore[attr-defined]
