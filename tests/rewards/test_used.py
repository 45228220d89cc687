"""A reward used on a sale: what it paid earns nothing, and its points go back with what comes back of the sale."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import transaction

from loyalty_saas.flows.purchases import take_purchase
from members.models import LedgerEntry, Lot, Member, Purchase
from members.services.enrolment import merge_members
from members.services.refusals import Refused
from rewards.models import RewardIssue
from rewards.services import UnknownRedemption, redeem, take_back_redemption, use_on_sale, used
from tests.members.world import (
    BERLIN,
    DAY,
    NOON,
    adjust,
    balance_of,
    bring_back,
    credit,
    line,
    live,
    per_amount,
    points,
    purchase,
    rule,
    sold,
    tell,
    unit,
)

CASH = {"code": "five", "name": "Five off", "kind": "money", "unit": "points", "price": 700, "value": 500}
MUG = {"code": "mug", "name": "Mug", "kind": "product", "unit": "points", "price": 100, "value": 300}
EURO = rule("euro", per_amount(1, 100))


@pytest.fixture
def shelf(acme: Any) -> None:
    live(EURO, rewards=[CASH, MUG], units=[unit(may_owe=True, expiry={"policy": "rolling", "months": 12})])


def reserve(who: Member, code: str = "five") -> RewardIssue:
    with transaction.atomic():
        return redeem(member_id=who.pk, reward_code=code, key=uuid4().hex, at=NOON, zone=BERLIN)


def sell(who: Member, receipt: str, *issues: RewardIssue, lines: list[Any], **given: Any) -> Purchase:
    """Record a sale on which these rewards are used."""
    sale = purchase(who, receipt=receipt, lines=lines, **given)
    take_purchase(purchase=sale, at=NOON, answer={}, redemptions=[one.pk for one in issues])
    return sold(receipt)


def lots(who: Member) -> list[tuple[int, Any]]:
    open_lots = Lot.objects.filter(account__member=who, remaining__gt=0)
    return sorted(tell(open_lots, "remaining", "expires_at"))


def issue_now(issue: RewardIssue) -> tuple[str, int]:
    issue.refresh_from_db()
    return issue.state, issue.given_back


def save_up(who: Member) -> None:
    """Three lots of different ages."""
    for n, amount in enumerate((400, 200, 300)):
        adjust(who, amount, at=NOON - (30 - n) * DAY)


def test_r07_a_full_return_gives_the_reward_s_points_back_to_their_lots(shelf: None, ana: Member) -> None:
    save_up(ana)
    before = lots(ana)
    issue = reserve(ana)
    sale = sell(ana, "R-1", issue, lines=[line(1500, sku="tea"), line(500, sku="cup")])
    credit()
    assert (sale.paid_by_points, points(ana), issue_now(issue)) == (500, 200 + 15, ("used", 0))
    assert RewardIssue.objects.get().purchase_id == sale.pk

    bring_back(ana, receipt="B-1", sale="R-1", at=NOON + DAY)
    credit()
    assert (lots(ana), issue_now(issue)) == (before, ("cancelled", 700))


@pytest.mark.parametrize("limit", [1, 500])
def test_r07_any_split_of_returns_gives_back_what_the_whole_does(shelf: None, ana: Member, limit: int) -> None:
    save_up(ana)
    before = lots(ana)
    issue = reserve(ana)
    sell(ana, "R-1", issue, lines=[line(1500, sku="tea", quantity=3), line(499, sku="cup")])
    credit(limit=limit)
    given = []
    for n, sku in enumerate(("tea", "cup", "tea", "tea")):
        bring_back(ana, receipt=f"B-{n}", sale="R-1", lines=[line(0, sku=sku)], at=NOON + DAY)
        credit(limit=limit)
        given.append(issue_now(issue)[1])
    # 5.00, 9.99, 14.99 and 19.99 of 19.99 came back.
    assert given == [700 * 500 // 1999, 700 * 999 // 1999, 700 * 1499 // 1999, 700]
    assert (lots(ana), issue.state) == (before, "cancelled")
    restored = LedgerEntry.objects.filter(kind="restore")
    assert sum(tell(restored, "amount")) == 700
    assert {entry.corrects_id for entry in restored} == {issue.hold.entry_id or RewardIssue.objects.get().hold.entry_id}


def test_r07_negative_control_shares_rounded_one_by_one_would_not_add_up(
    shelf: None, ana: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    from decimal import Decimal

    def one_by_one(*, price: int, sale_id: UUID) -> int:
        return int(price * Decimal(333) / 1000) + RewardIssue.objects.get().given_back

    monkeypatch.setattr(used, "_share_back", one_by_one)
    save_up(ana)
    issue = reserve(ana)
    sell(ana, "R-1", issue, lines=[line(3000, sku="tea", quantity=3)])
    for n in range(3):
        bring_back(ana, receipt=f"B-{n}", sale="R-1", lines=[line(0, sku="tea")], at=NOON + DAY)
        credit()
    assert issue_now(issue) == ("used", 699)


def test_a_return_that_came_before_its_sale_gives_the_reward_back_too(shelf: None, ana: Member) -> None:
    save_up(ana)
    bring_back(ana, receipt="B-1", sale="R-1", lines=[line(1000, sku="tea")], at=NOON + DAY)
    credit()
    issue = reserve(ana)
    sell(ana, "R-1", issue, lines=[line(1000, sku="tea")])
    credit()
    assert (points(ana), issue_now(issue)) == (900, ("cancelled", 700))


def test_a_void_gives_it_back_and_a_free_sale_by_its_pieces(shelf: None, ana: Member) -> None:
    save_up(ana)
    cash, mug = reserve(ana), reserve(ana, "mug")
    sell(ana, "R-1", cash, lines=[line(500, sku="tea")])
    sell(ana, "R-2", mug, lines=[line(0, sku="mug", quantity=4)])
    bring_back(ana, receipt="V-1", sale="R-1", kind="void", at=NOON + DAY)
    bring_back(ana, receipt="B-2", sale="R-2", lines=[line(0, sku="mug")], at=NOON + DAY)
    credit()
    assert (issue_now(cash), issue_now(mug)) == (("cancelled", 700), ("used", 25))
    assert sold("R-2").paid_by_points == 0


def test_what_was_paid_is_told_or_follows_from_money_off_and_never_more_than_the_sale(shelf: None, ana: Member) -> None:
    save_up(ana)
    assert sell(ana, "R-1", reserve(ana), lines=[line(300)]).paid_by_points == 300
    adjust(ana, 1000)
    assert sell(ana, "R-2", reserve(ana), lines=[line(2000)], paid_by_points=800).paid_by_points == 800
    credit()
    # Nothing of 3.00, and 12.00 of 20.00.
    assert sum(tell(LedgerEntry.objects.filter(kind="earn"), "amount")) == 12


def test_points_given_back_after_a_merge_follow_to_the_member_kept(shelf: None, ana: Member, bob: Member) -> None:
    save_up(bob)
    sell(bob, "R-1", reserve(bob), lines=[line(1000, sku="tea")])
    credit()
    with transaction.atomic():
        merge_members(kept_id=ana.pk, double_id=bob.pk, at=NOON, by=None, zone=BERLIN)
    bring_back(ana, receipt="B-1", sale="R-1", at=NOON + DAY)
    credit()
    assert (points(ana), points(bob), balance_of(ana, at=NOON + DAY).debt) == (900, 0, 0)


@pytest.mark.parametrize("case", ["unknown", "another's", "on another sale", "cancelled", "no sale"])
def test_a_reward_that_cannot_be_used_leaves_neither_sale_nor_spend(
    shelf: None, ana: Member, bob: Member, case: str
) -> None:
    save_up(ana)
    save_up(bob)
    issue = reserve(bob if case == "another's" else ana, "mug")
    if case == "on another sale":
        sell(ana, "R-0", issue, lines=[line(100)])
    if case == "cancelled":
        RewardIssue.objects.update(state="cancelled")
    sales = Purchase.objects.count()
    kind = {"kind": "return", "sale_document": "R-9", "amount": -100} if case == "no sale" else {}
    with pytest.raises(UnknownRedemption if case == "unknown" else Refused):
        take_purchase(
            purchase=purchase(ana, receipt="R-1", **({"lines": [line(100)]} | kind)),
            at=NOON,
            answer={},
            redemptions=[uuid4() if case == "unknown" else issue.pk],
        )
    assert Purchase.objects.count() == sales
    assert issue_now(issue)[1] == 0


def test_used_again_on_the_same_sale_is_no_harm_and_it_is_not_undone_by_itself(shelf: None, ana: Member) -> None:
    save_up(ana)
    issue = reserve(ana)
    sale = sell(ana, "R-1", issue, lines=[line(1000)])
    with transaction.atomic():
        use_on_sale(redemptions=[issue.pk], sale_id=sale.pk, at=NOON, zone=BERLIN)
    with transaction.atomic(), pytest.raises(Refused):
        take_back_redemption(issue_id=issue.pk, reason="Undone", at=NOON, zone=BERLIN)
    assert LedgerEntry.objects.filter(kind="spend").count() == 1


def test_a_reward_given_back_with_its_sale_cannot_be_given_back_again(shelf: None, ana: Member) -> None:
    save_up(ana)
    issue = reserve(ana)
    sell(ana, "R-1", issue, lines=[line(1000)])
    bring_back(ana, receipt="V-1", sale="R-1", kind="void", at=NOON + DAY)
    credit()
    with transaction.atomic(), pytest.raises(Refused):
        take_back_redemption(issue_id=issue.pk, reason="Undone", at=NOON, zone=BERLIN)
    assert points(ana) == 900


def test_crediting_asks_for_no_rewards_unless_something_came_back(shelf: None, ana: Member) -> None:
    from django.db import connections
    from django.test.utils import CaptureQueriesContext

    save_up(ana)
    sell(ana, "R-1", reserve(ana), lines=[line(1000)])
    with CaptureQueriesContext(connections["default"]) as seen:
        credit()
    assert not [one for one in seen if "rewards_rewardissue" in one["sql"]]
