"""Rewards handed over at a till: used on the purchase recorded next, or paid together with the household."""

import json
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import transaction
from django.utils import timezone

from members.models import Member, Purchase
from members.services.households import make_household
from members.services.points import adjust_points
from programs.queries import unit_by_code
from rewards.models import RewardIssue
from tests.loyalty_saas.shops import PROGRAM, credit, open_shop
from tests.loyalty_saas.test_till import Till, _back, _join, ana, points, sale_of, shop, till, uuid7

__all__ = ["ana", "shop", "till"]

FIVE = {"code": "five", "name": "5 off", "kind": "money", "unit": "points", "price": 40, "value": 500}


def _hand_over(till: Till, who: Member, code: str) -> str:
    fields = {"member": str(who.pk), "reward": code, "key": str(uuid7())}
    return str(json.loads(till.post("rewards/", fields).content)["said"])


def test_money_off_pays_its_part_of_the_next_purchase_and_goes_back_with_it(till: Till, ana: Member) -> None:
    open_shop({**PROGRAM, "rewards": [FIVE, *PROGRAM["rewards"]]})
    assert points(ana) == 50
    assert "the purchase that you record next" in _hand_over(till, ana, "five")
    asked = {"member": str(ana.pk), "amount": 2000}
    assert "15 points" in till.send("preview/", asked).json()["label"]

    sale = sale_of(till.record(ana.pk, 2000))
    credit()
    assert (sale.paid_by_points, points(ana)) == (500, 10 + 15)
    assert RewardIssue.objects.get().purchase_id == sale.pk
    # It is used: the one after earns in full.
    assert sale_of(till.record(ana.pk, 2000)).paid_by_points == 0
    credit()
    assert points(ana) == 45

    assert _back(till, ana, sale=str(sale.pk)).status_code == 201
    credit()
    assert (points(ana), RewardIssue.objects.get().state) == (50 + 20, "cancelled")


def test_a_product_is_had_beside_the_purchase_and_stays(till: Till, ana: Member) -> None:
    assert "hand it over" in _hand_over(till, ana, "mug")
    sale = sale_of(till.record(ana.pk, 2000))
    assert (sale.paid_by_points, RewardIssue.objects.get().purchase_id) == (0, None)


def test_a_return_that_waits_for_its_purchase_says_so_until_it_arrives(till: Till, ana: Member) -> None:
    from datetime import timedelta

    from django.utils import timezone

    from members.services.purchases import record_purchase
    from tests.members.world import line, purchase

    answer = _back(till, ana, sku="lamp", quantity="1", amount=4000)
    credit()
    follow = answer.json()["follow"]
    assert "It waits for its purchase" in till.browser.get(follow).json()["said"]
    at = timezone.now()
    late = purchase(ana, receipt="L-1", lines=[line(4000, sku="lamp")], at=at - timedelta(hours=1))
    record_purchase(purchase=late, at=at)
    credit()
    assert "40 points taken back" in till.browser.get(follow).json()["said"]
    assert isinstance(Purchase.objects.get(document="L-1").pk, UUID)


def test_what_only_the_household_can_pay_is_offered_as_such_and_paid_together(till: Till, ana: Member) -> None:
    bo = _join("Bo", pos="bo-1")
    assert "household" not in till.find("ana-1").json()["html"]
    with transaction.atomic():
        make_household(name="Home", member_ids=[ana.pk, bo.pk], at=timezone.now())
        zone = ZoneInfo(till.client.time_zone)
        unit = unit_by_code("points")
        assert unit
        adjust_points(
            member_id=ana.pk, unit=unit, amount=-20, reason="-", key="less", at=timezone.now(), zone=zone, by=None
        )
    html = till.find("ana-1").json()["html"]
    assert "50 more with the household" in html
    assert "together with the household" in html

    answer = till.post("rewards/", {"member": str(ana.pk), "reward": "mug", "key": str(uuid7())})
    assert answer.status_code == 200, answer.content
    assert (points(ana), points(bo)) == (0, 40)
