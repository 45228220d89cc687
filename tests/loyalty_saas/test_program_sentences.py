"""Sentences of a program are made from its structure: every field that means something is said."""

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from datetime import date, time
from decimal import Decimal
from typing import Any

import pytest
from django.utils.translation import override
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from loyalty_saas.sentences_changes import Change, program_changes
from loyalty_saas.sentences_program import (
    offer_sentence,
    reward_sentence,
    rule_sentence,
    tier_sentence,
    tier_set_sentence,
    unit_sentence,
)
from loyalty_saas.sentences_words import Wording
from programs.rules import (
    Caps,
    Condition,
    EarningSpec,
    Effect,
    ExpirySpec,
    MemberCap,
    OfferSpec,
    ProgramSpec,
    RewardSpec,
    RuleSpec,
    Schedule,
    TierSetSpec,
    TierSpec,
    UnitSpec,
    parse_program,
    rule_document,
)
from programs.rules.specs import TRIGGERS, Trigger
from tests.loyalty_saas.shops import PROGRAM

UNITS = (
    UnitSpec(code="points", name="Points", kind="points"),
    UnitSpec(code="beans", name="Beans", kind="points"),
    UnitSpec(code="cash", name="Cash back", kind="money", decimals=2),
)
WORDING = Wording(
    currency="EUR",
    units={unit.code: unit for unit in UNITS},
    levels={"gold": "Gold", "silver": "Silver"},
    rules={"spend": "A point per euro", "visit": "Come by"},
    places={"main": "Main street"},
)
EURO = Effect(kind="per_amount", points=1, per=100)


def rule(effect: Effect = EURO, **given: Any) -> RuleSpec:
    return RuleSpec(**{"code": "r", "name": "R", "unit": "points", "trigger": "purchase", "effect": effect, **given})


def only(field: str, op: Any, value: Any, **given: Any) -> RuleSpec:
    return rule(conditions=(Condition(field, op, value),), **given)


# ── tables ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (rule(), "1 point for every whole €1.00 of a purchase."),
        (rule(trigger="line"), "1 point for every whole €1.00 of each item of a purchase."),
        (rule(trigger="activity"), "1 point for every whole €1.00 of the amount of an activity."),
        (rule(remainder="carry"), "1 point for every €1.00 of a purchase, with the rest kept for the next time."),
        (rule(rounding="up"), "1 point for every €1.00 of a purchase, rounded up."),
        (rule(Effect(kind="per_amount", points=5, per=250)), "5 points for every €2.50 of a purchase, rounded down."),
        (rule(Effect(kind="per_amount", points=2, per=100), unit="cash"), "0.02 Cash back for every €1.00 of a purchase, rounded down."),
        (rule(Effect(kind="fixed", points=1), trigger="sign_up", unit="beans"), "1 Beans for joining."),
        (rule(Effect(kind="fixed", points=5), trigger="birthday"), "5 points for the birthday."),
        (rule(Effect(kind="fixed", points=1), trigger="visit"), "1 point for the first visit of a day."),
        (rule(Effect(kind="per_quantity", points=1, per=1), trigger="line"), "1 point for every piece bought, item by item."),
        (rule(Effect(kind="per_quantity", points=1, per=3)), "1 point for every 3 pieces with a purchase."),
        (
            only("activity", "eq", "day_trip", trigger="activity", effect=Effect(kind="per_quantity", points=1, per=1, property="days")),
            "1 point for each of the days for the activity “day trip”.",
        ),
        (
            rule(Effect(kind="table", property="days", steps=((1, 10), (Decimal("2.5"), 30))), trigger="activity"),
            "By the number of days (10 points from 1 and 30 points from 2.5) for any activity.",
        ),
        (rule(Effect(kind="multiplier", factor=Decimal("1.5"), of=("spend",))), "1.5 times the Points of “A point per euro” with a purchase."),
        (rule(Effect(kind="multiplier", factor=Decimal(2))), "2 times the Points of all other rules with a purchase."),
    ],
)  # fmt: skip
def test_what_a_rule_gives_and_for_what(spec: RuleSpec, words: str) -> None:
    assert rule_sentence(spec, WORDING) == words


