"""The member's card through HTTP: opened by a link, its pages, what a member may change, and the app around it."""

import io
import json
import re
from collections.abc import Iterator
from concurrent.futures import wait
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.apps import apps
from django.core import mail
from django.db import transaction
from django.db.models import Model
from django.utils import timezone
from django.utils.translation import get_language
from PIL import Image

from loyalty_saas.card import mails
from loyalty_saas.card.own_data import LEFT_OUT, PLACES
from members.models import (
    CardSession,
    Consent,
    Identity,
    Insight,
    LedgerEntry,
    Member,
    RuleState,
    TierChange,
    TierGrant,
    TierStatus,
    WorkItem,
)
from members.services.approvals import ask_for_adjustment
from members.services.cards import make_link
from members.services.enrolment import merge_members
from members.services.households import make_household
from programs.queries import units
from rewards.models import Offer, OfferAssignment
from tenants.context import use_client
from tenants.keys import uuid7
from tenants.models import AuditEvent, Client, Lockout
from tests.http import ClientBrowser
from tests.loyalty_saas.shops import counted_queries, credit, join, sale
from tests.machines import Answer, Machine
from tests.members.world import BERLIN
from tests.people import browser

PAGES = ("/card/", "/card/history/", "/card/rewards/", "/card/me/")


class Phone(ClientBrowser):
    """A member's phone on which the card was opened by a link."""

    def __init__(self, client: Client, member_id: str | UUID, **defaults: Any) -> None:
        super().__init__(client, HTTP_USER_AGENT="Mozilla/5.0 (iPhone) Version/17 Safari/604.1", **defaults)
        token = make_link(member_id=UUID(str(member_id)), way="till", at=timezone.now())
        assert self.post(f"/card/open/{token}/")["Location"] == "/card/"

    def read(self, path: str = "/card/") -> str:
        """The words of a page."""
        answer = self.get(path)
        assert answer.status_code == 200, answer
        return str(answer.content.decode())


@pytest.fixture
def phone(shop: Client, ana: Answer) -> Phone:
    """Ana's."""
    return Phone(shop, ana["id"])


@pytest.fixture(autouse=True)
def _nothing_posted(settings: Any) -> Iterator[None]:
    """No mail has gone out; what goes out is kept."""
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    mail.outbox = []
    yield
    sent()


def sent() -> list[Any]:
    """The mails that went out, when the post has done its work."""
    wait([mails.POST.submit(lambda: None)])
    return list(mail.outbox)


def ask(client: Client, address: str, **given: Any) -> Any:
    """Ask for a link as a stranger does."""
    return browser(client).post("/card/sign-in/", {"email": address}, **given)


def actions(client: Client) -> list[str]:
    """What the audit trail says."""
    return list(AuditEvent.objects.filter(client=client).order_by("sequence").values_list("action", flat=True))


# ── asking for a link ───────────────────────────────────────────────────────────────────────────────────────────────


def test_the_answer_is_the_same_whether_somebody_has_the_address(shop: Client, ana: Answer) -> None:
    known, unknown = ask(shop, "ana@example.com"), ask(shop, "bob@example.com")
    assert (known.status_code, unknown.status_code) == (200, 200)
    words = [answer.content.decode().replace(name, "") for answer, name in ((known, "ana"), (unknown, "bob"))]
    assert words[0] == words[1]
    assert [message.to for message in sent()] == [["ana@example.com"]]


def test_both_answers_cost_the_same_queries(shop: Client, ana: Answer) -> None:
    cost = []
    for address in ("warm@example.com", "ana@example.com", "bob@example.com"):
        with counted_queries(cold=True) as count:
            ask(shop, address)
            cost.append(count())
        sent()
    assert cost[1] == cost[2]


def test_the_mailed_link_opens_the_card_on_the_shops_own_host(shop: Client, ana: Answer) -> None:
    ask(shop, " Ana@Example.com ")
    (message,) = sent()
    (link,) = re.findall(r"http\S+", message.body)
    host = shop.domains.get().host
    assert re.fullmatch(rf"http://{re.escape(host)}(:\d+)?/card/open/[\w-]{{43}}/", link)
    assert (message.subject, message.from_email.split(" <")[0]) == ("Your card at Acme", "Acme")

    stranger = browser(shop)
    path = "/card/open/" + link.split("/card/open/")[1]
    assert "Open your card" in stranger.get(path).content.decode()
    assert stranger.get("/card/").status_code == 302, "looking must not open it"
    assert stranger.post(path)["Location"] == "/card/"
    assert "Ana" in stranger.get("/card/").content.decode()
    assert "card.opened" in actions(shop)


