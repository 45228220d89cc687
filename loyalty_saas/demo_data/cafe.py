"""A café with two counters: commuters, weekend couples, students, some who stopped coming and some who just began."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from random import Random
from typing import Final
from zoneinfo import ZoneInfo

from loyalty_saas.demo_data.common import (
    HOLIDAYS,
    YEAR,
    DemoLine,
    DemoLocation,
    DemoMember,
    DemoProduct,
    DemoPurchase,
    DemoShop,
    Draft,
    People,
    arrival,
    basket,
    days_between,
    hours,
    in_order,
    joined_with,
    numbered,
    seeded,
    taken_back,
    weighted,
)

STATION: Final = DemoLocation(
    "station", "Station counter", (*[hours("06:30-18:00")] * 5, *[hours("08:00-16:00")] * 2), HOLIDAYS
)
HARBOUR: Final = DemoLocation(
    "harbour", "Harbour café", (*[hours("07:30-18:00")] * 5, *[hours("08:30-18:00")] * 2), HOLIDAYS
)
LOCATIONS: Final = (STATION, HARBOUR)

_MENU: Final = (
    DemoProduct("ESP", "Espresso", "coffee", 260),
    DemoProduct("AME", "Americano", "coffee", 310),
    DemoProduct("FLT", "Filter of the day", "coffee", 290),
    DemoProduct("FLW", "Flat white", "coffee", 380),
    DemoProduct("CAP", "Cappuccino", "coffee", 370),
    DemoProduct("LAT", "Latte", "coffee", 390),
    DemoProduct("OAT", "Oat latte", "coffee", 430),
    DemoProduct("CBR", "Cold brew", "coffee", 420),
    DemoProduct("PSL", "Pumpkin spice latte", "coffee", 480),
    DemoProduct("BRK", "Breakfast tea", "tea", 280),
    DemoProduct("GRN", "Green tea", "tea", 290),
    DemoProduct("MNT", "Fresh mint tea", "tea", 320),
    DemoProduct("CHA", "Chai latte", "tea", 420),
    DemoProduct("CRO", "Butter croissant", "pastry", 290),
    DemoProduct("ALM", "Almond croissant", "pastry", 370),
    DemoProduct("CIN", "Cinnamon bun", "pastry", 350),
    DemoProduct("BAN", "Banana bread", "pastry", 340),
    DemoProduct("CAR", "Carrot cake", "pastry", 450),
    DemoProduct("BRO", "Brownie", "pastry", 360),
    DemoProduct("POR", "Porridge with berries", "breakfast", 650),
    DemoProduct("YOG", "Yoghurt and granola", "breakfast", 620),
    DemoProduct("AVO", "Avocado on sourdough", "breakfast", 980),
    DemoProduct("EGG", "Eggs on sourdough", "breakfast", 920),
    DemoProduct("SOU", "Soup of the day", "lunch", 720),
    DemoProduct("SAN", "Goat's cheese sandwich", "lunch", 780),
    DemoProduct("WRA", "Chicken wrap", "lunch", 840),
    DemoProduct("QUI", "Quiche and salad", "lunch", 960),
)
_BY_SKU: Final = {product.sku: product for product in _MENU}
_COLD_BREW, _PUMPKIN, _SOUP = _BY_SKU["CBR"], _BY_SKU["PSL"], _BY_SKU["SOU"]

# How likely each is to become somebody's usual.
_LIKING: Final = {
    "ESP": 5, "AME": 9, "FLT": 8, "FLW": 16, "CAP": 17, "LAT": 14, "OAT": 13, "CBR": 3,
    "BRK": 5, "GRN": 3, "MNT": 3, "CHA": 4,
    "CRO": 24, "ALM": 13, "CIN": 20, "BAN": 16, "CAR": 12, "BRO": 15,
    "POR": 18, "YOG": 16, "AVO": 38, "EGG": 28,
    "SOU": 24, "SAN": 26, "WRA": 28, "QUI": 22,
}  # fmt: skip
_DRINKS: Final = ("coffee", "tea")

# How busy a month is; those who travel to work care less than those who stroll.
_SEASON: Final = {
    1: 0.92,
    2: 0.95,
    3: 1.0,
    4: 1.0,
    5: 1.04,
    6: 1.04,
    7: 0.94,
    8: 0.86,
    9: 1.04,
    10: 1.06,
    11: 1.04,
    12: 1.0,
}
_TERM: Final = {1: 1.2, 2: 0.8, 3: 1.0, 4: 0.8, 5: 1.2, 6: 1.2, 7: 0.15, 8: 0.1, 9: 0.5, 10: 1.1, 11: 1.1, 12: 0.8}
_SPRING: Final = (3, 4)
_AUTUMN: Final = (9, 10)
_WEEK: Final = (1, 2, 3, 4, 5, 6, 7)
_WORKDAYS: Final = (1, 2, 3, 4, 5)

_SALES: Final = 18_000
_CORRECTIONS: Final = 0.01
_MINUTES_TO_CORRECT: Final = (2, 9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Habit:
    """How a kind of guest comes: on so many `usual_days` of the `weekdays`, by chance, around a minute of the day."""

    name: str
    guests: int
    weekdays: tuple[int, ...]
    usual_days: tuple[int, int]
    chance: float
    around: int
    spread: int
    party: int = 1
    drink: float = 0.97
    food: Mapping[str, float] = field(default_factory=dict)
    season: Mapping[int, float] = field(default_factory=lambda: _SEASON)
    at_station: float = 0.5
    orders_ahead: float = 0.0
    stops_in: tuple[int, ...] = ()
    begins_in: tuple[int, ...] = ()


HABITS: Final = (
    Habit(name="commuter", guests=48, weekdays=_WORKDAYS, usual_days=(3, 5), chance=0.63, around=7 * 60 + 55,
          spread=22, food={"pastry": 0.22, "breakfast": 0.06}, at_station=0.85, orders_ahead=0.3),
    Habit(name="weekend couple", guests=110, weekdays=(6, 7), usual_days=(1, 2), chance=0.35, around=10 * 60 + 40,
          spread=50, party=2, food={"pastry": 0.55, "breakfast": 0.5}, at_station=0.12),
    Habit(name="student", guests=92, weekdays=(1, 2, 3, 4), usual_days=(2, 3), chance=0.31, around=15 * 60,
          spread=60, food={"pastry": 0.35}, season=_TERM, at_station=0.35),
    Habit(name="lunch guest", guests=86, weekdays=(2, 3, 4, 5), usual_days=(1, 2), chance=0.43, around=12 * 60 + 35,
          spread=25, drink=0.6, food={"lunch": 0.92}, at_station=0.4, orders_ahead=0.12),
    Habit(name="lapsed in spring", guests=70, weekdays=_WEEK, usual_days=(2, 3), chance=0.46, around=9 * 60 + 30,
          spread=70, food={"pastry": 0.3, "breakfast": 0.1}, stops_in=_SPRING),
    Habit(name="new in autumn", guests=90, weekdays=_WEEK, usual_days=(2, 3), chance=0.42, around=9 * 60 + 15,
          spread=80, food={"pastry": 0.35, "breakfast": 0.1}, begins_in=_AUTUMN),
    Habit(name="now and then", guests=104, weekdays=_WEEK, usual_days=(7, 7), chance=0.024, around=13 * 60,
          spread=150, food={"pastry": 0.45, "lunch": 0.15}),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Guest:
    """One member with a usual place, days, hour and order."""

    member: DemoMember
    habit: Habit
    home: DemoLocation
    days: frozenset[int]
    around: int
    eagerness: float
    usual: Mapping[str, DemoProduct]
    drinks: tuple[DemoProduct, ...]
    faithful: float
    likes_it_cold: bool
    is_new: bool
    first: date
    last: date
    away: tuple[date, date]

    def chance_on(self, day: date) -> float:
        """Return how likely the guest is to come on a day."""
        if not self.first <= day <= self.last or self.away[0] <= day <= self.away[1]:
            return 0.0
        usual = self.habit.chance if day.isoweekday() in self.days else self.habit.chance * 0.025
        return usual * self.eagerness * self.habit.season[day.month]


def generate(*, seed: int, until: date, zone: ZoneInfo) -> DemoShop:
    """
    Return a year of a café: about 600 members and 18,000 purchases in the 365 days up to and including `until`.

    The last day is complete, so a caller who wants no future events names a day that has passed.
    """
    rng = seeded(seed)
    days = [day for day in days_between(until - YEAR, until) if HARBOUR.hours_on(day)]
    people = People(rng, until=until)
    guests = [_guest(rng, people, habit, days, zone) for habit in HABITS for _ in range(habit.guests)]
    # Who stopped in spring or began in autumn came for more or fewer months, depending on when the year ends.
    pace = _SALES / sum(guest.chance_on(day) for guest in guests for day in days)
    visits = {guest.member.pos_id: _visits(rng, guest, days, pace, zone) for guest in guests}
    return DemoShop(
        members=in_order([_member(guest, visits[guest.member.pos_id]) for guest in guests]),
        purchases=_with_corrections(rng, [sale for sales in visits.values() for sale in sales]),
        activities=(),
        products=_MENU,
        locations=LOCATIONS,
        habits={guest.member.pos_id: guest.habit.name for guest in guests},
    )


def _guest(rng: Random, people: People, habit: Habit, days: Sequence[date], zone: ZoneInfo) -> _Guest:
    first, joined_on = _beginning(rng, habit, days)
    last = rng.choice([day for day in days if day.month in habit.stops_in]) if habit.stops_in else days[-1]
    home = STATION if rng.random() < habit.at_station else HARBOUR
    return _Guest(
        member=people.member(joined_at=arrival(rng, home, joined_on, around=habit.around, spread=60, zone=zone)),
        habit=habit,
        home=home,
        days=frozenset(rng.sample(habit.weekdays, rng.randint(*habit.usual_days))),
        around=round(rng.gauss(habit.around, habit.spread / 2)),
        eagerness=rng.uniform(0.6, 1.4),
        usual={category: _usual(rng, (category,)) for category in ("pastry", "breakfast", "lunch")},
        drinks=tuple(_usual(rng, _DRINKS) for _ in range(habit.party)),
        faithful=rng.uniform(0.65, 0.95),
        likes_it_cold=rng.random() < 0.5,
        is_new=joined_on >= days[0],
        first=first,
        last=last,
        away=_holiday(rng, days),
    )


def _beginning(rng: Random, habit: Habit, days: Sequence[date]) -> tuple[date, date]:
    """Return the first day a guest may come in this year, and the day of joining."""
    if habit.begins_in:
        begins = rng.choice([day for day in days if day.month in habit.begins_in])
        return begins, begins
    if rng.random() < 0.3:
        # Some join over the year, but early enough for the habit to show.
        begins = days[rng.randrange(len(days) // 3)] if not habit.stops_in else days[0]
        return begins, begins
    return days[0], _open_by(days[0] - timedelta(days=rng.randint(2, 700)))


def _open_by(day: date) -> date:
    """Return a day, or the last one before it on which the café was open."""
    return day if HARBOUR.hours_on(day) else _open_by(day - timedelta(days=1))


def _member(guest: _Guest, visits: Sequence[Draft]) -> DemoMember:
    return joined_with(guest.member, [sale.at for sale in visits]) if guest.is_new else guest.member


def _usual(rng: Random, categories: Sequence[str]) -> DemoProduct:
    return weighted(rng, {_BY_SKU[sku]: liked for sku, liked in _LIKING.items() if _BY_SKU[sku].category in categories})


def _holiday(rng: Random, days: Sequence[date]) -> tuple[date, date]:
    """Return the first and last day of a summer holiday of one to three weeks."""
    starts = rng.choice([day for day in days if day.month in (7, 8)])
    return starts, starts + timedelta(days=rng.randint(6, 20))


def _visits(rng: Random, guest: _Guest, days: Sequence[date], pace: float, zone: ZoneInfo) -> list[Draft]:
    coming = [day for day in days if rng.random() < guest.chance_on(day) * pace]
    return [_sale(rng, guest, day, zone) for day in coming]


def _sale(rng: Random, guest: _Guest, day: date, zone: ZoneInfo) -> Draft:
    elsewhere = HARBOUR if guest.home is STATION else STATION
    location = guest.home if rng.random() < 0.92 else elsewhere
    return Draft(
        kind="sale",
        member=guest.member.pos_id,
        location=location,
        channel="mobile" if rng.random() < guest.habit.orders_ahead else "store",
        at=arrival(rng, location, day, around=guest.around, spread=max(8, guest.habit.spread // 2), zone=zone),
        lines=_order(rng, guest, day),
    )


def _order(rng: Random, guest: _Guest, day: date) -> tuple[DemoLine, ...]:
    """Return what a guest has: mostly the usual, sometimes what the season or the counter suggests."""
    drinks = [_drink(rng, guest, usual, day) for usual in guest.drinks if rng.random() < guest.habit.drink]
    food = [
        _dish(rng, guest, category, day)
        for category, chance in guest.habit.food.items()
        for _ in range(guest.habit.party)
        if rng.random() < chance
    ]
    return basket([*drinks, *food] or [guest.drinks[0]])


def _drink(rng: Random, guest: _Guest, usual: DemoProduct, day: date) -> DemoProduct:
    if day.month in (6, 7, 8) and guest.likes_it_cold and rng.random() < 0.5:
        return _COLD_BREW
    if day.month in (9, 10, 11) and not guest.likes_it_cold and rng.random() < 0.15:
        return _PUMPKIN
    return usual if rng.random() < guest.faithful else _usual(rng, _DRINKS)


def _dish(rng: Random, guest: _Guest, category: str, day: date) -> DemoProduct:
    if category == "lunch" and day.month in (11, 12, 1, 2) and rng.random() < 0.25:
        return _SOUP
    return guest.usual[category] if rng.random() < guest.faithful else _usual(rng, (category,))


def _with_corrections(rng: Random, sales: Sequence[Draft]) -> tuple[DemoPurchase, ...]:
    """Return the sales, and for one in a hundred a void or a return within minutes."""
    wrong = rng.sample(sales, round(len(sales) * _CORRECTIONS))
    return numbered([*sales, *(_correction(rng, sale) for sale in wrong)])


def _correction(rng: Random, sale: Draft) -> Draft:
    is_void = rng.random() < 0.6
    lines = sale.lines if is_void else (rng.choice(sale.lines),)
    return Draft(
        kind="void" if is_void else "return",
        member=sale.member,
        location=sale.location,
        channel="store",
        at=sale.at + timedelta(minutes=rng.randint(*_MINUTES_TO_CORRECT)),
        lines=tuple(taken_back(line, line.quantity if is_void else 1) for line in lines),
        sale=sale,
    )
