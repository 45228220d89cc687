"""What is asked in the console: a new client step by step, a reason, a colleague, a name."""

from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from typing import Any, ClassVar, Final
from zoneinfo import available_timezones

from babel.core import get_global
from babel.numbers import get_currency_name, get_territory_currencies
from django import forms
from django.conf import settings
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from loyalty_saas.flows.programs import templates
from loyalty_saas.templatetags.loyalty import viewer_locale
from tenants.models import Client, Provider
from tenants.services.onboarding import OnboardingRefused, check, free_slug, request_of

SUGGESTED: Final = {"cafe": "cafe", "outdoor": "hiking"}
"""Which template goes with a trade; for all others it is that of a shop."""


class WizardForm(forms.Form):
    """
    One step of taking in a client. It begins with what the draft has, and refuses what the service would refuse.

    `kept` is what the draft holds so far.
    """

    asks: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *args: Any, kept: Mapping[str, Any], providers: QuerySet[Provider], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.kept, self.providers = kept, providers
        self.initial.update({name: kept[name] for name in self.fields if name in kept})
        self.prepare()

    def prepare(self) -> None:
        """Offer choices and first values."""

    def clean(self) -> dict[str, Any]:
        """Also what the service would refuse, so that every field that is wrong says so at once."""
        try:
            check(request_of({**self.kept, **self.given}), templates=templates())
        except OnboardingRefused as refused:
            for name in set(self.asks) & set(refused.problems) - set(self.errors):
                self.add_error(name, refused.problems[name])
        return self.cleaned_data

    @property
    def given(self) -> dict[str, Any]:
        """The values for the draft, as far as they are sound."""
        return {name: self.cleaned_data[name] for name in self.asks if name in self.cleaned_data}

    @property
    def typed(self) -> dict[str, Any]:
        """What was typed, sound or not: it is kept when somebody goes back or leaves."""
        found: dict[str, Any] = {}
        for name in self.asks:
            value = self[name].value()
            found[name] = [str(one)[:20] for one in value or []][:20] if name == "languages" else str(value or "")[:254]
        return found

    def offer(self, name: str, choices: list[tuple[str, Any]]) -> None:
        """Nothing is chosen by accident: the first entry is none."""
        self.fields[name].choices = [("", _("Choose …")), *choices]  # type: ignore[attr-defined]


class BusinessForm(WizardForm):
    """Who is taken in."""

    asks = ("name", "trade")

    provider = forms.ModelChoiceField(label=_("Provider"), queryset=Provider.objects.none(), empty_label=None)
    name = forms.CharField(label=_("Name of the business"), max_length=100, help_text=_("As its customers know it."))
    trade = forms.ChoiceField(label=_("Trade"), help_text=_("Decides which program is suggested."))

    def prepare(self) -> None:
        """The providers to choose from; with one there is nothing to choose."""
        self.fields["provider"].queryset = self.providers  # type: ignore[attr-defined]
        if len(self.providers) == 1:
            self.initial["provider"] = self.providers[0].pk
            self.fields["provider"].widget = forms.HiddenInput()
        self.offer("trade", list(Client.Trade.choices))


class ProgramForm(WizardForm):
    """The program it starts with."""

    asks = ("template",)

    template = forms.ChoiceField(label=_("Program to start with"), widget=forms.RadioSelect)

    def prepare(self) -> None:
        """The templates; the one for the trade is chosen already."""
        self.fields["template"].choices = list(templates().items())  # type: ignore[attr-defined]
        if not self.initial.get("template"):
            self.initial["template"] = SUGGESTED.get(self.kept.get("trade", ""), "retail")


class PlaceForm(WizardForm):
    """Where it is, what it counts in, and where its pages are."""

    asks = ("currency", "time_zone", "languages", "slug", "domain")

    currency = forms.ChoiceField(label=_("Currency"))
    time_zone = forms.ChoiceField(label=_("Time zone"), help_text=_("Days and opening hours are judged by it."))
    languages = forms.MultipleChoiceField(
        label=_("Languages of the customers"), choices=settings.LANGUAGES, widget=forms.CheckboxSelectMultiple
    )
    slug = forms.CharField(label=_("Address"), max_length=50)
    domain = forms.CharField(
        label=_("Own domain"),
        max_length=253,
        required=False,
        help_text=_("Only if the business has one for this, such as club.example.com; it must lead here."),
    )

    def prepare(self) -> None:
        """Begin where the provider's last client is: its clients are mostly near each other."""
        self.offer("currency", currencies(str(viewer_locale())))
        self.offer("time_zone", [(zone, zone.replace("_", " ")) for zone in time_zones()])
        self.fields["slug"].help_text = _("Under %(suffix)s: small letters, digits and hyphens.") % {
            "suffix": settings.CLIENT_HOST_SUFFIX
        }
        last = Client.objects.filter(provider__in=self.providers).order_by("-created_at").first()
        for name in ("currency", "time_zone", "languages"):
            begin = getattr(last, name) if last else ([settings.LANGUAGE_CODE] if name == "languages" else "")
            self.initial[name] = self.initial.get(name) or begin
        if not self.initial.get("slug") and self.kept.get("name"):
            self.initial["slug"] = free_slug(self.kept["name"])

    def clean_slug(self) -> str:
        """In small letters."""
        return str(self.cleaned_data["slug"]).strip().lower()


class OwnerForm(WizardForm):
    """Who looks after it."""

    asks = ("owner_email",)

    owner_email = forms.EmailField(label=_("Owner's e-mail"), help_text=_("The owner gets an invitation there."))


class Reason(forms.Form):
    """Why a client's program rests."""

    reason = forms.CharField(
        label=_("Reason"), max_length=200, help_text=_("It is kept in the activity and shown to your colleagues.")
    )

    def clean_reason(self) -> str:
        """One line."""
        reason = str(self.cleaned_data["reason"])
        if not reason.isprintable():
            raise forms.ValidationError(_("One line, please."))
        return reason


class Colleague(forms.Form):
    """Who is to work for the provider."""

    email = forms.EmailField(label=_("E-mail"), max_length=254, help_text=_("An invitation is sent there."))


class House(forms.Form):
    """The provider's name."""

    name = forms.CharField(label=_("Name"), max_length=100, help_text=_("Shown at the top of these pages."))

    def clean_name(self) -> str:
        """One line."""
        name = str(self.cleaned_data["name"])
        if not name.isprintable():
            raise forms.ValidationError(_("A name is one line of at most 100 characters."))
        return name


@lru_cache(maxsize=32)
def currencies(locale: str) -> list[tuple[str, str]]:
    """Currencies in use today, by their names in a language."""
    today = date.today()  # noqa: DTZ011 (which currencies exist does not depend on the hour)
    codes = {
        code for place in get_global("territory_currencies") for code in get_territory_currencies(place, today, today)
    }
    return sorted(((code, f"{get_currency_name(code, locale=locale)} ({code})") for code in codes), key=lambda c: c[1])


@lru_cache(maxsize=1)
def time_zones() -> list[str]:
    """Zones named by their place, and UTC."""
    regions = (
        "Africa/",
        "America/",
        "Antarctica/",
        "Arctic/",
        "Asia/",
        "Atlantic/",
        "Australia/",
        "Europe/",
        "Indian/",
        "Pacific/",
    )
    return [*sorted(zone for zone in available_timezones() if zone.startswith(regions)), "UTC"]
