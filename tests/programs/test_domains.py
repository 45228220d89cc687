"""What conditions and schedules let through agrees with the engine itself, asked value by value and minute by minute."""

import itertools
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from programs.rules import (
    Condition,
    Effect,
    Event,
    Line,
    MemberState,
    RuleSpec,
    Schedule,
    compile_rules,
    domains,
    evaluate,
)
from programs.rules.conditions import line_check
from programs.rules.domains import Domain, can_meet, covers_in_time, meet_in_time, minutes_of, scope_of

EXAMPLES = int(os.environ.get("RULE_EXAMPLES", "200"))
often = settings(max_examples=EXAMPLES, deadline=None)
MONDAY = datetime(2026, 11, 23)  # noqa: DTZ001 (already local)
TEN = Effect(kind="fixed", points=10)


def rule(**given: Any) -> RuleSpec:
    return RuleSpec(**{"code": "a", "name": "A", "unit": "points", "trigger": "purchase", "effect": TEN, **given})


def fires(one: RuleSpec, sale: Event, tier: str | None = None) -> bool:
    return evaluate(compile_rules([one]), sale, MemberState(tier), {}).outcomes[0].amount > 0


def sale_at(local: datetime, *lines: Line, channel: str = "") -> Event:
    basket = lines or (Line(0, "tea", "drinks", Decimal(1), 100),)
    return Event("sale", local, local.date(), sum(line.amount for line in basket), basket, channel=channel)


# ── one field ───────────────────────────────────────────────────────────────────────────────────────────────────────

QUARTERS = [Decimal(n).scaleb(-2) for n in range(-400, 425, 25)]
whole = st.integers(-2, 2)
pairs = st.tuples(whole, whole).map(lambda both: (min(both), max(both)))
about_amounts = st.one_of(
    st.builds(Condition, st.just("amount"), st.sampled_from(["eq", "ne", "gt", "gte", "lt", "lte"]), whole),
    st.builds(Condition, st.just("amount"), st.just("between"), pairs),
    st.builds(
        Condition,
        st.just("amount"),
        st.sampled_from(["in", "not_in"]),
        st.lists(whole, min_size=1, max_size=3, unique=True).map(tuple),
    ),
)
several = st.lists(about_amounts, max_size=4)


def domain_of(conditions: list[Condition]) -> Domain:
    found = Domain()
    for one in conditions:
        found = found.narrowed(one)
    return found


def passing(conditions: list[Condition]) -> set[Decimal]:
    """The amounts that a line may have, each put to the conditions as the engine asks them."""
    checks = [line_check(one) for one in conditions]
    lines = [(value, Line(0, "tea", "drinks", Decimal(1), value)) for value in QUARTERS]  # type: ignore[arg-type]
    return {value for value, line in lines if all(holds(line) for holds in checks)}


def is_told_empty_exactly(conditions: list[Condition]) -> bool:
    return domain_of(conditions).is_empty == (not passing(conditions))


@often
@given(several)
def test_conditions_leave_nothing_exactly_when_no_amount_passes_them_all(conditions: list[Condition]) -> None:
    assert is_told_empty_exactly(conditions)


@often
@given(several, several)
def test_one_field_covers_another_exactly_when_it_passes_all_that_the_other_does(
    mine: list[Condition], theirs: list[Condition]
) -> None:
    inside = passing(theirs)
    if len(inside) > 1:
        assert domain_of(mine).covers(domain_of(theirs)) == (inside <= passing(mine))
    elif domain_of(mine).covers(domain_of(theirs)):
        # Of a single amount, written as a range, it is enough never to claim too much.
        assert inside <= passing(mine)


@often
@given(several, several)
def test_what_two_rules_leave_together_is_what_passes_both(one: list[Condition], other: list[Condition]) -> None:
    both = domain_of(one).both(domain_of(other))
    assert both.is_empty == (not passing(one) & passing(other))
    assert both.is_empty == domain_of([*one, *other]).is_empty


def test_negative_control_a_domain_with_wrong_ends_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Domain._above
    monkeypatch.setattr(Domain, "_above", lambda domain, bound, _is_open: kept(domain, bound, False))
    seeking = settings(max_examples=3_000, phases=[Phase.generate], database=None)
    find(several, lambda conditions: not is_told_empty_exactly(conditions), settings=seeking)


# ── the week ────────────────────────────────────────────────────────────────────────────────────────────────────────

