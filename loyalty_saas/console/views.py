"""Pages of the console."""

from uuid import UUID

from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from loyalty_saas.console import figures
from loyalty_saas.console.forms import AddClient
from loyalty_saas.faces import PlatformRequest
from loyalty_saas.flows import onboarding as flow
from tenants.access import Actor, admits
from tenants.models import Onboarding
from tenants.queries import primary_url

PAGE = 50
ATTENTION = 4


@admits(Actor.PLATFORM, Actor.PROVIDER)
@require_safe
def overview(request: PlatformRequest) -> HttpResponse:
    """The clients, those in trouble first, and their figures together."""
    at = timezone.now()
    providers = figures.providers_of(user=request.user, standing=request.standing, at=at)
    lines = figures.client_lines(providers=providers, at=at)
    page = Paginator(lines, PAGE).get_page(request.GET.get("page"))
    trends = figures.trends(lines=list(page), until=at.date())
    in_trouble = [line for line in lines if line.troubles]
    return render(
        request,
        "console/overview.html",
        {
            "page": page,
            "rows": [(line, trends[line.client.pk]) for line in page],
            "totals": figures.totals(lines),
            "attention": in_trouble[:ATTENTION],
            "in_trouble": len(in_trouble),
            "chart": figures.sales_chart(providers=providers, until=at.date()),
            "today": at.date(),
        },
    )


@admits(Actor.PLATFORM, Actor.PROVIDER)
@require_http_methods(["GET", "HEAD", "POST"])
def add_client(request: PlatformRequest) -> HttpResponse:
    """Ask for a new client, and set it going."""
    at = timezone.now()
    providers = figures.providers_of(user=request.user, standing=request.standing, at=at)
    form = AddClient(request.POST or None, providers=providers)
    if request.method == "POST" and form.is_valid():
        try:
            wanted = flow.request_onboarding(**form.cleaned_data, requested_by=request.user.pk, at=at)
        except flow.OnboardingRefused as refused:
            for name, words in refused.problems.items():
                form.add_error(name if name in form.fields else None, words)
        else:
            return redirect("console:onboarding", wanted.pk)
    return render(request, "console/add_client.html", {"form": form}, status=422 if form.errors else 200)


@admits(Actor.PLATFORM, Actor.PROVIDER)
@require_safe
def onboarding(request: PlatformRequest, onboarding_id: UUID) -> HttpResponse:
    """How far a new client is, or what came of it."""
    providers = figures.providers_of(user=request.user, standing=request.standing, at=timezone.now())
    mine = Onboarding.objects.select_related("client", "provider").filter(provider__in=providers)
    wanted = get_object_or_404(mine, pk=onboarding_id)
    template = "console/onboarding_progress.html" if request.htmx else "console/onboarding.html"
    return render(
        request,
        template,
        {
            "wanted": wanted,
            "running": wanted.state in {Onboarding.State.WAITING, Onboarding.State.RUNNING},
            "steps": [(words, _step_state(place, wanted)) for place, words in enumerate(flow.STEPS)],
            "url": primary_url(wanted.client) if wanted.client else "",
        },
    )


def _step_state(place: int, wanted: Onboarding) -> str:
    if wanted.state == Onboarding.State.DONE or place < wanted.step:
        return "done"
    return "now" if place == wanted.step and wanted.state != Onboarding.State.FAILED else "ahead"
