"""What the conditions of rules let through: anything at all, one event for two rules, all that another does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Final, TypeAlias

from programs.rules.conditions import looks_at_lines
from programs.rules.specs import SEGMENTS, Condition, RuleSpec, Schedule, Value

_WHOLE: Final[Mapping[str, frozenset[Value]]] = {
    "weekday": frozenset(range(1, 8)),
    "hour": frozenset(range(24)),
    "segment": frozenset(SEGMENTS),
    "first_purchase": frozenset({True, False}),
}
_ANY_LINE: Final = frozenset({"category", "sku"})
_HOURS: Final = 24 * 60
_HOUR: Final = (1 << 60) - 1
_WEEK: Final = (1 << 7 * _HOURS) - 1
_END: Final = Decimal("Infinity")
Key: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Domain:
    """The values of one field that may be: among `allowed` (any, if None), not `barred`, between both ends."""

    allowed: frozenset[Value] | None = None
    barred: frozenset[Value] = frozenset()
    low: Decimal = -_END
    high: Decimal = _END
    open_low: bool = False
    open_high: bool = False

    def narrowed(self, condition: Condition) -> Domain:
        """Return what one more condition leaves."""
        value = condition.value
        values = frozenset(value if isinstance(value, tuple) else (value,))
        match condition.op:
            case "eq" | "in":
                return replace(self, allowed=values if self.allowed is None else self.allowed & values)
            case "ne" | "not_in":
                return replace(self, barred=self.barred | values)
            case "between":
                low, high = value if isinstance(value, tuple) else (value, value)
                return self._above(low, False)._below(high, False)
            case "gt" | "gte":
                return self._above(values, condition.op == "gt")
            case "lt" | "lte":
                return self._below(values, condition.op == "lt")

    def both(self, other: Domain) -> Domain:
        """Return what either lets through."""
        allowed = self.allowed if other.allowed is None else other.allowed
        if self.allowed is not None and other.allowed is not None:
            allowed = self.allowed & other.allowed
        found = replace(self, allowed=allowed, barred=self.barred | other.barred)
        return found._above(other.low, other.open_low)._below(other.high, other.open_high)

    @property
    def is_empty(self) -> bool:
        """Whether no value is left."""
        if self.low > self.high or (self.low == self.high and (self.open_low or self.open_high)):
            return True
        if self.low == self.high and self.low in self.barred:
            return True
        return self.allowed is not None and not any(self._lets(value) for value in self.allowed)

    def covers(self, other: Domain) -> bool:
        """Whether every value that the other lets through is let through here."""
        if other.allowed is not None:
            mine = self.allowed
            return all(self._lets(one) and (mine is None or one in mine) for one in other.allowed if other._lets(one))
        if self.allowed is not None or any(other._lets(value) for value in self.barred):
            return False
        above = self.low < other.low or (self.low == other.low and (not self.open_low or other.open_low))
        below = self.high > other.high or (self.high == other.high and (not self.open_high or other.open_high))
        return above and below

    def _lets(self, value: Value) -> bool:
        if value in self.barred:
            return False
        if isinstance(value, str | bool) or (self.low == -_END and self.high == _END):
            return True
        above = value > self.low or (value == self.low and not self.open_low)
        return above and (value < self.high or (value == self.high and not self.open_high))

    def _above(self, bound: object, is_open: bool) -> Domain:
        low = _number(bound)
        if low < self.low or (low == self.low and not is_open):
            return self
        return replace(self, low=low, open_low=is_open)

    def _below(self, bound: object, is_open: bool) -> Domain:
        high = _number(bound)
        if high > self.high or (high == self.high and not is_open):
            return self
        return replace(self, high=high, open_high=is_open)


def _number(bound: object) -> Decimal:
    if isinstance(bound, frozenset):
        (bound,) = bound
    return Decimal(bound) if isinstance(bound, int | Decimal) else _END


@dataclass(frozen=True, slots=True)
class Scope:
    """
    What a rule asks of an event: one value of each field, some line (`needed`), no line (`barred`).

    Fields of lines are kept apart where they are judged line by line.
    """

    fields: Mapping[Key, Domain]
    needed: tuple[tuple[str, frozenset[Value]], ...] = ()
    barred: Mapping[str, frozenset[Value]] = field(default_factory=dict)

    @property
    def contradictions(self) -> list[str]:
        """The fields of which nothing is left."""
        found = [name for (_where, name), domain in self.fields.items() if domain.is_empty]
        return [*found, *(name for name, values in self.needed if values <= self.barred.get(name, frozenset()))]

    def both(self, other: Scope) -> Scope:
        """Return what both ask."""
        fields = dict(self.fields)
        for key, domain in other.fields.items():
            fields[key] = fields[key].both(domain) if key in fields else domain
        names = {*self.barred, *other.barred}
        none: frozenset[Value] = frozenset()
        barred = {name: self.barred.get(name, none) | other.barred.get(name, none) for name in names}
        return Scope(fields, (*self.needed, *other.needed), barred)

    def covers(self, other: Scope) -> bool:
        """Whether whatever passes the other passes here."""
        for key, domain in self.fields.items():
            if key not in other.fields or not domain.covers(other.fields[key]):
                return False
        for name, values in self.needed:
            if not any(its == name and theirs <= values for its, theirs in other.needed):
                return False
        return all(values <= other.barred.get(name, frozenset()) for name, values in self.barred.items())


def scope_of(rule: RuleSpec) -> Scope:
    """Return what a rule asks by its conditions."""
    fields: dict[Key, Domain] = {}
    needed, barred = [], dict[str, frozenset[Value]]()
    for one in rule.conditions:
        if rule.trigger != "line" and one.field in _ANY_LINE:
            values = frozenset(one.value if isinstance(one.value, tuple) else (one.value,))
            if one.op in ("eq", "in"):
                needed.append((one.field, values))
            else:
                barred[one.field] = barred.get(one.field, frozenset()) | values
            continue
        key = ("line" if rule.trigger == "line" and looks_at_lines(one) else "sale", one.field)
        start = fields.get(key, Domain(allowed=_WHOLE.get(one.field)))
        fields[key] = start.narrowed(one)
    return Scope(fields, tuple(needed), barred)


# ── time ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def minutes_of(rule: RuleSpec) -> int:
    """Return the minutes of a week, a bit each, at which a rule can fire by its schedule and conditions."""
    fields = scope_of(rule).fields
    days = _let_through(fields.get(("sale", "weekday")), range(1, 8))
    hours = _let_through(fields.get(("sale", "hour")), range(24))
    by_conditions = sum(_HOUR << _HOURS * (day - 1) + 60 * hour for day in days for hour in hours)
    return by_conditions & _open_minutes(rule.schedule)


def _let_through(domain: Domain | None, values: Iterable[int]) -> list[int]:
    return [value for value in values if domain is None or domain.covers(Domain(allowed=frozenset({value})))]


def _open_minutes(schedule: Schedule | None) -> int:
    """Hours past midnight belong to the day before, those of a Sunday to the week's first day."""
    if schedule is None:
        return _WEEK
    starts, ends = 0, _HOURS
    if schedule.starts is not None and schedule.ends is not None:
        starts, ends = (at.hour * 60 + at.minute for at in (schedule.starts, schedule.ends))
        ends += 0 if starts < ends else _HOURS
    of_one_day = (1 << ends) - (1 << starts)
    found = 0
    for day in schedule.weekdays:
        found |= of_one_day << _HOURS * (day - 1)
    return (found | found >> 7 * _HOURS) & _WEEK


