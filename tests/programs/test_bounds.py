"""Where each field of a program document ends: the last value that is taken, and the first that is refused."""

import copy
from dataclasses import FrozenInstanceError, fields, is_dataclass
from decimal import Decimal
from typing import Any

import pytest

from programs.rules import LIMIT, ProgramError, parse_program, specs
from programs.rules.arithmetic import is_number, thousandths
from programs.rules.specs import Caps, Effect, ExpirySpec, OfferSpec, RewardSpec, RuleSpec, TierSpec, UnitSpec

RULE: dict[str, Any] = {
    "code": "base",
    "name": "Base",
    "unit": "points",
    "trigger": "purchase",
    "effect": {"kind": "per_amount", "points": 1, "per": 100},
    "caps": {"per_purchase": 10, "per_member": {"period": "day", "points": 10}, "budget": 10},
    "schedule": {"weekdays": [1]},
}
DOCUMENT: dict[str, Any] = {
    "name": "Club",
    "units": [
        {"code": "points", "name": "Points", "kind": "points", "expiry": {"policy": "rolling", "months": 12},
         "may_owe": True}
    ],
    "rules": [RULE],
    "tiers": {"basis": "spend", "period_months": 12,
              "levels": [{"code": "silver", "name": "Silver", "enter": 100, "keep": 50}]},
    "rewards": [{"code": "tea", "name": "Tea", "kind": "product", "unit": "points", "price": 5, "value": 100}],
    "offers": [{"code": "hi", "name": "Hi", "segments": ["new"], "text": "Come!"}],
}  # fmt: skip
A, X = "a", "x"
# Path, the last value that is taken, the first that is refused.
BOUNDS: list[tuple[str, Any, Any]] = [
    ("name", X * 100, X * 101),
    ("units.0.code", A * 30, A * 31),
    ("units.0.name", X * 60, X * 61),
    ("units.0.decimals", 6, 7),
    ("units.0.decimals", 0, -1),
    ("units.0.pending_days", 366, 367),
    ("units.0.pending_days", 0, -1),
    ("units.0.expiry.months", 1, 0),
    ("units.0.debt_limit", 0, -1),
    ("rules.0.code", A * 50, A * 51),
    ("rules.0.name", X * 100, X * 101),
    ("rules.0.group", X * 50, X * 51),
    ("rules.0.effect.points", 1, 0),
    ("rules.0.effect.per", 1, 0),
    ("rules.0.effect.points", LIMIT, LIMIT + 1),
    ("rules.0.caps.per_purchase", 1, 0),
    ("rules.0.caps.budget", 1, 0),
    ("rules.0.caps.per_member.points", 1, 0),
    ("rules.0.schedule.weekdays", [7], [8]),
    ("rules.0.schedule.weekdays", [1], [0]),
    ("tiers.period_months", 1, 0),
    ("tiers.levels.0.code", A * 30, A * 31),
    ("tiers.levels.0.name", X * 60, X * 61),
    ("tiers.levels.0.keep", 0, -1),
    ("tiers.levels.0.benefits", [X * 200] * 50, [X] * 51),
    ("tiers.levels.0.benefits", [X * 200], [X * 201]),
    ("rewards.0.code", A * 50, A * 51),
    ("rewards.0.name", X * 100, X * 101),
    ("rewards.0.price", 1, 0),
    ("rewards.0.value", 0, -1),
    ("offers.0.code", A * 50, A * 51),
    ("offers.0.name", X * 100, X * 101),
    ("offers.0.text", X * 200, X * 201),
    ("offers.0.points", 0, -1),
]
# Field of a condition, operator, the last value that is taken, the first that is refused.
CONDITIONS: list[tuple[str, str, Any, Any]] = [
    ("amount", "gte", -LIMIT, -LIMIT - 1),
    ("amount", "lte", LIMIT, LIMIT + 1),
    ("quantity", "gte", 0, -1),
    ("category", "eq", X * 200, X * 201),
    ("sku", "eq", X * 200, X * 201),
    ("location", "eq", X * 200, X * 201),
    ("channel", "eq", X * 200, X * 201),
    ("weekday", "eq", 1, 0),
    ("weekday", "eq", 7, 8),
    ("hour", "eq", 0, -1),
    ("hour", "eq", 23, 24),
    ("sku", "in", [X] * 500, [X] * 501),
    ("amount", "between", [5, 5], [6, 5]),
    ("properties.miles", "gte", -LIMIT, -LIMIT - 1),
    ("properties.colour", "eq", X * 200, X * 201),
]


def with_value(path: str, value: Any) -> dict[str, Any]:
    """The document with one field set."""
    document = copy.deepcopy(DOCUMENT)
    *way, last = path.split(".")
    place: Any = document
    for step in way:
        place = place[int(step)] if step.isdigit() else place[step]
    place[last] = value
    # What names the part follows it, so that only the one bound is asked.
    if path == "units.0.code":
        document["rules"][0]["unit"] = document["rewards"][0]["unit"] = value
    return document


