"""Invitations: a one-time link turns an e-mail address into a user with a role, on the host it was meant for."""

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Q

from tenants.models import Client, Invitation, Provider, Role, RoleGrant, User
from tenants.services import audit
from tenants.services.people import grant_role

INVITATION_LASTS: Final = timedelta(days=14)


class AlreadyThere(Exception):
    """The person has the role already, or has been invited to it; `why` says which: member or invited."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


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
        .filter(token_hash=_hash(token), client=client)
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
        detail={"role": invitation.role, **_house(invitation)},
        client=client,
        at=at,
    )
    return user


def invite_colleague(*, provider: Provider, email: str, by: User, at: datetime) -> tuple[Invitation, str]:
    """
    Invite somebody to work for a provider, in the caller's transaction; with the token, which is kept nowhere.

    :raises AlreadyThere: for one of the team, or one with an open invitation
    """
    # Two who invite the same person at once would both find that nobody has.
    provider = Provider.objects.select_for_update().get(pk=provider.pk)
    working = Q(until=None) | Q(until__gt=at)
    if RoleGrant.objects.filter(working, provider=provider, role=Role.PROVIDER, user__email=email.lower()).exists():
        raise AlreadyThere("member")
    if Invitation.objects.filter(provider=provider, email=email.lower(), accepted_at=None).exists():
        raise AlreadyThere("invited")
    token = secrets.token_urlsafe(32)
    invitation = Invitation.objects.create(
        email=email.lower(),
        role=Role.PROVIDER,
        provider=provider,
        token_hash=_hash(token),
        invited_by=by.pk,
        invited_at=at,
        expires_at=at + INVITATION_LASTS,
    )
    _record("invitation.sent", invitation, by=by, at=at)
    return invitation, token


def renew_invitation(*, invitation: Invitation, by: User, at: datetime) -> str:
    """
    A new link for an invitation that was not accepted, in the caller's transaction; the old one is worth nothing.

    :raises InvitationGone: if it was accepted or withdrawn meanwhile
    """
    held = _open(invitation)
    token = secrets.token_urlsafe(32)
    held.token_hash, held.invited_at, held.expires_at = _hash(token), at, at + INVITATION_LASTS
    held.save(update_fields=["token_hash", "invited_at", "expires_at"])
    _record("invitation.renewed", held, by=by, at=at)
    return token


def withdraw_invitation(*, invitation: Invitation, by: User, at: datetime) -> None:
    """
    Take an invitation back, in the caller's transaction.

    :raises InvitationGone: if it was accepted or withdrawn meanwhile
    """
    held = _open(invitation)
    _record("invitation.withdrawn", held, by=by, at=at)
    held.delete()


def _open(invitation: Invitation) -> Invitation:
    held = Invitation.objects.select_for_update().filter(pk=invitation.pk).first()
    if held is None:
        raise InvitationGone("unknown")
    if held.accepted_at:
        raise InvitationGone("used")
    return held


def _record(action: str, invitation: Invitation, *, by: User, at: datetime) -> None:
    audit.record(
        action=action,
        actor=f"user:{by.pk}",
        subject=str(invitation.pk),
        detail={"role": invitation.role, **_house(invitation)},
        client=invitation.client,
        at=at,
    )


def _house(invitation: Invitation) -> dict[str, str]:
    """A provider's events are in the platform's chain and name the provider."""
    return {"provider": str(invitation.provider_id)} if invitation.provider_id else {}


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _user(*, email: str, password: str, name: str) -> User:
    known = User.objects.filter(email=email).first()
    if known is None:
        return User.objects.create_user(email, password, name=name)
    if not known.is_active or not known.check_password(password):
        raise WrongPassword
    return known
