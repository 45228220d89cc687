"""The product as it runs: granian, workers and Redis as processes of their own, and callers who speak HTTP to them."""

import hashlib
import json
import secrets
import selectors
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import redis
from django.conf import settings
from django.utils import timezone

from loyalty_saas.processes import Processes, answers, free_port
from tenants.keys import random_code
from tenants.models import ApiKey, Client
from tenants.services.api_keys import CLIENT_SCOPES

_PATIENCE = 30.0


class NotAnswered(Exception):
    """The server refused, or did not answer in time."""


@contextmanager
def running(*, worker: bool = False) -> Iterator[int]:
    """The web server, and if asked for a worker with one process, until the end; the port."""
    port = free_port(9100)
    redis.Redis.from_url(settings.REDIS_URL).flushdb()
    processes = Processes(logs=settings.STATE_DIR / "logs", environment=_environment())
    try:
        processes.start(
            "web", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
            "--blocking-threads", "8", "--no-access-log", "benchmarks.wsgi:application",
        )  # fmt: skip
        if worker:
            start_worker(processes)
        if not answers(f"http://127.0.0.1:{port}/livez", host=settings.PLATFORM_HOST, seconds=_PATIENCE):
            raise NotAnswered(f"The web server does not answer; see {processes.log_of('web')}.")
        yield port
    finally:
        processes.stop()


@contextmanager
def working() -> Iterator[None]:
    """A worker with one process, which serves all queues, until the end."""
    redis.Redis.from_url(settings.REDIS_URL).flushdb()
    processes = Processes(logs=settings.STATE_DIR / "logs", environment=_environment())
    try:
        start_worker(processes)
        yield
    finally:
        processes.stop()


def start_worker(processes: Processes) -> None:
    """One process for everything: the least there can be."""
    processes.start(
        "worker", "celery", "-A", "loyalty_saas", "worker", "--loglevel", "WARNING", "--concurrency", "1",
        "--without-mingle", "--without-gossip",
    )  # fmt: skip
    server, until = redis.Redis.from_url(settings.REDIS_URL), time.monotonic() + _PATIENCE
    while not any(one["cmd"] == "brpop" for one in server.client_list()):
        if processes.ended() or time.monotonic() > until:
            raise NotAnswered(f"The worker does not work; see {processes.log_of('worker')}.")
        time.sleep(0.05)


def _environment() -> dict[str, str]:
    """The settings of production on the benchmarks' servers."""
    return {
        "DEBUG": "0",
        "SECRET_KEY": settings.SECRET_KEY,
        "DATABASE_URL": settings.DATABASE_URL,
        "REDIS_URL": settings.REDIS_URL,
        "PLATFORM_HOST": settings.PLATFORM_HOST,
        "CLIENT_HOST_SUFFIX": settings.CLIENT_HOST_SUFFIX,
        "STATE_DIR": str(settings.STATE_DIR),
        "PUBLIC_SCHEME": "http",
        "LOG_LEVEL": "WARNING",
    }


# ── callers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Machine:
    """A till's machine at a client's host."""

    client: Client
    host: str
    token: str

    @staticmethod
    def of(client: Client) -> "Machine":
        """With a key of its own, written past the service that would tell the audit log of it for good."""
        prefix, secret = random_code(12), secrets.token_hex(32)
        ApiKey.objects.create(
            client=client, name="bench", prefix=prefix, secret_hash=hashlib.sha256(secret.encode()).hexdigest(),
            scopes=sorted(CLIENT_SCOPES), created_at=timezone.now(),
        )  # fmt: skip
        return Machine(client, client.domains.get(is_primary=True).host, f"lk_{prefix}_{secret}")

    def post(self, path: str, body: dict[str, Any]) -> bytes:
        """A request as it goes over the wire, with an idempotency key of its own."""
        written = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self.host}\r\nAuthorization: Bearer {self.token}\r\n"
            f"Idempotency-Key: {secrets.token_hex(16)}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(written)}\r\n\r\n"
        )
        return head.encode() + written

    def get(self, path: str) -> bytes:
        """A request as it goes over the wire."""
        return f"GET {path} HTTP/1.1\r\nHost: {self.host}\r\nAuthorization: Bearer {self.token}\r\n\r\n".encode()


@dataclass
class Call:
    """A request on its way: which one, since when, and what has come back."""

    place: int = -1
    since: float = 0.0
    answer: bytearray = field(default_factory=bytearray)

    def is_whole(self) -> bool:
        """Whether all of the answer is there. :raises NotAnswered: if it says no"""
        head, found, body = bytes(self.answer).partition(b"\r\n\r\n")
        if not found:
            return False
        if not head.startswith(b"HTTP/1.1 2"):
            raise NotAnswered((head + b" " + body)[:600].decode())
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        return len(body) >= int(length.partition(b":")[2])


class Callers:
    """Open connections over which requests go out one after the other; their clock is `time.perf_counter`."""

    def __init__(self, *, port: int, connections: int) -> None:
        self._selector = selectors.DefaultSelector()
        self._free: list[socket.socket] = []
        self._calls: dict[socket.socket, Call] = {}
        for _connection in range(connections):
            line = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE)
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(line, selectors.EVENT_READ)
            self._free.append(line)

    def close(self) -> None:
        """Hang up."""
        for line in [*self._free, *self._calls]:
            line.close()
        self._selector.close()

    def pound(self, requests: Sequence[bytes]) -> float:
        """Requests a second, with one on its way over every connection at all times."""
        began = time.perf_counter()
        self._run(requests, due=lambda _place: 0.0, note=lambda _place, _since, _until: None)
        return len(requests) / (time.perf_counter() - began)

    def keep_rate(
        self, requests: Sequence[bytes], *, rate: float, began: float, note: Callable[[int, float, float], None]
    ) -> None:
        """So many requests a second, come what may; `note` is told of each when it was due and when it was answered."""
        self._run(requests, due=lambda place: began + place / rate, note=note)

    def _run(
        self, requests: Sequence[bytes], *, due: Callable[[int], float], note: Callable[[int, float, float], None]
    ) -> None:
        sent = answered = 0
        while answered < len(requests):
            while sent < len(requests) and self._free and due(sent) <= time.perf_counter():
                self._send(requests[sent], place=sent, since=due(sent))
                sent += 1
            waits_until = due(sent) if sent < len(requests) and self._free else None
            for call in self._received(waits_until):
                note(call.place, call.since, time.perf_counter())
                answered += 1

    def _send(self, request: bytes, *, place: int, since: float) -> None:
        line = self._free.pop()
        self._calls[line] = Call(place, since)
        line.sendall(request)

    def _received(self, waits_until: float | None) -> Iterator[Call]:
        patience = _PATIENCE if waits_until is None else max(0.0, waits_until - time.perf_counter())
        events = self._selector.select(patience)
        if not events and waits_until is None:
            raise NotAnswered("Nothing was answered for half a minute.")
        for key, _mask in events:
            line: Any = key.fileobj
            call = self._calls[line]
            call.answer += line.recv(65536)
            if call.is_whole():
                del self._calls[line]
                self._free.append(line)
                yield call
