"""The clients, those in trouble first, and their figures together."""

from typing import Any, Final

from django.http import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_safe

from loyalty_saas.console import figures, ledger
from loyalty_saas.console.lines import client_lines
from loyalty_saas.console.listing import ClientTable
from loyalty_saas.console.scope import STAFF, Scope, scope_of
from loyalty_saas.faces import PlatformRequest
from tenants.access import admits
from tenants.models import Onboarding

ATTENTION: Final = 4
ONBOARDINGS: Final = 100


@admits(*STAFF)
@require_safe
def overview(request: PlatformRequest) -> HttpResponseBase:
    """What needs attention, the figures of all clients, and the clients themselves."""
    scope = scope_of(request)
    period = figures.period_of(request)
    table = _table(scope, period=period, full=False)
    if request.GET.get("format") == "csv":
        return table.export.export(name=f"clients-{scope.at:%Y-%m-%d}")
    currencies = {line.client.pk: line.client.currency for line in table.all}
    sums = {line.client.pk: line.sums for line in table.all if line.sums}
    found = figures.kept(
        what="summary",
        of=currencies,
        span=table.span,
        count=lambda: figures.summary(clients=scope.clients, currencies=currencies, sums=sums, span=table.span),
    )
    context = {
        "kpis": figures.kpis(found, clients=len(table.all)),
        "chart": figures.sales_chart(found),
        "ledgers": ledger.together(table.all, at=scope.at),
        **_attention(table),
        **shown(table),
    }
    return render(request, "console/overview.html", context)


@admits(*STAFF)
@require_safe
def clients(request: PlatformRequest) -> HttpResponseBase:
    """All clients, with more figures."""
    scope = scope_of(request)
    table = _table(scope, period=figures.period_of(request), full=True)
    if request.GET.get("format") == "csv":
        return table.export.export(name=f"clients-{scope.at:%Y-%m-%d}")
    return render(request, "console/clients.html", {**shown(table), "section": "console:clients"})


def shown(table: ClientTable) -> dict[str, Any]:
    """What the table's templates need."""
    return {
        "table": table,
        "listing": table.listing,
        "rows": table.rows,
        "span": table.span,
        "periods": figures.PERIODS.values(),
    }


def _table(scope: Scope, *, period: figures.Period, full: bool) -> ClientTable:
    span = figures.Span(period, scope.at.date())
    return ClientTable(
        scope.request,
        lines=client_lines(clients=scope.clients, span=span, at=scope.at),
        onboardings=list(scope.onboardings[:ONBOARDINGS]),
        span=span,
        full=full,
        several_houses=scope.is_operator,
    )


def _attention(table: ClientTable) -> dict[str, Any]:
    """The worst first: what failed on its way in, then the clients in trouble."""
    failed = [one for one in table.onboardings if one.state == Onboarding.State.FAILED]
    troubled = [line for line in table.all if line.troubles]
    return {
        "failed": failed[:ATTENTION],
        "attention": troubled[: max(ATTENTION - len(failed), 1)],
        "in_trouble": len(failed) + len(troubled),
    }
