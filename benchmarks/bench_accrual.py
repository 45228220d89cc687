"""
`accrual`: waiting purchases credited, against the bare set-based write of the same rows.

The baseline writes the accounts, entries, lots, traces, rule states, insights and tiers that crediting made into the
same tables of another client, with their constraints and triggers, in batches of as many purchases, and takes the work
items away: all that crediting writes, and none of its reading, judging or locking. It waits for the disk with every
batch, as a write must that nothing can repeat. The ratio is the median of the batches' ratios.
"""

import io
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

from django.db import transaction

from benchmarks import rounds, shops
from loyalty_saas.flows import imports, programs, purchases
from members.services.accrual import NOTHING, Credited
from tenants.models import Client
from tenants.routers import OWNER

GOAL = 0.5
DOCUMENTS = 20_000
_GIVEN = ("programs_unittype", "programs_program", "programs_earningrule", "programs_tier", "programs_product",
          "members_member", "members_identifier", "members_purchase", "members_purchaseline",
          "members_workitem")  # fmt: skip


def run() -> dict[str, Any]:
    """Purchases a second, credited and merely written; a batch of the one, then the same batch of the other."""
    with shops.client("accrual") as source, shops.client("bare") as target:
        shops.client_connection().set_tenant(source)
        _prepare(shops.log(documents=DOCUMENTS, members=4000))
        shops.copy_tables(_GIVEN, source=source, target=target)
        product, baseline = list[float](), list[float]()
        for number in range(DOCUMENTS):
            # Every batch bears a moment of its own, by which its rows are found again.
            moment, done = shops.NOON + timedelta(seconds=number), list[Credited]()
            taken = shops.seconds(lambda m=moment, d=done: d.append(purchases.credit_next_batch(at=m)))
            if done == [NOTHING]:
                break
            batch = _batch(source, moment)
            product.append(done[0].purchases / taken)
            written = shops.seconds(lambda b=batch: _write(b, source=source, target=target))
            baseline.append(done[0].purchases / written)
        _check(source=source, target=target)
    return {
        "ratio": rounds.ratio(product, baseline),
        "goal": GOAL,
        "product": round(median(product)),
        "baseline": round(median(baseline)),
        "unit": "purchases/s",
    }


def _prepare(raw: bytes) -> None:
    at = datetime.now(UTC)
    programs.publish(document=shops.PROGRAM, at=at)
    job = imports.start(file=io.BytesIO(raw), name="log.csv", mapping={}, dry_run=False, at=at)
    imports.run(job_id=job.pk, at=at)


def _batch(source: Client, moment: datetime) -> dict[str, Any]:
    with shops.owner_of(source) as cursor:
        cursor.execute(
            "SELECT array_agg(e.purchase_id), array_agg(DISTINCT a.member_id) FROM members_ledgerentry e "
            "JOIN members_pointsaccount a ON a.id = e.account_id WHERE e.at = %s",
            [moment],
        )
        sources, members = cursor.fetchone()
    return {"at": moment, "sources": sources, "members": members}


def _write(batch: dict[str, Any], *, source: Client, target: Client) -> None:
    with transaction.atomic(using=OWNER), shops.owner_of(target) as cursor:
        for statement in _STATEMENTS:
            cursor.execute(statement.replace("FROM_", f'FROM "{source.schema_name}".'), batch)


def _check(*, source: Client, target: Client) -> None:
    for table in ("members_ledgerentry", "members_lot", "members_pointsaccount"):
        counts = []
        for client in (source, target):
            with shops.owner_of(client) as cursor:
                cursor.execute(f"SELECT count(*) FROM {table}")
                counts.append(cursor.fetchone()[0])
        if counts[0] != counts[1] or not counts[0]:
            raise RuntimeError(f"The baseline wrote {counts[1]} rows of {table}, the product {counts[0]}.")


_OF_MEMBERS = "WHERE s.member_id = ANY(%(members)s::uuid[])"
_STATEMENTS = (
    "INSERT INTO members_pointsaccount (id, member_id, unit_id, balance, in_lots, debt, may_owe) "
    f"SELECT id, member_id, unit_id, 0, 0, 0, may_owe FROM_members_pointsaccount s {_OF_MEMBERS} "
    "ON CONFLICT DO NOTHING",
    "INSERT INTO members_ledgerentry SELECT s.* FROM_members_ledgerentry s "
    "WHERE s.purchase_id = ANY(%(sources)s::uuid[])",
    "INSERT INTO members_lot (entry_id, account_id, remaining, held, available_at, expires_at) "
    "SELECT s.entry_id, s.account_id, s.remaining, s.held, s.available_at, s.expires_at FROM_members_lot s "
    "WHERE s.entry_id IN (SELECT e.id FROM members_ledgerentry e WHERE e.purchase_id = ANY(%(sources)s::uuid[]))",
    "INSERT INTO members_ruletrace SELECT s.* FROM_members_ruletrace s WHERE s.source_id = ANY(%(sources)s::uuid[])",
    f"INSERT INTO members_rulestate AS t SELECT s.* FROM_members_rulestate s {_OF_MEMBERS} "
    "ON CONFLICT (member_id, rule_code) DO UPDATE SET remainder = excluded.remainder, used = excluded.used",
    f"INSERT INTO members_insight AS t SELECT s.* FROM_members_insight s {_OF_MEMBERS} "
    "ON CONFLICT (member_id) DO UPDATE SET purchases = excluded.purchases, spend = excluded.spend, "
    "last_day = excluded.last_day, segment = excluded.segment",
    f"INSERT INTO members_tierstatus AS t SELECT s.* FROM_members_tierstatus s {_OF_MEMBERS} "
    "ON CONFLICT (member_id) DO UPDATE SET tier = excluded.tier, basis = excluded.basis",
    "DELETE FROM members_workitem WHERE source_id = ANY(%(sources)s::uuid[])",
)
