"""What programs grant, as sentences: documents, evaluation, returns, tiers and dates."""

import ast
import copy
import json
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import programs.rules
from programs.rules import (
    LIMIT,
    Caps,
    Condition,
    Effect,
    Evaluation,
    Event,
    ExpirySpec,
    Line,
    MemberCap,
    MemberState,
    Outcome,
    Problem,
    ProgramError,
    RuleSpec,
    Schedule,
    TierSpec,
    compile_rules,
    distribute,
    evaluate,
    expires_on,
    missing_to_keep,
    missing_to_next,
    parse_program,
    period_key,
    preview,
    reversal,
    rule_document,
    tier_for,
)

SUNDAY_NOON = datetime(2026, 11, 22, 12, 0)  # noqa: DTZ001 (already local)


def per_amount(points: int = 1, per: int = 100) -> Effect:
    return Effect(kind="per_amount", points=points, per=per)


def fixed(points: int) -> Effect:
    return Effect(kind="fixed", points=points)


def times(factor: str, *of: str) -> Effect:
    return Effect(kind="multiplier", factor=Decimal(factor), of=of)


def rule(code: str, effect: Effect, *conditions: Condition, trigger: Any = "purchase", **more: Any) -> RuleSpec:
    return RuleSpec(
        code=code,
        name=code.title(),
        unit=more.pop("unit", "points"),
        trigger=trigger,
        effect=effect,
        conditions=conditions,
        **more,
    )


def line(amount: int, *, sku: str = "tea", category: str = "drinks", quantity: str = "1", earning: bool = True) -> Line:
    return Line(0, sku, category, Decimal(quantity), amount, earning)


def sale(*lines: Line, amount: int | None = None, at: datetime = SUNDAY_NOON, day: date | None = None) -> Event:
    total = sum(each.amount for each in lines) if amount is None else amount
    return Event("sale", at, day or at.date(), total, lines, "main-street", "till")


def activity(kind: str = "trip", **properties: Decimal | str) -> Event:
    return Event("activity", SUNDAY_NOON, SUNDAY_NOON.date(), activity=kind, properties=properties)


def run(
    event: Event, *rules: RuleSpec, state: MemberState | None = None, budgets: dict[str, int] | None = None
) -> Evaluation:
    budgets = {} if budgets is None else budgets
    return evaluate(compile_rules(rules), event, MemberState() if state is None else state, budgets)


def outcome(evaluation: Evaluation, code: str) -> Outcome:
    (found,) = [each for each in evaluation.outcomes if each.code == code]
    return found


def only(event: Event, spec: RuleSpec, state: MemberState | None = None) -> Outcome:
    return outcome(run(event, spec, state=state), spec.code)


class TestAmounts:
    def test_penny_rule_gives_a_point_for_each_penny_of_each_line(self) -> None:
        got = only(sale(line(1250), line(399)), rule("penny", per_amount(per=1), trigger="line"))

        assert got == Outcome("penny", "points", "fired", 1649, (1250, 399), "", {})

    def test_purchase_rule_works_on_the_sum_and_shares_by_largest_remainder(self) -> None:
        got = only(sale(line(150), line(150)), rule("spend", per_amount()))

        assert (got.amount, got.line_amounts) == (3, (2, 1))

    def test_purchase_without_lines_earns_on_its_amount(self) -> None:
        got = only(sale(amount=1234), rule("spend", per_amount()))

        assert (got.amount, got.line_amounts) == (12, ())

    def test_line_rule_finds_nothing_in_a_purchase_without_lines(self) -> None:
        got = only(sale(amount=1234), rule("penny", per_amount(), trigger="line"))

        assert (got.result, got.reason) == ("not_eligible", "no_earning_line")

    @pytest.mark.parametrize("trigger", ["line", "purchase"])
    @pytest.mark.parametrize("amount", [0, -500])
    def test_nothing_and_less_than_nothing_earn_nothing(self, trigger: str, amount: int) -> None:
        for rounding in ("down", "nearest", "up"):
            got = only(sale(line(amount)), rule("spend", per_amount(per=1), trigger=trigger, rounding=rounding))

            assert (got.result, got.amount, got.reason) == ("not_eligible", 0, "too_small")

    def test_negative_line_lowers_what_the_whole_purchase_earns_and_takes_no_share(self) -> None:
        got = only(sale(line(1000), line(-200), line(0)), rule("spend", per_amount()))

        assert (got.amount, got.line_amounts) == (8, (8, 0, 0))

    def test_gift_card_earns_nothing(self) -> None:
        basket = sale(line(500), line(5000, earning=False))
        got = run(basket, rule("spend", per_amount()), rule("penny", per_amount(), trigger="line"))

        assert outcome(got, "spend").line_amounts == (5, 0)
        assert outcome(got, "penny").line_amounts == (5, 0)

    def test_purchase_of_gift_cards_only_earns_not_even_a_fixed_bonus(self) -> None:
        got = run(sale(line(5000, earning=False)), rule("bonus", fixed(50)), rule("each", fixed(5), trigger="line"))

        assert [(each.result, each.reason) for each in got.outcomes] == [("not_eligible", "no_earning_line")] * 2

    def test_visit_counts_even_if_only_gift_cards_were_bought(self) -> None:
        got = only(sale(line(100, earning=False), line(300, earning=False)), rule("visit", fixed(4), trigger="visit"))

        assert (got.amount, got.line_amounts) == (4, (1, 3))

    def test_free_line_takes_no_share_beside_one_that_cost_a_penny(self) -> None:
        assert only(sale(line(1), line(0)), rule("bonus", fixed(5))).line_amounts == (5, 0)

    def test_free_lines_share_a_bonus_equally_and_gift_cards_take_no_part(self) -> None:
        got = only(sale(line(0), line(0, earning=False), line(0)), rule("bonus", fixed(5)))

        assert got.line_amounts == (3, 0, 2)

    @pytest.mark.parametrize(
        ("rounding", "amount", "points"),
        [
            ("down", 199, 1),
            ("down", 200, 2),
            ("nearest", 149, 1),
            ("nearest", 150, 2),
            ("nearest", 49, 0),
            ("up", 101, 2),
            ("up", 100, 1),
            ("up", 1, 1),
        ],
    )
    @pytest.mark.parametrize("trigger", ["line", "purchase"])
    def test_rounding_is_as_declared(self, rounding: str, amount: int, points: int, trigger: str) -> None:
        assert (
            only(sale(line(amount)), rule("spend", per_amount(), rounding=rounding, trigger=trigger)).amount == points
        )

    def test_quantity_counts_thousandths(self) -> None:
        by_weight = rule("weight", Effect(kind="per_quantity", points=3, per=2), trigger="line")

        assert only(sale(line(1, quantity="1.333"), line(1, quantity="1.334")), by_weight).line_amounts == (1, 2)

    def test_quantity_of_a_purchase_is_that_of_its_earning_lines(self) -> None:
        by_piece = rule("pieces", Effect(kind="per_quantity", points=1, per=1))
        basket = sale(line(100, quantity="2"), line(300, quantity="1.5"), line(9, quantity="7", earning=False))

        assert only(basket, by_piece).line_amounts == (1, 2, 0)

    def test_activity_earns_by_its_property(self) -> None:
        days = rule("days", Effect(kind="per_quantity", points=10, per=1, property="days"), trigger="activity")

        assert only(activity(days=Decimal("2.5")), days).amount == 25

    @pytest.mark.parametrize(
        ("days", "points"),
        [("0.999", 0), ("1", 1000), ("6.999", 1000), ("7", 10000), ("99", 10000)],
    )
    def test_table_gives_the_highest_step_reached(self, days: str, points: int) -> None:
        trips = rule(
            "trips", Effect(kind="table", property="days", steps=((1, 1000), (Decimal(7), 10000))), trigger="activity"
        )

        assert only(activity(days=Decimal(days)), trips).amount == points

    def test_table_on_lines_looks_at_the_quantity_of_each(self) -> None:
        crates = rule("crates", Effect(kind="table", steps=((6, 1), (12, 3))), trigger="line")
        basket = sale(line(1, quantity="5"), line(1, quantity="6"), line(1, quantity="24"))

        assert only(basket, crates).line_amounts == (0, 1, 3)

    @pytest.mark.parametrize(
        "hostile", ["NaN", "sNaN", "Infinity", "-Infinity", "1E+400", "1E-999999", "-5", "0." + "9" * 40]
    )
    def test_hostile_property_earns_nothing_and_breaks_nothing(self, hostile: str) -> None:
        conditions = [Condition("properties.days", op, 1) for op in ("eq", "gte")]
        trigger: dict[str, Any] = {"trigger": "activity"}
        trips = activity(days=Decimal(hostile))
        got = run(
            trips,
            rule("rate", Effect(kind="per_quantity", points=1, per=1, property="days"), **trigger),
            rule("table", Effect(kind="table", property="days", steps=((1, 5),)), **trigger),
            rule("same", fixed(1), conditions[0], **trigger),
            rule("more", fixed(1), conditions[1], **trigger),
            rule("near", fixed(1), Condition("properties.days", "between", (1, 2)), **trigger),
        )

        assert got.credits == {}

    @pytest.mark.parametrize("event", [activity(), activity(days="seven")], ids=["missing", "text"])
    def test_missing_or_textual_property_earns_nothing(self, event: Event) -> None:
        days = rule("days", Effect(kind="per_quantity", points=1, per=1, property="days"), trigger="activity")

        assert only(event, days).reason == "too_small"

    def test_no_single_credit_outgrows_the_ledger(self) -> None:
        got = only(sale(line(10**12)), rule("wild", per_amount(points=10**9, per=1), trigger="line"))

        assert (got.result, got.amount, got.line_amounts, got.reason) == ("capped", LIMIT, (LIMIT,), "cap:limit")


