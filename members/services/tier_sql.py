# ruff: noqa: S608 (put together of constants; values travel apart)
"""The statements by which tiers are settled for many members at once."""

from members.queries.tier_days import WHEN_SOLD

MEMBERS_UNTIL = """
    SELECT id FROM (SELECT id FROM members_member WHERE id > %s::uuid ORDER BY id LIMIT %s) AS part
    ORDER BY id DESC LIMIT 1
"""

# ── by day: figures of some members, each between bounds of their own ───────────────────────────────────────────────

# What came in between the bounds, how many returns are among it, and how much has left the window since last time.
_IN_BOUNDS = {
    "spend": """
        SELECT sum(p.amount) FILTER (WHERE p.occurred_at >= w.since), count(*) FILTER (WHERE p.kind <> 'sale'),
               count(*) FILTER (WHERE p.occurred_at < w.since)
        FROM members_purchase p
        WHERE p.member_id = w.id AND p.occurred_at >= w.before AND p.occurred_at <= w.until
    """,
    "count": """
        SELECT count(*) FILTER (WHERE p.occurred_at >= w.since), count(*) FILTER (WHERE p.kind <> 'sale'),
               count(*) FILTER (WHERE p.occurred_at < w.since)
        FROM members_purchase p
        WHERE p.member_id = w.id AND p.occurred_at >= w.before AND p.occurred_at <= w.until
    """,
    "earned": """
        SELECT sum(e.amount) FILTER (WHERE e.occurred_at >= w.since), count(*) FILTER (WHERE e.kind = 'reverse'),
               count(*) FILTER (WHERE e.occurred_at < w.since)
        FROM members_pointsaccount a JOIN members_ledgerentry e ON e.account_id = a.id
        WHERE a.member_id = w.id AND a.unit_id = %(unit)s::uuid AND e.kind IN ('earn', 'reverse')
          AND e.occurred_at >= w.before AND e.occurred_at <= w.until
    """,
    "quantity": """
        SELECT sum((a.properties->>%(property)s)::numeric) FILTER (WHERE a.occurred_at >= w.since), 0,
               count(*) FILTER (WHERE a.occurred_at < w.since)
        FROM members_activity a
        WHERE a.member_id = w.id AND a.occurred_at >= w.before AND a.occurred_at <= w.until
          AND a.properties->>%(property)s ~ '^[0-9]+(\\.[0-9]+)?$'
    """,
}
TOTALS = {
    basis: f"""
        WITH asked AS (
            SELECT * FROM unnest(%(ids)s::uuid[], %(sinces)s::timestamptz[], %(untils)s::timestamptz[],
                                 %(befores)s::timestamptz[]) AS r(kept, since, until, before)
        ), w AS (
            SELECT kept, kept AS id, since, until, before FROM asked
            UNION ALL
            SELECT kept, d.id, since, until, before FROM asked JOIN members_member d ON d.merged_into_id = kept
        )
        SELECT w.kept, floor(COALESCE(sum(b.total), 0))::bigint, sum(b.came_back)::bigint, sum(b.gone)::bigint
        FROM w CROSS JOIN LATERAL ({deeds}) AS b(total, came_back, gone)
        GROUP BY w.kept
    """
    for basis, deeds in _IN_BOUNDS.items()
}

# ── by night: the figures of a range of members ─────────────────────────────────────────────────────────────────────