@pytest.mark.parametrize(
    ("field", "op", "value", "words"),
    [
        ("category", "eq", "tea", "only with something of the category “tea”"),
        ("category", "not_in", ("tea", "bun"), "only with nothing of the categories “tea” or “bun”"),
        ("sku", "ne", "4711", "only without the article “4711”"),
        ("amount", "gte", 2000, "only if the amount is at least €20.00"),
        ("amount", "between", (1000, 2000), "only if the amount is from €10.00 to €20.00"),
        ("quantity", "lt", Decimal("2.5"), "only if the quantity is below 2.5"),
        ("tier", "in", ("silver", "gold"), "only for Silver or Gold members"),
        ("segment", "ne", "lapsed", "not for members of the group “Lapsed”"),
        ("segment", "eq", "none", "only for members of the group “Not bought yet”"),
        ("location", "eq", "main", "only at Main street"),
        ("channel", "eq", "web", "only by the channel “web”"),
        ("weekday", "in", (6, 7), "only on Saturday or Sunday"),
        ("weekday", "gte", 6, "only if the day of the week is at least Saturday"),
        ("hour", "lt", 9, "only if the hour of the day is below 9"),
        ("first_purchase", "eq", True, "only for the first purchase"),
        ("first_purchase", "ne", True, "not for the first purchase"),
        ("properties.trip_number", "in", (5, 10), "only if the figure “trip number” is one of 5 or 10"),
        ("properties.place", "ne", "5", "only if the figure “place” is not “5”"),
    ],
)  # fmt: skip
def test_every_condition_is_said(field: str, op: str, value: Any, words: str) -> None:
    assert rule_sentence(only(field, op, value), WORDING) == f"1 point for every whole €1.00 of a purchase, {words}."


def test_for_single_items_a_category_is_the_items_own() -> None:
    said = rule_sentence(only("category", "ne", "gift-card", trigger="line"), WORDING)
    assert said == "1 point for every whole €1.00 of each item of a purchase, not for the category “gift-card”."


def test_the_sentence_of_a_whole_rule() -> None:
    spec = rule(
        conditions=(Condition("tier", "eq", "gold"), Condition("category", "ne", "gift-card")),
        schedule=Schedule(weekdays=(6,), starts=time(22), ends=time(2)),
        valid_from=date(2026, 12, 1),
        valid_until=date(2026, 12, 31),
        caps=Caps(per_purchase=50, per_member=MemberCap(period="day", points=100), budget=10_000),
        group="weekend",
        priority=3,
    )
    assert rule_sentence(spec, WORDING).replace("\u202f", " ") == (
        "1 point for every whole €1.00 of a purchase, only for Gold members, "
        "only with nothing of the category “gift-card”, on Saturday from 10:00 PM to 2:00 AM of the next day, "
        "from Dec 1, 2026 on, until Dec 31, 2026, at most 50 points at a time, at most 100 points per member and day, "
        "at most 10,000 points for all members together, "
        "one of the group “weekend”, of which only the best ranked counts (rank 3 here)."
    )


def test_numbers_and_days_are_those_of_the_viewers_language() -> None:
    spec = rule(Effect(kind="per_amount", points=1, per=123456), schedule=Schedule(weekdays=(1, 2, 3, 4, 5)))
    with override("de"):
        said = rule_sentence(spec, WORDING)
    assert "1.234,56\xa0€" in said
    assert "Montag" in said
    assert "Freitag" in said


def test_units_tiers_rewards_and_offers_are_said() -> None:
    level = TierSpec(code="gold", name="Gold", enter=50000, keep=40000, benefits=("Free wrapping", "A seat"))
    tiers = TierSetSpec(basis="spend", levels=(level,), period_months=12)
    assert tier_set_sentence(tiers) == "Levels go by what a member spends within 12 months."
    assert tier_sentence(level, tiers, WORDING) == "From €500.00, kept with €400.00: Free wrapping; A seat."
    unit = UnitSpec(code="p", name="P", kind="points", pending_days=14, expiry=ExpirySpec(policy="rolling", months=18))
    assert unit_sentence(unit) == (
        "Points in whole numbers. Usable after 14 days. Expire 18 months after they were earned. "
        "A balance never goes below zero."
    )
    reward = RewardSpec(code="d", name="A free drink", kind="product", unit="points", price=500, value=320)
    assert reward_sentence(reward, WORDING) == (
        "500 points → A free drink (free product), worth €3.20: 1 point is worth €0.0064."
    )
    offer = OfferSpec(code="o", name="O", segments=("new", "lapsed"), text="Come in.")
    assert offer_sentence(offer, WORDING) == "For the groups New and Lapsed: “Come in.”"


def test_a_discarded_or_worthless_reward_is_said_too() -> None:
    reward = RewardSpec(code="d", name="A smile", kind="product", unit="beans", price=5, value=0, active=False)
    assert (
        reward_sentence(reward, WORDING)
        == "5 Beans → A smile (free product), which costs you nothing. Not on the shelf."
    )


