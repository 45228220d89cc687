"""What a password must be: long where it stands alone, and not the name of the house."""

import re

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db.models import Q
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from loyalty_saas.middleware import NEEDS_SECOND_FACTOR
from tenants.models import Client, Invitation, Provider, RoleGrant, User

_ROLES = [str(actor) for actor in NEEDS_SECOND_FACTOR]


class LongEnough:
    """At least 15 characters; 8 for roles that sign in with a second factor too."""

    alone, with_factor = 15, 8

    def validate(self, password: str, user: User | None = None) -> None:
        """:raises ValidationError: too short"""
        least = self._least(user)
        if len(password) < least:
            words = ngettext("Use at least %(n)d character.", "Use at least %(n)d characters.", least)
            raise ValidationError(words % {"n": least}, code="password_too_short")

    def get_help_text(self) -> str:
        return _("A few words in a row are easy to remember and hard to guess.")

    def _least(self, user: User | None) -> int:
        return self.with_factor if user is not None and needs_second_factor(user) else self.alone


class NoHouseName:
    """Not built around the name of the provider or client where the user works."""

    def validate(self, password: str, user: User | None = None) -> None:
        """:raises ValidationError: it contains such a name"""
        if user is None:
            return
        bare = re.sub(r"\W", "", password.lower())
        if any(word in bare for name in house_names(user) for word in re.findall(r"\w{4,}", name.lower())):
            raise ValidationError(_("Leave the company's name out of your password."), code="password_has_house_name")

    def get_help_text(self) -> str:
        return _("It should not contain the company's name.")


def needs_second_factor(user: User) -> bool:
    """Whether a role that the user has, or is invited to, asks for a second factor."""
    if not settings.REQUIRE_SECOND_FACTOR:
        return False
    return (
        RoleGrant.objects.filter(user_id=user.pk, role__in=_ROLES).exists()
        or Invitation.objects.filter(email=user.email, accepted_at=None, role__in=_ROLES).exists()
    )


def house_names(user: User) -> list[str]:
    """The names of providers and clients where the user works or is invited to work."""
    here = Q(grants__user_id=user.pk) | Q(invitations__email=user.email, invitations__accepted_at=None)
    return [
        *Client.objects.filter(here).values_list("name", flat=True).distinct(),
        *Provider.objects.filter(here).values_list("name", flat=True).distinct(),
    ]
