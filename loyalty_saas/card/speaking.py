"""In which language a card speaks: the member's own, else the browser's, among those that the shop speaks."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from django.conf import settings
from django.http import HttpResponseBase
from django.utils import translation
from django.utils.cache import patch_cache_control

from loyalty_saas.faces import CardRequest
from members.models import Identity
from tenants.models import Client

P = ParamSpec("P")
View = Callable[Concatenate[CardRequest, P], HttpResponseBase]


def languages_of(client: Client) -> list[str]:
    """The languages that the shop speaks and we have; its first one comes first."""
    known = [code for code, _name in settings.LANGUAGES]
    return [code for code in client.languages if code in known] or [settings.LANGUAGE_CODE]


def fitting(wanted: str, *, among: list[str]) -> str | None:
    """The language itself, or without its region: de for de-AT."""
    plain = wanted.lower().replace("_", "-")
    return next((code for code in (plain, plain.partition("-")[0]) if code in among), None)


def for_member(view: View[P]) -> View[P]:
    """A page of a member's own: in the member's language, and left in no cache that others could look into."""

    @wraps(view)
    def wrapped(request: CardRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        identity = Identity.objects.filter(pk=request.card.session.member_id).first()
        member = request.card.session.member
        member.identity = identity or Identity(member=member)
        return _said(view, request, identity.language if identity else "", *args, **kwargs)

    return wrapped


def for_anybody(view: View[P]) -> View[P]:
    """A page for whoever has no card open yet: in the browser's language."""

    @wraps(view)
    def wrapped(request: CardRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        return _said(view, request, "", *args, **kwargs)

    return wrapped


def _said(view: View[P], request: CardRequest, own: str, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
    among = languages_of(request.client)
    language = fitting(own, among=among) or fitting(translation.get_language() or "", among=among) or among[0]
    with translation.override(language):
        response = view(request, *args, **kwargs)
    response["Content-Language"] = language
    patch_cache_control(response, private=True, no_store=True)
    return response