# ── nothing is left unsaid ──────────────────────────────────────────────────────────────────────────────────────────

CONDITIONS = [
    Condition("category", "eq", "tea"),
    Condition("sku", "in", ("1", "2")),
    Condition("amount", "gt", 500),
    Condition("quantity", "between", (1, 4)),
    Condition("tier", "eq", "gold"),
    Condition("segment", "ne", "new"),
    Condition("location", "eq", "main"),
    Condition("channel", "eq", "web"),
    Condition("weekday", "lte", 5),
    Condition("hour", "gte", 9),
    Condition("first_purchase", "eq", True),
    Condition("properties.days", "gte", Decimal("2.5")),
]
OTHER_VALUES: dict[str, Any] = {
    "category": "bun",
    "sku": "3",
    "tier": "silver",
    "segment": "lapsed",
    "location": "side",
    "channel": "till",
}
OPPOSITE = {"eq": "ne", "in": "not_in", "gt": "lte", "gte": "lt", "lt": "gte", "lte": "gt", "ne": "eq", "between": "in"}


def other_condition(one: Condition) -> Iterator[Condition]:
    """The condition with each of its three fields otherwise."""
    values = one.value if isinstance(one.value, tuple) else (one.value,)
    name, op = one.field, OPPOSITE[one.op]
    changed: Any = OTHER_VALUES.get(name, not values[0])
    if name not in OTHER_VALUES and name != "first_purchase":
        changed = Decimal(values[0]) + 1
    yield replace(one, value=(changed, *values[1:]) if isinstance(one.value, tuple) else changed)
    yield replace(one, op=op)  # type: ignore[arg-type]
    if name in ("amount", "quantity", "hour"):
        yield replace(one, field={"amount": "quantity", "quantity": "hour", "hour": "quantity"}[name])
    elif name in ("category", "sku", "channel"):
        yield replace(one, field={"category": "sku", "sku": "channel", "channel": "category"}[name])
    elif name.startswith("properties."):
        yield replace(one, field="properties.hours")


def other_effects(effect: Effect, trigger: str) -> Iterator[Effect]:
    """The effect with each field otherwise that its kind has."""
    names = {
        "per_amount": ("points", "per"),
        "per_quantity": ("points", "per", "property"),
        "fixed": ("points",),
        "table": ("steps", "property"),
        "multiplier": ("factor", "of"),
    }[effect.kind]
    changed: dict[str, Any] = {
        "points": effect.points + 1,
        "per": effect.per + 1,
        "property": "hours" if effect.property != "hours" else "quantity",
        "steps": (*effect.steps[:-1], (1000, 7)),
        "factor": effect.factor + 1,
        "of": ("visit",) if effect.of != ("visit",) else ("spend",),
    }
    for name in names:
        yield replace(effect, **{name: changed[name]})


def triggers_of(effect: Effect) -> list[Trigger]:
    """What can earn so: joining and a birthday have no amount."""
    return [one for one in TRIGGERS if effect.kind != "per_amount" or one not in ("sign_up", "birthday")]


def variants(spec: RuleSpec) -> Iterator[tuple[str, RuleSpec]]:
    """The rule with one field otherwise at a time, for all that mean something; a code and a name are no promise."""
    for trigger in triggers_of(spec.effect):
        if trigger != spec.trigger:
            yield "trigger", replace(spec, trigger=trigger)
    yield "unit", replace(spec, unit="beans" if spec.unit != "beans" else "cash")
    yield from (("effect", replace(spec, effect=one)) for one in other_effects(spec.effect, spec.trigger))
    for place, condition in enumerate(spec.conditions):
        for changed in other_condition(condition):
            conditions = (*spec.conditions[:place], changed, *spec.conditions[place + 1 :])
            yield "conditions", replace(spec, conditions=conditions)
        yield "conditions", replace(spec, conditions=(*spec.conditions[:place], *spec.conditions[place + 1 :]))
    if spec.effect.kind in ("per_amount", "per_quantity"):
        yield from (("rounding", replace(spec, rounding=one, remainder="drop")) for one in ("nearest", "up") if one != spec.rounding)  # fmt: skip
        yield "remainder", replace(spec, remainder="carry" if spec.remainder == "drop" else "drop", rounding="down")
    yield from (("caps", replace(spec, caps=one)) for one in other_caps(spec.caps))
    yield "priority", replace(spec, priority=spec.priority + 1)
    yield "group", replace(spec, group="other" if spec.group != "other" else None)
    yield "valid_from", replace(spec, valid_from=date(2031, 1, 1))
    yield "valid_until", replace(spec, valid_until=date(2032, 1, 1))
    yield from (("schedule", replace(spec, schedule=one)) for one in other_schedules(spec.schedule))


