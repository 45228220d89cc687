"""What the console shows of many clients, read from their daily public rows alone: never from a client's schema."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Max, OuterRef, Q, QuerySet, Subquery, Sum
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from loyalty_saas.drawing import Chart, Series, chart_days, last_days
from loyalty_saas.templatetags.loyalty import number
from tenants.access import Actor
from tenants.models import Client, Domain, KpiDay, Provider, RoleGrant, User, WaitingClient
from tenants.queries import Standing, url_on

PERIOD = timedelta(days=30)
CHART_DAYS = 90
QUIET_DAYS = 3
WAITING_TOO_LONG = timedelta(minutes=5)
COUNTED_TOO_LONG_AGO = timedelta(hours=36)


@dataclass(frozen=True)
class Trouble:
    """Something at a client that wants a person, and how badly: 3 now, 2 today, 1 this week."""

    weight: int
    words: str


@dataclass(frozen=True)
class ClientLine:
    """One client with its figures of the last thirty days."""

    client: Client
    url: str
    figures: dict[str, Any]
    troubles: tuple[Trouble, ...]

    @property
    def weight(self) -> int:
        """How badly it wants a person."""
        return max((trouble.weight for trouble in self.troubles), default=0)

    @property
    def repeat_share(self) -> float | None:
        """The share of revenue from members who had bought before."""
        return share(self.figures["repeat_revenue"], self.figures["revenue"])


@dataclass
class Totals:
    """All clients together; money stays apart by currency."""

    members: int = 0
    sales: int = 0
    sales_before: int = 0
    outstanding: int = 0
    revenue: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    repeat_revenue: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    @property
    def revenue_by_currency(self) -> list[tuple[str, int]]:
        """The currencies, the largest amount first."""
        return sorted(self.revenue.items(), key=lambda item: -item[1])

    @property
    def repeat_shares(self) -> list[tuple[str, float | None]]:
        """The repeat share of each currency's revenue, in the same order."""
        return [(code, share(self.repeat_revenue[code], total)) for code, total in self.revenue_by_currency]

    @property
    def sales_change(self) -> float | None:
        """How sales moved against the thirty days before, as a share of those."""
        return share(self.sales - self.sales_before, self.sales_before)


def share(part: int, whole: int) -> float | None:
    """`part` of `whole`, or None where there is nothing to share."""
    return part / whole if whole > 0 else None


def providers_of(*, user: User, standing: Standing, at: datetime) -> QuerySet[Provider]:
    """The providers whose clients the user may see here: the operator all, others those they work for."""
    if Actor.PLATFORM in standing.actors:
        return Provider.objects.order_by("name")
    grants = RoleGrant.objects.filter(Q(until=None) | Q(until__gt=at), user=user, role=Actor.PROVIDER)
    return Provider.objects.filter(pk__in=grants.values("provider_id")).order_by("name")


def client_lines(*, providers: QuerySet[Provider], at: datetime) -> list[ClientLine]:
    """The providers' clients, those in trouble first."""
    host = Domain.objects.filter(client=OuterRef("pk"), is_primary=True).values("host")[:1]
    clients = Client.objects.filter(provider__in=providers).exclude(status=Client.Status.CLOSED)
    since = WaitingClient.objects.filter(schema_name=OuterRef("schema_name")).values("since")[:1]
    figures = _figures(providers=providers, today=at.date())
    lines = [
        _line(client, figures.get(client.pk, {}), at=at)
        for client in clients.select_related("provider").annotate(host=Subquery(host), waiting_since=Subquery(since))
    ]
    return sorted(lines, key=lambda line: (-line.weight, line.client.name.casefold()))


def totals(lines: Iterable[ClientLine]) -> Totals:
    """The figures of all lines together."""
    result = Totals()
    for line in lines:
        result.members += line.figures["members"]
        result.sales += line.figures["sales"]
        result.sales_before += line.figures["sales_before"]
        result.outstanding += line.figures["outstanding"]
        result.revenue[line.client.currency] += line.figures["revenue"]
        result.repeat_revenue[line.client.currency] += line.figures["repeat_revenue"]
    return result


