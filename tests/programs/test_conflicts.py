"""Conflicts of rules, by table: what is shown, and what is not."""

from datetime import date, time
from decimal import Decimal
from typing import Any

import pytest

from programs.rules import (
    Caps,
    Condition,
    Effect,
    MemberCap,
    ProgramSpec,
    RewardSpec,
    RuleSpec,
    Schedule,
    TierSetSpec,
    TierSpec,
    UnitSpec,
)
from programs.rules.conflicts import conflicts

TODAY = date(2026, 11, 22)
POINTS = UnitSpec(code="points", name="Points", kind="points")
STAMPS = UnitSpec(code="stamps", name="Stamps", kind="stamps")
RATE = Effect(kind="per_amount", points=1, per=100)
TEN = Effect(kind="fixed", points=10)


def rule(code: str, **given: Any) -> RuleSpec:
    return RuleSpec(**{"code": code, "name": code, "unit": "points", "trigger": "purchase", "effect": TEN, **given})


def when(field: str, op: Any, value: Any) -> Condition:
    return Condition(field, op, value)


def program(*rules: RuleSpec, **given: Any) -> ProgramSpec:
    return ProgramSpec(name="Club", units=(POINTS, STAMPS), rules=rules, **given)


def found(*rules: RuleSpec, **given: Any) -> list[tuple[str, tuple[str, ...]]]:
    return [(one.kind, one.codes) for one in conflicts(program(*rules, **given), today=TODAY)]


def by_line(code: str, **given: Any) -> RuleSpec:
    return rule(code, **{"trigger": "line", "effect": RATE, **given})


