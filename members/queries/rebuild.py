# ruff: noqa: S608 (put together of constants; values travel apart)
"""
All derived state worked out afresh from what happened, and compared with what is stored.

Nothing is put right here: what differs is named, and a person mends it by a further entry.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from hashlib import blake2b
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from django.utils.translation import gettext_noop

from members.models import Member, TierStatus, WorkItem
from members.queries.invariants import LASTS, SHOWN
from members.queries.tiers import Judged, State, judge_states, states_of, tiers_since
from programs.queries import ProgramInForce


@dataclass(frozen=True, slots=True)
class Derived:
    """One derived table: what holds when it is sound; what is stored and what a rebuild gives, by `key`."""

    name: str
    key: str
    stored: str
    fresh: str


@dataclass(frozen=True, slots=True)
class Compared:
    """How a derived table compares: rows stored, the checksum of each side, how many rows differ, and some."""

    name: str
    rows: int
    stored: str
    fresh: str
    different: int
    examples: tuple[str, ...]

    @property
    def is_same(self) -> bool:
        """Whether a rebuild gives the same."""
        return self.stored == self.fresh and not self.different


@dataclass(frozen=True, slots=True)
class Counted:
    """What was counted, at a moment, as outstanding at the end of a day."""

    day: date
    outstanding: int
    at: datetime


def compare(
    *, cursor: Any, zone: str, tables: Iterable[Derived], counted: Sequence[Counted] = ()
) -> Iterator[Compared]:
    """Each derived table, and what was counted by day, beside what a rebuild gives, where `cursor` stands."""
    given = {
        "zone": zone,
        "days": [one.day for one in counted],
        "outstanding": [one.outstanding for one in counted],
        "counted": [one.at for one in counted],
    }
    for table in tables:
        sql = _COMPARE.format(stored=table.stored, fresh=table.fresh, key=table.key, shown=SHOWN)
        cursor.execute(sql, given)
        rows, stored, fresh, different, examples = cursor.fetchone()
        yield Compared(table.name, rows, stored, fresh, different, tuple(examples))


# The order of rows has no part in a checksum: it is the sum of the rows' own.
_COMPARE: Final = """
    WITH stored AS ({stored}), fresh AS ({fresh}), both_sides AS MATERIALIZED (
        SELECT hashtextextended(s::text, 0) AS stored, hashtextextended(f::text, 0) AS fresh,
               CASE WHEN s::text IS DISTINCT FROM f::text
                    THEN concat(COALESCE(s::text, '–'), ' → ', COALESCE(f::text, '–')) END AS difference
        FROM stored s FULL JOIN fresh f USING ({key})
    )
    SELECT count(stored), COALESCE(sum(stored), 0)::text, COALESCE(sum(fresh), 0)::text, count(difference),
           ARRAY(SELECT b.difference FROM both_sides b WHERE b.difference IS NOT NULL LIMIT {shown})
    FROM both_sides
"""

ACCOUNTS: Final = Derived(
    gettext_noop("accounts stand as a rebuild from their entries and lots gives"),
    key="id",
    stored="SELECT id, balance, in_lots, debt, slides_until, newest FROM members_pointsaccount",
    fresh=f"""
        SELECT a.id, COALESCE(e.total, 0)::bigint AS balance, (COALESCE(l.total, 0) - COALESCE(x.total, 0))::bigint
               AS in_lots, (COALESCE(l.total, 0) - COALESCE(x.total, 0) - COALESCE(e.total, 0))::bigint AS debt,
               s.until AS slides_until,
               (SELECT n.id FROM members_ledgerentry n WHERE n.account_id = a.id ORDER BY n.id DESC LIMIT 1) AS newest
        FROM members_pointsaccount a
        LEFT JOIN (SELECT account_id, sum(amount) AS total FROM members_ledgerentry GROUP BY 1) AS e
             ON e.account_id = a.id
        LEFT JOIN (SELECT l.account_id, sum(e.amount) AS total FROM members_lot l
                   JOIN members_ledgerentry e ON e.id = l.entry_id GROUP BY 1) AS l ON l.account_id = a.id
        LEFT JOIN (SELECT l.account_id, sum(x.amount) AS total FROM members_allocation x
                   JOIN members_lot l ON l.entry_id = x.lot_id GROUP BY 1) AS x ON x.account_id = a.id
        LEFT JOIN ({LASTS}) AS s ON s.account_id = a.id""",
)
LOTS: Final = Derived(
    gettext_noop("lots hold what a rebuild from entries, allocations and open holds gives"),
    key="entry_id",
    stored="SELECT entry_id, remaining, held FROM members_lot",
    fresh="""
        SELECT e.id AS entry_id, (e.amount - COALESCE(x.total, 0))::bigint AS remaining,
               COALESCE(h.total, 0)::bigint AS held
        FROM members_ledgerentry e
        LEFT JOIN (SELECT lot_id, sum(amount) AS total FROM members_allocation GROUP BY 1) AS x ON x.lot_id = e.id
        LEFT JOIN (SELECT p.lot_id, sum(p.amount) AS total FROM members_holdlot p
                   JOIN members_hold h ON h.id = p.hold_id WHERE h.state = 'held' GROUP BY 1) AS h ON h.lot_id = e.id
        WHERE e.amount > 0 AND e.kind <> 'restore'""",
)
LINES: Final = Derived(
    gettext_noop("sale lines remember what a rebuild from returns gives"),
    key="id",
    stored="SELECT id, returned FROM members_purchaseline WHERE returned <> 0",
    fresh="""
        SELECT m.sale_line_id AS id, sum(m.quantity)::numeric(14, 3) AS returned FROM members_returnmatch m
        GROUP BY m.sale_line_id""",
)
INSIGHTS: Final = Derived(
    gettext_noop("members' purchases are counted as a rebuild from their receipts gives"),
    key="member_id",
    stored="""
        SELECT member_id, purchases, spend, first_day, last_day, last_visit FROM members_insight
        WHERE purchases <> 0 OR spend <> 0 OR last_visit IS NOT NULL""",
    fresh="""
        SELECT COALESCE(m.merged_into_id, m.id) AS member_id, (count(*) FILTER (WHERE r.is_sale))::integer AS purchases,
               sum(r.amount)::bigint AS spend, min(r.day) FILTER (WHERE r.is_sale) AS first_day,
               max(r.day) FILTER (WHERE r.is_sale) AS last_day,
               max(r.day) FILTER (WHERE r.is_sale OR r.is_visit) AS last_visit
        FROM (SELECT id, member_id, kind = 'sale' AS is_sale, false AS is_visit, amount, day FROM members_purchase
              UNION ALL
              SELECT id, member_id, amount > 0, kind = 'visit', amount, day FROM members_activity
              WHERE amount > 0 OR kind = 'visit') AS r
        JOIN members_member m ON m.id = r.member_id
        WHERE NOT EXISTS (SELECT 1 FROM members_workitem w WHERE w.source_id = r.id)
        GROUP BY 1 HAVING bool_or(r.is_sale OR r.is_visit) OR sum(r.amount) <> 0""",
)
# A day of which something was told, or was on its way, after it was counted is left to the next count.
_TOLD: Final = """
    SELECT t.day, t.outstanding, sum(m.total)::bigint AS total
    FROM unnest(%(days)s::date[], %(outstanding)s::bigint[], %(counted)s::timestamptz[])
         AS t(day, outstanding, counted_at)
    LEFT JOIN (SELECT (occurred_at AT TIME ZONE %(zone)s)::date AS day, sum(amount) AS total, max(at) AS newest
               FROM members_ledgerentry GROUP BY 1) AS m ON m.day <= t.day
    GROUP BY t.day, t.outstanding, t.counted_at
    HAVING COALESCE(max(m.newest) <= t.counted_at - interval '10 minutes', true)
