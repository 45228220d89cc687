"""Tiers by what a member did in the period: entered, kept, lost when the window slides; each move recorded."""

from datetime import date, datetime, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connections, transaction

from loyalty_saas.flows.nights import spend_night
from members.models import Member, TierChange, TierGrant, TierStatus
from members.queries import judge_tiers, tier_of
from members.services import tiers
from members.services.refusals import Refused
from members.services.tier_grants import give_tier, take_back_tier
from programs.queries import program_in_force
from tenants.context import use_client
from tenants.models import Client
from tenants.routers import CLIENT
from tests.conftest import NewClient
from tests.members.world import (
    BERLIN,
    DAY,
    NOON,
    PENNY,
    bring_back,
    buy,
    credit,
    crowd,
    do,
    fixed,
    level,
    line,
    live,
    new_member,
    rule,
    tell,
    unit,
)

LEVELS = [level("bronze", 2000, 1500), level("silver", 5000, 4000), level("gold", 9000, 8000)]
BY_SPEND = {"basis": "spend", "period_months": 12, "levels": LEVELS}


def held(who: Member) -> tuple[str, int]:
    status = TierStatus.objects.get(pk=who.pk)
    return status.tier, status.basis


def moves(who: Member) -> list[Any]:
    return tell(TierChange.objects.filter(member=who).order_by("id"), "before", "after", "basis", "at")


def test_a_tier_is_entered_kept_and_lost_by_what_was_spent_in_the_period(ana: Member) -> None:
    live(tiers=BY_SPEND)
    buy(ana, receipt="R-1", lines=[line(2500)], at=NOON)
    credit()
    assert held(ana) == ("bronze", 2500)
    buy(ana, receipt="R-2", lines=[line(2500)], at=NOON + 60 * DAY)
    credit()
    assert held(ana) == ("silver", 5000)

    # The first leaves the window: 2500 is below what keeps silver, and above what keeps bronze.
    spend_night(at=NOON + 366 * DAY)
    assert held(ana) == ("bronze", 2500)
    spend_night(at=NOON + 60 * DAY + 367 * DAY)
    assert held(ana) == ("", 0)
    midnight = NOON - timedelta(hours=12)
    assert moves(ana) == [
        ("", "bronze", 2500, NOON),
        ("bronze", "silver", 5000, NOON + 60 * DAY),
        ("silver", "bronze", 2500, midnight + 366 * DAY),
        # Told in the night after the next, it still happened as that day began.
        ("bronze", "", 0, midnight + 60 * DAY + 366 * DAY),
    ]
    assert [change.cause for change in TierChange.objects.order_by("id")] == ["judged", "judged", "period", "period"]
    assert TierChange.objects.order_by("id")[2].inputs == {
        "counts": "spend", "rule": "not_kept", "threshold": 4000, "period": "rolling", "from": "2026-06-18",
        "to": "2027-06-17", "version": 1, "earned": "bronze",
    }  # fmt: skip


def test_less_than_it_takes_to_enter_is_enough_to_keep(ana: Member) -> None:
    live(tiers=BY_SPEND)
    for n, amount in enumerate((1000, 4000)):
        buy(ana, receipt=f"R-{n}", lines=[line(amount)], at=NOON + n * 10 * DAY)
    credit()
    spend_night(at=NOON + 367 * DAY)
    assert held(ana) == ("silver", 4000)

    # Without what came back, silver was never reached: bronze was, a year ago, and 0 do not keep it.
    bring_back(ana, receipt="B-1", sale="R-1", at=NOON + 368 * DAY)
    credit(at=NOON + 368 * DAY)
    assert held(ana) == ("", 0)


def test_the_window_slides_by_whole_local_days(ana: Member) -> None:
    live(tiers=BY_SPEND)
    buy(ana, receipt="R-1", lines=[line(2000)])
    credit()
    over = datetime(2027, 6, 18, 0, 0, tzinfo=BERLIN)
    spend_night(at=over - timedelta(seconds=1))
    assert held(ana)[0] == "bronze"
    spend_night(at=over)
    assert held(ana)[0] == ""


