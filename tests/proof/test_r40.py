"""R40: workers die in the middle of their work, and every purchase is credited once."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from members.models import LedgerEntry, WorkItem
from members.queries import set_aside
from members.services.accrual import waiting
from tenants.models import Client
from tests.live import RedisServer, wait_until
from tests.loyalty_saas.shops import sale
from tests.members.world import new_member, points
from tests.proof.bank import Bank
from tests.proof.callers import Caller
from tests.proof.record import PROVING, Record, often
from tests.proof.servers import House, Supervised

SEED = 40
KILLS, PACE = often(6, 30), often(1, 2)
JOBS_A_KILL = 10
AFTERWARDS = 120


@pytest.fixture
def worker(house: House, house_redis: RedisServer, tmp_path: Path) -> Iterator[Supervised]:
    """A worker of the test's own, kept up by the test."""
    one = Supervised(
        tmp_path / "worker.log", redis_server=house_redis, environment={"DATABASE_URL": house.database_url}
    )
    yield one
    one.stop()


def test_r40_jobs_are_done_once_while_children_and_whole_workers_are_killed(
    shop: Client, till: Caller, worker: Supervised, found_shop: Callable[[str], Client], proof_record: Record
) -> None:
    bank = Bank(found_shop("Bank"), seed=SEED) if PROVING else None
    opened = bank.open(processes=2, seconds=KILLS * (PACE + 1)) if bank else None
    chance, jobs, kills = Random(SEED), Jobs(till), Counter[str]()
    worker.keep_up()
    wait_until(worker.children, what="a worker's children")
    for kill in range(KILLS):
        for _job in range(JOBS_A_KILL):
            jobs.send(chance)
        time.sleep(chance.random() * 0.15)
        if kill % 4 == 3:
            worker.kill()
            kills["whole workers"] += 1
        else:
            kills["children"] += worker.kill_child(kill)
        time.sleep(PACE)
        worker.keep_up()
    wait_until(lambda: not waiting(), what="all done", seconds=AFTERWARDS)

    jobs.judge()
    tally = opened.close() if opened else None
    assert tally is None or tally.wrong == []
    assert kills["children"] >= max(1, KILLS // 4)
    proof_record.tried(
        jobs.sent, "jobs that move points, each done once", seed=SEED, killed_children=kills["children"],
        killed_workers=kills["whole workers"], stuck=0,
    )  # fmt: skip
    if tally:
        proof_record.tried(tally.done.total(), "deeds of the bank meanwhile", seed=SEED, wrong_totals=0)


class Jobs:
    """Sales, returns and trips of ten members, and what must come of them."""

    def __init__(self, till: Caller) -> None:
        self.till, self.sent = till, 0
        self.members = [new_member(f"walker {place}") for place in range(10)]
        self.owed: Counter[str] = Counter()
        self.sold: list[tuple[str, str]] = []

    def send(self, chance: Random) -> None:
        """One more."""
        who, self.sent = str(chance.choice(self.members).pk), self.sent + 1
        kind = chance.choice(["sale", "sale", "sale", "trip", "return"])
        if kind == "trip":
            body = {"kind": "trip", "reference": f"T-{self.sent}", "member": who, "properties": {"days": 1}}
            self._send("/activities", body, who, 1000)
        elif kind == "return" and self.sold:
            receipt, who = self.sold.pop(chance.randrange(len(self.sold)))
            body = {"kind": "return", "document": f"B-{self.sent}", "member": who, "sale": receipt}
            self._send("/purchases", body, who, -10)
        else:
            self.sold.append((f"R-{self.sent}", who))
            self._send("/purchases", sale(who, f"R-{self.sent}"), who, 10)

    def _send(self, path: str, body: dict[str, object], who: str, worth: int) -> None:
        answer, _before = self.till.insist(path, body, key=f"job {self.sent}")
        assert answer.status_code == 201, answer.text
        self.owed[who] += worth

    def judge(self) -> None:
        """:raises AssertionError: unless each has had its one effect"""
        assert {str(who.pk): points(who) for who in self.members if points(who)} == {
            who: worth for who, worth in self.owed.items() if worth
        }
        assert LedgerEntry.objects.filter(kind__in=["earn", "reverse"]).count() == self.sent
        assert not set_aside()
        assert not WorkItem.objects.exists()