class TestRemainders:
    def test_carried_remainder_goes_from_line_to_line_and_to_the_next_purchase(self) -> None:
        state = MemberState()
        carry = rule("spend", per_amount(), trigger="line", remainder="carry")

        assert only(sale(line(150), line(60), line(95)), carry, state).line_amounts == (1, 1, 1)
        assert state.remainders == {"spend": 5}
        assert only(sale(line(95)), carry, state).amount == 1
        assert state.remainders == {"spend": 0}

    def test_purchase_too_small_for_a_point_is_not_lost(self) -> None:
        state = MemberState()
        carry = rule("spend", per_amount(), remainder="carry")

        assert only(sale(line(60)), carry, state).reason == "too_small"
        assert only(sale(line(60)), carry, state).amount == 1
        assert state.remainders == {"spend": 20}

    def test_dropped_remainder_leaves_no_trace(self) -> None:
        state = MemberState()

        assert only(sale(line(60), line(60)), rule("spend", per_amount(), trigger="line"), state).amount == 0
        assert state.remainders == {}

    def test_carried_quantity_is_kept_in_thousandths_of_a_step(self) -> None:
        state = MemberState()
        carry = rule("weight", Effect(kind="per_quantity", points=1, per=2), trigger="line", remainder="carry")

        assert only(sale(line(1, quantity="1.999"), line(1, quantity="0.001")), carry, state).line_amounts == (0, 1)
        assert state.remainders == {"weight": 0}

    @pytest.mark.parametrize("stale", [100, 5000])
    def test_remainder_of_another_rule_version_is_never_worth_a_point(self, stale: int) -> None:
        state = MemberState(remainders={"spend": stale})

        assert only(sale(line(100)), rule("spend", per_amount(), remainder="carry"), state).amount == 1
        assert state.remainders == {"spend": 0}

    def test_refused_purchase_carries_nothing(self) -> None:
        state = MemberState(remainders={"spend": 7})
        carry = rule("spend", per_amount(), Condition("channel", "eq", "web"), remainder="carry")

        only(sale(line(60)), carry, state)

        assert state.remainders == {"spend": 7}

    def test_cap_does_not_give_the_remainder_back(self) -> None:
        state = MemberState()
        carry = rule("spend", per_amount(), remainder="carry", caps=Caps(per_purchase=1))

        assert only(sale(line(570)), carry, state).amount == 1
        assert state.remainders == {"spend": 70}


EVENT = Event(
    "sale",
    datetime(2026, 11, 20, 18, 30),  # noqa: DTZ001
    date(2026, 11, 20),
    2500,
    (line(2000, sku="tea", category="drinks", quantity="2"), line(500, sku="bun", category="food", quantity="0.5")),
    "main-street",
    "till",
    "",
    {"table": Decimal("4"), "mood": "good", "size": "2.5", "level": Decimal("2.5")},
)
MEMBER = MemberState(tier="gold", segments=frozenset({"champion", "new"}), purchases=3)


class TestConditions:
    @pytest.mark.parametrize(
        ("field", "op", "value", "holds"),
        [
            ("amount", "eq", 2500, True),
            ("amount", "ne", 2500, False),
            ("amount", "in", (1, 2500), True),
            ("amount", "not_in", (1, 2500), False),
            ("amount", "gt", 2499, True),
            ("amount", "gt", 2500, False),
            ("amount", "gte", 2500, True),
            ("amount", "gte", 2501, False),
            ("amount", "lt", 2501, True),
            ("amount", "lt", 2500, False),
            ("amount", "lte", 2500, True),
            ("amount", "lte", 2499, False),
            ("amount", "between", (2500, 2600), True),
            ("amount", "between", (2400, 2500), True),
            ("amount", "between", (2501, 2600), False),
            ("amount", "between", (2400, 2499), False),
            ("quantity", "eq", Decimal("2.500"), True),
            ("quantity", "gt", Decimal("2.5"), False),
            ("category", "eq", "food", True),
            ("category", "eq", "books", False),
            ("category", "in", ("books", "food"), True),
            ("category", "ne", "food", False),
            ("category", "ne", "books", True),
            ("category", "not_in", ("books", "toys"), True),
            ("category", "not_in", ("books", "drinks"), False),
            ("sku", "eq", "bun", True),
            ("sku", "not_in", ("bun",), False),
            ("location", "eq", "main-street", True),
            ("location", "in", ("station",), False),
            ("channel", "ne", "web", True),
            ("channel", "eq", "web", False),
            ("weekday", "eq", 5, True),
            ("weekday", "gte", 6, False),
            ("hour", "between", (18, 19), True),
            ("hour", "lt", 18, False),
            ("tier", "eq", "gold", True),
            ("tier", "in", ("silver", "bronze"), False),
            ("tier", "ne", "gold", False),
            ("segment", "eq", "new", True),
            ("segment", "in", ("lapsed", "champion"), True),
            ("segment", "eq", "none", False),
            ("segment", "ne", "champion", False),
            ("segment", "not_in", ("lapsed", "none"), True),
            ("first_purchase", "eq", True, False),
            ("first_purchase", "ne", True, True),
            ("properties.table", "eq", 4, True),
            ("properties.table", "in", (3, 5), False),
            ("properties.table", "gt", Decimal("3.5"), True),
            ("properties.mood", "eq", "good", True),
            ("properties.mood", "ne", "good", False),
            ("properties.mood", "gt", 1, False),
            ("properties.size", "eq", "2.5", True),
            ("properties.level", "eq", "2.5", True),
            ("properties.absent", "eq", "x", False),
            ("properties.absent", "ne", "x", True),
            ("properties.absent", "lt", 5, False),
            ("properties.absent", "between", (1, 5), False),
        ],
    )
    def test_condition_of_a_purchase(self, field: str, op: Any, value: Any, holds: bool) -> None:
        got = only(EVENT, rule("spend", fixed(1), Condition(field, op, value)), MEMBER.copy())

        assert (got.result, got.reason) == (("fired", "") if holds else ("not_eligible", f"condition:{field}"))

    @pytest.mark.parametrize(
        ("field", "op", "value", "shares"),
        [
            ("amount", "gte", 2000, (1, 0)),
            ("amount", "lt", 2000, (0, 1)),
            ("category", "eq", "drinks", (1, 0)),
            ("category", "ne", "drinks", (0, 1)),
            ("sku", "in", ("bun", "x"), (0, 1)),
            ("sku", "not_in", ("x",), (1, 1)),
            ("quantity", "lte", Decimal("0.5"), (0, 1)),
            ("quantity", "between", (1, 2), (1, 0)),
            ("channel", "eq", "till", (1, 1)),
        ],
    )
    def test_condition_of_a_line(self, field: str, op: Any, value: Any, shares: tuple[int, ...]) -> None:
        assert only(EVENT, rule("each", fixed(1), Condition(field, op, value), trigger="line")).line_amounts == shares

    def test_all_conditions_must_hold_on_the_same_line(self) -> None:
        both = (Condition("category", "eq", "drinks"), Condition("amount", "lt", 1000))

        assert only(EVENT, rule("each", fixed(1), *both, trigger="line")).reason == "condition:amount"
        assert only(EVENT, rule("each", fixed(1), *reversed(both), trigger="line")).reason == "condition:category"

    def test_reason_is_that_of_the_line_that_came_furthest(self) -> None:
        conditions = (Condition("category", "eq", "food"), Condition("amount", "gt", 600))
        basket = sale(line(500, category="food"), line(900, category="drinks"))

        assert only(basket, rule("each", fixed(1), *conditions, trigger="line")).reason == "condition:amount"

    def test_gift_card_satisfies_no_condition_and_violates_none(self) -> None:
        basket = sale(line(100), line(100, category="vouchers", earning=False))

        assert only(basket, rule("a", fixed(1), Condition("category", "eq", "vouchers"))).result == "not_eligible"
        assert only(basket, rule("a", fixed(1), Condition("category", "ne", "vouchers"))).result == "fired"

    def test_member_without_tier_is_unlike_every_tier(self) -> None:
        assert only(EVENT, rule("a", fixed(1), Condition("tier", "ne", "gold"))).result == "fired"
        assert only(EVENT, rule("a", fixed(1), Condition("tier", "eq", "gold"))).result == "not_eligible"

    def test_member_in_no_segment_is_in_the_segment_none(self) -> None:
        assert only(EVENT, rule("a", fixed(1), Condition("segment", "eq", "none"))).result == "fired"

    def test_only_the_first_sale_is_the_first_purchase(self) -> None:
        state = MemberState()
        first = rule("welcome", fixed(100), Condition("first_purchase", "eq", True))
        earned = [run(sale(line(100)), first, state=state).credits.get("points", 0) for _ in range(3)]

        assert (earned, state.purchases) == ([100, 0, 0], 3)

    def test_activity_has_no_lines_and_its_quantity_is_a_property(self) -> None:
        counted = rule("a", fixed(1), Condition("quantity", "gte", 2), trigger="activity")

        assert only(activity(quantity=Decimal(2)), counted).result == "fired"
        assert only(activity(), counted).result == "not_eligible"

    def test_activity_is_told_by_its_kind(self) -> None:
        review = rule("a", fixed(1), Condition("activity", "eq", "review"), trigger="activity")

        assert only(activity("review"), review).result == "fired"
        assert only(activity("trip"), review).reason == "condition:activity"


