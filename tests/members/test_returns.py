"""A return takes back exactly what its lines earned: never more, never twice, however it is split."""

from datetime import timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loyalty_saas.flows.purchases import take_purchase
from members.models import (
    LedgerEntry,
    Lot,
    Member,
    ParkedReturn,
    PointsAccount,
    Purchase,
    PurchaseLine,
    ReturnMatch,
    RuleTrace,
    TierStatus,
    WorkItem,
)
from members.services import returns
from members.services.parked import dismiss_parked_return
from members.services.purchases import LineInput
from members.services.refusals import OverReturn, Refused, UnknownPurchase
from tenants.models import Client
from tests.members.world import (
    BERLIN,
    DAY,
    NOON,
    PENNY,
    balance_of,
    bring_back,
    buy,
    credit,
    crowd,
    expire,
    fixed,
    hold,
    level,
    line,
    live,
    new_member,
    per_amount,
    points,
    purchase,
    rule,
    sold,
    spend,
    tell,
    unit,
    when,
)

MINUTE = timedelta(minutes=1)
COUNT = count()
OWING = [unit(may_owe=True)]


def euro_club(**given: Any) -> None:
    """One point for each 1.00 of the purchase; ten more for tea, twenty for a cup."""
    live(
        rule("euro", per_amount(1, 100)),
        rule("tea", fixed(10), trigger="line", conditions=[when("sku", "eq", "tea")]),
        rule("cup", fixed(20), trigger="line", conditions=[when("sku", "eq", "cup")]),
        **given,
    )


def basket() -> list[LineInput]:
    """10.00 + 10.00 + 20.00."""
    return [line(1000, sku="tea"), line(1000, sku="cup"), line(2000, sku="jam")]


def parked() -> list[Any]:
    return tell(ParkedReturn.objects.order_by("pk"), "quantity", "state")


# ── the oracle ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("sku", "taken"), [("jam", 20), ("tea", 20), ("cup", 30)])
def test_r07_a_line_brought_back_takes_exactly_what_it_earned(ana: Member, sku: str, taken: int) -> None:
    euro_club()
    buy(ana, receipt="R-1", lines=basket())
    credit()
    assert points(ana) == 40 + 10 + 20

    bring_back(ana, receipt="B-1", sale="R-1", lines=[line(1000, sku=sku)])
    credit()
    assert points(ana) == 70 - taken
    assert LedgerEntry.objects.get(kind="reverse").corrects == LedgerEntry.objects.get(kind="earn")


