"""The search of the console: clients, people, pages. Three queries at most, whatever is looked for."""

from typing import Any, Final

from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from loyalty_saas.console.scope import STAFF, Scope, scope_of
from loyalty_saas.faces import PlatformRequest
from tenants.access import admits
from tenants.models import Role, RoleGrant

SHOWN: Final = 8
PAGES: Final[list[tuple[str, str | Promise, str | Promise, str]]] = [
    ("console:overview", gettext_lazy("Overview"), gettext_lazy("What needs attention"), "layout-dashboard"),
    ("console:clients", gettext_lazy("Clients"), gettext_lazy("All clients and their figures"), "store"),
    ("console:add_client", gettext_lazy("Add a client"), gettext_lazy("In four steps"), "plus"),
    ("console:team", gettext_lazy("Team"), gettext_lazy("Invite a colleague"), "users"),
    ("console:activity", gettext_lazy("Activity"), gettext_lazy("Who did what: the audit trail"), "scroll-text"),
    ("console:settings", gettext_lazy("Settings"), gettext_lazy("Name, logo and colours"), "settings"),
    ("mfa_index", gettext_lazy("Sign-in and security"), gettext_lazy("Your second factor"), "shield-check"),
]
Found = list[dict[str, str]]


@admits(*STAFF)
@require_safe
def search(request: PlatformRequest) -> HttpResponse:
    """What is found: beside the field for htmx, on a page of its own otherwise."""
    scope = scope_of(request)
    query = request.GET.get("q", "").strip()[:100]
    groups = _groups(scope, query) if query else []
    context: dict[str, Any] = {"query": query, "groups": groups, "nothing": not any(found for _words, found in groups)}
    return render(request, "snippets/found.html" if request.htmx else "console/search.html", context)


def _groups(scope: Scope, query: str) -> list[tuple[str, Found]]:
    return [
        (_("Clients"), _clients(scope, query)),
        (_("People"), _people(scope, query)),
        (_("Pages"), _pages(query)),
    ]


def _clients(scope: Scope, query: str) -> Found:
    named = Q(name__icontains=query) | Q(slug__icontains=query) | Q(domains__host__icontains=query)
    found = scope.clients.filter(named).select_related("provider").order_by("name", "pk").distinct()[:SHOWN]
    return [
        {
            "url": reverse("console:client", args=[one.pk]),
            "title": one.name,
            "note": " · ".join([one.get_trade_display(), one.provider.name]),
            "icon": "store",
        }
        for one in found
    ]


def _people(scope: Scope, query: str) -> Found:
    """Those who work for the visitor's providers, or at their clients."""
    mine = Q(provider__in=scope.providers) | Q(client__in=scope.clients)
    named = Q(user__name__icontains=query) | Q(user__email__icontains=query)
    grants = RoleGrant.objects.filter(mine, named).select_related("user", "client", "provider")
    return [
        {"url": _home(grant), "title": str(grant.user), "note": _note(grant), "icon": "user-round"}
        for grant in grants.order_by("user__name", "user__email", "pk")[:SHOWN]
    ]


def _pages(query: str) -> Found:
    wanted = query.casefold()
    return [
        {"url": reverse(route), "title": str(words), "note": str(note), "icon": icon}
        for route, words, note, icon in PAGES
        if wanted in f"{words} {note}".casefold()
    ]


def _home(grant: RoleGrant) -> str:
    if grant.client_id:
        return reverse("console:client", args=[grant.client_id])
    return f"{reverse('console:team')}?provider={grant.provider.slug if grant.provider else ''}"


def _note(grant: RoleGrant) -> str:
    house = grant.client or grant.provider
    return " · ".join([grant.user.email, str(Role(grant.role).label), house.name if house else ""])
