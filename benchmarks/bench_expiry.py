"""
`expiry`: lots that lapse, against the bare set-based write of the same rows.

The baseline writes the entries and allocations that expiry made into the same tables of another client, whose triggers
move lots and balances there as they did here, chunk by chunk: all that expiry writes, and none of its finding, locking
or working out. `updates` tells how many times as long as a mere update of so many lots, without triggers, it takes.
"""

from datetime import timedelta
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

from django.db import transaction

from benchmarks import rounds, shops
from loyalty_saas.flows import programs
from members.services.points import expire_points
from tenants.models import Client
from tenants.routers import OWNER

GOAL = 3.0
CHUNK, CHUNKS, MEMBERS = 3_000, 8, 24_000
BERLIN = ZoneInfo("Europe/Berlin")
LATER = shops.NOON + timedelta(days=5 * 365)


def run() -> dict[str, Any]:
    """Lots a second."""
    with shops.client("expiry") as source, shops.client("bare") as target:
        shops.client_connection().set_tenant(source)
        programs.publish(document=shops.PROGRAM, at=shops.NOON)
        shops.add_members(MEMBERS)
        shops.add_waiting(CHUNK * CHUNKS)
        shops.credit_all()
        shops.copy_tables(_GIVEN, source=source, target=target)
        shops.tidy_up()
        shops.tidy_up(target)
        measured = [_chunk(LATER + timedelta(seconds=number), source, target) for number in range(CHUNKS)]
    product, baseline, updates = (list(times) for times in zip(*measured[1:], strict=True))
    return {
        "ratio": rounds.ratio(product, baseline),
        "goal": GOAL,
        "higher_is_better": False,
        "product": round(CHUNK / median(product)),
        "baseline": round(CHUNK / median(baseline)),
        "unit": "lots/s",
        "updates": rounds.ratio(product, updates),
    }


def _chunk(moment: Any, source: Client, target: Client) -> tuple[float, float, float]:
    """Seconds in which lots lapse, the same rows are written, and as many lots are updated and set back."""
    product = shops.seconds(lambda: _expire(moment))
    baseline = shops.seconds(lambda: _write(moment, source, target))
    updates = shops.seconds(lambda: _update(target))
    return product, baseline, updates


def _expire(moment: Any) -> None:
    """As the night does."""
    with transaction.atomic():
        expired = expire_points(at=moment, zone=BERLIN, limit=CHUNK)
    if expired != CHUNK:
        raise RuntimeError(f"{expired} of {CHUNK} lots lapsed.")


def _write(moment: Any, source: Client, target: Client) -> None:
    with transaction.atomic(using=OWNER), shops.owner_of(target) as cursor:
        for statement in _WRITE:
            cursor.execute(statement.replace("FROM_", f'FROM "{source.schema_name}".'), {"at": moment})
            if cursor.rowcount != CHUNK:
                raise RuntimeError(f"{cursor.rowcount} of {CHUNK} rows were written.")


def _update(target: Client) -> None:
    """Rolled back: the books must add up for the next chunk."""
    with transaction.atomic(using=OWNER), shops.owner_of(target) as cursor:
        cursor.execute("ALTER TABLE members_lot DISABLE TRIGGER USER")
        cursor.execute(_UPDATE, {"limit": CHUNK})
        transaction.set_rollback(True, using=OWNER)


_GIVEN = ("programs_unittype", "programs_program", "programs_earningrule", "members_member", "members_purchase",
          "members_pointsaccount", "members_ledgerentry", "members_lot")  # fmt: skip
_WRITE = (
    "INSERT INTO members_ledgerentry SELECT s.* FROM_members_ledgerentry s WHERE s.at = %(at)s",
    "INSERT INTO members_allocation SELECT s.* FROM_members_allocation s "
    "WHERE s.entry_id IN (SELECT e.id FROM members_ledgerentry e WHERE e.at = %(at)s)",
)
_UPDATE = """
    UPDATE members_lot SET remaining = 0
    WHERE entry_id IN (SELECT entry_id FROM members_lot WHERE remaining > 0 ORDER BY expires_at DESC LIMIT %(limit)s)
"""