class TestTime:
    @pytest.mark.parametrize(
        ("day", "reason"),
        [(21, "not_valid_yet"), (22, ""), (23, ""), (24, "no_longer_valid")],
    )
    def test_validity_includes_both_days(self, day: int, reason: str) -> None:
        spec = rule("a", fixed(1), valid_from=date(2026, 11, 22), valid_until=date(2026, 11, 23))

        assert only(sale(line(1), at=SUNDAY_NOON.replace(day=day)), spec).reason == reason

    @pytest.mark.parametrize(
        ("day", "hour", "minute", "fires"),
        [(20, 14, 59, False), (20, 15, 0, True), (20, 16, 59, True), (20, 17, 0, False), (21, 15, 0, False)],
    )
    def test_happy_hour_ends_on_the_minute(self, day: int, hour: int, minute: int, fires: bool) -> None:
        schedule = parsed_schedule({"weekdays": [5], "from": "15:00", "to": "17:00"})
        at = SUNDAY_NOON.replace(day=day, hour=hour, minute=minute)

        assert only(sale(line(1), at=at), rule("a", fixed(1), schedule=schedule)).reason == (
            "" if fires else "outside_schedule"
        )

    @pytest.mark.parametrize(
        ("day", "hour", "fires"),
        [
            (20, 21, False),
            (20, 22, True),
            (21, 1, True),
            (21, 2, False),
            (21, 23, False),
            (20, 1, False),
            (22, 1, False),
        ],
    )
    def test_friday_night_lasts_into_saturday(self, day: int, hour: int, fires: bool) -> None:
        schedule = parsed_schedule({"weekdays": [5], "from": "22:00", "to": "02:00"})
        event = sale(line(1), at=SUNDAY_NOON.replace(day=day, hour=hour))

        assert (only(event, rule("a", fixed(1), schedule=schedule)).result == "fired") is fires

    def test_sunday_night_lasts_into_monday(self) -> None:
        schedule = parsed_schedule({"weekdays": [7], "from": "22:00", "to": "02:00"})
        event = sale(line(1), at=datetime(2026, 11, 23, 1))  # noqa: DTZ001

        assert only(event, rule("a", fixed(1), schedule=schedule)).result == "fired"

    def test_weekday_is_that_of_the_business_day(self) -> None:
        after_midnight = sale(line(1), at=datetime(2026, 11, 21, 1), day=date(2026, 11, 20))  # noqa: DTZ001

        assert only(after_midnight, rule("a", fixed(1), Condition("weekday", "eq", 5))).result == "fired"
        assert only(after_midnight, rule("a", fixed(1), schedule=Schedule(weekdays=(5,)))).result == "fired"

    def test_no_schedule_is_asked_on_other_weekdays(self) -> None:
        assert only(sale(line(1)), rule("a", fixed(1), schedule=Schedule(weekdays=(1, 6)))).reason == "outside_schedule"


class TestTriggers:
    def test_each_kind_of_event_reaches_its_triggers_only(self) -> None:
        rules = [
            rule(trigger.replace("_", "-"), fixed(1), trigger=trigger)
            for trigger in ("line", "purchase", "visit", "activity", "sign_up", "birthday")
        ]
        at = SUNDAY_NOON
        events = {
            "sale": sale(line(1)),
            "trip": activity("trip"),
            "visit": activity("visit"),
            "sign_up": Event("sign_up", at, at.date()),
            "birthday": Event("birthday", at, at.date()),
        }

        assert {name: [each.code for each in run(event, *rules).outcomes] for name, event in events.items()} == {
            "sale": ["line", "purchase", "visit"],
            "trip": ["activity"],
            "visit": ["activity", "visit"],
            "sign_up": ["sign-up"],
            "birthday": ["birthday"],
        }

    def test_visit_counts_once_a_day_however_it_happens(self) -> None:
        state = MemberState()
        stamp = compile_rules([rule("stamp", fixed(1), trigger="visit", unit="stamps")])
        events = [activity("visit"), sale(line(1)), activity("visit"), sale(line(1), at=SUNDAY_NOON.replace(day=23))]
        got = [evaluate(stamp, event, state, {}).outcomes[0] for event in events]

        assert [each.reason for each in got] == ["", "visited_today", "visited_today", ""]
        assert state.last_visit == date(2026, 11, 23)

    def test_late_sale_does_not_let_a_day_count_twice(self) -> None:
        state = MemberState()
        stamp = rule("stamp", fixed(1), trigger="visit")
        earned = [only(sale(line(1), at=SUNDAY_NOON.replace(day=day)), stamp, state).amount for day in (22, 21, 22)]

        assert earned == [1, 1, 0]

    def test_other_activities_are_neither_visits_nor_purchases(self) -> None:
        state = MemberState()
        run(activity("trip"), rule("a", fixed(1), trigger="activity"), state=state)

        assert (state.last_visit, state.purchases) == (None, 0)

    def test_rules_say_which_state_they_need(self) -> None:
        def needs(*conditions: Condition, effect: Effect | None = None, **more: Any) -> frozenset[str]:
            return compile_rules([rule("a", effect or fixed(1), *conditions, **more)]).needs

        assert needs() == frozenset()
        assert needs(Condition("tier", "eq", "gold")) == {"tier"}
        assert needs(Condition("segment", "eq", "new"), Condition("first_purchase", "eq", True)) == {
            "segment",
            "first_purchase",
        }
        assert needs(trigger="visit") == {"visit"}
        assert needs(effect=per_amount(), remainder="carry") == {"remainder"}
        assert needs(caps=Caps(per_member=MemberCap(period="day", points=1))) == {"caps"}
        assert needs(caps=Caps(budget=1)) == {"budget"}
        assert needs(caps=Caps(per_purchase=1)) == frozenset()


class TestMultipliers:
    def test_multiplier_adds_what_exceeds_the_base(self) -> None:
        got = run(sale(line(1000), line(500)), rule("spend", per_amount(per=1)), rule("more", times("2.5")))

        assert outcome(got, "more").line_amounts == (1500, 750)
        assert got.credits == {"points": 3750}

    def test_multiplier_rounds_down_once_for_the_whole_purchase(self) -> None:
        got = run(sale(line(3), line(3)), rule("spend", per_amount(per=1), trigger="line"), rule("more", times("1.5")))

        assert (outcome(got, "more").amount, outcome(got, "more").line_amounts) == (3, (2, 1))

    def test_line_multiplier_rounds_down_on_each_line_that_qualifies(self) -> None:
        more = rule("more", times("1.5"), Condition("category", "eq", "food"), trigger="line")
        basket = sale(line(3, category="food"), line(9), line(5, category="food"))
        got = run(basket, rule("spend", per_amount(per=1), trigger="line"), more)

        assert outcome(got, "more").line_amounts == (1, 0, 2)

    def test_line_multiplier_takes_a_purchase_rule_by_its_share_of_the_line(self) -> None:
        more = rule("more", times("2"), Condition("category", "eq", "food"), trigger="line")
        got = run(sale(line(100, category="food"), line(300)), rule("bonus", fixed(8)), more)

        assert outcome(got, "more").line_amounts == (2, 0)

    def test_multipliers_add_and_never_compound(self) -> None:
        got = run(
            sale(line(1000)), rule("spend", per_amount()), rule("b", times("2")), rule("c", times("3"), priority=9)
        )

        assert got.credits == {"points": 10 + 10 + 20}

    def test_multiplier_takes_the_base_after_its_caps(self) -> None:
        got = run(sale(line(5000)), rule("spend", per_amount(), caps=Caps(per_purchase=20)), rule("more", times("3")))

        assert outcome(got, "more").amount == 40

    def test_multiplier_leaves_other_units_and_unnamed_rules_alone(self) -> None:
        got = run(
            sale(line(1000)),
            rule("spend", per_amount()),
            rule("bonus", fixed(7)),
            rule("stamp", fixed(1), unit="stamps"),
            rule("named", times("2", "spend")),
            rule("every", times("2")),
        )

        assert (outcome(got, "named").amount, outcome(got, "every").amount) == (10, 17)
        assert got.credits == {"points": 10 + 7 + 10 + 17, "stamps": 1}

    def test_multiplier_without_a_base_has_nothing_to_do(self) -> None:
        for trigger in ("line", "purchase"):
            got = run(sale(line(50)), rule("spend", per_amount()), rule("more", times("2"), trigger=trigger))

            assert outcome(got, "more")[2:6] == ("not_eligible", 0, (0,), "too_small")

    def test_multiplier_comes_after_its_base_whatever_its_priority(self) -> None:
        got = run(sale(line(1000)), rule("spend", per_amount()), rule("more", times("2"), priority=99))

        assert [each.code for each in got.outcomes] == ["spend", "more"]
        assert outcome(got, "more").amount == 10

    def test_multiplier_works_on_events_without_lines(self) -> None:
        trip = {"trigger": "activity"}
        got = run(activity(), rule("bonus", fixed(10), **trip), rule("more", times("1.25"), **trip))

        assert outcome(got, "more")[2:5] == ("fired", 2, ())

    @pytest.mark.parametrize(
        ("factor", "points"), [("1.0001", 0), ("1.001", 1), ("1.0999", 99), ("2", 1000), ("10", 9000)]
    )
    def test_factor_is_exact(self, factor: str, points: int) -> None:
        got = run(sale(line(1000)), rule("spend", per_amount(per=1)), rule("more", times(factor)))

        assert outcome(got, "more").amount == points