def with_condition(field: str, op: str, value: Any) -> dict[str, Any]:
    """The document with one condition on its rule."""
    return with_value("rules.0.conditions", [{"field": field, "op": op, "value": value}])


def refused(document: dict[str, Any]) -> list[str]:
    """The paths that are refused."""
    with pytest.raises(ProgramError) as caught:
        parse_program(document)
    return [problem.path for problem in caught.value.problems]


@pytest.mark.parametrize(("path", "last", "beyond"), BOUNDS)
def test_a_field_takes_its_last_value_and_refuses_the_next(path: str, last: Any, beyond: Any) -> None:
    parse_program(with_value(path, last))
    named = path.replace(".0", "[0]")
    assert any(problem.startswith(named) for problem in refused(with_value(path, beyond)))


@pytest.mark.parametrize(("field", "op", "last", "beyond"), CONDITIONS)
def test_a_condition_takes_its_last_value_and_refuses_the_next(field: str, op: str, last: Any, beyond: Any) -> None:
    parse_program(with_condition(field, op, last))
    problems = refused(with_condition(field, op, beyond))
    assert any(problem.startswith("rules[0].conditions[0].value") for problem in problems)


@pytest.mark.parametrize(("part", "most"), [("units", 20), ("rules", 200), ("rewards", 500), ("offers", 500)])
def test_a_document_has_so_many_parts_and_no_more(part: str, most: int) -> None:
    def parts(count: int) -> dict[str, Any]:
        (first,) = DOCUMENT[part]
        return with_value(part, [first, *({**first, "code": f"more{n}"} for n in range(count - 1))])

    parse_program(parts(most))
    assert part in refused(parts(most + 1))


def test_a_rule_has_twenty_conditions_and_no_more() -> None:
    one = {"field": "weekday", "op": "eq", "value": 1}
    parse_program(with_value("rules.0.conditions", [one] * 20))
    assert refused(with_value("rules.0.conditions", [one] * 21)) == ["rules[0].conditions"]


def test_numbers_end_at_ten_to_the_fifteenth_on_both_sides() -> None:
    assert [is_number(value) for value in (LIMIT, -LIMIT, LIMIT + 1, -LIMIT - 1)] == [True, True, False, False]
    assert not is_number(Decimal("NaN"))
    assert not is_number(Decimal("-Infinity"))
    assert is_number(Decimal(LIMIT))
    assert not is_number(Decimal(LIMIT) + Decimal("0.001"))
    assert [thousandths(Decimal(text)) for text in ("1.0009", "-1.0001", "0")] == [1000, -1001, 0]


@pytest.mark.parametrize("field", ["foo.bar", "properties", "properties.", "properties.a b", "propertiesbar", "", 5])
def test_a_condition_asks_only_for_what_a_deed_has(field: Any) -> None:
    assert "rules[0].conditions[0].field" in refused(with_condition(field, "eq", 1))


@pytest.mark.parametrize(
    "spec", [kind for kind in vars(specs).values() if isinstance(kind, type) and is_dataclass(kind)]
)
def test_what_a_program_says_stays_as_it_was_read(spec: type) -> None:
    made: Any = object.__new__(spec)
    for one in fields(spec):
        with pytest.raises(FrozenInstanceError):
            setattr(made, one.name, None)


@pytest.mark.parametrize("kind", [UnitSpec, Effect, TierSpec, RewardSpec, OfferSpec, RuleSpec, ExpirySpec, Caps])
def test_the_parts_of_a_program_are_named_where_they_are_made(kind: Any) -> None:
    with pytest.raises(TypeError, match="positional"):
        kind("one", "two")


def test_of_several_levels_that_are_none_the_first_is_named() -> None:
    with pytest.raises(ProgramError) as caught:
        parse_program(with_condition("tier", "in", ["silver", "x", "y"]))
    (problem,) = caught.value.problems
    assert problem.path == "rules[0].conditions[0].value"
    assert "and x is not" in problem.message


def test_a_number_has_three_places_and_no_more() -> None:
    for given_as in (str, Decimal):
        parse_program(with_condition("quantity", "gte", given_as("2.125")))
        assert "rules[0].conditions[0].value" in refused(with_condition("quantity", "gte", given_as("2.1250")))


def test_rules_of_one_group_are_of_one_kind_wherever_they_stand() -> None:
    rules = [RULE, {**RULE, "code": "b", "group": "g"}, {**RULE, "code": "c"},
             {**RULE, "code": "d", "group": "g", "trigger": "line"}]  # fmt: skip
    assert refused({**DOCUMENT, "rules": rules}) == ["rules[3].group"]