def test_the_mail_speaks_the_members_language(shop: Client, ana: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    Client.objects.filter(pk=shop.pk).update(languages=["en", "de"])
    Identity.objects.filter(pk=ana["id"]).update(language="de")
    shop.refresh_from_db()
    seen: list[str | None] = []
    monkeypatch.setattr(mails, "_mail", lambda **_said: seen.append(get_language()))
    mails.mail_link(client=shop, address="ana@example.com", language="en").result()
    assert seen == ["de"]


def test_three_links_in_a_quarter_of_an_hour_and_the_fourth_says_the_same(shop: Client, ana: Answer) -> None:
    answers = [ask(shop, "ana@example.com").content for _time in range(5)]
    assert len(set(answers)) == 1
    assert len(sent()) == 3


def test_an_address_that_asks_too_often_for_many_gets_nothing_more(
    shop: Client, ana: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loyalty_saas.card.views.ASKED_A_SPAN", 4)
    for number in range(4):
        ask(shop, f"guess-{number}@example.com")
    assert ask(shop, "ana@example.com").status_code == 200
    assert sent() == []
    assert ask(shop, "ana@example.com", REMOTE_ADDR="10.1.1.1").status_code == 200
    assert len(sent()) == 1


def test_no_address_stands_in_the_counters(shop: Client, ana: Answer) -> None:
    ask(shop, "ana@example.com")
    subjects = " ".join(Lockout.objects.filter(client=shop).values_list("subject", flat=True))
    assert "card-mail:" in subjects
    assert "ana" not in subjects


def test_what_is_no_address_is_refused_at_the_field_and_kept(shop: Client) -> None:
    answer = ask(shop, "ana at home")
    assert answer.status_code == 422
    assert 'value="ana at home"' in answer.content.decode()


@pytest.mark.parametrize(("age", "status", "words"), [(0, 410, "has been used"), (16, 410, "too old")])
def test_a_link_that_is_gone_says_what_to_do(shop: Client, ana: Answer, age: int, status: int, words: str) -> None:
    token = make_link(member_id=UUID(ana["id"]), way="till", at=timezone.now() - timedelta(minutes=age))
    one, other = browser(shop), browser(shop)
    if not age:
        assert one.post(f"/card/open/{token}/").status_code == 302
    for answer in (other.get(f"/card/open/{token}/"), other.post(f"/card/open/{token}/")):
        assert (answer.status_code, words in answer.content.decode()) == (status, True)
        assert "Send me a new link" in answer.content.decode()


def test_an_unknown_link_is_not_found(shop: Client) -> None:
    answer = browser(shop).get(f"/card/open/{'x' * 43}/")
    assert answer.status_code == 404
    assert "not known here" in answer.content.decode()


# ── who gets in ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", PAGES)
def test_without_a_card_one_is_sent_to_the_entrance(shop: Client, path: str) -> None:
    assert browser(shop).get(path)["Location"] == "/card/sign-in/"


def test_a_cookie_of_one_shop_opens_nothing_at_another(shop: Client, phone: Phone, bravo: Client) -> None:
    stranger = browser(bravo)
    stranger.cookies["card"] = phone.cookies["card"].value
    for path in PAGES:
        assert stranger.get(path)["Location"] == "/card/sign-in/"
    assert "Ana" in phone.read()


def test_a_link_of_one_shop_opens_nothing_at_another(shop: Client, ana: Answer, bravo: Client) -> None:
    token = make_link(member_id=UUID(ana["id"]), way="till", at=timezone.now())
    assert browser(bravo).post(f"/card/open/{token}/").status_code == 404
    assert browser(shop).post(f"/card/open/{token}/").status_code == 302


def test_a_closed_membership_closes_the_card(phone: Phone, ana: Answer) -> None:
    Member.objects.filter(pk=ana["id"]).update(status="closed")
    assert phone.get("/card/")["Location"] == "/card/sign-in/"


def test_a_merged_members_card_closes_and_a_new_link_opens_the_kept_one(
    shop: Client, till: Machine, phone: Phone, ana: Answer
) -> None:
    kept = join(till, "Ana Ray", pos="ana-2")
    with transaction.atomic():
        merge_members(kept_id=UUID(kept["id"]), double_id=UUID(ana["id"]), at=timezone.now(), by=None, zone=BERLIN)
    assert phone.get("/card/")["Location"] == "/card/sign-in/"
    assert "Ana Ray" in Phone(shop, ana["id"]).read()


def test_a_card_unused_for_half_a_year_is_closed(phone: Phone) -> None:
    CardSession.objects.update(seen_at=timezone.now() - timedelta(days=181))
    assert phone.get("/card/")["Location"] == "/card/sign-in/"


def test_signing_out_closes_the_card_and_takes_the_cookie(shop: Client, phone: Phone) -> None:
    token = phone.cookies["card"].value
    answer = phone.post("/card/sign-out/")
    assert (answer["Location"], answer.cookies["card"].value) == ("/card/sign-in/", "")
    phone.cookies["card"] = token
    assert phone.get("/card/")["Location"] == "/card/sign-in/"
    assert "card.closed" in actions(shop)


# ── what it shows ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_card_shows_the_balance_the_code_the_next_reward_and_the_tier(
    shop: Client, till: Machine, ana: Answer, phone: Phone
) -> None:
    till.post("/purchases", sale("ana-1", "R-1", 12000))
    credit()
    said = phone.read()
    code = Member.objects.get(pk=ana["id"]).card_code or ""
    for words in ("Ana", "data-balance>170<", "Points", 'class="qr"', "A mug", "5 off", "170 of 500 Points", "330 to go",
                  "€380.00", "Silver", *(code[place : place + 4] for place in range(0, 16, 4))):  # fmt: skip
        assert words in said, words


def test_pending_points_stand_with_their_day_and_lapsing_ones_are_announced(new_client: Any) -> None:
    from tests.members.world import buy, line, live, new_member, unit
    from tests.members.world import credit as credit_at

    client, now = new_client("Slow"), timezone.now()
    with use_client(client):
        live(units=[unit(pending_days=14, expiry={"policy": "rolling", "months": 1})])
        bea = new_member("bea")
        buy(bea, receipt="R-1", lines=[line(700)], at=now - timedelta(days=20))
        buy(bea, receipt="R-2", lines=[line(300)], at=now - timedelta(days=1))
        credit_at(at=now)
        said = Phone(client, bea.pk).read()
    assert "data-balance>700<" in said
    assert "and 300 pending" in said
    assert "<strong>300 Points</strong> are pending" in said
    assert "<strong>700 Points</strong> lapse on" in said


def test_history_says_why_and_what_did_not_count(till: Machine, ana: Answer, phone: Phone) -> None:
    lines = [{"sku": f"c{n}", "category": "coffee", "quantity": 1, "amount": 300} for n in range(5)]
    till.post("/purchases", {**sale("ana-1", "R-1"), "lines": lines})
    credit()
    said = phone.read("/card/history/")
    assert "“A stamp per coffee” gave 3 stamps instead of 5 stamps" in said
    assert "“Fifty for joining” gave 50 points." in said

    till.post("/purchases", sale("ana-1", "R-2", 50))
    till.post("/purchases", sale("ana-1", "R-3", 500))
    credit()
    stamps = LedgerEntry.objects.filter(purchase__document="R-3").get()
    assert "“A point per euro” gave 5 points." in phone.read(f"/card/history/{stamps.pk}/")


def test_a_movement_shows_the_lines_bought_and_another_members_is_not_there(
    shop: Client, till: Machine, ana: Answer, phone: Phone
) -> None:
    till.post("/purchases", sale("ana-1", "R-1", 1250))
    join(till, "Bob", pos="bob-1")
    till.post("/purchases", sale("bob-1", "R-2", 900))
    credit()
    mine = LedgerEntry.objects.get(purchase__document="R-1")
    others = LedgerEntry.objects.get(purchase__document="R-2")

    said = phone.read(f"/card/history/{mine.pk}/")
    assert "€12.50" in said
    assert "thing" in said
    assert phone.get(f"/card/history/{others.pk}/").status_code == 404
    assert phone.get(f"/card/history/{uuid7()}/").status_code == 404


@pytest.mark.parametrize("path", ["/card/", "/card/history/", "/card/rewards/"])
def test_a_page_costs_the_same_queries_for_1_and_for_50_movements(
    till: Machine, ana: Answer, phone: Phone, path: str
) -> None:
    def cost() -> int:
        phone.read(path)
        with counted_queries(cold=True) as count:
            phone.read(path)
            return count()

    till.post("/purchases", sale("ana-1", "R-0", 60_000))
    credit()
    before = cost()
    for number in range(1, 51):
        till.post("/purchases", sale("ana-1", f"R-{number}"))
    credit()
    assert LedgerEntry.objects.count() > 50
    assert cost() == before
    assert before < 30


def test_a_new_member_is_told_what_to_do(new_client: Any) -> None:
    client = new_client("Empty")
    with use_client(client):
        member = Member.objects.create(number="NEWCOMER")
        one = Phone(client, member.pk)
        assert "Show your code with your next purchase" in one.read()
        assert "Nothing has moved yet" in one.read("/card/history/")
        assert "There are no rewards at the moment" in one.read("/card/rewards/")


@pytest.mark.parametrize(
    ("own", "asks", "speaks"), [("de", "en", "de"), ("de-AT", "en", "de"), ("", "de", "de"), ("fr", "de", "de"), ("", "fr", "en")]
)  # fmt: skip
def test_it_speaks_the_members_language_else_the_browsers(
    shop: Client, ana: Answer, own: str, asks: str, speaks: str
) -> None:
    Client.objects.filter(pk=shop.pk).update(languages=["en", "de"])
    Identity.objects.filter(pk=ana["id"]).update(language=own)
    _forget_hosts()
    one = Phone(shop, ana["id"], HTTP_ACCEPT_LANGUAGE=asks)
    answer = one.get("/card/")
    assert (f'<html lang="{speaks}"' in answer.content.decode(), answer["Content-Language"]) == (True, speaks)


def test_it_speaks_no_language_that_the_shop_does_not(shop: Client, ana: Answer) -> None:
    Identity.objects.filter(pk=ana["id"]).update(language="de")
    assert '<html lang="en"' in Phone(shop, ana["id"]).read()


def _forget_hosts() -> None:
    from tenants.queries import client_of_host

    client_of_host.forget()


# ── what a member changes ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_channel_is_allowed_and_withdrawn_by_one_tap_and_each_word_is_kept(
    shop: Client, ana: Answer, phone: Phone
) -> None:
    for granted in ("yes", "yes", "no"):
        answer = phone.post("/card/me/allowed/", {"purpose": "marketing_sms", "granted": granted})
        assert answer["Location"] == "/card/me/#allowed"
    rows = Consent.objects.filter(member=ana["id"]).order_by("id")
    assert list(rows.values_list("purpose", "granted", "source", "text_version")) == [
        ("marketing_sms", True, "card", "card-2026-11"),
        ("marketing_sms", False, "card", "card-2026-11"),
    ]
    assert [one for one in actions(shop) if "consent" in one] == ["card.consent_granted", "card.consent_withdrawn"]


