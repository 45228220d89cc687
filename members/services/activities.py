"""Things other than purchases that earn: trips, visits, reviews, sign-ups, birthdays."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connections
from django.utils.translation import gettext as _

from members.models import Activity
from members.services.refusals import ReceiptConflict
from tenants.context import current_client
from tenants.keys import uuid7
from tenants.routers import CLIENT


@dataclass(frozen=True)
class RecordedActivity:
    """An accepted activity; `repeated` if it had been recorded before."""

    id: UUID
    repeated: bool


def record_activity(
    *,
    member_id: UUID,
    kind: str,
    reference: str,
    source: str,
    occurred_at: datetime,
    at: datetime,
    amount: int = 0,
    properties: dict[str, Any] | None = None,
    location_id: UUID | None = None,
    channel: str = "",
) -> RecordedActivity:
    """
    Keep one activity, once per kind and reference, to be credited by a worker.

    :raises ReceiptConflict: if the reference is recorded with other content
    """
    properties = {name: _plain(value) for name, value in (properties or {}).items()}
    content = {"member": str(member_id), "amount": amount, "properties": properties}
    fingerprint = UUID(bytes=hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).digest()[:16])
    row: dict[str, Any] = {
        "id": uuid7(),
        "kind": kind,
        "reference": reference,
        "member": member_id,
        "location": location_id,
        "channel": channel,
        "source": source,
        "amount": amount,
        "properties": json.dumps(properties, default=str),
        "occurred_at": occurred_at,
        "at": at,
        "zone": current_client().time_zone,
        "fingerprint": fingerprint,
    }
    with connections[CLIENT].cursor() as cursor:
        cursor.execute(_INSERT, row)
        (new_id,) = cursor.fetchone()
    if new_id:
        return RecordedActivity(new_id, repeated=False)
    known = Activity.objects.get(kind=kind, reference=reference)
    if known.fingerprint != fingerprint:
        raise ReceiptConflict(_("This reference is recorded already, with other content."), field="reference")
    return RecordedActivity(known.pk, repeated=True)


def _plain(value: Any) -> Any:
    """A decimal as JSON keeps a number: rules count with numbers and only compare texts."""
    if not isinstance(value, Decimal):
        return value
    return int(value) if value == value.to_integral_value() else float(value)


_INSERT = """
    WITH a AS (
        INSERT INTO members_activity (id, kind, reference, member_id, location_id, channel, source, amount, properties,
                                      occurred_at, received_at, day, fingerprint)
        VALUES (%(id)s, %(kind)s, %(reference)s, %(member)s, %(location)s, %(channel)s, %(source)s, %(amount)s,
                %(properties)s::jsonb, %(occurred_at)s, %(at)s, (%(occurred_at)s AT TIME ZONE %(zone)s)::date,
                %(fingerprint)s)
        ON CONFLICT (kind, reference) DO NOTHING
        RETURNING id, member_id, occurred_at
    ), w AS (
        INSERT INTO members_workitem (source_id, kind, member_id, occurred_at, attempts, error)
        SELECT id, 'activity', member_id, occurred_at, 0, '' FROM a
        RETURNING public.note_work()
    )
    SELECT (SELECT id FROM a) FROM (SELECT count(*) FROM w) AS noted
"""
