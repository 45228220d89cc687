"""A receipt that was booked to the wrong member goes to the right one, and points follow."""

from typing import Any

import pytest

from members.models import LedgerEntry, Purchase
from tenants.access import Actor
from tenants.models import AuditEvent, Client
from tests.http import ClientBrowser
from tests.loyalty_saas.portals import at_portal, words
from tests.loyalty_saas.shops import credit, join, points_of, sale
from tests.machines import Answer, Machine


@pytest.fixture
def manager(shop: Client) -> ClientBrowser:
    """The portal, open before a manager."""
    return at_portal(shop, Actor.MANAGER)


@pytest.fixture
def bea(till: Machine, ana: Answer) -> Answer:
    """Whose receipt it was."""
    return join(till, "Bea", pos="bea-1")


def buy(till: Machine, who: Answer, document: str = "R-1", **more: Any) -> Purchase:
    assert till.post("/purchases", sale(who["id"], document, 1200, **more)).status == 201
    credit()
    return Purchase.objects.get(document=document, kind="sale")


def move(page: ClientBrowser, receipt: Purchase, to: Answer, reason: str = "The cards were swapped") -> Any:
    return page.post(f"/receipts/{receipt.pk}/move/", {"to": to["id"], "reason": reason})


def test_points_of_a_moved_receipt_follow_and_the_record_says_why(
    shop: Client, manager: ClientBrowser, till: Machine, ana: Answer, bea: Answer
) -> None:
    receipt = buy(till, ana)
    assert "Wrong member?" in words(manager.get(f"/receipts/{receipt.pk}/"))
    assert f"?to={bea['id']}" in manager.get(f"/receipts/{receipt.pk}/move/?q=Bea").content.decode()
    answer = move(manager, receipt, bea)
    assert answer.status_code == 302
    credit()

    assert (points_of(till, ana["id"]), points_of(till, bea["id"])) == (50, 62)
    moved = Purchase.objects.get(document="R-1~2")
    assert (moved.member.number, moved.occurred_at, moved.amount) == (bea["number"], receipt.occurred_at, 1200)
    assert answer["Location"] == f"/receipts/{moved.pk}/"
    void = Purchase.objects.get(kind="void")
    assert (void.sale_id, void.occurred_at) == (receipt.pk, receipt.occurred_at)
    event = AuditEvent.objects.get(client=shop, action="receipt.moved")
    assert (event.subject, event.detail["reason"]) == (str(receipt.pk), "The cards were swapped")
    assert "Wrong member?" not in words(manager.get(f"/receipts/{receipt.pk}/"))


def test_a_receipt_not_credited_yet_earns_once(manager: ClientBrowser, till: Machine, ana: Answer, bea: Answer) -> None:
    till.post("/purchases", sale(ana["id"], "R-1", 1200))
    move(manager, Purchase.objects.get(document="R-1"), bea)
    credit()

    assert (points_of(till, ana["id"]), points_of(till, bea["id"])) == (50, 62)


def test_it_can_be_moved_on_and_back(manager: ClientBrowser, till: Machine, ana: Answer, bea: Answer) -> None:
    receipt = buy(till, ana)
    move(manager, receipt, bea)
    assert move(manager, Purchase.objects.get(document="R-1~2"), ana).status_code == 302
    credit()

    assert (points_of(till, ana["id"]), points_of(till, bea["id"])) == (62, 50)
    assert Purchase.objects.filter(kind="sale").order_by("pk").last().document == "R-1~3"  # type: ignore[union-attr]


def test_sent_twice_it_is_moved_once(manager: ClientBrowser, till: Machine, ana: Answer, bea: Answer) -> None:
    receipt = buy(till, ana)
    move(manager, receipt, bea)
    again = move(manager, receipt, bea)
    credit()

    assert (again.status_code, "come back already" in words(again)) == (422, True)
    assert points_of(till, bea["id"]) == 62


def test_what_came_back_in_part_or_is_theirs_already_is_refused(
    manager: ClientBrowser, till: Machine, ana: Answer, bea: Answer
) -> None:
    receipt = buy(till, ana)
    own = move(manager, receipt, ana)
    assert (own.status_code, "belongs to this member already" in words(own)) == (422, True)
    back = {"kind": "return", "document": "B-1", "sale": "R-1", "member": ana["id"],
            "lines": [{"position": 1, "quantity": "0.5", "amount": 600, "sku": "thing"}]}  # fmt: skip
    assert till.post("/purchases", back).status == 201
    credit()
    refused = move(manager, receipt, bea)
    assert (refused.status_code, "Nothing has changed" in words(refused)) == (422, True)
    assert LedgerEntry.objects.filter(account__member=bea["id"]).count() == 1


@pytest.mark.parametrize("reason", ["", "   "])
def test_a_reason_is_needed(manager: ClientBrowser, till: Machine, ana: Answer, bea: Answer, reason: str) -> None:
    receipt = buy(till, ana)
    assert move(manager, receipt, bea, reason).status_code == 422
    assert Purchase.objects.count() == 1


def test_a_clerk_and_a_void_have_no_such_page(
    shop: Client, manager: ClientBrowser, till: Machine, ana: Answer, bea: Answer
) -> None:
    receipt = buy(till, ana)
    clerk = at_portal(shop, Actor.CLERK)
    assert clerk.get(f"/receipts/{receipt.pk}/move/").status_code in {403, 404}
    assert "Wrong member?" not in words(clerk.get(f"/receipts/{receipt.pk}/"))
    move(manager, receipt, bea)
    assert manager.get(f"/receipts/{Purchase.objects.get(kind='void').pk}/move/").status_code == 404
