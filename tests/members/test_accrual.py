"""What waits is credited: by line and by purchase, under caps, tiers and remainders, each thing once and traced."""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID

import pytest
from django.db import transaction

from loyalty_saas.flows import purchases as flow
from loyalty_saas.flows.nights import greet_birthdays
from loyalty_saas.flows.programs import publish
from members.models import (
    Activity,
    Identity,
    Insight,
    LedgerEntry,
    Lot,
    Member,
    PointsAccount,
    Purchase,
    RuleBudget,
    RuleTrace,
    TierChange,
    TierStatus,
    WorkItem,
)
from members.queries import set_aside
from members.services import accrual
from members.services.enrolment import NewMember, enrol
from members.services.refusals import ReceiptConflict
from tenants.models import Client
from tests.members.world import (
    BERLIN,
    DAY,
    NOON,
    PENNY,
    balance_of,
    bring_back,
    buy,
    credit,
    crowd,
    do,
    fixed,
    level,
    line,
    live,
    new_member,
    per_amount,
    points,
    program,
    purchase,
    rule,
    tell,
    times,
    unit,
    when,
)

MINUTE = timedelta(minutes=1)
SILVER = {"basis": "spend", "period_months": 12, "levels": [level("silver", 5000)]}


def traces(receipt: str) -> dict[str, tuple[str, int, str]]:
    source = Purchase.objects.get(document=receipt).pk
    rows = RuleTrace.objects.filter(source_id=source).select_related("rule")
    return {row.rule.code: (row.result, row.amount, row.reason) for row in rows}


def lines_of(receipt: str, code: str) -> list[int]:
    return RuleTrace.objects.get(source_id=Purchase.objects.get(document=receipt).pk, rule__code=code).line_amounts


# ── by line, by purchase ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_rule_for_lines_gives_each_line_its_own(ana: Member) -> None:
    live(rule("tea", per_amount(2), trigger="line", conditions=[when("category", "eq", "tea")]), PENNY)
    lines = [line(100, category="tea"), line(50, category="cups"), line(7, category="tea", earning=False)]
    buy(ana, receipt="R-1", lines=lines)
    credit()

    assert points(ana) == 350
    assert (lines_of("R-1", "tea"), lines_of("R-1", "penny")) == ([200, 0, 0], [100, 50, 0])


def test_r10_what_a_purchase_earns_is_shared_over_its_lines_to_the_last_point(ana: Member) -> None:
    live(rule("euro", per_amount(1, 100)))
    buy(ana, receipt="R-1", lines=[line(333), line(333), line(334)])
    buy(ana, receipt="R-2", lines=[line(1), line(1), line(998)], at=NOON + MINUTE)
    credit()

    assert (lines_of("R-1", "euro"), lines_of("R-2", "euro")) == ([3, 3, 4], [0, 0, 10])


def test_a_remainder_is_carried_to_the_next_purchase(ana: Member) -> None:
    live(rule("euro", per_amount(1, 100), remainder="carry"))
    for n in range(3):
        buy(ana, receipt=f"R-{n}", lines=[line(150)], at=NOON + n * MINUTE)
        credit()

    assert tell(LedgerEntry.objects.order_by("id"), "amount") == [1, 2, 1]


def test_a_remainder_that_is_dropped_is_gone(ana: Member) -> None:
    live(rule("euro", per_amount(1, 100)))
    for n in range(3):
        buy(ana, receipt=f"R-{n}", lines=[line(150)], at=NOON + n * MINUTE)
    credit()

    assert points(ana) == 3


def test_two_units_are_collected_side_by_side(ana: Member) -> None:
    live(PENNY, rule("stamp", fixed(1), trigger="visit", unit="stamps"), units=[unit(), unit("stamps", kind="stamps")])
    buy(ana, receipt="R-1", lines=[line(480)])
    credit()

    assert (points(ana), points(ana, "stamps")) == (480, 1)


