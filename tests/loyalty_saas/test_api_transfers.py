"""Transfers between members, and households, through the API."""

from typing import Any

import pytest

from members.models import Household, LedgerEntry, Transfer
from tenants.models import AuditEvent
from tests.loyalty_saas.shops import credit, join
from tests.machines import Answer, Machine


@pytest.fixture
def bo(till: Machine, ana: Answer) -> Answer:
    """Somebody else, who has fifty points for joining as well."""
    answer = join(till, "Bo", pos="bo-1")
    credit()
    return answer


def transfer(till: Machine, amount: int = 30, *, key: str | None = "new", **given: Any) -> Answer:
    body = {"from_member": "ana-1", "to_member": "bo-1", "unit": "points", "amount": amount, "reason": "A present"}
    return till.post("/transfers", {**body, **given}, key=key)


def balance(till: Machine, who: str) -> dict[str, Any]:
    found: dict[str, Any] = till.get(f"/members/{who}/balance")["balances"][0]
    return found


def _delete(till: Machine, path: str) -> Answer:
    return till.send("DELETE", path)


# ── transfers ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_points_go_over_with_a_reason_and_an_audit(till: Machine, ana: Answer, bo: Answer) -> None:
    answer = transfer(till)

    assert (answer.status, answer["amount"], answer["from_member"], answer["to_member"]) == (
        201,
        30,
        ana["id"],
        bo["id"],
    )
    assert (balance(till, "ana-1")["balance"], balance(till, "bo-1")["balance"]) == (20, 80)
    sentences = [till.get(f"/members/{who}/ledger")["results"][0]["sentence"] for who in ("ana-1", "bo-1")]
    assert sentences == [
        f"30 points went to member {bo['number']}: A present",
        f"30 points came from member {ana['number']}: A present",
    ]
    assert AuditEvent.objects.get(client=till.at, action="points.transferred").subject == answer["id"]


def test_r05_the_same_request_moves_once_and_another_under_its_key_is_refused(
    till: Machine, ana: Answer, bo: Answer
) -> None:
    first, again, other = transfer(till, key="K"), transfer(till, key="K"), transfer(till, 31, key="K")

    assert (first.status, again.status, again.body == first.body) == (201, 201, True)
    assert (other.status, other["code"]) == (422, "key_reused")
    assert Transfer.objects.count() == 1
    missing = transfer(till, key=None)
    assert (missing.status, missing["code"]) == (400, "key_missing")


@pytest.mark.parametrize(
    ("given", "status", "code", "field"),
    [
        ({"amount": 51}, 409, "not_enough_points", []),
        ({"amount": 0}, 400, "invalid", ["amount"]),
        ({"amount": -1}, 400, "invalid", ["amount"]),
        ({"amount": "5"}, 400, "invalid", ["amount"]),
        ({"reason": ""}, 400, "invalid", ["reason"]),
        ({"unit": "gold"}, 422, "unknown_unit", ["unit"]),
        ({"from_member": "nobody"}, 404, "unknown_member", ["from_member"]),
        ({"to_member": "nobody"}, 404, "unknown_member", ["to_member"]),
        ({"to_member": "ana-1"}, 422, "refused", ["to_member"]),
        ({"made_by": "me"}, 400, "invalid", ["made_by"]),
    ],
)
def test_a_transfer_that_cannot_be_moves_nothing(
    till: Machine, ana: Answer, bo: Answer, given: dict[str, Any], status: int, code: str, field: list[str]
) -> None:
    before = LedgerEntry.objects.count()
    answer = transfer(till, **given)

    assert (answer.status, answer["code"], answer.fields) == (status, code, field)
    assert LedgerEntry.objects.count() == before


# ── households ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_household_is_made_and_one_takes_from_the_other_for_a_reward(till: Machine, ana: Answer, bo: Answer) -> None:
    made = till.post("/households", {"name": "Home", "members": ["ana-1", "bo-1"]})
    assert (made.status, [one["number"] for one in made["members"]]) == (201, [ana["number"], bo["number"]])
    assert balance(till, "ana-1")["shared"] == 50
    till.post("/redemptions", {"member": "ana-1", "reward": "mug"})
    taken = till.post("/redemptions", {"member": "ana-1", "reward": "mug"})

    assert taken.status == 201
    assert (balance(till, "ana-1")["held"], balance(till, "bo-1")["balance"]) == (80, 20)
    assert till.post("/redemptions", {"member": "bo-1", "reward": "mug"})["code"] == "not_enough_points"
    assert till.post(f"/redemptions/{taken['id']}/void").status == 200
    assert balance(till, "bo-1")["balance"] == 50


def test_members_come_and_go_and_the_household_ends(till: Machine, ana: Answer, bo: Answer) -> None:
    made = till.post("/households", {"name": "Home", "members": ["ana-1"]})
    path = f"/households/{made['id']}"
    for _again in range(2):
        assert len(till.post(f"{path}/members", {"member": "bo-1"})["members"]) == 2
    other = till.post("/households", {"name": "Other", "members": ["bo-1"]})
    assert (other.status, other["code"], other.fields) == (422, "refused", ["member"])
    assert [one["number"] for one in _delete(till, f"{path}/members/bo-1")["members"]] == [ana["number"]]
    assert till.get("/households")["results"] == [till.get(path).body]
    for _again in range(2):
        assert _delete(till, path)["ended_at"] is not None
    assert till.get("/households")["results"] == []
    assert till.post(f"{path}/members", {"member": "bo-1"})["code"] == "unknown_household"

    actions = AuditEvent.objects.filter(client=till.at, action__startswith="household.").order_by("sequence")
    assert [one.action for one in actions[:3]] == ["household.made", "household.joined", "household.joined"]
    assert Household.objects.count() == 1


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"name": "Home", "members": []}, 400, "members"),
        ({"name": "", "members": ["ana-1"]}, 400, "name"),
        ({"name": "Home", "members": ["ana-1", "nobody"]}, 404, "members.1"),
        ({"name": "Home"}, 400, "members"),
    ],
)
def test_a_household_of_nobody_is_refused(
    till: Machine, ana: Answer, body: dict[str, Any], status: int, field: str
) -> None:
    answer = till.post("/households", body)

    assert (answer.status, answer.fields) == (status, [field])
    assert not Household.objects.exists()


def test_a_household_that_is_none_is_not_found(till: Machine, ana: Answer) -> None:
    for path in ("/households/rubbish", "/households/01998c2e-7d1f-7000-8000-000000000004"):
        assert till.get(path).status == 404
        assert _delete(till, path).status == 404
