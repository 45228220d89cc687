"""R42: PostgreSQL is restarted, killed, away or impatient; callers hear «try again», and do so without harm."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from random import Random

import psycopg2
import pytest
from django.db import OperationalError, connections

from members.models import Member
from members.services.accrual import waiting
from tenants.models import Client
from tests.live import RedisServer, wait_until
from tests.members.world import new_member
from tests.proof.bank import Bank
from tests.proof.callers import Caller, at_once
from tests.proof.record import Record, often
from tests.proof.servers import House, Supervised, Web
from tests.proof.traffic import Traffic

SEED = 42
DEEDS, LASTS, AWAY = often(20, 200), often(1, 10), often(1, 30)


def ended_sessions(house: House, chance: Random) -> None:
    """Five sessions a second are ended."""
    for _time in range(5 * LASTS):
        house.end_sessions(most=1)
        time.sleep(0.2)


def restarted(house: House, chance: Random) -> None:
    """Shut down and started again."""
    house.stop()
    house.start()


def killed(house: House, chance: Random) -> None:
    """Killed in the middle of its work, and recovered from its log."""
    time.sleep(chance.random() * 0.2)
    house.stop(kill=True)
    house.start()


def absent(house: House, chance: Random) -> None:
    """Away for a while."""
    house.stop()
    time.sleep(AWAY)
    house.start()


def impatient(house: House, chance: Random) -> None:
    """Statements are given a thousandth of a second."""
    with setting(house, "statement_timeout", "1ms"):
        time.sleep(LASTS)


def serializable(house: House, chance: Random) -> None:
    """Every transaction is serializable, and fails when another was there first."""
    with setting(house, "default_transaction_isolation", "serializable"):
        time.sleep(LASTS)


@contextmanager
def setting(house: House, name: str, value: str) -> Iterator[None]:
    """The application's sessions live with this setting."""
    app = f'"{house.name}_app"'
    house.do(f"ALTER ROLE {app} SET {name} = '{value}'")
    house.end_sessions()
    try:
        yield
    finally:
        house.do(f"ALTER ROLE {app} RESET {name}")
        house.end_sessions()


FAULTS = [ended_sessions, restarted, killed, absent, impatient, serializable]


@pytest.fixture
def worker(house: House, house_redis: RedisServer, tmp_path: Path) -> Iterator[Supervised]:
    """A worker that is at work when the test begins."""
    one = Supervised(
        tmp_path / "worker.log", redis_server=house_redis, environment={"DATABASE_URL": house.database_url}
    )
    one.keep_up()
    wait_until(lambda: len(one.children()) >= 2, what="a worker's children")
    yield one
    one.stop()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_r42_every_deed_has_one_effect_and_the_bank_adds_up_whatever_postgresql_does(
    shop: Client, till: Caller, worker: Supervised, house: House, found_shop: Callable[[str], Client],
    fault: Callable[[House, Random], None], proof_record: Record,
) -> None:  # fmt: skip
    bank, traffic = Bank(found_shop("Bank"), seed=SEED), Traffic(till, seed=SEED)
    traffic.prepare(DEEDS)
    opened = bank.open(processes=3, seconds=LASTS + 2, outlives=True)
    traffic.during(lambda: fault(house, Random(SEED)))
    tally = opened.close()

    traffic.judge()
    assert not tally.wrong, tally.wrong[:5]
    worker.keep_up()
    wait_until(lambda: not waiting(), what="the workers are at work again", seconds=30)
    proof_record.tried(
        DEEDS + tally.done.total(), f"deeds with PostgreSQL {fault.__name__.replace('_', ' ')}", seed=SEED,
        told_to_try_again=sum(traffic.met.values()) + tally.tried_again, wrong_totals=0,
    )  # fmt: skip


@pytest.mark.parametrize("way", ["restarted", "ended sessions"])
def test_r42_of_forty_first_requests_afterwards_none_fails(
    shop: Client, till: Caller, house: House, way: str, proof_record: Record
) -> None:
    ana = new_member("ana")
    tills = [till.twin() for _place in range(40)]
    asks: list[Callable[[], object]] = [lambda one=one: one.ask(f"/members/{ana.pk}/balance") for one in tills]
    with ThreadPoolExecutor(40) as pool:
        at_once(asks, pool=pool)
        if way == "restarted":
            restarted(house, Random(SEED))
        else:
            assert house.end_sessions() > 8
        assert len(at_once(asks, pool=pool)) == 40
    connections.close_all()
    proof_record.tried(40, "first requests after PostgreSQL was restarted or ended all sessions", failed=0)


def test_r42_negative_control_connections_that_nobody_looks_at_fail_after_a_restart(
    shop: Client, house: House, monkeypatch: pytest.MonkeyPatch, proof_record: Record
) -> None:
    connection = connections["default"]

    def first_query() -> int:
        connection.health_check_done = False
        connection.close_if_unusable_or_obsolete()
        return Member.objects.count()

    first_query()
    house.end_sessions()
    first_query()
    monkeypatch.setitem(connection.settings_dict, "CONN_HEALTH_CHECKS", False)
    connection.close()
    first_query()
    house.end_sessions()
    with pytest.raises(OperationalError):
        first_query()
    connections.close_all()
    proof_record.caught("connections that are used again unseen")


def test_r42_a_caller_whose_request_loses_a_deadlock_tries_again(
    shop: Client, till: Caller, house: House, proof_record: Record
) -> None:
    """Another session holds one member and asks for the other, the wrong way round, and is the more patient one."""
    first, second = sorted(new_member(name).pk for name in ("ana", "bob"))
    pick = f'SELECT 1 FROM "{shop.schema_name}".members_member WHERE id = %s FOR UPDATE'
    other = psycopg2.connect(house._within(house.servers.superuser_url))
    cursor = other.cursor()
    with ThreadPoolExecutor(1) as pool:
        cursor.execute("SET deadlock_timeout = '60s'")
        cursor.execute(pick, [str(second)])
        merging = pool.submit(till.insist, f"/members/{first}/merge", {"double": str(second)}, key="K")
        waits = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{house.name}' AND wait_event_type = 'Lock'"
        wait_until(lambda: house.do(waits) == [(1,)], what="the merge waits")
        cursor.execute(pick, [str(first)])
        other.rollback()
        answer, before = merging.result(60)
    other.close()

    assert (before, answer.status_code) == ([503], 200)
    assert Member.objects.filter(status="merged").count() == 1
    proof_record.tried(1, "deadlocks lost by a request that was sent again")


def test_r42_redis_and_the_database_may_go_at_once(
    shop: Client, till: Caller, web: Web, house: House, house_redis: RedisServer, proof_record: Record
) -> None:
    traffic = Traffic(till, seed=SEED + 1)
    traffic.prepare(DEEDS)

    def both() -> None:
        house_redis.kill()
        killed(house, Random(SEED))
        house_redis.start()

    traffic.during(both)
    connections.close_all()

    traffic.judge()
    proof_record.tried(DEEDS, "deeds with PostgreSQL and Redis killed at once", seed=SEED + 1)
