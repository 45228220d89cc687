"""Keys for machines: shown once, kept as a hash, good for one client or one provider and for named scopes."""

import hashlib
import secrets
from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from tenants.keys import random_code
from tenants.models import ApiKey, Client, Provider
from tenants.services import audit

CLIENT_SCOPES = frozenset(
    f"{what}:{may}" for what in ("members", "purchases", "points", "rewards", "program") for may in ("read", "write")
)
PROVIDER_SCOPES = frozenset({"clients:read", "clients:write", "kpis:read"})
SCOPES = CLIENT_SCOPES | PROVIDER_SCOPES
_PREFIX_LENGTH = 12


class UnknownScope(Exception):
    """A scope that does not exist, or not for this kind of key."""


class KeyEnded(Exception):
    """The key has been revoked, or has expired."""


def issue_key(
    *,
    name: str,
    scopes: Collection[str],
    at: datetime,
    client: Client | None = None,
    provider: Provider | None = None,
    created_by: UUID | None = None,
    expires_at: datetime | None = None,
    location_id: UUID | None = None,
) -> tuple[ApiKey, str]:
    """
    A new key for one client or one provider, and its token ``lk_<prefix>_<secret>``, which is kept nowhere.

    Runs in the caller's transaction over the public tables.

    :raises UnknownScope: for a scope that is not for such a key
    """
    allowed = CLIENT_SCOPES if client else PROVIDER_SCOPES
    if unknown := sorted(set(scopes) - allowed):
        raise UnknownScope(", ".join(unknown))
    prefix, secret = random_code(_PREFIX_LENGTH), secrets.token_hex(32)
    key = ApiKey.objects.create(
        name=name,
        prefix=prefix,
        secret_hash=hashlib.sha256(secret.encode()).hexdigest(),
        scopes=sorted(set(scopes)),
        client=client,
        provider=provider,
        location_id=location_id,
        created_by=created_by,
        created_at=at,
        expires_at=expires_at,
    )
    _record("api_key.issued", key, by=created_by, at=at)
    return key, f"lk_{prefix}_{secret}"


def rotate_key(key: ApiKey, *, at: datetime, ends_at: datetime, by: UUID | None = None) -> tuple[ApiKey, str]:
    """
    A new key like this one, which ends at `ends_at` unless it does earlier, in the caller's transaction.

    The new one lasts as long from now as the old one was made to last.

    :raises KeyEnded: if it has ended already
    """
    old = ApiKey.objects.select_for_update(of=("self",)).select_related("client", "provider").get(pk=key.pk)
    if not is_good(old, at=at):
        raise KeyEnded(old.prefix)
    new, token = issue_key(
        name=old.name,
        scopes=old.scopes,
        at=at,
        client=old.client,
        provider=old.provider,
        created_by=by,
        expires_at=old.expires_at and at + (old.expires_at - old.created_at),
        location_id=old.location_id,
    )
    old.expires_at = min(old.expires_at or ends_at, ends_at)
    old.save(update_fields=["expires_at"])
    _record("api_key.rotated", old, by=by, at=at, more={"by": new.prefix, "ends_at": old.expires_at.isoformat()})
    return new, token


def is_good(key: ApiKey, *, at: datetime) -> bool:
    """Whether a key still opens anything."""
    return key.revoked_at is None and (key.expires_at is None or key.expires_at > at)


def revoke_key(key: ApiKey, *, at: datetime, by: UUID | None = None) -> ApiKey:
    """End a key for good, in the caller's transaction; one that was revoked before keeps its date."""
    key = ApiKey.objects.select_for_update().get(pk=key.pk)
    if key.revoked_at is None:
        key.revoked_at = at
        key.save(update_fields=["revoked_at"])
        _record("api_key.revoked", key, by=by, at=at)
    return key


def _record(action: str, key: ApiKey, *, by: UUID | None, at: datetime, more: dict[str, str] | None = None) -> None:
    actor = f"user:{by}" if by else "command"
    detail = {"name": key.name, "scopes": key.scopes} | ({"provider": str(key.provider_id)} if key.provider_id else {})
    detail |= more or {}
    audit.record(action=action, actor=actor, subject=key.prefix, detail=detail, client=key.client, at=at)
