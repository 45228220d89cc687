"""What could not be credited is tried again or closed by a person, and never half."""

from typing import Any

import pytest
from django.db import transaction

from members.models import Member, ParkedReturn, RuleTrace, WorkItem
from members.services import accrual
from members.services.refusals import Refused
from members.services.set_aside import dismiss_set_aside, release_set_aside
from tenants.models import WaitingClient
from tests.members.world import DAY, NOON, bring_back, buy, credit, do, fixed, line, live, points, rule, sold, tell

FAILS = "cannot be credited"


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Documents and kinds of activities that no worker can credit, for as long as they stand in here."""
    poisoned: set[str] = set()
    event_of = accrual.event_of

    def poisonous(item: accrual.Item, **given: Any) -> Any:
        if poisoned & {item.document, item.activity}:
            raise ValueError(FAILS)
        return event_of(item, **given)

    monkeypatch.setattr(accrual, "event_of", poisonous)
    return poisoned


def release(source: Any) -> None:
    with transaction.atomic():
        release_set_aside(source_id=source)


def dismiss(source: Any, reason: str = "A test sale") -> None:
    with transaction.atomic():
        dismiss_set_aside(source_id=source, reason=reason, at=NOON)


def test_one_that_was_set_aside_is_credited_once_it_is_released(ana: Member, poison: set[str]) -> None:
    live()
    poison.add("R-1")
    buy(ana, receipt="R-1", lines=[line(500, sku="tea", quantity=2)])
    buy(ana, receipt="R-2", lines=[line(70)], at=NOON + DAY)
    bring_back(ana, receipt="B-1", sale="R-1", lines=[line(0, sku="tea")], at=NOON + DAY)
    credit()
    assert (points(ana), accrual.waiting()) == (70, 0)
    assert FAILS in WorkItem.objects.get().error

    poison.clear()
    WaitingClient.objects.all().delete()
    release(sold("R-1").pk)
    assert tell(WorkItem.objects.all(), "attempts", "error", "quarantined_at") == [(0, "", None)]
    assert WaitingClient.objects.count() == 1
    credit()
    assert (points(ana), accrual.waiting()) == (70 + 250, 0)


def test_one_that_fails_again_is_set_aside_again(ana: Member, poison: set[str]) -> None:
    live()
    poison.add("R-1")
    buy(ana, receipt="R-1", lines=[line(500)])
    credit()
    release(sold("R-1").pk)
    credit()
    item = WorkItem.objects.get()
    assert (item.attempts, item.quarantined_at is not None) == (accrual.MAX_ATTEMPTS, True)


def test_one_that_is_closed_earns_nothing_and_says_why(ana: Member, poison: set[str]) -> None:
    live(rule("basket", fixed(5)), rule("trip", fixed(5), trigger="activity"))
    poison |= {"R-1", "trip"}
    buy(ana, receipt="R-1", lines=[line(500, sku="tea")])
    trip = do(ana, "trip", at=NOON + DAY)
    credit()
    with transaction.atomic(), pytest.raises(Refused) as refusal:
        dismiss_set_aside(source_id=trip.id, reason="  ", at=NOON)
    assert refusal.value.field == "reason"
    dismiss(sold("R-1").pk)
    dismiss(trip.id)
    poison.clear()
    bring_back(ana, receipt="B-1", sale="R-1", at=NOON + 2 * DAY)
    credit()

    assert (points(ana), WorkItem.objects.count()) == (0, 0)
    traces = RuleTrace.objects.filter(source_id=sold("R-1").pk)
    assert {(one.result, one.reason, one.detail["why"]) for one in traces} == {
        ("not_eligible", "dismissed", "A test sale")
    }


def test_a_return_that_is_closed_is_parked_as_such(ana: Member) -> None:
    live()
    back = bring_back(ana, receipt="B-1", lines=[line(500, sku="tea")])
    WorkItem.objects.update(quarantined_at=NOON)
    dismiss(back.purchase_id)
    assert tell(ParkedReturn.objects.all(), "state", "reason") == [("dismissed", "A test sale")]


@pytest.mark.parametrize("deed", [release, dismiss])
def test_only_what_is_set_aside_can_be_released_or_closed(ana: Member, deed: Any) -> None:
    live()
    waiting = buy(ana, receipt="R-1", lines=[line(500)])
    for source in (waiting.purchase_id, ana.pk):
        with pytest.raises(Refused):
            deed(source)
    credit()
    with pytest.raises(Refused):
        deed(waiting.purchase_id)
    assert points(ana) == 500
