"""Clerks: who may unlock a till, with which PIN, and where."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from loyalty_saas import sentences_staff as sentences
from loyalty_saas.faces import ClientRequest
from loyalty_saas.portal.shared import MANAGERS, note
from loyalty_saas.portal.staff_forms import ClerkForm, NewClerk, PinForm
from loyalty_saas.tables import Column, Listing
from programs.models import Clerk, TillSession
from programs.services import tills
from tenants.access import admits

_COLUMNS = [
    Column("name", gettext_lazy("Name"), ("name",)),
    Column("location", gettext_lazy("Location"), ("location__name", "name")),
    Column("pin", gettext_lazy("PIN")),
    Column("seen", gettext_lazy("Last at a till"), ("last_at", "name")),
    Column("do", ""),
]
_SESSIONS = 10


@admits(*MANAGERS)
@require_safe
def clerks(request: ClientRequest) -> HttpResponse:
    """The clerks who work here, or those who have left."""
    return _list(request, NewClerk())


@admits(*MANAGERS)
@sensitive_post_parameters("pin")
@never_cache
@require_POST
def add(request: ClientRequest) -> HttpResponse:
    """A new clerk, with the PIN given or one made, which is shown once."""
    form = NewClerk(request.POST)
    if not form.is_valid():
        return _list(request, form)
    given = form.cleaned_data.pop("pin")
    made = given or tills.new_pin()
    found = tills.add_clerk(**form.cleaned_data, pin=made, at=timezone.now())
    note(request, action="clerk.added", subject=f"clerk:{found.pk}", detail={"role": found.role})
    if not given:
        return _show_pin(request, found, made)
    messages.success(request, _("%(name)s can unlock the till now.") % {"name": found.name})
    return redirect("portal:clerks")


@admits(*MANAGERS)
@require_http_methods(["GET", "HEAD", "POST"])
def clerk(request: ClientRequest, clerk_id: UUID) -> HttpResponse:
    """One clerk; by POST with another name, role or location."""
    found, at = _clerk(clerk_id), timezone.now()
    if request.method != "POST":
        return _one(request, found)
    form = ClerkForm(request.POST)
    if not form.is_valid():
        return _one(request, found, form=form)
    tills.change_clerk(clerk=found, **form.cleaned_data, at=at)
    detail = {"role": found.role, "location": str(found.location_id or "")}
    note(request, action="clerk.changed", subject=f"clerk:{found.pk}", detail=detail)
    messages.success(request, _("Saved."))
    return redirect("portal:clerk", found.pk)


@admits(*MANAGERS)
@sensitive_post_parameters("pin")
@never_cache
@require_POST
def pin(request: ClientRequest, clerk_id: UUID) -> HttpResponse:
    """Give a clerk another PIN, the one typed or one made, which is shown once."""
    found, form = get_object_or_404(_clerks(), pk=clerk_id, left_at=None), PinForm(request.POST)
    if not form.is_valid():
        return _one(request, found, pin_form=form)
    given = form.cleaned_data["pin"]
    made = given or tills.new_pin()
    tills.set_pin(clerk=found, pin=made, at=timezone.now())
    note(request, action="clerk.pin_set", subject=f"clerk:{found.pk}")
    if not given:
        return _show_pin(request, found, made)
    messages.success(request, _("%(name)s has a new PIN; the old one is worth nothing.") % {"name": found.name})
    return redirect("portal:clerk", found.pk)


@admits(*MANAGERS)
@require_POST
def unlock(request: ClientRequest, clerk_id: UUID) -> HttpResponse:
    """Let a clerk try again before the lock ends."""
    found = _clerk(clerk_id)
    tills.unlock_clerk(found.pk)
    note(request, action="clerk.unlocked", subject=f"clerk:{found.pk}")
    messages.success(request, _("%(name)s can try again now.") % {"name": found.name})
    return redirect("portal:clerks")


@admits(*MANAGERS)
@require_POST
def retire(request: ClientRequest, clerk_id: UUID) -> HttpResponse:
    """A clerk works here no longer."""
    found = get_object_or_404(_clerks(), pk=clerk_id, left_at=None)
    tills.retire_clerk(clerk=found, at=timezone.now())
    note(request, action="clerk.retired", subject=f"clerk:{found.pk}")
    messages.success(request, _("%(name)s can unlock no till any more.") % {"name": found.name})
    return redirect("portal:clerks")


@admits(*MANAGERS)
@require_POST
def bring_back(request: ClientRequest, clerk_id: UUID) -> HttpResponse:
    """A clerk works here again; there is a PIN to be set."""
    found = get_object_or_404(_clerks(), pk=clerk_id, left_at__isnull=False)
    tills.bring_back_clerk(clerk=found)
    note(request, action="clerk.returned", subject=f"clerk:{found.pk}")
    messages.success(request, _("%(name)s is back. Set a new PIN.") % {"name": found.name})
    return redirect("portal:clerk", found.pk)


def _list(request: ClientRequest, form: NewClerk) -> HttpResponse:
    at, left = timezone.now(), request.GET.get("show") == "left"
    rows = _clerks().filter(left_at__isnull=not left)
    listing = Listing(request, rows, columns=_COLUMNS, default="name")
    page = list(listing.page)
    locks = tills.clerk_locks([one.pk for one in page], at=at)
    shown = {
        "tab": "clerks",
        "section": "portal:staff",
        "listing": listing,
        "clerks": [(one, _until(locks, one.pk, at=at)) for one in page],
        "left": left,
        "left_count": Clerk.objects.filter(left_at__isnull=False).count(),
        "form": form,
    }
    return render(request, "portal/staff_clerks.html", shown, status=422 if form.errors else 200)


def _one(
    request: ClientRequest, found: Clerk, *, form: ClerkForm | None = None, pin_form: PinForm | None = None
) -> HttpResponse:
    at = timezone.now()
    given = {"name": found.name, "role": found.role, "location": found.location}
    shown = {
        "section": "portal:staff",
        "clerk": found,
        "form": form or ClerkForm(initial=given),
        "pin_form": pin_form or PinForm(),
        "locked": _until(tills.clerk_locks([found.pk], at=at), found.pk, at=at),
        "sessions": TillSession.objects.filter(clerk=found)
        .select_related("device__location")
        .order_by("-began_at")[:_SESSIONS],
    }
    return render(request, "portal/staff_clerk.html", shown, status=422 if form or pin_form else 200)


def _show_pin(request: ClientRequest, found: Clerk, made: str) -> HttpResponse:
    return render(request, "portal/staff_pin.html", {"clerk": found, "pin": made, "section": "portal:staff"})


def _until(locks: dict[UUID, Any], clerk_id: UUID, *, at: Any) -> str:
    until = locks.get(clerk_id)
    return sentences.until_words(until, at=at) if until else ""


def _clerks() -> QuerySet[Clerk]:
    last = TillSession.objects.filter(clerk=OuterRef("pk")).order_by("-began_at").values("began_at")[:1]
    return Clerk.objects.select_related("location").annotate(last_at=Subquery(last))


def _clerk(clerk_id: UUID) -> Clerk:
    return get_object_or_404(_clerks(), pk=clerk_id)
