"""The SQL form of rules says what the Python form says, for every sale and every rule."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, TypeAlias
from uuid import UUID

import pytest
from django.db import connections
from hypothesis import HealthCheck, Phase, find, given, seed, settings
from hypothesis import strategies as st

from programs.rules import (
    Caps,
    Condition,
    Effect,
    Event,
    MemberCap,
    MemberState,
    RuleSpec,
    Schedule,
    compile_rules,
    evaluate,
    sql_lines,
    sql_terms,
    sql_wins,
)
from programs.rules.specs import SEGMENTS
from programs.rules.sql import RESULTS, Bounds, SqlRules, compile_sql, is_wide, not_in_sql, on_sales
from tests.programs.test_rule_properties import conditions as plain_conditions
from tests.programs.test_rule_properties import lines
from tests.programs.test_rule_properties import programs as plain_programs

# A long run: SQL_EXAMPLES=5000, with SQL_SEED from another run to see it again.
EXAMPLES = int(os.environ.get("SQL_EXAMPLES", "150"))
SEED = int(os.environ.get("SQL_SEED", "") or int.from_bytes(os.urandom(4)))
often = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
seeking = settings(max_examples=2_000, deadline=None, suppress_health_check=list(HealthCheck), database=None,
                   phases=[Phase.generate])  # fmt: skip

Told: TypeAlias = dict[tuple[UUID, str], tuple[int, str]]


@dataclass(frozen=True)
class Sale:
    """A sale of one of a few members."""

    number: int
    member: int
    event: Event

    @property
    def id(self) -> UUID:
        return UUID(int=self.number)


@dataclass(frozen=True)
class History:
    """What members did, and what is known of them."""

    sales: tuple[Sale, ...]
    tiers: tuple[str | None, ...]
    segments: tuple[str, ...]
    earlier: tuple[int, ...]


# ── the two forms ───────────────────────────────────────────────────────────────────────────────────────────────────


def by_python(rules: Sequence[RuleSpec], history: History) -> Told:
    compiled, told = compile_rules(rules), Told()
    for member, tier in enumerate(history.tiers):
        segment = history.segments[member]
        state = MemberState(tier, frozenset({segment} if segment != "none" else ()), history.earlier[member])
        for sale in of_member(history, member):
            for outcome in evaluate(compiled, sale.event, state, {}).outcomes:
                told[sale.id, outcome.code] = outcome.amount, outcome.result
    return told


def of_member(history: History, member: int) -> list[Sale]:
    mine = [sale for sale in history.sales if sale.member == member]
    return sorted(mine, key=lambda sale: (sale.event.local, sale.id))


def by_sql(rules: Sequence[RuleSpec], history: History, *, wide: bool = True) -> Told:
    return told_by(compile_sql(rules, wide=wide), history)


def told_by(form: SqlRules, history: History) -> Told:
    given = {"sales": json.dumps(sale_rows(history)), "lines": json.dumps(line_rows(history))}
    with connections["public"].cursor() as cursor:
        cursor.execute(f"{SOURCES} SELECT * FROM ({form.text}) told", {**form.parameters, **given})
        rows = cursor.fetchall()
    return {
        (sale_id, rule.code): (int(told[2 * place]), RESULTS[told[2 * place + 1]])
        for sale_id, _member, _at, _day, *told in rows
        for place, rule in enumerate(form.rules)
    }


SOURCES = """
    WITH sales AS (
        SELECT * FROM jsonb_to_recordset(%(sales)s::jsonb) AS r(id uuid, member_id integer, occurred_at timestamp,
            local timestamp, day date, amount bigint, location text, channel text, tier text, segment text,
            earlier integer, last_visit date)
    ), lines AS (
        SELECT * FROM jsonb_to_recordset(%(lines)s::jsonb) AS r(sale_id uuid, position smallint, sku text,
            category text, quantity numeric, amount bigint, earning boolean)
    )
