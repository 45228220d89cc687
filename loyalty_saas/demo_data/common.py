"""What a made-up shop consists of, and what every generator needs to make one up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from random import Random
from typing import Final, Literal, TypeAlias, TypeVar
from zoneinfo import ZoneInfo

PurchaseKind: TypeAlias = Literal["sale", "return", "void"]
Hours: TypeAlias = tuple[time, time]
_T = TypeVar("_T")

YEAR: Final = timedelta(days=364)
"""From the first to the last day of a demo's year."""

HOLIDAYS: Final = frozenset({(12, 25), (12, 26), (1, 1)})
"""Month and day on which shops with a door stay closed."""

_CLOSING: Final = 10  # minutes before closing after which nobody comes in
_TRIES: Final = 8


@dataclass(frozen=True, slots=True)
class DemoProduct:
    """Something sold; `earning` is False for what never brings points, such as gift cards."""

    sku: str
    name: str
    category: str
    unit_price_minor: int
    earning: bool = True


@dataclass(frozen=True, slots=True)
class DemoLocation:
    """A shop with its opening hours from Monday to Sunday, local time; closed on `holidays` (month, day)."""

    code: str
    name: str
    hours: tuple[Hours | None, ...]
    holidays: frozenset[tuple[int, int]] = frozenset()

    def hours_on(self, day: date) -> Hours | None:
        """Return from when to when the shop is open on a day; None if it stays closed."""
        return None if (day.month, day.day) in self.holidays else self.hours[day.weekday()]


@dataclass(frozen=True, slots=True)
class DemoMember:
    """A member; phone in E.164 and e-mail are fictitious, and one of them is always there."""

    pos_id: str
    name: str
    phone: str | None
    email: str | None
    birthday: date | None
    joined_at: datetime
    marketing_consent: bool


@dataclass(frozen=True, slots=True)
class DemoLine:
    """One line; quantity and amount are negative in returns and voids, the unit price never is."""

    sku: str
    name: str
    category: str
    quantity: int
    unit_price_minor: int
    amount_minor: int


@dataclass(frozen=True, slots=True)
class DemoPurchase:
    """
    A sale, return or void; `member` is a POS id.

    `sale_document` names the sale taken back; a return without a receipt has None, and so has every sale.
    """

    kind: PurchaseKind
    document: str
    sale_document: str | None
    member: str
    location: str
    channel: str
    occurred_at: datetime
    lines: tuple[DemoLine, ...]

    @property
    def amount_minor(self) -> int:
        """Return the sum of the lines in minor units, below 0 for returns and voids."""
        return sum(line.amount_minor for line in self.lines)


@dataclass(frozen=True, slots=True)
class DemoActivity:
    """Anything else that earns: a trip, a review; numbers and texts in `properties`."""

    kind: str
    reference: str
    member: str
    occurred_at: datetime
    amount_minor: int
    properties: Mapping[str, int | str]


@dataclass(frozen=True, slots=True)
class DemoShop:
    """A whole made-up shop, in order of time; `habits` tells by POS id which habit a member was given."""

    members: tuple[DemoMember, ...]
    purchases: tuple[DemoPurchase, ...]
    activities: tuple[DemoActivity, ...]
    products: tuple[DemoProduct, ...]
    locations: tuple[DemoLocation, ...]
    habits: Mapping[str, str]


@dataclass(slots=True, eq=False)
class Draft:
    """A purchase before it has a number; `sale` is the one it takes back by receipt."""

    kind: PurchaseKind
    member: str
    location: DemoLocation
    channel: str
    at: datetime
    lines: tuple[DemoLine, ...]
    sale: Draft | None = None
    document: str = field(default="", init=False)

    @property
    def amount_minor(self) -> int:
        return sum(line.amount_minor for line in self.lines)


def seeded(seed: int) -> Random:
    """Return the only source of chance of a demo."""
    return Random(seed)  # noqa: S311 - the same demo every time is the point


def hours(text: str) -> Hours:
    """Read opening hours such as 07:00-18:00."""
    opens, _, closes = text.partition("-")
    return time.fromisoformat(opens), time.fromisoformat(closes)


def days_between(first: date, last: date) -> list[date]:
    """Return every day from the first to the last, both included."""
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def arrival(rng: Random, location: DemoLocation, day: date, *, around: int, spread: int, zone: ZoneInfo) -> datetime:
    """
    Return a moment (UTC) near a local minute of the day at which a location is open and not about to close.

    :raises ValueError: if it stays closed that day
    """
    opening = location.hours_on(day)
    if opening is None:
        raise ValueError(f"{location.name} is closed on {day}")
    first, last = _minute(opening[0]), _minute(opening[1]) - _CLOSING
    tries = (round(rng.gauss(around, spread)) for _ in range(_TRIES))
    minute = next((minute for minute in tries if first <= minute <= last), None)
    return moment(rng, day, rng.randint(first, last) if minute is None else minute, zone)


def _minute(clock: time) -> int:
    return clock.hour * 60 + clock.minute


