"""Purchases through the API: taken in, credited, taken back, explained."""

from datetime import timedelta
from typing import Any

import pytest
import redis
from django.utils import timezone

from loyalty_saas import workers
from members.models import LedgerEntry, Purchase, PurchaseLine, WorkItem
from programs.models import Location, Product
from programs.services.catalogue import add_location
from tenants.models import Client
from tests.loyalty_saas.shops import counted_queries, credit, join, open_shop, points_of, sale
from tests.machines import Answer, Machine, bind

# ── sales ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_sale_is_answered_with_what_it_will_bring_and_credited_after(till: Machine, ana: Answer) -> None:
    lines = [
        {"sku": "espresso", "category": "coffee", "quantity": 2, "unit_price": 250},
        {"sku": "cake", "quantity": "0.5", "unit_price": "401", "discount": 20},
    ]
    made = till.post("/purchases", {"kind": "sale", "document": "R-1", "member": "ANA@example.com", "lines": lines})

    assert made.status == 201
    assert made["credits"] == [{"unit": "points", "amount": 6}, {"unit": "stamps", "amount": 2}]
    assert (made["member"], made["points_follow"], made["repeated"]) == (ana["id"], False, False)
    assert till.get(f"/purchases/{made['id']}")["credit"] == "waiting"
    assert points_of(till, "ana-1") == 50

    credit()

    found = till.get(f"/purchases/{made['id']}")
    # Half a cake at 4.01 less 0.20 is 1.805, rounded half up.
    assert [(line["sku"], line["quantity"], line["amount"]) for line in found["lines"]] == [
        ("espresso", "2.000", 500),
        ("cake", "0.500", 181),
    ]
    assert (found["credit"], found["amount"], found["currency"], found["source"]) == ("credited", 681, "EUR", "api")
    assert {(entry["unit"], entry["amount"]) for entry in found["entries"]} == {("points", 6), ("stamps", 2)}
    assert {trace["sentence"] for trace in found["traces"]} == {
        "“A point per euro” gave 6 points.",
        "“A stamp per coffee” gave 2 stamps.",
    }
    assert points_of(till, "ana-1") == 56


def test_a_sale_without_lines_is_one_line(till: Machine, ana: Answer) -> None:
    made = till.post("/purchases", {"kind": "sale", "document": "R-1", "member": "ana-1", "amount": 1250})

    assert (made.status, made["credits"]) == (201, [{"unit": "points", "amount": 12}])
    found = till.get(f"/purchases/{made['id']}")
    assert found["amount"] == 1250
    assert [(line["sku"], line["quantity"], line["amount"]) for line in found["lines"]] == [("", "1.000", 1250)]


def test_the_catalogue_fills_in_category_and_whether_a_line_earns(till: Machine, ana: Answer) -> None:
    Product.objects.create(sku="latte", category="coffee")
    Product.objects.create(sku="gift-card", category="cards", earning=False)
    lines = [
        {"sku": "latte", "quantity": 1, "amount": 300},
        {"sku": "gift-card", "quantity": 1, "amount": 5000},
        {"sku": "latte", "quantity": 1, "amount": 300, "category": "to go", "earning": False},
    ]
    made = till.post("/purchases", {"kind": "sale", "document": "R-1", "member": "ana-1", "lines": lines})

    assert made["credits"] == [{"unit": "points", "amount": 3}, {"unit": "stamps", "amount": 1}]
    found = till.get(f"/purchases/{made['id']}")["lines"]
    assert [(line["category"], line["earning"]) for line in found] == [
        ("coffee", True),
        ("cards", False),
        ("to go", False),
    ]


def test_time_location_and_channel_are_kept(till: Machine, ana: Answer) -> None:
    add_location(code="main", name="Main street")
    body = sale("ana-1", "R-1", location="main", channel="pos", terminal="T1", occurred_at="2026-03-01T10:00:00+01:00")
    made = till.post("/purchases", body)

    found = till.get(f"/purchases/{made['id']}")
    assert (found["location"], found["channel"], found["terminal"]) == ("main", "pos", "T1")
    assert found["occurred_at"] == made["occurred_at"] == "2026-03-01T09:00:00Z"