"""


def sale_rows(history: History) -> list[dict[str, Any]]:
    rows = []
    for member, tier in enumerate(history.tiers):
        last_visit: date | None = None
        for place, sale in enumerate(of_member(history, member)):
            event = sale.event
            rows.append(
                {
                    "id": str(sale.id),
                    "member_id": member,
                    "occurred_at": event.local.isoformat(),
                    "local": event.local.isoformat(),
                    "day": event.day.isoformat(),
                    "amount": event.amount,
                    "location": event.location,
                    "channel": event.channel,
                    "tier": tier or "",
                    "segment": history.segments[member],
                    "earlier": history.earlier[member] + place,
                    "last_visit": last_visit.isoformat() if last_visit else None,
                }
            )
            last_visit = max(last_visit or event.day, event.day)
    return rows


def line_rows(history: History) -> list[dict[str, Any]]:
    return [
        {
            "sale_id": str(sale.id),
            "position": line.position,
            "sku": line.sku,
            "category": line.category,
            "quantity": str(line.quantity),
            "amount": line.amount,
            "earning": line.earning,
        }
        for sale in history.sales
        for line in sale.event.lines
    ]


# ── what is tried ───────────────────────────────────────────────────────────────────────────────────────────────────

START = datetime(2026, 11, 20, 8)  # noqa: DTZ001 (already local)
conditions = st.one_of(
    plain_conditions,
    st.builds(Condition, st.just("quantity"), st.sampled_from(["gt", "lt", "ne", "eq"]),
              st.sampled_from([1, 2, Decimal("2.5")])),
    st.builds(Condition, st.just("location"), st.sampled_from(["eq", "ne"]), st.sampled_from(["north", "south"])),
    st.builds(Condition, st.just("channel"), st.sampled_from(["in", "not_in"]), st.just(("online", "till"))),
    st.builds(Condition, st.just("weekday"), st.just("between"), st.just((1, 5))),
    st.builds(Condition, st.just("hour"), st.sampled_from(["gte", "lt"]), st.integers(0, 23)),
    st.builds(Condition, st.just("tier"), st.sampled_from(["eq", "ne"]), st.just("gold")),
    st.builds(Condition, st.just("segment"), st.sampled_from(["in", "not_in"]), st.just(("none", "champion"))),
    st.builds(Condition, st.just("first_purchase"), st.sampled_from(["eq", "ne"]), st.booleans()),
)  # fmt: skip
schedules = st.one_of(
    st.none(),
    st.builds(Schedule, weekdays=st.sampled_from([(1, 2, 3), (5, 6, 7)])),
    st.builds(Schedule, weekdays=st.just((5, 6)), starts=st.just(time(9)), ends=st.just(time(17, 30))),
    st.builds(Schedule, weekdays=st.just((5, 7)), starts=st.just(time(22)), ends=st.just(time(2))),
)
tables = st.builds(
    Effect,
    kind=st.just("table"),
    property=st.sampled_from(["quantity", "days"]),
    steps=st.sampled_from([((0, 3), (2, 10)), ((1, 5), (Decimal("2.5"), 40), (4, 41))]),
)
periods = st.sampled_from(["day", "week", "month", "year", "ever"])
caps = st.builds(
    Caps,
    per_purchase=st.none() | st.integers(1, 400),
    per_member=st.none() | st.builds(MemberCap, period=periods, points=st.integers(1, 900)),
)


@st.composite
def rule_sets(draw: st.DrawFn) -> list[RuleSpec]:
    """The rules of the closures' own tests with all that a sale can be asked, and multipliers of every kind."""
    rules = [dressed(draw, rule) for rule in draw(plain_programs([None, "g", "h"]))]
    plain = [rule.code for rule in rules if rule.effect.kind != "multiplier" and rule.unit == "points"]
    found = []
    for rule in rules:
        if rule.effect.kind == "multiplier":
            of = tuple(draw(st.lists(st.sampled_from(plain), max_size=2, unique=True))) if plain else ()
            rule = replace(rule, effect=replace(rule.effect, of=of), group=draw(st.sampled_from([None, None, "m"])))
            rule = replace(rule, group=rule.group and f"{rule.group} {rule.trigger}", priority=draw(st.integers(0, 1)))
        elif rule.remainder == "carry" and rule.group:
            rule = replace(rule, group=None)
        found.append(rule)
    return found


def dressed(draw: st.DrawFn, rule: RuleSpec) -> RuleSpec:
    asked = tuple(draw(st.lists(conditions, max_size=2)))
    trigger = rule.trigger
    if trigger == "purchase" and rule.group is None and draw(st.integers(0, 5)) == 0:
        trigger = "visit"
    if rule.effect.kind == "fixed" and draw(st.booleans()):
        effect = draw(tables)
        rule = replace(rule, effect=replace(effect, property="quantity") if trigger == "line" else effect)
    return replace(
        rule,
        trigger=trigger,
        conditions=asked,
        caps=draw(st.just(Caps()) | caps),
        schedule=draw(schedules) if draw(st.integers(0, 3)) == 0 else None,
        valid_from=draw(st.sampled_from([None, None, date(2026, 11, 22)])),
        valid_until=draw(st.sampled_from([None, None, date(2026, 11, 30)])),
    )


@st.composite
def histories(draw: st.DrawFn) -> History:
    sales, number, members = [], 0, draw(st.integers(1, 3))
    for member in range(members):
        now = START
        for _sale in range(draw(st.integers(0, 5))):
            now += timedelta(minutes=draw(st.sampled_from([0, 30, 600, 1_440, 9_000])))
            number += 1
            sales.append(Sale(number, member, sale_at(draw, now)))
    each = {"min_size": members, "max_size": members}
    return History(
        tuple(sales),
        tuple(draw(st.lists(st.sampled_from([None, "silver", "gold"]), **each))),
        tuple(draw(st.lists(st.sampled_from(SEGMENTS), **each))),
        tuple(draw(st.lists(st.sampled_from([0, 0, 3]), **each))),
    )


