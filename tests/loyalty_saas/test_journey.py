"""The main journey with real processes: a till over HTTP, Redis, a worker; and what happens when some of them die."""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
import redis
import requests
from django.core.management import call_command

from loyalty_saas import workers
from loyalty_saas.celery import app as celery
from loyalty_saas.flows import purchases as flow
from loyalty_saas.flows.programs import publish
from loyalty_saas.tasks import drain
from members.models import LedgerEntry, Member, RuleTrace, WorkItem
from members.queries import client_figures, set_aside
from members.services import accrual, insights
from members.services.accrual import waiting
from tenants.context import use_client
from tenants.models import Client, WaitingClient
from tests.conftest import NewClient
from tests.live import PROJECT, LiveBrowser, RedisServer, Worker, wait_until
from tests.machines import API, new_key
from tests.members import invariants
from tests.members.world import (
    NOON,
    PENNY,
    buy,
    credit,
    fixed,
    level,
    line,
    new_member,
    points,
    program,
    rule,
    times,
    when,
)
from tests.members.world import live as go_live

CDNOW = PROJECT / "data" / "cdnow_sample.csv.gz"
PENNY_CLUB = PROJECT / "data" / "penny.program.json"
# With Redis away, the till must not wait for it.
AT_ONCE = 2.0
Live = Callable[[Client], LiveBrowser]


class Till:
    """A machine at the live web server, on one client's host."""

    def __init__(self, browser: LiveBrowser, client: Client) -> None:
        self.browser = browser
        self.browser.headers["Authorization"] = f"Bearer {new_key(client=client)[1]}"

    def post(self, path: str, body: dict[str, Any]) -> requests.Response:
        return self.browser.post(API + path, json=body, headers={"Idempotency-Key": secrets.token_hex(8)})

    def get(self, path: str) -> dict[str, Any]:
        answer = self.browser.get(API + path)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def sell(self, member: str, receipt: str, amount: int) -> requests.Response:
        lines = [{"sku": "tea", "quantity": 1, "amount": amount}]
        return self.post("/purchases", {"kind": "sale", "document": receipt, "member": member, "lines": lines})

    def points(self, member: str) -> int:
        return int(self.get(f"/members/{member}/balance")["balances"][0]["balance"])


@pytest.fixture
def club(acme: Client) -> Iterator[Client]:
    """Acme with a program; its books add up when the test ends."""
    publish(
        document=program(
            PENNY,
            rule("welcome", fixed(50), trigger="sign_up"),
            rule("silver-bonus", times("2", "penny"), trigger="line", conditions=[when("tier", "eq", "silver")]),
            tiers={"basis": "spend", "period_months": 12, "levels": [level("silver", 5000)]},
            offers=[{"code": "hello", "name": "Hello", "segments": ["new"], "text": "Come again."}],
        ),
        at=NOON,
    )
    yield acme
    invariants.check(acme)


@pytest.fixture
def till(club: Client, live: Live) -> Till:
    """A till of Acme."""
    return Till(live(club), club)


@pytest.fixture
def music(new_client: NewClient) -> Client:
    """A shop with the penny program, and the CDNOW log recorded but not credited."""
    client = new_client("Music", currency="USD", time_zone="America/New_York")
    call_command("publish_program", str(PENNY_CLUB), "--client", client.slug)
    call_command("import_purchases", str(CDNOW), "--client", client.slug)
    with use_client(client):
        assert waiting() == 6919
    return client


def is_whole(client: Client) -> bool:
    """Whether the CDNOW log is credited to the point, nothing is left and nothing doubled."""
    with use_client(client):
        figures = client_figures(top=1)
        entries, traces, left = LedgerEntry.objects.count(), RuleTrace.objects.count(), WorkItem.objects.count()
    exact = (figures["sales"], figures["members"], figures["balance"], figures["top_members"])
    invariants.check(client)
    # Eight of the purchases are worth nothing.
    return (*exact, entries, traces, left) == (
        6919,
        2357,
        24_409_194,
        [{"member": "19339", "balance": 655_270}],
        6911,
        6919,
        0,
    )