def test_a_word_for_all_channels_counts_for_each_until_one_of_its_own(till: Machine, ana: Answer, phone: Phone) -> None:
    till.post("/members/ana-1/consents", {"purpose": "marketing", "granted": True, "text_version": "1"}, key=None)
    assert phone.read("/card/me/").count('aria-checked="true"') == 3
    phone.post("/card/me/allowed/", {"purpose": "marketing_post", "granted": "no"})
    assert phone.read("/card/me/").count('aria-checked="true"') == 2


def test_what_was_allowed_elsewhere_can_be_withdrawn_and_nothing_else_made_up(
    till: Machine, ana: Answer, phone: Phone
) -> None:
    till.post("/members/ana-1/consents", {"purpose": "birthday_card", "granted": True, "text_version": "1"}, key=None)
    assert "Birthday card" in phone.read("/card/me/")
    phone.post("/card/me/allowed/", {"purpose": "birthday_card", "granted": "no"})
    assert not Consent.objects.filter(purpose="birthday_card").latest("id").granted
    assert phone.post("/card/me/allowed/", {"purpose": "all_my_data", "granted": "yes"}).status_code == 404


def test_the_language_is_changed_to_one_of_the_shops(shop: Client, ana: Answer, phone: Phone) -> None:
    Client.objects.filter(pk=shop.pk).update(languages=["en", "de"])
    _forget_hosts()
    assert phone.post("/card/me/language/", {"language": "xx"}).status_code == 404
    phone.post("/card/me/language/", {"language": "de"})
    assert '<html lang="de"' in phone.read("/card/me/")


