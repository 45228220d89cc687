"""Effects as closures: what one line, or one whole event, is worth before caps."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import TypeAlias

from programs.rules.arithmetic import distribute, thousandths
from programs.rules.conditions import number_in, quantity_of
from programs.rules.events import Line, Run
from programs.rules.specs import Effect, RuleSpec

# Each takes the remainder carried so far and returns the points with the remainder that is left.
LineEarner: TypeAlias = Callable[[Line, int, Run, int], tuple[int, int]]
RunEarner: TypeAlias = Callable[[Run, int], tuple[int, int]]
Share: TypeAlias = Callable[[Run, int], tuple[int, ...]]
_Award: TypeAlias = Callable[[int, int], tuple[int, int]]


def line_earner(rule: RuleSpec, targets: Sequence[int]) -> LineEarner:
    """Return what the rule gives for one line; `targets` are the outcomes that a multiplier multiplies."""
    award, effect = _award(rule), rule.effect
    if effect.kind == "per_amount":
        return lambda line, carried, run, place: award(run.counted[place], carried)
    if effect.kind == "multiplier":
        return lambda line, carried, run, place: award(
            sum([run.outcomes[target].line_amounts[place] for target in targets]), carried
        )
    if effect.kind == "fixed":
        granted = effect.points, 0
        return lambda line, carried, run, place: granted
    return lambda line, carried, run, place: award(thousandths(line.quantity), carried)


def run_earner(rule: RuleSpec, targets: Sequence[int]) -> RunEarner:
    """Return what the rule gives for a whole event; `targets` are the outcomes that a multiplier multiplies."""
    award, effect = _award(rule), rule.effect
    if effect.kind == "per_amount":
        return lambda run, carried: award(run.total, carried)
    if effect.kind == "multiplier":
        return lambda run, carried: award(sum([run.outcomes[target].amount for target in targets]), carried)
    if effect.kind == "fixed":
        granted = effect.points, 0
        return lambda run, carried: granted
    if effect.property == "quantity":
        return lambda run, carried: award(thousandths(quantity_of(run) or 0), carried)
    return lambda run, carried: award(thousandths(number_in(run, effect.property) or 0), carried)


def sharer(rule: RuleSpec, targets: Sequence[int]) -> Share:
    """Return how points for a whole event fall on its lines: by amount or, for a multiplier, as its base fell."""
    if rule.effect.kind == "multiplier":
        return lambda run, points: distribute(points, _base_of_lines(run, targets)) if run.lines else ()
    return _share_by_amount


def _share_by_amount(run: Run, points: int) -> tuple[int, ...]:
    if run.size == 1:
        return (points,)
    return distribute(points, run.weights) if run.lines else ()


def _base_of_lines(run: Run, targets: Sequence[int]) -> list[int]:
    return [sum(shares) for shares in zip(*(run.outcomes[target].line_amounts for target in targets), strict=True)]


def _award(rule: RuleSpec) -> _Award:
    """Return how an amount, a number of thousandths or a multiplier's base turns into points."""
    effect = rule.effect
    match effect.kind:
        case "fixed":
            return lambda value, carried: (effect.points, 0)
        case "table":
            return _table(effect)
        case "multiplier":
            return _rate(*(effect.factor - 1).as_integer_ratio(), rule)
        case "per_amount":
            return _rate(effect.points, effect.per, rule)
        case "per_quantity":
            return _rate(effect.points, effect.per * 1000, rule)


def _rate(points: int, per: int, rule: RuleSpec) -> _Award:
    if rule.remainder == "carry":
        return lambda value, carried: _whole(points * value + carried, per) if value > 0 else (0, carried)
    match rule.rounding:
        case "down":
            return lambda value, carried: (points * value // per if value > 0 else 0, 0)
        case "nearest":
            return lambda value, carried: ((2 * points * value + per) // (2 * per) if value > 0 else 0, 0)
        case "up":
            return lambda value, carried: (-(-points * value // per) if value > 0 else 0, 0)


def _whole(parts: int, per: int) -> tuple[int, int]:
    """Whole points and what is left; a remainder that returns took below zero is filled before it makes points."""
    return divmod(parts, per) if parts >= 0 else (0, parts)


def _table(effect: Effect) -> _Award:
    bounds = [thousandths(bound) for bound, _ in effect.steps]
    points = [0, *(step for _, step in effect.steps)]
    return lambda value, carried: (points[bisect_right(bounds, value)], 0)


def scale(rule: RuleSpec) -> int:
    """Return how many parts of a remainder make one point."""
    return rule.effect.per * 1000 if rule.effect.kind == "per_quantity" else rule.effect.per
