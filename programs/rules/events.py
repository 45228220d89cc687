"""What happened, what is known of the member, and what the rules made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Final, Literal, NamedTuple, TypeAlias

EventKind: TypeAlias = Literal["sale", "activity", "sign_up", "birthday"]
Result: TypeAlias = Literal["fired", "lost_to", "capped", "not_eligible"]
NOTHING: Final[Mapping[str, int | str]] = {}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a sale; `amount` in minor units, net of discount. Not `earning` (a gift card): it earns nothing."""

    position: int
    sku: str
    category: str
    quantity: Decimal
    amount: int
    earning: bool = True


@dataclass(frozen=True, slots=True)
class Event:
    """Something that can earn: `local` in the client's zone, `day` its business day, `amount` in minor units."""

    kind: EventKind
    local: datetime
    day: date
    amount: int = 0
    lines: tuple[Line, ...] = ()
    location: str = ""
    channel: str = ""
    activity: str = ""
    properties: Mapping[str, Decimal | str] = field(default_factory=dict)


@dataclass(slots=True)
class MemberState:
    """
    What the rules have to know of a member; `evaluate` brings it up to date.

    `purchases` counts earlier sales, `remainders` is by rule code, `used` by rule code and period key.
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
    `lost_to` (a rule that fired on some lines and lost others).
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
    """An evaluation under way: the event, the state it changes and what has come of it so far."""

    __slots__ = ("budgets", "credits", "earns", "event", "lines", "outcomes", "size", "state", "total", "weights")

    def __init__(self, event: Event, state: MemberState, budgets: dict[str, int], outcomes: list[Outcome]) -> None:
        self.event = event
        self.state = state
        self.budgets = budgets
        self.outcomes = outcomes
        self.credits: dict[str, int] = {}
        self.lines = lines = event.lines
        self.size = len(lines)
        self.earns = True
        self.total = event.amount
        self.weights: list[int] = []
        if lines:
            self._weigh()

    def _weigh(self) -> None:
        """Add up the earning lines, and weigh each for its share of what the whole sale earns."""
        amounts = [line.amount if line.earning else 0 for line in self.lines]
        self.total = sum(amounts)
        self.weights = [amount if amount > 0 else 0 for amount in amounts]
        if not any(self.weights):
            self._weigh_worthless()

    def _weigh_worthless(self) -> None:
        """Weigh lines of which no earning one has an amount: earning ones alike, or all of them for a mere visit."""
        self.earns = any(line.earning for line in self.lines)
        if self.earns:
            self.weights = [1 if line.earning else 0 for line in self.lines]
        else:
            self.weights = [max(0, line.amount) for line in self.lines]
