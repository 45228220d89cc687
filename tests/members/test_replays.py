"""A draft replayed over real purchases: what is counted, that both forms agree, and that nothing is written."""

import hashlib
import os
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from typing import Any

import pytest
from django.db import connections
from django.db.utils import InternalError, OperationalError, ProgrammingError

from loyalty_saas.flows import replays as flow
from members.models import LedgerEntry, Member, Replay
from members.services import replay_reading, replays
from members.services.replay_trials import Trial
from programs.models import Program
from tenants.models import Client
from tests.members.world import (
    DAY,
    NOON,
    bring_back,
    buy,
    credit,
    do,
    fixed,
    level,
    line,
    live,
    new_member,
    per_amount,
    points,
    program,
    rule,
    times,
    unit,
    when,
)

NOW = NOON + DAY
SEED = int(os.environ.get("REPLAY_SEED", "") or int.from_bytes(os.urandom(4)))
SPEND = rule("spend", per_amount(1, 100), remainder="carry")
DOUBLE = rule("spend", per_amount(2, 100), remainder="carry")
WORTH = [{"code": "ten", "name": "Ten off", "kind": "discount", "unit": "points", "price": 100, "value": 1000}]


def tried(*rules: Any, months: int = 3, at: datetime = NOW, **given: Any) -> Replay:
    """A draft of these rules, replayed."""
    made = flow.start(document=program(*rules, **given), months=months, at=at)
    return flow.run(replay_id=made.pk)


def total(replay: Replay, key: str, unit_code: str = "points") -> int:
    """What a program would have given of a unit."""
    return next(one[key] for one in replay.result["units"] if one["code"] == unit_code)


# ── what is counted ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_points_cost_and_members_of_draft_and_published_are_compared(acme: Client, ana: Member, bob: Member) -> None:
    live(SPEND, rewards=WORTH)
    buy(ana, receipt="1", lines=[line(1_050)], at=NOON - 40 * DAY)
    buy(ana, receipt="2", lines=[line(1_050)], at=NOON - 2 * DAY)
    buy(bob, receipt="3", lines=[line(50)], at=NOON - 2 * DAY)

    replay = tried(DOUBLE, rewards=WORTH)

    assert (replay.state, replay.purchases, replay.purchases_done) == ("done", 3, 3)
    assert (total(replay, "published"), total(replay, "draft")) == (21, 43)
    assert replay.result["cost"] == {"published": 210, "draft": 430}
    assert replay.result["members"] == {"more": 2, "less": 0, "same": 0}
    assert [one["month"] for one in replay.result["months"]] == ["2026-05", "2026-06"]


def test_what_published_would_give_is_what_it_gave(acme: Client, ana: Member) -> None:
    live(SPEND, rule("books", per_amount(3, 100), trigger="line", conditions=[when("category", "eq", "books")]))
    for n in range(5):
        buy(ana, receipt=f"{n}", lines=[line(999, category="books"), line(333)], at=NOON - n * DAY)
    credit()

    replay = tried(SPEND)

    assert total(replay, "published") == points(ana)


def test_rules_are_told_one_by_one(acme: Client, ana: Member) -> None:
    live(SPEND)
    buy(ana, receipt="1", lines=[line(700)], at=NOON)
    capped = rule("many", fixed(30), caps={"per_purchase": 20})

    told = {one["code"]: one for one in tried(SPEND, capped).result["rules"]}

    assert told["spend"]["published"] == told["spend"]["draft"]
    assert told["many"]["published"] is None
    assert told["many"]["draft"] == {"points": 20, "fired": 0, "capped": 1, "lost": 0, "not_eligible": 0}


def test_returns_take_back_what_their_sale_was_given_in_the_replay(acme: Client, ana: Member) -> None:
    live(SPEND)
    buy(ana, receipt="1", lines=[line(1_000, sku="a"), line(500, sku="b")], at=NOON - 3 * DAY)
    credit()
    bring_back(ana, receipt="R", sale="1", lines=[line(500, sku="b", position=2)], at=NOON - DAY)
    credit()

    replay = tried(DOUBLE)

    assert (total(replay, "published"), total(replay, "draft")) == (10, 20)
    assert total(replay, "published") == points(ana)


