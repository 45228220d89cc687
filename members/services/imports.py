"""
Purchases from a file: read and checked row by row into a staging table, then recorded a batch of documents at a time.

Each batch is one transaction that also removes its staged rows, so an import that was interrupted goes on where it
stopped; documents already recorded are counted, not recorded again.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import connections
from django.utils.translation import gettext as _

from members.copying import copy_lines, or_null, text
from members.models import ImportJob
from members.services.enrolment import new_number
from members.services.refusals import Refused
from tenants.context import current_client
from tenants.keys import uuid7
from tenants.routers import CLIENT

DOCUMENTS_PER_BATCH = 500
_ROWS_PER_COPY = 20_000
_LARGEST = Decimal(10) ** 12
# What the columns hold.
_QUANTITIES_BELOW, _PRICES_BELOW = Decimal(10) ** 11, Decimal(10) ** 12
_YEARS = range(1970, 2200)
# Our name for a column → the headers under which shops export it, the first being ours.
COLUMNS: dict[str, tuple[str, ...]] = {
    "document": ("purchase_id", "document", "invoice", "invoiceno", "order_id", "receipt"),
    "member": ("member_id", "member", "customer_id", "customerid", "card"),
    "timestamp": ("timestamp", "occurred_at", "date", "invoicedate", "datetime"),
    "amount": ("amount", "total", "line_total"),
    "currency": ("currency",),
    "sku": ("sku", "stockcode", "product_id", "item"),
    "description": ("description", "product", "name"),
    "category": ("category",),
    "quantity": ("qty", "quantity"),
    "unit_price": ("unit_price", "unitprice", "price"),
    "location": ("location", "store"),
    "channel": ("channel",),
    "paid_by_points": ("paid_by_points", "points_paid"),
}
REQUIRED = ("document", "member", "timestamp", "amount")
_LENGTHS = {"document": 64, "member": 254, "sku": 64, "category": 64, "location": 50, "channel": 20}


@dataclass(frozen=True)
class RowError:
    """One row that was refused: its number in the file (the header is row 1), the column and the rule."""

    number: int
    column: str
    message: str


@dataclass
class Reading:
    """What reading a file brought."""

    rows: int = 0
    errors: list[RowError] = field(default_factory=list)
    refused: int = 0


def match_header(header: Iterable[str], mapping: Mapping[str, str]) -> dict[str, str]:
    """
    Which of the file's columns is which of ours; `mapping` (ours → theirs) goes before the names we know.

    :raises Refused: naming the column that is missing, or a mapping that names none of the file's
    """
    theirs = {name.strip().lower(): name for name in header if name is not None}
    found: dict[str, str] = {}
    for ours, names in COLUMNS.items():
        if ours in mapping:
            if mapping[ours].strip().lower() not in theirs:
                raise Refused(_("The file has no column “%(name)s”.") % {"name": mapping[ours]}, field=ours)
            found[ours] = theirs[mapping[ours].strip().lower()]
        elif name := next((theirs[name] for name in names if name in theirs), None):
            found[ours] = name
    if unknown := set(mapping) - set(COLUMNS):
        raise Refused(_("There is no such field to map to."), field=sorted(unknown)[0])
    for ours in REQUIRED:
        if ours not in found:
            words = _("The file has no column for “%(name)s”; name it in the mapping.") % {"name": ours}
            raise Refused(words, field=ours)
    return found


@dataclass(frozen=True)
class RowReader:
    """Turns one row of the file into a staged row. Amounts become minor units; naive times are the client's local."""

    columns: Mapping[str, str]
    currency: str
    minor_digits: int
    zone: ZoneInfo
    shift: timedelta = timedelta(0)

    def read(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """:raises Refused: naming the column and the rule"""
        given = {ours: (row.get(theirs) or "").strip() for ours, theirs in self.columns.items()}
        for name, longest in _LENGTHS.items():
            if len(given.get(name, "")) > longest or "\x00" in given.get(name, ""):
                raise Refused(_("At most %(n)d characters, none of them NUL.") % {"n": longest}, field=name)
        for name in ("document", "member"):
            if not given[name]:
                raise Refused(_("This column is empty."), field=name)
        if given.get("currency") and given["currency"].upper() != self.currency:
            raise Refused(_("The shop's currency is %(currency)s.") % {"currency": self.currency}, field="currency")
        return self._values(given)

    def _values(self, given: Mapping[str, str]) -> dict[str, Any]:
        amount = self._minor(given["amount"])
        quantity = _decimal(given.get("quantity") or ("-1" if amount < 0 else "1"), column="quantity")
        if quantity == 0 or abs(quantity) >= _QUANTITIES_BELOW or quantity != quantity.quantize(Decimal("0.001")):
            raise Refused(_("A quantity is not 0, below 10^11, and has at most three decimals."), field="quantity")
        if quantity < 0 < amount:
            raise Refused(_("The amount is above 0 and the quantity below."), field="quantity")
        return {
            "document": given["document"],
            "member": given["member"],
            "occurred_at": self._time(given["timestamp"]),
            "amount": amount,
            # A line that gives money back is a return, whatever sign its quantity was exported with.
            "quantity": -abs(quantity) if amount < 0 else quantity,
            "unit_price": self._price(given.get("unit_price")),
            "sku": given.get("sku", ""),
            "category": given.get("category", ""),
            "description": given.get("description", "").replace("\x00", "")[:200],
            "location": given.get("location", ""),
            "channel": given.get("channel", ""),
            "paid_by_points": self._paid(given.get("paid_by_points"), amount=amount),
        }

    def _paid(self, written: str | None, *, amount: int) -> int:
        """What of the row points paid; within the row, so that it is within the sale."""
        paid = self._minor(written, column="paid_by_points") if written else 0
        if paid and not 0 <= paid <= amount:
            raise Refused(_("Between 0 and the amount of the row."), field="paid_by_points")
        return paid

    def _minor(self, written: str, *, column: str = "amount") -> int:
        value = _decimal(written, column=column).scaleb(self.minor_digits)
        return int(value.quantize(Decimal(1), rounding=ROUND_HALF_UP))

    def _price(self, written: str | None) -> Decimal | None:
        if not written:
            return None
        price = _decimal(written, column="unit_price").quantize(Decimal("0.0001"))
        if abs(price) >= _PRICES_BELOW:
            raise Refused(_("This number is too large."), field="unit_price")
        return price

    def _time(self, written: str) -> datetime:
        try:
            moment = datetime.fromisoformat(written)
        except ValueError:
            raise Refused(_("Write the time as 2026-03-31 18:05:00."), field="timestamp") from None
        if moment.year not in _YEARS or (moment + self.shift).year not in _YEARS:
            raise Refused(_("Write a time between 1970 and 2199."), field="timestamp")
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=self.zone)
        return moment + self.shift


