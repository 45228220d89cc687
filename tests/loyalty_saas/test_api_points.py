"""Balances, ledgers, tiers, offers, activities, adjustments and redemptions through the API."""

from typing import Any

import pytest
from django.utils import timezone

from members.models import Activity, Hold, LedgerEntry, WorkItem
from rewards.models import RewardIssue
from tenants.models import AuditEvent
from tests.loyalty_saas.shops import counted_queries, credit, join, points_of, sale
from tests.machines import Answer, Machine


def adjust(till: Machine, amount: int, reason: str = "goodwill", **given: Any) -> Answer:
    """Put Ana's points right."""
    body = {"member": "ana-1", "unit": "points", "amount": amount, "reason": reason, **given}
    return till.post("/adjustments", body)


# ── what there is ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_balance_tells_every_unit_and_what_of_it_can_be_spent(till: Machine, ana: Answer) -> None:
    till.post("/redemptions", {"member": "ana-1", "reward": "mug"})

    answer = till.get("/members/ana-1/balance")

    assert answer["member"] == ana["id"]
    points, stamps = answer["balances"]
    assert (points["unit"], points["balance"], points["available"], points["held"]) == ("points", 50, 10, 40)
    assert (stamps["unit"], stamps["balance"], stamps["kind"]) == ("stamps", 0, "stamps")


def test_the_ledger_says_of_each_movement_what_and_why(till: Machine, ana: Answer) -> None:
    till.post("/purchases", sale("ana-1", "R-1", 1234))
    credit()
    till.post("/purchases", {"kind": "void", "document": "V-1", "sale": "R-1", "member": "ana-1"})
    credit()
    adjust(till, 7, "a smile")
    adjust(till, -5, "a frown")
    redemption = till.post("/redemptions", {"member": "ana-1", "reward": "mug"})
    till.post(f"/redemptions/{redemption['id']}/capture")

    entries = till.get("/members/ana-1/ledger")["results"]

    assert [(entry["kind"], entry["amount"], entry["balance_after"], entry["sentence"]) for entry in entries] == [
        ("spend", -40, 12, "40 points spent on a reward."),
        ("adjust", -5, 52, "5 points taken by hand: a frown"),
        ("adjust", 7, 57, "7 points added by hand: a smile"),
        ("reverse", -12, 50, "12 points taken back with the cancelled purchase V-1."),
        ("earn", 12, 62, "12 points for purchase R-1."),
        ("earn", 50, 50, "50 points for joining."),
    ]
    assert [[trace["sentence"] for trace in entry["traces"]] for entry in entries[-3:]] == [
        ["12 points given under “A point per euro” were taken back."],
        ["“A point per euro” gave 12 points."],
        ["“Fifty for joining” gave 50 points."],
    ]
    assert entries[-2]["document"] == "R-1"
    assert entries[-3]["corrects"] == entries[-2]["id"]


def test_the_ledger_speaks_the_callers_language(till: Machine, ana: Answer) -> None:
    german = till.get("/members/ana-1/ledger", accept_language="de")

    assert german.status == 200


def test_the_ledger_costs_the_same_for_any_length(till: Machine, ana: Answer) -> None:
    def cost() -> int:
        with counted_queries() as count:
            assert till.get("/members/ana-1/ledger?limit=200").status == 200
        return count()

    first = cost()
    for n in range(12):
        till.post("/purchases", sale("ana-1", f"R-{n}"))
    credit()

    # The member, their accounts, the entries, their traces.
    assert (first, cost()) == (4, 4)


def test_a_tier_tells_what_is_missing_to_the_next_and_to_keep(till: Machine, ana: Answer) -> None:
    till.post("/purchases", sale("ana-1", "R-1", 30000))
    credit()
    below = till.get("/members/ana-1/tier")
    assert (below["tier"], below["basis"], below["next"]) == (
        None,
        30000,
        {"code": "silver", "name": "Silver", "missing": 20000, "by": None},
    )

    till.post("/purchases", sale("ana-1", "R-2", 20000))
    credit()
    within = till.get("/members/ana-1/tier")
    assert (within["tier"], within["next"], within["missing_to_keep"]) == (
        {"code": "silver", "name": "Silver"},
        None,
        # By the day on which both will have left the window.
        40000,
    )


def test_an_offer_comes_with_its_reason(till: Machine, ana: Answer) -> None:
    assert till.get("/members/ana-1/offer")["offer"] is None

    till.post("/purchases", sale("ana-1", "R-1"))
    credit()

    offer = till.get("/members/ana-1/offer")["offer"]
    assert (offer["code"], offer["text"], offer["reason"]) == ("hello", "Ten more next time.", "new")
    assert offer["sentence"].startswith("New here: the first purchase was on ")


@pytest.mark.parametrize("what", ["", "/balance", "/ledger", "/tier", "/offer"])
def test_nobody_is_not_found_under_any_of_his_addresses(till: Machine, what: str) -> None:
    answer = till.get(f"/members/nobody{what}")

    assert (answer.status, answer.code) == (404, "unknown_member")


