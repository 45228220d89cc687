"""What a program document says, once it has been read and found sound."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date, time
from decimal import Decimal
from typing import Final, Literal, TypeAlias, get_args

UnitKind: TypeAlias = Literal["points", "stamps", "money"]
ExpiryPolicy: TypeAlias = Literal["none", "rolling", "calendar", "sliding"]
Trigger: TypeAlias = Literal["line", "purchase", "visit", "activity", "sign_up", "birthday"]
Op: TypeAlias = Literal["eq", "ne", "in", "not_in", "gt", "gte", "lt", "lte", "between"]
EffectKind: TypeAlias = Literal["per_amount", "per_quantity", "fixed", "table", "multiplier"]
Rounding: TypeAlias = Literal["down", "nearest", "up"]
Remainder: TypeAlias = Literal["drop", "carry"]
Period: TypeAlias = Literal["day", "week", "month", "year", "ever"]
TierBasis: TypeAlias = Literal["spend", "count", "earned", "quantity"]
TierPeriod: TypeAlias = Literal["rolling", "calendar", "anniversary", "lifetime"]
Downgrade: TypeAlias = Literal["to_level", "one_step", "none"]
RewardKind: TypeAlias = Literal["discount", "product", "money"]
Segment: TypeAlias = Literal["new", "regular", "champion", "slipping", "lapsed", "none"]
Number: TypeAlias = int | Decimal
Value: TypeAlias = int | Decimal | str | bool

UNIT_KINDS: Final[tuple[UnitKind, ...]] = get_args(UnitKind)
EXPIRY_POLICIES: Final[tuple[ExpiryPolicy, ...]] = get_args(ExpiryPolicy)
TRIGGERS: Final[tuple[Trigger, ...]] = get_args(Trigger)
OPS: Final[tuple[Op, ...]] = get_args(Op)
EFFECT_KINDS: Final[tuple[EffectKind, ...]] = get_args(EffectKind)
ROUNDINGS: Final[tuple[Rounding, ...]] = get_args(Rounding)
REMAINDERS: Final[tuple[Remainder, ...]] = get_args(Remainder)
PERIODS: Final[tuple[Period, ...]] = get_args(Period)
TIER_BASES: Final[tuple[TierBasis, ...]] = get_args(TierBasis)
TIER_PERIODS: Final[tuple[TierPeriod, ...]] = get_args(TierPeriod)
DOWNGRADES: Final[tuple[Downgrade, ...]] = get_args(Downgrade)
REWARD_KINDS: Final[tuple[RewardKind, ...]] = get_args(RewardKind)
SEGMENTS: Final[tuple[Segment, ...]] = get_args(Segment)

LIMIT: Final = 10**15
"""No number in a document, and no single credit, is larger: a ledger of 64-bit integers stays far from its end."""

_DECIMAL: Final = re.compile(r"-?[0-9]{1,16}(\.[0-9]{1,3})?")


def decimal_text(text: str) -> bool:
    """Tell whether a text is a plain number of at most three places, such as "2.5"."""
    return _DECIMAL.fullmatch(text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpirySpec:
    """How long earned units last; `months` is 0 when they never, and counts from the last deed when it slides."""

    policy: ExpiryPolicy = "none"
    months: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitSpec:
    """A kind of thing members earn; amounts, `debt_limit` too, are whole numbers of its smallest step."""

    code: str
    name: str
    kind: UnitKind
    decimals: int = 0
    pending_days: int = 0
    expiry: ExpirySpec = ExpirySpec()
    may_owe: bool = False
    debt_limit: int | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that must hold; `value` is a tuple for in, not_in and between."""

    field: str
    op: Op
    value: Value | tuple[Value, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a rule grants. Only the fields of its kind mean anything."""

    kind: EffectKind
    points: int = 0
    per: int = 1
    property: str = "quantity"
    steps: tuple[tuple[Number, int], ...] = ()
    factor: Decimal = Decimal(1)
    of: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberCap:
    """The most a member gets from a rule in one period."""

    period: Period
    points: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """The limits of a rule, in units' smallest steps; None means no limit."""

    per_purchase: int | None = None
    per_member: MemberCap | None = None
    budget: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """ISO weekdays and, unless None, the hours from `starts` until just before `ends` (past midnight if earlier)."""

    weekdays: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7)
    starts: time | None = None
    ends: time | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSpec:
    """One earning rule; both ends of its validity are inclusive local days."""

    code: str
    name: str
    unit: str
    trigger: Trigger
    effect: Effect
    conditions: tuple[Condition, ...] = ()
    rounding: Rounding = "down"
    remainder: Remainder = "drop"
    caps: Caps = Caps()
    priority: int = 0
    group: str | None = None
    valid_from: date | None = None
    valid_until: date | None = None
    schedule: Schedule | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TierSpec:
    """A level: the basis needed to enter it and, never more, to keep it."""

    code: str
    name: str
    enter: int
    keep: int
    benefits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TierSetSpec:
    """
    The levels in ascending order, what they count (`unit` of what is earned), over which period, and how they fall.

    `period_months` is for a window that rolls. Once read, a document's set names its period.
    """

    basis: TierBasis
    levels: tuple[TierSpec, ...]
    property: str | None = None
    period_months: int | None = None
    period: TierPeriod | None = None
    downgrade: Downgrade = "to_level"
    unit: str | None = None
    counted: UnitSpec | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardSpec:
    """What members can get: `price` in the unit's smallest step, `value` in minor units of the currency."""

    code: str
    name: str
    kind: RewardKind
    unit: str
    price: int
    value: int
    active: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferSpec:
    """A text for the members of some segments, with a bonus of `points` in `unit` unless `points` is 0."""

    code: str
    name: str
    segments: tuple[Segment, ...]
    text: str
    points: int = 0
    unit: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EarningSpec:
    """Whether lines that do not earn by themselves (gift cards), and what is paid by points, earn all the same."""

    gift_cards: bool = False
    paid_by_points: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramSpec:
    """A whole program, as promised to members."""

    name: str
    units: tuple[UnitSpec, ...]
    rules: tuple[RuleSpec, ...] = ()
    tiers: TierSetSpec | None = None
    rewards: tuple[RewardSpec, ...] = ()
    offers: tuple[OfferSpec, ...] = ()
    earning: EarningSpec = EarningSpec()


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a document: where, and what is wrong in plain English."""

    path: str
    message: str
    subject: str = field(default="", compare=False)

    def __str__(self) -> str:
        """Return a whole sentence, such as `Rule "penny": effect.per must be a whole number above 0.`"""
        return f"{self.subject or self.path or 'The document'} {self.message}."


class ProgramError(ValueError):
    """The document is not a program; `problems` holds everything that is wrong with it."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems
