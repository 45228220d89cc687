"""One rule in a document: read, and written back."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Final

from programs.rules.reading import (
    Parse,
    Reader,
    choice,
    code,
    day,
    each,
    factor,
    flag,
    hour,
    in_words,
    number,
    pair,
    refused,
    text,
    whole,
)
from programs.rules.specs import (
    EFFECT_KINDS,
    LIMIT,
    OPS,
    PERIODS,
    REMAINDERS,
    ROUNDINGS,
    SEGMENTS,
    TRIGGERS,
    Caps,
    Condition,
    Effect,
    EffectKind,
    MemberCap,
    Number,
    Op,
    RuleSpec,
    Schedule,
    Trigger,
    Value,
)

_SAME: Final[tuple[Op, ...]] = ("eq", "ne")
_AMONG: Final[tuple[Op, ...]] = (*_SAME, "in", "not_in")
_SALES: Final[tuple[Trigger, ...]] = ("line", "purchase", "visit")
_PROPERTY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,49}")
_PRIORITY_LIMIT: Final = 10**6
_WORDS: Final[Mapping[str, str]] = {"sign_up": "sign-up"}


@dataclass(frozen=True, slots=True)
class _Field:
    """What a condition may ask of a field, and for which triggers the field exists."""

    parse: Parse[Value]
    ops: tuple[Op, ...]
    triggers: tuple[Trigger, ...] = TRIGGERS


def _number_or_text(value: object) -> Value:
    if isinstance(value, str):
        return text(most=200)(value)
    return number(least=-LIMIT)(value)


_FIELDS: Final[Mapping[str, _Field]] = {
    "amount": _Field(whole(least=-LIMIT), OPS, (*_SALES, "activity")),
    "quantity": _Field(number(least=0), OPS, (*_SALES, "activity")),
    "category": _Field(text(most=200), _AMONG, _SALES),
    "sku": _Field(text(most=200), _AMONG, _SALES),
    "location": _Field(text(most=200), _AMONG),
    "channel": _Field(text(most=200), _AMONG),
    "weekday": _Field(whole(least=1, most=7), OPS),
    "hour": _Field(whole(least=0, most=23), OPS),
    "tier": _Field(code(most=30), _AMONG),
    "segment": _Field(choice(SEGMENTS), _AMONG),
    "first_purchase": _Field(flag, _SAME, _SALES),
    "activity": _Field(text(most=200), _AMONG, ("activity", "visit")),
}
_ANY_PROPERTY: Final = _Field(_number_or_text, OPS)
_NUMERIC_PROPERTY: Final = _Field(number(least=-LIMIT), OPS)


def read_rule(reader: Reader) -> RuleSpec:
    """Return the rule that an object describes, noting what is wrong with it."""
    trigger = reader.required("trigger", choice(TRIGGERS), None)
    effect = _read_effect(reader, trigger)
    rule = RuleSpec(
        code=reader.required("code", code(most=50), ""),
        name=reader.required("name", text(most=100), ""),
        unit=reader.required("unit", code(most=30), ""),
        trigger=trigger or "purchase",
        conditions=tuple(_read_condition(each_one, trigger) for each_one in reader.children("conditions", most=20)),
        effect=effect or Effect(kind="fixed"),
        rounding=reader.optional("rounding", choice(ROUNDINGS), "down"),
        remainder=reader.optional("remainder", choice(REMAINDERS), "drop"),
        caps=_read_caps(reader.child("caps")),
        priority=reader.optional("priority", whole(least=-_PRIORITY_LIMIT, most=_PRIORITY_LIMIT), 0),
        group=reader.optional("group", text(most=50), None),
        valid_from=reader.optional("valid_from", day, None),
        valid_until=reader.optional("valid_until", day, None),
        schedule=_read_schedule(reader.child("schedule")),
    )
    reader.close()
    if effect:
        _check_rounding(reader, rule)
    if rule.valid_from and rule.valid_until and rule.valid_until < rule.valid_from:
        reader.refuse("valid_until", "must not be before valid_from")
    return rule


def _check_rounding(reader: Reader, rule: RuleSpec) -> None:
    is_rate = rule.effect.kind in ("per_amount", "per_quantity")
    if rule.rounding != "down" and not is_rate:
        reader.refuse("rounding", f"must be down for the effect {rule.effect.kind}")
    if rule.remainder == "carry" and not is_rate:
        reader.refuse("remainder", f"must be drop for the effect {rule.effect.kind}")
    elif rule.remainder == "carry" and rule.rounding != "down":
        reader.refuse("remainder", f"must be drop when rounding is {rule.rounding}")


def _read_condition(reader: Reader, trigger: Trigger | None) -> Condition:
    name = reader.required("field", _field_name, "")
    op = reader.required("op", choice(OPS), None)
    field = _FIELDS.get(name, _ANY_PROPERTY)
    value: Value | tuple[Value, ...] = 0
    if not name or op is None:
        reader.optional("value", lambda value: value, None)
    elif op not in field.ops:
        reader.optional("value", lambda value: value, None)
        reader.refuse("op", f"must be {in_words(field.ops)} for the field {name}")
    else:
        value = reader.required("value", _value_parser(field, op), 0)
    if name and trigger and trigger not in field.triggers:
        reader.refuse("field", f"cannot be {name} in a rule for the trigger {trigger}")
    reader.close()
    return Condition(name, op or "eq", value)


def _field_name(value: object) -> str:
    if isinstance(value, str):
        prefix, dot, name = value.partition(".")
        if value in _FIELDS or (prefix == "properties" and dot and _PROPERTY.fullmatch(name)):
            return value
    raise refused(f"must be {in_words([*_FIELDS, 'properties.<name>'])}")


def _value_parser(field: _Field, op: Op) -> Parse[Value | tuple[Value, ...]]:
    if field is _ANY_PROPERTY and op in ("gt", "gte", "lt", "lte", "between"):
        field = _NUMERIC_PROPERTY
    if op in ("in", "not_in"):
        return each(field.parse, most=500)
    if op == "between":
        return _between(field.parse)
    return field.parse


def _between(parse: Parse[Value]) -> Parse[tuple[Value, ...]]:
    def parse_both(value: object) -> tuple[Value, ...]:
        low, high = pair(value, parse, parse, "must be a list of the lowest and the highest value")
        # Only fields with numbers have this op.
        if isinstance(low, int | Decimal) and isinstance(high, int | Decimal) and low > high:
            raise refused("must begin with the lower value")
        return low, high

    return parse_both


def _read_effect(rule: Reader, trigger: Trigger | None) -> Effect | None:
    reader = rule.child("effect", required=True)
    if reader is None:
        return None
    kind = reader.required("kind", choice(EFFECT_KINDS), None)
    if kind is None:
        return None
    effect = _EFFECTS[kind](reader)
    reader.close()
    _check_effect(reader, effect, trigger)
    return effect


def _check_effect(reader: Reader, effect: Effect, trigger: Trigger | None) -> None:
    """Note an effect that its trigger gives nothing to work on."""
    if effect.kind == "per_amount" and trigger in ("sign_up", "birthday"):
        reader.refuse("kind", f"cannot be per_amount: a {_WORDS.get(trigger, trigger)} has no amount")
    if effect.kind in ("per_quantity", "table") and trigger == "line" and effect.property != "quantity":
        reader.refuse("property", "must be quantity in a rule for the trigger line")


def _per_amount(reader: Reader) -> Effect:
    return Effect(kind="per_amount", points=_points(reader), per=_per(reader))


def _per_quantity(reader: Reader) -> Effect:
    name = reader.optional("property", property_name, "quantity")
    return Effect(kind="per_quantity", points=_points(reader), per=_per(reader), property=name)


def _fixed(reader: Reader) -> Effect:
    return Effect(kind="fixed", points=_points(reader))


def _table(reader: Reader) -> Effect:
    steps = reader.required("steps", _steps, ())
    return Effect(kind="table", property=reader.required("property", property_name, "quantity"), steps=steps)


def _multiplier(reader: Reader) -> Effect:
    of = reader.optional("of", each(code(most=50), most=200, least=0), ())
    return Effect(kind="multiplier", factor=reader.required("factor", factor, Decimal(2)), of=of)


_EFFECTS: Final[Mapping[EffectKind, Callable[[Reader], Effect]]] = {
    "per_amount": _per_amount,
    "per_quantity": _per_quantity,
    "fixed": _fixed,
    "table": _table,
    "multiplier": _multiplier,
}


def _points(reader: Reader) -> int:
    return reader.required("points", whole(least=1), 1)


def _per(reader: Reader) -> int:
    return reader.required("per", whole(least=1), 1)


def property_name(value: object) -> str:
    """Parse the name of a property that activities may carry."""
    if not isinstance(value, str) or not _PROPERTY.fullmatch(value):
        raise refused("must be the name of a property: letters, digits, hyphens and underscores")
    return value


def _steps(value: object) -> tuple[tuple[Number, int], ...]:
    steps = each(_table_step, most=100)(value)
    if any(lower[0] >= higher[0] for lower, higher in pairwise(steps)):
        raise refused("must be in ascending order of their bounds")
    return steps


def _table_step(value: object) -> tuple[Number, int]:
    return pair(value, number(least=0), whole(least=0), "must be a list of a bound and its points")


def _read_caps(reader: Reader | None) -> Caps:
    if reader is None:
        return Caps()
    caps = Caps(
        per_purchase=reader.optional("per_purchase", whole(least=1), None),
        per_member=_read_member_cap(reader.child("per_member")),
        budget=reader.optional("budget", whole(least=1), None),
    )
    reader.close()
    return caps


def _read_member_cap(reader: Reader | None) -> MemberCap | None:
    if reader is None:
        return None
    cap = MemberCap(
        period=reader.required("period", choice(PERIODS), "ever"), points=reader.required("points", whole(least=1), 1)
    )
    reader.close()
    return cap


def _read_schedule(reader: Reader | None) -> Schedule | None:
    if reader is None:
        return None
    weekdays = reader.optional("weekdays", each(whole(least=1, most=7), most=7), Schedule().weekdays)
    starts, ends = reader.optional("from", hour, None), reader.optional("to", hour, None)
    if reader.is_given("from") != reader.is_given("to"):
        reader.refuse("to" if reader.is_given("from") else "from", "is missing: from and to go together")
    if starts is not None and starts == ends:
        reader.refuse("to", "must differ from the time in from")
    reader.close()
    return Schedule(weekdays=tuple(sorted(set(weekdays))), starts=starts, ends=ends)


def rule_document(rule: RuleSpec) -> dict[str, object]:
    """Return a rule as it stands in a document, every field spelt out; reading it gives the same rule."""
    return {
        "code": rule.code,
        "name": rule.name,
        "unit": rule.unit,
        "trigger": rule.trigger,
        "conditions": [{"field": one.field, "op": one.op, "value": _plain_value(one.value)} for one in rule.conditions],
        "effect": _effect_document(rule.effect),
        "rounding": rule.rounding,
        "remainder": rule.remainder,
        "caps": _caps_document(rule.caps),
        "priority": rule.priority,
        "group": rule.group,
        "valid_from": rule.valid_from.isoformat() if rule.valid_from else None,
        "valid_until": rule.valid_until.isoformat() if rule.valid_until else None,
        "schedule": _schedule_document(rule.schedule) if rule.schedule else None,
    }


def _plain(value: Value) -> Value:
    return str(value) if isinstance(value, Decimal) else value


def _plain_value(value: Value | tuple[Value, ...]) -> object:
    return [_plain(one) for one in value] if isinstance(value, tuple) else _plain(value)


def _effect_document(effect: Effect) -> dict[str, object]:
    match effect.kind:
        case "per_amount":
            return {"kind": effect.kind, "points": effect.points, "per": effect.per}
        case "per_quantity":
            return {"kind": effect.kind, "points": effect.points, "per": effect.per, "property": effect.property}
        case "fixed":
            return {"kind": effect.kind, "points": effect.points}
        case "table":
            steps = [[_plain(bound), points] for bound, points in effect.steps]
            return {"kind": effect.kind, "property": effect.property, "steps": steps}
        case "multiplier":
            of: dict[str, object] = {"of": list(effect.of)} if effect.of else {}
            return {"kind": effect.kind, "factor": str(effect.factor), **of}


def _caps_document(caps: Caps) -> dict[str, object]:
    per_member = {"period": caps.per_member.period, "points": caps.per_member.points} if caps.per_member else None
    every = {"per_purchase": caps.per_purchase, "per_member": per_member, "budget": caps.budget}
    return {name: value for name, value in every.items() if value is not None}


def _schedule_document(schedule: Schedule) -> dict[str, object]:
    document: dict[str, object] = {"weekdays": list(schedule.weekdays)}
    if schedule.starts is not None and schedule.ends is not None:
        document |= {"from": schedule.starts.strftime("%H:%M"), "to": schedule.ends.strftime("%H:%M")}
    return document