class TestExclusiveGroups:
    def test_higher_priority_wins_and_the_loser_says_to_whom(self) -> None:
        got = run(
            sale(line(1000)),
            rule("single", fixed(50), group="g"),
            rule("double", fixed(20), group="g", priority=5),
        )

        assert outcome(got, "double").result == "fired"
        assert outcome(got, "single") == Outcome(
            "single", "points", "lost_to", 0, (0,), "lost_to:double", {"would_earn": 50}
        )
        assert got.credits == {"points": 20}

    def test_ties_go_to_more_points_and_then_to_the_code(self) -> None:
        event = sale(line(1000))
        more = run(event, rule("a", fixed(1), group="g"), rule("b", fixed(2), group="g"))
        same = run(event, rule("b", fixed(2), group="g"), rule("a", fixed(2), group="g"))

        assert (outcome(more, "a").reason, outcome(same, "b").reason) == ("lost_to:b", "lost_to:a")

    def test_rule_that_gives_nothing_does_not_block_its_group(self) -> None:
        got = run(
            sale(line(50)),
            rule("spend", per_amount(), group="g", priority=9),
            rule("closed", fixed(9), Condition("channel", "eq", "web"), group="g", priority=8),
            rule("bonus", fixed(5), group="g"),
        )

        assert [each.reason for each in got.outcomes] == ["too_small", "condition:channel", ""]

    def test_winner_keeps_its_win_even_if_a_cap_leaves_it_nothing(self) -> None:
        got = run(
            sale(line(1000)),
            rule("big", fixed(50), group="g", priority=1, caps=Caps(budget=10)),
            rule("small", fixed(5), group="g"),
            budgets={"big": 0},
        )

        assert [(each.result, each.amount) for each in got.outcomes] == [("capped", 0), ("lost_to", 0)]

    def test_line_rules_of_a_group_are_decided_line_by_line(self) -> None:
        got = run(
            sale(line(300, category="food"), line(200)),
            rule("base", per_amount(), trigger="line", group="g"),
            rule(
                "food", per_amount(points=2), Condition("category", "eq", "food"), trigger="line", group="g", priority=1
            ),
        )

        assert outcome(got, "food").line_amounts == (6, 0)
        assert outcome(got, "base").line_amounts == (0, 2)
        assert outcome(got, "base").detail == {"lost_to": "food", "lost_lines": 1}

    def test_line_rule_that_loses_every_line_has_lost(self) -> None:
        got = run(
            sale(line(300), line(0, earning=False), line(100)),
            rule("base", per_amount(), trigger="line", group="g"),
            rule("best", per_amount(points=2), trigger="line", group="g"),
        )

        assert outcome(got, "base") == Outcome(
            "base", "points", "lost_to", 0, (0, 0, 0), "lost_to:best", {"would_earn": 4}
        )

    def test_line_rule_of_a_group_says_why_it_did_not_apply(self) -> None:
        got = run(
            sale(line(30)),
            rule("food", fixed(1), Condition("category", "eq", "food"), trigger="line", group="g"),
            rule("late", fixed(1), trigger="line", group="g", valid_from=date(2030, 1, 1)),
            rule("tiny", per_amount(), trigger="line", group="g"),
        )
        cards = run(
            sale(line(9, earning=False)),
            rule("a", fixed(1), trigger="line", group="g"),
            rule("b", fixed(1), trigger="line", group="g"),
        )

        assert [each.reason for each in got.outcomes] == ["condition:category", "not_valid_yet", "too_small"]
        assert [each.reason for each in cards.outcomes] == ["no_earning_line"] * 2

    def test_line_rule_that_did_not_apply_has_not_lost(self) -> None:
        got = run(
            sale(line(300)),
            rule("base", per_amount(), trigger="line", group="g"),
            rule("food", fixed(9), Condition("category", "eq", "food"), trigger="line", group="g"),
        )

        assert [each.reason for each in got.outcomes] == ["", "condition:category"]
        assert outcome(got, "base").detail == {}

    @pytest.mark.parametrize("trigger", ["line", "purchase"])
    def test_loser_carries_no_remainder(self, trigger: str) -> None:
        state = MemberState(remainders={"spend": 40, "best": 40})
        carry: dict[str, Any] = {"trigger": trigger, "group": "g", "remainder": "carry"}
        run(sale(line(170)), rule("spend", per_amount(), **carry), rule("best", per_amount(2), **carry), state=state)

        assert state.remainders == {"spend": 40, "best": 80}

    @pytest.mark.parametrize("trigger", ["line", "purchase"])
    def test_amount_too_small_for_all_goes_to_one_remainder_only(self, trigger: str) -> None:
        state = MemberState()
        carry: dict[str, Any] = {"trigger": trigger, "group": "g", "remainder": "carry"}
        run(
            sale(line(40)),
            rule("a", per_amount(), trigger=trigger, group="g", priority=2),
            rule("b", per_amount(), **carry, priority=1),
            rule("c", per_amount(), **carry),
            state=state,
        )

        assert {code: left for code, left in state.remainders.items() if left} == {"b": 40}

    def test_only_the_better_of_two_multipliers_applies(self) -> None:
        for trigger in ("line", "purchase"):
            group: dict[str, Any] = {"group": "g", "trigger": trigger}
            got = run(
                sale(line(1000)),
                rule("spend", per_amount()),
                rule("x", times("2"), **group),
                rule("y", times("3"), **group),
            )

            assert (outcome(got, "x").reason, outcome(got, "y").amount) == ("lost_to:y", 20)


def monthly(points: int) -> Caps:
    return Caps(per_member=MemberCap(period="month", points=points))


class TestCaps:
    def test_purchase_cap_cuts_from_the_last_lines(self) -> None:
        spec = rule("penny", per_amount(per=1), trigger="line", caps=Caps(per_purchase=120))

        assert only(sale(line(100), line(50), line(30)), spec) == Outcome(
            "penny", "points", "capped", 120, (100, 20, 0), "cap:per_purchase", {"before_cap": 180}
        )

    def test_member_cap_lets_through_what_is_left_of_the_month(self) -> None:
        state = MemberState()
        spec = rule("spend", per_amount(), caps=monthly(15))
        got = [only(sale(line(1000), at=SUNDAY_NOON.replace(day=day)), spec, state) for day in (1, 2, 3)]
        next_month = only(sale(line(1000), at=SUNDAY_NOON.replace(month=12)), spec, state)

        assert [(each.result, each.amount, each.reason) for each in got] == [
            ("fired", 10, ""),
            ("capped", 5, "cap:per_member:month"),
            ("capped", 0, "cap:per_member:month"),
        ]
        assert next_month.amount == 10
        assert state.used == {("spend", "2026-11"): 15, ("spend", "2026-12"): 10}

    def test_budget_is_shared_by_all_members_and_runs_dry(self) -> None:
        budgets = {"spend": 15}
        spec = rule("spend", per_amount(), caps=Caps(budget=1000))
        got = [run(sale(line(1000)), spec, budgets=budgets) for _ in range(3)]

        assert [each.outcomes[0].amount for each in got] == [10, 5, 0]
        assert [each.credits for each in got] == [{"points": 10}, {"points": 5}, {}]
        assert (got[1].outcomes[0].reason, budgets) == ("cap:budget", {"spend": 0})

    def test_budget_nobody_touched_is_whole(self) -> None:
        budgets: dict[str, int] = {}
        run(sale(line(1000)), rule("spend", per_amount(), caps=Caps(budget=25)), budgets=budgets)

        assert budgets == {"spend": 15}

    def test_all_caps_together_leave_the_least_and_book_only_that(self) -> None:
        state, budgets = MemberState(used={("spend", "2026-11"): 5}), {"spend": 3}
        caps = Caps(per_purchase=8, per_member=MemberCap(period="month", points=10), budget=50)
        (got,) = run(sale(line(1000)), rule("spend", per_amount(), caps=caps), state=state, budgets=budgets).outcomes

        assert (got.amount, got.reason, got.detail) == (3, "cap:budget", {"before_cap": 10})
        assert (state.used, budgets) == ({("spend", "2026-11"): 8}, {"spend": 0})

    def test_cap_already_overrun_gives_nothing_and_takes_nothing(self) -> None:
        state, budgets = MemberState(used={("spend", "2026-11"): 99}), {"spend": -4}
        caps = Caps(per_member=MemberCap(period="month", points=10), budget=50)
        got = run(sale(line(1000)), rule("spend", per_amount(), caps=caps), state=state, budgets=budgets)

        assert (got.credits, state.used, budgets) == ({}, {("spend", "2026-11"): 99}, {"spend": -4})

    def test_cap_that_is_just_reached_cuts_nothing(self) -> None:
        caps = Caps(per_purchase=10, per_member=MemberCap(period="ever", points=10), budget=10)

        assert only(sale(line(1000)), rule("spend", per_amount(), caps=caps)).result == "fired"

    def test_preview_changes_nothing_and_agrees(self) -> None:
        state, budgets = MemberState(remainders={"spend": 50}), {"bonus": 7}
        compiled = compile_rules(
            [
                rule("spend", per_amount(), remainder="carry", caps=monthly(100)),
                rule("bonus", fixed(5), caps=Caps(budget=10)),
                rule("stamp", fixed(1), trigger="visit", unit="stamps"),
            ]
        )
        before = copy.deepcopy((state, budgets))
        shown = preview(compiled, sale(line(260)), state, budgets)

        assert (state, budgets) == before
        assert shown == evaluate(compiled, sale(line(260)), state, budgets)
        assert shown.credits == {"points": 3 + 5, "stamps": 1}
        assert (state, budgets) != before


