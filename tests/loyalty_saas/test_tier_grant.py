"""A tier given by hand, in the portal and through the API: with a reason and an end, and taken back before it."""

from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import transaction
from django.utils import timezone

from loyalty_saas.portal.shared import zone_of
from members.models import TierGrant
from members.services.enrolment import merge_members
from tenants.access import Actor
from tenants.models import AuditEvent, Client
from tests.conftest import NewClient
from tests.http import ClientBrowser
from tests.loyalty_saas.portals import at_portal, words
from tests.loyalty_saas.shops import credit, join, open_shop, sale
from tests.machines import Answer, Machine


@pytest.fixture
def owner(shop: Client) -> ClientBrowser:
    """The portal, open before the owner."""
    return at_portal(shop)


def in_days(count: int) -> date:
    return timezone.localdate() + timedelta(days=count)


def grant(page: ClientBrowser, member: Answer, **more: str) -> Any:
    """The form as somebody fills it in."""
    given = {"tier": "silver", "last_day": in_days(30).isoformat(), "reason": "Sang at our wedding"}
    return page.post(f"/members/{member['id']}/tier/", {**given, **more})


def tier_of(till: Machine, member: str = "ana-1") -> str | None:
    """The code of the tier that machines read."""
    tier = till.get(f"/members/{member}/tier")["tier"]
    return tier["code"] if isinstance(tier, dict) else tier


# ── in the portal ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_owner_gives_a_tier_until_a_day_and_everybody_reads_it(
    shop: Client, owner: ClientBrowser, till: Machine, ana: Answer
) -> None:
    page = words(owner.get(f"/members/{ana['id']}/tier/"))
    assert ("Holds no tier now." in page, "Take back" in page) == (True, False)

    assert grant(owner, ana).status_code == 302

    assert tier_of(till) == "silver"
    assert "Silver was given until" in words(owner.get(f"/members/{ana['id']}/?tab=rewards"))
    page = words(owner.get(f"/members/{ana['id']}/tier/"))
    assert "Holds Silver now." in page
    assert "Sang at our wedding" in page
    event = AuditEvent.objects.get(client=shop, action="member.tier_given")
    assert (event.subject, event.detail["tier"], event.detail["reason"]) == (ana["id"], "silver", "Sang at our wedding")


def test_a_given_tier_is_taken_back_and_the_earned_one_is_left(
    shop: Client, owner: ClientBrowser, till: Machine, ana: Answer
) -> None:
    grant(owner, ana)
    assert owner.post(f"/members/{ana['id']}/tier/take-back/").status_code == 302
    assert tier_of(till) is None
    assert AuditEvent.objects.filter(client=shop, action="member.tier_taken_back", subject=ana["id"]).exists()

    grant(owner, ana)
    till.post("/purchases", sale("ana-1", "R-1", 60_000))
    credit()
    owner.post(f"/members/{ana['id']}/tier/take-back/")
    assert tier_of(till) == "silver"


def test_taking_back_what_nobody_gave_changes_nothing_and_says_so(
    shop: Client, owner: ClientBrowser, ana: Answer
) -> None:
    owner.post(f"/members/{ana['id']}/tier/take-back/")
    assert "No tier is given to this member." in words(owner.get(f"/members/{ana['id']}/"))
    assert not AuditEvent.objects.filter(client=shop, action="member.tier_taken_back").exists()


def test_a_given_tier_that_equals_the_earned_one_is_named_too(owner: ClientBrowser, till: Machine, ana: Answer) -> None:
    till.post("/purchases", sale("ana-1", "R-1", 60_000))
    credit()
    grant(owner, ana)
    assert "Silver was given until" in words(owner.get(f"/members/{ana['id']}/?tab=rewards"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"tier": "gold"}, "Select a valid choice"),
        ({"tier": ""}, "This field is required"),
        ({"last_day": ""}, "This field is required"),
        ({"last_day": "yesterday"}, "Enter a valid date"),
        ({"last_day": "2020-01-01"}, "Choose today or a later day."),
        ({"last_day": "2199-01-01"}, "A tier can be given for two years at most."),
        ({"reason": "  "}, "This field is required"),
    ],
)
def test_what_is_wrong_is_said_at_its_field_and_what_was_typed_is_kept(
    owner: ClientBrowser, ana: Answer, given: dict[str, str], said: str
) -> None:
    refused = grant(owner, ana, **given)
    assert (refused.status_code, said in words(refused)) == (422, True), words(refused)
    assert 'aria-invalid="true"' in refused.content.decode()
    if "reason" not in given:
        assert "Sang at our wedding" in refused.content.decode()
    assert not TierGrant.objects.exists()


def test_only_a_manager_gives_tiers_and_only_to_members_of_the_house(
    shop: Client, owner: ClientBrowser, ana: Answer, new_client: NewClient
) -> None:
    clerk, manager = (at_portal(shop, role) for role in (Actor.CLERK, Actor.MANAGER))
    assert [grant(clerk, ana).status_code, grant(manager, ana).status_code] == [403, 302]
    assert clerk.post(f"/members/{ana['id']}/tier/take-back/").status_code == 403
    stranger = Answer(201, {"id": "01a204f5-954f-72a2-932c-0804d3ce5c3f"}, b"", {})
    assert grant(owner, stranger).status_code == 404
    assert owner.get(f"/members/{ana['id']}/tier/take-back/").status_code == 405
    other = new_client("Harbor")
    assert grant(at_portal(other), ana).status_code == 404
    assert TierGrant.objects.count() == 1


