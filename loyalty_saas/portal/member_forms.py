"""What the portal asks for when members come, change and are put right."""

from decimal import Decimal
from typing import Any, Final
from uuid import uuid4

from django import forms
from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from members.models import Identifier, Insight
from members.queries import NO_SEGMENT
from programs.queries import ProgramInForce, Unit
from tenants.models import Client

CONSENT_TEXT: Final = "2026-11"
"""The version of the words beside the box for marketing; new words get a new one."""
SOURCE: Final = "portal"
_TIER_NONE: Final = "-"


def _day_input() -> forms.DateInput:
    return forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")


class Filters(forms.Form):
    """Whom the list shows; what is not understood does not filter."""

    segment = forms.ChoiceField(label=gettext_lazy("Segment"), required=False)
    tier = forms.ChoiceField(label=gettext_lazy("Tier"), required=False)
    has = forms.ChoiceField(
        label=gettext_lazy("Reached by"),
        required=False,
        choices=[
            ("", gettext_lazy("Any way to reach")),
            ("email", gettext_lazy("Has an e-mail address")),
            ("no-email", gettext_lazy("Has no e-mail address")),
            ("phone", gettext_lazy("Has a phone number")),
            ("no-phone", gettext_lazy("Has no phone number")),
            ("card", gettext_lazy("Has a card")),
        ],
    )
    joined = forms.ChoiceField(
        label=gettext_lazy("Joined"),
        required=False,
        choices=[
            ("", gettext_lazy("Joined any time")),
            ("7", gettext_lazy("Joined in the last 7 days")),
            ("30", gettext_lazy("Joined in the last 30 days")),
            ("90", gettext_lazy("Joined in the last 90 days")),
            ("365", gettext_lazy("Joined in the last year")),
        ],
    )

    def __init__(self, *args: Any, program: ProgramInForce | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        tiers = program.spec.tiers if program else None
        levels = [(level.code, level.name) for level in tiers.levels] if tiers else []
        self._choose("segment", _("All segments"), *Insight.Segment.choices, (NO_SEGMENT, _("Nothing bought yet")))
        self._choose("tier", _("All tiers"), *levels, (_TIER_NONE, _("Without a tier")))
        if not levels:
            del self.fields["tier"]
        for field in self.fields.values():
            field.widget.attrs.update({"data-submit": "", "class": "input"})

    def _choose(self, name: str, everything: str, *choices: Any) -> None:
        field = self.fields[name]
        if isinstance(field, forms.ChoiceField):
            field.choices = [("", everything), *choices]

    @property
    def given(self) -> dict[str, str]:
        """What filters, by name."""
        self.is_valid()
        return {name: value for name, value in self.cleaned_data.items() if value}

    @property
    def tier_asked(self) -> str | None:
        """The code of the tier asked for, empty for none, nothing where it does not matter."""
        asked = self.given.get("tier")
        return "" if asked == _TIER_NONE else asked


class NewMemberForm(forms.Form):
    """Somebody who joins at the counter."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=100, required=False)
    phone = forms.CharField(
        label=gettext_lazy("Phone"), max_length=40, required=False, widget=forms.TextInput(attrs={"type": "tel"})
    )
    email = forms.EmailField(label=gettext_lazy("E-mail"), max_length=254, required=False)
    card = forms.CharField(label=gettext_lazy("Card number"), max_length=64, required=False)
    birthday = forms.DateField(
        label=gettext_lazy("Birthday"),
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
    )
    language = forms.ChoiceField(label=gettext_lazy("Language"), required=False)
    marketing = forms.BooleanField(
        label=gettext_lazy("Agrees to receive news and offers"),
        required=False,
        help_text=gettext_lazy("Tick this only if they said so. They can take it back at any time."),
    )

    def __init__(self, *args: Any, client: Client, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _offer_languages(self.fields["language"], client)
        for field in self.fields.values():
            field.widget.attrs["autocomplete"] = "off"

    def clean_birthday(self) -> Any:
        """A day that has been."""
        return _past(self.cleaned_data.get("birthday"))

    def clean(self) -> dict[str, Any]:
        """Nobody can be found by nothing."""
        given = self.cleaned_data
        if not self.errors and not any(given.get(name) for name in ("name", "phone", "email", "card")):
            raise forms.ValidationError(_("Enter at least a name, a phone number, an e-mail address or a card."))
        return given

    @property
    def identifiers(self) -> dict[str, str]:
        """Ways to find the member, by kind."""
        return {kind: self.cleaned_data[kind] for kind in ("phone", "email", "card") if self.cleaned_data.get(kind)}


class IdentityForm(forms.Form):
    """Who a member is."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=100, required=False)
    birthday = forms.DateField(
        label=gettext_lazy("Birthday"),
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
    )
    language = forms.ChoiceField(label=gettext_lazy("Language"), required=False)

    def __init__(self, *args: Any, client: Client, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _offer_languages(self.fields["language"], client, also=str(self.initial.get("language") or ""))
        for field in self.fields.values():
            field.widget.attrs["autocomplete"] = "off"

    def clean_birthday(self) -> Any:
        """A day that has been."""
        return _past(self.cleaned_data.get("birthday"))


class IdentifierForm(forms.Form):
    """A further way to find a member."""

    kind = forms.ChoiceField(label=gettext_lazy("Kind"), choices=Identifier.Kind.choices)
    value = forms.CharField(
        label=gettext_lazy("Number or address"), max_length=254, widget=forms.TextInput(attrs={"autocomplete": "off"})
    )


class AdjustForm(forms.Form):
    """Points given or taken by hand, in whole and parts of the unit as people write them."""

    # Set where a second person could still agree to it.
    is_over_limit = False
    GIVE, TAKE = "give", "take"
    key = forms.UUIDField(widget=forms.HiddenInput)
    unit = forms.ChoiceField(label=gettext_lazy("What"))
    way = forms.ChoiceField(
        label=gettext_lazy("Give or take"),
        choices=[(GIVE, gettext_lazy("Give")), (TAKE, gettext_lazy("Take away"))],
    )
    amount = forms.DecimalField(
        label=gettext_lazy("How many"), max_digits=14, widget=forms.TextInput(attrs={"inputmode": "decimal"})
    )
    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        max_length=200,
        help_text=gettext_lazy("The member reads it in the statement, and it stays there."),
    )

    def __init__(self, *args: Any, units: list[Unit], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._units = {unit.code: unit for unit in units}
        field = self.fields["unit"]
        if isinstance(field, forms.ChoiceField):
            field.choices = [(unit.code, unit.name) for unit in units]
        self.fields["key"].initial = uuid4
        for one in self.fields.values():
            one.widget.attrs["autocomplete"] = "off"

    def clean(self) -> dict[str, Any]:
        """The amount fits the unit's smallest step."""
        unit, amount = self._units.get(self.cleaned_data.get("unit", "")), self.cleaned_data.get("amount")
        if unit and amount is not None:
            steps = amount.scaleb(unit.decimals)
            if amount <= 0:
                self.add_error("amount", _("Enter a number above 0."))
            elif steps != steps.to_integral_value():
                self.add_error("amount", _not_in_steps(unit))
        return self.cleaned_data

    @property
    def chosen(self) -> Unit:
        """The unit that is given or taken."""
        return self._units[self.cleaned_data["unit"]]

    @property
    def steps(self) -> int:
        """How many of the unit's smallest steps, below zero where they are taken."""
        steps = int(Decimal(self.cleaned_data["amount"]).scaleb(self.chosen.decimals))
        return -steps if self.cleaned_data["way"] == self.TAKE else steps


class TransferForm(AdjustForm):
    """Points moved from one member to another."""

    way = None  # type: ignore[assignment]
    field_order = ("amount", "unit", "reason")

    @property
    def steps(self) -> int:
        """How many of the unit's smallest steps."""
        return int(Decimal(self.cleaned_data["amount"]).scaleb(self.chosen.decimals))


class HouseholdForm(forms.Form):
    """What a household is called."""

    name = forms.CharField(
        label=gettext_lazy("Name of the household"),
        max_length=100,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        help_text=gettext_lazy("Only you and the members of it see it."),
    )


def _not_in_steps(unit: Unit) -> str:
    if not unit.decimals:
        return _("%(unit)s are counted in whole numbers.") % {"unit": unit.name}
    return _("%(unit)s have at most %(n)s places.") % {"unit": unit.name, "n": unit.decimals}


def _past(day: Any) -> Any:
    if day and not timezone.localdate().replace(year=1900) <= day <= timezone.localdate():
        raise forms.ValidationError(_("Enter a day that has been."))
    return day


def _offer_languages(field: forms.Field, client: Client, *, also: str = "") -> None:
    names = dict(settings.LANGUAGES)
    codes = [code for code in dict.fromkeys([*client.languages, also]) if code]
    if isinstance(field, forms.ChoiceField):
        field.choices = [("", _("Not known")), *((code, names.get(code, code)) for code in codes)]
