"""What a manager does between members: a second person's word, points moved, households."""

import re
from typing import Any

import pytest

from members.models import AdjustmentRequest, HouseholdMember, LedgerEntry, Transfer
from tenants.access import Actor
from tenants.models import AuditEvent, Client
from tests.http import ClientBrowser
from tests.loyalty_saas.portals import at_portal, words
from tests.loyalty_saas.shops import join, points_of
from tests.machines import Answer, Machine


@pytest.fixture
def owner(shop: Client) -> ClientBrowser:
    """The portal, open before the owner."""
    return at_portal(shop)


@pytest.fixture
def manager(shop: Client) -> ClientBrowser:
    """The portal, open before a manager."""
    return at_portal(shop, Actor.MANAGER)


@pytest.fixture
def bea(till: Machine, ana: Answer) -> Answer:
    """Another member, with fifty points as well."""
    return join(till, "Bea", pos="bea-1")


def key_of(page: ClientBrowser, address: str) -> str:
    found = re.search(r'name="key" value="([0-9a-f-]{36})"', page.get(address).content.decode())
    assert found
    return found[1]


def ask(page: ClientBrowser, member: Answer, amount: str = "501", **more: str) -> Any:
    """Too much for one person, left to a second."""
    address = f"/members/{member['id']}/adjust/"
    given = {"key": key_of(page, address), "unit": "points", "way": "give", "amount": amount, "reason": "A flood"}
    return page.post(address, {**given, "do": "ask", **more})


def actions(shop: Client, start: str) -> list[str]:
    found = AuditEvent.objects.filter(client=shop, action__startswith=start).order_by("sequence")
    return list(found.values_list("action", flat=True))


# ── a second person ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_above_the_limit_the_page_offers_to_ask_a_second_person(manager: ClientBrowser, ana: Answer) -> None:
    refused = ask(manager, ana, do="")

    assert refused.status_code == 422
    assert 'name="do" value="ask"' in refused.content.decode()
    assert 'value="501"' in refused.content.decode()
    assert not AdjustmentRequest.objects.exists()


def test_what_is_asked_for_is_agreed_by_another_and_booked(
    shop: Client, manager: ClientBrowser, owner: ClientBrowser, till: Machine, ana: Answer
) -> None:
    assert ask(manager, ana).status_code == 302
    assert points_of(till, ana["id"]) == 50
    assert "1 correction waits for a second person." in words(owner.get("/"))
    mine = words(manager.get("/approvals/"))
    assert ("Withdraw" in mine, "Agree" in mine) == (True, False)
    page = words(owner.get("/approvals/"))
    assert ("A flood" in page, "+501" in page, "Agree" in page) == (True, True, True)
    asked = AdjustmentRequest.objects.get()
    assert owner.post(f"/approvals/{asked.pk}/agree/").status_code == 302

    assert points_of(till, ana["id"]) == 551
    assert "Agreed and booked" in words(owner.get("/approvals/"))
    assert "A flood" in words(owner.get(f"/members/{ana['id']}/"))
    assert actions(shop, "points.adjustment") == ["points.adjustment_asked", "points.adjustment_agreed"]


def test_r31_nobody_agrees_to_what_they_asked_for_or_twice(
    manager: ClientBrowser, owner: ClientBrowser, till: Machine, ana: Answer
) -> None:
    ask(manager, ana)
    asked = AdjustmentRequest.objects.get()
    own = manager.post(f"/approvals/{asked.pk}/agree/")
    assert (own.status_code, "another person has to agree" in words(own)) == (422, True)
    owner.post(f"/approvals/{asked.pk}/agree/")
    again = owner.post(f"/approvals/{asked.pk}/agree/")

    assert (again.status_code, "decided already" in words(again)) == (422, True)
    assert points_of(till, ana["id"]) == 551


