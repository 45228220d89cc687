"""The form of one earning rule: its fields in words, from the document and back."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from loyalty_saas.portal.editor import Bench, Document, codes_in, new_code, units_of
from loyalty_saas.portal.editor_conditions import Choices, ConditionRow, condition_values
from loyalty_saas.portal.editor_numbers import (
    Value,
    currency_digits,
    currency_sign,
    document_number,
    read_number,
    read_steps,
    write_number,
    write_steps,
)
from loyalty_saas.portal.editor_rows import Data, Row, Rows, hush
from loyalty_saas.sentences_words import weekday_name
from programs.rules import Caps, Effect, RuleSpec
from programs.rules.specs import EFFECT_KINDS, PERIODS, TRIGGERS

RATES = ("per_amount", "per_quantity")

TRIGGER_WORDS: Mapping[str, str | Promise] = {
    "purchase": gettext_lazy("A purchase as a whole"),
    "line": gettext_lazy("Each item of a purchase"),
    "visit": gettext_lazy("The first visit of a day"),
    "activity": gettext_lazy("Another activity, such as a trip or a review"),
    "sign_up": gettext_lazy("Joining the program"),
    "birthday": gettext_lazy("The member's birthday"),
}
KIND_WORDS: Mapping[str, str | Promise] = {
    "per_amount": gettext_lazy("By the amount"),
    "per_quantity": gettext_lazy("By the number of pieces or of something else"),
    "fixed": gettext_lazy("Always the same"),
    "table": gettext_lazy("In steps: the more, the more"),
    "multiplier": gettext_lazy("A multiple of what other rules give"),
}
PERIOD_WORDS: Mapping[str, str | Promise] = {
    "day": gettext_lazy("a day"),
    "week": gettext_lazy("a week"),
    "month": gettext_lazy("a month"),
    "year": gettext_lazy("a year"),
    "ever": gettext_lazy("in all"),
}
# ── the whole rule ──────────────────────────────────────────────────────────────────────────────────────────────────


class StepRow(Row):
    """One step of a table: from so many on, so much."""

    bound = forms.CharField(label=gettext_lazy("From"), required=False, max_length=40)
    points = forms.CharField(label=gettext_lazy("Gives"), required=False, max_length=40)


class RuleForm(forms.Form):
    """One earning rule."""

    part = "rules"
    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=100,
        help_text=gettext_lazy("Members read it on their card and in the reasons for their points."),
    )
    trigger = forms.ChoiceField(
        label=gettext_lazy("What earns"), choices=[(one, TRIGGER_WORDS[one]) for one in TRIGGERS]
    )
    unit = forms.ChoiceField(label=gettext_lazy("Paid in"))
    kind = forms.ChoiceField(label=gettext_lazy("How much"), choices=[(one, KIND_WORDS[one]) for one in EFFECT_KINDS])
    points = forms.CharField(label=gettext_lazy("Gives"), required=False, max_length=40)
    per_money = forms.CharField(label=gettext_lazy("For every"), required=False, max_length=40)
    per_pieces = forms.CharField(label=gettext_lazy("For every so many of them"), required=False, max_length=40)
    counted = forms.RegexField(
        r"^[A-Za-z_][A-Za-z0-9_-]{0,49}$",
        label=gettext_lazy("What is counted"),
        required=False,
        max_length=50,
        help_text=gettext_lazy("Leave it empty to count pieces. An activity may carry other figures, such as days."),
    )
    factor = forms.CharField(label=gettext_lazy("Times"), required=False, max_length=10)
    of = forms.MultipleChoiceField(
        label=gettext_lazy("Of these rules"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=gettext_lazy("None ticked means all rules of the same kind of points."),
    )
    valid_from = forms.DateField(
        label=gettext_lazy("First day"), required=False, widget=forms.DateInput({"type": "date"}, format="%Y-%m-%d")
    )
    valid_until = forms.DateField(
        label=gettext_lazy("Last day"), required=False, widget=forms.DateInput({"type": "date"}, format="%Y-%m-%d")
    )
    weekdays = forms.MultipleChoiceField(
        label=gettext_lazy("Only on these days"), required=False, widget=forms.CheckboxSelectMultiple
    )
    starts = forms.TimeField(
        label=gettext_lazy("From"), required=False, widget=forms.TimeInput({"type": "time"}, format="%H:%M")
    )
    ends = forms.TimeField(
        label=gettext_lazy("Until"), required=False, widget=forms.TimeInput({"type": "time"}, format="%H:%M")
    )
    cap_purchase = forms.CharField(label=gettext_lazy("At most at a time"), required=False, max_length=40)
    cap_member = forms.CharField(label=gettext_lazy("At most for one member"), required=False, max_length=40)
    cap_period = forms.ChoiceField(
        label=gettext_lazy("Counted"), required=False, choices=[(one, PERIOD_WORDS[one]) for one in PERIODS]
    )
    budget = forms.CharField(label=gettext_lazy("At most for all members together"), required=False, max_length=40)
    rest = forms.ChoiceField(
        label=gettext_lazy("What does not make a whole point"),
        required=False,
        choices=[
            ("down", gettext_lazy("is dropped")),
            ("carry", gettext_lazy("is kept for the next time")),
            ("nearest", gettext_lazy("is rounded to the nearest point")),
            ("up", gettext_lazy("is rounded up")),
        ],
    )
    group = forms.CharField(
        label=gettext_lazy("Exclusive group"),
        required=False,
        max_length=50,
        help_text=gettext_lazy(
            "Of the rules with the same group only one counts: the best ranked that gives anything."
        ),
    )
    priority = forms.IntegerField(
        label=gettext_lazy("Rank"),
        required=False,
        min_value=-(10**6),
        max_value=10**6,
        help_text=gettext_lazy("The highest counts first."),
    )

    def __init__(self, data: Data | None = None, *, bench: Bench, rule: RuleSpec | None = None) -> None:
        super().__init__(data, initial=rule_values(rule, bench) if rule else new_rule_values(bench))
        self.bench, self.rule = bench, rule
        self._offer_choices()
        conditions = [condition_values(one, bench) for one in rule.conditions] if rule else []
        self.conditions: Rows[ConditionRow] = Rows(
            lambda **given: ConditionRow(bench=bench, **given), "c", data=data, initial=conditions
        )
        self.steps: Rows[StepRow] = Rows(StepRow, "s", data=data, initial=_step_values(rule, bench))

    @property
    def now(self) -> str:
        """The kind of effect that is chosen, for the fields to be shown."""
        return str(self["kind"].value() or "per_amount")

    @property
    def has_more(self) -> bool:
        """Whether anything stands in the part that is closed at first."""
        found = [self[name].value() for name in ("group", "priority")]
        return any(value not in (None, "", 0, "0") for value in found) or bool({"group", "priority"} & set(self.errors))

    @property
    def sign(self) -> str:
        """The currency's sign."""
        return currency_sign(self.bench.currency)

    def hush(self) -> None:
        """Say nothing of errors."""
        hush(self)
        self.conditions.hush()
        self.steps.hush()

    def is_valid(self) -> bool:
        """Whether the rule and all its rows can be read."""
        return all([super().is_valid(), self.conditions.is_valid()])

    def _offer_choices(self) -> None:
        units: Choices = [(unit.code, unit.name) for unit in units_of(self.bench.spec)]
        others = self.bench.spec.rules if self.bench.spec else ()
        code = self.rule.code if self.rule else ""
        multiplied = [(r.code, r.name) for r in others if r.effect.kind != "multiplier" and r.code != code]
        self.fields["unit"].choices = units  # type: ignore[attr-defined]
        self.fields["of"].choices = multiplied  # type: ignore[attr-defined]
        self.fields["weekdays"].choices = [(str(n), weekday_name(n)) for n in range(1, 8)]  # type: ignore[attr-defined]
        if len(units) == 1:
            self.fields["unit"].widget = forms.HiddenInput()
            self.initial.setdefault("unit", units[0][0])

    # ── reading ──

    def clean(self) -> dict[str, Any]:
        """The amounts in smallest steps, those alone that the chosen effect asks for."""
        found = self.cleaned_data
        self._check_hours(found)
        kind, digits = found.get("kind", ""), self._digits(found.get("unit", ""))
        wanted: dict[str, tuple[tuple[str, ...], int]] = {
            "points": (("per_amount", "per_quantity", "fixed"), digits),
            "per_money": (("per_amount",), currency_digits(self.bench.currency)),
            "per_pieces": (("per_quantity",), 0),
        }
        for name, (kinds, places) in wanted.items():
            found[name] = self._steps_in(name, places, required=True) if kind in kinds else None
        for name in ("cap_purchase", "cap_member", "budget"):
            found[name] = self._steps_in(name, digits, required=False)
        if kind == "multiplier":
            found["factor"] = self._factor(found.get("factor", ""))
        if kind == "table":
            self._read_table(found, digits)
        return found

    def _digits(self, unit: str) -> int:
        return next((one.decimals for one in units_of(self.bench.spec) if one.code == unit), 0)

    def _steps_in(self, name: str, digits: int, *, required: bool) -> int | None:
        typed = str(self.cleaned_data.get(name) or "")
        try:
            if typed:
                return read_steps(typed, digits, least=1)
            if required:
                raise ValidationError(_("Enter a number."), code="required")
        except ValidationError as error:
            self.add_error(name, error)
        return None

    def _factor(self, typed: str) -> str | None:
        try:
            factor = read_number(typed)
            if not 1 < factor < 10_000 or factor != round(factor, 4):
                raise ValidationError(
                    _("Enter a number above 1 with at most four places, such as 2 or 1.5."), code="factor"
                )
        except ValidationError as error:
            self.add_error("factor", error)
            return None
        return f"{factor.normalize():f}"

    def _check_hours(self, found: dict[str, Any]) -> None:
        starts, ends = found.get("starts"), found.get("ends")
        if (starts is None) != (ends is None) and not {"starts", "ends"} & set(self.errors):
            self.add_error("ends" if starts else "starts", _("Enter both hours or none."))
        elif starts is not None and starts == ends:
            self.add_error("ends", _("Enter another hour than the first."))

    def _read_table(self, found: dict[str, Any], digits: int) -> None:
        steps = []
        for row in self.steps.filled:
            row.full_clean()
            steps.append([_in_row(row, "bound", _bound), _in_row(row, "points", lambda text: read_steps(text, digits))])
        if not steps:
            self._miss_a_step()
        elif any(row.errors for row in self.steps.filled):
            self.add_error(None, _("Look at the steps."))
        found["steps"] = steps

    def _miss_a_step(self) -> None:
        words = _("Enter at least one step.")
        if not self.steps.forms:
            self.add_error("kind", words)
        for row in self.steps.forms[:1]:
            row.full_clean()
            row.add_error("bound", words)
            self.add_error(None, _("Look at the steps."))

    def document(self) -> Document:
        """The rule as it stands in a document, with what differs from the usual."""
        found = self.cleaned_data
        usual: Document = {"rounding": "down", "remainder": "drop", "priority": 0, "group": None}
        more = {
            "conditions": [row.document() for row in self.conditions.filled],
            **{name: value for name, value in self._rounding(found).items() if value != usual[name]},
            "caps": _caps(found),
            "priority": found.get("priority") or 0,
            "group": found["group"] or None,
            "valid_from": found["valid_from"].isoformat() if found["valid_from"] else None,
            "valid_until": found["valid_until"].isoformat() if found["valid_until"] else None,
            "schedule": _schedule(found),
        }
        return {
            "code": self.rule.code if self.rule else new_code(found["name"], codes_in(self.bench.document["rules"])),
            "name": found["name"],
            "unit": found["unit"],
            "trigger": found["trigger"],
            "effect": _effect(found),
            **{name: value for name, value in more.items() if value},
        }

    def _rounding(self, found: dict[str, Any]) -> dict[str, str]:
        rest = found.get("rest") or "down"
        if found["kind"] not in RATES:
            rest = "down"
        return (
            {"rounding": "down", "remainder": "carry"} if rest == "carry" else {"rounding": rest, "remainder": "drop"}
        )

    def add_problem(self, path: str, words: str) -> None:
        """Put what the engine says of a field below `rules[n]` where it was typed."""
        head, _dot, rest = path.partition(".")
        name, _bracket, place = head.partition("[")
        at = int(place[:-1]) if place[:-1].isdecimal() else -1
        if name == "conditions" and 0 <= at < len(self.conditions.filled):
            row = self.conditions.filled[at]
            row.add_error({"field": "field", "op": "op"}.get(rest, "ticked" if row.is_chosen else "value"), words)
            return
        self.add_error(_FIELD_OF.get(path) or _FIELD_OF.get(head) or self._effect_field(path), words)

    def _effect_field(self, path: str) -> str | None:
        if path == "effect.per":
            return "per_money" if self.cleaned_data.get("kind") == "per_amount" else "per_pieces"
        names = {"points": "points", "property": "counted", "steps": "counted", "factor": "factor", "of": "of"}
        return names.get(path.removeprefix("effect.").partition("[")[0], "kind") if path.startswith("effect") else None


