"""The card as an app: its manifest, its icons, and the worker that keeps it there without a network."""

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Final

from django.contrib.staticfiles import finders
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.templatetags.static import static
from django.urls import reverse
from django.utils.http import http_date
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from loyalty_saas import branding
from loyalty_saas.card import icons
from loyalty_saas.card.speaking import for_anybody
from loyalty_saas.faces import FaceRequest
from loyalty_saas.templatetags.loyalty import initials
from tenants.access import Actor, admits
from tenants.models import Brand, Client

ACCENT: Final = "#3343d3"
GROUND: Final = "#f6f7f9"
STATICS: Final = ("css/app.css", "js/card.js", "fonts/inter-latin-wght-normal.woff2")
SIZES: Final = {
    (icons.PLAIN, 192),
    (icons.PLAIN, 512),
    (icons.MASKABLE, 192),
    (icons.MASKABLE, 512),
    (icons.TOUCH, 180),
}


@admits(Actor.ANYONE)
@for_anybody
@require_safe
def manifest(request: FaceRequest) -> HttpResponse:
    """What the phone shows of the app: the house's name, colours and icons."""
    client = _client(request)
    look = branding.look_of(client=client, provider=None)
    said = {
        "id": "/card/",
        "name": client.name,
        "short_name": client.name[:12].strip(),
        "description": _("Your card at %(house)s") % {"house": client.name},
        "lang": get_language(),
        "dir": "auto",
        "start_url": reverse("card:card"),
        "scope": reverse("card:card"),
        "display": "standalone",
        "theme_color": look.accent or ACCENT,
        "background_color": GROUND,
        "icons": [_icon(look, kind, size) for kind, size in sorted(SIZES) if kind != icons.TOUCH],
    }
    return HttpResponse(json.dumps(said, ensure_ascii=False), content_type="application/manifest+json; charset=utf-8")


@admits(Actor.ANYONE)
@require_safe
def icon(request: FaceRequest, kind: str, size: int) -> HttpResponse:
    """The app's icon, drawn from the house's logo, or from its initials on its colour."""
    if (kind, size) not in SIZES:
        raise Http404
    client = _client(request)
    look = branding.look_of(client=client, provider=None)
    response = HttpResponse(_drawn(client, look, kind, size), content_type="image/png")
    response["Cache-Control"] = "public, max-age=86400"
    return response


@admits(Actor.ANYONE)
@for_anybody
@require_safe
def offline(request: FaceRequest) -> HttpResponse:
    """What stands in for a page that was never opened, while there is no network."""
    return render(request, "card/offline.html")


@admits(Actor.ANYONE)
@require_safe
def service_worker(request: FaceRequest) -> HttpResponse:
    """The worker of the card, with the version of everything that it keeps."""
    look = branding.look_of(client=_client(request), provider=None)
    kept = [static(name) for name in STATICS] + [url for url in (look.css_url, look.logo_url) if url]
    pages = [reverse(f"card:{name}") for name in ("card", "history", "rewards")]
    said = {
        "kept": json.dumps(kept),
        "pages": json.dumps(pages),
        "me": reverse("card:me"),
        "offline": reverse("card:offline"),
        "entrance": reverse("card:sign_in"),
        "sign_out": reverse("card:sign_out"),
        "version": hashlib.sha256("|".join([*kept, *map(_content, STATICS)]).encode()).hexdigest()[:12],
    }
    response = HttpResponse(render_to_string("card/sw.js", said), content_type="text/javascript; charset=utf-8")
    response["Cache-Control"] = "no-cache"
    response["Expires"] = http_date(0)
    return response


def touch_icon(look: branding.Look) -> str:
    """The address of the icon that iOS asks for, which changes when the look does."""
    return f"{reverse('card:icon', args=[icons.TOUCH, 180])}?v={look.version}"


def _icon(look: branding.Look, kind: str, size: int) -> dict[str, str]:
    return {
        "src": f"{reverse('card:icon', args=[kind, size])}?v={look.version}",
        "sizes": f"{size}x{size}",
        "type": "image/png",
        "purpose": "maskable" if kind == icons.MASKABLE else "any",
    }


def _drawn(client: Client, look: branding.Look, kind: str, size: int) -> bytes:
    logo = None
    if look.brand_id and look.has_logo:
        held = Brand.objects.filter(pk=look.brand_id).values_list("logo", flat=True).first()
        logo = bytes(held) if held else None
    return icons.draw(kind=kind, size=size, accent=look.accent or ACCENT, letters=initials(client.name), logo=logo)


def _content(name: str) -> str:
    path = Path(str(finders.find(name)))
    return _digest(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=16)
def _digest(path: Path, _changed: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _client(request: FaceRequest) -> Client:
    if request.client is None:
        raise Http404
    return request.client
