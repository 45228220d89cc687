"""What happened, what is known of the member, and what the rules made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Final, Literal, NamedTuple, TypeAlias

from programs.rules.arithmetic import distribute

EventKind: TypeAlias = Literal["sale", "activity", "sign_up", "birthday"]
Result: TypeAlias = Literal["fired", "lost_to", "capped", "not_eligible"]
NOTHING: Final[Mapping[str, int | str]] = {}


# Not frozen, though nothing changes them: made by the million, and making a frozen one takes three times as long.
@dataclass(slots=True, unsafe_hash=True)
class Line:
    """
    One line of a sale; `amount` in minor units, net of discount.

    Not `earning` (a gift card): it earns nothing, unless the program says that gift cards do.
    """

    position: int
    sku: str
    category: str
    quantity: Decimal
    amount: int
    earning: bool = True


@dataclass(slots=True, unsafe_hash=True)
class Event:
    """
    Something that can earn: `local` in the client's zone, `day` its business day, `amount` in minor units.

    `paid_by_points` is how much of the amount was paid with points or money of the program.
    """

    kind: EventKind
    local: datetime
    day: date
    amount: int = 0
    lines: tuple[Line, ...] = ()
    location: str = ""
    channel: str = ""
    activity: str = ""
    properties: Mapping[str, Decimal | str] = field(default_factory=dict)
    paid_by_points: int = 0


@dataclass(slots=True)
class MemberState:
    """
    What the rules have to know of a member; `evaluate` brings it up to date.

    `purchases` counts earlier sales, `remainders` is by rule code, `used` by rule code and period key. A remainder
    below zero is what a return took back of it: later purchases fill it first.
    """

    tier: str | None = None
    segments: frozenset[str] = frozenset()
    purchases: int = 0
    last_visit: date | None = None
    remainders: dict[str, int] = field(default_factory=dict)
    used: dict[tuple[str, str], int] = field(default_factory=dict)

    def copy(self) -> MemberState:
        """Return a state that can change without this one changing."""
        return MemberState(
            self.tier, self.segments, self.purchases, self.last_visit, dict(self.remainders), dict(self.used)
        )


class Outcome(NamedTuple):
    """
    What one rule made of an event; outcomes may be shared between evaluations, so treat `detail` as read-only.

    `line_amounts` stands beside the event's lines and sums to `amount`; it is empty for an event without lines.
    `detail` holds `before_cap` (what a cap cut), `would_earn` (what a lost rule would have given), `lost_lines` and
    `lost_to` (a rule that fired on some lines and lost others), `carried` (by how much the event moved the rule's
    remainder, in parts of `effects.scale`) and, with several lines, `carried_lines` (how that falls on them: "60,-40").
    """

    code: str
    unit: str
    result: Result
    amount: int
    line_amounts: tuple[int, ...]
    reason: str
    detail: Mapping[str, int | str]


class Evaluation(NamedTuple):
    """One outcome for each rule whose trigger fits the event, and the sum credited in each unit."""

    outcomes: tuple[Outcome, ...]
    credits: dict[str, int]


class Run:
    """
    An evaluation under way: the event, the state it changes and what has come of it so far.

    What was paid by points does not count for effects by amount: it is taken off all lines with an amount above 0 in
    proportion to their amounts, by largest remainder, and what is left stands in `counted` (0 for a line that does not
    earn) and, added up, in `total`. So the lines that earn count with their own share of what was paid otherwise, and
    a sale all of whose lines earn counts with exactly the rest. Conditions, effects by quantity, fixed effects and the
    weights by which points fall on lines see the sale as it was sold.
    """

    __slots__ = (
        "budgets", "counted", "credits", "earns", "event", "lines", "outcomes", "paid", "size", "state", "total",
        "weights",
    )  # fmt: skip

    def __init__(
        self, event: Event, state: MemberState, budgets: dict[str, int], outcomes: list[Outcome], paid: int = 0
    ) -> None:
        self.event = event
        self.state = state
        self.budgets = budgets
        self.outcomes = outcomes
        self.credits: dict[str, int] = {}
        self.lines = lines = event.lines
        self.size = len(lines)
        self.earns = True
        self.paid = paid
        self.total = event.amount - paid
        self.weights: list[int] = []
        self.counted: Sequence[int] = ()
        if lines:
            self._weigh()

    def _weigh(self) -> None:
        """Add up the earning lines, and weigh each for its share of what the whole sale earns."""
        amounts = [line.amount if line.earning else 0 for line in self.lines]
        self.weights = [amount if amount > 0 else 0 for amount in amounts]
        self.counted = self._less_what_points_paid(amounts) if self.paid else amounts
        self.total = sum(self.counted)
        if not any(self.weights):
            self._weigh_worthless()

    def _less_what_points_paid(self, amounts: Sequence[int]) -> list[int]:
        shares = distribute(self.paid, [max(0, line.amount) for line in self.lines])
        return [
            amount - share if line.earning else 0
            for line, amount, share in zip(self.lines, amounts, shares, strict=True)
        ]

    def _weigh_worthless(self) -> None:
        """Weigh lines of which no earning one has an amount: earning ones alike, or all of them for a mere visit."""
        self.earns = any(line.earning for line in self.lines)
        if self.earns:
            self.weights = [1 if line.earning else 0 for line in self.lines]
        else:
            self.weights = [max(0, line.amount) for line in self.lines]
