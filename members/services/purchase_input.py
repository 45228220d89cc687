"""A purchase as a shop sent it, with its member and location already found."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from members.models import Purchase

Kind = Purchase.Kind


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
    `paid_by_points` is how much of a sale was paid with points or money of the program, in minor units.
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
    paid_by_points: int = 0
    sale_id: UUID | None = None
    not_before: datetime | None = None

    def __post_init__(self) -> None:
        if self.kind == Kind.SALE and not self.lines:
            object.__setattr__(self, "lines", (LineInput(quantity=Decimal(1), amount=self.amount),))
