"""R41: Redis is emptied, killed, away, unwilling or full; tills go on, and no points are lost or doubled."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
import redis

from loyalty_saas.celery import LONGEST_WAIT, app
from members.services.accrual import waiting
from tenants.context import use_client
from tenants.models import Client
from tests.live import RedisServer, free_port, wait_until
from tests.loyalty_saas.shops import sale
from tests.members.world import new_member, points
from tests.proof.bank import Bank
from tests.proof.callers import Caller
from tests.proof.record import PROVING, Record, often
from tests.proof.servers import House, Supervised, Web

SEED = 41
SALES, AWAY = often(5, 60), often(1, 30)
PATIENCE = 1.0
"""Of a hundred sales while Redis is in trouble, 95 are answered within so many seconds."""
AGAIN = 30
Fault = Callable[[RedisServer], object]


@contextmanager
def flushed(server: RedisServer) -> Iterator[None]:
    """Emptied, with all that was queued."""
    _redis(server).flushall()
    yield


@contextmanager
def killed(server: RedisServer) -> Iterator[None]:
    """Killed, and there again at once."""
    server.kill()
    server.start()
    yield


@contextmanager
def absent(server: RedisServer) -> Iterator[None]:
    """Away for a while."""
    server.kill()
    yield
    time.sleep(AWAY)
    server.start()


@contextmanager
def cut(server: RedisServer) -> Iterator[None]:
    """Every connection is ended, twenty times."""
    for _time in range(20):
        _redis(server).client_kill_filter(_type="normal", skipme=True)
        time.sleep(0.02)
    yield


@contextmanager
def read_only(server: RedisServer) -> Iterator[None]:
    """A replica of a server that is not there: it takes no writes."""
    _redis(server).replicaof("127.0.0.1", "1")
    yield
    _redis(server).replicaof("NO", "ONE")


@contextmanager
def full(server: RedisServer) -> Iterator[None]:
    """No memory is left."""
    _redis(server).config_set("maxmemory", "1")
    yield
    _redis(server).config_set("maxmemory", "0")


FAULTS = [flushed, killed, absent, cut, read_only, full]


def _redis(server: RedisServer) -> "redis.Redis":
    return redis.Redis.from_url(server.url)


def supervised(folder: Path, house: House, server: RedisServer, **more: str) -> Supervised:
    return Supervised(
        folder / "worker.log", redis_server=server, environment={"DATABASE_URL": house.database_url, **more}
    )


@pytest.fixture
def worker(house: House, house_redis: RedisServer, tmp_path: Path) -> Iterator[Supervised]:
    """A worker that is at work when the test begins."""
    one = supervised(tmp_path, house, house_redis)
    one.keep_up()
    wait_until(lambda: len(one.children()) >= 2, what="a worker's children")
    yield one
    one.stop()


def test_r41_tills_go_on_and_points_follow_whatever_redis_does(
    shop: Client, till: Caller, worker: Supervised, house_redis: RedisServer,
    found_shop: Callable[[str], Client], proof_record: Record,
) -> None:  # fmt: skip
    bank = Bank(found_shop("Bank"), seed=SEED) if PROVING else None
    opened = bank.open(processes=2, seconds=len(FAULTS) * 15 + AWAY) if bank else None
    ana, chance, sold, took = new_member("ana"), Random(SEED), 0, list[float]()
    for fault in FAULTS:
        with fault(house_redis):
            for _sale in range(SALES):
                sold += 1
                begun = time.monotonic()
                assert till.tell("/purchases", sale("ana", f"R-{sold}", 10_000)).status_code == 201
                took.append(time.monotonic() - begun)
                time.sleep(chance.random() * 0.02)
            redeem(till)
        worth = sold * 100
        wait_until(
            lambda worth=worth: points(ana) == worth,
            what=f"points after: {fault.__name__}", seconds=AGAIN, unless=lambda: not worker.runs,
        )  # fmt: skip

    tally = opened.close() if opened else None
    assert tally is None or tally.wrong == []
    assert not waiting()
    slow = sorted(took)[len(took) * 95 // 100]
    # In CI everything shares two cores with everything else.
    assert slow < PATIENCE or not PROVING, f"p95 of a sale: {slow:.2f} s"
    proof_record.tried(
        sold, "sales and a redemption each time, with Redis " + ", ".join(f.__name__.replace("_", "-") for f in FAULTS),
        seed=SEED, lost=0, doubled=0, workers_ended=worker.starts - 1, p95_of_a_sale=f"{slow * 1000:.0f} ms",
    )  # fmt: skip
    if tally:
        proof_record.tried(tally.done.total(), "deeds of the bank meanwhile", seed=SEED, wrong_totals=0)


def test_r41_a_worker_looks_for_redis_again_at_least_every_two_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("kombu.utils.functional.sleep", lambda seconds: None)

    with (
        app.connection_for_read(url=f"redis://127.0.0.1:{free_port()}/0") as nowhere,
        pytest.raises(Exception, match="refused"),
    ):
        nowhere.ensure_connection(lambda _error, wait: waits.append(wait), 12, reraise_as_library_errors=False)

    assert (len(waits), waits[0], max(waits)) == (12, 0.2, LONGEST_WAIT)


def redeem(till: Caller) -> None:
    """A mug for Ana, handed over; she has points for one from somebody's kindness."""
    given = {"member": "ana", "unit": "points", "amount": 40, "reason": "Kindness"}
    assert till.tell("/adjustments", given).status_code == 201
    held = till.tell("/redemptions", {"member": "ana", "reward": "mug"})
    assert held.status_code == 201, held.text
    assert till.tell(f"/redemptions/{held.json()['id']}/capture").status_code == 200


def test_r41_negative_control_work_known_to_redis_alone_would_be_lost(
    shop: Client, till: Caller, web: Web, found_shop: Callable[[str], Client], house: House, house_redis: RedisServer,
    tmp_path: Path, proof_record: Record,
) -> None:  # fmt: skip
    """Without the sweep, which looks into the database, a hint that was lost is lost for good."""
    new_member("ana")
    neighbour = found_shop("Neighbour")
    assert till.tell("/purchases", sale("ana", "R-1")).status_code == 201
    _redis(house_redis).flushall()
    with use_client(neighbour):
        bea = new_member("bea")
    one = supervised(tmp_path, house, house_redis, SWEEP_SECONDS="1000")
    try:
        one.keep_up()
        assert Caller(neighbour, port=web.port).tell("/purchases", sale("bea", "R-1")).status_code == 201
        with use_client(neighbour):
            wait_until(lambda: points(bea) == 10, what="points whose hint is there", seconds=60)
        assert waiting() == 1
    finally:
        one.stop()
    proof_record.caught("work that only Redis knows of")
