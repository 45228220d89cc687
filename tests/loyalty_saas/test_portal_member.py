"""One member's page: what it shows, and what a manager puts right there: points, identity, ways to be found, doubles."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connections, transaction
from django.utils import timezone

from loyalty_saas.portal.shared import zone_of
from members.models import CardLink, Identifier, LedgerEntry, Member, Purchase
from members.services import points
from members.services.cards import check_link
from members.services.enrolment import NewMember, enrol
from members.services.households import make_household
from members.services.points import adjust_points, hold_points
from members.services.transfers import transfer_points
from programs.queries import Unit, units
from rewards.services.redemptions import redeem
from tenants.access import Actor
from tenants.context import use_client
from tenants.keys import uuid7
from tenants.models import AuditEvent, Client
from tests.conftest import NewClient
from tests.http import ClientBrowser
from tests.loyalty_saas.portals import at_portal, cost, words
from tests.loyalty_saas.shops import credit, join, points_of, sale
from tests.machines import Answer, Machine


@pytest.fixture
def owner(shop: Client) -> ClientBrowser:
    """The portal, open before the owner."""
    return at_portal(shop)


@pytest.fixture
def manager(shop: Client) -> ClientBrowser:
    """The portal, open before a manager."""
    return at_portal(shop, Actor.MANAGER)


def buy(till: Machine, member: Answer, document: str, **more: Any) -> UUID:
    """A sale, and its points given; the purchase's id."""
    answer = till.post("/purchases", sale(member["id"], document, **more))
    assert answer.status == 201, answer.raw
    credit()
    return Purchase.objects.get(document=document).pk


def adjustment(page: ClientBrowser, member: Answer, amount: str, **more: str) -> Any:
    """The form for points as somebody fills it in: opened, filled, sent."""
    address = f"/members/{member['id']}/adjust/"
    key = re.search(r'name="key" value="([0-9a-f-]{36})"', page.get(address).content.decode())
    assert key
    given = {"key": key[1], "unit": "points", "way": "give", "amount": amount, "reason": "Birthday cake forgotten"}
    return page.post(address, {**given, **more})


# ── the page ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_statement_is_narrowed_to_one_kind(owner: ClientBrowser, till: Machine, ana: Answer) -> None:
    buy(till, ana, "R-1")
    adjustment(owner, ana, "7")
    address = f"/members/{ana['id']}/"
    assert "purchase R-1" in words(owner.get(address, {"kind": "earned"}))
    statement = words(owner.get(address, {"kind": "hand"})).partition("What is there, by expiry")[0]
    assert ("7 points added by hand: Birthday cake forgotten" in statement, "R-1" in statement) == (True, False)
    assert "Nothing of this kind." in words(owner.get(address, {"kind": "expired"}))


def test_the_purchases_are_there_with_what_each_earned(owner: ClientBrowser, till: Machine, ana: Answer) -> None:
    purchase = buy(till, ana, "R-1", amount=2500)
    page = owner.get(f"/members/{ana['id']}/?tab=purchases")
    assert re.search(r"R-1 .* €25.00 \+25 points", words(page))
    assert f"/receipts/{purchase}/" in page.content.decode()
    assert "1 purchase for €25.00." in words(page)


def test_tiers_and_rewards_are_there(shop: Client, owner: ClientBrowser, till: Machine, ana: Answer) -> None:
    buy(till, ana, "R-1", amount=60_000)
    with transaction.atomic():
        redeem(member_id=UUID(ana["id"]), reward_code="mug", key="one", at=timezone.now(), zone=zone_of(shop))
    said = words(owner.get(f"/members/{ana['id']}/?tab=rewards"))
    for one in ("Silver held now", "Reached Silver", "A mug", "Reserved"):
        assert one in said


@pytest.mark.parametrize("tab", ["points", "purchases", "rewards", "person"])
def test_each_part_costs_the_same_for_any_length(owner: ClientBrowser, till: Machine, ana: Answer, tab: str) -> None:
    counts = []
    for number in (1, 8):
        for n in range(number):
            buy(till, ana, f"R-{number}-{n}")
        counts.append(cost(owner, f"/members/{ana['id']}/?tab={tab}"))
    assert counts[0] == counts[1] <= 20


