"""A return that comes before its sale waits for it, by whatever way it is told, and takes its points when it comes."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connections, transaction

from members.models import (
    Insight,
    LedgerEntry,
    Member,
    ParkedReturn,
    Purchase,
    PurchaseLine,
    ReturnMatch,
    RuleTrace,
    WorkItem,
)
from members.queries import traces_of
from members.services.enrolment import merge_members
from members.services.parked import dismiss_parked_return
from members.services.purchases import LineInput
from members.services.refusals import Refused, UnknownPurchase
from programs.models import Location
from tests.members.world import (
    BERLIN,
    DAY,
    NOON,
    bring_back,
    buy,
    credit,
    fixed,
    line,
    live,
    per_amount,
    points,
    rule,
    spend,
    tell,
    unit,
)

LATER = NOON + 3 * DAY


def parked() -> list[Any]:
    return tell(ParkedReturn.objects.order_by("pk"), "quantity", "state")


def returned(receipt: str) -> list[Decimal]:
    return tell(PurchaseLine.objects.filter(purchase__document=receipt, purchase__kind="sale").order_by("position"),
                "returned")  # fmt: skip


# ── a return that names its sale ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("limit", [1, 500])
@pytest.mark.parametrize("together", [False, True])
def test_r09_a_return_that_names_a_sale_to_come_waits_for_it(ana: Member, limit: int, together: bool) -> None:
    live()
    accepted = bring_back(ana, receipt="B-1", sale="R-1", lines=[line(500, sku="tea")], at=NOON + DAY)
    if not together:
        credit(limit=limit)
        assert (points(ana), parked()) == (0, [(1, "open")])
    buy(ana, receipt="R-1", lines=[line(1000, sku="tea", quantity=2), line(300, sku="cup")], received=LATER)
    credit(limit=limit, at=LATER)

    assert (points(ana), returned("R-1")) == (800, [1, 0])
    assert parked() == ([] if together else [(0, "matched")])
    assert ReturnMatch.objects.get().return_line.purchase_id == accepted.purchase_id
    reverse = LedgerEntry.objects.get(kind="reverse")
    assert (reverse.purchase_id, reverse.corrects) == (accepted.purchase_id, LedgerEntry.objects.get(kind="earn"))
    assert not WorkItem.objects.exists()


def test_r09_it_waits_also_when_its_clock_is_behind_that_of_its_sale(ana: Member) -> None:
    live()
    bring_back(ana, receipt="B-1", sale="R-1", lines=[line(500, sku="tea")], at=NOON - DAY)
    credit()
    buy(ana, receipt="R-1", lines=[line(500, sku="tea")])
    credit()
    assert (points(ana), parked()) == (0, [(0, "matched")])


def test_it_takes_from_no_other_sale_though_that_has_the_article(ana: Member, bob: Member) -> None:
    live()
    buy(ana, receipt="R-0", lines=[line(500, sku="tea")])
    bring_back(ana, receipt="B-1", sale="R-1", lines=[line(500, sku="tea")], at=NOON + DAY)
    credit()
    buy(bob, receipt="R-1", lines=[line(500, sku="tea")], location_id=_shop("elsewhere").pk)
    buy(ana, receipt="R-2", lines=[line(500, sku="tea")])
    credit()
    assert (points(ana), points(bob), parked()) == (1000, 500, [(1, "open")])


def _shop(code: str) -> Location:
    return Location.objects.create(code=code, name=code)


def test_receipts_of_the_same_number_at_other_shops_are_no_hindrance(ana: Member, bob: Member) -> None:
    live()
    here, there = _shop("here"), _shop("there")
    buy(bob, receipt="1001", lines=[line(500, sku="tea")], location_id=there.pk)
    bring_back(ana, receipt="B-1", sale="1001", lines=[line(500, sku="tea")], location_id=here.pk)
    credit()
    buy(ana, receipt="1001", lines=[line(500, sku="tea")], location_id=here.pk)
    credit()
    assert (points(ana), points(bob), parked()) == (0, 500, [(0, "matched")])


def test_two_sales_of_that_number_of_one_member_ask_for_the_location(ana: Member) -> None:
    for code in ("here", "there"):
        buy(ana, receipt="1001", lines=[line(500, sku="tea")], location_id=_shop(code).pk)
    with pytest.raises(UnknownPurchase) as refusal:
        bring_back(ana, receipt="B-1", sale="1001", lines=[line(500, sku="tea")])
    assert refusal.value.field == "sale"


def test_all_of_a_sale_to_come_comes_back_by_its_amount(ana: Member) -> None:
    live()
    bring_back(ana, receipt="B-1", sale="R-1", amount=-1300, at=NOON + DAY)
    credit()
    buy(ana, receipt="R-1", lines=[line(1000, sku="tea", quantity=2), line(300, sku="cup")], received=LATER)
    credit(at=LATER)

    assert (points(ana), returned("R-1"), parked()) == (0, [2, 1], [(1, "matched")])
    back = PurchaseLine.objects.filter(purchase__document="B-1", position__gt=0).order_by("position")
    assert tell(back, "sku", "quantity", "amount") == [("tea", -2, -1000), ("cup", -1, -300)]
    assert Purchase.objects.get(document="B-1").amount == -1300


def test_another_amount_than_the_sale_s_leaves_it_to_a_manager(ana: Member) -> None:
    live()
    bring_back(ana, receipt="B-1", sale="R-1", amount=-1200, at=NOON + DAY)
    credit()
    buy(ana, receipt="R-1", lines=[line(1000, sku="tea", quantity=2), line(300, sku="cup")], received=LATER)
    credit(at=LATER)
    assert (points(ana), returned("R-1"), parked()) == (1300, [0, 0], [(1, "open")])


def test_lines_are_found_by_their_position_or_their_article(ana: Member) -> None:
    live()
    back = [
        LineInput(quantity=Decimal(1), amount=300, position=2),
        LineInput(quantity=Decimal(2), amount=1000, sku="tea"),
    ]
    bring_back(ana, receipt="B-1", sale="R-1", lines=back, at=NOON + DAY)
    credit()
    buy(ana, receipt="R-1", lines=[line(500, sku="cup"), line(300), line(1000, sku="tea", quantity=2)], received=LATER)
    credit(at=LATER)
    assert (points(ana), returned("R-1")) == (500, [0, 1, 2])


def test_more_than_the_sale_had_stays_with_a_manager(ana: Member) -> None:
    live()
    bring_back(ana, receipt="B-1", sale="R-1", lines=[line(1500, sku="tea", quantity=3)], at=NOON + DAY)
    credit()
    buy(ana, receipt="R-1", lines=[line(1000, sku="tea", quantity=2)], received=LATER)
    credit(at=LATER)
    assert (points(ana), parked()) == (0, [(1, "open")])


@pytest.mark.parametrize(
    ("given", "kind", "refusal", "field"),
    [
        ({"lines": [line(0, sku="tea")]}, "return", UnknownPurchase, "sale"),
        ({}, "return", UnknownPurchase, "sale"),
        ({}, "void", UnknownPurchase, "sale"),
        ({"lines": [line(500)]}, "return", Refused, "lines.0.sku"),
        ({"lines": [LineInput(Decimal(1), 5, position=1)] * 2}, "return", Refused, "lines.0.position"),
    ],
)
def test_what_could_never_be_matched_is_not_accepted(
    ana: Member, given: dict[str, Any], kind: str, refusal: type[Refused], field: str
) -> None:
    with pytest.raises(refusal) as found:
        bring_back(ana, receipt="B-1", sale="R-9", kind=kind, **given)
    assert found.value.field == field
    assert not Purchase.objects.exists()


def test_sent_again_before_and_after_its_sale_it_counts_once(ana: Member) -> None:
    live()
    first = bring_back(ana, receipt="B-1", sale="R-1", lines=[line(500, sku="tea")], at=NOON + DAY)
    credit()
    again = bring_back(ana, receipt="B-1", sale="R-1", lines=[line(500, sku="tea")], at=NOON + DAY)
    buy(ana, receipt="R-1", lines=[line(1000, sku="tea", quantity=2)])
    credit()
    late = bring_back(ana, receipt="B-1", sale="R-1", lines=[line(500, sku="tea")], at=NOON + DAY)
    credit()
    assert {one.purchase_id for one in (again, late)} == {first.purchase_id}
    assert (again.repeated, late.repeated, points(ana)) == (True, True, 500)


def test_a_dismissed_return_waits_no_more(ana: Member) -> None:
    live()
    bring_back(ana, receipt="B-1", sale="R-1", lines=[line(500, sku="tea")], at=NOON + DAY)
    credit()
    with transaction.atomic():
        dismiss_parked_return(line_id=ParkedReturn.objects.get().pk, reason="Not ours", by=None, at=NOON)
    buy(ana, receipt="R-1", lines=[line(500, sku="tea")])
    credit()
    assert (points(ana), parked()) == (500, [(1, "dismissed")])


# ── a return without receipt ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("limit", [1, 500])
def test_r09_a_return_without_receipt_takes_from_a_sale_that_arrives_late(ana: Member, limit: int) -> None:
    live()
    bring_back(ana, receipt="B-1", lines=[line(0, sku="tea", quantity=3)], at=NOON + DAY)
    credit(limit=limit)
    assert parked() == [(3, "open")]
    buy(ana, receipt="after", lines=[line(900, sku="tea")], at=NOON + 2 * DAY)
    credit(limit=limit, at=LATER)
    assert (points(ana), parked()) == (900, [(3, "open")])

    buy(ana, receipt="R-1", lines=[line(500, sku="tea", quantity=2)], received=LATER)
    credit(limit=limit, at=LATER)
    assert (points(ana), parked()) == (900, [(1, "open")])
    buy(ana, receipt="R-2", lines=[line(700, sku="tea", quantity=7)], received=LATER)
    credit(limit=limit, at=LATER)
    assert (points(ana), parked()) == (900 + 600, [(0, "matched")])

    back = Purchase.objects.get(document="B-1")
    assert sorted(tell(traces_of([back.pk])[back.pk], "amount")) == [-500, -100]
    assert RuleTrace.objects.filter(source_id=back.pk).count() == 1


def test_it_does_not_take_from_a_sale_whose_points_are_not_there_yet(
    ana: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sale that arrives between the taking of a batch and its returns: its points would never come back."""
    from members.services import accrual

    live()
    bring_back(ana, receipt="B-1", lines=[line(0, sku="tea")], at=NOON + DAY)
    take = accrual._take

    def late(*args: Any, **given: Any) -> Any:
        items = take(*args, **given)
        if not Purchase.objects.filter(document="R-1").exists():
            buy(ana, receipt="R-1", lines=[line(500, sku="tea")])
        return items

    monkeypatch.setattr(accrual, "_take", late)
    credit()
    assert (points(ana), returned("R-1"), parked()) == (0, [1], [(0, "matched")])


