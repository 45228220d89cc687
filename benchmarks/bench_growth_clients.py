"""
`growth_clients`: crediting for 200 clients in turn against crediting as much for one.

Each time a drain finds 60 purchases, as a worker does: the client looked up, its role and path taken, all credited.
The 200 clients are made at the first run and kept, since making them costs more than measuring.
"""

import time
from statistics import median
from typing import Any

import redis
from django.conf import settings

from benchmarks import shops
from loyalty_saas.flows import programs
from loyalty_saas.tasks import drain
from tenants.context import use_client
from tenants.models import Client

GOAL = 1.3
CLIENTS, PURCHASES, MEMBERS = 200, 60, 30


def run() -> dict[str, Any]:
    """Milliseconds of a drain of 60 purchases, each time for another of 200 clients, and always for the same."""
    many = shops.standing_clients("many", CLIENTS, prepare=_prepare)
    with shops.client("one") as one:
        _prepare(one)
        redis.Redis.from_url(settings.REDIS_URL).flushdb()
        for client in many:
            # What a broken run left; and each is as well known to this process as it would be in the middle of a day.
            drain(schema_name=client.schema_name)
        pairs = [(_drained(client), _drained(one)) for client in many]
        redis.Redis.from_url(settings.REDIS_URL).flushdb()
    product, baseline = [each for each, _same in pairs], [same for _each, same in pairs]
    return {
        "ratio": round(sum(product) / sum(baseline), 3),
        "goal": GOAL,
        "higher_is_better": False,
        "product": round(median(product) * 1000, 1),
        "baseline": round(median(baseline) * 1000, 1),
        "unit": f"ms for {PURCHASES} purchases",
    }


def _prepare(client: Client) -> None:
    with use_client(client):
        programs.publish(document=shops.PROGRAM, at=shops.NOON)
        shops.add_members(MEMBERS)


def _drained(client: Client) -> float:
    """Seconds of a drain."""
    with use_client(client):
        shops.add_waiting(PURCHASES)
    began = time.perf_counter()
    done = drain(schema_name=client.schema_name)
    taken = time.perf_counter() - began
    if done != PURCHASES:
        raise RuntimeError(f"{done} of {PURCHASES} purchases were credited.")
    return taken