def _decimal(written: str, *, column: str) -> Decimal:
    try:
        value = Decimal(written)
    except InvalidOperation:
        raise Refused(_("This is not a number; write it as 1234.56."), field=column) from None
    if not value.is_finite() or abs(value) > _LARGEST:
        raise Refused(_("This number is too large."), field=column)
    return value


# ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def stage(
    *, job: ImportJob, rows: Iterator[Mapping[str, Any]], reader: RowReader, progress: Callable[[int], None]
) -> Reading:
    """
    Read rows into the staging table, block by block; rows with an error are left out and listed.

    Belongs outside a transaction, so that `progress` can be kept. With a dry run nothing is staged.
    """
    reading, block = Reading(), []
    for number, row in enumerate(rows, start=2):
        try:
            block.append((number, reader.read(row)))
            reading.rows += 1
        except Refused as error:
            reading.refused += 1
            reading.errors.append(RowError(number, error.field, error.words))
        if len(block) >= _ROWS_PER_COPY:
            _copy(job=job, block=block)
            block = []
            progress(reading.rows + reading.refused)
    _copy(job=job, block=block)
    progress(reading.rows + reading.refused)
    return reading


_STAGED = ("document", "member", "occurred_at", "amount", "quantity", "unit_price", "sku", "category",
           "description", "location", "channel", "paid_by_points")  # fmt: skip


