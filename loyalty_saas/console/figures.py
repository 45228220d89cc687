"""What the console shows of many clients, read from their daily public rows alone: never from a client's schema."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Final, TypeVar
from uuid import UUID

from django.core.cache import cache
from django.db import connections
from django.db.models import (
    BooleanField,
    Count,
    ExpressionWrapper,
    Max,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Sum,
)
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from loyalty_saas.drawing import Chart, Series, averaged, chart_days, last_days
from loyalty_saas.templatetags.loyalty import number, percent, round_money, signed, signed_percent, signed_points
from tenants.access import Actor
from tenants.models import Client, KpiDay, Provider, RoleGrant, User
from tenants.queries import Standing
from tenants.routers import PUBLIC

T = TypeVar("T")
SAMPLES: Final = 13
# A year over many clients passes over hundreds of thousands of rows, which are counted anew twice a minute at most.
_LONG_DAYS: Final = 90
_KEPT_SECONDS: Final = 60
_NOTHING: Final[dict[str, Any]] = {
    **{f"{name}_{which}": 0 for name in ("sales", "revenue", "repeat") for which in ("now", "past")},
    "last_day": None,
}
_TREND_POINTS: Final = 36


@dataclass(frozen=True)
class Period:
    """So many days up to today, and as many before them to compare with."""

    days: int
    words: str | Promise
    before: str | Promise
    table: str | Promise


PERIODS: Final = {
    30: Period(
        30, gettext_lazy("30 days"), gettext_lazy("vs the 30 days before"), gettext_lazy("Sales, 30 days")
    ),
    90: Period(
        90, gettext_lazy("90 days"), gettext_lazy("vs the 90 days before"), gettext_lazy("Sales, 90 days")
    ),
    365: Period(
        365, gettext_lazy("12 months"), gettext_lazy("vs the 12 months before"), gettext_lazy("Sales, 12 months")
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Span:
    """A period that ends on a day."""

    period: Period
    until: date

    @property
    def length(self) -> timedelta:
        """How long it is."""
        return timedelta(days=self.period.days)

    @property
    def first(self) -> date:
        """Its first day."""
        return self.until - self.length + timedelta(days=1)

    @property
    def now(self) -> Q:
        """Days in it."""
        return Q(day__gte=self.first, day__lte=self.until)

    @property
    def past(self) -> Q:
        """Days of the stretch before it."""
        return Q(day__gte=self.first - self.length, day__lt=self.first)

    @property
    def samples(self) -> list[date]:
        """Days spread evenly from the one before it to its last."""
        back = (round(self.period.days * step / (SAMPLES - 1)) for step in range(SAMPLES - 1, -1, -1))
        return [self.until - timedelta(days=days) for days in back]


@dataclass
class Flows:
    """What happened over a stretch of days; money apart by currency."""

    sales: int = 0
    selling: int = 0
    revenue: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    repeat_revenue: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def repeat_share(self, currency: str) -> float | None:
        """The share of revenue from members who had bought before."""
        return share(self.repeat_revenue[currency], self.revenue[currency])


@dataclass
class Day:
    """What happened on one day over all clients."""

    sales: int = 0
    returning: int = 0
    selling: int = 0
    revenue: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    repeat_revenue: dict[str, int] = field(default_factory=lambda: defaultdict(int))


@dataclass
class Stock:
    """What stood at the end of one day."""

    members: int = 0
    liability: dict[str, int] = field(default_factory=lambda: defaultdict(int))


@dataclass(frozen=True)
class Summary:
    """Everything that the cards and the chart over some clients need."""

    span: Span
    now: Flows
    past: Flows
    days: dict[date, Day]
    stocks: list[Stock]

    @property
    def currencies(self) -> list[str]:
        """The currencies, the one with most clients' money first."""
        held = self.stocks[-1].liability
        return sorted({*self.now.revenue, *held}, key=lambda code: (-self.now.revenue[code], -held[code], code))


@dataclass(frozen=True)
class Kpi:
    """One figure with its trend, how it moved, and what is counted."""

    words: str
    value: str
    said: str
    note: str = ""
    change: str = ""
    tone: str = ""
    more: Sequence[str] = ()
    trend: Sequence[float] = ()


def share(part: float, whole: float) -> float | None:
    """`part` of `whole`, or None where there is nothing to share."""
    return part / whole if whole > 0 else None


def period_of(request: HttpRequest) -> Period:
    """The period that the address asks for."""
    asked = request.GET.get("days", "")
    return PERIODS.get(int(asked) if asked.isdecimal() and len(asked) < 5 else 30, PERIODS[30])


