"""How a device becomes a till, and how a clerk unlocks and leaves it."""

import ipaddress
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import structlog
from allauth.account.adapter import get_adapter
from django import forms
from django.core.validators import RegexValidator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from loyalty_saas import bearers
from loyalty_saas import sentences_staff as sentences
from loyalty_saas.bearers import TillStanding
from loyalty_saas.faces import FaceRequest, TillRequest
from programs.models import Clerk, Device, TillSession
from programs.services import tills
from tenants.access import Actor, admits
from tenants.context import current_client, public_atomic
from tenants.services import audit, lockouts
from tenants.services.lockouts import Locked

logger = structlog.get_logger(__name__)

# Codes tried from one address in a row.
CODE_TRIES: Final = 10


class EnrolForm(forms.Form):
    """The code shown in the portal."""

    code = forms.CharField(label=gettext_lazy("Code"), max_length=20)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["code"].widget.attrs.update(
            autocomplete="off", autocapitalize="characters", spellcheck="false", autofocus=True
        )

    def clean_code(self) -> str:
        """The code's characters alone."""
        code = tills.plain(self.cleaned_data["code"])
        if len(code) != tills.CODE_LENGTH:
            raise forms.ValidationError(_("A code has 8 letters and digits, such as H7KM-4Q2X."))
        return code


class PinForm(forms.Form):
    """Who unlocks the till, and with what."""

    clerk = forms.UUIDField(error_messages={"required": gettext_lazy("Choose who you are.")})
    pin = forms.CharField(
        max_length=8,
        error_messages={"required": gettext_lazy("Enter your PIN.")},
        validators=[RegexValidator(r"\A[0-9]{4,8}\Z", gettext_lazy("A PIN has 4 to 8 digits."))],
    )


@admits(Actor.ANYONE)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def enrol(request: FaceRequest) -> HttpResponse:
    """Make this device a till with the code from the portal, or say that it is one."""
    at = timezone.now()
    if known := bearers.till_of(request, at=at):
        return render(request, "till/enrol.html", {"device": known.device})
    if request.method != "POST":
        form = EnrolForm(initial={"code": request.GET.get("code", "")[:20]})
        return render(request, "till/enrol.html", {"form": form})
    form = EnrolForm(request.POST)
    if form.is_valid() and (done := _enrolled(request, form, at=at)):
        return done
    status = 429 if form.has_error("code", "locked") else 422
    return render(request, "till/enrol.html", {"form": form}, status=status)


@admits(Actor.DEVICE)
@never_cache
@require_safe
def lock(request: TillRequest) -> HttpResponse:
    """The clerks of this location, and the keys for the PIN."""
    return _lock_page(request, at=timezone.now())


@admits(Actor.DEVICE)
@sensitive_post_parameters("pin")
@never_cache
@require_POST
def unlock(request: TillRequest) -> HttpResponse:
    """Take the clerk's PIN."""
    at, form = timezone.now(), PinForm(request.POST)
    chosen = form.data.get("clerk", "")
    if not form.is_valid():
        return _lock_page(request, at=at, chosen=chosen, problem=_first_error(form), status=422)
    device, clerk_id = request.till.device, form.cleaned_data["clerk"]
    try:
        session = tills.begin_session(device=device, clerk_id=clerk_id, pin=form.cleaned_data["pin"], at=at)
    except tills.WrongPin as wrong:
        _note_wrong(device, clerk_id=clerk_id, left=wrong.left, at=at)
        words = sentences.wrong_pin(wrong.left) if wrong.left else _now_locked(clerk_id, at=at)
        return _lock_page(request, at=at, chosen=chosen, problem=words, status=422)
    except Locked as locked:
        return _lock_page(request, at=at, chosen=chosen, problem=_locked_words(locked, at=at), status=429)
    except tills.DeviceGone:
        return redirect("till:enrol")
    _note(device, action="till.unlocked", subject=f"clerk:{session.clerk_id}", at=at)
    return redirect("till:till")


@admits(Actor.DEVICE)
@never_cache
@require_POST
def leave(request: TillRequest) -> HttpResponse:
    """Lock the till now."""
    tills.end_session(device=request.till.device, at=timezone.now())
    return redirect("till:lock")


@admits(Actor.TILL)
@never_cache
@require_POST
def awake(request: TillRequest) -> HttpResponse:
    """Somebody touches the till, though nothing is asked of it: the middleware notes it."""
    return HttpResponse(status=204)


