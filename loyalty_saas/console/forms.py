"""What is asked of a new client."""

from datetime import date
from functools import lru_cache
from typing import Any
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
from tenants.services.onboarding import ClientRequest, OnboardingRefused, check


class AddClient(forms.Form):
    """A new client: who they are, how they count, and the program they start with."""

    provider = forms.ModelChoiceField(label=_("Provider"), queryset=Provider.objects.none(), empty_label=None)
    name = forms.CharField(label=_("Name of the business"), max_length=100)
    trade = forms.ChoiceField(label=_("Trade"))
    template = forms.ChoiceField(
        label=_("Program to start with"), help_text=_("Rules, tiers and rewards can all be changed later.")
    )
    currency = forms.ChoiceField(label=_("Currency"))
    time_zone = forms.ChoiceField(label=_("Time zone"), help_text=_("Days and opening hours are judged by it."))
    languages = forms.MultipleChoiceField(
        label=_("Languages of the customers"), choices=settings.LANGUAGES, widget=forms.CheckboxSelectMultiple
    )
    domain = forms.CharField(label=_("Address on the web"), max_length=253, required=False)
    owner_email = forms.EmailField(label=_("Owner's e-mail"), help_text=_("The owner gets an invitation there."))

    def __init__(self, *args: Any, providers: QuerySet[Provider], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["provider"].queryset = providers  # type: ignore[attr-defined]
        if len(providers) == 1:
            self.initial["provider"] = providers[0].pk
            self.fields["provider"].widget = forms.HiddenInput()
        self._offer("trade", list(Client.Trade.choices))
        self._offer("template", list(templates().items()))
        self._offer("currency", currencies(str(viewer_locale())))
        self._offer("time_zone", [(zone, zone.replace("_", " ")) for zone in time_zones()])
        self.fields["domain"].help_text = _("Leave it empty for an address under %(suffix)s.") % {
            "suffix": settings.CLIENT_HOST_SUFFIX
        }
        self._begin_like_the_last(providers)

    def clean(self) -> dict[str, Any]:
        """Also what the service would refuse, so that every field that is wrong says so at once."""
        asked = {name: self.cleaned_data.get(name, "") for name in self.fields if name != "provider"}
        try:
            check(ClientRequest(**asked), templates=templates())
        except OnboardingRefused as refused:
            for name, words in refused.problems.items():
                if name not in self.errors:
                    self.add_error(name if name in self.fields else None, words)
        return self.cleaned_data

    def _offer(self, name: str, choices: list[tuple[str, Any]]) -> None:
        """Nothing is chosen by accident: the first entry is none."""
        self.fields[name].choices = [("", _("Choose …")), *choices]  # type: ignore[attr-defined]

    def _begin_like_the_last(self, providers: QuerySet[Provider]) -> None:
        """A provider's clients are mostly near each other."""
        last = Client.objects.filter(provider__in=providers).order_by("-created_at").first()
        same = ("currency", "time_zone", "languages")
        begin = {name: getattr(last, name) for name in same} if last else {"languages": [settings.LANGUAGE_CODE]}
        self.initial.update(begin)


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