def test_a_sale_of_which_only_the_total_is_known_earns_like_one_line(ana: Member) -> None:
    live(PENNY, rule("euro", per_amount(1, 100)))
    buy(ana, receipt="R-1", amount=1250)
    credit()

    assert points(ana) == 1250 + 12


def test_a_purchase_of_nothing_leaves_a_trace_and_no_entry(ana: Member) -> None:
    live()
    buy(ana, receipt="R-1", lines=[line(0)])
    credit()

    assert traces("R-1") == {"penny": ("not_eligible", 0, "too_small")}
    assert not LedgerEntry.objects.exists()


# ── caps, first purchase, visits ────────────────────────────────────────────────────────────────────────────────────


def test_a_cap_per_purchase_cuts_and_says_so(ana: Member) -> None:
    live(rule("penny", per_amount(), trigger="line", caps={"per_purchase": 120}))
    buy(ana, receipt="R-1", lines=[line(100), line(100)])
    credit()

    assert traces("R-1") == {"penny": ("capped", 120, "cap:per_purchase")}
    assert lines_of("R-1", "penny") == [100, 20]


def test_a_cap_per_member_and_day_holds_across_batches_and_begins_anew_at_local_midnight(ana: Member) -> None:
    live(rule("penny", per_amount(), caps={"per_member": {"period": "day", "points": 150}}))
    late = datetime(2026, 6, 17, 23, 59, tzinfo=BERLIN)
    for n, at in enumerate((NOON, NOON + MINUTE, late, late + MINUTE)):
        buy(ana, receipt=f"R-{n}", lines=[line(100)], at=at)
        credit()

    assert [traces(f"R-{n}")["penny"][:2] for n in range(4)] == [
        ("fired", 100),
        ("capped", 50),
        ("capped", 0),
        ("fired", 100),
    ]


def test_a_late_purchase_counts_in_the_period_in_which_it_happened(ana: Member) -> None:
    live(rule("penny", per_amount(), caps={"per_member": {"period": "month", "points": 150}}))
    for receipt, at in (("June", NOON), ("July", NOON + 30 * DAY), ("June, late", NOON + MINUTE)):
        buy(ana, receipt=receipt, lines=[line(100)], at=at)
        credit()

    assert tell(LedgerEntry.objects.order_by("id"), "amount") == [100, 100, 50]


def test_a_budget_is_given_out_once_over_all_members(ana: Member, bob: Member) -> None:
    live(rule("penny", per_amount(), caps={"budget": 250}))
    for n, who in enumerate((ana, bob, ana, bob)):
        buy(who, receipt=f"R-{n}", lines=[line(100)], at=NOON + n * MINUTE)
        credit()

    assert tell(LedgerEntry.objects.order_by("id"), "amount") == [100, 100, 50]
    assert RuleBudget.objects.get(pk="penny").used == 250


def test_several_workers_share_a_backlog_and_give_out_no_more_than_the_budget(acme: Client) -> None:
    live(rule("penny", per_amount(), caps={"budget": 2500}), rule("one", fixed(1)))
    who = [new_member(f"member {n}") for n in range(20)]
    for n in range(80):
        buy(who[n % 20], receipt=f"R-{n}", lines=[line(100)], at=NOON + n * MINUTE)
    with crowd(4, acme) as people:
        ends = people.act(lambda _place: credit(limit=7), atomic=False)
    credit()

    assert [end for end in ends if not isinstance(end, int)] == []
    assert sum(map(points, who)) == 2500 + 80
    assert (RuleBudget.objects.get().used, RuleTrace.objects.count(), WorkItem.objects.count()) == (2500, 160, 0)


@pytest.mark.parametrize("limit", [1, 500])
def test_a_first_purchase_is_first_once(ana: Member, limit: int) -> None:
    live(rule("welcome", fixed(50), conditions=[when("first_purchase", "eq", True)]))
    for n in range(3):
        buy(ana, receipt=f"R-{n}", lines=[line(100)], at=NOON + n * MINUTE)
    credit(limit=limit)

    assert tell(LedgerEntry.objects.all(), "amount") == [50]


