"""Why points were given or not, and what the program promises, in sentences."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from loyalty_saas.templatetags.loyalty import money, number, signed
from members.models import LedgerEntry, RuleTrace
from programs.rules import TierSetSpec

Result = RuleTrace.Result


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
    found = traces.get(source_of(entry), []) if entry.kind == LedgerEntry.Kind.EARN else []
    mine = [trace for trace in found if trace.rule.unit_id == unit.pk]
    return Line(
        entry=entry,
        title=_title(entry),
        amount=signed(entry.amount, unit.decimals),
        balance=number(entry.balance_after, unit.decimals),
        counted=[why(trace, found) for trace in mine if trace.amount],
        not_counted=[why(trace, found) for trace in mine if not trace.amount],
    )


def source_of(entry: LedgerEntry) -> UUID | None:
    """The purchase or activity behind an entry."""
    return entry.purchase_id or entry.activity_id


def why(trace: RuleTrace, beside: Sequence[RuleTrace]) -> str:
    """One rule's part in a credit."""
    name, amount = trace.rule.name, signed(trace.amount, trace.rule.unit.decimals)
    if trace.result == Result.CAPPED:
        wanted = signed(int(trace.detail.get("before_cap", trace.amount)), trace.rule.unit.decimals)
        return _("%(rule)s: %(amount)s; it would have been %(wanted)s, but its limit was reached.") % {
            "rule": name, "amount": amount if trace.amount else "0", "wanted": wanted,
        }  # fmt: skip
    if trace.result == Result.FIRED:
        return _("%(rule)s: %(amount)s") % {"rule": name, "amount": amount}
    return _("%(rule)s: %(reason)s") % {"rule": name, "reason": _reason(trace.reason, beside)}


def _reason(code: str, beside: Sequence[RuleTrace]) -> str:
    kind, _colon, about = code.partition(":")
    if kind == "lost_to":
        winner = next((trace.rule.name for trace in beside if trace.rule.code == about), about)
        return _("“%(winner)s” counted instead.") % {"winner": winner}
    if kind == "condition":
        return _CONDITIONS().get(about.partition(".")[0], _("not fulfilled."))
    return _REASONS().get(kind, _("did not apply."))


def _REASONS() -> dict[str, str]:  # noqa: N802
    return {
        "not_valid_yet": _("not valid yet on that day."),
        "no_longer_valid": _("no longer valid on that day."),
        "outside_schedule": _("outside its hours."),
        "visited_today": _("counted once already that day."),
        "no_earning_line": _("nothing bought that earns."),
        "too_small": _("the amount was too small for a whole step; what was left over may be carried on."),
    }


def _CONDITIONS() -> dict[str, str]:  # noqa: N802
    return {
        "amount": _("the amount did not fit."),
        "category": _("another kind of goods."),
        "sku": _("other goods."),
        "location": _("another location."),
        "channel": _("another channel."),
        "weekday": _("another day of the week."),
        "hour": _("another time of day."),
        "tier": _("for another tier."),
        "segment": _("for other members."),
        "first_purchase": _("only for the first purchase."),
        "quantity": _("the quantity did not fit."),
        "activity": _("another kind of activity."),
        "properties": _("its figures did not fit."),
    }


def _title(entry: LedgerEntry) -> str:
    if entry.purchase is not None:
        kinds = {"sale": _("Purchase %(n)s"), "return": _("Return %(n)s"), "void": _("Cancelled purchase %(n)s")}
        return kinds[entry.purchase.kind] % {"n": entry.purchase.document}
    if entry.activity is not None:
        return _ACTIVITIES().get(entry.activity.kind, entry.activity.kind.replace("_", " ").capitalize())
    return str(entry.get_kind_display())


def _ACTIVITIES() -> dict[str, str]:  # noqa: N802
    return {"sign_up": _("Joined"), "birthday": _("Birthday"), "trip": _("Trip"), "review": _("Review"), "visit": _("Visit")}


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
    span = ngettext("within %(n)d month", "within %(n)d months", months) % {"n": months} if months else _("over all time")
    for level in tiers.levels:
        yield {
            "name": level.name,
            "enter": _("%(figure)s %(span)s") % {"figure": basis_text(level.enter, tiers, currency), "span": span},
            "keep": basis_text(level.keep, tiers, currency) if level.keep < level.enter else "",
            "benefits": level.benefits,
        }
