"""
Expiry of many lots at once: the same entries, keys and laws as `Book.expire_due`, in one statement.

Two steps, so that what is read was read under the lock: members with something due are held, then what is due of
theirs lapses. A night that was killed goes on where it stopped; two at once wait for each other and find nothing left.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.db import connections

from programs.queries import SLIDING, sliding, units
from tenants.routers import CLIENT


def hold_due(*, at: datetime, limit: int) -> list[UUID]:
    """Hold, in id order, the members of so many lots whose time is over."""
    with connections[CLIENT].cursor() as cursor:
        cursor.execute(_HOLD_DUE, {"at": at, "limit": limit, **sliding(units())})
        return [member_id for (member_id,) in cursor.fetchall()]


def lapse(*, member_ids: Sequence[UUID], at: datetime) -> int:
    """Let lapse what is due of held members; how many lots."""
    with connections[CLIENT].cursor() as cursor:
        key = f":{at.isoformat()}"
        cursor.execute(_LAPSE, {"members": list(member_ids), "at": at, "key": key, **sliding(units())})
        return int(cursor.rowcount)


# A purchase that waits to be credited may yet save its member's account.
_OVER = """
    a.slides_until <= %(at)s AND l.expires_at IS NULL AND (s.since IS NULL OR l.available_at >= s.since)
    AND NOT EXISTS (SELECT 1 FROM members_workitem w WHERE w.member_id = a.member_id AND w.quarantined_at IS NULL
                    AND w.occurred_at < a.slides_until)
"""
_HOLD_DUE = f"""
    WITH sliding AS ({SLIDING}), due AS (
        (SELECT l.account_id FROM members_lot l
         WHERE l.expires_at <= %(at)s AND l.remaining > 0 AND l.remaining > l.held
         ORDER BY l.expires_at LIMIT %(limit)s)
        UNION ALL
        (SELECT l.account_id FROM sliding s JOIN members_pointsaccount a ON a.unit_id = s.unit_id AND a.in_lots > 0
         JOIN members_lot l ON l.account_id = a.id AND l.remaining > 0 AND l.remaining > l.held
         WHERE {_OVER} LIMIT %(limit)s)
    )
    SELECT m.id FROM members_member m
    WHERE m.id IN (SELECT a.member_id FROM due JOIN members_pointsaccount a ON a.id = due.account_id)
    ORDER BY m.id FOR NO KEY UPDATE
"""  # noqa: S608 (constants alone)
# Ids made within one millisecond need not ascend: they are put in order, so that each account's do. Where the clock is
# behind the one that made an account's newest entry, ids are counted up from that.
_LAPSE = f"""
    WITH sliding AS ({SLIDING}), due AS MATERIALIZED (
        SELECT l.entry_id, l.account_id, l.remaining, l.remaining - l.held AS amount, a.balance,
               l.available_at, COALESCE(l.expires_at, a.slides_until) AS ended, a.newest
        FROM members_pointsaccount a JOIN members_lot l ON l.account_id = a.id
        LEFT JOIN sliding s ON s.unit_id = a.unit_id
        WHERE a.member_id = ANY(%(members)s::uuid[]) AND l.remaining > 0 AND l.remaining > l.held
          AND (l.expires_at <= %(at)s OR s.unit_id IS NOT NULL AND {_OVER})
    ), placed AS (
        SELECT d.*, row_number() OVER (ORDER BY account_id, ended, available_at, entry_id) AS place,
               balance - sum(amount) OVER (PARTITION BY account_id ORDER BY ended, available_at, entry_id)
               AS balance_after
        FROM due d
    ), named AS (
        SELECT id, row_number() OVER (ORDER BY id) AS place FROM (SELECT new_id() AS id FROM due) AS n
    ), lapsed AS MATERIALIZED (
        SELECT CASE WHEN n.first > n.newest THEN n.made ELSE new_id_above(n.newest, n.step) END AS id, n.*
        FROM (SELECT n.id AS made, p.*, first_value(n.id) OVER same AS first, row_number() OVER same AS step
              FROM placed p JOIN named n USING (place) WINDOW same AS (PARTITION BY account_id ORDER BY place)) AS n
    ), entered AS (
        INSERT INTO members_ledgerentry (id, account_id, kind, amount, balance_after, key, corrects_id, reason,
                                         occurred_at, at)
        SELECT id, account_id, 'expire', -amount, balance_after,
               'expire:' || entry_id || ':' || remaining || %(key)s, entry_id, '', ended, %(at)s
        FROM lapsed ORDER BY id
    )
    INSERT INTO members_allocation (id, entry_id, lot_id, amount) SELECT new_id(), id, entry_id, amount FROM lapsed
"""  # noqa: S608 (constants alone)