def other_caps(caps: Caps) -> Iterator[Caps]:
    yield replace(caps, per_purchase=(caps.per_purchase or 0) + 1)
    yield replace(caps, budget=(caps.budget or 0) + 1)
    member = caps.per_member or MemberCap(period="day", points=1)
    yield replace(caps, per_member=replace(member, points=member.points + 1))
    yield replace(caps, per_member=replace(member, period="week" if member.period != "week" else "ever"))


def other_schedules(schedule: Schedule | None) -> Iterator[Schedule | None]:
    if schedule is None:
        yield Schedule()
        return
    yield None
    yield replace(schedule, weekdays=(2, 5) if schedule.weekdays != (2, 5) else (3,))
    yield replace(schedule, starts=time(3, 17), ends=schedule.ends or time(5))
    yield replace(schedule, ends=time(4, 18), starts=schedule.starts or time(1))


effects = st.one_of(
    st.builds(Effect, kind=st.just("per_amount"), points=st.integers(1, 9), per=st.integers(1, 999)),
    st.builds(Effect, kind=st.just("per_quantity"), points=st.integers(1, 9), per=st.integers(1, 9), property=st.sampled_from(["quantity", "days"])),
    st.builds(Effect, kind=st.just("fixed"), points=st.integers(1, 99)),
    st.builds(Effect, kind=st.just("table"), property=st.sampled_from(["quantity", "days"]), steps=st.just(((1, 5), (Decimal("2.5"), 9)))),
    st.builds(Effect, kind=st.just("multiplier"), factor=st.integers(2, 9).map(Decimal), of=st.sampled_from([(), ("spend",)])),
)  # fmt: skip
rates = st.sampled_from([("down", "drop"), ("down", "carry"), ("up", "drop"), ("nearest", "drop")])


@st.composite
def rules(draw: st.DrawFn) -> RuleSpec:
    effect = draw(effects)
    rounding, remainder = draw(rates) if effect.kind in ("per_amount", "per_quantity") else ("down", "drop")
    return rule(
        effect,
        unit=draw(st.sampled_from(["points", "beans", "cash"])),
        trigger=draw(st.sampled_from(triggers_of(effect))),
        conditions=tuple(draw(st.lists(st.sampled_from(CONDITIONS), max_size=3, unique_by=lambda one: one.field))),
        rounding=rounding,
        remainder=remainder,
        caps=draw(
            st.sampled_from([Caps(), Caps(per_purchase=5, budget=9, per_member=MemberCap(period="day", points=7))])
        ),
        priority=draw(st.sampled_from([0, 5])),
        group=draw(st.sampled_from([None, "g"])),
        valid_from=draw(st.sampled_from([None, date(2026, 1, 1)])),
        valid_until=draw(st.sampled_from([None, date(2027, 1, 1)])),
        schedule=draw(st.sampled_from([None, Schedule(weekdays=(1, 2, 3)), Schedule(starts=time(9), ends=time(12))])),
    )


def unsaid(spec: RuleSpec, say: Callable[[RuleSpec], str]) -> set[str]:
    """The fields that can be otherwise without the sentence telling."""
    return {name for name, other in variants(spec) if say(other) == say(spec)}


@settings(max_examples=200, deadline=None)
@given(rules())
def test_no_field_of_a_rule_changes_without_its_sentence_changing(spec: RuleSpec) -> None:
    assert unsaid(spec, lambda one: rule_sentence(one, WORDING)) == set()


def test_every_field_of_a_rule_is_looked_at() -> None:
    spec = rule(conditions=tuple(CONDITIONS))
    assert {name for name, _other in variants(spec)} | {"code", "name"} == {one.name for one in fields(RuleSpec)}


@pytest.mark.parametrize(
    ("left_out", "value"), [("caps", Caps()), ("priority", 0), ("schedule", None), ("remainder", "drop")]
)
def test_control_a_sentence_that_leaves_a_field_out_is_noticed(left_out: str, value: Any) -> None:
    def careless(one: RuleSpec) -> str:
        return rule_sentence(replace(one, **{left_out: value}), WORDING)

    assert left_out in unsaid(rule(schedule=Schedule(weekdays=(1,))), careless)