# ── the journey ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_sale_at_the_till_becomes_points_a_tier_and_an_offer(club: Client, till: Till, worker: Worker) -> None:
    worker.start()
    assert till.post("/members", {"name": "Ana", "identifiers": {"pos": "ana"}}).status_code == 201
    answer = till.sell("ana", "R-1", 6000)
    assert answer.status_code == 201, answer.text
    assert (answer.json()["credits"], answer.json()["points_follow"]) == ([{"amount": 6000, "unit": "points"}], False)

    wait_until(lambda: till.get(f"/purchases/{answer.json()['id']}")["credit"] == "credited", what="credited")
    wait_until(lambda: till.points("ana") == 6050, what="6000 and 50 for joining")
    assert till.get("/members/ana/tier")["tier"]["code"] == "silver"
    assert till.get("/members/ana/offer")["offer"]["code"] == "hello"
    assert [trace["result"] for trace in till.get(f"/purchases/{answer.json()['id']}")["traces"]].count("fired") == 1

    # The tier reached counts for the next one, and the till says so.
    shown = till.sell("ana", "R-2", 100).json()["credits"]
    assert shown == [{"amount": 200, "unit": "points"}]
    wait_until(lambda: till.points("ana") == 6250, what="200 more")
    back = till.post("/purchases", {"kind": "return", "document": "B-1", "sale": "R-2", "member": "ana"})
    assert back.status_code == 201, back.text
    wait_until(lambda: till.points("ana") == 6050, what="200 taken back")


def test_r41_without_redis_sales_are_taken_at_once_and_points_follow_when_it_is_back(
    club: Client, till: Till, worker: Worker, live_redis: RedisServer
) -> None:
    ana = new_member("ana")
    worker.start()
    assert till.sell("ana", "R-0", 100).status_code == 201
    wait_until(lambda: points(ana) == 100, what="the first points")

    live_redis.kill()
    for n in range(1, 6):
        began = time.monotonic()
        answer = till.sell("ana", f"R-{n}", 100)
        assert (answer.status_code, answer.json()["points_follow"]) == (201, True)
        assert time.monotonic() - began < AT_ONCE
    assert till.points("ana") == 100

    live_redis.start()
    wait_until(lambda: points(ana) == 600, what="points that follow", seconds=60)
    assert LedgerEntry.objects.filter(kind="earn").count() == 6


def test_r41_a_hint_that_was_lost_is_found_by_the_sweep(
    club: Client, till: Till, worker: Worker, live_redis: RedisServer
) -> None:
    ana = new_member("ana")
    assert till.sell("ana", "R-1", 100).json()["points_follow"] is False
    redis.Redis.from_url(live_redis.url).flushall()
    assert WaitingClient.objects.filter(pk=club.schema_name).exists()

    worker.start()
    wait_until(lambda: points(ana) == 100, what="points without a hint")
    wait_until(lambda: not WaitingClient.objects.filter(pk=club.schema_name).exists(), what="nothing is noted any more")


# ── death ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_r40_a_worker_killed_again_and_again_loses_and_doubles_nothing(music: Client, worker: Worker) -> None:
    chance, kills_inside = Random(7), 0
    with use_client(music):
        while kills_inside < 5 and (before := waiting()):
            worker.start()
            wait_until(lambda before=before: waiting() < before, what="a batch", seconds=60)
            time.sleep(chance.random() * 0.15)
            worker.kill()
            kills_inside += waiting() > 0
        worker.start()
        wait_until(lambda: not waiting(), what="all credited", seconds=60)
        assert not set_aside()

    assert kills_inside >= 2
    assert is_whole(music)


def test_r40_two_workers_credit_each_purchase_once(music: Client, worker: Worker, tmp_path: Path) -> None:
    second = Worker(tmp_path / "second.log", redis_server=worker.redis)
    try:
        worker.start()
        second.start()
        with use_client(music):
            wait_until(lambda: not waiting(), what="all credited", seconds=60)
    finally:
        second.stop()

    assert is_whole(music)


