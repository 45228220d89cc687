"""
A hiking outfitter with guided trips and a shop.

Regulars go out often and mostly for a day or a weekend; they stop by the shop before each trip. Visitors come once: for
one of the long tours, or to kit themselves out. As many of them are made up as it takes for repeat customers to bring
about 44 % of the revenue, of the trips as well as of the shop.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random
from typing import Final
from zoneinfo import ZoneInfo

from loyalty_saas.demo_data.common import (
    YEAR,
    DemoActivity,
    DemoLine,
    DemoLocation,
    DemoMember,
    DemoProduct,
    DemoShop,
    Draft,
    People,
    arrival,
    basket,
    days_between,
    in_order,
    joined_with,
    moment,
    numbered,
    referenced,
    seeded,
    sold,
    taken_back,
    weighted,
)
from loyalty_saas.demo_data.hiking_catalogue import (
    BIG_GEAR,
    BY_SKU,
    CATALOGUE,
    KIT,
    LOCATIONS,
    MAPS,
    PROVISIONS,
    REGIONS,
    REGULARS_LENGTHS,
    RETURNABLE,
    SHOP_SEASON,
    SMALL_GEAR,
    STORE,
    TRIP_SEASON,
    TRIPS,
    VISITORS_LENGTHS,
    WEB,
    Trip,
)

_REGULARS: Final = 127
_REPEAT_SHARE: Final = 0.45
_RETURNS: Final = 0.03
_WITHOUT_RECEIPT: Final = 0.25
_NEVER_BOUGHT_HERE: Final = 0.2
_REVIEWS: Final = 0.35


@dataclass(frozen=True, slots=True)
class _Departure:
    """A trip that set out on a day, and was back by the end of the year looked at."""

    trip: Trip
    start: date

    @property
    def end(self) -> date:
        return self.start + timedelta(days=self.trip.days - 1)


@dataclass(frozen=True, slots=True)
class _Regular:
    """A member who keeps coming on some of the `days`: with a region, provisions, weekday and hour of their own."""

    member: DemoMember
    is_new: bool
    days: tuple[date, ...]
    region: str
    provisions: tuple[str, str]
    likes: str
    shopping_day: int
    around: int
    buys_online: float
    trips_before: int
    helps_guiding: bool


@dataclass(frozen=True, slots=True)
class _Story:
    """What one member did in the year."""

    member: DemoMember
    habit: str
    sales: tuple[Draft, ...]
    activities: tuple[DemoActivity, ...]

    def shop_revenue(self) -> int:
        return sum(sale.amount_minor for sale in self.sales)

    def trip_revenue(self) -> int:
        return sum(activity.amount_minor for activity in self.activities)


@dataclass(frozen=True, slots=True)
class _Year:
    """What all stories share."""

    rng: Random
    people: People
    days: tuple[date, ...]
    departures: tuple[_Departure, ...]
    zone: ZoneInfo


def generate(*, seed: int, until: date, zone: ZoneInfo) -> DemoShop:
    """
    Return a year of a hiking outfitter up to `until`: about 350 members, 900 trips and 2,500 shop sales.

    Activities are of the kinds trip (on its last day, with its price), review and guiding; each has the number
    `days` where it lasts. The last day is complete, so a caller who wants no future events names a day that has passed.
    """
    rng = seeded(seed)
    days = tuple(days_between(until - YEAR, until))
    year = _Year(rng, People(rng, until=until), days, _departures(days), zone)
    regulars = [_regular_story(year) for _ in range(_REGULARS)]
    stories = [
        *regulars,
        *_visitors(year, regulars, _Story.trip_revenue, _tour_story),
        *_visitors(year, regulars, _Story.shop_revenue, _kit_story),
    ]
    sales = [sale for story in stories for sale in story.sales]
    return DemoShop(
        members=in_order([story.member for story in stories]),
        purchases=numbered([*sales, *_returns(year, sales)]),
        activities=referenced(activity for story in stories for activity in story.activities),
        products=CATALOGUE,
        locations=LOCATIONS,
        habits={story.member.pos_id: story.habit for story in stories},
    )


def _departures(days: Sequence[date]) -> tuple[_Departure, ...]:
    running = (
        _Departure(trip, day)
        for trip in TRIPS
        for day in days
        if day.month in trip.months and day.isoweekday() in trip.starts_on
    )
    return tuple(departure for departure in running if departure.end <= days[-1])


# ── regulars ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _regular_story(year: _Year) -> _Story:
    rng = year.rng
    regular = _regular(year)
    going = _their_departures(year, regular)
    sales = [*_before_trips(year, regular, going), *_other_errands(year, regular, going)]
    activities = [*_trips(year, regular, going), *_guiding(year, regular, going)]
    reviews = [_review(year, trip) for trip in activities if trip.kind == "trip" and rng.random() < _REVIEWS]
    moments = [*(sale.at for sale in sales), *(activity.occurred_at for activity in activities)]
    return _Story(
        member=joined_with(regular.member, moments) if regular.is_new else regular.member,
        habit="guide" if regular.helps_guiding else "regular",
        sales=tuple(sales),
        activities=(*activities, *(review for review in reviews if review)),
    )


def _regular(year: _Year) -> _Regular:
    rng = year.rng
    is_new = rng.random() < 0.3
    # The new ones come early enough in the year to have come again.
    days = year.days[rng.randrange(len(year.days) * 2 // 3) :] if is_new else year.days
    joined_on = days[0] if is_new else days[0] - timedelta(days=rng.randint(1, 900))
    return _Regular(
        member=year.people.member(joined_at=moment(rng, joined_on, 12 * 60, year.zone)),
        is_new=is_new,
        days=days,
        region=rng.choice(REGIONS),
        provisions=(rng.choice(PROVISIONS), rng.choice(PROVISIONS)),
        likes=weighted(rng, SMALL_GEAR),
        shopping_day=rng.choices((2, 3, 4, 5, 6, 7), (8, 10, 16, 24, 30, 12))[0],
        around=rng.choice((10 * 60 + 30, 13 * 60, 17 * 60)),
        buys_online=rng.choice((0.05, 0.15, 0.5)),
        trips_before=0 if is_new else rng.randint(0, 9),
        helps_guiding=rng.random() < 0.06,
    )


def _their_departures(year: _Year, regular: _Regular) -> list[_Departure]:
    """Return where a regular goes, in order and never on two trips at once."""
    rng = year.rng
    wanted = max(1, round(rng.triangular(1, 14, 6) * len(regular.days) / len(year.days)))
    open_to = [departure for departure in year.departures if departure.start >= regular.days[0]]
    weights = [_leaning(departure, regular) for departure in open_to]
    going = _apart(rng.choices(open_to, weights, k=wanted * 2))[:wanted]
    return sorted(going, key=lambda departure: departure.start)


def _leaning(departure: _Departure, regular: _Regular) -> float:
    home = 4.0 if departure.trip.region == regular.region else 1.0
    return home * _of_length(departure.trip.days, REGULARS_LENGTHS) * TRIP_SEASON[departure.start.month]


def _of_length(days: int, lengths: Mapping[int, float]) -> float:
    """Return the weight of one trip among those of its length."""
    return lengths.get(days, 0.0) / sum(trip.days == days for trip in TRIPS)


def _apart(departures: Iterable[_Departure]) -> list[_Departure]:
    """Return the departures without those during another."""
    apart: list[_Departure] = []
    for departure in departures:
        if not any(_overlap(departure, other) for other in apart):
            apart.append(departure)
    return apart


def _overlap(one: _Departure, other: _Departure) -> bool:
    return one.start <= other.end and other.start <= one.end


def _trips(year: _Year, regular: _Regular, going: Sequence[_Departure]) -> list[DemoActivity]:
    first = regular.trips_before + 1
    return [_trip(year, regular.member, departure, number) for number, departure in enumerate(going, first)]


def _trip(year: _Year, member: DemoMember, departure: _Departure, number: int) -> DemoActivity:
    """Return a trip as it ends; `trip_number` counts the member's trips since they know us."""
    rng, trip = year.rng, departure.trip
    return DemoActivity(
        kind="trip",
        reference="",
        member=member.pos_id,
        occurred_at=moment(rng, departure.end, rng.randint(15 * 60, 18 * 60), year.zone),
        amount_minor=trip.price_minor,
        properties={
            "trip": trip.name,
            "region": trip.region,
            "start": departure.start.isoformat(),
            "days": trip.days,
            "trip_number": number,
        },
    )