CLOCK = [time(0), time(0, 1), time(6), time(9, 30), time(12), time(22), time(23, 59)]
hours = st.lists(st.sampled_from(CLOCK), min_size=2, max_size=2, unique=True) | st.none()
weekdays = st.lists(st.integers(1, 7), min_size=1, max_size=3, unique=True).map(lambda days: tuple(sorted(days)))
schedules = st.builds(
    lambda days, both: Schedule(weekdays=days, starts=both and both[0], ends=both and both[1]), weekdays, hours
)
about_time = st.one_of(
    st.builds(Condition, st.just("weekday"), st.sampled_from(["eq", "ne", "gte", "lt"]), st.integers(1, 7)),
    st.builds(Condition, st.just("hour"), st.sampled_from(["eq", "ne", "gt", "lte"]), st.integers(0, 23)),
)
timed = st.builds(
    lambda schedule, conditions: rule(schedule=schedule, conditions=tuple(conditions)),
    schedules | st.none(),
    st.lists(about_time, max_size=2),
)
# Both sides of each moment of the clock, and of each hour.
MOMENTS = sorted(
    {
        MONDAY + timedelta(days=day, hours=at.hour, minutes=at.minute + shift)
        for day in range(7)
        for at in [*CLOCK, *(time(hour) for hour in range(24))]
        for shift in (-1, 0)
        if day or at > time(0) or not shift
    }
)


def open_at(one: RuleSpec) -> set[datetime]:
    """When the rule fires, asked of the engine."""
    return {moment for moment in MOMENTS if fires(one, sale_at(moment))}


