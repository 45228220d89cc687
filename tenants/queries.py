"""Reads of the public tables: which client a host names, what a user may be there, which key speaks."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

from django.conf import settings
from django.db.models import Q

from tenants.access import Actor
from tenants.models import ApiKey, Client, Domain, RoleGrant, User

K = TypeVar("K")
T = TypeVar("T")
REMEMBERED_SECONDS = 1.0


class ForAMoment(Generic[K, T]):
    """Answers remembered in this process for a second, so that a revocation counts within one."""

    def __init__(self, find: Callable[[K], T], *, limit: int = 10_000) -> None:
        self._find, self._limit = find, limit
        self._known: dict[K, tuple[float, T]] = {}

    def __call__(self, key: K) -> T:
        known = self._known.get(key)
        now = time.monotonic()
        if known is None or known[0] < now:
            if len(self._known) >= self._limit:
                self._known.clear()
            known = self._known[key] = (now + REMEMBERED_SECONDS, self._find(key))
        return known[1]

    def forget(self) -> None:
        """Look everything up anew."""
        self._known.clear()


def _client_of_host(host: str) -> Client | None:
    domain = Domain.objects.select_related("client__provider").filter(host=host).first()
    return domain.client if domain else None


def _key_of_prefix(prefix: str) -> ApiKey | None:
    return ApiKey.objects.filter(prefix=prefix).first()


client_of_host = ForAMoment(_client_of_host)
key_of_prefix = ForAMoment(_key_of_prefix)


@dataclass(frozen=True)
class Standing:
    """What a user is on one host."""

    actors: frozenset[Actor]
    location_ids: frozenset[UUID] = frozenset()


def standing(*, user: User, client: Client | None, at: datetime) -> Standing:
    """The roles of `user` in `client`, or over the platform and its providers when `client` is None."""
    grants = RoleGrant.objects.filter(Q(until=None) | Q(until__gt=at), user=user, user__is_active=True)
    if client is None:
        grants = grants.filter(client=None)
    else:
        grants = grants.filter(Q(client=client) | Q(provider_id=client.provider_id))
    found = list(grants)
    actors = {Actor(grant.role) for grant in found}
    return Standing(frozenset(actors | {Actor.SIGNED_IN}), frozenset(g.location_id for g in found if g.location_id))


def primary_url(client: Client, path: str = "/") -> str:
    """The address of `path` on the client's own verified host, never on the host of the request."""
    host = client.domains.filter(is_primary=True).values_list("host", flat=True).first()
    return url_on(host or f"{client.slug}.{settings.CLIENT_HOST_SUFFIX}", path)


def url_on(host: str, path: str = "/") -> str:
    """The address of `path` on `host`."""
    port = f":{settings.PUBLIC_PORT}" if settings.PUBLIC_PORT else ""
    return f"{settings.PUBLIC_SCHEME}://{host}{port}{path}"