def providers_of(*, user: User, standing: Standing, at: datetime) -> QuerySet[Provider]:
    """The providers whose clients the user may see here: the operator all, others those they work for."""
    if Actor.PLATFORM in standing.actors:
        return Provider.objects.order_by("name")
    grants = RoleGrant.objects.filter(Q(until=None) | Q(until__gt=at), user=user, role=Actor.PROVIDER)
    return Provider.objects.filter(pk__in=grants.values("provider_id")).order_by("name")


def clients_of(providers: QuerySet[Provider]) -> QuerySet[Client]:
    """Their clients that are not closed."""
    return Client.objects.filter(provider__in=providers).exclude(status=Client.Status.CLOSED)


def kept(*, what: str, of: Iterable[UUID], span: Span, count: Callable[[], T]) -> T:
    """What `count` gives for just these clients; over a long span it is counted at most once a minute."""
    if span.period.days <= _LONG_DAYS:
        return count()
    clients = hashlib.sha256(b"".join(sorted(client_id.bytes for client_id in of))).hexdigest()
    key = f"console:{what}:{clients}:{span.period.days}:{span.until}"
    found: T | None = cache.get(key)
    if found is None:
        found = count()
        cache.set(key, found, _KEPT_SECONDS)
    return found


def sums_by_client(*, clients: QuerySet[Client], span: Span) -> dict[UUID, dict[str, Any]]:
    """What happened at each client in the period and in the one before, in one query however many there are."""
    rows = KpiDay.objects.filter(span.now | span.past, client__in=clients)
    # Two rows for a client, rather than sums with a condition each: half the work for the database.
    sums = rows.values("client_id", is_now=ExpressionWrapper(Q(day__gte=span.first), BooleanField())).annotate(
        sum_sales=Sum("sales"),
        sum_revenue=Sum("revenue"),
        sum_repeat=Sum("repeat_revenue"),
        last_day=Max("day", filter=Q(sales__gt=0)),
    )
    found: dict[UUID, dict[str, Any]] = {}
    for row in sums:
        which = "now" if row["is_now"] else "past"
        one = found.setdefault(row["client_id"], dict(_NOTHING))
        one[f"sales_{which}"] = row["sum_sales"]
        one[f"revenue_{which}"], one[f"repeat_{which}"] = int(row["sum_revenue"]), int(row["sum_repeat"])
        one["last_day"] = max(filter(None, [one["last_day"], row["last_day"]]), default=None)
    return found


def newest_days(clients: QuerySet[Client]) -> dict[UUID, KpiDay]:
    """The newest counted day of each client."""
    newest = KpiDay.objects.filter(client=OuterRef("pk")).order_by("-day").values("pk")[:1]
    found = clients.annotate(newest=Subquery(newest)).values("newest")
    return {row.client_id: row for row in KpiDay.objects.filter(pk__in=found)}


def summary(
    *, clients: QuerySet[Client], currencies: dict[UUID, str], sums: dict[UUID, dict[str, Any]], span: Span
) -> Summary:
    """The cards and the chart over some clients, in two queries more."""
    now, past = Flows(), Flows()
    for client_id, row in sums.items():
        _add(now, row, "now", currencies[client_id])
        _add(past, row, "past", currencies[client_id])
    return Summary(span, now, past, _days(clients=clients, span=span), _stocks(clients=clients, days=span.samples))


def kpis(found: Summary, *, clients: int) -> list[Kpi]:
    """The five figures at the head of the console."""
    return [_active_clients(found, clients), _members(found), repeat_kpi(found), liability_kpi(found), sales_kpi(found)]


def client_kpis(found: Summary) -> list[Kpi]:
    """The figures at the head of one client's page."""
    return [_members(found), sales_kpi(found), revenue_kpi(found), repeat_kpi(found), liability_kpi(found)]


def sales_chart(found: Summary) -> Chart:
    """Sales a day over all clients, and the part of returning members; up to yesterday: today is not over."""
    days = chart_days(until=found.span.until - timedelta(days=1), count=found.span.period.days)
    sales = [found.days[day].sales if day in found.days else 0 for day in days]
    returning = [found.days[day].returning if day in found.days else 0 for day in days]
    series = [Series(_("All sales"), "all", sales), Series(_("Returning members"), "back", returning)]
    count, back = sum(sales[6:]), sum(returning[6:])
    words = ngettext(
        "%(n)s sale in %(period)s; %(back)s of them to members who had bought before.",
        "%(n)s sales in %(period)s; %(back)s of them to members who had bought before.",
        count,
    )
    return Chart(words % {"n": number(count), "back": number(back), "period": found.span.period.words}, series, days)