def trends(*, lines: Sequence[ClientLine], until: date) -> dict[UUID, list[int]]:
    """Sales by day of the last thirty days, for each client of the page."""
    days = last_days(until=until, count=PERIOD.days)
    rows = KpiDay.objects.filter(client__in=[line.client for line in lines], day__gte=days[0], day__lte=until)
    found = {(client, day): sales for client, day, sales in rows.values_list("client_id", "day", "sales")}
    return {line.client.pk: [found.get((line.client.pk, day), 0) for day in days] for line in lines}


def sales_chart(*, providers: QuerySet[Provider], until: date) -> Chart:
    """Sales a day over all clients, up to yesterday: today is not over."""
    days = chart_days(until=until - timedelta(days=1), count=CHART_DAYS)
    rows = KpiDay.objects.filter(client__provider__in=providers, day__gte=days[0], day__lte=days[-1])
    found = dict(rows.values_list("day").annotate(total=Sum("sales")))
    series = Series(_("Sales"), "all", [found.get(day, 0) for day in days])
    count = sum(series.values[-CHART_DAYS:])
    words = ngettext("%(n)s sale in the last 90 days.", "%(n)s sales in the last 90 days.", count) % {
        "n": number(count)
    }
    return Chart(sentence=words, series=[series], days=days)


def _figures(*, providers: QuerySet[Provider], today: date) -> dict[UUID, dict[str, Any]]:
    """Sums of two periods and the newest count of each client, in two queries however many there are."""
    rows = KpiDay.objects.filter(client__provider__in=providers, day__lte=today)
    now, before = Q(day__gt=today - PERIOD), Q(day__gt=today - 2 * PERIOD, day__lte=today - PERIOD)
    sums = rows.values("client_id").annotate(
        sales_now=Sum("sales", filter=now, default=0),
        sales_before=Sum("sales", filter=before, default=0),
        revenue_now=Sum("revenue", filter=now, default=0),
        repeat_now=Sum("repeat_revenue", filter=now, default=0),
        last_sale=Max("day", filter=Q(sales__gt=0)),
    )
    newest = rows.order_by("client_id", "-day").distinct("client_id")
    counts = {row.client_id: row for row in newest}
    return {row["client_id"]: {**row, "newest": counts[row["client_id"]]} for row in sums}


def _line(client: Client, sums: dict[str, Any], *, at: datetime) -> ClientLine:
    newest: KpiDay | None = sums.get("newest")
    figures = {
        "members": newest.members if newest else 0,
        "outstanding": newest.outstanding if newest else 0,
        "waiting_since": getattr(client, "waiting_since", None),
        "parked": newest.parked if newest else 0,
        "sales": sums.get("sales_now", 0),
        "sales_before": sums.get("sales_before", 0),
        "revenue": sums.get("revenue_now", 0),
        "repeat_revenue": sums.get("repeat_now", 0),
        "last_sale": sums.get("last_sale"),
        "counted_at": newest.counted_at if newest else None,
    }
    url = url_on(getattr(client, "host", None) or "")
    return ClientLine(client=client, url=url, figures=figures, troubles=tuple(_troubles(client, figures, at=at)))


def _troubles(client: Client, figures: dict[str, Any], *, at: datetime) -> Iterable[Trouble]:
    if not client.is_open:
        yield Trouble(2, _("The program is suspended."))
        return
    counted, last_sale, waiting = figures["counted_at"], figures["last_sale"], figures["waiting_since"]
    if waiting and at - waiting > WAITING_TOO_LONG:
        n = int((at - waiting).total_seconds() // 60)
        words = ngettext(
            "Purchases have been waiting for points for %(n)d minute.",
            "Purchases have been waiting for points for %(n)d minutes.",
            n,
        )
        yield Trouble(3, words % {"n": n})
    if at - (counted or client.created_at) > COUNTED_TOO_LONG_AGO:
        yield Trouble(3, _("No figures have come in for more than a day."))
    quiet = (at.date() - last_sale).days if last_sale else 0
    if quiet >= QUIET_DAYS:
        yield Trouble(2, ngettext("No sale for %(n)d day.", "No sale for %(n)d days.", quiet) % {"n": quiet})
    if n := figures["parked"]:
        yield Trouble(1, ngettext("%(n)d return found no sale.", "%(n)d returns found no sale.", n) % {"n": n})
