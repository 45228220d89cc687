"""Numbers, money, days and small drawings in templates, in the viewer's language."""

import re
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Protocol
from zlib import crc32

import phonenumbers
from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_skeleton, format_time, format_timedelta
from babel.numbers import format_currency, format_decimal, format_percent, get_currency_precision
from django import template
from django.conf import settings
from django.forms import BoundField, CheckboxInput, CheckboxSelectMultiple
from django.template.loader import get_template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import get_language
from django.utils.translation import gettext as _

register = template.Library()


class HasDecimals(Protocol):
    """A unit of points, stamps or money."""

    @property
    def decimals(self) -> int: ...


AVATAR_COLOURS = 6


def viewer_locale() -> Locale:
    """The viewer's language as Babel knows it, English where it does not."""
    return _locale(get_language() or "en")


@lru_cache(maxsize=64)
def _locale(language: str) -> Locale:
    try:
        return Locale.parse(language, sep="-")
    except (ValueError, UnknownLocaleError):
        return Locale("en")


@register.filter
def money(minor: int | None, currency: str) -> str:
    """Minor units of a currency as money: ``1840|money:"USD"`` is $18.40."""
    if minor is None:
        return "–"
    amount = Decimal(minor).scaleb(-get_currency_precision(currency))
    return str(format_currency(amount, currency, locale=viewer_locale()))


@register.filter
def round_money(minor: int | None, currency: str) -> str:
    """Money without cents from a hundred on, and none without cents: for headlines and axes."""
    if minor is None:
        return "–"
    amount = Decimal(minor).scaleb(-get_currency_precision(currency))
    if 0 < abs(amount) < 100:
        return money(minor, currency)
    # A pattern of the locale without its fraction; the currency's own digits would come back otherwise.
    pattern = viewer_locale().currency_formats["standard"].pattern
    whole = ";".join(part.replace("0.00", "0") for part in pattern.split(";"))
    return str(format_currency(amount, currency, format=whole, currency_digits=False, locale=viewer_locale()))


@register.filter
def number(value: int | Decimal | None, decimals: int = 0) -> str:
    """A count, or smallest steps of a unit with `decimals`: ``1280|number`` is 1,280."""
    if value is None:
        return "–"
    pattern = "#,##0" + ("." + "0" * decimals if decimals else "")
    return str(format_decimal(Decimal(value).scaleb(-decimals), format=pattern, locale=viewer_locale()))


@register.filter
def signed(value: int | None, decimals: int = 0) -> str:
    """A movement with its sign: +120, −40."""
    if value is None:
        return "–"
    return ("+" if value > 0 else "−" if value < 0 else "") + number(abs(value), decimals)


@register.filter
def quantity(value: Decimal | None) -> str:
    """A quantity without needless zeros."""
    return "–" if value is None else str(format_decimal(value, locale=viewer_locale()))


@register.filter
def percent(share: float | Decimal | None) -> str:
    """A share of one: ``0.413|percent`` is 41.3%."""
    if share is None:
        return "–"
    pattern = "#,##0.0\xa0%" if "\xa0" in viewer_locale().percent_formats[None].pattern else "#,##0.0%"
    return str(format_percent(share, format=pattern, locale=viewer_locale()))


@register.filter
def signed_percent(share: float | None) -> str:
    """A change as a share, with its sign: +4.1%."""
    if share is None:
        return "–"
    return ("+" if share > 0 else "−" if share < 0 else "") + percent(abs(share))


@register.filter
def signed_points(share: float | None) -> str:
    """The difference of two shares in percentage points: +1.8 pts."""
    if share is None:
        return "–"
    sign = "+" if share > 0 else "−" if share < 0 else ""
    words = format_decimal(round(abs(share) * 100, 1), format="#,##0.0", locale=viewer_locale())
    return _("%(sign)s%(n)s pts") % {"sign": sign, "n": words}


@register.filter
def tone(change: float | None) -> str:
    """Whether a change is good or bad where more is better: the class of its line."""
    return "good" if (change or 0) > 0 else "bad" if (change or 0) < 0 else ""


@register.filter
def unit_amount(value: int | None, unit: "HasDecimals | None") -> str:
    """Smallest steps of a unit as people write them."""
    return number(value, unit.decimals if unit else 0)


@register.filter
def unlocal(value: float) -> str:
    """A coordinate: one place after a point, whatever the language."""
    return f"{value:.1f}"


