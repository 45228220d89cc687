"""Forms of the till's sheets."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from members.services.enrolment import NewMember

TEXT_VERSION = "till-2026-11"
"""The version of the words beside the boxes: a change of them is a new version."""


class EnrolmentForm(forms.Form):
    """Somebody who joins at the till: a name, and a phone number or e-mail address."""

    name = forms.CharField(label=_("Name"), max_length=100)
    phone = forms.CharField(label=_("Phone"), max_length=40, required=False)
    email = forms.EmailField(label=_("E-mail"), max_length=254, required=False)
    marketing_email = forms.BooleanField(label=_("May write by e-mail about offers"), required=False)
    marketing_sms = forms.BooleanField(label=_("May send text messages about offers"), required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"auto_id": "enrol_%s", **kwargs})
        self.fields["phone"].widget.attrs.update(inputmode="tel", autocomplete="off")
        self.fields["email"].widget.attrs.update(autocomplete="off")
        self.fields["name"].widget.attrs.update(autocomplete="off", autocapitalize="words")

    def clean(self) -> dict[str, Any]:
        """:raises ValidationError: without any way to find the member again"""
        cleaned: dict[str, Any] = super().clean() or {}
        if not cleaned.get("phone") and not cleaned.get("email") and not self.errors:
            self.add_error("phone", _("Enter a phone number or an e-mail address."))
        return cleaned

    def new_member(self) -> NewMember:
        """What services take."""
        given = self.cleaned_data
        return NewMember(
            identifiers={kind: given[kind] for kind in ("phone", "email") if given[kind]},
            name=given["name"],
            consents={name: given[name] for name in ("marketing_email", "marketing_sms")},
            consent_text=TEXT_VERSION,
            source="till",
        )

    def refuse(self, field: str, words: str) -> None:
        """A service's refusal at the field it means: `identifiers.phone` is the phone."""
        name = field.rpartition(".")[2]
        self.add_error(name if name in self.fields else "phone", words)
