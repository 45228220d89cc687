"""
`statement`: a page of a member's statement over HTTP, of one with 10,000 entries against one with 10.

Both pages hold ten entries with the reasons for each; the long statement is asked for its newest page, and for one in
its middle.
"""

import json
from contextlib import closing
from statistics import median
from typing import Any

from django.db import connections
from django.test import Client as Browser

from benchmarks import rounds, serving, shops
from benchmarks.serving import Callers, Machine
from loyalty_saas.flows import programs
from tenants.context import client_connection
from tenants.routers import CLIENT

GOAL = 1.5
LONG, SHORT, OTHERS, REQUESTS, ROUNDS = 10_000, 10, 200, 30, 7


def run() -> dict[str, Any]:
    """Milliseconds for a page."""
    with shops.client("statement") as client:
        shops.client_connection().set_tenant(client)
        programs.publish(document=shops.PROGRAM, at=shops.NOON)
        shops.add_members(OTHERS)
        _fill()
        machine = Machine.of(client)
        newest, middle = _pages(machine)
        shops.client_connection().set_tenant(client)
        with serving.running() as port, closing(Callers(port=port, connections=1)) as callers:

            def ask(*paths: str) -> float:
                requests = [machine.get(path) for path in paths * (REQUESTS // len(paths))]
                return 1000 / callers.pound(requests)

            sides = (lambda: ask(newest, middle), lambda: ask("/api/v1/members/M1/ledger?limit=10"))
            rounds.in_turn(*sides, rounds=2)
            product, baseline = rounds.in_turn(*sides, rounds=ROUNDS)
    return {
        "ratio": rounds.ratio(product, baseline),
        "goal": GOAL,
        "higher_is_better": False,
        "product": round(median(product), 2),
        "baseline": round(median(baseline), 2),
        "unit": "ms a page",
    }


def _fill() -> None:
    """Everybody but the first has ten purchases, and they ten thousand."""
    shops.add_waiting(SHORT * OTHERS)
    shops.add_waiting(LONG - SHORT, member="M0")
    shops.credit_all()
    with connections[CLIENT].cursor() as cursor:
        cursor.execute(_COUNTS)
        if cursor.fetchall() != [("M0", LONG), ("M1", SHORT)]:
            raise RuntimeError("The statements are not as long as they should be.")
    shops.tidy_up()


def _pages(machine: Machine) -> tuple[str, str]:
    """The addresses of the newest page of the long statement, and of one in the middle."""
    client_connection().forget_client()
    browser = Browser(HTTP_HOST=machine.host, HTTP_AUTHORIZATION=f"Bearer {machine.token}")
    newest = "/api/v1/members/M0/ledger?limit=10"
    path = "/api/v1/members/M0/ledger?limit=200"
    for _page in range(LONG // 2 // 200):
        cursor = json.loads(browser.get(path).content)["next_cursor"]
        path = f"/api/v1/members/M0/ledger?limit=200&cursor={cursor}"
    return newest, path.replace("limit=200", "limit=10")


_COUNTS = """
    SELECT m.number, count(*) FROM members_ledgerentry e JOIN members_pointsaccount a ON a.id = e.account_id
    JOIN members_member m ON m.id = a.member_id WHERE m.number IN ('M0', 'M1') GROUP BY m.number ORDER BY m.number
"""
