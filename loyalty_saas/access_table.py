"""Who may call the views of libraries, which cannot say so themselves; and every route that there is."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver

from tenants.access import Access, Actor, Undeclared, access_of

_ANYONE = Access(frozenset({Actor.ANYONE}))
_SIGNED_IN = Access(frozenset({Actor.SIGNED_IN}))
# An account's address is changed by a new invitation, never by its holder alone.
_NOBODY = Access(frozenset())

LIBRARY_ACCESS: dict[str, Access] = {
    "account_login": _ANYONE,
    # Also for those whose second factor is still asked for: it is their way back.
    "account_logout": _ANYONE,
    "account_inactive": _ANYONE,
    "account_signup": _ANYONE,
    "account_reset_password": _ANYONE,
    "account_reset_password_done": _ANYONE,
    "account_reset_password_from_key": _ANYONE,
    "account_reset_password_from_key_done": _ANYONE,
    "account_reauthenticate": _SIGNED_IN,
    "account_change_password": _SIGNED_IN,
    "account_set_password": _NOBODY,
    "account_email": _NOBODY,
    "account_email_verification_sent": _NOBODY,
    "account_confirm_email": _NOBODY,
    "account_confirm_login_code": _NOBODY,
    "mfa_authenticate": _ANYONE,
    "mfa_index": _SIGNED_IN,
    "mfa_reauthenticate": _SIGNED_IN,
    "mfa_activate_totp": _SIGNED_IN,
    "mfa_deactivate_totp": _SIGNED_IN,
    "mfa_view_recovery_codes": _SIGNED_IN,
    "mfa_generate_recovery_codes": _SIGNED_IN,
    "mfa_download_recovery_codes": _SIGNED_IN,
}


@dataclass(frozen=True)
class Route:
    """One address pattern of one table of addresses, with its view."""

    pattern: str
    name: str
    view: Any

    @property
    def access(self) -> Access:
        """Who may call it. :raises Undeclared: nobody said so"""
        return access_of(self.view, name=self.name, others=LIBRARY_ACCESS)

    @property
    def is_declared(self) -> bool:
        """Whether somebody said who may call it."""
        try:
            return bool(self.access)
        except Undeclared:
            return False


def routes(urlconf: str | None) -> Iterator[Route]:
    """Every route of a table of addresses, those of libraries included."""
    yield from _walk(get_resolver(urlconf).url_patterns, prefix="/", namespace="")


def _walk(patterns: list[Any], *, prefix: str, namespace: str) -> Iterator[Route]:
    for pattern in patterns:
        address = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            inner = f"{namespace}{pattern.namespace}:" if pattern.namespace else namespace
            yield from _walk(pattern.url_patterns, prefix=address, namespace=inner)
        elif isinstance(pattern, URLPattern):
            yield Route(pattern=address, name=f"{namespace}{pattern.name or ''}", view=pattern.callback)