# ── activities ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_trip_banks_points_by_its_days(till: Machine, ana: Answer) -> None:
    trip = {"kind": "trip", "reference": "T-1", "member": "ana-1", "properties": {"days": 7.5, "to": "the ridge"}}
    made = till.post("/activities", trip)
    assert (made.status, made["credit"], made["properties"]) == (201, "waiting", {"days": 7.5, "to": "the ridge"})

    credit()

    assert points_of(till, "ana-1") == 50 + 10000
    found = till.get(f"/activities/{made['id']}")
    assert (found["credit"], found["entries"][0]["sentence"]) == ("credited", "10,000 points for a trip.")
    assert [trace["sentence"] for trace in found["traces"]] == ["“Trips by days” gave 10,000 points."]
    assert [one["reference"] for one in till.get("/activities?kind=trip&member=ana-1")["results"]] == ["T-1"]


def test_the_same_reference_counts_once(till: Machine, ana: Answer) -> None:
    trip = {"kind": "trip", "reference": "T-1", "member": "ana-1", "properties": {"days": 1}}

    first, second = till.post("/activities", trip), till.post("/activities", trip)

    assert (first.status, second.status, first["id"]) == (201, 201, second["id"])
    other = till.post("/activities", {**trip, "properties": {"days": 9}})
    assert (other.status, other.code, other.fields) == (409, "receipt_conflict", ["reference"])
    assert Activity.objects.filter(kind="trip").count() == 1


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"kind": "sign_up"}, 422, "kind"),
        ({"kind": "birthday"}, 422, "kind"),
        ({"kind": "Trip"}, 400, "kind"),
        ({"kind": 5}, 400, "kind"),
        ({"reference": ""}, 400, "reference"),
        ({"member": "nobody"}, 404, "member"),
        ({"location": "nowhere"}, 422, "location"),
        ({"amount": -1}, 400, "amount"),
        ({"properties": []}, 400, "properties"),
        ({"properties": {"days": None}}, 400, "properties.days"),
        ({"properties": {"days": [1]}}, 400, "properties.days"),
        ({"properties": {"days": True}}, 400, "properties.days"),
        ({"properties": {"days": 0.00001}}, 400, "properties.days"),
        ({"properties": {"days": 10**13}}, 400, "properties.days"),
        ({"properties": {"no name": 1}}, 400, "properties.no name"),
        ({"properties": {f"p{n}": n for n in range(51)}}, 400, "properties"),
        ({"occurred_at": "2099-01-01T00:00:00Z"}, 422, "occurred_at"),
        ({"day": "2026-01-01"}, 400, "day"),
    ],
)
def test_an_activity_that_cannot_be_is_told_its_field(
    till: Machine, ana: Answer, change: dict[str, Any], status: int, field: str
) -> None:
    answer = till.post("/activities", {"kind": "trip", "reference": "T", "member": "ana-1", **change})

    assert (answer.status, answer.fields) == (status, [field])
    assert (Activity.objects.exclude(kind="sign_up").count(), WorkItem.objects.count()) == (0, 0)


# ── adjustments ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_points_are_put_right_by_hand_with_a_reason_and_an_audit(till: Machine, ana: Answer) -> None:
    given, taken = adjust(till, 100, "lost receipt"), adjust(till, -30)

    assert (given.status, given["kind"], given["balance_after"]) == (201, "adjust", 150)
    assert (taken["amount"], taken["balance_after"]) == (-30, 120)
    assert till.key is not None
    events = AuditEvent.objects.filter(client=till.at, action="points.adjusted").order_by("sequence")
    assert [(event.actor, event.subject) for event in events] == [
        (f"key:{till.key.prefix}", given["id"]),
        (f"key:{till.key.prefix}", taken["id"]),
    ]


@pytest.mark.parametrize(
    ("given", "status", "code", "field"),
    [
        ({"amount": -51}, 409, "not_enough_points", []),
        ({"amount": 0}, 422, "refused", ["amount"]),
        ({"amount": 10**13}, 400, "invalid", ["amount"]),
        ({"amount": 1, "reason": ""}, 400, "invalid", ["reason"]),
        ({"amount": 1, "unit": "gold"}, 422, "unknown_unit", ["unit"]),
        ({"amount": 1, "member": "nobody"}, 404, "unknown_member", ["member"]),
        ({"amount": 1, "balance_after": 9}, 400, "invalid", ["balance_after"]),
    ],
)
def test_an_adjustment_that_cannot_be_moves_nothing(
    till: Machine, ana: Answer, given: dict[str, Any], status: int, code: str, field: list[str]
) -> None:
    answer = adjust(till, **given)

    assert (answer.status, answer.code, answer.fields) == (status, code, field)
    assert points_of(till, "ana-1") == 50


