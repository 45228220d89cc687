"""A member's household: who spends together, made, joined, left and ended by a manager."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from loyalty_saas.faces import ClientRequest
from loyalty_saas.portal.member_forms import HouseholdForm
from loyalty_saas.portal.shared import MANAGERS, asked_text, note, phone_spellings
from members import queries
from members.models import Household, Member
from members.services import households as service
from members.services.refusals import Refused
from tenants.access import admits


def _member(member_id: UUID) -> Member:
    found = queries.member_by_id(member_id)
    if found is None or found.status != Member.Status.ACTIVE:
        raise Http404
    return found


@admits(*MANAGERS)
@require_http_methods(["GET", "HEAD", "POST"])
def household(request: ClientRequest, member_id: UUID) -> HttpResponse:
    """The member's household with what each has, or a form to make one."""
    member = _member(member_id)
    home = queries.household_of(member_id)
    form = HouseholdForm(request.POST if request.method == "POST" and home is None else None)
    if home is None and form.is_valid() and _made(request, member, form):
        return redirect("portal:household", member.pk)
    return _page(request, member, home, form=form)


def _page(
    request: ClientRequest, member: Member, home: Household | None, *, form: HouseholdForm, refused: str = ""
) -> HttpResponse:
    at, text = timezone.now(), asked_text(request)
    mates = queries.mates(household_id=home.pk, at=at) if home else []
    inside = {mate.member.pk for mate in mates}
    found = queries.find_members(text, also=phone_spellings(text, request.client)) if text and home else ()
    context = {
        "member": member,
        "household": home,
        "mates": mates,
        "form": form,
        "query": text,
        "found": [one for one in found if one.pk not in inside],
        "refused": refused,
        "section": "portal:members",
    }
    return render(request, "portal/household.html", context, status=422 if refused or form.errors else 200)


def _made(request: ClientRequest, member: Member, form: HouseholdForm) -> bool:
    try:
        with transaction.atomic():
            made = service.make_household(name=form.cleaned_data["name"], member_ids=[member.pk], at=timezone.now())
    except Refused as refused:
        form.add_error("name", refused.words)
        return False
    note(request, action="household.made", subject=str(made.pk), detail={"member": str(member.pk)})
    messages.success(request, _("The household is there. Add who else belongs to it."))
    return True


@admits(*MANAGERS)
@require_POST
def household_add(request: ClientRequest, member_id: UUID, mate_id: UUID) -> HttpResponse:
    """Let one more member spend with this one's household."""

    def deed(home: Household) -> None:
        service.add_to_household(household_id=home.pk, member_id=mate_id, at=timezone.now())

    done = _("Added. From now on they spend together.")
    return _changed(
        request, member_id, deed=deed, action="household.joined", detail={"member": str(mate_id)}, done=done
    )


@admits(*MANAGERS)
@require_POST
def household_remove(request: ClientRequest, member_id: UUID, mate_id: UUID) -> HttpResponse:
    """Let a member leave the household with their own points."""

    def deed(home: Household) -> None:
        service.remove_from_household(household_id=home.pk, member_id=mate_id, at=timezone.now())

    done = _("Removed. Each keeps their own points.")
    about = {"member": str(mate_id)}
    return _changed(request, member_id, deed=deed, action="household.left", detail=about, done=done)


@admits(*MANAGERS)
@require_POST
def household_end(request: ClientRequest, member_id: UUID) -> HttpResponse:
    """End the household; each goes with their own points."""

    def deed(home: Household) -> None:
        service.end_household(household_id=home.pk, at=timezone.now())

    done = _("The household has ended. Each keeps their own points.")
    return _changed(request, member_id, deed=deed, action="household.ended", detail={}, done=done)


def _changed(
    request: ClientRequest,
    member_id: UUID,
    *,
    deed: Callable[[Household], None],
    action: str,
    detail: dict[str, Any],
    done: str,
) -> HttpResponse:
    member, home = _member(member_id), queries.household_of(member_id)
    if home is None:
        messages.warning(request, _("This member is in no household any more."))
        return redirect("portal:household", member.pk)
    try:
        with transaction.atomic():
            deed(home)
    except Refused as refused:
        return _page(request, member, home, form=HouseholdForm(), refused=refused.words)
    note(request, action=action, subject=str(home.pk), detail=detail)
    messages.success(request, done)
    return redirect("portal:household", member.pk)