def bits(one: RuleSpec) -> set[datetime]:
    told = minutes_of(one)
    return {moment for moment in MOMENTS if told >> int((moment - MONDAY).total_seconds() // 60) & 1}


@settings(max_examples=max(20, EXAMPLES // 5), deadline=None)
@given(timed)
def test_a_rule_can_fire_at_just_the_minutes_at_which_the_engine_lets_it(one: RuleSpec) -> None:
    assert bits(one) == open_at(one)
    assert minutes_of(one) >> 7 * 24 * 60 == 0


@settings(max_examples=max(20, EXAMPLES // 5), deadline=None)
@given(timed, timed)
def test_two_rules_meet_in_time_exactly_when_some_minute_suits_both(one: RuleSpec, other: RuleSpec) -> None:
    assert meet_in_time(one, other) == bool(open_at(one) & open_at(other))
    if covers_in_time(one, other):
        without = replace(one, conditions=())
        assert open_at(other) <= open_at(without)


def test_a_night_belongs_to_the_day_on_which_it_began() -> None:
    night = rule(schedule=Schedule(weekdays=(7,), starts=time(22), ends=time(2)))
    early = rule(schedule=Schedule(weekdays=(1,), starts=time(1), ends=time(3)))
    late = rule(schedule=Schedule(weekdays=(1,), starts=time(2), ends=time(3)))
    sundays = rule(schedule=Schedule(weekdays=(7,)))

    assert meet_in_time(night, early)
    assert not meet_in_time(night, late)
    # The hours of Monday morning are not Sunday's.
    assert not covers_in_time(sundays, night)
    assert covers_in_time(rule(schedule=Schedule(weekdays=(1, 7))), night)


D1, D2, D3 = date(2026, 1, 1), date(2026, 1, 2), date(2026, 1, 3)


@pytest.mark.parametrize(
    ("mine", "theirs", "meet", "covered"),
    [
        ((None, None), (D1, D2), True, True),
        ((D1, None), (None, None), True, False),
        ((None, D2), (None, None), True, False),
        ((D1, D2), (D1, D2), True, True),
        ((D2, D3), (D1, D3), True, False),
        ((D1, D2), (D1, D3), True, False),
        ((D1, D3), (D2, D2), True, True),
        ((None, D1), (D2, None), False, False),
        ((None, D2), (D2, None), True, False),
        ((D1, D1), (D2, D3), False, False),
    ],
)
def test_rules_meet_and_cover_each_other_by_their_dates(mine: Any, theirs: Any, meet: bool, covered: bool) -> None:
    one, other = (rule(valid_from=first, valid_until=last) for first, last in (mine, theirs))
    assert meet_in_time(one, other) == meet_in_time(other, one) == meet
    assert covers_in_time(one, other) == covered


# ── whole rules ─────────────────────────────────────────────────────────────────────────────────────────────────────

about_sales = st.one_of(
    st.builds(Condition, st.just("category"), st.sampled_from(["eq", "ne"]), st.sampled_from(["drinks", "food"])),
    st.builds(Condition, st.just("category"), st.sampled_from(["in", "not_in"]), st.just(("drinks", "food"))),
    st.builds(Condition, st.just("sku"), st.sampled_from(["eq", "ne"]), st.sampled_from(["tea", "bun"])),
    st.builds(Condition, st.just("channel"), st.sampled_from(["eq", "ne"]), st.sampled_from(["web", "till"])),
    st.builds(Condition, st.just("tier"), st.sampled_from(["eq", "ne"]), st.sampled_from(["gold", "silver"])),
    st.builds(Condition, st.just("amount"), st.sampled_from(["gt", "lte"]), st.integers(0, 2)),
)


def rules_for(trigger: str) -> st.SearchStrategy[RuleSpec]:
    return st.lists(about_sales, max_size=3).map(lambda found: rule(trigger=trigger, conditions=tuple(found)))


KINDS = [Line(0, sku, category, Decimal(1), 1) for sku in ("tea", "bun", "pen") for category in ("drinks", "food", "toys")]  # fmt: skip
ONE_LINE: list[tuple[Line, ...]] = [(replace(line, amount=amount),) for line in KINDS for amount in (0, 1, 2, 3)]
TWO_LINES: list[tuple[Line, ...]] = [
    (replace(one, amount=amount), replace(other, amount=0, position=1))
    for one, other in itertools.combinations(KINDS, 2)
    for amount in (0, 1, 2, 3)
]


def passed_by(one: RuleSpec, baskets: list[tuple[Line, ...]]) -> set[tuple[int, str, str | None]]:
    compiled = compile_rules([one])
    return {
        (place, channel, tier)
        for channel in ("web", "till", "")
        for place, basket in enumerate(baskets)
        for tier in ("gold", "silver", None)
        if evaluate(compiled, sale_at(MONDAY, *basket, channel=channel), MemberState(tier), {}).outcomes[0].amount
    }


def law_of_pairs(one: RuleSpec, other: RuleSpec) -> None:
    """What a sale shows is never denied: of a line rule, that line is the sale."""
    baskets = ONE_LINE if one.trigger == "line" else ONE_LINE + TWO_LINES
    mine, theirs = passed_by(one, baskets), passed_by(other, baskets)
    assert can_meet(one, other) or not mine & theirs
    if scope_of(one).covers(scope_of(other)):
        assert theirs <= mine
    for each, passes in ((one, mine), (other, theirs)):
        assert not (scope_of(each).contradictions and passes)


@pytest.mark.parametrize("trigger", ["line", "purchase"])
def test_rules_said_never_to_meet_never_do_and_those_said_to_cover_do(trigger: str) -> None:
    @settings(max_examples=max(15, EXAMPLES // 8), deadline=None)
    @given(rules_for(trigger), rules_for(trigger))
    def holds(one: RuleSpec, other: RuleSpec) -> None:
        law_of_pairs(one, other)

    holds()


@pytest.mark.parametrize(
    ("mine", "theirs", "covers"),
    [
        # A sale with tea in it has a drink or food in it only if it is said so.
        ([("category", "in", ("drinks", "food"))], [("category", "eq", "drinks")], True),
        ([("category", "eq", "drinks")], [("category", "in", ("drinks", "food"))], False),
        ([("category", "ne", "food")], [("category", "not_in", ("drinks", "food"))], True),
        ([("category", "not_in", ("drinks", "food"))], [("category", "ne", "food")], False),
        ([("category", "eq", "drinks")], [("sku", "eq", "drinks")], False),
        ([("channel", "eq", "web")], [("channel", "eq", "web"), ("tier", "eq", "gold")], True),
        ([("channel", "eq", "web"), ("tier", "eq", "gold")], [("channel", "eq", "web")], False),
        ([], [("category", "ne", "food")], True),
    ],
)
def test_a_rule_for_sales_covers_another_by_what_it_asks(mine: Any, theirs: Any, covers: bool) -> None:
    one, other = (rule(conditions=tuple(Condition(*each) for each in asked)) for asked in (mine, theirs))
    assert scope_of(one).covers(scope_of(other)) == covers
    law_of_pairs(one, other)


def test_a_negative_control_finds_two_rules_that_were_said_never_to_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(domains, "meet_in_time", lambda _one, _other: False)
    law: Callable[..., None] = law_of_pairs
    with pytest.raises(AssertionError):
        law(rule(), rule(code="b"))


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        ("line", "purchase", True),
        ("line", "visit", True),
        ("activity", "visit", True),
        ("activity", "purchase", False),
        ("activity", "line", False),
        ("sign_up", "sign_up", True),
        ("sign_up", "birthday", False),
        ("birthday", "purchase", False),
        ("birthday", "birthday", True),
    ],
)
def test_rules_meet_only_where_one_event_concerns_both(one: Any, other: Any, meet: bool) -> None:
    assert can_meet(rule(trigger=one), rule(code="b", trigger=other)) == meet
