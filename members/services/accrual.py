"""
Crediting what waits: rules → traces → entries and lots → tiers and insights, a batch of members at a time.

Members are locked and their purchases taken in order of occurrence, so several workers share a client's backlog
without a member's return ever passing its sale.
"""

import gc
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import connections

from members import ledger
from members.copying import array, copy_lines, text
from members.models import WorkItem
from members.services import insights, points, tiers
from members.services.known import (
    Known,
    load_known,
    load_rule_states,
    lock_budgets,
    needs_rule_states,
    save_budgets,
    save_rule_states,
)
from members.services.returns import TRACE, TakenBack
from members.services.sold import Sold
from members.services.waiting import Back
from programs.queries import ProgramInForce
from programs.rules import Evaluation, Event, EventKind, Line, Outcome, evaluate
from tenants.keys import as_uuid
from tenants.routers import CLIENT

MAX_ATTEMPTS = 3
# Rules that look at tier or segment see what the purchase before has made of them.
_JUDGED_BETWEEN = frozenset({"tier", "segment"})
# Of what a member has among the claimed items, so many times as much is taken: it makes fewer, fuller batches.
_AT_ONCE = 4


@dataclass(frozen=True)
class Credited:
    """What one batch did; `taken_back` names each return with a sale that it took from."""

    purchases: int = 0
    member_ids: tuple[UUID, ...] = ()
    taken_back: tuple[tuple[Back, UUID], ...] = ()


NOTHING = Credited()


class ItemLine(NamedTuple):
    """One line of a waiting purchase, as the database's JSON has it."""

    id: str
    position: int
    sku: str
    category: str
    quantity: str
    amount: int
    earning: bool
    sale_line_id: str | None
    returned: str = "0"


@dataclass(slots=True)
class Item:
    """
    One waiting purchase or activity with all that its crediting needs.

    A sale is `awaited` when a return came before it: one that names it, one without a receipt, or one taken from it
    while it could not be credited.
    """

    source_id: UUID
    # The id as it is written, once instead of in every row.
    key: str
    member_id: UUID
    kind: str
    occurred_at: datetime
    day: date
    amount: int
    channel: str
    location: str
    sale_id: UUID | None
    activity: str
    document: str
    sale_document: str
    paid_by_points: int
    awaited: bool
    properties: dict[str, Any]
    rows: Sequence[Sequence[Any]]

    @property
    def lines(self) -> list[ItemLine]:
        """Its rows by name, for the few who need more of them than the rules do."""
        return [ItemLine._make(row) for row in self.rows]

    @property
    def is_activity(self) -> bool:
        return bool(self.activity)

    @property
    def takes_back(self) -> bool:
        return self.kind in {"return", "void"}


def credit_waiting(*, program: ProgramInForce, at: datetime, zone: ZoneInfo, limit: int = 500) -> Credited:
    """
    Credit one batch inside the caller's transaction: all effects of an item, and its work item gone, or nothing.

    Returns NOTHING when nothing waits that another worker does not hold.
    """
    claimed, left = _claim(limit)
    if not claimed:
        return NOTHING
    one_each = limit == 1 or bool(program.compiled.needs & _JUDGED_BETWEEN)
    with _no_garbage_sought():
        items = _take({member_id: 1 if one_each else n * _AT_ONCE for member_id, n in claimed.items()})
        batch = Batch(program=program, at=at, zone=zone, items=items)
        batch.run()
    points.leave_nothing(member_ids=left, at=at, zone=zone)
    touched = tuple(sorted({item.member_id for item in items}))
    tiers.settle(member_ids=touched, as_of=_latest(items), earliest=_earliest(items, batch), program=program)
    insights.refresh(member_ids=touched, at=at, zone=zone)
    return Credited(purchases=len(items), member_ids=touched, taken_back=tuple(batch.returns.pairs))


@contextmanager
def _no_garbage_sought() -> Iterator[None]:
    """A batch's many small objects all live to its end: looking for cycles among them costs a tenth of its time."""
    was_sought = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_sought:
            gc.enable()


def _latest(items: Iterable[Item]) -> dict[UUID, datetime]:
    latest: dict[UUID, datetime] = {}
    for item in items:
        latest[item.member_id] = max(item.occurred_at, latest.get(item.member_id, item.occurred_at))
    return latest


