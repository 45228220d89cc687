"""Fields of requests: each takes its JSON type and nothing that merely looks like it."""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

from django.utils.translation import gettext_lazy as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

LARGEST: Final = 10**12
"""No amount is larger, in minor units."""

OPTIONAL: Final[dict[str, Any]] = {"required": False, "allow_null": True}
"""Left out and null mean the same."""

_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_NUMBER: Final = re.compile(r"-?\d{1,20}(\.\d{1,20})?", re.ASCII)
_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Rows(serializers.ListSerializer[Any]):
    """A list of objects whose errors name the row."""

    child: serializers.Serializer[Any]
    max_length: int | None

    def to_internal_value(self, data: Any) -> list[Any]:
        if not isinstance(data, list):
            raise serializers.ValidationError([_("Expected a list.")], code="not_a_list")
        if len(data) > (self.max_length or len(data)):
            raise serializers.ValidationError([_("This list is too long.")], code="max_length")
        rows: list[Any] = []
        errors: dict[str, Any] = {}
        for place, row in enumerate(data):
            try:
                rows.append(self.child.run_validation(row))
            except serializers.ValidationError as error:
                errors[str(place)] = error.detail
        if errors:
            raise serializers.ValidationError(errors)
        return rows


class Input(serializers.Serializer[Any]):
    """What a caller may send: these fields and no others, so that a misspelt one is not silently dropped."""

    class Meta:
        list_serializer_class = Rows

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping) and (unknown := [name for name in data if name not in self.fields]):
            words = [serializers.ErrorDetail(str(_("This field is not known.")), code="unknown_field")]
            raise serializers.ValidationError({str(name)[:100]: words for name in unknown[:20]})
        return super().to_internal_value(data)


class Text(serializers.CharField):
    """A text, not a number; outer spaces are dropped."""

    def __init__(self, **kwargs: Any) -> None:
        if not kwargs.get("allow_blank"):
            kwargs.setdefault("min_length", 1)
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class Choice(serializers.ChoiceField):
    """One of a few words."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str):
            self.fail("invalid_choice", input=str(data)[:50])
        return super().to_internal_value(data)


class Whole(serializers.IntegerField):
    """A whole number, written as one."""

    def to_internal_value(self, data: Any) -> int:
        # The bounds come first: 1e999999999 must not be written out.
        if isinstance(data, Decimal) and abs(data) <= 10**18 and data == data.to_integral_value():
            return int(data)
        if isinstance(data, bool) or not isinstance(data, int):
            self.fail("invalid")
        return data


class Amount(Whole):
    """Minor units of the client's currency, or smallest steps of a unit; 0 or more unless `signed`."""

    def __init__(self, *, signed: bool = False, **kwargs: Any) -> None:
        super().__init__(**{"min_value": -LARGEST if signed else 0, "max_value": LARGEST, **kwargs})


class Truth(serializers.BooleanField):
    """true or false."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=str(data)[:50])
        return data


class _Exact(serializers.DecimalField):
    """An exact number: as a JSON number, or as text."""

    def to_internal_value(self, data: Any) -> Decimal:
        if isinstance(data, bool) or not isinstance(data, int | Decimal | str):
            self.fail("invalid")
        if isinstance(data, str) and not _NUMBER.fullmatch(data):
            self.fail("invalid")
        return super().to_internal_value(data)


@extend_schema_field(
    {"oneOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string", "pattern": r"^\d+(\.\d{1,3})?$"}]}
)
class Quantity(_Exact):
    """How many or how much, above 0, with at most three places."""

    default_error_messages = {"above_zero": _("Must be above 0.")}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_digits=14, decimal_places=3, **kwargs)

    def to_internal_value(self, data: Any) -> Decimal:
        found = super().to_internal_value(data)
        if found <= 0:
            self.fail("above_zero")
        return found


@extend_schema_field({"oneOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": r"^\d+(\.\d{1,4})?$"}]})
class Price(_Exact):
    """A price in minor units, with at most four places."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_digits=16, decimal_places=4, min_value=Decimal(0), **kwargs)


@extend_schema_field(OpenApiTypes.DATETIME)
class Moment(serializers.Field[datetime, Any, str, Any]):
    """An instant with its offset (RFC 3339), not before 1970."""

    default_error_messages = {
        "invalid": _("Write an instant with its offset, such as 2026-11-22T14:30:00+01:00."),
        "too_early": _("Must not be before 1970."),
    }

    def to_internal_value(self, data: Any) -> datetime:
        if not isinstance(data, str) or not _MOMENT.fullmatch(data):
            self.fail("invalid")
        try:
            found = datetime.fromisoformat(data.upper().replace(" ", "T")).astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail("invalid")
        if found < _EARLIEST:
            self.fail("too_early")
        return found

    def to_representation(self, value: datetime) -> str:
        return value.isoformat()


@extend_schema_field(OpenApiTypes.DATE)
class Day(serializers.Field[date, Any, str, Any]):
    """A calendar day from 1900 on."""

    default_error_messages = {"invalid": _("Write a day such as 1990-05-31.")}

    def to_internal_value(self, data: Any) -> date:
        try:
            found = date.fromisoformat(data) if isinstance(data, str) and _DAY.fullmatch(data) else None
        except ValueError:
            found = None
        if found is None or found.year < 1900:
            self.fail("invalid")
        return found

    def to_representation(self, value: date) -> str:
        return value.isoformat()


_PROPERTY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,49}")
_MOST_PROPERTIES: Final = 50


@extend_schema_field(
    {
        "type": "object",
        "maxProperties": _MOST_PROPERTIES,
        "additionalProperties": {"oneOf": [{"type": "number"}, {"type": "string", "maxLength": 200}]},
    }
)
class Properties(serializers.Field[dict[str, Any], Any, dict[str, Any], Any]):
    """Named figures and texts, such as ``{"days": 7, "trip": "North ridge"}``."""

    default_error_messages = {
        "invalid": _("Expected an object of names with numbers or texts."),
        "name": _("A name is a letter, then at most 49 letters, digits, hyphens and underscores."),
        "value": _("Expected a text of at most 200 characters, or a number of at most three places up to 10^12."),
    }

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict) or len(data) > _MOST_PROPERTIES:
            self.fail("invalid")
        errors: dict[str, Any] = {}
        found: dict[str, Any] = {}
        for name, value in data.items():
            known = _property(value)
            if not _PROPERTY.fullmatch(name) or known is None:
                key = "value" if _PROPERTY.fullmatch(name) else "name"
                errors[name[:50]] = [serializers.ErrorDetail(str(self.error_messages[key]), code="invalid")]
            found[name] = known
        if errors:
            raise serializers.ValidationError(errors)
        return found

    def to_representation(self, value: dict[str, Any]) -> dict[str, Any]:
        return value


def _property(value: Any) -> int | float | str | None:
    """The value as JSON keeps it; a number of 15 digits is exact as a double."""
    if isinstance(value, str):
        return value if len(value) <= 200 else None
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or not -LARGEST <= value <= LARGEST:
        return None
    if value == int(value):
        return int(value)
    return float(value) if value == round(value, 3) else None