def test_a_program_without_tiers_has_none_to_give(shop: Client, owner: ClientBrowser, ana: Answer) -> None:
    open_shop({"name": "Plain", "units": [{"code": "points", "name": "Points", "kind": "points"}]})
    assert owner.get(f"/members/{ana['id']}/tier/").status_code == 404


# ── through the API ─────────────────────────────────────────────────────────────────────────────────────────────────


def given_by_api(till: Machine, member: str = "ana-1", *, key: str | None = "new", **more: Any) -> Answer:
    body = {"tier": "silver", "last_day": in_days(30).isoformat(), "reason": "A prize"}
    return till.post(f"/members/{member}/tier-grant", {**body, **more}, key=key)


def test_a_machine_gives_shows_and_takes_back_a_tier(shop: Client, till: Machine, ana: Answer) -> None:
    nothing = {"member": ana["id"], "tier": None, "reason": None, "since": None, "last_day": None}
    assert till.get("/members/ana-1/tier-grant").body == nothing

    made = given_by_api(till)
    assert (made.status, made["tier"], made["reason"], made["last_day"]) == (
        201,
        "silver",
        "A prize",
        in_days(30).isoformat(),
    )
    assert till.get("/members/ana-1/tier-grant").body == made.body
    assert tier_of(till) == "silver"

    taken = till.send("DELETE", "/members/ana-1/tier-grant")
    assert (taken.status, taken.body, tier_of(till)) == (200, nothing, None)
    again = till.send("DELETE", "/members/ana-1/tier-grant")
    assert (again.status, again["code"]) == (422, "refused")
    actions = AuditEvent.objects.filter(client=shop, subject=ana["id"], action__startswith="member.tier_")
    assert sorted(actions.values_list("action", flat=True)) == ["member.tier_given", "member.tier_taken_back"]


def test_r05_the_same_request_gives_once(shop: Client, till: Machine, ana: Answer) -> None:
    first, again, other = (given_by_api(till, key="K", reason=reason) for reason in ("A", "A", "B"))
    assert (first.status, again.status, again.body == first.body) == (201, 201, True)
    assert (other.status, other["code"]) == (422, "key_reused")
    assert TierGrant.objects.count() == 1
    assert AuditEvent.objects.filter(client=shop, action="member.tier_given").count() == 1


@pytest.mark.parametrize(
    ("given", "status", "fields"),
    [
        ({"tier": "gold"}, 422, ["tier"]),
        ({"tier": None}, 400, ["tier"]),
        ({"last_day": "tomorrow"}, 400, ["last_day"]),
        ({"last_day": "2020-01-01"}, 422, ["last_day"]),
        ({"reason": ""}, 400, ["reason"]),
        ({"until": "2027-01-01"}, 400, ["until"]),
    ],
)
def test_a_machine_is_told_which_field_is_wrong(
    till: Machine, ana: Answer, given: dict[str, Any], status: int, fields: list[str]
) -> None:
    answer = given_by_api(till, **given)
    assert (answer.status, answer.fields) == (status, fields), answer.raw
    assert not TierGrant.objects.exists()


def test_a_machine_needs_the_scope_and_the_house(
    shop: Client, till: Machine, ana: Answer, new_client: NewClient
) -> None:
    reader = Machine(shop, scopes=["points:read"])
    assert [given_by_api(reader).status, reader.get("/members/ana-1/tier-grant").status] == [403, 200]
    assert reader.send("DELETE", "/members/ana-1/tier-grant").status == 403
    assert given_by_api(till, "nobody").status == 404
    other = Machine(new_client("Harbor"))
    assert given_by_api(other, ana["id"]).status == 404
    assert not TierGrant.objects.exists()


# ── two memberships become one ──────────────────────────────────────────────────────────────────────────────────────

LEVELS = [
    {"code": code, "name": code.title(), "enter": enter} for code, enter in (("silver", 50_000), ("gold", 90_000))
]
TWO_TIERS = {
    "name": "Two tiers",
    "units": [{"code": "points", "name": "Points", "kind": "points", "may_owe": True}],
    "tiers": {"basis": "spend", "period_months": 12, "levels": LEVELS},
}


@pytest.mark.parametrize(
    ("kept", "double", "stays"),
    [
        (("silver", 30), ("gold", 10), ("gold", 10)),
        (("gold", 10), ("silver", 30), ("gold", 10)),
        (("silver", 10), ("silver", 30), ("silver", 30)),
        (None, ("silver", 10), ("silver", 10)),
        (("silver", 10), None, ("silver", 10)),
    ],
)
def test_of_two_given_tiers_the_better_one_stays_with_the_member_kept(
    shop: Client,
    till: Machine,
    ana: Answer,
    kept: tuple[str, int] | None,
    double: tuple[str, int] | None,
    stays: tuple[str, int],
) -> None:
    open_shop(TWO_TIERS)
    bo = join(till, "Bo", pos="bo-1")
    for who, given in (("ana-1", kept), ("bo-1", double)):
        if given:
            made = given_by_api(till, who, tier=given[0], last_day=in_days(given[1]).isoformat())
            assert made.status == 201, made.raw
    with transaction.atomic():
        merge_members(kept_id=UUID(ana["id"]), double_id=UUID(bo["id"]), at=timezone.now(), by=None, zone=zone_of(shop))
    shown = till.get("/members/ana-1/tier-grant")
    assert (shown["tier"], shown["last_day"]) == (stays[0], in_days(stays[1]).isoformat())
    assert tier_of(till) == stays[0]
    assert not TierGrant.objects.filter(member=bo["id"], ended_at=None).exists()
