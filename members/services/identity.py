"""Changes to who a member is: name, birthday, language."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from members.models import Identity

CHANGEABLE = ("name", "birthday", "language")


def change_identity(*, member_id: UUID, changes: Mapping[str, Any]) -> Identity:
    """Bring the given ones of name, birthday and language up to date; the others stay."""
    identity, _new = Identity.objects.get_or_create(member_id=member_id)
    given = [name for name in CHANGEABLE if name in changes]
    for name in given:
        setattr(identity, name, changes[name])
    if given:
        identity.save(update_fields=given)
    return identity
