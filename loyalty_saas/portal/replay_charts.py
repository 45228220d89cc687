"""Bar charts of a replay as plain SVG: points month by month under both programs, and how members' points change."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial

from babel.dates import format_date
from django.utils.translation import gettext as _

from loyalty_saas.drawing import BOTTOM, LEFT, RIGHT, TOP, Mark, nice_top
from loyalty_saas.templatetags.loyalty import number, viewer_locale


@dataclass(frozen=True)
class Bar:
    """One bar: where it stands, how it looks, and what is read out of it."""

    x: float
    y: float
    width: float
    height: float
    css: str
    words: str


@dataclass(frozen=True)
class Bars:
    """Everything a template needs to write one bar chart in one size."""

    width: int
    height: int
    bars: list[Bar]
    grid: list[Mark]
    ticks: list[Mark]

    @property
    def right(self) -> int:
        """Where the drawing ends."""
        return self.width - RIGHT


@dataclass(frozen=True)
class BarChart:
    """Groups of bars with a name each, for wide and narrow screens, with a sentence and the figures beside it."""

    sentence: str
    series: Sequence[tuple[str, str]]
    groups: Sequence[tuple[str, Sequence[int]]]
    words: Callable[[int], str] = number
    axis: Callable[[int], str] = number

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(any(values) for _name, values in self.groups)

    @property
    def sizes(self) -> list[Bars]:
        """The wide drawing and the narrow one."""
        return [self._draw(width=600, height=220, ticks=12), self._draw(width=330, height=210, ticks=4)]

    @property
    def rows(self) -> list[tuple[str, list[str]]]:
        """The figures as a table."""
        return [(name, [self.words(value) for value in values]) for name, values in self.groups]

    def _draw(self, *, width: int, height: int, ticks: int) -> Bars:
        top = nice_top(max((max(values, default=0) for _name, values in self.groups), default=0))
        floor, room = height - BOTTOM, (width - LEFT - RIGHT) / max(len(self.groups), 1)
        each = min(room * 0.76 / len(self.series), 44)
        bars = []
        for place, (name, values) in enumerate(self.groups):
            begin = LEFT + place * room + (room - each * len(values)) / 2
            for at, value in enumerate(values):
                tall = max(value, 0) / top * (floor - TOP)
                said = f"{name}, {self.series[at][0]}: {self.words(value)}"
                bars.append(Bar(begin + at * each + 0.5, floor - tall, each - 1, tall, self.series[at][1], said))
        every = -(-len(self.groups) // ticks)
        marks = [
            Mark(LEFT + place * room + room / 2, name)
            for place, (name, _values) in enumerate(self.groups)
            if not place % max(every, 1)
        ]
        grid = [Mark(floor - part / 2 * (floor - TOP), self.axis(round(top * part / 2))) for part in range(3)]
        return Bars(width, height, bars, grid, marks)


def by_month(months: Sequence[dict[str, object]], *, unit: str, decimals: int) -> BarChart:
    """Points of one unit month by month under both programs; the axis tells whole ones."""
    groups = [(_month(str(one["month"])), (_of(one, "published", unit), _of(one, "draft", unit))) for one in months]
    return BarChart(
        sentence=_("Points given in each month, in force and by the draft."),
        series=((_("In force"), "live"), (_("Draft"), "draft")),
        groups=groups,
        words=partial(number, decimals=decimals),
        axis=lambda steps: number(round(steps / 10**decimals)),
    )


def by_change(bars: Sequence[int], *, same: int) -> BarChart:
    """How many members get how much more or less."""
    names = ["< −50", "−50…25", "−25…10", "−10…0", "+0…10", "+10…25", "+25…50", "+50…100", "> +100"]
    counts = list(zip(names, bars, strict=True))
    return BarChart(
        sentence=_("Members by how much their points change, in percent."),
        series=((_("Members"), "draft"),),
        groups=[(name, (count,)) for name, count in [*counts[:4], ("0", same), *counts[4:]]],
    )


def _of(month: dict[str, object], key: str, unit: str) -> int:
    found = month[key]
    return int(found.get(unit, 0)) if isinstance(found, dict) else 0


def _month(text: str) -> str:
    return str(format_date(date.fromisoformat(f"{text}-01"), "LLL", locale=viewer_locale()))