_FIELD_OF = {
    "name": "name",
    "unit": "unit",
    "trigger": "trigger",
    "group": "group",
    "priority": "priority",
    "rounding": "rest",
    "remainder": "rest",
    "valid_from": "valid_from",
    "valid_until": "valid_until",
    "schedule": "weekdays",
    "schedule.from": "starts",
    "schedule.to": "ends",
    "caps.per_purchase": "cap_purchase",
    "caps.per_member.points": "cap_member",
    "caps.per_member.period": "cap_period",
    "caps.budget": "budget",
}


def _in_row(row: Row, name: str, read: Callable[[str], Any]) -> Any:
    try:
        typed = str(row.cleaned_data.get(name) or "")
        if not typed:
            raise ValidationError(_("Enter a number."), code="required")
        return read(typed)
    except ValidationError as error:
        row.add_error(name, error)
        return None


def _bound(text: str) -> Value:
    return document_number(read_number(text))


def _effect(found: Mapping[str, Any]) -> Document:
    kind, counted = found["kind"], found.get("counted") or "quantity"
    match kind:
        case "per_amount":
            return {"kind": kind, "points": found["points"], "per": found["per_money"]}
        case "per_quantity":
            named = {"property": counted} if counted != "quantity" else {}
            return {"kind": kind, "points": found["points"], "per": found["per_pieces"], **named}
        case "fixed":
            return {"kind": kind, "points": found["points"]}
        case "table":
            return {"kind": kind, "property": counted, "steps": found["steps"]}
    return {"kind": kind, "factor": found["factor"], **({"of": found["of"]} if found["of"] else {})}


