"""Returns that wait for their sale: what is known of them when a sale arrives that they may be about."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from django.db import connections

from members.services.sold import Sold, SoldLine
from tenants.routers import CLIENT


class Back(NamedTuple):
    """A return or void, as far as reversing needs it: whose it is now, when it occurred, which sale it names."""

    source_id: UUID
    member_id: UUID
    occurred_at: datetime
    document: str = ""


@dataclass(slots=True)
class Waiting:
    """
    What of a return's line found no sale yet; `is_parked` once that is in the database.

    A return of all there is of a sale that has not arrived has no lines: one at position 0 stands for them, `amount` is
    what it all was sold for, and the lines are written when the sale is there.
    """

    back: Back
    line_id: UUID
    position: int
    sku: str
    left: Decimal
    amount: int = 0
    is_parked: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether it is about all of a sale, whatever that will be."""
        return self.position == 0

    def wants(self, sold: Sold) -> list[SoldLine]:
        """
        The lines of a sale that this may take from, in order.

        By number: the line at its own position, then those of its article. Without: those of its article, of a sale
        that occurred before.
        """
        if not self.back.document:
            if not self.sku or sold.occurred_at > self.back.occurred_at:
                return []
            return [line for line in reversed(sold.lines) if line.sku == self.sku]
        if self.back.document != sold.document:
            return []
        here = [one for one in sold.lines if one.position == self.position and self.sku in {"", one.sku}]
        return here + [one for one in sold.lines if self.sku and one.sku == self.sku and one not in here]


class WaitingRoom:
    """The returns of these members that wait for a sale, and those matched to one that was not credited yet."""

    def __init__(self) -> None:
        self._by_member: dict[UUID, list[Waiting]] = defaultdict(list)
        # By sale: what returns took of its lines before it was credited.
        self.taken_before: dict[UUID, list[tuple[Back, UUID, Decimal, Decimal]]] = defaultdict(list)
        # Which of the returns that may still be matched have traces already, and under which rules.
        self.traced: set[tuple[UUID, UUID]] = set()

    def load(self, *, sales: Sequence[UUID], member_ids: Iterable[UUID]) -> None:
        """Fetch what waits for these sales; asked only where a sale found that something does."""
        with connections[CLIENT].cursor() as cursor:
            cursor.execute(_SELECT_WAITING, [list(member_ids)])
            for source_id, member_id, occurred_at, document, line_id, position, sku, left, amount in cursor.fetchall():
                back = Back(source_id, member_id, occurred_at, document)
                self.add(Waiting(back, line_id, position, sku, left, amount, is_parked=True))
            cursor.execute(_SELECT_TAKEN_BEFORE, [list(sales)])
            for sale_id, sale_line, before, quantity, *back in cursor.fetchall():
                self.taken_before[sale_id].append((Back(*back), sale_line, before, quantity))
            cursor.execute(_SELECT_TRACED, [self._returns()])
            self.traced.update(cursor.fetchall())

    def _returns(self) -> list[UUID]:
        waiting = {one.back.source_id for line in self._by_member.values() for one in line}
        return list(waiting | {back.source_id for rows in self.taken_before.values() for back, *_ in rows})

    def add(self, waiting: Waiting) -> None:
        """Let it wait."""
        self._by_member[waiting.back.member_id].append(waiting)

    def of(self, member_id: UUID) -> list[list[Waiting]]:
        """What waits of this member, return by return, the oldest first."""
        by_return: dict[UUID, list[Waiting]] = defaultdict(list)
        for one in sorted(self._by_member.get(member_id, ()), key=_in_turn):
            if one.left > 0:
                by_return[one.back.source_id].append(one)
        return list(by_return.values())

    def all(self) -> Iterable[Waiting]:
        """Everything that waits or has waited in this batch."""
        return (one for line in self._by_member.values() for one in line)


def _in_turn(waiting: Waiting) -> tuple[datetime, UUID, int]:
    return waiting.back.occurred_at, waiting.back.source_id, waiting.position


_SELECT_WAITING = """
    WITH family AS (
        SELECT id AS kept, id FROM unnest(%s::uuid[]) AS k(id)
    ), selves AS (
        SELECT * FROM family
        UNION ALL SELECT f.kept, d.id FROM family f JOIN members_member d ON d.merged_into_id = f.kept
    )
    SELECT r.id, s.kept, r.occurred_at, r.sale_document, l.id, l.position, l.sku, k.quantity, -r.amount
    FROM selves s JOIN members_purchase r ON r.member_id = s.id AND r.kind = 'return' AND r.sale_id IS NULL
    JOIN members_purchaseline l ON l.purchase_id = r.id
    JOIN members_parkedreturn k ON k.line_id = l.id AND k.state = 'open'
    WHERE NOT EXISTS (SELECT FROM members_workitem w WHERE w.source_id = r.id)
"""
_SELECT_TAKEN_BEFORE = """
    SELECT s.purchase_id, s.id, m.before, m.quantity, r.id, COALESCE(w.merged_into_id, w.id), r.occurred_at
    FROM members_purchaseline s JOIN members_returnmatch m ON m.sale_line_id = s.id
    JOIN members_purchaseline l ON l.id = m.return_line_id JOIN members_purchase r ON r.id = l.purchase_id
    JOIN members_member w ON w.id = r.member_id
    WHERE s.purchase_id = ANY(%s::uuid[]) AND NOT EXISTS (SELECT FROM members_workitem i WHERE i.source_id = r.id)
    ORDER BY r.occurred_at, r.id, m.before
"""
_SELECT_TRACED = "SELECT source_id, rule_id FROM members_ruletrace WHERE source_id = ANY(%s::uuid[])"
