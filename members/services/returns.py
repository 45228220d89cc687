"""
Taking back what a return's lines earned: line by line, under the rules that credited them, never more, never twice.

A return that names its sale has been matched when it was recorded. One without a receipt takes from sale lines of the
same member and sku that occurred earlier, newest first; what finds none is parked for a manager.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import connections

from members import ledger
from programs.queries import ProgramInForce
from programs.rules import Evaluation, reversal
from tenants.keys import uuid7
from tenants.routers import CLIENT

if TYPE_CHECKING:
    from members.services.accrual import Item, ItemLine


TRACE = ("source_id", "rule_id", "result", "amount", "line_amounts", "reason", "detail")


@dataclass(slots=True)
class SoldLine:
    """One line of an earlier sale: how much was sold and how much of it has come back."""

    id: UUID
    position: int
    sku: str
    quantity: Decimal
    returned: Decimal


@dataclass(frozen=True, slots=True)
class Earned:
    """What one rule gave for a sale, shared over its lines in their order."""

    rule_id: UUID
    unit_id: UUID
    line_amounts: tuple[int, ...]


@dataclass(slots=True)
class Sold:
    """An earlier sale as a return sees it."""

    purchase_id: UUID
    member_id: UUID
    occurred_at: datetime
    lines: list[SoldLine]
    earned: list[Earned]
    entries: dict[UUID, UUID]

    @staticmethod
    def of(*, item: "Item", made: Evaluation, entries: dict[str, UUID], program: ProgramInForce) -> "Sold":
        """A sale of the batch under way."""
        return Sold(
            purchase_id=item.source_id,
            member_id=item.member_id,
            occurred_at=item.occurred_at,
            lines=[
                SoldLine(UUID(line.id), line.position, line.sku, Decimal(line.quantity), Decimal(0))
                for line in item.lines
            ],
            earned=[
                Earned(program.rule_ids[o.code], program.units[o.unit].id, o.line_amounts)
                for o in made.outcomes
                if o.amount
            ],
            entries={program.units[code].id: entry for code, entry in entries.items()},
        )


@dataclass(frozen=True, slots=True)
class Match:
    """So much of a sold line came back, after `before` of it already had."""

    sold: Sold
    line: SoldLine
    before: Decimal
    quantity: Decimal


@dataclass(slots=True)
class Returned:
    """What a return changed, as traces under the rules that had credited the sale."""

    traces: list[str] = field(default_factory=list)


class TakenBack:
    """The returns of one batch: the sales they may take from, and what is to be written."""

    def __init__(self, *, book: ledger.Book, zone: ZoneInfo, program: ProgramInForce) -> None:
        self.book, self.zone, self.program = book, zone, program
        self._sales: dict[UUID, Sold] = {}
        self._by_sku: dict[tuple[UUID, str], list[tuple[Sold, SoldLine]]] = defaultdict(list)
        self._lines: dict[UUID, tuple[Sold, SoldLine]] = {}
        self._named: dict[UUID, list[tuple[UUID, Decimal, Decimal]]] = defaultdict(list)
        self._rows: list[dict[str, Any]] = []
        self._parked: list[dict[str, Any]] = []
        self.wanted = False

    # ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────

    def load(self, *, sources: Sequence[UUID], at: datetime) -> None:
        """Fetch the credited sales from which these returns may take, whether they name them or not."""
        if not sources:
            return
        self.wanted = True
        with connections[CLIENT].cursor() as cursor:
            cursor.execute(_SELECT_NAMED, [list(sources)])
            for return_line, sale_line, before, quantity in cursor.fetchall():
                self._named[return_line].append((sale_line, before, quantity))
            cursor.execute(_SELECT_SALES, {"returns": list(sources)})
            rows = cursor.fetchall()
            cursor.execute(_SELECT_EARNED, [list({row[0] for row in rows})])
            earned = cursor.fetchall()
        self._read(rows=rows, earned=earned)

    def _read(self, *, rows: Iterable[tuple[Any, ...]], earned: Iterable[tuple[Any, ...]]) -> None:
        for purchase_id, member_id, occurred_at, *line in rows:
            sold = self._sales.setdefault(purchase_id, Sold(purchase_id, member_id, occurred_at, [], [], {}))
            sold.lines.append(SoldLine(*line))
        for purchase_id, rule_id, unit_id, line_amounts, entry_id in earned:
            sold = self._sales[purchase_id]
            sold.earned.append(Earned(rule_id, unit_id, tuple(line_amounts)))
            if entry_id:
                sold.entries[unit_id] = entry_id
        for sold in self._sales.values():
            self._index(sold)

    def remember(self, sold: Sold) -> None:
        """A sale credited in this very batch, for returns that come after it."""
        if sold.purchase_id not in self._sales:
            self._sales[sold.purchase_id] = sold
            self._index(sold)
        else:
            # Its lines were read with what named returns had taken by then; what it earned is new.
            self._sales[sold.purchase_id].earned = sold.earned
            self._sales[sold.purchase_id].entries = sold.entries

    def _index(self, sold: Sold) -> None:
        for line in sold.lines:
            self._lines[line.id] = (sold, line)
            if line.sku:
                self._by_sku[sold.member_id, line.sku].append((sold, line))

    # ── taking back ─────────────────────────────────────────────────────────────────────────────────────────────

    def take_back(self, item: "Item") -> Returned:
        """Reverse what the lines of one return had earned."""
        matches: list[Match] = []
        for line in item.lines:
            matches += self._matches(item=item, line=line)
        returned = Returned()
        by_rule: dict[tuple[UUID, UUID, UUID], int] = defaultdict(int)
        for match in matches:
            for earned, amount in _shares(match):
                by_rule[match.sold.purchase_id, earned.unit_id, earned.rule_id] += amount
        self._post(item=item, by_rule=by_rule, returned=returned)
        return returned

    def _matches(self, *, item: "Item", line: "ItemLine") -> list[Match]:
        line_id = UUID(line.id)
        if line.sale_line_id:
            return [
                Match(*self._lines[sale_line], before, quantity) for sale_line, before, quantity in self._named[line_id]
            ]
        return self._find(item=item, line_id=line_id, sku=line.sku, need=-Decimal(line.quantity))

    def _find(self, *, item: "Item", line_id: UUID, sku: str, need: Decimal) -> list[Match]:
        """Lines of the same member and sku that occurred earlier, newest first; the rest of the quantity is parked."""
        found = []
        for sold, line in sorted(
            self._by_sku.get((item.member_id, sku), ()),
            key=lambda one: (one[0].occurred_at, one[0].purchase_id, one[1].position),
            reverse=True,
        ):
            if need <= 0 or not sku:
                break
            if sold.occurred_at > item.occurred_at or not (part := min(need, line.quantity - line.returned)) > 0:
                continue
            found.append(Match(sold, line, line.returned, part))
            self._rows.append(_match_row(return_line=line_id, sale_line=line.id, before=line.returned, quantity=part))
            line.returned += part
            need -= part
        if need > 0:
            self._parked.append({"line_id": str(line_id), "quantity": str(need)})
        return found

    def _post(self, *, item: "Item", by_rule: dict[tuple[UUID, UUID, UUID], int], returned: Returned) -> None:
        units = {unit.id: unit for unit in self.program.units.values()}
        amounts: dict[tuple[UUID, UUID], int] = defaultdict(int)
        traced: dict[UUID, int] = defaultdict(int)
        for (sale_id, unit_id, rule_id), amount in by_rule.items():
            amounts[sale_id, unit_id] += amount
            traced[rule_id] += amount
        forgiven = 0
        for (sale_id, unit_id), amount in amounts.items():
            if amount:
                entry = self._sales[sale_id].entries.get(unit_id)
                cause = ledger.Cause(
                    key=f"reverse:{item.source_id}:{entry or sale_id}",
                    occurred_at=item.occurred_at,
                    purchase_id=item.source_id,
                    corrects_id=entry,
                )
                account = self.book.account(member_id=item.member_id, unit=units[unit_id])
                forgiven += self.book.take_back(account=account, amount=amount, cause=cause, first=entry)[1]
        returned.traces += [
            _trace(source_id=item.source_id, rule_id=rule_id, amount=-amount, forgiven=forgiven)
            for rule_id, amount in traced.items()
        ]

    # ── writing ─────────────────────────────────────────────────────────────────────────────────────────────────

    def write(self) -> None:
        """Keep the matches found, what of each line has come back, and what found no sale."""
        with connections[CLIENT].cursor() as cursor:
            if self._rows:
                cursor.execute(_INSERT_MATCHES, [json.dumps(self._rows)])
            if self._parked:
                cursor.execute(_INSERT_PARKED, [json.dumps(self._parked)])


def _shares(match: Match) -> Iterable[tuple[Earned, int]]:
    for earned in match.sold.earned:
        amount = earned.line_amounts[match.line.position - 1] if earned.line_amounts else 0
        if amount > 0:
            after = match.before + match.quantity
            yield earned, reversal(amount, match.line.quantity, match.before, after)


def _match_row(*, return_line: UUID, sale_line: UUID, before: Decimal, quantity: Decimal) -> dict[str, str]:
    return {
        "id": str(uuid7()),
        "return_line_id": str(return_line),
        "sale_line_id": str(sale_line),
        "before": str(before),
        "quantity": str(quantity),
    }


def _trace(*, source_id: UUID, rule_id: UUID, amount: int, forgiven: int) -> str:
    detail = json.dumps({"forgiven": forgiven}) if forgiven else "{}"
    return f"{source_id}\t{rule_id}\tfired\t{amount}\t{{}}\ttaken_back\t{detail}"


_SELECT_NAMED = """
    SELECT m.return_line_id, m.sale_line_id, m.before, m.quantity FROM members_returnmatch m
    JOIN members_purchaseline l ON l.id = m.return_line_id WHERE l.purchase_id = ANY(%s::uuid[])