def test_r07_negative_control_a_reversal_by_share_of_the_total_would_be_caught(
    ana: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the money came back, so half of the points would: 35 for the jam, which earned 20."""

    def by_total(match: returns.Match) -> Any:
        lines = PurchaseLine.objects.filter(purchase_id=match.sold.purchase_id)
        amount, total = lines.get(pk=match.line.id).amount, sum(one.amount for one in lines)
        for earned in match.sold.earned:
            yield earned, sum(earned.line_amounts) * amount // total

    euro_club()
    buy(ana, receipt="R-1", lines=basket())
    credit()
    monkeypatch.setattr(returns, "_shares", by_total)
    bring_back(ana, receipt="B-1", sale="R-1", lines=[line(2000, sku="jam")])
    credit()

    assert points(ana) == 70 - 35


def test_r07_a_full_return_leaves_nothing_of_the_sale(ana: Member) -> None:
    euro_club(tiers={"basis": "spend", "period_months": 12, "levels": [level("silver", 4000)]})
    buy(ana, receipt="R-1", lines=basket())
    credit()
    assert TierStatus.objects.get().tier == "silver"

    bring_back(ana, receipt="B-1", sale="R-1", at=NOON + MINUTE)
    credit()
    assert (points(ana), Lot.objects.get().remaining) == (0, 0)
    assert tell(TierStatus.objects.all(), "tier", "basis") == [("", 0)]


def test_every_rule_is_traced_with_what_it_took_back(ana: Member) -> None:
    euro_club()
    buy(ana, receipt="R-1", lines=basket())
    bring_back(ana, receipt="B-1", sale="R-1", lines=[line(1000, sku="tea"), line(1000, sku="cup")])
    credit()

    taken = RuleTrace.objects.filter(source_id=Purchase.objects.get(document="B-1").pk)
    assert dict(taken.values_list("rule__code", "amount")) == {"euro": -20, "tea": -10, "cup": -20}
    assert set(tell(taken, "reason")) == {"taken_back"}


def test_a_return_is_judged_by_the_rules_that_credited_the_sale(ana: Member) -> None:
    live(rule("euro", per_amount(5, 100)))
    buy(ana, receipt="R-1", lines=[line(1000)])
    credit()
    live(rule("euro", per_amount(1, 100)))
    bring_back(ana, receipt="B-1", sale="R-1", lines=[line(1000)])
    credit()

    assert points(ana) == 0


# ── splits ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_r07_pieces_brought_back_one_by_one_take_what_the_whole_takes(ana: Member) -> None:
    """Seven points and 10.00 over three pieces: 2 + 2 + 3, and 3.33 + 3.33 + 3.34."""
    live(rule("seven", fixed(7)), tiers={"basis": "spend", "period_months": 12, "levels": [level("silver", 1)]})
    buy(ana, receipt="R-1", lines=[line(1000, sku="tea", quantity=3)])
    for n in range(3):
        bring_back(ana, receipt=f"B-{n}", sale="R-1", lines=[line(0, sku="tea")], at=NOON + MINUTE)
    credit()

    assert tell(LedgerEntry.objects.filter(kind="reverse").order_by("id"), "amount") == [-2, -2, -3]
    assert sorted(tell(Purchase.objects.filter(kind="return"), "amount")) == [-334, -333, -333]
    assert (points(ana), TierStatus.objects.get().basis) == (0, 0)


Baskets = st.lists(
    st.tuples(
        st.sampled_from(["tea", "cup", "jam"]),
        st.integers(0, 5000),
        st.sampled_from(["1", "2", "3", "7", "0.5", "1.250"]),
        st.booleans(),
    ),
    min_size=1,
    max_size=4,
)


def _shares_of(quantity: Decimal, cuts: list[int]) -> list[Decimal]:
    """The quantity in as many parts as there are cuts, weighed by them; every part some thousandths."""
    thousandths, parts = int(quantity * 1000), []
    for cut in cuts[:-1]:
        part = min(thousandths, max(1, thousandths * cut // 10))
        if part:
            parts.append(Decimal(part) / 1000)
            thousandths -= part
    return [*parts, Decimal(thousandths) / 1000] if thousandths else parts


def _split_equals_whole(lines: list[LineInput], cuts: list[int]) -> tuple[int, int, int]:
    """Buy the same twice, bring one back whole and the other in parts; what the two members have left, and their spend."""
    n = next(COUNT)
    whole, split = new_member(f"whole {n}"), new_member(f"split {n}")
    for who in (whole, split):
        buy(who, receipt=f"R-{n} {who.number}", lines=lines)
    credit()
    earned = points(whole)
    assert points(split) == earned
    bring_back(whole, receipt=f"B-{n}", sale=f"R-{n} {whole.number}", at=NOON + MINUTE)
    for place, sold_line in enumerate(lines, start=1):
        for part, quantity in enumerate(_shares_of(sold_line.quantity, cuts)):
            back = LineInput(quantity=quantity, amount=0, position=place)
            bring_back(
                split, receipt=f"B-{n}-{place}-{part}", sale=f"R-{n} {split.number}", lines=[back], at=NOON + MINUTE
            )
            if part % 2:
                credit()
    credit()
    spent = sum(tell(Purchase.objects.filter(member=split), "amount"))
    return points(whole), points(split), spent


@pytest.fixture
def mixed_club(acme: Client) -> None:
    live(
        rule("euro", per_amount(3, 70), remainder="carry"),
        rule("tea", per_amount(7, 9), trigger="line", conditions=[when("sku", "eq", "tea")], rounding="up"),
        rule("basket", fixed(11), caps={"per_purchase": 9}),
        rule("pieces", {"kind": "per_quantity", "points": 5, "per": 2}, trigger="line"),
        units=OWING,
    )


@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(rows=Baskets, cuts=st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_r07_any_split_of_returns_equals_the_whole(
    mixed_club: None, rows: list[tuple[str, int, str, bool]], cuts: list[int]
) -> None:
    lines = [line(amount, sku=sku, quantity=quantity, earning=earning) for sku, amount, quantity, earning in rows]
    assert _split_equals_whole(lines, cuts) == (0, 0, 0)


def test_r07_negative_control_a_reversal_rounded_by_part_does_not_equal_the_whole(
    mixed_club: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def by_part(earned: int, quantity: Decimal, before: Decimal, after: Decimal) -> int:
        return int(earned * (after - before) / quantity)

    monkeypatch.setattr(returns, "reversal", by_part)
    whole, split, _spent = _split_equals_whole([line(1000, sku="tea", quantity=3)], [3, 3, 3])

    assert (whole, split > 0) == (0, True)


# ── what may come back ──────────────────────────────────────────────────────────────────────────────────────────────


def test_more_than_was_sold_is_refused_at_the_field(ana: Member) -> None:
    live()
    buy(ana, receipt="R-1", lines=[line(1000, sku="tea", quantity=2), line(500, sku="cup")])
    bring_back(ana, receipt="B-1", sale="R-1", lines=[line(500, sku="tea")])

    for receipt, back, field in [
        ("B-2", [line(0, sku="tea", quantity=2)], "lines.0.quantity"),
        ("B-3", [line(0, sku="cup"), line(0, sku="tea"), line(0, sku="tea")], "lines.2.quantity"),
        ("B-4", [line(0, sku="jam")], "lines.0.sku"),
        ("B-5", [LineInput(quantity=Decimal(1), amount=0, position=3)], "lines.0.sku"),
    ]:
        with pytest.raises(OverReturn) as refusal:
            bring_back(ana, receipt=receipt, sale="R-1", lines=back)
        assert refusal.value.field == field
        assert not Purchase.objects.filter(document=receipt).exists()
    credit()
    assert points(ana) == 1000


def test_a_second_full_return_is_refused(ana: Member) -> None:
    live()
    buy(ana, receipt="R-1", lines=[line(1000)])
    bring_back(ana, receipt="B-1", sale="R-1")
    with pytest.raises(OverReturn) as refusal:
        bring_back(ana, receipt="B-2", sale="R-1")
    assert refusal.value.field == "sale"
    credit()
    assert points(ana) == 0


def test_a_return_sent_again_counts_once(ana: Member) -> None:
    live()
    buy(ana, receipt="R-1", lines=[line(1000, sku="tea", quantity=2)])
    first = bring_back(ana, receipt="B-1", sale="R-1", lines=[line(500, sku="tea")])
    again = bring_back(ana, receipt="B-1", sale="R-1", lines=[line(500, sku="tea")])
    credit()

    assert (again.purchase_id, again.repeated, points(ana)) == (first.purchase_id, True, 500)


def test_only_a_sale_of_this_member_can_come_back(ana: Member, bob: Member) -> None:
    live()
    buy(ana, receipt="R-1", lines=[line(1000, sku="tea")])
    bring_back(ana, receipt="B-1", sale="R-1")
    with pytest.raises(Refused) as found:
        bring_back(bob, receipt="B-2", sale="R-1", lines=[line(1000, sku="tea")])
    assert found.value.field == "sale"
    with pytest.raises(UnknownPurchase):
        bring_back(ana, receipt="V-1", sale="B-1", kind="void")
    with pytest.raises(Refused):
        bring_back(ana, receipt="V-2", kind="void")


def test_a_void_takes_the_rest_of_a_sale_back(ana: Member) -> None:
    live()
    buy(ana, receipt="R-1", lines=[line(1000, sku="tea", quantity=2), line(500, sku="cup")])
    credit()
    bring_back(ana, receipt="B-1", sale="R-1", lines=[line(500, sku="tea")])
    bring_back(ana, receipt="V-1", sale="R-1", kind="void")
    credit()

    assert points(ana) == 0
    assert Purchase.objects.get(kind="void").amount == -1000
    with pytest.raises(OverReturn):
        bring_back(ana, receipt="V-2", sale="R-1", kind="void")


def test_a_sale_of_which_only_the_total_is_known_can_come_back(ana: Member, bob: Member) -> None:
    live()
    buy(ana, receipt="R-1", amount=1200)
    buy(bob, receipt="R-2", amount=1200)
    bring_back(ana, receipt="B-1", sale="R-1")
    bring_back(bob, receipt="V-2", sale="R-2", kind="void")
    credit()

    assert (points(ana), points(bob)) == (0, 0)
    assert sorted(tell(Purchase.objects.exclude(kind="sale"), "amount")) == [-1200, -1200]


def test_part_of_a_total_comes_back_only_line_by_line(ana: Member) -> None:
    """Otherwise 2.00 of 12.00 would take back the points of 12.00."""
    live()
    buy(ana, receipt="R-1", amount=1200)
    with pytest.raises(Refused) as refusal:
        bring_back(ana, receipt="B-1", sale="R-1", amount=-200)
    assert refusal.value.field == "amount"
    bring_back(ana, receipt="B-2", sale="R-1", amount=-1200)
    credit()

    assert points(ana) == 0


# ── when the sale is not credited yet ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("limit", [1, 500])
@pytest.mark.parametrize("earlier", [timedelta(0), DAY])
def test_a_return_recorded_before_its_sale_is_credited_waits_for_it(
    ana: Member, limit: int, earlier: timedelta
) -> None:
    """Even if its clock says that it came first."""
    live()
    buy(ana, receipt="R-1", lines=[line(1000, sku="tea", quantity=2)])
    bring_back(ana, receipt="B-1", sale="R-1", lines=[line(500, sku="tea")], at=NOON - earlier)
    credit(limit=limit)

    assert points(ana) == 500
    assert tell(LedgerEntry.objects.order_by("id"), "kind", "amount") == [("earn", 1000), ("reverse", -500)]


# ── without a receipt ───────────────────────────────────────────────────────────────────────────────────────────────


def test_without_a_receipt_the_newest_earlier_sales_give_back_first_up_to_what_remains(ana: Member) -> None:
    live()
    for n, (amount, quantity) in enumerate([(300, 3), (400, 2), (1000, 1)]):
        buy(ana, receipt=f"R-{n}", lines=[line(amount, sku="tea", quantity=quantity)], at=NOON + n * DAY)
    bring_back(ana, receipt="B-0", sale="R-1", lines=[line(200, sku="tea")], at=NOON + 3 * DAY)
    buy(ana, receipt="R-later", lines=[line(9000, sku="tea")], at=NOON + 9 * DAY)
    bring_back(ana, receipt="B-1", lines=[line(0, sku="tea", quantity=3)], at=NOON + 4 * DAY)
    credit(at=NOON + 10 * DAY)

    # One of R-2 (1000), the one that is left of R-1 (200), one of three of R-0 (100).
    assert points(ana) == 300 + 400 + 1000 + 9000 - 200 - 1300
    assert dict(PurchaseLine.objects.filter(purchase__kind="sale").values_list("purchase__document", "returned")) == {
        "R-0": 1, "R-1": 2, "R-2": 1, "R-later": 0,
    }  # fmt: skip
    assert parked() == []


def test_another_member_s_or_product_s_sale_gives_nothing(ana: Member, bob: Member) -> None:
    live()
    buy(bob, receipt="R-1", lines=[line(500, sku="tea")])
    buy(ana, receipt="R-2", lines=[line(500, sku="cup"), line(500)])
    bring_back(ana, receipt="B-1", lines=[line(500, sku="tea"), line(500)], at=NOON + DAY)
    credit()

    assert (points(ana), points(bob)) == (1000, 500)
    assert parked() == [(1, "open"), (1, "open")]


def test_what_finds_no_sale_is_parked_with_no_effect_on_points(ana: Member) -> None:
    live(units=OWING)
    buy(ana, receipt="R-1", lines=[line(500, sku="tea")])
    bring_back(ana, receipt="B-1", lines=[line(1500, sku="tea", quantity=3)], at=NOON + DAY)
    credit()

    assert (points(ana), balance_of(ana).debt) == (0, 0)
    assert parked() == [(2, "open")]


@pytest.mark.parametrize("limit", [1, 500])
@pytest.mark.parametrize("return_first", [False, True])
def test_a_sale_of_the_same_minute_can_come_back(ana: Member, limit: int, return_first: bool) -> None:
    """A document with lines of both signs arrives as a sale and a return of one instant, in either order."""
    live()
    if return_first:
        bring_back(ana, receipt="R-1", lines=[line(500, sku="tea")])
    buy(ana, receipt="R-1", lines=[line(500, sku="tea"), line(100, sku="cup")])
    if not return_first:
        bring_back(ana, receipt="R-1", lines=[line(500, sku="tea")])
    credit(limit=limit)

    assert (points(ana), parked()) == (100, [])


def test_a_sale_and_returns_with_and_without_receipt_in_one_batch_share_its_pieces(ana: Member) -> None:
    live(rule("seven", fixed(7)))
    buy(ana, receipt="R-1", lines=[line(1000, sku="tea", quantity=3)])
    bring_back(ana, receipt="B-1", lines=[line(0, sku="tea")], at=NOON + 2 * MINUTE)
    bring_back(ana, receipt="B-2", sale="R-1", lines=[line(0, sku="tea")], at=NOON + MINUTE)
    bring_back(ana, receipt="B-3", lines=[line(0, sku="tea", quantity=2)], at=NOON + 3 * MINUTE)
    credit()

    assert (points(ana), parked()) == (0, [(1, "open")])


def test_a_manager_dismisses_a_parked_return_once_with_a_reason(ana: Member) -> None:
    live()
    bring_back(ana, receipt="B-1", lines=[line(500, sku="tea")])
    credit()
    line_id = ParkedReturn.objects.get().pk
    with transaction.atomic(), pytest.raises(Refused) as refusal:
        dismiss_parked_return(line_id=line_id, reason="  ", by=None, at=NOON)
    assert refusal.value.field == "reason"
    with transaction.atomic():
        dismiss_parked_return(line_id=line_id, reason="Bought elsewhere", by=ana.pk, at=NOON)

    assert tell(ParkedReturn.objects.all(), "state", "reason", "settled_at") == [
        ("dismissed", "Bought elsewhere", NOON)
    ]
    assert points(ana) == 0
    with transaction.atomic(), pytest.raises(Refused):
        dismiss_parked_return(line_id=line_id, reason="Again", by=None, at=NOON)


def test_a_return_without_receipt_and_lines_is_refused(ana: Member) -> None:
    """There would be nothing to park."""
    with pytest.raises(Refused) as refusal:
        bring_back(ana, receipt="B-1", amount=-500)
    assert refusal.value.field == "lines"


# ── points that are gone ────────────────────────────────────────────────────────────────────────────────────────────


def test_r07_spent_points_become_a_debt_where_the_program_allows_it_and_later_points_pay_it(ana: Member) -> None:
    live(units=OWING)
    buy(ana, receipt="R-1", lines=[line(1000)])
    credit()
    spend(ana, 800)
    bring_back(ana, receipt="B-1", sale="R-1", at=NOON + MINUTE)
    credit()
    assert (points(ana), balance_of(ana).debt) == (-800, 800)

    for n, (balance, debt) in enumerate([(-300, 300), (200, 0), (700, 0)]):
        buy(ana, receipt=f"R-{n + 2}", lines=[line(500)], at=NOON + (n + 2) * MINUTE)
        credit(at=NOON + DAY)
        found = balance_of(ana, at=NOON + DAY)
        assert (found.balance, found.debt, found.available) == (balance, debt, max(0, balance))


def test_r07_spent_points_are_forgiven_where_the_program_allows_no_debt(ana: Member) -> None:
    live()
    buy(ana, receipt="R-1", lines=[line(1000)])
    credit()
    spend(ana, 800)
    bring_back(ana, receipt="B-1", sale="R-1", at=NOON + MINUTE)
    credit()

    assert (points(ana), balance_of(ana).debt) == (0, 0)
    assert RuleTrace.objects.get(reason="taken_back").detail == {"forgiven": 800}


@pytest.mark.parametrize(("before", "after", "debt"), [(False, True, 800), (True, False, 0)])
def test_a_new_version_decides_whether_points_may_be_owed(ana: Member, before: bool, after: bool, debt: int) -> None:
    live(units=[unit(may_owe=before)])
    buy(ana, receipt="R-1", lines=[line(1000)])
    credit()
    spend(ana, 800)
    live(units=[unit(may_owe=after)])
    bring_back(ana, receipt="B-1", sale="R-1", at=NOON + MINUTE)
    credit()

    assert balance_of(ana).debt == debt


def test_a_debt_of_the_old_version_is_still_paid_under_the_new(ana: Member) -> None:
    live(units=OWING)
    buy(ana, receipt="R-1", lines=[line(1000)])
    credit()
    spend(ana, 800)
    bring_back(ana, receipt="B-1", sale="R-1", at=NOON + MINUTE)
    credit()
    live(units=[unit(may_owe=False)])
    buy(ana, receipt="R-2", lines=[line(300)], at=NOON + 2 * MINUTE)
    credit()

    assert (points(ana), balance_of(ana).debt) == (-500, 500)


def test_points_of_other_sales_are_taken_pending_ones_first(ana: Member) -> None:
    live(units=[unit(may_owe=True, pending_days=14)])
    buy(ana, receipt="old", lines=[line(1000)])
    buy(ana, receipt="R-1", lines=[line(600)], at=NOON + MINUTE)
    credit()
    later = NOON + 20 * DAY
    spend(ana, 1200, at=later)
    buy(ana, receipt="new", lines=[line(500)], at=later)
    credit(at=later)
    bring_back(ana, receipt="B-1", sale="R-1", at=later)
    credit(at=later)

    # 400 are left of R-1's own lot; the other 200 come from what is still pending.
    assert dict(Lot.objects.values_list("entry__purchase__document", "remaining")) == {"old": 0, "R-1": 0, "new": 300}


def test_held_points_are_not_taken(ana: Member) -> None:
    live(units=OWING)
    buy(ana, receipt="R-1", lines=[line(1000)])
    credit()
    hold(ana, 700)
    bring_back(ana, receipt="B-1", sale="R-1", at=NOON + MINUTE)
    credit()

    found = balance_of(ana)
    assert (found.balance, found.held, found.debt, found.available) == (0, 700, 700, 0)


def test_a_return_after_the_sale_s_points_expired_takes_other_points(ana: Member) -> None:
    live(units=[unit(may_owe=True, expiry={"policy": "rolling", "months": 1})])
    buy(ana, receipt="R-1", lines=[line(1000)])
    credit()
    later = NOON + 60 * DAY
    assert expire(at=later) == 1
    buy(ana, receipt="R-2", lines=[line(1500)], at=later)
    bring_back(ana, receipt="B-1", sale="R-1", at=later)
    credit(at=later)

    assert points(ana) == 500


def test_a_unit_with_a_long_code_comes_back_too(ana: Member) -> None:
    code = "a-unit-with-as-long-a-code-as-may-be"[:30]
    live({**PENNY, "unit": code}, units=[unit(code)])
    buy(ana, receipt="R-1", lines=[line(1000)])
    bring_back(ana, receipt="B-1", sale="R-1")
    credit()

    assert not WorkItem.objects.exists()
    assert points(ana, code) == 0


# ── at once ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _race_for_the_last_piece(client: Client, people: Any, round_: int) -> list[Any]:
    ana = new_member(f"ana {round_}")
    buy(ana, receipt=f"R-{round_}", lines=[line(1000, sku="tea", quantity=3)])
    bring_back(ana, receipt=f"B-{round_}", sale=f"R-{round_}", lines=[line(0, sku="tea", quantity=2)])
    credit()
    return people.act(
        lambda place: bring_back(ana, receipt=f"B-{round_}-{place}", sale=f"R-{round_}", lines=[line(0, sku="tea")])
    )


def test_the_last_piece_comes_back_once_when_several_bring_it_at_once(acme: Client) -> None:
    live(rule("seven", fixed(7)))
    with crowd(4, acme) as people:
        for round_ in range(10):
            ends = _race_for_the_last_piece(acme, people, round_)
            refused = [end for end in ends if isinstance(end, OverReturn)]
            assert (len(refused), [type(end) for end in ends if isinstance(end, Exception) and end not in refused]) == (
                3,
                [],
            )
    credit()
    assert sum(tell(PointsAccount.objects.all(), "balance")) == 0


def test_negative_control_without_the_locks_several_would_have_brought_it(
    acme: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database still refuses to return more than was sold: the race is seen as errors of its constraint."""
    from django.db.models import QuerySet

    from members import ledger

    live(rule("seven", fixed(7)))
    monkeypatch.setattr(QuerySet, "select_for_update", lambda self, **_given: self)
    monkeypatch.setattr(ledger, "lock", lambda _ids: None)
    late = 0
    with crowd(4, acme) as people:
        for round_ in range(10):
            ends = _race_for_the_last_piece(acme, people, round_)
            late += sum(isinstance(end, OverReturn) and end.field == "lines" for end in ends)
    assert late > 0
    monkeypatch.undo()
    credit()


def test_returns_with_receipt_that_come_in_while_others_are_credited_lose_no_point(acme: Client) -> None:
    """Both take from the same line; each must see what the other has taken."""
    live(rule("seven", fixed(7)))
    who = [new_member(f"member {n}") for n in range(12)]
    for n, member in enumerate(who):
        buy(member, receipt=f"R-{n}", lines=[line(1000, sku="tea", quantity=2)])
    credit()
    for n, member in enumerate(who):
        bring_back(member, receipt=f"A-{n}", lines=[line(0, sku="tea")], at=NOON + DAY)
    with crowd(5, acme) as people:

        def deed(place: int) -> None:
            if place == 0:
                for _turn in range(6):
                    credit(at=NOON + DAY, limit=3)
            else:
                for n in range(place - 1, 12, 4):
                    bring_back(who[n], receipt=f"B-{n}", sale=f"R-{n}", lines=[line(0, sku="tea")], at=NOON + DAY)

        ends = people.act(deed)
    assert [end for end in ends if end] == []
    credit(at=NOON + DAY)

    assert [points(member) for member in who] == [0] * 12
    assert not ParkedReturn.objects.exists()


def test_a_return_of_a_purchase_shows_no_credit_to_come(ana: Member) -> None:
    live()
    buy(ana, receipt="R-1", lines=[line(1000)])
    back = purchase(ana, receipt="B-1", kind="return", sale_document="R-1")
    answer: dict[str, Any] = {}
    take_purchase(purchase=back, at=NOON, answer=answer)

    assert answer == {"credits": []}
    assert ReturnMatch.objects.get().sale_line.purchase == sold("R-1")
    assert BERLIN.key == "Europe/Berlin"
