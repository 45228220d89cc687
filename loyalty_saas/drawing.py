"""Line charts as plain SVG, worked out on the server: no script, and a sentence and a table beside each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from math import ceil, log10

from loyalty_saas.templatetags.loyalty import number, short_day

LEFT, RIGHT, TOP, BOTTOM = 56, 12, 10, 24
AVERAGED_DAYS = 7


@dataclass(frozen=True)
class Series:
    """One line: its name, its colour's class, and a value for each day."""

    name: str
    css: str
    values: Sequence[int]


@dataclass(frozen=True)
class Mark:
    """A place on an axis and what is written there."""

    at: float
    words: str


@dataclass(frozen=True)
class DrawnLine:
    """A line and the area below it, as SVG points."""

    css: str
    points: str
    area: str


@dataclass(frozen=True)
class Drawing:
    """Everything a template needs to write one chart in one size."""

    width: int
    height: int
    lines: list[DrawnLine]
    grid: list[Mark]
    ticks: list[Mark]

    @property
    def floor(self) -> int:
        """Where zero lies."""
        return self.height - BOTTOM

    @property
    def right(self) -> int:
        """Where the last day lies."""
        return self.width - RIGHT


@dataclass(frozen=True)
class Chart:
    """
    Daily figures as a weekly average, for wide and narrow screens, with the figures themselves by week.

    The first six days only lead in: they are part of the first averages and are not drawn.
    """

    sentence: str
    series: Sequence[Series]
    days: Sequence[date]
    words: Callable[[int], str] = number

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(any(one.values) for one in self.series)

    @property
    def sizes(self) -> list[Drawing]:
        """The wide drawing and the narrow one."""
        return [draw(self, width=760, height=250), draw(self, width=330, height=220)]

    @property
    def weeks(self) -> list[tuple[date, list[str]]]:
        """The first day of each week and the sums of its days, newest first."""
        starts = range(len(self.days) % 7 or 7, len(self.days), 7)
        rows = [(self.days[i], [self.words(sum(one.values[i : i + 7])) for one in self.series]) for i in starts]
        return rows[::-1]


def draw(chart: Chart, *, width: int, height: int) -> Drawing:
    """The chart's lines in a space of `width` × `height`."""
    days = chart.days[AVERAGED_DAYS - 1 :]
    smooth = [averaged(one.values) for one in chart.series]
    top = nice_top(max((max(values, default=0) for values in smooth), default=0))
    floor = height - BOTTOM

    def x(i: int) -> float:
        return LEFT + i * (width - LEFT - RIGHT) / max(len(days) - 1, 1)

    def y(value: float) -> float:
        return floor - max(value, 0) / top * (floor - TOP)

    lines = []
    for one, values in zip(chart.series, smooth, strict=True):
        points = " ".join(f"{x(i):.1f},{y(v):.1f}" for i, v in enumerate(values))
        lines.append(DrawnLine(one.css, points, f"{x(0):.1f},{floor} {points} {x(len(values) - 1):.1f},{floor}"))
    grid = [Mark(y(top * part / 2), chart.words(round(top * part / 2))) for part in range(3)]
    every = max(1, ceil(len(days) / (6 if width > 500 else 3)))
    ticks = [Mark(x(i), short_day(days[i])) for i in range(every // 2, len(days), every)]
    return Drawing(width, height, lines, grid, ticks)


def averaged(values: Sequence[int]) -> list[float]:
    """The mean of seven days up to each day, from the seventh on."""
    return [sum(values[i - AVERAGED_DAYS : i]) / AVERAGED_DAYS for i in range(AVERAGED_DAYS, len(values) + 1)]


def nice_top(highest: float) -> int:
    """The round number at which the axis ends."""
    if highest <= 2:
        return 2
    step = 10 ** int(log10(highest))
    factors = (1, 1.2, 1.6, 2, 3, 4, 5, 6, 8, 10) if step >= 100 else (1, 2, 4, 5, 6, 8, 10)
    return int(next(step * factor for factor in factors if step * factor >= highest))


def chart_days(*, until: date, count: int) -> list[date]:
    """`count` days to draw ending with `until`, and before them those that lead in."""
    return last_days(until=until, count=count + AVERAGED_DAYS - 1)


def last_days(*, until: date, count: int) -> list[date]:
    """`count` days ending with `until`."""
    return [until - timedelta(days=back) for back in range(count - 1, -1, -1)]
