"""A client's made-up past: catalogue, members with their purchases slice by slice, some returns, and the figures."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.db import connections, transaction

from loyalty_saas.flows import figures
from loyalty_saas.flows.purchases import credit_next_batch, zone
from loyalty_saas.seeding import shops
from loyalty_saas.seeding.plan import SLICE, Plan, Slice, slices
from loyalty_saas.seeding.statements import STATEMENTS
from members.models import Member, Purchase
from members.services import insights, tiers
from members.services.purchases import PurchaseInput, record_purchase
from programs.models import Location, Product
from programs.queries import program_in_force
from programs.services.catalogue import add_location, put_products
from rewards.models import Reward
from rewards.services import refresh_offers
from tenants.context import current_client
from tenants.models import KpiDay
from tenants.routers import CLIENT

Progress = Callable[[str], None]
_CHUNK = 5_000
# One sale in so many comes back, but no more than so many: each goes through the door and a worker's hands.
_ONE_IN, _MOST_RETURNS = 250, 400


def is_filled(*, plan: Plan) -> bool:
    """Whether the client we stand in has its past with its figures already."""
    return KpiDay.objects.filter(client=current_client()).count() >= plan.days


def fill(*, plan: Plan, at: datetime, progress: Progress) -> None:
    """Write what is missing of the client's past; what an interrupted run left is gone on with."""
    _open_shops()
    facts = _facts(plan=plan)
    for number, part in enumerate(slices(plan), start=1):
        if Member.objects.count() < min(number * SLICE, plan.members):
            _write(part=part, facts=facts)
        progress(f"members {min(number * SLICE, plan.members):,} of {plan.members:,} with their purchases")
    progress("returns")
    _bring_back(plan=plan, at=at)
    _settle(at=at, progress=progress)
    progress(f"figures of {plan.days} days")
    figures.roll_up_days(days=plan.days, at=at)


def _open_shops() -> None:
    for city in shops.CITIES:
        add_location(code=city.lower(), name=city)
    add_location(code=shops.WEB, name="Web shop")
    put_products(
        Product(sku=f"{category[:3].upper()}-{number}", name=name, category=category)
        for category, names in shops.CATALOGUE.items()
        for number, name in enumerate(names, start=1)
    )


def _facts(*, plan: Plan) -> dict[str, Any]:
    """What every statement may ask for: ids of rules, shops and products, thresholds, the price of the reward."""
    client, program = current_client(), program_in_force()
    places = dict(Location.objects.values_list("code", "id"))
    products = list(Product.objects.order_by("sku").values_list("sku", "category"))
    reward = Reward.objects.get(code="10-off")
    return {
        **{code.replace("-", "_"): rule_id for code, rule_id in program.rule_ids.items()},
        **{f"{level.code}_from": level.enter for level in (program.spec.tiers.levels if program.spec.tiers else ())},
        "seed": plan.seed,
        "salt": f"{client.slug}:{plan.seed}:",
        "zone": client.time_zone,
        "currency": client.currency,
        "program": program.id,
        "unit": program.units["points"].id,
        "reward": reward.pk,
        "price": reward.price,
        "web": places[shops.WEB],
        "shops": [places[city.lower()] for city in shops.CITIES],
        "skus": [sku for sku, _category in products],
        "categories": [category for _sku, category in products],
        "given_names": list(shops.GIVEN_NAMES),
        "family_names": list(shops.FAMILY_NAMES),
    }


def _write(*, part: Slice, facts: dict[str, Any]) -> None:
    """All of a slice or nothing, through the triggers that hold the ledger's laws."""
    values = facts | {
        "i": list(range(part.first, part.first + len(part.joined))),
        "number": part.numbers,
        "joined": part.joined,
        "sales": part.sales,
        "last_day": part.last_days,
    }
    with transaction.atomic(), connections[CLIENT].cursor() as cursor:
        for statement in STATEMENTS:
            cursor.execute(statement, values)


def _bring_back(*, plan: Plan, at: datetime) -> None:
    """Some of the newer sales come back whole a day later, as any return does."""
    most = min(plan.purchases // _ONE_IN, _MOST_RETURNS)
    step = min(plan.purchases // 2 // most, _ONE_IN) if most else 1
    done = Purchase.objects.filter(kind=Purchase.Kind.RETURN).count()
    sales = Purchase.objects.filter(kind=Purchase.Kind.SALE, occurred_at__lt=at - timedelta(days=2))
    for sale in sales.select_related("location").order_by("-id")[: most * step : step][done:]:
        record_purchase(purchase=_return_of(sale), at=at)
    while credit_next_batch(at=at).member_ids:
        pass


def _return_of(sale: Purchase) -> PurchaseInput:
    return PurchaseInput(
        kind=Purchase.Kind.RETURN,
        document=f"R{sale.document[1:]}",
        member_id=sale.member_id,
        currency=sale.currency,
        amount=0,
        occurred_at=sale.occurred_at + timedelta(days=1),
        source="seed",
        location_id=sale.location_id,
        location_code=sale.location.code if sale.location else "",
        channel=sale.channel,
        sale_document=sale.document,
    )


def _settle(*, at: datetime, progress: Progress) -> None:
    """Tiers, segments and offers as the night leaves them."""
    progress("tiers")
    tiers.settle_all(program=program_in_force(), at=at)
    progress("segments and favourites")
    with transaction.atomic():
        insights.rescale(at=at, zone=zone())
    member_ids = insights.refresh_all(at=at, zone=zone())
    progress("offers")
    for start in range(0, len(member_ids), _CHUNK):
        with transaction.atomic():
            refresh_offers(member_ids=member_ids[start : start + _CHUNK], at=at, zone=zone())