"""
DAYS: Final = Derived(
    gettext_noop("what was counted as outstanding at the end of each day is what a rebuild from entries gives"),
    key="day",
    stored=f"SELECT day, outstanding FROM ({_TOLD}) AS t",
    fresh=f"SELECT day, COALESCE(total, 0)::bigint AS outstanding FROM ({_TOLD}) AS t",
)

DERIVED: Final = (ACCOUNTS, LOTS, LINES, INSIGHTS, DAYS)

TIERS: Final = gettext_noop("members hold the tiers that their history gives")
_PART: Final = 5000
A_TURN: Final = 50_000


@dataclass
class _Tally:
    """Checksums of both sides of a comparison that is made row by row."""

    rows: int = 0
    stored: int = 0
    fresh: int = 0
    different: int = 0
    examples: list[str] = field(default_factory=list)

    def note(self, stored: str, fresh: str) -> None:
        """One row as it is stored and as a rebuild gives it."""
        self.rows, self.stored, self.fresh = self.rows + 1, self.stored + _hash(stored), self.fresh + _hash(fresh)
        if stored != fresh:
            self.different += 1
            self.examples += [f"{stored} → {fresh}"][: SHOWN - len(self.examples)]


def compare_tiers(*, program: ProgramInForce, zone: ZoneInfo, day: date | None = None) -> Compared:
    """
    The tiers held beside what the pure function of each member's history gives, as of when each was last judged.

    With a `day`, of very many members only that day's share: history is long, and all have their turn within days.

    Members of whom something waits, and those whom a night has yet to judge by new tiers, are left to the next proof.
    """
    tally, since = _Tally(), tiers_since(program)
    waiting = set(WorkItem.objects.values_list("member_id", flat=True))
    judged = TierStatus.objects.filter(settled_at__gt=since, member__status=Member.Status.ACTIVE)
    member_ids = [pk for pk in judged.order_by("pk").values_list("pk", flat=True) if pk not in waiting]
    member_ids = list(turn(member_ids, day=day)) if day else member_ids
    for start in range(0, len(member_ids), _PART):
        states = states_of(member_ids[start : start + _PART])
        moments: dict[UUID, datetime] = {s.member_id: s.settled_at for s in states if s.settled_at}
        found = judge_states(states=states, moments=moments, program=program, zone=zone)
        for state in states:
            tally.note(_tier_row(state.member_id, state), _tier_row(state.member_id, found[state.member_id]))
    return Compared(TIERS, tally.rows, str(tally.stored), str(tally.fresh), tally.different, tuple(tally.examples))


def turn(member_ids: Sequence[UUID], *, day: date, most: int = A_TURN) -> Sequence[UUID]:
    """Whose turn it is on a day: everybody's up to `most`, of more every so many-th."""
    parts = -(-len(member_ids) // most) or 1
    return member_ids[day.toordinal() % parts :: parts]


def _tier_row(member_id: UUID, one: State | Judged) -> str:
    return f"({member_id},{one.tier},{one.earned},{one.basis},{one.period_ends_at})"


def _hash(row: str) -> int:
    return int.from_bytes(blake2b(row.encode(), digest_size=8).digest(), "big")
