"""Clients and logs to measure with, the same in every run."""

import csv
import io
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from django.db import connections

from tenants.context import client_connection, public_atomic, use_client
from tenants.models import Client, Provider
from tenants.routers import OWNER
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
    schemas.refill_spares(target=2, at=at)
    with public_atomic():
        schema_name = schemas.claim_spare(at=at)
        schemas.settle_claim(schema_name)
        return Client.objects.create(
            provider=provider, slug=f"{name}-{secrets.token_hex(4)}", name=name, schema_name=schema_name,
            trade="retail", currency="EUR", time_zone="Europe/Berlin", languages=["en"], template="",
        )  # fmt: skip


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
        Client.objects.filter(pk=made.pk).delete()
        schemas.drop_schema(made.schema_name)


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
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