def test_another_phone_is_signed_out_and_nobody_elses(shop: Client, till: Machine, ana: Answer, phone: Phone) -> None:
    lost, bob = Phone(shop, ana["id"]), Phone(shop, join(till, "Bob", pos="bob-1")["id"])
    sessions = CardSession.objects.order_by("id")
    assert "iPhone · Safari" in phone.read("/card/me/")
    assert phone.post(f"/card/me/phones/{sessions[2].pk}/end/").status_code == 404
    assert phone.post(f"/card/me/phones/{sessions[1].pk}/end/").status_code == 302
    assert lost.get("/card/").status_code == 302
    assert (bob.get("/card/").status_code, phone.get("/card/").status_code) == (200, 200)


@pytest.mark.parametrize(
    "path", ["/card/me/allowed/", "/card/me/language/", "/card/me/data/", "/card/sign-out/", "/card/me/phones/01a205c6-77a8-7bb3-9b93-e8e220f1059d/end/"]
)  # fmt: skip
def test_nothing_is_changed_by_a_link_or_from_another_page(shop: Client, ana: Answer, path: str) -> None:
    one = Phone(shop, ana["id"])
    assert one.get(path).status_code == 405
    strict = browser(shop)
    strict.handler.enforce_csrf_checks = True
    strict.cookies["card"] = one.cookies["card"].value
    assert strict.post(path).status_code == 403
    assert CardSession.objects.get().ended_at is None


