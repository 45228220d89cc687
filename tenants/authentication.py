"""Machines at the door of the API: keys with a public prefix, a hashed secret and scopes."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Any

from django.utils import timezone
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from tenants.access import Actor, access_of
from tenants.models import ApiKey
from tenants.queries import key_of_prefix

_NOBODY = hashlib.sha256(secrets.token_bytes(32)).hexdigest()


@dataclass(frozen=True)
class Machine:
    """The holder of an API key, as `request.user`."""

    key: ApiKey
    is_authenticated: bool = True
    is_active: bool = True

    @property
    def pk(self) -> Any:
        return self.key.pk


class ApiKeyAuthentication(BaseAuthentication):
    """``Authorization: Bearer lk_<prefix>_<secret>``, good for one client's host or one provider."""

    def authenticate(self, request: Request) -> tuple[Machine, ApiKey] | None:
        header = request.META.get("HTTP_AUTHORIZATION", "")
        if not header.startswith("Bearer "):
            return None
        key = self._key(header.removeprefix("Bearer ").strip())
        if key is None or not self._fits(request, key):
            raise exceptions.AuthenticationFailed("The API key is unknown, expired, revoked or not of this host.")
        return Machine(key), key

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="api"'

    @staticmethod
    def _key(token: str) -> ApiKey | None:
        label, _, rest = token.partition("_")
        prefix, _, secret = rest.partition("_")
        key = key_of_prefix(prefix) if label == "lk" and len(prefix) <= 16 and "\x00" not in prefix else None
        # An unknown prefix costs the same comparison as a wrong secret.
        known = key.secret_hash if key else _NOBODY
        same = hmac.compare_digest(known, hashlib.sha256(secret.encode()).hexdigest())
        return key if key and same else None

    @staticmethod
    def _fits(request: Request, key: ApiKey) -> bool:
        if key.revoked_at or (key.expires_at and key.expires_at <= timezone.now()):
            return False
        client = request._request.client  # type: ignore[attr-defined]
        return key.client_id == client.pk if client else key.provider_id is not None


class HasScope(BasePermission):
    """The key carries the scope that the view asks for with this method."""

    def has_permission(self, request: Request, view: Any) -> bool:
        access = access_of(view)
        if Actor.ANYONE in access.actors:
            return True
        key, method = request.auth, "GET" if request.method == "HEAD" else request.method or ""
        return isinstance(key, ApiKey) and access.scopes.get(method, "none") in key.scopes
