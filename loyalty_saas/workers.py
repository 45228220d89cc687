"""Waking workers: a hint through Redis, behind a breaker, so that a purchase never waits for a queue."""

import time

import redis
import structlog
from celery import Task
from django.conf import settings
from kombu.exceptions import OperationalError

log = structlog.get_logger(__name__)

_HINT_SECONDS = 10
_RESTS_SECONDS = 2.0
_client: redis.Redis | None = None
_resting_until = 0.0


def redis_client() -> redis.Redis:
    """The process' connection to Redis, with short time-outs."""
    global _client
    if _client is None:
        _client = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=0.3, socket_connect_timeout=0.3)
    return _client


def wake(schema_name: str) -> bool:
    """Tell the workers that a client has work; False when Redis is away (a sweep finds the work later)."""
    from loyalty_saas.tasks import drain

    return send_once(task=drain, name=f"drain:{schema_name}", seconds=_HINT_SECONDS, schema_name=schema_name)


def send_once(*, task: Task, name: str, seconds: int, countdown: int = 0, **kwargs: object) -> bool:
    """Send a task unless one of that name was sent within `seconds` and has not begun; False when Redis is away."""
    global _resting_until
    if time.monotonic() < _resting_until:
        return False
    try:
        if redis_client().set(_hint(name), 1, nx=True, ex=seconds + countdown):
            task.apply_async(kwargs=kwargs, retry=False, countdown=countdown or None)
    except (redis.RedisError, OperationalError, OSError) as error:
        _resting_until = time.monotonic() + _RESTS_SECONDS
        log.warning("workers.not_woken", reason=type(error).__name__)
        return False
    return True


def begun(name: str) -> None:
    """A task of that name has begun: from now on a further one may be sent."""
    try:
        redis_client().delete(_hint(name))
    except redis.RedisError:
        log.warning("workers.hint_not_removed")


def _hint(name: str) -> str:
    return f"hint:{name}"