# ── one's own data ──────────────────────────────────────────────────────────────────────────────────────────────────


def leads_to_member() -> set[str]:
    """Every table from which foreign keys lead to a member, by whatever way; and the member's own."""
    models = [one for one in apps.get_models() if one._meta.app_label in {"members", "rewards", "programs", "training"}]
    found: set[type[Model]] = {Member}
    while more := {one for one in models if one not in found and _targets(one) & found}:
        found |= more
    return {one._meta.label for one in found} | {"members.RuleTrace"}


def _targets(model: type[Model]) -> set[Any]:
    return {field.related_model for field in model._meta.get_fields() if field.many_to_one or _is_one_to_one(field)}


def _is_one_to_one(field: Any) -> bool:
    return bool(field.one_to_one and field.concrete)


def test_every_table_that_leads_to_a_member_is_in_the_file_or_says_why_not() -> None:
    assert leads_to_member() == set(PLACES) | set(LEFT_OUT)
    assert not set(PLACES) & set(LEFT_OUT)


@pytest.fixture
def rich(till: Machine, ana: Answer) -> UUID:
    """Ana with a row in every table."""
    at, member_id = timezone.now(), UUID(ana["id"])
    till.post("/purchases", sale("ana-1", "R-1", 12000))
    till.post("/purchases", {**sale("ana-1", "B-1", 500), "kind": "return", "lines": [
        {"sku": "unknown", "quantity": 1, "amount": 500}]})  # fmt: skip
    till.post("/activities", {"kind": "trip", "reference": "T-1", "member": "ana-1", "properties": {"days": 2}})
    till.post("/members/ana-1/consents", {"purpose": "sms", "granted": True, "text_version": "7"}, key=None)
    credit()
    till.post("/redemptions", {"member": "ana-1", "reward": "mug"})
    TierChange.objects.create(member_id=member_id, program_id=uuid7(), after="silver", basis=1, at=at)
    TierStatus.objects.update_or_create(pk=member_id, defaults={"tier": "silver", "since": at, "settled_at": at})
    Insight.objects.update_or_create(pk=member_id, defaults={"purchases": 1})
    RuleState.objects.update_or_create(member_id=member_id, rule_code="euro", defaults={"remainder": 3})
    offer = Offer.objects.get()
    OfferAssignment.objects.update_or_create(
        pk=member_id, defaults={"offer": offer, "reason": "new", "assigned_at": at}
    )
    WorkItem.objects.create(source_id=uuid7(), kind="purchase", member_id=member_id, occurred_at=at)
    TierGrant.objects.create(member_id=member_id, tier="silver", reason="Jury", since=at, until=at + timedelta(days=1))
    with transaction.atomic():
        make_household(name="Home", member_ids=[member_id], at=at)
        ask_for_adjustment(
            member_id=member_id, unit=units()[0], amount=9_999, reason="A flood", key="K", by=uuid7(), at=at
        )
    return member_id


