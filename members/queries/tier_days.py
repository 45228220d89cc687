# ruff: noqa: S608 (put together of constants; values travel apart)
"""What tiers are judged by: what members did on each local day, what came back counted on the day of its sale."""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import connections

from programs.queries import ProgramInForce
from programs.rules import TierSetSpec
from programs.rules.specs import Number
from tenants.routers import CLIENT

EVER = "-infinity"


def as_array(values: Iterable[object]) -> str:
    """Ids, numbers or instants as a PostgreSQL array in one piece; one by one they take longer to send."""
    return "{" + ",".join(map(str, values)) + "}"


class Done(NamedTuple):
    """What a member did on one local day, in the tiers' basis, and when last on it."""

    day: date
    amount: Number
    at: datetime


def basis_of(program: ProgramInForce, tiers: TierSetSpec) -> dict[str, Any]:
    """What the statements about a basis ask for beside members and times."""
    unit = program.units.get(tiers.counted.code) if tiers.counted else None
    return {"property": tiers.property or "", "unit": unit.id if unit else None}


def days_of(
    *, until: Mapping[UUID, datetime], program: ProgramInForce, zone: ZoneInfo, since: datetime | None = None
) -> Mapping[UUID, list[Done]]:
    """
    What members, and doubles merged into them, did by local day in ascending order.

    `until` names the members, each with the last instant that counts.
    """
    tiers = program.spec.tiers
    found: dict[UUID, list[Done]] = {member_id: [] for member_id in until}
    if tiers is None or not until:
        return found
    values = {
        "ids": as_array(until),
        "untils": as_array(until.values()),
        "zone": zone.key,
        "since": since or EVER,
        **basis_of(program, tiers),
    }
    with connections[CLIENT].cursor() as cursor:
        kind = "numeric" if tiers.basis == "quantity" else "bigint"
        cursor.execute(_SELECT_DAYS.format(deeds=DEEDS[tiers.basis], kind=kind), values)
        for member_id, *done in cursor.fetchall():
            found[member_id].append(Done._make(done))
    return found


# When the sale of a return `r` was: the one it names, or the earliest that its lines were matched with. The return
# counts as if that had not been bought; without one (NULL) it counts when it came.
WHEN_SOLD = """
    COALESCE(
        (SELECT n.occurred_at FROM members_purchase n WHERE n.id = r.sale_id),
        (SELECT min(n.occurred_at)
         FROM members_purchaseline l JOIN members_returnmatch x ON x.return_line_id = l.id
         JOIN members_purchaseline k ON k.id = x.sale_line_id JOIN members_purchase n ON n.id = k.purchase_id
         WHERE l.purchase_id = r.id)
    )
"""
# Sales of which nothing is left: voided, or every line came back whole.
_UNDONE = """
    SELECT DISTINCT n.id, n.occurred_at FROM members_purchase r
    JOIN LATERAL (
        SELECT r.sale_id AS id UNION
        SELECT k.purchase_id FROM members_purchaseline l JOIN members_returnmatch x ON x.return_line_id = l.id
        JOIN members_purchaseline k ON k.id = x.sale_line_id WHERE l.purchase_id = r.id
    ) AS named ON true
    JOIN members_purchase n ON n.id = named.id
    WHERE {of} AND r.kind <> 'sale' AND r.occurred_at >= %(since)s::timestamptz AND r.occurred_at <= w.until
      AND (EXISTS (SELECT 1 FROM members_purchase v WHERE v.sale_id = n.id AND v.kind = 'void')
           OR NOT EXISTS (SELECT 1 FROM members_purchaseline l WHERE l.purchase_id = n.id AND l.returned < l.quantity)
              AND EXISTS (SELECT 1 FROM members_purchaseline l WHERE l.purchase_id = n.id AND l.returned > 0))
"""
DEEDS = {
    "spend": f"""
        SELECT p.amount, p.occurred_at AS at FROM members_purchase p
        WHERE p.member_id = w.id AND p.kind = 'sale' AND p.occurred_at >= %(since)s::timestamptz
          AND p.occurred_at <= w.until
        UNION ALL
        SELECT r.amount, LEAST(r.occurred_at, {WHEN_SOLD}) FROM members_purchase r
        WHERE r.member_id = w.id AND r.kind <> 'sale' AND r.occurred_at >= %(since)s::timestamptz
          AND r.occurred_at <= w.until
    """,
    "count": f"""
        SELECT 1 AS amount, p.occurred_at AS at FROM members_purchase p
        WHERE p.member_id = w.id AND p.kind = 'sale' AND p.occurred_at >= %(since)s::timestamptz
          AND p.occurred_at <= w.until
        UNION ALL
        SELECT -1, u.occurred_at FROM ({_UNDONE.format(of="r.member_id = w.id")}) AS u
    """,
    "earned": """
        SELECT e.amount, CASE WHEN e.kind = 'reverse' THEN LEAST(e.occurred_at, c.occurred_at) ELSE e.occurred_at END
               AS at
        FROM members_pointsaccount a JOIN members_ledgerentry e ON e.account_id = a.id
        LEFT JOIN members_ledgerentry c ON c.id = e.corrects_id AND e.kind = 'reverse'
        WHERE a.member_id = w.id AND a.unit_id = %(unit)s::uuid AND e.kind IN ('earn', 'reverse')
          AND e.occurred_at >= %(since)s::timestamptz AND e.occurred_at <= w.until
    """,
    "quantity": """
        SELECT (a.properties->>%(property)s)::numeric AS amount, a.occurred_at AS at FROM members_activity a
        WHERE a.member_id = w.id AND a.properties->>%(property)s ~ '^[0-9]+(\\.[0-9]+)?$'
          AND a.occurred_at >= %(since)s::timestamptz AND a.occurred_at <= w.until
    """,
}
_WHOLE = """
    asked AS (
        SELECT * FROM unnest(%(ids)s::uuid[], %(untils)s::timestamptz[]) AS r(kept, until)
    ), w AS (
        SELECT kept, kept AS id, until FROM asked
        UNION ALL SELECT kept, d.id, until FROM asked JOIN members_member d ON d.merged_into_id = kept
    )"""
_SELECT_DAYS = f"""
    WITH {_WHOLE}
    SELECT w.kept, (e.at AT TIME ZONE %(zone)s)::date AS day, sum(e.amount)::{{kind}}, max(e.at)
    FROM w CROSS JOIN LATERAL ({{deeds}}) AS e
    WHERE e.at >= %(since)s::timestamptz
    GROUP BY w.kept, day ORDER BY w.kept, day
"""
