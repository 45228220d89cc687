"""Tills: devices of a location, how they are enrolled, and how they are put out of use."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import segno
from django.contrib import messages
from django.db.models import Prefetch, QuerySet
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django_htmx.http import reswap, retarget

from loyalty_saas import bearers
from loyalty_saas import sentences_staff as sentences
from loyalty_saas.faces import ClientRequest
from loyalty_saas.portal.shared import MANAGERS, note
from loyalty_saas.portal.staff_forms import NewTill, RenameTill, open_locations
from loyalty_saas.tables import Column, Listing
from programs.models import Device, DeviceCode, TillSession
from programs.services import tills as service
from tenants.access import admits
from tenants.queries import primary_url

_COLUMNS = [
    Column("name", gettext_lazy("Till"), ("name",)),
    Column("location", gettext_lazy("Location"), ("location__name", "name")),
    Column("clerk", gettext_lazy("Who is on it")),
    Column("seen", gettext_lazy("Last seen"), ("seen_at", "name")),
    Column("do", ""),
]
_SESSIONS = 10
_JUST_NOW = timedelta(minutes=1)


@admits(*MANAGERS)
@require_safe
def tills(request: ClientRequest) -> HttpResponse:
    """The tills in use, or those put out of it."""
    return _list(request, NewTill())


@admits(*MANAGERS)
@never_cache
@require_POST
def new_code(request: ClientRequest) -> HttpResponse:
    """A code for one device, shown once, in letters and as a QR code."""
    at, form = timezone.now(), NewTill(request.POST)
    if not form.is_valid():
        return _list(request, form)
    waiting, code = service.make_device_code(**form.cleaned_data, by=request.user.pk, at=at)
    subject = f"{waiting.name} · {waiting.location.name}"
    note(request, action="till.code_made", subject=subject)
    address = primary_url(request.client, reverse("till:enrol"))
    shown = {
        **_state(waiting, at=at),
        "section": "portal:staff",
        "spoken": service.spoken(code),
        "address": address,
        "qr": _qr(f"{address}?code={code}"),
    }
    return render(request, "portal/staff_code.html", shown)


@admits(*MANAGERS)
@never_cache
@require_safe
def code_state(request: ClientRequest, code_id: UUID) -> HttpResponse:
    """How long a code is still good, or what came of it; the page that shows the code asks every few seconds."""
    at = timezone.now()
    waiting = get_object_or_404(DeviceCode.objects.select_related("location", "device"), pk=code_id)
    if not request.htmx:
        return redirect("portal:tills")
    if waiting.used_at is None and waiting.expires_at > at:
        return render(request, "portal/staff_code_time.html", _state(waiting, at=at))
    answer = render(request, "portal/staff_code_done.html", _state(waiting, at=at))
    retarget(answer, "#enrolling")
    reswap(answer, "outerHTML")
    return answer


@admits(*MANAGERS)
@require_POST
def withdraw_code(request: ClientRequest, code_id: UUID) -> HttpResponse:
    """Take back a code that no device has used."""
    waiting = get_object_or_404(DeviceCode.objects.select_related("location"), pk=code_id)
    if service.withdraw_code(waiting):
        note(request, action="till.code_withdrawn", subject=f"{waiting.name} · {waiting.location.name}")
        messages.success(request, _("The code for %(name)s is worth nothing now.") % {"name": waiting.name})
    else:
        messages.info(request, _("The code was used meanwhile."))
    return redirect("portal:tills")


@admits(*MANAGERS)
@require_http_methods(["GET", "HEAD", "POST"])
def till(request: ClientRequest, device_id: UUID) -> HttpResponse:
    """One till; by POST with another name."""
    found = _device(device_id)
    if request.method != "POST":
        return _one(request, found, RenameTill(initial={"name": found.name}))
    form = RenameTill(request.POST)
    if not form.is_valid():
        return _one(request, found, form)
    service.rename_device(device=found, name=form.cleaned_data["name"])
    note(request, action="till.renamed", subject=f"till:{found.pk}", detail={"name": found.name})
    messages.success(request, _("Saved."))
    return redirect("portal:till", found.pk)


@admits(*MANAGERS)
@require_POST
def unlock(request: ClientRequest, device_id: UUID) -> HttpResponse:
    """Let a till take PINs again before the lock ends."""
    found = _device(device_id)
    service.unlock_till(found)
    note(request, action="till.reopened", subject=f"till:{found.pk}")
    messages.success(request, _("%(name)s takes PINs again.") % {"name": found.name})
    return redirect("portal:tills")


@admits(*MANAGERS)
@require_POST
def revoke(request: ClientRequest, device_id: UUID) -> HttpResponse:
    """Put a till out of use."""
    found = _device(device_id)
    service.revoke_device(device=found, at=timezone.now())
    note(request, action="till.revoked", subject=f"till:{found.pk}", detail={"name": found.name})
    messages.success(request, _("%(name)s is out of use.") % {"name": found.name})
    return redirect("portal:tills")


def _list(request: ClientRequest, form: NewTill) -> HttpResponse:
    at, revoked = timezone.now(), request.GET.get("show") == "revoked"
    rows = _devices(at=at).filter(revoked_at__isnull=not revoked)
    listing = Listing(request, rows, columns=_COLUMNS, default="name")
    page = list(listing.page)
    locks = service.till_locks(page, at=at)
    shown = {
        "tab": "tills",
        "section": "portal:staff",
        "listing": listing,
        "tills": [_line(device, locks.get(device.pk), at=at) for device in page],
        "revoked": revoked,
        "revoked_count": Device.objects.filter(revoked_at__isnull=False).count(),
        "waiting": [_state(one, at=at) for one in service.open_codes(at=at)],
        "has_location": open_locations().exists(),
        "form": form,
    }
    return render(request, "portal/staff_tills.html", shown, status=422 if form.errors else 200)


def _one(request: ClientRequest, found: Device, form: RenameTill) -> HttpResponse:
    at = timezone.now()
    shown = {
        "section": "portal:staff",
        **_line(found, service.till_locks([found], at=at).get(found.pk), at=at),
        "form": form,
        "sessions": TillSession.objects.filter(device=found).select_related("clerk").order_by("-began_at")[:_SESSIONS],
    }
    return render(request, "portal/staff_till.html", shown, status=422 if form.errors else 200)


def _line(device: Device, until: datetime | None, *, at: datetime) -> dict[str, Any]:
    return {
        "device": device,
        "clerk": next((session.clerk for session in device.at_work), None),  # type: ignore[attr-defined]
        "is_here": at - device.seen_at < _JUST_NOW,
        "locked": sentences.until_words(until, at=at) if until else "",
    }


def _state(waiting: DeviceCode, *, at: datetime) -> dict[str, Any]:
    return {"waiting": waiting, "left": sentences.minutes_words(waiting.expires_at - at)}


def _devices(*, at: datetime) -> QuerySet[Device]:
    """Devices with whoever is on them now: a session that nobody has touched for two minutes is locked."""
    awake = TillSession.objects.filter(ended_at=None, seen_at__gte=at - bearers.TILL_IDLE).select_related("clerk")
    return Device.objects.select_related("location").prefetch_related(
        Prefetch("sessions", queryset=awake, to_attr="at_work")
    )


def _device(device_id: UUID) -> Device:
    return get_object_or_404(_devices(at=timezone.now()), pk=device_id)


def _qr(address: str) -> SafeString:
    drawn = segno.make(address, error="m").svg_inline(omitsize=True, border=0, svgclass="block size-44")
    return mark_safe(drawn)  # noqa: S308 (drawn by segno, from an address of ours)
