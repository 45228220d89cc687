"""A member leaves: points lapse, debts are let go of, what others lent goes back, and nothing leads to them any more."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from django.db import transaction

from loyalty_saas.flows.leaving import leave
from members import queries
from members.models import (
    AdjustmentRequest,
    CardSession,
    Consent,
    Hold,
    HouseholdMember,
    Identifier,
    LedgerEntry,
    Lot,
    Member,
    TierGrant,
    WorkItem,
)
from members.services import closing, points
from members.services.approvals import ask_for_adjustment
from members.services.cards import Gone, LinkGone, card_code_of, make_link, open_link
from members.services.enrolment import NewMember, enrol, merge_members
from members.services.households import make_household
from members.services.points import NotEnoughPoints
from members.services.refusals import Refused, UnknownMember
from members.services.tier_grants import give_tier
from programs.queries import program_in_force
from rewards.models import RewardIssue
from rewards.services import capture_redemption, redeem
from tests.members import world
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
    hold,
    level,
    line,
    live,
    spend,
    tell,
    the_unit,
    unit,
    void,
)

COFFEE = {"code": "coffee", "name": "Coffee", "kind": "product", "unit": "points", "price": 60, "value": 60}
WHY = "Moves away"


def close(member: Member, *, reason: str = WHY, by: UUID | None = None, days: int = 0) -> Member:
    closed, _now = leave(member_id=member.pk, reason=reason, at=NOON + days * DAY, zone=BERLIN, by=by)
    return closed


def movements(member: Member) -> list[tuple[str, int, str]]:
    entries = LedgerEntry.objects.filter(account__member=member).order_by("pk")
    return tell(entries, "kind", "amount", "reason")


def has(member: Member) -> tuple[int, int, int]:
    """Balance, debt and what is held."""
    mine = balance_of(member)
    return mine.balance, mine.debt, mine.held


# ── points ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_all_that_a_leaver_has_lapses_pending_or_not_with_the_reason(ana: Member) -> None:
    live(units=[unit(pending_days=14)])
    adjust(ana, 30, at=NOON - 30 * DAY)
    buy(ana, receipt="R-1", lines=[line(500)])
    credit()
    staff = uuid4()

    assert close(ana, by=staff).status == "closed"

    assert has(ana) == (0, 0, 0)
    assert movements(ana)[2:] == [
        ("expire", -30, f"Membership ended: {WHY}"),
        ("expire", -500, f"Membership ended: {WHY}"),
    ]
    lapsed = LedgerEntry.objects.filter(kind="expire")
    assert {entry.made_by for entry in lapsed} == {staff}
    assert {entry.corrects_id for entry in lapsed} == set(Lot.objects.values_list("pk", flat=True))


def test_what_a_leaver_owes_is_let_go_of(ana: Member) -> None:
    live(units=[unit(may_owe=True)])
    buy(ana, receipt="R-1", lines=[line(500)])
    credit()
    spend(ana, 500)
    bring_back(ana, receipt="B-1", sale="R-1", lines=[line(500)])
    credit()
    assert has(ana) == (-500, 500, 0)

    close(ana)

    assert has(ana) == (0, 0, 0)
    assert movements(ana)[-1] == ("adjust", 500, f"Membership ended: {WHY}")


def test_closing_again_changes_nothing(ana: Member) -> None:
    live()
    adjust(ana, 30)
    close(ana)
    before = movements(ana)

    assert close(ana, reason="Again", days=1).status == "closed"
    assert movements(ana) == before


@pytest.mark.parametrize("reason", ["", "  "])
def test_without_a_reason_nothing_happens(ana: Member, reason: str) -> None:
    live(rewards=[COFFEE])
    adjust(ana, 100)
    with transaction.atomic():
        redeem(member_id=ana.pk, reward_code="coffee", key="K", at=NOON, zone=BERLIN)

    with pytest.raises(Refused) as refused:
        close(ana, reason=reason)

    assert refused.value.field == "reason"
    ana.refresh_from_db()
    assert (ana.status, has(ana)) == ("active", (100, 0, 60))


def test_who_has_become_another_member_or_never_was_one_cannot_leave(ana: Member, bob: Member) -> None:
    live()
    with transaction.atomic():
        merge_members(kept_id=ana.pk, double_id=bob.pk, at=NOON, by=None, zone=BERLIN)

    with pytest.raises(Refused, match="merged"):
        close(bob)
    with pytest.raises(UnknownMember):
        leave(member_id=uuid4(), reason=WHY, at=NOON, zone=BERLIN)


def test_the_reason_is_kept_as_far_as_it_fits(ana: Member) -> None:
    live()
    adjust(ana, 1)

    close(ana, reason="x" * 500)

    assert len(movements(ana)[-1][2]) < 200


# ── what is held and lent ───────────────────────────────────────────────────────────────────────────────────────────


def test_what_was_held_is_let_go_of_and_cannot_be_spent_after_all(ana: Member) -> None:
    live()
    adjust(ana, 100)
    held = hold(ana, 60)

    close(ana)

    held.refresh_from_db()
    assert (held.state, has(ana)) == ("voided", (0, 0, 0))
    with pytest.raises(points.HoldSettled):
        capture(held)


def test_what_the_household_lent_a_leaver_goes_back_and_the_household_ends_without_members(
    ana: Member, bob: Member
) -> None:
    live()
    adjust(ana, 10)
    adjust(bob, 100)
    with transaction.atomic():
        make_household(name="Home", member_ids=[ana.pk, bob.pk], at=NOON)
    hold(ana, 50)
    assert has(bob)[0] == 60

    close(ana)

    assert (has(ana), has(bob)) == ((0, 0, 0), (100, 0, 0))
    assert list(HouseholdMember.objects.filter(left_at=None).values_list("member", flat=True)) == [bob.pk]


def test_what_a_leaver_had_lent_lapses_when_it_comes_back(ana: Member, bob: Member) -> None:
    live()
    adjust(ana, 100)
    with transaction.atomic():
        make_household(name="Home", member_ids=[ana.pk, bob.pk], at=NOON)
    held = hold(bob, 50)
    close(ana)

    void(held)

    assert (has(ana), has(bob)) == ((0, 0, 0), (0, 0, 0))
    assert movements(ana)[-2:] == [("move", 50, ""), ("expire", -50, "Membership ended")]


# ── what comes later ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_sale_that_still_waited_is_credited_traced_and_lapses_at_once(ana: Member) -> None:
    live()
    sale = buy(ana, receipt="R-1", lines=[line(500)])
    close(ana)

    assert credit() == 1

    assert (has(ana), WorkItem.objects.count()) == ((0, 0, 0), 0)
    assert movements(ana) == [("earn", 500, ""), ("expire", -500, "Membership ended")]
    assert [trace.amount for trace in queries.traces_of([sale.purchase_id])[sale.purchase_id]] == [500]


def test_a_return_after_leaving_owes_nothing(ana: Member) -> None:
    live(units=[unit(may_owe=True)])
    buy(ana, receipt="R-1", lines=[line(500)])
    credit()
    close(ana)
    bring_back(ana, receipt="B-1", sale="R-1", lines=[line(500)])

    credit()

    assert has(ana) == (0, 0, 0)
    assert [kind for kind, _amount, _why in movements(ana)] == ["earn", "expire", "reverse", "adjust"]


def test_a_batch_of_many_touches_only_those_who_left(ana: Member, bob: Member) -> None:
    live()
    for place, one in enumerate((ana, bob, ana, bob)):
        buy(one, receipt=f"R-{place}", lines=[line(100)])
    close(ana)

    assert credit() == 4
    assert (has(ana)[0], has(bob)[0]) == (0, 200)


def test_a_spend_given_back_after_leaving_lapses(ana: Member) -> None:
    live()
    adjust(ana, 100)
    spent = spend(ana, 40)
    close(ana)

    world.restore(spent)

    assert has(ana) == (0, 0, 0)
    assert movements(ana)[-2:] == [("restore", 40, "A mistake"), ("expire", -40, "Membership ended")]


def test_the_spend_of_a_double_given_back_after_the_member_kept_has_left_lapses(ana: Member, bob: Member) -> None:
    live()
    adjust(bob, 100)
    spent = spend(bob, 40)
    with transaction.atomic():
        merge_members(kept_id=ana.pk, double_id=bob.pk, at=NOON, by=None, zone=BERLIN)
    close(ana)

    world.restore(spent)

    assert (has(ana), has(bob)) == ((0, 0, 0), (0, 0, 0))


def test_nothing_is_given_or_held_any_more(ana: Member, bob: Member) -> None:
    live()
    close(ana)

    with pytest.raises(UnknownMember):
        adjust(ana, 10)
    with pytest.raises(NotEnoughPoints):
        hold(ana, 10)
    with pytest.raises(Refused), transaction.atomic():
        merge_members(kept_id=bob.pk, double_id=ana.pk, at=NOON, by=None, zone=BERLIN)


# ── rewards, tiers, requests ────────────────────────────────────────────────────────────────────────────────────────


def test_rewards_reserved_or_not_used_yet_are_cancelled_and_those_used_stay_used(ana: Member) -> None:
    live(rewards=[COFFEE])
    adjust(ana, 300)

    def take(key: str, *, end: str) -> RewardIssue:
        with transaction.atomic():
            issue = redeem(member_id=ana.pk, reward_code="coffee", key=key, at=NOON, zone=BERLIN)
            if end == "reserved":
                return issue
            capture_redemption(issue_id=issue.pk, at=NOON, zone=BERLIN)
        RewardIssue.objects.filter(pk=issue.pk).update(state=end)
        return issue

    reserved, issued, used = (take(end, end=end) for end in ("reserved", "issued", "used"))

    close(ana)

    states = dict(RewardIssue.objects.values_list("pk", "state"))
    assert [states[one.pk] for one in (reserved, issued, used)] == ["cancelled", "cancelled", "used"]
    assert has(ana) == (0, 0, 0)


def test_a_tier_given_by_hand_ends_with_the_membership(ana: Member) -> None:
    live(tiers={"basis": "spend", "period_months": 12, "levels": [level("gold", 1000)]})
    with transaction.atomic():
        give_tier(
            member_id=ana.pk, tier="gold", reason="Guest", last_day=(NOON + 90 * DAY).date(), program=program_in_force(),
            by=uuid4(), at=NOON, zone=BERLIN,
        )  # fmt: skip

    close(ana, days=1)

    assert TierGrant.objects.get().ended_at == NOON + DAY
    assert queries.tier_changes_of([ana.pk]).first().after == ""


def test_nobody_is_asked_to_agree_to_a_correction_any_more(ana: Member) -> None:
    live()
    with transaction.atomic():
        ask_for_adjustment(
            member_id=ana.pk, unit=the_unit(), amount=99_999, reason="Much", key="K", by=uuid4(), at=NOON
        )

    close(ana)

    assert AdjustmentRequest.objects.get().state == "withdrawn"


# ── who they were ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_name_ways_to_be_found_consents_and_card_go_and_the_person_may_join_anew(acme: object) -> None:
    live()
    new = NewMember(
        identifiers={"email": "ana@example.com"}, name="Ana", consents={"marketing": True}, consent_text="1"
    )
    with transaction.atomic():
        ana = enrol(new=new, region="DE", at=NOON)
    code = card_code_of(ana)
    open_link(token=make_link(member_id=ana.pk, way="till", at=NOON), label="", at=NOON)
    waiting = make_link(member_id=ana.pk, way="staff", at=NOON)

    closed = close(ana)

    assert (closed.card_code, closed.identity.name, Identifier.objects.count()) == (None, "", 0)
    assert not Member.objects.filter(card_code=code).exists()
    assert Consent.objects.filter(purpose="marketing").latest("pk").granted is False
    assert CardSession.objects.get().ended_at == NOON
    with pytest.raises(LinkGone) as gone:
        open_link(token=waiting, label="", at=NOON + timedelta(seconds=1))
    assert gone.value.why in {Gone.EXPIRED, Gone.CLOSED}
    assert queries.member_ids_for([ana.number]) == {}
    with transaction.atomic():
        assert enrol(new=new, region="DE", at=NOON + DAY).pk != ana.pk


# ── at once ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_leaving_and_spending_at_once_ends_in_books_that_add_up(ana: Member, acme: object) -> None:
    live()
    for place in range(8):
        member = world.new_member(f"leaver {place}")
        adjust(member, 50)
        with crowd(4, acme) as people:
            done = people.act(lambda n, one=member: _at_once(n, one))
        assert [one for one in done if isinstance(one, Exception) and not _is_told(one)] == []
        member.refresh_from_db()
        assert (member.status, has(member)) == ("closed", (0, 0, 0))
        assert not Hold.objects.filter(account__member=member, state="held").exists()


def _at_once(place: int, member: Member) -> object:
    if place % 2:
        return closing.close_member(member_id=member.pk, reason=WHY, at=NOON, zone=BERLIN, by=None)
    return points.hold_points(
        member_id=member.pk, unit=the_unit(), amount=40, key=f"{member.pk}:{place}", at=NOON, zone=BERLIN
    )


def _is_told(error: Exception) -> bool:
    return isinstance(error, NotEnoughPoints)
