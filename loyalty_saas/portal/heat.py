"""Visits by weekday and hour: which squares are dark, and what that says in a sentence."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import time
from functools import cached_property

from babel.dates import format_time, get_day_names
from django.utils.translation import gettext as _

from loyalty_saas.templatetags.loyalty import number, viewer_locale

WIDE, HIGH, GAP, LEFT, TOP = 46, 22, 3, 40, 18
DAYS = range(1, 8)


@dataclass(frozen=True)
class Square:
    """One hour of one weekday in the drawing."""

    x: int
    y: int
    depth: float
    words: str


@dataclass(frozen=True)
class Heat:
    """Visits by ISO weekday and hour, drawn from the first hour with any to the last."""

    counts: dict[tuple[int, int], int]

    @staticmethod
    def of(rows: Sequence[tuple[int, int, int]]) -> "Heat":
        """From rows of weekday, hour and how many."""
        return Heat({(weekday, hour): n for weekday, hour, n in rows if n})

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not self.counts

    @cached_property
    def hours(self) -> list[int]:
        """The hours from the first with a visit to the last."""
        hours = [hour for _weekday, hour in self.counts]
        return list(range(min(hours), max(hours) + 1)) if hours else []

    @property
    def width(self) -> int:
        """How wide the drawing is."""
        return LEFT + len(self.hours) * (WIDE + GAP)

    @property
    def height(self) -> int:
        """How high the drawing is."""
        return TOP + 7 * (HIGH + GAP)

    @property
    def size(self) -> tuple[int, int]:
        """How wide and how high a square is."""
        return WIDE, HIGH

    @property
    def squares(self) -> list[Square]:
        """Every hour of every weekday."""
        most = max(self.counts.values(), default=1)
        return [
            Square(
                x=LEFT + place * (WIDE + GAP),
                y=TOP + (weekday - 1) * (HIGH + GAP),
                depth=round(0.08 + 0.92 * self.counts.get((weekday, hour), 0) / most, 3)
                if (weekday, hour) in self.counts
                else 0,
                words=f"{_day(weekday)} {_hour(hour)}: {number(self.counts.get((weekday, hour), 0))}",
            )
            for weekday in DAYS
            for place, hour in enumerate(self.hours)
        ]

    @property
    def days(self) -> list[tuple[int, str]]:
        """Where the weekdays are written, and their short names."""
        names = get_day_names("abbreviated", locale=viewer_locale())
        return [(TOP + (day - 1) * (HIGH + GAP) + 15, str(names[day - 1])) for day in DAYS]

    @property
    def ticks(self) -> list[tuple[int, str]]:
        """Where hours are written, every third of them."""
        return [(LEFT + place * (WIDE + GAP), _hour(hour)) for place, hour in enumerate(self.hours) if place % 3 == 0]

    @property
    def sentence(self) -> str:
        """The drawing in words."""
        if self.is_empty:
            return _("No visits in the last 90 days.")
        weekday, hour = max(self.counts, key=lambda key: (self.counts[key], -key[0], -key[1]))
        words = _("Most visits come on %(day)s from %(hour)s: %(n)s of %(all)s in 90 days.")
        return words % {
            "day": _day(weekday),
            "hour": _hour(hour),
            "n": number(self.counts[weekday, hour]),
            "all": number(sum(self.counts.values())),
        }

    @property
    def table(self) -> list[tuple[str, list[str]]]:
        """Hours down, weekdays across, as figures."""
        return [(_hour(hour), [number(self.counts.get((day, hour), 0)) for day in DAYS]) for hour in self.hours]

    @property
    def day_names(self) -> list[str]:
        """The weekdays from Monday, in short."""
        return [name for _y, name in self.days]


def _day(weekday: int) -> str:
    return str(get_day_names("wide", locale=viewer_locale())[weekday - 1])


def _hour(hour: int) -> str:
    return str(format_time(time(hour), format="short", locale=viewer_locale())).replace(":00", "")
