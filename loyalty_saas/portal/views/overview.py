"""The owner's first page."""

from datetime import datetime, timedelta
from typing import Any, Final

from django.core.cache import cache
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from loyalty_saas.faces import ClientRequest
from loyalty_saas.portal import attention, figures
from loyalty_saas.portal.heat import Heat
from loyalty_saas.portal.shared import MANAGERS, is_manager, published
from members import queries
from members.models import Insight
from programs.queries import ProgramInForce, units
from tenants.access import Actor, admits

KEPT_SECONDS: Final = 600
HEAT_DAYS: Final = 90
TOP: Final = 5


@admits(*MANAGERS, Actor.PROVIDER, Actor.CLERK)
@require_safe
def overview(request: ClientRequest) -> HttpResponse:
    """Three numbers, what wants attention, and the trend; a clerk is shown the members instead."""
    if not request.standing.actors & {*MANAGERS, Actor.PROVIDER}:
        return redirect("portal:members")
    at, current, period = timezone.now(), published(), _period(request)
    days = figures.days_of(request.client, period=period)
    numbers = figures.three_numbers(days=days, at=at, period=period)
    context = {
        "numbers": numbers,
        "liabilities": [row.liability for row in days if row.liability][-7 * figures.WEEKS :: 7],
        "periods": [(n, n == period) for n in figures.PERIODS],
        "client": request.client,
        "chart": figures.trend(
            days=days,
            until=numbers.until,
            today=timezone.localdate(at),
            currency=request.client.currency,
            count=max(period, figures.CHART_DAYS) if period != figures.PERIOD else figures.PERIOD,
        ),
        "program": current,
        # Names and numbers of members are not the provider's to see.
        "knows_members": is_manager(request),
        **(_for_managers(request, current, at) if is_manager(request) else _for_provider(current)),
    }
    return render(request, "portal/overview.html", context)


def _period(request: ClientRequest) -> int:
    asked = request.GET.get("days", "")
    return int(asked) if asked in {str(n) for n in figures.PERIODS} else figures.PERIOD


def _for_provider(current: ProgramInForce | None) -> dict[str, Any]:
    return {"matters": attention.program_matters(has_program=current is not None)}


def _for_managers(request: ClientRequest, current: ProgramInForce | None, at: datetime) -> dict[str, Any]:
    newest = queries.newest_sale()
    unit = next(iter(units()), None)
    has_program = current is not None
    return {
        "matters": attention.matters(has_program=has_program, newest_sale=newest, at=at),
        "steps": [] if newest else attention.first_steps(has_program=has_program, has_sale=False),
        "unit": unit,
        "top": queries.best_balances(unit_id=unit.id, top=TOP) if unit else [],
        **_drawn(current, at),
    }


@admits(*MANAGERS)
@require_safe
def heat(request: ClientRequest) -> HttpResponse:
    """When members come, drawn: asked for by the overview where it is not at hand, for it passes over every sale."""
    at = timezone.now()
    visits = queries.visits_by_hour(since=at - timedelta(days=HEAT_DAYS), zone=request.client.time_zone)
    cache.set(_heat_key(at), visits, KEPT_SECONDS)
    return render(request, "portal/overview_heat.html", {"heat": Heat.of(visits)})


def _heat_key(at: datetime) -> str:
    return f"heat:{timezone.localdate(at)}"


def _drawn(current: ProgramInForce | None, at: datetime) -> dict[str, Any]:
    """Heat, tiers and segments; counted again only after some minutes, for they pass over every row."""
    key = f"overview:{timezone.localdate(at)}"
    counted, visits = cache.get(key), cache.get(_heat_key(at))
    if counted is None:
        counted = {"tiers": queries.tiers_held(), "segments": queries.segments()}
        cache.set(key, counted, KEPT_SECONDS)
    return {
        "heat": None if visits is None else Heat.of(visits),
        "tiers": _bars(_tier_names(current), counted["tiers"], "tier"),
        "segments": _bars(dict(Insight.Segment.choices), counted["segments"], "segment"),
    }


def _tier_names(current: ProgramInForce | None) -> dict[str, str]:
    tiers = current.spec.tiers if current else None
    return {"": _("Without a tier")} | {level.code: level.name for level in tiers.levels} if tiers else {}


def _bars(names: dict[str, Any], counted: dict[str, int], name: str) -> list[dict[str, Any]]:
    """How many there are of each, as bars that share one scale."""
    total = sum(counted.get(code, 0) for code in names)
    return [
        {
            "words": words,
            "count": counted.get(code, 0),
            "share": counted.get(code, 0) / total,
            "thousandths": round(1000 * counted.get(code, 0) / total),
            "query": f"{name}={code or '-'}",
        }
        for code, words in names.items()
        if total
    ]
