"""Returns that found no sale."""

from uuid import UUID

from django.core.paginator import Paginator
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from loyalty_saas.faces import ClientRequest
from loyalty_saas.portal.forms import Dismissal
from loyalty_saas.portal.shared import MANAGERS, PAGE, note
from members import queries
from members.services.parked import dismiss_parked_return
from members.services.refusals import Refused
from tenants.access import admits


@admits(*MANAGERS)
@require_safe
def parked(request: ClientRequest) -> HttpResponse:
    """Returns that found no sale and wait for a manager."""
    page = Paginator(queries.parked_returns(), PAGE).get_page(request.GET.get("page"))
    return render(request, "portal/parked.html", {"page": page, "form": Dismissal(), "section": "portal:parked"})


@admits(*MANAGERS)
@require_POST
def dismiss(request: ClientRequest, line_id: UUID) -> HttpResponse:
    """Close a parked return with a reason."""
    at, form = timezone.now(), Dismissal(request.POST)
    if form.is_valid():
        try:
            with transaction.atomic():
                dismiss_parked_return(line_id=line_id, reason=form.cleaned_data["reason"], by=request.user.pk, at=at)
        except Refused as refused:
            form.add_error(None, refused.words)
        else:
            note(request, action="parked_return.dismissed", subject=str(line_id))
            return redirect("portal:parked")
    page = Paginator(queries.parked_returns(), PAGE).get_page(request.GET.get("page"))
    context = {"page": page, "form": form, "refused_line": line_id, "section": "portal:parked"}
    return render(request, "portal/parked.html", context, status=422)