LINE = {"sku": "a", "quantity": 1, "amount": 100}


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"member": "nobody"}, 404, "member"),
        ({"member": 5}, 400, "member"),
        ({"member": None}, 400, "member"),
        ({"location": "nowhere"}, 422, "location"),
        ({"currency": "USD"}, 422, "currency"),
        ({"amount": 99}, 422, "amount"),
        ({"amount": -1}, 400, "amount"),
        ({"amount": 10**12 + 1}, 400, "amount"),
        ({"amount": 10**400}, 400, "amount"),
        ({"amount": "100"}, 400, "amount"),
        ({"amount": True}, 400, "amount"),
        ({"amount": 99.5}, 400, "amount"),
        ({"lines": None}, 422, "amount"),
        ({"lines": []}, 422, "amount"),
        ({"lines": {}}, 400, "lines"),
        ({"lines": [LINE] * 501}, 400, "lines"),
        ({"lines": [{"sku": "a", "quantity": 1}]}, 422, "lines.0.amount"),
        ({"lines": [LINE, {"sku": "a", "quantity": 0, "amount": 1}]}, 400, "lines.1.quantity"),
        ({"lines": [LINE, {"sku": "a", "quantity": -1, "amount": 1}]}, 400, "lines.1.quantity"),
        ({"lines": [{"sku": "a", "quantity": "0.0001", "amount": 1}]}, 400, "lines.0.quantity"),
        ({"lines": [{"sku": "a", "quantity": "NaN", "amount": 1}]}, 400, "lines.0.quantity"),
        ({"lines": [{"sku": "a", "quantity": "1_0", "amount": 1}]}, 400, "lines.0.quantity"),
        ({"lines": [{"sku": "a", "quantity": 10**15, "amount": 1}]}, 400, "lines.0.quantity"),
        ({"lines": [{"sku": "a", "quantity": 10**10, "unit_price": 10**10}]}, 422, "lines.0.quantity"),
        ({"lines": [{"sku": "a", "quantity": 1, "unit_price": -1}]}, 400, "lines.0.unit_price"),
        ({"lines": [{"sku": "a", "quantity": 1, "unit_price": "1.00001"}]}, 400, "lines.0.unit_price"),
        ({"lines": [{"sku": "a", "quantity": 1, "amount": 1, "discount": -5}]}, 400, "lines.0.discount"),
        ({"lines": [{"sku": "a", "quantity": 1, "amount": 10**12}] * 2}, 422, "lines"),
        ({"lines": [{"sku": "a", "quantity": 1, "amount": -100}]}, 422, "lines"),
        ({"lines": [{**LINE, "earning": "no"}]}, 400, "lines.0.earning"),
        ({"lines": [{**LINE, "points": 9}]}, 400, "lines.0.points"),
        ({"lines": [{**LINE, "returned": 1}]}, 400, "lines.0.returned"),
        ({"document": ""}, 400, "document"),
        ({"document": "x" * 65}, 400, "document"),
        ({"kind": "gift"}, 400, "kind"),
        ({"kind": ["sale"]}, 400, "kind"),
        ({"occurred_at": "2026-03-01T10:00:00"}, 400, "occurred_at"),
        ({"occurred_at": "2026-03-01"}, 400, "occurred_at"),
        ({"occurred_at": 1700000000}, 400, "occurred_at"),
        ({"occurred_at": "0001-01-01T00:00:00+14:00"}, 400, "occurred_at"),
        ({"occurred_at": "9999-12-31T23:59:59-14:00"}, 400, "occurred_at"),
        ({"occurred_at": "9999-12-31T23:59:59Z"}, 422, "occurred_at"),
        ({"occurred_at": "2026-02-30T10:00:00Z"}, 400, "occurred_at"),
        ({"sale": "R-0"}, 422, "sale"),
        ({"id": "x"}, 400, "id"),
        ({"source": "import"}, 400, "source"),
        ({"clerk_id": None}, 400, "clerk_id"),
        ({"received_at": "2020-01-01T00:00:00Z"}, 400, "received_at"),
    ],
)
def test_a_sale_that_cannot_be_is_told_its_field_and_leaves_nothing(
    till: Machine, ana: Answer, change: dict[str, Any], status: int, field: str
) -> None:
    answer = till.post("/purchases", {"kind": "sale", "document": "R-1", "member": "ana-1", "lines": [LINE], **change})

    assert (answer.status, answer.fields[:1]) == (status, [field])
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert (Purchase.objects.count(), WorkItem.objects.count()) == (0, 0)


