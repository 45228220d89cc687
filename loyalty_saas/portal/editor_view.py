"""A program laid out for its pages: every part with its sentence, and what differs, by part."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.utils.translation import gettext as _

from loyalty_saas.portal.editor import Bench
from loyalty_saas.sentences_changes import Change, program_changes
from loyalty_saas.sentences_program import (
    offer_sentence,
    reward_sentence,
    rule_sentence,
    tier_sentence,
    tier_set_sentence,
    unit_sentence,
)
from loyalty_saas.sentences_words import Wording
from programs.models import Program
from programs.rules import ProgramSpec, RuleSpec, parse_program


@dataclass(frozen=True)
class Told:
    """One part of a program: its sentence, whether the draft changes it, and whether it rests."""

    code: str
    name: str
    words: str
    mark: str = ""
    rests: str = ""


def overview(spec: ProgramSpec, bench: Bench, *, today: date, marks: bool) -> dict[str, Any]:
    """All parts in sentences; with `marks`, those that differ from what is in force say so."""
    wording = Wording.of(spec, currency=bench.currency, places=bench.places)
    live = bench.live if marks else None
    tiers, old = spec.tiers, live.tiers if live else None
    levels = tiers.levels if tiers else ()
    return {
        "spec": spec,
        "rules": [
            Told(r.code, r.name, rule_sentence(r, wording), _mark(r, live.rules if live else None), _rests(r, today))
            for r in spec.rules
        ],
        "units": [Told(u.code, u.name, unit_sentence(u), _mark(u, live.units if live else None)) for u in spec.units],
        "tier_set": tier_set_sentence(tiers) if tiers else "",
        "tiers": [
            Told(one.code, one.name, tier_sentence(one, tiers, wording), _mark(one, old.levels if old else _none(live)))
            for one in levels
            if tiers
        ],
        "rewards": [
            Told(r.code, r.name, reward_sentence(r, wording), _mark(r, live.rewards if live else None))
            for r in spec.rewards
        ],
        "offers": [
            Told(o.code, o.name, offer_sentence(o, wording), _mark(o, live.offers if live else None))
            for o in spec.offers
        ],
    }


def _none(live: ProgramSpec | None) -> Sequence[Any] | None:
    return () if live else None


def _mark(part: Any, old: Sequence[Any] | None) -> str:
    if old is None:
        return ""
    before = next((one for one in old if one.code == part.code), None)
    return "new" if before is None else "changed" if before != part else ""


def _rests(rule: RuleSpec, today: date) -> str:
    if rule.valid_until and rule.valid_until < today:
        return _("Over")
    return _("Not yet") if rule.valid_from and rule.valid_from > today else ""


def between(before: Program, spec: ProgramSpec, bench: Bench) -> list[Change]:
    """What a version changed of the one before."""
    return program_changes(parse_program(before.document), spec, currency=bench.currency, places=bench.places)


def grouped(changes: Sequence[Change]) -> list[tuple[str, str, list[Change]]]:
    """Changes by part, with an icon and words."""
    parts = [
        ("name", "tag", _("Name")),
        ("rules", "coins", _("How members earn")),
        ("tiers", "medal", _("Tiers")),
        ("rewards", "ticket", _("Rewards")),
        ("offers", "sparkles", _("Offers")),
        ("units", "wallet", _("What members collect")),
    ]
    found = [(icon, words, [one for one in changes if one.part == part]) for part, icon, words in parts]
    return [group for group in found if group[2]]