def test_r31_a_manager_agrees_up_to_the_owner_s_limit_and_an_owner_above(
    shop: Client, manager: ClientBrowser, owner: ClientBrowser, till: Machine, ana: Answer
) -> None:
    ask(owner, ana, "10001")
    asked = AdjustmentRequest.objects.get()
    refused = manager.post(f"/approvals/{asked.pk}/agree/")
    assert (refused.status_code, "10,000 at a time is the most" in words(refused)) == (422, True)
    assert at_portal(shop).post(f"/approvals/{asked.pk}/agree/").status_code == 302
    assert points_of(till, ana["id"]) == 10_051


def test_more_than_is_there_cannot_be_agreed_to_and_the_page_says_how_much_is(
    manager: ClientBrowser, owner: ClientBrowser, ana: Answer
) -> None:
    ask(manager, ana, "600", way="take")
    asked = AdjustmentRequest.objects.get()
    refused = owner.post(f"/approvals/{asked.pk}/agree/")

    assert (refused.status_code, "Only 50 can be taken" in words(refused)) == (422, True)
    assert AdjustmentRequest.objects.get().state == "waiting"


def test_it_is_refused_or_withdrawn_with_an_audit(
    shop: Client, manager: ClientBrowser, owner: ClientBrowser, till: Machine, ana: Answer
) -> None:
    ask(manager, ana)
    ask(manager, ana, "502")
    first, second = AdjustmentRequest.objects.order_by("amount")
    assert owner.post(f"/approvals/{first.pk}/refuse/").status_code == 302
    assert owner.post(f"/approvals/{second.pk}/withdraw/").status_code == 422
    assert manager.post(f"/approvals/{second.pk}/withdraw/").status_code == 302

    assert points_of(till, ana["id"]) == 50
    assert actions(shop, "points.adjustment")[2:] == ["points.adjustment_refused", "points.adjustment_withdrawn"]
    assert manager.post("/approvals/00000000-0000-7000-8000-000000000000/agree/").status_code == 404


def test_an_ask_sent_twice_asks_once(manager: ClientBrowser, ana: Answer) -> None:
    address = f"/members/{ana['id']}/adjust/"
    given = {"key": key_of(manager, address), "unit": "points", "way": "give", "amount": "501", "reason": "x"}
    for _again in range(2):
        assert manager.post(address, {**given, "do": "ask"}).status_code == 302
    assert AdjustmentRequest.objects.count() == 1


# ── to another member ───────────────────────────────────────────────────────────────────────────────────────────────


def move(page: ClientBrowser, source: Answer, target: Answer, amount: str = "20", **more: str) -> Any:
    address = f"/members/{source['id']}/transfer/"
    key = key_of(page, f"{address}?to={target['id']}")
    return page.post(
        address, {"to": target["id"], "key": key, "unit": "points", "amount": amount, "reason": "A present", **more}
    )


def test_points_are_moved_to_a_member_found_first(
    shop: Client, owner: ClientBrowser, till: Machine, ana: Answer, bea: Answer
) -> None:
    found = owner.get(f"/members/{ana['id']}/transfer/?q=Bea")
    assert f"?to={bea['id']}" in found.content.decode()
    assert move(owner, ana, bea).status_code == 302

    assert (points_of(till, ana["id"]), points_of(till, bea["id"])) == (30, 70)
    pages = [words(owner.get(f"/members/{one['id']}/")) for one in (ana, bea)]
    assert f"20 points went to member {bea['number']}: A present" in pages[0]
    assert f"20 points came from member {ana['number']}: A present" in pages[1]
    assert actions(shop, "points.transferred") == ["points.transferred"]


@pytest.mark.parametrize(
    ("amount", "more", "said"),
    [
        ("51", {}, "Only 50 can be moved"),
        ("0", {}, "above 0"),
        ("501", {}, "500 at a time is the most"),
        ("5", {"reason": ""}, "required"),
        ("x", {}, "Enter a number"),
    ],
)
def test_what_cannot_be_moved_says_why_and_keeps_what_was_typed(
    manager: ClientBrowser, ana: Answer, bea: Answer, amount: str, more: dict[str, str], said: str
) -> None:
    refused = move(manager, ana, bea, amount, **more)

    assert (refused.status_code, said in words(refused)) == (422, True)
    assert f'value="{amount}"' in refused.content.decode()
    assert not Transfer.objects.exists()


