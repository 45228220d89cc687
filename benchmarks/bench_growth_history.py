"""
`growth_history`: crediting for a client with ten times the past, against crediting as much for a younger one.

Both have as many members, each of whom buys as often in what is measured; twenty times before in the one, twice in the
other.
"""

from contextlib import ExitStack
from statistics import median
from typing import Any

from benchmarks import rounds, shops
from loyalty_saas.flows import programs
from tenants.context import use_client
from tenants.models import Client

GOAL = 1.2
HISTORY, MEMBERS, TIMES, PURCHASES, ROUNDS = 4_000, 2_000, 10, 1_000, 8


def run() -> dict[str, Any]:
    """Seconds to credit a thousand purchases, after 40,000 and after 4,000."""
    with ExitStack() as stack:
        long, short = (stack.enter_context(shops.client(name)) for name in ("long", "short"))
        _live(long, times=TIMES)
        _live(short, times=1)
        product, baseline = rounds.in_turn(lambda: _credited(long), lambda: _credited(short), rounds=ROUNDS)
    return {
        "ratio": rounds.ratio(product, baseline),
        "goal": GOAL,
        "higher_is_better": False,
        "product": round(PURCHASES / median(product)),
        "baseline": round(PURCHASES / median(baseline)),
        "unit": "purchases/s",
    }


def _live(client: Client, *, times: int) -> None:
    """A past of so many purchases, credited as everything is."""
    with use_client(client):
        programs.publish(document=shops.PROGRAM, at=shops.NOON)
        shops.add_members(MEMBERS)
        for _part in range(times):
            shops.add_waiting(HISTORY)
            shops.credit_all()
        shops.tidy_up()


def _credited(client: Client) -> float:
    with use_client(client):
        shops.add_waiting(PURCHASES)
        return shops.seconds(shops.credit_all)