def _copy(*, job: ImportJob, block: list[tuple[int, dict[str, Any]]]) -> None:
    if job.dry_run or not block:
        return
    lines = ["\t".join([str(job.pk), str(number), *(_written(row[name]) for name in _STAGED)]) for number, row in block]
    with connections[CLIENT].cursor() as cursor:
        copy_lines(cursor=cursor, table="members_importrow", columns=("job_id", "number", *_STAGED), lines=lines)


def _written(value: Any) -> str:
    return text(value) if isinstance(value, str) else or_null(value)


def clear_staged(*, job: ImportJob) -> None:
    """Forget what an interrupted or refused reading has staged."""
    with connections[CLIENT].cursor() as cursor:
        cursor.execute("DELETE FROM members_importrow WHERE job_id = %s", [job.pk])


def hold(*, job_id: UUID) -> bool:
    """Take a job for this connection alone, until `let_go` or the connection's end; False if another has it."""
    with connections[CLIENT].cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [str(job_id)])
        return bool(cursor.fetchone()[0])


def let_go(*, job_id: UUID) -> None:
    """Give a held job back."""
    with connections[CLIENT].cursor() as cursor:
        cursor.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [str(job_id)])


def sort_into_batches(*, job: ImportJob) -> tuple[int, list[RowError]]:
    """Give each document its batch, oldest first; documents of two members are refused. How many documents remain."""
    with connections[CLIENT].cursor() as cursor:
        cursor.execute(_REFUSE_MIXED, {"job": job.pk})
        errors = [
            RowError(number, "member", _("The document has rows of another member.")) for (number,) in cursor.fetchall()
        ]
        cursor.execute(_SORT, {"job": job.pk, "size": DOCUMENTS_PER_BATCH})
        cursor.execute("SELECT count(DISTINCT (document, location)) FROM members_importrow WHERE job_id = %s", [job.pk])
        return cursor.fetchone()[0], errors


# ── recording ───────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Recorded:
    """What one batch of documents brought."""

    documents: int
    new: int
    conflicts: list[RowError]


def record_next_batch(*, job: ImportJob, at: datetime) -> Recorded | None:
    """Record the next batch inside the caller's transaction; None when nothing is staged any more."""
    with connections[CLIENT].cursor() as cursor:
        cursor.execute("SELECT min(batch) FROM members_importrow WHERE job_id = %s", [job.pk])
        batch = cursor.fetchone()[0]
        if batch is None:
            return None
        known = {"job": job.pk, "batch": batch, "at": at, "source": "import", **_client_settings()}
        _add_members(cursor=cursor, known=known)
        cursor.execute(_ADD_LOCATIONS, known)
        cursor.execute(_ADD_PRODUCTS, known)
        cursor.execute(_RECORD, known)
        new, documents = cursor.fetchone()
        cursor.execute(_CONFLICTS, known)
        conflicts = [
            RowError(number, "document", _("This document is recorded already, with other content."))
            for (number,) in cursor.fetchall()
        ]
        cursor.execute("DELETE FROM members_importrow WHERE job_id = %(job)s AND batch = %(batch)s", known)
    return Recorded(documents=documents, new=new, conflicts=conflicts)


def _client_settings() -> dict[str, str]:
    client = current_client()
    return {"currency": client.currency, "zone": client.time_zone}


def _add_members(*, cursor: Any, known: dict[str, Any]) -> None:
    """Make members for identifiers that lead to nobody yet."""
    cursor.execute(_UNKNOWN_MEMBERS, known)
    rows = [
        {"id": str(uuid7()), "number": new_number(), "value": value, "joined_at": joined_at.isoformat()}
        for value, joined_at in cursor.fetchall()
    ]
    if rows:
        cursor.execute(_ADD_MEMBERS, {"rows": json.dumps(rows)})


def documents_left(job_id: UUID) -> bool:
    """Whether rows of the job are staged."""
    with connections[CLIENT].cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT 1 FROM members_importrow WHERE job_id = %s)", [job_id])
        return bool(cursor.fetchone()[0])