@pytest.mark.parametrize("limit", [1, 500])
def test_a_paid_trip_counts_as_bought_before_whatever_the_batch(ana: Member, limit: int) -> None:
    live(
        rule("welcome", fixed(50), conditions=[when("first_purchase", "eq", True)]),
        rule("stamp", fixed(1), trigger="visit"),
    )
    do(ana, "trip", amount=99_000, properties={"days": 7})
    buy(ana, receipt="R-1", lines=[line(100)], at=NOON + MINUTE)
    credit(limit=limit)

    assert traces("R-1") == {
        "welcome": ("not_eligible", 0, "condition:first_purchase"),
        "stamp": ("not_eligible", 0, "visited_today"),
    }


@pytest.mark.parametrize("limit", [1, 500])
def test_a_visit_counts_once_a_local_day(ana: Member, limit: int) -> None:
    live(rule("stamp", fixed(1), trigger="visit"))
    before_midnight = datetime(2026, 6, 17, 23, 50, tzinfo=BERLIN)
    for n, at in enumerate((NOON, NOON + MINUTE, before_midnight, before_midnight + 20 * MINUTE)):
        buy(ana, receipt=f"R-{n}", lines=[line(100)], at=at)
    do(ana, "visit", at=before_midnight + 40 * MINUTE)
    do(ana, "visit", at=NOON + 2 * DAY)
    credit(limit=limit)

    assert points(ana) == 3


# ── tiers between purchases, batches, order of arrival ──────────────────────────────────────────────────────────────


def test_a_tier_reached_by_one_purchase_counts_for_the_next_of_the_same_batch(ana: Member) -> None:
    live(
        PENNY,
        rule("silver-bonus", times("2", "penny"), trigger="line", conditions=[when("tier", "eq", "silver")]),
        tiers=SILVER,
    )
    for n, amount in enumerate((4000, 1000, 1000)):
        buy(ana, receipt=f"R-{n}", lines=[line(amount)], at=NOON + n * MINUTE)
    credit()

    assert points(ana) == 4000 + 1000 + 2000
    assert tell(TierChange.objects.all(), "before", "after", "basis", "at") == [("", "silver", 5000, NOON + MINUTE)]


Event = tuple[str, int, timedelta, int, str]


def history(seed: int) -> list[Event]:
    """A year of one member: (what, amount, when, which product, whether it is brought back)."""
    chance = Random(seed)
    kinds = ["sale"] * 7 + ["trip", "visit", "return without receipt"]
    events = [("sale", 4200, timedelta(0), 1, "return")]
    for n in range(1, 12):
        kind = chance.choice(kinds)
        back = "return" if kind == "sale" and chance.random() < 0.3 else ""
        events.append(
            (kind, chance.randrange(1, 4000), n * 20 * DAY + chance.randrange(600) * MINUTE, chance.randrange(4), back)
        )
    return events


