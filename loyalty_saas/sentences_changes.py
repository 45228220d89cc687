"""What differs between two programs, part by part, in the sentences of each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _

from loyalty_saas.sentences_program import (
    offer_sentence,
    reward_sentence,
    rule_sentence,
    tier_sentence,
    tier_set_sentence,
    unit_sentence,
)
from loyalty_saas.sentences_words import Wording
from programs.rules import EarningSpec, ProgramSpec, TierSetSpec


@dataclass(frozen=True)
class Change:
    """One thing that differs between two programs: added (nothing before), removed (nothing after) or changed."""

    part: str
    name: str
    before: str = ""
    after: str = ""
    note: str = ""

    @property
    def kind(self) -> str:
        """What happened to it."""
        return "changed" if (self.before and self.after) or self.note else "added" if self.after else "removed"


def program_changes(
    old: ProgramSpec, new: ProgramSpec, *, currency: str, places: Mapping[str, str] | None = None
) -> list[Change]:
    """All that differs, part by part."""
    before, after = (Wording.of(one, currency=currency, places=places) for one in (old, new))
    rules = _part_changes(
        "rules", old.rules, new.rules, lambda one: rule_sentence(one, before), lambda one: rule_sentence(one, after)
    )
    rewards = _part_changes(
        "rewards",
        old.rewards,
        new.rewards,
        lambda one: reward_sentence(one, before),
        lambda one: reward_sentence(one, after),
    )
    offers = _part_changes(
        "offers",
        old.offers,
        new.offers,
        lambda one: offer_sentence(one, before),
        lambda one: offer_sentence(one, after),
    )
    units = _part_changes("units", old.units, new.units, unit_sentence, unit_sentence)
    named = [Change("name", _("The program's name"), old.name, new.name)] if old.name != new.name else []
    rules = [*rules, *_earning_changes(old.earning, new.earning)]
    return [*named, *rules, *_tier_changes(old.tiers, new.tiers, before, after), *rewards, *offers, *units]


def _part_changes(
    part: str, old: Sequence[Any], new: Sequence[Any], say_old: Callable[[Any], str], say_new: Callable[[Any], str]
) -> list[Change]:
    was, now = {one.code: one for one in old}, {one.code: one for one in new}
    changed = [
        Change(part, one.name, say_old(was[code]), say_new(one), _renamed(was[code].name, one.name))
        for code, one in now.items()
        if code in was and was[code] != one
    ]
    added = [Change(part, one.name, after=say_new(one)) for code, one in now.items() if code not in was]
    removed = [Change(part, one.name, before=say_old(one)) for code, one in was.items() if code not in now]
    same = [code for code in was if code in now]
    if same != [code for code in now if code in was]:
        changed.append(Change(part, _("The order"), note=_("They stand in another order.")))
    return [*changed, *added, *removed]


def _earning_changes(old: EarningSpec, new: EarningSpec) -> list[Change]:
    """The two switches that decide what earns at all."""
    switches = (
        (
            _("Gift cards"),
            old.gift_cards,
            new.gift_cards,
            _("Gift cards and other articles that do not earn by themselves earn points too."),
            _("Gift cards and other articles that do not earn by themselves earn nothing."),
        ),
        (
            _("Paid by points"),
            old.paid_by_points,
            new.paid_by_points,
            _("The part of a sale that is paid by points earns points too."),
            _("The part of a sale that is paid by points earns nothing."),
        ),
    )
    return [
        Change("rules", name, on if was else off, on if now else off)
        for name, was, now, on, off in switches
        if was != now
    ]


def _renamed(before: str, after: str) -> str:
    return "" if before == after else _("Was called “%(name)s”.") % {"name": before}


def _tier_changes(old: TierSetSpec | None, new: TierSetSpec | None, before: Wording, after: Wording) -> list[Change]:
    was, now = (tier_set_sentence(one) if one else "" for one in (old, new))
    basis = [Change("tiers", _("How levels are counted"), was, now)] if was != now else []
    levels = _part_changes(
        "tiers",
        old.levels if old else (),
        new.levels if new else (),
        lambda one: tier_sentence(one, old, before) if old else "",
        lambda one: tier_sentence(one, new, after) if new else "",
    )
    return [*basis, *levels]
