"""Why points were given or not, and what the program promises, in sentences."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from loyalty_saas.sentences import Why, what_happened, why_points
from loyalty_saas.templatetags.loyalty import number, signed
from members.models import LedgerEntry, Lot, RuleTrace


@dataclass(frozen=True)
class Line:
    """One movement of the statement with its reasons: first those that counted, then those that did not; its end."""

    entry: LedgerEntry
    title: str
    amount: str
    balance: str
    counted: list[str] = field(default_factory=list)
    not_counted: list[str] = field(default_factory=list)
    expires: datetime | None = None


def statement_line(
    entry: LedgerEntry, traces: dict[UUID, list[RuleTrace]], together: Mapping[UUID, int] | None = None
) -> Line:
    """An entry of the ledger in words; for one that moved lot by lot, all that went `together`."""
    amount = (together or {}).get(entry.pk, entry.amount)
    unit = entry.account.unit
    source = source_of(entry)
    found = traces.get(source, []) if source else []
    mine = [trace for trace in found if trace.rule.unit_id == unit.pk]
    names = {trace.rule.code: trace.rule.name for trace in found}
    return Line(
        entry=entry,
        title=what_happened(entry, together=amount),
        amount=signed(amount, unit.decimals),
        balance=number(entry.balance_after, unit.decimals),
        counted=[why_points(Why.of_trace(trace, names=names)) for trace in mine if trace.amount],
        not_counted=[why_points(Why.of_trace(trace, names=names)) for trace in mine if not trace.amount],
        expires=_expires(entry) if amount == entry.amount else None,
    )


def _expires(entry: LedgerEntry) -> datetime | None:
    lot: Lot | None = getattr(entry, "lot", None)
    return lot.expires_at if lot else None


def source_of(entry: LedgerEntry) -> UUID | None:
    """The purchase or activity behind an entry."""
    return entry.purchase_id or entry.activity_id
