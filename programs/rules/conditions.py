"""Conditions as closures: each is built once and then only asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from operator import attrgetter, ge, gt, le, lt
from typing import Any, Final, TypeAlias, TypeVar

from programs.rules.arithmetic import is_number
from programs.rules.events import Line, Run
from programs.rules.specs import Condition, Number, Schedule, Value, decimal_text

_Subject = TypeVar("_Subject")
LineCheck: TypeAlias = Callable[[Line], bool]
RunCheck: TypeAlias = Callable[[Run], bool]

_ORDER: Final[Mapping[str, Callable[[Any, Any], bool]]] = {"gt": gt, "gte": ge, "lt": lt, "lte": le}
_OF_A_LINE: Final = frozenset({"amount", "category", "sku", "quantity"})
_OF_ANY_LINE: Final = frozenset({"category", "sku"})
_NO_SEGMENT: Final = frozenset({"none"})


def looks_at_lines(condition: Condition) -> bool:
    """Tell whether a condition of a line rule is judged line by line, and not once for the event."""
    return condition.field in _OF_A_LINE


def line_check(condition: Condition) -> LineCheck:
    """Return the condition as a question about one line."""
    return _check(condition, attrgetter(condition.field))


def run_check(condition: Condition) -> RunCheck:
    """Return the condition as a question about the event and the member."""
    if condition.field in _OF_ANY_LINE:
        return _some_line(line_check(condition)) if condition.op in ("eq", "in") else _each_line(line_check(condition))
    if condition.field == "segment":
        return _segment_check(condition)
    return _check(condition, _reader(condition))


def schedule_check(schedule: Schedule) -> RunCheck:
    """Return the weekly schedule as a question; hours past midnight belong to the day before."""
    days, starts, ends = frozenset(schedule.weekdays), schedule.starts, schedule.ends
    if starts is None or ends is None:
        return lambda run: run.event.day.isoweekday() in days
    if starts < ends:
        return lambda run: run.event.day.isoweekday() in days and starts <= run.event.local.time() < ends
    eves = frozenset(day % 7 + 1 for day in days)

    def over_midnight(run: Run) -> bool:
        now = run.event.local.time()
        if now < ends:
            return run.event.local.isoweekday() in eves
        return now >= starts and run.event.day.isoweekday() in days

    return over_midnight


def _check(condition: Condition, read: Callable[[_Subject], Any]) -> Callable[[_Subject], bool]:
    """Return the comparison of what `read` finds; None (nothing there) is unlike all and neither above nor below."""
    if condition.op in ("eq", "in"):
        wanted = _values(condition)
        return lambda subject: read(subject) in wanted
    if condition.op in ("ne", "not_in"):
        unwanted = _values(condition)
        return lambda subject: read(subject) not in unwanted
    if condition.op == "between":
        return _between(condition, read)
    compare, bound = _ORDER[condition.op], condition.value
    return lambda subject: (found := read(subject)) is not None and compare(found, bound)


def _between(condition: Condition, read: Callable[[_Subject], Any]) -> Callable[[_Subject], bool]:
    low, high = condition.value if isinstance(condition.value, tuple) else (condition.value, condition.value)
    return lambda subject: (found := read(subject)) is not None and low <= found <= high


def _values(condition: Condition) -> frozenset[Value]:
    values = condition.value if isinstance(condition.value, tuple) else (condition.value,)
    if not condition.field.startswith("properties."):
        return frozenset(values)
    # A document holds 2.5 as text, an activity as a number: either way it is the same value.
    return frozenset(values) | {Decimal(text) for text in values if isinstance(text, str) and decimal_text(text)}


def _reader(condition: Condition) -> Callable[[Run], Any]:
    if condition.field.startswith("properties."):
        return _property_reader(condition)
    return _READERS[condition.field]


def _property_reader(condition: Condition) -> Callable[[Run], Any]:
    name = condition.field.removeprefix("properties.")
    if condition.op in _ORDER or condition.op == "between":
        return lambda run: number_in(run, name)
    return lambda run: text if isinstance(text := run.event.properties.get(name), str) else number_in(run, name)


def number_in(run: Run, name: str) -> Number | None:
    """Return a numeric property of the event; None if it is missing, text or not a number."""
    found = run.event.properties.get(name)
    return found if not isinstance(found, str) and found is not None and is_number(found) else None


def quantity_of(run: Run) -> Number | None:
    """Return the pieces in the earning lines or, without lines, the property `quantity`."""
    if not run.lines:
        return number_in(run, "quantity")
    return sum((line.quantity for line in run.lines if line.earning), Decimal(0))


_READERS: Final[Mapping[str, Callable[[Run], Any]]] = {
    "amount": attrgetter("event.amount"),
    "quantity": quantity_of,
    "location": attrgetter("event.location"),
    "channel": attrgetter("event.channel"),
    "activity": attrgetter("event.activity"),
    "weekday": lambda run: run.event.day.isoweekday(),
    "hour": attrgetter("event.local.hour"),
    "tier": attrgetter("state.tier"),
    "first_purchase": lambda run: run.event.kind == "sale" and not run.state.purchases,
}


def _segment_check(condition: Condition) -> RunCheck:
    named = _values(condition)
    if condition.op in ("eq", "in"):
        return lambda run: not named.isdisjoint(run.state.segments or _NO_SEGMENT)
    return lambda run: named.isdisjoint(run.state.segments or _NO_SEGMENT)


def _some_line(holds: LineCheck) -> RunCheck:
    def check(run: Run) -> bool:
        return any(line.earning and holds(line) for line in run.lines)

    return check


def _each_line(holds: LineCheck) -> RunCheck:
    def check(run: Run) -> bool:
        return all(not line.earning or holds(line) for line in run.lines)

    return check