BOOKS, TOYS = when("category", "eq", "books"), when("category", "eq", "toys")
DOUBLE = Effect(kind="multiplier", factor=Decimal(2), of=("a",))
EVERY = Effect(kind="multiplier", factor=Decimal(2))
EACH = Effect(kind="per_quantity", points=1, per=1)
STEPS = Effect(kind="table", steps=((0, 0), (1, 5), (2, 9)))
HIGHER = Effect(kind="table", steps=((2, 9),))


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        pytest.param([rule("a", group="g"), rule("b", group="g")], [("tie", ("a", "b"))], id="same priority"),
        pytest.param([rule("a", group="g", priority=1), rule("b", group="g", conditions=())],
                     [("shadowed", ("b", "a"))], id="always beaten"),
        pytest.param([rule("a", group="g", priority=1, conditions=(when("channel", "eq", "online"),)),
                      rule("b", group="g")], [], id="beaten only online"),
        pytest.param([rule("a", group="g", priority=1),
                      rule("b", group="g", conditions=(when("amount", "gt", 5),))],
                     [("shadowed", ("b", "a"))], id="narrower and weaker"),
        pytest.param([by_line("a", group="g", priority=1, effect=Effect(kind="per_amount", points=1, per=1_000)),
                      by_line("b", group="g")], [], id="the stronger may come to nothing"),
        pytest.param([by_line("a", group="g", priority=1, effect=Effect(kind="per_amount", points=2, per=100)),
                      by_line("b", group="g")], [("shadowed", ("b", "a"))], id="a higher rate"),
        pytest.param([by_line("a", group="g", conditions=(BOOKS,)), by_line("b", group="g", conditions=(TOYS,))],
                     [], id="never on one line"),
        pytest.param([rule("a", group="g", priority=1, effect=STEPS), rule("b", group="g", effect=STEPS)],
                     [("shadowed", ("b", "a"))], id="the same table"),
        pytest.param([rule("a", group="g", priority=1, effect=STEPS), rule("b", group="g", effect=HIGHER)],
                     [], id="a table that begins later"),
        pytest.param([rule("a", group="g", priority=1, effect=STEPS), rule("b", group="g")], [],
                     id="a table that may give nothing"),
        pytest.param([by_line("a", group="g", priority=1, effect=EACH), by_line("b", group="g")], [],
                     id="by pieces and by amount"),
        pytest.param([by_line("a", group="g", priority=1, remainder="carry"), by_line("b", group="g")], [],
                     id="carries"),
        pytest.param([by_line("a", group="g", priority=1), by_line("b", group="g", remainder="carry")], [],
                     id="the weaker carries"),
        pytest.param([by_line("a", group="g", priority=1), by_line("b", group="g", rounding="up")], [],
                     id="the weaker rounds up"),
        pytest.param([by_line("a", group="g", priority=1, rounding="up"), by_line("b", group="g")],
                     [("shadowed", ("b", "a"))], id="the stronger rounds up"),
        pytest.param([by_line("a", group="g", priority=1, rounding="nearest"), by_line("b", group="g")], [],
                     id="rounded in another way"),
        pytest.param([by_line("a", group="g", priority=1), by_line("b", group="g")],
                     [("shadowed", ("b", "a"))], id="just the same rate"),
        pytest.param([rule("a", group="g", priority=1), rule("b", group="h")], [], id="groups apart"),
        pytest.param([rule("a", group="g", priority=1, trigger="visit"), rule("b", group="g")], [],
                     id="another trigger comes first"),
        pytest.param([rule("a", effect=STEPS, caps=Caps(budget=4))], [("cap_below_one", ("a",))],
                     id="cap below the least step"),
        pytest.param([rule("a", effect=STEPS, caps=Caps(budget=5))], [], id="cap of the least step"),
        pytest.param([rule("a", caps=Caps(per_member=MemberCap(period="day", points=9), budget=3))],
                     [("cap_below_one", ("a",))], id="two caps below ten are told once"),
        pytest.param([by_line("a"), by_line("b", effect=EACH)], [], id="by amount and by pieces beside"),
        pytest.param([by_line("a"), by_line("b", trigger="purchase")], [("twice", ("a", "b"))], id="line and sale"),
        pytest.param([rule("a", trigger="birthday"), rule("b"), rule("m", effect=EVERY)], [],
                     id="multiplies one of two"),
        pytest.param([rule("a", trigger="birthday"), rule("b", unit="stamps"), rule("m", effect=EVERY)],
                     [("apart", ("m", "a"))], id="multiplies nothing of its unit"),
        pytest.param([rule("a", group="g", conditions=(BOOKS,)), rule("b", group="g", conditions=(TOYS,))],
                     [("tie", ("a", "b"))], id="one sale may hold both"),
        pytest.param([rule("a", group="g", schedule=Schedule(weekdays=(1,))),
                      rule("b", group="g", schedule=Schedule(weekdays=(2,)))], [], id="other weekdays"),
        pytest.param([rule("a", group="g", schedule=Schedule(starts=time(9), ends=time(12))),
                      rule("b", group="g", schedule=Schedule(starts=time(12), ends=time(14)))], [], id="other hours"),
        pytest.param([rule("a", group="g", valid_until=date(2026, 12, 31)),
                      rule("b", group="g", valid_from=date(2027, 1, 1))], [], id="one after the other"),
        pytest.param([rule("a", group="g", trigger="sign_up"), rule("b", group="g", trigger="birthday")],
                     [], id="other events"),
        pytest.param([rule("a", conditions=(when("amount", "gt", 10), when("amount", "lt", 5)))],
                     [("contradiction", ("a",))], id="above ten and below five"),
        pytest.param([rule("a", conditions=(when("amount", "gte", 5), when("amount", "lte", 5)))], [], id="just five"),
        pytest.param([rule("a", conditions=(when("amount", "gt", 5), when("amount", "lte", 5)))],
                     [("contradiction", ("a",))], id="above five and at most five"),
        pytest.param([rule("a", conditions=(when("tier", "eq", "gold"), when("tier", "ne", "gold")))],
                     [("contradiction", ("a",))], id="gold and not gold"),
        pytest.param([by_line("a", conditions=(BOOKS, TOYS))], [("contradiction", ("a",))], id="a line of two kinds"),
        pytest.param([rule("a", conditions=(BOOKS, TOYS))], [], id="a sale with both kinds"),
        pytest.param([rule("a", conditions=(BOOKS, when("category", "ne", "books")))],
                     [("contradiction", ("a",))], id="books and no books"),
        pytest.param([rule("a", conditions=(when("weekday", "between", (6, 7)), when("weekday", "lt", 6)))],
                     [("contradiction", ("a",))], id="weekend and before it"),
        pytest.param([rule("a", conditions=(when("weekday", "eq", 1),), schedule=Schedule(weekdays=(2, 3)))],
                     [("no_time", ("a",))], id="monday, on tuesdays"),
        pytest.param([rule("a", valid_until=date(2026, 11, 21))], [("over", ("a",))], id="over since yesterday"),
        pytest.param([rule("a", valid_until=TODAY)], [], id="valid to the end of today"),
        pytest.param([by_line("a", conditions=(BOOKS,)), by_line("m", conditions=(TOYS,), effect=DOUBLE)],
                     [("apart", ("m", "a"))], id="multiplies what is never there"),
        pytest.param([by_line("a", conditions=(BOOKS,)), by_line("m", conditions=(BOOKS,), effect=DOUBLE)],
                     [], id="multiplies what is there"),
        pytest.param([rule("a", trigger="birthday"), rule("m", effect=DOUBLE)], [("apart", ("m", "a"))], id="no event"),
        pytest.param([rule("a", caps=Caps(per_purchase=9))], [("cap_below_one", ("a",))], id="cap below ten"),
        pytest.param([rule("a", caps=Caps(per_member=MemberCap(period="day", points=10)))], [], id="cap just ten"),
        pytest.param([by_line("a"), by_line("b", conditions=(BOOKS,))], [("twice", ("a", "b"))], id="paid twice"),
        pytest.param([by_line("a"), by_line("b", unit="stamps")], [], id="another unit"),
        pytest.param([by_line("a"), rule("b")], [], id="a bonus beside"),
    ],
)  # fmt: skip
def test_rules(rules: list[RuleSpec], expected: list[tuple[str, tuple[str, ...]]]) -> None:
    assert found(*rules) == expected


