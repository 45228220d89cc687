# ruff: noqa: S608 (put together of constants; values travel apart)
"""The statements by which tiers are settled for many members at once."""

from members.queries.tier_days import WHEN_SOLD

MEMBERS_UNTIL = """
    SELECT COALESCE(
        (SELECT id FROM members_member WHERE id > %(after)s::uuid ORDER BY id LIMIT 1 OFFSET %(count)s - 1),
        (SELECT id FROM members_member WHERE id > %(after)s::uuid ORDER BY id DESC LIMIT 1)
    )
"""

# ── by day: figures of some members, each between bounds of their own ───────────────────────────────────────────────

# What counts within the bounds, how much of it since `first`; what came back since and before; what has left.
_IN_BOUNDS = {
    "spend": """
        SELECT sum(p.amount) FILTER (WHERE p.occurred_at >= w.since),
               sum(p.amount) FILTER (WHERE p.occurred_at >= w.first),
               count(*) FILTER (WHERE p.kind <> 'sale' AND p.occurred_at >= w.first),
               count(*) FILTER (WHERE p.kind <> 'sale' AND p.occurred_at < w.first),
               count(*) FILTER (WHERE p.occurred_at < w.since)
        FROM members_purchase p
        WHERE p.member_id = w.id AND p.occurred_at >= w.before AND p.occurred_at <= w.until
    """,
    "count": """
        SELECT count(*) FILTER (WHERE p.occurred_at >= w.since), count(*) FILTER (WHERE p.occurred_at >= w.first),
               count(*) FILTER (WHERE p.kind <> 'sale' AND p.occurred_at >= w.first),
               count(*) FILTER (WHERE p.kind <> 'sale' AND p.occurred_at < w.first),
               count(*) FILTER (WHERE p.occurred_at < w.since)
        FROM members_purchase p
        WHERE p.member_id = w.id AND p.occurred_at >= w.before AND p.occurred_at <= w.until
    """,
    "earned": """
        SELECT sum(e.amount) FILTER (WHERE e.occurred_at >= w.since),
               sum(e.amount) FILTER (WHERE e.occurred_at >= w.first),
               count(*) FILTER (WHERE e.kind = 'reverse'), 0, count(*) FILTER (WHERE e.occurred_at < w.since)
        FROM members_pointsaccount a JOIN members_ledgerentry e ON e.account_id = a.id
        WHERE a.member_id = w.id AND a.unit_id = %(unit)s::uuid AND e.kind IN ('earn', 'reverse')
          AND e.occurred_at >= w.before AND e.occurred_at <= w.until
    """,
    "quantity": """
        SELECT sum((a.properties->>%(property)s)::numeric) FILTER (WHERE a.occurred_at >= w.since), 0, 0, 0,
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
                                 %(befores)s::timestamptz[], %(firsts)s::timestamptz[])
                     AS r(kept, since, until, before, first)
        ), w AS (
            SELECT kept, kept AS id, since, until, before, first FROM asked
            UNION ALL
            SELECT kept, d.id, since, until, before, first FROM asked
            JOIN members_member d ON d.merged_into_id = kept
        )
        SELECT w.kept, floor(COALESCE(sum(b.total), 0))::bigint, COALESCE(sum(b.added), 0)::bigint,
               sum(b.came_back)::bigint, sum(b.back_before)::bigint, sum(b.gone)::bigint
        FROM w CROSS JOIN LATERAL ({deeds}) AS b(total, added, came_back, back_before, gone)
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


def _figure(*, who: str, amount: str, at: str, came_back: str, rows: str) -> str:
    """By member: the figures of the period that has just ended and the one under way; whether something came back."""
    return f"""
    figure AS (
        SELECT {who} AS member_id, floor(sum({amount}) FILTER (WHERE {at} < %(since)s))::bigint AS ended,
               floor(sum({amount}) FILTER (WHERE {at} >= %(since)s))::bigint AS total, {came_back} AS came_back
        {rows} GROUP BY {who}
    )"""


_FIGURES = {
    "spend": _figure(
        who="p.member_id",
        amount="p.amount",
        at="p.occurred_at",
        came_back="min(p.amount) < 0",
        rows=_PURCHASES_OF_RANGE,
    ),
    "count": _figure(
        who="p.member_id",
        amount="1",
        at="p.occurred_at",
        came_back="bool_or(p.kind <> 'sale')",
        rows=_PURCHASES_OF_RANGE,
    ),
    "earned": _figure(
        who="a.member_id",
        amount="e.amount",
        at="e.occurred_at",
        came_back="bool_or(e.kind = 'reverse')",
        rows=_ENTRIES_OF_RANGE,
    ),
    "quantity": _figure(
        who="p.member_id",
        amount="(p.properties->>%(property)s)::numeric",
        at="p.occurred_at",
        came_back="false",
        rows=_ACTIVITIES_OF_RANGE,
    ),
}
_SPEND_ROLLING = f"""
    figure AS (
        SELECT p.member_id, sum(p.amount)::bigint AS total,
               array_agg(p.occurred_at) FILTER (WHERE p.amount < 0) AS returns
        {_PURCHASES_OF_RANGE} GROUP BY p.member_id
    )"""
# Whether something has left the window since a member was settled last: from the day on which it began then. A shop's
# zone is what it was (no door changes it).
_LEFT_SINCE = """
    occurred_at >= ((s.settled_at AT TIME ZONE %(zone)s)::date - %(window)s::interval) AT TIME ZONE %(zone)s"""
_PURCHASES_LEFT = f"""
    EXISTS (SELECT 1 FROM members_purchase q
            WHERE q.member_id = s.member_id AND q.{_LEFT_SINCE.strip()} AND q.occurred_at < %(since)s)
"""
_ENTRIES_LEFT = f"""
    EXISTS (SELECT 1 FROM members_pointsaccount a JOIN members_ledgerentry q ON q.account_id = a.id
            WHERE a.member_id = s.member_id AND a.unit_id = %(unit)s::uuid AND q.kind IN ('earn', 'reverse')
              AND q.{_LEFT_SINCE.strip()} AND q.occurred_at < %(since)s)
"""
# What came back of sales that have left the window is no less of what is in it. Returns are few: each is looked up by
# its instant.
_BACK_OF_BEFORE = f"""
    (SELECT COALESCE(sum(r.amount), 0)::bigint FROM members_purchase r
     WHERE r.member_id = s.member_id AND r.occurred_at = ANY(f.returns) AND r.kind <> 'sale'
       AND {WHEN_SOLD} < %(since)s)
"""

# Who is judged from their history: those judged by other tiers, whose tier given by hand has ended, whose status does
# not follow from what was earned and given; and those who have doubles or of whom something waits to be credited.
_GRANTED = """
    SELECT g.member_id FROM members_tiergrant g
    WHERE g.ended_at IS NULL AND g.member_id > %(first)s::uuid AND g.member_id <= %(last)s::uuid
"""
_NOT_AS_GRANTED = """
    SELECT g.member_id FROM members_tiergrant g JOIN members_tierstatus t ON t.member_id = g.member_id
    WHERE g.ended_at IS NULL AND g.member_id > %(first)s::uuid AND g.member_id <= %(last)s::uuid
      AND (g.until <= %(at)s OR t.tier <> COALESCE((%(codes)s::text[])[GREATEST(
            array_position(%(codes)s::text[], t.earned::text), array_position(%(codes)s::text[], g.tier::text))], ''))
"""
_DOUBLES_AND_WAITING = """
    SELECT merged_into_id FROM members_member
    WHERE merged_into_id > %(first)s::uuid AND merged_into_id <= %(last)s::uuid
    UNION ALL
    SELECT w.member_id FROM members_workitem w
    WHERE w.member_id > %(first)s::uuid AND w.member_id <= %(last)s::uuid
"""
_ANEW = f"""
    s.settled_at <= %(judged_since)s OR s.tier <> s.earned AND s.member_id NOT IN ({_GRANTED})
    OR s.member_id IN ({{apart}})
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
    SELECT s.member_id FROM members_tierstatus s
    WHERE {_RANGE} AND (s.period_ends_at <= %(at)s OR {_ANEW.format(apart=_NOT_AS_GRANTED)})
    UNION {_WITHOUT_STATUS} ORDER BY 1
"""
# Who stays what they are gets their new figure (and period); the ids of the others come out. A member whom a purchase
# is credited to meanwhile is held by that, or has another settled_at by then, and is left alone.
_APART = f"{_NOT_AS_GRANTED} UNION ALL {_DOUBLES_AND_WAITING}"
_NIGHT = f"""
    WITH {{figure}}, judged AS (
        SELECT m.id, s.basis, s.settled_at, s.period_ends_at, ({_ANEW.format(apart=_APART)}) AS anew,
               {{total}} AS total, {{ended}} AS ended, {{came_back}} AS came_back,
               CASE WHEN s.earned = '' THEN 0
                    ELSE COALESCE(array_position(%(codes)s::text[], s.earned::text), 0) END AS held,
               {{is_due}} AS is_due
        FROM members_member m LEFT JOIN members_tierstatus s ON s.member_id = m.id AND {_RANGE}
        LEFT JOIN figure f ON f.member_id = m.id
        WHERE m.id > %(first)s::uuid AND m.id <= %(last)s::uuid OFFSET 0
    ), verdict AS (
        SELECT *, CASE
            WHEN settled_at IS NULL THEN (SELECT w.status <> 'merged' FROM members_member w WHERE w.id = judged.id)
            WHEN anew THEN true
            WHEN NOT is_due THEN false
            ELSE COALESCE(came_back OR {{ends}} OR CASE
                WHEN held = 0 THEN {{reached}} >= (%(enters)s::bigint[])[1]
                ELSE {{reached}} >= (%(enters)s::bigint[])[held + 1] OR {{falls}} END, false)
            END AS moves
        FROM judged OFFSET 0
    ), changed AS MATERIALIZED (
        SELECT id, basis, total, settled_at, moves FROM verdict
        WHERE moves OR settled_at IS NOT NULL AND is_due AND {{differs}}
    ), free AS (
        SELECT c.total, still.place FROM changed c CROSS JOIN LATERAL (
            SELECT t.ctid AS place FROM members_tierstatus t
            WHERE t.member_id = c.id AND t.settled_at = c.settled_at AND t.basis = c.basis FOR UPDATE SKIP LOCKED
        ) AS still WHERE NOT c.moves
    ), settled AS (
        UPDATE members_tierstatus s SET basis = free.total, settled_at = %(at)s,
               period_ends_at = {{period_ends_at}}
        FROM free WHERE s.ctid = free.place
    )
    SELECT id FROM changed WHERE moves ORDER BY id
"""


def _rolling(*, figure: str, total: str, came_back: str) -> str:
    """A level falls as what is too old leaves, unless it has fallen by a step in this period."""
    return _NIGHT.format(
        figure=figure,
        total=total,
        ended="0",
        reached="total",
        came_back=came_back,
        is_due="true",
        ends="COALESCE(period_ends_at <= %(today)s, false)",
        falls="total < (%(keeps)s::bigint[])[held] AND COALESCE(period_ends_at <= %(today)s, true)",
        differs="basis <> total",
        period_ends_at="s.period_ends_at",
    )


def _yearly(figure: str) -> str:
    """A level falls by the figure of the year that has ended."""
    return _NIGHT.format(
        figure=figure,
        total="COALESCE(f.total, 0)",
        ended="COALESCE(f.ended, 0)",
        reached="GREATEST(total, ended)",
        came_back="COALESCE(f.came_back, false)",
        is_due="COALESCE(s.period_ends_at <= %(at)s, true)",
        ends="period_ends_at <> %(since)s",
        falls="ended < (%(keeps)s::bigint[])[held]",
        differs="true",
        period_ends_at="%(ends)s::timestamptz",
    )


def _returns_rolling(figure: str, *, left: str) -> str:
    """Of those of whom something came back, only they are looked at of whom something has left the window."""
    return _rolling(
        figure=figure,
        total=f"CASE WHEN f.came_back AND NOT {left} THEN s.basis ELSE COALESCE(f.total, 0) END",
        came_back=f"CASE WHEN f.came_back THEN {left} ELSE false END",
    )


ROLLING = {
    "spend": _rolling(
        figure=_SPEND_ROLLING,
        total=f"""
               CASE WHEN f.returns IS NULL THEN COALESCE(f.total, 0)
                    WHEN NOT {_PURCHASES_LEFT} THEN s.basis
                    ELSE f.total - {_BACK_OF_BEFORE} END""",
        came_back="false",
    ),
    "count": _returns_rolling(_FIGURES["count"], left=_PURCHASES_LEFT),
    "earned": _returns_rolling(_FIGURES["earned"], left=_ENTRIES_LEFT),
    "quantity": _rolling(figure=_FIGURES["quantity"], total="COALESCE(f.total, 0)", came_back="false"),
}
"""Of a window that rolls, by basis."""
YEARS = {basis: _yearly(figure) for basis, figure in _FIGURES.items()}
"""Of the year that has just ended and the one that has begun, by basis."""
