"""A new client step by step: every step is kept, so that one may leave and come back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from loyalty_saas.console.forms import BusinessForm, OwnerForm, PlaceForm, ProgramForm, WizardForm
from loyalty_saas.console.promises import all_promises
from loyalty_saas.console.scope import STAFF, Scope, scope_of
from loyalty_saas.faces import PlatformRequest
from loyalty_saas.flows import onboarding as flow
from loyalty_saas.flows.programs import templates
from loyalty_saas.templatetags.loyalty import language_name
from tenants.access import admits
from tenants.context import public_atomic
from tenants.models import Client, Onboarding, Provider
from tenants.queries import primary_url, url_on
from tenants.services import onboarding as service


@dataclass(frozen=True)
class Step:
    """One page of the wizard."""

    words: str | Promise
    form: type[WizardForm]
    template: str


STEPS: Final = (
    Step(gettext_lazy("Business"), BusinessForm, "console/wizard_business.html"),
    Step(gettext_lazy("Program"), ProgramForm, "console/wizard_program.html"),
    Step(gettext_lazy("Place and money"), PlaceForm, "console/wizard_place.html"),
    Step(gettext_lazy("Owner and review"), OwnerForm, "console/wizard_review.html"),
)
LAST: Final = len(STEPS) - 1


@admits(*STAFF)
@require_http_methods(["GET", "HEAD", "POST"])
def add_client(request: PlatformRequest) -> HttpResponse:
    """The first step of a new client; nothing is kept before it has been sent once."""
    return _show(scope_of(request), draft=None, number=0)


@admits(*STAFF)
@require_http_methods(["GET", "HEAD", "POST"])
def draft(request: PlatformRequest, draft_id: UUID, number: int) -> HttpResponse:
    """A step of a client that is being filled in; one that was started has a page of its own."""
    scope = scope_of(request)
    found = _mine(scope, draft_id)
    if found.state != Onboarding.State.DRAFT:
        return redirect("console:onboarding", found.pk)
    if not 1 <= number <= len(STEPS):
        raise Http404
    return _show(scope, draft=found, number=number - 1)


@admits(*STAFF)
@require_POST
def discard(request: PlatformRequest, draft_id: UUID) -> HttpResponse:
    """Throw away a draft, or one that failed."""
    scope = scope_of(request)
    found = _mine(scope, draft_id)
    with public_atomic():
        gone = service.discard(found, actor=scope.actor, at=scope.at)
    name = found.request.get("name") or _("The draft")
    if not gone:
        messages.error(request, _("%(name)s is on its way already and was left alone.") % {"name": name})
        return redirect("console:onboarding", found.pk)
    messages.success(request, _("%(name)s was discarded.") % {"name": name})
    return redirect("console:overview")


@admits(*STAFF)
@require_POST
def again(request: PlatformRequest, draft_id: UUID) -> HttpResponse:
    """Fill in again what failed, with all that was typed."""
    scope = scope_of(request)
    found = _mine(scope, draft_id)
    if service.reopen(onboarding_id=found.pk, step=LAST, at=scope.at):
        scope.note(
            action="onboarding.reopened", subject=str(found.request.get("name", ""))[:200], provider=found.provider
        )
        return redirect("console:draft", found.pk, len(STEPS))
    return redirect("console:onboarding", found.pk)


@admits(*STAFF)
@require_safe
def address(request: PlatformRequest) -> HttpResponse:
    """Whether an address can be had, while it is typed."""
    slug = request.GET.get("slug", "").strip().lower()[:60]
    asked = service.request_of({"slug": slug, "domain": request.GET.get("domain", "")[:300]})
    found = service.address_problems(slug=asked.slug, host=asked.host)
    host = asked.host or f"{slug}.{settings.CLIENT_HOST_SUFFIX}"
    return render(
        request,
        "console/wizard_address.html",
        {"problem": found["slug"] or found["domain"], "url": url_on(host), "empty": not (slug or asked.host)},
    )


@admits(*STAFF)
@require_safe
def onboarding(request: PlatformRequest, onboarding_id: UUID) -> HttpResponse:
    """How far a new client is, or what came of it."""
    wanted = _mine(scope_of(request), onboarding_id)
    if wanted.state == Onboarding.State.DRAFT:
        return redirect("console:draft", wanted.pk, min(wanted.step, LAST) + 1)
    template = "console/onboarding_progress.html" if request.htmx else "console/onboarding.html"
    context = {
        "wanted": wanted,
        "running": wanted.state in {Onboarding.State.WAITING, Onboarding.State.RUNNING},
        "steps": [(words, _step_state(place, wanted)) for place, words in enumerate(flow.STEPS)],
        "url": primary_url(wanted.client) if wanted.client else "",
        "section": "console:clients",
    }
    return render(request, template, context)


def _mine(scope: Scope, onboarding_id: UUID) -> Onboarding:
    mine = Onboarding.objects.select_related("client", "provider").filter(provider__in=scope.providers)
    return get_object_or_404(mine, pk=onboarding_id)


def _show(scope: Scope, *, draft: Onboarding | None, number: int) -> HttpResponse:
    """One step: asked, kept, or refused with what was typed."""
    request = scope.request
    kept = dict(draft.request) if draft else {}
    form = STEPS[number].form(request.POST or None, kept=kept, providers=scope.providers)
    if number == 0 and draft and len(scope.houses) > 1:
        form.initial["provider"] = draft.provider_id
    if request.method == "POST":
        try:
            answer = _take(scope, form, draft=draft, number=number)
        except service.DraftGone:
            return _gone(scope)
        if answer:
            return answer
    context = {"form": form, "draft": draft, **_shown(form, draft=draft, number=number)}
    return render(request, STEPS[number].template, context, status=422 if form.errors else 200)


def _take(scope: Scope, form: WizardForm, *, draft: Onboarding | None, number: int) -> HttpResponse | None:
    """Keep what was sent and go on, back or away; None if the form has to be shown again."""
    go = scope.request.POST.get("go", "next")
    if go in {"back", "leave"}:
        if draft is None and not any(form.typed.values()):
            return redirect("console:overview")
        to = max(number - 1, 0) if go == "back" else number
        kept = _save(scope, form, form.typed, draft=draft, step=to)
        if go == "back":
            return redirect("console:draft", kept.pk, to + 1)
        messages.success(scope.request, _("Kept. Continue whenever you like."))
        return redirect("console:overview")
    if not form.is_valid():
        return None
    kept = _save(scope, form, form.given, draft=draft, step=min(number + 1, LAST))
    return _start(scope, form, kept) if number == LAST else redirect("console:draft", kept.pk, number + 2)


def _save(
    scope: Scope, form: WizardForm, values: Mapping[str, Any], *, draft: Onboarding | None, step: int
) -> Onboarding:
    return service.save_draft(
        provider=_provider(scope, form, draft),
        filled={**form.kept, **values},
        step=step,
        requested_by=scope.request.user.pk,
        at=scope.at,
        draft_id=draft.pk if draft else None,
    )


def _provider(scope: Scope, form: WizardForm, draft: Onboarding | None) -> Provider:
    chosen = getattr(form, "cleaned_data", {}).get("provider") if "provider" in form.fields else None
    return chosen or (draft.provider if draft else scope.house())


def _start(scope: Scope, form: WizardForm, kept: Onboarding) -> HttpResponse | None:
    try:
        flow.start_draft(draft=kept, requested_by=scope.request.user.pk, at=scope.at)
    except flow.OnboardingRefused as refused:
        for name, words in refused.problems.items():
            form.add_error(name if name in form.fields else None, words)
        return None
    return redirect("console:onboarding", kept.pk)


def _gone(scope: Scope) -> HttpResponse:
    messages.info(scope.request, _("This draft was started or discarded meanwhile."))
    return redirect("console:overview")


def _shown(form: WizardForm, *, draft: Onboarding | None, number: int) -> dict[str, Any]:
    """What the templates need: the steps to jump to, and what each step shows beside its form."""
    kept = form.kept
    found: dict[str, Any] = {
        "section": "console:clients",
        "number": number,
        "steps": [
            {"words": step.words, "state": _state(place, number, kept), "url": _url(draft, place, kept)}
            for place, step in enumerate(STEPS)
        ],
    }
    if number == 1:
        found["promises"] = all_promises(currency=kept.get("currency") or _currency(form))
        found["chosen"] = form["template"].value()
    if number == LAST:
        found.update(_review(kept, draft))
    return found


def _review(kept: Mapping[str, Any], draft: Onboarding | None) -> dict[str, Any]:
    asked = service.request_of(kept)
    host = asked.host or f"{asked.slug}.{settings.CLIENT_HOST_SUFFIX}"
    return {
        "asked": asked,
        "url": url_on(host),
        "trade": dict(Client.Trade.choices).get(asked.trade, asked.trade),
        "program": templates().get(asked.template, asked.template),
        "languages": [language_name(code) for code in asked.languages],
        "provider": draft.provider if draft else None,
    }


def _state(place: int, number: int, kept: Mapping[str, Any]) -> str:
    if place == number:
        return "now"
    return "done" if _is_filled(place, kept) else "ahead"


def _is_filled(place: int, kept: Mapping[str, Any]) -> bool:
    return all(kept.get(name) for name in STEPS[place].form.asks if name != "domain")


def _url(draft: Onboarding | None, place: int, kept: Mapping[str, Any]) -> str:
    """Where a step is that can be gone to: all before it are filled in."""
    if draft is None or not all(_is_filled(before, kept) for before in range(place)):
        return ""
    return reverse("console:draft", args=[draft.pk, place + 1])


def _currency(form: WizardForm) -> str:
    last = Client.objects.filter(provider__in=form.providers).order_by("-created_at").first()
    return last.currency if last else "USD"


def _step_state(place: int, wanted: Onboarding) -> str:
    if wanted.state == Onboarding.State.DONE or place < wanted.step:
        return "done"
    return "now" if place == wanted.step and wanted.state != Onboarding.State.FAILED else "ahead"
