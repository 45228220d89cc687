"""Keys, the log of requests, and the reference of the API, for the developers of a shop's systems."""

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache, wraps
from typing import Any, TypeVar, cast
from urllib.parse import urlencode
from uuid import UUID

from allauth.account.internal.flows.reauthentication import did_recently_reauthenticate
from django.db.models import QuerySet
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.safestring import SafeString
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from loyalty_saas.api.front import JSON, YAML, description
from loyalty_saas.faces import ClientRequest
from loyalty_saas.machines import log, reference
from loyalty_saas.machines.forms import SCOPES, NewKey, Rotation
from members.models import ApiRequest
from programs.models import Location
from tenants.access import Actor, admits
from tenants.context import public_atomic
from tenants.models import ApiKey, User
from tenants.queries import key_of_prefix, primary_url
from tenants.services.api_keys import KeyEnded, is_good, issue_key, revoke_key, rotate_key

View = TypeVar("View", bound=Callable[..., HttpResponse])
LOOKERS = (Actor.OWNER, Actor.MANAGER, Actor.PROVIDER)
SECTION = "machines:overview"
_NEWEST = 8


def _page(request: ClientRequest, template: str, status: int = 200, **context: Any) -> HttpResponse:
    owns = Actor.OWNER in request.standing.actors
    return render(request, template, {"section": SECTION, "owns": owns, **context}, status=status)


def _host(request: ClientRequest) -> str:
    return primary_url(request.client, "")


