"""Who joins when and buys how often: the same for the same seed, to the last purchase."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import accumulate
from random import Random
from typing import Final
from zoneinfo import ZoneInfo

SLICE: Final = 10_000
_ALPHABET: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
_NUMBERS: Final = 1 << 40
# Odd, so that multiplying by it visits every number once.
_STRIDE: Final = 0x9E3779B97F | 1
_DOORS_OPEN: Final = time(8, 30)
_JOINING_MINUTES: Final = 29


@dataclass(frozen=True)
class Plan:
    """How large a client is to be, and over which days its past stretches; `until` is complete."""

    members: int
    purchases: int
    seed: int
    until: date
    zone: ZoneInfo
    days: int = 400

    @property
    def slices(self) -> int:
        """In how many parts its members are written."""
        return -(-self.members // SLICE)


@dataclass(frozen=True)
class Slice:
    """Some members in the order in which they joined: number, moment, how many sales, the last day of them."""

    first: int
    numbers: list[str]
    joined: list[datetime]
    sales: list[int]
    last_days: list[date]


def slices(plan: Plan) -> Iterator[Slice]:
    """All members, part by part; those who joined at the start come first, and there are more of them."""
    rng = Random(plan.seed)  # noqa: S311 (made-up people, not secrets)
    joined = [plan.days * (place / plan.members) ** 2 for place in range(plan.members)]
    eager = [rng.expovariate(1) ** 1.3 * (1 - at / (plan.days + 1)) ** 0.7 for at in joined]
    sales = _shared(plan.purchases, eager)
    last_days = [_last_day(plan, int(at), rng) for at in joined]
    moments = [_moment(plan, at) for at in joined]
    for first in range(0, plan.members, SLICE):
        part = slice(first, first + SLICE)
        numbers = [_number(place, plan.seed) for place in range(first, min(first + SLICE, plan.members))]
        yield Slice(first, numbers, moments[part], sales[part], last_days[part])


def _shared(total: int, weights: list[float]) -> list[int]:
    """The total shared by weight, to the last piece."""
    whole = sum(weights) or 1
    reached = [int(total * weight / whole) for weight in accumulate(weights)]
    if reached:
        reached[-1] = total
    return [after - before for before, after in zip([0, *reached], reached, strict=False)]


def _begin(plan: Plan) -> date:
    return plan.until - timedelta(days=plan.days - 1)


def _moment(plan: Plan, at: float) -> datetime:
    """Shortly before the doors open, so that every sale of the day comes after it."""
    day, part = divmod(at, 1)
    local = datetime.combine(_begin(plan) + timedelta(days=int(day)), _DOORS_OPEN, tzinfo=plan.zone)
    return local + timedelta(milliseconds=int(part * _JOINING_MINUTES * 60_000))


def _last_day(plan: Plan, joined: int, rng: Random) -> date:
    """Seven in ten still come; the others stopped somewhere on the way."""
    left = plan.days - 1 - joined
    stays = left if rng.random() < 0.7 else int(left * rng.random())
    return _begin(plan) + timedelta(days=joined + stays)


def _number(place: int, seed: int) -> str:
    """A member number like those that are drawn, and no other's."""
    value = ((place + 1) * _STRIDE + seed * 7_919) % _NUMBERS
    return "".join(_ALPHABET[value >> shift & 31] for shift in range(0, 40, 5))
