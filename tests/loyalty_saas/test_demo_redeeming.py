"""Members of the demo's made-up shops take rewards over the year, the same ones each time the demo is made."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from loyalty_saas.demo_data.redeeming import redeem_some
from loyalty_saas.flows.purchases import take_purchase
from loyalty_saas.portal.shared import zone_of
from members.models import Hold, LedgerEntry
from members.queries import member_ids_for
from members.services.purchases import LineInput, PurchaseInput
from rewards.models import RewardIssue
from tenants.models import Client
from tests.loyalty_saas.shops import credit, join
from tests.machines import Machine
from tests.members.invariants import check

NOW = timezone.now()
POS = [f"M{number:05d}" for number in range(6)]


@pytest.fixture
def regulars(shop: Client, till: Machine) -> list[str]:
    """Six members who each came forty times in the last year."""
    for pos in POS:
        join(till, pos, pos=pos)
    for pos, member_id in member_ids_for(POS).items():
        for week in range(40):
            when = NOW - timedelta(days=360 - 9 * week)
            line = LineInput(quantity=Decimal(1), amount=2_000, sku="thing")
            sale = PurchaseInput(
                kind="sale",
                document=f"{pos}-{week}",
                member_id=member_id,
                currency=shop.currency,
                amount=2_000,
                occurred_at=when,
                lines=(line,),
            )
            take_purchase(purchase=sale, at=NOW, answer={})
    credit()
    return POS


def taken() -> list[tuple[str, str]]:
    issues = RewardIssue.objects.order_by("hold__key").values_list("hold__key", "reward__code")
    return [(key.partition("2")[0], code) for key, code in issues]


def test_some_take_rewards_over_the_year_and_again_changes_nothing(shop: Client, regulars: list[str]) -> None:
    got = redeem_some(at=NOW, zone=zone_of(shop))
    issues = RewardIssue.objects.all()
    assert got == issues.count() > 0
    assert {issue.state for issue in issues} == {"issued"}
    assert not Hold.objects.filter(state="held").exists()
    months = {entry.at.month for entry in LedgerEntry.objects.filter(kind="spend")}
    assert len(months) > 1, "They are spread over the year."
    assert issues.values("member").distinct().count() < len(regulars), "Some never ask."
    check(shop)

    before = taken()
    assert redeem_some(at=NOW, zone=zone_of(shop)) == 0
    assert taken() == before
