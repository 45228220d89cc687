"""What the pages about staff and tills ask for."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from loyalty_saas import sentences_staff as sentences
from programs.models import Clerk, Location
from programs.services import tills
from tenants.models import Role


class Invite(forms.Form):
    """Somebody with an e-mail address, and the role."""

    email = forms.EmailField(label=_("E-mail address"), max_length=254)
    role = forms.ChoiceField(label=_("Role"))

    def __init__(self, *args: Any, roles: list[Role], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["role"] = forms.ChoiceField(
            label=_("Role"), choices=[(role.value, role.label) for role in reversed(roles)]
        )
        self.fields["email"].widget.attrs["autocomplete"] = "off"

    def clean_email(self) -> str:
        """In lower case, as addresses are kept."""
        return str(self.cleaned_data["email"]).lower()


class _Named(forms.Form):
    """A name of one line."""

    name = forms.CharField(label=_("Name"), max_length=60)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["name"].widget.attrs["autocomplete"] = "off"

    def clean_name(self) -> str:
        """Without needless spaces."""
        name = " ".join(str(self.cleaned_data["name"]).split())
        if not name.isprintable():
            raise forms.ValidationError(_("A name is one line of letters."))
        return name


class _Pin(forms.CharField):
    """A PIN of 4 to 8 digits that is not guessed first."""

    def __init__(self, **given: Any) -> None:
        super().__init__(max_length=8, **given)
        self.widget.attrs.update(inputmode="numeric", autocomplete="off", pattern="[0-9]{4,8}")

    def validate(self, value: str) -> None:
        """As the till will judge it."""
        super().validate(value)
        if value and (why := tills.pin_problem(value)):
            raise forms.ValidationError(sentences.weak_pin(why))


class ClerkForm(_Named):
    """Somebody at the till: name, role and location."""

    role = forms.ChoiceField(label=_("Role at the till"), choices=Clerk.Role.choices, initial=Clerk.Role.CLERK)
    location = forms.ModelChoiceField(
        label=_("Location"), queryset=Location.objects.none(), required=False, empty_label=_("All locations")
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["location"].queryset = open_locations()  # type: ignore[attr-defined]


class NewClerk(ClerkForm):
    """A new clerk, with a PIN or one made for them."""

    pin = _Pin(
        label=_("PIN"), required=False, help_text=_("4 to 8 digits. Leave it empty for one made for them, shown once.")
    )


class PinForm(forms.Form):
    """A clerk's next PIN."""

    pin = _Pin(label=_("New PIN"), required=False, help_text=_("4 to 8 digits. Leave it empty for one made for them."))


class NewTill(_Named):
    """A device that is to become a till."""

    location = forms.ModelChoiceField(label=_("Location"), queryset=Location.objects.none(), empty_label=None)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["location"].queryset = open_locations()  # type: ignore[attr-defined]
        self.fields["name"].label = _("Name of the till")
        self.fields["name"].help_text = _("As people call it: Counter, Till 2, Market stall.")


class RenameTill(_Named):
    """Another name for a till."""


def open_locations() -> Any:
    """Where a till can stand and a clerk can work."""
    return Location.objects.filter(closed_at=None).order_by("name", "pk")