class TestReturns:
    def test_return_takes_back_what_its_line_earned_and_not_its_part_of_the_total(self) -> None:
        order = sale(line(1000, sku="a"), line(1000, sku="b"), line(2000, sku="c"))
        got = run(
            order,
            rule("spend", per_amount()),
            rule("ten", fixed(10), Condition("sku", "eq", "a"), trigger="line"),
            rule("twenty", fixed(20), Condition("sku", "eq", "b"), trigger="line"),
        )
        one = Decimal(1)
        taken = [sum(reversal(each.line_amounts[at], one, Decimal(0), one) for each in got.outcomes) for at in range(3)]

        assert (got.credits, taken) == ({"points": 70}, [20, 30, 20])

    def test_parts_of_a_return_add_up_to_the_whole(self) -> None:
        steps = [Decimal(part) for part in ("0", "1", "2", "3")]
        parts = [reversal(100, Decimal(3), before, after) for before, after in pairwise(steps)]

        assert parts == [33, 33, 34]

    @pytest.mark.parametrize(
        ("earned", "quantity", "before", "after"),
        [
            (-1, "1", "0", "1"),
            (1, "0", "0", "0"),
            (1, "1", "0", "1.001"),
            (1, "1", "0.5", "0.4"),
            (1, "1", "-1", "0"),
            (1, "NaN", "0", "1"),
            (1, "1", "0", "Infinity"),
        ],
    )
    def test_more_than_there_is_cannot_be_returned(self, earned: int, quantity: str, before: str, after: str) -> None:
        with pytest.raises(ValueError, match=r"return|quantities"):
            reversal(earned, Decimal(quantity), Decimal(before), Decimal(after))

    @pytest.mark.parametrize(
        ("total", "weights", "shares"),
        [
            (10, (1, 1, 1), (4, 3, 3)),
            (100, (1, 2, 3), (17, 33, 50)),
            (1, (1, 1), (1, 0)),
            (1, (1, 2), (0, 1)),
            (0, (3, 4), (0, 0)),
            (5, (0, 7, 0), (0, 5, 0)),
            (5, (0, 0), (3, 2)),
            (-10, (1, 1, 1), (-4, -3, -3)),
            (0, (), ()),
            (10**18 + 1, (10**15, 10**15), (5 * 10**17 + 1, 5 * 10**17)),
        ],
    )
    def test_shares_follow_the_largest_remainder(
        self, total: int, weights: tuple[int, ...], shares: tuple[int, ...]
    ) -> None:
        assert distribute(total, weights) == shares

    @pytest.mark.parametrize("weights", [(), (1, -1)])
    def test_nothing_is_shared_out_to_nobody(self, weights: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match="weights"):
            distribute(1, weights)


LEVELS = (
    TierSpec(code="silver", name="Silver", enter=500, keep=400),
    TierSpec(code="gold", name="Gold", enter=1000, keep=800),
    TierSpec(code="platinum", name="Platinum", enter=2000, keep=1500),
)


class TestTiers:
    @pytest.mark.parametrize(
        ("basis", "current", "tier"),
        [
            (499, None, None),
            (500, None, "silver"),
            (999, "silver", "silver"),
            (1000, "silver", "gold"),
            (9999, None, "platinum"),
            (800, "gold", "gold"),
            (799, "gold", "silver"),
            (400, "gold", "silver"),
            (399, "gold", None),
            (900, "silver", "silver"),
            (1499, "platinum", "gold"),
            (900, "platinum", "gold"),
            (450, None, None),
            (450, "bronze", None),
            (600, "bronze", "silver"),
        ],
    )
    def test_tier_rises_by_enter_and_falls_by_keep(self, basis: int, current: str | None, tier: str | None) -> None:
        assert tier_for(LEVELS, basis, current) == tier

    def test_program_without_levels_has_no_tier(self) -> None:
        assert (tier_for((), 5, None), missing_to_next((), 5, None), missing_to_keep((), 5, "x")) == (None, None, 0)

    @pytest.mark.parametrize(
        ("basis", "current", "missing"),
        [
            (0, None, ("silver", 500)),
            (450, "silver", ("gold", 550)),
            (300, "gold", ("platinum", 1700)),
            (1000, None, ("platinum", 1000)),
            (1600, "platinum", None),
            (2000, "silver", None),
        ],
    )
    def test_next_tier_is_above_the_one_held(
        self, basis: int, current: str | None, missing: tuple[str, int] | None
    ) -> None:
        assert missing_to_next(LEVELS, basis, current) == missing

    @pytest.mark.parametrize(
        ("basis", "current", "missing"),
        [(700, "gold", 100), (800, "gold", 0), (900, "gold", 0), (300, "silver", 100), (0, None, 0)],
    )
    def test_what_is_missing_to_keep_a_tier(self, basis: int, current: str | None, missing: int) -> None:
        assert missing_to_keep(LEVELS, basis, current) == missing


class TestDates:
    @pytest.mark.parametrize(
        ("period", "day", "key"),
        [
            ("day", date(2026, 11, 22), "2026-11-22"),
            ("week", date(2026, 11, 22), "2026-W47"),
            ("week", date(2027, 1, 3), "2026-W53"),
            ("week", date(2024, 12, 30), "2025-W01"),
            ("month", date(2026, 3, 1), "2026-03"),
            ("year", date(2026, 3, 1), "2026"),
            ("ever", date(2026, 3, 1), "ever"),
        ],
    )
    def test_period_has_a_key(self, period: Any, day: date, key: str) -> None:
        assert period_key(period, day) == key

    @pytest.mark.parametrize(
        ("policy", "months", "day", "last"),
        [
            ("none", 0, date(2026, 1, 31), None),
            ("rolling", 1, date(2026, 1, 31), date(2026, 2, 28)),
            ("rolling", 1, date(2028, 1, 31), date(2028, 2, 29)),
            ("rolling", 12, date(2028, 2, 29), date(2029, 2, 28)),
            ("rolling", 1, date(2026, 12, 31), date(2027, 1, 31)),
            ("rolling", 11, date(2026, 1, 15), date(2026, 12, 15)),
            ("rolling", 24, date(2026, 5, 5), date(2028, 5, 5)),
            ("calendar", 12, date(2026, 1, 1), date(2027, 12, 31)),
            ("calendar", 1, date(2026, 12, 1), date(2027, 12, 31)),
            ("calendar", 1, date(2026, 11, 30), date(2026, 12, 31)),
        ],
    )
    def test_units_expire_as_promised(self, policy: Any, months: int, day: date, last: date | None) -> None:
        assert expires_on(policy, months, day) == last


def document(**changes: Any) -> dict[str, Any]:
    """Return the example of the program format, every part in use."""
    whole: dict[str, Any] = {
        "name": "Penny club",
        "units": [
            {
                "code": "points",
                "name": "Points",
                "kind": "points",
                "decimals": 0,
                "pending_days": 0,
                "expiry": {"policy": "rolling", "months": 12},
                "may_owe": True,
            },
            {"code": "stamps", "name": "Stamps", "kind": "stamps"},
        ],
        "rules": [
            {
                "code": "penny",
                "name": "One point per penny",
                "unit": "points",
                "trigger": "line",
                "conditions": [{"field": "category", "op": "in", "value": ["food", "drinks"]}],
                "effect": {"kind": "per_amount", "points": 1, "per": 1},
                "rounding": "down",
                "remainder": "carry",
                "caps": {"per_purchase": 500, "per_member": {"period": "month", "points": 5000}, "budget": 100000},
                "priority": 2,
                "group": "base",
                "valid_from": "2026-01-01",
                "valid_until": "2026-12-31",
                "schedule": {"weekdays": [5, 1], "from": "09:00", "to": "17:30"},
            },
            {
                "code": "double",
                "name": "Double for gold",
                "unit": "points",
                "trigger": "purchase",
                "conditions": [{"field": "tier", "op": "eq", "value": "gold"}],
                "effect": {"kind": "multiplier", "factor": "2.5", "of": ["penny"]},
            },
            {
                "code": "trip",
                "name": "Days on the trail",
                "unit": "points",
                "trigger": "activity",
                "conditions": [{"field": "properties.days", "op": "between", "value": [1, "30.5"]}],
                "effect": {"kind": "table", "property": "days", "steps": [[1, 1000], ["7.5", 10000]]},
            },
            {
                "code": "weight",
                "name": "By weight",
                "unit": "stamps",
                "trigger": "line",
                "effect": {"kind": "per_quantity", "points": 1, "per": 2, "property": "quantity"},
            },
            {
                "code": "hello",
                "name": "Welcome",
                "unit": "stamps",
                "trigger": "sign_up",
                "effect": {"kind": "fixed", "points": 3},
                "schedule": {"weekdays": [6, 7]},
                "group": None,
                "caps": {},
            },
        ],
        "tiers": {
            "basis": "spend",
            "period_months": 12,
            "levels": [
                {"code": "silver", "name": "Silver", "enter": 50000, "keep": 40000, "benefits": ["Free tea"]},
                {"code": "gold", "name": "Gold", "enter": 90000, "benefits": []},
            ],
        },
        "rewards": [
            {
                "code": "five-off",
                "name": "5 off",
                "kind": "discount",
                "unit": "points",
                "price": 500,
                "value": 500,
                "active": True,
            }
        ],
        "offers": [
            {
                "code": "come-back",
                "name": "Come back",
                "segments": ["slipping"],
                "text": "We miss you.\nCome in.",
                "points": 100,
                "unit": "points",
            },
            {"code": "hello", "name": "Hello", "segments": ["new", "none"], "text": "Hello"},
        ],
    }
    return whole | changes


