"""Invitations: a one-time link turns an e-mail address into a user with a role, on the host it was meant for."""

import hashlib
from datetime import datetime

from tenants.models import Client, Invitation, Role, User
from tenants.services import audit
from tenants.services.people import grant_role


class InvitationGone(Exception):
    """The link leads nowhere, to another host, was used already, or is too old; `why` says which."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class WrongPassword(Exception):
    """The address belongs to a user already, whose password is another."""


def open_invitation(*, token: str, client: Client | None, at: datetime) -> Invitation:
    """
    The invitation of a link on the host of `client`, or on the platform's.

    :raises InvitationGone: with why = unknown, used or expired
    """
    invitation = (
        Invitation.objects.select_for_update(of=("self",))
        .select_related("client", "provider")
        .filter(token_hash=hashlib.sha256(token.encode()).hexdigest(), client=client)
        .first()
    )
    if invitation is None:
        raise InvitationGone("unknown")
    if invitation.accepted_at:
        raise InvitationGone("used")
    if invitation.expires_at <= at:
        raise InvitationGone("expired")
    return invitation


def accept_invitation(*, token: str, client: Client | None, password: str, name: str, at: datetime) -> User:
    """
    Use an invitation up: its user, made or found by e-mail, has the role from now on.

    A known user keeps the password, which must be the one given here. Runs in the caller's transaction over the
    public tables.

    :raises InvitationGone: as :func:`open_invitation`
    :raises WrongPassword: for a known user
    """
    invitation = open_invitation(token=token, client=client, at=at)
    user = _user(email=invitation.email.lower(), password=password, name=name)
    grant_role(
        user=user,
        role=Role(invitation.role),
        provider=invitation.provider,
        client=invitation.client,
        by=invitation.invited_by,
        at=at,
    )
    invitation.accepted_at = at
    invitation.save(update_fields=["accepted_at"])
    audit.record(
        action="invitation.accepted",
        actor=f"user:{user.pk}",
        subject=str(invitation.pk),
        detail={"role": invitation.role},
        client=client,
        at=at,
    )
    return user


def _user(*, email: str, password: str, name: str) -> User:
    known = User.objects.filter(email=email).first()
    if known is None:
        return User.objects.create_user(email, password, name=name)
    if not known.is_active or not known.check_password(password):
        raise WrongPassword
    return known
