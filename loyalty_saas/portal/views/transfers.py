"""Points that a manager moves from one member to another."""

from uuid import UUID

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from loyalty_saas.faces import ClientRequest
from loyalty_saas.portal.member_forms import TransferForm
from loyalty_saas.portal.shared import MANAGERS, asked_text, is_owner, note, phone_spellings, zone_of
from loyalty_saas.portal.views.members import add_refusal
from loyalty_saas.templatetags.loyalty import unit_amount
from members import queries
from members.models import Member
from members.services.limits import MANAGERS_LIMITS, OWNERS_LIMITS, HandLimits
from members.services.points import NotEnoughPoints
from members.services.refusals import Refused
from members.services.transfers import transfer_by_hand
from programs.queries import units
from tenants.access import admits


@admits(*MANAGERS)
@require_http_methods(["GET", "HEAD", "POST"])
def transfer(request: ClientRequest, member_id: UUID) -> HttpResponse:
    """Find who gets the points, then how many and why."""
    source = queries.member_by_id(member_id)
    if source is None or source.status != Member.Status.ACTIVE:
        raise Http404
    target = _target(request, source)
    form = TransferForm(request.POST or None, units=units())
    if request.method == "POST" and target is not None and form.is_valid() and _moved(request, source, target, form):
        return redirect("portal:member", source.pk)
    text = asked_text(request)
    found = queries.find_members(text, also=phone_spellings(text, request.client)) if text else ()
    context = {
        "member": source,
        "target": target,
        "form": form,
        "balances": queries.balances(member_id=source.pk, at=timezone.now()),
        "limits": _limits(request),
        "query": text,
        "found": [one for one in found if one != source],
        "section": "portal:members",
    }
    return render(request, "portal/member_transfer.html", context, status=422 if form.errors else 200)


def _limits(request: ClientRequest) -> HandLimits:
    return OWNERS_LIMITS if is_owner(request) else MANAGERS_LIMITS


def _target(request: ClientRequest, source: Member) -> Member | None:
    try:
        asked = UUID(request.POST.get("to") or request.GET.get("to", ""))
    except ValueError:
        return None
    found = queries.member_by_id(asked)
    return found if found and found != source and found.status == Member.Status.ACTIVE else None


def _moved(request: ClientRequest, source: Member, target: Member, form: TransferForm) -> bool:
    at, reason = timezone.now(), form.cleaned_data["reason"]
    try:
        with transaction.atomic():
            made = transfer_by_hand(
                from_id=source.pk,
                to_id=target.pk,
                unit=form.chosen,
                amount=form.steps,
                reason=reason,
                key=f"hand:{form.cleaned_data['key']}",
                limits=_limits(request),
                by=request.user.pk,
                at=at,
                zone=zone_of(request.client),
            )
    except NotEnoughPoints as short:
        words = _("Only %(available)s can be moved: the rest is not there, pending or held for a reward.")
        form.add_error("amount", words % {"available": unit_amount(short.available, form.chosen)})
        return False
    except Refused as refused:
        add_refusal(form, refused)
        return False
    if made.at == at:
        detail = {"to": str(target.pk), "unit": form.chosen.code, "amount": form.steps, "reason": reason}
        note(request, action="points.transferred", subject=str(source.pk), detail=detail)
    messages.success(request, _("Done. It stands in the statements of both with your reason."))
    return True