def test_a_clerk_reads_and_changes_nothing(shop: Client, ana: Answer) -> None:
    clerk = at_portal(shop, Actor.CLERK)
    body = clerk.get(f"/members/{ana['id']}/?tab=person").content.decode()
    assert not re.search(r"/(adjust|identity|merge|card|close|remove)/", body)
    for end in ("adjust", "identity", "merge", "card", "close"):
        assert clerk.get(f"/members/{ana['id']}/{end}/").status_code == 403


@pytest.mark.parametrize("end", ["adjust", "identity", "merge", "card", "close"])
def test_a_closed_membership_is_read_and_not_changed(owner: ClientBrowser, ana: Answer, end: str) -> None:
    Member.objects.filter(pk=ana["id"]).update(status="closed")
    assert owner.get(f"/members/{ana['id']}/").status_code == 200
    assert owner.get(f"/members/{ana['id']}/{end}/").status_code == 404


# ── receipts ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_receipt_tells_each_line_its_points_and_what_came_back(
    owner: ClientBrowser, till: Machine, ana: Answer
) -> None:
    lines = [
        {"sku": "latte", "category": "coffee", "quantity": 2, "amount": 800},
        {"sku": "scone", "category": "pastry", "quantity": 1, "amount": 300},
    ]
    purchase = buy(till, ana, "R-1", lines=lines)
    back = {"sku": "latte", "quantity": 1, "amount": 400}
    answer = till.post("/purchases", {"kind": "return", "document": "B-1", "member": ana["id"], "lines": [back]})
    assert answer.status == 201, answer.raw
    credit()
    said = words(owner.get(f"/receipts/{purchase}/"))
    for one in (
        "latte 1 came back coffee 2 €8.00 +8 points +2 stamps",
        "scone pastry 1 €3.00 +3 points",
        "“A point per euro” gave 11 points.",
        "What came back of it B-1",
    ):
        assert one in said, one
    returned = words(owner.get(f"/receipts/{Purchase.objects.get(document='B-1').pk}/"))
    assert "4 points taken back with return B-1." in returned


def test_r20_another_clients_receipt_is_not_there(owner: ClientBrowser, new_client: NewClient) -> None:
    assert owner.get(f"/receipts/{uuid7()}/").status_code == 404


# ── points by hand ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_points_are_given_with_a_reason_and_stand_in_the_record(
    shop: Client, owner: ClientBrowser, till: Machine, ana: Answer
) -> None:
    answer = adjustment(owner, ana, "25")
    assert (answer.status_code, answer["Location"]) == (302, f"/members/{ana['id']}/")
    assert points_of(till, ana["id"]) == 75
    event = AuditEvent.objects.get(client=shop, action="points.adjusted", subject=ana["id"])
    assert (event.detail["amount"], event.detail["unit"]) == (25, "points")
    assert LedgerEntry.objects.get(kind="adjust").made_by is not None


def test_points_are_taken_but_no_more_than_there_are(owner: ClientBrowser, till: Machine, ana: Answer) -> None:
    assert adjustment(owner, ana, "20", way="take").status_code == 302
    refused = adjustment(owner, ana, "31", way="take")
    assert (refused.status_code, "Only 30 can be taken" in words(refused)) == (422, True)
    assert points_of(till, ana["id"]) == 30


def test_a_form_sent_twice_counts_once(shop: Client, owner: ClientBrowser, till: Machine, ana: Answer) -> None:
    given = {"key": str(uuid4()), "unit": "points", "way": "give", "amount": "5", "reason": "Once"}
    for _time in range(2):
        assert owner.post(f"/members/{ana['id']}/adjust/", given).status_code == 302
    assert points_of(till, ana["id"]) == 55
    assert AuditEvent.objects.filter(client=shop, action="points.adjusted").count() == 1
    other = owner.post(f"/members/{ana['id']}/adjust/", {**given, "amount": "6"})
    assert (other.status_code, points_of(till, ana["id"])) == (422, 55)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"amount": "0"}, "amount"),
        ({"amount": "-5"}, "amount"),
        ({"amount": "1.5"}, "amount"),
        ({"amount": "many"}, "amount"),
        ({"amount": "NaN"}, "amount"),
        ({"reason": " "}, "reason"),
        ({"unit": "gold"}, "unit"),
        ({"way": "steal"}, "way"),
    ],
)
def test_what_is_wrong_with_an_adjustment_is_said_at_its_field(
    owner: ClientBrowser, till: Machine, ana: Answer, given: dict[str, str], field: str
) -> None:
    answer = adjustment(owner, ana, given.pop("amount", "5"), **given)
    assert (answer.status_code, f'id="id_{field}_errors"' in answer.content.decode()) == (422, True)
    assert points_of(till, ana["id"]) == 50


