"""Laws that hold for every basket, every return and every basis; each with a broken variant that its check catches."""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from programs.rules import (
    LIMIT,
    Caps,
    Condition,
    Effect,
    Evaluation,
    Event,
    Line,
    MemberCap,
    MemberState,
    Problem,
    ProgramError,
    RuleSpec,
    TierSpec,
    compile_rules,
    distribute,
    evaluate,
    missing_to_next,
    parse_program,
    preview,
    reversal,
    tier_for,
)
from programs.rules.specs import ROUNDINGS, Rounding, Trigger

# A long run: RULE_EXAMPLES=10000.
EXAMPLES = int(os.environ.get("RULE_EXAMPLES", "500"))
often = settings(max_examples=EXAMPLES, deadline=None)

NOON = datetime(2026, 11, 22, 12)  # noqa: DTZ001 (already local)
SALE_TRIGGERS: tuple[Trigger, ...] = ("line", "purchase")
DAYS = (date(2026, 11, 22), date(2026, 11, 23), date(2026, 12, 1))

amounts = st.one_of(st.just(0), st.just(1), st.integers(-5_000, 50_000), st.just(10**12))
quantities = st.integers(1, 20_000).map(lambda milli: Decimal(milli).scaleb(-3))
lines = st.builds(
    Line,
    position=st.just(0),
    sku=st.sampled_from(["tea", "bun", "book"]),
    category=st.sampled_from(["drinks", "food"]),
    quantity=quantities,
    amount=amounts,
    earning=st.sampled_from([True, True, True, False]),
)


def sale_of(basket: Sequence[Line], day: date = DAYS[0]) -> Event:
    return Event(
        "sale", NOON.replace(month=day.month, day=day.day), day, sum(line.amount for line in basket), tuple(basket)
    )


sales = st.builds(sale_of, st.lists(lines, max_size=6), st.sampled_from(DAYS))

conditions = st.one_of(
    st.builds(Condition, st.just("category"), st.sampled_from(["eq", "ne"]), st.sampled_from(["drinks", "food"])),
    st.builds(Condition, st.just("sku"), st.sampled_from(["in", "not_in"]), st.just(("tea", "bun"))),
    st.builds(Condition, st.just("amount"), st.sampled_from(["gt", "lte"]), st.integers(0, 30_000)),
)
rates = st.builds(
    Effect,
    kind=st.sampled_from(["per_amount", "per_quantity"]),
    points=st.integers(1, 30),
    per=st.integers(1, 500),
)
effects = st.one_of(rates, st.builds(Effect, kind=st.just("fixed"), points=st.integers(1, 500)))
caps = st.builds(
    Caps,
    per_purchase=st.none() | st.integers(1, 400),
    per_member=st.none() | st.builds(MemberCap, period=st.sampled_from(["day", "month"]), points=st.integers(1, 900)),
    budget=st.none() | st.integers(1, 2_000),
)


@st.composite
def programs(draw: st.DrawFn, group_names: Sequence[str | None] = (None,)) -> list[RuleSpec]:
    rules = []
    for place in range(draw(st.integers(1, 5))):
        effect = draw(effects)
        is_rate = effect.kind != "fixed"
        rounding: Rounding = draw(st.sampled_from(ROUNDINGS)) if is_rate else "down"
        trigger: Trigger = draw(st.sampled_from(SALE_TRIGGERS))
        group = draw(st.sampled_from(group_names))
        rule = RuleSpec(
            code=f"r{place}",
            name="Rule",
            unit=draw(st.sampled_from(["points", "stamps"])),
            trigger=trigger,
            effect=effect,
            conditions=tuple(draw(st.lists(conditions, max_size=2))),
            rounding=rounding,
            remainder=draw(st.sampled_from(["drop", "carry"])) if is_rate and rounding == "down" else "drop",
            caps=draw(caps),
            priority=draw(st.integers(0, 2)),
            group=group and f"{group} {trigger}",
        )
        rules.append(rule)
    for place in range(draw(st.integers(0, 2))):
        factor = Decimal(draw(st.integers(10_001, 50_000))).scaleb(-4)
        rules.append(
            RuleSpec(
                code=f"m{place}",
                name="More",
                unit="points",
                trigger=draw(st.sampled_from(SALE_TRIGGERS)),
                effect=Effect(kind="multiplier", factor=factor),
                conditions=tuple(draw(st.lists(conditions, max_size=1))),
                caps=draw(caps),
            )
        )
    return rules


