"""The people of one client: who is invited to which role, and how a role ends."""

import hashlib
import secrets
from collections.abc import Collection
from datetime import datetime
from typing import Final

from django.db.models import Q, QuerySet

from tenants.access import Actor
from tenants.models import Client, Invitation, Role, RoleGrant, User
from tenants.services import audit
from tenants.services.invitations import INVITATION_LASTS, AlreadyThere
from tenants.services.people import NotOneself

ROLES: Final = (Role.OWNER, Role.MANAGER, Role.CLERK)


class LastOwner(Exception):
    """Without this person the client would have no owner."""


def roles_managed_by(actors: Collection[Actor]) -> list[Role]:
    """The roles somebody may give and take: an owner all of them, a manager not the owner's."""
    if Actor.OWNER in actors:
        return list(ROLES)
    return [Role.MANAGER, Role.CLERK] if Actor.MANAGER in actors else []


def staff_of(client: Client, *, at: datetime) -> QuerySet[RoleGrant]:
    """The roles that count in a client now."""
    working = Q(until=None) | Q(until__gt=at)
    return RoleGrant.objects.filter(working, client=client, user__is_active=True).select_related("user")


def pending_invitations(client: Client) -> QuerySet[Invitation]:
    """Those that nobody has accepted, the latest first."""
    return Invitation.objects.filter(client=client, accepted_at=None).order_by("-invited_at", "pk")


def invite(*, client: Client, email: str, role: Role, by: User, at: datetime) -> tuple[Invitation, str]:
    """
    Invite somebody to a role in a client, in the caller's transaction; with the link's token, which is kept nowhere.

    :raises AlreadyThere: for somebody who has the role, or an open invitation to it
    """
    # Two who invite the same person at once would both find that nobody has.
    client, address = Client.objects.select_for_update().get(pk=client.pk), email.lower()
    if staff_of(client, at=at).filter(role=role, user__email=address).exists():
        raise AlreadyThere("member")
    if pending_invitations(client).filter(role=role, email=address).exists():
        raise AlreadyThere("invited")
    token = secrets.token_urlsafe(32)
    invitation = Invitation.objects.create(
        email=address,
        role=role,
        client=client,
        token_hash=hashlib.sha256(token.encode()).hexdigest(),
        invited_by=by.pk,
        invited_at=at,
        expires_at=at + INVITATION_LASTS,
    )
    _record("invitation.sent", client=client, by=by, subject=str(invitation.pk), role=role, at=at)
    return invitation, token


def remove_role(*, grant: RoleGrant, by: User, at: datetime) -> None:
    """
    Take a role away, in the caller's transaction; it counts from the next request on.

    :raises NotOneself: for the person who asks
    :raises LastOwner: for the only owner left
    """
    if grant.user_id == by.pk:
        raise NotOneself
    # Two owners who remove each other at once would both find that the other is still there.
    client = Client.objects.select_for_update().get(grants=grant)
    owners = staff_of(client, at=at).filter(role=Role.OWNER)
    if grant.role == Role.OWNER and not owners.exclude(user=grant.user_id).exists():
        raise LastOwner
    if RoleGrant.objects.filter(pk=grant.pk).delete()[0]:
        _record("role.removed", client=client, by=by, subject=f"user:{grant.user_id}", role=grant.role, at=at)


def _record(action: str, *, client: Client, by: User, subject: str, role: str, at: datetime) -> None:
    audit.record(action=action, actor=f"user:{by.pk}", subject=subject, detail={"role": role}, client=client, at=at)
