"""Local days, scores and segments from plain values."""

from datetime import UTC, date, datetime, timedelta
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from members.ledger import lifetime
from members.rules import day_bounds, gap_days, midnight, score, segment_of
from programs.queries import Unit

ZONES = ["Europe/Berlin", "Africa/Cairo", "America/Santiago", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia",
         "America/Havana", "America/New_York", "UTC", "Pacific/Kiritimati"]  # fmt: skip


def points(*, pending: int = 0, expiry: str = "none", months: int = 0) -> Unit:
    return Unit(uuid4(), "points", "Points", "points", 0, pending, expiry, months, False)


@pytest.mark.parametrize(
    ("zone", "day", "begins"),
    [
        ("Europe/Berlin", "2027-03-28", "2027-03-27T23:00+00:00"),
        ("Europe/Berlin", "2027-03-29", "2027-03-28T22:00+00:00"),
        ("Europe/Berlin", "2027-10-31", "2027-10-30T22:00+00:00"),
        ("Europe/Berlin", "2027-11-01", "2027-10-31T23:00+00:00"),
        # Midnight does not exist: the day begins when the clock jumps to one.
        ("Africa/Cairo", "2027-04-30", "2027-04-29T22:00+00:00"),
        ("America/Santiago", "2027-09-05", "2027-09-05T04:00+00:00"),
        # Midnight comes twice: the day begins with the first.
        ("America/Havana", "2027-11-07", "2027-11-07T04:00+00:00"),
        ("Australia/Lord_Howe", "2027-10-03", "2027-10-02T13:30+00:00"),
        ("Australia/Lord_Howe", "2027-10-04", "2027-10-03T13:00+00:00"),
        ("Asia/Kathmandu", "2027-01-01", "2026-12-31T18:15+00:00"),
        ("Pacific/Apia", "2011-12-31", "2011-12-30T10:00+00:00"),
        ("Pacific/Kiritimati", "2027-01-01", "2026-12-31T10:00+00:00"),
        ("UTC", "2028-02-29", "2028-02-29T00:00+00:00"),
    ],
)
def test_r11_a_local_day_begins_at_an_instant_even_where_the_clock_jumps(zone: str, day: str, begins: str) -> None:
    assert midnight(day=date.fromisoformat(day), zone=ZoneInfo(zone)) == datetime.fromisoformat(begins)


@pytest.mark.parametrize(
    ("earned", "unit", "available", "expires"),
    [
        ("2027-03-27T12:00+01:00", points(pending=1), "2027-03-28T00:00+01:00", None),
        ("2027-03-27T12:00+01:00", points(pending=2), "2027-03-29T00:00+02:00", None),
        ("2027-10-31T02:30+02:00", points(pending=1), "2027-11-01T00:00+01:00", None),
        (
            "2027-01-31T12:00+01:00",
            points(expiry="rolling", months=1),
            "2027-01-31T12:00+01:00",
            "2027-03-01T00:00+01:00",
        ),
        (
            "2028-01-31T12:00+01:00",
            points(expiry="rolling", months=1),
            "2028-01-31T12:00+01:00",
            "2028-03-01T00:00+01:00",
        ),
        (
            "2028-02-29T12:00+01:00",
            points(expiry="rolling", months=12),
            "2028-02-29T12:00+01:00",
            "2029-03-01T00:00+01:00",
        ),
        (
            "2026-12-31T23:59+01:00",
            points(expiry="calendar", months=1),
            "2026-12-31T23:59+01:00",
            "2028-01-01T00:00+01:00",
        ),
        (
            "2027-01-01T00:00+01:00",
            points(expiry="calendar", months=1),
            "2027-01-01T00:00+01:00",
            "2028-01-01T00:00+01:00",
        ),
    ],
)
def test_r11_points_live_from_and_until_local_days(
    earned: str, unit: Unit, available: str, expires: str | None
) -> None:
    found = lifetime(unit=unit, occurred_at=datetime.fromisoformat(earned), zone=ZoneInfo("Europe/Berlin"))
    assert found == (datetime.fromisoformat(available), datetime.fromisoformat(expires) if expires else None)


@given(
    moment=st.integers(0, 25 * 365 * 24 * 60).map(lambda n: datetime(2012, 1, 1, tzinfo=UTC) + timedelta(minutes=n)),
    zone=st.sampled_from(ZONES),
    months=st.integers(1, 36),
    calendar=st.booleans(),
)
def test_r11_no_lot_ends_before_its_last_local_day_does(
    moment: datetime, zone: str, months: int, calendar: bool
) -> None:
    here = ZoneInfo(zone)
    unit = points(expiry="calendar" if calendar else "rolling", months=months)
    _available, ends = lifetime(unit=unit, occurred_at=moment, zone=here)
    assert ends is not None
    last = (ends - timedelta(microseconds=1)).astimezone(here)
    assert ends.astimezone(here).date() > last.date()
    if calendar:
        assert (last.month, last.day) == (12, 31)
    else:
        first = moment.astimezone(here)
        assert (last.year - first.year) * 12 + last.month - first.month == months
        assert last.day == first.day or (last.date() + timedelta(days=1)).day == 1


@given(day=st.dates(date(2012, 1, 1), date(2037, 12, 31)), zone=st.sampled_from(ZONES))
def test_r11_each_instant_belongs_to_one_local_day(day: date, zone: str) -> None:
    begins, ends = day_bounds(day=day, zone=ZoneInfo(zone))
    assert timedelta(hours=22) < ends - begins < timedelta(hours=26)
    assert day_bounds(day=day + timedelta(days=1), zone=ZoneInfo(zone))[0] == ends
    for instant in (begins, ends - timedelta(microseconds=1)):
        assert instant.astimezone(ZoneInfo(zone)).date() == day


def test_a_score_is_the_place_among_the_fifths_of_the_shop() -> None:
    bounds = [1, 2, 5, 9]
    assert [score(value=value, bounds=bounds) for value in (0, 1, 2, 3, 9, 10)] == [1, 1, 2, 3, 4, 5]
    assert [score(value=value, bounds=bounds, rising=False) for value in (0, 10)] == [5, 1]


def test_the_usual_gap_counts_until_a_member_has_a_rhythm_of_their_own() -> None:
    first = date(2026, 1, 1)
    assert gap_days(purchases=2, first_day=first, last_day=first + timedelta(days=90), usual=20) == 20
    assert gap_days(purchases=4, first_day=first, last_day=first + timedelta(days=90), usual=20) == 30
    assert gap_days(purchases=4, first_day=first, last_day=first, usual=0) == 3


@pytest.mark.parametrize(
    ("purchases", "days_since", "frequency", "value", "segment"),
    [
        (1, 20, 5, 5, "new"),
        (1, 21, 5, 5, "slipping"),
        (5, 20, 5, 4, "champion"),
        (5, 20, 5, 3, "regular"),
        (5, 20, 4, 5, "regular"),
        (5, 40, 5, 5, "slipping"),
        (5, 41, 5, 5, "lapsed"),
    ],
)
def test_a_segment_follows_from_gaps_missed_and_fifths(
    purchases: int, days_since: int, frequency: int, value: int, segment: str
) -> None:
    assert segment_of(purchases=purchases, days_since=days_since, gap=10, frequency=frequency, value=value) == segment
