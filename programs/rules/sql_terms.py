"""Conditions, schedules and effects as terms of SQL; every value travels as a parameter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from programs.rules.arithmetic import thousandths
from programs.rules.conditions import looks_at_lines
from programs.rules.specs import Condition, Effect, RuleSpec, Schedule, Value

Put: TypeAlias = Callable[[object], str]

_ORDER: Final[Mapping[str, str]] = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_OF_A_LINE: Final[Mapping[str, str]] = {
    "amount": "l.amount",
    "quantity": "l.quantity",
    "category": "l.category",
    "sku": "l.sku",
}
_OF_A_SALE: Final[Mapping[str, str]] = {
    "amount": "s.amount",
    "quantity": "s.pieces",
    "location": "s.location",
    "channel": "s.channel",
    "weekday": "extract(isodow FROM s.day)::integer",
    "hour": "extract(hour FROM s.local)::integer",
    "tier": "s.tier",
    "segment": "s.segment",
    "first_purchase": "(s.earlier = 0)",
    "activity": "''::text",
}
OF_ANY_LINE: Final = frozenset({"category", "sku"})


@dataclass(slots=True)
class Terms:
    """The parameters of one statement; `wide` counts in numerics, which have no end, otherwise in 64-bit integers."""

    prefix: str
    wide: bool
    values: dict[str, object] = field(default_factory=dict)

    def put(self, value: object) -> str:
        """Take up a value and return what stands for it."""
        name = f"{self.prefix}{len(self.values)}"
        self.values[name] = value
        return f"%({name})s"

    @property
    def whole(self) -> str:
        """The type that is counted in."""
        return "numeric" if self.wide else "bigint"

    def divided(self, dividend: str, divisor: int) -> str:
        """A quotient of numbers that are not negative, rounded down."""
        if divisor == 1:
            return f"({dividend})"
        return f"div({dividend}, {self.put(divisor)})" if self.wide else f"(({dividend}) / {self.put(divisor)})"


# ── conditions ──────────────────────────────────────────────────────────────────────────────────────────────────────


def line_conditions(rule: RuleSpec, terms: Terms) -> str:
    """What must hold of a line `l` for a line rule."""
    asked = [_compared(_OF_A_LINE[one.field], one, terms.put) for one in rule.conditions if looks_at_lines(one)]
    return _all(["l.earning", *asked])


def some_line(condition: Condition, terms: Terms) -> str:
    """What the lines together say to a condition of a rule for whole sales: some one, or each of them."""
    holds = _compared(_OF_A_LINE[condition.field], condition, terms.put)
    if condition.op in ("eq", "in"):
        return f"bool_or(l.earning AND {holds})"
    return f"bool_and(NOT l.earning OR {holds})"


def gate(rule: RuleSpec, terms: Terms, some: Mapping[int, str]) -> str:
    """What must hold of a sale `s`; `some` names the columns with what its lines said, by the condition's place."""
    asked = [*_validity(rule, terms)]
    if rule.trigger == "visit":
        asked.append("s.last_visit IS DISTINCT FROM s.day")
    if rule.trigger == "purchase":
        asked.append("s.earns")
    for place, condition in enumerate(rule.conditions):
        if rule.trigger == "line" and looks_at_lines(condition):
            continue
        asked.append(some[place] if place in some else _sale_condition(condition, terms))
    return _all(asked)


def _sale_condition(condition: Condition, terms: Terms) -> str:
    if condition.field.startswith("properties."):
        # A sale has no properties: they are unlike all, and neither above nor below.
        return "true" if condition.op in ("ne", "not_in") else "false"
    return _compared(_OF_A_SALE[condition.field], condition, terms.put)