def test_a_sale_may_be_a_little_ahead_but_not_more(till: Machine, ana: Answer) -> None:
    soon = (timezone.now() + timedelta(minutes=4)).isoformat()
    later = (timezone.now() + timedelta(minutes=6)).isoformat()

    assert till.post("/purchases", sale("ana-1", "R-1", occurred_at=soon)).status == 201
    assert till.post("/purchases", sale("ana-1", "R-2", occurred_at=later)).code == "in_the_future"


# ── returns and voids ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def sold(till: Machine, ana: Answer) -> Answer:
    """Ana's credited sale R-1: three of a at 10.00, one of b at 5.00; 35 points."""
    lines = [{"sku": "a", "quantity": 3, "unit_price": 1000}, {"sku": "b", "quantity": 1, "amount": 500}]
    made = till.post("/purchases", {"kind": "sale", "document": "R-1", "member": "ana-1", "lines": lines})
    credit()
    return made


def back(document: str, **given: Any) -> dict[str, Any]:
    """A return by Ana."""
    return {"kind": "return", "document": document, "member": "ana-1", **given}


def test_a_return_takes_back_what_its_lines_earned_part_by_part(till: Machine, sold: Answer) -> None:
    first = till.post("/purchases", back("B-1", sale="R-1", lines=[{"sku": "a", "quantity": 1}]))
    assert (first.status, first["credits"]) == (201, [])
    credit()
    assert points_of(till, "ana-1") == 50 + 25

    found = till.get(f"/purchases/{first['id']}")
    assert (found["sale"], found["amount"], found["credit"]) == ("R-1", -1000, "credited")
    assert [(line["quantity"], line["amount"]) for line in found["lines"]] == [("-1.000", -1000)]
    assert [entry["sentence"] for entry in found["entries"]] == ["10 points taken back with return B-1."]
    assert [trace["sentence"] for trace in found["traces"]] == [
        "10 points given under “A point per euro” were taken back."
    ]
    assert till.get(f"/purchases/{sold['id']}")["lines"][0]["returned"] == "1.000"

    rest = till.post("/purchases", back("B-2", sale="R-1"))
    assert rest.status == 201
    credit()
    assert points_of(till, "ana-1") == 50
    again = till.post("/purchases", back("B-3", sale="R-1"))
    assert (again.status, again.code, again.fields) == (409, "over_return", ["sale"])


def test_a_return_names_a_line_by_its_place(till: Machine, sold: Answer) -> None:
    # The sale says what its lines come to, whatever the caller believes.
    made = till.post("/purchases", back("B-1", sale="R-1", amount=900, lines=[{"position": 2, "quantity": 1}]))

    assert till.get(f"/purchases/{made['id']}")["amount"] == -500
    assert [line["sku"] for line in till.get(f"/purchases/{made['id']}")["lines"]] == ["b"]


