"""What must hold in a client's books at any moment when no transaction is open, asked in plain SQL."""

from typing import Any

from tenants.context import client_connection, use_client
from tenants.models import Client

CHECKS: dict[str, str] = {
    "balance is the sum of the entries": """
        SELECT a.id, a.balance, COALESCE(sum(e.amount), 0) FROM members_pointsaccount a
        LEFT JOIN members_ledgerentry e ON e.account_id = a.id GROUP BY a.id
        HAVING a.balance <> COALESCE(sum(e.amount), 0)""",
    "in_lots is what remains in the lots": """
        SELECT a.id, a.in_lots, COALESCE(sum(l.remaining), 0) FROM members_pointsaccount a
        LEFT JOIN members_lot l ON l.account_id = a.id GROUP BY a.id HAVING a.in_lots <> COALESCE(sum(l.remaining), 0)""",
    "balance is what the lots hold less the debt": """
        SELECT id, balance, in_lots, debt FROM members_pointsaccount WHERE balance <> in_lots - debt OR debt < 0""",
    "debt only where the unit allows it": """
        SELECT id, debt FROM members_pointsaccount WHERE debt > 0 AND NOT may_owe""",
    "each entry carries the balance it left": """
        SELECT id, balance_after, running FROM (
            SELECT e.id, e.balance_after, sum(e.amount) OVER (PARTITION BY e.account_id ORDER BY e.id) AS running
            FROM members_ledgerentry e) AS r WHERE balance_after <> running""",
    "a lot holds its entry's points less its allocations": """
        SELECT l.entry_id, l.remaining, e.amount, COALESCE(sum(x.amount), 0) FROM members_lot l
        JOIN members_ledgerentry e ON e.id = l.entry_id LEFT JOIN members_allocation x ON x.lot_id = l.entry_id
        GROUP BY l.entry_id, e.amount
        HAVING l.remaining <> e.amount - COALESCE(sum(x.amount), 0) OR l.remaining < 0 OR l.remaining > e.amount""",
    "a lot stands in its entry's account": """
        SELECT l.entry_id FROM members_lot l JOIN members_ledgerentry e ON e.id = l.entry_id
        WHERE l.account_id <> e.account_id""",
    "every credit opens a lot": """
        SELECT e.id FROM members_ledgerentry e LEFT JOIN members_lot l ON l.entry_id = e.id
        WHERE l.entry_id IS NULL AND e.amount > 0 AND e.kind <> 'restore'""",
    "allocations stay within one account": """
        SELECT x.id FROM members_allocation x JOIN members_ledgerentry e ON e.id = x.entry_id
        JOIN members_lot l ON l.entry_id = x.lot_id WHERE l.account_id <> e.account_id""",
    "what is spent, expired or given back is allocated in full": """
        SELECT e.id, e.kind, e.amount, COALESCE(sum(x.amount), 0) FROM members_ledgerentry e
        LEFT JOIN members_allocation x ON x.entry_id = e.id
        WHERE e.kind IN ('spend', 'expire', 'restore') GROUP BY e.id
        HAVING -e.amount <> COALESCE(sum(x.amount), 0)""",
    "nothing is taken from lots beyond an entry's amount": """
        SELECT e.id, e.kind, e.amount, sum(x.amount) FROM members_ledgerentry e
        JOIN members_allocation x ON x.entry_id = e.id WHERE e.amount < 0 GROUP BY e.id
        HAVING sum(x.amount) > -e.amount""",
    "what is held is what open holds pin": """
        SELECT l.entry_id, l.held, COALESCE(sum(p.amount), 0) FROM members_lot l
        LEFT JOIN (SELECT x.lot_id, x.amount FROM members_holdlot x JOIN members_hold h ON h.id = x.hold_id
                   WHERE h.state = 'held') AS p ON p.lot_id = l.entry_id
        GROUP BY l.entry_id HAVING l.held <> COALESCE(sum(p.amount), 0) OR l.held > l.remaining""",
    "an open hold pins all it asks for": """
        SELECT h.id, h.amount, COALESCE(sum(x.amount), 0) FROM members_hold h
        LEFT JOIN members_holdlot x ON x.hold_id = h.id WHERE h.state = 'held' GROUP BY h.id
        HAVING h.amount <> COALESCE(sum(x.amount), 0)""",
    "a captured hold was spent in full": """
        SELECT h.id, h.amount, e.amount FROM members_hold h JOIN members_ledgerentry e ON e.id = h.entry_id
        WHERE h.state = 'captured' AND (e.kind <> 'spend' OR e.amount <> -h.amount)""",
    "a sale is traced once by each rule": """
        SELECT t.source_id, r.code FROM members_ruletrace t JOIN programs_earningrule r ON r.id = t.rule_id
        LEFT JOIN members_purchase p ON p.id = t.source_id WHERE COALESCE(p.kind, 'sale') = 'sale'
        GROUP BY t.source_id, r.code HAVING count(*) > 1""",
    "every earning is the sum of its traces": """
        WITH traced AS (
            SELECT t.source_id, r.unit_id, sum(t.amount) AS amount FROM members_ruletrace t
            JOIN programs_earningrule r ON r.id = t.rule_id
            LEFT JOIN members_purchase p ON p.id = t.source_id WHERE COALESCE(p.kind, 'sale') = 'sale' GROUP BY 1, 2
        ), earned AS (
            SELECT COALESCE(e.purchase_id, e.activity_id) AS source_id, a.unit_id, sum(e.amount) AS amount
            FROM members_ledgerentry e JOIN members_pointsaccount a ON a.id = e.account_id
            WHERE e.kind = 'earn' GROUP BY 1, 2
        )
        SELECT source_id, t.amount, e.amount FROM traced t FULL JOIN earned e USING (source_id, unit_id)
        WHERE COALESCE(t.amount, 0) <> COALESCE(e.amount, 0)""",
    "a trace's lines add up to it": """
        SELECT source_id, amount, line_amounts FROM members_ruletrace
        WHERE cardinality(line_amounts) > 0 AND amount <> (SELECT sum(one) FROM unnest(line_amounts) AS r(one))""",
    "a return takes back no more than its sale earned": """
        SELECT e.id, e.amount, sum(b.amount) FROM members_ledgerentry e
        JOIN members_ledgerentry b ON b.corrects_id = e.id AND b.kind = 'reverse'
        WHERE e.kind = 'earn' GROUP BY e.id HAVING -sum(b.amount) > e.amount""",
    "what came back of a line is what returns took of it": """
        SELECT l.id, l.returned, COALESCE(sum(m.quantity), 0) FROM members_purchaseline l
        LEFT JOIN members_returnmatch m ON m.sale_line_id = l.id GROUP BY l.id
        HAVING l.returned <> COALESCE(sum(m.quantity), 0)""",
    "returns of a line take one part after the other": """
        SELECT sale_line_id, before, reached FROM (
            SELECT m.sale_line_id, m.before,
                   COALESCE(sum(m.quantity) OVER (PARTITION BY m.sale_line_id ORDER BY m.before
                            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS reached
            FROM members_returnmatch m) AS r WHERE before <> reached""",
    "a credited return is matched or parked, to the last piece": """
        SELECT l.id, l.quantity, m.quantity, p.quantity FROM members_purchaseline l
        JOIN members_purchase d ON d.id = l.purchase_id AND d.kind <> 'sale'
        LEFT JOIN (SELECT return_line_id, sum(quantity) AS quantity FROM members_returnmatch GROUP BY 1) AS m
             ON m.return_line_id = l.id
        LEFT JOIN members_parkedreturn p ON p.line_id = l.id
        WHERE NOT EXISTS (SELECT 1 FROM members_workitem w WHERE w.source_id = d.id)
          AND -l.quantity <> COALESCE(m.quantity, 0) + COALESCE(p.quantity, 0)""",
    "what is credited waits no more": """
        SELECT w.source_id FROM members_workitem w
        WHERE EXISTS (SELECT 1 FROM members_ledgerentry e WHERE w.source_id IN (e.purchase_id, e.activity_id))
           OR EXISTS (SELECT 1 FROM members_ruletrace t WHERE t.source_id = w.source_id)""",
}


def problems(cursor: Any) -> list[str]:
    """Each check that finds something, with what it finds; `cursor` stands in the client."""
    found = []
    for name, sql in CHECKS.items():
        cursor.execute(sql)
        if rows := cursor.fetchall():
            found.append(f"{name}: {rows[:3]}{' …' if len(rows) > 3 else ''}")
    return found


def check(client: Client) -> None:
    """:raises AssertionError: naming what does not hold in the client's books"""
    with use_client(client), client_connection().cursor() as cursor:
        assert problems(cursor) == []
