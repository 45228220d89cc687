"""Exclusive groups as terms of SQL: who wins by priority, then points, then the order in which rules are asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Bidder(NamedTuple):
    """A rule of a group, whose bid stands in the column of its place."""

    place: int
    priority: int


def won(place: int, group: Sequence[Bidder], column: str) -> str:
    """What the rule gets: its bid if no other beats it, otherwise nothing."""
    beaten = _beaten(place, group, column)
    return f"CASE WHEN {beaten} THEN 0 ELSE {column}{place} END" if beaten else f"{column}{place}"


def lost(place: int, group: Sequence[Bidder], column: str) -> str:
    """Whether the rule would have given something and another beat it."""
    beaten = _beaten(place, group, column)
    return f"({column}{place} > 0 AND ({beaten}))" if beaten else "false"


def _beaten(place: int, group: Sequence[Bidder], column: str) -> str:
    mine = next(one for one in group if one.place == place)
    return " OR ".join(_beats(other, mine, column) for other in group if other.place != place)


def _beats(other: Bidder, mine: Bidder, column: str) -> str:
    its, own = f"{column}{other.place}", f"{column}{mine.place}"
    if other.priority != mine.priority:
        return f"{its} > 0" if other.priority > mine.priority else "false"
    return f"({its} > 0 AND {its} {'>=' if other.place < mine.place else '>'} {own})"
