"""
A session belongs to the host where it was made, to the second factor it was made with, and to a stretch of time.

Whoever carries its cookie to another client's host, or leaves it alone for too long, has to sign in again.
"""

from datetime import datetime, timedelta
from typing import Any

from allauth.mfa.models import Authenticator
from allauth.mfa.signals import authenticator_added, authenticator_removed
from django.conf import settings
from django.contrib.auth.signals import user_logged_in
from django.dispatch import receiver
from django.http import HttpRequest
from django.utils import timezone

from tenants.models import User

HOST, BEGAN, SEEN, FACTOR = "bound_host", "began_at", "seen_at", "second_factor"
PLATFORM = "platform"
# How stale the note of the last request may be: writing it with every request would cost a row version each.
SEEN_EVERY = timedelta(seconds=60)


def host_of(request: HttpRequest) -> str:
    """What a session made by this request is good for: one client's hosts, or the platform's."""
    client = getattr(request, "client", None)
    return str(client.pk) if client else PLATFORM


def second_factor_of(user: User) -> str:
    """The id of the user's authenticator app, or an empty text."""
    totp = Authenticator.objects.filter(user=user, type=Authenticator.Type.TOTP).values_list("pk", flat=True).first()
    return str(totp or "")


def bind(request: HttpRequest, *, factor: str, at: datetime) -> None:
    """Note in the session where, when and with which factor it begins."""
    now = at.timestamp()
    request.session.update({HOST: host_of(request), FACTOR: factor, BEGAN: now, SEEN: now})


def is_good(request: HttpRequest, *, factor: str, at: datetime) -> bool:
    """Whether the session was made on this host, with today's second factor, and is neither idle nor old."""
    session, now = request.session, at.timestamp()
    idle = now - session.get(SEEN, 0) > settings.SESSION_IDLE_SECONDS
    old = now - session.get(BEGAN, 0) > settings.SESSION_COOKIE_AGE
    return not (idle or old) and session.get(HOST) == host_of(request) and session.get(FACTOR) == factor


def keep_alive(request: HttpRequest, *, at: datetime) -> None:
    """Note that the session is in use."""
    if at.timestamp() - request.session.get(SEEN, 0) > SEEN_EVERY.total_seconds():
        request.session[SEEN] = at.timestamp()


@receiver(user_logged_in)
def _bind_at_sign_in(request: HttpRequest, user: User, **kwargs: Any) -> None:
    bind(request, factor=second_factor_of(user), at=timezone.now())


@receiver(authenticator_added)
@receiver(authenticator_removed)
def _other_sessions_end(request: HttpRequest, user: User, **kwargs: Any) -> None:
    """The session that changed the factor goes on; all others no longer fit."""
    request.session[FACTOR] = second_factor_of(user)
