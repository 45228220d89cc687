"""People with roles, signed in where a test wants them."""

import secrets
from typing import Any

from allauth.account.internal.flows.login import (
    _AUTHENTICATION_METHODS_USER_SESSION_KEY,
    AUTHENTICATION_METHODS_SESSION_KEY,
)
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, generate_totp_secret, hotp_value
from django.utils import timezone

from loyalty_saas import sessions
from tenants.access import Actor
from tenants.models import Client, Provider, Role, RoleGrant, User
from tests.http import ClientBrowser

PASSWORD = "correct horse battery staple"


def person(
    role: str | None = None, *, client: Client | None = None, provider: Provider | None = None, factor: bool = True
) -> User:
    """A user nobody else has, with a role in `client` or of `provider`, and by default an authenticator app."""
    user = User.objects.create_user(f"{role or 'nobody'}-{secrets.token_hex(5)}@example.com", PASSWORD, name="Sam Doe")
    if role:
        at_provider = provider if role == Role.PROVIDER else None
        RoleGrant.objects.create(user=user, role=role, client=client, provider=at_provider)
    if factor:
        give_second_factor(user)
    return user


def give_second_factor(user: User) -> str:
    """Set up an authenticator app and recovery codes; the app's secret."""
    secret = generate_totp_secret()
    TOTP.activate(user, secret)
    RecoveryCodes.activate(user)
    return secret


def code_of(secret: str, *, at: float | None = None) -> str:
    """What the authenticator app shows."""
    moment = timezone.now().timestamp() if at is None else at
    return format_hotp_value(hotp_value(secret, int(moment) // 30))


def browser(client: Client | None, user: User | None = None, *, fresh: bool = False, **given: Any) -> ClientBrowser:
    """A browser on the host of `client` (None: the platform's), in which `user` has signed in, just now if `fresh`."""
    one = ClientBrowser(client, **given)
    if user is not None:
        one.force_login(user)
        session = one.session
        if fresh:
            proof = {"method": "password", "at": timezone.now().timestamp(), "reauthenticated": True}
            session[AUTHENTICATION_METHODS_SESSION_KEY] = [proof]
            session[_AUTHENTICATION_METHODS_USER_SESSION_KEY] = str(user.pk)
        session[sessions.HOST] = str(client.pk) if client else sessions.PLATFORM
        session.save()
    return one


def authenticator_of(user: User) -> Authenticator:
    """The user's authenticator app."""
    return Authenticator.objects.get(user=user, type=Authenticator.Type.TOTP)


CLIENT_ROLES = (Actor.CLERK, Actor.MANAGER, Actor.OWNER)
