"""What a member's figures mean, from plain values."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

NEW, REGULAR, CHAMPION, SLIPPING, LAPSED = "new", "regular", "champion", "slipping", "lapsed"
_SHORTEST_GAP_DAYS = 3


def score(*, value: int, bounds: list[int], rising: bool = True) -> int:
    """A score of 1 to 5 by four ascending bounds (quintiles); the highest value scores 5, or 1 if not `rising`."""
    place = 1 + sum(value > bound for bound in bounds)
    return place if rising else 6 - place


def gap_days(*, purchases: int, first_day: date, last_day: date, usual: int) -> int:
    """Days between two purchases of this member; with fewer than three purchases what is usual in the shop."""
    if purchases < 3:
        return max(usual, _SHORTEST_GAP_DAYS)
    return max((last_day - first_day).days // (purchases - 1), _SHORTEST_GAP_DAYS)


def whole_days_between(first: date, last: date, *, parts: int) -> int:
    """The usual number of days between `parts` + 1 things from `first` to `last`."""
    return round((last - first).days / parts)


def segment_of(*, purchases: int, days_since: int, gap: int, frequency: int, value: int) -> str:
    """
    The segment of somebody who buys every `gap` days and last did `days_since` days ago.

    Two gaps without a purchase is slipping away, four is lapsed; champions are in the top fifths by both scores.
    """
    if days_since > 4 * gap:
        return LAPSED
    if days_since > 2 * gap:
        return SLIPPING
    if purchases <= 1:
        return NEW
    return CHAMPION if frequency == 5 and value >= 4 else REGULAR


def midnight(*, day: date, zone: ZoneInfo) -> datetime:
    """The instant at which a local day begins, in UTC; also where the clock skips midnight."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def day_bounds(*, day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The instants between which a local day lies: from the first, before the second."""
    return midnight(day=day, zone=zone), midnight(day=day + timedelta(days=1), zone=zone)
