"""Purchases and activities that could not be credited, and wait for a person."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.core.paginator import Paginator
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from loyalty_saas import workers
from loyalty_saas.faces import ClientRequest
from loyalty_saas.portal.forms import Dismissal
from loyalty_saas.portal.shared import MANAGERS, PAGE, note
from loyalty_saas.sentences import activity_words
from members import queries
from members.models import Activity, Purchase, WorkItem
from members.services.refusals import Refused
from members.services.set_aside import dismiss_set_aside, release_set_aside
from tenants.access import admits

_OWN_KINDS = frozenset({"sign_up", "birthday"})


@dataclass(frozen=True)
class Stuck:
    """An item with what it is about."""

    item: WorkItem
    purchase: Purchase | None
    activity: Activity | None

    @property
    def title(self) -> str:
        """What an activity was: “A trip TRIP-00017”; what the platform itself recorded has no number for people."""
        if self.activity is None:
            return ""
        words = activity_words(self.activity.kind)
        number = "" if self.activity.kind in _OWN_KINDS else self.activity.reference
        return f"{words[:1].upper()}{words[1:]} {number}".strip()


@admits(*MANAGERS)
@require_safe
def set_aside(request: ClientRequest) -> HttpResponse:
    """What could not be credited, oldest first."""
    return _shown(request, form=Dismissal())


@admits(*MANAGERS)
@require_POST
def release(request: ClientRequest, source_id: UUID) -> HttpResponse:
    """Try one again."""
    try:
        with transaction.atomic():
            release_set_aside(source_id=source_id)
    except Refused as refused:
        form = Dismissal(request.POST)
        form.add_error(None, refused.words)
        return _shown(request, form=form, status=422)
    note(request, action="set_aside.released", subject=str(source_id))
    workers.wake(request.client.schema_name)
    return redirect("portal:set_aside")


@admits(*MANAGERS)
@require_POST
def dismiss(request: ClientRequest, source_id: UUID) -> HttpResponse:
    """Give one up, with a reason."""
    form, at = Dismissal(request.POST), timezone.now()
    if form.is_valid():
        try:
            with transaction.atomic():
                dismiss_set_aside(source_id=source_id, reason=form.cleaned_data["reason"], at=at)
        except Refused as refused:
            form.add_error(None, refused.words)
        else:
            reason = form.cleaned_data["reason"]
            note(request, action="set_aside.dismissed", subject=str(source_id), detail={"reason": reason})
            return redirect("portal:set_aside")
    return _shown(request, form=form, refused=source_id, status=422)


def _shown(request: ClientRequest, *, form: Dismissal, refused: UUID | None = None, status: int = 200) -> HttpResponse:
    page = Paginator(queries.set_aside(), PAGE).get_page(request.GET.get("page"))
    context: dict[str, Any] = {
        "page": page,
        "stuck": _stuck(list(page.object_list)),
        "form": form,
        "refused": refused,
        "section": "portal:parked",
    }
    return render(request, "portal/set_aside.html", context, status=status)


def _stuck(items: Sequence[WorkItem]) -> list[Stuck]:
    wanted = [item.source_id for item in items]
    purchases = queries.purchases().prefetch_related(None).in_bulk(wanted)
    activities = Activity.objects.select_related("member__identity").in_bulk(wanted)
    return [Stuck(item, purchases.get(item.source_id), activities.get(item.source_id)) for item in items]
