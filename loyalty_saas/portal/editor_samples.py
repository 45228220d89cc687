"""Trying a program out: made-up purchases and activities put to its rules; nothing is recorded."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, cast

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from loyalty_saas.portal.editor import Bench, tiers_of
from loyalty_saas.portal.editor_numbers import (
    currency_digits,
    currency_sign,
    read_number,
    read_steps,
    write_steps,
)
from loyalty_saas.sentences import Why, why_points
from loyalty_saas.sentences_words import Wording, clock, segment_name, weekday_name
from loyalty_saas.templatetags.loyalty import money, quantity
from programs.rules import (
    SEGMENTS,
    Condition,
    Event,
    EventKind,
    Line,
    MemberState,
    Outcome,
    ProgramSpec,
    RuleSpec,
    compile_rules,
    preview,
)

_KINDS = {"sign_up": "sign_up", "birthday": "birthday", "activity": "activity"}


@dataclass(frozen=True)
class Sample:
    """Something that could happen, and the member to whom."""

    event: Event
    state: MemberState


@dataclass(frozen=True)
class Verdict:
    """What one program makes of a sample: how much of each unit, and why, rule by rule."""

    given: list[str]
    counted: list[str]
    not_counted: list[str]


def verdict(sample: Sample, program: ProgramSpec, wording: Wording) -> Verdict:
    """What a program would give, with the reason of every rule that was asked."""
    made = preview(compile_rules(program.rules), sample.event, sample.state, {})
    said = [(outcome.amount, why_points(_why(outcome, wording))) for outcome in made.outcomes]
    return Verdict(
        given=[wording.amount(amount, unit) for unit, amount in made.credits.items() if amount],
        counted=[words for amount, words in said if amount],
        not_counted=[words for amount, words in said if not amount],
    )


def _why(outcome: Outcome, wording: Wording) -> Why:
    unit = wording.units[outcome.unit]
    return Why(
        wording.rules[outcome.code],
        unit.name,
        unit.decimals,
        outcome.result,
        outcome.amount,
        outcome.reason,
        outcome.detail,
        wording.rules,
    )


# ── the example beside a rule ───────────────────────────────────────────────────────────────────────────────────────


def example(rule: RuleSpec, program: ProgramSpec, wording: Wording, *, today: date) -> str:
    """One case in a sentence: A purchase of €23.50 earns 23 points."""
    rules = _with_its_base(rule, program)
    sample = fitting_sample(_pleasing_all(rule, rules), currency=wording.currency, today=today)
    made = preview(compile_rules(rules), sample.event, sample.state, {})
    outcome = next((one for one in made.outcomes if one.code == rule.code), None)
    case = _case(sample.event, _pleasing_all(rule, rules), wording)
    if outcome is None or not outcome.amount:
        reason = why_points(_why(outcome, wording)) if outcome else ""
        return _("%(case)s earns nothing here. %(reason)s") % {"case": case, "reason": reason}
    values = {"case": case, "points": wording.amount(outcome.amount, outcome.unit)}
    if rule.effect.kind == "multiplier":
        return _("%(case)s earns %(points)s more.") % values
    return _("%(case)s earns %(points)s.") % values


def _with_its_base(rule: RuleSpec, program: ProgramSpec) -> list[RuleSpec]:
    """The rule and what it multiplies, free of conditions so that the example shows the rule alone."""
    others = [one for one in program.rules if one.code != rule.code and one.effect.kind != "multiplier"]
    if rule.effect.kind != "multiplier":
        return [replace(rule, group=None)]
    return [replace(rule, group=None), *(replace(one, group=None) for one in others)]


def _pleasing_all(rule: RuleSpec, rules: Sequence[RuleSpec]) -> RuleSpec:
    """A multiple together with the first rule that it multiplies: what pleases both shows what it gives."""
    if rule.effect.kind != "multiplier":
        return rule
    fit = [one for one in rules if one.code in rule.effect.of or (not rule.effect.of and one.unit == rule.unit)]
    base = next((one for one in fit if one.effect.kind != "multiplier"), None)
    if base is None:
        return rule
    return replace(rule, conditions=(*rule.conditions, *base.conditions), effect=base.effect)


def fitting_sample(rule: RuleSpec, *, currency: str, today: date) -> Sample:
    """A case that should please a rule's conditions, as far as that is possible."""
    wanted: dict[str, Any] = {}
    for one in rule.conditions:
        wanted.setdefault(one.field, _pleasing(one))
    amount = int(wanted.get("amount") or 2350 * 10 ** currency_digits(currency) // 100)
    pieces = Decimal(wanted.get("quantity") or 3 if rule.effect.kind in ("per_quantity", "table") else 1)
    moment = _moment(rule, wanted, today)
    figures = {name.removeprefix("properties."): value for name, value in wanted.items() if name.startswith("prop")}
    counted = {rule.effect.property: _counted(rule)} if rule.effect.kind in ("per_quantity", "table") else {}
    line = Line(1, str(wanted.get("sku") or "1"), str(wanted.get("category") or ""), pieces, amount)
    kind = cast(EventKind, _KINDS.get(rule.trigger, "sale"))
    segment = wanted.get("segment")
    return Sample(
        Event(
            kind=kind,
            local=moment,
            day=moment.date(),
            amount=amount if kind in ("sale", "activity") else 0,
            lines=_lines(rule, line) if kind == "sale" else (),
            location=str(wanted.get("location") or ""),
            channel=str(wanted.get("channel") or ""),
            activity=str(wanted.get("activity") or "activity"),
            properties={**counted, **figures},
        ),
        MemberState(
            tier=wanted.get("tier"),
            segments=frozenset({segment} if segment and segment != "none" else ()),
            purchases=0 if wanted.get("first_purchase", False) else 1,
        ),
    )


def _lines(rule: RuleSpec, line: Line) -> tuple[Line, ...]:
    """The item, and one more for each further category that must be among the purchase."""
    more = [one for one in rule.conditions if one.field == "category" and one.op in ("eq", "in")][1:]
    if rule.trigger == "line":
        return (line,)
    return (line, *(Line(n, "1", str(_pleasing(one)), Decimal(1), 0) for n, one in enumerate(more, start=2)))


def _pleasing(condition: Condition) -> Any:
    """A value for which a condition holds; None where nothing at all will do."""
    values = condition.value if isinstance(condition.value, tuple) else (condition.value,)
    if condition.field == "first_purchase":
        return bool(values[0]) == (condition.op == "eq")
    first = values[0]
    if condition.op in ("ne", "not_in"):
        return _another(values)
    if isinstance(first, str):
        return first
    return first + {"gt": 1, "lt": -1}.get(condition.op, 0)


def _another(values: Sequence[Any]) -> Any:
    if all(isinstance(value, int) for value in values):
        return next(n for n in range(1, 1000) if n not in values)
    return None


def _counted(rule: RuleSpec) -> Decimal:
    if rule.effect.kind == "table":
        steps = rule.effect.steps
        return Decimal(steps[len(steps) // 2][0])
    return Decimal(3 * rule.effect.per)


def _moment(rule: RuleSpec, wanted: Mapping[str, Any], today: date) -> datetime:
    """The first day from today on that suits, at an hour that suits."""
    day = max(today, rule.valid_from) if rule.valid_from else today
    day = min(day, rule.valid_until) if rule.valid_until else day
    schedule = rule.schedule
    days = (
        {int(wanted["weekday"])} if wanted.get("weekday") else set(schedule.weekdays) if schedule else set(range(1, 8))
    )
    day = next((later for n in range(7) if (later := day + timedelta(days=n)).isoweekday() in days), day)
    at = schedule.starts if schedule and schedule.starts else time(12)
    if "hour" in wanted:
        at = time(min(23, max(0, int(wanted["hour"] or 0))))
    return datetime.combine(day, at)


def _case(event: Event, rule: RuleSpec, wording: Wording) -> str:
    """What the example is about: A purchase of €23.50 on Tuesday at 14:00."""
    values = {"amount": money(event.amount, wording.currency), "activity": event.activity.replace("_", " ")}
    if event.kind == "sign_up":
        said = _("Joining")
    elif event.kind == "birthday":
        said = _("A birthday")
    elif event.kind == "activity":
        said = _("“%(activity)s”%(figures)s") % {**values, "figures": _figures(event)}
    elif rule.effect.kind in ("per_quantity", "table"):
        said = _("A purchase of %(n)s pieces") % {"n": quantity(event.lines[0].quantity)}
    else:
        said = _("A purchase of %(amount)s") % values
    return said + _when(event, rule)


def _figures(event: Event) -> str:
    if not event.properties:
        return ""
    said = [f"{name.replace('_', ' ')}: {_shown(value)}" for name, value in event.properties.items()]
    return _(" with %(figures)s") % {"figures": ", ".join(said)}


def _shown(value: Decimal | int | str) -> str:
    return value if isinstance(value, str) else quantity(Decimal(value))


def _when(event: Event, rule: RuleSpec) -> str:
    if rule.schedule is None:
        return ""
    values = {"day": weekday_name(event.day.isoweekday()), "time": clock(event.local.time())}
    return _(" on %(day)s at %(time)s") % values


# ── trying out ──────────────────────────────────────────────────────────────────────────────────────────────────────


class SampleForm(forms.Form):
    """Something that could happen."""

    what = forms.ChoiceField(
        label=gettext_lazy("What happens"),
        choices=[
            ("sale", gettext_lazy("A purchase")),
            ("activity", gettext_lazy("Another activity")),
            ("sign_up", gettext_lazy("Somebody joins")),
            ("birthday", gettext_lazy("A birthday")),
        ],
    )
    amount = forms.CharField(label=gettext_lazy("Amount"), required=False, max_length=40)
    quantity = forms.CharField(label=gettext_lazy("Pieces"), required=False, max_length=20)
    category = forms.CharField(label=gettext_lazy("Category"), required=False, max_length=64)
    sku = forms.CharField(label=gettext_lazy("Article number"), required=False, max_length=64)
    location = forms.ChoiceField(label=gettext_lazy("Location"), required=False)
    channel = forms.CharField(label=gettext_lazy("Channel"), required=False, max_length=50)
    activity = forms.CharField(label=gettext_lazy("Kind of activity"), required=False, max_length=50)
    figure = forms.CharField(label=gettext_lazy("Figure, such as days"), required=False, max_length=50)
    figure_value = forms.CharField(label=gettext_lazy("How many"), required=False, max_length=40)
    day = forms.DateField(label=gettext_lazy("Day"), widget=forms.DateInput({"type": "date"}, format="%Y-%m-%d"))
    time = forms.TimeField(label=gettext_lazy("Time"), widget=forms.TimeInput({"type": "time"}, format="%H:%M"))
    tier = forms.ChoiceField(label=gettext_lazy("Tier of the member"), required=False)
    segment = forms.ChoiceField(label=gettext_lazy("Group of the member"), required=False)
    first = forms.BooleanField(label=gettext_lazy("It is the member's first purchase"), required=False)

    def __init__(self, data: Any = None, *, bench: Bench, now: datetime) -> None:
        digits = currency_digits(bench.currency)
        begin = {"what": "sale", "amount": write_steps(2350 * 10**digits // 100, digits), "quantity": "1"}
        super().__init__(data, initial={**begin, "day": now.date(), "time": now.time()})
        self.bench = bench
        levels = tiers_of(bench.spec)
        named = [(level.code, level.name) for level in levels.levels] if levels else []
        self._offer("location", bench.places.items())
        self._offer("tier", named)
        self._offer("segment", [(code, segment_name(code)) for code in SEGMENTS if code != "none"])

    @property
    def sign(self) -> str:
        """The currency's sign."""
        return currency_sign(self.bench.currency)

    @property
    def now(self) -> str:
        """What is chosen to happen."""
        return str(self["what"].value())

    def _offer(self, name: str, choices: Iterable[tuple[str, Any]]) -> None:
        self.fields[name].choices = [("", _("None")), *choices]  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        """Amount and numbers read."""
        found = self.cleaned_data
        self._read("amount", lambda text: read_steps(text, currency_digits(self.bench.currency)))
        self._read("quantity", _fine_number)
        if found.get("figure"):
            self._read("figure_value", _fine_number)
        return found

    def _read(self, name: str, read: Any) -> None:
        typed = self.cleaned_data.get(name)
        try:
            self.cleaned_data[name] = read(typed) if typed else 0
        except ValidationError as error:
            self.add_error(name, error)

    def sample(self) -> Sample:
        """What was typed, as the rules see it."""
        found = self.cleaned_data
        kind, local = found["what"], datetime.combine(found["day"], found["time"])
        line = Line(1, found["sku"], found["category"], Decimal(found["quantity"] or 1), found["amount"])
        figures = {found["figure"]: Decimal(found["figure_value"])} if found["figure"] else {}
        return Sample(
            Event(
                kind=kind,
                local=local,
                day=local.date(),
                amount=found["amount"] if kind in ("sale", "activity") else 0,
                lines=(line,) if kind == "sale" else (),
                location=found["location"],
                channel=found["channel"],
                activity=found["activity"] if kind == "activity" else "",
                properties=figures,
            ),
            MemberState(
                tier=found["tier"] or None,
                segments=frozenset({found["segment"]} if found["segment"] else ()),
                purchases=0 if found["first"] else 1,
            ),
        )


def _fine_number(text: str) -> Decimal:
    """A number of at most three places, as receipts have them."""
    value = read_number(text)
    if not -(10**9) < value < 10**9 or value != round(value, 3):
        raise ValidationError(_("Enter a number with at most three places."), code="fine")
    return value