def revenue_chart(found: Summary, *, currency: str) -> Chart:
    """One client's revenue a day, and what members brought who had bought before."""
    days = chart_days(until=found.span.until - timedelta(days=1), count=found.span.period.days)
    none = Day()
    total = [found.days.get(day, none).revenue.get(currency, 0) for day in days]
    repeat = [found.days.get(day, none).repeat_revenue.get(currency, 0) for day in days]
    series = [Series(_("All members"), "all", total), Series(_("Members who came back"), "back", repeat)]
    words = _("%(total)s in %(period)s, %(repeat)s of it from members who had bought before.") % {
        "total": round_money(sum(total[6:]), currency),
        "repeat": round_money(sum(repeat[6:]), currency),
        "period": found.span.period.words,
    }
    return Chart(words, series, days, words=lambda minor: round_money(minor, currency))


def trends(*, client_ids: Sequence[UUID], span: Span) -> dict[UUID, list[float]]:
    """Sales over the period for each client of a page, as lines of few points."""
    days = last_days(until=span.until, count=span.period.days)
    rows = KpiDay.objects.filter(span.now, client__in=client_ids).values_list("client_id", "day", "sales")
    found = {(client, day): sales for client, day, sales in rows}
    return {key: thinned([found.get((key, day), 0) for day in days]) for key in client_ids}