PARTS: list[tuple[Any, dict[str, Any], Callable[[Any], str]]] = [
    (
        UNITS[0],
        {"kind": "money", "decimals": 2, "pending_days": 3, "expiry": ExpirySpec(policy="calendar", months=5), "may_owe": True},
        unit_sentence,
    ),
    (
        RewardSpec(code="d", name="Drink", kind="product", unit="points", price=500, value=320),
        {"name": "Tea", "kind": "money", "unit": "beans", "price": 400, "value": 100, "active": False},
        lambda one: reward_sentence(one, WORDING),
    ),
    (
        OfferSpec(code="o", name="O", segments=("new",), text="Hello."),
        {"segments": ("lapsed",), "text": "Bye."},
        lambda one: offer_sentence(one, WORDING),
    ),
    (
        TierSpec(code="g", name="Gold", enter=200, keep=100, benefits=("A seat",)),
        {"enter": 300, "keep": 150, "benefits": ()},
        lambda one: tier_sentence(one, TierSetSpec(basis="spend", levels=(one,)), WORDING),
    ),
    (
        TierSetSpec(basis="quantity", levels=(), property="days", period_months=12),
        {"basis": "count", "property": "hours", "period_months": None},
        tier_set_sentence,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("part", "changes", "say"), PARTS, ids=[type(part[0]).__name__ for part in PARTS])
def test_no_field_of_another_part_changes_unsaid(part: Any, changes: dict[str, Any], say: Callable[[Any], str]) -> None:
    for name, value in changes.items():
        assert say(replace(part, **{name: value})) != say(part), name


# ── what differs ────────────────────────────────────────────────────────────────────────────────────────────────────


def shop(**changes: Any) -> ProgramSpec:
    return parse_program({**PROGRAM, **changes})


def told(before: ProgramSpec, after: ProgramSpec) -> list[tuple[str, str, str]]:
    return [(one.part, one.kind, one.name) for one in program_changes(before, after, currency="EUR")]


def test_the_same_program_differs_in_nothing() -> None:
    assert told(shop(), shop()) == []


def test_what_is_added_changed_and_removed_is_told_part_by_part() -> None:
    rules = [
        {**PROGRAM["rules"][0], "effect": {"kind": "per_amount", "points": 2, "per": 100}},
        *PROGRAM["rules"][2:],
        {**PROGRAM["rules"][2], "code": "birthday", "name": "Birthday", "trigger": "birthday"},
    ]
    assert told(shop(), shop(rules=rules, offers=[], name="Other")) == [
        ("name", "changed", "The program's name"),
        ("rules", "changed", "A point per euro"),
        ("rules", "added", "Birthday"),
        ("rules", "removed", "A stamp per coffee"),
        ("offers", "removed", "Hello"),
    ]


def test_a_new_name_alone_is_told() -> None:
    rules = [{**PROGRAM["rules"][0], "name": "One each"}, *PROGRAM["rules"][1:]]
    found = program_changes(shop(), shop(rules=rules), currency="EUR")
    assert [(one.name, one.note) for one in found] == [("One each", "Was called “A point per euro”.")]


def test_the_two_switches_of_what_earns_are_told() -> None:
    all_on = EarningSpec(**{field.name: True for field in fields(EarningSpec)})
    found = program_changes(replace(shop(), earning=all_on), shop(), currency="EUR")
    assert [(one.part, one.kind, one.name) for one in found] == [
        ("rules", "changed", "Gift cards"),
        ("rules", "changed", "Paid by points"),
    ]
    assert [(one.before, one.after) for one in found] == [
        (
            "Gift cards and other articles that do not earn by themselves earn points too.",
            "Gift cards and other articles that do not earn by themselves earn nothing.",
        ),
        (
            "The part of a sale that is paid by points earns points too.",
            "The part of a sale that is paid by points earns nothing.",
        ),
    ]


def test_another_order_is_told_once() -> None:
    assert told(shop(), shop(rules=PROGRAM["rules"][::-1])) == [("rules", "changed", "The order")]


def test_tiers_that_go_are_told() -> None:
    assert told(shop(), shop(tiers=None)) == [
        ("tiers", "removed", "How levels are counted"),
        ("tiers", "removed", "Silver"),
    ]


@settings(max_examples=60, deadline=None)
@given(rules(), rules())
def test_two_rules_differ_on_the_page_if_they_differ(one: RuleSpec, other: RuleSpec) -> None:
    assume(rule_document(one) != rule_document(other))
    before, after = (ProgramSpec(name="Club", units=UNITS, rules=(spec,)) for spec in (one, other))
    (change,) = program_changes(before, after, currency="EUR")
    assert isinstance(change, Change)
    assert change.before != change.after
