"""`seed_scale`: an installation of any size whose books hold the same laws as those that grew."""

import secrets
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.models import Sum
from django.utils import timezone

from loyalty_saas.seeding.plan import Plan, slices
from members.models import (
    Identifier,
    Insight,
    LedgerEntry,
    Lot,
    Member,
    PointsAccount,
    Purchase,
    RuleState,
    RuleTrace,
    TierStatus,
    WorkItem,
)
from members.services.purchases import PurchaseInput, fingerprint
from programs.queries import program_in_force
from programs.rules import Event, Line, MemberState, evaluate
from rewards.models import OfferAssignment, RewardIssue
from tenants.context import client_connection, use_client
from tenants.models import Client, KpiDay
from tests.members import invariants
from tests.members.world import BERLIN

MEMBERS, PURCHASES, DAYS = 240, 1500, 400


def seed(slug: str, capsys: pytest.CaptureFixture[str], **given: Any) -> str:
    """Run the command; what it printed."""
    sizes = {"members": MEMBERS, "purchases": PURCHASES, "small_members": 12, "small_purchases": 60, "clients": 0}
    call_command("seed_scale", client=slug, **(sizes | given), stdout=StringIO())
    client_connection().forget_client()
    return capsys.readouterr().out


@pytest.fixture(scope="module")
def slug() -> str:
    return f"size-{secrets.token_hex(3)}"


@pytest.fixture
def large(slug: str, capsys: pytest.CaptureFixture[str]) -> Iterator[Client]:
    """The large client, made by the first test that asks; the test stands in it."""
    seed(slug, capsys, clients=2)
    client = Client.objects.get(slug=slug)
    with use_client(client):
        yield client


