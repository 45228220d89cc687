"""A member ends the membership on their own card: with a link opened just now, and the number typed."""

from datetime import timedelta
from typing import Final

from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from loyalty_saas.bearers import CARD_COOKIE
from loyalty_saas.card.speaking import for_member
from loyalty_saas.card.views import note
from loyalty_saas.faces import CardRequest
from loyalty_saas.flows.leaving import leave as end_membership
from loyalty_saas.portal.shared import zone_of
from members import queries
from members.models import Identifier, Member
from members.services.refusals import Refused
from tenants.access import Actor, admits

FRESH: Final = timedelta(minutes=15)
"""So long after a one-time link opened the card, whoever holds the phone is taken for the member."""
REASON: Final = "The member's own wish"


@admits(Actor.MEMBER)
@for_member
@require_http_methods(["GET", "HEAD", "POST"])
def leave(request: CardRequest) -> HttpResponse:
    """What goes, and the number to type; a card that has been open for long asks for a fresh link first."""
    member, at = request.card.session.member, timezone.now()
    is_fresh = at - request.card.session.began_at <= FRESH
    error = ""
    if request.method == "POST" and is_fresh:
        error = _ended(request, member)
        if not error:
            answer = render(request, "card/left.html")
            answer.delete_cookie(CARD_COOKIE, samesite="Lax")
            return answer
    emails = Identifier.objects.filter(member=member, kind=Identifier.Kind.EMAIL).values_list("value", flat=True)
    context = {
        "member": member,
        "as_of": at,
        "balances": queries.balances(member_id=member.pk, at=at),
        "is_fresh": is_fresh,
        "email": emails.first(),
        "error": error,
        "typed": request.POST.get("number", "")[:20],
    }
    refused = error or (request.method == "POST" and not is_fresh)
    return render(request, "card/leave.html", context, status=422 if refused else 200)


def _ended(request: CardRequest, member: Member) -> str:
    """Why it was refused; nothing when the membership has ended."""
    if request.POST.get("number", "").replace(" ", "").upper() != member.number.upper():
        return _("This is not your member number.")
    try:
        _member, now = end_membership(
            member_id=member.pk, reason=REASON, at=timezone.now(), zone=zone_of(request.client)
        )
    except Refused as refused:
        return refused.words
    if now:
        note(request, member_id=member.pk, action="member.closed")
    return ""