def parsed_schedule(schedule: dict[str, Any]) -> Schedule:
    spec = parse_program(with_rule(schedule=schedule)).rules[0].schedule
    assert spec is not None
    return spec


SIMPLE = {
    "code": "a",
    "name": "A",
    "unit": "points",
    "trigger": "purchase",
    "effect": {"kind": "fixed", "points": 1},
}


def with_rule(**changes: Any) -> dict[str, Any]:
    return document(rules=[SIMPLE | changes])


def with_effect(trigger: str = "purchase", /, **effect: Any) -> dict[str, Any]:
    return with_rule(trigger=trigger, effect=effect)


def with_condition(field: Any, op: Any, value: Any, *, trigger: str = "purchase") -> dict[str, Any]:
    return with_rule(trigger=trigger, conditions=[{"field": field, "op": op, "value": value}])


def with_unit(**changes: Any) -> dict[str, Any]:
    return document(units=[*document()["units"], {"code": "x", "name": "X", "kind": "money"} | changes])


def with_levels(*levels: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    named = [{"code": f"l{place}", "name": "Level"} | dict(level) for place, level in enumerate(levels)]
    return document(rules=[], tiers={"basis": "spend", "levels": named} | changes)


def problems_of(wrong: Any) -> dict[str, str]:
    with pytest.raises(ProgramError) as refused:
        parse_program(wrong)
    return {problem.path: problem.message for problem in refused.value.problems}


class TestDocuments:
    def test_whole_document_is_read(self) -> None:
        program = parse_program(document())

        assert program.units[0].expiry == ExpirySpec(policy="rolling", months=12)
        assert (program.units[1].may_owe, program.units[1].expiry) == (False, ExpirySpec())
        assert program.rules[0].conditions == (Condition("category", "in", ("food", "drinks")),)
        assert program.rules[0].caps == Caps(
            per_purchase=500, per_member=MemberCap(period="month", points=5000), budget=100000
        )
        assert (program.rules[0].valid_from, program.rules[0].valid_until) == (date(2026, 1, 1), date(2026, 12, 31))
        assert program.rules[0].schedule is not None
        assert program.rules[0].schedule.weekdays == (1, 5)
        assert program.rules[1].effect == times("2.5", "penny")
        assert program.rules[2].effect.steps == ((1, 1000), (Decimal("7.5"), 10000))
        assert program.tiers is not None
        assert [(level.enter, level.keep) for level in program.tiers.levels] == [(50000, 40000), (90000, 90000)]
        assert (program.rewards[0].price, program.rewards[0].active) == (500, True)
        assert (program.offers[1].points, program.offers[1].unit) == (0, None)

    def test_rules_written_back_read_the_same(self) -> None:
        program = parse_program(document())
        written = json.loads(json.dumps([rule_document(each) for each in program.rules]))

        assert parse_program(document(rules=written)) == program

    def test_least_document_has_a_name_and_a_unit(self) -> None:
        program = parse_program({"name": "Club", "units": [{"code": "p", "name": "P", "kind": "points"}]})

        assert (program.rules, program.tiers, program.rewards, program.offers) == ((), None, (), ())

    def test_program_without_tiers_says_null(self) -> None:
        assert parse_program(document(tiers=None, rules=[])).tiers is None

    def test_all_problems_are_told_at_once(self) -> None:
        wrong = document(name=" ", tiers={"basis": "luck", "levels": [{"code": "x", "enter": -1}]}, colour="red")
        wrong["rules"][0] |= {"priority": "high", "effect": {"kind": "per_amount", "points": 1, "per": 0}}
        wrong["rules"][1]["unit"] = "miles"
        wrong["rewards"][0]["price"] = 1.5

        assert problems_of(wrong) == {
            "name": "must be a text that is not empty",
            "rules[0].effect.per": "must be a whole number above 0",
            "rules[0].priority": "must be a whole number of at least -1000000",
            "tiers.basis": "must be spend, count, earned or quantity",
            "tiers.levels[0].enter": "must be a whole number of at least 0",
            "tiers.levels[0].name": "is missing",
            "rewards[0].price": "must be a whole number above 0",
            "colour": "is not a known field",
            "rules[1].unit": "must be a unit of this program, and miles is not",
            "rules[1].effect.of[0]": "must be a rule of the unit miles, and penny is not",
            "rules[1].conditions[0].value": "must be a level of this program, and gold is not",
        }

    def test_problem_reads_as_a_sentence_that_names_the_rule(self) -> None:
        wrong = with_effect(kind="per_amount", points=1, per=0)
        with pytest.raises(ProgramError) as refused:
            parse_program(wrong | {"name": None, "offers": [7]})

        assert str(refused.value).splitlines() == [
            "name is missing.",
            'Rule "a": effect.per must be a whole number above 0.',
            "Offer 1 must be an object with named fields.",
        ]
        assert Problem("name", "is missing") in refused.value.problems

    @pytest.mark.parametrize("wrong", [None, [], "program", 5])
    def test_document_must_be_an_object(self, wrong: Any) -> None:
        assert problems_of(wrong) == {"": "must be an object with named fields"}

    def test_rule_must_be_an_object(self) -> None:
        assert problems_of(document(rules=[["code", "a"]])) == {"rules[0]": "must be an object with named fields"}

    @pytest.mark.parametrize(
        ("wrong", "path", "message"),
        [
            (document(rewrads=[]), "rewrads", "is not a known field (did you mean rewards?)"),
            (with_unit(decimal=2), "units[2].decimal", "is not a known field (did you mean decimals?)"),
            (with_unit(expiry={"policy": "none", "month": 1}), "units[2].expiry.month", "months"),
            (with_rule(prioritty=1), "rules[0].prioritty", "is not a known field (did you mean priority?)"),
            (with_effect(kind="fixed", points=1, per=5), "rules[0].effect.per", "is not a known field"),
            (with_rule(caps={"per_member": {"period": "day", "points": 1, "x": 1}}), "rules[0].caps.per_member.x", ""),
            (with_rule(caps={"budgets": 1}), "rules[0].caps.budgets", "budget"),
            (with_rule(schedule={"weekday": [1]}), "rules[0].schedule.weekday", "weekdays"),
            (
                with_rule(conditions=[{"field": "amount", "op": "gt", "value": 1, "not": True}]),
                "rules[0].conditions[0].not",
                "is not a known field",
            ),
            (document(rules=[], tiers={"basis": "spend", "levels": [], "x": 1}), "tiers.x", "is not a known field"),
            (with_levels({"enter": 1, "kep": 1}), "tiers.levels[0].kep", "is not a known field (did you mean keep?)"),
            (document(rewards=[document()["rewards"][0] | {"cost": 1}]), "rewards[0].cost", "is not a known field"),
            (document(offers=[document()["offers"][1] | {"bonus": 1}]), "offers[0].bonus", "is not a known field"),
        ],
    )
    def test_misspelt_field_is_found_at_every_level(self, wrong: Any, path: str, message: str) -> None:
        assert message in problems_of(wrong)[path]

    def test_flood_of_unknown_fields_is_told_in_short(self) -> None:
        found = problems_of(document(**{f"field {number}": 1 for number in range(5000)}))

        assert (len(found), found[""]) == (21, "has 4980 more unknown fields")

    @pytest.mark.parametrize("field", ["name", "units"])
    def test_needed_field_of_a_program_is_missed(self, field: str) -> None:
        wrong = document(rules=[], rewards=[], offers=[])
        del wrong[field]

        assert problems_of(wrong) == {field: "is missing"}

    @pytest.mark.parametrize("field", ["code", "name", "unit", "trigger", "effect"])
    def test_needed_field_of_a_rule_is_missed(self, field: str) -> None:
        wrong = {name: value for name, value in SIMPLE.items() if name != field}

        assert problems_of(document(rules=[wrong])) == {f"rules[0].{field}": "is missing"}

    @pytest.mark.parametrize(
        "hostile",
        [
            True,
            False,
            "5",
            5.0,
            float("nan"),
            float("inf"),
            10**15 + 1,
            pytest.param(10**400, id="401 digits"),
            -1,
            [],
            {},
        ],
    )
    @pytest.mark.parametrize(
        ("make", "path"),
        [
            (lambda value: with_effect(kind="per_amount", points=value, per=1), "rules[0].effect.points"),
            (lambda value: with_effect(kind="per_amount", points=1, per=value), "rules[0].effect.per"),
            (lambda value: with_rule(caps={"budget": value}), "rules[0].caps.budget"),
            (lambda value: with_unit(decimals=value), "units[2].decimals"),
            (lambda value: with_levels({"enter": value, "keep": 0}), "tiers.levels[0].enter"),
            (lambda value: document(rewards=[document()["rewards"][0] | {"price": value}]), "rewards[0].price"),
        ],
    )
    def test_hostile_whole_number_is_refused(self, make: Any, path: str, hostile: Any) -> None:
        assert problems_of(make(hostile))[path].startswith(("must be a whole number", "must be at most"))

    @pytest.mark.parametrize(
        "hostile",
        [True, 2.5, "2,5", "NaN", "1e400", "", "0.0001", 10**16, Decimal("NaN"), Decimal("1E-999999999"), "٣"],
    )
    def test_hostile_number_is_refused(self, hostile: Any) -> None:
        assert "rules[0].conditions[0].value" in problems_of(with_condition("quantity", "gt", hostile))

    @pytest.mark.parametrize(
        "hostile",
        [
            True,
            1,
            "1",
            "1.0",
            "0.5",
            "-2",
            "2.00001",
            "NaN",
            "1e3",
            2.5,
            pytest.param(10**5000, id="5000 digits"),
            "99999",
            Decimal("Infinity"),
        ],
    )
    def test_hostile_factor_is_refused(self, hostile: Any) -> None:
        wrong = document()
        wrong["rules"][1]["effect"]["factor"] = hostile

        assert set(problems_of(wrong)) == {"rules[1].effect.factor"}

    @pytest.mark.parametrize("factor", ["2", "1.0001", 3, Decimal("2.5")])
    def test_sound_factor_is_exact(self, factor: Any) -> None:
        sound = document()
        sound["rules"][1]["effect"]["factor"] = factor

        assert parse_program(sound).rules[1].effect.factor == Decimal(factor)

    @pytest.mark.parametrize("code", ["", "With space", "UPPER", "ä", "-a", "a" * 51, 5, None, "a\n"])
    def test_code_that_fits_no_address_is_refused(self, code: Any) -> None:
        assert "rules[0].code" in problems_of(with_rule(code=code))

    @pytest.mark.parametrize("name", ["", " \t", "a\x00b", "a\ud800", "a\nb", "x" * 101, 5, []])
    def test_name_that_cannot_be_shown_is_refused(self, name: Any) -> None:
        assert "rules[0].name" in problems_of(with_rule(name=name))

    def test_name_in_any_script_is_fine(self) -> None:
        assert parse_program(with_rule(name="Café\u00a0Zürich 東京 ☕")).rules[0].name == "Café\u00a0Zürich 東京 ☕"

    @pytest.mark.parametrize(
        ("wrong", "path", "message"),
        [
            (with_condition("colour", "eq", "red"), "field", "must be amount, quantity, category"),
            (with_condition("colour", "eq", 2.5), "field", "must be amount, quantity, category"),
            (with_condition("amount", "gt", "5"), "value", "must be a whole number"),
            (with_condition("properties.", "eq", "red"), "field", "must be amount"),
            (with_condition("properties.a b", "eq", "red"), "field", "must be amount"),
            (with_condition("sku", "gt", "a"), "op", "must be eq, ne, in or not_in for the field sku"),
            (with_condition("first_purchase", "in", [True]), "op", "must be eq or ne for the field first_purchase"),
            (with_condition("amount", "like", 5), "op", "must be eq, ne, in, not_in, gt, gte, lt, lte or between"),
            (with_condition("amount", "eq", "5"), "value", "must be a whole number"),
            (with_condition("amount", "eq", None), "value", "is missing"),
            (with_condition("first_purchase", "eq", 1), "value", "must be true or false"),
            (with_condition("weekday", "eq", 8), "value", "must be at most 7"),
            (with_condition("weekday", "in", [1, 0]), "value[1]", "must be a whole number above 0"),
            (with_condition("hour", "eq", 24), "value", "must be at most 23"),
            (with_condition("sku", "in", "tea"), "value", "must be a list"),
            (with_condition("sku", "in", []), "value", "must be a list that is not empty"),
            (with_condition("sku", "eq", ["tea"]), "value", "must be a text that is not empty"),
            (with_condition("amount", "between", [5]), "value", "must be a list of the lowest and the highest value"),
            (with_condition("amount", "between", [5, 4]), "value", "must begin with the lower value"),
            (with_condition("amount", "between", [5, "x"]), "value[1]", "must be a whole number"),
            (
                with_condition("segment", "eq", "rich"),
                "value",
                "must be new, regular, champion, slipping, lapsed or none",
            ),
            (with_condition("tier", "in", ["gold", "tin"]), "value", "must be a level of this program, and tin is not"),
            (with_condition("properties.mood", "gt", "good"), "value", "must be a whole number, or a number of up to"),
            (with_condition("properties.mood", "eq", 2.5), "value", "must be a whole number, or a number of up to"),
            (with_condition("sku", "eq", "a", trigger="birthday"), "field", "cannot be sku in a rule for the trigger"),
            (with_condition("activity", "eq", "a"), "field", "cannot be activity in a rule for the trigger purchase"),
        ],
    )
    def test_condition_that_makes_no_sense_is_refused(self, wrong: Any, path: str, message: str) -> None:
        found = problems_of(wrong)

        assert list(found) == [f"rules[0].conditions[0].{path}"]
        assert found[f"rules[0].conditions[0].{path}"].startswith(message)

    @pytest.mark.parametrize(
        ("wrong", "path", "message"),
        [
            (with_effect(kind="magic"), "effect.kind", "must be per_amount, per_quantity, fixed, table or multiplier"),
            (with_effect(kind="table", property="days", steps=[]), "effect.steps", "must be a list that is not empty"),
            (
                with_effect(kind="table", property="days", steps=[[1, 2, 3]]),
                "effect.steps[0]",
                "must be a list of a bound",
            ),
            (
                with_effect(kind="table", property="days", steps=[[1, "x"]]),
                "effect.steps[0][1]",
                "must be a whole number",
            ),
            (
                with_effect(kind="table", property="days", steps=[[2, 1], [2, 3]]),
                "effect.steps",
                "must be in ascending",
            ),
            (with_effect(kind="table", steps=[[2, 1]]), "effect.property", "is missing"),
            (with_effect(kind="per_quantity", points=1, per=1, property="a b"), "effect.property", "must be the name"),
            (
                with_effect("line", kind="per_quantity", points=1, per=1, property="days"),
                "effect.property",
                "must be quantity in a rule for the trigger line",
            ),
            (
                with_effect("sign_up", kind="per_amount", points=1, per=1),
                "effect.kind",
                "cannot be per_amount: a sign-up has no amount",
            ),
            (with_effect(kind="multiplier", factor="2"), "effect.of", "finds no rule of the unit points to multiply"),
            (with_rule(rounding="up"), "rounding", "must be down for the effect fixed"),
            (with_rule(remainder="carry"), "remainder", "must be drop for the effect fixed"),
            (
                with_rule(effect={"kind": "per_amount", "points": 1, "per": 2}, rounding="up", remainder="carry"),
                "remainder",
                "must be drop when rounding is up",
            ),
            (with_rule(caps={"per_member": {"points": 5}}), "caps.per_member.period", "is missing"),
            (with_rule(caps={"per_purchase": 0}), "caps.per_purchase", "must be a whole number above 0"),
            (with_rule(caps=5), "caps", "must be an object with named fields"),
            (with_rule(valid_from="2026-02-30"), "valid_from", "must be a day such as 2026-11-22"),
            (with_rule(valid_from="20260201"), "valid_from", "must be a day such as 2026-11-22"),
            (
                with_rule(valid_from="2026-02-02", valid_until="2026-02-01"),
                "valid_until",
                "must not be before valid_from",
            ),
            (with_rule(schedule={"from": "09:00"}), "schedule.to", "is missing: from and to go together"),
            (with_rule(schedule={"to": "09:00"}), "schedule.from", "is missing: from and to go together"),
            (with_rule(schedule={"from": "9:00", "to": "10:00"}), "schedule.from", "must be a time of day"),
            (with_rule(schedule={"from": "09:00", "to": "24:00"}), "schedule.to", "must be a time of day"),
            (with_rule(schedule={"from": "09:00", "to": "09:00"}), "schedule.to", "must differ"),
            (with_rule(schedule={"weekdays": []}), "schedule.weekdays", "must be a list that is not empty"),
            (with_rule(schedule={"weekdays": [0]}), "schedule.weekdays[0]", "must be a whole number above 0"),
            (with_rule(trigger="moon"), "trigger", "must be line, purchase, visit"),
            (with_rule(conditions={}), "conditions", "must be a list"),
            (with_rule(group=""), "group", "must be a text that is not empty"),
        ],
    )
    def test_rule_that_makes_no_sense_is_refused(self, wrong: Any, path: str, message: str) -> None:
        found = problems_of(wrong)

        assert list(found) == [f"rules[0].{path}"]
        assert found[f"rules[0].{path}"].startswith(message)

    @pytest.mark.parametrize(
        ("wrong", "path", "message"),
        [
            (with_unit(code="points"), "units[2].code", "must not be points twice"),
            (with_rule(unit="miles"), "rules[0].unit", "must be a unit of this program, and miles is not"),
            (document(rules=[SIMPLE, SIMPLE]), "rules[1].code", "must not be a twice"),
            (document(rewards=document()["rewards"] * 2), "rewards[1].code", "must not be five-off twice"),
            (document(offers=document()["offers"][:1] * 2), "offers[1].code", "must not be come-back twice"),
            (
                with_levels({"enter": 1, "code": "x"}, {"enter": 2, "code": "x"}),
                "tiers.levels[1].code",
                "must not be x",
            ),
            (with_levels({"enter": 5, "keep": 6}), "tiers.levels[0].keep", "must not be above enter"),
            (
                with_levels({"enter": 5, "keep": 1}, {"enter": 5, "keep": 1}),
                "tiers.levels[1].enter",
                "must be above that",
            ),
            (
                with_levels({"enter": 5}, {"enter": 9, "keep": 4}),
                "tiers.levels[1].keep",
                "must not be below that of l0",
            ),
            (with_levels(), "tiers.levels", "must be a list that is not empty"),
            (with_levels({"enter": 5}, basis="quantity"), "tiers.property", "is missing"),
            (with_levels({"enter": 5}, property="days"), "tiers.property", "is not for spend"),
            (with_levels({"enter": 5}, period_months=0), "tiers.period_months", "must be a whole number above 0"),
            (with_unit(expiry={"policy": "rolling"}), "units[2].expiry.months", "is missing"),
            (with_unit(expiry={"policy": "calendar", "months": 0}), "units[2].expiry.months", "must be a whole number"),
            (with_unit(may_owe="yes"), "units[2].may_owe", "must be true or false"),
            (
                document(offers=[{key: value for key, value in document()["offers"][0].items() if key != "unit"}]),
                "offers[0].unit",
                "is missing: a bonus of points needs one",
            ),
            (document(rewards=[document()["rewards"][0] | {"unit": "miles"}]), "rewards[0].unit", "must be a unit"),
        ],
    )
    def test_part_that_makes_no_sense_is_refused(self, wrong: Any, path: str, message: str) -> None:
        found = problems_of(wrong)

        assert list(found) == [path]
        assert found[path].startswith(message)

    @pytest.mark.parametrize(
        ("of", "message"),
        [
            (["lost"], "must be a rule that is no multiplier, and lost is not"),
            (["double"], "must be a rule that is no multiplier, and double is not"),
            (["weight"], "must be a rule of the unit points, and weight is not"),
        ],
    )
    def test_multiplier_names_known_rules_of_its_unit(self, of: list[str], message: str) -> None:
        wrong = document()
        wrong["rules"][1]["effect"]["of"] = of

        assert problems_of(wrong) == {"rules[1].effect.of[0]": message}

    @pytest.mark.parametrize(
        ("other", "message"),
        [
            ({"trigger": "purchase"}, "must not join a: one is judged by line and the other is not"),
            (
                {"trigger": "line", "effect": {"kind": "multiplier", "factor": "2"}},
                "must not join a: one is a multiplier and the other is not",
            ),
        ],
    )
    def test_group_holds_rules_of_one_kind_only(self, other: dict[str, Any], message: str) -> None:
        first = SIMPLE | {"trigger": "line", "group": "g"}
        second = SIMPLE | {"code": "b", "group": "g"} | other

        assert problems_of(document(rules=[first, second])) == {"rules[1].group": message}

    def test_misread_rule_is_not_held_against_its_group_or_its_multipliers(self) -> None:
        first = SIMPLE | {"trigger": "line", "group": "g"}
        second = SIMPLE | {"code": "b", "trigger": "moon", "group": "g"}
        third = SIMPLE | {"code": "c", "trigger": "line", "group": "g", "effect": {"kind": "multiplier", "factor": "x"}}

        assert set(problems_of(document(rules=[first, second, third]))) == {
            "rules[1].trigger",
            "rules[2].effect.factor",
        }

    def test_what_is_not_said_has_a_mild_meaning(self) -> None:
        program = parse_program(
            {"name": "Club", "units": [{"code": "points", "name": "P", "kind": "points"}], "rules": [SIMPLE]}
        )
        unit, spec = program.units[0], program.rules[0]

        assert (unit.decimals, unit.pending_days, unit.may_owe, unit.expiry.months) == (0, 0, False, 0)
        assert spec == rule("a", fixed(1), trigger="purchase")
        assert Schedule().weekdays == (1, 2, 3, 4, 5, 6, 7)

    @pytest.mark.parametrize(
        ("make", "most"),
        [
            (lambda size: document(name="x" * size), 100),
            (lambda size: with_unit(code="x" * size), 30),
            (lambda size: with_unit(name="x" * size), 60),
            (lambda size: with_unit(decimals=size), 6),
            (lambda size: with_unit(pending_days=size), 366),
            (lambda size: with_unit(expiry={"policy": "rolling", "months": size}), 1200),
            (lambda size: with_rule(code="x" * size), 50),
            (lambda size: with_rule(name="x" * size), 100),
            (lambda size: with_rule(group="x" * size), 50),
            (lambda size: with_rule(priority=size), 10**6),
            (lambda size: with_condition("sku", "eq", "x" * size), 200),
            (lambda size: with_condition("sku", "in", ["x"] * size), 500),
            (lambda size: with_condition("properties." + "x" * size, "eq", 1), 50),
            (lambda size: with_condition("amount", "eq", size), LIMIT),
            (lambda size: with_condition("quantity", "eq", size), LIMIT),
            (lambda size: with_rule(conditions=[{"field": "amount", "op": "eq", "value": 1}] * size), 20),
            (lambda size: with_effect(kind="fixed", points=size), LIMIT),
            (lambda size: with_effect(kind="table", property="d", steps=[[at, 1] for at in range(size)]), 100),
            (lambda size: document(rules=[SIMPLE | {"code": f"r{at}"} for at in range(size)]), 200),
            (lambda size: with_levels(*({"enter": at} for at in range(size))), 20),
            (lambda size: with_levels({"enter": 1, "name": "x" * size}), 60),
            (lambda size: with_levels({"enter": 1, "code": "x" * size}), 30),
            (lambda size: with_levels({"enter": 1, "benefits": ["x"] * size}), 50),
            (lambda size: with_levels({"enter": 1, "benefits": ["x" * size]}), 200),
            (lambda size: with_levels({"enter": 1}, period_months=size), 1200),
            (lambda size: document(rewards=[document()["rewards"][0] | {"name": "x" * size}]), 100),
            (lambda size: document(offers=[document()["offers"][1] | {"text": "x" * size}]), 200),
        ],
    )
    def test_size_has_a_limit(self, make: Any, most: int) -> None:
        parse_program(make(most))

        assert problems_of(make(most + 1))

    @pytest.mark.parametrize(
        ("make", "least"),
        [
            (lambda size: with_unit(decimals=size), 0),
            (lambda size: with_unit(pending_days=size), 0),
            (lambda size: with_unit(expiry={"policy": "calendar", "months": size}), 1),
            (lambda size: with_rule(priority=size), -(10**6)),
            (lambda size: with_rule(caps={"per_purchase": size}), 1),
            (lambda size: with_rule(caps={"per_member": {"period": "day", "points": size}}), 1),
            (lambda size: with_rule(caps={"budget": size}), 1),
            (lambda size: with_effect(kind="fixed", points=size), 1),
            (lambda size: with_effect(kind="per_amount", points=1, per=size), 1),
            (lambda size: with_effect(kind="table", property="d", steps=[[size, 1]]), 0),
            (lambda size: with_effect(kind="table", property="d", steps=[[1, size]]), 0),
            (lambda size: with_condition("quantity", "eq", size), 0),
            (lambda size: with_condition("hour", "eq", size), 0),
            (lambda size: with_condition("weekday", "eq", size), 1),
            (lambda size: with_levels({"enter": size, "keep": 0}), 0),
            (lambda size: with_levels({"enter": 5, "keep": size}), 0),
            (lambda size: document(rewards=[document()["rewards"][0] | {"price": size}]), 1),
            (lambda size: document(rewards=[document()["rewards"][0] | {"value": size}]), 0),
            (lambda size: document(offers=[document()["offers"][0] | {"points": size}]), 0),
        ],
    )
    def test_number_has_a_least_value(self, make: Any, least: int) -> None:
        parse_program(make(least))

        assert problems_of(make(least - 1))

    def test_what_follows_from_a_misread_part_is_not_reported(self) -> None:
        wrong = document()
        wrong["units"][0]["code"] = "Points!"
        wrong["tiers"]["levels"][1]["code"] = 7

        assert set(problems_of(wrong)) == {"units[0].code", "tiers.levels[1].code"}


def source_files() -> Iterable[Path]:
    return sorted(Path(programs.rules.__file__).parent.rglob("*.py"))


def inexact_parts(source: str) -> list[str]:
    """Return every float literal, mention of float and true division in a source text."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, float | complex):
            found.append(f"literal {node.value}")
        if isinstance(node, ast.Name) and node.id == "float":
            found.append("float")
        if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
            found.append("true division")
    return found


class TestSource:
    @pytest.mark.parametrize("path", source_files(), ids=lambda path: path.name)
    def test_r10_rules_hold_no_float_and_no_true_division(self, path: Path) -> None:
        assert inexact_parts(path.read_text()) == []

    @pytest.mark.parametrize("source", ["a = 1.5", "a = float(b)", "a = b / c", "a /= b", "a = 1e3", "a = 2j"])
    def test_r10_check_catches_what_is_inexact(self, source: str) -> None:
        assert inexact_parts(source)

    @pytest.mark.parametrize("path", source_files(), ids=lambda path: path.name)
    def test_rules_import_nothing_but_plain_python(self, path: Path) -> None:
        imported = {
            name.split(".")[0]
            for node in ast.walk(ast.parse(path.read_text()))
            for name in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
        }

        plain = {"__future__", "bisect", "calendar", "collections", "dataclasses", "datetime", "decimal", "difflib"}
        assert imported <= plain | {"fractions", "itertools", "operator", "programs", "re", "typing", "unicodedata"}
