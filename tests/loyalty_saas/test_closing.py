"""A membership ends: at the portal, by the API, and on the member's own card."""

from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.utils import timezone

from members.models import CardSession, LedgerEntry, Member
from tenants.access import Actor
from tenants.models import AuditEvent, Client
from tests.http import ClientBrowser
from tests.loyalty_saas.portals import at_portal, words
from tests.loyalty_saas.shops import credit, join, sale
from tests.loyalty_saas.test_card import Phone
from tests.machines import Answer, Machine


@pytest.fixture
def phone(shop: Client, ana: Answer) -> Phone:
    """Ana's."""
    return Phone(shop, ana["id"])


def standing(ana: Answer) -> tuple[str, list[tuple[str, int]]]:
    """How a membership stands, and what lapsed in it."""
    lapsed = LedgerEntry.objects.filter(account__member=ana["id"], kind="expire").values_list("reason", "amount")
    return Member.objects.get(pk=ana["id"]).status, list(lapsed)


# ── at the portal ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_manager_sees_what_goes_and_ends_it_with_a_reason_and_the_number(shop: Client, ana: Answer) -> None:
    manager = at_portal(shop, Actor.MANAGER)
    address = f"/members/{ana['id']}/close/"
    assert address in manager.get(f"/members/{ana['id']}/?tab=person").content.decode()
    assert "Points 50 lapse" in words(manager.get(address))

    answer = manager.post(address, {"reason": "Moves away", "number": ana["number"].lower()}, follow=True)

    assert "The membership has ended." in words(answer)
    assert standing(ana) == ("closed", [("Membership ended: Moves away", -50)])
    event = AuditEvent.objects.get(client=shop, action="member.closed")
    assert (event.subject, event.detail) == (ana["id"], {"reason": "Moves away"})
    assert "50 points lapsed: Membership ended: Moves away" in words(manager.get(f"/members/{ana['id']}/"))
    assert manager.get(address).status_code == 404


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"reason": "x", "number": "NOBODY"}, "This is not the number of this member."),
        ({"reason": "", "number": "{number}"}, "This field is required."),
        ({"reason": "x" * 151, "number": "{number}"}, "at most 150 characters"),
        ({"reason": "x", "number": ""}, "This field is required."),
    ],
)
def test_without_reason_or_number_nothing_ends_and_what_was_typed_is_kept(
    shop: Client, ana: Answer, asked: dict[str, str], said: str
) -> None:
    asked = {name: value.format(number=ana["number"]) for name, value in asked.items()}
    answer = at_portal(shop, Actor.OWNER).post(f"/members/{ana['id']}/close/", asked)

    assert (answer.status_code, said in words(answer)) == (422, True)
    assert all(f'value="{value}"' in answer.content.decode() for value in asked.values() if value)
    assert standing(ana) == ("active", [])


def test_nobody_ends_a_membership_of_another_shop(shop: Client, ana: Answer, bravo: Client) -> None:
    there = at_portal(bravo, Actor.OWNER)
    asked = {"reason": "x", "number": ana["number"]}
    assert there.post(f"/members/{ana['id']}/close/", asked).status_code == 404
    assert standing(ana)[0] == "active"


# ── by the API ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_machine_ends_a_membership_once_and_the_person_may_join_anew(till: Machine, ana: Answer) -> None:
    till.post("/redemptions", {"member": "ana-1", "reward": "mug"})

    answer = till.post("/members/ana-1/close", {"reason": "Asked by phone"}, key="K")
    again = till.post("/members/ana-1/close", {"reason": "Asked by phone"}, key="K")

    assert (answer.status, answer["status"], answer["name"], answer["identifiers"]) == (200, "closed", "", [])
    assert (again.status, again.body, again.headers.get("Idempotency-Replayed")) == (200, answer.body, "true")
    assert standing(ana)[1] == [("Membership ended: Asked by phone", -50)]
    assert AuditEvent.objects.filter(client=till.at, action="members.closed", subject=ana["id"]).count() == 1
    for way in ("ana-1", ana["id"], ana["number"]):
        assert till.get(f"/members/{way}").status == 404
    assert join(till, "Ana", pos="ana-1")["id"] != ana["id"]


def test_a_machine_is_told_what_is_missing_and_needs_the_scope(shop: Client, till: Machine, ana: Answer) -> None:
    assert till.post("/members/ana-1/close", {}).fields == ["reason"]
    assert till.post("/members/nobody/close", {"reason": "x"}).status == 404
    assert till.post("/members/ana-1/close", {"reason": "x"}, key=None).status == 400
    assert Machine(shop, scopes={"members:read"}).post("/members/ana-1/close", {"reason": "x"}).status == 403
    assert standing(ana)[0] == "active"


def test_a_sale_that_came_before_is_credited_and_lapses(till: Machine, ana: Answer) -> None:
    till.post("/purchases", sale("ana-1", "R-1", 1000))
    till.post("/members/ana-1/close", {"reason": "x"})

    credit()

    assert sum(LedgerEntry.objects.filter(account__member=ana["id"]).values_list("amount", flat=True)) == 0
    assert LedgerEntry.objects.filter(account__member=ana["id"], purchase__document="R-1").exists()
    assert till.post("/purchases", sale(ana["id"], "R-2", 1000)).status in {404, 422}


# ── on one's own card ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_member_ends_it_on_a_card_just_opened_by_typing_the_number(shop: Client, ana: Answer, phone: Phone) -> None:
    assert "/card/me/leave/" in phone.read("/card/me/")
    assert "Your 50 Points lapse." in words(phone.get("/card/me/leave/"))

    answer = phone.post("/card/me/leave/", {"number": ana["number"]})

    assert (answer.status_code, "Your membership has ended" in words(answer)) == (200, True)
    assert answer.cookies["card"].value == ""
    assert standing(ana) == ("closed", [("Membership ended: The member's own wish", -50)])
    event = AuditEvent.objects.get(client=shop, action="member.closed")
    assert event.actor == f"member:{ana['id']}"
    assert phone.get("/card/")["Location"] == "/card/sign-in/"


def test_a_wrong_number_ends_nothing(ana: Answer, phone: Phone) -> None:
    answer = phone.post("/card/me/leave/", {"number": "WRONG"})

    assert (answer.status_code, 'value="WRONG"' in answer.content.decode()) == (422, True)
    assert standing(ana)[0] == "active"


def test_a_card_that_has_been_open_for_long_asks_for_a_fresh_link_first(
    shop: Client, ana: Answer, phone: Phone, settings: Any
) -> None:
    CardSession.objects.update(began_at=timezone.now() - timedelta(minutes=16))
    page = phone.get("/card/me/leave/").content.decode()
    assert ("Send me a fresh link" in page, 'name="number"' in page) == (True, False)

    assert phone.post("/card/me/leave/", {"number": ana["number"]}).status_code == 422
    assert standing(ana)[0] == "active"

    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    mail.outbox = []
    assert phone.post("/card/sign-in/", {"email": "ana@example.com"}).status_code == 200


def test_ending_needs_the_pages_own_form(shop: Client, ana: Answer, phone: Phone) -> None:
    strict = ClientBrowser(shop)
    strict.handler.enforce_csrf_checks = True
    strict.cookies["card"] = phone.cookies["card"].value
    assert strict.post("/card/me/leave/", {"number": ana["number"]}).status_code == 403
    assert standing(ana)[0] == "active"