def test_r41_redis_killed_while_a_worker_is_at_work_loses_and_doubles_nothing(
    music: Client, worker: Worker, live_redis: RedisServer
) -> None:
    """The worker outlives it, though it holds a task that it can neither finish nor give back."""
    worker.start()
    with use_client(music):
        wait_until(lambda: waiting() < 6919, what="a batch")
        live_redis.kill()
        time.sleep(0.5)
        live_redis.start()
        wait_until(lambda: not waiting(), what="all credited", seconds=60)

    assert worker.runs
    assert is_whole(music)


def test_r41_a_worker_outlives_redis_killed_again_and_again_under_load(
    club: Client, worker: Worker, live_redis: RedisServer
) -> None:
    """Killed between many short tasks, so that now and then an acknowledgement is the first to meet the closed door."""
    ana, chance = new_member("ana"), Random(3)
    worker.start()
    for turn in range(1, 5):
        with celery.connection_for_write(live_redis.url) as connection:
            for _hint in range(100):
                drain.apply_async(kwargs={"schema_name": club.schema_name}, connection=connection)
        time.sleep(chance.random() * 0.3)
        live_redis.kill()
        time.sleep(0.3)
        live_redis.start()
        buy(ana, receipt=f"R-{turn}", lines=[line(100)])
        wait_until(lambda turn=turn: points(ana) == 100 * turn, what="points", unless=lambda: not worker.runs)


class Killed(BaseException):
    """The process ends here."""


def _dies(*_args: Any, **_given: Any) -> None:
    raise Killed


@pytest.fixture
def three_sales(acme: Client) -> Member:
    """Ana of Acme, who bought for 300 and was not credited."""
    go_live()
    ana = new_member("ana")
    for n in range(3):
        buy(ana, receipt=f"R-{n}", lines=[line(100)])
    return ana


def test_r40_death_in_the_middle_of_a_batch_leaves_nothing_behind(
    acme: Client, three_sales: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(insights, "save", _dies)
        with pytest.raises(Killed):
            flow.credit_next_batch(at=NOON)
    invariants.check(acme)
    assert (waiting(), credit(), points(three_sales)) == (3, 3, 300)
    invariants.check(acme)


def test_r40_negative_control_a_worker_that_takes_its_work_away_first_loses_it(
    acme: Client, three_sales: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same death, if the work items went in a transaction of their own before the points came."""

    def take_away(batch: accrual.Batch) -> None:
        WorkItem.objects.filter(pk__in=[item.source_id for item in batch.items]).delete()
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(accrual.Batch, "run", take_away)
        patch.setattr(flow, "transaction", SimpleNamespace(atomic=nullcontext))
        with pytest.raises(Killed):
            flow.credit_next_batch(at=NOON)
    assert (waiting(), credit(), points(three_sales)) == (0, 0, 0)


def test_r40_negative_control_half_a_batch_is_refused_by_the_database_itself(
    acme: Client, three_sales: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a transaction the first entries, whose lots are yet to come, are not let in; their traces stand alone."""
    with monkeypatch.context() as patch:
        patch.setattr(flow, "transaction", SimpleNamespace(atomic=nullcontext))
        credit()
    assert (points(three_sales), set_aside().count(), LedgerEntry.objects.count()) == (0, 3, 0)
    with pytest.raises(AssertionError, match="every earning is the sum of its traces"):
        invariants.check(acme)


def test_workers_are_woken_once_for_many_sales(acme: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message for each purchase would cost more than the purchase."""
    sent: list[Any] = []
    monkeypatch.setattr(drain, "apply_async", lambda **given: sent.append(given))
    for _sale in range(10):
        assert workers.wake(acme.schema_name)
    assert len(sent) == 1
    workers.begun(f"drain:{acme.schema_name}")
    workers.wake(acme.schema_name)
    assert len(sent) == 2
