"""Points are held, spent, given back, corrected, moved and lapse: soonest expiry first, never more than there is."""

from datetime import timedelta

import pytest
from django.db import OperationalError, transaction

from members import ledger
from members.ledger import NotEnoughPoints
from members.models import Hold, Identifier, LedgerEntry, Lot, Member, PointsAccount, TierStatus
from members.queries import member_ids_for
from members.services import points as service
from members.services.enrolment import merge_members
from members.services.points import HoldSettled, release_overdue_holds
from members.services.refusals import KeyReused, Refused, UnknownMember
from tenants.models import Client
from tests.members.world import (
    BERLIN,
    DAY,
    NOON,
    PENNY,
    adjust,
    balance_of,
    bring_back,
    buy,
    capture,
    credit,
    crowd,
    expire,
    hold,
    level,
    line,
    live,
    new_member,
    points,
    restore,
    spend,
    tell,
    the_unit,
    unit,
    void,
)

MINUTE = timedelta(minutes=1)
HALF_HOUR = timedelta(minutes=30)
A_MONTH = {"policy": "rolling", "months": 1}


def rich(who: Member, *amounts: int, apart: timedelta = DAY) -> None:
    """Points in so many lots, a day apart."""
    for n, amount in enumerate(amounts):
        buy(who, receipt=f"{who.number} {n}", lines=[line(amount)], at=NOON + n * apart)
    credit()


def lots(who: Member) -> list[int]:
    """What remains in each lot, oldest first."""
    return tell(Lot.objects.filter(account__member=who).order_by("entry_id"), "remaining")


# ── holds ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_points_held_are_there_but_not_available(ana: Member) -> None:
    live()
    rich(ana, 1000)
    hold(ana, 700)

    found = balance_of(ana)
    assert (found.balance, found.held, found.available) == (1000, 700, 300)
    with pytest.raises(NotEnoughPoints) as refusal:
        hold(ana, 301)
    assert (refusal.value.asked, refusal.value.available) == (301, 300)


def test_a_captured_hold_is_one_spend_however_often_it_is_captured(ana: Member) -> None:
    live()
    rich(ana, 1000)
    held = hold(ana, 700)
    assert capture(held) == capture(held)

    assert tell(LedgerEntry.objects.filter(kind="spend"), "amount", "balance_after") == [(-700, 300)]
    with pytest.raises(HoldSettled):
        void(held)


def test_a_voided_hold_lets_go_once_and_cannot_be_captured(ana: Member) -> None:
    live()
    rich(ana, 1000)
    held = hold(ana, 700)
    void(held)
    void(held)

    assert (balance_of(ana).available, tell(Lot.objects.all(), "held")) == (1000, [0])
    with pytest.raises(HoldSettled):
        capture(held)


def test_a_hold_that_has_run_out_is_released_and_cannot_be_captured(ana: Member) -> None:
    live()
    rich(ana, 1000)
    held, fresh = hold(ana, 700), hold(ana, 100, at=NOON + MINUTE)
    with pytest.raises(HoldSettled):
        capture(held, at=NOON + HALF_HOUR)
    with transaction.atomic():
        assert release_overdue_holds(at=NOON + HALF_HOUR) == [held.pk]

    assert (balance_of(ana).available, balance_of(ana).held) == (900, 100)
    capture(fresh, at=NOON + HALF_HOUR)


def test_a_hold_s_key_holds_once_and_for_the_same_thing_only(ana: Member, bob: Member) -> None:
    live()
    rich(ana, 1000)
    rich(bob, 1000)
    first = hold(ana, 100, key="K")
    assert hold(ana, 100, key="K") == first
    for who, amount in ((ana, 101), (bob, 100)):
        with pytest.raises(KeyReused):
            hold(who, amount, key="K")

    assert (balance_of(ana).held, balance_of(bob).held) == (100, 0)


def test_pending_and_lapsed_points_are_not_available(ana: Member) -> None:
    live(units=[unit(pending_days=2, expiry=A_MONTH)])
    rich(ana, 1000)
    for at in (NOON + DAY, NOON + 60 * DAY):
        with pytest.raises(NotEnoughPoints):
            hold(ana, 1, at=at)
    hold(ana, 1000, at=NOON + 2 * DAY)