def _caps(found: Mapping[str, Any]) -> Document:
    member = found["cap_member"]
    caps = {
        "per_purchase": found["cap_purchase"],
        "per_member": {"period": found["cap_period"] or "day", "points": member} if member else None,
        "budget": found["budget"],
    }
    return {name: value for name, value in caps.items() if value is not None}


def _schedule(found: Mapping[str, Any]) -> Document | None:
    starts, ends, days = found["starts"], found["ends"], [int(n) for n in found["weekdays"]]
    if not days and starts is None:
        return None
    hours = {"from": f"{starts:%H:%M}", "to": f"{ends:%H:%M}"} if starts is not None and ends is not None else {}
    return {"weekdays": days or list(range(1, 8)), **hours}


# ── from the document to the form ───────────────────────────────────────────────────────────────────────────────────


def new_rule_values(bench: Bench) -> dict[str, Any]:
    """What an empty form begins with."""
    units = units_of(bench.spec)
    return {
        "trigger": "purchase",
        "unit": units[0].code if units else "",
        "kind": "per_amount",
        "points": write_steps(10 ** (units[0].decimals if units else 0), units[0].decimals if units else 0),
        "per_money": write_steps(10 ** currency_digits(bench.currency), currency_digits(bench.currency)),
        "per_pieces": "1",
        "cap_period": "day",
        "rest": "down",
    }


