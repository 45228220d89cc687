"""Forms of the pages for developers."""

from datetime import datetime, timedelta
from typing import Any, Final

from django import forms
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from programs.models import Location
from tenants.services.api_keys import CLIENT_SCOPES

SCOPES: Final[dict[str, str | Promise]] = {
    "purchases:write": _("Send sales, returns and activities"),
    "purchases:read": _("Read purchases and activities, preview points"),
    "members:read": _("Look members up"),
    "members:write": _("Enrol members and change them"),
    "points:read": _("Read balances, ledgers and tiers"),
    "points:write": _("Correct points by hand"),
    "rewards:read": _("Read rewards, offers and redemptions"),
    "rewards:write": _("Redeem rewards"),
    "program:read": _("Read the program, locations and figures"),
    "program:write": _("Publish a program, make locations"),
}
LASTS: Final[dict[str, tuple[str | Promise, timedelta | None]]] = {
    "90": (_("In 90 days"), timedelta(days=90)),
    "365": (_("In one year"), timedelta(days=365)),
    "never": (_("Never"), None),
}
OVERLAPS: Final[dict[str, tuple[str | Promise, timedelta]]] = {
    "24h": (_("24 hours"), timedelta(hours=24)),
    "7d": (_("7 days"), timedelta(days=7)),
}


def _scope_choices() -> list[tuple[str, str]]:
    return [(scope, f"{words} ({scope})") for scope, words in SCOPES.items() if scope in CLIENT_SCOPES]


class NewKey(forms.Form):
    """A key as its owner wants it."""

    name = forms.CharField(
        label=_("Name"), max_length=100, help_text=_("What will use it: “Web shop”, “Till in the harbour”.")
    )
    scopes = forms.MultipleChoiceField(
        label=_("What it may do"),
        choices=_scope_choices,
        widget=forms.CheckboxSelectMultiple,
        help_text=_("Only what the system needs: a key that is lost can then do little."),
    )
    location = forms.ChoiceField(
        label=_("Location"),
        required=False,
        help_text=_("A key of one location records purchases there alone, and need not name it."),
    )
    lasts = forms.ChoiceField(label=_("Ends"), choices=[(code, words) for code, (words, _for) in LASTS.items()])

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        places = Location.objects.filter(closed_at=None).order_by("name").values_list("pk", "name")
        choices = [("", _("All locations")), *((str(pk), name) for pk, name in places)]
        self.fields["location"].choices = choices  # type: ignore[attr-defined]

    def expires_at(self, *, at: datetime) -> datetime | None:
        """When it ends."""
        lasts = LASTS[self.cleaned_data["lasts"]][1]
        return at + lasts if lasts else None


class Rotation(forms.Form):
    """How long the old key goes on beside the new one."""

    overlap = forms.ChoiceField(
        label=_("The old key ends after"), choices=[(code, words) for code, (words, _for) in OVERLAPS.items()]
    )

    @property
    def lasts(self) -> timedelta:
        """How long."""
        return OVERLAPS[self.cleaned_data["overlap"]][1]
