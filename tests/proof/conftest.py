"""A house whose servers a test may break, with a web server of many threads; and a shop in it."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tenants.models import Client
    from tests.live import RedisServer
    from tests.proof.callers import Caller
    from tests.proof.servers import House, Web


@pytest.fixture(scope="session")
def _house(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator["House"]:
    from tests.proof.servers import House, standing_at

    one = House(tmp_path_factory.mktemp("house") / "servers")
    try:
        with standing_at(one.database_url):
            one.furnish()
        yield one
    finally:
        one.remove()


@pytest.fixture
def house(_house: "House") -> Iterator["House"]:
    """A PostgreSQL of the proof's own; the test stands at it."""
    from tests.proof.servers import standing_at

    with standing_at(_house.database_url):
        yield _house


@pytest.fixture(scope="session")
def _house_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator["RedisServer"]:
    from tests.live import RedisServer

    one = RedisServer(tmp_path_factory.mktemp("house-redis") / "redis.log")
    try:
        yield one
    finally:
        one.stop()


@pytest.fixture
def house_redis(_house_redis: "RedisServer") -> "RedisServer":
    """Its Redis, running when the test begins."""
    if not _house_redis.runs:
        _house_redis.start()
    return _house_redis


@pytest.fixture(scope="session")
def _house_web(
    _house: "House", _house_redis: "RedisServer", tmp_path_factory: pytest.TempPathFactory
) -> Iterator["Web"]:
    from tests.proof.servers import Web

    environment = {"DATABASE_URL": _house.database_url}
    log = tmp_path_factory.mktemp("house-web") / "web.log"
    one = Web(log, redis_server=_house_redis, threads=16, environment=environment)
    try:
        yield one
    finally:
        one.stop()


@pytest.fixture
def web(_house_web: "Web", house: "House", house_redis: "RedisServer") -> "Web":
    """Its web server, running when the test begins."""
    if not _house_web.runs:
        _house_web.start()
    return _house_web


@pytest.fixture
def found_shop(house: "House") -> Callable[[str], "Client"]:
    """A function that makes a client at the house, with the corner club's program."""
    from tenants.context import use_client
    from tenants.models import Provider
    from tests.clients import make_client
    from tests.loyalty_saas.shops import open_shop

    def found(name: str) -> "Client":
        provider, _new = Provider.objects.get_or_create(slug="northwind", defaults={"name": "Northwind MSP"})
        client = make_client(name, provider=provider, spare_batch=2)
        with use_client(client):
            open_shop()
        return client

    return found


@pytest.fixture
def shop(found_shop: Callable[[str], "Client"]) -> Iterator["Client"]:
    """A shop at the house; the test stands in it, and its books add up at the end."""
    from tenants.context import use_client
    from tests.members import invariants

    client = found_shop("Corner")
    with use_client(client):
        yield client
        invariants.check(client)


@pytest.fixture
def till(shop: "Client", web: "Web") -> "Caller":
    """A machine with every scope at the shop, over HTTP."""
    from tests.proof.callers import Caller

    return Caller(shop, port=web.port)