def found_at(told: Any, place: str) -> list[Any]:
    """What stands at a place such as purchases.lines, in whichever row."""
    rows = [told]
    for name in place.split("."):
        rows = [
            one for row in rows for value in [row.get(name)] for one in (value if isinstance(value, list) else [value])
        ]
    return [row for row in rows if row]


def test_the_file_has_something_of_every_table_and_no_secret(shop: Client, rich: UUID) -> None:
    one = Phone(shop, rich)
    one.read()
    answer = one.post("/card/me/data/")
    told = json.loads(answer.content)

    assert [place for place in PLACES.values() if not found_at(told, place)] == []
    assert answer["Content-Disposition"].startswith('attachment; filename="my-data-')
    assert "hash" not in answer.content.decode()
    assert [row["name"] for row in told["identity"]] == ["Ana"]
    assert {row["value"] for row in told["identifiers"]} >= {"ana@example.com", "+4915112345678"}
    bought = next(row for row in told["purchases"] if row["document"] == "R-1")
    assert (bought["amount"], bought["lines"][0]["sku"]) == ("120.00", "thing")
    assert any("“A point per euro” gave 120 points." in row["why"] for row in told["movements"])
    assert "card.data_downloaded" in actions(shop)


def test_the_file_tells_of_merged_cards_too_and_of_nobody_else(shop: Client, till: Machine, ana: Answer) -> None:
    join(till, "Old Ana", pos="old-1")
    join(till, "Bob", pos="bob-1", email="bob@example.com")
    till.post("/purchases", sale("old-1", "R-OLD", 100))
    till.post("/purchases", sale("bob-1", "R-BOB", 100))
    credit()
    old = Member.objects.get(identifiers__value="old-1")
    with transaction.atomic():
        merge_members(kept_id=UUID(ana["id"]), double_id=old.pk, at=timezone.now(), by=None, zone=BERLIN)
    text = Phone(shop, ana["id"]).post("/card/me/data/").content.decode()
    assert "R-OLD" in text
    assert "R-BOB" not in text
    assert "Bob" not in text


# ── the app around it ───────────────────────────────────────────────────────────────────────────────────────────────


def test_the_manifest_names_the_house_and_its_icons(shop: Client) -> None:
    answer = browser(shop).get("/card/manifest.webmanifest")
    told = json.loads(answer.content)
    assert answer["Content-Type"].startswith("application/manifest+json")
    assert (told["name"], told["start_url"], told["scope"], told["display"]) == (
        "Acme",
        "/card/",
        "/card/",
        "standalone",
    )
    assert {(one["sizes"], one["purpose"]) for one in told["icons"]} == {
        (size, purpose) for size in ("192x192", "512x512") for purpose in ("any", "maskable")
    }
    for one in told["icons"]:
        drawn = browser(shop).get(one["src"])
        assert drawn["Content-Type"] == "image/png"
        assert "x".join(map(str, Image.open(io.BytesIO(drawn.content)).size)) == one["sizes"]
    assert browser(shop).get("/card/icons/any-4000.png").status_code == 404


def test_the_worker_is_a_script_that_is_asked_for_anew_and_changes_with_the_look(
    shop: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = browser(shop).get("/card/sw.js")
    text = answer.content.decode()
    assert answer["Content-Type"].startswith("text/javascript")
    assert answer["Cache-Control"] == "no-cache"
    assert "/card/history/" in text
    assert "{{" not in text
    monkeypatch.setattr("loyalty_saas.card.app._content", lambda _name: "other")
    assert browser(shop).get("/card/sw.js").content.decode() != text


def test_every_answer_has_a_strict_policy_and_pages_are_kept_nowhere(phone: Phone, shop: Client) -> None:
    for path in (*PAGES, "/card/manifest.webmanifest", "/card/sw.js", "/card/offline/"):
        policy = phone.get(path)["Content-Security-Policy"]
        assert "script-src 'self'" in policy, path
        assert "unsafe" not in policy, path
    stranger = browser(shop)
    for answer in (*(phone.get(path) for path in PAGES), stranger.get("/card/sign-in/"), phone.post("/card/me/data/")):
        assert "no-store" in answer["Cache-Control"]


def test_pages_hold_no_style_and_no_script_of_their_own(phone: Phone) -> None:
    for path in PAGES:
        said = phone.read(path)
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", said), path
