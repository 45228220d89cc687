"""
One form for the look of a house, a provider's or a client's: colour, typeface, corners and logo, with a preview.

A view offers :class:`BrandForm` in ``snippets/brand_form.html``, answers htmx with :func:`preview`, and saves with
:meth:`BrandForm.save`.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from loyalty_saas.branding import (
    CORNERS,
    LIGHT_GROUND,
    TYPEFACES,
    LogoRefused,
    change_brand,
    colour_of,
    contrast,
    draw_logo,
    tokens,
)
from loyalty_saas.templatetags.loyalty import quantity
from tenants.models import Brand, Client, Provider

STANDARD: Final = "#3343d3"
"""The accent of a house that chose none: styles/app.css has it too."""
_STANDARD_LIGHT: Final = {"accent": STANDARD, "on-accent": "#ffffff", "accent-wash": "#eeeffd"}
_STANDARD_DARK: Final = {"accent": "#8b97ff", "on-accent": "#0d1119", "accent-wash": "#20274a"}
_SHADES: Final = {
    "light": {"card": "#ffffff", "line": "#e4e7ec", "ink": "#0f172a", "soft": "#556275"},
    "dark": {"card": "#151b26", "line": "#283244", "ink": "#eef1f6", "soft": "#a3aec0"},
}
_REM: Final = 16


@dataclass(frozen=True)
class Sample:
    """What a look makes of a button and a badge, on a light screen or a dark one."""

    words: str
    accent: str
    on_accent: str
    wash: str
    card: str
    line: str
    ink: str
    soft: str


@dataclass(frozen=True)
class Preview:
    """A look before it is saved: both samples, and in words what was done to the colour so that it can be read."""

    light: Sample
    dark: Sample
    typeface: str
    corner: float
    corner_small: float
    adjusted: list[str]

    @property
    def samples(self) -> list[Sample]:
        """The light one and the dark one."""
        return [self.light, self.dark]


class BrandForm(forms.Form):
    """The look of one house. Without an own colour the standard one is used."""

    own_colour = forms.BooleanField(
        label=gettext_lazy("Use our own colour"),
        required=False,
        help_text=gettext_lazy("For buttons, links and what is chosen. Otherwise the standard blue is used."),
    )
    accent = forms.RegexField(
        label=gettext_lazy("Colour"),
        regex=r"^#[0-9a-fA-F]{6}\Z",
        required=False,
        widget=forms.TextInput(attrs={"type": "color"}),
        error_messages={"invalid": gettext_lazy("This is not a colour such as #0f766e.")},
    )
    typeface = forms.ChoiceField(label=gettext_lazy("Typeface"), choices=Brand.Typeface.choices)
    corners = forms.ChoiceField(label=gettext_lazy("Corners"), choices=Brand.Corners.choices)
    logo = forms.FileField(
        label=gettext_lazy("Logo"),
        required=False,
        help_text=gettext_lazy("PNG, JPEG or WebP up to 5 MB; a square with a clear ground looks best."),
        widget=forms.FileInput(attrs={"accept": "image/png,image/jpeg,image/webp"}),
    )
    drop_logo = forms.BooleanField(label=gettext_lazy("Remove the logo"), required=False)

    def __init__(self, *args: Any, brand: Brand | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.brand = brand or Brand()
        self._drawn: bytes | None = None
        self.initial = {
            "own_colour": bool(self.brand.accent),
            "accent": self.brand.accent or STANDARD,
            "typeface": self.brand.typeface,
            "corners": self.brand.corners,
            **self.initial,
        }
        if self.brand.logo is None:
            del self.fields["drop_logo"]

    @property
    def logo_url(self) -> str:
        """Where the logo is that the house has now, or nothing."""
        if self.brand.logo is None:
            return ""
        return reverse("brand:logo", args=[self.brand.pk, int(self.brand.changed_at.timestamp())])

    @property
    def preview(self) -> Preview:
        """What the values now in the form look like; those that are wrong count as the saved ones."""
        if not self.is_bound:
            return preview_of(self.brand)
        self.full_clean()
        return preview_of(self._asked())

    def clean_logo(self) -> Any:
        """The picture, drawn anew."""
        upload = self.cleaned_data.get("logo")
        if upload:
            try:
                self._drawn = draw_logo(upload)
            except LogoRefused as refused:
                raise forms.ValidationError(str(refused)) from refused
        return upload

    def clean(self) -> dict[str, Any]:
        """An own colour needs one."""
        if self.cleaned_data.get("own_colour") and not self.cleaned_data.get("accent") and "accent" not in self.errors:
            self.add_error("accent", _("Choose the colour."))
        return self.cleaned_data

    def save(self, *, at: datetime, client: Client | None = None, provider: Provider | None = None) -> Brand:
        """Set the look of the house, in the caller's transaction over the public tables."""
        asked = self._asked()
        return change_brand(
            at=at,
            accent=asked.accent,
            typeface=asked.typeface,
            corners=asked.corners,
            client=client,
            provider=provider,
            logo=self._drawn,
            drop_logo=bool(self.cleaned_data.get("drop_logo")),
        )

    def _asked(self) -> Brand:
        given = getattr(self, "cleaned_data", {})
        own = given.get("own_colour", False)
        return Brand(
            accent=(given.get("accent") or self.brand.accent).lower() if own else "",
            typeface=given.get("typeface") or self.brand.typeface,
            corners=given.get("corners") or self.brand.corners,
        )


