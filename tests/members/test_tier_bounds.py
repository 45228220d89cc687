"""Tiers at their edges: two moves judged at once, the last moment of a day, and the figure that is just enough."""

from datetime import datetime, timedelta

import pytest

from loyalty_saas.flows.nights import spend_night
from members.models import Member, TierChange, TierStatus
from members.services import tiers
from members.services.tier_sql import MANY_DUE
from tests.members.world import BERLIN, DAY, NOON, buy, credit, level, line, live, tell

LEVELS = [level("bronze", 2000, 1500), level("silver", 5000, 4000), level("gold", 9000, 8000)]
MINUTE = timedelta(minutes=1)


def held(who: Member) -> tuple[str, int]:
    status = TierStatus.objects.get(pk=who.pk)
    return status.tier, status.basis


def test_two_levels_reached_in_one_batch_are_two_moves_and_the_last_tells_since_when(ana: Member) -> None:
    live(tiers={"basis": "spend", "period_months": 12, "levels": LEVELS})
    buy(ana, receipt="R-0", lines=[line(10)], at=NOON + MINUTE)
    credit(at=NOON + 2 * MINUTE)
    for number, amount in enumerate((2500, 3000), start=1):
        buy(ana, receipt=f"R-{number}", lines=[line(amount)], at=NOON + number * DAY)
    later = NOON + 3 * DAY
    credit(at=later)

    assert held(ana) == ("silver", 5510)
    told = tell(TierChange.objects.filter(member=ana).order_by("at"), "before", "after", "basis", "at")
    assert told == [("", "bronze", 2510, NOON + DAY), ("bronze", "silver", 5510, NOON + 2 * DAY)]
    status = TierStatus.objects.get(pk=ana.pk)
    assert status.since == NOON + 2 * DAY

    # What moves nothing leaves since when, and tells the new figure.
    buy(ana, receipt="R-3", lines=[line(5)], at=later)
    credit(at=later + MINUTE)
    status.refresh_from_db()
    assert (status.since, status.basis) == (NOON + 2 * DAY, 5515)


@pytest.mark.parametrize(("amount", "tier"), [(1999, ""), (2000, "bronze"), (4999, "bronze"), (5000, "silver")])
def test_a_level_begins_at_the_very_point_it_names(ana: Member, amount: int, tier: str) -> None:
    live(tiers={"basis": "spend", "period": "calendar", "levels": LEVELS})
    buy(ana, receipt="R-1", lines=[line(amount)], at=NOON)
    credit(at=NOON + MINUTE)
    assert held(ana) == (tier, amount)


def test_the_last_moment_of_a_year_counts_in_it_and_the_next_in_the_next(ana: Member, bob: Member) -> None:
    live(tiers={"basis": "spend", "period": "calendar", "levels": LEVELS})
    midnight = datetime(2027, 1, 1, tzinfo=BERLIN)
    for who, at in ((ana, midnight - timedelta(microseconds=1)), (bob, midnight)):
        buy(who, receipt=f"{who.number}", lines=[line(2500)], at=at)
    credit(at=midnight + MINUTE)
    assert (held(ana), held(bob)) == (("bronze", 2500), ("bronze", 2500))
    ends = {status.member_id: status.period_ends_at for status in TierStatus.objects.all()}
    assert ends == {ana.pk: midnight, bob.pk: datetime(2028, 1, 1, tzinfo=BERLIN)}


@pytest.mark.parametrize("many", [0, 1000])
def test_a_new_year_is_judged_alike_for_few_and_for_many(
    ana: Member, bob: Member, many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiers, "MANY_DUE", MANY_DUE.replace("> 1000", f"> {many}"))
    live(tiers={"basis": "spend", "period": "calendar", "levels": LEVELS})
    for who in (ana, bob):
        buy(who, receipt=f"{who.number}-1", lines=[line(5500)], at=NOON)
    credit(at=NOON + MINUTE)
    first, second, third = (datetime(year, 1, 1, 0, 30, tzinfo=BERLIN) for year in (2027, 2028, 2029))
    spend_night(at=first)
    assert (held(ana), held(bob)) == (("silver", 0), ("silver", 0))

    buy(bob, receipt=f"{bob.number}-2", lines=[line(1600)], at=first + 30 * DAY)
    credit(at=first + 31 * DAY)
    spend_night(at=second)
    assert (held(ana), held(bob)) == (("", 0), ("bronze", 0))
    spend_night(at=third)
    assert (held(ana), held(bob)) == (("", 0), ("", 0))
    told = TierChange.objects.filter(member=bob).order_by("at")
    assert tell(told, "before", "after", "basis", "cause") == [
        ("", "silver", 5500, "judged"), ("silver", "bronze", 1600, "period"), ("bronze", "", 0, "period"),
    ]  # fmt: skip
