"""Clients and logs to measure with, the same in every run."""

import csv
import gc
import io
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from django.conf import settings
from django.db import connections

from loyalty_saas.flows import purchases
from members.services.accrual import NOTHING
from tenants.context import client_connection, current_client, public_atomic, use_client
from tenants.models import ApiKey, Client, Domain, Provider
from tenants.routers import CLIENT, OWNER
from tenants.services import schemas

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
PROGRAM: dict[str, Any] = {
    "name": "Benchmark club",
    "units": [{"code": "points", "name": "Points", "kind": "points", "decimals": 0, "pending_days": 0,
               "expiry": {"policy": "rolling", "months": 24}, "may_owe": True}],
    "rules": [
        {"code": "base", "name": "A point per unit", "unit": "points", "trigger": "purchase",
         "effect": {"kind": "per_amount", "points": 1, "per": 100}, "remainder": "carry"},
        {"code": "books", "name": "Books earn more", "unit": "points", "trigger": "line",
         "conditions": [{"field": "category", "op": "eq", "value": "books"}],
         "effect": {"kind": "per_amount", "points": 2, "per": 100}},
        {"code": "first", "name": "Welcome", "unit": "points", "trigger": "purchase",
         "conditions": [{"field": "first_purchase", "op": "eq", "value": True}],
         "effect": {"kind": "fixed", "points": 50}},
    ],
    "tiers": {"basis": "spend", "period_months": 12, "levels": [
        {"code": "silver", "name": "Silver", "enter": 50000, "keep": 40000, "benefits": []},
        {"code": "gold", "name": "Gold", "enter": 200000, "keep": 150000, "benefits": []}]},
    "rewards": [], "offers": [],
}  # fmt: skip


def new_client(name: str) -> Client:
    """An open client with an empty schema."""
    provider, _new = Provider.objects.get_or_create(slug="bench", defaults={"name": "Bench"})
    at = datetime.now(UTC)
    schemas.refill_spares(target=1, at=at)
    with public_atomic():
        schema_name = schemas.claim_spare(at=at)
        schemas.settle_claim(schema_name)
        slug = f"{name}-{secrets.token_hex(4)}"
        made = Client.objects.create(
            provider=provider, slug=slug, name=name, schema_name=schema_name,
            trade="retail", currency="EUR", time_zone="Europe/Berlin", languages=["en"], template="",
        )  # fmt: skip
        Domain.objects.create(client=made, host=f"{slug}.{settings.CLIENT_HOST_SUFFIX}")
    return made


@contextmanager
def client(name: str) -> Iterator[Client]:
    """A new client to stand in, dropped at the end."""
    made = new_client(name)
    try:
        with use_client(made):
            yield made
    finally:
        client_connection().forget_client()
        connections[OWNER].set_schema_to_public()
        ApiKey.objects.filter(client=made).delete()
        Client.objects.filter(pk=made.pk).delete()
        schemas.drop_schema(made.schema_name)


def standing_clients(name: str, count: int, *, prepare: Callable[[Client], None]) -> list[Client]:
    """So many clients that are kept from run to run; those that are new are prepared."""
    known = list(Client.objects.filter(name=name, status=Client.Status.ACTIVE).order_by("created_at")[:count])
    for _missing in range(count - len(known)):
        made = new_client(name)
        prepare(made)
        known.append(made)
    return known


