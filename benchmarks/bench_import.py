"""`import`: a log read, checked and recorded, against COPY of the very rows it becomes into the same tables."""

import io
from datetime import UTC, datetime
from typing import Any

from django.db import connections, transaction

from benchmarks import shops
from loyalty_saas.flows import imports
from tenants.routers import OWNER

# A floor of our own: reading, checking and finding members cost several times the bare COPY.
GOAL = 0.15
DOCUMENTS = 20_000
# Parents before children: members, catalogue, purchases, lines, work.
TABLES = ("members_member", "members_identifier", "programs_product", "members_purchase", "members_purchaseline",
          "members_workitem")  # fmt: skip


def run() -> dict[str, Any]:
    """Documents a second, imported and copied."""
    raw = shops.log(documents=DOCUMENTS, members=4000)
    with shops.client("import") as source, shops.client("copy") as target:
        shops.client_connection().set_tenant(source)
        product = shops.seconds(lambda: _import(raw))
        blocks = _blocks(source)
        baseline = shops.seconds(lambda: _copy(blocks, target))
    return {
        "ratio": round(baseline / product, 3),
        "goal": GOAL,
        "product": round(DOCUMENTS / product),
        "baseline": round(DOCUMENTS / baseline),
        "unit": "documents/s",
    }


def _import(raw: bytes) -> None:
    at = datetime.now(UTC)
    job = imports.start(file=io.BytesIO(raw), name="log.csv", mapping={}, dry_run=False, at=at)
    done = imports.run(job_id=job.pk, at=at)
    if done.documents_new != DOCUMENTS:
        raise RuntimeError(f"{done.documents_new} of {DOCUMENTS} documents were recorded: {done.error}")


def _blocks(source: Any) -> dict[str, str]:
    owner, blocks = connections[OWNER], {}
    owner.set_schema(source.schema_name)
    with owner.cursor() as cursor:
        for table in TABLES:
            text = io.StringIO()
            cursor.copy_expert(f"COPY {table} TO STDOUT", text)
            blocks[table] = text.getvalue()
    return blocks


def _copy(blocks: dict[str, str], target: Any) -> None:
    owner = connections[OWNER]
    owner.set_schema(target.schema_name)
    with transaction.atomic(using=OWNER), owner.cursor() as cursor:
        for table, block in blocks.items():
            cursor.copy_expert(f"COPY {table} FROM STDIN", io.StringIO(block))
