"""What the sentences about a program are made of: how things are called, lists, days, times."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import time

from babel.dates import format_time, get_day_names
from babel.lists import format_list
from django.utils.translation import gettext as _

from loyalty_saas.sentences import amount_of
from loyalty_saas.templatetags.loyalty import viewer_locale
from members.models import Insight
from programs.rules import ProgramSpec, RuleSpec, UnitSpec

_Names = Mapping[str, str]


@dataclass(frozen=True)
class Wording:
    """What sentences need besides the part they tell of: the currency, and how things are called."""

    currency: str
    units: Mapping[str, UnitSpec] = field(default_factory=dict)
    levels: _Names = field(default_factory=dict)
    rules: _Names = field(default_factory=dict)
    places: _Names = field(default_factory=dict)

    @staticmethod
    def of(program: ProgramSpec, *, currency: str, places: _Names | None = None) -> "Wording":
        """The words of one program."""
        return Wording(
            currency=currency,
            units={unit.code: unit for unit in program.units},
            levels={level.code: level.name for level in program.tiers.levels} if program.tiers else {},
            rules={rule.code: rule.name for rule in program.rules},
            places=places or {},
        )

    def with_rule(self, rule: RuleSpec) -> "Wording":
        """The same words, and the name of one more rule."""
        return replace(self, rules={**self.rules, rule.code: rule.name})

    def amount(self, steps: int, unit_code: str) -> str:
        """Smallest steps of a unit with its name: 1 point, 12 stamps, 8.00 Trip dollars."""
        unit = self.units.get(unit_code)
        decimals, name = (unit.decimals, unit.name) if unit else (0, unit_code)
        return amount_of(steps, decimals=decimals, unit=name)

    def unit_name(self, code: str) -> str:
        """What a unit is called."""
        return self.units[code].name if code in self.units else code


def segment_name(code: str) -> str:
    """What a group of members is called."""
    return str(dict(Insight.Segment.choices).get(code, "")) or _("Not bought yet")


def and_list(parts: Iterable[str]) -> str:
    """One, two and three."""
    return str(format_list(list(parts), style="standard", locale=viewer_locale()))


def or_list(parts: Iterable[str]) -> str:
    """One, two or three."""
    return str(format_list(list(parts), style="or", locale=viewer_locale()))


def weekday_name(number_of_day: int) -> str:
    """Monday for 1."""
    return str(get_day_names("wide", locale=viewer_locale())[number_of_day - 1])


def clock(at: time) -> str:
    """A time of day as the viewer writes it."""
    return str(format_time(at, format="short", locale=viewer_locale()))


def spelt(name: str) -> str:
    """A name of the program as words: `trip_days` as trip days."""
    return name.replace("_", " ")


def quoted(text: str) -> str:
    """In the quotation marks of the viewer's language."""
    return _("“%(text)s”") % {"text": text}
