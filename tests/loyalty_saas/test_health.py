"""/livez and /readyz tell the truth, quickly, to whoever asks."""

import socket
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db import connections
from django.test import override_settings

from loyalty_saas import health
from loyalty_saas.health import Heartbeat
from tests.http import ClientBrowser

WORKER = SimpleNamespace(eventer=SimpleNamespace(hostname="test@here"))


@pytest.fixture(autouse=True)
def server() -> Iterator[redis.Redis]:
    """Redis without any worker's sign of life."""
    server = redis.Redis.from_url(settings.REDIS_URL)
    server.delete(health.WORKERS, "worker:test@here")
    yield server
    server.delete(health.WORKERS, "worker:test@here")


@pytest.fixture
def page() -> ClientBrowser:
    return ClientBrowser(None)


@pytest.fixture
def silence() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def point_database(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that points the checks at another port, or at another database."""

    def point(**values: Any) -> None:
        there = {**connections.databases["public"], **values}
        monkeypatch.setattr(health, "connections", SimpleNamespace(databases={"public": there}))

    return point


def test_all_is_well(page: ClientBrowser) -> None:
    Heartbeat()(sender=WORKER)
    answer = page.get("/readyz")
    assert (answer.status_code, answer.json()) == (
        200,
        {"status": "ok", "database": "ok", "redis": "ok", "worker": "ok"},
    )


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_any_host_is_answered(path: str) -> None:
    assert ClientBrowser(None, HTTP_HOST="10.1.2.3:8000").get(path).status_code == 200


def test_without_a_worker_it_is_degraded_and_still_serves(page: ClientBrowser) -> None:
    answer = page.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")


def test_a_worker_that_fell_silent_counts_as_missing(page: ClientBrowser, server: redis.Redis) -> None:
    Heartbeat()(sender=WORKER)
    assert 0 < server.ttl("worker:test@here") <= 15
    server.delete("worker:test@here")
    assert page.get("/readyz").json()["worker"] == "none has been seen for 15 seconds"


@pytest.mark.parametrize(
    ("required", "status"), [("worker", 503), ("redis", 200), ("redis,worker", 503), ("nonsense", 200)]
)
def test_whoever_needs_a_part_asks_for_it(page: ClientBrowser, required: str, status: int) -> None:
    answer = page.get("/readyz", {"require": required})
    assert answer.status_code == status
    assert answer.json()["status"] == ("down" if status == 503 else "degraded")


@pytest.mark.parametrize(("query", "status"), [("", 200), ("?require=redis", 503)])
def test_without_redis_purchases_go_on(page: ClientBrowser, query: str, status: int) -> None:
    with override_settings(REDIS_URL="redis://127.0.0.1:1/0"):
        answer = page.get(f"/readyz{query}")
    assert (answer.status_code, answer.json()["redis"]) == (status, "unreachable")


def test_without_the_database_it_is_down(page: ClientBrowser, point_database: Any) -> None:
    point_database(PORT=1)
    answer = page.get("/readyz")
    assert (answer.status_code, answer.json()["status"], answer.json()["database"]) == (503, "down", "unreachable")


def test_a_wrong_password_is_down_and_is_not_told(page: ClientBrowser, point_database: Any) -> None:
    point_database(PASSWORD="a-secret-that-nobody-sees")
    answer = page.get("/readyz")
    assert (answer.status_code, b"secret" in answer.content) == (503, False)


def test_a_database_without_our_tables_is_down(page: ClientBrowser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "A_TABLE", "public.not_made_yet")
    assert page.get("/readyz").json()["database"] == "not migrated"


def test_silence_everywhere_is_told_within_a_second_and_a_half(
    page: ClientBrowser, point_database: Any, silence: int
) -> None:
    point_database(PORT=silence)
    with override_settings(REDIS_URL=f"redis://127.0.0.1:{silence}/0"):
        begun = time.monotonic()
        answer = page.get("/readyz")
        took = time.monotonic() - begun
    assert (answer.status_code, answer.json()["database"], answer.json()["redis"]) == (503, "no answer", "unreachable")
    assert took < 1.5


def test_livez_needs_nothing(page: ClientBrowser, point_database: Any) -> None:
    point_database(PORT=1)
    with override_settings(REDIS_URL="redis://127.0.0.1:1/0"):
        assert page.get("/livez").json() == {"status": "ok"}


def test_a_worker_without_redis_goes_on_working() -> None:
    with override_settings(REDIS_URL="redis://127.0.0.1:1/0"):
        Heartbeat()(sender=WORKER)


def test_signs_of_life_are_left_every_few_seconds_not_with_every_beat(server: redis.Redis) -> None:
    heartbeat = Heartbeat()
    heartbeat(sender=WORKER)
    server.delete("worker:test@here")
    heartbeat(sender=WORKER)
    assert not server.exists("worker:test@here")


def test_answers_are_not_kept_by_anyone_on_the_way(page: ClientBrowser) -> None:
    assert "no-store" in page.get("/readyz")["Cache-Control"]
