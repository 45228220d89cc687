"""The shelf as the owner sees and changes it, and what was given out."""

import re
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from programs.queries import draft
from rewards.models import Reward, RewardIssue
from rewards.services import capture_redemption, redeem
from tenants.access import Actor
from tenants.models import AuditEvent, Client, Provider
from tests.controls import controls
from tests.http import ClientBrowser
from tests.loyalty_saas.shops import join
from tests.loyalty_saas.test_portal import text
from tests.loyalty_saas.test_program_editor import form_at, send
from tests.machines import Answer, Machine
from tests.people import browser, person

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
def owner(shop: Client) -> ClientBrowser:
    """The portal, open before the owner."""
    return browser(shop, person(Actor.OWNER, client=shop))


def take(member: Any, reward: str = "mug", *, issued: bool = True) -> RewardIssue:
    """A member takes a reward."""
    at = timezone.now()
    with transaction.atomic():
        issue = redeem(member_id=UUID(member["id"]), reward_code=reward, key=f"k-{reward}-{at}", at=at, zone=BERLIN)
        return capture_redemption(issue_id=issue.pk, at=at, zone=BERLIN) if issued else issue


def publish(page: ClientBrowser) -> None:
    assert send(page, "/program/publish/")["Location"] == "/program/"


def test_each_reward_says_its_price_its_value_and_what_a_point_is_worth(owner: ClientBrowser, ana: Answer) -> None:
    take(ana)
    page = text(owner.get("/rewards/"))
    assert "1 given out in the last 30 days" in page
    assert "40 points → A mug (free product), worth €3.00: 1 point is worth €0.075." in page
    assert "40 points 1 given in 30 days" in page
    assert "500 points 0 given in 30 days" in page


def test_a_new_reward_waits_in_the_draft_until_it_is_published(shop: Client, owner: ClientBrowser) -> None:
    answer = send(owner, "/rewards/add/", name="A free drink", kind="product", price="500", value="3.20")
    assert answer["Location"] == "/rewards/"
    assert not Reward.objects.filter(code="a-free-drink").exists()
    page = text(owner.get("/rewards/"))
    assert "1 reward is not live yet." in page
    assert "A free drink New, not live yet 500 points → A free drink (free product), worth €3.20" in page
    publish(owner)
    assert Reward.objects.get(code="a-free-drink").value == 320
    assert "not live yet" not in text(owner.get("/rewards/"))
    assert AuditEvent.objects.filter(client=shop, subject="reward:new").exists()


def test_a_reward_is_taken_off_the_shelf_and_stays_in_the_books(owner: ClientBrowser, ana: Answer) -> None:
    issue = take(ana)
    owner.post("/rewards/edit/mug/shelf/", {"seen": ""})
    assert Reward.objects.get(code="mug").active
    publish(owner)
    assert not Reward.objects.get(code="mug").active
    page = text(owner.get("/rewards/"))
    assert "A mug Off the shelf" in page
    assert f"A mug {ana['name']}" in page
    assert RewardIssue.objects.get().pk == issue.pk
    made = controls(owner.get("/rewards/").content.decode())
    owner.post("/rewards/edit/mug/shelf/", {"seen": made["seen"]})
    publish(owner)
    assert Reward.objects.get(code="mug").active


@pytest.mark.parametrize(
    ("field", "typed", "words"),
    [("price", "0", "Enter at least 1."), ("price", "1.5", "Enter a whole number."), ("value", "3.205", "at most 2 places"), ("name", "", "required")],
)  # fmt: skip
def test_what_cannot_be_is_said_at_its_field(owner: ClientBrowser, field: str, typed: str, words: str) -> None:
    answer = send(owner, "/rewards/edit/mug/", **{field: typed})
    assert answer.status_code == 422
    assert re.search(f'id="id_{field}_errors">.*?{words}', answer.content.decode(), re.DOTALL)
    assert (controls(answer.content.decode())[field], draft()) == ([typed], None)


def test_the_sentence_follows_what_is_typed(owner: ClientBrowser) -> None:
    sent = form_at(owner, "/rewards/edit/mug/", price="100")
    assert "100 points → A mug (free product), worth €3.00: 1 point is worth €0.03." in text(
        owner.post("/rewards/said/", sent)
    )
    assert "while you fill in" in text(owner.post("/rewards/said/", {**sent, "price": "x"}))


def test_others_look_at_the_shelf_and_do_not_change_it(shop: Client, provider: Provider, ana: Answer) -> None:
    take(ana)
    clerk = browser(shop, person(Actor.CLERK, client=shop, factor=False))
    staff = browser(shop, person(Actor.PROVIDER, provider=provider))
    for page in (clerk, staff):
        assert "A mug" in text(page.get("/rewards/"))
        assert "/rewards/edit/" not in page.get("/rewards/").content.decode()
        assert page.post("/rewards/edit/mug/shelf/").status_code == 403
    # Who took it is not the provider's to see.
    assert ana["name"] in text(clerk.get("/rewards/"))
    assert ana["name"] not in text(staff.get("/rewards/"))


def test_without_a_program_the_shelf_says_where_to_begin(acme: Client) -> None:
    page = browser(acme, person(Actor.OWNER, client=acme))
    assert "Begin with a program" in text(page.get("/rewards/"))
    assert page.get("/rewards/add/")["Location"] == "/rewards/"
    assert page.get("/rewards/edit/none/").status_code == 404


def test_what_was_given_out_is_paged_at_a_fixed_cost(owner: ClientBrowser, till: Machine) -> None:
    counts = []
    for number in (1, 26):
        for n in range(number):
            take(join(till, f"Member {number}-{n}", pos=f"m-{number}-{n}"), issued=n % 2 == 0)
        with CaptureQueriesContext(connections["default"]) as asked:
            owner.get("/rewards/")
        counts.append(len(asked))
    assert counts[0] == counts[1]
    assert "Page 1 of 2" in text(owner.get("/rewards/"))
    assert "Member 1-0" in text(owner.get("/rewards/?page=2"))