@pytest.mark.parametrize(
    ("given", "status", "code", "field"),
    [
        ({"sale": "R-1", "lines": [{"sku": "a", "quantity": 4}]}, 409, "over_return", "lines.0.quantity"),
        ({"sale": "R-1", "lines": [{"sku": "c", "quantity": 1}]}, 409, "over_return", "lines.0.sku"),
        ({"sale": "R-9"}, 404, "unknown_purchase", "sale"),
        ({}, 422, "refused", "lines"),
        ({"sale": "R-1", "amount": 1}, 422, "refused", "amount"),
        (
            {"sale": "R-1", "amount": 999, "lines": [{"sku": "a", "quantity": 1, "amount": 1000}]},
            422,
            "amount_mismatch",
            "amount",
        ),
        ({"lines": [{"sku": "a", "quantity": 1}]}, 422, "amount_missing", "lines.0.amount"),
        ({"kind": "void"}, 422, "refused", "sale"),
        ({"kind": "void", "sale": "R-1", "lines": [{"sku": "a", "quantity": 1}]}, 422, "refused", "lines"),
        ({"sale": "R-1", "lines": [{"position": 0, "quantity": 1}]}, 400, "invalid", "lines.0.position"),
    ],
)
def test_a_return_that_cannot_be_is_refused(
    till: Machine, sold: Answer, given: dict[str, Any], status: int, code: str, field: str
) -> None:
    answer = till.post("/purchases", back("B-1", **given))

    assert (answer.status, answer.code, answer.fields) == (status, code, [field])
    assert Purchase.objects.count() == 1


def test_a_return_of_anothers_sale_is_refused(till: Machine, sold: Answer) -> None:
    join(till, "Bo", pos="bo")

    assert till.post("/purchases", {**back("B-1", sale="R-1"), "member": "bo"}).fields == ["sale"]


def test_a_void_takes_the_whole_sale_back(till: Machine, sold: Answer) -> None:
    made = till.post("/purchases", {"kind": "void", "document": "V-1", "member": "ana-1", "sale": "R-1"})
    credit()

    assert (made.status, points_of(till, "ana-1")) == (201, 50)
    assert till.get(f"/purchases/{made['id']}")["amount"] == -3500


def test_a_return_without_its_receipt_finds_earlier_sales_and_parks_the_rest(till: Machine, sold: Answer) -> None:
    lines = [{"sku": "a", "quantity": 5, "amount": 5000}]
    made = till.post("/purchases", back("B-1", lines=lines))
    credit()

    assert points_of(till, "ana-1") == 50 + 5
    parked = till.get("/parked-returns")["results"]
    assert [(one["document"], one["sku"], one["quantity"], one["purchase"]) for one in parked] == [
        ("B-1", "a", "2.000", made["id"])
    ]


# ── looking ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_preview_shows_every_rule_and_leaves_no_trace(till: Machine, ana: Answer) -> None:
    lines = [{"sku": "x", "category": "coffee", "quantity": 5, "amount": 1000}]
    before = (Purchase.objects.count(), WorkItem.objects.count(), LedgerEntry.objects.count())

    shown = till.post("/purchases/preview", {"member": "ana-1", "lines": lines}, key=None)

    assert shown["credits"] == [{"unit": "points", "amount": 10}, {"unit": "stamps", "amount": 3}]
    assert {trace["rule"]: trace["sentence"] for trace in shown["traces"]} == {
        "euro": "“A point per euro” gave 10 points.",
        "coffee": "“A stamp per coffee” gave 3 stamps instead of 5 stamps: the limit for one purchase was reached.",
    }
    assert (Purchase.objects.count(), WorkItem.objects.count(), LedgerEntry.objects.count()) == before


def test_without_a_program_purchases_are_taken_and_nothing_is_promised(acme: Client) -> None:
    till = Machine(acme)
    member = till.post("/members", {"identifiers": {"pos": "m"}})

    assert till.post("/purchases", sale("m", "R-1"))["credits"] == []
    assert till.post("/purchases/preview", {"member": "m", "amount": 5})["traces"] == []
    assert till.get("/members/m/tier").code == "no_program"
    open_shop()
    credit()
    assert points_of(till, member["id"]) == 50 + 10