def _earliest(items: Iterable[Item], batch: "Batch") -> dict[UUID, datetime]:
    """The earliest of what each member did, and of the returns that had waited for one of it."""
    earliest: dict[UUID, datetime] = {}
    happened = [(item.member_id, item.occurred_at) for item in items]
    for member_id, at in (*happened, *((back.member_id, back.occurred_at) for back, _sale in batch.returns.pairs)):
        earliest[member_id] = min(at, earliest.get(member_id, at))
    return earliest


class Batch:
    """Items of locked members, evaluated in memory and written at once."""

    def __init__(self, *, program: ProgramInForce, at: datetime, zone: ZoneInfo, items: Sequence[Item]) -> None:
        self.program, self.at, self.zone, self.items = program, at, zone, items
        member_ids = sorted({item.member_id for item in items})
        self.known = load_known(member_ids=member_ids, program=program)
        self.keeps_states = needs_rule_states(program)
        self.budgets = lock_budgets(program) if "budget" in program.compiled.needs else {}
        self._budgets_before = dict(self.budgets)
        self.book = ledger.Book(member_ids=member_ids, at=at, zone=zone, with_lots=False)
        self.returns = TakenBack(book=self.book, program=program, known=self.known, budgets=self.budgets, at=at)
        self._rules = {code: str(rule_id) for code, rule_id in program.rule_ids.items()}

    def run(self) -> None:
        """Evaluate every item, each member's in order of occurrence, and write what comes of it."""
        self._load()
        traces = self._evaluated()
        self._write(list(traces) if self._asks_again else traces)

    def _load(self) -> None:
        back = [item for item in self.items if item.takes_back]
        awaited = [item for item in self.items if item.awaited]
        self.book.load_lots({item.member_id for item in (*back, *awaited)})
        self.returns.load(returns=back, awaited=awaited)
        if not self.keeps_states and self.returns.gives_back_state:
            self.keeps_states = True
            load_rule_states(self.known)

    @property
    def _asks_again(self) -> bool:
        """Whether the database may be asked for something while items are evaluated: the lots that a deed saves."""
        return any(unit.expiry == "sliding" for unit in self.program.units.values())

    def _evaluated(self) -> Iterator[str]:
        """The traces of item after item; what else comes of them gathers in the book, the returns and what is known."""
        traces = self.returns.traces
        for item in self.items:
            if item.takes_back:
                self._take_back(item)
            else:
                self._credit(item)
            yield from traces
            traces.clear()

    def _credit(self, item: Item) -> None:
        known = self.known[item.member_id]
        event = event_of(item, zone=self.zone)
        made = evaluate(self.program.compiled, event, known.state, self.budgets)
        if self.keeps_states:
            known.touched_rules.update([outcome.code for outcome in made.outcomes])
        entries = self._earn(item=item, known=known, made=made)
        rules = self._rules
        self.returns.traces += [_trace(item.key, rules[outcome.code], outcome) for outcome in made.outcomes]
        if item.amount > 0 or not item.is_activity:
            # A trip that was paid for is bought like anything else.
            known.insight.note_sale(amount=item.amount, day=item.day)
        if not item.is_activity:
            if self.returns.wanted:
                self.returns.remember(Sold.of(item=item, made=made, entries=entries, program=self.program))
        elif item.activity == "visit":
            known.insight.note_visit(day=item.day)
        # What the next item of this batch sees is what it would see in a batch of its own.
        known.state.purchases, known.state.last_visit = known.insight.purchases, known.insight.last_visit

    def _earn(self, *, item: Item, known: Known, made: Evaluation) -> dict[str, UUID]:
        entries = {}
        for code, amount in made.credits.items():
            if amount <= 0:
                continue
            unit = self.program.units[code]
            account = known.accounts.get(code)
            if account is None:
                account = known.accounts[code] = self.book.account(member_id=item.member_id, unit=unit)
            cause = ledger.Cause(
                key=f"earn:{item.key}:{code}",
                occurred_at=item.occurred_at,
                purchase_id=None if item.is_activity else item.source_id,
                activity_id=item.source_id if item.is_activity else None,
            )
            entries[code] = self.book.earn(account=account, unit=unit, amount=amount, cause=cause, day=item.day)
        return entries

    def _take_back(self, item: Item) -> None:
        self.returns.take_back(item)
        self.known[item.member_id].insight.note_return(amount=item.amount)

    def _write(self, traces: Iterable[str]) -> None:
        """
        Send everything to the database; the work items go last.

        The traces go first, while their items are being evaluated: so both processors are at work.
        """
        with connections[CLIENT].cursor() as cursor:
            copy_lines(cursor=cursor, table="members_ruletrace", columns=TRACE, lines=traces)
            self.book.write()
            self.returns.write()
            if self.keeps_states:
                save_rule_states(cursor=cursor, known=self.known)
            save_budgets(cursor=cursor, moved=self._budgets_moved())
            insights.save(cursor=cursor, figures={i: k.insight for i, k in self.known.items()})
            cursor.execute(_REMOVE_ITEMS, ["{" + ",".join([item.key for item in self.items]) + "}"])

    def _budgets_moved(self) -> dict[str, int]:
        """By how much more of each budget is used than before."""
        moved = {code: before - self.budgets[code] for code, before in self._budgets_before.items()}
        return {code: used for code, used in {**self.returns.old_budgets, **moved}.items() if used}


