"""The demo's data: programs that are sound and do what they say, and made-up shops one can believe."""

import csv
import gzip
import hashlib
import json
import os
import random
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import phonenumbers
import pytest

from loyalty_saas.demo_data import cafe, hiking, hiking_catalogue
from loyalty_saas.demo_data.common import DemoActivity, DemoPurchase, DemoShop
from programs.rules import (
    SEGMENTS,
    Evaluation,
    Event,
    Line,
    MemberState,
    ProgramSpec,
    compile_rules,
    evaluate,
    parse_program,
)

DATA = Path(__file__).resolve().parents[2] / "data"
PROGRAMS = ("templates/retail", "templates/cafe", "templates/hiking", "penny")
DENVER = ZoneInfo("America/Denver")
WHENS = (
    (1, date(2026, 11, 21), DENVER),
    (2, date(2026, 3, 10), ZoneInfo("Europe/Berlin")),
    (3, date(2024, 2, 29), ZoneInfo("Pacific/Auckland")),
)
Generate = Callable[..., DemoShop]


@pytest.fixture(
    scope="module",
    params=[(make, when) for make in (cafe, hiking) for when in WHENS],
    ids=lambda each: f"{each[0].__name__.split('.')[-1]}-{each[1][1]}",
)
def made(request: pytest.FixtureRequest) -> tuple[DemoShop, date, ZoneInfo]:
    module, (seed, until, zone) = request.param
    return module.generate(seed=seed, until=until, zone=zone), until, zone


@pytest.fixture(scope="module")
def coffee() -> DemoShop:
    return cafe.generate(seed=1, until=date(2026, 11, 21), zone=DENVER)


@pytest.fixture(scope="module")
def outfitter() -> DemoShop:
    return hiking.generate(seed=1, until=date(2026, 11, 21), zone=DENVER)


# ── programs ────────────────────────────────────────────────────────────────────────────────────────────────────────


