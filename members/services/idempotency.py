"""One effect for each key: the work and the answer to it are committed together, and the answer is given again."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connections, transaction
from django.utils.translation import gettext as _

from members.models import IdempotencyRecord
from members.services.purchases import Key
from members.services.refusals import KeyReused, Refused
from tenants.routers import CLIENT

Body = dict[str, Any]


class InFlight(Refused):
    """A request with this key is being worked on at this moment."""

    code = "in_flight"


@dataclass(frozen=True)
class Answer:
    """What was answered under a key; `replayed` if that was before."""

    status: int
    body: Body
    replayed: bool = False


def once(*, key: Key, status: int, at: datetime, work: Callable[[], Body]) -> Answer:
    """
    Do `work` in a transaction and keep the body it gives, or give again what was kept; a refusal keeps nothing.

    :raises InFlight: while another request with the key is at work
    :raises KeyReused: the key came with another request before
    """
    with transaction.atomic(durable=True):
        _hold(key)
        if known := answered(key):
            return known
        body = work()
        IdempotencyRecord.objects.create(key=key.key, request_hash=key.request_hash, status=status, body=body, at=at)
    return Answer(status, body)


def answered(key: Key) -> Answer | None:
    """The answer kept under a key. :raises KeyReused: it was to another request"""
    record = IdempotencyRecord.objects.filter(pk=key.key).first()
    if record is None:
        return None
    if record.request_hash != key.request_hash:
        raise KeyReused(_("This Idempotency-Key came with another request before."), field="Idempotency-Key")
    return Answer(record.status, record.body, replayed=True)


def keep(*, key: Key, status: int, body: Body, at: datetime) -> None:
    """Keep an answer whose effect was recorded before, or put another body in the place of the one kept."""
    IdempotencyRecord.objects.update_or_create(
        key=key.key, request_hash=key.request_hash, defaults={"status": status, "body": body, "at": at}
    )


def _hold(key: Key) -> None:
    """
    Keep others with the key out until the transaction ends.

    A lock by key, since a row that is not committed cannot be seen, only waited for.
    """
    number = int.from_bytes(key.key.bytes[:8], "big", signed=True)
    with connections[CLIENT].cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [number])
        (free,) = cursor.fetchone()
    if not free:
        raise InFlight(_("A request with this Idempotency-Key is being worked on."), field="Idempotency-Key")


def forget_answers(*, before: datetime) -> int:
    """Drop answers kept for callers' keys that are older than `before`; how many."""
    deleted, _by_model = IdempotencyRecord.objects.filter(at__lt=before).delete()
    return deleted
