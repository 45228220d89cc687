"""The owner's three numbers: are people coming back, what it costs, what it brings."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from fractions import Fraction

from django.db.models import Sum
from django.utils import timezone
from django.utils.translation import gettext as _

from loyalty_saas.drawing import Chart, Series, chart_days
from loyalty_saas.templatetags.loyalty import number, round_money
from members.models import PointsAccount
from programs.queries import Unit, units
from rewards.queries import worth
from tenants.models import Client, KpiDay

PERIOD = 30
PERIODS = (30, 90, 365)
CHART_DAYS = 90
WEEKS = 12


@dataclass(frozen=True)
class Owed:
    """What members hold of one unit, and what it would cost to give it all out as rewards."""

    unit: Unit
    balance: int
    value: int | None


@dataclass(frozen=True)
class ThreeNumbers:
    """A period up to the last day on which something was counted, and the one before; the trends are by week."""

    until: date
    period: int
    revenue: int
    repeat_revenue: int
    repeat_share: float | None
    repeat_share_before: float | None
    sales: int
    active_members: int
    given: int
    spent: int
    owed: list[Owed]
    has_days: bool
    is_old: bool
    repeat_shares: list[int]
    given_weeks: list[int]
    repeat_revenues: list[int]
    repeat_revenue_before: int

    @property
    def since(self) -> date:
        """The first day of the period."""
        return self.until - timedelta(days=self.period - 1)

    @property
    def bring_change(self) -> float | None:
        """How the revenue from returning members moved, as a share of what it was."""
        before = self.repeat_revenue_before
        return (self.repeat_revenue - before) / before if before > 0 else None

    @property
    def liability(self) -> int | None:
        """What is owed in money, where rewards say what a point is worth."""
        values = [one.value for one in self.owed if one.value is not None]
        return sum(values) if values else None

    @property
    def cost(self) -> int | None:
        """What the points given in the period will cost, at the same rate as all that is owed."""
        held = sum(one.balance for one in self.owed if one.value is not None)
        if self.liability is None or held <= 0:
            return None
        return int(Fraction(self.given * self.liability, held))

    @property
    def repeat_change(self) -> float | None:
        """How the repeat share moved, in shares of one."""
        if self.repeat_share is None or self.repeat_share_before is None:
            return None
        return self.repeat_share - self.repeat_share_before


def days_of(client: Client, *, period: int = PERIOD) -> list[KpiDay]:
    """The client's newest counted days, oldest first: enough for two periods and the chart."""
    count = 2 * max(period, CHART_DAYS) + 7
    return list(KpiDay.objects.filter(client=client).order_by("-day")[:count])[::-1]


def three_numbers(*, days: Sequence[KpiDay], at: datetime, period: int = PERIOD) -> ThreeNumbers:
    """The figures of the last so many days that had any sale."""
    today = timezone.localtime(at).date()
    last_sale = max((row.day for row in days if row.sales), default=today)
    until = today if today - last_sale < timedelta(days=PERIOD) else last_sale
    now = _span(days, until=until, count=period)
    before = _span(days, until=until - timedelta(days=period), count=period)
    weeks = [_span(days, until=until - timedelta(days=7 * back), count=7) for back in range(WEEKS - 1, -1, -1)]
    return ThreeNumbers(
        until=until,
        period=period,
        revenue=sum(row.revenue for row in now),
        repeat_revenue=sum(row.repeat_revenue for row in now),
        repeat_share=_repeat_share(now),
        repeat_share_before=_repeat_share(before),
        sales=sum(row.sales for row in now),
        active_members=max((row.active_members for row in now), default=0),
        given=sum(row.earned - row.reversed for row in now),
        spent=sum(row.spent for row in now),
        owed=owed(),
        has_days=bool(days),
        is_old=until != today,
        repeat_shares=[round(1000 * (_repeat_share(week) or 0)) for week in weeks],
        given_weeks=[sum(row.earned - row.reversed for row in week) for week in weeks],
        repeat_revenues=[sum(row.repeat_revenue for row in week) for week in weeks],
        repeat_revenue_before=sum(row.repeat_revenue for row in before),
    )


def _span(days: Sequence[KpiDay], *, until: date, count: int) -> list[KpiDay]:
    return [row for row in days if until - timedelta(days=count) < row.day <= until]


def owed() -> list[Owed]:
    """What members hold in each unit, valued at the reward that gives most for it."""
    held = dict(PointsAccount.objects.values_list("unit_id").annotate(total=Sum("balance")))
    rates = worth()
    return [
        Owed(unit, held.get(unit.id, 0), int(held.get(unit.id, 0) * rates[unit.code]) if unit.code in rates else None)
        for unit in units()
    ]


def trend(*, days: Sequence[KpiDay], until: date, today: date, currency: str, count: int = CHART_DAYS) -> Chart:
    """Revenue a day, and how much of it came from members who had bought before; today is not over and left out."""
    found = {row.day: row for row in days}
    span = chart_days(until=until if until < today else today - timedelta(days=1), count=count)
    series = [
        Series(_("All members"), "all", [found[day].revenue if day in found else 0 for day in span]),
        Series(_("Members who came back"), "back", [found[day].repeat_revenue if day in found else 0 for day in span]),
    ]
    words = _("%(total)s in %(days)s days, %(repeat)s of it from members who had bought before.")
    said = {
        "days": number(count),
        "total": round_money(sum(series[0].values[-count:]), currency),
        "repeat": round_money(sum(series[1].values[-count:]), currency),
    }
    return Chart(sentence=words % said, series=series, days=span, words=lambda minor: round_money(minor, currency))


def _repeat_share(days: Sequence[KpiDay]) -> float | None:
    revenue = sum(row.revenue for row in days)
    return sum(row.repeat_revenue for row in days) / revenue if revenue > 0 else None