def test_purchases_are_listed_by_member_document_and_kind(till: Machine, sold: Answer) -> None:
    join(till, "Bo", pos="bo")
    other = till.post("/purchases", sale("bo", "R-2"))
    till.post("/purchases", back("B-1", sale="R-1"))

    def listed(query: str) -> list[str]:
        return [one["document"] for one in till.get(f"/purchases{query}")["results"]]

    assert listed("") == ["B-1", "R-2", "R-1"]
    assert listed("?member=bo") == ["R-2"]
    assert listed("?member=nobody") == []
    assert listed("?document=R-1&kind=sale") == ["R-1"]
    assert till.get("/purchases?kind=gift").fields == ["kind"]
    assert till.get("/purchases?membr=bo").fields == ["membr"]
    WorkItem.objects.filter(pk=other["id"]).update(quarantined_at=timezone.now())
    assert {one["document"]: one["credit"] for one in till.get("/purchases")["results"]} == {
        "R-1": "credited",
        "R-2": "set_aside",
        "B-1": "waiting",
    }


def test_a_key_bound_to_a_location_speaks_for_it_alone(till: Machine, ana: Answer) -> None:
    here, there = add_location(code="here"), add_location(code="there")
    bound = bind(Machine(till.at), location_id=here.pk)

    assert bound.post("/purchases", sale("ana-1", "R-1", location="there")).code == "other_location"
    assert bound.post("/purchases", sale("ana-1", "R-1", location="nowhere")).code == "unknown_location"
    silent = bound.post("/purchases", sale("ana-1", "R-1"))
    named = bound.post("/purchases", sale("ana-1", "R-2", location="here"))
    assert [till.get(f"/purchases/{made['id']}")["location"] for made in (silent, named)] == ["here", "here"]
    trip = {"kind": "trip", "reference": "T", "member": "ana-1", "location": there.code}
    assert bound.post("/activities", trip).code == "other_location"
    credit()
    redemption = {"member": "ana-1", "reward": "mug", "location": "there"}
    assert bound.post("/redemptions", redemption).code == "other_location"
    assert Location.objects.count() == 2


# ── what it costs ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_purchase_costs_three_statements_however_many_lines_it_has(till: Machine, ana: Answer) -> None:
    def cost(document: str, lines: int) -> int:
        rows = [{"sku": f"s{n}", "category": "c", "earning": True, "quantity": 1, "amount": 100} for n in range(lines)]
        body = {"kind": "sale", "document": document, "member": "ana-1", "lines": rows}
        with counted_queries() as count:
            assert till.post("/purchases", body).status == 201
        return count()

    till.post("/purchases", sale("ana-1", "R-0"))
    # The member, the program in force with what its rules must know of the member, and the one that records all.
    assert [cost("R-1", 1), cost("R-2", 50), cost("R-3", 500)] == [3, 3, 3]
    assert PurchaseLine.objects.count() == 552


def test_a_page_of_purchases_costs_the_same_for_any_length(till: Machine, ana: Answer) -> None:
    def cost() -> int:
        with counted_queries() as count:
            assert till.get("/purchases?limit=200").status == 200
        return count()

    till.post("/purchases", sale("ana-1", "R-0"))
    first = cost()
    for n in range(20):
        till.post("/purchases", sale("ana-1", f"R-{n + 1}"))

    # Purchases, which of them still wait for points, and which for a sale.
    assert (first, cost()) == (3, 3)


def test_without_redis_a_purchase_is_taken_and_says_that_points_follow(
    till: Machine, ana: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = redis.Redis(host="127.0.0.1", port=1, socket_connect_timeout=0.2)
    with monkeypatch.context() as patch:
        patch.setattr(workers, "redis_client", lambda: nowhere)
        patch.setattr(workers, "_resting_until", 0.0)
        made = till.post("/purchases", sale("ana-1", "R-1"), key="K")
    replayed = till.post("/purchases", sale("ana-1", "R-1"), key="K")

    assert (made.status, made["points_follow"]) == (201, True)
    assert (replayed.status, replayed.raw) == (201, made.raw)
    credit()
    assert points_of(till, "ana-1") == 60
