"""Each thing that a rule can say, by itself, over one fortnight of sales: its SQL form tells what the Python form tells."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from programs.rules import Caps, Condition, Effect, Event, Line, MemberCap, RuleSpec, Schedule
from programs.rules.specs import LIMIT, OPS, PERIODS, ROUNDINGS, SEGMENTS
from programs.rules.sql import Bounds, is_wide, not_in_sql, on_sales
from tests.programs.test_sql_rules import START, History, Sale, by_python, by_sql

CHANCE = Random(7)
RATE = Effect(kind="per_amount", points=3, per=70)
PIECES = Effect(kind="per_quantity", points=7, per=2)
TEN = Effect(kind="fixed", points=10)
TABLE = Effect(kind="table", steps=((1, 5), (Decimal("2.5"), 40), (4, 41)))
DOUBLE = Effect(kind="multiplier", factor=Decimal("1.5"))


def _basket() -> Iterator[Line]:
    for place in range(CHANCE.choice([0, 1, 1, 2, 3, 4])):
        yield Line(
            position=place + 1,
            sku=CHANCE.choice(["tea", "bun", "book"]),
            category=CHANCE.choice(["drinks", "food"]),
            quantity=CHANCE.choice([Decimal(1), Decimal(2), Decimal("0.5"), Decimal("2.5"), Decimal(4)]),
            amount=CHANCE.choice([0, 1, 69, 70, 71, 950, 12_345, -300]),
            earning=CHANCE.random() < 0.8,
        )


def _sale(number: int) -> Sale:
    basket = tuple(_basket())
    days, clock = CHANCE.randrange(14), CHANCE.choice([(0, 30), (1, 59), (2, 0), (9, 0), (17, 29), (17, 30), (22, 0)])
    local = datetime(START.year, START.month, START.day, *clock) + timedelta(days=days)  # noqa: DTZ001 (local)
    amount = sum(line.amount for line in basket) if basket else CHANCE.choice([0, 100, 5_000])
    told = CHANCE.choice(["", "north", "south"]), CHANCE.choice(["till", "online"])
    return Sale(number, CHANCE.randrange(3), Event("sale", local, local.date(), amount, basket, *told))


FORTNIGHT = History(tuple(_sale(number) for number in range(1, 121)), (None, "silver", "gold"), SEGMENTS[:3], (0, 0, 3))


def rule(code: str = "a", **given: Any) -> RuleSpec:
    return RuleSpec(**{"code": code, "name": code, "unit": "p", "trigger": "purchase", "effect": RATE, **given})


def by_line(code: str = "a", **given: Any) -> RuleSpec:
    return rule(code, trigger="line", **given)


def asking(field: str, op: str, value: Any, trigger: str = "purchase") -> list[RuleSpec]:
    return [rule(trigger=trigger, conditions=(Condition(field, op, value),))]  # type: ignore[arg-type]


def cases() -> Iterator[tuple[str, list[RuleSpec]]]:
    yield from _conditions()
    yield from _effects()
    yield from _times()
    yield from _groups()
    yield from _caps()
    yield from _multipliers()


def _conditions() -> Iterator[tuple[str, list[RuleSpec]]]:
    numbers: dict[str, Any] = {"amount": 950, "quantity": Decimal("2.5"), "weekday": 5, "hour": 17}
    for field, value in numbers.items():
        for op in OPS:
            given = (value, value + 1) if op in ("in", "not_in", "between") else value
            yield f"{field} {op}", asking(field, op, given)
    for field in ("amount", "quantity"):
        for op in ("eq", "gt", "lte", "between"):
            value = numbers[field]
            yield f"{field} of a line {op}", asking(field, op, (value, value) if op == "between" else value, "line")
    texts = {"category": "food", "sku": "tea", "location": "north", "channel": "till", "tier": "gold", "segment": SEGMENTS[1]}  # fmt: skip
    for field, text in texts.items():
        for op in ("eq", "ne", "in", "not_in"):
            for trigger in ("purchase", "line"):
                given = (text, "other") if op in ("in", "not_in") else text
                yield f"{field} {op} {trigger}", asking(field, op, given, trigger)
    for op in ("eq", "ne"):
        for value in (True, False):
            yield f"first purchase {op} {value}", asking("first_purchase", op, value)
    yield "two at once", [rule(conditions=(Condition("category", "eq", "food"), Condition("sku", "ne", "tea")))]


def _effects() -> Iterator[tuple[str, list[RuleSpec]]]:
    for trigger in ("line", "purchase", "visit"):
        for name, effect in (("amount", RATE), ("pieces", PIECES), ("fixed", TEN), ("table", TABLE)):
            yield f"{name} {trigger}", [rule(trigger=trigger, effect=effect)]
        for rounding in ROUNDINGS:
            for effect in (RATE, PIECES):
                yield f"{effect.kind} {rounding} {trigger}", [rule(trigger=trigger, effect=effect, rounding=rounding)]
    for effect in (RATE, PIECES):
        for made in (rule, by_line):
            yield f"{effect.kind} carried {made.__name__}", [made(effect=effect, remainder="carry")]
    yield "a property that sales have not", [rule(effect=replace(PIECES, property="days"))]
    yield "a table of it", [rule(effect=replace(TABLE, property="days", steps=((0, 3), (2, 9))))]


def _times() -> Iterator[tuple[str, list[RuleSpec]]]:
    for name, starts, ends in (
        ("all day", None, None),
        ("by day", time(9), time(17, 30)),
        ("by night", time(22), time(2)),
    ):
        for days in ((1, 2, 3), (5, 7), (7,)):
            for made in (rule, by_line):
                asked = Schedule(weekdays=days, starts=starts, ends=ends)
                yield f"{name} {days} {made.__name__}", [made(schedule=asked)]
    day = date(2026, 11, 26)
    yield "from a day", [rule(valid_from=day), by_line("b", valid_from=day)]
    yield "until a day", [rule(valid_until=day), by_line("b", valid_until=day)]


def _groups() -> Iterator[tuple[str, list[RuleSpec]]]:
    more = Effect(kind="per_amount", points=4, per=90)
    for made in (rule, by_line):
        for name, one, other in (("by rank", 2, 1), ("by rank turned", 1, 2), ("by points", 1, 1)):
            for effects in ((RATE, more), (RATE, RATE), (TABLE, RATE), (RATE, TEN)):
                kinds = " and ".join(effect.kind for effect in effects)
                pair = [
                    made("a", effect=effects[0], group="g", priority=one),
                    made("b", effect=effects[1], group="g", priority=other),
                ]
                yield f"group {name} {kinds} {made.__name__}", pair
                yield f"group {name} {kinds} {made.__name__} with a third", [*pair, made("c", effect=TEN, group="g")]


def _caps() -> Iterator[tuple[str, list[RuleSpec]]]:
    for made in (rule, by_line):
        yield f"per purchase {made.__name__}", [made(caps=Caps(per_purchase=40))]
        for period in PERIODS:
            cap = Caps(per_member=MemberCap(period=period, points=60))
            yield f"per {period} {made.__name__}", [made(caps=cap)]
            yield f"per {period} and purchase {made.__name__}", [made(caps=replace(cap, per_purchase=25))]
        yield f"capped and carried {made.__name__}", [made(remainder="carry", caps=Caps(per_purchase=40))]
        yield f"more than there is {made.__name__}", [made(effect=Effect(kind="fixed", points=LIMIT))]


def _multipliers() -> Iterator[tuple[str, list[RuleSpec]]]:
    bases: dict[str, dict[str, Any]] = {
        "plain": {},
        "capped": {"caps": Caps(per_purchase=40)},
        "capped by month": {"caps": Caps(per_member=MemberCap(period="month", points=90))},
        "carried": {"remainder": "carry"},
    }
    for name, given in bases.items():
        for base in (rule, by_line):
            for more in (rule, by_line):
                first, second = base("a", **given), base("b", effect=TEN)
                kinds = f"{name} {base.__name__} by {more.__name__}"
                yield f"multiplies {kinds}", [first, second, more("m", effect=DOUBLE)]
                yield f"multiplies only one {kinds}", [first, second, more("m", effect=replace(DOUBLE, of=("b",)))]
                some = (Condition("category", "eq", "food"),)
                yield f"multiplies some {kinds}", [first, second, more("m", effect=DOUBLE, conditions=some)]
                both = [more("m", effect=DOUBLE, group="g"), more("n", effect=replace(DOUBLE, of=("a",)), group="g")]
                yield f"multiplied by the better of two {kinds}", [first, second, *both]
    yield "another unit's points", [rule(), rule("b", unit="q"), rule("m", unit="q", effect=DOUBLE)]


CASES = list(cases())


@pytest.mark.parametrize(("name", "rules"), CASES, ids=[name for name, _rules in CASES])
def test_the_sql_form_of_a_rule_tells_what_the_python_form_tells(name: str, rules: list[RuleSpec]) -> None:
    assert not_in_sql(rules) == {}
    told = by_python(rules, FORTNIGHT)
    assert by_sql(rules, FORTNIGHT, wide=False) == told
    assert by_sql(rules, FORTNIGHT, wide=True) == told


def test_the_fortnight_shows_rules_that_give_and_rules_that_do_not() -> None:
    given = {name: {amount for amount, _result in by_python(rules, FORTNIGHT).values()} for name, rules in CASES}
    assert [name for name, amounts in given.items() if len(amounts) < 2] == ["a property that sales have not"]


def largest(one: RuleSpec, *others: RuleSpec, amount: int = 0, pieces: int = 0, lines: int = 1) -> bool:
    return is_wide([one, *others], Bounds(amount, pieces, lines))


def test_what_could_outgrow_64_bits_is_told_for_every_kind_of_effect() -> None:
    times = rule("m", effect=Effect(kind="multiplier", factor=Decimal(9999)))
    assert largest(rule(effect=Effect(kind="per_amount", points=1, per=1)), amount=2**61)
    assert not largest(rule(effect=Effect(kind="per_amount", points=1, per=1)), amount=2**60 - 10)
    assert largest(rule(effect=Effect(kind="per_quantity", points=2**20, per=1)), pieces=2**41)
    assert not largest(rule(effect=Effect(kind="per_quantity", points=2**20, per=1)), pieces=2**39)
    assert largest(by_line(effect=Effect(kind="fixed", points=LIMIT)), lines=10_000)
    assert not largest(by_line(effect=Effect(kind="fixed", points=LIMIT)), lines=100)
    for factor, wide in ((2, False), (3, True)):
        more = rule("m", effect=Effect(kind="multiplier", factor=Decimal(factor)))
        assert largest(rule(effect=Effect(kind="per_amount", points=1, per=1)), more, amount=2**60) is wide
    # What is multiplied counts with all that it can come to, the highest step of a table too.
    high = rule(effect=Effect(kind="table", steps=((1, LIMIT), (2, 5))))
    assert largest(high, times)
    assert largest(rule(effect=Effect(kind="fixed", points=LIMIT)), times)
    assert largest(by_line(effect=Effect(kind="table", steps=((1, LIMIT),))), lines=10_000)
    low = rule(effect=Effect(kind="table", steps=((1, 5),)))
    assert not largest(low, times, lines=10_000)
    assert not largest(high, replace(times, effect=replace(times.effect, of=("b",))), replace(low, code="b"))


def test_only_what_sales_set_off_is_asked_multipliers_last() -> None:
    rules = [
        rule("m", effect=DOUBLE),
        rule("b"),
        by_line("a"),
        rule("v", trigger="visit"),
        rule("s", trigger="sign_up"),
    ]
    assert [one.code for one in on_sales(rules)] == ["a", "b", "v", "m"]
