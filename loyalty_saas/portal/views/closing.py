"""A membership ends: shown with all that goes, asked for with a reason and the number typed."""

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods

from loyalty_saas.faces import ClientRequest
from loyalty_saas.flows.leaving import leave
from loyalty_saas.portal.shared import MANAGERS, note, zone_of
from loyalty_saas.portal.views.members import add_refusal
from members import queries
from members.models import Member
from members.services.refusals import Refused
from rewards.queries import issues_of
from tenants.access import admits


class CloseForm(forms.Form):
    """Why, and the member's number as a sign that it is meant."""

    reason = forms.CharField(label=gettext_lazy("Reason"), max_length=150)
    number = forms.CharField(
        label=gettext_lazy("The member's number, to confirm"),
        max_length=20,
        widget=forms.TextInput({"autocomplete": "off", "autocapitalize": "characters", "spellcheck": "false"}),
    )

    def __init__(self, *args: Any, member: Member, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._member = member
        self.fields["number"].help_text = _("Type %(number)s.") % {"number": member.number}

    def clean_number(self) -> str:
        """What was typed, if it is the member's number."""
        typed = str(self.cleaned_data["number"])
        if typed.replace(" ", "").upper() != self._member.number.upper():
            raise forms.ValidationError(_("This is not the number of this member."))
        return typed


@admits(*MANAGERS)
@require_http_methods(["GET", "HEAD", "POST"])
def close(request: ClientRequest, member_id: UUID) -> HttpResponse:
    """End a membership for good."""
    found = queries.member_by_id(member_id)
    if found is None or found.status != Member.Status.ACTIVE:
        raise Http404
    form = CloseForm(request.POST or None, member=found)
    if request.method == "POST" and form.is_valid() and _closed(request, found, form):
        return redirect("portal:member", found.pk)
    issues = issues_of(queries.family_of(found.pk))
    context = {
        "member": found,
        "form": form,
        "balances": queries.balances(member_id=found.pk, at=timezone.now()),
        "rewards": sum(issue.state in {"reserved", "issued"} for issue in issues),
        "section": "portal:members",
    }
    return render(request, "portal/member_close.html", context, status=422 if form.errors else 200)


def _closed(request: ClientRequest, found: Member, form: CloseForm) -> bool:
    reason = form.cleaned_data["reason"]
    try:
        zone, by = zone_of(request.client), request.user.pk
        _member, now = leave(member_id=found.pk, reason=reason, at=timezone.now(), zone=zone, by=by)
    except Refused as refused:
        add_refusal(form, refused)
        return False
    if now:
        note(request, action="member.closed", subject=str(found.pk), detail={"reason": reason})
    messages.success(request, _("The membership has ended. Its statement stays in the books."))
    return True
