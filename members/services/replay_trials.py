# ruff: noqa: S608 (put together of our own constants; values travel apart)
"""
A program tried on what members did: by its SQL form, or by its Python form where a member's history asks for it.

Both begin with nothing carried, no cap used and no budget touched on the first day; tier and segment are those that the
member has now. What a return takes back, it takes from what its sale was given here.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final
from uuid import UUID

from django.db import connections

from members.services.replay_reading import (
    Back,
    Deed,
    Part,
    Returned,
    Some,
    Span,
    Whom,
    deeds,
    in_python_only,
    known_of,
    relations,
    returned,
)
from programs.rules import (
    CompiledRules,
    Evaluation,
    MemberState,
    Outcome,
    ProgramSpec,
    compile_rules,
    evaluate,
    period_key,
    reversal,
)
from programs.rules.sql import RESULTS, SqlRules, compile_sql, not_in_sql
from tenants.routers import CLIENT

_PLACES: Final = {result: place for place, result in enumerate(RESULTS)}
Heard = Callable[["Trial", Deed, Evaluation], None]


@dataclass(slots=True)
class RuleCount:
    """What one rule gave, and how often it fired, was capped, lost or did not apply."""

    points: int = 0
    results: list[int] = field(default_factory=lambda: [0] * len(RESULTS))


@dataclass(slots=True)
class Sold:
    """A sale that comes back later: what each rule gave for its lines."""

    day: date
    outcomes: tuple[Outcome, ...]


@dataclass(slots=True)
class Tally:
    """What a program gives: by month, rule and member, in smallest steps by unit."""

    months: dict[str, dict[str, int]] = field(default_factory=dict)
    rules: dict[str, RuleCount] = field(default_factory=dict)
    members: dict[UUID, dict[str, int]] = field(default_factory=dict)
    earned: dict[UUID, dict[date, int]] = field(default_factory=dict)
    """What counts for tiers, by day, where tiers count what is earned."""

    def add(self, *, member_id: UUID, day: date, unit: str, amount: int) -> None:
        """Count points of a member."""
        month = self.months.setdefault(f"{day:%Y-%m}", {})
        month[unit] = month.get(unit, 0) + amount
        mine = self.members.setdefault(member_id, {})
        mine[unit] = mine.get(unit, 0) + amount


@dataclass(slots=True)
class History:
    """A member on the way through the span under one program."""

    state: MemberState
    sold: dict[UUID, Sold] = field(default_factory=dict)
    early: dict[UUID, list[Back]] = field(default_factory=dict)


class Trial:
    """One program and what it gives; `counts` is the unit whose points count for its tiers."""

    def __init__(self, spec: ProgramSpec) -> None:
        self.spec = spec
        self.compiled: CompiledRules = compile_rules(spec.rules, spec.earning)
        self.form: SqlRules | None = None
        self.counts = _counted_unit(spec)
        self.tally = Tally()
        self.budgets: dict[str, int] = {}
        self._histories: dict[UUID, History] = {}

    def reasons(self) -> dict[str, str]:
        """Why its rules have no SQL form, by code."""
        return not_in_sql(self.spec.rules)

    def prepare(self, *, wide: bool) -> None:
        """Compile the SQL form."""
        self.form = compile_sql(self.spec.rules, wide=wide)

    # ── in SQL ──────────────────────────────────────────────────────────────────────────────────────────────────

    def run_sql(self, whom: Part, span: Span, *, but: Sequence[UUID]) -> None:
        """Count what the sales of some members earn."""
        if self.form is None:
            raise ValueError("The rules have no SQL form.")
        units = sorted({rule.unit for rule in self.form.rules})
        needs = self.compiled.needs
        source = relations(first_purchase="first_purchase" in needs, visits="visit" in needs)
        sql = f"WITH {source}, told AS MATERIALIZED ({self.form.text}) {self._summed(units)}"
        given: dict[str, Any] = {**self.form.parameters, "but": list(but), "gift_cards": self.spec.earning.gift_cards}
        with connections[CLIENT].cursor() as cursor:
            cursor.execute(sql, {**span.values, **whom.values, **given})
            for what, key, values in cursor.fetchall():
                self._count(what, key, [int(value) for value in values], units)

    def _summed(self, units: Sequence[str]) -> str:
        """The select over `told`: sums by member, month, rule and, where tiers count them, by member and day."""
        sums = ", ".join(_sum(self._places(unit)) for unit in units)
        counts = ", ".join(
            f"sum(a{place})::numeric, {', '.join(f'count(*) FILTER (WHERE r{place} = {n})' for n in range(4))}"
            for place in range(len(self.form.rules) if self.form else 0)
        )
        selects = [
            f"SELECT 'member', member_id::text, ARRAY[{sums}]::numeric[] FROM told GROUP BY member_id",
            f"SELECT 'month', to_char(day, 'YYYY-MM'), ARRAY[{sums}]::numeric[] FROM told GROUP BY 2",
            f"SELECT 'rules', '', ARRAY[{counts}]::numeric[] FROM told HAVING count(*) > 0",
        ]
        if self.counts in units:
            earned = _sum(self._places(self.counts))
            selects.append(
                f"SELECT 'day', member_id || ' ' || day, ARRAY[{earned}]::numeric[] FROM told GROUP BY member_id, day"
            )
        return " UNION ALL ".join(selects)

    def _places(self, unit: str | None) -> list[int]:
        rules = self.form.rules if self.form else ()
        return [place for place, rule in enumerate(rules) if rule.unit == unit]

    def _count(self, what: str, key: str, values: list[int], units: Sequence[str]) -> None:
        tally = self.tally
        match what:
            case "member":
                _add(tally.members.setdefault(UUID(key), {}), units, values)
            case "month":
                _add(tally.months.setdefault(key, {}), units, values)
            case "rules" if self.form:
                for place, rule in enumerate(self.form.rules):
                    self._count_rule(rule.code, *values[5 * place : 5 * place + 5])
            case "day":
                member_id, _space, day = key.partition(" ")
                self._note_earned(UUID(member_id), date.fromisoformat(day), values[0])

    def _count_rule(self, code: str, points: int, *results: int) -> None:
        count = self.tally.rules.setdefault(code, RuleCount())
        count.points += points
        count.results = [so_far + more for so_far, more in zip(count.results, results, strict=True)]

    def _note_earned(self, member_id: UUID, day: date, amount: int) -> None:
        mine = self.tally.earned.setdefault(member_id, {})
        mine[day] = mine.get(day, 0) + amount

    # ── in Python ───────────────────────────────────────────────────────────────────────────────────────────────

    def take(self, deed: Deed, *, back: Returned, known: dict[UUID, tuple[str, str, int]], heard: Heard | None) -> None:
        """Put one deed to the rules."""
        history = self._histories.get(deed.member_id)
        if history is None:
            history = self._histories[deed.member_id] = _begun(known.get(deed.member_id, ("", "", 0)))
            self.tally.members.setdefault(deed.member_id, {})
        if deed.event is None:
            for one in deed.back:
                self._take_back(deed, history, one)
            return
        made = evaluate(self.compiled, deed.event, history.state, self.budgets)
        self._note(deed, made)
        if deed.counts_as_purchase:
            history.state.purchases += 1
            history.state.last_visit = max(history.state.last_visit or deed.event.day, deed.event.day)
        if deed.id in back.sales:
            history.sold[deed.id] = Sold(deed.event.day, made.outcomes)
            for one in history.early.pop(deed.id, ()):
                self._reverse(deed.member_id, history, one)
        if heard:
            heard(self, deed, made)

    def _note(self, deed: Deed, made: Evaluation) -> None:
        rules, event = self.tally.rules, deed.event
        for outcome in made.outcomes:
            count = rules.get(outcome.code)
            if count is None:
                count = rules[outcome.code] = RuleCount()
            count.results[_PLACES[outcome.result]] += 1
            count.points += outcome.amount
        if event is None:
            return
        for unit, amount in made.credits.items():
            self.tally.add(member_id=deed.member_id, day=event.day, unit=unit, amount=amount)
            if unit == self.counts:
                self._note_earned(deed.member_id, event.day, amount)

    def _take_back(self, deed: Deed, history: History, one: Back) -> None:
        if one.sale_id in history.sold:
            self._reverse(deed.member_id, history, one)
        else:
            # Its sale lies before the span, or is yet to come.
            history.early.setdefault(one.sale_id, []).append(one)

    def _reverse(self, member_id: UUID, history: History, one: Back) -> None:
        sold = history.sold[one.sale_id]
        for outcome in sold.outcomes:
            taken = _part(_at(outcome.line_amounts, one.position), one)
            if taken:
                self.tally.add(member_id=member_id, day=one.day, unit=outcome.unit, amount=-taken)
                self.tally.rules[outcome.code].points -= taken
                if outcome.unit == self.counts:
                    self._note_earned(member_id, sold.day, -taken)
            self._give_back(history.state, sold, outcome, one, taken)

    def _give_back(self, state: MemberState, sold: Sold, outcome: Outcome, one: Back, taken: int) -> None:
        """Give back what the points had used: the member's cap, the budget, the share of the remainder."""
        rule = self.compiled.by_code[outcome.code]
        if taken and rule.caps.per_member is not None:
            key = rule.code, period_key(rule.caps.per_member.period, sold.day)
            state.used[key] = max(0, state.used.get(key, 0) - taken)
        if taken and rule.caps.budget is not None:
            self.budgets[rule.code] = self.budgets.get(rule.code, rule.caps.budget) + taken
        if rule.remainder == "carry" and (moved := _at(_carried(outcome), one.position)):
            share = _part(abs(moved), one)
            state.remainders[rule.code] = state.remainders.get(rule.code, 0) - (share if moved > 0 else -share)

    def forget(self) -> None:
        """Let go of members that will not be met again."""
        self._histories.clear()
        self.tally.members.clear()
        self.tally.earned.clear()


