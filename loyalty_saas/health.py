"""/livez and /readyz: the truth about the database, Redis and the workers, told within a second and a half."""

import selectors
import time
from typing import Any

import psycopg2
import redis
from celery.signals import heartbeat_sent
from django.conf import settings
from django.db import connections
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from tenants.access import Actor, admits
from tenants.routers import PUBLIC

OK = "ok"
A_TABLE = "public.tenants_client"
WORKERS = "workers"
HEARTBEAT_SECONDS = 15
DATABASE_SECONDS = 0.8
REDIS_SECONDS = 0.3
_BEAT_EVERY = 4.0


@admits(Actor.ANYONE)
@require_safe
@never_cache
def livez(request: HttpRequest) -> JsonResponse:
    """The process answers."""
    return JsonResponse({"status": OK})


@admits(Actor.ANYONE)
@require_safe
@never_cache
def readyz(request: HttpRequest) -> JsonResponse:
    """
    What stands behind the process. Without the database: down, 503. Without Redis or workers: degraded, 200, since
    purchases are still accepted, unless ``?require=redis,worker`` asks for them.
    """
    parts = {"database": database_state(), **redis_states()}
    needed = {"database", *request.GET.get("require", "").split(",")} & set(parts)
    down = any(parts[name] != OK for name in needed)
    degraded = any(state != OK for state in parts.values())
    status = "down" if down else "degraded" if degraded else OK
    return JsonResponse({"status": status, **parts}, status=503 if down else 200)


def database_state() -> str:
    """``ok``, or why not, found out on a connection of its own that cannot keep us waiting."""
    deadline = time.monotonic() + DATABASE_SECONDS
    connection = None
    try:
        connection = psycopg2.connect(**_login(), async_=True)
        _wait(connection, deadline)
        cursor = connection.cursor()
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [A_TABLE])
        _wait(connection, deadline)
        (migrated,) = cursor.fetchone() or (False,)
    except TimeoutError:
        return "no answer"
    except psycopg2.Error:
        return "unreachable"
    finally:
        if connection is not None:
            connection.close()
    return OK if migrated else "not migrated"


def redis_states() -> dict[str, str]:
    """The state of Redis, and of the workers that leave their sign of life there."""
    try:
        with _redis() as server:
            names = [name.decode() for name in server.smembers(WORKERS)]
            alive = bool(names) and bool(server.exists(*[f"worker:{name}" for name in names]))
    except (redis.RedisError, OSError):
        return {"redis": "unreachable", "worker": "unknown while redis is unreachable"}
    return {"redis": OK, "worker": OK if alive else "none has been seen for 15 seconds"}


class Heartbeat:
    """A worker's sign of life, left in Redis every few seconds; call it as often as you like."""

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, *, sender: Any, **kwargs: Any) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _BEAT_EVERY
        name = str(sender.eventer.hostname)
        try:
            with _redis() as server, server.pipeline(transaction=False) as pipe:
                pipe.sadd(WORKERS, name).set(f"worker:{name}", 1, ex=HEARTBEAT_SECONDS).execute()
        except (redis.RedisError, OSError):
            # The worker finds out by itself that Redis is gone; a missing sign of life says it to /readyz.
            return


heartbeat = Heartbeat()


def leave_signs_of_life() -> None:
    """Let this worker be seen by /readyz; to be called before the worker starts."""
    heartbeat_sent.connect(heartbeat, dispatch_uid="loyalty-heartbeat", weak=False)


def _login() -> dict[str, Any]:
    config = connections.databases[PUBLIC]
    known = {"host": config["HOST"], "port": config["PORT"], "user": config["USER"], "password": config["PASSWORD"]}
    return {"dbname": config["NAME"], **{name: value for name, value in known.items() if value}}


def _wait(connection: Any, deadline: float) -> None:
    """Let the connection's work go on. :raises TimeoutError: past the deadline"""
    while (state := connection.poll()) != psycopg2.extensions.POLL_OK:
        reads = state == psycopg2.extensions.POLL_READ
        left = deadline - time.monotonic()
        with selectors.DefaultSelector() as selector:
            selector.register(connection.fileno(), selectors.EVENT_READ if reads else selectors.EVENT_WRITE)
            if left <= 0 or not selector.select(left):
                raise TimeoutError


def _redis() -> redis.Redis:
    return redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=REDIS_SECONDS, socket_connect_timeout=REDIS_SECONDS, retry=None
    )
