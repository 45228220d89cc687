"""Numbers and lists as people type them in their language, and back again without a loss."""

import re
from collections.abc import Callable, Iterable
from decimal import Decimal, InvalidOperation
from typing import Final

from babel.numbers import (
    NumberFormatError,
    format_decimal,
    get_currency_precision,
    get_currency_symbol,
    get_decimal_symbol,
    parse_decimal,
)
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from loyalty_saas.templatetags.loyalty import viewer_locale

Value = int | str
_PLAIN: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_QUOTED: Final = re.compile(r'"((?:[^"]|"")*)"')
_MOST_DIGITS: Final = 30


def read_number(text: str) -> Decimal:
    """A number as the viewer's language writes it, or plain. :raises ValidationError: it is none"""
    typed = text.strip().replace("\xa0", " ").replace("−", "-")
    try:
        return Decimal(parse_decimal(typed, locale=viewer_locale(), strict=True))
    except (NumberFormatError, InvalidOperation):
        if _PLAIN.fullmatch(typed) and len(typed) <= _MOST_DIGITS:
            return Decimal(typed)
    raise ValidationError(_("Enter a number."), code="invalid")


def write_number(value: Decimal | int, digits: int | None = None) -> str:
    """A number for a field of a form, without marks between thousands."""
    pattern = "0." + "0" * digits if digits else "0" if digits == 0 else "0.####"
    return str(format_decimal(value, format=pattern, locale=viewer_locale()))


def read_steps(text: str, digits: int, *, least: int = 0) -> int:
    """Smallest steps of an amount with so many places. :raises ValidationError: none, too fine or too small"""
    steps = read_number(text).scaleb(digits)
    if not steps.is_finite() or steps != steps.to_integral_value():
        raise ValidationError(_too_fine(digits), code="too_fine")
    if steps < least:
        raise ValidationError(
            _("Enter at least %(least)s."), code="small", params={"least": write_steps(least, digits)}
        )
    if steps > 10**15:
        raise ValidationError(_("This is too much."), code="large")
    return int(steps)


def _too_fine(digits: int) -> str:
    if not digits:
        return _("Enter a whole number.")
    return _("Enter at most %(n)s places after the point.") % {"n": digits}


def write_steps(steps: int | None, digits: int) -> str:
    """Smallest steps as an amount for a field of a form; nothing for none."""
    return "" if steps is None else write_number(Decimal(steps).scaleb(-digits), digits)


def currency_digits(currency: str) -> int:
    """How many places a currency has."""
    return int(get_currency_precision(currency))


def currency_sign(currency: str) -> str:
    """€ or what the viewer writes for a currency."""
    return str(get_currency_symbol(currency, locale=viewer_locale()))


def read_list(text: str, *, numbers: bool = False) -> list[str]:
    """
    The entries of a list typed in one field, those in quotes with their quotes.

    A semicolon, a new line or a comma ends an entry; a comma within a number does not where the language writes it so.
    """
    comma_in_number = numbers and get_decimal_symbol(viewer_locale()) == ","
    ends = re.compile(
        r'((?:"(?:[^"]|"")*"|[^"\n;,]|,(?=\d))*)' if comma_in_number else r'((?:"(?:[^"]|"")*"|[^"\n;,])*)'
    )
    entries, at = [], 0
    while at <= len(text):
        found = ends.match(text, at)
        entry = found[1] if found else ""
        entries.append(entry.strip())
        at += len(entry) + 1
    return [entry for entry in entries if entry]


def unquoted(text: str) -> str | None:
    """What stands between quotes, or None for a text without them."""
    found = _QUOTED.fullmatch(text.strip())
    return found[1].replace('""', '"') if found else None


def read_text(text: str) -> str:
    """A text, with or without quotes."""
    bare = unquoted(text)
    return text.strip() if bare is None else bare


def read_figure(text: str) -> Value:
    """A figure of an activity: a number where it looks like one, a text otherwise or in quotes."""
    bare = unquoted(text)
    if bare is not None:
        return bare
    try:
        return document_number(read_number(text))
    except ValidationError:
        return text.strip()


def document_number(value: Decimal) -> Value:
    """A number as a document writes it: whole, or a text of up to three places."""
    if not value.is_finite() or value != value.to_integral_value():
        return f"{value.normalize():f}"
    return int(value)


def write_value(value: Value, read: Callable[[str], Value]) -> str:
    """A text or figure for a field of a form: bare where it is read back as it was, in quotes otherwise."""
    bare = _bare(value)
    if isinstance(value, str) and ([bare] != read_list(bare, numbers=read is read_figure) or read(bare) != value):
        return '"' + value.replace('"', '""') + '"'
    return bare


def _bare(value: Value) -> str:
    if isinstance(value, str) and not (_PLAIN.fullmatch(value) and "." in value):
        return value
    try:
        return write_number(Decimal(value))
    except InvalidOperation:
        return str(value)


def write_list(values: Iterable[Value], read: Callable[[str], Value]) -> str:
    """A list for one field of a form."""
    return ", ".join(write_value(value, read) for value in values)