def test_cap_used_by_a_sale_that_came_back_is_free_again(acme: Client, ana: Member) -> None:
    live(SPEND)
    buy(ana, receipt="1", lines=[line(900, sku="a")], at=NOON - 3 * DAY)
    credit()
    bring_back(ana, receipt="R", sale="1", lines=[line(900, sku="a", position=1)], at=NOON - 2 * DAY)
    buy(ana, receipt="2", lines=[line(900, sku="a")], at=NOON - DAY)
    credit()
    once = rule("once", fixed(10), caps={"per_member": {"period": "ever", "points": 10}})

    assert total(tried(once), "draft") == 10


def test_first_purchase_counts_what_was_bought_before_the_span(acme: Client, ana: Member, bob: Member) -> None:
    live(SPEND)
    buy(ana, receipt="1", lines=[line(100)], at=NOON - 300 * DAY)
    buy(ana, receipt="2", lines=[line(100)], at=NOON - DAY)
    buy(bob, receipt="3", lines=[line(100)], at=NOON - DAY)
    welcome = rule("welcome", fixed(50), conditions=[when("first_purchase", "eq", True)])

    assert total(tried(welcome), "draft") == 50


def test_activities_count_beside_purchases(acme: Client, ana: Member) -> None:
    live(SPEND)
    do(ana, "sign_up", at=NOON - 5 * DAY)
    do(ana, "visit", at=NOON - 4 * DAY)
    buy(ana, receipt="1", lines=[line(100)], at=NOON - 4 * DAY)
    joining = rule("joining", fixed(5), trigger="sign_up")
    visit = rule("visit", fixed(3), trigger="visit")

    assert total(tried(joining, visit), "draft") == 8


def test_budget_is_used_up_in_the_order_in_which_all_members_buy(acme: Client, ana: Member, bob: Member) -> None:
    live(SPEND)
    buy(bob, receipt="1", lines=[line(100)], at=NOON - 3 * DAY)
    buy(ana, receipt="2", lines=[line(100)], at=NOON - 2 * DAY)
    replay = tried(rule("rush", fixed(10), caps={"budget": 15}))

    assert total(replay, "draft") == 15
    assert [(one["number"], one["draft"]) for one in replay.result["winners"]] == [
        (bob.number, {"points": 10}),
        (ana.number, {"points": 5}),
    ]
    assert "rush" in replay.result["in_python"]


def test_draft_says_whether_gift_cards_earn(acme: Client, ana: Member) -> None:
    live(SPEND)
    buy(ana, receipt="1", lines=[line(1_000), line(5_000, earning=False)], at=NOON - DAY)

    replay = tried(SPEND, earning={"gift_cards": True})

    assert replay.result["in_python"] == {}
    assert (total(replay, "published"), total(replay, "draft")) == (10, 60)


def test_draft_says_whether_what_points_paid_for_earns(acme: Client, ana: Member) -> None:
    live(SPEND)
    buy(ana, receipt="1", lines=[line(1_000)], at=NOON - DAY, paid_by_points=400)

    replay = tried(SPEND, earning={"paid_by_points": True})

    assert (total(replay, "published"), total(replay, "draft")) == (6, 10)


def test_winner_and_loser_are_named_with_the_purchase_that_tells_why(acme: Client, ana: Member, bob: Member) -> None:
    live(rule("flat", fixed(10)))
    buy(ana, receipt="A-1", lines=[line(5_000)], at=NOON - 2 * DAY)
    buy(bob, receipt="B-1", lines=[line(100)], at=NOON - 2 * DAY)

    result = tried(SPEND).result

    (winner,), (loser,) = result["winners"], result["losers"]
    assert (winner["number"], winner["example"]["document"]) == (ana.number, "A-1")
    assert [(one["code"], one["amount"]) for one in winner["example"]["draft"]] == [("spend", 50)]
    assert (loser["number"], loser["published"], loser["draft"]) == (bob.number, {"points": 10}, {"points": 1})
    assert result["bars"] == [1, 0, 0, 0, 0, 0, 0, 0, 1]


def test_tiers_move_where_the_draft_asks_for_more(acme: Client, ana: Member, bob: Member) -> None:
    levels = {"basis": "spend", "period_months": 12}
    live(SPEND, tiers={**levels, "levels": [level("gold", 1_000)]})
    buy(ana, receipt="1", lines=[line(1_500)], at=NOON - 2 * DAY)
    buy(bob, receipt="2", lines=[line(5_000)], at=NOON - 2 * DAY)

    moves = tried(SPEND, tiers={**levels, "levels": [level("gold", 2_000)]}).result["moves"]

    assert moves == [{"before": "gold", "after": "", "members": 1}]


