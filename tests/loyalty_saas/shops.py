"""A small shop with a program in which every sum can be done in one's head."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from django.db import connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from loyalty_saas import branding
from loyalty_saas.flows.programs import publish
from loyalty_saas.flows.purchases import credit_next_batch
from members.services.accrual import NOTHING
from tenants import queries
from tests.machines import Answer, Machine

PROGRAM: dict[str, Any] = {
    "name": "Corner club",
    "units": [
        {"code": "points", "name": "Points", "kind": "points", "may_owe": True},
        {"code": "stamps", "name": "Stamps", "kind": "stamps", "may_owe": True},
    ],
    "rules": [
        {
            "code": "euro",
            "name": "A point per euro",
            "unit": "points",
            "trigger": "line",
            "effect": {"kind": "per_amount", "points": 1, "per": 100},
        },
        {
            "code": "coffee",
            "name": "A stamp per coffee",
            "unit": "stamps",
            "trigger": "line",
            "conditions": [{"field": "category", "op": "eq", "value": "coffee"}],
            "effect": {"kind": "per_quantity", "points": 1, "per": 1},
            "caps": {"per_purchase": 3},
        },
        {
            "code": "welcome",
            "name": "Fifty for joining",
            "unit": "points",
            "trigger": "sign_up",
            "effect": {"kind": "fixed", "points": 50},
        },
        {
            "code": "trip",
            "name": "Trips by days",
            "unit": "points",
            "trigger": "activity",
            "conditions": [{"field": "activity", "op": "eq", "value": "trip"}],
            "effect": {"kind": "table", "property": "days", "steps": [[1, 1000], [7, 10000]]},
        },
    ],
    "tiers": {
        "basis": "spend",
        "period_months": 12,
        "levels": [{"code": "silver", "name": "Silver", "enter": 50000, "keep": 40000}],
    },
    "rewards": [
        {"code": "five-off", "name": "5 off", "kind": "discount", "unit": "points", "price": 500, "value": 500},
        {"code": "mug", "name": "A mug", "kind": "product", "unit": "points", "price": 40, "value": 300},
    ],
    "offers": [{"code": "hello", "name": "Hello", "segments": ["new"], "text": "Ten more next time."}],
}


REMEMBERED: tuple[Any, ...] = (queries.client_of_host, queries.key_of_prefix, branding._looks)


def open_shop(document: dict[str, Any] = PROGRAM) -> None:
    """Publish the program in the client the test stands in."""
    publish(document=document, at=timezone.now())


def credit() -> int:
    """Give all points that are due; for how many items."""
    done = 0
    while (credited := credit_next_batch(at=timezone.now())) != NOTHING:
        done += credited.purchases
    return done


def join(till: Machine, name: str = "Ana", **identifiers: str) -> Answer:
    """A new member, with the points for joining."""
    made = till.post("/members", {"name": name, "identifiers": identifiers})
    assert made.status == 201, made.raw
    credit()
    return made


def sale(member: str, document: str, amount: int = 1000, **more: Any) -> dict[str, Any]:
    """A sale of one thing."""
    line = {"sku": "thing", "quantity": 1, "amount": amount}
    return {"kind": "sale", "document": document, "member": member, "lines": [line], **more}


def points_of(till: Machine, member: str, unit: str = "points") -> int:
    """A member's balance."""
    balances = till.get(f"/members/{member}/balance")["balances"]
    return next(one["balance"] for one in balances if one["unit"] == unit)


def remember_for(remembered: Any, *, seconds: float) -> None:
    """Keep what is known for so long from now."""
    known = dict(remembered._known)
    remembered._known = {key: (time.monotonic() + seconds, value) for key, (_until, value) in known.items()}


@contextmanager
def counted_queries(*, cold: bool = False) -> Iterator[Callable[[], int]]:
    """
    How many queries were sent on the client's and the public connection until the answer; the log's line follows.

    What is remembered for a second is forgotten first if `cold`, and kept for the while if not: on a slow machine two
    requests would differ by whom they still knew.
    """
    for remembered in REMEMBERED:
        remembered._known = {} if cold else remembered._known
        remember_for(remembered, seconds=60)
    with ExitStack() as stack:
        for remembered in REMEMBERED:
            stack.callback(remember_for, remembered, seconds=1)
        captured = [stack.enter_context(CaptureQueriesContext(connections[alias])) for alias in ("default", "public")]
        yield lambda: sum("members_apirequest" not in query["sql"] for one in captured for query in one)