_REFUSE_MIXED = """
    WITH mixed AS (
        SELECT document, location FROM members_importrow WHERE job_id = %(job)s
        GROUP BY document, location HAVING min(member) <> max(member)
    )
    DELETE FROM members_importrow r USING mixed
    WHERE r.job_id = %(job)s AND (r.document, r.location) = (mixed.document, mixed.location)
    RETURNING r.number
"""
_SORT = """
    WITH placed AS (
        SELECT document, location, (row_number() OVER (ORDER BY at, comes_back, number) - 1) / %(size)s AS batch
        FROM (SELECT document, location, min(occurred_at) AS at, min(number) AS number,
                     -- Of one instant, sales are recorded before what may take from them.
                     bool_or(amount < 0 OR quantity < 0)::int + bool_and(amount < 0 OR quantity < 0)::int AS comes_back
              FROM members_importrow WHERE job_id = %(job)s GROUP BY document, location) AS d
    )
    UPDATE members_importrow r SET batch = placed.batch FROM placed
    WHERE r.job_id = %(job)s AND (r.document, r.location) = (placed.document, placed.location)
"""
_UNKNOWN_MEMBERS = """
    SELECT r.member, min(r.occurred_at) FROM members_importrow r
    WHERE r.job_id = %(job)s AND r.batch = %(batch)s
      AND NOT EXISTS (SELECT 1 FROM members_identifier i WHERE i.value = r.member)
      AND NOT EXISTS (SELECT 1 FROM members_member m WHERE m.number = r.member)
    GROUP BY r.member ORDER BY min(r.number)
"""
_ADD_MEMBERS = """
    WITH new AS (
        SELECT r.* FROM jsonb_to_recordset(%(rows)s::jsonb)
             AS r(id uuid, number text, value text, joined_at timestamptz)
    ), m AS (
        INSERT INTO members_member (id, number, status, joined_at)
        SELECT n.id, n.number, 'active', n.joined_at FROM new n RETURNING id
    )
    INSERT INTO members_identifier (id, member_id, kind, value) SELECT new_id(), n.id, 'pos', n.value FROM new n
"""
_ADD_LOCATIONS = """
    INSERT INTO programs_location (id, code, name)
    SELECT new_id(), location, location FROM members_importrow
    WHERE job_id = %(job)s AND batch = %(batch)s AND location <> '' GROUP BY location ORDER BY location
    ON CONFLICT (code) DO NOTHING
"""
_ADD_PRODUCTS = """
    INSERT INTO programs_product (id, sku, name, category, earning)
    SELECT new_id(), sku, max(description), max(category), true FROM members_importrow
    WHERE job_id = %(job)s AND batch = %(batch)s AND sku <> '' GROUP BY sku ORDER BY sku
    ON CONFLICT (sku) DO NOTHING
"""
# A document with lines of both signs is a sale and a return under the same number. Lines travel as arrays with their
# document, one step after the other: the planner knows nothing of rows staged a moment ago.
_RECORD = """
    WITH rows AS (
        SELECT r.*, CASE WHEN r.amount < 0 OR r.quantity < 0 THEN 'return' ELSE 'sale' END AS kind
        FROM members_importrow r WHERE r.job_id = %(job)s AND r.batch = %(batch)s
    ), documents AS (
        SELECT r.document, r.kind, r.location, min(r.member) AS member, max(r.channel) AS channel,
               sum(r.amount) AS amount, sum(r.paid_by_points) AS paid, min(r.occurred_at) AS occurred_at,
               min(r.number) AS number,
               array_agg(r.sku ORDER BY r.number) AS skus, array_agg(r.category ORDER BY r.number) AS categories,
               array_agg(r.quantity ORDER BY r.number) AS quantities, array_agg(r.amount ORDER BY r.number) AS amounts,
               array_agg(r.unit_price ORDER BY r.number) AS prices
        FROM rows r GROUP BY r.document, r.kind, r.location
    ), known AS MATERIALIZED (
        SELECT new_id() AS id, d.*, o.id AS location_id, COALESCE(m.merged_into_id, m.id) AS member_id
        FROM (SELECT * FROM documents ORDER BY occurred_at, number) d
        LEFT JOIN programs_location o ON o.code = d.location
        JOIN members_member m ON m.id = COALESCE(
            (SELECT i.member_id FROM members_identifier i WHERE i.value = d.member
             ORDER BY i.kind = 'pos' DESC LIMIT 1),
            (SELECT n.id FROM members_member n WHERE n.number = d.member))
    ), p AS (
        INSERT INTO members_purchase (id, kind, document, location_id, terminal, channel, source, member_id, currency,
                                      amount, paid_by_points, occurred_at, received_at, day, fingerprint)
        SELECT k.id, k.kind, k.document, k.location_id, '', k.channel, %(source)s, k.member_id,
               %(currency)s, k.amount, k.paid, k.occurred_at, %(at)s, (k.occurred_at AT TIME ZONE %(zone)s)::date,
               substr(encode(sha256(convert_to(concat_ws(
                   E'\\n', k.kind, k.member_id, %(currency)s, k.amount, '', NULLIF(k.paid, 0)
               ), 'UTF8')), 'hex'), 1, 32)::uuid
        FROM known k
        ON CONFLICT (document, kind, location_id) DO NOTHING
        RETURNING id, member_id, occurred_at, kind
    ), taken AS MATERIALIZED (
        SELECT k.* FROM p JOIN known k ON k.id = p.id
    ), lines AS MATERIALIZED (
        SELECT t.id AS purchase_id, r.* FROM taken t
        CROSS JOIN LATERAL unnest(t.skus, t.categories, t.quantities, t.prices, t.amounts) WITH ORDINALITY
                   AS r(sku, category, quantity, price, amount, position)
    ), l AS (
        INSERT INTO members_purchaseline (id, purchase_id, position, sku, category, quantity, unit_price, discount,
                                          amount, earning, returned)
        SELECT new_id(), r.purchase_id, r.position, r.sku, COALESCE(NULLIF(r.category, ''), c.category, ''), r.quantity,
               r.price,
               0, r.amount, COALESCE(c.earning, true), 0
        FROM lines r LEFT JOIN programs_product c ON c.sku = r.sku
    ), w AS (
        INSERT INTO members_workitem (source_id, kind, member_id, occurred_at, attempts, error)
        SELECT p.id, 'purchase', p.member_id,
               p.occurred_at + CASE p.kind WHEN 'sale' THEN interval '0' ELSE interval '1 microsecond' END, 0, '' FROM p
        RETURNING source_id
    ), noted AS (
        SELECT public.note_work() WHERE EXISTS (SELECT 1 FROM w)
    )
    SELECT (SELECT count(*) FROM p), (SELECT count(DISTINCT (document, location)) FROM documents)
    FROM (SELECT count(*) FROM noted) AS n
"""
_CONFLICTS = """
    WITH documents AS (
        SELECT r.document, CASE WHEN r.amount < 0 OR r.quantity < 0 THEN 'return' ELSE 'sale' END AS kind,
               r.location, sum(r.amount) AS amount, min(r.number) AS number, min(r.member) AS member
        FROM members_importrow r WHERE r.job_id = %(job)s AND r.batch = %(batch)s GROUP BY 1, 2, 3
    )
    SELECT d.number FROM documents d LEFT JOIN programs_location o ON o.code = d.location
    JOIN members_purchase p ON p.document = d.document AND p.kind = d.kind AND p.location_id IS NOT DISTINCT FROM o.id
    JOIN members_member b ON b.id = p.member_id
    JOIN members_member m ON m.id = COALESCE(
        (SELECT i.member_id FROM members_identifier i WHERE i.value = d.member ORDER BY i.kind = 'pos' DESC LIMIT 1),
        (SELECT n.id FROM members_member n WHERE n.number = d.member))
    WHERE p.amount <> d.amount OR COALESCE(b.merged_into_id, b.id) <> COALESCE(m.merged_into_id, m.id) ORDER BY d.number
"""