def reward(unit: str, **given: Any) -> RewardSpec:
    return RewardSpec(code="r", name="R", kind="product", unit=unit, price=1, value=1, **given)


def test_reward_in_a_unit_that_nobody_earns() -> None:
    assert found(rule("a"), rewards=(reward("stamps"),)) == [("unearned", ("r",))]
    assert found(rule("a"), rewards=(reward("points"),)) == []
    assert found(rule("a"), rewards=(reward("stamps", active=False),)) == []


def test_reward_whose_only_rule_is_over() -> None:
    assert ("unearned", ("r",)) in found(rule("a", valid_until=date(2026, 1, 1)), rewards=(reward("points"),))


def tiers(enter: int) -> TierSetSpec:
    return TierSetSpec(basis="earned", levels=(TierSpec(code="gold", name="Gold", enter=enter, keep=enter),))


def test_tier_beyond_all_that_can_be_earned() -> None:
    once = rule("a", caps=Caps(per_member=MemberCap(period="ever", points=50)))

    assert found(once, tiers=tiers(51)) == [("unreachable", ("gold",))]
    assert found(once, tiers=tiers(50)) == []
    assert found(once, rule("b"), tiers=tiers(51)) == []
    # Stamps are another matter, and what comes again each month has no end.
    assert found(once, rule("b", unit="stamps"), tiers=tiers(51)) == [("unreachable", ("gold",))]
    monthly = rule("b", caps=Caps(per_member=MemberCap(period="month", points=50)))
    assert found(once, monthly, tiers=tiers(500)) == []
    more = rule("b", caps=Caps(per_member=MemberCap(period="ever", points=25)))
    assert [found(once, more, tiers=tiers(enter)) for enter in (75, 76)] == [[], [("unreachable", ("gold",))]]
    spent = TierSetSpec(basis="spend", levels=tiers(51).levels)
    assert found(once, tiers=spent) == []


def test_paths_lead_to_the_places() -> None:
    told = conflicts(program(rule("z"), rule("a", conditions=(when("amount", "gt", 9), when("amount", "lt", 2)))),
                     today=TODAY)  # fmt: skip

    assert told[0].paths == ("rules[1]", "rules[1].conditions[0]", "rules[1].conditions[1]")


def test_hints_come_after_all_that_is_hardly_meant_so_each_by_the_order_of_the_rules() -> None:
    many = [by_line("a"), by_line("b"), *(rule(f"r{n}", conditions=(BOOKS, when("category", "ne", "books")))
                                          for n in range(10))]  # fmt: skip
    told = conflicts(program(*many), today=TODAY)

    assert [one.codes[0] for one in told] == [*(f"r{n}" for n in range(10)), "a"]
    assert [one.is_hint for one in told] == [False] * 10 + [True]
