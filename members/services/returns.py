"""
Taking back what a return's lines earned: line by line, under the rules that credited them, never more, never twice.

A return that names its sale has been matched when it was recorded. One without a receipt takes from sale lines of the
same member and sku that occurred earlier, newest first. What finds no sale is parked, and matched when the sale arrives
after all: the one it names, or for a return without a receipt one with that sku that occurred earlier.

With the points goes what the sale used of each rule: the member's cap in the period of the sale, the budget, and its
share of a remainder that is carried. Each share is a `reversal`, so any split of returns adds up to the whole.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID

from django.db import connections

from members import ledger
from members.copying import array
from members.services.sold import Earned, Shop, Sold, SoldLine
from members.services.waiting import Back, Waiting, WaitingRoom
from programs.queries import ProgramInForce
from programs.rules import distribute, period_key, remainder_scale, reversal
from tenants.keys import uuid7
from tenants.routers import CLIENT

if TYPE_CHECKING:
    from members.services.accrual import Item, ItemLine
    from members.services.known import Known


TRACE = ("source_id", "rule_id", "result", "amount", "line_amounts", "reason", "detail")


@dataclass(frozen=True, slots=True)
class Match:
    """So much of a sold line came back with a return's line at `position`, after `before` of it already had."""

    sold: Sold
    line: SoldLine
    before: Decimal
    quantity: Decimal
    position: int
    id: UUID


@dataclass(slots=True)
class Share:
    """What one return takes back of what one rule gave for one sale: points, by line of the return, and remainder."""

    sold: Sold
    earned: Earned
    amount: int
    carried: int
    lines: dict[int, int]
    match_id: UUID
    forgiven: int = 0