def moment(rng: Random, day: date, minute: int, zone: ZoneInfo) -> datetime:
    """Return a minute of a local day as UTC, at some second of it."""
    clock = time(minute // 60, minute % 60, rng.randrange(60))
    return datetime.combine(day, clock, tzinfo=zone).astimezone(UTC)


def sold(product: DemoProduct, quantity: int = 1) -> DemoLine:
    """Return a sale's line."""
    price = product.unit_price_minor
    return DemoLine(product.sku, product.name, product.category, quantity, price, price * quantity)


def taken_back(line: DemoLine, quantity: int | None = None) -> DemoLine:
    """Return the line that takes back some pieces of a sale's line, all unless told otherwise."""
    pieces = line.quantity if quantity is None else quantity
    price = line.unit_price_minor
    return DemoLine(line.sku, line.name, line.category, -pieces, price, -price * pieces)


def basket(products: Iterable[DemoProduct]) -> tuple[DemoLine, ...]:
    """Return the lines of a sale: the same product twice is one line of two."""
    pieces: dict[DemoProduct, int] = {}
    for product in products:
        pieces[product] = pieces.get(product, 0) + 1
    return tuple(sold(product, quantity) for product, quantity in pieces.items())


def weighted(rng: Random, weights: Mapping[_T, float]) -> _T:
    """Return one key, by its weight."""
    return rng.choices(list(weights), list(weights.values()))[0]


def numbered(drafts: Iterable[Draft]) -> tuple[DemoPurchase, ...]:
    """Return the purchases in order of time, with document numbers as a till of each location counts them."""
    counts: dict[tuple[str, bool], int] = {}
    purchases = []
    for draft in sorted(drafts, key=lambda draft: (draft.at, draft.location.code, draft.member)):
        series = draft.location.code, draft.kind == "sale"
        counts[series] = counts.get(series, 0) + 1
        letter = {"sale": "S", "return": "R", "void": "V"}[draft.kind]
        draft.document = f"{draft.location.code}-{letter}{counts[series]:06d}".upper()
        purchases.append(_purchase(draft))
    return tuple(purchases)


def _purchase(draft: Draft) -> DemoPurchase:
    return DemoPurchase(
        kind=draft.kind,
        document=draft.document,
        sale_document=draft.sale.document if draft.sale else None,
        member=draft.member,
        location=draft.location.code,
        channel=draft.channel,
        occurred_at=draft.at,
        lines=draft.lines,
    )


def referenced(activities: Iterable[DemoActivity]) -> tuple[DemoActivity, ...]:
    """Return the activities in order of time, each with a reference of its own among its kind."""
    counts: dict[str, int] = {}
    named = []
    for activity in sorted(activities, key=lambda activity: (activity.occurred_at, activity.member, activity.kind)):
        counts[activity.kind] = counts.get(activity.kind, 0) + 1
        named.append(replace(activity, reference=f"{activity.kind}-{counts[activity.kind]:05d}".upper()))
    return tuple(named)


class People:
    """Makes up members who do not exist, each with an address of their own."""

    def __init__(self, rng: Random, *, until: date) -> None:
        self._rng = rng
        self._until = until
        self._phones = [f"+1{area}55501{number:02d}" for area in _AREAS for number in range(100)]
        rng.shuffle(self._phones)
        self._first_names, self._last_names = _FIRST_NAMES.split(), _LAST_NAMES.split()
        self._count = 0

    def member(self, *, joined_at: datetime) -> DemoMember:
        """Return a further member."""
        self._count += 1
        rng = self._rng
        first, last = rng.choice(self._first_names), rng.choice(self._last_names)
        reached_by = rng.choices(("both", "phone", "email"), (60, 25, 15))[0]
        phone, email = self._phones[self._count - 1], f"{first}.{last}{self._count}@example.com".lower()
        return DemoMember(
            pos_id=f"M{self._count:05d}",
            name=f"{first} {last}",
            phone=None if reached_by == "email" else phone,
            email=None if reached_by == "phone" else email,
            birthday=self._birthday() if rng.random() < 0.8 else None,
            joined_at=joined_at,
            marketing_consent=rng.random() < 0.72,
        )

    def _birthday(self) -> date:
        age_in_days = self._rng.triangular(18 * 365.25, 80 * 365.25, 34 * 365.25)
        return self._until - timedelta(days=int(age_in_days))


def joined_with(member: DemoMember, moments: Iterable[datetime]) -> DemoMember:
    """Return the member as one who joined with the first of what happened, if anything did."""
    return replace(member, joined_at=min(moments, default=member.joined_at))


def in_order(members: Sequence[DemoMember]) -> tuple[DemoMember, ...]:
    """Return members as they joined."""
    return tuple(sorted(members, key=lambda member: (member.joined_at, member.pos_id)))


# Area codes of North America; each has the numbers 555-0100 to 555-0199, kept for fiction.
_AREAS: Final = ("202", "206", "213", "303", "312", "404", "415", "503", "602", "617")
_FIRST_NAMES: Final = (
    "Aaron Ada Aisha Alba Amir Ana Anika Arjun Beatriz Ben Carla Chen Chloe Clara Daniel David Diego Elena Elif "
    "Emma Esther Farah Felix Finn Grace Hana Hugo Ines Isaac Ivy Jamal Jonas Julia Kai Karim Leila Leo Lena Lucas "
    "Maja Marco Maria Maya Mei Milan Mina Nadia Nina Noah Nora Oliver Olga Omar Oscar Paul Petra Priya Quinn Ravi "
    "Rosa Ruth Samir Sara Sofia Stefan Tara Theo Tomas Uma Vera Victor Wanda Yara Yusuf Zoe"
)
_LAST_NAMES: Final = (
    "Abbott Adeyemi Alvarez Andersson Bauer Bennett Bianchi Brandt Brooks Carter Castillo Chandra Costa Dalton "
    "Diaz Dubois Eriksen Evans Farrell Fischer Flores Foster Garcia Gupta Haddad Hansen Hoffmann Hughes Ibrahim "
    "Ito Jansen Jensen Kaplan Keller Khan Kim Kowalski Lambert Larsen Lindholm Lopez Marino Marsh Mbeki Meyer "
    "Moreau Morgan Murphy Nakamura Nguyen Novak Okafor Olsen Ortiz Park Patel Pereira Petrov Quigley Ramos Reed "
    "Rossi Sandberg Santos Schmidt Silva Singh Stone Tanaka Turner Vance Vargas Walsh Weber Wong Yilmaz Young "
    "Zhang"
)
