"""With its points a return gives back what the sale used: cap, budget, its share of what is carried."""

from typing import Any

import pytest

from members.models import Member, RuleBudget, RuleState, RuleTrace
from members.services import returns
from tests.members.world import (
    DAY,
    NOON,
    bring_back,
    buy,
    credit,
    do,
    fixed,
    line,
    live,
    per_amount,
    points,
    rule,
    spend,
    tell,
    unit,
    when,
)

DAILY = {"per_member": {"period": "day", "points": 100}}


def state(member: Member, code: str = "euro") -> tuple[int, dict[str, int]]:
    """What a rule remembers of a member; nothing is the same as nothing used."""
    found = RuleState.objects.filter(member=member, rule_code=code).first()
    return (found.remainder, found.used) if found else (0, {})


def budget(code: str = "euro") -> int:
    return RuleBudget.objects.get(pk=code).used


# ── caps ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("limit", [1, 500])
def test_r07_what_comes_back_may_be_earned_again_within_the_cap_of_the_sale_s_day(ana: Member, limit: int) -> None:
    live(rule("euro", per_amount(1, 100), caps=DAILY))
    buy(ana, receipt="R-1", lines=[line(8_000, sku="tea", quantity=2)])
    buy(ana, receipt="R-2", lines=[line(5_000)])
    credit(limit=limit)
    assert (points(ana), state(ana)) == (100, (0, {"2026-06-17": 100}))

    bring_back(ana, receipt="B-1", sale="R-1", lines=[line(4_000, sku="tea")], at=NOON + DAY)
    credit(limit=limit)
    assert (points(ana), state(ana)) == (60, (0, {"2026-06-17": 60}))

    # A sale told late falls in the day it happened on, and finds the room that came back.
    buy(ana, receipt="R-3", lines=[line(9_000)], at=NOON, received=NOON + 2 * DAY)
    buy(ana, receipt="R-4", lines=[line(3_000)], at=NOON + DAY)
    credit(limit=limit)
    assert state(ana) == (0, {"2026-06-17": 100, "2026-06-18": 30})

    for n in (1, 2, 3, 4):
        bring_back(ana, receipt=f"V-{n}", sale=f"R-{n}", kind="void", at=NOON + 3 * DAY)
    credit(limit=limit)
    assert (points(ana), state(ana)) == (0, (0, {}))


def test_the_cap_of_the_version_that_credited_is_given_back_and_no_other(ana: Member) -> None:
    live(rule("euro", per_amount(1, 100), caps=DAILY))
    buy(ana, receipt="R-1", lines=[line(5_000)])
    credit()
    live(rule("euro", per_amount(1, 100), caps={"per_member": {"period": "month", "points": 60}, "budget": 1_000}))
    buy(ana, receipt="R-2", lines=[line(4_000)], at=NOON + DAY)
    credit()
    assert (state(ana), budget()) == ((0, {"2026-06-17": 50, "2026-06": 40}), 40)

    bring_back(ana, receipt="V-1", sale="R-1", kind="void", at=NOON + 2 * DAY)
    credit()
    assert (state(ana), budget()) == ((0, {"2026-06": 40}), 40)
    live(rule("other", fixed(1)))
    bring_back(ana, receipt="V-2", sale="R-2", kind="void", at=NOON + 2 * DAY)
    credit()
    assert (state(ana), budget(), points(ana)) == ((0, {}), 0, 0)


# ── budgets ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("limit", [1, 500])
def test_r07_a_budget_gets_back_what_came_back_and_gives_it_to_others(ana: Member, bob: Member, limit: int) -> None:
    live(rule("euro", per_amount(1, 100), caps={"budget": 100}))
    buy(ana, receipt="R-1", lines=[line(8_000, sku="tea", quantity=4)])
    buy(bob, receipt="R-2", lines=[line(5_000)], at=NOON + DAY)
    credit(limit=limit)
    assert (points(ana), points(bob), budget()) == (80, 20, 100)

    bring_back(ana, receipt="B-1", sale="R-1", lines=[line(0, sku="tea", quantity=3)], at=NOON + 2 * DAY)
    credit(limit=limit)
    assert (points(ana), budget()) == (20, 40)
    buy(bob, receipt="R-3", lines=[line(7_000)], at=NOON + 3 * DAY)
    credit(limit=limit)
    assert (points(bob), budget()) == (80, 100)


def test_a_budget_cut_below_what_was_given_is_not_forgotten(ana: Member) -> None:
    live(rule("euro", per_amount(1, 100), caps={"budget": 100}))
    buy(ana, receipt="R-1", lines=[line(8_000)])
    credit()
    live(rule("euro", per_amount(1, 100), caps={"budget": 50}))
    buy(ana, receipt="R-2", lines=[line(1_000)])
    credit()
    assert (points(ana), budget()) == (80, 80)
    bring_back(ana, receipt="V-1", sale="R-1", kind="void", at=NOON + DAY)
    credit()
    assert (points(ana), budget()) == (0, 0)


