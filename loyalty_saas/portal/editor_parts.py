"""The forms of a program's other parts: name and units, tiers, rewards, offers."""

from collections.abc import Mapping
from typing import Any, cast

from django import forms
from django.core.exceptions import ValidationError
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from loyalty_saas.portal.editor import Bench, Document, codes_in, new_code, part_of, tiers_of, units_of
from loyalty_saas.portal.editor_numbers import currency_digits, currency_sign, read_steps, write_steps
from loyalty_saas.portal.editor_problems import add_to_rows
from loyalty_saas.portal.editor_rows import Data, Row, Rows, hush
from loyalty_saas.sentences_words import segment_name
from programs.rules import SEGMENTS, EarningSpec, OfferSpec, RewardSpec, TierSetSpec, TierSpec, UnitSpec, over
from programs.rules.specs import DOWNGRADES, REWARD_KINDS, TIER_BASES, TIER_PERIODS

UNIT_KIND_WORDS: Mapping[str, str | Promise] = {
    "points": gettext_lazy("Points"),
    "stamps": gettext_lazy("Stamps"),
    "money": gettext_lazy("Money"),
}
EXPIRY_WORDS: Mapping[str, str | Promise] = {
    "none": gettext_lazy("Never"),
    "rolling": gettext_lazy("Some months after they were earned"),
    "calendar": gettext_lazy("At the end of a calendar year"),
    "sliding": gettext_lazy("Some months after the member last earned or spent"),
}
BASIS_WORDS: Mapping[str, str | Promise] = {
    "spend": gettext_lazy("What a member spends"),
    "count": gettext_lazy("How often a member buys"),
    "earned": gettext_lazy("What a member earns"),
    "quantity": gettext_lazy("A figure of activities, such as days"),
}
PERIOD_WORDS: Mapping[str, str | Promise] = {
    "rolling": gettext_lazy("the last months"),
    "calendar": gettext_lazy("the calendar year"),
    "anniversary": gettext_lazy("years from the day of joining"),
    "lifetime": gettext_lazy("all time"),
}
DOWNGRADE_WORDS: Mapping[str, str | Promise] = {
    "to_level": gettext_lazy("falls to the level that is kept"),
    "one_step": gettext_lazy("falls one level at most in a period"),
    "none": gettext_lazy("keeps it all the same"),
}
REWARD_WORDS: Mapping[str, str | Promise] = {
    "discount": gettext_lazy("Discount"),
    "product": gettext_lazy("Free product"),
    "money": gettext_lazy("Money off"),
}


class _Steps:
    """Reads amounts typed in a form."""

    cleaned_data: dict[str, Any]

    def read(self, name: str, digits: int, *, least: int = 0) -> int | None:
        """The steps of a field, or None and the error at the field."""
        try:
            typed = str(self.cleaned_data.get(name) or "")
            if typed:
                return read_steps(typed, digits, least=least)
            raise ValidationError(_("Enter a number."), code="required")
        except ValidationError as error:
            if name not in self.errors:  # type: ignore[attr-defined]
                self.add_error(name, error)  # type: ignore[attr-defined]
            return None


# ── name and units ──────────────────────────────────────────────────────────────────────────────────────────────────


