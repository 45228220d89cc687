"""When sliding accounts end, worked out from nothing but their entries and the versions of the program."""

from datetime import datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import connections

from members.rules import midnight
from programs.rules import slides_to
from tenants.routers import CLIENT


def slides_until_by_entries(*, zone: ZoneInfo) -> dict[UUID, datetime]:
    """
    Until when each account slides, from its entries; accounts that never slid are left out.

    Every entry by which a member earns, spends or is given points puts the end off to so many months after its local
    day, by the months that the program in force when it was made had promised. Days are those of `zone`: a client that
    has changed its zone finds here what the new one says, less than 27 hours from what is stored.
    """
    ends: dict[UUID, datetime] = {}
    with connections[CLIENT].cursor() as cursor:
        cursor.execute(_NEWEST_DEEDS)
        for account_id, months, occurred_at in cursor.fetchall():
            last = slides_to(months, occurred_at.astimezone(zone).date())
            end = midnight(day=last + timedelta(days=1), zone=zone)
            ends[account_id] = max(end, ends.get(account_id, end))
    return ends


_NEWEST_DEEDS = """
    WITH said AS (
        SELECT p.published_at AS since, lead(p.published_at) OVER (PARTITION BY u.unit ->> 'code' ORDER BY p.version)
               AS until, u.unit ->> 'code' AS code, u.unit -> 'expiry' ->> 'policy' AS policy,
               (u.unit -> 'expiry' ->> 'months')::int AS months
        FROM programs_program p CROSS JOIN LATERAL jsonb_array_elements(p.document -> 'units') AS u(unit)
        WHERE p.status <> 'draft'
    )
    SELECT e.account_id, s.months, max(e.occurred_at)
    FROM said s JOIN programs_unittype t ON t.code = s.code JOIN members_pointsaccount a ON a.unit_id = t.id
    JOIN members_ledgerentry e ON e.account_id = a.id AND e.at >= s.since AND (s.until IS NULL OR e.at < s.until)
    WHERE s.policy = 'sliding' AND (e.kind IN ('earn', 'spend') OR e.kind IN ('adjust', 'move') AND e.amount > 0)
    GROUP BY e.account_id, s.months
"""