def test_tiers_by_what_is_earned_follow_the_replay(acme: Client, ana: Member) -> None:
    levels = {"basis": "earned", "levels": [level("gold", 30)]}
    live(SPEND, tiers=levels)
    buy(ana, receipt="1", lines=[line(2_000)], at=NOON - 2 * DAY)

    assert tried(DOUBLE, tiers=levels).result["moves"] == [{"before": "", "after": "gold", "members": 1}]


def test_double_of_a_member_counts_with_the_member_it_was_merged_into(acme: Client, ana: Member, bob: Member) -> None:
    live(SPEND)
    buy(ana, receipt="1", lines=[line(50)], at=NOON - 3 * DAY)
    buy(bob, receipt="2", lines=[line(50)], at=NOON - 2 * DAY)
    credit()
    Member.objects.filter(pk=bob.pk).update(status="merged", merged_into=ana.pk)

    replay = tried(SPEND)

    assert total(replay, "published") == 1
    assert sum(replay.result["members"].values()) == 1
    Member.objects.filter(pk=bob.pk).update(status="active", merged_into=None)


# ── both forms agree, whatever happened ─────────────────────────────────────────────────────────────────────────────

MIXED = [
    rule("spend", per_amount(1, 100), remainder="carry"),
    rule("books", per_amount(3, 100), trigger="line", conditions=[when("category", "eq", "books")],
         caps={"per_member": {"period": "month", "points": 40}}),
    rule("quantity", {"kind": "per_quantity", "points": 2, "per": 1}, trigger="line", rounding="up", group="g"),
    rule("toys", fixed(7), trigger="line", conditions=[when("category", "eq", "toys")], group="g"),
    rule("first", fixed(50), conditions=[when("first_purchase", "eq", True)]),
    rule("visit", fixed(1), trigger="visit"),
    rule("more", times("1.5", "spend"), conditions=[when("amount", "gt", 2_000)]),
    rule("more-books", times("2", "spend"), trigger="line", conditions=[when("category", "eq", "books")]),
]  # fmt: skip


def a_past(random: Random, members: list[Member]) -> None:
    """Sales of several lines, gift cards, some returns and visits."""
    for number in range(60):
        member, at = random.choice(members), NOON - random.randint(1, 80) * DAY + timedelta(minutes=number)
        lines = [
            line(random.randint(0, 4_000), sku=f"s{place}", quantity=f"{random.randint(1, 3_000) / 1000:.3f}",
                 category=random.choice(["books", "toys", "tea"]), earning=random.random() < 0.85)
            for place in range(random.randint(1, 3))
        ]  # fmt: skip
        buy(member, receipt=f"S{number}", lines=lines, at=at)
        credit()
        if random.random() < 0.1:
            back = [replace(one, position=place) for place, one in enumerate(lines[:1], start=1)]
            bring_back(member, receipt=f"R{number}", sale=f"S{number}", lines=back, at=at + timedelta(hours=1))
        if random.random() < 0.1:
            do(member, "visit", at=at - timedelta(hours=2))
    credit()


def in_python(monkeypatch: pytest.MonkeyPatch, *rules: Any) -> dict[str, Any]:
    """The same replay without its SQL form."""
    with monkeypatch.context() as patch:
        patch.setattr(Trial, "reasons", lambda self: {"forced": "for comparison"})
        return tried(*rules).result


def told_alike(result: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in result.items() if key != "in_python"}


