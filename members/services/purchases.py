"""Accepting sales, returns and voids: recorded once, in one statement, to be credited by a worker."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import IntegrityError, connections, transaction
from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from members import ledger
from members.models import IdempotencyRecord, Purchase, PurchaseLine
from members.services.refusals import KeyReused, OverReturn, ReceiptConflict, Refused, UnknownPurchase
from programs.rules import reversal
from tenants.context import current_client
from tenants.keys import uuid7
from tenants.routers import CLIENT

Kind = Purchase.Kind
_A_MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class LineInput:
    """One line as the shop sent it; amount in minor units, net of the discount. `sale_line_id` is set for returns."""

    quantity: Decimal
    amount: int
    sku: str = ""
    category: str = ""
    unit_price: Decimal | None = None
    discount: int = 0
    earning: bool = True
    position: int | None = None
    sale_line_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class PurchaseInput:
    """
    A sale, return or void as the shop sent it, with its member and location already found.

    A sale of which only the total is known is one line of that amount: so it can earn by line, and come back.
    """

    kind: str
    document: str
    member_id: UUID
    currency: str
    amount: int
    occurred_at: datetime
    lines: tuple[LineInput, ...] = ()
    source: str = "api"
    location_id: UUID | None = None
    location_code: str = ""
    terminal: str = ""
    channel: str = ""
    clerk_id: UUID | None = None
    sale_document: str = ""
    sale_id: UUID | None = None
    not_before: datetime | None = None

    def __post_init__(self) -> None:
        if self.kind == Kind.SALE and not self.lines:
            object.__setattr__(self, "lines", (LineInput(quantity=Decimal(1), amount=self.amount),))


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
    :raises UnknownPurchase: a return or void names a sale that is not there
    :raises OverReturn: more would come back than is left of a line
    """
    try:
        return _record(purchase=purchase, at=at, key=key, answer=answer)
    except IntegrityError:
        # Another request with the same key was quicker.
        if known := _answered(key):
            return known
        raise


def _record(*, purchase: PurchaseInput, at: datetime, key: Key | None, answer: dict[str, Any] | None) -> Accepted:
    mark = fingerprint(purchase)
    if purchase.kind == Kind.SALE:
        return _insert(purchase=purchase, mark=mark, at=at, key=key, answer=answer)
    if known := _answered(key):
        return known
    with transaction.atomic():
        purchase, sold = _meet_sale(purchase)
        accepted = _insert(purchase=purchase, mark=mark, at=at, key=key, answer=answer)
        if sold and not accepted.repeated:
            _match(purchase_id=accepted.purchase_id)
    return accepted


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
    before = _same_receipt(purchase).get()
    if before.fingerprint != mark:
        raise ReceiptConflict(_("This document is recorded already, with other content."), field="document")
    return Accepted(before.pk, repeated=True, status=200)


def _same_receipt(purchase: PurchaseInput) -> QuerySet[Purchase]:
    at_location = Q(location=purchase.location_id) if purchase.location_id else Q(location=None)
    return Purchase.objects.filter(at_location, document=purchase.document, kind=purchase.kind)


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
    parts = (purchase.kind, purchase.member_id, purchase.currency, purchase.amount, purchase.sale_document)
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
        "currency": purchase.currency,
        "amount": purchase.amount,
        "occurred_at": purchase.occurred_at,
        "in_turn_at": _turn(purchase),
        "at": at,
        "zone": current_client().time_zone,
        "fingerprint": mark,
        "lines": json.dumps([_line(line, i) for i, line in enumerate(purchase.lines, start=1)]),
        "key": key.key if key else None,
        "request_hash": key.request_hash if key else None,
        "body": json.dumps(body),
    }


def _turn(purchase: PurchaseInput) -> datetime:
    """When it is credited: a return after the sales of its instant, and after its own sale whatever the clock says."""
    if purchase.kind == Kind.SALE:
        return purchase.occurred_at
    return max(purchase.occurred_at, purchase.not_before or purchase.occurred_at) + _A_MOMENT


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


# ── returns and voids that name their sale ──────────────────────────────────────────────────────────────────────────


def _meet_sale(purchase: PurchaseInput) -> tuple[PurchaseInput, list[PurchaseLine]]:
    """Find the sale and turn the lines into lines of that sale; a void or a bare return takes all that is left."""
    if not purchase.sale_document:
        if purchase.kind == Kind.VOID:
            raise Refused(_("A void names the sale that it takes back."), field="sale")
        if not purchase.lines:
            raise Refused(_("A return names its sale, or the lines that come back."), field="lines")
        return purchase, []
    # A worker may be crediting this member's returns without a receipt, which take from the same lines.
    ledger.lock([purchase.member_id])
    sale = _sale(purchase)
    if purchase.member_id not in {sale.member_id, sale.member.merged_into_id}:
        raise Refused(_("This sale belongs to another member."), field="sale")
    sold = list(PurchaseLine.objects.select_for_update().filter(purchase=sale).order_by("position"))
    if _same_receipt(purchase).exists():
        return _with(purchase, sale=sale, lines=purchase.lines), []
    lines = _lines_back(purchase=purchase, sold=sold)
    return _with(purchase, sale=sale, lines=tuple(lines)), sold