def document(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((DATA / f"{name}.program.json").read_text(encoding="utf-8"))
    return loaded


def program(name: str) -> ProgramSpec:
    return parse_program(document(name))


def put(name: str, event: Event, state: MemberState | None = None) -> Evaluation:
    return evaluate(compile_rules(program(name).rules), event, state or a_member(), {})


def a_member(*, tier: str | None = None) -> MemberState:
    return MemberState(tier=tier, purchases=1, last_visit=date(2026, 11, 16))


def at(text: str) -> dict[str, Any]:
    local = datetime.fromisoformat(text).replace(tzinfo=DENVER)
    return {"local": local, "day": local.date()}


def sale(when: str, *bought: tuple[str, int, int]) -> Event:
    lines = [
        Line(position=place, sku=category, category=category, quantity=Decimal(quantity), amount=amount)
        for place, (category, quantity, amount) in enumerate(bought, start=1)
    ]
    return Event(kind="sale", **at(when), amount=sum(line.amount for line in lines), lines=tuple(lines))


def trip(*, days: int, number: int = 1) -> Event:
    properties = {"days": Decimal(days), "trip_number": Decimal(number)}
    return Event(kind="activity", activity="trip", **at("2026-11-21T16:00"), amount=100_000, properties=properties)


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_that_comes_along_is_sound(name: str) -> None:
    assert program(name).rules


@pytest.mark.parametrize("name", PROGRAMS[:3])
def test_templates_have_an_offer_for_every_segment_and_three_tiers(name: str) -> None:
    spec = program(name)
    offered = {segment for offer in spec.offers for segment in offer.segments}
    assert offered == set(SEGMENTS) - {"none"}
    assert spec.tiers is not None
    assert [level.keep <= level.enter for level in spec.tiers.levels] == [True] * 3
    assert len(spec.rewards) >= 3


@pytest.mark.parametrize("name", PROGRAMS[:3])
def test_every_rule_of_a_template_says_what_it_does_and_offers_fit_a_screen(name: str) -> None:
    spec = program(name)
    assert all(len(rule.name) > 10 for rule in spec.rules)
    assert all(len(offer.text) <= 200 for offer in spec.offers)


def test_retail_carries_what_is_left_of_a_unit_to_the_next_purchase() -> None:
    member = a_member()
    earned = [put("templates/retail", sale("2026-11-19T10:00", ("music", 1, 1_060)), member).credits for _ in range(2)]
    assert earned == [{"points": 10}, {"points": 11}]


@pytest.mark.parametrize(
    ("when", "tier", "points"),
    [
        ("2026-11-19T15:00", None, 40),
        ("2026-11-18T15:00", None, 80),
        ("2026-11-18T17:00", None, 40),
        ("2026-11-19T15:00", "bronze", 44),
        ("2026-11-19T15:00", "silver", 50),
        ("2026-11-19T15:00", "gold", 60),
        ("2026-11-18T15:00", "gold", 100),
    ],
)
def test_retail_doubles_on_quiet_afternoons_and_adds_by_tier(when: str, tier: str | None, points: int) -> None:
    earned = put("templates/retail", sale(when, ("music", 2, 4_000)), a_member(tier=tier))
    assert earned.credits == {"points": points}


def test_cafe_stamps_each_coffee_and_ten_stamps_are_a_coffee() -> None:
    spec = program("templates/cafe")
    month = MemberState(purchases=3, last_visit=date(2026, 11, 18), used={("monthly-visit", "2026-11"): 1})
    earned = put("templates/cafe", sale("2026-11-19T10:00", ("coffee", 2, 740), ("pastry", 1, 290)), month)
    assert earned.credits == {"stamps": 2}
    assert next(reward.price for reward in spec.rewards if reward.code == "free-coffee") == 10


@pytest.mark.parametrize(
    ("when", "tier", "stamps"),
    [
        ("2026-11-19T15:00", None, 4),  # happy hour
        ("2026-11-21T15:00", None, 2),  # not on a Saturday
        ("2026-11-22T15:00", "family", 4),
        ("2026-11-22T15:00", "regular", 2),
    ],
)
def test_cafe_doubles_in_happy_hour_and_for_the_family_on_sundays(when: str, tier: str | None, stamps: int) -> None:
    month = MemberState(tier=tier, purchases=3, used={("monthly-visit", "2026-11"): 1})
    assert put("templates/cafe", sale(when, ("coffee", 2, 740)), month).credits == {"stamps": stamps}


def test_cafe_rewards_a_weekday_breakfast_only_with_coffee() -> None:
    def stamps(*bought: tuple[str, int, int]) -> int:
        month = MemberState(purchases=3, used={("monthly-visit", "2026-11"): 1})
        return put("templates/cafe", sale("2026-11-19T08:00", *bought), month).credits.get("stamps", 0)

    assert stamps(("coffee", 1, 370), ("breakfast", 1, 920)) == 2
    assert stamps(("tea", 1, 280), ("breakfast", 1, 920)) == 0


@pytest.mark.parametrize(
    ("days", "cents"),
    [(1, 800), (2, 2_000), (3, 3_500), (4, 3_500), (5, 6_500), (7, 10_000), (10, 15_000), (14, 22_000)],
)
def test_a_trip_banks_dollars_by_its_days_and_a_week_banks_100(days: int, cents: int) -> None:
    assert put("templates/hiking", trip(days=days)).credits == {"dollars": cents}


def test_the_fifth_trip_banks_more_and_so_does_the_summit_tier() -> None:
    assert put("templates/hiking", trip(days=7, number=5)).credits == {"dollars": 12_500}
    assert put("templates/hiking", trip(days=7), a_member(tier="summit")).credits == {"dollars": 11_000}


def test_the_shop_banks_two_percent_but_nothing_on_gift_cards() -> None:
    bought = sale("2026-11-19T10:00", ("boots", 1, 15_900), ("gift-card", 1, 5_000))
    assert put("templates/hiking", bought).credits == {"dollars": 318}


def test_the_cdnow_sample_ends_at_the_known_points_under_the_penny_program() -> None:
    compiled = compile_rules(program("penny").rules)
    points: Counter[str] = Counter()
    purchases = 0
    with gzip.open(DATA / "cdnow_sample.csv.gz", "rt", encoding="utf-8", newline="") as log:
        for row in csv.DictReader(log):
            bought = sale(f"{row['timestamp']}T12:00", ("", 1, int(Decimal(row["amount"]) * 100)))
            points[row["member_id"]] += evaluate(compiled, bought, MemberState(), {}).credits.get("points", 0)
            purchases += 1
    assert (purchases, len(points), points.total()) == (6_919, 2_357, 24_409_194)
    assert points.most_common(1) == [("19339", 655_270)]


# ── any made-up shop ────────────────────────────────────────────────────────────────────────────────────────────────


def digest(shop: DemoShop) -> str:
    return hashlib.sha256(repr(shop).encode()).hexdigest()


@pytest.mark.parametrize("generate", [cafe.generate, hiking.generate])
def test_the_same_seed_makes_the_same_shop_and_another_seed_another(generate: Generate) -> None:
    when = {"until": date(2026, 11, 21), "zone": DENVER}
    assert digest(generate(seed=7, **when)) == digest(generate(seed=7, **when)) != digest(generate(seed=8, **when))


def test_the_same_seed_makes_the_same_shop_in_another_process(outfitter: DemoShop, coffee: DemoShop) -> None:
    script = (
        "import hashlib, datetime, zoneinfo\n"
        "from loyalty_saas.demo_data import cafe, hiking\n"
        "when = {'until': datetime.date(2026, 11, 21), 'zone': zoneinfo.ZoneInfo('America/Denver')}\n"
        "for module in (cafe, hiking):\n"
        "    print(hashlib.sha256(repr(module.generate(seed=1, **when)).encode()).hexdigest())\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONHASHSEED": "4711"},
        cwd=DATA.parent,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert run.stdout.split() == [digest(coffee), digest(outfitter)]


def events_of(shop: DemoShop) -> list[DemoPurchase | DemoActivity]:
    return [*shop.purchases, *shop.activities]


def test_lines_add_up_and_have_the_sign_of_their_kind(made: tuple[DemoShop, date, ZoneInfo]) -> None:
    shop, _, _ = made
    for purchase in shop.purchases:
        sign = 1 if purchase.kind == "sale" else -1
        assert purchase.lines
        assert all(line.amount_minor == line.quantity * line.unit_price_minor for line in purchase.lines)
        assert all(line.quantity * sign > 0 and line.unit_price_minor > 0 for line in purchase.lines)
        assert purchase.amount_minor == sum(line.amount_minor for line in purchase.lines)


def test_lines_are_of_products_and_everything_is_of_a_known_member(made: tuple[DemoShop, date, ZoneInfo]) -> None:
    shop, _, _ = made
    products = {(each.sku, each.name, each.category, each.unit_price_minor) for each in shop.products}
    members = {member.pos_id for member in shop.members}
    lines = [line for purchase in shop.purchases for line in purchase.lines]
    assert {(line.sku, line.name, line.category, line.unit_price_minor) for line in lines} <= products
    assert {event.member for event in events_of(shop)} <= members
    assert set(shop.habits) == members
    assert len(products) == len({product.sku for product in shop.products}) >= 25


def test_documents_and_references_are_used_once(made: tuple[DemoShop, date, ZoneInfo]) -> None:
    shop, _, _ = made
    assert len({purchase.document for purchase in shop.purchases}) == len(shop.purchases)
    assert len({activity.reference for activity in shop.activities}) == len(shop.activities)


def test_members_can_be_told_apart_and_do_not_exist(made: tuple[DemoShop, date, ZoneInfo]) -> None:
    shop, until, _ = made
    phones = [member.phone for member in shop.members if member.phone]
    emails = [member.email for member in shop.members if member.email]
    assert all(member.phone or member.email for member in shop.members)
    assert (len(set(phones)), len(set(emails))) == (len(phones), len(emails))
    assert all(phone[5:10] == "55501" and phonenumbers.is_valid_number(phonenumbers.parse(phone)) for phone in phones)
    assert all(email.isascii() and email == email.lower() and email.endswith("@example.com") for email in emails)
    birthdays = [member.birthday for member in shop.members if member.birthday]
    assert len(birthdays) > len(shop.members) // 2
    assert all(timedelta(days=17 * 365) < until - birthday < timedelta(days=81 * 366) for birthday in birthdays)
    assert 0.5 < sum(member.marketing_consent for member in shop.members) / len(shop.members) < 0.9


def test_members_join_before_anything_else(made: tuple[DemoShop, date, ZoneInfo]) -> None:
    shop, _, _ = made
    joined = {member.pos_id: member.joined_at for member in shop.members}
    assert all(joined[event.member] <= event.occurred_at for event in events_of(shop))


def test_everything_is_in_order_of_time_and_within_the_year(made: tuple[DemoShop, date, ZoneInfo]) -> None:
    shop, until, zone = made
    for moments in ([each.occurred_at for each in shop.purchases], [each.occurred_at for each in shop.activities]):
        assert moments == sorted(moments)
        assert all(moment.tzinfo is UTC for moment in moments)
        assert all(until - timedelta(days=364) <= moment.astimezone(zone).date() <= until for moment in moments)
    assert all(member.joined_at.astimezone(zone).date() <= until for member in shop.members)


def test_things_are_bought_and_returned_in_opening_hours_only(made: tuple[DemoShop, date, ZoneInfo]) -> None:
    shop, _, zone = made
    locations = {location.code: location for location in shop.locations}
    for purchase in shop.purchases:
        local = purchase.occurred_at.astimezone(zone)
        opening = locations[purchase.location].hours_on(local.date())
        assert opening is not None
        assert opening[0] <= local.time() < opening[1]


def test_each_receipt_of_a_return_is_an_earlier_sale_of_the_same_member(made: tuple[DemoShop, date, ZoneInfo]) -> None:
    shop, _, _ = made
    sales = {purchase.document: purchase for purchase in shop.purchases if purchase.kind == "sale"}
    assert all(purchase.sale_document is None for purchase in sales.values())
    for purchase in shop.purchases:
        assert purchase.kind != "void" or purchase.sale_document
        if purchase.sale_document:
            named = sales[purchase.sale_document]
            assert named.member == purchase.member
            assert named.occurred_at < purchase.occurred_at


def over_returned(purchases: Iterable[DemoPurchase]) -> list[str]:
    """Take returns back from their sale or the member's newest of the sku; the documents that find too little."""
    left: dict[tuple[str, str], int] = {}
    sales: dict[tuple[str, str], list[str]] = defaultdict(list)
    short = []
    for purchase in purchases:
        for line in purchase.lines:
            if purchase.kind == "sale":
                left[purchase.document, line.sku] = line.quantity
                sales[purchase.member, line.sku].append(purchase.document)
                continue
            newest_first = sales[purchase.member, line.sku][::-1]
            open_ones = [document for document in newest_first if left[document, line.sku]]
            source = purchase.sale_document or next(iter(open_ones), None)
            if source:
                left[source, line.sku] = left.get((source, line.sku), 0) + line.quantity
                short += [purchase.document] if left[source, line.sku] < 0 else []
    return short


def test_no_more_comes_back_than_was_sold(made: tuple[DemoShop, date, ZoneInfo]) -> None:
    shop, _, _ = made
    assert over_returned(shop.purchases) == []
    again = next(purchase for purchase in shop.purchases if purchase.sale_document)
    assert over_returned([*shop.purchases, again, *[again] * 3])  # the check does see a return made twice


# ── the café ────────────────────────────────────────────────────────────────────────────────────────────────────────


def of_kind(shop: DemoShop, *kinds: str) -> list[DemoPurchase]:
    return [purchase for purchase in shop.purchases if purchase.kind in kinds]


def sales_of(shop: DemoShop, habit: str) -> list[DemoPurchase]:
    return [purchase for purchase in of_kind(shop, "sale") if shop.habits[purchase.member] == habit]


def shuffled_times(purchases: Sequence[DemoPurchase]) -> list[DemoPurchase]:
    """The same purchases with their moments dealt out anew: no habit survives."""
    moments = [purchase.occurred_at for purchase in purchases]
    random.Random(1).shuffle(moments)
    return [replace(purchase, occurred_at=moment) for purchase, moment in zip(purchases, moments, strict=True)]


def share(purchases: Sequence[DemoPurchase], holds: Callable[[datetime], bool]) -> float:
    return sum(holds(purchase.occurred_at.astimezone(DENVER)) for purchase in purchases) / len(purchases)


def test_the_cafe_has_the_size_it_should(coffee: DemoShop) -> None:
    sales, back = of_kind(coffee, "sale"), of_kind(coffee, "return", "void")
    assert (len(coffee.members), len(coffee.locations)) == (600, 2)
    assert 17_500 < len(sales) < 18_500
    assert 0.005 < len(back) / len(sales) < 0.015
    assert all(purchase.sale_document for purchase in back)
    assert {product.category for product in coffee.products} == {"coffee", "tea", "pastry", "breakfast", "lunch"}


@pytest.mark.parametrize("month", [2, 5, 8])
def test_the_cafe_has_its_size_whenever_the_year_ends(month: int) -> None:
    shop = cafe.generate(seed=month, until=date(2026, month, 20), zone=DENVER)
    assert 17_500 < len(of_kind(shop, "sale")) < 18_500


USUAL_TIMES: dict[str, Callable[[datetime], bool]] = {
    "commuter": lambda local: local.isoweekday() <= 5 and local.hour < 10,
    "weekend couple": lambda local: local.isoweekday() >= 6,
    "student": lambda local: local.isoweekday() <= 4 and 12 <= local.hour < 18,
    "lunch guest": lambda local: 2 <= local.isoweekday() <= 5 and 11 <= local.hour < 14,
}


@pytest.mark.parametrize("habit", USUAL_TIMES)
def test_guests_come_at_their_times(coffee: DemoShop, habit: str) -> None:
    def rhythm_is_there(purchases: Sequence[DemoPurchase]) -> bool:
        theirs = [purchase for purchase in purchases if coffee.habits[purchase.member] == habit]
        return share(theirs, USUAL_TIMES[habit]) > 0.9

    sales = of_kind(coffee, "sale")
    assert rhythm_is_there(sales)
    assert not rhythm_is_there(shuffled_times(sales))


def favourite_share(purchases: Sequence[DemoPurchase]) -> float:
    """How much of a guest's drinks the favourite makes up, on average over guests with twenty drinks or more."""
    drinks: dict[str, Counter[str]] = defaultdict(Counter)
    for purchase in purchases:
        drinks[purchase.member].update(line.sku for line in purchase.lines if line.category in ("coffee", "tea"))
    shares = [counts.most_common(1)[0][1] / counts.total() for counts in drinks.values() if counts.total() >= 20]
    return sum(shares) / len(shares)


def test_commuters_have_a_usual_drink(coffee: DemoShop) -> None:
    sales = sales_of(coffee, "commuter")
    members = [purchase.member for purchase in sales]
    random.Random(1).shuffle(members)
    anybodys = [replace(purchase, member=member) for purchase, member in zip(sales, members, strict=True)]
    assert favourite_share(sales) > 0.6
    assert favourite_share(anybodys) < 0.4


def test_some_stop_in_spring_and_some_begin_in_autumn(coffee: DemoShop) -> None:
    def share_from(habit: str, first: date) -> float:
        return share(sales_of(coffee, habit), lambda local: local.date() >= first)

    assert share_from("lapsed in spring", date(2026, 5, 1)) == 0
    assert share_from("new in autumn", date(2026, 9, 1)) == 1
    # Who neither stops nor begins has bought on both sides of both days.
    assert 0.1 < share_from("commuter", date(2026, 9, 1)) < share_from("commuter", date(2026, 5, 1)) < 0.7


def test_cold_drinks_belong_to_summer_and_spice_to_autumn(coffee: DemoShop) -> None:
    def months(sku: str) -> Counter[int]:
        sales = [purchase for purchase in of_kind(coffee, "sale") if any(line.sku == sku for line in purchase.lines)]
        return Counter(purchase.occurred_at.astimezone(DENVER).month for purchase in sales)

    assert {month for month, _ in months("CBR").most_common(3)} == {6, 7, 8}
    assert {month for month, _ in months("PSL").most_common(3)} == {9, 10, 11}


# ── the hiking club ─────────────────────────────────────────────────────────────────────────────────────────────────


def activities(shop: DemoShop, kind: str) -> list[DemoActivity]:
    return [activity for activity in shop.activities if activity.kind == kind]


def receipts(shop: DemoShop) -> list[tuple[datetime, str, int, bool]]:
    """When, who, how much, and whether it counts as coming: sales and trips do, returns only lower the sum."""
    shopped = [(each.occurred_at, each.member, each.amount_minor, each.kind == "sale") for each in shop.purchases]
    hiked = [(each.occurred_at, each.member, each.amount_minor, True) for each in activities(shop, "trip")]
    return sorted([*shopped, *hiked])


def repeat_share(events: Sequence[tuple[datetime, str, int, bool]]) -> float:
    """The share of revenue from customers who bought more than once."""
    times = Counter(member for _, member, _, counts in events if counts)
    repeated = sum(amount for _, member, amount, _ in events if times[member] > 1)
    return repeated / sum(amount for _, _, amount, _ in events)


def returning_share(events: Sequence[tuple[datetime, str, int, bool]]) -> float:
    """The share of revenue from customers who had bought before: without everybody's first time."""
    known: set[str] = set()
    repeated = 0
    for _, member, amount, counts in events:
        repeated += amount if member in known else 0
        known |= {member} if counts else set()
    return repeated / sum(amount for _, _, amount, _ in events)


@pytest.mark.parametrize(
    ("seed", "until", "zone"), [*WHENS, *((seed, date(2026, 7, 5), DENVER) for seed in range(4, 9))]
)
def test_repeat_customers_bring_about_44_percent_of_revenue(seed: int, until: date, zone: ZoneInfo) -> None:
    events = receipts(hiking.generate(seed=seed, until=until, zone=zone))
    assert 0.42 < repeat_share(events) < 0.46
    assert 0.42 < returning_share(events) < 0.46

    members = [member for _, member, _, _ in events]
    random.Random(seed).shuffle(members)
    anybodys = [
        (when, member, amount, counts) for (when, _, amount, counts), member in zip(events, members, strict=True)
    ]
    assert not 0.42 < repeat_share(anybodys) < 0.46


def test_the_hiking_club_has_the_size_it_should(outfitter: DemoShop) -> None:
    sales, back = of_kind(outfitter, "sale"), of_kind(outfitter, "return")
    assert 320 < len(outfitter.members) < 400
    assert 800 < len(activities(outfitter, "trip")) < 1_000
    assert 2_300 < len(sales) < 2_700
    assert 0.025 < len(back) / len(sales) < 0.035
    assert activities(outfitter, "review")
    assert activities(outfitter, "guiding")


def test_some_returns_have_no_receipt_and_few_of_them_were_never_bought_here(outfitter: DemoShop) -> None:
    bought: set[tuple[str, str]] = set()
    kinds: Counter[str] = Counter()
    for purchase in outfitter.purchases:
        for line in purchase.lines:
            if purchase.kind == "sale":
                bought.add((purchase.member, line.sku))
            elif purchase.sale_document:
                kinds["receipt"] += 1
            else:
                kinds["bought here" if (purchase.member, line.sku) in bought else "from elsewhere"] += 1
    assert kinds["receipt"] > kinds["bought here"] > kinds["from elsewhere"] > 0


def test_trips_have_days_a_price_and_a_number_that_counts_on(outfitter: DemoShop) -> None:
    numbers: dict[str, int] = {}
    offered = {(each.name, each.region, each.days, each.price_minor) for each in hiking_catalogue.TRIPS}
    for each in activities(outfitter, "trip"):
        told = each.properties
        assert (told["trip"], told["region"], told["days"], each.amount_minor) in offered
        number, days = told["trip_number"], told["days"]
        assert isinstance(number, int)
        assert isinstance(days, int)
        assert number == numbers.get(each.member, number - 1) + 1
        numbers[each.member] = number
        start = date.fromisoformat(str(told["start"]))
        assert start + timedelta(days=days - 1) == each.occurred_at.astimezone(DENVER).date()
    assert {1, 7, 14} <= {each.properties["days"] for each in activities(outfitter, "trip")}


def test_nobody_is_on_two_trips_at_once(outfitter: DemoShop) -> None:
    away = Counter(
        (each.member, day)
        for each in activities(outfitter, "trip")
        for day in (
            each.occurred_at.astimezone(DENVER).date() - timedelta(days=back)
            for back in range(int(each.properties["days"]))
        )
    )
    assert max(away.values()) == 1


def test_more_people_hike_in_summer_than_in_winter(outfitter: DemoShop) -> None:
    months = Counter(each.occurred_at.astimezone(DENVER).month for each in activities(outfitter, "trip"))
    assert sum(months[month] for month in (6, 7, 8)) > 2 * sum(months[month] for month in (12, 1, 2))


def test_reviews_follow_a_trip_of_that_name_by_the_same_member(outfitter: DemoShop) -> None:
    for review in activities(outfitter, "review"):
        assert any(
            each.member == review.member
            and each.properties["trip"] == review.properties["trip"]
            and timedelta() < review.occurred_at - each.occurred_at < timedelta(days=8)
            for each in activities(outfitter, "trip")
        )


def home_region_share(trips: Iterable[tuple[str, int | str]]) -> float:
    """How much of a member's trips the favourite region makes up, on average over members with five trips or more."""
    regions: dict[str, Counter[int | str]] = defaultdict(Counter)
    for member, region in trips:
        regions[member][region] += 1
    shares = [counts.most_common(1)[0][1] / counts.total() for counts in regions.values() if counts.total() >= 5]
    return sum(shares) / len(shares)


def test_regulars_have_a_region_they_return_to(outfitter: DemoShop) -> None:
    trips = [(each.member, each.properties["region"]) for each in activities(outfitter, "trip")]
    members = [member for member, _ in trips]
    random.Random(1).shuffle(members)
    anybodys = [(member, region) for member, (_, region) in zip(members, trips, strict=True)]
    assert home_region_share(trips) > home_region_share(anybodys) + 0.05