def test_sql_and_python_count_the_same_over_a_random_past(acme: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    print(f"REPLAY_SEED={SEED}")  # noqa: T201
    live(SPEND)
    a_past(Random(SEED), [new_member(f"m{n}") for n in range(12)])

    result = tried(*MIXED).result

    assert result["in_python"] == {}
    assert told_alike(result) == told_alike(in_python(monkeypatch, *MIXED))

    # The comparison would show a member that is left out of one of the forms.
    monkeypatch.setattr("members.services.replay_trials.in_python_only", lambda whom, span: [])
    assert told_alike(tried(*MIXED).result) != told_alike(result)


# ── nothing is written ──────────────────────────────────────────────────────────────────────────────────────────────


def checksum(client: Client) -> dict[str, str]:
    """A hash over every row of every table but the replays'."""
    found = {}
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = %s", [client.schema_name])
        for (table,) in cursor.fetchall():
            if table != "members_replay":
                cursor.execute(f"SELECT coalesce(string_agg(t::text, '|' ORDER BY t::text), '') FROM {table} t")
                found[table] = hashlib.sha256(cursor.fetchone()[0].encode()).hexdigest()
    return found


def test_nothing_of_the_client_changes_but_the_replay_itself(acme: Client, ana: Member) -> None:
    live(SPEND)
    buy(ana, receipt="1", lines=[line(1_000, sku="a")], at=NOON - 3 * DAY)
    credit()
    bring_back(ana, receipt="R", sale="1", lines=[line(1_000, sku="a", position=1)], at=NOON - 2 * DAY)
    buy(ana, receipt="2", lines=[line(700)], at=NOON - DAY)
    before = checksum(acme)
    assert LedgerEntry.objects.exists()
    assert "members_ledgerentry" in before

    assert tried(DOUBLE, rule("many", fixed(3), caps={"budget": 5})).state == "done"
    assert tried(DOUBLE).state == "done"

    assert checksum(acme) == before
    credit()
    # A checksum that could not tell would be no proof.
    assert checksum(acme) != before


def test_the_database_refuses_to_write_while_a_replay_reads(acme: Client, ana: Member) -> None:
    with pytest.raises((InternalError, OperationalError, ProgrammingError)), replay_reading.only_reading():
        Member.objects.filter(pk=ana.pk).update(number="CHANGED")


# ── under way ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_progress_is_true_and_a_stop_ends_it_between_two_parts(
    acme: Client, ana: Member, bob: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(SPEND)
    for n, member in enumerate([ana, bob]):
        buy(member, receipt=f"{n}", lines=[line(100)], at=NOON - DAY)
    made = flow.start(document=program(SPEND), months=3, at=NOW)
    one_by_one, seen = replay_reading.parts, list[int]()
    monkeypatch.setattr(replays, "parts", lambda span: one_by_one(span, size=1))

    def look(self: Any, purchases: int) -> None:
        advance(self, purchases)
        seen.append(Replay.objects.get(pk=made.pk).purchases_done)
        flow.stop(replay_id=made.pk, at=NOW)

    advance = replays._Run._advance
    monkeypatch.setattr(replays._Run, "_advance", look)
    ended = flow.run(replay_id=made.pk)

    assert (ended.state, ended.result, seen) == ("stopped", {}, [1])


def test_replay_that_was_stopped_is_not_run(acme: Client, ana: Member) -> None:
    live(SPEND)
    made = flow.start(document=program(SPEND), months=3, at=NOW)

    assert flow.stop(replay_id=made.pk, at=NOW)
    assert flow.run(replay_id=made.pk).state == "stopped"
    assert not flow.stop(replay_id=made.pk, at=NOW)


def test_replay_whose_worker_has_gone_is_taken_up_and_begins_anew(acme: Client, ana: Member) -> None:
    live(SPEND)
    buy(ana, receipt="1", lines=[line(100)], at=NOON - DAY)
    made = flow.start(document=program(SPEND), months=3, at=NOW)
    assert flow.unfinished(at=NOW) == [made.pk]
    Replay.objects.filter(pk=made.pk).update(state="running", purchases_done=7, seen_at=NOW)

    assert flow.unfinished(at=NOW + timedelta(minutes=2)) == []
    assert flow.unfinished(at=NOW + timedelta(minutes=4)) == [made.pk]
    ended = flow.run(replay_id=made.pk)
    assert (ended.state, ended.purchases_done) == ("done", 1)
    assert flow.unfinished(at=NOW + timedelta(days=1)) == []


def test_failure_is_kept_with_its_reason(acme: Client, ana: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    live(SPEND)
    made = flow.start(document=program(SPEND), months=3, at=NOW)
    monkeypatch.setattr(replays, "parts", lambda span: 1 // 0)

    with pytest.raises(ZeroDivisionError):
        flow.run(replay_id=made.pk)
    made.refresh_from_db()
    assert (made.state, "ZeroDivisionError" in made.error) == ("failed", True)


@pytest.mark.parametrize("months", [0, 5, -3])
def test_other_spans_are_refused(acme: Client, months: int) -> None:
    with pytest.raises(ValueError, match="months"):
        flow.start(document=program(SPEND), months=months, at=NOW)


def test_without_a_published_program_the_draft_stands_alone(acme: Client, ana: Member) -> None:
    buy(ana, receipt="1", lines=[line(1_000)], at=NOON - DAY)

    replay = tried(SPEND, units=[unit()])

    assert not Program.objects.exists()
    assert (replay.against, total(replay, "published"), total(replay, "draft")) == (None, 0, 10)
