"""What earns at all: gift cards, what is paid by points; and what a trace keeps of a remainder that is carried."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

from programs.rules import (
    Caps,
    Condition,
    EarningSpec,
    Effect,
    Event,
    Line,
    MemberState,
    Outcome,
    ProgramError,
    RuleSpec,
    compile_rules,
    evaluate,
    parse_program,
)

NOON = datetime(2026, 11, 22, 12, 0)  # noqa: DTZ001 (rules see the client's local time)
PENNY = Effect(kind="per_amount", points=1)
EURO = Effect(kind="per_amount", points=1, per=100)


def rule(code: str, effect: Effect = EURO, *conditions: Condition, trigger: Any = "line", **more: Any) -> RuleSpec:
    return RuleSpec(code=code, name=code, unit="points", trigger=trigger, effect=effect, conditions=conditions, **more)


def line(amount: int, *, earning: bool = True, sku: str = "tea", quantity: str = "1") -> Line:
    return Line(0, sku, "", Decimal(quantity), amount, earning)


def sale(*lines: Line, paid: int = 0) -> Event:
    return Event("sale", NOON, NOON.date(), sum(one.amount for one in lines), lines, paid_by_points=paid)


def outcomes(event: Event, *rules: RuleSpec, state: MemberState | None = None, **earning: bool) -> tuple[Outcome, ...]:
    compiled = compile_rules(rules, EarningSpec(**earning))
    return evaluate(compiled, event, MemberState() if state is None else state, {}).outcomes


def only(event: Event, one: RuleSpec, **given_: Any) -> Outcome:
    (found,) = outcomes(event, one, **given_)
    return found


class TestTheDocument:
    def test_neither_earns_unless_the_program_says_so(self) -> None:
        plain = {"name": "Club", "units": [{"code": "points", "name": "Points", "kind": "points"}]}
        assert parse_program(plain).earning == EarningSpec(gift_cards=False, paid_by_points=False)
        said = parse_program({**plain, "earning": {"gift_cards": True}})
        assert said.earning == EarningSpec(gift_cards=True)

    @pytest.mark.parametrize(
        ("earning", "path", "message"),
        [
            ({"gift_cards": 1}, "earning.gift_cards", "must be true or false"),
            ({"paid_by_point": True}, "earning.paid_by_point", "is not a known field (did you mean paid_by_points?)"),
            ("yes", "earning", "must be an object with named fields"),
        ],
    )
    def test_what_is_wrong_with_it_is_named(self, earning: Any, path: str, message: str) -> None:
        document = {"name": "Club", "units": [{"code": "p", "name": "P", "kind": "points"}], "earning": earning}
        with pytest.raises(ProgramError) as refusal:
            parse_program(document)
        assert [(one.path, one.message) for one in refusal.value.problems] == [(path, message)]


class TestGiftCards:
    @pytest.mark.parametrize("trigger", ["line", "purchase"])
    @pytest.mark.parametrize(("gift_cards", "points"), [(False, 5), (True, 25)])
    def test_they_earn_only_if_the_program_says_so(self, trigger: str, gift_cards: bool, points: int) -> None:
        event = sale(line(500), line(2000, earning=False))
        assert only(event, rule("euro", trigger=trigger), gift_cards=gift_cards).amount == points


class TestPaidByPoints:
    def test_points_pay_for_nothing_that_costs_nothing(self) -> None:
        paid = only(
            sale(line(0), line(1), line(-5), line(7), paid=8), rule("penny", Effect(kind="per_amount", points=1, per=1))
        )
        assert (paid.amount, paid.line_amounts) == (0, (0, 0, 0, 0))

    @pytest.mark.parametrize("trigger", ["line", "purchase"])
    def test_the_rest_of_the_sale_earns_line_by_line(self, trigger: str) -> None:
        """3.33 of 10.00 leave 6.67: 4.00 of 6.00, 2.67 of 4.00."""
        event = sale(line(600), line(400), paid=333)
        penny = rule("penny", PENNY, trigger=trigger)
        assert only(event, penny).line_amounts == (400, 267)
        assert only(event, penny, paid_by_points=True).line_amounts == (600, 400)

    def test_the_last_cent_goes_by_largest_remainder(self) -> None:
        penny = rule("penny", PENNY)
        assert only(sale(line(100), line(100), line(100), paid=100), penny).line_amounts == (66, 67, 67)

    def test_lines_that_do_not_earn_were_paid_by_points_as_well(self) -> None:
        penny = rule("penny", PENNY)
        event = sale(line(600), line(400, earning=False), paid=500)
        assert only(event, penny).line_amounts == (300, 0)
        assert only(event, penny, gift_cards=True).line_amounts == (300, 200)

    def test_a_sale_paid_by_points_alone_says_so(self) -> None:
        for trigger in ("line", "purchase"):
            got = only(sale(line(600), line(400), paid=1000), rule("euro", trigger=trigger))
            assert (got.amount, got.reason) == (0, "paid_by_points")

    def test_what_does_not_go_by_amount_earns_as_ever(self) -> None:
        event = sale(line(600, quantity="3"), line(400), paid=1000)
        got = outcomes(
            event,
            rule("each", Effect(kind="fixed", points=2)),
            rule("pieces", Effect(kind="per_quantity", points=1), trigger="purchase"),
            rule("big", Effect(kind="fixed", points=7), Condition("amount", "gte", 1000), trigger="purchase"),
        )
        assert {one.code: one.amount for one in got} == {"each": 4, "pieces": 4, "big": 7}

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 10**12), st.booleans()), min_size=1, max_size=6), st.data())
    def test_r10_what_counts_is_exactly_the_rest(self, rows: list[tuple[int, bool]], data: st.DataObject) -> None:
        paid = data.draw(st.integers(0, sum(amount for amount, _ in rows)))
        assert self._sums_fit(rows, paid, PENNY)

    def test_r10_negative_control_a_rule_that_loses_cents_is_caught(self) -> None:
        lossy = Effect(kind="per_amount", points=1, per=2)
        cases = st.tuples(st.lists(st.tuples(st.integers(0, 100), st.booleans()), min_size=1), st.just(0))
        assert find(cases, lambda case: not self._sums_fit(*case, lossy))

    @staticmethod
    def _sums_fit(rows: list[tuple[int, bool]], paid: int, effect: Effect) -> bool:
        """With all lines earning the points are the rest, and never less than what earning lines alone give."""
        event = sale(*[line(amount, earning=earning) for amount, earning in rows], paid=paid)
        every = only(event, rule("penny", effect), gift_cards=True)
        some = only(event, rule("penny", effect))
        fits = all(
            0 <= got <= amount and (got == whole if earning else got == 0)
            for (amount, earning), got, whole in zip(rows, some.line_amounts, every.line_amounts, strict=True)
        )
        return fits and every.amount == event.amount - paid


class TestWhatIsCarried:
    @pytest.mark.parametrize(
        ("trigger", "lines"),
        [("line", "50,-40,-5"), ("purchase", "2,1,2")],
    )
    def test_the_trace_keeps_by_how_much_the_remainder_moved_and_by_which_lines(self, trigger: str, lines: str) -> None:
        state = MemberState()
        carry = rule("euro", trigger=trigger, remainder="carry")
        first = only(sale(line(150), line(60), line(95)), carry, state=state)
        assert (first.amount, first.detail) == (3, {"carried": 5, "carried_lines": lines})
        assert only(sale(line(95)), carry, state=state).detail == {"carried": -5}
        assert only(sale(line(100)), carry, state=state).detail == {}

    def test_so_does_the_trace_of_a_sale_too_small_to_earn(self) -> None:
        for trigger in ("line", "purchase"):
            for group in (None, "g"):
                state = MemberState()
                small = only(sale(line(60)), rule("euro", trigger=trigger, remainder="carry", group=group), state=state)
                assert (small.result, small.reason, small.detail) == ("not_eligible", "too_small", {"carried": 60})
                assert state.remainders == {"euro": 60}

    def test_a_cap_that_leaves_nothing_keeps_it_too(self) -> None:
        capped = rule("euro", trigger="purchase", remainder="carry", caps=Caps(budget=1))
        made = evaluate(compile_rules([capped]), sale(line(260)), MemberState(), {"euro": 0})
        assert (made.outcomes[0].amount, made.outcomes[0].detail) == (0, {"carried": 60, "before_cap": 2})

    @pytest.mark.parametrize("trigger", ["line", "purchase"])
    def test_of_a_group_only_the_winner_moves_its_remainder(self, trigger: str) -> None:
        carry: dict[str, Any] = {"trigger": trigger, "group": "g", "remainder": "carry"}
        got = outcomes(sale(line(170)), rule("one", **carry), rule("two", Effect(kind="per_amount", points=2, per=100),
                                                                  **carry))  # fmt: skip
        assert {each.code: each.detail for each in got} == {"one": {"would_earn": 1}, "two": {"carried": 40}}

    @pytest.mark.parametrize("trigger", ["line", "purchase"])
    def test_a_winner_that_makes_a_point_of_its_remainder_tells_how_much_of_it_went(self, trigger: str) -> None:
        state = MemberState(remainders={"euro": 60})
        carry = rule("euro", trigger=trigger, remainder="carry", group="g")
        won = outcomes(sale(line(50)), carry, rule("late", trigger=trigger, group="g", effect=Effect(kind="per_amount",
                       points=1, per=1_000)), state=state)  # fmt: skip
        assert won[0].amount == 1
        assert won[0].detail == {"carried": -50}
        assert state.remainders["euro"] == 10

    def test_what_a_return_took_below_zero_is_filled_before_anything_makes_points(self) -> None:
        for trigger in ("line", "purchase"):
            state = MemberState(remainders={"euro": -240})
            carry = rule("euro", trigger=trigger, remainder="carry")
            got = [only(sale(line(100)), carry, state=state) for _ in range(4)]
            assert [one.amount for one in got] == [0, 0, 0, 1]
            assert [one.detail.get("carried") for one in got] == [100, 100, 100, None]
            assert state.remainders == {"euro": 60}
