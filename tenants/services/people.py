"""Users and what they may be."""

from datetime import datetime
from uuid import UUID

from tenants.models import Client, Provider, Role, RoleGrant, User


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
