"""The rows of tiers: what a member holds, and each move with its inputs."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any
from uuid import UUID

from django.db import connections

from members.queries.tier_days import as_array
from members.queries.tiers import Judged, State
from programs.queries import ProgramInForce
from tenants.keys import uuid7
from tenants.routers import CLIENT


def write_figures(figures: Mapping[UUID, tuple[int, datetime]]) -> None:
    """Send the new figures of members, who are locked and stay what they are, and as of when to the database."""
    if figures:
        with connections[CLIENT].cursor() as cursor:
            bases, moments = zip(*figures.values(), strict=True)
            cursor.execute(_UPDATE_FIGURES, [as_array(figures), as_array(bases), as_array(moments)])


def status(state: State, found: Judged, *, moment: datetime, moved_at: str | None) -> dict[str, Any]:
    """The row of a member as their history has it."""
    return {
        "member_id": str(state.member_id),
        "tier": found.tier,
        "earned": found.earned,
        "basis": found.basis,
        "since": moved_at or (state.since or moment).isoformat(),
        "settled_at": moment.isoformat(),
        "period_ends_at": found.period_ends_at.isoformat() if found.period_ends_at else None,
    }


def change(
    state: State,
    *,
    program: ProgramInForce,
    before: str,
    after: str,
    at: datetime,
    cause: str,
    basis: int,
    inputs: dict[str, Any],
) -> dict[str, Any]:
    """The row of one move."""
    return {
        "id": str(uuid7()),
        "member_id": str(state.member_id),
        "program_id": str(program.id),
        "before": before,
        "after": after,
        "basis": basis,
        "cause": str(cause),
        "inputs": inputs,
        "at": at.isoformat(),
    }


def write(*, rows: Sequence[dict[str, Any]], changes: Sequence[dict[str, Any]]) -> None:
    """Send what members hold, and how they came there, to the database."""
    with connections[CLIENT].cursor() as cursor:
        if rows:
            # In one order everywhere: two writers never wait for each other in a ring.
            cursor.execute(_UPSERT, [json.dumps(sorted(rows, key=itemgetter("member_id")))])
        if changes:
            cursor.execute(_INSERT_CHANGES, [json.dumps(changes)])


_UPDATE_FIGURES = """
    UPDATE members_tierstatus t SET basis = r.basis, settled_at = r.settled_at
    FROM unnest(%s::uuid[], %s::bigint[], %s::timestamptz[]) AS r(member_id, basis, settled_at)
    WHERE t.member_id = r.member_id
"""
_UPSERT = """
    INSERT INTO members_tierstatus AS t (member_id, tier, earned, basis, since, settled_at, period_ends_at)
    SELECT member_id, tier, earned, basis, since, settled_at, period_ends_at
    FROM jsonb_to_recordset(%s::jsonb) AS r(member_id uuid, tier text, earned text, basis bigint, since timestamptz,
         settled_at timestamptz, period_ends_at timestamptz)
    ON CONFLICT (member_id) DO UPDATE
    SET tier = excluded.tier, earned = excluded.earned, basis = excluded.basis, since = excluded.since,
        settled_at = excluded.settled_at, period_ends_at = excluded.period_ends_at
"""
# A member's moves stand in the order in which they were made, also where this clock is behind another server's.
_INSERT_CHANGES = """
    INSERT INTO members_tierchange (id, member_id, program_id, before, after, basis, cause, inputs, at)
    SELECT CASE WHEN first > newest IS NOT FALSE THEN id ELSE new_id_above(newest, step) END,
           member_id, program_id, before, after, basis, cause, inputs, at
    FROM (
        SELECT r.*, n.id AS newest, first_value(r.id) OVER same AS first, row_number() OVER same AS step
        FROM jsonb_to_recordset(%s::jsonb) AS r(id uuid, member_id uuid, program_id uuid, before text, after text,
             basis bigint, cause text, inputs jsonb, at timestamptz)
        LEFT JOIN LATERAL (SELECT c.id FROM members_tierchange c WHERE c.member_id = r.member_id
                           ORDER BY c.id DESC LIMIT 1) AS n ON true
        WINDOW same AS (PARTITION BY r.member_id ORDER BY r.id)
    ) AS made
"""