# ── rewards ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_shelf_shows_rewards_by_price(till: Machine) -> None:
    assert [(one["code"], one["price"], one["unit"]) for one in till.get("/rewards")["results"]] == [
        ("mug", 40, "points"),
        ("five-off", 500, "points"),
    ]


def test_a_reward_is_reserved_handed_over_and_paid(till: Machine, ana: Answer) -> None:
    held = till.post("/redemptions", {"member": "ana-1", "reward": "mug"})
    assert (held.status, held["state"], held["price"], held["name"]) == (201, "reserved", 40, "A mug")

    captured = till.post(f"/redemptions/{held['id']}/capture")

    assert (captured.status, captured["state"], captured["code"]) == (200, "issued", held["code"])
    assert points_of(till, "ana-1") == 10
    assert till.get(f"/redemptions/{held['id']}")["state"] == "issued"
    assert till.post(f"/redemptions/{held['id']}/capture").status == 200
    assert till.post(f"/redemptions/{held['id']}/void").code == "hold_settled"
    assert LedgerEntry.objects.filter(kind="spend").count() == 1


def test_a_reward_that_is_not_wanted_gives_its_points_back(till: Machine, ana: Answer) -> None:
    held = till.post("/redemptions", {"member": "ana-1", "reward": "mug"})

    voided = till.post(f"/redemptions/{held['id']}/void")

    assert (voided.status, voided["state"]) == (200, "cancelled")
    assert till.get("/members/ana-1/balance")["balances"][0]["available"] == 50
    late = till.post(f"/redemptions/{held['id']}/capture")
    assert (late.status, late.code, late.fields) == (409, "hold_settled", ["hold"])


def test_a_hold_that_has_run_out_is_not_captured(till: Machine, ana: Answer) -> None:
    held = till.post("/redemptions", {"member": "ana-1", "reward": "mug"})
    Hold.objects.update(expires_at=timezone.now())

    assert till.post(f"/redemptions/{held['id']}/capture").code == "hold_settled"
    assert points_of(till, "ana-1") == 50


@pytest.mark.parametrize(
    ("given", "status", "code", "field"),
    [
        ({"reward": "five-off"}, 409, "not_enough_points", []),
        ({"reward": "car"}, 404, "unknown_reward", ["reward"]),
        ({"member": "nobody"}, 404, "unknown_member", ["member"]),
        ({"location": "nowhere"}, 422, "unknown_location", ["location"]),
        ({"price": 1}, 400, "invalid", ["price"]),
        ({"state": "issued"}, 400, "invalid", ["state"]),
    ],
)
def test_a_redemption_that_cannot_be_holds_nothing(
    till: Machine, ana: Answer, given: dict[str, Any], status: int, code: str, field: list[str]
) -> None:
    answer = till.post("/redemptions", {"member": "ana-1", "reward": "mug", **given})

    assert (answer.status, answer.code, answer.fields) == (status, code, field)
    assert (Hold.objects.count(), RewardIssue.objects.count()) == (0, 0)


def test_lists_cost_the_same_for_any_length(till: Machine, ana: Answer) -> None:
    def cost(path: str) -> int:
        with counted_queries() as count:
            assert till.get(f"{path}?limit=200").status == 200
        return count()

    def more(n: int) -> None:
        till.post("/activities", {"kind": "trip", "reference": f"T-{n}", "member": "ana-1"})
        till.post("/redemptions", {"member": "ana-1", "reward": "mug"})
        till.post("/locations", {"code": f"L-{n}"})
        lines = [{"sku": "unknown", "quantity": 1, "amount": 1}]
        till.post("/purchases", {"kind": "return", "document": f"B-{n}", "member": "ana-1", "lines": lines})

    paths = ("/activities", "/redemptions", "/locations", "/parked-returns")
    adjust(till, 1000)
    more(0)
    credit()
    first = [cost(path) for path in paths]
    for n in range(1, 8):
        more(n)
    credit()

    assert [len(till.get(path)["results"]) for path in paths] == [9, 8, 8, 8]
    # Only activities ask a second time: which of them still wait.
    assert (first, [cost(path) for path in paths]) == ([2, 1, 1, 1], [2, 1, 1, 1])


def test_redemptions_are_listed_by_member_and_state(till: Machine, ana: Answer) -> None:
    join(till, "Bo", pos="bo")
    first = till.post("/redemptions", {"member": "ana-1", "reward": "mug"})
    till.post("/redemptions", {"member": "bo", "reward": "mug"})
    till.post(f"/redemptions/{first['id']}/capture")

    assert [one["id"] for one in till.get("/redemptions?member=ana-1")["results"]] == [first["id"]]
    assert [one["id"] for one in till.get("/redemptions?state=issued")["results"]] == [first["id"]]
    assert len(till.get("/redemptions")["results"]) == 2
    assert till.get("/redemptions?state=lost").fields == ["state"]