_PURCHASES_OF_RANGE = """
    FROM members_purchase p
    WHERE p.member_id > %(first)s::uuid AND p.member_id <= %(last)s::uuid
      AND p.occurred_at >= %(before)s AND p.occurred_at <= %(at)s
"""
_ACTIVITIES_OF_RANGE = """
    FROM members_activity p
    WHERE p.member_id > %(first)s::uuid AND p.member_id <= %(last)s::uuid
      AND p.occurred_at >= %(before)s AND p.occurred_at <= %(at)s
      AND p.properties->>%(property)s ~ '^[0-9]+(\\.[0-9]+)?$'
"""
_ENTRIES_OF_RANGE = """
    FROM members_pointsaccount a JOIN members_ledgerentry e ON e.account_id = a.id
    WHERE a.member_id > %(first)s::uuid AND a.member_id <= %(last)s::uuid AND a.unit_id = %(unit)s::uuid
      AND e.kind IN ('earn', 'reverse') AND e.occurred_at >= %(before)s AND e.occurred_at <= %(at)s
"""
# What came back of sales that have left the window is no less of what is in it. Returns are few: each is looked up by
# its instant.
_SPEND_ROLLING = f"""
    bought AS (
        SELECT p.member_id, sum(p.amount)::bigint AS total,
               array_agg(p.occurred_at) FILTER (WHERE p.amount < 0) AS returns
        {_PURCHASES_OF_RANGE} GROUP BY p.member_id
    ), elsewhere AS (
        SELECT b.member_id, sum(r.amount)::bigint AS total
        FROM bought b CROSS JOIN LATERAL (SELECT DISTINCT at FROM unnest(b.returns) AS u(at)) AS back
        JOIN members_purchase r ON r.member_id = b.member_id AND r.occurred_at = back.at
        WHERE b.returns IS NOT NULL AND r.kind <> 'sale' AND {WHEN_SOLD} < %(since)s
        GROUP BY b.member_id
    ), figure AS (
        SELECT member_id, 0::bigint AS ended, sum(total)::bigint AS total, false AS came_back
        FROM (SELECT member_id, total FROM bought UNION ALL SELECT member_id, -total FROM elsewhere) AS part
        GROUP BY member_id
    )"""


def _figure(*, who: str, amount: str, at: str, came_back: str, rows: str) -> str:
    """By member: the figures of the period that has just ended and the one under way; whether something came back."""
    return f"""
    figure AS (
        SELECT {who} AS member_id, floor(sum({amount}) FILTER (WHERE {at} < %(since)s))::bigint AS ended,
               floor(sum({amount}) FILTER (WHERE {at} >= %(since)s))::bigint AS total, {came_back} AS came_back
        {rows} GROUP BY {who}
    )"""


_SPEND = _figure(
    who="p.member_id", amount="p.amount", at="p.occurred_at", came_back="min(p.amount) < 0", rows=_PURCHASES_OF_RANGE
)
_COUNT = _figure(
    who="p.member_id", amount="1", at="p.occurred_at", came_back="bool_or(p.kind <> 'sale')", rows=_PURCHASES_OF_RANGE
)
_EARNED = _figure(
    who="a.member_id",
    amount="e.amount",
    at="e.occurred_at",
    came_back="bool_or(e.kind = 'reverse')",
    rows=_ENTRIES_OF_RANGE,
)
_QUANTITY = _figure(
    who="p.member_id",
    amount="(p.properties->>%(property)s)::numeric",
    at="p.occurred_at",
    came_back="false",
    rows=_ACTIVITIES_OF_RANGE,
)
FIGURES = {"spend": _SPEND_ROLLING, "count": _COUNT, "earned": _EARNED, "quantity": _QUANTITY}
"""Of a window that rolls, by basis."""
YEARS = FIGURES | {"spend": _SPEND}
"""Of the year that has just ended and the one that has begun, by basis."""

# Who is judged from their history: those judged by other tiers, whose tier given by hand has ended, whose status does
# not follow from what was earned and given; and those who have doubles or of whom something waits to be credited.
_ANEW = """
    s.settled_at <= %(judged_since)s OR d.id IS NOT NULL
    OR CASE WHEN g.id IS NULL THEN s.tier <> s.earned
            ELSE g.until <= %(at)s OR s.tier <> COALESCE((%(codes)s::text[])[GREATEST(
                COALESCE(array_position(%(codes)s::text[], s.earned::text), 0),
                COALESCE(array_position(%(codes)s::text[], g.tier::text), 0))], '') END
"""
_STATUS_OF_RANGE = """
    FROM members_tierstatus s
    LEFT JOIN members_tiergrant g ON g.member_id = s.member_id AND g.ended_at IS NULL
    LEFT JOIN (
        SELECT merged_into_id AS id FROM members_member
        WHERE merged_into_id > %(first)s::uuid AND merged_into_id <= %(last)s::uuid
        UNION
        SELECT w.member_id FROM members_workitem w
        WHERE w.member_id > %(first)s::uuid AND w.member_id <= %(last)s::uuid
    ) d ON d.id = s.member_id
"""
_RANGE = "s.member_id > %(first)s::uuid AND s.member_id <= %(last)s::uuid"
_WITHOUT_STATUS = """
    SELECT m.id FROM (
        SELECT id FROM members_member WHERE id > %(first)s::uuid AND id <= %(last)s::uuid
        EXCEPT
        SELECT member_id FROM members_tierstatus WHERE member_id > %(first)s::uuid AND member_id <= %(last)s::uuid
    ) AS new JOIN members_member m ON m.id = new.id WHERE m.status <> 'merged'
"""