def test_what_is_missing_to_rise_and_to_keep(ana: Member, bob: Member) -> None:
    live(tiers=BY_SPEND)
    program = program_in_force()
    view = tier_of(member_id=bob.pk, program=program, at=NOON)
    assert view is not None
    assert (view.code, view.next_code, view.missing_to_next, view.missing_to_keep) == ("", "bronze", 2000, 0)

    for n, amount in enumerate((3000, 3500)):
        buy(ana, receipt=f"R-{n}", lines=[line(amount)], at=NOON + n * 30 * DAY)
    credit()
    spend_night(at=NOON + 366 * DAY)
    view = tier_of(member_id=ana.pk, program=program, at=NOON + 366 * DAY)
    assert view is not None
    assert (view.code, view.name, view.basis) == ("bronze", "Bronze", 3500)
    assert (view.next_code, view.missing_to_next, view.next_by) == ("silver", 1500, None)
    # The second leaves a year and a month after it all began; then nothing is left.
    assert (view.missing_to_keep, view.keep_by) == (1500, date(2027, 7, 17))


def test_without_tiers_nobody_has_one(ana: Member) -> None:
    live()
    buy(ana, receipt="R-1", lines=[line(2000)])
    credit()
    spend_night(at=NOON + DAY)

    assert not TierStatus.objects.exists()
    assert tier_of(member_id=ana.pk, program=program_in_force(), at=NOON) is None


@pytest.mark.parametrize(
    ("basis", "expected"),
    [("spend", 2400), ("count", 2), ("earned", 30 + 2 * 5 - 10), ("quantity", 9)],
)
def test_the_basis_is_what_the_program_counts(ana: Member, basis: str, expected: int) -> None:
    tiers_ = {"basis": basis, "period_months": None, "levels": [level("silver", 1)]}
    if basis == "quantity":
        tiers_["property"] = "days"
    live(rule("ten", fixed(10)), rule("trip", fixed(5), trigger="activity"), tiers=tiers_)
    for n in range(3):
        buy(ana, receipt=f"R-{n}", lines=[line(1200)], at=NOON + n * 500 * DAY)
    bring_back(ana, receipt="B-1", sale="R-0", at=NOON + 1500 * DAY)
    for days in (2, 7):
        do(ana, "trip", properties={"days": days, "where": "north"})
    do(ana, "birthday", properties={"days": "many"})
    credit(at=NOON + 1500 * DAY)

    assert TierStatus.objects.get().basis == expected


def test_a_returned_purchase_takes_its_tier_back(ana: Member) -> None:
    live(tiers=BY_SPEND)
    buy(ana, receipt="R-1", lines=[line(6000)])
    credit()
    bring_back(ana, receipt="B-1", sale="R-1", at=NOON + DAY)
    credit()

    assert held(ana) == ("", 0)
    assert [move[:2] for move in moves(ana)] == [("", "silver"), ("silver", "")]


def test_a_new_version_s_thresholds_count_from_the_next_judgement(ana: Member) -> None:
    live(tiers=BY_SPEND)
    buy(ana, receipt="R-1", lines=[line(2500)])
    credit()
    version = live(tiers={**BY_SPEND, "levels": [level("bronze", 2000), level("silver", 2400)]})
    spend_night(at=NOON + DAY)

    assert held(ana) == ("silver", 2500)
    assert TierChange.objects.order_by("id").last().program_id == version.pk  # type: ignore[union-attr]


