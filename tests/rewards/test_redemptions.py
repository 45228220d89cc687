"""A reward for points: reserved, issued or cancelled; never twice for the same points."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import transaction

from members.ledger import NotEnoughPoints
from members.models import LedgerEntry, Member
from members.services.points import HoldSettled
from members.services.refusals import KeyReused
from rewards.models import Reward, RewardIssue
from rewards.services import (
    UnknownRedemption,
    UnknownReward,
    capture_redemption,
    redeem,
    release_overdue,
    void_redemption,
)
from tenants.models import Client
from tests.members.world import BERLIN, NOON, PENNY, adjust, balance_of, crowd, live, new_member, points, tell

HALF_HOUR = timedelta(minutes=30)
FIVE_OFF = {"code": "5-off", "name": "5 off", "kind": "discount", "unit": "points", "price": 500, "value": 500}
MUG = {"code": "mug", "name": "Mug", "kind": "product", "unit": "points", "price": 500, "value": 300}


@pytest.fixture
def shelf(acme: Client) -> None:
    live(rewards=[FIVE_OFF, MUG])


def ask_for(who: Member, code: str = "5-off", *, key: str = "K") -> RewardIssue:
    with transaction.atomic():
        return redeem(member_id=who.pk, reward_code=code, key=key, at=NOON, zone=BERLIN, location="main")


def fetch(issue: RewardIssue) -> RewardIssue:
    with transaction.atomic():
        return capture_redemption(issue_id=issue.pk, at=NOON, zone=BERLIN)


def cancel(issue: RewardIssue) -> RewardIssue:
    with transaction.atomic():
        return void_redemption(issue_id=issue.pk, at=NOON)


def test_a_reward_is_reserved_then_issued_and_its_points_are_spent_once(shelf: None, ana: Member) -> None:
    adjust(ana, 700)
    issue = ask_for(ana)
    assert (issue.state, balance_of(ana).available, points(ana)) == ("reserved", 200, 700)
    assert len(issue.code) == 16

    assert [fetch(issue).state, fetch(issue).state] == ["issued", "issued"]
    assert (points(ana), LedgerEntry.objects.filter(kind="spend").count()) == (200, 1)
    with pytest.raises(HoldSettled):
        cancel(issue)


def test_a_cancelled_reward_gives_its_points_free_and_is_not_issued(shelf: None, ana: Member) -> None:
    adjust(ana, 700)
    issue = ask_for(ana)
    assert [cancel(issue).state, cancel(issue).state] == ["cancelled", "cancelled"]

    assert balance_of(ana).available == 700
    with pytest.raises(HoldSettled):
        fetch(issue)


def test_a_reservation_that_nobody_fetches_runs_out(shelf: None, ana: Member) -> None:
    adjust(ana, 1100)
    left, fetched = ask_for(ana, key="left"), ask_for(ana, key="fetched")
    fetch(fetched)
    with transaction.atomic():
        assert release_overdue(at=NOON + HALF_HOUR) == 1
        assert release_overdue(at=NOON + HALF_HOUR) == 0

    assert dict(RewardIssue.objects.values_list("pk", "state")) == {left.pk: "expired", fetched.pk: "issued"}
    assert balance_of(ana).available == 600


def test_the_same_key_reserves_once_and_for_the_same_reward_only(shelf: None, ana: Member) -> None:
    adjust(ana, 2000)
    assert ask_for(ana) == ask_for(ana)
    with pytest.raises(KeyReused):
        ask_for(ana, "mug")

    assert balance_of(ana).held == 500


def test_what_cannot_be_had_is_refused(shelf: None, ana: Member) -> None:
    adjust(ana, 499)
    with pytest.raises(NotEnoughPoints) as refusal:
        ask_for(ana)
    assert (refusal.value.asked, refusal.value.available) == (500, 499)
    with pytest.raises(UnknownReward):
        ask_for(ana, "yacht")
    with pytest.raises(UnknownRedemption), transaction.atomic():
        capture_redemption(issue_id=uuid4(), at=NOON, zone=BERLIN)

    assert not RewardIssue.objects.exists()


def test_a_reward_that_a_new_version_does_not_name_is_off_the_shelf_but_not_lost(shelf: None, ana: Member) -> None:
    adjust(ana, 700)
    issue = ask_for(ana)
    live(PENNY, rewards=[MUG])

    assert dict(Reward.objects.values_list("code", "active")) == {"5-off": False, "mug": True}
    with pytest.raises(UnknownReward):
        ask_for(ana, key="other")
    assert fetch(issue).state == "issued"


def _rush(client: Client, *, rounds: int) -> tuple[int, list[object]]:
    """Twenty tills redeem the same member's balance at once, good for one, in so many rounds; how many got it."""
    got, strange = 0, []
    with crowd(20, client) as people:
        for round_ in range(rounds):
            who = new_member(f"member {round_}")
            adjust(who, 500)

            def deed(place: int, who: Member = who) -> RewardIssue:
                issue = redeem(member_id=who.pk, reward_code="5-off", key=f"{who.pk} {place}", at=NOON, zone=BERLIN)
                return capture_redemption(issue_id=issue.pk, at=NOON, zone=BERLIN)

            ends = people.act(deed)
            got += sum(isinstance(end, RewardIssue) for end in ends)
            strange += [end for end in ends if not isinstance(end, RewardIssue | NotEnoughPoints)]
    return got, strange


def test_r04_twenty_tills_redeem_a_balance_good_for_one_and_one_gets_it(shelf: None, acme: Client) -> None:
    assert _rush(acme, rounds=20) == (20, [])

    assert set(tell(RewardIssue.objects.all(), "state")) == {"issued"}
    assert LedgerEntry.objects.filter(kind="spend").count() == RewardIssue.objects.count() == 20


def test_r04_negative_control_without_the_lock_more_than_one_tries_to_pay(
    shelf: None, acme: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What our lock keeps out then meets the database's own laws, as errors nobody should see at a till."""
    from members import ledger

    monkeypatch.setattr(ledger, "lock", lambda _ids: None)
    got, strange = _rush(acme, rounds=5)

    assert got > 5 or strange