def test_r33_a_manager_gives_so_much_at_a_time(manager: ClientBrowser, till: Machine, ana: Answer) -> None:
    assert adjustment(manager, ana, "500").status_code == 302
    refused = adjustment(manager, ana, "501")
    assert (refused.status_code, "500 at a time is the most that one person may do alone" in words(refused)) == (
        422,
        True,
    )
    assert points_of(till, ana["id"]) == 550


def test_r33_a_manager_gives_so_much_a_day_over_all_members(
    shop: Client, manager: ClientBrowser, owner: ClientBrowser, till: Machine, ana: Answer
) -> None:
    bea = join(till, "Bea")
    for member in (ana, bea, ana, bea):
        assert adjustment(manager, member, "500").status_code == 302
    refused = adjustment(manager, bea, "1")
    assert (refused.status_code, "0 of it are left today" in words(refused)) == (422, True)
    assert adjustment(at_portal(shop, Actor.MANAGER), bea, "1").status_code == 302
    assert adjustment(owner, bea, "1").status_code == 302


def test_r33_what_was_given_yesterday_does_not_count_today(shop: Client, ana: Answer) -> None:
    by, zone, now = uuid7(), zone_of(shop), timezone.now()
    with transaction.atomic():
        points.adjust_points(member_id=UUID(ana["id"]), unit=_points(), amount=300, reason="Today", key="a", at=now,
                             zone=zone, by=by)  # fmt: skip
        points.adjust_points(member_id=UUID(ana["id"]), unit=_points(), amount=900, reason="Then", key="b",
                             at=now - timedelta(days=1), zone=zone, by=by)  # fmt: skip
        points.adjust_points(member_id=UUID(ana["id"]), unit=_points(), amount=70, reason="Other", key="c", at=now,
                             zone=zone, by=uuid7())  # fmt: skip
        points.adjust_points(member_id=UUID(ana["id"]), unit=_points(), amount=-100, reason="Taken", key="d", at=now,
                             zone=zone, by=by)  # fmt: skip
    assert points.given_by_hand(by=by, at=now, zone=zone) == 300


def _points() -> Unit:
    return next(unit for unit in units() if unit.code == "points")


def test_r33_many_awards_at_once_stay_within_the_day(shop: Client, ana: Answer) -> None:
    """Ten times 500 by one person at the same moment: four fit, whoever comes first."""
    by, unit = uuid7(), _points()
    with transaction.atomic():
        members = [
            enrol(new=NewMember(identifiers={}, name=f"M{n}"), region="DE", at=timezone.now()) for n in range(10)
        ]

    def give(member: Member) -> bool:
        try:
            with use_client(shop), transaction.atomic():
                points.adjust_by_hand(member_id=member.pk, unit=unit, amount=500, reason="Rush", key=f"rush:{member.pk}",
                                      limits=points.MANAGERS_LIMITS, by=by, at=timezone.now(), zone=zone_of(shop))  # fmt: skip
        except points.OverLimit:
            return False
        finally:
            connections.close_all()
        return True

    with ThreadPoolExecutor(5) as pool:
        assert sum(pool.map(give, members)) == 4


def test_r33_above_the_owners_limit_a_second_person_is_needed(owner: ClientBrowser, till: Machine, ana: Answer) -> None:
    assert adjustment(owner, ana, "10000").status_code == 302
    refused = adjustment(owner, ana, "10001")
    assert (refused.status_code, "the most that one person may do alone" in words(refused)) == (422, True)
    assert points_of(till, ana["id"]) == 10_050


