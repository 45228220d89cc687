# ruff: noqa: S608 (put together of constants; values travel apart)
"""
What must hold in a client's books at any moment when no transaction is open: each law a sentence, and plain SQL that
answers what breaks it, an id first.

The one module of them: tests ask them after every test, `make prove` while it does its worst, workers each night for
every client (`loyalty_saas/flows/proofs.py`), and `manage.py prove_books` whenever somebody wants to know.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.utils.translation import gettext_noop

SHOWN: Final = 3
# Nights run within hours: what a night ought to have done is asked for only when it is two days old.
NIGHTS: Final = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class Law:
    """What holds, as a sentence, and the SQL whose rows break it; it may ask for `zone` and `before`."""

    name: str
    sql: str


@dataclass(frozen=True, slots=True)
class Breach:
    """A law that does not hold: how many rows break it, and some of them."""

    name: str
    rows: int
    examples: tuple[str, ...]


def breaches(*, cursor: Any, zone: str, at: datetime | None, laws: Iterable[Law]) -> Iterator[Breach]:
    """
    The laws that do not hold where `cursor` stands.

    With `at`, also what nights ought to have done by then; without it they are not asked for.
    """
    given = {"zone": zone, "before": at - NIGHTS if at else None}
    for law in laws:
        cursor.execute(_COUNT.format(law.sql, shown=SHOWN), given)
        rows, examples = cursor.fetchone()
        if rows:
            yield Breach(law.name, rows, tuple(examples))


_COUNT = """
    WITH broken AS MATERIALIZED ({})
    SELECT (SELECT count(*) FROM broken), ARRAY(SELECT b::text FROM broken AS b LIMIT {shown})
"""

# When an account that slides ends: so many months, as promised when the entry was made, after its newest deed.
LASTS: Final = """
    WITH version AS (
        SELECT p.document, p.published_at AS since,
               lead(p.published_at, 1, 'infinity') OVER (ORDER BY p.version) AS until,
               row_number() OVER (ORDER BY p.version) AS place
        FROM programs_program p WHERE p.status <> 'draft'
    ), promised AS (
        SELECT u.id AS unit_id, (d.unit -> 'expiry' ->> 'months')::integer AS months, v.until,
               CASE WHEN v.place = 1 THEN '-infinity' ELSE v.since END AS since
        FROM version v CROSS JOIN LATERAL jsonb_array_elements(v.document -> 'units') AS d(unit)
        JOIN programs_unittype u ON u.code = d.unit ->> 'code'
        WHERE d.unit -> 'expiry' ->> 'policy' = 'sliding'
    )
    SELECT e.account_id, max((((e.occurred_at AT TIME ZONE %(zone)s)::date
                               + make_interval(months => p.months))::date + 1)::timestamp
                             AT TIME ZONE %(zone)s) AS until
    FROM (SELECT DISTINCT unit_id FROM promised) AS s
    JOIN members_pointsaccount a ON a.unit_id = s.unit_id JOIN members_ledgerentry e ON e.account_id = a.id
    JOIN promised p ON p.unit_id = a.unit_id AND e.at >= p.since AND e.at < p.until
    WHERE e.kind IN ('earn', 'spend') OR e.kind IN ('adjust', 'move') AND e.amount > 0
    GROUP BY e.account_id
