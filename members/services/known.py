"""What rules have to know of members, and what they leave with them: figures, remainders, use of caps and budgets."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import connections

from members import ledger
from members.services import insights
from programs.queries import IN_FORCE, ProgramInForce, program_of
from programs.rules import MemberState
from tenants.routers import CLIENT

_NEED_STATES = frozenset({"remainder", "caps"})


@dataclass(slots=True)
class Known:
    """What is known of one member while a batch runs."""

    state: MemberState
    insight: insights.Figures
    touched_rules: set[str] = field(default_factory=set)
    # By unit, once they have been looked up.
    accounts: dict[str, ledger.Account] = field(default_factory=dict)


def needs_rule_states(program: ProgramInForce) -> bool:
    """Whether a rule of the program looks at what earlier purchases left with it."""
    return bool(program.compiled.needs & _NEED_STATES)


def load_known(*, member_ids: Sequence[UUID], program: ProgramInForce) -> dict[UUID, Known]:
    """What the rules and insights need to know of these members; rule states only where a rule asks for them."""
    with connections[CLIENT].cursor() as cursor:
        cursor.execute(_SELECT_KNOWN, [list(member_ids)])
        known = {row[0]: _known(row) for row in cursor.fetchall()}
    if needs_rule_states(program):
        load_rule_states(known)
    return known


def load_known_and_program(member_id: UUID) -> tuple[Known, ProgramInForce]:
    """What the rules need to know of one member, and the program in force, in one go. :raises NoProgram:"""
    with connections[CLIENT].cursor() as cursor:
        cursor.execute(_SELECT_KNOWN_AND_PROGRAM, [[member_id]])
        *row, states, program_id = cursor.fetchone()
    program, known = program_of(program_id), _known(tuple(row))
    if states and needs_rule_states(program):
        _note_states(known.state, json.loads(states))
    return known, program


def load_rule_states(known: Mapping[UUID, Known]) -> None:
    """What earlier purchases left with each rule: remainders, and what is used of caps."""
    with connections[CLIENT].cursor() as cursor:
        cursor.execute(_SELECT_RULE_STATES, [list(known)])
        for member_id, code, remainder, used in cursor.fetchall():
            _note_states(known[member_id].state, [(code, remainder, json.loads(used))])


def _note_states(state: MemberState, rows: Iterable[tuple[str, int, dict[str, int]]]) -> None:
    for code, remainder, used in rows:
        state.remainders[code] = remainder
        state.used.update({(code, period): count for period, count in used.items()})


def _known(row: tuple[Any, ...]) -> Known:
    _member_id, tier, segment, purchases, spend, first_day, last_day, last_visit = row
    figures = insights.Figures(purchases or 0, spend or 0, first_day, last_day, last_visit)
    state = MemberState(
        tier=tier or None,
        segments=frozenset({segment} if segment else ()),
        purchases=purchases or 0,
        last_visit=last_visit,
    )
    return Known(state, figures)


def lock_budgets(program: ProgramInForce) -> dict[str, int]:
    """What is left of each rule's budget, held until the transaction ends."""
    with connections[CLIENT].cursor() as cursor:
        cursor.execute(_LOCK_BUDGETS, [sorted(_budgets(program))])
    return budgets_left(program)


def budgets_left(program: ProgramInForce) -> dict[str, int]:
    """What is left of each rule's budget, in the unit's smallest step; below zero where a version before gave more."""
    budgets = _budgets(program)
    with connections[CLIENT].cursor() as cursor:
        cursor.execute(_SELECT_BUDGETS, [sorted(budgets)])
        used = dict(cursor.fetchall())
    return {code: budget - used.get(code, 0) for code, budget in budgets.items()}


def _budgets(program: ProgramInForce) -> dict[str, int]:
    return {rule.code: rule.caps.budget for rule in program.spec.rules if rule.caps.budget is not None}


def save_rule_states(*, cursor: Any, known: Mapping[UUID, Known]) -> None:
    """Write what this batch leaves with the rules it put to members."""
    rows = [row for member_id, one in known.items() for row in _rule_states(member_id, one)]
    if rows:
        cursor.execute(_UPSERT_RULE_STATES, [json.dumps(rows)])


def save_budgets(*, cursor: Any, moved: Mapping[str, int]) -> None:
    """Add to what is used of each budget."""
    if moved:
        cursor.execute(_UPDATE_BUDGETS, [json.dumps([{"rule_code": c, "used": used} for c, used in moved.items()])])


def _rule_states(member_id: UUID, known: Known) -> Iterable[dict[str, Any]]:
    by_rule: dict[str, dict[str, int]] = {}
    for (code, period), count in known.state.used.items():
        # A use that was given back in full leaves nothing, as if it had not been.
        by_rule.setdefault(code, {}).update({period: count} if count else {})
    for code in known.touched_rules & (set(known.state.remainders) | set(by_rule)):
        yield {
            "member_id": str(member_id),
            "rule_code": code,
            "remainder": known.state.remainders.get(code, 0),
            "used": by_rule.get(code, {}),
        }


_KNOWN = "m.id, t.tier, i.segment, i.purchases, i.spend, i.first_day, i.last_day, i.last_visit"
_OF_MEMBERS = """
    FROM unnest(%s::uuid[]) AS m(id)
    LEFT JOIN members_tierstatus t ON t.member_id = m.id
    LEFT JOIN members_insight i ON i.member_id = m.id
"""
_SELECT_KNOWN = f"SELECT {_KNOWN} {_OF_MEMBERS}"
_SELECT_KNOWN_AND_PROGRAM = f"""
    SELECT {_KNOWN},
           (SELECT json_agg(json_build_array(s.rule_code, s.remainder, s.used))::text
            FROM members_rulestate s WHERE s.member_id = m.id),
           ({IN_FORCE})
    {_OF_MEMBERS}
"""  # noqa: S608 (constants alone)
_SELECT_RULE_STATES = """
    SELECT member_id, rule_code, remainder, used::text FROM members_rulestate WHERE member_id = ANY(%s::uuid[])
"""
_LOCK_BUDGETS = """
    INSERT INTO members_rulebudget (rule_code, used) SELECT code, 0 FROM unnest(%s::text[]) AS r(code) ORDER BY code
    ON CONFLICT (rule_code) DO UPDATE SET used = members_rulebudget.used
"""
_SELECT_BUDGETS = "SELECT rule_code, used FROM members_rulebudget WHERE rule_code = ANY(%s::text[])"
_UPDATE_BUDGETS = """
    UPDATE members_rulebudget b SET used = b.used + r.used
    FROM jsonb_to_recordset(%s::jsonb) AS r(rule_code text, used bigint) WHERE b.rule_code = r.rule_code
"""
_UPSERT_RULE_STATES = """
    INSERT INTO members_rulestate (member_id, rule_code, remainder, used)
    SELECT member_id, rule_code, remainder, used
    FROM jsonb_to_recordset(%s::jsonb) AS r(member_id uuid, rule_code text, remainder bigint, used jsonb)
    ON CONFLICT (member_id, rule_code) DO UPDATE SET remainder = excluded.remainder, used = excluded.used
"""