class UnitRow(_Steps, Row):
    """What members collect."""

    code = forms.CharField(required=False, widget=forms.HiddenInput())
    name = forms.CharField(label=gettext_lazy("Name"), max_length=60)
    kind = forms.ChoiceField(label=gettext_lazy("Kind"), choices=list(UNIT_KIND_WORDS.items()))
    decimals = forms.IntegerField(label=gettext_lazy("Decimal places"), min_value=0, max_value=6)
    pending_days = forms.IntegerField(
        label=gettext_lazy("Days until they can be used"),
        min_value=0,
        max_value=366,
        help_text=gettext_lazy("0 means at once. With a wait, a purchase can come back before its points are spent."),
    )
    expiry = forms.ChoiceField(label=gettext_lazy("They expire"), choices=list(EXPIRY_WORDS.items()))
    months = forms.IntegerField(label=gettext_lazy("After so many months"), required=False, min_value=1, max_value=1200)
    may_owe = forms.BooleanField(
        label=gettext_lazy("A return may take a balance below zero"),
        required=False,
        help_text=gettext_lazy("Otherwise what was spent already is let go."),
    )
    debt_limit = forms.CharField(
        label=gettext_lazy("At most so much below zero"),
        required=False,
        max_length=40,
        help_text=gettext_lazy("Empty: without a limit. What goes beyond it is let go."),
    )

    def __init__(self, *args: Any, used: set[str], units: tuple[UnitSpec, ...], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["decimals"].initial = self.fields["pending_days"].initial = 0
        code = str(self["code"].value() or "")
        self.old = next((unit for unit in units if unit.code == code), None)
        self.is_fixed = self.old is not None and code in used
        if self.is_fixed and self.old:
            self.initial.update(kind=self.old.kind, decimals=self.old.decimals)
            for name in ("kind", "decimals"):
                self.fields[name].disabled = True
                self.fields[name].help_text = _("Fixed: members collect this already.")

    def is_empty(self) -> bool:
        """A row that is new and has no name says nothing."""
        return self.old is None and not str(self["name"].value() or "").strip()

    def clean(self) -> dict[str, Any]:
        """Months where something expires."""
        found = self.cleaned_data
        if found.get("expiry") not in (None, "none") and not found.get("months") and "months" not in self.errors:
            self.add_error("months", _("Enter after how many months."))
        limit = str(found.get("debt_limit") or "").strip()
        found["debt_limit"] = self.read("debt_limit", found.get("decimals") or 0) if limit else None
        if limit and not found.get("may_owe") and "debt_limit" not in self.errors:
            self.add_error("debt_limit", _("Only where a balance may go below zero."))
        return found

    def document(self, taken: set[str]) -> Document:
        """The unit as it stands in a document."""
        found = self.cleaned_data
        months = {"months": found["months"]} if found["expiry"] != "none" else {}
        limit = {"debt_limit": found["debt_limit"]} if found["debt_limit"] is not None else {}
        return {
            "code": self.old.code if self.old else new_code(found["name"], taken),
            "name": found["name"],
            "kind": found["kind"],
            "decimals": found["decimals"],
            "pending_days": found["pending_days"],
            "expiry": {"policy": found["expiry"], **months},
            "may_owe": found["may_owe"],
            **limit,
        }


def _unit_values(unit: UnitSpec) -> dict[str, Any]:
    return {
        "code": unit.code,
        "name": unit.name,
        "kind": unit.kind,
        "decimals": unit.decimals,
        "pending_days": unit.pending_days,
        "expiry": unit.expiry.policy,
        "months": unit.expiry.months or None,
        "may_owe": unit.may_owe,
        "debt_limit": write_steps(unit.debt_limit, unit.decimals),
    }


class BasicsForm(forms.Form):
    """The program's name and what members collect."""

    part = "units"
    name = forms.CharField(label=gettext_lazy("Name of the program"), max_length=100)
    gift_cards = forms.BooleanField(
        label=gettext_lazy("Gift cards earn when they are bought"),
        required=False,
        help_text=gettext_lazy("Otherwise what is bought with them earns, and not the card."),
    )
    paid_by_points = forms.BooleanField(
        label=gettext_lazy("What is paid by points earns as well"),
        required=False,
        help_text=gettext_lazy("Otherwise only what is paid in another way counts, where points go by the amount."),
    )

    def __init__(self, data: Data | None = None, *, bench: Bench) -> None:
        spec, units = bench.spec, tuple(units_of(bench.spec))
        earning = spec.earning if spec else EarningSpec()
        given = {"gift_cards": earning.gift_cards, "paid_by_points": earning.paid_by_points}
        super().__init__(data, initial={"name": spec.name if spec else "", **given})
        self.bench = bench
        self.units: Rows[UnitRow] = Rows(
            lambda **given: UnitRow(used=bench.used_units, units=units, **given),
            "u",
            data=data,
            initial=[_unit_values(unit) for unit in units] or [{}],
        )

    def hush(self) -> None:
        """Say nothing of errors."""
        hush(self)
        self.units.hush()

    def is_valid(self) -> bool:
        """Whether all can be read."""
        return all([super().is_valid(), self.units.is_valid()])

    def document(self) -> Document:
        """The whole document with this name and these units."""
        parts: list[Document] = []
        for row in self.units.filled:
            parts.append(row.document(codes_in(self.bench.document["units"]) | codes_in(parts) | self.bench.used_units))
        document = {key: value for key, value in self.bench.document.items() if key != "earning"}
        given = {name: self.cleaned_data[name] for name in ("gift_cards", "paid_by_points")}
        earning = {"earning": given} if any(given.values()) else {}
        return {**document, "name": self.cleaned_data["name"], "units": parts, **earning}

    def add_problem(self, path: str, words: str) -> None:
        """What the engine says of `n.field`."""
        fields = {name: name for name in ("name", "kind", "decimals", "pending_days", "may_owe", "debt_limit")}
        rows: list[forms.Form] = list(self.units.filled)
        if not add_to_rows(rows, path, words, {**fields, "expiry.months": "months", "expiry": "expiry"}):
            self.add_error(None, words)


# ── tiers ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class LevelRow(_Steps, Row):
    """One level."""

    code = forms.CharField(required=False, widget=forms.HiddenInput())
    name = forms.CharField(label=gettext_lazy("Name"), max_length=60)
    enter = forms.CharField(label=gettext_lazy("To reach it"), max_length=40)
    keep = forms.CharField(
        label=gettext_lazy("To keep it"), max_length=40, required=False, help_text=gettext_lazy("Empty: the same.")
    )
    benefits = forms.CharField(
        label=gettext_lazy("What it brings"),
        required=False,
        max_length=10_000,
        widget=forms.Textarea({"rows": 3}),
        help_text=gettext_lazy("One advantage a line, as members read it."),
    )

    def __init__(self, *args: Any, digits: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.digits = digits

    def is_empty(self) -> bool:
        """A row without anything typed in it."""
        return not any(str(self[name].value() or "").strip() for name in ("name", "enter", "keep", "benefits"))

    def clean(self) -> dict[str, Any]:
        """Both thresholds in smallest steps."""
        found = self.cleaned_data
        if "enter" in found:
            found["enter"] = self.read("enter", self.digits)
        found["keep"] = self.read("keep", self.digits) if found.get("keep") else found.get("enter")
        lines = (line.strip() for line in found.get("benefits", "").splitlines())
        found["lines"] = [line for line in lines if line]
        if any(len(line) > 200 for line in found["lines"]):
            self.add_error("benefits", _("Use at most 200 characters a line."))
        return found

    def document(self, known: set[str], taken: set[str]) -> Document:
        """The level as it stands in a document."""
        found = self.cleaned_data
        code = found["code"] if found["code"] in known - taken else new_code(found["name"], known | taken)
        benefits = {"benefits": found["lines"]} if found["lines"] else {}
        return {"code": code, "name": found["name"], "enter": found["enter"], "keep": found["keep"], **benefits}


class TiersForm(forms.Form):
    """What levels are counted by, and the levels."""

    part = "tiers.levels"
    basis = forms.ChoiceField(
        label=gettext_lazy("Levels go by"), choices=[(one, BASIS_WORDS[one]) for one in TIER_BASES]
    )
    figure = forms.RegexField(
        r"^[A-Za-z_][A-Za-z0-9_-]{0,49}$", label=gettext_lazy("Which figure"), required=False, max_length=50
    )
    unit = forms.ChoiceField(label=gettext_lazy("Which unit"), required=False)
    period = forms.ChoiceField(
        label=gettext_lazy("Counted over"), choices=[(one, PERIOD_WORDS[one]) for one in TIER_PERIODS]
    )
    downgrade = forms.ChoiceField(
        label=gettext_lazy("Who no longer keeps a level"), choices=[(one, DOWNGRADE_WORDS[one]) for one in DOWNGRADES]
    )
    months = forms.IntegerField(label=gettext_lazy("How many months"), required=False, min_value=1, max_value=1200)

    def __init__(self, data: Data | None = None, *, bench: Bench) -> None:
        tiers = tiers_of(bench.spec)
        super().__init__(data, initial=_tier_set_values(tiers))
        self.bench = bench
        units = units_of(bench.spec)
        cast(forms.ChoiceField, self.fields["unit"]).choices = [(unit.code, unit.name) for unit in units]
        self.digits = currency_digits(bench.currency) if self["basis"].value() == "spend" else 0
        if self["basis"].value() == "earned":
            self.digits = next((unit.decimals for unit in units if unit.code == self["unit"].value()), 0)
        levels = [_level_values(level, self.digits) for level in tiers.levels] if tiers else [{}]
        self.levels: Rows[LevelRow] = Rows(
            lambda **given: LevelRow(digits=self.digits, **given), "l", data=data, initial=levels
        )

    @property
    def sign(self) -> str:
        """What stands behind a threshold."""
        return currency_sign(self.bench.currency) if self["basis"].value() == "spend" else ""

    def hush(self) -> None:
        """Say nothing of errors."""
        hush(self)
        self.levels.hush()

    def is_valid(self) -> bool:
        """Whether all can be read."""
        return all([super().is_valid(), self.levels.is_valid()])

    def clean(self) -> dict[str, Any]:
        """What the chosen basis asks for."""
        found = self.cleaned_data
        if found.get("basis") == "quantity" and not found.get("figure") and "figure" not in self.errors:
            self.add_error("figure", _("Say which figure of the activities."))
        if found.get("period") == "rolling" and not found.get("months") and "months" not in self.errors:
            self.add_error("months", _("Enter over how many months."))
        return found

    def document(self) -> Document:
        """The whole document with these tiers; none without a level."""
        found, levels = self.cleaned_data, list[Document]()
        known = codes_in((self.bench.document["tiers"] or {}).get("levels", ()))
        for row in self.levels.filled:
            levels.append(row.document(known, codes_in(levels)))
        named = {"property": found["figure"]} if found["basis"] == "quantity" else {}
        if found["basis"] == "earned" and found.get("unit"):
            named = {"unit": found["unit"]}
        months = {"period_months": found["months"]} if found["period"] == "rolling" else {}
        how = {"period": found["period"], **months, "downgrade": found["downgrade"]}
        tiers = {"basis": found["basis"], **named, **how, "levels": levels} if levels else None
        return {**self.bench.document, "tiers": tiers}

    def add_problem(self, path: str, words: str) -> None:
        """What the engine says of `n.field`, or of the set."""
        fields = {name: name for name in ("name", "enter", "keep", "benefits")}
        rows: list[forms.Form] = list(self.levels.filled)
        if not add_to_rows(rows, path, words, fields):
            fields = {"property": "figure", "period_months": "months"} | {n: n for n in ("unit", "period", "downgrade")}
            self.add_error(fields.get(path), words)


def _tier_set_values(tiers: TierSetSpec | None) -> dict[str, Any]:
    if tiers is None:
        return {"basis": "spend", "period": "rolling", "months": 12, "downgrade": "to_level"}
    return {
        "basis": tiers.basis,
        "figure": tiers.property or "",
        "unit": tiers.counted.code if tiers.counted else "",
        "period": over(tiers),
        "months": tiers.period_months,
        "downgrade": tiers.downgrade,
    }


def _level_values(level: TierSpec, digits: int) -> dict[str, Any]:
    return {
        "code": level.code,
        "name": level.name,
        "enter": write_steps(level.enter, digits),
        "keep": write_steps(level.keep, digits),
        "benefits": "\n".join(level.benefits),
    }


# ── rewards and offers ──────────────────────────────────────────────────────────────────────────────────────────────


class RewardForm(_Steps, forms.Form):
    """One reward."""

    part = "rewards"
    name = forms.CharField(label=gettext_lazy("Name"), max_length=100, help_text=gettext_lazy("As members read it."))
    kind = forms.ChoiceField(label=gettext_lazy("Kind"), choices=[(one, REWARD_WORDS[one]) for one in REWARD_KINDS])
    unit = forms.ChoiceField(label=gettext_lazy("Paid with"))
    price = forms.CharField(label=gettext_lazy("Price"), max_length=40)
    value = forms.CharField(
        label=gettext_lazy("Value in money"),
        max_length=40,
        help_text=gettext_lazy("What it is worth at the till. What you owe to members is counted by it."),
    )
    active = forms.BooleanField(
        label=gettext_lazy("On the shelf"), required=False, help_text=gettext_lazy("Members can have it.")
    )

    def __init__(self, data: Data | None = None, *, bench: Bench, part: RewardSpec | None = None) -> None:
        units = units_of(bench.spec)
        self.bench, self.old = bench, part
        first = units[0].code if units else ""
        super().__init__(data, initial=self._values(part) if part else {"unit": first, "active": True})
        self.fields["unit"].choices = [(unit.code, unit.name) for unit in units]  # type: ignore[attr-defined]
        if len(units) == 1:
            self.fields["unit"].widget = forms.HiddenInput()

    @property
    def sign(self) -> str:
        """The currency's sign."""
        return currency_sign(self.bench.currency)

    def hush(self) -> None:
        """Say nothing of errors."""
        hush(self)

    def _values(self, part: RewardSpec) -> dict[str, Any]:
        return {
            "name": part.name,
            "kind": part.kind,
            "unit": part.unit,
            "price": write_steps(part.price, self._digits(part.unit)),
            "value": write_steps(part.value, currency_digits(self.bench.currency)),
            "active": part.active,
        }

    def _digits(self, code: str) -> int:
        return next((unit.decimals for unit in units_of(self.bench.spec) if unit.code == code), 0)

    def clean(self) -> dict[str, Any]:
        """Price and value in smallest steps."""
        found = self.cleaned_data
        if "price" in found:
            found["price"] = self.read("price", self._digits(found.get("unit", "")), least=1)
        if "value" in found:
            found["value"] = self.read("value", currency_digits(self.bench.currency))
        return found

    def document(self) -> Document:
        """The reward as it stands in a document."""
        found = {name: self.cleaned_data[name] for name in ("name", "kind", "unit", "price", "value")}
        shelf = {} if self.cleaned_data["active"] else {"active": False}
        return {"code": _code(self.old, "rewards", found["name"], self.bench), **found, **shelf}

    def add_problem(self, path: str, words: str) -> None:
        """What the engine says of a field."""
        self.add_error(path if path in self.fields else None, words)


class OfferForm(forms.Form):
    """One offer."""

    part = "offers"
    name = forms.CharField(label=gettext_lazy("Name"), max_length=100)
    text = forms.CharField(
        label=gettext_lazy("What is said"),
        max_length=200,
        widget=forms.Textarea({"rows": 3}),
        help_text=gettext_lazy("Points are given by rules: promise none here that no rule gives."),
    )
    segments = forms.MultipleChoiceField(
        label=gettext_lazy("For the groups"),
        widget=forms.CheckboxSelectMultiple,
        help_text=gettext_lazy("Each member is in one group, found anew with every purchase."),
    )

    def __init__(self, data: Data | None = None, *, bench: Bench, part: OfferSpec | None = None) -> None:
        shown = {"name": part.name, "text": part.text, "segments": list(part.segments)} if part else {}
        super().__init__(data, initial=shown)
        self.bench, self.old = bench, part
        self.fields["segments"].choices = [(code, segment_name(code)) for code in SEGMENTS]  # type: ignore[attr-defined]

    def hush(self) -> None:
        """Say nothing of errors."""
        hush(self)

    def clean_text(self) -> str:
        """Lines end as the document ends them."""
        return str(self.cleaned_data["text"]).replace("\r\n", "\n")

    def document(self) -> Document:
        """The offer as it stands in a document; what this form does not know stays."""
        found = {name: self.cleaned_data[name] for name in ("name", "segments", "text")}
        old = part_of(self.bench.document, "offers", self.old.code) if self.old else None
        return {**(old[1] if old else {}), "code": _code(self.old, "offers", found["name"], self.bench), **found}

    def add_problem(self, path: str, words: str) -> None:
        """What the engine says of a field."""
        name = path.partition("[")[0]
        self.add_error(name if name in self.fields else None, words)


def _code(old: RewardSpec | OfferSpec | None, name: str, title: str, bench: Bench) -> str:
    return old.code if old else new_code(title, codes_in(bench.document[name]))
