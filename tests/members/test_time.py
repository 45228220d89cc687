"""R11: days are those of the client's zone, however its clocks jump; each lot lapses once, and never a moment early."""

import os
from calendar import monthrange
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, date, datetime, time, timedelta
from random import Random
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.db import InternalError, connections, transaction

from members import ledger
from members.models import LedgerEntry, Lot, Member, PointsAccount, TierChange
from members.rules import day_bounds
from members.services import points as service
from programs.queries import Unit
from tenants import keys
from tenants.context import use_client
from tenants.models import Client
from tenants.routers import CLIENT
from tests.conftest import NewClient
from tests.members import invariants
from tests.members.world import DAY, NOON, buy, credit, expire, level, live, new_member, spend, the_unit, unit
from tests.proof.record import Record

SEED = int(os.environ.get("SEED", "11"))
INSTANT = timedelta(microseconds=1)
FIVE_MINUTES = timedelta(minutes=5)


def at(text: str) -> datetime:
    """An instant, written with its offset."""
    return datetime.fromisoformat(text)


def give(who: Member, *, of: Unit, occurred: datetime, zone: str, kind: str = "adjust", amount: int = 10) -> Lot:
    """Points for something that happened then, credited at that moment."""
    with transaction.atomic():
        ledger.lock([who.pk])
        book = ledger.Book(member_ids=[who.pk], at=occurred, zone=ZoneInfo(zone))
        cause = ledger.Cause(key=str(uuid4()), occurred_at=occurred)
        account = book.account(member_id=who.pk, unit=of)
        entry_id = book.earn(account=account, unit=of, amount=amount, cause=cause, kind=kind)
        book.write()
    return Lot.objects.get(pk=entry_id)


def night(moment: datetime) -> int:
    """Let lapse what is due at a moment; how many lots."""
    with transaction.atomic():
        return service.expire_points(at=moment, zone=ZoneInfo("UTC"))


def rolling(months: int = 1) -> dict[str, Any]:
    return {"policy": "rolling", "months": months}


def calendar(months: int = 1) -> dict[str, Any]:
    return {"policy": "calendar", "months": months}


def sliding(months: int = 1) -> dict[str, Any]:
    return {"policy": "sliding", "months": months}


