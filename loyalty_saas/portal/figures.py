"""The owner's three numbers: are people coming back, what it costs, what it brings."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from fractions import Fraction

from django.db.models import Sum
from django.utils import timezone
from django.utils.translation import gettext as _

from loyalty_saas.drawing import Chart, Series, chart_days
from loyalty_saas.templatetags.loyalty import round_money
from members.models import PointsAccount
from programs.queries import Unit, units
from rewards.queries import shelf
from tenants.models import Client, KpiDay

PERIOD = 30
CHART_DAYS = 90


@dataclass(frozen=True)
class Owed:
    """What members hold of one unit, and what it would cost to give it all out as rewards."""

    unit: Unit
    balance: int
    value: int | None


@dataclass(frozen=True)
class ThreeNumbers:
    """Thirty days up to the last day on which something was counted, and the thirty before."""

    until: date
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


def days_of(client: Client) -> list[KpiDay]:
    """The client's newest counted days, oldest first: enough for two periods and the chart."""
    return list(KpiDay.objects.filter(client=client).order_by("-day")[: 2 * CHART_DAYS])[::-1]


def three_numbers(*, days: Sequence[KpiDay], at: datetime) -> ThreeNumbers:
    """The figures of the last thirty days that had any sale."""
    today = timezone.localtime(at).date()
    last_sale = max((row.day for row in days if row.sales), default=today)
    until = today if today - last_sale < timedelta(days=PERIOD) else last_sale
    now = [row for row in days if until - timedelta(days=PERIOD) < row.day <= until]
    before = [row for row in days if until - timedelta(days=2 * PERIOD) < row.day <= until - timedelta(days=PERIOD)]
    return ThreeNumbers(
        until=until,
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
    )


def owed() -> list[Owed]:
    """What members hold in each unit, valued at the reward that gives most for it."""
    held = dict(PointsAccount.objects.values_list("unit_id").annotate(total=Sum("balance")))
    worth: dict[str, Fraction] = {}
    for reward in shelf():
        worth[reward.unit_code] = max(worth.get(reward.unit_code, Fraction(0)), Fraction(reward.value, reward.price))
    return [
        Owed(unit, held.get(unit.id, 0), int(held.get(unit.id, 0) * worth[unit.code]) if worth.get(unit.code) else None)
        for unit in units()
    ]


def trend(*, days: Sequence[KpiDay], until: date, today: date, currency: str) -> Chart:
    """Revenue a day, and how much of it came from members who had bought before; today is not over and left out."""
    found = {row.day: row for row in days}
    span = chart_days(until=until if until < today else today - timedelta(days=1), count=CHART_DAYS)
    series = [
        Series(_("All members"), "all", [found[day].revenue if day in found else 0 for day in span]),
        Series(_("Members who came back"), "back", [found[day].repeat_revenue if day in found else 0 for day in span]),
    ]
    words = _("%(total)s in 90 days, %(repeat)s of it from members who had bought before.")
    said = {
        "total": round_money(sum(series[0].values[-CHART_DAYS:]), currency),
        "repeat": round_money(sum(series[1].values[-CHART_DAYS:]), currency),
    }
    return Chart(sentence=words % said, series=series, days=span, words=lambda minor: round_money(minor, currency))


def _repeat_share(days: Sequence[KpiDay]) -> float | None:
    revenue = sum(row.revenue for row in days)
    return sum(row.repeat_revenue for row in days) / revenue if revenue > 0 else None
