"""Figures of client schemas brought to the public rows that the console reads."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from fractions import Fraction
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import Max, Q, Sum
from django.db.models.functions import TruncDate

from members.models import Activity, LedgerEntry, PointsAccount, Purchase
from members.queries import figures_by_day, open_work
from members.rules import midnight
from programs.queries import units
from rewards.queries import given_out_by_day, worth
from tenants.context import current_client
from tenants.models import KpiDay

_COUNTED = ("members", "new_members", "active_members", "sales", "repeat_sales", "returns", "revenue", "repeat_revenue",
            "earned", "reversed", "spent", "outstanding", "liability", "redemptions", "last_sale_at")  # fmt: skip


def roll_up(*, first: date, last: date, at: datetime) -> int:
    """Count the local days from `first` to `last` of the client we stand in into its public rows; how many."""
    client = current_client()
    zone = ZoneInfo(client.time_zone)
    rows = [
        KpiDay(client_id=client.pk, counted_at=at, **figures)
        for figures in figures_by_day(first=first, last=last, zone=client.time_zone)
    ]
    _value(rows, zone=zone)
    _date_sales(rows)
    for name, value in open_work().items():
        setattr(rows[-1], name, value)
    KpiDay.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["client", "day"],
        update_fields=[*_COUNTED, "waiting", "parked", "counted_at"],
    )
    return len(rows)


def roll_up_days(*, days: int, at: datetime) -> int:
    """Count the last `days` local days up to today; how many."""
    today = at.astimezone(ZoneInfo(current_client().time_zone)).date()
    return roll_up(first=today - timedelta(days=days - 1), last=today, at=at)


def _value(rows: Sequence[KpiDay], *, zone: ZoneInfo) -> None:
    """What members held at each day's end as money, at what rewards give for it now; and the rewards given out."""
    since = midnight(day=rows[0].day, zone=zone)
    given = given_out_by_day(since=since, zone=zone)
    rates = _rates()
    held: dict[UUID, int] = dict(PointsAccount.objects.values_list("unit_id").annotate(total=Sum("balance")))
    moved = _moved(since=since, zone=zone)
    ahead = sorted((day for day in moved if day > rows[-1].day), reverse=True)
    for day in ahead:
        _take_back(held, moved[day])
    for row in reversed(rows):
        row.redemptions = given.get(row.day, 0)
        row.liability = sum(int(held.get(unit_id, 0) * rate) for unit_id, rate in rates.items())
        _take_back(held, moved.get(row.day, {}))


def _rates() -> dict[UUID, Fraction]:
    """What one step of each unit is worth in money."""
    rates = worth()
    return {unit.id: rates[unit.code] for unit in units() if unit.code in rates}


def _moved(*, since: datetime, zone: ZoneInfo) -> dict[date, dict[UUID, int]]:
    """By how much each unit moved on each local day."""
    entries = LedgerEntry.objects.filter(occurred_at__gte=since)
    days = entries.annotate(local_day=TruncDate("occurred_at", tzinfo=zone)).values_list(
        "local_day", "account__unit_id"
    )
    found: dict[date, dict[UUID, int]] = {}
    for day, unit_id, amount in days.annotate(total=Sum("amount")):
        found.setdefault(day, {})[unit_id] = amount
    return found


def _take_back(held: dict[UUID, int], moved: dict[UUID, int]) -> None:
    for unit_id, amount in moved.items():
        held[unit_id] = held.get(unit_id, 0) - amount


def _date_sales(rows: Sequence[KpiDay]) -> None:
    """The last sale up to the end of each day."""
    first, last = rows[0].day, rows[-1].day
    newest = _newest_sales(Q(day__gte=first, day__lte=last))
    so_far = _last_sale_before(first)
    for row in rows:
        found = [moment for moment in (so_far, newest.get(row.day)) if moment]
        so_far = row.last_sale_at = max(found, default=None)


def _last_sale_before(day: date) -> datetime | None:
    """As counted on an earlier day, or from the sales themselves where none was counted yet."""
    counted = KpiDay.objects.filter(client=current_client(), day__lt=day, last_sale_at__isnull=False)
    known = counted.order_by("-day").values_list("last_sale_at", flat=True).first()
    return known or max(_newest_sales(Q(day__lt=day)).values(), default=None)


def _newest_sales(days: Q) -> dict[date, datetime]:
    """The last sale of each day; what was paid for an activity is one too."""
    sales = Purchase.objects.filter(days, kind=Purchase.Kind.SALE)
    paid = Activity.objects.filter(days, amount__gt=0)
    found: dict[date, datetime] = {}
    for rows in (sales, paid):
        for day, moment in rows.values_list("day").annotate(newest=Max("occurred_at")):
            found[day] = max(moment, found.get(day, moment))
    return found