def asks_password_again(view: View) -> View:
    """A view open only to somebody who has said the password again within the last minutes; others say it first."""

    @wraps(view)
    def asked(request: ClientRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if did_recently_reauthenticate(request):
            return view(request, *args, **kwargs)
        query = urlencode({"next": request.path})
        return redirect(f"{reverse('account_reauthenticate')}?{query}")

    return cast(View, asked)


# ── keys ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@admits(*LOOKERS)
@require_safe
def overview(request: ClientRequest) -> HttpResponse:
    """Keys, how to begin, and what was asked last."""
    at = timezone.now()
    keys = list(_keys(request).filter(revoked_at=None))
    told = [_told(key, at=at) for key in keys if is_good(key, at=at)]
    newest = log.lines(log.Wanted(), at=at)[:_NEWEST]
    context: dict[str, Any] = {
        "keys": _with_places(told),
        "newest": newest,
        "host": _host(request),
        "ended": _ended(request, at=at),
    }
    return _page(request, "machines/overview.html", **context)


def _keys(request: ClientRequest) -> QuerySet[ApiKey]:
    return ApiKey.objects.filter(client=request.client).order_by("-created_at")


def _ended(request: ClientRequest, *, at: datetime) -> list[ApiKey]:
    return [key for key in _keys(request)[:100] if not is_good(key, at=at)][:20]


def _told(key: ApiKey, *, at: datetime) -> dict[str, Any]:
    ends_soon = key.expires_at is not None and (key.expires_at - at).days < 14
    return {"key": key, "ends_soon": ends_soon, "scopes": [(scope, SCOPES.get(scope, scope)) for scope in key.scopes]}


def _with_places(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each with its location and who made it, in two queries whatever their number."""
    places = dict(Location.objects.filter(pk__in=[one["key"].location_id for one in told]).values_list("pk", "name"))
    makers = User.objects.in_bulk([one["key"].created_by for one in told if one["key"].created_by])
    for one in told:
        one["place"], one["maker"] = places.get(one["key"].location_id), makers.get(one["key"].created_by)
    return told


@admits(Actor.OWNER)
@asks_password_again
def new_key(request: ClientRequest) -> HttpResponse:
    """A key is made and shown once; its owner has just signed in or says the password again."""
    form = NewKey(request.POST or None, initial={"lasts": "365"})
    if request.method != "POST":
        return _page(request, "machines/new_key.html", form=form)
    if not form.is_valid():
        return _page(request, "machines/new_key.html", status=422, form=form)
    at, asked = timezone.now(), form.cleaned_data
    with public_atomic():
        key, token = issue_key(
            name=asked["name"],
            scopes=asked["scopes"],
            at=at,
            client=request.client,
            created_by=request.user.pk,
            expires_at=form.expires_at(at=at),
            location_id=UUID(asked["location"]) if asked["location"] else None,
        )
    return _shown_once(request, key, token)


def _shown_once(request: ClientRequest, key: ApiKey, token: str, old: ApiKey | None = None) -> HttpResponse:
    response = _page(request, "machines/key_made.html", key=key, token=token, old=old, host=_host(request))
    response["Cache-Control"] = "no-store"
    return response


@admits(Actor.OWNER)
@asks_password_again
def rotate(request: ClientRequest, key_id: UUID) -> HttpResponse:
    """A new key like an old one, which goes on for a while beside it."""
    key = _good_key(request, key_id)
    form = Rotation(request.POST or None)
    if request.method != "POST":
        return _page(request, "machines/rotate.html", form=form, key=key)
    if not form.is_valid():
        return _page(request, "machines/rotate.html", status=422, form=form, key=key)
    at = timezone.now()
    try:
        with public_atomic():
            new, token = rotate_key(key, at=at, ends_at=at + form.lasts, by=request.user.pk)
    except KeyEnded:
        raise Http404(_("This key has ended.")) from None
    key_of_prefix.forget()
    return _shown_once(request, new, token, ApiKey.objects.get(pk=key.pk))


@admits(Actor.OWNER)
@require_POST
def revoke(request: ClientRequest, key_id: UUID) -> HttpResponse:
    """A key ends at once and for good."""
    key = get_object_or_404(ApiKey, pk=key_id, client=request.client)
    with public_atomic():
        revoke_key(key, at=timezone.now(), by=request.user.pk)
    key_of_prefix.forget()
    return redirect(SECTION)


def _good_key(request: ClientRequest, key_id: UUID) -> ApiKey:
    key = get_object_or_404(ApiKey, pk=key_id, client=request.client)
    if not is_good(key, at=timezone.now()):
        raise Http404(_("This key has ended."))
    return key


# ── the log ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@admits(*LOOKERS)
@require_safe
def requests(request: ClientRequest) -> HttpResponse:
    """What the shop's machines asked, newest first; by itself anew every five seconds, if wanted."""
    wanted, at = log.Wanted.of(request.GET.dict()), timezone.now()
    rows = list(log.lines(wanted, at=at)[: log.PAGE + 1])
    names = dict(_keys(request).values_list("prefix", "name")[:200])
    for row in rows:
        row.key_name = names.get(row.key_prefix, "")  # type: ignore[attr-defined]
    following = log.cursor_of(rows[log.PAGE - 1]) if len(rows) > log.PAGE else ""
    is_live = request.GET.get("live") == "1" and wanted.before is None
    context: dict[str, Any] = {
        "rows": rows[: log.PAGE],
        "wanted": wanted,
        "is_live": is_live,
        "older": _address(request, before=following) if following else "",
        "address": _address(request),
        "turned": _address(request, live="" if is_live else "1"),
    }
    if request.htmx and request.htmx.target == "requests":
        return _page(request, "machines/request_rows.html", **context)
    choices: dict[str, Any] = {"keys": list(names.items()), "spans": _spans(), "methods": log.METHODS}
    return _page(request, "machines/requests.html", **choices, **context)


def _spans() -> list[tuple[str, Any]]:
    return [(code, words) for code, (words, _for) in log.SPANS.items()]


def _address(request: ClientRequest, **changes: str) -> str:
    """This page with its filters and something changed; empty values are left out."""
    query = request.GET.copy()
    query.pop("before", None)
    for name, value in changes.items():
        query[name] = value
    for name in [name for name, value in query.items() if not value]:
        del query[name]
    return f"{request.path}?{query.urlencode()}"


@admits(*LOOKERS)
@require_safe
def one_request(request: ClientRequest, request_id: UUID) -> HttpResponse:
    """One call: what was asked, what was answered, and how to send it again."""
    row = get_object_or_404(ApiRequest, pk=request_id)
    key = ApiKey.objects.filter(client=request.client, prefix=row.key_prefix).first() if row.key_prefix else None
    return _page(request, "machines/request.html", told=log.told(row, host=_host(request)), key=key)


# ── the reference ───────────────────────────────────────────────────────────────────────────────────────────────────


@admits(*LOOKERS)
@require_safe
def read(request: ClientRequest) -> HttpResponse:
    """All operations, what they take and give, and what can go wrong."""
    body = _reference_body(get_language() or "en", _host(request))
    return _page(request, "machines/reference.html", reference=reference.reference(), body=body)


@lru_cache(maxsize=64)
def _reference_body(language: str, host: str) -> SafeString:
    """Its body, drawn once for each language and host: it changes with the code alone."""
    with translation.override(language):
        context = {"reference": reference.reference(), "host": host}
        return SafeString(render_to_string("machines/reference_body.html", context))


@admits(*LOOKERS)
@require_safe
def download(request: ClientRequest, kind: str) -> HttpResponse:
    """The description as a file."""
    media_type = YAML if kind == "yaml" else JSON
    response = HttpResponse(description("client", media_type), content_type=f"{media_type}; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="loyalty-api.{kind}"'
    return response