# What happened where and when, under which expiry; the local day it counts for; the instant at which it ends.
CASES = [
    # Berlin, 28 March 2027: 02:30 does not exist; a till that says so with winter's offset means 03:30.
    ("Europe/Berlin", "2027-03-28T02:30+01:00", rolling(), "2027-03-28", "2027-04-29T00:00+02:00"),
    ("Europe/Berlin", "2027-03-27T23:59:59+01:00", rolling(), "2027-03-27", "2027-04-28T00:00+02:00"),
    ("Europe/Berlin", "2027-02-28T12:00+01:00", rolling(), "2027-02-28", "2027-03-29T00:00+02:00"),
    ("Europe/Berlin", "2027-02-27T12:00+01:00", rolling(), "2027-02-27", "2027-03-28T00:00+01:00"),
    # Berlin, 31 October 2027: 02:30 happens twice, on one day.
    ("Europe/Berlin", "2027-10-31T02:30+02:00", rolling(), "2027-10-31", "2027-12-01T00:00+01:00"),
    ("Europe/Berlin", "2027-10-31T02:30+01:00", rolling(), "2027-10-31", "2027-12-01T00:00+01:00"),
    ("Europe/Berlin", "2027-09-30T12:00+02:00", rolling(), "2027-09-30", "2027-10-31T00:00+02:00"),
    ("Europe/Berlin", "2027-08-31T12:00+02:00", rolling(2), "2027-08-31", "2027-11-01T00:00+01:00"),
    # Cairo, 30 April 2027 begins at 01:00; Santiago, 5 September 2027 too.
    ("Africa/Cairo", "2027-03-29T10:00+02:00", rolling(), "2027-03-29", "2027-04-30T01:00+03:00"),
    ("Africa/Cairo", "2027-04-30T01:00+03:00", rolling(), "2027-04-30", "2027-05-31T00:00+03:00"),
    ("Africa/Cairo", "2027-04-29T23:59:59+02:00", rolling(), "2027-04-29", "2027-05-30T00:00+03:00"),
    ("America/Santiago", "2027-08-04T10:00-04:00", rolling(), "2027-08-04", "2027-09-05T01:00-03:00"),
    ("America/Santiago", "2027-09-05T01:00-03:00", rolling(), "2027-09-05", "2027-10-06T00:00-03:00"),
    # Santiago, 3 April 2027: the hour before midnight happens twice.
    ("America/Santiago", "2027-03-03T10:00-03:00", rolling(), "2027-03-03", "2027-04-04T00:00-04:00"),
    # Havana, 7 November 2027: midnight happens twice, and the day begins with the first.
    ("America/Havana", "2027-10-06T10:00-04:00", rolling(), "2027-10-06", "2027-11-07T00:00-04:00"),
    # Lord Howe moves its clocks by half an hour.
    ("Australia/Lord_Howe", "2027-09-02T10:00+10:30", rolling(), "2027-09-02", "2027-10-03T00:00+10:30"),
    ("Australia/Lord_Howe", "2027-09-03T10:00+10:30", rolling(), "2027-09-03", "2027-10-04T00:00+11:00"),
    ("Australia/Lord_Howe", "2027-03-04T10:00+11:00", rolling(), "2027-03-04", "2027-04-05T00:00+10:30"),
    # Kathmandu is 5:45 ahead: its day is another than that of UTC.
    ("Asia/Kathmandu", "2027-01-15T00:10+05:45", rolling(), "2027-01-15", "2027-02-16T00:00+05:45"),
    ("Asia/Kathmandu", "2027-01-14T23:50+05:45", rolling(), "2027-01-14", "2027-02-15T00:00+05:45"),
    # Apia is 13 ahead; and what was promised until 30 December 2011 had a last day that never was.
    ("Pacific/Apia", "2027-06-30T23:59+13:00", rolling(), "2027-06-30", "2027-07-31T00:00+13:00"),
    ("Pacific/Apia", "2011-11-30T12:00-10:00", rolling(), "2011-11-30", "2011-12-31T00:00+14:00"),
    # Month ends and leap days.
    ("Europe/Berlin", "2027-01-31T12:00+01:00", rolling(), "2027-01-31", "2027-03-01T00:00+01:00"),
    ("Europe/Berlin", "2028-01-31T12:00+01:00", rolling(), "2028-01-31", "2028-03-01T00:00+01:00"),
    ("Europe/Berlin", "2028-02-29T12:00+01:00", rolling(12), "2028-02-29", "2029-03-01T00:00+01:00"),
    ("Europe/Berlin", "2027-08-31T12:00+02:00", rolling(6), "2027-08-31", "2028-03-01T00:00+01:00"),
    # Year ends, here and where the new year comes first or last.
    ("Europe/Berlin", "2027-12-31T23:59:59+01:00", calendar(1), "2027-12-31", "2029-01-01T00:00+01:00"),
    ("Europe/Berlin", "2028-01-01T00:00+01:00", calendar(1), "2028-01-01", "2029-01-01T00:00+01:00"),
    ("Pacific/Kiritimati", "2027-11-30T10:00+14:00", calendar(1), "2027-11-30", "2028-01-01T00:00+14:00"),
    ("America/Los_Angeles", "2027-11-30T23:00-08:00", calendar(1), "2027-11-30", "2028-01-01T00:00-08:00"),
    # Where expiry slides, the account's end jumps with the clocks as well.
    ("Europe/Berlin", "2027-02-28T12:00+01:00", sliding(), "2027-02-28", "2027-03-29T00:00+02:00"),
    ("Africa/Cairo", "2027-03-29T10:00+02:00", sliding(), "2027-03-29", "2027-04-30T01:00+03:00"),
    ("America/Santiago", "2027-08-04T10:00-04:00", sliding(), "2027-08-04", "2027-09-05T01:00-03:00"),
]