"""
# The sales that the returns name, and all sales with the same sku of the same member or of a double merged into it.
_SELECT_SALES = """
    WITH back AS (
        SELECT p.id, p.member_id, p.sale_id, p.occurred_at, l.sku, l.sale_line_id
        FROM members_purchase p JOIN members_purchaseline l ON l.purchase_id = p.id
        WHERE p.id = ANY(%(returns)s::uuid[])
    ), named AS (
        SELECT DISTINCT sale_id AS id FROM back WHERE sale_id IS NOT NULL
    ), unnamed AS (
        SELECT DISTINCT member_id, sku FROM back WHERE sale_line_id IS NULL AND sku <> ''
    ), buyers AS (
        SELECT member_id, member_id AS id FROM unnamed
        UNION SELECT d.merged_into_id, d.id FROM members_member d JOIN unnamed u ON u.member_id = d.merged_into_id
    ), found AS (
        SELECT id FROM named
        UNION
        SELECT s.id FROM members_purchase s JOIN members_purchaseline l ON l.purchase_id = s.id
        JOIN buyers b ON b.id = s.member_id JOIN unnamed u ON u.member_id = b.member_id AND u.sku = l.sku
        WHERE s.kind = 'sale' AND s.member_id IN (SELECT id FROM buyers)
    )
    SELECT s.id, COALESCE(w.merged_into_id, w.id), s.occurred_at, l.id, l.position, l.sku, l.quantity, l.returned
    FROM found f JOIN members_purchase s ON s.id = f.id JOIN members_purchaseline l ON l.purchase_id = s.id
    JOIN members_member w ON w.id = s.member_id
    WHERE l.quantity > 0