# ── who it is ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_name_and_birthday_are_put_right(shop: Client, owner: ClientBrowser, ana: Answer) -> None:
    given = {"name": "Ana Maria", "birthday": "1988-04-01", "language": "en"}
    assert owner.post(f"/members/{ana['id']}/identity/", given).status_code == 302
    page = words(owner.get(f"/members/{ana['id']}/?tab=person"))
    assert ("Ana Maria" in page, "Apr 1, 1988" in page) == (True, True)
    event = AuditEvent.objects.get(client=shop, action="member.identity_changed")
    assert sorted(event.detail["fields"]) == ["birthday", "language", "name"]
    assert "Ana Maria" not in str(event.detail)


def test_a_way_to_be_found_is_added_and_taken_away(shop: Client, owner: ClientBrowser, ana: Answer) -> None:
    address = f"/members/{ana['id']}/identifiers/"
    assert owner.post(address, {"kind": "phone", "value": "0151 999 888 77"}).status_code == 302
    added = Identifier.objects.get(value="+4915199988877")
    assert f"/members/{ana['id']}/" in owner.get("/members/", {"q": "015199988877"}).content.decode()
    assert owner.post(f"{address}{added.pk}/remove/").status_code == 302
    assert not Identifier.objects.filter(pk=added.pk).exists()
    assert "This is not there any more." in words(owner.post(f"{address}{added.pk}/remove/", follow=True))
    actions = AuditEvent.objects.filter(client=shop, action__startswith="member.identifier").values_list(
        "action", flat=True
    )
    assert list(actions.order_by("sequence")) == ["member.identifier_added", "member.identifier_removed"]


def test_what_leads_to_another_is_refused_and_stays_typed(owner: ClientBrowser, till: Machine, ana: Answer) -> None:
    bea = join(till, "Bea")
    given = {"kind": "email", "value": "ANA@example.com"}
    answer = owner.post(f"/members/{bea['id']}/identifiers/", given)
    body = answer.content.decode()
    assert (answer.status_code, "Another member has this identifier." in words(answer)) == (422, True)
    assert 'value="ANA@example.com"' in body


def test_nobody_elses_identifier_is_taken_away(owner: ClientBrowser, till: Machine, ana: Answer) -> None:
    bea = join(till, "Bea")
    mine = Identifier.objects.filter(member=ana["id"]).first()
    assert mine
    owner.post(f"/members/{bea['id']}/identifiers/{mine.pk}/remove/")
    assert Identifier.objects.filter(pk=mine.pk).exists()


# ── two into one ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_two_memberships_are_compared_and_made_one(
    shop: Client, owner: ClientBrowser, till: Machine, ana: Answer
) -> None:
    double = join(till, "Anna", email="anna@example.com")
    buy(till, double, "R-1", amount=1000)
    address = f"/members/{ana['id']}/merge/"
    found = owner.get(address, {"q": "an"}).content.decode()
    assert (f"with={double['id']}" in found, f"with={ana['id']}" in found) == (True, False)
    compared = words(owner.get(address, {"with": double["id"]}))
    assert re.search(r"stays .* Points 50 .* goes into the other .* Points 60", compared)
    assert owner.post(address, {"double": double["id"]})["Location"] == f"/members/{ana['id']}/"
    assert points_of(till, ana["id"]) == 110
    assert owner.get(f"/members/{double['id']}/")["Location"] == f"/members/{ana['id']}/"
    assert "R-1" in words(owner.get(f"/members/{ana['id']}/?tab=purchases"))
    event = AuditEvent.objects.get(client=shop, action="member.merged", subject=ana["id"])
    assert event.detail == {"double": double["id"]}


def test_a_merge_that_cannot_be_says_why_and_changes_nothing(
    shop: Client, owner: ClientBrowser, till: Machine, ana: Answer
) -> None:
    double = join(till, "Anna")
    with transaction.atomic():
        redeem(member_id=UUID(double["id"]), reward_code="mug", key="one", at=timezone.now(), zone=zone_of(shop))
    answer = owner.post(f"/members/{ana['id']}/merge/", {"double": double["id"]})
    assert (answer.status_code, "Nothing has changed." in words(answer)) == (422, True)
    assert Member.objects.get(pk=double["id"]).status == "active"