@pytest.mark.parametrize("seed", range(6))
def test_r12_one_more_purchase_at_any_time_never_lowers_a_tier(acme: Client, seed: int) -> None:
    """Two members with the same year, one with one purchase more, told in another order."""
    live(tiers=BY_SPEND)
    chance = Random(seed)
    year = [(chance.randrange(0, 4000), chance.randrange(600) * DAY) for _purchase in range(14)]
    more = (chance.randrange(1, 4000), chance.randrange(600) * DAY)
    ranks = {"": 0, "bronze": 1, "silver": 2, "gold": 3}
    plain, blessed = new_member("plain"), new_member("blessed")
    for n, (amount, after) in enumerate(sorted(year, key=lambda one: one[1])):
        buy(plain, receipt=f"P-{n}", lines=[line(amount)], at=NOON + after)
        buy(blessed, receipt=f"B-{n}", lines=[line(amount)], at=NOON + after)
        credit(at=NOON + 600 * DAY)
    buy(blessed, receipt="more", lines=[line(more[0])], at=NOON + more[1])
    credit(at=NOON + 600 * DAY)

    assert ranks[held(blessed)[0]] >= ranks[held(plain)[0]]
    assert held(blessed)[1] >= held(plain)[1]
    spend_night(at=NOON + 600 * DAY)
    assert ranks[held(blessed)[0]] >= ranks[held(plain)[0]]


def test_night_and_day_judging_the_same_members_lose_no_move(acme: Client) -> None:
    """The night reads what was spent, a purchase is credited, the night writes: it must not write what is no longer so."""
    live(tiers=BY_SPEND)
    who = [new_member(f"member {n}") for n in range(30)]
    for member in who:
        buy(member, receipt=f"{member.number} 1", lines=[line(100)])
    credit()
    for member in who:
        buy(member, receipt=f"{member.number} 2", lines=[line(6000)], at=NOON + DAY)
    with crowd(2, acme) as people:

        def deed(place: int) -> None:
            for _turn in range(10):
                if place:
                    credit(at=NOON + DAY, limit=3)
                else:
                    tiers.settle_all(program=program_in_force(), at=NOON + DAY, chunk=7)

        ends = people.act(deed)
    assert [end for end in ends if end] == []
    credit(at=NOON + DAY)

    assert [held(member) for member in who] == [("silver", 6100)] * 30
    assert [len(moves(member)) for member in who] == [1] * 30


def test_two_units_do_not_mix_up_what_a_tier_counts_as_spend(ana: Member) -> None:
    live(PENNY, rule("stamp", fixed(1), unit="stamps"), units=[unit(), unit("stamps", kind="stamps")], tiers=BY_SPEND)
    buy(ana, receipt="R-1", lines=[line(2000)])
    credit()

    assert held(ana) == ("bronze", 2000)


# ── given by hand ───────────────────────────────────────────────────────────────────────────────────────────────────


def give(who: Member, tier: str, *, days: int = 90, at: datetime = NOON) -> TierGrant:
    with transaction.atomic():
        return give_tier(
            member_id=who.pk, tier=tier, last_day=(at + days * DAY).date(), reason="Sorry", by=None,
            program=program_in_force(), at=at, zone=BERLIN,
        )  # fmt: skip


def test_a_tier_given_ends_by_itself_and_what_is_earned_goes_on(ana: Member) -> None:
    live(tiers=BY_SPEND)
    give(ana, "gold")
    assert held(ana) == ("gold", 0)
    buy(ana, receipt="R-1", lines=[line(2500)], at=NOON + DAY)
    credit(at=NOON + DAY)
    assert (held(ana), TierStatus.objects.get().earned) == (("gold", 2500), "bronze")

    end = (NOON + 91 * DAY).replace(hour=0)
    before, after = (
        tier_of(member_id=ana.pk, program=program_in_force(), at=end - n) for n in (timedelta(seconds=1), timedelta(0))
    )
    assert before
    assert after
    assert (before.code, before.is_granted, after.code, after.is_granted) == ("gold", True, "bronze", False)
    for _twice in range(2):
        spend_night(at=end + DAY)
    assert held(ana) == ("bronze", 2500)
    assert [move[:2] + move[3:] for move in moves(ana)] == [("", "gold", NOON), ("gold", "bronze", end)]
    assert [change.cause for change in TierChange.objects.order_by("id")] == ["granted", "grant_ended"]
    assert TierGrant.objects.get().ended_at == end