"""
_SELECT_EARNED = """
    SELECT t.source_id, t.rule_id, r.unit_id, t.line_amounts, e.id
    FROM members_ruletrace t JOIN programs_earningrule r ON r.id = t.rule_id
    LEFT JOIN members_ledgerentry e ON e.purchase_id = t.source_id AND e.kind = 'earn'
         AND e.account_id IN (SELECT a.id FROM members_pointsaccount a WHERE a.unit_id = r.unit_id)
    WHERE t.source_id = ANY(%s::uuid[]) AND t.amount > 0
"""
_INSERT_MATCHES = """
    WITH new AS (
        INSERT INTO members_returnmatch (id, return_line_id, sale_line_id, before, quantity)
        SELECT id, return_line_id, sale_line_id, before, quantity
        FROM jsonb_to_recordset(%s::jsonb) AS r(id uuid, return_line_id uuid, sale_line_id uuid, before numeric,
             quantity numeric)
        RETURNING sale_line_id, quantity
    )
    UPDATE members_purchaseline s SET returned = s.returned + n.quantity
    FROM (SELECT sale_line_id, sum(quantity) AS quantity FROM new GROUP BY sale_line_id) n WHERE s.id = n.sale_line_id
"""
_INSERT_PARKED = """
    INSERT INTO members_parkedreturn (line_id, quantity, state, reason)
    SELECT line_id, quantity, 'open', '' FROM jsonb_to_recordset(%s::jsonb) AS r(line_id uuid, quantity numeric)
"""
