"""All components on one page, for those who build pages; only in development."""

from datetime import date, timedelta
from typing import Final

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from loyalty_saas.drawing import Chart, Series
from tenants.access import Actor, admits

COLOURS: Final = ("ground", "card", "sunken", "line", "ink", "soft", "accent", "good", "warn", "bad")
WEEKS: Final = 13


class Sample(forms.Form):
    """One field of each kind, two of them refused."""

    name = forms.CharField(label=_("Name of the business"), help_text=_("As it stands above the door."))
    owner_email = forms.EmailField(label=_("Owner's e-mail"))
    trade = forms.ChoiceField(
        label=_("Trade"), choices=[("cafe", _("Café or restaurant")), ("retail", _("Retail shop"))]
    )
    languages = forms.MultipleChoiceField(
        label=_("Languages of the customers"),
        choices=[("en", "English"), ("de", "Deutsch")],
        widget=forms.CheckboxSelectMultiple,
        required=False,
    )
    notify = forms.BooleanField(label=_("Tell the owner by e-mail"), required=False)


@admits(Actor.ANYONE)
@require_safe
def styleguide(request: HttpRequest) -> HttpResponse:
    """Every component in every state."""
    form = Sample({"name": "Harbor Coffee Roasters", "owner_email": "not an address", "trade": "cafe"})
    form.is_valid()
    days = [date(2026, 8, 24) + timedelta(days=n) for n in range(7 * WEEKS)]
    series = [
        Series(str(_("All members")), "all", [600 + n * 4 + n % 7 * 9 for n in range(len(days))]),
        Series(str(_("Members who came back")), "back", [170 + n * 2 + n % 5 * 6 for n in range(len(days))]),
    ]
    chart = Chart(sentence=str(_("Visits rise from 600 to 960 a day.")), series=series, days=days)
    context = {"form": form, "colours": COLOURS, "chart": chart, "trend": [3, 5, 4, 6, 8, 7, 9, 12, 11, 14]}
    return render(request, "styleguide.html", context)
