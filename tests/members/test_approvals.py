"""R31: what is above one person's limit is asked for by one, agreed by a second, and booked once, exactly as asked."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import Error, IntegrityError, transaction

from members.ledger import NotEnoughPoints
from members.models import AdjustmentRequest, LedgerEntry, Member
from members.queries import requests_settled, requests_waiting
from members.services import approvals
from members.services.approvals import OwnRequest, RequestSettled
from members.services.limits import MANAGERS_LIMITS, OWNERS_LIMITS, OverLimit, given_by_hand
from members.services.refusals import KeyReused, Refused
from tenants.models import Client
from tests.members.world import BERLIN, DAY, NOON, adjust, crowd, live, new_member, points, tell, the_unit

ASKER, SECOND, THIRD = (UUID(int=n) for n in (1, 2, 3))
MINUTE = timedelta(minutes=1)


def ask(who: Member, amount: int = 20_000, *, key: str = "K", by: UUID = ASKER, **given: Any) -> AdjustmentRequest:
    with transaction.atomic():
        return approvals.ask_for_adjustment(
            member_id=who.pk, unit=the_unit(), amount=amount, reason=given.get("reason", "The shop burned down"),
            key=key, by=by, at=NOON,
        )  # fmt: skip


def agree(
    asked: AdjustmentRequest, *, by: UUID = SECOND, at: Any = NOON + MINUTE, limits: Any = ()
) -> AdjustmentRequest:
    with transaction.atomic():
        return approvals.agree_to_adjustment(request_id=asked.pk, limits=limits, by=by, at=at, zone=BERLIN)


def refuse(asked: AdjustmentRequest, *, by: UUID = SECOND) -> AdjustmentRequest:
    with transaction.atomic():
        return approvals.refuse_adjustment(request_id=asked.pk, by=by, at=NOON + MINUTE)


def withdraw(asked: AdjustmentRequest, *, by: UUID = ASKER) -> AdjustmentRequest:
    with transaction.atomic():
        return approvals.withdraw_adjustment(request_id=asked.pk, by=by, at=NOON + MINUTE)


def test_what_is_asked_for_waits_and_moves_nothing(ana: Member) -> None:
    live()
    asked = ask(ana)

    assert points(ana) == 0
    assert list(requests_waiting(at=NOON)) == [asked]
    assert asked.expires_at == NOON + 7 * DAY


def test_agreed_by_a_second_person_exactly_that_is_booked_for_that_member(ana: Member, bob: Member) -> None:
    live()
    asked = agree(ask(ana))

    entry = LedgerEntry.objects.get()
    assert (entry.amount, entry.kind, entry.reason, entry.made_by) == (20_000, "adjust", "The shop burned down", ASKER)
    assert (asked.state, asked.settled_by, asked.entry) == ("agreed", SECOND, entry)
    assert (points(ana), points(bob)) == (20_000, 0)
    assert list(requests_waiting(at=NOON)) == []
    assert list(requests_settled()) == [asked]


def test_what_two_agreed_does_not_count_against_the_day_of_one(ana: Member) -> None:
    live()
    agree(ask(ana))
    assert given_by_hand(by=ASKER, at=NOON + MINUTE, zone=BERLIN) == 0


def test_asking_twice_with_one_key_asks_once_and_for_one_thing(ana: Member, bob: Member) -> None:
    live()
    assert ask(ana) == ask(ana)
    for who, amount, by in ((bob, 20_000, ASKER), (ana, 20_001, ASKER), (ana, 20_000, SECOND)):
        with pytest.raises(KeyReused):
            ask(who, amount, by=by)


@pytest.mark.parametrize(("amount", "reason", "field"), [(0, "x", "amount"), (1, "  ", "reason")])
def test_nothing_and_no_reason_cannot_be_asked_for(ana: Member, amount: int, reason: str, field: str) -> None:
    live()
    with pytest.raises(Refused) as refusal:
        ask(ana, amount, reason=reason)
    assert refusal.value.field == field


# ── R31's six ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_r31_used_again_it_books_nothing_more(ana: Member) -> None:
    live()
    asked = ask(ana)
    agree(asked)
    for by in (SECOND, THIRD):
        with pytest.raises(RequestSettled):
            agree(asked, by=by)

    assert points(ana) == 20_000


@pytest.mark.parametrize(
    "change", [{"amount": 1}, {"member_id": None}, {"reason": "Other"}, {"asked_by": THIRD}, {"expires_at": NOON + 99 * DAY}]
)  # fmt: skip
def test_r31_another_member_another_amount_is_refused_by_the_database(
    ana: Member, bob: Member, change: dict[str, Any]
) -> None:
    live()
    asked = ask(ana)
    values = {name: bob.pk if value is None else value for name, value in change.items()}
    with pytest.raises(Error, match="adjustmentrequest_asks_one_thing|Cannot update"), transaction.atomic():
        AdjustmentRequest.objects.filter(pk=asked.pk).update(**values)


def test_r31_one_s_own_request_is_refused_by_the_service_and_by_the_database(ana: Member) -> None:
    live()
    asked, mine = ask(ana), adjust(ana, 5)
    for deed in (lambda: agree(asked, by=ASKER), lambda: refuse(asked, by=ASKER)):
        with pytest.raises(OwnRequest):
            deed()
    for state, entry in (("agreed", mine), ("refused", None)):
        with pytest.raises(IntegrityError, match="settled_by_a_second_person"), transaction.atomic():
            AdjustmentRequest.objects.filter(pk=asked.pk).update(
                state=state, settled_by=ASKER, settled_at=NOON, entry=entry
            )

    assert points(ana) == 5


def test_r31_after_a_week_nobody_can_agree(ana: Member) -> None:
    live()
    asked = ask(ana)
    for at in (NOON + 7 * DAY, NOON + 8 * DAY):
        with pytest.raises(RequestSettled):
            agree(asked, at=at)
    assert list(requests_waiting(at=NOON + 7 * DAY)) == []
    assert (approvals.lapse_requests(at=NOON + 7 * DAY), approvals.lapse_requests(at=NOON + 9 * DAY)) == (1, 0)

    assert AdjustmentRequest.objects.get().state == "lapsed"
    assert points(ana) == 0


def test_r31_of_many_who_agree_at_once_one_does(acme: Client) -> None:
    live()
    for n in range(10):
        asked = ask(new_member(f"m{n}"), key=f"K{n}")

        def deed(place: int, asked: AdjustmentRequest = asked) -> AdjustmentRequest:
            by = UUID(int=100 + place)
            return approvals.agree_to_adjustment(request_id=asked.pk, limits=(), by=by, at=NOON, zone=BERLIN)

        with crowd(6, acme) as people:
            met = people.act(deed)
        assert sum(isinstance(one, AdjustmentRequest) for one in met) == 1
        assert sum(isinstance(one, RequestSettled) for one in met) == 5
    assert LedgerEntry.objects.count() == 10


def test_r31_negative_control_without_the_locks_several_are_told_yes_or_the_database_steps_in(
    acme: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    live()
    monkeypatch.setattr(approvals.ledger, "lock", lambda member_ids: None)
    monkeypatch.setattr(approvals, "_waiting", lambda request_id, *, at: AdjustmentRequest.objects.get(pk=request_id))
    met: list[Any] = []
    for n in range(10):
        asked = ask(new_member(f"m{n}"), key=f"K{n}")

        def deed(place: int, asked: AdjustmentRequest = asked) -> AdjustmentRequest:
            by = UUID(int=100 + place)
            return approvals.agree_to_adjustment(request_id=asked.pk, limits=(), by=by, at=NOON, zone=BERLIN)

        with crowd(6, acme) as people:
            met += people.act(deed)
    assert sum(isinstance(one, RequestSettled) for one in met) != 50


# ── other ends ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_refused_or_withdrawn_it_is_over(ana: Member) -> None:
    live()
    first, second = ask(ana), ask(ana, key="K2")
    assert refuse(first).state == "refused"
    with pytest.raises(Refused, match="Only the one who asked"):
        withdraw(second, by=SECOND)
    assert withdraw(second).state == "withdrawn"
    for asked in (first, second):
        for deed in (agree, refuse, withdraw):
            with pytest.raises(RequestSettled):
                deed(asked)

    assert points(ana) == 0


def test_settled_once_the_database_lets_nobody_settle_it_again(ana: Member) -> None:
    live()
    asked = refuse(ask(ana))
    with pytest.raises(Error, match="adjustmentrequest_settled_once|Cannot update"), transaction.atomic():
        AdjustmentRequest.objects.filter(pk=asked.pk).update(state="waiting", settled_by=None)


def test_a_manager_agrees_up_to_what_one_person_of_the_owner_s_standing_may(ana: Member) -> None:
    live()
    within, above = ask(ana, 10_000), ask(ana, 10_001, key="K2")
    agree(within, limits=[OWNERS_LIMITS])
    with pytest.raises(OverLimit):
        agree(above, limits=[OWNERS_LIMITS])
    agree(above, limits=[])

    assert MANAGERS_LIMITS.at_a_time < OWNERS_LIMITS.at_a_time
    assert points(ana) == 20_001


def test_more_than_is_there_is_not_taken_and_goes_on_waiting(ana: Member) -> None:
    live()
    adjust(ana, 100)
    asked = ask(ana, -101)
    with pytest.raises(NotEnoughPoints):
        agree(asked)
    adjust(ana, 1)
    agree(asked)

    assert points(ana) == 0
    assert tell(AdjustmentRequest.objects.all(), "state") == ["agreed"]


def test_a_membership_closed_in_between_gets_nothing(ana: Member) -> None:
    live()
    asked = ask(ana)
    Member.objects.filter(pk=ana.pk).update(status="closed")
    with pytest.raises(Refused) as refusal:
        agree(asked)
    assert refusal.value.field == "member"


def test_what_nobody_asked_for_cannot_be_agreed_to(acme: Client) -> None:
    live()
    with pytest.raises(approvals.UnknownRequest):
        agree(AdjustmentRequest(pk=UUID(int=9)))
