"""The cache through an outage of Redis: limits on sign-in stay closed to guessing, if only within each process."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

import redis
import structlog
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache, RedisCacheClient

logger = structlog.get_logger(__name__)

T = TypeVar("T")
# How long Redis is left alone after it failed: each attempt can cost half a second.
PAUSE_SECONDS = 5.0


class OutlivingClient(RedisCacheClient):
    """Redis while it answers; otherwise the memory of this process."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._memory = LocMemCache("while-redis-is-away", {"KEY_FUNCTION": "loyalty_saas.caching.as_it_is"})
        self._away_until = 0.0

    def add(self, *args: Any) -> bool:
        return self._ask(super().add, self._memory.add, *args)

    def get(self, *args: Any) -> Any:
        return self._ask(super().get, self._memory.get, *args)

    def set(self, *args: Any) -> None:
        self._ask(super().set, self._memory.set, *args)

    def touch(self, *args: Any) -> bool:
        return self._ask(super().touch, self._memory.touch, *args)

    def delete(self, *args: Any) -> bool:
        return self._ask(super().delete, self._memory.delete, *args)

    def _ask(self, server: Callable[..., T], memory: Callable[..., T], *args: Any) -> T:
        if time.monotonic() >= self._away_until:
            try:
                return server(*args)
            except (redis.RedisError, OSError) as error:
                self._away_until = time.monotonic() + PAUSE_SECONDS
                logger.warning("cache_without_redis", error=type(error).__name__)
        return memory(*args)


class OutlivingCache(RedisCache):
    """
    Django's Redis cache over :class:`OutlivingClient`.

    Keys name the client we stand in, but for the limits on sign-in: users belong to the platform, and a limit per
    client's host would give as many tries as there are hosts.
    """

    def __init__(self, server: str, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._class = OutlivingClient

    def make_key(self, key: str, version: int | None = None) -> str:
        if key.startswith("allauth"):
            return f"public:{self.key_prefix}:{version or self.version}:{key}"
        return super().make_key(key, version)


def as_it_is(key: str, key_prefix: str, version: int) -> str:
    """The key itself: it already names the client."""
    return key