@pytest.mark.parametrize(("zone", "happened", "policy", "day", "ends"), CASES)
def test_r11_what_happened_counts_for_its_local_day_and_lives_to_the_end_of_the_last_one(
    new_client: NewClient, zone: str, happened: str, policy: dict[str, Any], day: str, ends: str
) -> None:
    client = new_client(time_zone=zone)
    with use_client(client):
        _lives(zone=zone, happened=happened, policy=policy, day=day, ends=ends)
    invariants.check(client)


def _lives(*, zone: str, happened: str, policy: dict[str, Any], day: str, ends: str) -> None:
    live(units=[unit(expiry=policy)])
    occurred, end = at(happened), at(ends)
    with connections[CLIENT].cursor() as cursor:
        cursor.execute("SELECT (%s::timestamptz AT TIME ZONE %s)::date", [occurred, zone])
        (day_of_the_database,) = cursor.fetchone()
    lot = give(new_member("ana"), of=the_unit(), occurred=occurred, zone=zone)

    assert occurred.astimezone(ZoneInfo(zone)).date().isoformat() == day_of_the_database.isoformat() == day
    stored = PointsAccount.objects.get().slides_until if policy["policy"] == "sliding" else lot.expires_at
    assert stored == end
    assert (night(end - INSTANT), night(end), night(end), night(end + timedelta(days=400))) == (0, 1, 0, 0)


@pytest.mark.parametrize(
    ("zone", "happened", "days", "available"),
    [
        ("Europe/Berlin", "2027-03-27T12:00+01:00", 1, "2027-03-28T00:00+01:00"),
        ("Europe/Berlin", "2027-03-28T03:30+02:00", 1, "2027-03-29T00:00+02:00"),
        ("Europe/Berlin", "2027-10-31T02:30+01:00", 1, "2027-11-01T00:00+01:00"),
        ("Africa/Cairo", "2027-04-29T12:00+02:00", 1, "2027-04-30T01:00+03:00"),
        ("America/Santiago", "2027-09-01T23:30-04:00", 4, "2027-09-05T01:00-03:00"),
        ("America/Havana", "2027-11-06T12:00-04:00", 1, "2027-11-07T00:00-04:00"),
    ],
)
def test_r11_what_is_pending_becomes_available_as_its_local_day_begins(
    acme: Client, zone: str, happened: str, days: int, available: str
) -> None:
    live(units=[unit(pending_days=days)])
    lot = give(new_member("ana"), of=the_unit(), occurred=at(happened), zone=zone)
    assert lot.available_at == at(available)


# ── zones and clocks that change ────────────────────────────────────────────────────────────────────────────────────


def test_r11_a_client_that_moves_to_another_zone_keeps_what_it_promised(ana: Member) -> None:
    live(units=[unit(expiry=rolling())])
    before = give(ana, of=the_unit(), occurred=at("2027-05-10T12:00+02:00"), zone="Europe/Berlin")
    after = give(ana, of=the_unit(), occurred=at("2027-05-10T13:00+02:00"), zone="Pacific/Auckland")

    assert before.expires_at == at("2027-06-11T00:00+02:00")
    assert after.expires_at == at("2027-06-11T00:00+12:00")
    assert night(at("2027-06-11T00:00+12:00")) == 1
    assert Lot.objects.get(remaining__gt=0) == before
    assert night(at("2027-06-11T00:00+02:00")) == 1


def test_r11_a_sliding_account_is_never_put_back_by_another_zone(ana: Member) -> None:
    live(units=[unit(expiry=sliding())])
    give(ana, of=the_unit(), occurred=at("2027-05-10T12:00+02:00"), zone="Europe/Berlin")
    give(ana, of=the_unit(), occurred=at("2027-05-10T13:00+02:00"), zone="Pacific/Auckland")

    assert PointsAccount.objects.get().slides_until == at("2027-06-11T00:00+02:00")


