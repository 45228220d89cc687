"""Accepting sales, returns and voids: recorded once, in one statement, to be credited by a worker."""

import hashlib
import json
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, connections, transaction
from django.utils.translation import gettext as _

from members.models import IdempotencyRecord, Purchase
from members.services.named_sales import match_named, meet_sale, same_receipt
from members.services.purchase_input import LineInput, PurchaseInput
from members.services.refusals import KeyReused, ReceiptConflict, Refused
from tenants.context import current_client
from tenants.keys import uuid7
from tenants.routers import CLIENT

__all__ = ["Accepted", "Key", "LineInput", "PurchaseInput", "fingerprint", "record_purchase"]

Kind = Purchase.Kind
_A_MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Key:
    """A caller's idempotency key, already bound to client, caller and route, with the request it came with."""

    key: UUID
    request_hash: UUID

    @staticmethod
    def of(*, caller: str, route: str, key: str, body: Any) -> "Key":
        """The key of one caller for one route; the hash covers the parsed body."""
        request = json.dumps(body, sort_keys=True, default=str)
        return Key(_uuid(f"{caller}\n{route}\n{key}"), _uuid(request))


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of a purchase: newly recorded, counted before, or answered before under the same key."""

    purchase_id: UUID
    repeated: bool = False
    answer: dict[str, Any] | None = None
    status: int = 201


def record_purchase(
    *, purchase: PurchaseInput, at: datetime, key: Key | None = None, answer: dict[str, Any] | None = None
) -> Accepted:
    """
    Record a purchase with its lines, its work item and the answer kept for the caller's key.

    A sale is one statement. The same receipt counts once over all channels.

    :raises ReceiptConflict: the receipt is recorded with other content
    :raises KeyReused: the key came with another request before
    :raises UnknownPurchase: a void names a sale that is not there; or a return does, and does not say what came back
    :raises OverReturn: more would come back than is left of a line
    """
    try:
        # Within a transaction of the caller's an error must not end it: the answer is looked up in it.
        with transaction.atomic() if transaction.get_connection().in_atomic_block else nullcontext():
            return _record(purchase=purchase, at=at, key=key, answer=answer)
    except IntegrityError:
        # Another request with the same key was quicker.
        if known := _answered(key):
            return known
        raise


def _record(*, purchase: PurchaseInput, at: datetime, key: Key | None, answer: dict[str, Any] | None) -> Accepted:
    mark = fingerprint(purchase)
    _check_paid(purchase)
    if purchase.kind == Kind.SALE:
        return _insert(purchase=purchase, mark=mark, at=at, key=key, answer=answer)
    if known := _answered(key):
        return known
    with transaction.atomic():
        purchase, sold = meet_sale(purchase)
        if answer is not None and purchase.sale_document and purchase.sale_id is None:
            answer["waits_for_sale"] = True
        accepted = _insert(purchase=purchase, mark=mark, at=at, key=key, answer=answer)
        if sold and not accepted.repeated:
            match_named(purchase_id=accepted.purchase_id)
    return accepted


def _check_paid(purchase: PurchaseInput) -> None:
    if purchase.paid_by_points and purchase.kind != Kind.SALE:
        raise Refused(_("Only a sale can be paid by points."), field="paid_by_points")
    if not 0 <= purchase.paid_by_points <= max(0, purchase.amount):
        raise Refused(_("Between 0 and the amount of the sale."), field="paid_by_points")


def _insert(
    *, purchase: PurchaseInput, mark: UUID, at: datetime, key: Key | None, answer: dict[str, Any] | None
) -> Accepted:
    with connections[CLIENT].cursor() as cursor:
        cursor.execute(_RECORD, _row(purchase=purchase, mark=mark, at=at, key=key, answer=answer))
        new_id, request_hash, status, body = cursor.fetchone()
    if request_hash is not None and key is not None:
        return _replay(key=key, request_hash=request_hash, status=status, body=body)
    if new_id is not None:
        return Accepted(new_id)
    return _known_receipt(purchase=purchase, mark=mark, key=key)


def _known_receipt(*, purchase: PurchaseInput, mark: UUID, key: Key | None) -> Accepted:
    if known := _answered(key):
        return known
    before = same_receipt(purchase).get()
    if before.fingerprint != mark:
        raise ReceiptConflict(_("This document is recorded already, with other content."), field="document")
    return Accepted(before.pk, repeated=True, status=200)


def _answered(key: Key | None) -> Accepted | None:
    record = IdempotencyRecord.objects.filter(pk=key.key).first() if key else None
    if record is None or key is None:
        return None
    return _replay(key=key, request_hash=record.request_hash, status=record.status, body=record.body)


def _replay(*, key: Key, request_hash: UUID, status: int, body: Any) -> Accepted:
    if request_hash != key.request_hash:
        raise KeyReused(_("This Idempotency-Key came with another request before."), field="Idempotency-Key")
    answer = json.loads(body) if isinstance(body, str) else body
    return Accepted(UUID(answer["id"]), repeated=True, answer=answer, status=status)


def fingerprint(purchase: PurchaseInput) -> UUID:
    """What two reports of the same receipt must agree on, whatever channel they come by."""
    parts = [purchase.kind, purchase.member_id, purchase.currency, purchase.amount, purchase.sale_document]
    if purchase.paid_by_points:
        parts.append(purchase.paid_by_points)
    return _uuid("\n".join(map(str, parts)))


def _uuid(text: str) -> UUID:
    return UUID(bytes=hashlib.sha256(text.encode()).digest()[:16])


def _row(
    *, purchase: PurchaseInput, mark: UUID, at: datetime, key: Key | None, answer: dict[str, Any] | None
) -> dict[str, Any]:
    purchase_id = uuid7()
    body = {"id": str(purchase_id), **(answer or {})}
    return {
        "id": purchase_id,
        "kind": str(purchase.kind),
        "document": purchase.document,
        "location": purchase.location_id,
        "terminal": purchase.terminal,
        "clerk": purchase.clerk_id,
        "channel": purchase.channel,
        "source": purchase.source,
        "member": purchase.member_id,
        "sale": purchase.sale_id,
        "sale_document": purchase.sale_document,
        "paid_by_points": purchase.paid_by_points,
        "currency": purchase.currency,
        "amount": purchase.amount,
        "occurred_at": purchase.occurred_at,
        "in_turn_at": _turn(purchase),
        "at": at,
        "zone": current_client().time_zone,
        "fingerprint": mark,
        "lines": json.dumps([_line(line, place) for place, line in _placed(purchase)]),
        "key": key.key if key else None,
        "request_hash": key.request_hash if key else None,
        "body": json.dumps(body),
    }


def _turn(purchase: PurchaseInput) -> datetime:
    """When it is credited: a return after the sales of its instant, and after its own sale whatever the clock says."""
    if purchase.kind == Kind.SALE:
        return purchase.occurred_at
    return max(purchase.occurred_at, purchase.not_before or purchase.occurred_at) + _A_MOMENT


def _placed(purchase: PurchaseInput) -> Iterable[tuple[int, LineInput]]:
    """Lines in their order; those of a return that waits for its sale say themselves where in it they stand."""
    if purchase.kind == Kind.RETURN and purchase.sale_document and purchase.sale_id is None:
        return [(line.position or place, line) for place, line in enumerate(purchase.lines, start=1)]
    return enumerate(purchase.lines, start=1)


def _line(line: LineInput, position: int) -> dict[str, Any]:
    return {
        "id": str(uuid7()),
        "position": position,
        "sku": line.sku,
        "category": line.category,
        "quantity": str(line.quantity),
        "unit_price": None if line.unit_price is None else str(line.unit_price),
        "discount": line.discount,
        "amount": line.amount,
        "earning": line.earning,
        "sale_line_id": str(line.sale_line_id) if line.sale_line_id else None,
    }


_RECORD = """
    WITH known AS (
        SELECT request_hash, status, body FROM members_idempotencyrecord WHERE key = %(key)s
    ), p AS (
        INSERT INTO members_purchase (id, kind, document, location_id, terminal, clerk_id, channel, source, member_id,
                                      sale_id, sale_document, currency, amount, paid_by_points, occurred_at,
                                      received_at, day, fingerprint)
        SELECT %(id)s, %(kind)s, %(document)s, %(location)s::uuid, %(terminal)s, %(clerk)s::uuid, %(channel)s,
               %(source)s, %(member)s, %(sale)s::uuid, %(sale_document)s, %(currency)s, %(amount)s, %(paid_by_points)s,
               %(occurred_at)s, %(at)s,
               (%(occurred_at)s AT TIME ZONE %(zone)s)::date, %(fingerprint)s
        WHERE NOT EXISTS (SELECT FROM known)
        ON CONFLICT (document, kind, location_id) DO NOTHING
        RETURNING id
    ), l AS (
        INSERT INTO members_purchaseline (id, purchase_id, position, sku, category, quantity, unit_price, discount,
                                          amount, earning, sale_line_id, returned)
        SELECT r.id, p.id, r.position, r.sku, r.category, r.quantity, r.unit_price, r.discount, r.amount, r.earning,
               r.sale_line_id, 0
        FROM p, jsonb_to_recordset(%(lines)s::jsonb) AS r(id uuid, position smallint, sku text, category text,
             quantity numeric, unit_price numeric, discount bigint, amount bigint, earning boolean, sale_line_id uuid)
    ), i AS (
        INSERT INTO members_idempotencyrecord (key, request_hash, status, body, at)
        SELECT %(key)s, %(request_hash)s, 201, %(body)s::jsonb, %(at)s FROM p WHERE %(key)s::uuid IS NOT NULL
    ), w AS (
        INSERT INTO members_workitem (source_id, kind, member_id, occurred_at, attempts, error)
        SELECT id, 'purchase', %(member)s, %(in_turn_at)s, 0, '' FROM p
        RETURNING public.note_work()
    )
    SELECT (SELECT id FROM p), (SELECT request_hash FROM known), (SELECT status FROM known), (SELECT body FROM known)
    FROM (SELECT count(*) FROM w) AS noted
"""
