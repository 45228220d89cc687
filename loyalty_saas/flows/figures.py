"""Figures of client schemas brought to the public rows that the console reads."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from members.queries import figures_by_day, open_work
from tenants.context import current_client
from tenants.models import KpiDay

_COUNTED = ("members", "new_members", "active_members", "sales", "returns", "revenue", "repeat_revenue",
            "earned", "reversed", "spent", "outstanding")  # fmt: skip


def roll_up(*, first: date, last: date, at: datetime) -> int:
    """Count the local days from `first` to `last` of the client we stand in into its public rows; how many."""
    client = current_client()
    rows = [
        KpiDay(client_id=client.pk, counted_at=at, **figures)
        for figures in figures_by_day(first=first, last=last, zone=client.time_zone)
    ]
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