@pytest.mark.parametrize("skew", [-FIVE_MINUTES, FIVE_MINUTES])
def test_r11_a_server_s_clock_off_by_five_minutes_lapses_nothing_twice(ana: Member, skew: timedelta) -> None:
    live(units=[unit(expiry=rolling())])
    lot = give(ana, of=the_unit(), occurred=at("2027-02-28T12:00+01:00"), zone="Europe/Berlin")
    assert lot.expires_at is not None
    ticks = [lot.expires_at + timedelta(minutes=n) for n in (-6, -1, 0, 1, 6)]
    first = [night(tick + skew) for tick in ticks]
    assert first == [
        int(n == next(i for i, tick in enumerate(ticks) if tick + skew >= lot.expires_at)) for n in range(5)
    ]
    # The clock is put right, back over the very moment.
    assert [night(tick) for tick in ticks] == [0] * 5
    assert LedgerEntry.objects.filter(kind="expire").count() == 1


def test_r11_a_till_s_clock_five_minutes_ahead_of_midnight_lets_no_account_lapse_early(ana: Member) -> None:
    live(units=[unit(expiry=sliding())])
    give(ana, of=the_unit(), occurred=at("2027-02-28T12:00+01:00"), zone="Europe/Berlin")
    end = at("2027-03-29T00:00+02:00")
    with transaction.atomic():
        ledger.lock([ana.pk])
        book = ledger.Book(member_ids=[ana.pk], at=end - FIVE_MINUTES, zone=ZoneInfo("Europe/Berlin"), with_lots=False)
        cause = ledger.Cause(key="ahead", occurred_at=end + INSTANT)
        book.earn(account=book.account(member_id=ana.pk, unit=the_unit()), unit=the_unit(), amount=1, cause=cause,
                  kind="adjust")  # fmt: skip
        book.write()

    assert PointsAccount.objects.get().balance == 11
    assert PointsAccount.objects.get().slides_until == at("2027-04-30T00:00+02:00")


# ── the property ────────────────────────────────────────────────────────────────────────────────────────────────────

SWITCHES = [("Europe/Berlin", "2027-03-28"), ("Europe/Berlin", "2027-10-31"), ("Africa/Cairo", "2027-04-30"),
            ("America/Santiago", "2027-09-05"), ("America/Santiago", "2027-04-04"), ("Australia/Lord_Howe", "2027-10-03"),
            ("America/Havana", "2027-11-07"), ("Asia/Kathmandu", "2027-01-01")]  # fmt: skip


def _live_through(zone: str, day: str, random: Random) -> list[str]:
    """Lots that end around a switch, and nights every half hour about every midnight; what is wrong with their lapse."""
    here, of, switch = ZoneInfo(zone), the_unit(), date.fromisoformat(day)
    promised: dict[Any, date] = {}
    for n in range(16):
        occurred = datetime(switch.year, switch.month, switch.day, tzinfo=UTC) - timedelta(
            days=random.randint(24, 36), minutes=random.randint(0, 1440)
        )
        lot = give(new_member(f"{zone}{day}{n}"), of=of, occurred=occurred, zone=zone)
        promised[lot.pk] = _a_month_later(occurred.astimezone(here).date())
    for days in range(-13, 11):
        # About midnight by either offset, to the half hour.
        about = datetime.combine(switch + timedelta(days=days), time(12), tzinfo=here).astimezone(UTC)
        for half_hours in range(-28, -18):
            night(about + half_hours * timedelta(minutes=30))
    return [words for lot_id, last in promised.items() if (words := _wrong(lot_id, last=last, here=here))]


def _a_month_later(day: date) -> date:
    year, month = day.year + day.month // 12, day.month % 12 + 1
    return date(year, month, min(day.day, monthrange(year, month)[1]))


def _wrong(lot_id: Any, *, last: date, here: ZoneInfo) -> str:
    """It lapsed once, at the first look after its last local day; else what happened."""
    lapsed = list(LedgerEntry.objects.filter(kind="expire", corrects=lot_id).values_list("at", flat=True))
    end = day_bounds(day=last, zone=here)[1]
    if len(lapsed) == 1 and lapsed[0].astimezone(here).date() > last and lapsed[0] - end < timedelta(minutes=30):
        return ""
    return f"promised {last}, lapsed {lapsed}"


