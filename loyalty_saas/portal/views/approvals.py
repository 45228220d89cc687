"""Corrections that wait for a second person: agreed to, refused, withdrawn."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from loyalty_saas.faces import ClientRequest
from loyalty_saas.portal.editor import names_of
from loyalty_saas.portal.shared import MANAGERS, PAGE, is_owner, note, zone_of
from loyalty_saas.templatetags.loyalty import signed, unit_amount
from members import queries
from members.models import AdjustmentRequest
from members.services import approvals as service
from members.services.limits import OWNERS_LIMITS
from members.services.points import NotEnoughPoints
from members.services.refusals import Refused
from programs.queries import units
from tenants.access import admits


@admits(*MANAGERS)
@require_safe
def approvals(request: ClientRequest) -> HttpResponse:
    """What waits for a second person, and what became of what did."""
    return _page(request)


def _page(request: ClientRequest, *, refused: str = "", refused_id: UUID | None = None) -> HttpResponse:
    waiting = list(queries.requests_waiting(at=timezone.now())[:PAGE])
    page = Paginator(queries.requests_settled(), PAGE).get_page(request.GET.get("page"))
    people = names_of([by for one in (*waiting, *page) for by in (one.asked_by, one.settled_by)])
    context = {
        "waiting": [_told(one, people, me=request.user.pk) for one in waiting],
        "settled": [_told(one, people, me=request.user.pk) for one in page],
        "page": page,
        "refused": refused,
        "refused_id": refused_id,
        "section": "portal:approvals",
    }
    return render(request, "portal/approvals.html", context, status=422 if refused else 200)


def _told(one: AdjustmentRequest, people: dict[UUID, str], *, me: UUID) -> dict[str, Any]:
    return {
        "request": one,
        "amount": signed(one.amount, one.unit.decimals),
        "asked_by": people.get(one.asked_by, _("Somebody")),
        "settled_by": people.get(one.settled_by, "") if one.settled_by else "",
        "is_mine": one.asked_by == me,
    }


@admits(*MANAGERS)
@require_POST
def agree(request: ClientRequest, request_id: UUID) -> HttpResponse:
    """Book what somebody else asked for."""
    limits = [] if is_owner(request) else [OWNERS_LIMITS]

    def deed() -> AdjustmentRequest:
        return service.agree_to_adjustment(
            request_id=request_id,
            limits=limits,
            by=request.user.pk,
            at=timezone.now(),
            zone=zone_of(request.client),
        )

    done = _("Booked. It stands in the member's statement with its reason.")
    return _settled(request, request_id, deed=deed, action="points.adjustment_agreed", done=done)


@admits(*MANAGERS)
@require_POST
def refuse(request: ClientRequest, request_id: UUID) -> HttpResponse:
    """Say no to what somebody else asked for."""

    def deed() -> AdjustmentRequest:
        return service.refuse_adjustment(request_id=request_id, by=request.user.pk, at=timezone.now())

    return _settled(
        request, request_id, deed=deed, action="points.adjustment_refused", done=_("Refused. No points have moved.")
    )


@admits(*MANAGERS)
@require_POST
def withdraw(request: ClientRequest, request_id: UUID) -> HttpResponse:
    """Take back what one asked for oneself."""

    def deed() -> AdjustmentRequest:
        return service.withdraw_adjustment(request_id=request_id, by=request.user.pk, at=timezone.now())

    return _settled(
        request, request_id, deed=deed, action="points.adjustment_withdrawn", done=_("Withdrawn. No points have moved.")
    )


def _settled(
    request: ClientRequest, request_id: UUID, *, deed: Callable[[], AdjustmentRequest], action: str, done: str
) -> HttpResponse:
    try:
        with transaction.atomic():
            settled = deed()
    except service.UnknownRequest:
        raise Http404 from None
    except NotEnoughPoints as short:
        return _page(request, refused=_too_little(request_id, short), refused_id=request_id)
    except Refused as refused:
        return _page(request, refused=refused.words, refused_id=request_id)
    detail = {"request": str(settled.pk), "amount": settled.amount, "reason": settled.reason}
    note(request, action=action, subject=str(settled.member_id), detail=detail)
    messages.success(request, done)
    return redirect("portal:approvals")


def _too_little(request_id: UUID, short: NotEnoughPoints) -> str:
    asked = AdjustmentRequest.objects.get(pk=request_id)
    unit = next(unit for unit in units() if unit.id == asked.unit_id)
    words = _("Only %(available)s can be taken: the rest is not there, pending or held for a reward.")
    return words % {"available": unit_amount(short.available, unit)}