def event_of(item: Item, *, zone: ZoneInfo) -> Event:
    """What the rules see of an item."""
    kind: EventKind = "sale"
    if item.is_activity:
        kind = item.activity if item.activity in {"sign_up", "birthday"} else "activity"  # type: ignore[assignment]
    return Event(
        kind=kind,
        local=item.occurred_at.astimezone(zone),
        day=item.day,
        amount=item.amount,
        lines=tuple(
            [
                Line(position, sku, category, _quantity(quantity), amount, earning)
                for _id, position, sku, category, quantity, amount, earning, *_rest in item.rows
            ]
        ),
        location=item.location,
        channel=item.channel,
        activity=item.activity,
        paid_by_points=item.paid_by_points,
        properties={k: v if isinstance(v, str) else Decimal(str(v)) for k, v in item.properties.items()},
    )


def _trace(source_id: str, rule_id: str, outcome: Outcome) -> str:
    _code, _unit, result, amount, line_amounts, reason, given = outcome
    lines = array(line_amounts) if amount else "{}"
    detail = text(_detail(given)) if given else "{}"
    return f"{source_id}\t{rule_id}\t{result}\t{amount}\t{lines}\t{reason}\t{detail}"


def _detail(detail: Mapping[str, int | str]) -> str:
    """As JSON; most hold a number or two, for which the encoder's preparations would take longest."""
    return "{" + ", ".join([f'"{k}": {v if type(v) is int else json.dumps(v)}' for k, v in detail.items()]) + "}"


# Most quantities are small whole numbers.
_quantity = lru_cache(maxsize=4096)(Decimal)


# ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _claim(limit: int) -> tuple[dict[UUID, int], list[UUID]]:
    """
    Lock the members of so many waiting items; how many of these are each member's, and which members have left.

    What waits for a merged double is handed to the member kept first.
    """
    with connections[CLIENT].cursor() as cursor:
        while True:
            cursor.execute(_CLAIM_MEMBERS, [limit])
            rows = cursor.fetchall()
            doubles = [member_id for member_id, kept_id, _items, _left in rows if kept_id]
            if not doubles:
                left = [member_id for member_id, _kept, _items, has_left in rows if has_left]
                return {member_id: items for member_id, _kept, items, _left in rows}, left
            cursor.execute(_HAND_TO_KEPT, [doubles])


def _take(shares: Mapping[UUID, int]) -> list[Item]:
    """So many items of each of these members, the earliest first."""
    with connections[CLIENT].cursor() as cursor:
        cursor.execute(_SELECT_ITEMS, {"members": list(shares), "shares": list(shares.values())})
        rows = cursor.fetchall()
    # All lines in one go, and one object for all items of a member: looking up what is known of them compares nothing.
    lines = json.loads("[" + ",".join([row[-1] or "[]" for row in rows]) + "]")
    members = list(shares)
    return [_item(row, members, of_it) for row, of_it in zip(rows, lines, strict=True)]


def _item(row: tuple[Any, ...], members: Sequence[UUID], lines: Sequence[Sequence[Any]]) -> Item:
    key, place, *plain, properties, _lines = row
    values: list[Any] = [json.loads(properties) if properties else {}, lines]
    return Item(as_uuid(int(key.replace("-", ""), 16)), key, members[place - 1], *plain, *values)


# ── when a batch fails ──────────────────────────────────────────────────────────────────────────────────────────────


def note_failure(*, error: BaseException, at: datetime) -> list[UUID]:
    """
    Count a failed attempt on the item that a batch of one would have taken; the third sets it aside.

    Runs in a transaction of its own, after the batch's has been rolled back. Returns the members concerned.
    """
    claimed, _left = _claim(1)
    items = _take(claimed)
    with connections[CLIENT].cursor() as cursor:
        cursor.execute(
            _COUNT_ATTEMPT,
            {"items": [i.source_id for i in items], "error": repr(error)[:500], "most": MAX_ATTEMPTS, "at": at},
        )
    return [item.member_id for item in items]