def test_a_move_sent_twice_moves_once(owner: ClientBrowser, till: Machine, ana: Answer, bea: Answer) -> None:
    address = f"/members/{ana['id']}/transfer/"
    key = key_of(owner, f"{address}?to={bea['id']}")
    given = {"to": bea["id"], "key": key, "unit": "points", "amount": "5", "reason": "x"}
    for _again in range(2):
        assert owner.post(address, given).status_code == 302
    assert points_of(till, bea["id"]) == 55


@pytest.mark.parametrize("to", ["nonsense", "", "00000000-0000-7000-8000-000000000000", "self"])
def test_nothing_is_moved_to_nobody(owner: ClientBrowser, ana: Answer, to: str) -> None:
    to = ana["id"] if to == "self" else to
    answer = owner.post(f"/members/{ana['id']}/transfer/", {"to": to, "amount": "5", "unit": "points", "reason": "x"})

    assert "Look first for the member" in words(answer)
    assert not LedgerEntry.objects.filter(kind="move").exists()


# ── households ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_household_is_made_filled_shown_and_ended(
    shop: Client, owner: ClientBrowser, ana: Answer, bea: Answer
) -> None:
    home = f"/members/{ana['id']}/household/"
    assert owner.post(home, {"name": "The Meiers"}).status_code == 302
    assert f"/household/{bea['id']}/add/" in owner.get(f"{home}?q=Bea").content.decode()
    assert owner.post(f"{home}{bea['id']}/add/").status_code == 302
    page = words(owner.get(f"/members/{bea['id']}/"))
    assert ("The Meiers" in page, "50 more with the household" in page) == (True, True)
    assert owner.post(f"{home}{bea['id']}/remove/").status_code == 302
    assert "more with the household" not in words(owner.get(f"/members/{bea['id']}/"))
    assert owner.post(f"{home}end/").status_code == 302

    assert not HouseholdMember.objects.filter(left_at=None).exists()
    assert actions(shop, "household.") == ["household.made", "household.joined", "household.left", "household.ended"]
    gone = owner.post(f"{home}{bea['id']}/add/", follow=True)
    assert "in no household any more" in words(gone)


def test_one_who_is_in_another_household_is_refused_in_words(owner: ClientBrowser, ana: Answer, bea: Answer) -> None:
    for one in (ana, bea):
        owner.post(f"/members/{one['id']}/household/", {"name": "Home"})
    refused = owner.post(f"/members/{ana['id']}/household/{bea['id']}/add/")

    assert (refused.status_code, "in another household already" in words(refused)) == (422, True)


def test_a_household_needs_a_name(owner: ClientBrowser, ana: Answer) -> None:
    refused = owner.post(f"/members/{ana['id']}/household/", {"name": " "})

    assert (refused.status_code, "required" in words(refused)) == (422, True)


def test_the_member_page_costs_the_same_for_any_household(
    owner: ClientBrowser, till: Machine, ana: Answer, bea: Answer
) -> None:
    from tests.loyalty_saas.portals import cost

    owner.post(f"/members/{ana['id']}/household/", {"name": "Home"})
    owner.post(f"/members/{ana['id']}/household/{bea['id']}/add/")
    two = cost(owner, f"/members/{ana['id']}/")
    for n in range(6):
        more = join(till, f"Kid {n}")
        owner.post(f"/members/{ana['id']}/household/{more['id']}/add/")

    assert cost(owner, f"/members/{ana['id']}/") == two
    assert cost(owner, f"/members/{ana['id']}/household/") <= two + 6


@pytest.mark.parametrize("end", ["transfer/", "household/"])
def test_a_clerk_changes_nothing_of_it(shop: Client, ana: Answer, end: str) -> None:
    clerk = at_portal(shop, Actor.CLERK)
    assert clerk.get(f"/members/{ana['id']}/{end}").status_code in {403, 404}
    assert clerk.get("/approvals/").status_code in {403, 404}
    body = clerk.get(f"/members/{ana['id']}/").content.decode()
    assert f"/{end}" not in body
