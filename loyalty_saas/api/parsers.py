"""Reading requests: strict JSON of bounded size and depth."""

import json
from decimal import Decimal
from typing import Any

from django.utils.translation import gettext as _
from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import BaseParser

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 20


class TooLarge(APIException):
    """The body is larger than we read."""

    status_code = 413
    default_code = "too_large"


class StrictJsonParser(BaseParser):
    """
    A JSON object in UTF-8 of at most 1 MiB and 20 levels; fractions become exact decimals.

    Refused are NaN, Infinity, NUL, halves of surrogate pairs and a key that stands twice in one object.
    """

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        """
        The object in the body.

        :raises TooLarge: for more than 1 MiB
        :raises ParseError: saying what is wrong with it
        """
        raw = stream.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise TooLarge(_("The body is larger than 1 MiB."))
        try:
            text = raw.decode()
            parsed = json.loads(text, parse_float=Decimal, parse_constant=_refuse_constant, object_pairs_hook=_once)
        except (ValueError, ArithmeticError, RecursionError) as error:
            raise ParseError(_("The body is not valid JSON: %(error)s") % {"error": str(error)[:200]}) from error
        if not isinstance(parsed, dict):
            raise ParseError(_("The body must be a JSON object."))
        _check(parsed, depth=1)
        return parsed


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return made


def _check(value: Any, *, depth: int) -> None:
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, dict | list):
        if depth > MAX_DEPTH:
            raise ParseError(_("The body is nested deeper than 20 levels."))
        for child in (*value.keys(), *value.values()) if isinstance(value, dict) else value:
            _check(child, depth=depth + 1)


def _check_text(value: str) -> None:
    if "\x00" in value:
        raise ParseError(_("The body contains a NUL character."))
    if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ParseError(_("The body contains half a surrogate pair."))