def _review(year: _Year, trip: DemoActivity) -> DemoActivity | None:
    """Return what a member wrote some days after a trip; None if it is not written yet."""
    rng = year.rng
    day = trip.occurred_at.astimezone(year.zone).date() + timedelta(days=rng.randint(1, 6))
    stars = rng.choices((5, 4, 3, 2), (60, 28, 9, 3))[0]
    if day > year.days[-1]:
        return None
    return DemoActivity(
        kind="review",
        reference="",
        member=trip.member,
        occurred_at=moment(rng, day, rng.randint(8 * 60, 22 * 60), year.zone),
        amount_minor=0,
        properties={"trip": trip.properties["trip"], "region": trip.properties["region"], "stars": stars},
    )


def _guiding(year: _Year, regular: _Regular, going: Sequence[_Departure]) -> list[DemoActivity]:
    """Return the day trips that a member helped to guide."""
    rng = year.rng
    if not regular.helps_guiding:
        return []
    short = [each for each in year.departures if each.trip.days <= 2 and each.start >= regular.days[0]]
    free = [departure for departure in short if not any(_overlap(departure, other) for other in going)]
    helped = _apart(rng.sample(free, min(len(free), rng.randint(2, 6))))
    return [
        DemoActivity(
            kind="guiding",
            reference="",
            member=regular.member.pos_id,
            occurred_at=moment(rng, departure.end, 18 * 60, year.zone),
            amount_minor=0,
            properties={"trip": departure.trip.name, "region": departure.trip.region, "days": departure.trip.days},
        )
        for departure in helped
    ]