class TakenBack:
    """The returns of one batch: the sales they take from, what they give back to the rules, what is to be written."""

    def __init__(
        self,
        *,
        book: ledger.Book,
        program: ProgramInForce,
        known: Mapping[UUID, "Known"],
        budgets: dict[str, int],
        at: datetime,
    ) -> None:
        self.book, self.program, self.known, self.budgets, self.at = book, program, known, budgets, at
        self.shop, self.room = Shop(), WaitingRoom()
        self.traces: list[str] = []
        # Which returns took from which sales, for what hangs on a sale besides points.
        self.pairs: list[tuple[Back, UUID]] = []
        # Budgets of rules that the program in force does not limit, but the version that credited the sale did.
        self.old_budgets: dict[str, int] = defaultdict(int)
        self._units = {unit.id: unit for unit in program.units.values()}
        self._named: dict[UUID, list[tuple[UUID, UUID, Decimal, Decimal]]] = defaultdict(list)
        self._matches: list[dict[str, str]] = []
        self._new_lines: list[dict[str, str | int]] = []
        self.wanted = False

    # ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────

    def load(self, *, returns: Sequence["Item"], awaited: Sequence["Item"]) -> None:
        """Fetch the sales from which these returns may take, and what waits for these sales."""
        if returns:
            self.wanted = True
            sources = [item.source_id for item in returns]
            with connections[CLIENT].cursor() as cursor:
                cursor.execute(_SELECT_NAMED, [sources])
                for return_line, *match in cursor.fetchall():
                    self._named[return_line].append(match)
            self.shop.load(sources)
        if awaited:
            self.wanted = True
            members = {item.member_id for item in awaited}
            self.room.load(sales=[item.source_id for item in awaited], member_ids=members)

    @property
    def gives_back_state(self) -> bool:
        """Whether a sale that may come back has used what a rule remembers of a member."""
        return any(one.cap_period or one.carried for sold in self.shop.sales.values() for one in sold.earned)

    # ── taking back ─────────────────────────────────────────────────────────────────────────────────────────────

    def take_back(self, item: "Item") -> None:
        """Reverse what the lines of one return had earned; what finds no sale waits."""
        back = Back(item.source_id, item.member_id, item.occurred_at, "" if item.sale_id else item.sale_document)
        matches: list[Match] = []
        for line in item.lines:
            matches += self._named_matches(line) if line.sale_line_id else self._find(back=back, line=line)
        if not item.lines and back.document:
            matches += self._whole_sale(back=back, amount=-item.amount)
        self._reverse(back=back, matches=matches)

    def _named_matches(self, line: "ItemLine") -> list[Match]:
        return [
            Match(*self.shop.lines[sale_line], before, quantity, line.position, match_id)
            for match_id, sale_line, before, quantity in self._named[UUID(line.id)]
        ]

    def _find(self, *, back: Back, line: "ItemLine") -> list[Match]:
        """Lines of the sale it names, or of the same member and sku that occurred earlier, newest first."""
        waiting = Waiting(back, UUID(line.id), line.position, line.sku, -Decimal(line.quantity))
        found: list[Match] = []
        if back.document:
            sold = self.shop.named(member_id=back.member_id, document=back.document)
            candidates = [(sold, one) for one in waiting.wants(sold)] if sold else []
        else:
            candidates = self.shop.newest_first(member_id=back.member_id, sku=line.sku, until=back.occurred_at)
        for sale, one in candidates if line.sku or back.document else ():
            found += self._take(waiting=waiting, sold=sale, line=one)
        if waiting.left > 0:
            self.room.add(waiting)
        return found

    def _take(self, *, waiting: Waiting, sold: Sold, line: SoldLine) -> list[Match]:
        part = min(waiting.left, line.left)
        if part <= 0:
            return []
        waiting.left -= part
        return [self._match(sold=sold, line=line, quantity=part, return_line=waiting.line_id, place=waiting.position)]

    def _match(self, *, sold: Sold, line: SoldLine, quantity: Decimal, return_line: UUID, place: int) -> Match:
        match = Match(sold, line, line.returned, quantity, place, uuid7())
        self._matches.append(
            {
                "id": str(match.id),
                "return_line_id": str(return_line),
                "sale_line_id": str(line.id),
                "before": str(line.returned),
                "quantity": str(quantity),
            }
        )
        line.returned += quantity
        return match

    def _whole_sale(self, *, back: Back, amount: int) -> list[Match]:
        """All that is left of the sale it names, if that is what it was sold for; else it waits."""
        waiting = Waiting(back, uuid7(), 0, "", Decimal(1), amount)
        sold = self.shop.named(member_id=back.member_id, document=back.document)
        matches = self._all_of(waiting=waiting, sold=sold) if sold else []
        if waiting.left:
            self.room.add(waiting)
        return matches

    def _all_of(self, *, waiting: Waiting, sold: Sold) -> list[Match]:
        left = [line for line in sold.lines if line.left > 0]
        if sold.document != waiting.back.document or waiting.amount != sum(line.worth(line.left) for line in left):
            return []
        matches, waiting.left = [], Decimal(0)
        for place, line in enumerate(left, start=1):
            line_id = uuid7()
            self._new_lines.append(
                {
                    "id": str(line_id),
                    "purchase_id": str(waiting.back.source_id),
                    "position": place,
                    "quantity": str(-line.left),
                    "amount": -line.worth(line.left),
                    "sale_line_id": str(line.id),
                }
            )
            matches.append(self._match(sold=sold, line=line, quantity=line.left, return_line=line_id, place=place))
        return matches

    # ── a sale that comes after what takes from it ──────────────────────────────────────────────────────────────

    def remember(self, sold: Sold) -> None:
        """A sale credited in this very batch: what has waited for it takes from it now, later returns in their turn."""
        sold = self.shop.remember(sold)
        for back, matches in self._taken_before(sold):
            self._reverse(back=back, matches=matches)
        for line in self.room.of(sold.member_id):
            self._meet(waiting=line, sold=sold)

    def _taken_before(self, sold: Sold) -> Iterable[tuple[Back, list[Match]]]:
        by_return: dict[Back, list[Match]] = defaultdict(list)
        for back, line_id, before, quantity in self.room.taken_before.get(sold.purchase_id, ()):
            by_return[back].append(Match(sold, self.shop.lines[line_id][1], before, quantity, 0, uuid7()))
        return by_return.items()

    def _meet(self, *, waiting: Sequence[Waiting], sold: Sold) -> None:
        matches: list[Match] = []
        for one in waiting:
            if one.is_whole:
                matches += self._all_of(waiting=one, sold=sold)
                continue
            for line in one.wants(sold):
                matches += self._take(waiting=one, sold=sold, line=line)
        if matches:
            self._reverse(back=waiting[0].back, matches=matches)

    # ── reversing ───────────────────────────────────────────────────────────────────────────────────────────────

    def _reverse(self, *, back: Back, matches: Sequence[Match]) -> None:
        """Take back the points of what was matched, and give back what they used of their rules."""
        shares: dict[tuple[UUID, UUID], Share] = {}
        for match in matches:
            for earned, amount in _shares(match):
                share = shares.setdefault(
                    (match.sold.purchase_id, earned.rule_id), Share(match.sold, earned, 0, 0, {}, match.id)
                )
                share.amount += amount
                share.carried += _carried(match, earned)
                share.lines[match.position] = share.lines.get(match.position, 0) - amount
        self._post(back=back, shares=list(shares.values()))
        for share in shares.values():
            self._give_back(back=back, share=share)
        self._trace(back=back, shares=list(shares.values()))
        self.pairs += [(back, sale_id) for sale_id in {match.sold.purchase_id for match in matches}]

    def _post(self, *, back: Back, shares: Sequence[Share]) -> None:
        by_entry: dict[tuple[UUID, UUID], list[Share]] = defaultdict(list)
        for share in shares:
            if share.amount:
                by_entry[share.sold.purchase_id, share.earned.unit_id].append(share)
        for (sale_id, unit_id), together in by_entry.items():
            entry = together[0].sold.entries.get(unit_id)
            cause = ledger.Cause(
                key=f"reverse:{back.source_id}:{entry or sale_id}",
                occurred_at=back.occurred_at,
                purchase_id=back.source_id,
                corrects_id=entry,
            )
            account = self.book.account(member_id=back.member_id, unit=self._units[unit_id])
            amounts = [share.amount for share in together]
            _entry, forgiven = self.book.take_back(account=account, amount=sum(amounts), cause=cause, first=entry)
            for share, part in zip(together, distribute(forgiven, amounts), strict=True):
                share.forgiven = part

    def _give_back(self, *, back: Back, share: Share) -> None:
        """Give back what the points had used: the member's cap in the sale's period, the budget, the remainder."""
        earned, known = share.earned, self.known[back.member_id]
        if earned.cap_period and share.amount:
            key = earned.code, period_key(earned.cap_period, share.sold.day)
            known.state.used[key] = max(0, known.state.used.get(key, 0) - share.amount)
        if share.carried:
            known.state.remainders[earned.code] = known.state.remainders.get(earned.code, 0) - self._in_scale(share)
        if earned.has_budget and share.amount:
            budgets, sign = (self.budgets, 1) if earned.code in self.budgets else (self.old_budgets, -1)
            budgets[earned.code] += sign * share.amount
        known.touched_rules.add(earned.code)

    def _in_scale(self, share: Share) -> int:
        """The share of the remainder in parts as the rule counts them now."""
        rule = self.program.compiled.by_code.get(share.earned.code)
        scale = remainder_scale(rule) if rule is not None and rule.remainder == "carry" else share.earned.scale
        return share.carried * scale // share.earned.scale

    def _trace(self, *, back: Back, shares: Sequence[Share]) -> None:
        """One trace for each rule; for a return that was traced before under a rule, the match stands for it."""
        by_rule: dict[UUID, list[Share]] = defaultdict(list)
        for share in shares:
            by_rule[share.earned.rule_id].append(share)
        for rule_id, together in by_rule.items():
            seen = (back.source_id, rule_id) in self.room.traced
            self.room.traced.add((back.source_id, rule_id))
            self.traces.append(_written(source_id=together[0].match_id if seen else back.source_id, shares=together))

    # ── writing ─────────────────────────────────────────────────────────────────────────────────────────────────

    def write(self) -> None:
        """Keep the matches found, what of each line has come back, and what waits for a sale or waits no more."""
        if not self.wanted:
            return
        parked = [_parked(one) for one in self.room.all() if one.is_parked]
        new = [_parked(one) for one in self.room.all() if not one.is_parked and one.left > 0]
        with connections[CLIENT].cursor() as cursor:
            if self._new_lines:
                cursor.execute(_INSERT_LINES, [json.dumps(self._new_lines)])
            if self._matches:
                cursor.execute(_INSERT_MATCHES, [json.dumps(self._matches)])
            if new:
                cursor.execute(_INSERT_WHOLE, [json.dumps([row for row in new if row["is_whole"]])])
                cursor.execute(_INSERT_PARKED, [json.dumps(new)])
            if parked:
                cursor.execute(_UPDATE_PARKED, {"rows": json.dumps(parked), "at": self.at})


