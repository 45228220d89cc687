"""
`replay`: purchases a second that a draft and the published program are replayed over, against the bare read of them.

The baseline adds up the same purchases and lines, joined, on the server: what any replay must read at the least. A
replay judges them under two programs, so half of the baseline's speed would be reading alone.
"""

import io
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connections

from benchmarks import shops
from loyalty_saas.flows import imports, programs, replays
from members.models import Replay
from tenants.routers import CLIENT

# A floor of our own: two programs of rules with windows over each member's past, against one pass of adding up.
GOAL = 0.04
DOCUMENTS = 50_000


def run() -> dict[str, Any]:
    """Purchases a second, replayed and merely read."""
    with shops.client("replay"):
        _prepare(shops.log(documents=DOCUMENTS, members=10_000))
        made = replays.start(document=_draft(), months=12, at=shops.NOON + timedelta(days=1))
        Replay.objects.filter(pk=made.pk).update(started_at=datetime.now(UTC))
        baseline = min(shops.seconds(_read) for _again in range(3))
        product = shops.seconds(lambda: replays.run(replay_id=made.pk))
        _check(made)
    return {
        "ratio": round(baseline / product, 3),
        "goal": GOAL,
        "product": round(DOCUMENTS / product),
        "baseline": round(DOCUMENTS / baseline),
        "unit": "purchases/s",
    }


def _prepare(raw: bytes) -> None:
    at = datetime.now(UTC)
    programs.publish(document=shops.PROGRAM, at=at)
    job = imports.start(file=io.BytesIO(raw), name="log.csv", mapping={}, dry_run=False, at=at)
    imports.run(job_id=job.pk, at=at)


def _draft() -> dict[str, Any]:
    """The published program with a better base rate, a capped bonus and a happy hour."""
    draft = deepcopy(shops.PROGRAM)
    draft["rules"][0]["effect"]["points"] = 2
    draft["rules"] += [
        {"code": "toys", "name": "Toys", "unit": "points", "trigger": "line",
         "conditions": [{"field": "category", "op": "eq", "value": "toys"}],
         "effect": {"kind": "per_quantity", "points": 5, "per": 1},
         "caps": {"per_member": {"period": "month", "points": 50}}},
        {"code": "happy", "name": "Happy hour", "unit": "points", "trigger": "purchase",
         "effect": {"kind": "multiplier", "factor": "2", "of": ["base"]},
         "schedule": {"weekdays": [1, 2, 3], "from": "14:00", "to": "16:00"}},
    ]  # fmt: skip
    return draft


def _read() -> None:
    with connections[CLIENT].cursor() as cursor:
        cursor.execute(_BARE)
        if cursor.fetchone()[0] != DOCUMENTS:
            raise RuntimeError("The baseline did not read every purchase.")


def _check(made: Replay) -> None:
    made.refresh_from_db()
    if made.state != Replay.State.DONE or made.purchases_done < DOCUMENTS * 0.99 or made.result["in_python"]:
        raise RuntimeError(f"The replay is {made.state} after {made.purchases_done} purchases: {made.error}")


_BARE = """
    SELECT count(DISTINCT p.id), sum(p.amount), sum(l.amount), sum(l.quantity), count(*) FILTER (WHERE l.earning)
    FROM members_purchase p JOIN members_purchaseline l ON l.purchase_id = p.id
"""