# ── enrolment ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _enrolled(request: FaceRequest, form: EnrolForm, *, at: datetime) -> HttpResponse | None:
    """The answer that carries the device's token; None with the form's errors where the code is not good."""
    subject = f"enrol:{_asker(request)}"
    try:
        lockouts.take_try(client=request.client, subject=subject, limit=CODE_TRIES, at=at)
        device, token = tills.enrol_device(code=form.cleaned_data["code"], at=at)
    except Locked as locked:
        words = _("Too many wrong codes. Try again at %(until)s.") % {
            "until": sentences.until_words(locked.until, at=at)
        }
        form.add_error("code", forms.ValidationError(words, code="locked"))
        return None
    except tills.CodeGone:
        logger.warning("till_code_refused")
        form.add_error("code", _("This code is not good, or no longer: ask for a new one in the portal."))
        return None
    lockouts.clear(client=request.client, subject=subject)
    _note(device, action="till.enrolled", subject=f"{device.name} · {device.location.name}", at=at)
    response = redirect("till:lock")
    bearers.give_cookie(response, name=bearers.DEVICE_COOKIE, token=token)
    return response


def _asker(request: HttpRequest) -> str:
    """Where the request comes from, told apart but not told: an address, of IPv6 the network."""
    given = get_adapter().get_client_ip(request)
    try:
        address = ipaddress.ip_address(given)
        place = str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else given
    except ValueError:
        place = given
    return salted_hmac("enrol-asker", place, algorithm="sha256").hexdigest()[:32]


# ── the lock ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _lock_page(
    request: TillRequest, *, at: datetime, chosen: str = "", problem: str = "", status: int = 200
) -> HttpResponse:
    till, clerks = request.till, list(tills.clerks_at(request.till.device.location))
    locked = tills.clerk_locks([clerk.pk for clerk in clerks], at=at)
    till_until = tills.till_locks([till.device], at=at).get(till.device.pk)
    shown = {
        "clerks": [
            (clerk, sentences.until_words(until, at=at) if (until := locked.get(clerk.pk)) else "") for clerk in clerks
        ],
        "chosen": chosen if chosen in {str(clerk.pk) for clerk in clerks if clerk.pk not in locked} else "",
        "problem": problem,
        "till_locked": sentences.till_locked(till_until, at=at) if till_until else "",
        "last": _last_here(till),
    }
    response = render(request, "till/lock.html", shown, status=status)
    if status == 429 and (until := till_until or max(locked.values(), default=None)):
        response["Retry-After"] = str(max(int((until - at).total_seconds()), 1))
    return response


def _last_here(till: TillStanding) -> UUID | None:
    """Who had this till last: most often it is them again."""
    last = TillSession.objects.filter(device=till.device).order_by("-began_at")
    return last.values_list("clerk_id", flat=True).first()


def _now_locked(clerk_id: UUID, *, at: datetime) -> str:
    """What the last wrong PIN has done to the clerk; what it did to the till, the page says anyway."""
    until = tills.clerk_locks([clerk_id], at=at).get(clerk_id)
    return _clerk_locked(clerk_id, until, at=at) if until else sentences.wrong_pin(0)


def _locked_words(locked: Locked, *, at: datetime) -> str:
    kind, _colon, clerk_id = locked.subject.rpartition(":")
    if kind != "pin:clerk":
        return sentences.till_locked(locked.until, at=at)
    return _clerk_locked(UUID(clerk_id), locked.until, at=at)


def _clerk_locked(clerk_id: UUID, until: datetime, *, at: datetime) -> str:
    name = Clerk.objects.filter(pk=clerk_id, left_at=None).values_list("name", flat=True).first()
    return sentences.clerk_locked(name or _("this clerk"), until, at=at)


def _first_error(form: forms.Form) -> str:
    return str(next(iter(form.errors.values()))[0])


def _note_wrong(device: Device, *, clerk_id: UUID, left: int, at: datetime) -> None:
    logger.warning("till_pin_wrong", device=str(device.pk), clerk=str(clerk_id), left=left)
    if left < 1:
        _note(device, action="till.locked_out", subject=f"clerk:{clerk_id}", at=at)


def _note(device: Device, *, action: str, subject: str, at: datetime) -> None:
    with public_atomic():
        audit.record(action=action, actor=f"till:{device.pk}", subject=subject, client=current_client(), at=at)