def _parked(waiting: Waiting) -> dict[str, str | bool]:
    return {
        "line_id": str(waiting.line_id),
        "purchase_id": str(waiting.back.source_id),
        "quantity": str(waiting.left),
        "is_whole": waiting.is_whole,
    }


def _shares(match: Match) -> Iterable[tuple[Earned, int]]:
    """What of each rule's points for the sale falls on what came back."""
    for earned in match.sold.earned:
        amount = _of_line(earned.line_amounts, match)
        taken = reversal(amount, match.line.quantity, match.before, match.before + match.quantity) if amount > 0 else 0
        if taken or _carried(match, earned):
            yield earned, taken


def _carried(match: Match, earned: Earned) -> int:
    """By how much what came back had moved the remainder, in the rule's scale; downwards is below zero."""
    moved = _of_line(earned.carried, match)
    share = reversal(abs(moved), match.line.quantity, match.before, match.before + match.quantity)
    return share if moved >= 0 else -share


def _of_line(amounts: Sequence[int], match: Match) -> int:
    place = match.line.position - 1
    return amounts[place] if place < len(amounts) else 0


def _written(*, source_id: UUID, shares: Sequence[Share]) -> str:
    amounts: dict[int, int] = defaultdict(int)
    for share in shares:
        for position, amount in share.lines.items():
            amounts[position] += amount
    # By position of the return's lines; position 0 stands for none of them.
    lines = [amounts.get(place, 0) for place in range(1, max(amounts) + 1)] if 0 not in amounts else []
    figures = {"forgiven": sum(one.forgiven for one in shares), "carried": -sum(one.carried for one in shares)}
    detail = json.dumps({name: figure for name, figure in figures.items() if figure})
    amount = -sum(share.amount for share in shares)
    return f"{source_id}\t{shares[0].earned.rule_id}\tfired\t{amount}\t{array(lines)}\ttaken_back\t{detail}"