"""

LAWS: Final = (
    Law(
        gettext_noop("balance is the sum of the entries"),
        """
        SELECT a.id, a.balance, COALESCE(sum(e.amount), 0) FROM members_pointsaccount a
        LEFT JOIN members_ledgerentry e ON e.account_id = a.id GROUP BY a.id
        HAVING a.balance <> COALESCE(sum(e.amount), 0)""",
    ),
    Law(
        gettext_noop("in_lots is what remains in the lots"),
        """
        SELECT a.id, a.in_lots, COALESCE(sum(l.remaining), 0) FROM members_pointsaccount a
        LEFT JOIN members_lot l ON l.account_id = a.id GROUP BY a.id
        HAVING a.in_lots <> COALESCE(sum(l.remaining), 0)""",
    ),
    Law(
        gettext_noop("balance is what the lots hold less the debt"),
        """
        SELECT id, balance, in_lots, debt FROM members_pointsaccount WHERE balance <> in_lots - debt OR debt < 0""",
    ),
    Law(
        gettext_noop("debt only where the unit allows it"),
        """
        SELECT id, debt FROM members_pointsaccount WHERE debt > 0 AND NOT may_owe""",
    ),
    Law(
        gettext_noop("each entry carries the balance it left"),
        """
        SELECT id, balance_after, running FROM (
            SELECT e.id, e.balance_after, sum(e.amount) OVER (PARTITION BY e.account_id ORDER BY e.id) AS running
            FROM members_ledgerentry e) AS r WHERE balance_after <> running""",
    ),
    Law(
        gettext_noop("a lot holds its entry's points less its allocations"),
        """
        SELECT l.entry_id, l.remaining, e.amount, x.taken FROM members_lot l
        JOIN members_ledgerentry e ON e.id = l.entry_id
        LEFT JOIN (SELECT lot_id, sum(amount) AS taken FROM members_allocation GROUP BY lot_id) AS x
             ON x.lot_id = l.entry_id
        WHERE l.remaining <> e.amount - COALESCE(x.taken, 0) OR l.remaining < 0 OR l.remaining > e.amount""",
    ),
    Law(
        gettext_noop("a lot stands in its entry's account"),
        """
        SELECT l.entry_id FROM members_lot l JOIN members_ledgerentry e ON e.id = l.entry_id
        WHERE l.account_id <> e.account_id""",
    ),
    Law(
        gettext_noop("every credit opens a lot"),
        """
        SELECT e.id FROM members_ledgerentry e LEFT JOIN members_lot l ON l.entry_id = e.id
        WHERE l.entry_id IS NULL AND e.amount > 0 AND e.kind <> 'restore'""",
    ),
    Law(
        gettext_noop("allocations stay within one account"),
        """
        SELECT x.id FROM members_allocation x JOIN members_ledgerentry e ON e.id = x.entry_id
        JOIN members_lot l ON l.entry_id = x.lot_id WHERE l.account_id <> e.account_id""",
    ),
    Law(
        gettext_noop("what is spent, expired or given back is allocated in full"),
        """
        SELECT e.id, e.kind, e.amount, COALESCE(sum(x.amount), 0) FROM members_ledgerentry e
        LEFT JOIN members_allocation x ON x.entry_id = e.id
        WHERE e.kind IN ('spend', 'expire', 'restore') GROUP BY e.id
        HAVING -e.amount <> COALESCE(sum(x.amount), 0)""",
    ),
    Law(
        gettext_noop("nothing is taken from lots beyond an entry's amount"),
        """
        SELECT e.id, e.kind, e.amount, sum(x.amount) FROM members_ledgerentry e
        JOIN members_allocation x ON x.entry_id = e.id WHERE e.amount < 0 GROUP BY e.id
        HAVING sum(x.amount) > -e.amount""",
    ),
    Law(
        gettext_noop("what is held is what open holds pin"),
        """
        SELECT l.entry_id, l.held, COALESCE(sum(p.amount), 0) FROM members_lot l
        LEFT JOIN (SELECT x.lot_id, x.amount FROM members_holdlot x JOIN members_hold h ON h.id = x.hold_id
                   WHERE h.state = 'held') AS p ON p.lot_id = l.entry_id
        GROUP BY l.entry_id HAVING l.held <> COALESCE(sum(p.amount), 0) OR l.held > l.remaining""",
    ),
    Law(
        gettext_noop("an open hold pins all it asks for"),
        """
        SELECT h.id, h.amount, COALESCE(sum(x.amount), 0) FROM members_hold h
        LEFT JOIN members_holdlot x ON x.hold_id = h.id WHERE h.state = 'held' GROUP BY h.id
        HAVING h.amount <> COALESCE(sum(x.amount), 0)""",
    ),
    Law(
        gettext_noop("a captured hold was spent in full"),
        """
        SELECT h.id, h.amount, e.amount FROM members_hold h JOIN members_ledgerentry e ON e.id = h.entry_id
        WHERE h.state = 'captured' AND (e.kind <> 'spend' OR e.amount <> -h.amount)""",
    ),
    Law(
        gettext_noop("a sale is traced once by each rule"),
        """
        SELECT t.source_id, r.code FROM members_ruletrace t JOIN programs_earningrule r ON r.id = t.rule_id
        LEFT JOIN members_purchase p ON p.id = t.source_id
        WHERE COALESCE(p.kind, 'sale') = 'sale' AND t.reason <> 'taken_back'
        GROUP BY t.source_id, r.code HAVING count(*) > 1""",
    ),
    Law(
        gettext_noop("every earning is the sum of its traces"),
        """
        WITH traced AS (
            SELECT t.source_id, r.unit_id, sum(t.amount) AS amount FROM members_ruletrace t
            JOIN programs_earningrule r ON r.id = t.rule_id
            LEFT JOIN members_purchase p ON p.id = t.source_id
            WHERE COALESCE(p.kind, 'sale') = 'sale' AND t.reason <> 'taken_back' GROUP BY 1, 2
        ), earned AS (
            SELECT COALESCE(e.purchase_id, e.activity_id) AS source_id, a.unit_id, sum(e.amount) AS amount
            FROM members_ledgerentry e JOIN members_pointsaccount a ON a.id = e.account_id
            WHERE e.kind = 'earn' GROUP BY 1, 2
        )
        SELECT source_id, t.amount, e.amount FROM traced t FULL JOIN earned e USING (source_id, unit_id)
        WHERE COALESCE(t.amount, 0) <> COALESCE(e.amount, 0)""",
    ),
    Law(
        gettext_noop("a trace's lines add up to it"),
        """
        SELECT source_id, amount, line_amounts FROM members_ruletrace
        WHERE cardinality(line_amounts) > 0 AND amount <> (SELECT sum(one) FROM unnest(line_amounts) AS r(one))""",
    ),
    Law(
        gettext_noop("a return takes back no more than its sale earned"),
        """
        SELECT e.id, e.amount, sum(b.amount) FROM members_ledgerentry e
        JOIN members_ledgerentry b ON b.corrects_id = e.id AND b.kind = 'reverse'
        WHERE e.kind = 'earn' GROUP BY e.id HAVING -sum(b.amount) > e.amount""",
    ),
    Law(
        gettext_noop("what came back of a line is what returns took of it"),
        """
        SELECT l.id, l.returned, m.taken FROM members_purchaseline l
        LEFT JOIN (SELECT sale_line_id, sum(quantity) AS taken FROM members_returnmatch GROUP BY sale_line_id) AS m
             ON m.sale_line_id = l.id
        WHERE l.returned <> COALESCE(m.taken, 0)""",
    ),
    Law(
        gettext_noop("returns of a line take one part after the other"),
        """
        SELECT sale_line_id, before, reached FROM (
            SELECT m.sale_line_id, m.before,
                   COALESCE(sum(m.quantity) OVER (PARTITION BY m.sale_line_id ORDER BY m.before
                            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS reached
            FROM members_returnmatch m) AS r WHERE before <> reached""",
    ),
    Law(
        gettext_noop("a credited return is matched or parked, to the last piece"),
        """
        SELECT l.id, l.quantity, m.quantity, p.quantity FROM members_purchaseline l
        JOIN members_purchase d ON d.id = l.purchase_id AND d.kind <> 'sale'
        LEFT JOIN (SELECT return_line_id, sum(quantity) AS quantity FROM members_returnmatch GROUP BY 1) AS m
             ON m.return_line_id = l.id
        LEFT JOIN members_parkedreturn p ON p.line_id = l.id
        WHERE NOT EXISTS (SELECT 1 FROM members_workitem w WHERE w.source_id = d.id)
          AND -l.quantity <> COALESCE(m.quantity, 0) + COALESCE(p.quantity, 0)""",
    ),
    Law(
        gettext_noop("what is credited waits no more"),
        """
        SELECT w.source_id FROM members_workitem w
        WHERE EXISTS (SELECT 1 FROM members_ledgerentry e WHERE w.source_id IN (e.purchase_id, e.activity_id))
           OR EXISTS (SELECT 1 FROM members_ruletrace t WHERE t.source_id = w.source_id)""",
    ),
    Law(
        gettext_noop("a move stands twice, in two accounts of one unit, and the two sum to nothing"),
        """
        WITH move AS (
            SELECT e.id, e.corrects_id, e.amount, e.account_id, a.unit_id FROM members_ledgerentry e
            JOIN members_pointsaccount a ON a.id = e.account_id WHERE e.kind = 'move'
        ), named AS (
            SELECT corrects_id AS id, count(*) AS times FROM move WHERE corrects_id IS NOT NULL GROUP BY corrects_id
        )
        SELECT m.id, m.amount FROM move m LEFT JOIN move o ON o.id = m.corrects_id LEFT JOIN named n ON n.id = m.id
        WHERE CASE WHEN m.corrects_id IS NULL THEN COALESCE(n.times, 0) <> 1
                   ELSE n.times > 0 OR o.id IS NULL OR o.amount <> -m.amount OR o.unit_id <> m.unit_id
                        OR o.account_id = m.account_id END""",
    ),
    Law(
        gettext_noop("a transfer moved its amount, from the one member to the other"),
        """
        SELECT t.id, t.amount, COALESCE(sum(e.amount), 0) FROM members_transfer t
        LEFT JOIN members_ledgerentry e ON e.kind = 'move' AND e.key LIKE 'transfer:%%'
             AND split_part(e.key, ':', 2) = t.id::text
        LEFT JOIN members_pointsaccount a ON a.id = e.account_id AND a.unit_id = t.unit_id
        GROUP BY t.id
        HAVING COALESCE(sum(e.amount) FILTER (WHERE e.amount > 0 AND a.member_id = t.to_member_id), 0) <> t.amount
            OR COALESCE(sum(e.amount) FILTER (WHERE e.amount < 0 AND a.member_id = t.from_member_id), 0) <> -t.amount
            OR COALESCE(sum(abs(e.amount)), 0) <> 2 * t.amount""",
    ),
    Law(
        gettext_noop("a correction that a second person agreed to was booked in its amount"),
        """
        SELECT r.id, r.amount, e.amount FROM members_adjustmentrequest r
        LEFT JOIN members_ledgerentry e ON e.id = r.entry_id
        LEFT JOIN members_pointsaccount a ON a.id = e.account_id
        WHERE r.state = 'agreed'
          AND (e.id IS NULL OR e.kind <> 'adjust' OR e.amount <> r.amount OR a.unit_id <> r.unit_id)""",
    ),
    Law(
        gettext_noop("nobody owes more than the limit"),
        "SELECT id, debt, debt_limit FROM members_pointsaccount WHERE debt > debt_limit",
    ),
    Law(
        gettext_noop("an account that slides lasts so long as its entries give"),
        f"""
        SELECT a.id, a.slides_until, l.until FROM members_pointsaccount a
        LEFT JOIN ({LASTS}) AS l ON l.account_id = a.id WHERE a.slides_until IS DISTINCT FROM l.until""",
    ),
    Law(
        gettext_noop("nights let lapse what was over"),
        """
        SELECT l.entry_id, l.remaining - l.held, COALESCE(l.expires_at, a.slides_until) FROM members_lot l
        JOIN members_pointsaccount a ON a.id = l.account_id JOIN programs_unittype u ON u.id = a.unit_id
        JOIN members_ledgerentry e ON e.id = l.entry_id AND e.at <= %(before)s
        WHERE l.remaining > l.held
          AND (l.expires_at <= %(before)s
               OR l.expires_at IS NULL AND u.expiry = 'sliding' AND a.slides_until <= %(before)s
                  AND NOT EXISTS (SELECT 1 FROM members_workitem w WHERE w.member_id = a.member_id)
                  AND NOT EXISTS (SELECT 1 FROM programs_program p
                                  CROSS JOIN LATERAL jsonb_array_elements(p.document -> 'units') AS d(unit)
                                  WHERE p.status <> 'draft' AND d.unit ->> 'code' = u.code
                                    AND COALESCE(d.unit -> 'expiry' ->> 'policy', 'none') <> 'sliding'))
          AND NOT EXISTS (SELECT 1 FROM members_allocation x JOIN members_ledgerentry b ON b.id = x.entry_id
                          WHERE x.lot_id = l.entry_id AND x.amount < 0 AND b.at > %(before)s)
          AND NOT EXISTS (SELECT 1 FROM members_holdlot x JOIN members_hold h ON h.id = x.hold_id
                          WHERE x.lot_id = l.entry_id AND h.expires_at > %(before)s)""",
    ),
    Law(
        gettext_noop("each change of tier begins where the one before ended"),
        """
        SELECT id, before, left_at FROM (
            SELECT c.id, c.before, lag(c.after, 1, '') OVER (PARTITION BY c.member_id ORDER BY c.id) AS left_at
            FROM members_tierchange c) AS r WHERE before <> left_at""",
    ),
    Law(
        gettext_noop("the tier held is the one that the last change led to"),
        """
        SELECT s.member_id, s.tier, c.after FROM members_tierstatus s
        LEFT JOIN (SELECT DISTINCT ON (member_id) member_id, after FROM members_tierchange
                   ORDER BY member_id, id DESC) AS c ON c.member_id = s.member_id
        WHERE s.tier <> COALESCE(c.after, '')""",
    ),
    Law(
        gettext_noop("who has left has nothing, owes nothing, and is held nothing"),
        """
        SELECT a.id, a.balance, a.in_lots, a.debt FROM members_pointsaccount a
        JOIN members_member m ON m.id = a.member_id AND m.status = 'closed'
        WHERE a.in_lots <> 0 OR a.debt <> 0
           OR EXISTS (SELECT 1 FROM members_hold h WHERE h.account_id = a.id AND h.state = 'held')""",
    ),
    Law(
        gettext_noop("what waits is a purchase or an activity"),
        """
        SELECT w.source_id FROM members_workitem w
        LEFT JOIN members_purchase p ON p.id = w.source_id AND w.kind = 'purchase'
        LEFT JOIN members_activity a ON a.id = w.source_id AND w.kind = 'activity'
        WHERE p.id IS NULL AND a.id IS NULL""",
    ),
)