def meet_in_time(one: RuleSpec, other: RuleSpec) -> bool:
    """Whether there is a moment at which both are open."""
    starts = [rule.valid_from for rule in (one, other) if rule.valid_from]
    ends = [rule.valid_until for rule in (one, other) if rule.valid_until]
    if starts and ends and max(starts) > min(ends):
        return False
    return bool(minutes_of(one) & minutes_of(other))


def covers_in_time(one: RuleSpec, other: RuleSpec) -> bool:
    """Whether one is open whenever the other is."""
    if one.valid_from and (not other.valid_from or one.valid_from > other.valid_from):
        return False
    if one.valid_until and (not other.valid_until or one.valid_until < other.valid_until):
        return False
    return not minutes_of(other) & ~_open_minutes(one.schedule)


_SALE: Final = frozenset({"line", "purchase", "visit"})
_EVENTS: Final[Mapping[str, Sequence[str]]] = {
    "line": ("sale",),
    "purchase": ("sale",),
    "visit": ("sale", "visit"),
    "activity": ("activity", "visit"),
    "sign_up": ("sign_up",),
    "birthday": ("birthday",),
}


def can_meet(one: RuleSpec, other: RuleSpec) -> bool:
    """Whether a single event can pass both rules."""
    if not set(_EVENTS[one.trigger]) & set(_EVENTS[other.trigger]) or not meet_in_time(one, other):
        return False
    return not scope_of(one).both(scope_of(other)).contradictions


def named(conditions: Iterable[Condition], field_name: str) -> list[int]:
    """Return the places of the conditions about a field."""
    return [place for place, one in enumerate(conditions) if one.field == field_name]
