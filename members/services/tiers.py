"""Tiers: what members hold is settled from what they did in the period, with the figure it was judged by."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connections, transaction

from members.models import TierStatus
from programs.queries import ProgramInForce
from programs.rules import TierSetSpec, add_months, tier_for
from tenants.keys import uuid7
from tenants.routers import CLIENT

_BASIS = {
    "spend": """SELECT sum(p.amount) FROM members_purchase p
                WHERE p.member_id = m.id AND p.occurred_at > m.since AND p.occurred_at <= m.until""",
    "count": """SELECT count(*) FROM members_purchase p
                WHERE p.member_id = m.id AND p.occurred_at > m.since AND p.occurred_at <= m.until
                  AND p.kind = 'sale'""",
    "earned": """SELECT sum(e.amount) FROM members_ledgerentry e JOIN members_pointsaccount a ON a.id = e.account_id
                 WHERE a.member_id = m.id AND e.occurred_at > m.since AND e.occurred_at <= m.until
                   AND e.kind IN ('earn', 'reverse')""",
    "quantity": """SELECT sum((a.properties->>%(property)s)::numeric)::bigint FROM members_activity a
                   WHERE a.member_id = m.id AND a.occurred_at > m.since AND a.occurred_at <= m.until
                     AND a.properties->>%(property)s ~ '^[0-9]+(\\.[0-9]+)?$'""",
}
_LONG_AGO = "1900-01-01T00:00:00+00:00"


def settle(*, member_ids: Sequence[UUID], as_of: Mapping[UUID, datetime], program: ProgramInForce) -> int:
    """
    Judge these members' tiers, each by the period that ends at its `as_of`; how many moved.

    What comes in late is judged by the period of the last judgement: it never takes away what came after it.
    """
    tiers = program.spec.tiers
    if tiers is None or not member_ids:
        return 0
    with connections[CLIENT].cursor() as cursor:
        until = _not_before_last(cursor=cursor, as_of=as_of)
        cursor.execute(_SELECT.format(basis=_BASIS[tiers.basis]), _window(tiers=tiers, as_of=until, ids=member_ids))
        judged = [_judge(*row, tiers=tiers) for row in cursor.fetchall()]
        moved = [one for one in judged if one["after"] != one["before"]]
        cursor.execute(_UPSERT, {"rows": json.dumps(judged)})
        if moved:
            cursor.execute(_INSERT_CHANGES, {"rows": json.dumps(moved), "program": program.id})
    return len(moved)


def _not_before_last(*, cursor: Any, as_of: Mapping[UUID, datetime]) -> dict[UUID, datetime]:
    cursor.execute(_SELECT_LAST, [list(as_of)])
    last = dict(cursor.fetchall())
    return {member_id: max(moment, last.get(member_id, moment)) for member_id, moment in as_of.items()}


def _window(*, tiers: TierSetSpec, as_of: Mapping[UUID, datetime], ids: Sequence[UUID]) -> dict[str, Any]:
    rows = [
        {
            "id": str(member_id),
            "since": _months_before(as_of[member_id], tiers.period_months) if tiers.period_months else _LONG_AGO,
            "until": as_of[member_id].isoformat(),
        }
        for member_id in ids
    ]
    return {"members": json.dumps(rows), "property": tiers.property or ""}


def _months_before(until: datetime, months: int) -> str:
    day = add_months(until.date(), -months)
    return datetime.combine(day, until.timetz()).isoformat()


def _judge(
    member_id: UUID, until: datetime, basis: int, before: str, since: datetime | None, *, tiers: TierSetSpec
) -> dict[str, Any]:
    after = tier_for(tiers.levels, basis, before or None) or ""
    return {
        "id": str(uuid7()),
        "member_id": str(member_id),
        "basis": basis,
        "before": before,
        "after": after,
        "since": (since if since and after == before else until).isoformat(),
        "until": until.isoformat(),
    }


def settle_all(*, program: ProgramInForce, at: datetime, chunk: int = 5000) -> int:
    """Judge every member who holds a tier or could reach one, as of now, part by part; how many moved."""
    if program.spec.tiers is None:
        return 0
    member_ids = list(TierStatus.objects.order_by("pk").values_list("pk", flat=True))
    parts = [member_ids[start : start + chunk] for start in range(0, len(member_ids), chunk)]
    moved = 0
    for part in parts:
        with transaction.atomic():
            moved += settle(member_ids=part, as_of=dict.fromkeys(part, at), program=program)
    return moved


# Held until the judgement is written: night and day may judge the same member.
_SELECT_LAST = """
    SELECT member_id, settled_at FROM members_tierstatus WHERE member_id = ANY(%s::uuid[]) ORDER BY member_id FOR UPDATE
"""
_SELECT = """
    WITH m AS (
        SELECT id AS kept, id, since, until FROM jsonb_to_recordset(%(members)s::jsonb)
            AS r(id uuid, since timestamptz, until timestamptz)
    ), whole AS (
        SELECT * FROM m
        UNION ALL SELECT m.id, d.id, m.since, m.until FROM m JOIN members_member d ON d.merged_into_id = m.id
    )
    SELECT m.kept, m.until, COALESCE(sum(b.total), 0)::bigint, COALESCE(s.tier, ''), s.since
    FROM whole m LEFT JOIN members_tierstatus s ON s.member_id = m.kept
    LEFT JOIN LATERAL ({basis}) AS b(total) ON true
    GROUP BY m.kept, m.until, s.tier, s.since
"""
_UPSERT = """
    INSERT INTO members_tierstatus (member_id, tier, basis, since, settled_at)
    SELECT member_id, after, basis, since, until
    FROM jsonb_to_recordset(%(rows)s::jsonb) AS r(member_id uuid, after text, basis bigint, since timestamptz,
         until timestamptz)
    ON CONFLICT (member_id) DO UPDATE
    SET tier = excluded.tier, basis = excluded.basis, since = excluded.since, settled_at = excluded.settled_at
"""
_INSERT_CHANGES = """
    INSERT INTO members_tierchange (id, member_id, program_id, before, after, basis, at)
    SELECT id, member_id, %(program)s, before, after, basis, until
    FROM jsonb_to_recordset(%(rows)s::jsonb) AS r(id uuid, member_id uuid, before text, after text, basis bigint,
         until timestamptz)
"""