def test_a_tier_is_taken_back_early_and_the_higher_counts(ana: Member) -> None:
    live(tiers=BY_SPEND)
    give(ana, "bronze")
    buy(ana, receipt="R-1", lines=[line(6000)], at=NOON + DAY)
    credit(at=NOON + DAY)
    assert held(ana)[0] == "silver"
    with transaction.atomic():
        take_back_tier(member_id=ana.pk, program=program_in_force(), at=NOON + 2 * DAY)
    assert held(ana)[0] == "silver"
    with pytest.raises(Refused), transaction.atomic():
        take_back_tier(member_id=ana.pk, program=program_in_force(), at=NOON + 2 * DAY)


@pytest.mark.parametrize(
    ("tier", "days", "field"), [("tin", 5, "tier"), ("gold", 800, "last_day"), ("gold", -1, "last_day")]
)
def test_what_cannot_be_given_is_refused(ana: Member, tier: str, days: int, field: str) -> None:
    live(tiers=BY_SPEND)
    with pytest.raises(Refused) as refused:
        give(ana, tier, days=days)
    assert refused.value.field == field


# ── R11 ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/Santiago", "Pacific/Apia"])
def test_r11_a_year_ends_at_the_shop_s_midnight(new_client: NewClient, zone: str) -> None:
    local = ZoneInfo(zone)
    with use_client(new_client("Acme", time_zone=zone)):
        live(tiers={"basis": "spend", "period": "calendar", "levels": LEVELS})
        who, late = new_member(), new_member()
        last, first = datetime(2026, 12, 31, 23, 59, tzinfo=local), datetime(2027, 1, 1, 0, 1, tzinfo=local)
        for member, moment in ((who, last), (late, first)):
            buy(member, receipt=member.number, lines=[line(6000)], at=moment)
            credit(at=moment)
        ends = [TierStatus.objects.get(pk=one.pk).period_ends_at for one in (who, late)]
        assert ends == [datetime(2027, 1, 1, tzinfo=local), datetime(2028, 1, 1, tzinfo=local)]
        over = datetime(2028, 1, 1, tzinfo=local)
        spend_night(at=over - timedelta(seconds=1))
        assert [held(one)[0] for one in (who, late)] == ["silver", "silver"]
        spend_night(at=over)
        assert [held(one)[0] for one in (who, late)] == ["", "silver"]


def test_r11_a_shop_that_moves_is_judged_by_its_new_days(acme: Client) -> None:
    """Half past eleven on New Year's Eve in Berlin is the new year in Apia."""
    live(tiers={"basis": "spend", "period": "calendar", "levels": LEVELS})
    who = new_member()
    buy(who, receipt="R-1", lines=[line(6000)], at=datetime(2026, 12, 31, 23, 30, tzinfo=BERLIN))
    credit(at=datetime(2026, 12, 31, 23, 30, tzinfo=BERLIN))
    apia = ZoneInfo("Pacific/Apia")
    judged = judge_tiers(member_ids=[who.pk], at=NOON + 400 * DAY, program=program_in_force(), zone=apia)[who.pk]
    assert (judged.tier, judged.period_ends_at) == ("silver", datetime(2028, 1, 1, tzinfo=apia))


# ── what came back, by day and by night ─────────────────────────────────────────────────────────────────────────────


def goes_below_what_keeps(who: Member) -> tuple[str, int]:
    """A return that names no sale leaves too little on its day; a purchase follows before any night."""
    live(tiers=BY_SPEND)
    for n, (days, deed) in enumerate(((0, buy), (5, bring_back), (6, buy))):
        amount = (6000, 3000, 100)[n]
        deed(who, receipt=f"R-{n}", lines=[line(amount, sku=f"A-{n}")], at=NOON + days * DAY)
        credit(at=NOON + days * DAY)
    return held(who)


def test_a_fall_that_waits_for_midnight_is_not_lost_when_more_is_bought(ana: Member) -> None:
    assert goes_below_what_keeps(ana) == ("bronze", 3100)


