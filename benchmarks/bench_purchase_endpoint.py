"""
`purchase_endpoint`: POST /purchases, with API key, idempotency and client switch, against an endpoint that is constant.

Both stand in the same server behind the same middleware and are sent the same bodies, two lines each; the constant one
reads its body and touches no database. Eight callers pound on one and on the other in turn.
"""

from contextlib import closing
from itertools import count
from statistics import median
from typing import Any

from benchmarks import constant, rounds, serving, shops
from benchmarks.serving import Callers, Machine
from loyalty_saas.flows import programs

GOAL = 0.2
ROUNDS, POSTS, CONSTANTS, MEMBERS = 9, 200, 600, 1000


def run() -> dict[str, Any]:
    """Requests a second, of a purchase and of nothing."""
    with shops.client("endpoint") as client:
        shops.client_connection().set_tenant(client)
        programs.publish(document=shops.PROGRAM, at=shops.NOON)
        shops.add_members(MEMBERS)
        machine, receipts = Machine.of(client), count()
        with serving.running() as port, closing(Callers(port=port, connections=8)) as callers:

            def pound(path: str, times: int) -> float:
                return callers.pound([machine.post(path, shops.sale(next(receipts), MEMBERS)) for _n in range(times)])

            sides = (lambda: pound("/api/v1/purchases", POSTS), lambda: pound(constant.PATH, CONSTANTS))
            rounds.in_turn(*sides, rounds=2)
            product, baseline = rounds.in_turn(*sides, rounds=ROUNDS)
    return {
        "ratio": rounds.ratio(product, baseline),
        "goal": GOAL,
        "product": round(median(product)),
        "baseline": round(median(baseline)),
        "unit": "requests/s",
    }
