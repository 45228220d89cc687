"""
`visible_balance`: from POST to the balance that shows it, against the time until POST's own answer.

A steady stream of sales, each by another member, to granian and one worker process with Redis between them. Both times
run from the moment at which a sale was due, and are those that 99 in 100 sales do not exceed. Balances are watched by
a query of their own every two milliseconds.
"""

import threading
import time
from contextlib import closing
from typing import Any

from django.db import connections

from benchmarks import rounds, serving, shops
from benchmarks.serving import Callers, Machine
from loyalty_saas.flows import programs
from tenants.context import use_client
from tenants.models import Client
from tenants.routers import CLIENT

GOAL = 3.0
RATE, SALES, WARM_UP = 40, 800, 80
_PATIENCE = 20.0


def run() -> dict[str, Any]:
    """Milliseconds that 99 of 100 do not exceed, to the balance and to the answer."""
    with shops.client("visible") as client:
        shops.client_connection().set_tenant(client)
        programs.publish(document=shops.PROGRAM, at=shops.NOON)
        shops.add_members(SALES + WARM_UP)
        machine = Machine.of(client)
        sales = [shops.sale(place, SALES + WARM_UP) for place in range(SALES + WARM_UP)]
        with serving.running(worker=True) as port, closing(Callers(port=port, connections=8)) as callers:
            _stream(callers, machine, client, sales[SALES:])
            answered, visible = _stream(callers, machine, client, sales[:SALES])
    product, baseline = rounds.percentile(visible, 99), rounds.percentile(answered, 99)
    return {
        "ratio": round(product / baseline, 3),
        "goal": GOAL,
        "higher_is_better": False,
        "product": round(product * 1000, 1),
        "baseline": round(baseline * 1000, 1),
        "unit": f"ms, p99 at {RATE}/s",
    }


def _stream(
    callers: Callers, machine: Machine, client: Client, sales: list[dict[str, Any]]
) -> tuple[list[float], list[float]]:
    """How long each sale took to be answered, and to be seen in its member's balance."""
    answered: dict[int, float] = {}
    requests = [machine.post("/api/v1/purchases", sale) for sale in sales]
    began = time.perf_counter() + 0.05
    watch = Watch(client, {sale["member"]: began + place / RATE for place, sale in enumerate(sales)})
    watch.start()
    callers.keep_rate(
        requests, rate=RATE, began=began, note=lambda place, since, until: answered.update({place: until - since})
    )
    watch.join()
    if watch.missing:
        raise serving.NotAnswered(f"{len(watch.missing)} sales were not credited.")
    return list(answered.values()), watch.seen


class Watch(threading.Thread):  # noqa: TID251 (it stands in its client itself)
    """Looks at the balances of members whose sale is due, until all have been seen."""

    def __init__(self, client: Client, due: dict[str, float]) -> None:
        super().__init__()
        self.client, self.missing, self.seen = client, due, list[float]()
        self._until = max(due.values()) + _PATIENCE

    def run(self) -> None:
        """Look."""
        with use_client(self.client):
            while self.missing and time.perf_counter() < self._until:
                self._look()
                time.sleep(0.002)
        connections.close_all()

    def _look(self) -> None:
        now = time.perf_counter()
        waited_for = [number for number, due in self.missing.items() if due <= now]
        if not waited_for:
            return
        with connections[CLIENT].cursor() as cursor:
            cursor.execute(_WITH_POINTS, [waited_for])
            found = [number for (number,) in cursor.fetchall()]
        now = time.perf_counter()
        self.seen += [now - self.missing.pop(number) for number in found]


_WITH_POINTS = """
    SELECT m.number FROM members_member m JOIN members_pointsaccount a ON a.member_id = m.id
    WHERE m.number = ANY(%s) AND a.balance > 0
"""