def _before_trips(year: _Year, regular: _Regular, going: Sequence[_Departure]) -> list[Draft]:
    """Return the provisions bought in the week before a trip."""
    rng = year.rng
    sales = []
    for departure in going:
        day = departure.start - timedelta(days=rng.randint(1, 5))
        if rng.random() < 0.8 and day >= regular.days[0]:
            sales.append(_regular_sale(year, regular, day, _provisions(rng, regular, departure.trip)))
    return sales


def _provisions(rng: Random, regular: _Regular, trip: Trip) -> list[DemoProduct]:
    meals = [rng.choice(regular.provisions) for _ in range(min(6, trip.days + 1))]
    gas = ["GAS-230"] if trip.days > 1 and rng.random() < 0.5 else []
    maps = [MAPS[trip.region]] if rng.random() < 0.12 else []
    return [BY_SKU[sku] for sku in (*meals, *gas, *maps)]


def _other_errands(year: _Year, regular: _Regular, going: Sequence[_Departure]) -> list[Draft]:
    """Return what a regular buys besides: on the usual weekday, when not away on a trip, mostly small things."""
    rng = year.rng
    at_home = [day for day in regular.days if not any(departure.start <= day <= departure.end for departure in going)]
    usual = [day for day in at_home if day.isoweekday() == regular.shopping_day]
    count = max(2, round(rng.gauss(18.5, 4.5) * len(regular.days) / len(year.days)))
    errands = rng.choices(usual, [SHOP_SEASON[day.month] for day in usual], k=count)
    return [_regular_sale(year, regular, day, _errand(rng, regular, day)) for day in sorted(set(errands))]


def _errand(rng: Random, regular: _Regular, day: date) -> list[DemoProduct]:
    if day.month == 12 and rng.random() < 0.2:
        return [BY_SKU["GIFT-50"]]
    if rng.random() < 0.06:
        return [BY_SKU[weighted(rng, BIG_GEAR)]]
    skus = [regular.likes if rng.random() < 0.5 else weighted(rng, SMALL_GEAR)] if rng.random() < 0.45 else []
    skus += [regular.provisions[0] if rng.random() < 0.7 else rng.choice(PROVISIONS) for _ in range(rng.randint(1, 3))]
    return [BY_SKU[sku] for sku in skus]


def _regular_sale(year: _Year, regular: _Regular, day: date, products: Iterable[DemoProduct]) -> Draft:
    is_online = STORE.hours_on(day) is None or year.rng.random() < regular.buys_online
    around = 20 * 60 + 30 if is_online else regular.around
    return _sale(year, regular.member, day, products, location=WEB if is_online else STORE, around=around, spread=40)


def _sale(
    year: _Year,
    member: DemoMember,
    day: date,
    products: Iterable[DemoProduct],
    *,
    location: DemoLocation,
    around: int,
    spread: int,
) -> Draft:
    return Draft(
        kind="sale",
        member=member.pos_id,
        location=location,
        channel=_channel(location),
        at=arrival(year.rng, location, day, around=around, spread=spread, zone=year.zone),
        lines=basket(products),
    )


def _channel(location: DemoLocation) -> str:
    return "online" if location is WEB else "store"


