"""Earlier sales as a return sees them: what was sold, what of it has come back, and what each rule gave for it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import connections

from programs.queries import ProgramInForce
from programs.rules import Evaluation, Outcome, RuleSpec, remainder_scale, reversal
from programs.rules.specs import Period
from tenants.routers import CLIENT

if TYPE_CHECKING:
    from members.services.accrual import Item


@dataclass(slots=True)
class SoldLine:
    """One line of an earlier sale: how much was sold, for how much, and how much of it has come back."""

    id: UUID
    position: int
    sku: str
    quantity: Decimal
    returned: Decimal
    amount: int

    @property
    def left(self) -> Decimal:
        """How much has not come back."""
        return self.quantity - self.returned

    def worth(self, quantity: Decimal) -> int:
        """What so much of what is left was sold for; however it is split, the parts add up to the line's amount."""
        worth = reversal(abs(self.amount), self.quantity, self.returned, self.returned + quantity)
        return worth if self.amount >= 0 else -worth


@dataclass(frozen=True, slots=True)
class Earned:
    """
    What one rule gave for a sale, shared over its lines in their order, and what it used of the rule's state.

    `carried` is by how much each line moved the remainder, in parts of which `scale` make a point; `cap_period` and
    `has_budget` are those of the version that credited the sale.
    """

    rule_id: UUID
    code: str
    unit_id: UUID
    line_amounts: tuple[int, ...]
    carried: tuple[int, ...] = ()
    scale: int = 1
    cap_period: Period | None = None
    has_budget: bool = False

    @staticmethod
    def of(outcome: Outcome, *, rule: RuleSpec, program: ProgramInForce) -> "Earned":
        """What a rule of the program in force has just given."""
        return Earned(
            rule_id=program.rule_ids[outcome.code],
            code=outcome.code,
            unit_id=program.units[outcome.unit].id,
            line_amounts=outcome.line_amounts,
            carried=carried_of(outcome.detail),
            scale=remainder_scale(rule),
            cap_period=rule.caps.per_member.period if rule.caps.per_member else None,
            has_budget=rule.caps.budget is not None,
        )


def carried_of(detail: Mapping[str, Any]) -> tuple[int, ...]:
    """By how much each line moved the remainder, as a trace's detail keeps it."""
    if lines := detail.get("carried_lines"):
        return tuple(map(int, str(lines).split(",")))
    return (int(detail["carried"]),) if detail.get("carried") else ()


@dataclass(slots=True)
class Sold:
    """An earlier sale as a return sees it; `is_credited` once its points are in the books."""

    purchase_id: UUID
    member_id: UUID
    document: str
    occurred_at: datetime
    day: date
    is_credited: bool
    lines: list[SoldLine] = field(default_factory=list)
    earned: list[Earned] = field(default_factory=list)
    entries: dict[UUID, UUID] = field(default_factory=dict)

    @staticmethod
    def of(*, item: "Item", made: Evaluation, entries: dict[str, UUID], program: ProgramInForce) -> "Sold":
        """A sale of the batch under way."""
        rules = program.compiled.by_code
        return Sold(
            purchase_id=item.source_id,
            member_id=item.member_id,
            document=item.document,
            occurred_at=item.occurred_at,
            day=item.day,
            is_credited=True,
            lines=[
                SoldLine(UUID(one.id), one.position, one.sku, Decimal(one.quantity), Decimal(one.returned), one.amount)
                for one in item.lines
            ],
            earned=[
                Earned.of(outcome, rule=rules[outcome.code], program=program)
                for outcome in made.outcomes
                if outcome.amount or "carried" in outcome.detail
            ],
            entries={program.units[code].id: entry for code, entry in entries.items()},
        )


class Shop:
    """The sales from which the returns of a batch may take, found by line, by article and by document."""

    def __init__(self) -> None:
        self.sales: dict[UUID, Sold] = {}
        self.lines: dict[UUID, tuple[Sold, SoldLine]] = {}
        self._by_sku: dict[tuple[UUID, str], list[tuple[Sold, SoldLine]]] = defaultdict(list)
        self._by_document: dict[tuple[UUID, str], Sold] = {}

    def load(self, returns: Sequence[UUID]) -> None:
        """Fetch the sales that these returns name, and credited ones with the same articles of the same member."""
        with connections[CLIENT].cursor() as cursor:
            cursor.execute(_SELECT_SALES, {"returns": list(returns)})
            rows = cursor.fetchall()
            cursor.execute(_SELECT_EARNED, [list({row[0] for row in rows})])
            earned = cursor.fetchall()
        self._read(rows=rows, earned=earned)

    def _read(self, *, rows: Iterable[tuple[Any, ...]], earned: Iterable[tuple[Any, ...]]) -> None:
        for purchase_id, member_id, document, occurred_at, day, is_credited, *line in rows:
            sold = self.sales.get(purchase_id)
            if sold is None:
                sold = Sold(purchase_id, member_id, document, occurred_at, day, is_credited)
                self.sales[purchase_id] = sold
            sold.lines.append(SoldLine(*line))
        for purchase_id, entry_id, *one in earned:
            sold = self.sales[purchase_id]
            sold.earned.append(_earned(*one))
            if entry_id:
                sold.entries[sold.earned[-1].unit_id] = entry_id
        for sold in self.sales.values():
            self._index(sold)

    def remember(self, sold: Sold) -> Sold:
        """Keep a sale credited in this very batch, for returns that come after it or that have waited for it."""
        known = self.sales.get(sold.purchase_id)
        if known is None:
            self.sales[sold.purchase_id] = sold
            self._index(sold)
            return sold
        # Its lines were read with what named returns had taken by then; what it earned is new.
        known.earned, known.entries = sold.earned, sold.entries
        if not known.is_credited:
            known.is_credited = True
            self._offer(known)
        return known

    def _index(self, sold: Sold) -> None:
        for line in sold.lines:
            self.lines[line.id] = (sold, line)
        if sold.is_credited:
            self._offer(sold)

    def _offer(self, sold: Sold) -> None:
        self._by_document.setdefault((sold.member_id, sold.document), sold)
        for line in sold.lines:
            if line.sku:
                self._by_sku[sold.member_id, line.sku].append((sold, line))

    def named(self, *, member_id: UUID, document: str) -> Sold | None:
        """The credited sale of that number of the member, if there is one."""
        return self._by_document.get((member_id, document))

    def newest_first(self, *, member_id: UUID, sku: str, until: datetime) -> list[tuple[Sold, SoldLine]]:
        """The lines of credited sales of an article that occurred by then, newest first."""
        lines = [one for one in self._by_sku.get((member_id, sku), ()) if one[0].occurred_at <= until]
        return sorted(lines, key=lambda one: (one[0].occurred_at, one[0].purchase_id, one[1].position), reverse=True)


