"""Users and what they may be."""

from datetime import datetime
from uuid import UUID

from django.db.models import Q

from tenants.models import Client, Provider, Role, RoleGrant, User
from tenants.services import audit


class LastOfTheTeam(Exception):
    """Without this person nobody could work for the provider any more."""


class NotOneself(Exception):
    """Nobody takes his own role away."""


def add_user(*, email: str, name: str, password: str) -> User:
    """The user of that e-mail address, made if new; the password is set either way."""
    user = User.objects.filter(email=email.lower()).first()
    if user is None:
        return User.objects.create_user(email, password, name=name)
    user.set_password(password)
    user.save(update_fields=["password"])
    return user


def grant_role(
    *,
    user: User,
    role: Role,
    at: datetime,
    provider: Provider | None = None,
    client: Client | None = None,
    by: UUID | None = None,
) -> RoleGrant:
    """Give a user a role over the platform, a provider or a client, once."""
    grant, _new = RoleGrant.objects.get_or_create(
        user=user,
        role=role,
        provider=provider,
        client=client,
        location_id=None,
        defaults={"granted_by": by, "granted_at": at},
    )
    return grant


def remove_from_team(*, grant: RoleGrant, by: User, at: datetime) -> None:
    """
    End a person's work for a provider, in the caller's transaction: the next request of any session finds no role.

    :raises NotOneself: for the person who asks
    :raises LastOfTheTeam: for the only one left
    """
    if grant.user_id == by.pk:
        raise NotOneself
    # Two who remove each other at once would both find that the other is still there.
    provider = Provider.objects.select_for_update().get(grants=grant)
    team = RoleGrant.objects.filter(Q(until=None) | Q(until__gt=at), provider=provider, role=Role.PROVIDER)
    if not team.filter(user__is_active=True).exclude(pk=grant.pk).exists():
        raise LastOfTheTeam
    RoleGrant.objects.filter(pk=grant.pk).delete()
    audit.record(
        action="team.removed",
        actor=f"user:{by.pk}",
        subject=str(grant.user_id),
        detail={"provider": str(provider.pk)},
        at=at,
    )