def waiting() -> int:
    """How many items wait in this client, those set aside not counted."""
    return WorkItem.objects.filter(quarantined_at=None).count()


def is_waiting() -> bool:
    """Whether anything waits, however much it is."""
    return WorkItem.objects.filter(quarantined_at=None).exists()


_CLAIM_MEMBERS = """
    WITH next AS (
        SELECT member_id, count(*) AS items
        FROM (SELECT member_id FROM members_workitem WHERE quarantined_at IS NULL ORDER BY source_id LIMIT %s) AS w
        GROUP BY member_id
    )
    SELECT m.id, m.merged_into_id, n.items, m.status = 'closed' FROM members_member m JOIN next n ON n.member_id = m.id
    ORDER BY m.id FOR NO KEY UPDATE OF m SKIP LOCKED
"""
_HAND_TO_KEPT = """
    UPDATE members_workitem w SET member_id = m.merged_into_id
    FROM members_member m WHERE m.id = w.member_id AND m.id = ANY(%s::uuid[])
"""
# Of each member so many, the earliest first: what it costs depends on the batch, not on how many wait.
_SELECT_ITEMS = """
    WITH t AS (
        SELECT w.*, c.place
        FROM unnest(%(members)s::uuid[], %(shares)s::int[]) WITH ORDINALITY AS c(member_id, share, place)
        CROSS JOIN LATERAL (
            SELECT w.source_id, w.member_id, w.occurred_at FROM members_workitem w
            WHERE w.member_id = c.member_id AND w.quarantined_at IS NULL
            ORDER BY w.occurred_at, w.source_id LIMIT c.share
        ) AS w
    ), parked AS (
        SELECT COALESCE(d.merged_into_id, d.id) AS member_id, max(r.occurred_at) AS latest
        FROM members_parkedreturn k JOIN members_purchaseline b ON b.id = k.line_id
        JOIN members_purchase r ON r.id = b.purchase_id AND r.kind = 'return'
        JOIN members_member d ON d.id = r.member_id
        WHERE k.state = 'open' AND COALESCE(d.merged_into_id, d.id) = ANY(%(members)s::uuid[]) GROUP BY 1
    )
    SELECT t.source_id::text, t.place, COALESCE(p.kind, 'activity'), COALESCE(p.occurred_at, a.occurred_at),
           COALESCE(p.day, a.day), COALESCE(p.amount, a.amount), COALESCE(p.channel, a.channel),
           COALESCE(o.code, ''), p.sale_id, COALESCE(a.kind, ''), COALESCE(p.document, ''),
           COALESCE(p.sale_document, ''), COALESCE(p.paid_by_points, 0),
           COALESCE(p.kind = 'sale' AND (
               l.came_back OR k.latest >= p.occurred_at
               OR EXISTS (SELECT FROM members_purchase r
                          WHERE r.sale_document = p.document AND r.sale_id IS NULL AND r.sale_document <> '')),
               false),
           a.properties::text, l.lines
    FROM t
    LEFT JOIN members_purchase p ON p.id = t.source_id
    LEFT JOIN LATERAL (
        SELECT json_agg(json_build_array(l.id, l.position, l.sku, l.category, l.quantity::text, l.amount, l.earning,
                                         l.sale_line_id, l.returned::text) ORDER BY l.position)::text AS lines,
               bool_or(l.returned > 0) AS came_back
        FROM members_purchaseline l WHERE l.purchase_id = p.id
    ) AS l ON true
    LEFT JOIN parked k ON k.member_id = t.member_id
    LEFT JOIN members_activity a ON a.id = t.source_id
    LEFT JOIN programs_location o ON o.id = COALESCE(p.location_id, a.location_id)
    ORDER BY t.place, t.occurred_at, t.source_id
"""
_REMOVE_ITEMS = "DELETE FROM members_workitem WHERE source_id = ANY(%s::uuid[])"
_COUNT_ATTEMPT = """
    UPDATE members_workitem SET attempts = attempts + 1, error = %(error)s,
           quarantined_at = CASE WHEN attempts + 1 >= %(most)s THEN %(at)s END
    WHERE source_id = ANY(%(items)s::uuid[])
"""