def _sale(purchase: PurchaseInput) -> Purchase:
    sales = Purchase.objects.select_related("member").filter(kind=Kind.SALE, document=purchase.sale_document)
    found = list(sales.filter(location=purchase.location_id)[:1] if purchase.location_id else ()) or list(sales[:2])
    if len(found) != 1:
        raise UnknownPurchase(_("No sale has this document number."), field="sale")
    return found[0]


def _with(purchase: PurchaseInput, *, sale: Purchase, lines: tuple[LineInput, ...]) -> PurchaseInput:
    return replace(
        purchase,
        sale_id=sale.pk,
        lines=lines,
        amount=(purchase.kind != Kind.VOID and purchase.amount) or sum(line.amount for line in lines),
        not_before=sale.occurred_at,
    )


def _lines_back(*, purchase: PurchaseInput, sold: Sequence[PurchaseLine]) -> list[LineInput]:
    left = {line.pk: line.quantity - line.returned for line in sold}
    if not purchase.lines or purchase.kind == Kind.VOID:
        back = [_line_back(line, left=left[line.pk], part=left[line.pk]) for line in sold if left[line.pk]]
        if not back:
            raise OverReturn(_("Nothing is left of this sale to take back."), field="sale")
        if purchase.kind == Kind.RETURN and purchase.amount not in {0, sum(line.amount for line in back)}:
            raise Refused(_("This is not what is left of the sale: name the lines that come back."), field="amount")
        return back
    back = []
    for i, wanted in enumerate(purchase.lines):
        back += _take(wanted=wanted, sold=sold, left=left, field=f"lines.{i}")
    return back


def _take(*, wanted: LineInput, sold: Sequence[PurchaseLine], left: dict[UUID, Decimal], field: str) -> list[LineInput]:
    """The sale's lines that one line of the return takes from: the one at its position, or those of its sku."""
    need = abs(wanted.quantity)
    candidates = [
        line for line in sold if (line.position == wanted.position if wanted.position else line.sku == wanted.sku)
    ]
    if not candidates:
        raise OverReturn(_("The sale has no such line."), field=f"{field}.sku")
    back = []
    for line in candidates:
        if part := min(need, left[line.pk]):
            back.append(_line_back(line, left=left[line.pk], part=part))
            left[line.pk] -= part
            need -= part
    if need:
        raise OverReturn(_("More would come back than is left of this line."), field=f"{field}.quantity")
    return back


def _line_back(line: PurchaseLine, *, left: Decimal, part: Decimal) -> LineInput:
    """So many pieces of what is left of a line; however it is split, the amounts add up to the line's."""
    before = line.quantity - left
    amount = reversal(abs(line.amount), line.quantity, before, before + part)
    return LineInput(
        quantity=-part,
        amount=amount if line.amount < 0 else -amount,
        sku=line.sku,
        category=line.category,
        unit_price=line.unit_price,
        earning=line.earning,
        sale_line_id=line.pk,
    )


def _match(*, purchase_id: UUID) -> None:
    try:
        with connections[CLIENT].cursor() as cursor:
            cursor.execute(_MATCH_NAMED, {"purchase": purchase_id})
    except IntegrityError as error:
        raise OverReturn(_("More would come back than is left of a line."), field="lines") from error


_RECORD = """
    WITH known AS (
        SELECT request_hash, status, body FROM members_idempotencyrecord WHERE key = %(key)s
    ), p AS (
        INSERT INTO members_purchase (id, kind, document, location_id, terminal, clerk_id, channel, source, member_id,
                                      sale_id, currency, amount, occurred_at, received_at, day, fingerprint)
        SELECT %(id)s, %(kind)s, %(document)s, %(location)s::uuid, %(terminal)s, %(clerk)s::uuid, %(channel)s,
               %(source)s, %(member)s, %(sale)s::uuid, %(currency)s, %(amount)s, %(occurred_at)s, %(at)s,
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
_MATCH_NAMED = """
    WITH back AS (
        SELECT l.id AS return_line_id, l.sale_line_id, -l.quantity AS quantity,
               sum(-l.quantity) OVER (PARTITION BY l.sale_line_id ORDER BY l.position) + l.quantity AS earlier
        FROM members_purchaseline l WHERE l.purchase_id = %(purchase)s AND l.sale_line_id IS NOT NULL
    ), matched AS (
        INSERT INTO members_returnmatch (id, return_line_id, sale_line_id, before, quantity)
        SELECT new_id(), b.return_line_id, b.sale_line_id, s.returned + b.earlier, b.quantity
        FROM back b JOIN members_purchaseline s ON s.id = b.sale_line_id
        RETURNING sale_line_id, quantity
    )
    UPDATE members_purchaseline s SET returned = s.returned + m.quantity
    FROM (SELECT sale_line_id, sum(quantity) AS quantity FROM matched GROUP BY sale_line_id) m
    WHERE s.id = m.sale_line_id
"""