@pytest.mark.parametrize(("zone", "day"), SWITCHES)
def test_r11_each_lot_lapses_exactly_once_and_never_before_the_end_of_its_last_local_day(
    acme: Client, zone: str, day: str, proof_record: Record
) -> None:
    proof_record.tried(16, f"lots that end about {day} in {zone}, nights every half hour", seed=SEED)
    live(units=[unit(expiry=rolling())])
    assert _live_through(zone, day, Random(SEED)) == [], f"SEED={SEED}"


@pytest.mark.parametrize("broken", ["days of UTC", "the offset of the deed"])
def test_r11_negative_control_other_days_are_caught(
    acme: Client, broken: str, monkeypatch: pytest.MonkeyPatch, proof_record: Record
) -> None:
    live(units=[unit(expiry=rolling())])
    lifetime = ledger.lifetime

    def other(*, unit: Unit, occurred_at: datetime, zone: ZoneInfo) -> tuple[datetime, datetime | None]:
        available, ends = lifetime(unit=unit, occurred_at=occurred_at, zone=zone)
        if broken == "days of UTC":
            return lifetime(unit=unit, occurred_at=occurred_at, zone=ZoneInfo("UTC"))
        assert ends is not None
        offset = occurred_at.astimezone(zone).utcoffset() or timedelta()
        local = ends.astimezone(zone).replace(hour=0, minute=0, tzinfo=None)
        return available, (local - offset).replace(tzinfo=UTC)

    monkeypatch.setattr(ledger, "lifetime", other)
    assert _live_through("Europe/Berlin", "2027-03-28", Random(SEED)) != []
    proof_record.caught(broken)


# ── clocks that differ ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> Callable[[], AbstractContextManager[None]]:
    """With `ahead():` another server writes, whose clock is an hour ahead; here no id of its time is remembered."""

    @contextmanager
    def other_server() -> Iterator[None]:
        with time_machine.travel(datetime.now(UTC) + timedelta(hours=1)):
            yield
        monkeypatch.setattr(keys, "_last_tick", 0)

    return other_server


def test_r11_entries_stand_in_the_order_in_which_they_were_made_whatever_the_clocks_of_servers_say(
    ana: Member, ahead: Callable[[], AbstractContextManager[None]]
) -> None:
    live(units=[unit(expiry={"policy": "rolling", "months": 1})])
    for receipt in ("R-1", "R-2", "R-3"):
        with ahead():
            buy(ana, receipt=receipt, amount=100)
            credit()
    spend(ana, 30)
    expire(at=NOON + 60 * DAY)
    entries = LedgerEntry.objects.order_by("pk").values_list("kind", "balance_after")
    assert list(entries) == [
        ("earn", 100), ("earn", 200), ("earn", 300), ("spend", 270),
        ("expire", 200), ("expire", 100), ("expire", 0),
    ]  # fmt: skip


def test_r11_negative_control_ids_by_the_clock_alone_are_refused_by_the_database(
    ana: Member, ahead: Callable[[], AbstractContextManager[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    live()
    with ahead():
        buy(ana, receipt="R-1", amount=100)
        credit()
    monkeypatch.setattr(ledger, "uuid7_above", lambda _floor: keys.uuid7())
    with pytest.raises(InternalError, match="members_pointsaccount"):
        spend(ana, 30)
    assert LedgerEntry.objects.count() == 1


def test_r11_moves_between_tiers_stand_in_their_order_whatever_the_clocks_of_servers_say(
    ana: Member, ahead: Callable[[], AbstractContextManager[None]]
) -> None:
    live(tiers={"basis": "spend", "levels": [level("silver", 100), level("gold", 200)]})
    with ahead():
        buy(ana, receipt="R-1", amount=100)
        credit()
    buy(ana, receipt="R-2", amount=100, at=NOON + DAY)
    credit(at=NOON + DAY)
    moves = TierChange.objects.order_by("pk").values_list("before", "after")
    assert list(moves) == [("", "silver"), ("silver", "gold")]
