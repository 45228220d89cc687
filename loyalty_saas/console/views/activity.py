"""What happened at the provider's clients and in its own house, by the audit trail."""

from datetime import timedelta
from typing import Any, Final

from django.db.models import QuerySet
from django.http import HttpResponseBase
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from loyalty_saas.console import events
from loyalty_saas.console.scope import STAFF, Scope, scope_of
from loyalty_saas.faces import PlatformRequest
from loyalty_saas.tables import Column, Listing, csv_response
from tenants.access import admits
from tenants.models import AuditEvent

PAGE: Final = 50
EXPORTED: Final = 10_000
STRETCHES: Final = {
    "1": gettext_lazy("Last 24 hours"),
    "7": gettext_lazy("Last 7 days"),
    "30": gettext_lazy("Last 30 days"),
    "365": gettext_lazy("Last 12 months"),
    "all": gettext_lazy("All the time"),
}


@admits(*STAFF)
@require_safe
def activity(request: PlatformRequest) -> HttpResponseBase:
    """Events, newest first, filtered by client, person, kind and time."""
    scope = scope_of(request)
    asked = {name: request.GET.get(name, "").strip()[:100] for name in ("client", "who", "kind", "since")}
    asked["since"] = asked["since"] if asked["since"] in STRETCHES else "30"
    found = _filtered(scope, asked)
    if request.GET.get("format") == "csv":
        return _export(found, name=f"activity-{scope.at:%Y-%m-%d}")
    listing = Listing(request, found, columns=[Column("at", _("When"))], default="at", size=PAGE)
    context: dict[str, Any] = {
        "lines": events.lines(listing.page),
        "listing": listing,
        "asked": asked,
        "clients": scope.clients.order_by("name").values_list("slug", "name"),
        "kinds": events.KINDS,
        "stretches": STRETCHES.items(),
        "is_filtered": any(asked[name] for name in ("client", "who", "kind")),
    }
    return render(request, "console/activity.html", context)


def _filtered(scope: Scope, asked: dict[str, str]) -> QuerySet[AuditEvent]:
    found = events.events_of(scope)
    if asked["client"] == "-":
        found = found.filter(client=None)
    elif asked["client"]:
        found = found.filter(client__slug=asked["client"])
    if asked["who"]:
        found = found.filter(events.by_actor(asked["who"]))
    if asked["kind"] in dict(events.KINDS):
        found = found.filter(action__startswith=f"{asked['kind']}.")
    if asked["since"] != "all":
        found = found.filter(at__gt=scope.at - timedelta(days=int(asked["since"])))
    return found


def _export(found: QuerySet[AuditEvent], *, name: str) -> HttpResponseBase:
    """The newest events as a file: with the technical name of each beside the words."""
    lines = events.lines(found[:EXPORTED])
    rows = ([*_row(one), one.event.action, one.event.subject] for one in lines)
    head = [_("When"), _("Client"), _("Who"), _("What"), _("About"), _("Action"), _("Subject")]
    return csv_response(name=name, head=head, lines=rows)


def _row(one: events.EventLine) -> list[str]:
    return [timezone.localtime(one.event.at).isoformat(timespec="seconds"), one.where, one.actor, one.words, one.about]
