"""Who is not a user: a till known by its device's cookie, a member by the cookie of an opened card."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect, JsonResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django_htmx.http import HttpResponseClientRedirect

from members.models import CardSession
from programs.models import Device, TillSession
from tenants.access import Access, Actor

BEARERS: Final = frozenset({Actor.DEVICE, Actor.TILL, Actor.MEMBER})
_PREFIX: Final = "__Host-" if settings.IS_SECURE else ""
DEVICE_COOKIE: Final = f"{_PREFIX}till"
CARD_COOKIE: Final = f"{_PREFIX}card"
COOKIE_DAYS: Final = 400
TILL_IDLE: Final = timedelta(seconds=120)
CARD_IDLE: Final = timedelta(days=180)
# How stale the note of the last use may be: writing it with every request would cost a row version each.
SEEN_EVERY: Final = timedelta(seconds=15)
DAILY: Final = timedelta(days=1)


@dataclass(frozen=True)
class TillStanding:
    """An enrolled device, and the clerk's session on it unless it is locked."""

    device: Device
    session: TillSession | None


@dataclass(frozen=True)
class CardStanding:
    """An opened card."""

    session: CardSession


def new_token() -> str:
    """256 random bits for a cookie or a link."""
    return secrets.token_urlsafe(32)


def hash_of(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def give_cookie(response: HttpResponseBase, *, name: str, token: str) -> None:
    """Put a bearer's token on the device, for this host alone and out of reach of scripts."""
    response.set_cookie(
        name, token, max_age=COOKIE_DAYS * 86400, httponly=True, samesite="Lax", secure=settings.IS_SECURE
    )


def till_of(request: HttpRequest, *, at: datetime) -> TillStanding | None:
    """The till whose cookie the request carries; its session is None when locked or idle for two minutes."""
    token = request.COOKIES.get(DEVICE_COOKIE)
    if not token or getattr(request, "client", None) is None:
        return None
    device = Device.objects.select_related("location").filter(token_hash=hash_of(token), revoked_at=None).first()
    if device is None:
        return None
    open_session = TillSession.objects.select_related("clerk").filter(device=device, ended_at=None).first()
    return TillStanding(device, open_session if open_session and _is_at_work(open_session, at=at) else None)


def card_of(request: HttpRequest, *, at: datetime) -> CardStanding | None:
    """The opened card whose cookie the request carries."""
    token = request.COOKIES.get(CARD_COOKIE)
    if not token or getattr(request, "client", None) is None:
        return None
    found = CardSession.objects.select_related("member").filter(token_hash=hash_of(token), ended_at=None).first()
    if found is None or at - found.seen_at > CARD_IDLE or found.member.status != "active":
        return None
    return CardStanding(found)


def admit(request: Any, *, access: Access, at: datetime) -> bool:
    """Whether a bearer that the route admits stands there; sets ``request.till`` or ``request.card``."""
    if {Actor.DEVICE, Actor.TILL} & access.actors:
        request.till = till = till_of(request, at=at)
        if till and (Actor.DEVICE in access.actors or till.session):
            _keep_alive(till, at=at)
            return True
    if Actor.MEMBER in access.actors:
        request.card = card = card_of(request, at=at)
        if card:
            if at - card.session.seen_at > DAILY:
                CardSession.objects.filter(pk=card.session.pk).update(seen_at=at)
            return True
    return False


def send_away(request: Any, *, access: Access) -> HttpResponseBase:
    """Where somebody goes who is no till or member, or no longer: to the PIN, to enrolment, to the card's link."""
    if Actor.MEMBER in access.actors:
        address = reverse("card:sign_in")
    else:
        address = reverse("till:lock" if request.till else "till:enrol")
    if request.headers.get("accept") == "application/json":
        words = _("Sign in again.")
        problem = {"type": "/api/v1/problems/not_authenticated", "title": words, "status": 401, "location": address}
        return JsonResponse(problem, status=401, content_type="application/problem+json")
    answer: HttpResponseBase = HttpResponseRedirect(address)
    if getattr(request, "htmx", None):
        answer = HttpResponseClientRedirect(address)
    return answer


def _is_at_work(session: TillSession, *, at: datetime) -> bool:
    return at - session.seen_at <= TILL_IDLE and session.clerk.left_at is None


def _keep_alive(till: TillStanding, *, at: datetime) -> None:
    if at - till.device.seen_at > SEEN_EVERY:
        Device.objects.filter(pk=till.device.pk).update(seen_at=at)
    if till.session and at - till.session.seen_at > SEEN_EVERY:
        TillSession.objects.filter(pk=till.session.pk, ended_at=None).update(seen_at=at)
