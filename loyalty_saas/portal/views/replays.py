"""A draft tried on purchases that really happened, before it is published."""

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext_lazy
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from loyalty_saas.faces import ClientRequest
from loyalty_saas.flows import replays as flow
from loyalty_saas.portal import replay_view
from loyalty_saas.portal.editor import Bench
from loyalty_saas.portal.editor_flow import workbench
from loyalty_saas.portal.shared import MANAGERS, is_manager, note
from loyalty_saas.tasks import send_replay
from members.models import Identity, Replay
from members.services import replays as service
from programs.rules import ProgramError
from tenants.access import Actor, admits

_LOOKING = (*MANAGERS, Actor.PROVIDER)
_SHOWN = 10
_USUAL = "6"


class SpanForm(forms.Form):
    """Over which purchases a draft is tried."""

    months = forms.TypedChoiceField(
        label=gettext_lazy("Purchases of the last"),
        choices=[(str(n), ngettext_lazy("%(n)d month", "%(n)d months", n) % {"n": n}) for n in flow.SPANS],
        coerce=int,
        initial=_USUAL,
        widget=forms.RadioSelect,
        error_messages={"required": gettext_lazy("Choose how far back to look.")},
    )


@admits(*_LOOKING)
@require_http_methods(["GET", "HEAD", "POST"])
def replays(request: ClientRequest) -> HttpResponse:
    """What was tried so far, and a new try."""
    bench, may_edit = workbench(request), is_manager(request)
    form = SpanForm(request.POST or None)
    if request.method == "POST" and may_edit and bench.draft and form.is_valid():
        made = _start(request, bench, form.cleaned_data["months"])
        if made is not None:
            return redirect("portal:replay", made.pk)
    page = Paginator(Replay.objects.order_by("-started_at"), _SHOWN).get_page(request.GET.get("page"))
    rows = [(one, replay_view.months_of(one), _said(one, request)) for one in page]
    context = {"bench": bench, "form": form, "may_edit": may_edit, "page": page, "rows": rows}
    refused = request.method == "POST"
    return render(
        request, "portal/replays.html", {**context, "section": "portal:program"}, status=422 if refused else 200
    )


@admits(*_LOOKING)
@require_safe
def replay(request: ClientRequest, replay_id: UUID) -> HttpResponse:
    """How far a try is, or what came of it."""
    found = get_object_or_404(Replay, pk=replay_id)
    if service.unfinished(at=timezone.now()).filter(pk=found.pk).exists():
        send_replay(schema_name=request.client.schema_name, replay_id=found.pk)
    context = _context(request, found)
    if request.htmx and context["running"]:
        return render(request, "portal/replay_progress.html", context)
    answer = render(request, "portal/replay.html", context)
    if request.htmx:
        # The whole page comes: what was asked for every second is over.
        answer["HX-Refresh"] = "true"
    return answer


@admits(*MANAGERS)
@require_POST
def stop(request: ClientRequest, replay_id: UUID) -> HttpResponse:
    """Stop a try that is under way."""
    found = get_object_or_404(Replay, pk=replay_id)
    if flow.stop(replay_id=found.pk, at=timezone.now()):
        note(request, action="program.replay_stopped", subject=str(found.pk))
        messages.success(request, _("Stopped. Nothing has changed for members."))
    return redirect("portal:replay", found.pk)


def _start(request: ClientRequest, bench: Bench, months: int) -> Replay | None:
    if bench.draft is None:
        return None
    try:
        made = flow.start(document=bench.draft.document, months=months, at=timezone.now(), by=request.user.pk)
    except ProgramError:
        messages.error(request, _("The draft has mistakes: mend them first, they are named on the page to publish."))
        return None
    note(request, action="program.replay_started", subject=str(made.pk), detail={"months": months})
    send_replay(schema_name=request.client.schema_name, replay_id=made.pk)
    return made


def _context(request: ClientRequest, found: Replay) -> dict[str, Any]:
    bench = workbench(request)
    is_done = found.state == Replay.State.DONE
    names = _names(found) if is_done and is_manager(request) else {}
    return {
        "replay": found,
        "running": found.state in service.RUNNING,
        "months": replay_view.months_of(found),
        "bench": bench,
        "may_edit": is_manager(request),
        "is_old": bench.draft is None or bench.draft.document != found.document,
        "section": "portal:program",
        **(replay_view.laid_out(found, currency=request.client.currency, names=names) if is_done else {}),
    }


def _names(found: Replay) -> dict[str, str]:
    told = [one["member_id"] for one in (*found.result["winners"], *found.result["losers"])]
    named = Identity.objects.filter(member__in=told).exclude(name="")
    return {str(member_id): name for member_id, name in named.values_list("member_id", "name")}


def _said(found: Replay, request: ClientRequest) -> str:
    if found.state != Replay.State.DONE:
        return ""
    return replay_view.verdict(found, currency=request.client.currency)