def sale_at(draw: st.DrawFn, now: datetime) -> Event:
    basket = draw(st.lists(lines, max_size=4))
    placed = tuple(replace(line, position=place) for place, line in enumerate(basket, start=1))
    amount = sum(line.amount for line in placed) if placed else draw(st.integers(0, 60_000))
    # The business day of a shop that is open past midnight.
    day = (now - timedelta(hours=4)).date()
    return Event("sale", now, day, amount, placed, draw(st.sampled_from(["", "north", "south"])),
                 draw(st.sampled_from(["till", "online", "phone"])))  # fmt: skip


# ── they agree ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(autouse=True)
def _seed_is_told() -> None:
    print(f"SQL_SEED={SEED} SQL_EXAMPLES={EXAMPLES}")  # noqa: T201


@seed(SEED)
@often
@given(rule_sets(), histories())
def test_sql_and_python_agree_on_every_sale_and_rule(rules: list[RuleSpec], history: History) -> None:
    assert not_in_sql(rules) == {}
    assert by_sql(rules, history) == by_python(rules, history)


def sum_of(history: History) -> Bounds:
    every = [line for sale in history.sales for line in sale.event.lines]
    amount = sum(abs(line.amount) for line in every) + sum(abs(sale.event.amount) for sale in history.sales)
    return Bounds(amount, int(sum(line.quantity for line in every) * 1000) + 1, len(every) + len(history.sales))


@seed(SEED)
@often
@given(rule_sets(), histories())
def test_sql_in_64_bits_agrees_wherever_it_is_used(rules: list[RuleSpec], history: History) -> None:
    if not is_wide(rules, sum_of(history)):
        assert by_sql(rules, history, wide=False) == by_python(rules, history)


def test_large_sums_are_counted_without_end() -> None:
    rule = RuleSpec(code="a", name="A", unit="p", trigger="purchase",
                    effect=Effect(kind="per_amount", points=10**6, per=3))  # fmt: skip

    assert is_wide([rule], Bounds(10**14, 0, 1))
    assert not is_wide([rule], Bounds(10**9, 0, 1))


# ── and where they would not, it shows ──────────────────────────────────────────────────────────────────────────────

Breaker: TypeAlias = Callable[[pytest.MonkeyPatch], None]


def rounds_up(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        sql_terms.Terms, "divided", lambda self, dividend, divisor: f"ceil(({dividend})::numeric / {divisor})"
    )


def forgets_the_schedule(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sql_terms, "_scheduled", lambda schedule, terms: "true")


def lets_all_of_a_group_win(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sql_wins, "_beaten", lambda place, group, column: "")


def counts_gift_cards(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sql_lines, "line_conditions", lambda rule, terms: "true")


@pytest.mark.parametrize("broken", [rounds_up, forgets_the_schedule, lets_all_of_a_group_win, counts_gift_cards])
def test_a_broken_compiler_is_caught(broken: Breaker, monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch)

    find(st.tuples(rule_sets(), histories()), lambda case: by_sql(*case) != by_python(*case), settings=seeking,
         random=__import__("random").Random(SEED))  # fmt: skip


# ── what has no SQL form is named ───────────────────────────────────────────────────────────────────────────────────

POINT = Effect(kind="per_amount", points=1, per=100)


def rule(**given: Any) -> RuleSpec:
    return RuleSpec(**{"code": "a", "name": "A", "unit": "p", "trigger": "purchase", "effect": POINT, **given})


@pytest.mark.parametrize(
    ("case", "is_named"),
    [
        (rule(), False),
        (rule(remainder="carry"), False),
        (rule(remainder="carry", group="g"), True),
        (rule(caps=Caps(budget=5)), True),
        (rule(caps=Caps(budget=5), trigger="birthday", effect=Effect(kind="fixed", points=1)), False),
        (rule(caps=Caps(per_member=MemberCap(period="day", points=5))), False),
    ],
)
def test_what_cannot_be_said_is_named(case: RuleSpec, is_named: bool) -> None:
    assert ("a" in not_in_sql([case])) is is_named
    if is_named:
        with pytest.raises(ValueError, match="a"):
            compile_sql([case])


def test_values_travel_as_parameters() -> None:
    odd = "' OR 1=1; --"
    form = compile_sql([rule(conditions=(Condition("location", "eq", odd), Condition("category", "ne", odd)))])

    assert odd not in form.text
    assert [odd] in form.parameters.values()


def test_rules_of_other_deeds_stay_out() -> None:
    assert on_sales([rule(trigger="birthday", effect=Effect(kind="fixed", points=1))]) == ()
