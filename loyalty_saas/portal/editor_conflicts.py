"""Conflicts of a program in sentences, each with what one could do; shown at the rule and before publishing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

from django.urls import reverse
from django.utils.translation import gettext as _

from loyalty_saas.portal.editor import Bench
from loyalty_saas.sentences_words import Wording
from loyalty_saas.templatetags.loyalty import day
from programs.rules import ProgramSpec
from programs.rules.conflicts import Conflict, conflicts


@dataclass(frozen=True)
class Hint:
    """One conflict in words: what is so, what one could do, and where to do it."""

    words: str
    advice: str
    codes: tuple[str, ...]
    url: str
    is_hint: bool


@dataclass(frozen=True)
class _Names:
    """How the parts of a program are called."""

    spec: ProgramSpec
    wording: Wording

    def rule(self, code: str) -> str:
        return self.wording.rules.get(code, code)

    def amount(self, conflict: Conflict, key: str) -> str:
        rule = next(one for one in self.spec.rules if one.code == conflict.codes[0])
        return self.wording.amount(int(conflict.detail[key]), rule.unit)


def hints(spec: ProgramSpec, bench: Bench, *, today: date) -> list[Hint]:
    """Everything in a program that gets in its own way, the gravest first."""
    names = _Names(spec, Wording.of(spec, currency=bench.currency, places=bench.places))
    return [_hint(one, names) for one in conflicts(spec, today=today)]


def hints_of(spec: ProgramSpec, bench: Bench, *, code: str, today: date) -> list[Hint]:
    """What concerns one rule."""
    rules = {rule.code for rule in spec.rules}
    return [one for one in hints(spec, bench, today=today) if code in one.codes and one.codes[0] in rules]


def _hint(conflict: Conflict, names: _Names) -> Hint:
    words, advice = _SAID[conflict.kind](conflict, names)
    return Hint(words, advice, conflict.codes, _address(conflict), conflict.is_hint)


def _address(conflict: Conflict) -> str:
    part, code = conflict.paths[0].partition("[")[0], conflict.codes[0]
    if part == "rules":
        return reverse("portal:program_rule", args=[code])
    return reverse("portal:rewards_edit", args=[code]) if part == "rewards" else reverse("portal:program_tiers")


_Said = Callable[[Conflict, _Names], tuple[str, str]]


def _two(conflict: Conflict, names: _Names) -> dict[str, str]:
    return {"one": names.rule(conflict.codes[0]), "other": names.rule(conflict.codes[1])}


def _tie(conflict: Conflict, names: _Names) -> tuple[str, str]:
    said = _(
        "“%(one)s” and “%(other)s” exclude each other and have the same rank. Where both apply, the one that gives "
        "more counts, and if they give the same, the first by its code."
    )
    return said % _two(conflict, names), _("Give one of them a higher rank.")


def _contradiction(conflict: Conflict, names: _Names) -> tuple[str, str]:
    said = _("“%(one)s” can never apply: its conditions contradict each other.") % {
        "one": names.rule(conflict.codes[0])
    }
    return said, _("Take one of the conditions out.")


def _over(conflict: Conflict, names: _Names) -> tuple[str, str]:
    values = {
        "one": names.rule(conflict.codes[0]),
        "day": day(date.fromisoformat(str(conflict.detail["day"]))),
    }
    return _("“%(one)s” is over: it was valid until %(day)s.") % values, _("Delete it, or give it a later end.")


def _no_time(conflict: Conflict, names: _Names) -> tuple[str, str]:
    said = _("“%(one)s” can never apply: its times and its conditions leave no moment.")
    return said % {"one": names.rule(conflict.codes[0])}, _("Let its times fit its conditions.")


def _shadowed(conflict: Conflict, names: _Names) -> tuple[str, str]:
    said = _("“%(one)s” never counts: wherever it applies, “%(other)s” applies too and comes first.")
    return said % _two(conflict, names), _("Give it a higher rank, or take it out of the group.")


def _apart(conflict: Conflict, names: _Names) -> tuple[str, str]:
    said = _("“%(one)s” multiplies nothing: what it multiplies never applies to the same purchase.")
    return said % {"one": names.rule(conflict.codes[0])}, _("Choose other rules to multiply, or wider conditions.")


def _cap(conflict: Conflict, names: _Names) -> tuple[str, str]:
    values = {
        "one": names.rule(conflict.codes[0]),
        "most": names.amount(conflict, "most"),
        "gives": names.amount(conflict, "gives"),
    }
    said = _("“%(one)s” gives %(gives)s at once, but its limit lets only %(most)s through.") % values
    return said, _("Raise the limit, or let the rule give less.")


def _twice(conflict: Conflict, names: _Names) -> tuple[str, str]:
    said = _("“%(one)s” and “%(other)s” both give for the same goods.") % _two(conflict, names)
    return said, _("If only one should count, put both into one group.")


def _unreachable(conflict: Conflict, names: _Names) -> tuple[str, str]:
    level = names.wording.levels.get(conflict.codes[0], conflict.codes[0])
    said = _("Nobody can reach the tier “%(level)s”: the limits of the rules end before it.") % {"level": level}
    return said, _("Lower its threshold, or raise the limits.")


def _unearned(conflict: Conflict, names: _Names) -> tuple[str, str]:
    rewards: Mapping[str, str] = {one.code: one.name for one in names.spec.rewards}
    values = {
        "reward": rewards.get(conflict.codes[0], conflict.codes[0]),
        "unit": names.wording.unit_name(str(conflict.detail["unit"])),
    }
    said = _("The reward “%(reward)s” costs %(unit)s, which no rule gives.") % values
    return said, _("Price it in something that members earn, or add a rule.")


_SAID: Final[Mapping[str, _Said]] = {
    "tie": _tie,
    "contradiction": _contradiction,
    "over": _over,
    "no_time": _no_time,
    "shadowed": _shadowed,
    "apart": _apart,
    "cap_below_one": _cap,
    "twice": _twice,
    "unreachable": _unreachable,
    "unearned": _unearned,
}
