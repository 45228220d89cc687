"""
Rules turned once into closures, and an event put to them.

Rules are asked in the order of priority, then code; multipliers after all others. What a rule gives is decided first
(conditions, exclusive groups), then cut by its caps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final, TypeAlias

from programs.rules.caps import Settle, settler
from programs.rules.conditions import LineCheck, RunCheck, line_check, looks_at_lines, run_check, schedule_check
from programs.rules.effects import LineEarner, line_earner, run_earner, scale, sharer
from programs.rules.events import NOTHING, Evaluation, Event, Line, MemberState, Outcome, Run
from programs.rules.specs import EarningSpec, RuleSpec, Trigger

Step: TypeAlias = Callable[[Run], None]

# "visit" stands for the activity of that kind, which is also an activity.
_TRIGGERS: Final[Mapping[str, frozenset[Trigger]]] = {
    "sale": frozenset({"line", "purchase", "visit"}),
    "activity": frozenset({"activity"}),
    "visit": frozenset({"activity", "visit"}),
    "sign_up": frozenset({"sign_up"}),
    "birthday": frozenset({"birthday"}),
}
_NEEDS_OF_FIELDS: Final = frozenset({"tier", "segment", "first_purchase"})
_KEPT_SIZES: Final = 64


class CompiledRules:
    """Rules ready for use; `needs` names the state they look at, so that callers load no other."""

    __slots__ = ("_plans", "by_code", "earning", "needs", "rules")

    def __init__(self, rules: Sequence[RuleSpec], earning: EarningSpec) -> None:
        self.earning = earning
        self.rules = tuple(
            sorted(rules, key=lambda rule: (rule.effect.kind == "multiplier", -rule.priority, rule.code))
        )
        self.by_code = {rule.code: rule for rule in self.rules}
        self.needs = frozenset(need for rule in self.rules for need in _needs(rule))
        self._plans = {kind: _Plan(self.rules, triggers) for kind, triggers in _TRIGGERS.items()}

    def plan_for(self, event: Event) -> _Plan:
        """Return the steps for an event of this kind."""
        return self._plans["visit" if _is_visit_activity(event) else event.kind]


_NOTHING_MORE_EARNS: Final = EarningSpec()


def compile_rules(rules: Sequence[RuleSpec], earning: EarningSpec = _NOTHING_MORE_EARNS) -> CompiledRules:
    """Turn rules that `parse_program` found sound into closures, once for many events."""
    return CompiledRules(rules, earning)


def evaluate(compiled: CompiledRules, event: Event, state: MemberState, budgets: dict[str, int]) -> Evaluation:
    """
    Return what an event earns, and bring `state` and `budgets` (points left by rule code) up to date.

    A budget that is not among `budgets` counts as untouched.
    """
    plan, earning = compiled.plan_for(event), compiled.earning
    if earning.gift_cards:
        event = _with_gift_cards(event)
    run = Run(event, state, budgets, plan.blank.copy(), 0 if earning.paid_by_points else event.paid_by_points)
    for step in plan.steps:
        step(run)
    _remember(event, state)
    return Evaluation(tuple(run.outcomes), run.credits)


def preview(compiled: CompiledRules, event: Event, state: MemberState, budgets: Mapping[str, int]) -> Evaluation:
    """Return what an event would earn, and change nothing."""
    return evaluate(compiled, event, state.copy(), dict(budgets))


def _with_gift_cards(event: Event) -> Event:
    """Return the event with all of its lines earning, as the program says of gift cards."""
    if all(line.earning for line in event.lines):
        return event
    return replace(event, lines=tuple(replace(line, earning=True) for line in event.lines))


def _is_visit_activity(event: Event) -> bool:
    return event.kind == "activity" and event.activity == "visit"


def _remember(event: Event, state: MemberState) -> None:
    is_sale = event.kind == "sale"
    if is_sale:
        state.purchases += 1
    # A sale that arrives late does not move the last visit back.
    if (is_sale or _is_visit_activity(event)) and (state.last_visit is None or state.last_visit < event.day):
        state.last_visit = event.day


def _needs(rule: RuleSpec) -> Iterable[str]:
    yield from (condition.field for condition in rule.conditions if condition.field in _NEEDS_OF_FIELDS)
    if rule.trigger == "visit":
        yield "visit"
    if rule.remainder == "carry":
        yield "remainder"
    if rule.caps.per_member:
        yield "caps"
    if rule.caps.budget is not None:
        yield "budget"


class _Plan:
    """The steps for one kind of event, and a blank outcome for each rule that takes part."""

    __slots__ = ("blank", "steps")

    def __init__(self, rules: Sequence[RuleSpec], triggers: frozenset[Trigger]) -> None:
        taking_part = [rule for rule in rules if rule.trigger in triggers]
        handles = [_Handle(rule, index, taking_part) for index, rule in enumerate(taking_part)]
        self.blank = [Outcome(rule.code, rule.unit, "not_eligible", 0, (), "", NOTHING) for rule in taking_part]
        self.steps = tuple(_step(together) for together in _grouped(handles))


class _Handle:
    """One rule within a plan: where its outcome stands, and its parts as closures."""

    __slots__ = ("carries", "code", "counts_amounts", "gate", "index", "paid_otherwise", "scale", "settle", "spec",
                 "targets", "too_small")  # fmt: skip

    def __init__(self, rule: RuleSpec, index: int, taking_part: Sequence[RuleSpec]) -> None:
        self.spec = rule
        self.code = rule.code
        self.index = index
        self.targets = tuple(at for at, other in enumerate(taking_part) if _multiplies(rule, other))
        self.carries = rule.remainder == "carry"
        self.scale = scale(rule)
        self.gate = tuple((holds, self.refuser(reason)) for holds, reason in _gate(rule))
        self.settle: Settle = settler(rule, index)
        self.counts_amounts = rule.effect.kind == "per_amount"
        self.too_small = self.refuser("too_small")
        self.paid_otherwise = self.refuser("paid_by_points")

    def refuser(self, reason: str) -> Step:
        """Return what writes that the rule does not apply. Outcomes are kept: most rules do not, most of the time."""
        index, kept = self.index, dict[int, Outcome]()

        def refuse(run: Run) -> None:
            size = run.size
            outcome = kept.get(size)
            if outcome is None:
                outcome = Outcome(self.code, self.spec.unit, "not_eligible", 0, (0,) * size, reason, NOTHING)
                if size <= _KEPT_SIZES:
                    kept[size] = outcome
            run.outcomes[index] = outcome

        return refuse

    def give_nothing(self, run: Run, detail: Mapping[str, int | str] = NOTHING) -> None:
        """Write that it came to less than a point, also if something was carried over, or that points paid for it."""
        if detail:
            run.outcomes[self.index] = Outcome(
                self.code, self.spec.unit, "not_eligible", 0, (0,) * run.size, "too_small", detail
            )
        elif run.paid and self.counts_amounts:
            self.paid_otherwise(run)
        else:
            self.too_small(run)

    def lose(self, run: Run, winner: str, would_earn: int, detail: Mapping[str, int | str] = NOTHING) -> None:
        detail = {**detail, "would_earn": would_earn}
        run.outcomes[self.index] = Outcome(
            self.code, self.spec.unit, "lost_to", 0, (0,) * run.size, f"lost_to:{winner}", detail
        )

    def passes(self, run: Run) -> bool:
        """Tell whether the rule is open to this event at all; if not, its outcome is written."""
        for holds, refuse in self.gate:
            if not holds(run):
                refuse(run)
                return False
        return True

    def carried(self, run: Run) -> int:
        """Return the remainder kept from earlier; one that another version of the rule left cannot be a whole point."""
        kept = run.state.remainders.get(self.code, 0) if self.carries else 0
        return kept if kept < self.scale else 0

    def carry(self, run: Run, left: int) -> None:
        if self.carries:
            run.state.remainders[self.code] = left


def _carried(moved: int, lines: Sequence[int]) -> Mapping[str, int | str]:
    """Return by how much the remainder was moved, as a trace keeps it, and how that falls on the lines."""
    if not moved and not any(lines):
        return NOTHING
    return {"carried": moved, "carried_lines": ",".join(map(str, lines))} if len(lines) > 1 else {"carried": moved}


def _multiplies(rule: RuleSpec, other: RuleSpec) -> bool:
    if rule.effect.kind != "multiplier" or other.effect.kind == "multiplier":
        return False
    return other.code in rule.effect.of if rule.effect.of else other.unit == rule.unit


def _gate(rule: RuleSpec) -> tuple[tuple[RunCheck, str], ...]:
    """Return what is asked once for an event, each with the reason if the answer is no."""
    return (*_validity(rule), *_trigger_checks(rule), *_event_conditions(rule))


def _validity(rule: RuleSpec) -> Iterable[tuple[RunCheck, str]]:
    if (first := rule.valid_from) is not None:
        yield lambda run: run.event.day >= first, "not_valid_yet"
    if (last := rule.valid_until) is not None:
        yield lambda run: run.event.day <= last, "no_longer_valid"
    if rule.schedule is not None:
        yield schedule_check(rule.schedule), "outside_schedule"


def _trigger_checks(rule: RuleSpec) -> Iterable[tuple[RunCheck, str]]:
    if rule.trigger == "visit":
        yield lambda run: run.state.last_visit != run.event.day, "visited_today"
    if rule.trigger == "purchase":
        yield lambda run: run.earns, "no_earning_line"


def _event_conditions(rule: RuleSpec) -> Iterable[tuple[RunCheck, str]]:
    for condition in rule.conditions:
        if rule.trigger != "line" or not looks_at_lines(condition):
            yield run_check(condition), f"condition:{condition.field}"


def _grouped(handles: Sequence[_Handle]) -> Iterable[list[_Handle]]:
    """Put the rules of an exclusive group together, at the place of the first."""
    groups: dict[str, list[_Handle]] = {}
    for handle in handles:
        groups.setdefault(f"group {handle.spec.group}" if handle.spec.group else f"rule {handle.code}", []).append(
            handle
        )
    return groups.values()


def _step(handles: Sequence[_Handle]) -> Step:
    if handles[0].spec.trigger == "line":
        return _line_step(handles[0]) if len(handles) == 1 else _line_group_step(handles)
    return _run_step(handles[0]) if len(handles) == 1 else _run_group_step(handles)


def _run_step(handle: _Handle) -> Step:
    """Return the step of a rule for whole events that is in no group."""
    earn, share = run_earner(handle.spec, handle.targets), sharer(handle.spec, handle.targets)
    gate, carries, settle = handle.gate, handle.carries, handle.settle

    def step(run: Run) -> None:
        for holds, refuse in gate:
            if not holds(run):
                return refuse(run)
        kept = handle.carried(run) if carries else 0
        points, left = earn(run, kept)
        detail = NOTHING
        if carries:
            handle.carry(run, left)
            detail = _carried(left - kept, share(run, left - kept))
        if points:
            settle(run, points, share(run, points), detail)
        else:
            handle.give_nothing(run, detail)

    return step


def _run_group_step(handles: Sequence[_Handle]) -> Step:
    """Return the step of an exclusive group of rules for whole events."""
    parts = [
        (handle, run_earner(handle.spec, handle.targets), sharer(handle.spec, handle.targets)) for handle in handles
    ]

    def step(run: Run) -> None:
        bids = [(handle, share, *earn(run, handle.carried(run))) for handle, earn, share in parts if handle.passes(run)]
        best = _best([(handle, points, left) for handle, _, points, left in bids])
        for handle, share, points, left in bids:
            detail = NOTHING
            if handle is best and handle.carries:
                moved = left - handle.carried(run)
                detail = _carried(moved, share(run, moved))
                handle.carry(run, left)
            if not points:
                handle.give_nothing(run, detail)
            elif handle is best:
                handle.settle(run, points, share(run, points), detail)
            elif best is not None:
                handle.lose(run, best.code, points)

    return step


def _best(bids: Sequence[tuple[_Handle, int, int]]) -> _Handle | None:
    """
    Return who wins: the highest priority that reaches a point; ties go to more points, then to the code.

    If none reaches a point, the first that carries takes the amount into its remainder.
    """
    reaching = [bid for bid in bids if bid[1]]
    if reaching:
        return max(reaching, key=lambda bid: (bid[0].spec.priority, bid[1]))[0]
    return next((handle for handle, _, _ in bids if handle.carries), None)


def _line_step(handle: _Handle) -> Step:
    """Return the step of a line rule that is in no group. Most of all time is spent here, hence the long loop."""
    earn, (checks, refusals) = line_earner(handle.spec, handle.targets), _line_conditions(handle)
    gate, carries, settle = handle.gate, handle.carries, handle.settle

    def step(run: Run) -> None:
        for holds_now, refuse in gate:
            if not holds_now(run):
                return refuse(run)
        left = handle.carried(run) if carries else 0
        amounts, furthest, kept = [], -1, [left]
        for place, line in enumerate(run.lines):
            points = 0
            if line.earning:
                passed = 0
                for holds in checks:
                    if not holds(line):
                        break
                    passed += 1
                else:
                    points, left = earn(line, left, run, place)
                if passed > furthest:
                    furthest = passed
            amounts.append(points)
            if carries:
                kept.append(left)
        detail = NOTHING
        if carries:
            handle.carry(run, left)
            detail = _carried(left - kept[0], [after - before for before, after in pairwise(kept)])
        if total := sum(amounts):
            settle(run, total, tuple(amounts), detail)
        elif detail or refusals[furthest] is handle.too_small:
            handle.give_nothing(run, detail)
        else:
            refusals[furthest](run)

    return step


def _line_conditions(handle: _Handle) -> tuple[tuple[LineCheck, ...], tuple[Step, ...]]:
    """Return the checks of a line, and what refuses by the number of checks that the best line passed."""
    conditions = [condition for condition in handle.spec.conditions if looks_at_lines(condition)]
    refusals = [handle.refuser(f"condition:{condition.field}") for condition in conditions]
    # The last one is for -1: no line was looked at.
    return tuple(map(line_check, conditions)), (*refusals, handle.too_small, handle.refuser("no_earning_line"))


def _line_group_step(handles: Sequence[_Handle]) -> Step:
    """Return the step of an exclusive group of line rules: who fires is decided line by line."""
    parts = [(handle, line_earner(handle.spec, handle.targets), *_line_conditions(handle)) for handle in handles]

    def step(run: Run) -> None:
        lanes = [_Lane(run, *part) for part in parts if part[0].passes(run)]
        for place, line in enumerate(run.lines):
            bids = [bid for lane in lanes if (bid := lane.bid(run, place, line))]
            best = _best(bids)
            for lane in lanes:
                lane.take(best)
        for lane in lanes:
            lane.finish(run)

    return step


class _Lane:
    """A line rule of an exclusive group on its way along the lines of one event."""

    __slots__ = ("amounts", "checks", "earn", "furthest", "handle", "left", "lost", "moved", "now", "refusals",
                 "winner")  # fmt: skip

    def __init__(
        self, run: Run, handle: _Handle, earn: LineEarner, checks: tuple[LineCheck, ...], refusals: tuple[Step, ...]
    ) -> None:
        self.handle, self.earn, self.checks, self.refusals = handle, earn, checks, refusals
        self.left = handle.carried(run)
        self.now = 0, self.left
        self.amounts: list[int] = []
        self.moved: list[int] = []
        self.furthest = -1
        self.lost: list[int] = []
        self.winner = ""

    def bid(self, run: Run, place: int, line: Line) -> tuple[_Handle, int, int] | None:
        """Return what the rule would give for a line, or None where it does not apply."""
        self.now = 0, self.left
        if not line.earning:
            return None
        passed = next((at for at, holds in enumerate(self.checks) if not holds(line)), len(self.checks))
        self.furthest = max(self.furthest, passed)
        if passed < len(self.checks):
            return None
        self.now = self.earn(line, self.left, run, place)
        return self.handle, *self.now

    def take(self, best: _Handle | None) -> None:
        """Take the line if the rule won it, or note to whom it was lost."""
        points, left = self.now
        self.moved.append(left - self.left if self.handle is best else 0)
        if self.handle is best:
            self.left = left
        elif points and best is not None:
            self.lost.append(points)
            self.winner = self.winner or best.code
        self.amounts.append(points if self.handle is best else 0)

    def finish(self, run: Run) -> None:
        """Write the outcome over all lines."""
        self.handle.carry(run, self.left)
        detail = _carried(sum(self.moved), self.moved)
        if any(self.amounts):
            if self.lost:
                detail = {**detail, "lost_to": self.winner, "lost_lines": len(self.lost)}
            self.handle.settle(run, sum(self.amounts), tuple(self.amounts), detail)
        elif self.lost:
            self.handle.lose(run, self.winner, sum(self.lost), detail)
        elif detail or self.refusals[self.furthest] is self.handle.too_small:
            self.handle.give_nothing(run, detail)
        else:
            self.refusals[self.furthest](run)
