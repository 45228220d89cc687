"""Who may pass: every route says which actors it admits, and a route that does not admits nobody."""

from typing import Any

import structlog
from django.conf import settings
from django.contrib.auth import logout
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext as _
from django_htmx.http import HttpResponseClientRedirect
from django_structlog.middlewares import RequestMiddleware

from loyalty_saas import bearers, sessions
from loyalty_saas.access_table import LIBRARY_ACCESS
from loyalty_saas.logs import bare_path
from tenants.access import Access, Actor, Undeclared, access_of
from tenants.middleware import HEALTH, Handler
from tenants.queries import Standing, standing

logger = structlog.get_logger(__name__)

NEEDS_SECOND_FACTOR = {Actor.PLATFORM, Actor.PROVIDER, Actor.OWNER, Actor.MANAGER}
# What is open to somebody who still has to set up the second factor.
WAY_TO_SECOND_FACTOR = {"mfa_activate_totp", "account_reauthenticate", "account_logout"}
NOBODY = Standing(frozenset())


class RequestLog(RequestMiddleware):
    """A line for each request, without what an address may tell of a person."""

    @staticmethod
    def format_request(request: HttpRequest) -> str:
        """The method and the path, without the query."""
        return f"{request.method} {bare_path(request.path)}"


class AccessMiddleware:
    """
    Sets ``request.standing`` and ``request.second_factor``, both looked up when asked for, and judges each route.

    Routes for tills and cards find ``request.till`` or ``request.card``.
    """

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        request.standing = SimpleLazyObject(lambda: _standing(request))  # type: ignore[attr-defined]
        request.second_factor = SimpleLazyObject(lambda: _second_factor(request))  # type: ignore[attr-defined]
        request.till = request.card = None  # type: ignore[attr-defined]
        if request.path not in HEALTH and settings.SESSION_COOKIE_NAME in request.COOKIES:
            _end_or_keep(request)
        # Days and hours on the pages are those of the shop.
        with timezone.override(request.client.time_zone if request.client else None):  # type: ignore[attr-defined]
            return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> HttpResponseBase | None:
        """Let the request pass, send it to sign in, or refuse it."""
        name = request.resolver_match.view_name if request.resolver_match else ""
        access = _declared(view, name)
        if Actor.ANYONE in access.actors or _is_for_machines(view, access):
            return None
        if bearers.BEARERS & access.actors and bearers.admit(request, access=access, at=timezone.now()):
            return None
        if access.actors and access.actors <= bearers.BEARERS:
            return bearers.send_away(request, access=access)
        if not request.user.is_authenticated:
            return _to_sign_in(request)
        actors = request.standing.actors  # type: ignore[attr-defined]
        if _lacks_second_factor(request) and name not in WAY_TO_SECOND_FACTOR:
            return _go(request, "mfa_activate_totp")
        if not access.admits(actors):
            raise PermissionDenied(_("Your role does not include this page."))
        return None


def _standing(request: HttpRequest) -> Standing:
    user = request.user
    if not user.is_authenticated:
        return NOBODY
    return standing(user=user, client=request.client, at=timezone.now())  # type: ignore[attr-defined]


def _second_factor(request: HttpRequest) -> str:
    return sessions.second_factor_of(request.user) if request.user.is_authenticated else ""


def _end_or_keep(request: HttpRequest) -> None:
    if not request.user.is_authenticated:
        return
    at = timezone.now()
    if not sessions.is_good(request, factor=str(request.second_factor), at=at):  # type: ignore[attr-defined]
        logger.warning("session_ended", user=str(request.user.pk), reason="other host, other factor, idle or old")
        logout(request)
        return
    sessions.keep_alive(request, at=at)
    if request.user.language:
        translation.activate(request.user.language)


def _declared(view: Any, name: str) -> Access:
    try:
        return access_of(view, name=name, others=LIBRARY_ACCESS)
    except Undeclared:
        logger.error("route_undeclared", route=name, view=getattr(view, "__qualname__", repr(view)))
        raise PermissionDenied(_("This page is closed.")) from None


def _is_for_machines(view: Any, access: Access) -> bool:
    """Whether Django REST framework stands at this door: it authenticates keys itself."""
    if Actor.MACHINE not in access.actors:
        return False
    # Its views read settings that name modules of ours: importing it above would turn in a circle.
    from rest_framework.views import APIView

    return isinstance(getattr(view, "cls", None), type) and issubclass(view.cls, APIView)


def _lacks_second_factor(request: HttpRequest) -> bool:
    needed = settings.REQUIRE_SECOND_FACTOR and bool(NEEDS_SECOND_FACTOR & request.standing.actors)  # type: ignore[attr-defined]
    return needed and not request.second_factor  # type: ignore[attr-defined]


def _to_sign_in(request: HttpRequest) -> HttpResponseBase:
    if request.method in {"GET", "HEAD"} and not getattr(request, "htmx", None):
        return redirect_to_login(request.get_full_path())
    return _go(request, settings.LOGIN_URL)


def _go(request: HttpRequest, name: str) -> HttpResponseBase:
    """Send the visitor, or the whole page of a fragment asked for by script, to another page."""
    answer: HttpResponseBase = HttpResponseRedirect(reverse(name))
    if getattr(request, "htmx", None):
        answer = HttpResponseClientRedirect(reverse(name))
    return answer
