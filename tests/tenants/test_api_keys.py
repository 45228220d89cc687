"""Keys for machines: hashed, scoped, bound to one client or provider, and over when they are over."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.test import RequestFactory
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from tenants import queries
from tenants.authentication import ApiKeyAuthentication
from tenants.context import public_atomic
from tenants.models import ApiKey, AuditEvent, Client, Provider
from tenants.services.api_keys import SCOPES, UnknownScope, issue_key, revoke_key

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def _issue(**given: object) -> tuple[ApiKey, str]:
    values = {"name": "Till 1", "scopes": ["purchases:write"], "at": NOW, **given}
    with public_atomic():
        return issue_key(**values)  # type: ignore[arg-type]


def _knock(token: str, client: Client | None) -> ApiKey | None:
    """The key that opens the API on the host of `client`, or the platform's."""
    queries.key_of_prefix.forget()
    request = RequestFactory().get("/", headers={"Authorization": f"Bearer {token}"})
    request.client = client  # type: ignore[attr-defined]
    found = ApiKeyAuthentication().authenticate(Request(request))
    return found[1] if found else None


def test_a_token_is_shown_once_and_kept_as_a_hash(acme: Client) -> None:
    key, token = _issue(client=acme)

    assert re.fullmatch(rf"lk_{key.prefix}_[0-9a-f]{{64}}", token)
    assert token.rpartition("_")[2] not in str(ApiKey.objects.filter(pk=key.pk).values())
    assert _knock(token, acme) == key


def test_r21_a_key_opens_only_what_it_is_for(acme: Client, bravo: Client, provider: Provider) -> None:
    _, of_acme = _issue(client=acme)
    _, of_provider = _issue(provider=provider, scopes=["clients:read"])

    assert _knock(of_provider, None) is not None
    for token, client in (
        (of_acme, bravo),
        (of_acme, None),
        (of_provider, acme),
        (of_acme[:-1] + "x", acme),
        ("lk__", acme),
    ):
        with pytest.raises(AuthenticationFailed):
            _knock(token, client)


def test_a_revoked_or_expired_key_opens_nothing(acme: Client) -> None:
    key, token = _issue(client=acme)
    _, expired = _issue(client=acme, expires_at=NOW - timedelta(days=1))
    with public_atomic():
        revoked = revoke_key(key, at=NOW)
        again = revoke_key(key, at=NOW + timedelta(days=1))

    assert revoked.revoked_at == again.revoked_at == NOW
    for over in (token, expired):
        with pytest.raises(AuthenticationFailed):
            _knock(over, acme)


@pytest.mark.parametrize("scopes", [["everything"], ["clients:read"], ["members:read", "kpis:read"], [""]])
def test_a_clients_key_has_only_scopes_of_clients(acme: Client, scopes: list[str]) -> None:
    with pytest.raises(UnknownScope):
        _issue(client=acme, scopes=scopes)


def test_a_providers_key_has_only_scopes_of_providers(provider: Provider) -> None:
    with pytest.raises(UnknownScope):
        _issue(provider=provider, scopes=["members:read"])


def test_issuing_and_revoking_are_in_the_audit_without_the_secret(acme: Client) -> None:
    key, token = _issue(client=acme)
    with public_atomic():
        revoke_key(key, at=NOW)

    events = AuditEvent.objects.filter(client=acme).order_by("sequence")
    assert [event.action for event in events] == ["api_key.issued", "api_key.revoked"]
    assert token.rpartition("_")[2] not in str(list(events.values()))


def test_the_scopes_are_the_ones_the_api_asks_for() -> None:
    assert len(SCOPES) == 13
    assert {"members:read", "points:write", "program:write", "kpis:read"} <= SCOPES
