"""A tier given to a member by hand, with a reason and an end, and taken back."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST

from loyalty_saas.faces import ClientRequest
from loyalty_saas.portal.shared import MANAGERS, note, published, zone_of
from loyalty_saas.portal.views.members import add_refusal
from members import queries
from members.models import Member
from members.services.refusals import Refused
from members.services.tier_grants import give_tier, take_back_tier
from programs.queries import ProgramInForce
from programs.rules import add_months
from tenants.access import admits

_USUAL_MONTHS = 12


def _levels(program: ProgramInForce) -> list[tuple[str, str]]:
    return [(level.code, level.name) for level in program.spec.tiers.levels] if program.spec.tiers else []


def _usual(tier: queries.TierView | None, program: ProgramInForce, at: datetime) -> dict[str, Any]:
    """The next tier above the one held, for a year."""
    highest = _levels(program)[-1][0]
    above = tier.next_code if tier else ""
    return {"tier": above or highest, "last_day": add_months(timezone.localtime(at).date(), _USUAL_MONTHS)}


class TierGrantForm(forms.Form):
    """Which tier, until when, and why."""

    tier = forms.ChoiceField(label=gettext_lazy("Tier"))
    last_day = forms.DateField(
        label=gettext_lazy("Until and including"), widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )
    reason = forms.CharField(label=gettext_lazy("Reason"), max_length=200)

    def __init__(self, *args: Any, program: ProgramInForce, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["tier"]
        if isinstance(field, forms.ChoiceField):
            field.choices = _levels(program)


def _found(member_id: UUID) -> tuple[Member, ProgramInForce]:
    found, program = queries.member_by_id(member_id), published()
    if found is None or found.status != Member.Status.ACTIVE or program is None or program.spec.tiers is None:
        raise Http404
    return found, program


def _tab(member_id: UUID) -> str:
    return f"{reverse('portal:member', args=[member_id])}?tab=rewards"


@admits(*MANAGERS)
@require_http_methods(["GET", "HEAD", "POST"])
def tier_grant(request: ClientRequest, member_id: UUID) -> HttpResponse:
    """Give a tier until a day."""
    found, program = _found(member_id)
    at = timezone.now()
    tier = queries.tier_of(member_id=found.pk, program=program, at=at)
    form = TierGrantForm(request.POST or None, program=program, initial=_usual(tier, program, at))
    if request.method == "POST" and form.is_valid() and _given(request, found, program, form):
        return redirect(_tab(found.pk))
    grant = queries.grant_of(found.pk, at=at)
    context = {
        "member": found,
        "form": form,
        "tier": tier,
        "grant": grant,
        "given": dict(_levels(program)).get(grant.tier, grant.tier) if grant else "",
        "last_day": timezone.localtime(grant.until - timedelta(seconds=1)).date() if grant else None,
        "section": "portal:members",
    }
    return render(request, "portal/tier_grant.html", context, status=422 if form.errors else 200)


def _given(request: ClientRequest, found: Member, program: ProgramInForce, form: TierGrantForm) -> bool:
    asked = form.cleaned_data
    try:
        with transaction.atomic():
            give_tier(
                member_id=found.pk,
                tier=asked["tier"],
                last_day=asked["last_day"],
                reason=asked["reason"],
                by=request.user.pk,
                program=program,
                at=timezone.now(),
                zone=zone_of(request.client),
            )
    except Refused as refused:
        add_refusal(form, refused)
        return False
    detail = {"tier": asked["tier"], "last_day": asked["last_day"].isoformat(), "reason": asked["reason"]}
    note(request, action="member.tier_given", subject=str(found.pk), detail=detail)
    messages.success(request, _("Given. It ends by itself; what the member earns goes on counting beside it."))
    return True


@admits(*MANAGERS)
@require_POST
def take_back(request: ClientRequest, member_id: UUID) -> HttpResponse:
    """End a given tier before its day."""
    found, program = _found(member_id)
    try:
        with transaction.atomic():
            grant = take_back_tier(member_id=found.pk, program=program, at=timezone.now())
    except Refused as refused:
        messages.warning(request, refused.words)
    else:
        note(request, action="member.tier_taken_back", subject=str(found.pk), detail={"tier": grant.tier})
        messages.success(request, _("Taken back. The member has the tier they earned."))
    return redirect(_tab(found.pk))
