"""Sign-in: the library's addresses, the ones that change second factors in a transaction where users are."""

from collections.abc import Callable
from functools import wraps

from allauth.mfa.recovery_codes.views import generate_recovery_codes
from allauth.mfa.totp.views import activate_totp
from django.http import HttpRequest, HttpResponseBase
from django.urls import include, path

from tenants.context import public_atomic

View = Callable[..., HttpResponseBase]


def in_public_transaction(view: View) -> View:
    """A library's view whose own transaction would be on the client's connection, where no user is."""

    @wraps(view)
    def wrapped(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        with public_atomic():
            return view(request, *args, **kwargs)

    return wrapped


urlpatterns = [
    path("2fa/totp/activate/", in_public_transaction(activate_totp), name="mfa_activate_totp"),
    path(
        "2fa/recovery-codes/generate/",
        in_public_transaction(generate_recovery_codes),
        name="mfa_generate_recovery_codes",
    ),
    path("", include("allauth.urls")),
]
