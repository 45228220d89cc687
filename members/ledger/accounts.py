"""What the book holds in memory: accounts, their open lots, and what a movement is about."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from members.models import Member


class NotEnoughPoints(Exception):
    """The account has less available than is asked for."""

    def __init__(self, *, asked: int, available: int) -> None:
        super().__init__(f"{asked} asked for, {available} available.")
        self.asked, self.available = asked, available


@dataclass(slots=True)
class OpenLot:
    """A lot with points in it, as the book sees it; one that slides ends when its account does."""

    entry_id: UUID
    remaining: int
    held: int
    available_at: datetime
    expires_at: datetime | None
    slides: bool = False

    @property
    def dates(self) -> tuple[datetime, datetime | None]:
        """Its own dates, as they are written."""
        return self.available_at, None if self.slides else self.expires_at

    def free(self, at: datetime) -> int:
        """What may be spent of it at `at`."""
        if self.available_at > at or (self.expires_at is not None and self.expires_at <= at):
            return 0
        return self.remaining - self.held


@dataclass(slots=True)
class Account:
    """One member's account of one unit while the book is open."""

    id: UUID
    member_id: UUID
    unit_id: UUID
    balance: int = 0
    debt: int = 0
    may_owe: bool = False
    debt_limit: int | None = None
    slides_until: datetime | None = None
    newest: UUID | None = None
    owed_before: int = field(default=0, init=False)
    slid_before: datetime | None = field(default=None, init=False)
    # What the id of its next entry lies above.
    floor: int = field(default=0, init=False)
    # How long it lasts after each deed, where expiry slides.
    months: int = 0
    is_new: bool = False
    has_lots: bool = False
    # The id as it is written, once instead of in every row.
    text: str = ""
    lots: dict[UUID, OpenLot] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.text = str(self.id)
        self.owed_before, self.slid_before = self.debt, self.slides_until
        self.floor = self.newest.int if self.newest is not None else 0

    def available(self, at: datetime) -> int:
        """What may be spent at `at`."""
        return sum(lot.free(at) for lot in self.lots.values())

    def owes(self, short: int) -> int:
        """How much of what is short becomes debt: all, nothing, or what the unit's limit leaves room for."""
        if not self.may_owe or self.debt_limit is None:
            return short if self.may_owe else 0
        return min(short, max(self.debt_limit - self.debt, 0))


# Not frozen: made once for every movement, and making a frozen one takes three times as long.
@dataclass(slots=True)
class Cause:
    """What a movement is about: its unique key, the purchase or activity, and the entry it corrects."""

    key: str
    occurred_at: datetime
    purchase_id: UUID | None = None
    activity_id: UUID | None = None
    corrects_id: UUID | None = None
    reason: str = ""
    made_by: UUID | None = None


def lock(member_ids: Iterable[UUID]) -> None:
    """Hold members in id order until the transaction ends, so that two writers never wait for each other in a ring."""
    list(
        Member.objects.select_for_update(no_key=True)
        .filter(pk__in=list(member_ids))
        .order_by("pk")
        .values_list("pk", flat=True)
    )
