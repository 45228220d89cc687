"""
`fairness`: how much longer one client's sale waits for its points while another client's backlog is worked off.

One worker process serves both. Goal: less than a second, for 95 sales of 100. The backlog is 60,000 purchases, written
by one statement, not a million: it is there for the whole time of measuring, and a turn's length does not depend on
how many wait (claiming is bound by an index; `tests/loyalty_saas/test_gates.py`).
"""

import time
from decimal import Decimal
from itertools import count
from typing import Any

from django.db import connections
from django.utils import timezone

from benchmarks import rounds, serving, shops
from loyalty_saas import workers
from loyalty_saas.flows import programs
from members.services.accrual import is_waiting
from members.services.purchases import LineInput, PurchaseInput, record_purchase
from tenants.context import use_client
from tenants.models import Client
from tenants.routers import CLIENT

GOAL = 1.0
BACKLOG, SALES, A_MOMENT = 60_000, 40, 0.1
_PATIENCE = 30.0


def run() -> dict[str, Any]:
    """Seconds from the sale to its points: while another's backlog is worked off, and with nothing else to do."""
    with shops.client("small") as small, shops.client("big") as big:
        for client, members in ((small, 100), (big, 6_000)):
            with use_client(client):
                programs.publish(document=shops.PROGRAM, at=shops.NOON)
                shops.add_members(members)
        receipts = count()
        with serving.working():
            _delays(small, receipts, sales=3)
            idle = _delays(small, receipts, sales=SALES)
            with use_client(big):
                shops.add_waiting(BACKLOG)
            workers.wake(big.schema_name)
            busy = _delays(small, receipts, sales=SALES, beside=big)
    product, baseline = rounds.percentile(busy, 95), rounds.percentile(idle, 95)
    return {
        "ratio": round(product - baseline, 3),
        "goal": GOAL,
        "higher_is_better": False,
        "product": round(product, 3),
        "baseline": round(baseline, 3),
        "unit": "s, p95; ratio: the difference",
        "sales": len(busy),
    }


def _delays(client: Client, receipts: "count[int]", *, sales: int, beside: Client | None = None) -> list[float]:
    """One sale after the other, as long as `beside` has work."""
    delays = []
    for _sale in range(sales):
        time.sleep(A_MOMENT)
        if beside is not None and not _has_work(beside):
            break
        with use_client(client):
            delays.append(_delay(next(receipts)))
    if len(delays) < min(sales, 5):
        raise RuntimeError(f"The backlog was gone after {len(delays)} sales.")
    return delays


def _has_work(client: Client) -> bool:
    with use_client(client):
        return is_waiting()


def _delay(receipt: int) -> float:
    """Seconds until a sale, recorded as the endpoint does, has its points."""
    with connections[CLIENT].cursor() as cursor:
        cursor.execute("SELECT id FROM members_member WHERE number = %s", [f"M{receipt % 100}"])
        (member_id,) = cursor.fetchone()
        at, began = timezone.now(), time.perf_counter()
        sale = PurchaseInput("sale", f"R{receipt}", member_id, "EUR", 2490, at, (LineInput(Decimal(1), 2490),))
        purchase_id = record_purchase(purchase=sale, at=at).purchase_id
        workers.wake(shops.client_connection().schema_name or "")
        while time.perf_counter() - began < _PATIENCE:
            cursor.execute("SELECT FROM members_ledgerentry WHERE purchase_id = %s", [purchase_id])
            if cursor.fetchone() is not None:
                return time.perf_counter() - began
            time.sleep(0.002)
    raise serving.NotAnswered(f"Sale {receipt} was not credited within {_PATIENCE} s.")