# ── visitors ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _visitors(
    year: _Year, regulars: Sequence[_Story], revenue: Callable[[_Story], int], visit: Callable[[_Year], _Story]
) -> list[_Story]:
    """Return visitors until they bring, of this revenue, what repeat customers do not."""
    wanted = sum(map(revenue, regulars)) * (1 - _REPEAT_SHARE) / _REPEAT_SHARE
    visitors: list[_Story] = []
    brought = 0
    while brought < wanted:
        visitors.append(visit(year))
        brought += revenue(visitors[-1])
    return visitors


def _tour_story(year: _Year) -> _Story:
    """Return a member who came once, for a long tour."""
    rng = year.rng
    weights = [
        _of_length(departure.trip.days, VISITORS_LENGTHS) * TRIP_SEASON[departure.start.month]
        for departure in year.departures
    ]
    departure = rng.choices(year.departures, weights)[0]
    # They join when they book.
    booked_on = departure.start - timedelta(days=rng.randint(10, 90))
    member = year.people.member(joined_at=moment(rng, booked_on, rng.randint(9 * 60, 21 * 60), year.zone))
    trip = _trip(year, member, departure, 1)
    review = _review(year, trip) if rng.random() < _REVIEWS else None
    return _Story(member, "tour visitor", (), (trip, review) if review else (trip,))


def _kit_story(year: _Year) -> _Story:
    """Return a member who came once, to be fitted out from head to toe."""
    rng = year.rng
    day = rng.choices(year.days, [SHOP_SEASON[day.month] for day in year.days])[0]
    location = WEB if STORE.hours_on(day) is None or rng.random() < 0.2 else STORE
    around = 20 * 60 if location is WEB else 14 * 60
    member = year.people.member(joined_at=moment(rng, day, 12 * 60, year.zone))
    kit = [BY_SKU[sku] for sku in (*rng.sample(KIT, rng.randint(3, 5)), "SOC-MER", "SOC-MER")]
    sale = _sale(year, member, day, kit, location=location, around=around, spread=100)
    return _Story(joined_with(member, [sale.at]), "kit visitor", (sale,), ())


# ── returns ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _returns(year: _Year, sales: Sequence[Draft]) -> list[Draft]:
    """Return what comes back: the dearer, the likelier; nobody brings back the same product twice."""
    open_to = [sale for sale in sales if _returnable(sale) and _day_of_return(year, sale, 2)]
    wanted = round(len(sales) * _RETURNS)
    returns: dict[tuple[str, str], Draft] = {}
    for sale in sorted(open_to, key=lambda sale: year.rng.expovariate(sale.amount_minor)):
        if len(returns) < wanted:
            back = _return(year, sale, sales)
            returns.setdefault((back.member, back.lines[0].sku), back)
    return list(returns.values())


def _returnable(sale: Draft) -> list[DemoLine]:
    return [line for line in sale.lines if line.category in RETURNABLE]


def _day_of_return(year: _Year, sale: Draft, later: int) -> date | None:
    """Return the first day after so many days on which the store is open; None if the year is over by then."""
    bought_on = sale.at.astimezone(year.zone).date()
    later_days = (day for day in year.days if day >= bought_on + timedelta(days=later))
    return next((day for day in later_days if STORE.hours_on(day)), None)


def _return(year: _Year, sale: Draft, sales: Sequence[Draft]) -> Draft:
    rng = year.rng
    has_receipt = rng.random() >= _WITHOUT_RECEIPT
    is_from_elsewhere = not has_receipt and rng.random() < _NEVER_BOUGHT_HERE
    line = _never_bought(rng, sale.member, sales) if is_from_elsewhere else rng.choice(_returnable(sale))
    day = _day_of_return(year, sale, rng.randint(2, 25)) or _last_open(year)
    return Draft(
        kind="return",
        member=sale.member,
        location=STORE,
        channel=_channel(STORE),
        at=arrival(rng, STORE, day, around=12 * 60, spread=120, zone=year.zone),
        lines=(taken_back(line, 1),),
        sale=sale if has_receipt else None,
    )


def _last_open(year: _Year) -> date:
    return max(day for day in year.days if STORE.hours_on(day))


def _never_bought(rng: Random, member: str, sales: Sequence[Draft]) -> DemoLine:
    """Return a line of something returnable that a member has not bought all year: a present, or from another shop."""
    bought = {line.sku for sale in sales if sale.member == member for line in sale.lines}
    return sold(rng.choice([product for product in CATALOGUE if _is_new_to(product, bought)]))


def _is_new_to(product: DemoProduct, bought: Container[str]) -> bool:
    return product.category in RETURNABLE and product.sku not in bought