@register.filter
def day(value: date | datetime | None) -> str:
    """A day: 22 Nov 2026, as the viewer writes it."""
    if value is None:
        return "–"
    local = timezone.localtime(value) if isinstance(value, datetime) else value
    return str(format_date(local, format="medium", locale=viewer_locale()))


@register.filter
def short_day(value: date) -> str:
    """A day without its year: Nov 22."""
    return str(format_skeleton("MMMd", value, locale=viewer_locale()))


@register.filter
def moment(value: datetime | None) -> str:
    """A day and time in the zone of the host: Nov 22, 2026, 12:30 PM."""
    if value is None:
        return "–"
    local = timezone.localtime(value)
    return f"{day(value)}, {format_time(local, format='short', locale=viewer_locale())}"


@register.filter
def ago(value: datetime | None) -> str:
    """How long ago: 5 minutes ago."""
    if value is None:
        return "–"
    return str(format_timedelta(value - timezone.now(), add_direction=True, locale=viewer_locale()))


@register.filter
def phone(value: str) -> str:
    """A phone number as people read it: +1 404-555-0192; what is none stays as it is."""
    try:
        number_read = phonenumbers.parse(value)
    except phonenumbers.NumberParseException:
        return value
    return str(phonenumbers.format_number(number_read, phonenumbers.PhoneNumberFormat.INTERNATIONAL))


@register.filter
def initials(name: str) -> str:
    """At most two letters for a round picture."""
    words = [word for word in name.replace("-", " ").split() if word[:1].isalnum()]
    return "".join(word[0] for word in (words[:1] + words[-1:] if len(words) > 1 else words)).upper()


@register.filter
def colour(name: str) -> str:
    """The class of an always equal colour for a name."""
    return f"tone-{crc32(name.encode()) % AVATAR_COLOURS}"


@register.simple_tag
def icon(name: str, css: str = "icon") -> SafeString:
    """A Lucide icon, hidden from screen readers: the text beside it speaks."""
    return format_html(
        '<svg class="{}" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2"'
        ' stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false">{}</svg>',
        css,
        _strokes(name),
    )


@lru_cache(maxsize=128)
def _strokes(name: str) -> SafeString:
    drawing = re.search(r"<svg[^>]*>(.*)</svg>", get_template(f"icons/{name}.svg").render(), re.DOTALL)
    return mark_safe(drawing[1].strip() if drawing else "")  # noqa: S308 (a file of ours)


@register.simple_tag
def sparkline(values: Sequence[int], width: int = 96, height: int = 28, tone: str = "") -> SafeString:
    """A small line without words; the figures stand beside it. `tone` is good, bad or neither."""
    points = _points(values, width=width, height=height, margin=2)
    if not points:
        return SafeString("")
    return format_html(
        '<svg class="sparkline{}" viewBox="0 0 {} {}" width="{}" height="{}" aria-hidden="true" focusable="false">'
        '<polyline points="{}"/></svg>',
        f" sparkline-{tone}" if tone in ("good", "bad") else "",
        width,
        height,
        width,
        height,
        points,
    )


def _points(values: Sequence[int], *, width: int, height: int, margin: int) -> str:
    if len(values) < 2:
        return ""
    top = max(*values, 1)
    step = (width - 2 * margin) / (len(values) - 1)
    room = height - 2 * margin
    return " ".join(
        f"{margin + i * step:.1f},{margin + room - max(v, 0) / top * room:.1f}" for i, v in enumerate(values)
    )


@register.filter
def language_name(code: str) -> str:
    """A language in itself: Deutsch."""
    return dict(settings.LANGUAGES).get(code, code)


@register.inclusion_tag("snippets/field.html")
def field(bound: BoundField) -> dict[str, object]:
    """A field with its label, hint and errors, tied together for screen readers."""
    checkbox = isinstance(bound.field.widget, CheckboxInput)
    choices = isinstance(bound.field.widget, CheckboxSelectMultiple)
    said = [f"{bound.auto_id}_hint"] * bool(bound.help_text) + [f"{bound.auto_id}_errors"] * bool(bound.errors)
    described = " ".join(said)
    attrs: dict[str, str | bool] = {"aria-describedby": described} if described else {}
    if bound.errors:
        attrs["aria-invalid"] = "true"
    if not (checkbox or choices):
        attrs["class"] = "input"
    # The sign-in library's forms repeat their label inside the field: ours stands above it, and stays when one types.
    bound.field.widget.attrs.pop("placeholder", None)
    widget = "" if choices else bound.as_widget(attrs=attrs)
    return {"field": bound, "widget": widget, "checkbox": checkbox, "choices": choices, "described": described}
