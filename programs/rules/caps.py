"""Caps: what is left of a rule's points once its limits have cut them, and the outcome that says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from programs.rules.arithmetic import cut_from_the_end, period_key
from programs.rules.events import Outcome, Run
from programs.rules.specs import LIMIT, Caps, MemberCap, RuleSpec

Settle: TypeAlias = Callable[[Run, int, tuple[int, ...], Mapping[str, int | str]], None]


def settler(rule: RuleSpec, index: int) -> Settle:
    """Return what takes a rule's points through its caps, books them and writes the outcome."""
    code, unit, is_capped = rule.code, rule.unit, rule.caps != Caps()

    def settle(run: Run, points: int, shares: tuple[int, ...], detail: Mapping[str, int | str]) -> None:
        if is_capped or points > LIMIT:
            allowed, reason = _allowed(run, rule, points)
            _book(run, rule, allowed)
            if reason:
                shares = cut_from_the_end(shares, points - allowed)
                detail = {**detail, "before_cap": points}
            run.outcomes[index] = Outcome(code, unit, "capped" if reason else "fired", allowed, shares, reason, detail)
            points = allowed
        else:
            run.outcomes[index] = Outcome(code, unit, "fired", points, shares, "", detail)
        if points:
            run.credits[unit] = run.credits.get(unit, 0) + points

    return settle


def _allowed(run: Run, rule: RuleSpec, points: int) -> tuple[int, str]:
    """Return what the caps leave of the points, and the last cap that cut; an empty reason if none did."""
    caps, reason = rule.caps, ""
    if points > LIMIT:
        points, reason = LIMIT, "cap:limit"
    if caps.per_purchase is not None and points > caps.per_purchase:
        points, reason = caps.per_purchase, "cap:per_purchase"
    if caps.per_member is not None and points > (left := _left_for_member(run, rule.code, caps.per_member)):
        points, reason = left, f"cap:per_member:{caps.per_member.period}"
    if caps.budget is not None and points > (left := max(0, run.budgets.get(rule.code, caps.budget))):
        points, reason = left, "cap:budget"
    return points, reason


def _left_for_member(run: Run, code: str, cap: MemberCap) -> int:
    return max(0, cap.points - run.state.used.get((code, period_key(cap.period, run.event.day)), 0))


def _book(run: Run, rule: RuleSpec, points: int) -> None:
    """Take the points from the member's allowance and from the rule's budget."""
    caps = rule.caps
    if points and caps.per_member is not None:
        key = rule.code, period_key(caps.per_member.period, run.event.day)
        run.state.used[key] = run.state.used.get(key, 0) + points
    if points and caps.budget is not None:
        run.budgets[rule.code] = run.budgets.get(rule.code, caps.budget) - points
