"""Points go from one member to another with their dates, once per key; and two memberships become one."""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import transaction

from members.ledger import NotEnoughPoints
from members.models import LedgerEntry, Lot, Member, RuleState, TierGrant, TierStatus, Transfer, WorkItem
from members.queries import entries_of
from members.services.enrolment import merge_members
from members.services.limits import MANAGERS_LIMITS, OWNERS_LIMITS, HandLimits, OverLimit
from members.services.refusals import KeyReused, Refused, UnknownMember
from members.services.transfers import transfer_by_hand, transfer_points
from tenants.models import Client
from tests.members.world import (
    BERLIN,
    DAY,
    NOON,
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
    rule,
    spend,
    tell,
    the_unit,
    unit,
)

MANAGER = UUID(int=7)


def give(
    source: Member,
    target: Member,
    amount: int,
    *,
    key: str = "",
    at: datetime = NOON,
    code: str = "points",
    **given: Any,
) -> Transfer:
    """Move points from one to another."""
    with transaction.atomic():
        return transfer_points(
            from_id=source.pk, to_id=target.pk, unit=the_unit(code), amount=amount, key=key or str(uuid4()),
            reason=given.pop("reason", "A present"), at=at, zone=BERLIN, **given,
        )  # fmt: skip


def by_hand(source: Member, target: Member, amount: int, *, limits: HandLimits, by: UUID = MANAGER) -> Transfer:
    with transaction.atomic():
        return transfer_by_hand(
            from_id=source.pk, to_id=target.pk, unit=the_unit(), amount=amount, reason="Asked at the counter",
            key=str(uuid4()), limits=limits, by=by, at=NOON, zone=BERLIN,
        )  # fmt: skip


def merge(kept: Member, double: Member, *, at: datetime = NOON) -> None:
    with transaction.atomic():
        merge_members(kept_id=kept.pk, double_id=double.pk, at=at, by=None, zone=BERLIN)


def dates(who: Member) -> list[tuple[int, datetime | None]]:
    """What remains in each lot with its end, soonest first."""
    return list(Lot.objects.filter(account__member=who, remaining__gt=0).order_by("expires_at", "pk").values_list("remaining", "expires_at"))  # fmt: skip


# ── transfers ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_points_arrive_lot_by_lot_with_their_dates_soonest_expiry_first(ana: Member, bob: Member) -> None:
    live(units=[unit(expiry={"policy": "rolling", "months": 1})])
    for days, amount in ((5, 100), (0, 50), (9, 30)):
        buy(ana, receipt=f"{days}", lines=[line(amount)], at=NOON + days * DAY)
    credit(at=NOON + 9 * DAY)
    ends = dict(dates(ana))
    give(ana, bob, 120, at=NOON + 10 * DAY)

    assert (points(ana), points(bob)) == (60, 120)
    assert dates(bob) == [(50, ends[50]), (70, ends[100])]
    assert dates(ana) == [(30, ends[100]), (30, ends[30])]


def test_both_entries_sum_to_nothing_and_name_each_other(ana: Member, bob: Member) -> None:
    live()
    adjust(ana, 100)
    made = give(ana, bob, 40)

    out, came = LedgerEntry.objects.filter(kind="move").order_by("amount")
    assert (out.amount, came.amount, came.corrects_id) == (-40, 40, out.pk)
    assert str(made.pk) in out.key
    assert [one.other_number for one in entries_of(bob.pk)] == [ana.number]  # type: ignore[attr-defined]
    assert entries_of(ana.pk)[0].other_number == bob.number  # type: ignore[attr-defined]


def test_a_transfer_happens_once_per_key(ana: Member, bob: Member) -> None:
    live()
    adjust(ana, 100)
    assert give(ana, bob, 40, key="K") == give(ana, bob, 40, key="K")
    for source, target, amount in ((ana, bob, 41), (bob, ana, 40)):
        with pytest.raises(KeyReused):
            give(source, target, amount, key="K")

    assert (points(ana), points(bob)) == (60, 40)


def test_only_what_is_available_can_be_moved(ana: Member, bob: Member) -> None:
    live(units=[unit(pending_days=3)])
    buy(ana, receipt="old", lines=[line(100)], at=NOON - 9 * DAY)
    buy(ana, receipt="new", lines=[line(70)])
    credit()
    hold(ana, 30)
    with pytest.raises(NotEnoughPoints) as refusal:
        give(ana, bob, 71)

    assert (refusal.value.asked, refusal.value.available) == (71, 70)
    give(ana, bob, 70)
    assert (balance_of(ana).available, balance_of(ana).pending, balance_of(ana).held) == (0, 70, 30)


def test_what_arrives_pays_a_debt_first(ana: Member, bob: Member) -> None:
    live(units=[unit(may_owe=True)])
    buy(bob, receipt="R", lines=[line(50)])
    credit()
    spend(bob, 50)
    bring_back(bob, receipt="B", sale="R", at=NOON + DAY)
    credit(at=NOON + DAY)
    adjust(ana, 100)
    give(ana, bob, 80, at=NOON + DAY)

    assert (balance_of(bob).balance, balance_of(bob).debt) == (30, 0)