def _compared(column: str, condition: Condition, put: Put) -> str:
    op, value = condition.op, condition.value
    if op in ("eq", "in"):
        return f"COALESCE({column} = ANY({put(_several(value))}), false)"
    if op in ("ne", "not_in"):
        return f"COALESCE({column} <> ALL({put(_several(value))}), true)"
    if op == "between":
        low, high = value if isinstance(value, tuple) else (value, value)
        return f"COALESCE({column} BETWEEN {put(low)} AND {put(high)}, false)"
    return f"COALESCE({column} {_ORDER[op]} {put(value)}, false)"


def _several(value: Value | tuple[Value, ...]) -> list[Value]:
    return list(value) if isinstance(value, tuple) else [value]


def _validity(rule: RuleSpec, terms: Terms) -> list[str]:
    asked = []
    if rule.valid_from is not None:
        asked.append(f"s.day >= {terms.put(rule.valid_from)}")
    if rule.valid_until is not None:
        asked.append(f"s.day <= {terms.put(rule.valid_until)}")
    if rule.schedule is not None:
        asked.append(_scheduled(rule.schedule, terms))
    return asked


def _scheduled(schedule: Schedule, terms: Terms) -> str:
    """The weekly schedule; hours past midnight belong to the day before."""
    on_day = f"extract(isodow FROM s.day)::integer = ANY({terms.put(list(schedule.weekdays))})"
    starts, ends = schedule.starts, schedule.ends
    if starts is None or ends is None:
        return on_day
    since, before = f"s.local::time >= {terms.put(starts)}", f"s.local::time < {terms.put(ends)}"
    if starts < ends:
        return _all([on_day, since, before])
    eves = terms.put([day % 7 + 1 for day in schedule.weekdays])
    return f"CASE WHEN {before} THEN extract(isodow FROM s.local)::integer = ANY({eves}) ELSE {since} AND {on_day} END"


def _all(asked: Sequence[str]) -> str:
    return "(" + (" AND ".join(asked) or "true") + ")"


# ── effects ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def line_value(effect: Effect, terms: Terms) -> str:
    """What a line `l` offers to an effect."""
    return f"l.amount::{terms.whole}" if effect.kind == "per_amount" else f"floor(l.quantity * 1000)::{terms.whole}"


def sale_value(effect: Effect, terms: Terms) -> str:
    """What a sale `s` offers to an effect; one without lines has no quantity, and none has properties."""
    if effect.kind == "per_amount":
        return f"s.total::{terms.whole}"
    if effect.property != "quantity":
        return f"0::{terms.whole}"
    return f"COALESCE(floor(s.pieces * 1000), 0)::{terms.whole}"


def awarded(rule: RuleSpec, value: str, terms: Terms) -> str:
    """The points for a value, before caps and without what is carried."""
    effect = rule.effect
    match effect.kind:
        case "fixed":
            return f"{terms.put(effect.points)}::{terms.whole}"
        case "table":
            return _from_table(effect, value, terms)
        case _:
            points, per = rate(rule)
            return f"CASE WHEN {value} > 0 THEN {_rounded(rule, points, per, value, terms)} ELSE 0 END"


def rate(rule: RuleSpec) -> tuple[int, int]:
    """So many points for so many parts of the value."""
    effect = rule.effect
    if effect.kind == "multiplier":
        return (effect.factor - 1).as_integer_ratio()
    return effect.points, effect.per * 1000 if effect.kind == "per_quantity" else effect.per


def _rounded(rule: RuleSpec, points: int, per: int, value: str, terms: Terms) -> str:
    product = value if points == 1 else f"{value} * {terms.put(points)}"
    match rule.rounding:
        case "down":
            return terms.divided(product, per)
        case "nearest":
            return terms.divided(f"2 * {product} + {terms.put(per)}", 2 * per)
        case "up":
            return terms.divided(f"{product} + {terms.put(per - 1)}", per)


def _from_table(effect: Effect, value: str, terms: Terms) -> str:
    steps = [
        f"WHEN {value} >= {terms.put(thousandths(bound))} THEN {terms.put(points)}"
        for bound, points in reversed(effect.steps)
    ]
    return f"(CASE {' '.join(steps)} ELSE 0 END)::{terms.whole}"