def run_part(trials: Sequence[Trial], part: Part, span: Span) -> None:
    """Run all trials over some members: in SQL those whose purchases allow it, in Python the others."""
    in_sql = all(trial.form for trial in trials)
    hard = in_python_only(part, span) if in_sql else []
    if not in_sql:
        run_python(trials, part, span)
        return
    for trial in trials:
        trial.run_sql(part, span, but=hard)
    if hard:
        run_python(trials, Some(hard), span)
    if any(_looks_at_activities(trial) for trial in trials):
        run_python(trials, part, span, but=hard, only_activities=True)


def run_python(
    trials: Sequence[Trial],
    whom: Whom,
    span: Span,
    *,
    but: Sequence[UUID] = (),
    only_activities: bool = False,
    heard: Heard | None = None,
) -> None:
    """Run all trials over some members' deeds, one after the other."""
    back = Returned() if only_activities else returned(whom, span)
    known = known_of(whom, span)
    for deed in deeds(whom, span, but=but, only_activities=only_activities, back=back):
        for trial in trials:
            trial.take(deed, back=back, known=known, heard=heard)


def _looks_at_activities(trial: Trial) -> bool:
    return any(rule.trigger in {"activity", "sign_up", "birthday", "visit"} for rule in trial.spec.rules)


def _begun(known: tuple[str, str, int]) -> History:
    tier, segment, earlier = known
    return History(MemberState(tier or None, frozenset({segment} if segment else ()), earlier))


def _counted_unit(spec: ProgramSpec) -> str | None:
    if spec.tiers is None or spec.tiers.basis != "earned":
        return None
    return spec.tiers.unit or next((unit.code for unit in spec.units if unit.kind == "points"), None)


def _sum(places: Iterable[int]) -> str:
    return f"COALESCE(sum({' + '.join(f'a{place}' for place in places) or '0'}), 0)::numeric"


def _add(to: dict[str, int], units: Sequence[str], values: Sequence[int]) -> None:
    for unit, value in zip(units, values, strict=False):
        if value:
            to[unit] = to.get(unit, 0) + value


def _part(amount: int, one: Back) -> int:
    return reversal(amount, one.sold, one.before, one.before + one.quantity) if amount > 0 else 0


def _at(amounts: Sequence[int], position: int) -> int:
    return amounts[position - 1] if position <= len(amounts) else 0


def _carried(outcome: Outcome) -> Sequence[int]:
    """By how much each line moved the remainder, in parts of `programs.rules.effects.scale`."""
    if lines := str(outcome.detail.get("carried_lines", "")):
        return [int(one) for one in lines.split(",")]
    return [int(outcome.detail.get("carried", 0))]