def brand_of(*, client: Client | None = None, provider: Provider | None = None) -> Brand | None:
    """The look a house has of its own."""
    return Brand.objects.filter(client=client, provider=provider).first()


def preview(request: HttpRequest) -> HttpResponse:
    """The preview alone, for the values in the address: what htmx puts beside the form while it is filled in."""
    form = BrandForm(request.GET)
    return render(request, "snippets/brand_preview.html", {"preview": form.preview})


def preview_of(brand: Brand) -> Preview:
    """A look as it will be, from the very tokens that its style sheet has."""
    light, dark = _tokens(brand)
    corner, small = CORNERS.get(Brand.Corners(brand.corners), ("1rem", "0.5rem"))
    return Preview(
        light=_sample(_("Light"), light, _SHADES["light"]),
        dark=_sample(_("Dark"), dark, _SHADES["dark"]),
        typeface=TYPEFACES.get(Brand.Typeface(brand.typeface), "Inter, sans-serif"),
        corner=float(corner.removesuffix("rem")) * _REM,
        corner_small=float(small.removesuffix("rem")) * _REM,
        adjusted=_adjusted(brand.accent, light, dark["accent"]) if brand.accent else [],
    )


def _tokens(brand: Brand) -> tuple[dict[str, str], dict[str, str]]:
    if not brand.accent:
        return _STANDARD_LIGHT, _STANDARD_DARK
    light, _media, dark = tokens(brand).partition("@media")
    return _colours(light), _colours(dark)


def _colours(css: str) -> dict[str, str]:
    return dict(re.findall(r"--([a-z-]+):(#[0-9a-f]{6});", css))


def _sample(words: str, found: dict[str, str], shades: dict[str, str]) -> Sample:
    return Sample(words, found["accent"], found["on-accent"], found["accent-wash"], **shades)


def _ratio(chosen: str, wash: str) -> str:
    """The contrast of a colour with the darkest light ground it stands on; rounded down, so as not to sound enough."""
    found = min(contrast(colour_of(chosen), ground) for ground in (LIGHT_GROUND, colour_of(wash)))
    return quantity(Decimal(int(found * 10)) / 10)


def _adjusted(chosen: str, light: dict[str, str], dark: str) -> list[str]:
    """What was done to the colour that was chosen, in sentences."""
    said = []
    if light["accent"] != chosen:
        ratio = _ratio(chosen, light["accent-wash"])
        words = _(
            "On light screens %(chosen)s would be hard to read (contrast %(ratio)s to 1, at least 4.5 is needed): "
            "the nearest darker shade %(shade)s is used."
        )
        said.append(words % {"chosen": chosen, "ratio": ratio, "shade": light["accent"]})
    if dark != chosen:
        words = _("On dark screens the lighter shade %(shade)s is used, so that it can be read there too.")
        said.append(words % {"shade": dark})
    return said