def test_it_makes_what_was_asked_for_and_no_more(large: Client) -> None:
    sales = Purchase.objects.filter(kind="sale")

    assert Member.objects.count() == Insight.objects.count() == TierStatus.objects.count() == MEMBERS
    assert (sales.count(), Purchase.objects.filter(kind="return").count()) == (PURCHASES, PURCHASES // 250)
    assert WorkItem.objects.count() == 0
    assert RewardIssue.objects.count() == LedgerEntry.objects.filter(kind="spend").count() > 0
    assert OfferAssignment.objects.count() == Insight.objects.filter(purchases__gt=0).count() > 0
    assert sales.order_by("occurred_at")[0].occurred_at > timezone.now() - timedelta(days=DAYS + 2)
    assert sales.latest("occurred_at").occurred_at < timezone.now()
    assert all(sale.occurred_at >= sale.member.joined_at for sale in sales.select_related("member"))


def test_its_books_and_those_of_the_small_clients_hold_the_laws(large: Client) -> None:
    client_connection().forget_client()
    every = Client.objects.filter(slug__startswith=large.slug)

    assert every.count() == 3
    for client in every:
        invariants.check(client)


def test_control_a_lot_that_lacks_a_point_is_found(large: Client) -> None:
    lot = Lot.objects.filter(remaining__gt=0)[0]
    found = PointsAccount.objects.get(pk=lot.account_id)

    assert found.balance == LedgerEntry.objects.filter(account=found).aggregate(total=Sum("amount"))["total"]
    with client_connection().cursor() as cursor:
        broken = invariants.CHECKS["in_lots is what remains in the lots"].replace(
            "sum(l.remaining)", "sum(l.remaining)+1"
        )
        cursor.execute(broken)
        assert cursor.fetchall()


def test_each_trace_is_what_the_rules_themselves_give(large: Client) -> None:
    """Every tenth member's sales are put to the compiled rules again, with the tier that the spend so far had brought."""
    program = program_in_force()
    codes = {rule_id: code for code, rule_id in program.rule_ids.items()}
    levels = program.spec.tiers.levels if program.spec.tiers else ()
    compared = 0
    for member in Member.objects.order_by("pk")[::10]:
        state, before = MemberState(), []
        for sale in (
            Purchase.objects.filter(member=member, kind="sale").order_by("occurred_at").prefetch_related("lines")
        ):
            made = evaluate(program.compiled, _event(sale), state, {})
            traces = {codes[t.rule_id]: t for t in RuleTrace.objects.filter(source_id=sale.pk)}
            assert {o.code: (o.result, o.amount, o.reason) for o in made.outcomes} == {
                code: (trace.result, trace.amount, trace.reason) for code, trace in traces.items()
            }
            before.append(sale)
            recent = [one.amount for one in before if one.occurred_at >= _year_before(sale)]
            state.tier = next((x.code for x in reversed(levels) if sum(recent) >= x.enter), None)
            compared += 1
        kept = RuleState.objects.filter(member=member, rule_code="spend").values_list("remainder", flat=True).first()
        assert (kept or 0) == state.remainders.get("spend", 0)
    assert compared > PURCHASES // 50


def _event(sale: Purchase) -> Event:
    lines = tuple(
        Line(one.position, one.sku, one.category, Decimal(one.quantity), one.amount, one.earning)
        for one in sorted(sale.lines.all(), key=lambda line: line.position)
    )
    return Event("sale", sale.occurred_at.astimezone(BERLIN), sale.day, sale.amount, lines)


def _year_before(sale: Purchase) -> Any:
    return sale.occurred_at.replace(year=sale.occurred_at.year - 1)


def test_receipts_are_marked_as_the_door_marks_them(large: Client) -> None:
    sale = Purchase.objects.filter(kind="sale")[0]
    same = PurchaseInput(
        kind="sale", document=sale.document, member_id=sale.member_id, currency=sale.currency, amount=sale.amount,
        occurred_at=sale.occurred_at,
    )  # fmt: skip

    assert fingerprint(same) == sale.fingerprint


def test_the_console_has_its_figures_of_every_day(large: Client) -> None:
    for client in Client.objects.filter(slug__startswith=large.slug):
        days = KpiDay.objects.filter(client=client)
        assert days.count() == DAYS
    counted = KpiDay.objects.filter(client=large).aggregate(sales=Sum("sales"), new=Sum("new_members"))
    assert counted["sales"] >= PURCHASES * 0.99
    assert KpiDay.objects.filter(client=large).latest("day").outstanding > 0


def test_again_it_leaves_all_as_it_is_and_says_so(large: Client, capsys: pytest.CaptureFixture[str]) -> None:
    before = (LedgerEntry.objects.count(), KpiDay.objects.count())
    client_connection().forget_client()
    said = seed(large.slug, capsys, clients=2)

    with use_client(large):
        assert (LedgerEntry.objects.count(), KpiDay.objects.count()) == before
    assert "is there already" in said


def test_the_same_seed_makes_the_same_shop_and_another_another(
    large: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    def shape(client: Client) -> tuple[Any, ...]:
        with use_client(client):
            sums = Purchase.objects.filter(kind="sale").aggregate(total=Sum("amount"))
            names = list(Identifier.objects.order_by("value").values_list("value", flat=True))
        return sums["total"], names

    mine = shape(large)
    client_connection().forget_client()
    seed(twin := f"{large.slug}-twin", capsys)
    seed(other := f"{large.slug}-other", capsys, seed=7)

    assert shape(Client.objects.get(slug=twin)) == mine
    assert shape(Client.objects.get(slug=other)) != mine


def test_the_plan_shares_out_every_purchase() -> None:
    plan = Plan(members=25_000, purchases=100_001, seed=3, until=timezone.now().date(), zone=BERLIN)
    parts = list(slices(plan))

    assert [len(part.joined) for part in parts] == [10_000, 10_000, 5_000]
    assert sum(sum(part.sales) for part in parts) == 100_001
    assert len({number for part in parts for number in part.numbers}) == 25_000
    joined = [moment for part in parts for moment in part.joined]
    assert joined == sorted(joined)


def test_sizes_that_cannot_be_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandError, match="--members"):
        seed("nobody", capsys, members=0)
