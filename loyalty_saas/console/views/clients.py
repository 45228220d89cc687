"""One client's page, and what its provider may do there."""

from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from babel.numbers import get_currency_precision
from django.contrib import messages
from django.db.models import Q
from django.http import Http404, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from loyalty_saas import tasks, workers
from loyalty_saas.console import events, figures
from loyalty_saas.console import ledger as ledgers
from loyalty_saas.console.forms import Colleague, Reason
from loyalty_saas.console.lines import ClientLine, client_lines
from loyalty_saas.console.scope import STAFF, Scope, scope_of
from loyalty_saas.faces import PlatformRequest
from loyalty_saas.flows.invitations import NOT_MAILED, mail_owner
from loyalty_saas.flows.programs import templates
from loyalty_saas.tables import Column, Listing
from loyalty_saas.templatetags.loyalty import language_name
from members import queries
from tenants.access import admits
from tenants.context import public_atomic, use_client
from tenants.models import ApiKey, Brand, Client, Invitation, KpiDay, Role, RoleGrant, WaitingClient
from tenants.queries import primary_url
from tenants.services import onboarding as service
from tenants.services.clients import ClientClosed, resume_client, suspend_client
from tenants.services.invitations import InvitationGone, renew_invitation

DAYS: Final = 14
EVENTS: Final = 8
SHOWN: Final = [
    Column("day", gettext_lazy("Day"), ("day",)),
    Column("members", gettext_lazy("Members"), ("members",), figure=True),
    Column("new", gettext_lazy("New members"), ("new_members",), figure=True),
    Column("sales", gettext_lazy("Sales"), ("sales",), figure=True),
    Column("revenue", gettext_lazy("Revenue"), ("revenue",), figure=True),
    Column("repeat", gettext_lazy("Of it repeat"), ("repeat_revenue",), figure=True),
    Column("given", gettext_lazy("Rewards given"), ("redemptions",), figure=True),
    Column("liability", gettext_lazy("Liability"), ("liability",), figure=True),
]


@admits(*STAFF)
@require_http_methods(["GET", "HEAD", "POST"])
def client(request: PlatformRequest, client_id: UUID) -> HttpResponseBase:
    """How one client does, who works there, and what happened; by POST it is suspended, resumed, its owner invited."""
    scope = scope_of(request)
    found = scope.client(client_id)
    if request.method == "POST":
        return _do(scope, found)
    if request.GET.get("format") == "csv":
        return _days(scope, found, exported=True).export(name=f"{found.slug}-{scope.at:%Y-%m-%d}")
    return _page(scope, found)


@admits(*STAFF)
@require_POST
def recount(request: PlatformRequest, client_id: UUID) -> HttpResponse:
    """Have today's figures counted anew."""
    scope = scope_of(request)
    found = scope.client(client_id)
    sent = found.is_open and workers.send_once(
        task=tasks.roll_up, name=f"kpi:{found.schema_name}", seconds=30, schema_name=found.schema_name
    )
    if sent:
        scope.note(action="figures.recounted", subject=found.slug, client=found)
        messages.success(request, _("The figures are being counted again; look here in a moment."))
    else:
        messages.error(request, _("Nothing could be sent to the workers just now. Try again in a minute."))
    return redirect("console:client", found.pk)


@admits(*STAFF)
@require_safe
def ledger(request: PlatformRequest, client_id: UUID) -> HttpResponse:
    """What waits in the client's books now, counted there, beside the last proof: a piece of its page."""
    found = scope_of(request).client(client_id)
    if not found.is_open:
        raise Http404
    with use_client(found):
        waiting, set_aside = queries.open_work()["waiting"], queries.set_aside().count()
    since = WaitingClient.objects.filter(pk=found.schema_name).values_list("since", flat=True).first()
    one = ledgers.looked_into(found, waiting_since=since, waiting=waiting, set_aside=set_aside)
    return render(request, "console/ledger.html", {"client": found, "ledger": one})