def test_a_purchase_that_only_adds_after_a_return_would_lose_it(ana: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiers._Desk, "_adds", lambda desk, state, first: True)
    assert goes_below_what_keeps(ana) == ("silver", 3100)


def test_what_is_bought_after_a_return_adds_to_what_is_left(ana: Member) -> None:
    live(tiers=BY_SPEND)
    buy(ana, receipt="R-1", lines=[line(7000)], at=NOON)
    credit(at=NOON)
    bring_back(ana, receipt="B-1", sale="R-1", lines=[line(1000, quantity=1, position=1)], at=NOON + DAY)
    credit(at=NOON + DAY)
    before = held(ana)
    buy(ana, receipt="R-2", lines=[line(500)], at=NOON + 2 * DAY)
    credit(at=NOON + 2 * DAY)
    assert held(ana) == (before[0], before[1] + 500)


def returned_after_a_month(who: Member) -> None:
    """A sale that is brought back a month later, beside one that stays."""
    live(tiers=BY_SPEND)
    buy(who, receipt="R-1", lines=[line(4000)], at=NOON)
    buy(who, receipt="R-2", lines=[line(2600)], at=NOON + 20 * DAY)
    credit(at=NOON + 20 * DAY)
    bring_back(who, receipt="B-1", sale="R-1", at=NOON + 30 * DAY)
    credit(at=NOON + 30 * DAY)


def test_a_return_takes_nothing_more_once_its_sale_has_left_the_window(ana: Member) -> None:
    """Between the day the sale leaves and the day the return would, each night finds the same figure."""
    returned_after_a_month(ana)
    for days in (364, 367, 370, 384):
        spend_night(at=NOON + days * DAY)
        assert held(ana) == ("bronze", 2600), days
    spend_night(at=NOON + 387 * DAY)
    assert held(ana) == ("", 0)


def test_a_night_finds_what_a_wrong_figure_should_have_been_once_something_leaves(ana: Member) -> None:
    returned_after_a_month(ana)
    TierStatus.objects.filter(pk=ana.pk).update(basis=2500)
    spend_night(at=NOON + 367 * DAY)
    assert held(ana) == ("bronze", 2600)


def test_a_night_in_which_nothing_changes_writes_nothing(ana: Member, bob: Member) -> None:
    returned_after_a_month(ana)
    buy(bob, receipt="R-9", lines=[line(3000)], at=NOON + DAY)
    credit(at=NOON + 30 * DAY)

    def versions() -> list[Any]:
        with connections[CLIENT].cursor() as cursor:
            cursor.execute("SELECT member_id, xmin::text, basis, settled_at FROM members_tierstatus ORDER BY 1")
            return cursor.fetchall()

    before = versions()
    for days in range(40, 300, 20):
        tiers.settle_all(program=program_in_force(), at=NOON + days * DAY)
    assert versions() == before
    tiers.settle_all(program=program_in_force(), at=NOON + 367 * DAY)
    assert versions() != before


def test_many_members_with_returns_are_settled_in_parts_of_their_ids(acme: Client) -> None:
    """Whatever the size of the parts, each member gets what their history makes of them."""
    live(tiers=BY_SPEND)
    chance, who = Random(5), [new_member(f"member {n}") for n in range(24)]
    for number, member in enumerate(who):
        for n in range(4):
            at = NOON + chance.randrange(300) * DAY
            buy(member, receipt=f"R-{number}-{n}", lines=[line(chance.randrange(1, 3000))], at=at)
        if number % 2:
            bring_back(member, receipt=f"B-{number}", sale=f"R-{number}-0", at=NOON + 310 * DAY)
    credit(at=NOON + 310 * DAY)
    program = program_in_force()
    for night, chunk in ((320, 1), (380, 5), (450, 24), (620, 7)):
        at = NOON + night * DAY
        tiers.settle_all(program=program, at=at, chunk=chunk)
        judged = judge_tiers(member_ids=[one.pk for one in who], at=at, program=program, zone=BERLIN)
        assert {one.pk: held(one) for one in who} == {pk: (one.tier, one.basis) for pk, one in judged.items()}, night