# ── what is carried ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("trigger", ["line", "purchase"])
@pytest.mark.parametrize("limit", [1, 500])
def test_r07_a_return_takes_its_share_of_the_remainder(ana: Member, trigger: str, limit: int) -> None:
    live(rule("euro", per_amount(1, 100), trigger=trigger, remainder="carry"))
    buy(ana, receipt="R-1", lines=[line(60, sku="tea", quantity=2)])
    buy(ana, receipt="R-2", lines=[line(60, sku="cup")], at=NOON + DAY)
    credit(limit=limit)
    assert (points(ana), state(ana)) == (1, (20, {}))

    bring_back(ana, receipt="B-1", sale="R-1", lines=[line(30, sku="tea")], at=NOON + 2 * DAY)
    credit(limit=limit)
    assert (points(ana), state(ana)) == (1, (-10, {}))
    bring_back(ana, receipt="B-2", sale="R-1", at=NOON + 2 * DAY)
    buy(ana, receipt="R-3", lines=[line(70)], at=NOON + 3 * DAY)
    credit(limit=limit)
    # 0.60 + 0.70 bought are worth the point there is, and 0.30.
    assert (points(ana), state(ana)) == (1, (30, {}))

    for receipt in ("R-2", "R-3"):
        bring_back(ana, receipt=f"V-{receipt}", sale=receipt, kind="void", at=NOON + 4 * DAY)
    credit(limit=limit)
    assert (points(ana), state(ana)) == (0, (0, {}))


def test_r07_a_line_takes_what_it_had_carried_and_not_what_others_had(ana: Member) -> None:
    live(rule("tea", per_amount(1, 100), trigger="line", remainder="carry", conditions=[when("sku", "eq", "tea")]))
    buy(ana, receipt="R-1", lines=[line(60, sku="tea"), line(5_000, sku="jam", quantity=10)])
    credit()
    bring_back(ana, receipt="B-1", sale="R-1", lines=[line(0, sku="jam", quantity=10)], at=NOON + DAY)
    credit()
    assert state(ana, "tea") == (60, {})
    bring_back(ana, receipt="B-2", sale="R-1", lines=[line(0, sku="tea")], at=NOON + DAY)
    credit()
    assert state(ana, "tea") == (0, {})


def test_a_remainder_kept_in_another_scale_goes_in_that_of_the_rule_now(ana: Member) -> None:
    live(rule("euro", per_amount(1, 100), remainder="carry"))
    buy(ana, receipt="R-1", lines=[line(60)])
    credit()
    live(rule("euro", per_amount(1, 1000), remainder="carry"))
    bring_back(ana, receipt="V-1", sale="R-1", kind="void", at=NOON + DAY)
    credit()
    # 0.6 of a point: 60 parts of 100 are 600 of 1000, of which this version had kept 60.
    assert state(ana) == (60 - 600, {})


def test_a_program_that_remembers_nothing_any_more_still_gives_back(ana: Member) -> None:
    live(rule("euro", per_amount(1, 100), remainder="carry", caps={**DAILY, "budget": 500}))
    buy(ana, receipt="R-1", lines=[line(260)])
    credit()
    assert (state(ana), budget()) == ((60, {"2026-06-17": 2}), 2)
    live(rule("other", fixed(1)))
    bring_back(ana, receipt="V-1", sale="R-1", kind="void", at=NOON + DAY)
    credit()
    assert (state(ana), budget(), points(ana)) == ((0, {}), 0, 0)


def test_r07_negative_control_a_return_that_gives_nothing_back_would_be_seen(
    ana: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(returns.TakenBack, "_give_back", lambda self, **given: None)
    live(rule("euro", per_amount(1, 100), remainder="carry", caps={**DAILY, "budget": 500}))
    buy(ana, receipt="R-1", lines=[line(260)])
    bring_back(ana, receipt="V-1", sale="R-1", kind="void", at=NOON + DAY)
    credit()
    assert (points(ana), state(ana), budget()) == (0, (60, {"2026-06-17": 2}), 2)


# ── what is told ────────────────────────────────────────────────────────────────────────────────────────────────────


def traces(receipt: str) -> dict[str, tuple[int, list[int], dict[str, Any]]]:
    rows = RuleTrace.objects.select_related("rule").extra(
        where=["source_id IN (SELECT id FROM members_purchase WHERE document = %s)"], params=[receipt]
    )
    return {one.rule.code: (one.amount, one.line_amounts, one.detail) for one in rows}


def test_each_trace_says_what_it_took_line_by_line_what_it_forgave_and_what_it_carried_back(ana: Member) -> None:
    live(
        rule("euro", per_amount(1, 100), remainder="carry"),
        rule("tea", fixed(10), trigger="line", conditions=[when("sku", "eq", "tea")]),
        units=[unit(may_owe=False)],
    )
    buy(ana, receipt="R-1", lines=[line(1_060, sku="tea"), line(2_000, sku="jam")])
    credit()
    assert points(ana) == 40
    spend(ana, 25)
    bring_back(ana, receipt="B-1", sale="R-1", lines=[line(0, sku="jam"), line(0, sku="tea")], at=NOON + DAY)
    credit()

    assert points(ana) == 0
    assert traces("B-1") == {
        "euro": (-30, [-20, -10], {"forgiven": 19, "carried": -60}),
        "tea": (-10, [0, -10], {"forgiven": 6}),
    }
    assert sum(one[2]["forgiven"] for one in traces("B-1").values()) == 25


def test_r07_points_of_a_trip_do_not_come_back_with_a_sale(ana: Member) -> None:
    live(rule("euro", per_amount(1, 100)), rule("trip", fixed(7), trigger="activity"))
    do(ana, "trip")
    buy(ana, receipt="R-1", lines=[line(500)])
    bring_back(ana, receipt="V-1", sale="R-1", kind="void", at=NOON + DAY)
    credit()
    assert points(ana) == 7
    assert tell(RuleTrace.objects.filter(reason="taken_back"), "amount") == [-5]