def thinned(values: Sequence[float]) -> list[float]:
    """A line of at most so many points that a small drawing can show, each the mean of its stretch."""
    width = max(1, -(-len(values) // _TREND_POINTS))
    return [sum(values[i : i + width]) / len(values[i : i + width]) for i in range(0, len(values), width)]


def lifted(values: Sequence[float]) -> list[float]:
    """A line for something that stands rather than flows: it begins at its lowest, so that its movement shows."""
    floor = min(values, default=0) * 0.98
    return [value - floor for value in values]


# ── cards ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _active_clients(found: Summary, clients: int) -> Kpi:
    moved = found.now.selling - found.past.selling
    return Kpi(
        words=_("Active clients"),
        value=number(found.now.selling),
        note=ngettext("of %(n)s client", "of %(n)s clients", clients) % {"n": number(clients)},
        change=signed(moved) if moved and found.past.selling else "",
        tone="good" if moved > 0 else "bad",
        trend=_by_day(found, lambda day: day.selling),
        said=_("Clients with at least one sale in the period. The line shows how many sold on a day."),
    )


def _members(found: Summary) -> Kpi:
    before, now = found.stocks[0].members, found.stocks[-1].members
    return Kpi(
        words=_("Members reached"),
        value=number(now),
        **_moved(share(now - before, before), _("in the period")),
        trend=lifted([stock.members for stock in found.stocks]),
        said=_("Active members at the last count, and how their number grew since the period began."),
    )


def repeat_kpi(found: Summary) -> Kpi:
    """The share of revenue from members who had bought before."""
    first, *others = found.currencies or [""]
    now, past = found.now.repeat_share(first), found.past.repeat_share(first)
    several = _("in %(currency)s") % {"currency": first} if others else ""
    change = _moved_points(now, past, str(found.span.period.before))
    return Kpi(
        words=_("Repeat share"),
        value=percent(now),
        **{**change, "note": " · ".join(filter(None, [several, str(change["note"])]))},
        more=[f"{percent(found.now.repeat_share(code))} {code}" for code in others[:2]],
        trend=_repeat_trend(found, first),
        said=_("The part of revenue from members who had bought on an earlier day, in each currency by itself."),
    )


def liability_kpi(found: Summary) -> Kpi:
    """What members hold, as money."""
    first, *others = sorted(found.currencies, key=lambda code: -found.stocks[-1].liability[code]) or [""]
    owed = [stock.liability[first] for stock in found.stocks]
    return Kpi(
        words=_("Points liability"),
        value=round_money(owed[-1], first) if first else "–",
        # More owed is neither good nor bad by itself: it carries no colour.
        **{**_moved(share(owed[-1] - owed[0], owed[0]), _("in the period")), "tone": ""},
        more=[
            round_money(found.stocks[-1].liability[code], code) for code in others if found.stocks[-1].liability[code]
        ][:2],
        trend=lifted(owed),
        said=_(
            "What all members hold, valued at the reward that gives most for it, in each currency by itself. "
            "Units that no reward asks for are not in it."
        ),
    )


def sales_kpi(found: Summary) -> Kpi:
    """Sale documents of members."""
    return Kpi(
        words=_("Sales"),
        value=number(found.now.sales),
        **_moved(share(found.now.sales - found.past.sales, found.past.sales), str(found.span.period.before)),
        trend=_by_day(found, lambda day: day.sales),
        said=_("Sale documents of members in the period; returns are not taken off."),
    )


def revenue_kpi(found: Summary) -> Kpi:
    """What members paid."""
    code = next(iter(found.currencies), "")
    now, past = found.now.revenue[code], found.past.revenue[code]
    return Kpi(
        words=_("Revenue"),
        value=round_money(now, code) if code else "–",
        **_moved(share(now - past, past), str(found.span.period.before)),
        trend=_by_day(found, lambda day: day.revenue[code]),
        said=_("What members paid in the period less what they brought back."),
    )


def _moved(change: float | None, note: str) -> dict[str, str]:
    """How a figure moved, as the card says it."""
    if change is None or abs(change) < 0.0005:
        return {"change": "", "tone": "", "note": _("unchanged") if change is not None else ""}
    return {"change": signed_percent(change), "tone": "good" if change > 0 else "bad", "note": note}


def _moved_points(now: float | None, past: float | None, note: str) -> dict[str, str]:
    """How a share moved, in points of a hundred."""
    if now is None or past is None:
        return {"change": "", "tone": "", "note": ""}
    if abs(now - past) < 0.0005:
        return {"change": "", "tone": "", "note": _("unchanged")}
    return {"change": signed_points(now - past), "tone": "good" if now > past else "bad", "note": note}


def _by_day(found: Summary, value: Callable[[Day], int]) -> list[float]:
    """A weekly average of something over the days of the period that are over."""
    days = chart_days(until=found.span.until - timedelta(days=1), count=found.span.period.days)
    none = Day()
    return thinned(averaged([value(found.days.get(day, none)) for day in days]))


def _repeat_trend(found: Summary, code: str) -> list[float]:
    total = _by_day(found, lambda day: day.revenue[code])
    repeat = _by_day(found, lambda day: day.repeat_revenue[code])
    return [max(part, 0) / whole * 100 if whole > 0 else 0 for part, whole in zip(repeat, total, strict=True)]


# ── queries ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _add(flows: Flows, row: dict[str, Any], which: str, currency: str) -> None:
    flows.sales += row[f"sales_{which}"]
    flows.selling += row[f"sales_{which}"] > 0
    flows.revenue[currency] += row[f"revenue_{which}"]
    flows.repeat_revenue[currency] += row[f"repeat_{which}"]


def _days(*, clients: QuerySet[Client], span: Span) -> dict[date, Day]:
    """What happened on each day of the period, and of the week that leads in, over all clients."""
    lead = span.first - timedelta(days=7)
    rows = KpiDay.objects.filter(client__in=clients, day__gte=lead, day__lte=span.until)
    sums = rows.values_list("day", "client__currency").annotate(
        sum_sales=Sum("sales"),
        returning=Sum("repeat_sales"),
        selling=Count("pk", filter=Q(sales__gt=0)),
        sum_revenue=Sum("revenue"),
        sum_repeat=Sum("repeat_revenue"),
    )
    found: dict[date, Day] = defaultdict(Day)
    for day, currency, sales, returning, selling, revenue, repeat in sums:
        one = found[day]
        one.sales, one.returning, one.selling = one.sales + sales, one.returning + returning, one.selling + selling
        one.revenue[currency], one.repeat_revenue[currency] = revenue, repeat
    return dict(found)


def _stocks(*, clients: QuerySet[Client], days: list[date]) -> list[Stock]:
    """What stood at the end of each of some days; a client that was not counted on one stands as it last did."""
    found = {day: Stock() for day in days}
    # Compiled by Django, so that who may see what is said in one place alone.
    wanted, given = clients.order_by().values("id", "currency").query.sql_with_params()
    with connections[PUBLIC].cursor() as cursor:
        cursor.execute(_STOCKS.format(clients=wanted), [*given, days])
        for day, currency, members, liability in cursor.fetchall():
            found[day].members += int(members)
            found[day].liability[currency] += int(liability)
    return [found[day] for day in days]


_STOCKS = """
    WITH wanted AS ({clients})
    SELECT s.day, w.currency, sum(k.members), sum(k.liability)
    FROM wanted w CROSS JOIN unnest(%s::date[]) AS s(day) CROSS JOIN LATERAL (
        SELECT members, liability FROM tenants_kpiday d WHERE d.client_id = w.id AND d.day <= s.day
        ORDER BY d.day DESC LIMIT 1
    ) k GROUP BY s.day, w.currency
"""
