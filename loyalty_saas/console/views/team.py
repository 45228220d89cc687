"""Who works for a provider: people, invitations, and how they are ended."""

from typing import Any, Final
from uuid import UUID

from allauth.mfa.models import Authenticator
from django.conf import settings
from django.contrib import messages
from django.db.models import Exists, OuterRef, Q
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from loyalty_saas.console.forms import Colleague
from loyalty_saas.console.scope import STAFF, Scope, scope_of
from loyalty_saas.faces import PlatformRequest
from loyalty_saas.flows.invitations import mail_colleague
from tenants.access import admits
from tenants.context import public_atomic
from tenants.models import Invitation, Provider, Role, RoleGrant
from tenants.queries import url_on
from tenants.services import invitations as service
from tenants.services.people import LastOfTheTeam, NotOneself, remove_from_team

_ALREADY: Final = {
    "member": lambda: _("This person is in the team already."),
    "invited": lambda: _("This person has been invited already: send the invitation again below."),
}


@admits(*STAFF)
@require_http_methods(["GET", "HEAD", "POST"])
def team(request: PlatformRequest) -> HttpResponse:
    """The people of one provider; by POST one more is invited."""
    scope = scope_of(request)
    house = scope.house(request.GET.get("provider", ""))
    form = Colleague(request.POST or None)
    if request.method == "POST" and form.is_valid() and _invite(scope, house, form):
        return _back(house)
    context = {"form": form, "house": house, "houses": scope.houses, **_people(scope, house)}
    return render(request, "console/team.html", context, status=422 if form.errors else 200)


@admits(*STAFF)
@require_POST
def remove(request: PlatformRequest, grant_id: UUID) -> HttpResponse:
    """End somebody's work for a provider."""
    scope = scope_of(request)
    grants = RoleGrant.objects.select_related("user", "provider").filter(provider__in=scope.providers)
    grant = get_object_or_404(grants, pk=grant_id, role=Role.PROVIDER)
    name = str(grant.user)
    try:
        with public_atomic():
            remove_from_team(grant=grant, by=request.user, at=scope.at)
    except NotOneself:
        messages.error(request, _("You cannot remove yourself: ask a colleague."))
    except LastOfTheTeam:
        messages.error(request, _("%(name)s is the only one left; invite somebody else first.") % {"name": name})
    else:
        messages.success(request, _("%(name)s has no access any more.") % {"name": name})
    return _back(grant.provider)


@admits(*STAFF)
@require_POST
def resend(request: PlatformRequest, invitation_id: UUID) -> HttpResponse:
    """A new link for somebody who was invited."""
    scope = scope_of(request)
    found = _invitation(scope, invitation_id)
    try:
        with public_atomic():
            token = service.renew_invitation(invitation=found, by=request.user, at=scope.at)
    except service.InvitationGone:
        messages.info(request, _("The invitation was accepted or withdrawn meanwhile."))
    else:
        _mail(scope, found, token)
    return _back(found.provider)


@admits(*STAFF)
@require_POST
def withdraw(request: PlatformRequest, invitation_id: UUID) -> HttpResponse:
    """Take an invitation back."""
    scope = scope_of(request)
    found = _invitation(scope, invitation_id)
    try:
        with public_atomic():
            service.withdraw_invitation(invitation=found, by=request.user, at=scope.at)
    except service.InvitationGone:
        messages.info(request, _("The invitation was accepted or withdrawn meanwhile."))
    else:
        messages.success(request, _("The link sent to %(email)s is worth nothing now.") % {"email": found.email})
    return _back(found.provider)


def _people(scope: Scope, house: Provider) -> dict[str, Any]:
    factor = Authenticator.objects.filter(user=OuterRef("user"), type=Authenticator.Type.TOTP)
    working = Q(until=None) | Q(until__gt=scope.at)
    grants = RoleGrant.objects.filter(working, provider=house, role=Role.PROVIDER).select_related("user")
    pending = Invitation.objects.filter(provider=house, accepted_at=None).order_by("-invited_at")
    operators = RoleGrant.objects.filter(working, role=Role.PLATFORM).select_related("user")
    return {
        "people": list(grants.annotate(has_factor=Exists(factor)).order_by("user__name", "user__email")),
        "operators": list(operators.annotate(has_factor=Exists(factor))) if scope.is_operator else [],
        "pending": [(one, one.expires_at <= scope.at) for one in pending],
    }


def _invite(scope: Scope, house: Provider, form: Colleague) -> bool:
    """Invite the person of the form; False with an error at the field if that cannot be."""
    email = form.cleaned_data["email"]
    try:
        with public_atomic():
            found, token = service.invite_colleague(provider=house, email=email, by=scope.request.user, at=scope.at)
    except service.AlreadyThere as already:
        form.add_error("email", _ALREADY[already.why]())
        return False
    _mail(scope, found, token)
    return True


def _mail(scope: Scope, found: Invitation, token: str) -> None:
    link = url_on(settings.PLATFORM_HOST, reverse("invitation", args=[token]))
    if found.provider and mail_colleague(provider=found.provider, email=found.email, link=link):
        messages.success(scope.request, _("The invitation is on its way to %(email)s.") % {"email": found.email})
    else:
        messages.error(scope.request, _("The mail could not be sent. Send the invitation again in a while."))


def _invitation(scope: Scope, invitation_id: UUID) -> Invitation:
    mine = Invitation.objects.select_related("provider").filter(provider__in=scope.providers)
    return get_object_or_404(mine, pk=invitation_id)


def _back(house: Provider | None) -> HttpResponse:
    return redirect(f"{reverse('console:team')}?provider={house.slug if house else ''}")