# --- sharing ---------------------------------------------------------------------------------------------------------

Distribute = Callable[[int, Sequence[int]], tuple[int, ...]]
weights = st.lists(st.integers(0, 10**12), min_size=1, max_size=12)
totals = st.integers(0, LIMIT)


def is_fair(share_out: Distribute, total: int, each: Sequence[int]) -> bool:
    """Tell whether shares sum to the total, and each is its exact share rounded down or up."""
    shares, whole = share_out(total, each), sum(each) or len(each)
    exact = [total * (weight if sum(each) else 1) for weight in each]
    close = all(part // whole <= share <= -(-part // whole) for share, part in zip(shares, exact, strict=True))
    return sum(shares) == total and close


@often
@given(totals, weights)
def test_r10_shares_sum_to_the_total_and_are_fair(total: int, each: list[int]) -> None:
    assert is_fair(distribute, total, each)


@often
@given(totals, st.lists(st.integers(1, 10**6), min_size=2, max_size=8))
def test_r10_heavier_line_never_gets_less(total: int, each: list[int]) -> None:
    shares = distribute(total, each)

    for left, right in pairwise(sorted(zip(each, shares, strict=True))):
        assert left[0] == right[0] or left[1] <= right[1]


def rounding_each(total: int, each: Sequence[int]) -> tuple[int, ...]:
    whole = sum(each) or 1
    return tuple((2 * total * weight + whole) // (2 * whole) for weight in each)


def all_left_to_the_first(total: int, each: Sequence[int]) -> tuple[int, ...]:
    whole = sum(each) or 1
    shares = [total * weight // whole for weight in each]
    return (shares[0] + total - sum(shares), *shares[1:])


@pytest.mark.parametrize("broken", [rounding_each, all_left_to_the_first])
def test_r10_check_catches_a_broken_share_out(broken: Distribute) -> None:
    cases = st.tuples(st.integers(0, 100), st.lists(st.integers(1, 9), min_size=2, max_size=6))

    find(cases, lambda case: not is_fair(broken, *case), settings=settings(max_examples=2_000))


# --- returns ---------------------------------------------------------------------------------------------------------

Reversal = Callable[[int, Decimal, Decimal, Decimal], int]


@st.composite
def splits(draw: st.DrawFn) -> tuple[int, list[Decimal]]:
    """Return what a line earned, and how much of it was back after each of its returns."""
    milli = draw(st.integers(1, 50_000))
    cuts = sorted(draw(st.lists(st.integers(0, milli), max_size=6)))
    return draw(st.integers(0, 10**12)), [Decimal(cut).scaleb(-3) for cut in (0, *cuts, milli)]


def takes_back_exactly(reverse: Reversal, split: tuple[int, list[Decimal]]) -> bool:
    earned, steps = split
    parts = [reverse(earned, steps[-1], before, after) for before, after in pairwise(steps)]
    return sum(parts) == earned and all(part >= 0 for part in parts)


@often
@given(splits())
def test_r07_any_split_of_returns_takes_back_exactly_what_was_earned(split: tuple[int, list[Decimal]]) -> None:
    assert takes_back_exactly(reversal, split)


@often
@given(splits(), st.data())
def test_r07_part_of_the_returns_never_takes_back_more_than_was_earned(
    split: tuple[int, list[Decimal]], data: st.DataObject
) -> None:
    earned, steps = split
    steps = steps[: data.draw(st.integers(1, len(steps)))]
    parts = [reversal(earned, split[1][-1], before, after) for before, after in pairwise(steps)]

    assert sum(parts) == earned * steps[-1].as_integer_ratio()[0] * split[1][-1].as_integer_ratio()[1] // (
        steps[-1].as_integer_ratio()[1] * split[1][-1].as_integer_ratio()[0]
    )


def each_return_rounded(earned: int, quantity: Decimal, before: Decimal, after: Decimal) -> int:
    return int(earned * (after - before) / quantity)


def each_return_rounded_up(earned: int, quantity: Decimal, before: Decimal, after: Decimal) -> int:
    return -int(-earned * (after - before) // quantity)


@pytest.mark.parametrize("broken", [each_return_rounded, each_return_rounded_up])
def test_r07_check_catches_a_broken_reversal(broken: Reversal) -> None:
    find(splits(), lambda split: not takes_back_exactly(broken, split), settings=settings(max_examples=2_000))


@often
@given(st.lists(lines, min_size=1, max_size=5), programs([None, "g"]), st.data())
def test_r07_returning_every_line_in_parts_takes_back_the_whole_credit(
    basket: list[Line], rules: list[RuleSpec], data: st.DataObject
) -> None:
    got = run(rules, sale_of(basket))
    taken = dict.fromkeys(got.credits, 0)
    for outcome in got.outcomes:
        for line, earned in zip(basket, outcome.line_amounts, strict=True):
            part = Decimal(data.draw(st.integers(0, int(line.quantity * 1000)))).scaleb(-3)
            for before, after in ((Decimal(0), part), (part, line.quantity)):
                taken[outcome.unit] = taken.get(outcome.unit, 0) + reversal(earned, line.quantity, before, after)

    assert {unit: points for unit, points in taken.items() if points} == got.credits


# --- evaluation ------------------------------------------------------------------------------------------------------


def run(rules: list[RuleSpec], event: Event, state: MemberState | None = None) -> Evaluation:
    return evaluate(compile_rules(rules), event, state or MemberState(), {})


@often
@given(programs([None, "g", "h"]), st.lists(sales, min_size=1, max_size=4))
def test_r10_outcomes_are_whole_never_negative_and_sum_to_the_credits(
    rules: list[RuleSpec], events: list[Event]
) -> None:
    state, budgets, compiled = MemberState(), dict[str, int](), compile_rules(rules)
    for event in events:
        shown = preview(compiled, event, state, budgets)
        got = evaluate(compiled, event, state, budgets)
        sums: dict[str, int] = {}
        for outcome in got.outcomes:
            assert isinstance(outcome.amount, int)
            assert 0 <= outcome.amount == sum(outcome.line_amounts) or not event.lines
            assert len(outcome.line_amounts) == len(event.lines)
            assert all(share >= 0 for share in outcome.line_amounts)
            assert not any(
                share for share, line in zip(outcome.line_amounts, event.lines, strict=True) if not line.earning
            )
            assert bool(outcome.reason) == (outcome.result != "fired")
            assert outcome.amount == 0 or outcome.result in ("fired", "capped")
            sums[outcome.unit] = sums.get(outcome.unit, 0) + outcome.amount

        assert [outcome.code for outcome in got.outcomes] == [rule.code for rule in compiled.rules]
        assert {unit: points for unit, points in sums.items() if points} == got.credits
        assert shown == got
    assert all(left >= 0 for left in budgets.values())


@often
@given(programs([None]), st.lists(sales, min_size=1, max_size=5))
def test_r10_caps_are_never_exceeded(rules: list[RuleSpec], events: list[Event]) -> None:
    state, budgets, compiled = MemberState(), dict[str, int](), compile_rules(rules)
    given_out: dict[str, int] = {}
    by_period: dict[tuple[str, str], int] = {}
    for event in events:
        for outcome in evaluate(compiled, event, state, budgets).outcomes:
            rule = compiled.by_code[outcome.code]
            given_out[rule.code] = given_out.get(rule.code, 0) + outcome.amount
            assert outcome.amount <= (rule.caps.per_purchase or LIMIT)
            if rule.caps.per_member:
                day = event.day.isoformat()
                key = rule.code, day if rule.caps.per_member.period == "day" else day[:7]
                by_period[key] = by_period.get(key, 0) + outcome.amount
                assert by_period[key] <= rule.caps.per_member.points
    assert {key: points for key, points in by_period.items() if points} == state.used
    for rule in rules:
        if rule.caps.budget is not None:
            assert given_out[rule.code] == rule.caps.budget - budgets.get(rule.code, rule.caps.budget)


@often
@given(programs(["g", "h"]), sales)
def test_one_rule_of_a_group_earns_on_a_line(rules: list[RuleSpec], event: Event) -> None:
    got = run(rules, event)
    groups: dict[str, list[tuple[int, ...]]] = {}
    for rule in rules:
        if rule.group:
            shares = next(each.line_amounts for each in got.outcomes if each.code == rule.code)
            groups.setdefault(rule.group, []).append(shares)

    for shares_of_rules in groups.values():
        assert all(sum(share > 0 for share in on_line) <= 1 for on_line in zip(*shares_of_rules, strict=True))


@often
@given(programs([None]), sales)
def test_group_of_one_changes_nothing(rules: list[RuleSpec], event: Event) -> None:
    alone = [replace(rule, group=f"only {rule.code}") for rule in rules]
    # A second member that never applies makes it a group indeed.
    closed = [
        replace(rule, code=f"z{rule.code}", valid_from=date(2030, 1, 1), caps=Caps(), remainder="drop")
        for rule in alone
    ]
    one, other = MemberState(), MemberState()
    plain, grouped = run(rules, event, one), run(alone + closed, event, other)

    known = {rule.code for rule in rules}
    assert plain.outcomes == tuple(outcome for outcome in grouped.outcomes if outcome.code in known)
    assert (plain.credits, one) == (grouped.credits, other)


def conserved(rule: RuleSpec, events: list[Event], start: int, *, credited: Callable[[int], int] = int) -> bool:
    """Tell whether points times their price, and what is carried, are worth what was bought."""
    state = MemberState(remainders={rule.code: start})
    points = sum(credited(run([rule], event, state).outcomes[0].amount) for event in events)
    is_line = rule.trigger == "line"
    bought = 0
    for event in events:
        earning = [line for line in event.lines if line.earning]
        if rule.effect.kind == "per_quantity":
            parts = [int(line.quantity * 1000) for line in earning]
        else:
            parts = [line.amount for line in earning]
        bought += sum(part for part in parts if part > 0) if is_line else max(0, sum(parts))
    scale = rule.effect.per * (1000 if rule.effect.kind == "per_quantity" else 1)
    return points * scale + state.remainders[rule.code] == rule.effect.points * bought + start


carrying = st.builds(
    RuleSpec,
    code=st.just("spend"),
    name=st.just("Spend"),
    unit=st.just("points"),
    trigger=st.sampled_from(["line", "purchase"]),
    effect=rates,
    remainder=st.just("carry"),
)
filled = st.lists(st.builds(sale_of, st.lists(lines, min_size=1, max_size=5)), min_size=1, max_size=5)


@often
@given(carrying, filled, st.data())
def test_r10_carried_remainder_conserves_value(rule: RuleSpec, events: list[Event], data: st.DataObject) -> None:
    assert conserved(rule, events, data.draw(st.integers(0, rule.effect.per - 1)))


def test_r10_check_catches_a_lost_point() -> None:
    cases = st.tuples(carrying, filled)
    broken = find(
        cases,
        lambda case: not conserved(case[0], case[1], 0, credited=lambda points: max(0, points - 1)),
        settings=settings(max_examples=2_000),
    )

    assert broken


# --- a slow, plain second opinion ------------------------------------------------------------------------------------


def is_within(condition: Condition, amount: int) -> bool:
    bound = condition.value
    assert isinstance(bound, int)
    return amount > bound if condition.op == "gt" else amount <= bound


def holds(condition: Condition, line: Line) -> bool:
    if condition.field == "amount":
        return is_within(condition, line.amount)
    found = line.sku if condition.field == "sku" else line.category
    named = condition.value if isinstance(condition.value, tuple) else (condition.value,)
    return (found in named) == (condition.op in ("eq", "in"))


def applies_to_sale(rule: RuleSpec, event: Event) -> bool:
    earning = [line for line in event.lines if line.earning]
    if event.lines and not earning:
        return False
    for condition in rule.conditions:
        if condition.field == "amount":
            if not is_within(condition, event.amount):
                return False
        elif condition.op in ("eq", "in"):
            if not any(holds(condition, line) for line in earning):
                return False
        elif not all(holds(condition, line) for line in earning):
            return False
    return True


def rounded(rule: RuleSpec, value: Decimal | int) -> int:
    """Return the points for one value without a carried remainder."""
    effect = rule.effect
    if effect.kind == "fixed":
        return effect.points
    if value <= 0:
        return 0
    up, down = Decimal(value).as_integer_ratio()
    numerator, denominator = effect.points * up, effect.per * down
    floor, rest = divmod(numerator, denominator)
    match rule.rounding:
        case "down":
            return floor
        case "nearest":
            return floor + (2 * rest >= denominator)
        case "up":
            return floor + (rest > 0)


def expected(rule: RuleSpec, event: Event) -> int:
    """Return what a rule without multiplier, group, cap or carried remainder gives, as a person would reckon it."""
    earning = [line for line in event.lines if line.earning]
    by_quantity = rule.effect.kind == "per_quantity"
    if rule.trigger == "line":
        fitting = [line for line in earning if all(holds(one, line) for one in rule.conditions)]
        return sum(rounded(rule, line.quantity if by_quantity else line.amount) for line in fitting)
    if not applies_to_sale(rule, event):
        return 0
    if by_quantity:
        return rounded(rule, sum((line.quantity for line in earning), Decimal(0)))
    return rounded(rule, sum(line.amount for line in earning) if event.lines else event.amount)


def capped(rule: RuleSpec, points: int) -> int:
    limits = (rule.caps.per_purchase, rule.caps.per_member and rule.caps.per_member.points, rule.caps.budget)
    return min(points, *(limit for limit in limits if limit), LIMIT)


@often
@given(programs([None]), sales)
def test_closures_agree_with_plain_reckoning(rules: list[RuleSpec], event: Event) -> None:
    got = {outcome.code: outcome for outcome in run([replace(r, remainder="drop") for r in rules], event).outcomes}
    base = [0] * len(event.lines)
    whole = 0
    for rule in rules:
        if rule.effect.kind != "multiplier":
            assert got[rule.code].amount == capped(rule, expected(rule, event))
        if rule.effect.kind != "multiplier" and rule.unit == "points":
            whole += got[rule.code].amount
            base = [mine + its for mine, its in zip(base, got[rule.code].line_amounts, strict=True)]
    for rule in rules:
        if rule.effect.kind == "multiplier":
            assert got[rule.code].amount == capped(rule, multiplied(rule, event, whole, base))


def multiplied(rule: RuleSpec, event: Event, whole: int, base: list[int]) -> int:
    if rule.trigger == "purchase":
        return int(whole * (rule.effect.factor - 1)) if applies_to_sale(rule, event) else 0
    return sum(
        int(points * (rule.effect.factor - 1))
        for line, points in zip(event.lines, base, strict=True)
        if line.earning and all(holds(one, line) for one in rule.conditions)
    )


# --- tiers -----------------------------------------------------------------------------------------------------------

TierFor = Callable[[Sequence[TierSpec], int, str | None], str | None]


@st.composite
def level_sets(draw: st.DrawFn) -> list[TierSpec]:
    enters = sorted(draw(st.sets(st.integers(0, 1_000), min_size=1, max_size=5)))
    levels: list[TierSpec] = []
    for place, enter in enumerate(enters):
        keep = draw(st.integers(levels[-1].keep if levels else 0, enter))
        levels.append(TierSpec(code=f"l{place}", name="Level", enter=enter, keep=keep))
    return levels


tier_cases = st.tuples(level_sets(), st.integers(0, 1_200), st.integers(0, 300), st.integers(-1, 4))


def rank(levels: Sequence[TierSpec], code: str | None) -> int:
    return next((place for place, level in enumerate(levels) if level.code == code), -1)


def more_never_lowers(judge: TierFor, case: tuple[list[TierSpec], int, int, int]) -> bool:
    levels, basis, more, held = case
    current = f"l{held}" if held >= 0 else None
    return rank(levels, judge(levels, basis, current)) <= rank(levels, judge(levels, basis + more, current))


@often
@given(tier_cases)
def test_r12_more_activity_never_lowers_a_tier(case: tuple[list[TierSpec], int, int, int]) -> None:
    assert more_never_lowers(tier_for, case)


def only_below_its_ceiling(levels: Sequence[TierSpec], basis: int, current: str | None) -> str | None:
    """Judge wrongly: a member keeps a tier below the next one's entry, and beyond it holds none."""
    fitting = [level.code for level in levels if level.keep <= basis < level.enter + 100]
    return fitting[0] if fitting else None


def test_r12_check_catches_a_broken_judge() -> None:
    find(
        tier_cases,
        lambda case: not more_never_lowers(only_below_its_ceiling, case),
        settings=settings(max_examples=5_000),
    )


def test_r12_check_does_not_cry_wolf() -> None:
    with pytest.raises(NoSuchExample):
        find(tier_cases, lambda case: not more_never_lowers(tier_for, case), settings=settings(max_examples=EXAMPLES))


@often
@given(tier_cases)
def test_r12_tier_once_judged_stays_as_it_is(case: tuple[list[TierSpec], int, int, int]) -> None:
    levels, basis, _, held = case
    tier = tier_for(levels, basis, f"l{held}" if held >= 0 else None)

    assert tier_for(levels, basis, tier) == tier


@often
@given(tier_cases)
def test_r12_what_is_missing_is_exactly_enough(case: tuple[list[TierSpec], int, int, int]) -> None:
    levels, basis, _, held = case
    current = f"l{held}" if held >= 0 else None
    if missing := missing_to_next(levels, basis, current):
        code, more = missing
        assert tier_for(levels, basis + more, current) == code
        assert tier_for(levels, basis + more - 1, current) != code


# --- documents -------------------------------------------------------------------------------------------------------

WORDS = """
name units rules tiers rewards offers code kind effect trigger conditions field op value points per steps factor caps of
schedule levels enter keep segments line purchase per_amount table multiplier amount between sku in eq expiry unit
"""
words = st.sampled_from(WORDS.split())
plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | words
json_values = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=6), max_leaves=25
)


def problems_of(document: dict[str, Any]) -> tuple[Problem, ...]:
    try:
        parse_program(document)
    except ProgramError as refused:
        return refused.problems
    return ()


@often
@given(st.dictionaries(words, json_values, max_size=7))
def test_r10_any_document_is_read_or_refused_in_sentences(document: dict[str, Any]) -> None:
    for problem in problems_of(document):
        assert re.fullmatch(r"\S.* (must|is|has|cannot|finds)\b.*\.", str(problem))


@often
@given(st.data())
def test_r10_rule_with_one_wrong_field_is_refused_for_that_rule_or_works(data: st.DataObject) -> None:
    field = data.draw(st.sampled_from([*SOUND, "rounding", "remainder", "priority", "group", "valid_from"]))
    rule = SOUND | {field: data.draw(json_values)}
    document = {"name": "Club", "units": [{"code": "p", "name": "P", "kind": "points"}], "rules": [rule]}
    problems = problems_of(document)

    assert {problem.path.split(".")[0] for problem in problems} <= {"rules[0]"}
    if not problems:
        run(list(parse_program(document).rules), sale_of([Line(0, "tea", "drinks", Decimal(1), 1)]))


SOUND: dict[str, Any] = {
    "code": "a",
    "name": "A",
    "unit": "p",
    "trigger": "purchase",
    "conditions": [{"field": "amount", "op": "between", "value": [1, 2]}],
    "effect": {"kind": "per_amount", "points": 1, "per": 1},
    "caps": {"per_purchase": 5, "per_member": {"period": "day", "points": 1}, "budget": 7},
    "schedule": {"weekdays": [1], "from": "09:00", "to": "10:00"},
}