@pytest.mark.parametrize("other", ["nonsense", "", "00000000-0000-7000-8000-000000000000"])
def test_nobody_is_merged_with_nobody(owner: ClientBrowser, ana: Answer, other: str) -> None:
    assert owner.post(f"/members/{ana['id']}/merge/", {"double": other}).status_code == 200
    assert owner.post(f"/members/{ana['id']}/merge/", {"double": ana["id"]}).status_code == 200
    assert Member.objects.get(pk=ana["id"]).status == "active"


# ── the card ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_card_link_opens_this_members_card(shop: Client, manager: ClientBrowser, ana: Answer) -> None:
    assert "<svg" in manager.get(f"/members/{ana['id']}/card/").content.decode()
    assert not CardLink.objects.exists()
    answer = manager.post(f"/members/{ana['id']}/card/")
    body = answer.content.decode()
    link = re.search(r'value="(http[^"]+/card/open/([^/"]+)/)"', body)
    assert link
    assert answer["Cache-Control"] == "no-store"
    assert check_link(token=link[2], at=timezone.now()).member_id == UUID(ana["id"])
    assert re.search(r'<svg[^>]*class="block w-full h-auto"', body)
    assert AuditEvent.objects.filter(client=shop, action="member.card_link_made", subject=ana["id"]).exists()
    assert link[2] not in str(list(AuditEvent.objects.filter(client=shop).values()))


# ── what moves lot by lot ───────────────────────────────────────────────────────────────────────────────────────────


def _statement(page: Any) -> list[str]:
    """The lines of the statement, one for each movement."""
    body = page.content.decode().partition(">Statement<")[2].partition("What is there, by expiry")[0]
    return [re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", line)).strip() for line in body.split("<li")[1:]]


def test_a_transfer_of_many_lots_stands_once_in_both_statements(
    shop: Client, owner: ClientBrowser, till: Machine, ana: Answer
) -> None:
    for number in range(3):
        buy(till, ana, f"R-{number}")
    bo = join(till, "Bo", pos="bo-1")
    unit = next(unit for unit in units() if unit.code == "points")
    with transaction.atomic():
        for key, amount in (("first", 65), ("second", 5)):
            transfer_points(
                from_id=UUID(ana["id"]),
                to_id=UUID(bo["id"]),
                unit=unit,
                amount=amount,
                key=key,
                reason=f"The {key} present",
                at=timezone.now(),
                zone=zone_of(shop),
            )
    assert LedgerEntry.objects.filter(kind="move").count() > 4

    gave, got = (_statement(owner.get(f"/members/{one['id']}/?kind=hand")) for one in (ana, bo))
    assert [line for line in gave if "65 points went to member" in line and "−65" in line and "15 Points" in line]
    assert (len(gave), len(got)) == (2, 2), (gave, got)
    assert "5 points came from member" in got[0]
    assert "+65" in got[1]


def test_what_two_of_a_household_lent_is_told_one_by_one(
    shop: Client, owner: ClientBrowser, till: Machine, ana: Answer
) -> None:
    mates = [join(till, name, pos=name) for name in ("bo", "cy")]
    for place in range(2):
        buy(till, mates[0], f"B-{place}")
    with transaction.atomic():
        ids = [UUID(one["id"]) for one in (ana, *mates)]
        make_household(name="Home", member_ids=ids, at=timezone.now())
        adjust_points(
            member_id=ids[1],
            unit=next(unit for unit in units() if unit.code == "points"),
            amount=-45,
            reason="-",
            key="less",
            at=timezone.now(),
            zone=zone_of(shop),
            by=None,
        )
        hold_points(
            member_id=ids[0],
            unit=next(unit for unit in units() if unit.code == "points"),
            amount=120,
            key="together",
            at=timezone.now(),
            zone=zone_of(shop),
        )
    lent = _statement(owner.get(f"/members/{ana['id']}/?kind=hand"))
    told = [re.search(r"(\d+) points came from the household, from member (\w+)", line) for line in lent]
    assert all(told), lent
    by_mate = {one["number"]: sum(int(line[1]) for line in told if line and line[2] == one["number"]) for one in mates}
    # The oldest points go first: 5 of Bo's joining, all of Cy's, then of Bo's purchases.
    assert by_mate == {mates[0]["number"]: 20, mates[1]["number"]: 50}
    assert len(lent) == 3, lent
