"""The form of one condition of an earning rule: its fields in words, from the document and back."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from loyalty_saas.portal.editor import Bench, Document, tiers_of
from loyalty_saas.portal.editor_numbers import (
    Value,
    currency_digits,
    currency_sign,
    document_number,
    read_figure,
    read_list,
    read_number,
    read_steps,
    read_text,
    write_list,
    write_steps,
    write_value,
)
from loyalty_saas.portal.editor_rows import Row
from loyalty_saas.sentences_words import segment_name, weekday_name
from programs.rules import SEGMENTS, Condition
from programs.rules.specs import OPS

Choices = list[tuple[str, Any]]
FIGURE = "figure"

FIELD_WORDS: Mapping[str, str | Promise] = {
    "category": gettext_lazy("Category"),
    "sku": gettext_lazy("Article number"),
    "amount": gettext_lazy("Amount"),
    "quantity": gettext_lazy("Quantity"),
    "first_purchase": gettext_lazy("First purchase"),
    "tier": gettext_lazy("Tier of the member"),
    "segment": gettext_lazy("Group of the member"),
    "location": gettext_lazy("Location"),
    "channel": gettext_lazy("Channel"),
    "weekday": gettext_lazy("Day of the week"),
    "hour": gettext_lazy("Hour of the day"),
    "activity": gettext_lazy("Kind of activity"),
    FIGURE: gettext_lazy("A figure of the activity"),
}
OP_WORDS: Mapping[str, str | Promise] = {
    "eq": gettext_lazy("is"),
    "ne": gettext_lazy("is not"),
    "in": gettext_lazy("is one of"),
    "not_in": gettext_lazy("is none of"),
    "gt": gettext_lazy("is above"),
    "gte": gettext_lazy("is at least"),
    "lt": gettext_lazy("is below"),
    "lte": gettext_lazy("is at most"),
    "between": gettext_lazy("is from … to …"),
}
_FEW_OPS = ("eq", "ne", "in", "not_in")
_CHOSEN = ("tier", "segment", "location", "weekday")
_NUMBERS = ("amount", "quantity", "hour", FIGURE)


def ops_of(field: str) -> Sequence[str]:
    """How a field can be compared."""
    if field == "first_purchase":
        return ("eq",)
    return OPS if field in ("amount", "quantity", "weekday", "hour", FIGURE) else _FEW_OPS


def choices_of(field: str, bench: Bench) -> Choices:
    """What can be ticked for a field."""
    tiers = tiers_of(bench.spec)
    found: dict[str, Callable[[], Choices]] = {
        "tier": lambda: [(level.code, level.name) for level in tiers.levels] if tiers else [],
        "segment": lambda: [(code, segment_name(code)) for code in SEGMENTS],
        "location": lambda: list(bench.places.items()),
        "weekday": lambda: [(str(n), weekday_name(n)) for n in range(1, 8)],
    }
    return found[field]()


class ConditionRow(Row):
    """One thing that must hold: a field, how it compares, and with what."""

    field = forms.ChoiceField(label=gettext_lazy("Only if"), required=False)
    name = forms.RegexField(
        r"^[A-Za-z_][A-Za-z0-9_-]{0,49}$", label=gettext_lazy("Name of the figure"), required=False, max_length=50
    )
    op = forms.ChoiceField(label=gettext_lazy("Comparison"), required=False)
    value = forms.CharField(label=gettext_lazy("Value"), required=False, max_length=20_000, strip=False)
    last = forms.CharField(label=gettext_lazy("To"), required=False, max_length=40)
    ticked = forms.MultipleChoiceField(label=gettext_lazy("Value"), required=False, widget=forms.CheckboxSelectMultiple)

    def __init__(self, *args: Any, bench: Bench, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.bench = bench
        self.chosen_field = self._now("field")
        self.chosen_op = self._now("op")
        words: Choices = [("", _("Choose …")), *FIELD_WORDS.items()]
        self.fields["field"].choices = words  # type: ignore[attr-defined]
        self.fields["op"].choices = [(op, OP_WORDS[op]) for op in ops_of(self.chosen_field)]  # type: ignore[attr-defined]
        if self.is_chosen:
            self._offer_choices()

    @property
    def is_chosen(self) -> bool:
        """Whether values are ticked and not typed."""
        return self.chosen_field in _CHOSEN

    @property
    def is_figure(self) -> bool:
        """Whether the figure has to be named."""
        return self.chosen_field == FIGURE

    @property
    def is_range(self) -> bool:
        """Whether there is a lowest and a highest value to type."""
        return self.chosen_op == "between" and not self.is_chosen

    @property
    def is_plain(self) -> bool:
        """Whether nothing more is asked: the first purchase is one or not."""
        return self.chosen_field == "first_purchase"

    @property
    def suffix(self) -> str:
        """What stands behind the value."""
        return currency_sign(self.bench.currency) if self.chosen_field == "amount" else ""

    @property
    def suggestions(self) -> str:
        """The list that helps to type."""
        return {"category": "categories"}.get(self.chosen_field, "")

    def is_empty(self) -> bool:
        """A row without a field says nothing."""
        return not self.chosen_field

    def _now(self, name: str) -> str:
        if self.is_bound:
            return str(self.data.get(self.add_prefix(name), ""))
        return str(self.initial.get(name, ""))

    def _offer_choices(self) -> None:
        known = choices_of(self.chosen_field, self.bench)
        now = self._typed("ticked") if self.is_bound else self.initial.get("ticked", [])
        # A level or location that is gone can still be seen, and unticked.
        if self.chosen_field != "weekday":
            known += [(code, code) for code in now if code not in dict(known)]
        self.fields["ticked"].choices = known  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        """The value as the document writes it."""
        found = self.cleaned_data
        if self.is_figure and not found.get("name") and "name" not in self.errors:
            self.add_error("name", _("Say which figure."))
        if not self.errors:
            self._read(found)
        return found

    def _read(self, found: dict[str, Any]) -> None:
        try:
            found["read"] = self._ticked(found) if self.is_chosen else self._typed_value(found)
        except ValidationError as error:
            self.add_error("ticked" if self.is_chosen else "value", error)

    def _ticked(self, found: dict[str, Any]) -> tuple[str, object]:
        op, codes = found["op"] or "eq", found["ticked"] or self._named_in(found["value"])
        if not codes:
            raise ValidationError(_("Choose at least one."), code="required")
        values: list[Any] = sorted(map(int, codes)) if self.chosen_field == "weekday" else list(codes)
        if op == "between":
            return op, [values[0], values[-1]]
        if op in ("eq", "ne") and len(values) > 1:
            return {"eq": "in", "ne": "not_in"}[op], values
        if op in ("in", "not_in"):
            return op, values
        if len(values) > 1:
            raise ValidationError(_("Choose one only."), code="several")
        return op, values[0]

    def _named_in(self, text: str) -> list[str]:
        """What was typed where no boxes were shown, by name or code."""
        named = {str(words).casefold(): code for code, words in choices_of(self.chosen_field, self.bench)}
        typed = [entry.casefold() for entry in read_list(text)]
        return [named.get(entry, entry) for entry in typed if entry in named or entry in named.values()]

    def _typed_value(self, found: dict[str, Any]) -> tuple[str, object]:
        if self.is_plain:
            return found["op"] or "eq", found["value"] != "no"
        op, text = found["op"] or "eq", found["value"]
        if not text.strip():
            raise ValidationError(_("Enter a value."), code="required")
        if op == "between":
            return op, [self._one(text), self._one(found["last"] or text)]
        if op in ("in", "not_in"):
            return op, [self._one(entry) for entry in read_list(text, numbers=self.chosen_field in _NUMBERS)]
        return op, self._one(text)

    def _one(self, text: str) -> Value:
        match self.chosen_field:
            case "amount":
                return read_steps(text, currency_digits(self.bench.currency), least=-(10**15))
            case "quantity":
                return document_number(read_number(text))
            case "hour":
                return read_steps(text, 0)
            case "figure":
                return read_figure(text)
        return read_text(text)

    def document(self) -> Document:
        """The condition as it stands in a document."""
        op, value = self.cleaned_data["read"]
        named = f"properties.{self.cleaned_data['name']}" if self.is_figure else self.chosen_field
        return {"field": named, "op": op, "value": value}


def condition_values(condition: Condition, bench: Bench) -> dict[str, Any]:
    """What the fields of a condition's row show."""
    prefix, _dot, name = condition.field.partition(".")
    field = FIGURE if prefix == "properties" else condition.field
    values = condition.value if isinstance(condition.value, tuple) else (condition.value,)
    shown: dict[str, Any] = {"field": field, "name": name if field == FIGURE else "", "op": condition.op}
    if field in _CHOSEN:
        return {**shown, "ticked": [str(value) for value in values]}
    if field == "first_purchase":
        return {**shown, "op": "eq", "value": "yes" if bool(values[0]) == (condition.op == "eq") else "no"}
    words = [_written(field, value, bench) for value in values]
    if condition.op == "between":
        return {**shown, "value": words[0], "last": words[-1]}
    return {**shown, "value": ", ".join(words)}


def _written(field: str, value: Any, bench: Bench) -> str:
    if field == "amount":
        return write_steps(int(value), currency_digits(bench.currency))
    if isinstance(value, str):
        return write_value(value, read_figure if field == FIGURE else read_text)
    return write_list([document_number(Decimal(value))], read_figure)
