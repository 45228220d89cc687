"""People with an e-mail address and a role: who they are, invitations, and how a role ends."""

from datetime import datetime
from typing import Any
from uuid import UUID

from allauth.mfa.models import Authenticator
from django.contrib import messages
from django.db.models import Exists, OuterRef
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST, require_safe

from loyalty_saas.faces import ClientRequest
from loyalty_saas.flows.staffing import mail_staff
from loyalty_saas.portal.shared import MANAGERS
from loyalty_saas.portal.staff_forms import Invite
from loyalty_saas.tables import Column, Listing
from tenants.access import admits
from tenants.context import public_atomic
from tenants.models import Invitation, Role, RoleGrant
from tenants.queries import primary_url
from tenants.services import invitations as invitation_service
from tenants.services import staffing
from tenants.services.people import NotOneself

_COLUMNS = [
    Column("name", gettext_lazy("Name"), ("user__name", "user__email")),
    Column("role", gettext_lazy("Role"), ("role", "user__name")),
    Column("factor", gettext_lazy("Second factor"), ("has_factor", "user__name")),
    Column("seen", gettext_lazy("Last sign-in"), ("user__last_login", "user__name")),
    Column("do", ""),
]


@admits(*MANAGERS)
@require_safe
def staff(request: ClientRequest) -> HttpResponse:
    """The people of the shop, and whom it has invited."""
    return _page(request, Invite(roles=_roles(request)))


@admits(*MANAGERS)
@require_POST
def invite(request: ClientRequest) -> HttpResponse:
    """Invite somebody by mail."""
    at, form = timezone.now(), Invite(request.POST, roles=_roles(request))
    if not form.is_valid():
        return _page(request, form)
    email, role = form.cleaned_data["email"], Role(form.cleaned_data["role"])
    try:
        with public_atomic():
            found, token = staffing.invite(client=request.client, email=email, role=role, by=request.user, at=at)
    except invitation_service.AlreadyThere as already:
        form.add_error("email", _already(already.why))
        return _page(request, form)
    _mail(request, found, token)
    return redirect("portal:staff")


@admits(*MANAGERS)
@require_POST
def resend(request: ClientRequest, invitation_id: UUID) -> HttpResponse:
    """A new link for somebody who was invited."""
    found = _invitation(request, invitation_id)
    try:
        with public_atomic():
            token = invitation_service.renew_invitation(invitation=found, by=request.user, at=timezone.now())
    except invitation_service.InvitationGone:
        messages.info(request, _("The invitation was accepted or withdrawn meanwhile."))
    else:
        _mail(request, found, token)
    return redirect("portal:staff")


@admits(*MANAGERS)
@require_POST
def withdraw(request: ClientRequest, invitation_id: UUID) -> HttpResponse:
    """Take an invitation back."""
    found = _invitation(request, invitation_id)
    try:
        with public_atomic():
            invitation_service.withdraw_invitation(invitation=found, by=request.user, at=timezone.now())
    except invitation_service.InvitationGone:
        messages.info(request, _("The invitation was accepted or withdrawn meanwhile."))
    else:
        messages.success(request, _("The link sent to %(email)s is worth nothing now.") % {"email": found.email})
    return redirect("portal:staff")


@admits(*MANAGERS)
@require_POST
def remove(request: ClientRequest, grant_id: UUID) -> HttpResponse:
    """Take somebody's role away."""
    at = timezone.now()
    mine = staffing.staff_of(request.client, at=at).filter(role__in=_roles(request))
    grant = get_object_or_404(mine, pk=grant_id)
    said = {"name": str(grant.user)}
    try:
        with public_atomic():
            staffing.remove_role(grant=grant, by=request.user, at=at)
    except NotOneself:
        messages.error(request, _("You cannot remove yourself: ask another owner or manager."))
    except staffing.LastOwner:
        messages.error(request, _("%(name)s is the only owner. Invite another one first.") % said)
    else:
        messages.success(request, _("%(name)s has this role no longer.") % said)
    return redirect("portal:staff")


def _page(request: ClientRequest, form: Invite) -> HttpResponse:
    at = timezone.now()
    factor = Authenticator.objects.filter(user=OuterRef("user"), type=Authenticator.Type.TOTP)
    people = staffing.staff_of(request.client, at=at).annotate(has_factor=Exists(factor))
    listing = Listing(request, people, columns=_COLUMNS, default="-role")
    shown = {
        "tab": "people",
        "section": "portal:staff",
        "listing": listing,
        "people": [(grant, _may_remove(request, grant)) for grant in listing.page],
        "pending": _pending(request, at=at),
        "form": form,
    }
    return render(request, "portal/staff.html", shown, status=422 if form.errors else 200)


def _pending(request: ClientRequest, *, at: datetime) -> list[dict[str, Any]]:
    roles = _roles(request)
    return [
        {"invitation": one, "is_old": one.expires_at <= at, "may": one.role in roles}
        for one in staffing.pending_invitations(request.client)
    ]


def _may_remove(request: ClientRequest, grant: RoleGrant) -> bool:
    return grant.user_id != request.user.pk and grant.role in _roles(request)


def _roles(request: ClientRequest) -> list[Role]:
    return staffing.roles_managed_by(request.standing.actors)


def _invitation(request: ClientRequest, invitation_id: UUID) -> Invitation:
    mine = Invitation.objects.filter(client=request.client, role__in=_roles(request))
    return get_object_or_404(mine, pk=invitation_id)


def _mail(request: ClientRequest, found: Invitation, token: str) -> None:
    link = primary_url(request.client, reverse("invitation", args=[token]))
    if mail_staff(client=request.client, email=found.email, role=Role(found.role), link=link):
        messages.success(request, _("The invitation is on its way to %(email)s.") % {"email": found.email})
    else:
        messages.error(request, _("The mail could not be sent. Send the invitation again in a while."))


def _already(why: str) -> str:
    if why == "member":
        return _("This person has that role already.")
    return _("This person has been invited already: send the invitation again below.")
