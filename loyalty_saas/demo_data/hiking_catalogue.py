"""What the hiking outfitter sells, where, and which trips it guides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from loyalty_saas.demo_data.common import HOLIDAYS, DemoLocation, DemoProduct, hours

STORE: Final = DemoLocation(
    "trailhead",
    "Trailhead store",
    (None, *[hours("09:30-18:30")] * 4, hours("08:30-18:00"), hours("10:00-16:00")),
    HOLIDAYS,
)
WEB: Final = DemoLocation("web", "Web shop", (hours("00:00-23:59"),) * 7)
LOCATIONS: Final = (STORE, WEB)

GIFT_CARDS: Final = "gift-card"
CATALOGUE: Final = (
    DemoProduct("FOOD-BAR", "Oat and nut bar", "food", 275),
    DemoProduct("FOOD-MIX", "Trail mix, 200 g", "food", 595),
    DemoProduct("FOOD-CHI", "Chili, freeze-dried", "food", 995),
    DemoProduct("FOOD-PAS", "Pasta primavera, freeze-dried", "food", 945),
    DemoProduct("FOOD-COF", "Camp coffee, ten cups", "food", 890),
    DemoProduct("GAS-230", "Gas canister 230 g", "camp", 795),
    DemoProduct("MAP-NOR", "Map: North Ridge 1:25,000", "maps", 1495),
    DemoProduct("MAP-LAK", "Map: Lake Country 1:25,000", "maps", 1495),
    DemoProduct("MAP-COA", "Map: Cliff Coast 1:25,000", "maps", 1495),
    DemoProduct("MAP-HIG", "Map: High Passes 1:50,000", "maps", 1595),
    DemoProduct("SOC-MER", "Merino socks", "clothing", 1950),
    DemoProduct("CAP-SUN", "Sun cap", "clothing", 2490),
    DemoProduct("GLO-LIN", "Liner gloves", "clothing", 2690),
    DemoProduct("SHI-MER", "Merino shirt", "clothing", 6900),
    DemoProduct("FLE-MID", "Fleece jacket", "clothing", 11900),
    DemoProduct("JAC-RAI", "Rain jacket", "clothing", 26900),
    DemoProduct("BOT-1L", "Bottle 1 l", "gear", 2190),
    DemoProduct("LAM-HEA", "Headlamp", "gear", 4990),
    DemoProduct("STO-GAS", "Gas stove", "camp", 5990),
    DemoProduct("POL-PAI", "Trekking poles", "gear", 10900),
    DemoProduct("MAT-AIR", "Sleeping mat", "camp", 12900),
    DemoProduct("PAC-30", "Day pack 30 l", "gear", 13900),
    DemoProduct("BAG-SLE", "Sleeping bag", "camp", 23900),
    DemoProduct("PAC-60", "Trekking pack 60 l", "gear", 25900),
    DemoProduct("BOO-DAY", "Hiking shoes", "boots", 15900),
    DemoProduct("BOO-TRE", "Trekking boots", "boots", 23900),
    DemoProduct("TEN-2P", "Tent for two", "camp", 38900),
    DemoProduct("GIFT-50", "Gift card 50", GIFT_CARDS, 5000, earning=False),
)
BY_SKU: Final = {product.sku: product for product in CATALOGUE}
PROVISIONS: Final = ("FOOD-BAR", "FOOD-MIX", "FOOD-CHI", "FOOD-PAS", "FOOD-COF")
SMALL_GEAR: Final = {"SOC-MER": 30, "CAP-SUN": 14, "GLO-LIN": 12, "BOT-1L": 16, "LAM-HEA": 7, "SHI-MER": 9}
BIG_GEAR: Final = {
    "FLE-MID": 14,
    "POL-PAI": 14,
    "PAC-30": 10,
    "STO-GAS": 14,
    "MAT-AIR": 7,
    "BOO-DAY": 12,
    "JAC-RAI": 4,
}
KIT: Final = ("BOO-TRE", "PAC-60", "JAC-RAI", "POL-PAI", "FLE-MID", "BAG-SLE", "MAT-AIR", "TEN-2P", "SHI-MER")
RETURNABLE: Final = frozenset({"clothing", "gear", "boots", "camp"})

SPRING_TO_AUTUMN: Final = (4, 5, 6, 7, 8, 9, 10)
SUMMER: Final = (6, 7, 8, 9)
WINTER: Final = (12, 1, 2, 3)
ALL_YEAR: Final = tuple(range(1, 13))

# How many shop purchases a month draws, apart from those for a trip.
SHOP_SEASON: Final = {
    1: 0.7,
    2: 0.7,
    3: 1.0,
    4: 1.3,
    5: 1.4,
    6: 1.3,
    7: 1.1,
    8: 1.0,
    9: 1.1,
    10: 0.9,
    11: 0.8,
    12: 1.3,
}
# How many people go on a trip in a month.
TRIP_SEASON: Final = {
    1: 0.4,
    2: 0.5,
    3: 0.6,
    4: 0.9,
    5: 1.3,
    6: 1.5,
    7: 1.5,
    8: 1.5,
    9: 1.4,
    10: 1.0,
    11: 0.4,
    12: 0.4,
}


@dataclass(frozen=True, slots=True)
class Trip:
    """A guided trip on offer: price per person, months in which it runs, ISO weekdays on which it sets out."""

    name: str
    region: str
    days: int
    price_minor: int
    months: tuple[int, ...]
    starts_on: tuple[int, ...]


TRIPS: Final = (
    Trip("Sunrise on the Ridge", "North Ridge", 1, 5900, SPRING_TO_AUTUMN, (6, 7)),
    Trip("Waterfalls and Woods", "Lake Country", 1, 5500, SPRING_TO_AUTUMN, (3, 6)),
    Trip("Around the Mirror Lake", "Lake Country", 1, 6500, ALL_YEAR, (7,)),
    Trip("Cliff Path and Tide Pools", "Cliff Coast", 1, 6900, ALL_YEAR, (6,)),
    Trip("Lighthouse to Lighthouse", "Cliff Coast", 1, 7200, SPRING_TO_AUTUMN, (7,)),
    Trip("Snowshoes by Lantern", "North Ridge", 1, 7900, WINTER, (5, 6)),
    Trip("First Hut Night", "North Ridge", 2, 18900, SPRING_TO_AUTUMN, (6,)),
    Trip("Canoe and Camp", "Lake Country", 2, 21900, SUMMER, (6,)),
    Trip("Winter Hut Weekend", "North Ridge", 2, 23900, WINTER, (6,)),
    Trip("Three Bays", "Cliff Coast", 3, 32900, SPRING_TO_AUTUMN, (5,)),
    Trip("Ridge Traverse", "North Ridge", 3, 34900, SUMMER, (5,)),
    Trip("Five Lakes", "Lake Country", 5, 62900, SUMMER, (1,)),
    Trip("Coast Path South", "Cliff Coast", 5, 65900, SPRING_TO_AUTUMN, (1,)),
    Trip("High Passes Week", "High Passes", 7, 114900, SUMMER, (6,)),
    Trip("Coast Path Complete", "Cliff Coast", 7, 109900, SPRING_TO_AUTUMN, (7,)),
    Trip("Hut to Hut", "High Passes", 10, 179900, SUMMER, (6,)),
    Trip("Snow and Silence", "High Passes", 7, 129900, WINTER, (6,)),
    Trip("The Great Divide", "High Passes", 14, 259900, SUMMER, (6,)),
)
REGIONS: Final = tuple(sorted({trip.region for trip in TRIPS}))
MAPS: Final = {
    "North Ridge": "MAP-NOR", "Lake Country": "MAP-LAK", "Cliff Coast": "MAP-COA", "High Passes": "MAP-HIG"
}  # fmt: skip
# How much regulars and visitors lean to trips of so many days.
REGULARS_LENGTHS: Final = {1: 44, 2: 26, 3: 16, 5: 7, 7: 5, 10: 2, 14: 0.4}
VISITORS_LENGTHS: Final = {5: 4, 7: 22, 10: 40, 14: 30}