def log(*, documents: int, members: int, seed: int = 7) -> bytes:
    """A purchase log as CSV: a year of documents with one to five lines."""
    random, out = Random(seed), io.StringIO()
    writer = csv.writer(out)
    writer.writerow(("purchase_id", "member_id", "timestamp", "amount", "sku", "category", "qty", "unit_price"))
    for number in range(documents):
        at = NOON - timedelta(days=365) + timedelta(seconds=number * 365 * 86400 // documents)
        member = int(random.paretovariate(1.2)) % members
        for _line in range(random.randint(1, 5)):
            cents, quantity = random.randint(100, 5000), random.randint(1, 4)
            sku = random.randrange(500)
            category = ("books", "music", "toys")[sku % 3]
            amount = f"{cents * quantity / 100:.2f}"
            writer.writerow(
                (number, f"M{member}", at.isoformat(), amount, f"S{sku}", category, quantity, f"{cents / 100:.2f}")
            )
    return out.getvalue().encode()


def seconds(work: Callable[[], Any]) -> float:
    """How long `work` takes by the wall clock."""
    gc.collect()
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


# ── rows by the statement, in the client we stand in ────────────────────────────────────────────────────────────────


def add_members(count: int) -> None:
    """Members who are found as M0, M1, …"""
    with connections[CLIENT].cursor() as cursor:
        cursor.execute(_MEMBERS, [count])
        cursor.execute(_IDENTIFIERS)


def add_waiting(count: int, *, lines: int = 2, member: str = "") -> None:
    """So many purchases that wait to be credited, of all members in turn or of one."""
    with connections[CLIENT].cursor() as cursor:
        cursor.execute("SELECT count(*) FROM members_purchase")
        (first,) = cursor.fetchone()
        cursor.execute(_PURCHASES, {"first": first, "count": count, "lines": lines, "member": member})


def credit_all() -> None:
    """Credit all that waits. :raises RuntimeError: if something cannot be"""
    while (credited := purchases.credit_next_batch(at=NOON)) != NOTHING:
        if not credited.purchases:
            raise RuntimeError("A purchase was set aside.")


def tidy_up(client: Client | None = None) -> None:
    """What autovacuum would have done by then."""
    with owner_of(client or current_client()) as cursor:
        # VACUUM goes alone in its message; this takes the path there.
        cursor.execute("SELECT 1")
        for table in _GROWING:
            cursor.execute(f"VACUUM ANALYZE {table}")
    connections[OWNER].set_schema_to_public()


def copy_tables(tables: Sequence[str], *, source: Client, target: Client) -> None:
    """Put all rows of these tables into another client, past its triggers."""
    with owner_of(target) as cursor:
        for table in tables:
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
            cursor.execute(f'INSERT INTO {table} SELECT * FROM "{source.schema_name}".{table}')
            cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


def owner_of(client: Client) -> Any:
    """A cursor of the owner of the tables, in that client."""
    connections[OWNER].set_schema(client.schema_name)
    return connections[OWNER].cursor()


def sale(receipt: int, members: int) -> dict[str, Any]:
    """The body of a sale of two lines."""
    lines = [
        {"sku": f"S{receipt % 500}", "category": "books", "quantity": 2, "unit_price": "7.50", "amount": 1500},
        {"sku": f"S{receipt % 499}", "category": "music", "quantity": 1, "amount": 990},
    ]
    return {"kind": "sale", "document": f"R{receipt}", "member": f"M{receipt % members}", "lines": lines}


_GROWING = ("members_purchase", "members_purchaseline", "members_workitem", "members_pointsaccount",
            "members_ledgerentry", "members_lot", "members_ruletrace", "members_rulestate", "members_insight",
            "members_tierstatus", "members_member", "members_identifier")  # fmt: skip
_MEMBERS = """
    INSERT INTO members_member (id, number, status, joined_at)
    SELECT new_id(), 'M' || i, 'active', now() - interval '1 year' FROM generate_series(0, %s - 1) AS i
"""
_IDENTIFIERS = """
    INSERT INTO members_identifier (id, member_id, kind, value) SELECT new_id(), id, 'pos', number FROM members_member
"""
_PURCHASES = """
    WITH who AS (
        SELECT id, row_number() OVER (ORDER BY id) - 1 AS place, count(*) OVER () AS members FROM members_member
        WHERE %(member)s IN ('', number)
    ), bought AS MATERIALIZED (
        SELECT new_id() AS id, n, w.id AS member_id,
               now() - make_interval(days => (n * 7 %% 300)::integer, secs => (n %% 40000)::integer) AS at
        FROM generate_series(%(first)s::bigint, %(first)s::bigint + %(count)s - 1) AS n
        JOIN who w ON w.place = n %% w.members
    ), p AS (
        INSERT INTO members_purchase (id, kind, document, terminal, channel, source, member_id, currency, amount,
                                      occurred_at, received_at, day, fingerprint)
        SELECT id, 'sale', 'W' || n, '', '', 'bench', member_id, 'EUR', %(lines)s * 1250, at, now(), at::date,
               gen_random_uuid()
        FROM bought
    ), l AS (
        INSERT INTO members_purchaseline (id, purchase_id, position, sku, category, quantity, discount, amount, earning,
                                          returned)
        SELECT new_id(), id, line, 'S' || (n + line) %% 500, (ARRAY['books', 'music', 'toys'])[1 + (n + line) %% 3], 1,
               0, 1250, true, 0
        FROM bought CROSS JOIN generate_series(1, %(lines)s) AS line
    )
    INSERT INTO members_workitem (source_id, kind, member_id, occurred_at, attempts, error)
    SELECT id, 'purchase', member_id, at, 0, '' FROM bought ORDER BY id
"""
