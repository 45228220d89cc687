"""Clients for tests: committed, open, each with a schema and a slug of its own."""

import secrets
from datetime import UTC, datetime
from typing import Any

from django.conf import settings

from loyalty_saas.flows.programs import apply_template
from tenants.context import public_atomic, use_client
from tenants.models import Client, Domain, Provider
from tenants.services import schemas


def make_client(
    name: str = "Acme",
    *,
    provider: Provider,
    spare_batch: int,
    template: str | None = None,
    domain: str | None = None,
    **given: Any,
) -> Client:
    """A client of `provider`, with an empty schema or with what a template puts there."""
    at = datetime.now(UTC)
    slug = f"{name.lower().replace(' ', '-')}-{secrets.token_hex(4)}"
    values = {"trade": "retail", "currency": "EUR", "time_zone": "Europe/Berlin", "languages": ["en"], **given}
    with public_atomic():
        schema_name = _claim(at, spare_batch=spare_batch)
        schemas.settle_claim(schema_name)
        client = Client.objects.create(
            provider=provider, slug=slug, name=name, schema_name=schema_name, template=template or "", **values
        )
        Domain.objects.create(client=client, host=domain or f"{slug}.{settings.CLIENT_HOST_SUFFIX}")
    if template:
        with use_client(client):
            apply_template(template=template, at=at)
    return client


def _claim(at: datetime, *, spare_batch: int) -> str:
    try:
        return schemas.claim_spare(at=at)
    except schemas.NoSpareSchema:
        schemas.refill_spares(target=spare_batch, at=at)
        return schemas.claim_spare(at=at)
