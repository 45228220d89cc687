"""Forms of sign-in that are stricter than the library's: a code of the authenticator app counts once."""

import time
from typing import Any

from allauth.mfa.adapter import get_adapter
from allauth.mfa.base.forms import AuthenticateForm, ReauthenticateForm
from allauth.mfa.models import Authenticator

from tenants.context import public_atomic
from tenants.routers import PUBLIC

# A code lives for three periods of 30 seconds, the neighbours included.
CODE_SECONDS = 90


class _OnceOnly:
    """Remembers used codes beside the secret: the library's own memory lasts one period and as long as Redis."""

    authenticator: Authenticator

    def clean_code(self) -> str:
        # The library locks rows in a transaction of the default connection, which is not the one users are on.
        with public_atomic():
            code: str = super().clean_code()  # type: ignore[misc]
        if self.authenticator.type == Authenticator.Type.TOTP and not use_up(self.authenticator, code):
            raise get_adapter().validation_error("incorrect_code")
        return code


class SecondFactorForm(_OnceOnly, AuthenticateForm):
    """The second step of signing in."""


class SecondFactorAgainForm(_OnceOnly, ReauthenticateForm):
    """The second factor before something sensitive."""


def use_up(authenticator: Authenticator, code: str) -> bool:
    """Whether `code` is used for the first time; from then on it is not."""
    now = time.time()
    with public_atomic():
        row = Authenticator.objects.using(PUBLIC).select_for_update().get(pk=authenticator.pk)
        used: list[list[Any]] = [[c, t] for c, t in row.data.get("used", []) if t > now - CODE_SECONDS]
        fresh = all(known != code for known, _ in used)
        row.data = {**row.data, "used": [*used, [code, now]] if fresh else used}
        row.save(using=PUBLIC, update_fields=["data"])
    return fresh