# ── which lots ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_r08_soonest_expiry_goes_first_then_the_oldest_and_what_never_expires_last(ana: Member) -> None:
    live()
    buy(ana, receipt="never", lines=[line(100)], at=NOON - 9 * DAY)
    credit()
    live(units=[unit(expiry={"policy": "rolling", "months": 6})])
    for receipt, at in (("late", NOON - DAY), ("soon", NOON - 3 * DAY), ("same day, later", NOON - 3 * DAY + MINUTE)):
        buy(ana, receipt=receipt, lines=[line(100)], at=at)
        credit()
    left = dict.fromkeys(["soon", "same day, later", "late", "never"], 100)

    for receipt in list(left):
        spend(ana, 60)
        spend(ana, 40)
        left[receipt] = 0
        assert dict(Lot.objects.values_list("entry__purchase__document", "remaining")) == left


def test_held_lots_are_neither_spent_nor_expired(ana: Member) -> None:
    live(units=[unit(expiry=A_MONTH)])
    rich(ana, 100, 100)
    held = hold(ana, 100, lasts=90 * DAY)
    spend(ana, 60, at=NOON + DAY)
    assert lots(ana) == [100, 40]

    later = NOON + 60 * DAY
    assert (expire(at=later), expire(at=later)) == (1, 0)
    assert lots(ana) == [100, 0]
    capture(held, at=later)
    assert (points(ana), expire(at=later)) == (0, 0)


def test_what_a_hold_lets_go_of_after_its_time_lapses_in_a_second_go(ana: Member) -> None:
    live(units=[unit(expiry=A_MONTH)])
    rich(ana, 100)
    held = hold(ana, 50, lasts=90 * DAY)
    later = NOON + 60 * DAY
    assert expire(at=later) == 1
    void(held)
    assert expire(at=later) == 1

    assert tell(LedgerEntry.objects.filter(kind="expire").order_by("id"), "amount") == [-50, -50]


def test_law_3_a_spend_given_back_goes_to_the_very_lots_with_their_dates(ana: Member) -> None:
    live(units=[unit(expiry={"policy": "rolling", "months": 6})])
    rich(ana, 100, 100, 100)
    before = tell(Lot.objects.order_by("entry_id"), "remaining", "available_at", "expires_at")
    spent = spend(ana, 250, at=NOON + 3 * DAY)
    assert lots(ana) == [0, 0, 50]
    assert restore(spent) == restore(spent)

    assert tell(Lot.objects.order_by("entry_id"), "remaining", "available_at", "expires_at") == before
    assert tell(LedgerEntry.objects.filter(kind="restore"), "amount", "corrects") == [(250, spent)]


def test_points_given_back_after_their_time_lapse_again(ana: Member) -> None:
    """Half lapsed, half was spent and comes back: the same lot lapses a second time with the same rest."""
    live(units=[unit(expiry=A_MONTH)])
    rich(ana, 100)
    spent = spend(ana, 50)
    assert expire(at=NOON + 60 * DAY) == 1
    restore(spent, at=NOON + 61 * DAY)
    assert (expire(at=NOON + 62 * DAY), expire(at=NOON + 63 * DAY)) == (1, 0)

    assert points(ana) == 0


# ── expiry ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_r08_expiry_posts_nothing_the_second_time_and_goes_on_where_it_stopped(ana: Member, bob: Member) -> None:
    live(units=[unit(expiry=A_MONTH)])
    rich(ana, 10, 20, 30)
    rich(bob, 40)
    later = NOON + 60 * DAY
    assert [expire(at=later, limit=1) for _turn in range(3)] == [3, 1, 0]

    assert (points(ana), points(bob), LedgerEntry.objects.filter(kind="expire").count()) == (0, 0, 4)


def test_r11_a_lot_lapses_when_its_last_local_day_is_over_and_not_before(ana: Member) -> None:
    live(units=[unit(expiry=A_MONTH)])
    rich(ana, 100)
    ends = Lot.objects.get().expires_at
    assert ends is not None
    assert ends.astimezone(BERLIN).isoformat() == "2026-07-18T00:00:00+02:00"
    assert (expire(at=ends - timedelta(microseconds=1)), expire(at=ends)) == (0, 1)


