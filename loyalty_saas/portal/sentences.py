"""Why points were given or not, and what the program promises, in sentences."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from loyalty_saas.sentences import Why, what_happened, why_points
from loyalty_saas.templatetags.loyalty import money, number, signed
from members.models import LedgerEntry, RuleTrace
from programs.rules import TierSetSpec


@dataclass(frozen=True)
class Line:
    """One movement of the statement with its reasons: first those that counted, then those that did not."""

    entry: LedgerEntry
    title: str
    amount: str
    balance: str
    counted: list[str] = field(default_factory=list)
    not_counted: list[str] = field(default_factory=list)


def statement_line(entry: LedgerEntry, traces: dict[UUID, list[RuleTrace]]) -> Line:
    """An entry of the ledger in words."""
    unit = entry.account.unit
    source = source_of(entry)
    found = traces.get(source, []) if source else []
    mine = [trace for trace in found if trace.rule.unit_id == unit.pk]
    names = {trace.rule.code: trace.rule.name for trace in found}
    return Line(
        entry=entry,
        title=what_happened(entry),
        amount=signed(entry.amount, unit.decimals),
        balance=number(entry.balance_after, unit.decimals),
        counted=[why_points(Why.of_trace(trace, names=names)) for trace in mine if trace.amount],
        not_counted=[why_points(Why.of_trace(trace, names=names)) for trace in mine if not trace.amount],
    )


def source_of(entry: LedgerEntry) -> UUID | None:
    """The purchase or activity behind an entry."""
    return entry.purchase_id or entry.activity_id


def basis_text(amount: int, tiers: TierSetSpec, currency: str) -> str:
    """A figure of a tier set's basis in words: $120.00, 3 purchases, 200 points, 7 days."""
    if tiers.basis == "spend":
        return money(amount, currency)
    if tiers.basis == "count":
        return ngettext("%(n)s purchase", "%(n)s purchases", amount) % {"n": number(amount)}
    if tiers.basis == "earned":
        return ngettext("%(n)s point", "%(n)s points", amount) % {"n": number(amount)}
    return f"{number(amount)} {(tiers.property or '').replace('_', ' ')}".strip()


def tier_sentences(tiers: TierSetSpec, currency: str) -> Iterable[dict[str, Any]]:
    """Each level: how one gets in, how one stays, and what it brings."""
    months = tiers.period_months
    span = (
        ngettext("within %(n)d month", "within %(n)d months", months) % {"n": months} if months else _("over all time")
    )
    for level in tiers.levels:
        yield {
            "name": level.name,
            "enter": _("%(figure)s %(span)s") % {"figure": basis_text(level.enter, tiers, currency), "span": span},
            "keep": basis_text(level.keep, tiers, currency) if level.keep < level.enter else "",
            "benefits": level.benefits,
        }
