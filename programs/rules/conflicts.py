"""
Where rules of one program get in each other's way, or can never do what they say: shown, never settled silently.

A program with conflicts is sound and may be published; whoever edits it should know.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from itertools import combinations
from typing import Final, Literal, TypeAlias

from programs.rules.domains import can_meet, covers_in_time, minutes_of, named, scope_of
from programs.rules.effects import scale
from programs.rules.specs import ProgramSpec, RuleSpec

Kind: TypeAlias = Literal[
    "tie", "contradiction", "over", "no_time", "shadowed", "apart", "cap_below_one", "twice", "unreachable", "unearned"
]
HINTS: Final = frozenset({"twice", "cap_below_one"})
"""What may well be meant so; the others hardly are."""
_RATES: Final = frozenset({"per_amount", "per_quantity"})


@dataclass(frozen=True, slots=True)
class Conflict:
    """
    One conflict: its kind, the places in the document, and the codes of the parts, the one concerned first.

    `detail` holds figures and names that a sentence needs.
    """

    kind: Kind
    paths: tuple[str, ...]
    codes: tuple[str, ...]
    detail: Mapping[str, int | str] = field(default_factory=dict)

    @property
    def is_hint(self) -> bool:
        """Whether it may well be meant so."""
        return self.kind in HINTS


def conflicts(program: ProgramSpec, *, today: date) -> list[Conflict]:
    """Return every conflict of a sound program, those of a rule together in the order of the rules."""
    never = [*_never(program.rules, today)]
    dead = {conflict.codes[0] for conflict in never}
    living = [(place, rule) for place, rule in enumerate(program.rules) if rule.code not in dead]
    found = [*never, *_pairs(living), *_apart(program.rules, living), *_small_caps(living)]
    found += [*_unearned(program, living), *_unreachable(program, living)]
    return sorted(found, key=lambda conflict: (conflict.is_hint, _order(conflict.paths[0])))


def _order(path: str) -> tuple[str, int]:
    name, _bracket, rest = path.partition("[")
    return name, int(rest.partition("]")[0] or 0)


# ── rules that never fire ───────────────────────────────────────────────────────────────────────────────────────────


def _never(rules: Sequence[RuleSpec], today: date) -> Iterator[Conflict]:
    for place, rule in enumerate(rules):
        path = f"rules[{place}]"
        if contradictions := scope_of(rule).contradictions:
            at = [f"{path}.conditions[{one}]" for one in named(rule.conditions, contradictions[0])]
            yield Conflict("contradiction", (path, *at), (rule.code,), {"field": contradictions[0]})
        elif rule.valid_until is not None and rule.valid_until < today:
            yield Conflict("over", (path, f"{path}.valid_until"), (rule.code,), {"day": rule.valid_until.isoformat()})
        elif not minutes_of(rule):
            yield Conflict("no_time", (path, f"{path}.schedule"), (rule.code,))
        elif shadow := next((one for one in enumerate(rules) if _shadows(one[1], rule)), None):
            yield Conflict("shadowed", (path, f"rules[{shadow[0]}]"), (rule.code, shadow[1].code))


def _shadows(strong: RuleSpec, weak: RuleSpec) -> bool:
    """Whether one rule wins of its group wherever the other would give anything."""
    if strong.group is None or strong.group != weak.group or strong.code == weak.code:
        return False
    if strong.priority <= weak.priority or strong.trigger != weak.trigger:
        return False
    return scope_of(strong).covers(scope_of(weak)) and covers_in_time(strong, weak) and _always_gives(strong, weak)


def _always_gives(strong: RuleSpec, weak: RuleSpec) -> bool:
    """Whether one rule reaches a point whenever the other does."""
    if strong.effect.kind == "fixed":
        return True
    if strong.effect.kind != weak.effect.kind or strong.effect.kind not in _RATES:
        return strong.effect == weak.effect
    if strong.effect.property != weak.effect.property or "carry" in (strong.remainder, weak.remainder):
        return False
    same = strong.rounding == weak.rounding or strong.rounding == "up"
    return same and Fraction(strong.effect.points, scale(strong)) >= Fraction(weak.effect.points, scale(weak))


# ── two rules on one purchase ───────────────────────────────────────────────────────────────────────────────────────


def _pairs(living: Sequence[tuple[int, RuleSpec]]) -> Iterator[Conflict]:
    for (place, one), (at, other) in combinations(living, 2):
        paths, codes = (f"rules[{place}]", f"rules[{at}]"), (one.code, other.code)
        if one.group is not None and one.group == other.group:
            if one.priority == other.priority and can_meet(one, other):
                yield Conflict("tie", paths, codes, {"group": one.group, "priority": one.priority})
        elif _pay_twice(one, other):
            yield Conflict("twice", paths, codes)


def _pay_twice(one: RuleSpec, other: RuleSpec) -> bool:
    """Whether both give by the amount, or both by the quantity, of the same thing."""
    if one.unit != other.unit or one.effect.kind != other.effect.kind or one.effect.kind not in _RATES:
        return False
    return one.effect.property == other.effect.property and can_meet(one, other)


# ── multipliers and caps ────────────────────────────────────────────────────────────────────────────────────────────


def _apart(rules: Sequence[RuleSpec], living: Sequence[tuple[int, RuleSpec]]) -> Iterator[Conflict]:
    for place, rule in living:
        if rule.effect.kind != "multiplier":
            continue
        targets = [other for other in rules if _is_target(rule, other)]
        if targets and not any(can_meet(rule, other) for other in targets):
            paths = (f"rules[{place}]", f"rules[{place}].effect.of")
            yield Conflict("apart", paths, (rule.code, *(other.code for other in targets)))


def _is_target(rule: RuleSpec, other: RuleSpec) -> bool:
    if other.effect.kind == "multiplier":
        return False
    return other.code in rule.effect.of if rule.effect.of else other.unit == rule.unit


def _small_caps(living: Sequence[tuple[int, RuleSpec]]) -> Iterator[Conflict]:
    for place, rule in living:
        least = _least(rule)
        caps: Mapping[str, int | None] = {
            "per_purchase": rule.caps.per_purchase,
            "per_member": rule.caps.per_member.points if rule.caps.per_member else None,
            "budget": rule.caps.budget,
        }
        for name, most in caps.items():
            if most is not None and most < least:
                path = f"rules[{place}]"
                yield Conflict("cap_below_one", (path, f"{path}.caps.{name}"), (rule.code,),
                               {"cap": name, "most": most, "gives": least})  # fmt: skip
                break


def _least(rule: RuleSpec) -> int:
    """The least that the rule gives when it gives anything; of a rate, a single point."""
    if rule.effect.kind == "fixed":
        return rule.effect.points
    if rule.effect.kind == "table":
        return min((points for _bound, points in rule.effect.steps if points), default=0)
    return 1


# ── what nobody can have ────────────────────────────────────────────────────────────────────────────────────────────


def _unearned(program: ProgramSpec, living: Sequence[tuple[int, RuleSpec]]) -> Iterator[Conflict]:
    earned = {rule.unit for _place, rule in living} | {offer.unit for offer in program.offers if offer.points}
    for place, reward in enumerate(program.rewards):
        if reward.active and reward.unit not in earned:
            paths = (f"rewards[{place}]", f"rewards[{place}].unit")
            yield Conflict("unearned", paths, (reward.code,), {"unit": reward.unit})


def _unreachable(program: ProgramSpec, living: Sequence[tuple[int, RuleSpec]]) -> Iterator[Conflict]:
    tiers = program.tiers
    if tiers is None or tiers.basis != "earned":
        return
    unit = tiers.unit or next((one.code for one in program.units if one.kind == "points"), None)
    most = _most_ever([rule for _place, rule in living if rule.unit == unit])
    for place, level in enumerate(tiers.levels):
        if most is not None and level.enter > most:
            paths = (f"tiers.levels[{place}]", f"tiers.levels[{place}].enter")
            yield Conflict("unreachable", paths, (level.code,), {"most": most, "enter": level.enter})


def _most_ever(rules: Sequence[RuleSpec]) -> int | None:
    """The most that a member can ever have of these rules; None if there is no end."""
    caps = [rule.caps.per_member for rule in rules]
    if any(cap is None or cap.period != "ever" for cap in caps):
        return None
    return sum(cap.points for cap in caps if cap is not None)
