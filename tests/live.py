"""
The product as it runs: web server, Celery worker and Redis as processes of their own, over the tests' database.

`live(client)` speaks HTTP to a client's host, `worker` can be started, killed and stopped, `live_redis` taken away.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING, Any

import pytest
import redis
import requests

from loyalty_saas import embedded

if TYPE_CHECKING:
    from tenants.models import Client

PROJECT = Path(__file__).resolve().parent.parent
PATIENCE = 30.0


class Program:
    """A process that a test may start, kill and stop."""

    def __init__(self, *command: str, environment: dict[str, str], log: Path) -> None:
        self.command, self.environment, self.log = command, environment, log
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def runs(self) -> bool:
        """Whether it is there."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start it, and wait until it works."""
        assert not self.runs
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=PROJECT,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(self.is_ready, what=f"{Path(self.command[0]).name} (see {self.log})", unless=lambda: not self.runs)

    def is_ready(self) -> bool:
        """Whether it does its work."""
        return self.runs

    def kill(self) -> None:
        """Kill it and its children with no chance to tidy up."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Let it end by itself."""
        self._end(signal.SIGTERM)

    def _end(self, sign: signal.Signals) -> None:
        if self.process is None:
            return
        with suppress(ProcessLookupError):
            if sign == signal.SIGKILL:
                os.killpg(self.process.pid, sign)
            else:
                self.process.send_signal(sign)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(PATIENCE)


class RedisServer(Program):
    """A Redis that can be taken away and given back, on the same port, empty."""

    def __init__(self, log: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        program = next(path for path in embedded._redis_programs() if path.exists())
        options = (
            "--bind",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            str(log.parent),
        )
        super().__init__(str(program), *options, environment={}, log=log)

    def is_ready(self) -> bool:
        with suppress(redis.RedisError):
            return bool(redis.Redis.from_url(self.url).ping())
        return False


class Worker(Program):
    """A Celery worker with its scheduler."""

    def __init__(self, log: Path, *, redis_server: RedisServer) -> None:
        self.redis = redis_server
        celery = (sys.executable, "-m", "celery", "-A", "loyalty_saas", "worker", "--concurrency", "1")
        schedule = ("--beat", "--schedule", str(log.with_suffix(".schedule")), "--loglevel", "WARNING")
        super().__init__(*celery, *schedule, environment=_environment(redis_server), log=log)

    def is_ready(self) -> bool:
        with suppress(redis.RedisError):
            return any(one["cmd"] == "brpop" for one in redis.Redis.from_url(self.redis.url).client_list())
        return False


class WebServer(Program):
    """granian with the WSGI application."""

    def __init__(self, log: Path, *, redis_server: RedisServer) -> None:
        self.port = free_port()
        granian = (
            sys.executable,
            "-m",
            "granian",
            "--interface",
            "wsgi",
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
        )
        options = ("--workers", "1", "--blocking-threads", "4", "loyalty_saas.wsgi:application")
        super().__init__(*granian, *options, environment=_environment(redis_server), log=log)

    def is_ready(self) -> bool:
        with suppress(requests.RequestException):
            return requests.get(f"http://127.0.0.1:{self.port}/livez", timeout=2).status_code < 500
        return False


class LiveBrowser(requests.Session):
    """HTTP to one host of the live web server, by path: ``live(client).post("/api/v1/purchases/", json=…)``."""

    def __init__(self, *, port: int, host: str) -> None:
        super().__init__()
        self.trust_env = False
        self.address, self.headers["Host"] = f"http://127.0.0.1:{port}", f"{host}:{port}"

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        """Send it to the path `url` of the host."""
        kwargs.setdefault("timeout", PATIENCE)
        path = url if isinstance(url, str) else url.decode()
        return super().request(method, f"{self.address}{path}" if path.startswith("/") else path, *args, **kwargs)


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_until(
    condition: Callable[[], Any],
    *,
    what: str = "",
    seconds: float = PATIENCE,
    unless: Callable[[], bool] = lambda: False,
) -> None:
    """Ask again and again until `condition` holds. :raises AssertionError: if it does not in time, or `unless` does"""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"Not within {seconds} s: {what or condition}"
        assert not unless(), f"Ended early: {what or condition}"
        time.sleep(0.05)


def _environment(redis_server: RedisServer) -> dict[str, str]:
    return {"REDIS_URL": redis_server.url, "CELERY_VISIBILITY_TIMEOUT": "5", "SWEEP_SECONDS": "1", "SPARE_SCHEMAS": "2"}


# ── fixtures ────────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _ended(program: Program) -> Iterator[Any]:
    try:
        yield program
    finally:
        program.stop()


@pytest.fixture(scope="session")
def _session_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with _ended(RedisServer(tmp_path_factory.mktemp("redis") / "redis.log")) as server:
        yield server


@pytest.fixture(scope="session")
def _session_web(_session_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    with _ended(WebServer(tmp_path_factory.mktemp("web") / "web.log", redis_server=_session_redis)) as server:
        yield server


@pytest.fixture
def live_redis(_session_redis: RedisServer) -> RedisServer:
    """The Redis of the live processes, running when the test begins; the test may stop it and start it again."""
    if not _session_redis.runs:
        _session_redis.start()
    return _session_redis


@pytest.fixture
def live_server_url(live_redis: RedisServer, _session_web: WebServer) -> Callable[[str], str]:
    """`live_server_url(host)`: the address of a host on the live web server, for browsers that know `.localhost`."""
    if not _session_web.runs:
        _session_web.start()
    return lambda host: f"http://{host}:{_session_web.port}"


@pytest.fixture
def live(live_server_url: Callable[[str], str], _session_web: WebServer) -> Callable[..., LiveBrowser]:
    """`live(client)` speaks HTTP to that client's host on the live web server, `live(None)` to the platform's."""
    from django.conf import settings

    def browse(client: "Client | None") -> LiveBrowser:
        host = client.domains.get(is_primary=True).host if client else settings.PLATFORM_HOST
        return LiveBrowser(port=_session_web.port, host=host)

    return browse


@pytest.fixture
def worker(live_redis: RedisServer, tmp_path: Path) -> Iterator[Worker]:
    """A Celery worker of the test's own, not started yet; `worker.start()`, `worker.kill()`, `worker.stop()`."""
    with _ended(Worker(tmp_path / "worker.log", redis_server=live_redis)) as program:
        yield program