_SELECT_NAMED = """
    SELECT m.return_line_id, m.id, m.sale_line_id, m.before, m.quantity FROM members_returnmatch m
    JOIN members_purchaseline l ON l.id = m.return_line_id WHERE l.purchase_id = ANY(%s::uuid[])
"""
_INSERT_LINES = """
    INSERT INTO members_purchaseline (id, purchase_id, position, sku, category, quantity, unit_price, discount, amount,
                                      earning, sale_line_id, returned)
    SELECT r.id, r.purchase_id, r.position, s.sku, s.category, r.quantity, s.unit_price, 0, r.amount, s.earning, s.id, 0
    FROM jsonb_to_recordset(%s::jsonb) AS r(id uuid, purchase_id uuid, position smallint, quantity numeric,
         amount bigint, sale_line_id uuid)
    JOIN members_purchaseline s ON s.id = r.sale_line_id
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
_INSERT_WHOLE = """
    INSERT INTO members_purchaseline (id, purchase_id, position, sku, category, quantity, discount, amount, earning,
                                      returned)
    SELECT line_id, purchase_id, 0, '', '', -1, 0, 0, true, 0
    FROM jsonb_to_recordset(%s::jsonb) AS r(line_id uuid, purchase_id uuid)
"""
_INSERT_PARKED = """
    INSERT INTO members_parkedreturn (line_id, quantity, state, reason)
    SELECT line_id, quantity, 'open', '' FROM jsonb_to_recordset(%s::jsonb) AS r(line_id uuid, quantity numeric)
"""
# What was matched is kept by the matches; here stays what still waits, or the one that stood for a whole sale.
_UPDATE_PARKED = """
    UPDATE members_parkedreturn k SET quantity = CASE WHEN r.is_whole THEN k.quantity ELSE r.quantity END,
           state = CASE WHEN r.quantity = 0 THEN 'matched' ELSE k.state END,
           settled_at = CASE WHEN r.quantity = 0 THEN %(at)s END
    FROM jsonb_to_recordset(%(rows)s::jsonb) AS r(line_id uuid, quantity numeric, is_whole boolean)
    WHERE k.line_id = r.line_id AND k.quantity <> r.quantity AND k.state = 'open'
"""