def test_two_expiry_jobs_at_once_post_each_lapse_once(acme: Client) -> None:
    live(units=[unit(expiry=A_MONTH)])
    for n in range(30):
        rich(new_member(f"member {n}"), 10, 20)
    with crowd(3, acme) as people:
        ends = people.act(lambda place: service.expire_points(at=NOON + 60 * DAY, zone=BERLIN))

    assert sorted(ends) == [0, 0, 60]
    assert LedgerEntry.objects.filter(kind="expire").count() == 60


# ── corrections ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_correction_has_a_reason_and_happens_once_per_key(ana: Member) -> None:
    live()
    first = adjust(ana, 500, key="K", reason=" Lost parcel ")
    assert adjust(ana, 500, key="K") == first

    assert (points(ana), first.reason, first.kind) == (500, "Lost parcel", "adjust")
    for amount, reason, field in ((0, "Why not", "amount"), (5, "  ", "reason")):
        with pytest.raises(Refused) as refusal:
            adjust(ana, amount, reason=reason)
        assert refusal.value.field == field


def test_a_correction_s_key_is_refused_for_anything_else(ana: Member, bob: Member) -> None:
    live(PENNY, units=[unit(), unit("stamps")])
    adjust(ana, 500, key="K")
    for who, amount, code in ((ana, 499, "points"), (bob, 500, "points"), (ana, 500, "stamps")):
        with pytest.raises(KeyReused):
            adjust(who, amount, key="K", code=code)

    assert (points(ana), points(bob), points(ana, "stamps")) == (500, 0, 0)


def test_a_correction_takes_what_is_available_and_no_more(ana: Member) -> None:
    live(units=[unit(may_owe=True)])
    rich(ana, 1000)
    hold(ana, 300)
    with pytest.raises(NotEnoughPoints):
        adjust(ana, -701)
    adjust(ana, -700)

    assert (points(ana), balance_of(ana).available, balance_of(ana).debt) == (300, 0, 0)


def test_a_correction_upwards_pays_a_debt_first(ana: Member) -> None:
    live(units=[unit(may_owe=True)])
    rich(ana, 1000)
    spend(ana, 1000)
    bring_back(ana, receipt="B-1", sale=f"{ana.number} 0", at=NOON + MINUTE)
    credit()
    adjust(ana, 1200)

    found = balance_of(ana)
    assert (found.balance, found.debt, found.available) == (200, 0, 200)


# ── one person, two members ─────────────────────────────────────────────────────────────────────────────────────────


def merge(kept: Member, double: Member) -> Member:
    with transaction.atomic():
        return merge_members(kept_id=kept.pk, double_id=double.pk, at=NOON + 9 * DAY, by=None, zone=BERLIN)


def test_a_merge_moves_lots_with_their_dates_and_all_ways_to_find_the_member(ana: Member, bob: Member) -> None:
    live(units=[unit(pending_days=3, expiry={"policy": "rolling", "months": 6})])
    rich(ana, 100)
    rich(bob, 200, 300)
    dates = tell(
        Lot.objects.order_by("entry__occurred_at", "-entry__amount"), "remaining", "available_at", "expires_at"
    )
    merge(ana, bob)

    moved = Lot.objects.filter(account__member=ana, remaining__gt=0)
    assert sorted(tell(moved, "remaining", "available_at", "expires_at")) == sorted(dates)
    assert (points(ana), points(bob)) == (600, 0)
    assert member_ids_for(["ana", "bob", bob.number, str(bob.pk)]) == dict.fromkeys(
        ["ana", "bob", bob.number, str(bob.pk)], ana.pk
    )
    assert Identifier.objects.filter(member=ana).count() == 2
    bob.refresh_from_db()
    assert (bob.status, bob.merged_into) == ("merged", ana)


def test_a_merge_moves_the_debt_too(ana: Member, bob: Member) -> None:
    live(units=[unit(may_owe=True)])
    rich(bob, 500)
    spend(bob, 500)
    bring_back(bob, receipt="B-1", sale=f"{bob.number} 0", at=NOON + MINUTE)
    rich(ana, 200)
    merge(ana, bob)

    assert (points(ana), balance_of(ana).debt, points(bob), balance_of(bob).debt) == (-300, 300, 0, 0)


