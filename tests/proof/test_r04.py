"""R04: points are spent once, however many ask for them at the same moment, by HTTP."""

import secrets
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from django.utils import timezone

from members import ledger
from members.models import LedgerEntry, Member
from rewards.models import RewardIssue
from rewards.services import redeem
from tenants.context import use_client
from tenants.models import Client
from tests.members import invariants
from tests.members.world import BERLIN, adjust, crowd, hold, new_member, points
from tests.proof.callers import Caller, at_once, codes
from tests.proof.record import Record, often

ROUNDS = often(5, 200)
PRICE = 40
NO = {(409, "not_enough_points")}
Answers = list[requests.Response]


class Rush:
    """One kind of rush: how many come, what they find, and what must have come of it."""

    callers = 50

    def __init__(self, till: Caller, tills: list[Caller]) -> None:
        self.till, self.tills = till, tills[: self.callers]
        self.member: Member = new_member(secrets.token_hex(6))
        self.prepare()

    def prepare(self) -> None:
        """What is there before."""
        adjust(self.member, PRICE)

    def deed(self, place: int) -> Callable[[], requests.Response]:
        """What the caller at this place does."""
        return self.reserve(place)

    def judge(self, answers: Answers) -> None:
        """Exactly one had success, and the others were told why not."""
        told = Counter(codes(answers))
        assert sum(number for (status, _code), number in told.items() if status < 300) == 1, told
        assert {code for code in told if code[0] >= 300} == NO, told

    def reserve(self, place: int) -> Callable[[], requests.Response]:
        body = {"member": str(self.member.pk), "reward": "mug"}
        return lambda: self.tills[place].tell("/redemptions", body)

    def take(self, place: int) -> Callable[[], requests.Response]:
        body = {"member": str(self.member.pk), "unit": "points", "amount": -PRICE, "reason": "A mistake"}
        return lambda: self.tills[place].tell("/adjustments", body)

    def settle(self, place: int, end: str, issue_id: str) -> Callable[[], requests.Response]:
        return lambda: self.tills[place].tell(f"/redemptions/{issue_id}/{end}")


class BalanceForOne(Rush):
    """Fifty reserve a reward, and the balance is good for one."""


class BesideAHold(Rush):
    """Most of the points are held; twenty ask for the last ones, one way or the other."""

    callers = 20

    def prepare(self) -> None:
        adjust(self.member, 3 * PRICE)
        hold(self.member, 2 * PRICE)

    def deed(self, place: int) -> Callable[[], requests.Response]:
        return self.take(place) if place % 2 else self.reserve(place)


class CaptureAndVoid(Rush):
    """A reserved reward is handed over and cancelled at once: one of the two wins, and stays."""

    callers = 12

    def prepare(self) -> None:
        adjust(self.member, PRICE)
        answer = self.till.tell("/redemptions", {"member": str(self.member.pk), "reward": "mug"})
        assert answer.status_code == 201, answer.text
        self.issue_id = answer.json()["id"]

    def deed(self, place: int) -> Callable[[], requests.Response]:
        return self.settle(place, "capture" if place % 2 else "void", self.issue_id)

    def judge(self, answers: Answers) -> None:
        won = {one.json()["state"] for one in answers if one.status_code == 200}
        assert len(won) == 1, won
        (end,) = won
        told = codes(answers)
        assert Counter(told) == {(200, None): self.callers / 2, (409, "hold_settled"): self.callers / 2}
        assert RewardIssue.objects.get(pk=self.issue_id).state == end
        assert points(self.member) == (0 if end == "issued" else PRICE)


class OneCodeManyTills(CaptureAndVoid):
    """The same single-use code is handed in at twelve tills: all hear of one and the same spend."""

    def deed(self, place: int) -> Callable[[], requests.Response]:
        return self.settle(place, "capture", self.issue_id)

    def judge(self, answers: Answers) -> None:
        assert {one.content for one in answers} == {answers[0].content}
        assert (answers[0].status_code, answers[0].json()["state"], points(self.member)) == (200, "issued", 0)


class ComesFree(CaptureAndVoid):
    """All points are held; the hold is let go while others reserve: at most one gets what comes free."""

    def deed(self, place: int) -> Callable[[], requests.Response]:
        return self.reserve(place) if place else self.settle(place, "void", self.issue_id)

    def judge(self, answers: Answers) -> None:
        told = Counter(codes(answers[1:]))
        assert answers[0].status_code == 200
        assert told[201, None] <= 1, told
        assert set(told) <= {(201, None), *NO}, told
        again = self.till.tell("/redemptions", {"member": str(self.member.pk), "reward": "mug"})
        assert again.status_code == (409 if told[201, None] else 201)


KINDS = [BalanceForOne, BesideAHold, CaptureAndVoid, OneCodeManyTills, ComesFree]


@pytest.fixture(scope="module")
def pool() -> Any:
    with ThreadPoolExecutor(50) as threads:
        yield threads


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_r04_of_all_who_ask_at_once_one_gets_it(
    till: Caller, pool: ThreadPoolExecutor, kind: type[Rush], proof_record: Record
) -> None:
    tills = [till.twin() for _place in range(kind.callers)]
    for _round in range(ROUNDS):
        rush = kind(till, tills)
        rush.judge(at_once([rush.deed(place) for place in range(rush.callers)], pool=pool))

        spends = LedgerEntry.objects.filter(kind="spend", account__member=rush.member)
        assert spends.count() <= 1
    proof_record.tried(ROUNDS, f"rounds of {kind.callers} callers by HTTP", kind=(kind.__doc__ or "").strip(" ."))


def test_r04_negative_control_without_the_lock_a_rush_is_seen(
    found_shop: Callable[[str], Client], monkeypatch: pytest.MonkeyPatch, proof_record: Record
) -> None:
    """The same rush at the services, whose lock is taken away: the books then promise points twice."""
    monkeypatch.setattr(ledger, "lock", lambda _ids: None)
    careless, got = found_shop("Careless"), 0
    with use_client(careless), crowd(12, careless) as people:
        for _round in range(4):
            who = new_member()
            adjust(who, PRICE)

            def deed(place: int, who: Member = who) -> RewardIssue:
                key = f"{who.pk} {place}"
                return redeem(member_id=who.pk, reward_code="mug", key=key, at=timezone.now(), zone=BERLIN)

            got += sum(isinstance(end, RewardIssue) for end in people.act(deed))

    assert got > 4
    with pytest.raises(AssertionError):
        invariants.check(careless)
    proof_record.caught("redemptions whose member is not locked")