@admits(*STAFF)
@require_POST
def prove(request: PlatformRequest, client_id: UUID) -> HttpResponse:
    """Have the client's books proven now, by a worker."""
    scope = scope_of(request)
    found = scope.client(client_id)
    if found.is_open and tasks.send_proof(found):
        scope.note(action="books.proof_asked", subject=found.slug, client=found)
        messages.success(request, _("The books are being proven; the result appears here in a moment."))
    else:
        messages.error(request, _("Nothing could be sent to the workers just now. Try again in a minute."))
    return redirect("console:client", found.pk)


def _do(scope: Scope, found: Client) -> HttpResponse:
    """What the form asks for."""
    if scope.request.POST.get("do") == "invite":
        return _invite(scope, found)
    changes = {"suspend": Client.Status.SUSPENDED, "resume": Client.Status.ACTIVE}
    to = changes.get(scope.request.POST.get("do", ""))
    if to is None:
        raise Http404
    return _change(scope, found, to=to)


def _change(scope: Scope, found: Client, *, to: Client.Status) -> HttpResponse:
    """Close or open its doors, with a reason."""
    form = Reason(scope.request.POST)
    if not form.is_valid():
        return _page(scope, found, reason_form=form)
    change = suspend_client if to == Client.Status.SUSPENDED else resume_client
    try:
        with public_atomic():
            change(client=found, actor=scope.actor, reason=form.cleaned_data["reason"], at=scope.at)
    except ClientClosed:
        messages.error(scope.request, _("%(name)s is closed; nothing was changed.") % {"name": found.name})
        return redirect("console:client", found.pk)
    said = _("%(name)s is open again.")
    if to == Client.Status.SUSPENDED:
        said = _("%(name)s is suspended: its pages, tills and keys are closed.")
    messages.success(scope.request, said % {"name": found.name})
    return redirect("console:client", found.pk)


def _invite(scope: Scope, found: Client) -> HttpResponse:
    """Send the owner a new link, or somebody else a first one; the old link is worth nothing then."""
    form = Colleague(scope.request.POST)
    if form.is_valid() and _is_owner(found, form.cleaned_data["email"]):
        form.add_error("email", _("This person is the owner already."))
    if form.errors:
        return _page(scope, found, owner_form=form)
    email = form.cleaned_data["email"].lower()
    try:
        token = _owner_token(scope, found, email=email)
    except InvitationGone:
        messages.info(scope.request, _("The invitation was accepted meanwhile."))
        return redirect("console:client", found.pk)
    if mail_owner(client=found, email=email, link=primary_url(found, f"/invitation/{token}/")):
        messages.success(scope.request, _("The invitation is on its way to %(email)s.") % {"email": email})
    else:
        messages.error(scope.request, str(NOT_MAILED))
    return redirect("console:client", found.pk)


def _is_owner(found: Client, email: str) -> bool:
    return RoleGrant.objects.filter(client=found, role=Role.OWNER, user__email=email.lower()).exists()


def _owner_token(scope: Scope, found: Client, *, email: str) -> str:
    """The token of a new link. :raises InvitationGone: if the invitation was accepted meanwhile"""
    with public_atomic():
        open_one = _invitations(found).filter(role=Role.OWNER, email=email).first()
        if open_one:
            return renew_invitation(invitation=open_one, by=scope.request.user, at=scope.at)
        return service.invite(
            client=found, email=email, role=Role.OWNER, invited_by=scope.request.user.pk, actor=scope.actor, at=scope.at
        )


