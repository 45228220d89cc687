"""Tries against a limit: taken before the secret is looked at, never shared, kept in PostgreSQL alone. (R30, R32)"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest
from django.core.cache import cache
from django.db import connections

from tenants.context import public_atomic
from tenants.keys import uuid7
from tenants.models import Client, Lockout
from tenants.services import lockouts
from tenants.services.lockouts import Locked, Try, take_try

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def subject() -> str:
    return f"test:{uuid7()}"


def refused(*, client: Client | None, subject: str, at: datetime, limit: int = 5) -> datetime | None:
    """Take a try; until when it is locked where there is none."""
    try:
        take_try(client=client, subject=subject, limit=limit, at=at)
    except Locked as locked:
        return locked.until
    return None


def evaluated_at_once(guess: Callable[[], object], *, times: int) -> int:
    """How many of so many guesses at the same time got as far as their secret."""
    together = Barrier(times)

    def one(_: int) -> bool:
        try:
            together.wait()
            guess()
        except Locked:
            return False
        finally:
            connections["public"].close()
        return True

    with ThreadPoolExecutor(times) as threads:
        return sum(threads.map(one, range(times)))


# ── atomic ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("begun", [False, True], ids=["new counter", "known counter"])
def test_r30_of_twenty_guesses_at_once_five_are_looked_at(acme: Client, subject: str, begun: bool) -> None:
    if begun:
        take_try(client=acme, subject=subject, limit=5, at=NOW)
    looked_at = evaluated_at_once(lambda: take_try(client=acme, subject=subject, limit=5, at=NOW), times=20)
    assert looked_at == 5 - begun
    assert refused(client=acme, subject=subject, at=NOW)


def test_r30_control_a_counter_that_is_read_and_then_written_lets_more_through(acme: Client, subject: str) -> None:
    Lockout.objects.create(client=acme, subject=subject, since=NOW)
    halfway = Barrier(20)

    def careless() -> None:
        with public_atomic():
            kept = Lockout.objects.get(client=acme, subject=subject)
            halfway.wait()
            if kept.tries >= 5:
                raise Locked(NOW, subject)
            kept.tries += 1
            kept.save()

    assert evaluated_at_once(careless, times=20) > 5


def test_r32_two_hundred_requests_fifty_at_once_pass_five_times(acme: Client, subject: str) -> None:
    passed = sum(
        evaluated_at_once(lambda: take_try(client=acme, subject=subject, limit=5, at=NOW), times=50)
        for _round in range(4)
    )
    assert passed == 5


def test_a_try_of_several_counters_is_taken_of_all_or_of_none(acme: Client, subject: str) -> None:
    near, far = Try(f"{subject}:far", 100), Try(f"{subject}:near", 1)
    lockouts.take_tries(client=acme, tries=[near, far], at=NOW)
    with pytest.raises(Locked) as locked:
        lockouts.take_tries(client=acme, tries=[near, far], at=NOW + MINUTE)
    assert locked.value.subject == far.subject
    assert Lockout.objects.get(subject=near.subject).tries == 1


def test_r30_a_try_counts_whatever_becomes_of_the_request(acme: Client, subject: str) -> None:
    """It has a transaction of its own, and says so where it cannot have one."""
    with pytest.raises(RuntimeError, match="durable"), public_atomic():
        take_try(client=acme, subject=subject, limit=5, at=NOW)


# ── the lock ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_lock_begins_with_the_last_try_and_says_what_is_left_before(acme: Client, subject: str) -> None:
    left = [take_try(client=acme, subject=subject, limit=5, at=NOW) for _ in range(5)]
    assert left == [4, 3, 2, 1, 0]
    assert lockouts.is_locked(client=acme, subject=subject, at=NOW) == NOW + 15 * MINUTE
    with pytest.raises(Locked) as locked:
        take_try(client=acme, subject=subject, limit=5, at=NOW + 14 * MINUTE)
    assert locked.value.until == NOW + 15 * MINUTE


def test_r30_the_lock_grows_with_each_round_up_to_a_day(acme: Client, subject: str) -> None:
    at, lasted = NOW, []
    for _round in range(9):
        for _try in range(5):
            assert refused(client=acme, subject=subject, at=at) is None
        until = refused(client=acme, subject=subject, at=at)
        assert until
        lasted.append((until - at) // MINUTE)
        at = until
    assert lasted == [15, 30, 60, 120, 240, 480, 960, 1440, 1440]


def test_r30_a_walk_of_ten_thousand_pins_is_looked_at_thirty_five_times_a_day(acme: Client, subject: str) -> None:
    """Guess every nine seconds, as fast as ten thousand fit into a day."""
    tries = [NOW + timedelta(seconds=9) * n for n in range(0, 9600, 10)]
    looked_at = sum(refused(client=acme, subject=subject, at=at) is None for at in tries)
    assert looked_at <= 35


def test_the_right_secret_clears_tries_and_growth(acme: Client, subject: str) -> None:
    for at in (NOW, NOW + 16 * MINUTE):
        for _try in range(5):
            take_try(client=acme, subject=subject, limit=5, at=at)
    lockouts.clear(client=acme, subject=subject)
    assert lockouts.is_locked(client=acme, subject=subject, at=NOW + 17 * MINUTE) is None
    assert take_try(client=acme, subject=subject, limit=5, at=NOW + 17 * MINUTE) == 4


def test_a_try_given_back_takes_its_lock_with_it_and_leaves_the_others(acme: Client, subject: str) -> None:
    for _try in range(5):
        take_try(client=acme, subject=subject, limit=5, at=NOW)
    lockouts.give_back(client=acme, subject=subject)
    assert lockouts.is_locked(client=acme, subject=subject, at=NOW) is None
    assert take_try(client=acme, subject=subject, limit=5, at=NOW) == 0
    assert refused(client=acme, subject=subject, at=NOW) == NOW + 15 * MINUTE


def test_a_window_that_has_passed_begins_anew(acme: Client, subject: str) -> None:
    day = timedelta(days=1)
    for _try in range(3):
        take_try(client=acme, subject=subject, limit=5, at=NOW, window=day)
    assert take_try(client=acme, subject=subject, limit=5, at=NOW + day - MINUTE, window=day) == 1
    assert take_try(client=acme, subject=subject, limit=5, at=NOW + day, window=day) == 4


def test_a_lock_outlasts_the_window(acme: Client, subject: str) -> None:
    day = timedelta(days=1)
    take_try(client=acme, subject=subject, limit=2, at=NOW, window=day, lock=day)
    take_try(client=acme, subject=subject, limit=2, at=NOW + day - MINUTE, window=day, lock=day)
    with pytest.raises(Locked) as locked:
        take_try(client=acme, subject=subject, limit=2, at=NOW + day, window=day, lock=day)
    assert locked.value.until == NOW + 2 * day - MINUTE


@pytest.mark.parametrize(("cost", "times"), [(1, 100), (2, 50), (11, 9), (50, 2), (99, 1), (100, 1)])
def test_dear_tries_are_fewer(acme: Client, subject: str, cost: int, times: int) -> None:
    dear = Try(subject, 100, cost=cost)
    for left in reversed(range(times)):
        assert lockouts.take_tries(client=acme, tries=[dear], at=NOW) == [left]
    with pytest.raises(Locked):
        lockouts.take_tries(client=acme, tries=[dear], at=NOW)


# ── whose ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_r21_tries_at_one_client_say_nothing_at_another(acme: Client, bravo: Client, subject: str) -> None:
    for _try in range(5):
        take_try(client=acme, subject=subject, limit=5, at=NOW)
    assert refused(client=bravo, subject=subject, at=NOW) is None
    assert refused(client=None, subject=subject, at=NOW) is None
    assert refused(client=acme, subject=subject, at=NOW)


def test_tries_of_no_client_are_one_counter_too(subject: str) -> None:
    for _try in range(5):
        take_try(client=None, subject=subject, limit=5, at=NOW)
    assert refused(client=None, subject=subject, at=NOW)


def test_r30_an_emptied_redis_changes_nothing(acme: Client, subject: str) -> None:
    for _try in range(5):
        take_try(client=acme, subject=subject, limit=5, at=NOW)
    cache.clear()
    assert refused(client=acme, subject=subject, at=NOW)


def test_counters_that_nobody_touches_are_forgotten_after_weeks(acme: Client, subject: str) -> None:
    take_try(client=acme, subject=subject, limit=5, at=NOW - timedelta(days=31))
    for _try in range(5):
        take_try(client=acme, subject=f"{subject}:locked", limit=5, at=NOW - timedelta(days=29))
    take_try(client=acme, subject=f"{subject}:new", limit=5, at=NOW)
    kept = Lockout.objects.filter(client=acme, subject__startswith=subject).values_list("subject", flat=True)
    assert set(kept) == {f"{subject}:locked", f"{subject}:new"}
