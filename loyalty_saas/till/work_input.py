"""What a till sends: the key of each write, amounts, lines, and who is meant; read strictly, refused in words."""

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any, Final
from uuid import UUID

from django.http import HttpRequest
from django.utils.translation import gettext as _

from members.services.purchases import LineInput
from members.services.refusals import Refused
from programs.queries import products_by_sku

LARGEST: Final = 10**10
"""Minor units of one purchase at a till."""
MOST_LINES: Final = 100
LARGEST_QUANTITY: Final = Decimal(10_000)

Body = dict[str, Any]


@dataclass(frozen=True)
class ClientKey:
    """The key that a till makes for each write: a UUID of version 7, which tells when it was made."""

    value: UUID

    @property
    def made_at(self) -> datetime:
        """When the till made it, by the till's own clock."""
        return datetime.fromtimestamp((self.value.int >> 80) / 1000, UTC)

    @property
    def mark(self) -> str:
        """Ten characters of the key's random part, for a document's number."""
        return base64.b32encode(self.value.bytes[-7:]).decode()[:10]


def body_of(request: HttpRequest) -> Body:
    """The JSON object that a request carries. :raises Refused: it carries none"""
    try:
        body = json.loads(request.body or b"{}")
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise Refused(_("This request cannot be read."))
    return body


def key_of(text: Any) -> ClientKey:
    """The key of a write. :raises Refused: it is no UUID of version 7, or from no time a till can have"""
    try:
        key = ClientKey(UUID(str(text)))
        if key.value.version != 7:
            raise ValueError
        key.made_at  # noqa: B018 (raises for times that are none)
    except (ValueError, OverflowError, OSError):
        raise Refused(_("This request has no key of its own; load the page again."), field="key") from None
    return key


def id_of(text: Any, *, field: str) -> UUID:
    """An id. :raises Refused: if it is none"""
    try:
        return UUID(str(text))
    except ValueError:
        raise Refused(_("Choose one of those shown."), field=field) from None


def amount_of(value: Any, *, field: str = "amount") -> int:
    """An amount above 0 in minor units. :raises Refused: if it is none"""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= LARGEST:
        raise Refused(_("Enter an amount."), field=field)
    return value


def moment_of(value: Any, *, field: str) -> datetime:
    """A moment in UTC from milliseconds since 1970, as browsers count. :raises Refused: if it is none"""
    try:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError
        return datetime.fromtimestamp(value / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        raise Refused(_("This has no time."), field=field) from None


def lines_of(rows: Any) -> tuple[LineInput, ...]:
    """The lines of a sale, with category and whether they earn from the catalogue. :raises Refused: naming the line"""
    if not isinstance(rows, list) or len(rows) > MOST_LINES:
        raise Refused(_("At most %(n)s lines.") % {"n": MOST_LINES}, field="lines")
    read = [_line(row, field=f"lines.{place}") for place, row in enumerate(rows)]
    known = products_by_sku([sku for sku, _quantity, _price in read if sku])
    lines = []
    for sku, quantity, price in read:
        product = known.get(sku)
        amount = int((quantity * price).to_integral_value(ROUND_HALF_UP))
        category, earning = (product.category, product.earning) if product else ("", True)
        lines.append(LineInput(quantity, amount, sku, category, Decimal(price), earning=earning))
    return tuple(lines)


def quantity_of(value: Any, *, field: str) -> Decimal:
    """A quantity above 0, in thousandths at most. :raises Refused: if it is none"""
    try:
        quantity = Decimal(str(value))
        if not quantity.is_finite():
            raise InvalidOperation
        quantity = quantity.quantize(Decimal("0.001"))
    except InvalidOperation:
        raise Refused(_("Enter a quantity."), field=field) from None
    if not 0 < quantity <= LARGEST_QUANTITY:
        raise Refused(_("Enter a quantity."), field=field)
    return quantity


def _line(row: Any, *, field: str) -> tuple[str, Decimal, int]:
    if not isinstance(row, dict) or not isinstance(row.get("sku", ""), str):
        raise Refused(_("This request cannot be read."), field=field)
    sku = row.get("sku", "").strip()
    if len(sku) > 64 or "\x00" in sku:
        raise Refused(_("An article number has at most 64 characters."), field=f"{field}.sku")
    price = row.get("unit_price")
    if isinstance(price, bool) or not isinstance(price, int) or not 0 <= price <= LARGEST:
        raise Refused(_("Enter a price."), field=f"{field}.unit_price")
    return sku, quantity_of(row.get("quantity"), field=f"{field}.quantity"), price
