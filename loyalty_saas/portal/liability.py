"""What the shop owes its members, as the page shows it and as the books want it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import Any, Final, cast

from babel.dates import format_skeleton
from babel.numbers import get_currency_precision
from django import forms
from django.core.cache import cache
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from loyalty_saas.drawing import Chart, Series, chart_days
from loyalty_saas.portal.shared import zone_of
from loyalty_saas.templatetags.loyalty import percent, round_money, unit_amount, viewer_locale
from members.queries.journal import (
    BREAKAGE,
    MonthBook,
    Posting,
    month_books,
)
from members.queries.liability import CohortLine, Past, UnitLiability, liability, pasts
from members.queries.projection import (
    CORRECTED,
    ENOUGH_MONTHS,
    EXPIRED,
    GIVEN,
    REDEEMED,
    REVERSED,
    SALE,
)
from rewards.queries import worth
from tenants.models import Client, KpiDay

KEPT_SECONDS: Final = 3600
CHART_DAYS: Final = 365
MONTHS_SHOWN: Final = 12
ENDS_SHOWN: Final = 6

# Against which account the contract liability moves, and what is said of it.
ACCOUNTS: Final = {
    SALE: (gettext_lazy("Revenue"), gettext_lazy("Deferred: points earned with sales")),
    GIVEN: (gettext_lazy("Marketing"), gettext_lazy("Points given without a sale")),
    REVERSED: (gettext_lazy("Revenue"), gettext_lazy("Taken back with returns")),
    CORRECTED: (gettext_lazy("Marketing"), gettext_lazy("Corrections")),
    REDEEMED: (gettext_lazy("Revenue from points used"), gettext_lazy("Released: points used")),
    EXPIRED: (gettext_lazy("Revenue from points never used"), gettext_lazy("Released: points that lapsed")),
    BREAKAGE: (
        gettext_lazy("Revenue from points never used"),
        gettext_lazy("Released along with use: points that will never be used (IFRS 15 B46)"),
    ),
}
LIABILITY: Final = gettext_lazy("Contract liability: points")


@dataclass(frozen=True)
class Card:
    """One figure with its note and what is counted."""

    words: str
    value: str
    note: str
    said: str


@dataclass(frozen=True)
class Owed:
    """What is owed of one unit, beside what it is worth in money."""

    found: UnitLiability
    rate: Fraction | None
    currency: str

    def money(self, points: int) -> int | None:
        """So many points as money, at the reward that gives most for one."""
        return None if self.rate is None else int(points * self.rate)

    def said(self, points: int) -> str:
        """So many points as people write them."""
        return f"{unit_amount(points, self.found.unit)} {self.found.unit.name}"

    @property
    def expected_share(self) -> Decimal | None:
        """How much of what is there will be used."""
        held = self.found.in_lots
        return Decimal(self.found.expected) / held if self.found.is_enough and held > 0 else None

    @property
    def sentences(self) -> list[str]:
        """The figures in plain words."""
        held = {"points": self.said(self.found.outstanding)}
        value = self.money(self.found.outstanding)
        if value is None:
            first = _("Members hold %(points)s. No reward says what one is worth.") % held
        else:
            first = _("Members hold %(points)s, worth about %(money)s.") % {
                **held,
                "money": round_money(value, self.currency),
            }
        return [first, self._expectation]

    @property
    def _expectation(self) -> str:
        if self.expected_share is None:
            return _(
                "How much of it will be used cannot be said yet: that takes %(n)d months of history and some rewards "
                "fetched. Until then the books take it that all of it will be."
            ) % {"n": ENOUGH_MONTHS}
        return _("We expect %(share)s of it to be used.") % {"share": percent(self.expected_share)}

    @property
    def cards(self) -> list[Card]:
        """The figures at the head of the page."""
        found = self.found
        note = _("%(points)s are owed back by members") % {"points": self.said(found.owed)} if found.owed else ""
        cards = [
            self._card(
                _("Outstanding"),
                found.outstanding,
                _("All that members hold, less what some of them owe after returns; the sum of all balances."),
                note,
            )
        ]
        cards += self._foretold()
        soon = _("until the end of %(month)s") % {"month": month_words(found.soon - timedelta(days=1))}
        return [
            *cards,
            self._card(
                _("Lapses soon"),
                found.ends_soon,
                _("What lapses this month or in the two after it, unless used."),
                soon,
            ),
        ]

    def _foretold(self) -> list[Card]:
        used, never = _("Expected to be used"), _("Expected never to be used")
        how = _(
            "Worked out from how much of each month's points was used at each age (chain-ladder method), up to the "
            "day on which they lapse."
        )
        rest = _("What is left of it: points that will lapse, or lie there for good (breakage).")
        if not self.found.is_enough:
            note = _("cannot be said yet")
            return [Card(used, "–", note, how), Card(never, "–", note, rest)]
        share = percent(self.expected_share)
        return [self._card(used, self.found.expected, how, share), self._card(never, self.found.breakage, rest)]

    def _card(self, words: str, points: int, said: str, note: str = "") -> Card:
        value = self.money(points)
        if value is None:
            return Card(words, unit_amount(points, self.found.unit), note, said)
        notes = [self.said(points), note]
        return Card(words, round_money(value, self.currency), " · ".join(filter(None, notes)), said)

    @property
    def ends(self) -> list[tuple[str, int, int | None, int]]:
        """What lapses by month: its name, points, money, and its part of the largest in thousandths."""
        rows = list(self._by_end())
        top = max((points for _words, points in rows), default=0) or 1
        return [(words, points, self.money(points), round(1000 * points / top)) for words, points in rows]

    def _by_end(self) -> Iterator[tuple[str, int]]:
        dated = [(month, points) for month, points in self.found.by_end if month]
        yield from ((month_words(month), points) for month, points in dated[:ENDS_SHOWN])
        if later := sum(points for _month, points in dated[ENDS_SHOWN:]):
            yield _("Later"), later
        if never := sum(points for month, points in self.found.by_end if month is None):
            yield _("Never"), never

    @property
    def cohorts(self) -> list[tuple[str, CohortLine]]:
        """The months in which points were earned, newest first; those before the last twelve together."""
        lines = [line for line in reversed(self.found.cohorts) if line.earned]
        rows = [(month_words(line.month), line) for line in lines[:MONTHS_SHOWN]]
        return [*rows, (_("Earlier"), _together(lines[MONTHS_SHOWN:]))] if lines[MONTHS_SHOWN:] else rows


def _together(lines: Sequence[CohortLine]) -> CohortLine:
    """Several months as one line, named by the newest."""
    sums = {
        one.name: sum(getattr(line, one.name) for line in lines) for one in fields(CohortLine) if one.name != "month"
    }
    return CohortLine(month=lines[0].month, **sums)


class Books:
    """The liability of the client we stand in, as counted at most an hour ago."""

    def __init__(self, client: Client, *, at: datetime) -> None:
        self._client, self.today = client, timezone.localtime(at, zone_of(client)).date()
        self.counted_at, self._pasts = _kept(client, at=at, today=self.today)
        self._rates = worth()

    @property
    def codes(self) -> list[tuple[str, str]]:
        """The units of which anything was ever given, by code and name."""
        return [(past.unit.code, past.unit.name) for past in self._pasts if past.flows]

    def owed(self, code: str) -> Owed | None:
        """What is owed of one unit, the first unless named."""
        chosen = [past for past in self._pasts if past.flows and code in {"", past.unit.code}]
        if not chosen:
            return None
        (found,) = liability(of=chosen[:1], at=self.counted_at, zone=zone_of(self._client))
        return Owed(found, self._rates.get(found.unit.code), self._client.currency)

    @cached_property
    def months(self) -> list[MonthBook]:
        """Every month of every unit that has a price, oldest first."""
        return sorted(
            (
                book
                for past in self._pasts
                if past.flows and past.unit.code in self._rates
                for book in month_books(past=past, worth=self._rates[past.unit.code], today=self.today)
            ),
            key=lambda book: (book.month, book.unit.code),
        )

    def of_unit(self, code: str) -> list["MonthRow"]:
        """The newest months of one unit, newest first."""
        mine = [book for book in self.months if book.unit.code == code]
        return [MonthRow(book) for book in reversed(mine[-MONTHS_SHOWN:])]


@dataclass(frozen=True)
class MonthRow:
    """One month of the books as the page shows it."""

    book: MonthBook

    @property
    def words(self) -> str:
        """Its name."""
        return month_words(self.book.month)

    def moved(self, *kinds: str) -> int:
        """By how much these kinds moved the liability."""
        return sum(one.amount for one in self.book.postings if one.kind in kinds)

    @property
    def deferred(self) -> int:
        """What was put aside for points earned or given."""
        return self.moved(SALE, GIVEN)

    @property
    def used(self) -> int:
        """What was released for points used."""
        return self.moved(REDEEMED)

    @property
    def never_used(self) -> int:
        """What was released for points that lapsed or never will be used."""
        return self.moved(EXPIRED, BREAKAGE)

    @property
    def taken_back(self) -> int:
        """What returns and corrections took back."""
        return self.moved(REVERSED, CORRECTED)


class Span(forms.Form):
    """The months of a journal."""

    first = forms.ChoiceField(label=gettext_lazy("From"))
    last = forms.ChoiceField(label=gettext_lazy("To"))

    def __init__(self, *args: Any, months: Sequence[date], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [(month.isoformat()[:7], month_words(month)) for month in reversed(months)]
        for name in ("first", "last"):
            cast(forms.ChoiceField, self.fields[name]).choices = choices
        if choices:
            self.initial = {"first": choices[min(len(choices), MONTHS_SHOWN) - 1][0], "last": choices[0][0]}

    def clean(self) -> dict[str, Any]:
        """The first month is not after the last."""
        given = super().clean() or {}
        if given.get("first", "") > given.get("last", "9999"):
            self.add_error("last", _("The last month is before the first."))
        return given


HEAD: Final = [
    gettext_lazy("Date"),
    gettext_lazy("Account"),
    gettext_lazy("Debit"),
    gettext_lazy("Credit"),
    gettext_lazy("Unit"),
    gettext_lazy("Points"),
    gettext_lazy("Text"),
]


def journal_lines(books: Iterable[MonthBook], *, currency: str) -> Iterator[list[object]]:
    """Two lines for each entry: what is debited, and what is credited with the same."""
    exponent = -get_currency_precision(currency)
    for book in books:
        for posting in book.postings:
            yield from _entry(posting, exponent)


def _entry(posting: Posting, exponent: int) -> Iterator[list[object]]:
    """When the liability rises, the other account is debited; when it falls, the liability is."""
    account, text = (str(words) for words in ACCOUNTS[posting.kind])
    amount = Decimal(abs(posting.amount)).scaleb(exponent)
    points = Decimal(posting.points).scaleb(-posting.unit.decimals)
    debit, credit = (account, str(LIABILITY)) if posting.amount >= 0 else (str(LIABILITY), account)
    day, unit = posting.day.isoformat(), posting.unit.code
    yield [day, debit, amount, "", unit, points if debit == str(LIABILITY) else "", text]
    yield [day, credit, "", amount, unit, points if credit == str(LIABILITY) else "", text]


def month_words(month: date) -> str:
    """A month with its year: Nov 2026."""
    return str(format_skeleton("yMMM", month, locale=viewer_locale()))


class StockChart(Chart):
    """A chart of something that stands: its table tells what stood at the end of each week."""

    @property
    def weeks(self) -> list[tuple[date, list[str]]]:
        """The first day of each week and what stood at its end, newest first."""
        starts = range(len(self.days) % 7 or 7, len(self.days), 7)
        rows = [(self.days[i], [self.words(one.values[i : i + 7][-1]) for one in self.series]) for i in starts]
        return rows[::-1]


def chart(client: Client, *, today: date) -> Chart:
    """What members held as money at the end of each day of the last twelve months, all units together."""
    days = chart_days(until=today, count=CHART_DAYS)
    counted = KpiDay.objects.filter(client=client, day__gte=days[0], day__lte=today).order_by("day")
    found = dict(counted.values_list("day", "liability"))
    values, stood = [], 0
    for day in days:
        stood = found.get(day, stood)
        values.append(stood)
    words = _("%(now)s now; %(before)s a year ago.") % {
        "now": round_money(values[-1], client.currency),
        "before": round_money(values[-CHART_DAYS], client.currency),
    }
    series = [Series(_("All that members hold"), "all", values)]
    return StockChart(words, series, days, words=lambda minor: round_money(minor, client.currency))


def _kept(client: Client, *, at: datetime, today: date) -> tuple[datetime, list[Past]]:
    """Counting passes over the whole ledger: what was counted is kept for an hour of the same day."""
    key = f"liability:{today}"
    kept: tuple[datetime, list[Past]] | None = cache.get(key)
    if kept is None:
        kept = (at, pasts(zone=client.time_zone))
        cache.set(key, kept, KEPT_SECONDS)
    return kept
