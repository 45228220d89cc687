"""One client's backlog does not hold up another's sale: drains take turns, in the order in which they were asked for."""

import math
from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from loyalty_saas import tasks, workers
from loyalty_saas.celery import app
from loyalty_saas.flows import purchases as flow
from loyalty_saas.tasks import drain
from members.models import LedgerEntry
from members.services.accrual import Credited, waiting
from tenants.context import client_context, use_client
from tenants.models import Client
from tests.conftest import NewClient
from tests.live import Worker, wait_until
from tests.loyalty_saas.backlogs import add_backlog
from tests.members.world import buy, line, new_member
from tests.members.world import live as go_live

BACKLOG = 6_000
# By the clock of these tests, which only batches move.
A_BATCH = 0.1


@pytest.fixture
def big(new_client: NewClient) -> Client:
    """A client whose purchases wait."""
    client = new_client("Big")
    with use_client(client):
        go_live()
        add_backlog(BACKLOG, members=1_000)
    return client


@pytest.fixture
def small(new_client: NewClient) -> Client:
    """A client with a member, and nothing that waits."""
    client = new_client("Small")
    with use_client(client):
        go_live()
        new_member("ana")
    return client


class Line:
    """The queue of drains with one worker, and a clock that only batches move; `done` is what was credited, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: deque[str] = deque()
        self.done: list[tuple[str, int]] = []
        self.now = 0.0
        self.after_batch: Callable[[str], None] = lambda _schema: None
        self._credit = flow.credit_next_batch
        clock = SimpleNamespace(monotonic=lambda: self.now, sleep=lambda _seconds: None)
        monkeypatch.setattr(tasks, "time", clock)
        monkeypatch.setattr(workers, "wake", self.asked.append)
        monkeypatch.setattr(workers, "begun", lambda _name: None)
        monkeypatch.setattr(workers, "send_once", lambda **_given: True)
        monkeypatch.setattr(flow, "credit_next_batch", self._batch)

    def _batch(self, **given: Any) -> Credited:
        credited = self._credit(**given)
        schema_name = tasks.current_client().schema_name
        self.done.append((schema_name, credited.purchases))
        self.now += A_BATCH
        self.after_batch(schema_name)
        return credited

    def work(self, *, until: Callable[[], bool]) -> None:
        """Let the worker do what was asked for, first things first."""
        while self.asked and not until():
            drain(schema_name=self.asked.popleft())


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Line:
    """The queue."""
    return Line(monkeypatch)


def sell_amid_a_turn(queue: Line, *, big: Client, small: Client) -> None:
    """A till of the small client sells while the big one's second batch is under way."""

    def sell(schema_name: str) -> None:
        if schema_name == big.schema_name and len(queue.done) == 2:
            # As the endpoint's process does, on a connection of its own.
            queue.asked.append(small.schema_name)

    with use_client(small):
        ana = small_member()
        buy(ana, receipt="R-1", lines=[line(100)])
    # Publishing has asked for drains as well.
    queue.asked.clear()
    queue.after_batch = sell
    queue.asked.append(big.schema_name)


def small_member() -> Any:
    """The small client's member."""
    from members.models import Member

    return Member.objects.get()


def is_credited(client: Client) -> bool:
    """Whether nothing waits there any more."""
    with use_client(client):
        return not waiting()


def test_a_single_sale_waits_for_no_more_than_the_turn_that_is_under_way(
    queue: Line, big: Client, small: Client
) -> None:
    sell_amid_a_turn(queue, big=big, small=small)
    queue.work(until=lambda: is_credited(small))

    batches = [schema_name for schema_name, purchases in queue.done if purchases]
    assert batches[-1] == small.schema_name
    assert 2 <= batches.count(big.schema_name) <= tasks.TURN_SECONDS / A_BATCH + 1
    assert not is_credited(big)
    # It comes again behind the others, and goes on where it stopped.
    assert list(queue.asked) == [big.schema_name]
    queue.work(until=lambda: is_credited(big))
    with use_client(big):
        assert LedgerEntry.objects.count() == BACKLOG


def test_negative_control_without_turns_the_sale_waits_for_the_whole_backlog(
    queue: Line, big: Client, small: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "TURN_SECONDS", math.inf)
    sell_amid_a_turn(queue, big=big, small=small)
    queue.work(until=lambda: is_credited(small))

    assert is_credited(big)


def test_a_turn_begins_small_and_grows_only_as_far_as_its_time_allows(
    queue: Line, big: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[int] = []

    def batch(*, limit: int, **_given: Any) -> Credited:
        limits.append(limit)
        queue.now += pace * limit
        return Credited(purchases=limit)

    monkeypatch.setattr(flow, "credit_next_batch", batch)
    pace = 0.0001
    drain(schema_name=big.schema_name)
    quick, limits[:] = list(limits), []
    pace = 0.001
    drain(schema_name=big.schema_name)

    assert (quick[:3], set(quick[2:])) == ([50, 200, 500], {500})
    # Four times as many would take longer than a whole turn is long after that.
    assert limits == [50, 200]


def test_a_member_held_for_a_moment_is_tried_again_before_the_turn_ends(
    queue: Line, small: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [Credited(), Credited(purchases=1), Credited(), Credited()]
    monkeypatch.setattr(flow, "credit_next_batch", lambda **_given: answers.pop(0))
    with use_client(small):
        buy(small_member(), receipt="R-1", lines=[line(100)])

    assert drain(schema_name=small.schema_name) == 1


def test_a_real_worker_with_one_process_takes_turns(big: Client, small: Client, worker: Worker) -> None:
    """Redis and Celery keep the order: the sale that was announced second is credited amid the backlog."""
    with use_client(big):
        add_backlog(3 * BACKLOG, members=1_000)
    with use_client(small):
        buy(small_member(), receipt="R-1", lines=[line(100)])
    send = [("big", big), ("small", small)]
    with app.connection_for_write(worker.redis.url) as connection:
        for _name, client in send:
            drain.apply_async(kwargs={"schema_name": client.schema_name}, connection=connection)
    worker.start()
    wait_until(lambda: is_credited(small), what="the sale is credited", seconds=60)

    with client_context(big.schema_name):
        before, left = LedgerEntry.objects.exists(), waiting()
    worker.kill()
    assert before
    assert left


def test_only_drains_and_their_sweep_are_in_the_queue_that_members_wait_for() -> None:
    ours = {name: task for name, task in app.tasks.items() if name.startswith("loyalty_saas.")}
    quick = {name.rpartition(".")[2] for name, task in ours.items() if getattr(task, "queue", None) == tasks.DRAINS}

    assert quick == {"drain", "sweep"}
    assert {queue.name for queue in app.conf.task_queues} == {tasks.DRAINS, app.conf.task_default_queue}
    assert app.conf.worker_prefetch_multiplier == 1
