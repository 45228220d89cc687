"""What only shows when the parts of a program are seen together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Protocol, TypeAlias

from programs.rules.specs import Problem, ProgramSpec, RuleSpec, TierSpec

# Tells whether nothing was wrong with a field when it was read; what follows from a wrong one is no news.
IsSound: TypeAlias = Callable[[str], bool]


class Coded(Protocol):
    @property
    def code(self) -> str: ...


class _Counted(Protocol):
    @property
    def unit(self) -> str | None: ...


def contradictions(program: ProgramSpec, is_sound: IsSound) -> Iterator[Problem]:
    """Yield every problem between parts that each look right."""
    levels = program.tiers.levels if program.tiers else ()
    yield from _doubles("units", program.units)
    yield from _doubles("rules", program.rules)
    yield from _doubles("tiers.levels", levels)
    yield from _doubles("rewards", program.rewards)
    yield from _doubles("offers", program.offers)
    yield from _unknown_units(program)
    yield from _unknown_tiers(program, is_sound)
    yield from _levels_out_of_order(levels, is_sound)
    yield from chain.from_iterable(
        _multiplier_problems(program, place, is_sound) for place in range(len(program.rules))
    )
    yield from _mixed_groups(program.rules, is_sound)


def _doubles(name: str, parts: Sequence[Coded]) -> Iterator[Problem]:
    seen: set[str] = set()
    for place, part in enumerate(parts):
        if part.code and part.code in seen:
            yield Problem(f"{name}[{place}].code", f"must not be {part.code} twice")
        seen.add(part.code)


def _unknown_units(program: ProgramSpec) -> Iterator[Problem]:
    known = {unit.code for unit in program.units}
    parts: dict[str, Sequence[_Counted]] = {
        "rules": program.rules,
        "rewards": program.rewards,
        "offers": program.offers,
    }
    # With a unit's code in doubt, each use of it would be reported for nothing.
    if not known or "" in known:
        return
    for name, places in parts.items():
        for place, part in enumerate(places):
            if part.unit and part.unit not in known:
                yield Problem(f"{name}[{place}].unit", f"must be a unit of this program, and {part.unit} is not")
    if program.tiers and program.tiers.unit and program.tiers.unit not in known:
        yield Problem("tiers.unit", f"must be a unit of this program, and {program.tiers.unit} is not")


def _unknown_tiers(program: ProgramSpec, is_sound: IsSound) -> Iterator[Problem]:
    known = {level.code for level in program.tiers.levels} if program.tiers else set()
    if "" in known or not (known or is_sound("tiers")):
        return
    for place, rule in enumerate(program.rules):
        for at, condition in enumerate(rule.conditions):
            path = f"rules[{place}].conditions[{at}].value"
            named = condition.value if isinstance(condition.value, tuple) else (condition.value,)
            strange = [str(code) for code in named if code not in known]
            if condition.field == "tier" and is_sound(path) and strange:
                yield Problem(path, f"must be a level of this program, and {strange[0]} is not")


def _levels_out_of_order(levels: Sequence[TierSpec], is_sound: IsSound) -> Iterator[Problem]:
    for place, level in enumerate(levels):
        path = f"tiers.levels[{place}]"
        if is_sound(path) and level.keep > level.enter:
            yield Problem(f"{path}.keep", "must not be above enter")
        if not place or not is_sound(path) or not is_sound(f"tiers.levels[{place - 1}]"):
            continue
        below = levels[place - 1]
        if level.enter <= below.enter:
            yield Problem(f"{path}.enter", f"must be above that of {below.code}: levels stand in ascending order")
        if level.keep < below.keep:
            yield Problem(f"{path}.keep", f"must not be below that of {below.code}: levels stand in ascending order")


def _multiplier_problems(program: ProgramSpec, place: int, is_sound: IsSound) -> Iterator[Problem]:
    rule, path = program.rules[place], f"rules[{place}].effect"
    if rule.effect.kind != "multiplier" or not is_sound(path):
        return
    others = {other.code: other for other in program.rules if other.effect.kind != "multiplier"}
    for at, code in enumerate(rule.effect.of):
        if code not in others:
            yield Problem(f"{path}.of[{at}]", f"must be a rule that is no multiplier, and {code} is not")
        elif others[code].unit != rule.unit:
            yield Problem(f"{path}.of[{at}]", f"must be a rule of the unit {rule.unit}, and {code} is not")
    if not rule.effect.of and not any(other.unit == rule.unit for other in others.values()):
        yield Problem(f"{path}.of", f"finds no rule of the unit {rule.unit} to multiply")


def _mixed_groups(rules: Sequence[RuleSpec], is_sound: IsSound) -> Iterable[Problem]:
    first: dict[str, RuleSpec] = {}
    for place, rule in enumerate(rules):
        if rule.group is None or not is_sound(f"rules[{place}].trigger") or not is_sound(f"rules[{place}].effect"):
            continue
        leader, path = first.setdefault(rule.group, rule), f"rules[{place}].group"
        if (rule.trigger == "line") != (leader.trigger == "line"):
            yield Problem(path, f"must not join {leader.code}: one is judged by line and the other is not")
        if (rule.effect.kind == "multiplier") != (leader.effect.kind == "multiplier"):
            yield Problem(path, f"must not join {leader.code}: one is a multiplier and the other is not")
