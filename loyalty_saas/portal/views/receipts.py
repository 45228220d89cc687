"""A receipt that was booked to the wrong member."""

from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from loyalty_saas.faces import ClientRequest
from loyalty_saas.flows.receipts import move_receipt
from loyalty_saas.portal.forms import Dismissal
from loyalty_saas.portal.shared import MANAGERS, asked_text, note, phone_spellings
from members import queries
from members.models import Member, Purchase
from members.services.refusals import Refused
from tenants.access import admits


@admits(*MANAGERS)
@require_http_methods(["GET", "HEAD", "POST"])
def receipt_move(request: ClientRequest, purchase_id: UUID) -> HttpResponse:
    """Find whose receipt it was, and move it there with a reason."""
    purchase = queries.purchase_by_id(purchase_id)
    if purchase is None or purchase.kind != Purchase.Kind.SALE:
        raise Http404
    target = _target(request)
    form = Dismissal(request.POST or None)
    if request.method == "POST" and target is not None and form.is_valid():
        moved = _moved(request, purchase, target, form)
        if moved:
            return redirect("portal:receipt", moved)
    text = asked_text(request)
    found = queries.find_members(text, also=phone_spellings(text, request.client)) if text else ()
    context = {
        "purchase": purchase,
        "target": target,
        "form": form,
        "query": text,
        "found": [one for one in found if one.pk != purchase.member_id],
        "section": "portal:members",
    }
    return render(request, "portal/receipt_move.html", context, status=422 if form.errors else 200)


def _target(request: ClientRequest) -> Member | None:
    try:
        asked = UUID(request.POST.get("to") or request.GET.get("to", ""))
    except ValueError:
        return None
    found = queries.member_by_id(asked)
    return found if found and found.status == Member.Status.ACTIVE else None


def _moved(request: ClientRequest, purchase: Purchase, target: Member, form: Dismissal) -> UUID | None:
    try:
        moved = move_receipt(purchase_id=purchase.pk, to_id=target.pk, at=timezone.now())
    except Refused as refused:
        form.add_error(None, refused.words)
        return None
    detail = {"from": str(purchase.member_id), "to": str(target.pk), "moved": str(moved)}
    note(
        request,
        action="receipt.moved",
        subject=str(purchase.pk),
        detail={**detail, "reason": form.cleaned_data["reason"]},
    )
    messages.success(request, _("Moved. The old receipt is cancelled, and the points follow within moments."))
    return moved