def rule_values(rule: RuleSpec, bench: Bench) -> dict[str, Any]:
    """What the form shows of a rule."""
    digits = next((one.decimals for one in units_of(bench.spec) if one.code == rule.unit), 0)
    days = rule.schedule.weekdays if rule.schedule else ()
    return {
        "name": rule.name,
        "trigger": rule.trigger,
        "unit": rule.unit,
        "valid_from": rule.valid_from,
        "valid_until": rule.valid_until,
        "weekdays": [str(n) for n in days],
        "starts": rule.schedule.starts if rule.schedule else None,
        "ends": rule.schedule.ends if rule.schedule else None,
        "rest": "carry" if rule.remainder == "carry" else rule.rounding,
        "group": rule.group or "",
        "priority": rule.priority or None,
        **_effect_values(rule.effect, digits, bench),
        **_cap_values(rule.caps, digits),
    }


def _effect_values(effect: Effect, digits: int, bench: Bench) -> dict[str, Any]:
    by_amount = effect.kind == "per_amount"
    return {
        "kind": effect.kind,
        "points": write_steps(effect.points, digits) if effect.points else "",
        "per_money": write_steps(effect.per, currency_digits(bench.currency)) if by_amount else "",
        "per_pieces": str(effect.per) if effect.kind == "per_quantity" else "1",
        "counted": "" if effect.property == "quantity" else effect.property,
        "factor": write_number(effect.factor) if effect.kind == "multiplier" else "",
        "of": list(effect.of),
    }


def _cap_values(caps: Caps, digits: int) -> dict[str, Any]:
    return {
        "cap_purchase": write_steps(caps.per_purchase, digits),
        "cap_member": write_steps(caps.per_member.points, digits) if caps.per_member else "",
        "cap_period": caps.per_member.period if caps.per_member else "day",
        "budget": write_steps(caps.budget, digits),
    }


def _step_values(rule: RuleSpec | None, bench: Bench) -> list[dict[str, str]]:
    if rule is None or rule.effect.kind != "table":
        return [{}]
    digits = next((one.decimals for one in units_of(bench.spec) if one.code == rule.unit), 0)
    return [
        {"bound": write_number(Decimal(bound)), "points": write_steps(points, digits)}
        for bound, points in rule.effect.steps
    ]