def _page(
    scope: Scope, found: Client, *, reason_form: Reason | None = None, owner_form: Colleague | None = None
) -> HttpResponse:
    span = figures.Span(figures.period_of(scope.request), scope.at.date())
    (line,) = client_lines(clients=Client.objects.filter(pk=found.pk), span=span, at=scope.at)
    invitations = list(_invitations(found))
    owed_to = next((one.email for one in invitations if one.role == Role.OWNER), "")
    context = {
        "line": line,
        "client": found,
        "span": span,
        "periods": figures.PERIODS.values(),
        "reason_form": reason_form or Reason(),
        "owner_form": owner_form or Colleague(initial={"email": owed_to}),
        "refused": bool(reason_form or owner_form),
        "ledger": ledgers.of_line(line),
        "invitations": invitations,
        "section": "console:clients",
        **_figures(line, span=span),
        **_house(scope, found),
    }
    return render(scope.request, "console/client.html", context, status=422 if reason_form or owner_form else 200)


def _figures(line: ClientLine, *, span: figures.Span) -> dict[str, Any]:
    """The cards and the chart."""
    key, currency = line.client.pk, line.client.currency
    found = figures.summary(
        clients=Client.objects.filter(pk=key),
        currencies={key: currency},
        sums={key: line.sums} if line.sums else {},
        span=span,
    )
    return {"kpis": figures.client_kpis(found), "chart": figures.revenue_chart(found, currency=currency)}


def _house(scope: Scope, found: Client) -> dict[str, Any]:
    """What belongs to the client: its days, people, keys and events."""
    listing = _days(scope, found, exported=False)
    keys = ApiKey.objects.filter(client=found, revoked_at=None).order_by("-last_used_at")
    grants = RoleGrant.objects.filter(Q(until=None) | Q(until__gt=scope.at), client=found).select_related("user")
    trail = events.events_of(scope).filter(client=found)[:EVENTS]
    return {
        "listing": listing,
        "people": sorted(grants, key=lambda grant: (list(Role.values).index(grant.role), str(grant.user).casefold())),
        "domains": list(found.domains.order_by("-is_primary", "host")),
        "keys": list(keys),
        "trail": events.lines(trail),
        "brand": Brand.objects.filter(client=found).defer("logo").first(),
        "program": templates().get(found.template, found.template),
        "languages": [language_name(code) for code in found.languages],
    }


def _invitations(found: Client) -> Any:
    """Those that nobody has accepted yet, newest first."""
    return Invitation.objects.filter(client=found, accepted_at=None).order_by("-invited_at")


def _days(scope: Scope, found: Client, *, exported: bool) -> Listing:
    span = figures.Span(figures.period_of(scope.request), scope.at.date())
    rows = KpiDay.objects.filter(span.now, client=found)
    columns = _exported(found) if exported else SHOWN
    return Listing(scope.request, rows, columns=columns, default="-day", size=DAYS)


def _exported(found: Client) -> list[Column]:
    """All that is counted; money as numbers, its currency beside them."""
    exponent = -get_currency_precision(found.currency)

    def counted(name: str, words: Any, *, is_money: bool = False) -> Column:
        if is_money:
            return Column(name, words, (name,), value=lambda row: Decimal(getattr(row, name)).scaleb(exponent))
        return Column(name, words, (name,), value=lambda row: getattr(row, name))

    return [
        Column("day", gettext_lazy("Day"), ("day",), value=lambda row: row.day.isoformat()),
        counted("members", gettext_lazy("Members")),
        counted("new_members", gettext_lazy("New members")),
        counted("active_members", gettext_lazy("Members who bought")),
        counted("sales", gettext_lazy("Sales")),
        counted("returns", gettext_lazy("Returns")),
        Column("currency", gettext_lazy("Currency"), value=lambda row: found.currency),
        counted("revenue", gettext_lazy("Revenue"), is_money=True),
        counted("repeat_revenue", gettext_lazy("Of it repeat"), is_money=True),
        counted("earned", gettext_lazy("Points earned")),
        counted("reversed", gettext_lazy("Points taken back")),
        counted("spent", gettext_lazy("Points spent")),
        counted("outstanding", gettext_lazy("Points outstanding")),
        counted("redemptions", gettext_lazy("Rewards given")),
        counted("liability", gettext_lazy("Liability"), is_money=True),
    ]