# Whether many periods of a range end at once, as calendar years do; fewer are judged from their history.
MANY_DUE = f"SELECT count(*) > 1000 FROM members_tierstatus s WHERE {_RANGE} AND s.period_ends_at = %(since)s"
DUE = f"""
    SELECT s.member_id {_STATUS_OF_RANGE}
    WHERE {_RANGE} AND (s.period_ends_at <= %(at)s OR {_ANEW.replace("OR d.id IS NOT NULL", "")})
    UNION {_WITHOUT_STATUS} ORDER BY 1
"""
# Who stays what they are gets their new figure (and period); the ids of the others come out. A member whom a purchase
# is credited to meanwhile is held by that, or has another settled_at by then, and is left alone.
NIGHT = f"""
    WITH {{figure}}, judged AS (
        SELECT s.member_id AS id, s.basis, s.settled_at, s.period_ends_at, ({_ANEW}) AS anew,
               COALESCE(f.total, 0) AS total, COALESCE(f.ended, 0) AS ended, COALESCE(f.came_back, false) AS came_back,
               CASE WHEN s.earned = '' THEN 0
                    ELSE COALESCE(array_position(%(codes)s::text[], s.earned::text), 0) END AS held,
               %(rolls)s OR COALESCE(s.period_ends_at <= %(at)s, true) AS is_due
        {_STATUS_OF_RANGE} LEFT JOIN figure f ON f.member_id = s.member_id
        WHERE {_RANGE} OFFSET 0
    ), ranked AS (
        SELECT *, width_bucket(total, %(enters)s::bigint[]) AS entered,
               width_bucket(ended, %(enters)s::bigint[]) AS had,
               width_bucket(CASE WHEN %(rolls)s THEN total ELSE ended END, %(keeps)s::bigint[]) AS kept
        FROM judged OFFSET 0
    ), verdict AS (
        SELECT *, anew OR is_due AND (
                   came_back OR entered > held OR had > held
                   OR kept < held AND NOT (%(rolls)s AND COALESCE(period_ends_at > %(today)s, false))
                   OR CASE WHEN %(rolls)s THEN COALESCE(period_ends_at <= %(today)s, false)
                      ELSE period_ends_at <> %(since)s END) AS moves
        FROM ranked OFFSET 0
    ), changed AS MATERIALIZED (
        SELECT id, basis, total, settled_at, moves FROM verdict
        WHERE moves OR is_due AND (basis <> total OR NOT %(rolls)s)
    ), free AS (
        SELECT s.member_id FROM changed c JOIN members_tierstatus s ON s.member_id = c.id
        WHERE {_RANGE} AND NOT c.moves FOR UPDATE OF s SKIP LOCKED
    ), settled AS (
        UPDATE members_tierstatus s SET basis = c.total, settled_at = %(at)s,
               period_ends_at = CASE WHEN %(rolls)s THEN s.period_ends_at ELSE %(ends)s::timestamptz END
        FROM changed c JOIN free ON free.member_id = c.id
        WHERE s.member_id = c.id AND {_RANGE} AND s.settled_at = c.settled_at AND s.basis = c.basis
    )
    SELECT id FROM changed WHERE moves UNION ALL {_WITHOUT_STATUS} ORDER BY id
"""