def _earned(
    rule_id: UUID,
    code: str,
    unit_id: UUID,
    line_amounts: Sequence[int],
    carried: str | None,
    carried_lines: str | None,
    effect: str,
    per: int | None,
    cap_period: Period | None,
    has_budget: bool,
) -> Earned:
    return Earned(
        rule_id=rule_id,
        code=code,
        unit_id=unit_id,
        line_amounts=tuple(line_amounts),
        carried=carried_of({"carried": carried, "carried_lines": carried_lines}),
        scale=(per or 1) * (1000 if effect == "per_quantity" else 1),
        cap_period=cap_period,
        has_budget=has_budget,
    )


# The sales that the returns name, by id or by number, and all credited sales with the same sku of the same member or of
# a double merged into it.
_SELECT_SALES = """
    WITH back AS (
        SELECT p.id, COALESCE(m.merged_into_id, m.id) AS member_id, p.sale_id, p.sale_document, l.sku, l.sale_line_id
        FROM members_purchase p JOIN members_member m ON m.id = p.member_id
        LEFT JOIN members_purchaseline l ON l.purchase_id = p.id
        WHERE p.id = ANY(%(returns)s::uuid[])
    ), named AS (
        SELECT DISTINCT sale_id AS id FROM back WHERE sale_id IS NOT NULL
    ), awaited AS (
        SELECT DISTINCT member_id, sale_document AS document FROM back WHERE sale_id IS NULL AND sale_document <> ''
    ), unnamed AS (
        SELECT DISTINCT member_id, sku FROM back WHERE sale_id IS NULL AND sale_document = '' AND sku <> ''
    ), buyers AS (
        SELECT member_id, member_id AS id FROM (SELECT member_id FROM unnamed UNION SELECT member_id FROM awaited) w
        UNION SELECT d.merged_into_id, d.id FROM members_member d
              WHERE d.merged_into_id IN (SELECT member_id FROM unnamed UNION SELECT member_id FROM awaited)
    ), found AS (
        SELECT id FROM named
        UNION
        SELECT s.id FROM members_purchase s JOIN members_purchaseline l ON l.purchase_id = s.id
        JOIN buyers b ON b.id = s.member_id JOIN unnamed u ON u.member_id = b.member_id AND u.sku = l.sku
        WHERE s.kind = 'sale' AND s.member_id IN (SELECT id FROM buyers)
          AND NOT EXISTS (SELECT FROM members_workitem w WHERE w.source_id = s.id)
        UNION
        SELECT s.id FROM awaited a JOIN members_purchase s ON s.document = a.document AND s.kind = 'sale'
        JOIN buyers b ON b.id = s.member_id AND b.member_id = a.member_id
        WHERE NOT EXISTS (SELECT FROM members_workitem w WHERE w.source_id = s.id)
    )
    SELECT s.id, COALESCE(w.merged_into_id, w.id), s.document, s.occurred_at, s.day,
           NOT EXISTS (SELECT FROM members_workitem i WHERE i.source_id = s.id),
           l.id, l.position, l.sku, l.quantity, l.returned, l.amount
    FROM found f JOIN members_purchase s ON s.id = f.id JOIN members_purchaseline l ON l.purchase_id = s.id
    JOIN members_member w ON w.id = s.member_id
    WHERE l.quantity > 0 ORDER BY s.id, l.position
"""
_SELECT_EARNED = """
    SELECT t.source_id, e.id, t.rule_id, r.code, r.unit_id, t.line_amounts, t.detail ->> 'carried',
           t.detail ->> 'carried_lines', r.spec #>> '{effect,kind}', (r.spec #>> '{effect,per}')::bigint,
           r.spec #>> '{caps,per_member,period}', (r.spec #>> '{caps,budget}') IS NOT NULL
    FROM members_ruletrace t JOIN programs_earningrule r ON r.id = t.rule_id
    LEFT JOIN members_ledgerentry e ON e.purchase_id = t.source_id AND e.kind = 'earn'
         AND e.account_id IN (SELECT a.id FROM members_pointsaccount a WHERE a.unit_id = r.unit_id)
    WHERE t.source_id = ANY(%s::uuid[]) AND (t.amount > 0 OR t.detail ? 'carried') ORDER BY t.source_id, r.code
"""
