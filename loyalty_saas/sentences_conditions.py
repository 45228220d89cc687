"""The conditions of a rule, each as a clause of its sentence."""

from collections.abc import Callable, Mapping
from decimal import Decimal

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from loyalty_saas.sentences_words import Wording, or_list, quoted, segment_name, spelt, weekday_name
from loyalty_saas.templatetags.loyalty import money, quantity
from programs.rules import Condition
from programs.rules.specs import Value

_Words = Mapping[str, Callable[[], str]]


def condition_clause(condition: Condition, wording: Wording, *, by_item: bool = False) -> str:
    """One condition: only for the category “coffee”; only if the amount is at least €20.00."""
    if condition.field == "first_purchase":
        first = bool(condition.value) == (condition.op == "eq")
        return _("only for the first purchase") if first else _("not for the first purchase")
    if condition.field in _NAMED and condition.op in ("eq", "in", "ne", "not_in"):
        return _named(condition, wording, by_item=by_item)
    return _measured(condition, wording)


def _named(condition: Condition, wording: Wording, *, by_item: bool) -> str:
    values, name = _values(condition), condition.field
    words = or_list(_value_words(name, value, wording) for value in values)
    holds = condition.op in ("eq", "in")
    # A rule for whole purchases looks for any item of that sort among them.
    say = _NAMED[name] if by_item else _AMONG_ITEMS.get(name, _NAMED[name])
    return say(len(values), holds) % {"values": words}


# Whole phrases, so that each language can order its words; the first number is how many values there are.
_NAMED: Mapping[str, Callable[[int, bool], str]] = {
    "category": lambda n, holds: (
        ngettext("only for the category %(values)s", "only for the categories %(values)s", n)
        if holds
        else ngettext("not for the category %(values)s", "not for the categories %(values)s", n)
    ),
    "sku": lambda n, holds: (
        ngettext("only for the article %(values)s", "only for the articles %(values)s", n)
        if holds
        else ngettext("not for the article %(values)s", "not for the articles %(values)s", n)
    ),
    "location": lambda n, holds: _("only at %(values)s") if holds else _("not at %(values)s"),
    "channel": lambda n, holds: _("only by the channel %(values)s") if holds else _("not by the channel %(values)s"),
    "tier": lambda n, holds: _("only for %(values)s members") if holds else _("not for %(values)s members"),
    "segment": lambda n, holds: (
        _("only for members of the group %(values)s") if holds else _("not for members of the group %(values)s")
    ),
    "activity": lambda n, holds: (
        _("only for the activity %(values)s") if holds else _("not for the activity %(values)s")
    ),
    "weekday": lambda n, holds: _("only on %(values)s") if holds else _("not on %(values)s"),
}


_AMONG_ITEMS: Mapping[str, Callable[[int, bool], str]] = {
    "category": lambda n, holds: (
        ngettext(
            "only with something of the category %(values)s", "only with something of the categories %(values)s", n
        )
        if holds
        else ngettext(
            "only with nothing of the category %(values)s", "only with nothing of the categories %(values)s", n
        )
    ),
    "sku": lambda n, holds: (
        ngettext("only with the article %(values)s", "only with one of the articles %(values)s", n)
        if holds
        else ngettext("only without the article %(values)s", "only without the articles %(values)s", n)
    ),
}


def _measured(condition: Condition, wording: Wording) -> str:
    what, values = _what(condition.field), _values(condition)
    said = [_value_words(condition.field, value, wording) for value in values]
    words: _Words = {
        "eq": lambda: _("only if %(what)s is %(value)s"),
        "ne": lambda: _("only if %(what)s is not %(value)s"),
        "in": lambda: _("only if %(what)s is one of %(values)s"),
        "not_in": lambda: _("only if %(what)s is none of %(values)s"),
        "gt": lambda: _("only if %(what)s is above %(value)s"),
        "gte": lambda: _("only if %(what)s is at least %(value)s"),
        "lt": lambda: _("only if %(what)s is below %(value)s"),
        "lte": lambda: _("only if %(what)s is at most %(value)s"),
        "between": lambda: _("only if %(what)s is from %(value)s to %(last)s"),
    }
    return words[condition.op]() % {"what": what, "value": said[0], "last": said[-1], "values": or_list(said)}


def _what(name: str) -> str:
    words: _Words = {
        "amount": lambda: _("the amount"),
        "quantity": lambda: _("the quantity"),
        "hour": lambda: _("the hour of the day"),
        "weekday": lambda: _("the day of the week"),
    }
    if name in words:
        return words[name]()
    return _("the figure “%(name)s”") % {"name": spelt(name.removeprefix("properties."))}


def _values(condition: Condition) -> tuple[Value, ...]:
    return condition.value if isinstance(condition.value, tuple) else (condition.value,)


def _value_words(name: str, value: Value, wording: Wording) -> str:
    match name:
        case "amount":
            return money(int(value), wording.currency)
        case "weekday":
            return weekday_name(int(value))
        case "tier":
            return wording.levels.get(str(value), str(value))
        case "segment":
            return quoted(segment_name(str(value)))
        case "location":
            return wording.places.get(str(value), str(value))
    return quoted(str(value)) if isinstance(value, str) else quantity(Decimal(value))
