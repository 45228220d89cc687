"""The page behind an invitation's link."""

from typing import Any

from allauth.account.adapter import get_adapter
from allauth.account.internal import flows
from allauth.account.models import Login
from django import forms
from django.contrib.auth.password_validation import password_validators_help_texts, validate_password
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from loyalty_saas.faces import FaceRequest
from tenants.access import Actor, admits
from tenants.context import public_atomic
from tenants.models import Invitation, User
from tenants.services.invitations import InvitationGone, WrongPassword, accept_invitation, open_invitation


class Acceptance(forms.Form):
    """A name and a password; whoever has an account already only gives its password."""

    name = forms.CharField(label=_("Your name"), max_length=100)
    password = forms.CharField(label=_("Password"), max_length=128, strip=False, widget=forms.PasswordInput)

    def __init__(self, *args: Any, request: FaceRequest, email: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._request, self._email = request, email
        self.known = User.objects.filter(email=email).exists()
        self.fields["password"].widget.attrs["autocomplete"] = "current-password" if self.known else "new-password"
        self.fields["name"].widget.attrs["autocomplete"] = "name"
        if self.known:
            del self.fields["name"]
            self.fields["password"].help_text = _("You have an account already: its password, please.")
        else:
            self.fields["password"].help_text = " ".join(password_validators_help_texts()[1:])

    def clean_password(self) -> str:
        """The password, checked against the account or against what a new one must be."""
        password: str = self.cleaned_data["password"]
        if not self.known:
            validate_password(password, User(email=self._email, name=self.cleaned_data.get("name", "")))
        elif get_adapter().authenticate(self._request, email=self._email, password=password) is None:
            raise ValidationError(_("That is not the password of this account."))
        return password


@admits(Actor.ANYONE)
@sensitive_post_parameters("password")
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def accept(request: FaceRequest, token: str) -> HttpResponse:
    """Ask for name and password, make or link the account, and sign in."""
    at = timezone.now()
    try:
        with public_atomic():
            invitation = open_invitation(token=token, client=request.client, at=at)
    except InvitationGone as gone:
        return _gone(request, gone)
    form = Acceptance(request.POST or None, request=request, email=invitation.email.lower())
    if request.method != "POST" or not form.is_valid():
        return render(request, "invitation/accept.html", _shown(invitation, form), status=422 if form.errors else 200)
    try:
        with public_atomic():
            user = accept_invitation(
                token=token,
                client=request.client,
                password=form.cleaned_data["password"],
                name=form.cleaned_data.get("name", ""),
                at=at,
            )
    except InvitationGone as gone:
        return _gone(request, gone)
    except WrongPassword:
        form.add_error("password", _("That is not the password of this account."))
        return render(request, "invitation/accept.html", _shown(invitation, form), status=422)
    login = Login(user=user, email=user.email, redirect_url="/")
    answer: HttpResponse = flows.login.perform_password_login(request, {"email": user.email}, login)
    return answer


def _shown(invitation: Invitation, form: Acceptance) -> dict[str, Any]:
    return {"invitation": invitation, "house": invitation.client or invitation.provider, "form": form}


def _gone(request: FaceRequest, gone: InvitationGone) -> HttpResponse:
    return render(request, "invitation/gone.html", {"why": gone.why}, status=404 if gone.why == "unknown" else 410)
