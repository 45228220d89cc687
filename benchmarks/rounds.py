"""Rounds that take turns, so that a busy machine slows both sides alike, and what is told of them."""

import math
from collections.abc import Callable, Sequence
from statistics import median


def in_turn(*sides: Callable[[], float], rounds: int) -> list[list[float]]:
    """What each side measures, round by round; which side begins changes with every round."""
    measured: list[list[float]] = [[] for _side in sides]
    for number in range(rounds):
        places = list(range(len(sides)))
        for place in places if number % 2 == 0 else reversed(places):
            measured[place].append(sides[place]())
    return measured


def ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """The median of the rounds' ratios."""
    return round(median(a / b for a, b in zip(over, under, strict=True)), 3)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many per cent do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
