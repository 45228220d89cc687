"""Reading untrusted JSON field by field, and noting everything that is wrong on the way."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from datetime import date, time
from decimal import Decimal
from difflib import get_close_matches
from typing import Final, TypeAlias, TypeVar

from programs.rules.arithmetic import is_number
from programs.rules.specs import LIMIT, Number, Problem, decimal_text

_T = TypeVar("_T")
_U = TypeVar("_U")
_D = TypeVar("_D")
_L = TypeVar("_L", bound=str)
Parse: TypeAlias = Callable[[object], _T]

_CODE: Final = re.compile(r"[a-z0-9][a-z0-9_-]*")
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_HOUR: Final = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
_FACTOR: Final = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4})?")
_MOST_UNKNOWN: Final = 20
_LAYOUT: Final = frozenset("\n\r\t")


class Refused(Exception):
    """A value is not what it should be; `found` says where (below the value) and why, once or more."""

    def __init__(self, *found: tuple[str, str]) -> None:
        super().__init__(found)
        self.found = found


def refused(message: str) -> Refused:
    """Return the refusal of a value as a whole."""
    return Refused(("", message))


class Reader:
    """One JSON object of a document: hands out its fields and notes what is wrong with them."""

    def __init__(self, source: object, path: str, problems: list[Problem]) -> None:
        self._path = path
        self._problems = problems
        self._seen: set[str] = set()
        self._is_object = isinstance(source, Mapping)
        self._fields: Mapping[object, object] = source if isinstance(source, Mapping) else {}
        if not self._is_object:
            self.refuse("", "must be an object with named fields")

    def refuse(self, name: str, message: str) -> None:
        """Note a problem with a field (or, without a name, with the whole object)."""
        self._problems.append(Problem(self.path(name), message))

    def path(self, name: str) -> str:
        """Return the full path of a field."""
        return f"{self._path}.{name}" if self._path and name else self._path or name

    def is_given(self, name: str) -> bool:
        """Tell whether the field is there and not null."""
        return self._fields.get(name) is not None

    def required(self, name: str, parse: Parse[_T], fallback: _D) -> _T | _D:
        """Return a field that must be there; `fallback` once a problem is noted."""
        if not self.is_given(name) and self._is_object:
            self.refuse(name, "is missing")
        return self.optional(name, parse, fallback)

    def optional(self, name: str, parse: Parse[_T], default: _D) -> _T | _D:
        """Return a field, or `default` if it is absent, null or wrong."""
        self._seen.add(name)
        if not self.is_given(name):
            return default
        try:
            return parse(self._fields[name])
        except Refused as problem:
            for at, message in problem.found:
                self.refuse(name + at, message)
            return default

    def child(self, name: str, *, required: bool = False) -> Reader | None:
        """Return a reader for an object in a field, or None if it is absent or null."""
        self._seen.add(name)
        if required and not self.is_given(name) and self._is_object:
            self.refuse(name, "is missing")
        return Reader(self._fields[name], self.path(name), self._problems) if self.is_given(name) else None

    def children(self, name: str, *, most: int, least: int = 0) -> list[Reader]:
        """Return a reader for each object of a list; an absent list is empty, and missing if there must be some."""
        read = self.required if least else self.optional
        values = read(name, a_list(most=most, least=least), ())
        return [Reader(value, self.path(f"{name}[{place}]"), self._problems) for place, value in enumerate(values)]

    def close(self) -> None:
        """Note each field that nobody asked for: most are misspelt."""
        unknown = [name for name in self._fields if name not in self._seen]
        for name in unknown[:_MOST_UNKNOWN]:
            self.refuse(_shown(name), "is not a known field" + self._suggestion(name))
        if len(unknown) > _MOST_UNKNOWN:
            self.refuse("", f"has {len(unknown) - _MOST_UNKNOWN} more unknown fields")

    def _suggestion(self, name: object) -> str:
        near = get_close_matches(_shown(name), sorted(self._seen), n=1)
        return f" (did you mean {near[0]}?)" if near else ""


def _shown(name: object) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in str(name)[:50])


def whole(*, least: int, most: int = LIMIT) -> Parse[int]:
    """Return a parser of whole numbers within bounds; true and false are not numbers."""

    def parse(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise refused(f"must be a whole number{_from(least)}")
        if value < least:
            raise refused(f"must be a whole number{_from(least)}")
        if value > most:
            raise refused(f"must be at most {most}")
        return value

    return parse


def _from(least: int) -> str:
    return " above 0" if least == 1 else f" of at least {least}" if least > -LIMIT else ""


def number(*, least: int) -> Parse[Number]:
    """Return a parser of numbers with up to three places, written whole or as text such as "2.5"."""

    def parse(value: object) -> Number:
        found = Decimal(value) if isinstance(value, str) and decimal_text(value) else value
        if not isinstance(found, int | Decimal) or isinstance(found, bool) or not _has_three_places(found):
            raise refused('must be a whole number, or a number of up to three places in quotes such as "2.5"')
        if not is_number(found) or found < least:
            raise refused(f"must be a number from {least} to {LIMIT}")
        return found

    return parse


def _has_three_places(value: Number) -> bool:
    if not isinstance(value, Decimal):
        return True
    exponent = value.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= -3


def text(*, most: int, lines: bool = False) -> Parse[str]:
    """Return a parser of texts that say something and can be stored."""

    def parse(value: object) -> str:
        if not isinstance(value, str) or not value.strip():
            raise refused("must be a text that is not empty")
        if len(value) > most:
            raise refused(f"must be at most {most} characters long")
        if any(unicodedata.category(letter) in ("Cc", "Cs") and not (lines and letter in _LAYOUT) for letter in value):
            raise refused("must not hold control characters")
        return value

    return parse


def code(*, most: int) -> Parse[str]:
    """Return a parser of codes."""

    def parse(value: object) -> str:
        if not isinstance(value, str) or len(value) > most or not _CODE.fullmatch(value):
            raise refused(f"must be at most {most} small letters, digits, hyphens and underscores")
        return value

    return parse


def choice(options: Sequence[_L]) -> Parse[_L]:
    """Return a parser of one of a few words."""

    def parse(value: object) -> _L:
        for option in options:
            if option == value:
                return option
        raise refused(f"must be {in_words(options)}")

    return parse


def in_words(options: Sequence[str]) -> str:
    """Return "a, b or c"."""
    return f"{', '.join(options[:-1])} or {options[-1]}" if len(options) > 1 else options[0]


def flag(value: object) -> bool:
    """Parse true or false."""
    if not isinstance(value, bool):
        raise refused("must be true or false")
    return value


def day(value: object) -> date:
    """Parse a day such as 2026-11-22."""
    try:
        if isinstance(value, str) and _DAY.fullmatch(value):
            return date.fromisoformat(value)
    except ValueError:
        pass
    raise refused("must be a day such as 2026-11-22")


def hour(value: object) -> time:
    """Parse a time of day such as 09:30."""
    if not isinstance(value, str) or not _HOUR.fullmatch(value):
        raise refused("must be a time of day such as 09:30")
    return time.fromisoformat(value)


def factor(value: object) -> Decimal:
    """Parse what a multiplier multiplies by."""
    if isinstance(value, int) and not isinstance(value, bool) and 1 < value <= 9999:
        return Decimal(value)
    if not isinstance(value, str | Decimal) or not _FACTOR.fullmatch(str(value)):
        raise refused('must be a number of up to four places in quotes such as "2.5"')
    if Decimal(value) <= 1:
        raise refused("must be above 1")
    return Decimal(value)


def a_list(*, most: int, least: int = 0) -> Parse[tuple[object, ...]]:
    """Return a parser of lists, whatever is in them."""

    def parse(value: object) -> tuple[object, ...]:
        if not isinstance(value, list | tuple):
            raise refused("must be a list")
        if len(value) > most:
            raise refused(f"must hold at most {most} entries")
        if len(value) < least:
            raise refused("must be a list that is not empty")
        return tuple(value)

    return parse


def each(parse_one: Parse[_T], *, most: int, least: int = 1) -> Parse[tuple[_T, ...]]:
    """Return a parser of lists whose entries `parse_one` reads; all wrong entries are found at once."""

    def parse(value: object) -> tuple[_T, ...]:
        values = a_list(most=most, least=least)(value)
        wrong: list[tuple[str, str]] = []
        parsed = [_entry(place, one, parse_one, wrong) for place, one in enumerate(values)]
        if wrong:
            raise Refused(*wrong)
        return tuple(one for found in parsed for one in found)

    return parse


def pair(value: object, first: Parse[_T], second: Parse[_U], message: str) -> tuple[_T, _U]:
    """Parse a list of two; refused with `message` if it is none."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise refused(message)
    wrong: list[tuple[str, str]] = []
    left, right = _entry(0, value[0], first, wrong), _entry(1, value[1], second, wrong)
    if wrong:
        raise Refused(*wrong)
    return left[0], right[0]


def _entry(place: int, value: object, parse: Parse[_T], wrong: list[tuple[str, str]]) -> list[_T]:
    """Return the parsed entry of a list; nothing, and what is wrong noted, if it is refused."""
    try:
        return [parse(value)]
    except Refused as problem:
        wrong += [(f"[{place}]{at}", message) for at, message in problem.found]
        return []