# ── a sale that could not be credited ───────────────────────────────────────────────────────────────────────────────


def test_what_came_back_of_a_sale_set_aside_is_taken_when_it_is_credited_after_all(ana: Member) -> None:
    live(rule("euro", per_amount(1, 100), remainder="carry"))
    buy(ana, receipt="R-1", lines=[line(560, sku="tea", quantity=2)])
    WorkItem.objects.update(quarantined_at=NOON)
    bring_back(ana, receipt="B-1", sale="R-1", lines=[line(0, sku="tea")], at=NOON + DAY)
    bring_back(ana, receipt="B-2", sale="R-1", lines=[line(0, sku="tea")], at=NOON + DAY)
    assert credit() == 2
    assert points(ana) == 0
    WorkItem.objects.update(quarantined_at=None)
    credit()

    assert points(ana) == 0
    assert tell(LedgerEntry.objects.order_by("id"), "kind", "amount") == [("earn", 5), ("reverse", -2), ("reverse", -3)]
    assert tell(RuleTrace.objects.filter(reason="taken_back").order_by("source_id"), "amount") == [-2, -3]


# ── merged members ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("named", ["R-1", ""])
def test_a_double_s_return_waits_for_the_kept_member_s_sale(ana: Member, bob: Member, named: str) -> None:
    live(units=[unit(may_owe=True)])
    bring_back(bob, receipt="B-1", sale=named, lines=[line(500, sku="tea")], at=NOON + DAY)
    credit()
    with transaction.atomic():
        merge_members(kept_id=ana.pk, double_id=bob.pk, at=NOON + DAY, by=None, zone=BERLIN)
    buy(ana, receipt="R-1", lines=[line(500, sku="tea")])
    credit()
    assert (points(ana), parked()) == (0, [(0, "matched")])


