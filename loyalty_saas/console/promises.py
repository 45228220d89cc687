"""What a template's program promises, in sentences, for somebody who has to choose one."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from loyalty_saas.flows.programs import template_document, templates, viewer_language
from loyalty_saas.templatetags.loyalty import money, number
from programs.rules import ProgramSpec, TierSetSpec, over, parse_program


@dataclass(frozen=True)
class Promises:
    """One template: how members collect, rise, and what they get."""

    code: str
    name: str
    rules: list[str]
    tiers: list[str]
    rewards: list[str]


def all_promises(*, currency: str) -> list[Promises]:
    """Those of every template in the viewer's language; amounts of money are written in `currency`."""
    language = viewer_language()
    return [promises_of(code, _program(code, language), currency=currency) for code in templates()]


@lru_cache(maxsize=16)
def _program(code: str, language: str) -> ProgramSpec:
    return parse_program(template_document(code, language=language))


def promises_of(code: str, program: ProgramSpec, *, currency: str) -> Promises:
    """What one program promises."""
    units = {unit.code: unit for unit in program.units}
    rewards = [
        _("%(reward)s for %(amount)s %(unit)s")
        % {
            "reward": reward.name,
            "amount": number(reward.price, units[reward.unit].decimals),
            "unit": units[reward.unit].name,
        }
        for reward in sorted(program.rewards, key=lambda one: one.price)
        if reward.active
    ]
    tiers = list(_tiers(program.tiers, currency)) if program.tiers else []
    return Promises(code, program.name, [rule.name for rule in program.rules], tiers, rewards)


def _tiers(tiers: TierSetSpec, currency: str) -> Iterable[str]:
    span = _span(tiers)
    for level in tiers.levels:
        if level.enter <= 1:
            yield _("%(tier)s from the beginning") % {"tier": level.name}
            continue
        yield _("%(tier)s from %(amount)s %(span)s") % {
            "tier": level.name,
            "amount": _amount(tiers, level.enter, currency),
            "span": span,
        }


def _span(tiers: TierSetSpec) -> str:
    """Over which time it is counted."""
    words = {"lifetime": _("in all"), "calendar": _("in a calendar year"), "anniversary": _("in a year of membership")}
    months = tiers.period_months or 1
    return words.get(over(tiers)) or ngettext("in %(n)d month", "in %(n)d months", months) % {"n": months}


def _amount(tiers: TierSetSpec, amount: int, currency: str) -> str:
    if tiers.basis == "spend":
        return money(amount, currency)
    words = {
        "count": ngettext("%(n)s purchase", "%(n)s purchases", amount),
        "earned": ngettext("%(n)s point", "%(n)s points", amount),
    }
    return words.get(tiers.basis, "%(n)s " + (tiers.property or "").replace("_", " ")) % {"n": number(amount)}