@pytest.mark.parametrize(
    ("source", "target", "amount", "reason", "field"),
    [("ana", "ana", 1, "x", "to_member"), ("ana", "bob", 0, "x", "amount"), ("ana", "bob", -1, "x", "amount"),
     ("ana", "bob", 1, "  ", "reason"), ("gone", "bob", 1, "x", "from_member"), ("ana", "gone", 1, "x", "to_member")],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_and_moves_nothing(
    ana: Member, bob: Member, source: str, target: str, amount: int, reason: str, field: str
) -> None:
    live()
    adjust(ana, 100)
    gone = new_member("gone")
    merge(bob, gone)
    who = {"ana": ana, "bob": bob, "gone": gone}
    with pytest.raises(Refused) as refusal:
        give(who[source], who[target], amount, reason=reason)

    assert refusal.value.field == field
    assert points(ana) == 100


def test_nobody_s_points_cannot_be_moved(ana: Member) -> None:
    live()
    with pytest.raises(UnknownMember):
        give(ana, Member(), 1)


def test_by_hand_the_limits_of_corrections_hold_and_count_together(ana: Member, bob: Member) -> None:
    live()
    adjust(ana, 50_000)
    with pytest.raises(OverLimit):
        by_hand(ana, bob, 501, limits=MANAGERS_LIMITS)
    for _n in range(4):
        by_hand(ana, bob, 500, limits=MANAGERS_LIMITS)
    with pytest.raises(OverLimit):
        by_hand(ana, bob, 1, limits=MANAGERS_LIMITS)
    by_hand(ana, bob, 1, limits=MANAGERS_LIMITS, by=UUID(int=8))
    by_hand(ana, bob, 10_000, limits=OWNERS_LIMITS)

    assert points(bob) == 12_001


def test_r01_a_ring_of_transfers_at_once_loses_nothing_and_nobody_waits_for_ever(acme: Client) -> None:
    live()
    ring = [new_member(f"r{n}") for n in range(5)]
    for one in ring:
        adjust(one, 100)
    with crowd(5, acme) as people:
        for _round in range(10):
            met = people.act(lambda n: _give_on(ring[n], ring[(n + 1) % 5], 30))
            assert not [one for one in met if isinstance(one, Exception) and not isinstance(one, NotEnoughPoints)]
    assert sum(points(one) for one in ring) == 500


def _give_on(source: Member, target: Member, amount: int) -> Transfer:
    return transfer_points(
        from_id=source.pk, to_id=target.pk, unit=the_unit(), amount=amount, key=str(uuid4()), reason="On", at=NOON,
        zone=BERLIN,
    )  # fmt: skip


# ── merges ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_purchases_in_flight_are_credited_to_the_member_kept(ana: Member, bob: Member) -> None:
    live()
    buy(bob, receipt="waiting", lines=[line(70)])
    merge(ana, bob)
    # Sent at the very moment of the merge: it still names the double.
    buy(bob, receipt="at once", lines=[line(30)])
    assert WorkItem.objects.filter(member=ana).count() == 1
    assert credit() == 2

    assert (points(ana), points(bob)) == (100, 0)


def test_what_a_rule_has_carried_and_given_under_its_cap_is_added_up(ana: Member, bob: Member) -> None:
    carry = rule("carry", {"kind": "per_amount", "points": 1, "per": 100}, remainder="carry",
                 caps={"per_member": {"period": "year", "points": 5}})  # fmt: skip
    live(carry)
    for who in (ana, bob):
        buy(who, receipt=f"{who.number}", lines=[line(160)])
    credit()
    merge(ana, bob)
    state = RuleState.objects.get()
    assert (state.member_id, state.used, state.remainder) == (ana.pk, {"2026": 2}, 120 * _scale(state, 60))

    buy(ana, receipt="next", lines=[line(500)], at=NOON + DAY)
    credit(at=NOON + DAY)
    assert points(ana) == 5


def _scale(state: RuleState, of_one: int) -> int:
    """In which parts the remainder is kept: both had `of_one` left."""
    assert state.remainder % (2 * of_one) == 0
    return state.remainder // (2 * of_one)


def test_the_tier_is_judged_by_what_both_did(ana: Member, bob: Member) -> None:
    live(tiers={"basis": "spend", "levels": [level("silver", 150), level("gold", 1000)]})
    for who in (ana, bob):
        buy(who, receipt=f"{who.number}", lines=[line(100)])
    credit()
    assert set(TierStatus.objects.values_list("tier", flat=True)) == {""}
    merge(ana, bob)

    assert tell(TierStatus.objects.all(), "member_id", "tier") == [(ana.pk, "silver")]


def test_a_tier_given_to_the_double_by_hand_is_kept(ana: Member, bob: Member) -> None:
    live(tiers={"basis": "spend", "levels": [level("silver", 150), level("gold", 1000)]})
    TierGrant.objects.create(
        member=bob, tier="gold", reason="Jury", since=NOON - DAY, until=NOON + 30 * DAY, made_by=None
    )
    merge(ana, bob)

    open_grants = TierGrant.objects.filter(ended_at=None)
    assert tell(open_grants, "member_id", "tier", "until") == [(ana.pk, "gold", NOON + 30 * DAY)]


def test_a_reward_of_the_double_given_back_after_the_merge_goes_to_the_member_kept(ana: Member, bob: Member) -> None:
    live(units=[unit(expiry={"policy": "rolling", "months": 1})])
    buy(bob, receipt="R", lines=[line(100)])
    credit()
    ends = dates(bob)[0][1]
    spent = spend(bob, 60)
    merge(ana, bob)
    restore(spent, at=NOON + DAY)

    assert (points(ana), points(bob)) == (100, 0)
    assert dates(ana) == [(40, ends), (60, ends)]
    assert restore(spent, at=NOON + DAY).amount == 60
    assert points(ana) == 100
    assert ends is not None
    assert expire(at=ends) == 2


def test_a_merge_is_refused_in_words_while_points_are_held(ana: Member, bob: Member) -> None:
    live()
    adjust(bob, 100)
    held = hold(bob, 100)
    with pytest.raises(Refused, match="held for a reward"):
        merge(ana, bob)
    capture(held)
    merge(ana, bob)