# ── what it costs ───────────────────────────────────────────────────────────────────────────────────────────────────


def _statements(deed: Any) -> int:
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connections["default"]) as seen:
        deed()
    return len(seen)


def test_crediting_sales_asks_no_more_because_returns_of_others_wait(ana: Member, bob: Member) -> None:
    live()
    buy(ana, receipt="R-0", lines=[line(500, sku="tea")])
    credit()
    buy(ana, receipt="R-1", lines=[line(500, sku="tea")])
    credit()
    buy(ana, receipt="R-2", lines=[line(500, sku="tea")])
    before = _statements(lambda: credit(limit=500))
    for n in range(5):
        bring_back(bob, receipt=f"B-{n}", lines=[line(500, sku="tea")], at=NOON + DAY)
        bring_back(bob, receipt=f"C-{n}", sale=f"none-{n}", lines=[line(500, sku="tea")], at=NOON + DAY)
    credit()
    buy(ana, receipt="R-3", lines=[line(500, sku="tea")])
    assert _statements(lambda: credit(limit=500)) == before


def test_points_spent_by_then_are_forgiven_as_with_any_return(ana: Member) -> None:
    live(rule("euro", fixed(10)))
    buy(ana, receipt="R-0", lines=[line(100)])
    bring_back(ana, receipt="B-1", sale="R-1", lines=[line(500, sku="tea")], at=NOON + timedelta(hours=1))
    credit()
    spend(ana, 10)
    buy(ana, receipt="R-1", lines=[line(500, sku="tea")])
    credit()
    assert points(ana) == 0
    assert Insight.objects.get(pk=ana.pk).spend == 100
