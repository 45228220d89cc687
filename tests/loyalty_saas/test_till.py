"""The till's work screen over HTTP: find, record, undo, take back, redeem, enrol, and what was kept without network."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
import time_machine
from django.db import connections, transaction
from django.utils import timezone

from loyalty_saas.bearers import DEVICE_COOKIE, TILL_IDLE, hash_of, new_token
from loyalty_saas.till import work_find
from members.models import Consent, Identifier, LedgerEntry, Member, ParkedReturn, Purchase
from members.queries import balances
from members.services import cards
from members.services.enrolment import NewMember, enrol
from members.services.points import adjust_points
from programs.models import Clerk, Device, Location, Product, TillSession
from programs.queries import unit_by_code
from rewards.models import RewardIssue
from rewards.services import redeem
from tenants.context import use_client
from tenants.keys import uuid7
from tenants.models import AuditEvent, Client
from tests.http import ClientBrowser
from tests.loyalty_saas.shops import counted_queries, credit, open_shop

TEN_MINUTES = timedelta(minutes=10)


class Till:
    """A till of a shop with a clerk at it, and what it sends."""

    def __init__(self, client: Client, *, location: Location | None = None, locked: bool = False) -> None:
        at, token = timezone.now(), new_token()
        self.client = client
        self.location = location or Location.objects.get_or_create(code="pier", defaults={"name": "Pier 4"})[0]
        self.device = Device.objects.create(
            name=f"Till {uuid7().hex[-4:]}",
            location=self.location,
            token_hash=hash_of(token),
            enrolled_at=at,
            seen_at=at,
        )
        self.clerk = Clerk.objects.create(name="Mia Klein")
        self.token = token
        if not locked:
            self.unlock()
        self.browser = self.new_browser()

    def new_browser(self) -> ClientBrowser:
        one = ClientBrowser(self.client, HTTP_ACCEPT="application/json")
        one.cookies[DEVICE_COOKIE] = self.token
        return one

    def unlock(self, *, at: Any = None) -> None:
        at = at or timezone.now()
        TillSession.objects.filter(device=self.device, ended_at=None).update(ended_at=at)
        TillSession.objects.create(device=self.device, clerk=self.clerk, began_at=at, seen_at=at)

    def post(self, path: str, fields: dict[str, Any] | None = None) -> Any:
        return self.browser.post(f"/till/{path}", fields or {})

    def send(self, path: str, body: Any, *, browser: ClientBrowser | None = None) -> Any:
        one = browser or self.browser
        return one.post(f"/till/{path}", json.dumps(body), content_type="application/json")

    def find(self, text: str) -> Any:
        return self.post("find/", {"text": text})

    def record(self, member: UUID, amount: int = 1840, *, key: Any = None, **more: Any) -> Any:
        return self.send("sales/", {"key": str(key or uuid7()), "member": str(member), "amount": amount, **more})

    def undo(self, thing: Any, *, kind: str = "sale") -> Any:
        return self.post("undo/", {"kind": kind, "id": str(thing), "key": str(uuid7())})

    def kept(self, **given: Any) -> dict[str, Any]:
        """A sale kept while the network was away."""
        now = int(timezone.now().timestamp() * 1000)
        return {"key": str(uuid7()), "amount": 620, "occurred_at": now, "clerk": str(self.clerk.pk), **given}

    def sync(self, *items: dict[str, Any]) -> list[str]:
        answer = self.send("sync/", {"items": list(items)})
        assert answer.status_code == 200, answer.content
        return [one["state"] for one in answer.json()["items"]]


@pytest.fixture
def shop(acme: Client) -> Client:
    """Acme with a program: a point per euro, 50 for joining."""
    open_shop()
    return acme


@pytest.fixture
def till(shop: Client) -> Till:
    """A till with a clerk at it."""
    return Till(shop)


@pytest.fixture
def ana(shop: Client) -> Member:
    """A member with 50 points."""
    return _join("Ana Ray", phone="+4915112345678", email="ana@example.com", card="4000 1234 5678", pos="ana-1")


def _join(name: str, **identifiers: str) -> Member:
    with transaction.atomic():
        member = enrol(new=NewMember(identifiers=identifiers, name=name), region="DE", at=timezone.now())
    credit()
    return member


def points(member: Member) -> int:
    held = balances(member_id=member.pk, at=timezone.now())
    return next(one.balance for one in held if one.unit.code == "points")


def sale_of(answer: Any) -> Purchase:
    assert answer.status_code in {200, 201}, answer.content
    return Purchase.objects.get(pk=answer.json()["follow"].rstrip("/").rpartition("/")[2])


# ── finding ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "text",
    [
        "0151 12345678",
        "+49 151 12345678",
        "ANA@example.com",
        "4000 1234 5678",
        "400012345678",
        "ana-1",
        "Ana Ray",
        "ray",
    ],
)
def test_one_field_finds_a_member_by_whatever_the_customer_shows_or_says(till: Till, ana: Member, text: str) -> None:
    answer = till.find(text).json()
    assert (answer["kind"], answer["member"]) == ("member", str(ana.pk))
    assert "Ana Ray" in answer["html"]


def test_the_code_of_the_card_and_the_member_number_find_too(till: Till, ana: Member) -> None:
    for text in (cards.card_code_of(ana), cards.card_code_of(ana).lower(), ana.number):
        assert till.find(text).json()["member"] == str(ana.pk)


def test_the_code_of_a_reward_finds_its_member_and_hands_a_reserved_one_over(till: Till, ana: Member) -> None:
    at = timezone.now()
    with transaction.atomic():
        issue = redeem(member_id=ana.pk, reward_code="mug", key="elsewhere", at=at, zone=_zone())
    found = till.find(issue.code).json()
    assert found["member"] == str(ana.pk)
    assert "Hand over" in found["html"]

    assert till.post(f"rewards/{issue.pk}/").status_code == 200
    issue.refresh_from_db()
    assert (issue.state, points(ana)) == (RewardIssue.State.ISSUED, 10)
    assert "Already handed over" in till.find(issue.code).json()["html"]


def test_a_name_lists_at_most_eight_with_masked_contacts(till: Till, ana: Member) -> None:
    for place in range(10):
        _join(f"Ben Marsh {place}", phone=f"+49151999000{place:02d}")
    answer = till.find("marsh").json()
    assert answer["kind"] == "several"
    assert answer["html"].count("data-choose") == 8
    assert "•••• 0003" in answer["html"]
    assert "+49151" not in answer["html"]
    assert "There are more" in answer["html"]


def test_the_panel_gives_no_whole_contact_away(till: Till, ana: Member) -> None:
    html = till.find("ana-1").json()["html"]
    assert "•••• 5678" in html
    assert "15112345678" not in html
    assert "ana@example.com" not in html


def test_a_part_of_a_phone_number_finds_nobody_and_two_letters_are_too_few(till: Till, ana: Member) -> None:
    nobody = till.find("12345").json()
    assert nobody["kind"] == "nobody"
    assert 'data-typed="12345"' in nobody["html"]
    assert till.find("an").status_code == 422


def test_r32_a_till_that_looks_for_many_who_are_not_there_is_stopped(
    till: Till, ana: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work_find, "MISSES", 5)
    asked = [till.find(f"0151 000{place:04d}").status_code for place in range(7)]
    assert asked == [200] * 5 + [429] * 2
    assert till.find("ana-1").status_code == 429
    assert Till(till.client).find("ana-1").status_code == 200, "Another till goes on."


def test_finding_takes_at_most_nine_queries(till: Till, ana: Member) -> None:
    till.find("ana-1")
    with counted_queries() as queries:
        assert till.find("0151 12345678").status_code == 200
    assert queries() <= 9


# ── recording ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_the_button_says_before_payment_is_what_is_credited(till: Till, ana: Member) -> None:
    said = till.send("preview/", {"member": str(ana.pk), "amount": 1840}).json()
    assert (said["label"], said["credits"]) == ("Record purchase · earn 18 points", {"points": 18})

    answer = till.record(ana.pk)
    assert answer.status_code == 201
    assert "18 points" in answer.json()["said"]
    assert till.browser.get(answer.json()["follow"]).json() == {"kind": "waiting"}
    credit()
    after = till.browser.get(answer.json()["follow"]).json()
    assert (after["kind"], after["said"]) == ("member", "€18.40 earned 18 points.")
    assert points(ana) == 50 + said["credits"]["points"]


def test_a_sale_says_where_and_by_whom(till: Till, ana: Member) -> None:
    sale = sale_of(till.record(ana.pk))
    where = (sale.source, sale.channel, sale.location_id, sale.terminal, sale.clerk_id, sale.currency)
    assert where == ("till", "store", till.location.pk, till.device.name, till.clerk.pk, "EUR")
    assert sale.document.startswith(f"T-{till.device.pk.hex[-8:].upper()}-")


def test_lines_take_category_and_earning_from_the_catalogue(till: Till, ana: Member) -> None:
    Product.objects.create(sku="latte", name="Latte", category="coffee")
    Product.objects.create(sku="card-20", name="Gift card", category="gift", earning=False)
    lines = [{"sku": "latte", "quantity": 2, "unit_price": 450}, {"sku": "card-20", "quantity": 1, "unit_price": 2000}]
    assert "Latte" in till.browser.get("/till/articles/?q=lat").json()["html"]
    said = till.send("preview/", {"member": str(ana.pk), "lines": lines}).json()
    assert said["credits"] == {"points": 9, "stamps": 2}

    sale = sale_of(till.send("sales/", {"key": str(uuid7()), "member": str(ana.pk), "lines": lines}))
    assert (sale.amount, sale.lines.count()) == (2900, 2)
    credit()
    assert points(ana) == 59


@pytest.mark.parametrize("amount", [0, -5, 1.5, True, "12", None, 10**11])
def test_an_amount_that_is_none_is_refused_at_its_field(till: Till, ana: Member, amount: Any) -> None:
    answer = till.record(ana.pk, amount)
    assert (answer.status_code, answer.json()["field"]) == (422, "amount")
    assert not Purchase.objects.exists()


@pytest.mark.parametrize("key", ["", "no", "1e0a80e2-8c86-4224-b0bd-91497aeb3c4d"])
def test_a_write_without_a_key_of_its_own_is_refused(till: Till, ana: Member, key: str) -> None:
    body = {"key": key, "member": str(ana.pk), "amount": 100}
    assert till.send("sales/", body).status_code == 422
    assert not Purchase.objects.exists()


def test_a_key_counts_once_however_often_it_comes(till: Till, ana: Member) -> None:
    key = uuid7()
    first, again = till.record(ana.pk, key=key), till.record(ana.pk, key=key)
    assert (first.status_code, again.status_code) == (201, 200)
    assert sale_of(first) == sale_of(again)
    other = till.record(ana.pk, 999, key=key)
    assert (other.status_code, other.json()["code"]) == (422, "key_reused")
    assert Purchase.objects.count() == 1


@pytest.mark.parametrize(("keys", "sales"), [(1, 1), (10, 10)], ids=["one key", "control: a key each"])
def test_r04_ten_taps_at_once_record_once_per_key(till: Till, ana: Member, keys: int, sales: int) -> None:
    made = [uuid7() for _ in range(keys)]

    def tap(place: int) -> int:
        try:
            body = {"key": str(made[place % keys]), "member": str(ana.pk), "amount": 500}
            return int(till.send("sales/", body, browser=till.new_browser()).status_code)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(10) as pool:
        statuses = list(pool.map(tap, range(10)))
    assert set(statuses) <= {200, 201}
    assert Purchase.objects.count() == sales
    credit()
    assert points(ana) == 50 + 5 * sales


def test_recording_takes_at_most_25_queries(till: Till, ana: Member) -> None:
    till.record(ana.pk)
    with counted_queries() as queries:
        assert till.record(ana.pk).status_code == 201
    assert queries() <= 25


# ── undoing ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_one_tap_undoes_the_last_sale_and_its_points(till: Till, ana: Member) -> None:
    answer = till.record(ana.pk)
    credit()
    sale = sale_of(answer)
    assert "Undo last: €18.40" in answer.json()["undo"]
    undone = till.undo(sale.pk)
    assert undone.status_code == 200
    assert "Undo last" not in undone.json()["undo"]
    credit()
    assert points(ana) == 50

    assert till.undo(sale.pk).status_code == 200, "A second tap changes nothing."
    credit()
    assert (points(ana), Purchase.objects.filter(kind="void").count()) == (50, 1)


def test_the_page_offers_to_undo_what_this_till_did_last(till: Till, ana: Member) -> None:
    till.record(ana.pk, 620)
    page = till.browser.get("/till/").content.decode()
    assert "Undo last: €6.20" in page
    assert "Undo last" not in Till(till.client).browser.get("/till/").content.decode()


def test_after_ten_minutes_nothing_is_undone(till: Till, ana: Member) -> None:
    sale = sale_of(till.record(ana.pk))
    with time_machine.travel(sale.received_at + TEN_MINUTES + timedelta(seconds=1), tick=False):
        till.unlock()
        refused = till.undo(sale.pk)
        assert (refused.status_code, refused.json()["code"]) == (409, "too_late")
        assert "Undo last" not in till.browser.get("/till/").content.decode()
    assert not Purchase.objects.filter(kind="void").exists()


def test_another_till_undoes_nothing_of_this_one(till: Till, ana: Member) -> None:
    other = Till(till.client, location=till.location)
    sale = sale_of(till.record(ana.pk))
    assert other.undo(sale.pk).status_code == 409
    till.post("rewards/", {"member": str(ana.pk), "reward": "mug", "key": str(uuid7())})
    assert other.undo(RewardIssue.objects.get().pk, kind="reward").status_code == 409
    assert other.browser.get(f"/till/sales/{sale.pk}/").status_code == 404


# ── what comes back ─────────────────────────────────────────────────────────────────────────────────────────────────


def _bought(till: Till, ana: Member) -> Purchase:
    lines = [{"sku": "book", "quantity": 3, "unit_price": 1000}, {"sku": "pen", "quantity": 1, "unit_price": 500}]
    sale = sale_of(till.send("sales/", {"key": str(uuid7()), "member": str(ana.pk), "lines": lines}))
    credit()
    assert points(ana) == 85
    return sale


def _back(till: Till, ana: Member, **body: Any) -> Any:
    return till.send(f"members/{ana.pk}/returns/", {"key": str(uuid7()), **body})


def test_some_pieces_of_a_sale_come_back_with_their_points(till: Till, ana: Member) -> None:
    sale = _bought(till, ana)
    listed = till.browser.get(f"/till/members/{ana.pk}/returns/").json()["html"]
    assert sale.document in listed
    sheet = till.browser.get(f"/till/members/{ana.pk}/returns/?sale={sale.pk}").json()["html"]
    assert "3 left, €30.00" in sheet

    answer = _back(till, ana, sale=str(sale.pk), lines={"1": "2"})
    assert answer.status_code == 201
    assert "€20.00 given back" in answer.json()["said"]
    credit()
    assert points(ana) == 65
    too_many = _back(till, ana, sale=str(sale.pk), lines={"1": "2"})
    assert (too_many.status_code, too_many.json()["field"]) == (422, "line_1")


def test_the_whole_of_a_sale_comes_back_once(till: Till, ana: Member) -> None:
    sale = _bought(till, ana)
    key = str(uuid7())
    for status in (201, 404):
        assert _back(till, ana, sale=str(sale.pk), key=key).status_code == status
    credit()
    assert points(ana) == 50
    assert sale.document not in till.browser.get(f"/till/members/{ana.pk}/returns/").json()["html"]


def test_a_part_of_a_mere_amount_comes_back(till: Till, ana: Member) -> None:
    sale = sale_of(till.record(ana.pk, 2000))
    credit()
    assert _back(till, ana, sale=str(sale.pk), lines={"1": 500}).status_code == 201
    credit()
    assert Purchase.objects.get(kind="return").amount == -500
    assert points(ana) == 65
    assert _back(till, ana, sale=str(sale.pk), lines={"1": 1600}).status_code == 422
    assert _back(till, ana, sale=str(sale.pk), lines={"1": 1500}).status_code == 201
    credit()
    assert points(ana) == 50


def test_a_receipt_is_found_by_its_number_and_only_with_its_member(till: Till, ana: Member) -> None:
    sale = _bought(till, ana)
    ben = _join("Ben", card="B-1")
    url = f"/till/members/{ana.pk}/returns/?document={sale.document.lower()}"
    assert str(sale.pk) in till.browser.get(url).json()["html"]
    assert till.browser.get(f"/till/members/{ben.pk}/returns/?sale={sale.pk}").status_code == 404
    assert _back(till, ben, sale=str(sale.pk)).status_code == 404


def test_without_a_receipt_earlier_purchases_are_looked_for_else_a_manager_is_asked(till: Till, ana: Member) -> None:
    _bought(till, ana)
    assert _back(till, ana, sku="book", quantity="1", amount=1000).status_code == 201
    credit()
    assert (points(ana), ParkedReturn.objects.count()) == (75, 0)
    answer = _back(till, ana, sku="lamp", quantity="1", amount=4000)
    credit()
    assert (points(ana), ParkedReturn.objects.get().quantity) == (75, Decimal(1))
    assert "a manager looks at it" in till.browser.get(answer.json()["follow"]).json()["said"]


# ── rewards ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_reward_is_handed_over_once_per_key_and_undone_within_ten_minutes(till: Till, ana: Member) -> None:
    fields = {"member": str(ana.pk), "reward": "mug", "key": str(uuid7())}
    assert 'data-redeem="mug"' in till.find("ana-1").json()["html"]
    answers = [till.post("rewards/", fields) for _ in range(2)]
    assert [one.status_code for one in answers] == [200, 200]
    issue = RewardIssue.objects.get()
    assert (points(ana), issue.state) == (10, RewardIssue.State.ISSUED)
    assert "Undo last: A mug" in answers[0].json()["undo"]

    for _ in range(2):
        assert till.undo(issue.pk, kind="reward").status_code == 200
    issue.refresh_from_db()
    assert (points(ana), issue.state) == (50, RewardIssue.State.CANCELLED)
    assert LedgerEntry.objects.filter(kind="restore").count() == 1


def test_a_reward_above_the_balance_is_refused_in_words(till: Till, ana: Member) -> None:
    answer = till.post("rewards/", {"member": str(ana.pk), "reward": "five-off", "key": str(uuid7())})
    assert (answer.status_code, answer.json()["code"]) == (409, "not_enough_points")
    assert "450 points more for “5 off”" in till.find("ana-1").json()["html"]
    assert (points(ana), RewardIssue.objects.count()) == (50, 0)


# ── enrolling ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_somebody_joins_once_per_key_with_their_consents_and_a_code_for_the_card(till: Till) -> None:
    fields = {"name": "Cleo Park", "phone": "0151 7654321", "marketing_sms": "on", "key": str(uuid7())}
    first, again = till.post("members/", fields), till.post("members/", fields)
    assert (first.status_code, again.status_code) == (201, 201)
    assert 'class="segno"' in first.json()["html"]
    cleo = Member.objects.get()
    assert Identifier.objects.get(member=cleo).value == "+491517654321"
    said = dict(Consent.objects.filter(member=cleo).values_list("purpose", "granted"))
    assert said == {"marketing_email": False, "marketing_sms": True}
    credit()
    assert points(cleo) == 50


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"name": "Cleo"}, "phone"),
        ({"name": "Cleo", "phone": "call me"}, "phone"),
        ({"name": "", "phone": "0151 7654321"}, "name"),
        ({"name": "Cleo", "email": "nowhere"}, "email"),
        ({"name": "Cleo", "email": "ana@example.com"}, "email"),
    ],
)
def test_a_wrong_field_says_so_and_what_was_typed_is_kept(
    till: Till, ana: Member, fields: dict[str, str], wrong: str
) -> None:
    answer = till.post("members/", {**fields, "key": str(uuid7())})
    assert answer.status_code == 422
    html = answer.json()["html"]
    assert f'id="enrol_{wrong}_errors"' in html or f'aria-describedby="enrol_{wrong}' in html
    assert all(value in html for value in fields.values())
    assert Member.objects.count() == 1


# ── without network ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_was_kept_is_taken_once_however_often_it_is_sent(till: Till, ana: Member) -> None:
    items = [till.kept(member=str(ana.pk)), till.kept(text="0151 12345678"), till.kept(text="4000 1234 5678")]
    assert till.sync(*items) == ["taken"] * 3
    assert till.sync(*items) == ["known"] * 3
    credit()
    assert (points(ana), Purchase.objects.count()) == (68, 3)
    assert set(Purchase.objects.values_list("clerk_id", flat=True)) == {till.clerk.pk}


def test_a_sale_whose_answer_was_lost_is_known_when_it_is_sent_again_as_kept(till: Till, ana: Member) -> None:
    key = uuid7()
    assert till.record(ana.pk, 620, key=key).status_code == 201
    assert till.sync(till.kept(key=str(key), member=str(ana.pk))) == ["known"]
    assert Purchase.objects.count() == 1


def test_each_kept_sale_stands_for_itself_and_what_cannot_be_says_why(till: Till, ana: Member) -> None:
    good = till.kept(member=str(ana.pk))
    items: list[Any] = [
        till.kept(text="nobody-here"),
        till.kept(member=str(uuid7())),
        till.kept(member=str(ana.pk), amount=0),
        till.kept(member=str(ana.pk), clerk=str(uuid7())),
        till.kept(member=str(ana.pk), occurred_at=int((timezone.now() - timedelta(days=20)).timestamp() * 1000)),
        till.kept(member=str(ana.pk), occurred_at=int((timezone.now() + timedelta(hours=2)).timestamp() * 1000)),
        till.kept(member=str(ana.pk), occurred_at="yesterday"),
        till.kept(text="Ana Ray"),
        "nonsense",
        good,
    ]
    answer = till.send("sync/", {"items": items}).json()["items"]
    assert [one["state"] for one in answer] == ["refused"] * 9 + ["taken"]
    assert all(one["words"] for one in answer[:-1])
    assert Purchase.objects.count() == 1


def test_kept_sales_are_those_of_the_clerk_who_was_there_then(till: Till, ana: Member) -> None:
    now = timezone.now()
    ben = Clerk.objects.create(name="Ben")
    TillSession.objects.filter(device=till.device).update(began_at=now - timedelta(hours=3), ended_at=now)
    TillSession.objects.create(device=till.device, clerk=ben, began_at=now - timedelta(hours=1), seen_at=now)
    early, late = (int((now - timedelta(hours=hours)).timestamp() * 1000) for hours in (2, 0))
    states = till.sync(
        till.kept(member=str(ana.pk), occurred_at=early),
        till.kept(member=str(ana.pk), occurred_at=early, clerk=str(ben.pk)),
        till.kept(member=str(ana.pk), occurred_at=late, clerk=str(ben.pk)),
        till.kept(member=str(ana.pk), occurred_at=late),
    )
    assert states == ["taken", "refused", "taken", "refused"]
    assert Till(till.client).sync(till.kept(member=str(ana.pk))) == ["refused"], "Not at another till."


def test_a_locked_till_still_brings_what_it_kept(till: Till, ana: Member) -> None:
    with time_machine.travel(timezone.now() + TILL_IDLE + timedelta(seconds=5), tick=False):
        assert till.find("ana-1").status_code == 401
        assert till.sync(till.kept(member=str(ana.pk))) == ["taken"]


# ── who may ─────────────────────────────────────────────────────────────────────────────────────────────────────────

STEPS: list[Callable[[Till, Member], Any]] = [
    lambda till, ana: till.browser.get("/till/"),
    lambda till, ana: till.find("ana-1"),
    lambda till, ana: till.record(ana.pk),
    lambda till, ana: till.send("preview/", {"member": str(ana.pk), "amount": 100}),
    lambda till, ana: till.undo(uuid7()),
    lambda till, ana: till.browser.get(f"/till/members/{ana.pk}/"),
    lambda till, ana: till.browser.get(f"/till/members/{ana.pk}/returns/"),
    lambda till, ana: till.post("rewards/", {"member": str(ana.pk), "reward": "mug", "key": str(uuid7())}),
    lambda till, ana: till.post("members/", {"name": "X", "phone": "0151 7654321", "key": str(uuid7())}),
]


@pytest.mark.parametrize("step", range(len(STEPS)))
def test_r30_a_locked_revoked_or_unknown_till_does_nothing(till: Till, ana: Member, step: int) -> None:
    locked = Till(till.client, locked=True)
    assert STEPS[step](locked, ana).json()["location"] == "/till/lock/"
    revoked = Till(till.client)
    Device.objects.filter(pk=revoked.device.pk).update(revoked_at=timezone.now())
    unknown = Till(till.client)
    unknown.browser.cookies[DEVICE_COOKIE] = new_token()
    for one in (revoked, unknown):
        answer = STEPS[step](one, ana)
        assert (answer.status_code, answer.json()["location"]) == (401, "/till/enrol/")
    assert unknown.send("sync/", {"items": []}).status_code == 401
    assert (Purchase.objects.count(), RewardIssue.objects.count(), Member.objects.count()) == (0, 0, 1)


def test_r01_another_clients_till_opens_nothing_here(till: Till, ana: Member, bravo: Client) -> None:
    with use_client(bravo):
        foreign = Till(bravo)
    foreign.browser = ClientBrowser(till.client, HTTP_ACCEPT="application/json")
    foreign.browser.cookies[DEVICE_COOKIE] = foreign.token
    assert foreign.find("ana-1").status_code == 401
    assert foreign.send("sync/", {"items": [till.kept(member=str(ana.pk))]}).status_code == 401
    with use_client(bravo):
        at_home = Till(bravo)
        assert at_home.find("ana-1").json()["kind"] == "nobody"
        assert at_home.record(ana.pk).status_code == 404


def test_what_changes_something_is_written_down_with_the_clerk(till: Till, ana: Member) -> None:
    sale = sale_of(till.record(ana.pk))
    till.undo(sale.pk)
    till.post("rewards/", {"member": str(ana.pk), "reward": "mug", "key": str(uuid7())})
    till.post("members/", {"name": "Cleo", "phone": "0151 7654321", "key": str(uuid7())})
    events = AuditEvent.objects.filter(client=till.client, action__startswith="till.").order_by("sequence")
    assert list(events.values_list("action", flat=True)) == ["till.undone", "till.redeemed", "till.enrolled_member"]
    assert {event.actor for event in events} == {f"clerk:{till.clerk.pk}"}


def test_the_camera_and_the_scanners_code_are_allowed_on_this_page_alone(till: Till) -> None:
    page = till.browser.get("/till/")
    assert "script-src 'self' 'wasm-unsafe-eval'" in page["Content-Security-Policy"]
    assert "camera=(self)" in page["Permissions-Policy"]
    other = till.browser.get("/till/lock/")
    assert "wasm" not in other["Content-Security-Policy"]
    assert "camera=()" in other["Permissions-Policy"]


def test_the_scanners_wasm_is_that_of_the_script_that_runs_it(settings: Any) -> None:
    from hashlib import sha256

    folder = settings.BASE_DIR / "loyalty_saas" / "static" / "vendor" / "barcode-detector"
    digest = sha256((folder / "zxing_reader.wasm").read_bytes()).hexdigest()
    assert digest in (folder / "ponyfill.js").read_text("utf-8")


def test_points_by_hand_are_seen_at_once(till: Till, ana: Member) -> None:
    unit = unit_by_code("points")
    assert unit
    with transaction.atomic():
        adjust_points(
            member_id=ana.pk, unit=unit, amount=460, reason="sorry", key="a", at=timezone.now(), zone=_zone(), by=None
        )
    html = till.find("ana-1").json()["html"]
    assert 'data-redeem="five-off"' in html
    assert 'data-after="10 points"' in html


def _zone() -> Any:
    from loyalty_saas.flows.purchases import zone

    return zone()