def play(who: dict[int, Member], events: list[tuple[int, int, Event]], *, round_: str) -> None:
    """Let these things arrive in this order; returns that name their sale come when all sales are known."""
    for member, n, (kind, amount, after, product, _back) in events:
        receipt, at, sku = f"{round_} {member}-{n}", NOON + after, f"P-{product}"
        if kind == "sale":
            buy(
                who[member],
                receipt=receipt,
                lines=[line(amount, sku=sku, quantity=2), line(amount // 3, sku="P-9")],
                at=at,
            )
        elif kind == "return without receipt":
            bring_back(who[member], receipt=receipt, lines=[line(amount, sku=sku)], at=at)
        else:
            paid = amount if kind == "trip" else 0
            do(who[member], kind, reference=receipt, at=at, amount=paid, properties={"days": product})
    for member, n, (_kind, amount, after, product, back) in events:
        if back:
            piece = [line(amount // 2, sku=f"P-{product}")]
            bring_back(
                who[member],
                receipt=f"{round_} {member}-{n} back",
                sale=f"{round_} {member}-{n}",
                lines=piece,
                at=NOON + after + DAY,
            )


def end_state(who: dict[int, Member]) -> dict[str, Any]:
    """All that was made of it, without the ids and the round's name."""
    documents = {row.pk: row.document.partition(" ")[2] for row in Purchase.objects.all()}
    documents |= {row.pk: row.reference.partition(" ")[2] for row in Activity.objects.all()}
    places = {member.pk: place for place, member in who.items()}
    mine = {"account__member__in": places}
    return {
        "balances": sorted((places[a.member_id], a.balance, a.debt) for a in PointsAccount.objects.filter(member__in=places)),
        "lots": sorted((documents[lot.entry.purchase_id or lot.entry.activity_id], lot.remaining, str(lot.expires_at), str(lot.available_at))
                       for lot in Lot.objects.filter(**mine).select_related("entry")),
        "entries": sorted((documents[e.purchase_id or e.activity_id], e.kind, e.amount) for e in LedgerEntry.objects.filter(**mine)),
        "traces": sorted((documents[t.source_id], t.rule.code, t.result, t.amount, t.line_amounts, t.reason)
                         for t in RuleTrace.objects.select_related("rule") if _is_of(t.source_id, places)),
        "tiers": sorted((places[t.pk], t.tier, t.basis, str(t.since)) for t in TierStatus.objects.filter(pk__in=places)),
        "changes": sorted((places[c.member_id], c.before, c.after, c.basis, str(c.at)) for c in TierChange.objects.filter(member__in=places)),
        "insights": sorted((places[i.pk], i.purchases, i.spend, str(i.first_day), str(i.last_day), str(i.last_visit))
                           for i in Insight.objects.filter(pk__in=places)),
    }  # fmt: skip


def _is_of(source_id: UUID, places: dict[UUID, int]) -> bool:
    return (
        Purchase.objects.filter(pk=source_id, member__in=places).exists()
        or Activity.objects.filter(pk=source_id, member__in=places).exists()
    )


def test_r09_batch_sizes_and_the_order_of_arrival_leave_one_end_state(acme: Client) -> None:
    live(
        rule("euro", per_amount(1, 100), remainder="carry", caps={"per_member": {"period": "month", "points": 70}}),
        rule("welcome", fixed(50), conditions=[when("first_purchase", "eq", True)]),
        rule("stamp", fixed(3), trigger="visit"),
        rule("trip", {"kind": "table", "property": "days", "steps": [[1, 10], [3, 90]]}, trigger="activity"),
        rule("tea", fixed(5), trigger="line", conditions=[when("sku", "eq", "P-1")], group="kinds", priority=1),
        rule("any", fixed(1), trigger="line", group="kinds"),
        rule("silver-bonus", times("1.5", "euro"), conditions=[when("tier", "eq", "silver")]),
        rule("gold-bonus", times("2", "euro"), conditions=[when("tier", "eq", "gold")]),
        units=[unit(may_owe=True, pending_days=14, expiry={"policy": "rolling", "months": 6})],
        tiers={
            "basis": "spend",
            "period_months": 3,
            "levels": [level("silver", 6000, 4000), level("gold", 12_000, 9000)],
        },
    )
    events = [(member, n, event) for member in range(4) for n, event in enumerate(history(member))]
    ends = []
    for round_, (limit, seed) in enumerate([(500, None), (1, None), (7, None), (500, 1), (7, 2), (1, 3), (500, 4)]):
        who = {place: new_member(f"{round_} {place}") for place in range(4)}
        arriving = list(events)
        if seed is not None:
            Random(seed).shuffle(arriving)
            # One in ten is sent again.
            arriving += arriving[::10]
        play(who, arriving, round_=str(round_))
        credit(limit=limit)
        ends.append(end_state(who))

    assert len(ends[0]["changes"]) > 4
    assert {e[1] for e in ends[0]["entries"]} == {"earn", "reverse"}
    for end in ends[1:]:
        assert end == ends[0]


def test_r12_a_purchase_that_arrives_late_never_lowers_a_tier(ana: Member) -> None:
    live(tiers=SILVER)
    buy(ana, receipt="R-1", lines=[line(6000)])
    credit()
    buy(ana, receipt="R-0", lines=[line(100)], at=NOON - 40 * DAY)
    credit()

    status = TierStatus.objects.get(pk=ana.pk)
    assert (status.tier, status.basis) == ("silver", 6100)
    assert TierChange.objects.count() == 1


# ── dates ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_pending_points_become_spendable_at_the_start_of_a_local_day(ana: Member) -> None:
    live(units=[unit(pending_days=14)])
    buy(ana, receipt="R-1", lines=[line(100)])
    credit()

    starts = datetime(2026, 7, 1, tzinfo=BERLIN)
    assert [(b.available, b.pending) for b in (balance_of(ana), balance_of(ana, at=starts - MINUTE), balance_of(ana, at=starts))] \
        == [(0, 100), (0, 100), (100, 0)]  # fmt: skip


@pytest.mark.parametrize(
    ("bought", "expiry", "ends"),
    [
        ("2026-06-17T12:00+02:00", {"policy": "rolling", "months": 12}, "2027-06-18T00:00+02:00"),
        ("2027-02-28T23:30+01:00", {"policy": "rolling", "months": 1}, "2027-03-29T00:00+02:00"),
        ("2027-01-31T10:00+01:00", {"policy": "rolling", "months": 1}, "2027-03-01T00:00+01:00"),
        ("2027-09-30T23:59+02:00", {"policy": "rolling", "months": 1}, "2027-10-31T00:00+02:00"),
        ("2027-10-31T02:30+02:00", {"policy": "rolling", "months": 12}, "2028-11-01T00:00+01:00"),
        ("2027-10-31T02:30+01:00", {"policy": "rolling", "months": 12}, "2028-11-01T00:00+01:00"),
        ("2028-02-29T12:00+01:00", {"policy": "rolling", "months": 12}, "2029-03-01T00:00+01:00"),
        ("2026-12-31T23:30+01:00", {"policy": "calendar", "months": 12}, "2028-01-01T00:00+01:00"),
        ("2026-12-31T23:30+00:00", {"policy": "calendar", "months": 12}, "2029-01-01T00:00+01:00"),
        ("2026-06-17T12:00+02:00", {"policy": "none"}, None),
    ],
)
def test_r11_a_lot_lives_to_the_end_of_its_last_local_day(
    ana: Member, bought: str, expiry: dict[str, Any], ends: str | None
) -> None:
    live(units=[unit(expiry=expiry)])
    buy(ana, receipt="R-1", lines=[line(100)], at=datetime.fromisoformat(bought))
    credit()

    assert Lot.objects.get().expires_at == (datetime.fromisoformat(ends) if ends else None)


def test_r11_the_business_day_is_that_of_the_client_s_clock(ana: Member) -> None:
    for n, (at, day) in enumerate([("2026-06-16T22:00+00:00", date(2026, 6, 17)), ("2026-06-16T21:59+00:00", date(2026, 6, 16)),
                                   ("2027-03-28T00:30+00:00", date(2027, 3, 28)), ("2027-10-30T22:00+00:00", date(2027, 10, 31))]):  # fmt: skip
        buy(ana, receipt=f"R-{n}", lines=[line(1)], at=datetime.fromisoformat(at))
        assert Purchase.objects.get(document=f"R-{n}").day == day


# ── once, and only once ─────────────────────────────────────────────────────────────────────────────────────────────


def test_the_till_that_retries_is_credited_once(ana: Member) -> None:
    live()
    first = buy(ana, receipt="R-1", lines=[line(120)])
    again = buy(ana, receipt="R-1", lines=[line(120)])
    credit()
    late = buy(ana, receipt="R-1", lines=[line(120)])

    assert (first.repeated, again.repeated, late.repeated) == (False, True, True)
    assert first.purchase_id == again.purchase_id == late.purchase_id
    assert (credit(), points(ana), LedgerEntry.objects.count()) == (0, 120, 1)


def test_a_receipt_with_other_content_is_refused(ana: Member, bob: Member) -> None:
    buy(ana, receipt="R-1", lines=[line(120)])
    with pytest.raises(ReceiptConflict) as refusal:
        buy(ana, receipt="R-1", lines=[line(121)])
    assert refusal.value.field == "document"
    with pytest.raises(ReceiptConflict):
        buy(bob, receipt="R-1", lines=[line(120)])


def test_crediting_again_does_nothing(ana: Member) -> None:
    live()
    buy(ana, receipt="R-1", lines=[line(120)])
    assert (credit(), credit(), credit()) == (1, 0, 0)
    assert points(ana) == 120


def test_what_was_credited_cannot_be_credited_again_even_if_it_waits_again(ana: Member) -> None:
    """The effect's key holds, whatever becomes of the work items."""
    live()
    accepted = buy(ana, receipt="R-1", lines=[line(120)])
    credit()
    item = WorkItem.objects.create(source_id=accepted.purchase_id, kind="purchase", member=ana, occurred_at=NOON)
    credit()

    assert points(ana) == 120
    item.refresh_from_db()
    assert item.quarantined_at == NOON
    item.delete()


def test_r59_a_poisoned_item_is_set_aside_after_three_tries_and_the_others_go_on(
    ana: Member, bob: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    live()
    event_of: Callable[..., Any] = accrual.event_of
    tries = []

    def poisoned(item: accrual.Item, **given: Any) -> Any:
        if item.amount == 666:
            tries.append(item.source_id)
            raise RuntimeError("poison")
        return event_of(item, **given)

    monkeypatch.setattr(accrual, "event_of", poisoned)
    for n in range(20):
        buy(bob if n % 2 else ana, receipt=f"R-{n}", lines=[line(666 if n == 9 else 10)], at=NOON + n * MINUTE)
    credit()

    assert (points(ana), points(bob)) == (100, 90)
    (aside,) = set_aside()
    assert (aside.attempts, aside.error, aside.quarantined_at) == (3, "RuntimeError('poison')", NOON)
    assert Purchase.objects.get(pk=aside.source_id).document == "R-9"
    assert credit() == 0


def test_a_failing_batch_leaves_nothing_half_done(ana: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    live()
    buy(ana, receipt="R-1", lines=[line(120)])

    def failing(**_given: Any) -> None:
        raise RuntimeError("offers")

    monkeypatch.setattr(flow, "refresh_offers", failing)
    credit()
    assert (points(ana), RuleTrace.objects.count(), WorkItem.objects.get().attempts) == (0, 0, 3)

    monkeypatch.undo()
    WorkItem.objects.update(attempts=0, quarantined_at=None)
    credit()
    assert points(ana) == 120


def test_work_without_a_program_waits_until_one_is_published(ana: Member) -> None:
    buy(ana, receipt="R-1", lines=[line(120)])
    assert (credit(), accrual.waiting()) == (0, 1)

    live()
    assert (credit(), points(ana), accrual.waiting()) == (1, 120, 0)


def test_a_new_version_credits_what_comes_after_it_and_keeps_what_was_carried(ana: Member) -> None:
    live(rule("euro", per_amount(1, 100), remainder="carry"))
    buy(ana, receipt="R-1", lines=[line(150)])
    credit()
    live(rule("euro", per_amount(2, 100), remainder="carry"))
    buy(ana, receipt="R-2", lines=[line(100)], at=NOON + MINUTE)
    credit()

    # 1, then (2 × 100 + 50 carried) / 100.
    assert tell(LedgerEntry.objects.order_by("id"), "amount") == [1, 2]


# ── activities ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_trip_of_seven_days_banks_what_the_table_says(ana: Member) -> None:
    steps = {"kind": "table", "property": "days", "steps": [[1, 1000], [4, 5000], [7, 10_000]]}
    live(rule("trip", steps, trigger="activity", conditions=[when("activity", "eq", "trip")]))
    for days in (1, 3, 4, 7, 12):
        do(ana, "trip", properties={"days": days})
    do(ana, "review", properties={"days": 7})
    credit()

    assert points(ana) == 1000 + 1000 + 5000 + 10_000 + 10_000


def test_an_activity_counts_once_per_kind_and_reference(ana: Member) -> None:
    live(rule("review", fixed(10), trigger="activity"))
    first = do(ana, "review", reference="A-1")
    again = do(ana, "review", reference="A-1")
    credit()

    assert (again.id, again.repeated, points(ana)) == (first.id, True, 10)
    with pytest.raises(ReceiptConflict):
        do(ana, "review", reference="A-1", amount=5)


def test_joining_is_rewarded_once(acme: Client) -> None:
    live(rule("welcome", fixed(50), trigger="sign_up"))
    with transaction.atomic():
        eve = enrol(new=NewMember(identifiers={"email": "Eve@Example.com"}, name="Eve"), region="DE", at=NOON)
    credit()

    assert points(eve) == 50


def test_a_birthday_is_rewarded_once_a_year(ana: Member) -> None:
    live(rule("cake", fixed(100), trigger="birthday"))
    Identity.objects.create(member=ana, name="Ana", birthday=date(1992, 2, 29))
    for day in (date(2027, 2, 27), date(2027, 2, 28), date(2027, 2, 28), date(2028, 2, 28), date(2028, 2, 29)):
        greet_birthdays(day=day, at=NOON)
    credit()

    assert tell(LedgerEntry.objects.order_by("occurred_at"), "occurred_at") == [
        datetime(2027, 2, 28, 12, tzinfo=BERLIN),
        datetime(2028, 2, 29, 12, tzinfo=BERLIN),
    ]


def test_numbers_of_an_activity_count_as_written(ana: Member) -> None:
    live(rule("walk", {"kind": "per_quantity", "points": 10, "per": 1, "property": "km"}, trigger="activity"))
    for km in (Decimal("2.5"), 2.5, 3):
        do(ana, "walk", properties={"km": km})
    credit()

    assert points(ana) == 25 + 25 + 30


# ── the preview ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_the_till_shows_is_what_is_credited(ana: Member) -> None:
    publish(
        document=program(
            rule("euro", per_amount(1, 100), remainder="carry", caps={"per_member": {"period": "week", "points": 60}}),
            rule("welcome", fixed(50), conditions=[when("first_purchase", "eq", True)]),
            rule("stamp", fixed(1), trigger="visit", unit="stamps"),
            rule("silver-bonus", times("2.5"), conditions=[when("tier", "eq", "silver")]),
            rule("tea", per_amount(3, 7), trigger="line", rounding="nearest", caps={"budget": 300}),
            units=[unit(), unit("stamps", kind="stamps")],
            tiers=SILVER,
        ),
        at=NOON,
    )
    for n in range(12):
        lines = [line(137 * n, sku="tea"), line(811, sku="cup"), line(40 * n)] if n % 4 else []
        sale = purchase(
            ana,
            receipt=f"R-{n}",
            lines=lines,
            at=NOON + n * 8 * timedelta(hours=1),
            **({} if lines else {"amount": 990}),
        )
        shown = flow.preview_credits(sale)
        before = {code: points(ana, code) for code in ("points", "stamps")}
        flow.take_purchase(purchase=sale, at=sale.occurred_at, answer={})
        credit()

        assert {c: points(ana, c) - before[c] for c in before if points(ana, c) != before[c]} == shown


def test_the_preview_of_a_return_or_without_a_program_is_empty(ana: Member) -> None:
    assert flow.preview_credits(purchase(ana, receipt="R-1", lines=[line(100)])) == {}
    live()
    assert flow.preview_credits(purchase(ana, receipt="B-1", kind="return", lines=[line(-100)])) == {}