def test_a_merge_pays_the_kept_one_s_debt_with_the_double_s_points(ana: Member, bob: Member) -> None:
    live(units=[unit(may_owe=True)])
    rich(ana, 500)
    spend(ana, 500)
    bring_back(ana, receipt="B-1", sale=f"{ana.number} 0", at=NOON + MINUTE)
    rich(bob, 800)
    merge(ana, bob)

    assert (points(ana), balance_of(ana).available, balance_of(ana).debt) == (300, 300, 0)


def test_of_three_members_merged_one_after_the_other_all_numbers_lead_to_the_last(ana: Member, bob: Member) -> None:
    live()
    eve = new_member("eve")
    rich(eve, 100)
    merge(bob, eve)
    merge(ana, bob)

    assert (points(ana), set(member_ids_for([eve.number, bob.number, "eve"]).values())) == (100, {ana.pk})


def test_what_a_double_bought_can_be_brought_back_by_the_one_kept(ana: Member, bob: Member) -> None:
    live()
    buy(bob, receipt="R-1", lines=[line(500, sku="tea")])
    buy(bob, receipt="R-2", lines=[line(400, sku="cup")])
    credit()
    merge(ana, bob)
    bring_back(ana, receipt="B-1", sale="R-1", lines=[line(500, sku="tea")], at=NOON + 10 * DAY)
    bring_back(ana, receipt="B-2", lines=[line(400, sku="cup")], at=NOON + 10 * DAY)
    credit()

    assert (points(ana), points(bob)) == (0, 0)


def test_a_merge_counts_what_the_double_bought_towards_the_tier(ana: Member, bob: Member) -> None:
    live(tiers={"basis": "spend", "period_months": 12, "levels": [level("silver", 1000)]})
    rich(ana, 600)
    rich(bob, 600)
    merge(ana, bob)
    buy(ana, receipt="R-1", lines=[line(1)], at=NOON + 10 * DAY)
    credit()

    assert (TierStatus.objects.get(pk=ana.pk).tier, TierStatus.objects.get(pk=ana.pk).basis) == ("silver", 1201)


def test_a_merge_is_refused_while_points_are_held_and_of_members_that_are_none(ana: Member, bob: Member) -> None:
    live()
    rich(bob, 500)
    held = hold(bob, 100)
    with pytest.raises(Refused) as refusal:
        merge(ana, bob)
    assert refusal.value.field == "double"
    void(held)
    merge(ana, bob)
    for kept, double, field in ((ana, ana, "double"), (ana, bob, "double"), (bob, ana, "kept")):
        with pytest.raises(Refused) as refusal:
            merge(kept, double)
        assert refusal.value.field == field
    with pytest.raises(UnknownMember):
        merge(ana, Member())


# ── at once ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_r04_twenty_at_once_hold_a_balance_good_for_one_exactly_once(acme: Client) -> None:
    live()
    who = [new_member(f"member {n}") for n in range(20)]
    for member in who:
        adjust(member, 100)
    with crowd(20, acme) as people:
        for member in who:
            ends = people.act(lambda place, member=member: hold(member, 100))
            assert [type(end) for end in ends if not isinstance(end, NotEnoughPoints)] == [Hold]

    assert {(b.held, b.available) for b in map(balance_of, who)} == {(100, 0)}


def test_r04_negative_control_reading_before_writing_pays_more_than_there_is(acme: Client) -> None:
    """The same crowd, without the lock and with a balance that is read first and written after."""
    live()
    who = [new_member(f"member {n}") for n in range(5)]
    for member in who:
        adjust(member, 100)
    paid = 0
    with crowd(20, acme) as people:
        for member in who:
            purse = Hold.objects.create(account=PointsAccount.objects.get(member=member), amount=100, key=member.number,
                                        state="voided", at=NOON, expires_at=NOON)  # fmt: skip

            def take(_place: int, purse: Hold = purse) -> bool:
                left = Hold.objects.values_list("amount", flat=True).get(pk=purse.pk)
                if left < 100:
                    return False
                Hold.objects.filter(pk=purse.pk).update(expires_at=NOON + MINUTE)
                return True

            paid += sum(end is True for end in people.act(take))

    assert paid > len(who)


