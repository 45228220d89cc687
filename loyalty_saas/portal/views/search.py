"""One search over the portal: members, receipts, articles and pages."""

from typing import Any, Final

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from loyalty_saas.context_processors import CLIENT_PLACES
from loyalty_saas.faces import ClientRequest
from loyalty_saas.portal.shared import MANAGERS, asked_text, is_manager, phone_spellings
from loyalty_saas.templatetags.loyalty import moment, money
from members import queries
from members.models import Member, Purchase
from programs.models import Product
from programs.queries import products_like
from tenants.access import Actor, admits

FEW: Final = 6
Found = dict[str, Any]
# Pages beside those of the sidebar: route, words, icon, whose they are.
PAGES: Final[list[tuple[str, str | Promise, str, frozenset[Actor]]]] = [
    *((place.route, place.words, place.icon, place.actors) for place in CLIENT_PLACES),
    ("portal:new_member", gettext_lazy("Add member"), "user-plus", frozenset(MANAGERS)),
    ("portal:look", gettext_lazy("Look"), "palette", frozenset({Actor.OWNER})),
    ("portal:locations", gettext_lazy("Locations"), "map-pin", frozenset(MANAGERS)),
    ("portal:products", gettext_lazy("Products"), "package", frozenset(MANAGERS)),
    ("portal:data", gettext_lazy("Take your data along"), "download", frozenset({Actor.OWNER})),
]


@admits(*MANAGERS, Actor.CLERK)
@require_safe
def search(request: ClientRequest) -> HttpResponse:
    """What the text finds, as a fragment for the search box or as a page of its own."""
    text = asked_text(request)
    groups = _groups(request, text) if text else []
    context = {"groups": groups, "query": text, "nothing": not any(found for _words, found in groups)}
    return render(request, "snippets/found.html" if request.htmx else "portal/search.html", context)


def _groups(request: ClientRequest, text: str) -> list[tuple[str, list[Found]]]:
    """In the order in which somebody at the counter looks: who, what, where."""
    members = queries.find_members(text, also=phone_spellings(text, request.client), limit=FEW)
    groups = [
        (_("Members"), [_member(one) for one in members]),
        (_("Receipts"), [_receipt(one) for one in queries.purchases_by_document(text, limit=FEW)]),
    ]
    if is_manager(request):
        groups.append((_("Products"), [_product(one) for one in products_like(text, limit=FEW)]))
    return [*groups, (_("Pages"), _pages(request, text))]


def _member(one: Member) -> Found:
    identity = getattr(one, "identity", None)
    return {
        "url": reverse("portal:member", args=[one.pk]),
        "title": (identity.name if identity else "") or one.number,
        "note": one.number,
        "icon": "user-round",
    }


def _receipt(one: Purchase) -> Found:
    identity = getattr(one.member, "identity", None)
    who = (identity.name if identity else "") or one.member.number
    where = one.location.name if one.location else ""
    parts = (one.get_kind_display(), money(one.amount, one.currency), moment(one.occurred_at), who, where)
    return {
        "url": reverse("portal:receipt", args=[one.pk]),
        "title": one.document,
        "note": " · ".join(part for part in parts if part),
        "icon": "receipt-text",
    }


def _product(one: Product) -> Found:
    return {
        "url": reverse("portal:product", args=[one.pk]),
        "title": str(one),
        "note": " · ".join(part for part in (one.sku, one.category) if part),
        "icon": "package",
    }


def _pages(request: ClientRequest, text: str) -> list[Found]:
    sought = text.casefold()
    return [
        {"url": reverse(route), "title": str(words), "note": "", "icon": icon}
        for route, words, icon, actors in PAGES
        if actors & request.standing.actors and sought in str(words).casefold()
    ][:FEW]
