"""What a member's purchases tell, what each line of a receipt earned, and how far the next tier is, in words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from loyalty_saas.sentences import Why, amount_of, change_of, what_happened, why_points
from loyalty_saas.sentences_program import figure_of_basis
from loyalty_saas.templatetags.loyalty import day, money, number
from members.models import Insight, Lot, PurchaseLine, RuleTrace
from members.queries import TierView
from members.rules import whole_days_between
from programs.models import UnitType
from programs.queries import products_by_sku
from programs.rules import TierSetSpec

_SEGMENTS = {
    Insight.Segment.NEW: lambda: _("New: has bought once or only just begun."),
    Insight.Segment.REGULAR: lambda: _("Regular: keeps coming in their usual rhythm."),
    Insight.Segment.CHAMPION: lambda: _("Champion: comes most often and spends most."),
    Insight.Segment.SLIPPING: lambda: _("Slipping away: has stayed away for more than twice their usual rhythm."),
    Insight.Segment.LAPSED: lambda: _("Lapsed: has stayed away for more than four times their usual rhythm."),
}


def insight_sentences(insight: Insight | None, *, currency: str) -> list[str]:
    """Segment, rhythm, worth and favourite; nothing for somebody who has not bought anything."""
    if insight is None or not insight.purchases:
        return []
    favourite = products_by_sku([insight.favourite]).get(insight.favourite)
    return list(_said(insight, str(favourite or insight.favourite), currency))


def _said(insight: Insight, favourite: str, currency: str) -> Iterator[str]:
    if insight.segment in _SEGMENTS:
        yield _SEGMENTS[Insight.Segment(insight.segment)]()
    words = ngettext("%(n)s purchase for %(spend)s.", "%(n)s purchases for %(spend)s.", insight.purchases)
    yield words % {"n": number(insight.purchases), "spend": money(insight.spend, currency)}
    if insight.first_day and insight.last_day:
        if insight.purchases > 1:
            days = max(whole_days_between(insight.first_day, insight.last_day, parts=insight.purchases - 1), 1)
            words = ngettext("Buys about every day.", "Buys about every %(n)s days.", days)
            yield words % {"n": number(days)}
        yield _("Last here on %(day)s.") % {"day": day(insight.last_visit or insight.last_day)}
    if favourite:
        yield _("Buys most often: %(favourite)s.") % {"favourite": favourite}


# ── receipts ────────────────────────────────────────────────────────────────────────────────────────────────────────


def points_of_line(line: PurchaseLine, traces: Sequence[RuleTrace]) -> list[str]:
    """What one line of a receipt earned or gave back, unit by unit."""
    moved: dict[UnitType, int] = {}
    for trace in traces:
        amounts, unit = trace.line_amounts, trace.rule.unit
        if line.position <= len(amounts):
            moved[unit] = moved.get(unit, 0) + amounts[line.position - 1]
    return [change_of(amount, decimals=unit.decimals, unit=unit.name) for unit, amount in moved.items() if amount]


def reasons(traces: Sequence[RuleTrace]) -> dict[str, list[str]]:
    """Why a receipt earned what it did: what counted, and what did not."""
    names = {trace.rule.code: trace.rule.name for trace in traces}
    said = [(bool(trace.amount), why_points(Why.of_trace(trace, names=names))) for trace in traces]
    return {
        "counted": [words for counts, words in said if counts],
        "not_counted": [words for counts, words in said if not counts],
    }


def lot_source(lot: Lot) -> str:
    """Where the points of a lot came from; `members.queries.lots_of` tells whose they were, if they were moved."""
    lot.entry.other_number = getattr(lot, "other_number", None)  # type: ignore[attr-defined]
    return what_happened(lot.entry)


def lot_amount(lot: Lot) -> str:
    """What is left of a lot: 1 stamp, 12 stamps."""
    unit = lot.account.unit
    return amount_of(lot.remaining, decimals=unit.decimals, unit=unit.name)


# ── tiers ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Rung:
    """One tier of the ladder: its name, what it takes, and whether it is reached or the one held."""

    name: str
    figure: str
    is_reached: bool
    is_held: bool


@dataclass(frozen=True)
class Ladder:
    """All tiers with the way to the top in thousandths, each tier's share of it the same."""

    rungs: list[Rung]
    way: int

    @property
    def sentence(self) -> str:
        """The drawing in words."""
        held = next((rung.name for rung in self.rungs if rung.is_held), "")
        if not held:
            return _("No tier yet.")
        return _("%(name)s, tier %(place)s of %(all)s.") % {
            "name": held,
            "place": number([rung.is_held for rung in self.rungs].index(True) + 1),
            "all": number(len(self.rungs)),
        }


def ladder(tier: TierView, tiers: TierSetSpec, *, currency: str) -> Ladder:
    """Where a member stands between the tiers."""
    levels = tiers.levels
    rank = next((place for place, level in enumerate(levels) if level.code == tier.code), -1)
    rungs = [
        Rung(level.name, figure_of_basis(level.enter, tiers, currency), place <= rank, place == rank)
        for place, level in enumerate(levels)
    ]
    below = levels[rank].enter if rank >= 0 else 0
    part = 0.0
    if rank + 1 < len(levels) and levels[rank + 1].enter > below:
        part = min(max((tier.basis - below) / (levels[rank + 1].enter - below), 0.0), 1.0)
    return Ladder(rungs=rungs, way=round(1000 * (rank + 1 + part) / len(levels)))