def test_r04_a_hold_captured_and_voided_at_once_ends_one_way(acme: Client) -> None:
    live()
    who = [new_member(f"member {n}") for n in range(20)]
    holds = []
    for member in who:
        adjust(member, 100)
        holds.append(hold(member, 100))
    with crowd(4, acme) as people:
        for held in holds:
            ends = people.act(lambda place, held=held: void(held) if place % 2 else capture(held))
            captured = [end for end in ends if isinstance(end, LedgerEntry)]
            voided = [end for end in ends if isinstance(end, Hold)]
            assert (len(captured), len(voided)) in {(2, 0), (0, 2)}
            assert all(isinstance(end, HoldSettled) for end in ends if end not in [*captured, *voided])

    states = tell(Hold.objects.all(), "state")
    assert sum(map(points, who)) == 100 * states.count("voided")


def test_members_locked_in_any_order_never_wait_for_each_other_in_a_ring(acme: Client) -> None:
    """Overdue holds are released while points lapse and members are credited: no deadlock."""
    live(units=[unit(expiry=A_MONTH)])
    who = [new_member(f"member {n}") for n in range(40)]
    for n, member in enumerate(who):
        rich(member, 100, 100)
        hold(member, 50, lasts=(100 - n) * MINUTE)
    later = NOON + 60 * DAY
    with crowd(4, acme) as people:
        for _round in range(3):
            ends = people.act(
                lambda place: (
                    release_overdue_holds(at=later) if place % 2 else service.expire_points(at=later, zone=BERLIN)
                )
            )
            assert [end for end in ends if isinstance(end, OperationalError)] == []
    while expire(at=later):
        pass
    assert sum(map(points, who)) == 0


def test_earning_spending_and_bringing_back_at_once_keep_the_books(acme: Client) -> None:
    """Four people act on two members for a while; whatever is refused, the books add up."""
    live(units=[unit(may_owe=True)])
    who = [new_member("one"), new_member("two")]
    for member in who:
        adjust(member, 300)

    def act(place: int) -> None:
        for n in range(8):
            member, receipt = who[(place + n) % 2], f"R-{place}-{n}"
            with transaction.atomic():
                if place == 0:
                    credit(limit=5)
                elif place == 1:
                    buy(member, receipt=receipt, lines=[line(100 + n, sku="tea")])
                elif place == 2:
                    try:
                        with transaction.atomic():
                            spend(member, 60)
                    except NotEnoughPoints:
                        pass
                else:
                    bring_back(member, receipt=receipt, lines=[line(50, sku="tea")], at=NOON + MINUTE)

    with crowd(4, acme) as people:
        ends = people.act(act)
    assert [end for end in ends if end] == []
    credit()
    bought = sum(100 + n for n in range(8))
    assert sum(map(points, who)) <= 600 + bought
    assert LedgerEntry.objects.filter(kind="spend").count() > 0


def test_negative_control_without_the_lock_holds_pin_more_than_there_is(
    acme: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our own service without its lock: the same crowd pins one lot several times over, and the invariants see it."""
    from tenants.context import client_connection
    from tests.members import invariants

    live()
    who = [new_member(f"member {n}") for n in range(10)]
    for member in who:
        adjust(member, 100)
    monkeypatch.setattr(ledger, "lock", lambda _ids: None)
    with crowd(20, acme) as people:
        holds = [
            end for member in who for end in people.act(lambda _p, m=member: hold(m, 100)) if isinstance(end, Hold)
        ]
    with client_connection().cursor() as cursor:
        found = [problem.partition(":")[0] for problem in invariants.problems(cursor)]
    assert len(holds) > len(who)
    assert "what is held is what open holds pin" in found
    # Put right again for the check that follows every test.
    Hold.objects.all().delete()
    Lot.objects.update(held=0)


def test_the_services_refuse_to_work_outside_a_transaction(ana: Member) -> None:
    live()
    rich(ana, 100)
    with pytest.raises(transaction.TransactionManagementError):
        service.hold_points(member_id=ana.pk, unit=the_unit(), amount=1, key="K", at=NOON, zone=BERLIN)
