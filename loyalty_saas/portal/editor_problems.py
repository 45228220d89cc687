"""What the engine finds wrong with a program, in the viewer's language and in words for shop owners."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from django import forms
from django.utils.translation import gettext as _

from loyalty_saas.portal.editor import Document
from programs.rules import Problem, ProgramError

_PART: Final = re.compile(r"(units|rules|rewards|offers|tiers\.levels)\[([0-9]+)\]\.?(.*)")


class TakesProblems(Protocol):
    """A form that can put the engine's words at a field."""

    def add_problem(self, path: str, words: str) -> None: ...
    def add_error(self, field: str | None, error: str) -> None: ...


def tell(
    form: TakesProblems, error: ProgramError, *, part: str, place: int | None, document: Document, before: Document
) -> None:
    """Put each problem of the part the form is about at its field, and others at the head of the form."""
    for problem in error.problems:
        found = _PART.fullmatch(problem.path)
        words = in_words(problem, document, before)
        if found and found[1] == part and (place is None or int(found[2]) == place):
            form.add_problem(found[3] if place is not None else f"{found[2]}.{found[3]}", words)
        elif part == "tiers.levels" and problem.path.startswith("tiers."):
            form.add_problem(problem.path.removeprefix("tiers."), words)
        else:
            form.add_error(None, _about(found, words, document) if found else words)


def told(error: ProgramError, document: Document, before: Document) -> list[str]:
    """All problems as sentences that name the part they are about."""
    said = [(_PART.fullmatch(problem.path), in_words(problem, document, before)) for problem in error.problems]
    return [_about(found, words, document) if found else words for found, words in said]


def _about(found: re.Match[str], words: str, document: Document) -> str:
    """What is wrong with another part, which is named."""
    parts, place = _parts(document, found[1]), int(found[2])
    if place >= len(parts):
        return words
    return _("“%(name)s”: %(words)s") % {"name": parts[place].get("name", ""), "words": words}


def in_words(problem: Problem, document: Document, before: Document) -> str:
    """What is wrong, for somebody who has never seen a program document; what is gone is named as it was `before`."""
    for pattern, say in _WORDS.items():
        if found := pattern.fullmatch(problem.message):
            values = {name: _called(name, value, document, before) for name, value in found.groupdict().items()}
            return say() % values
    return _("This does not fit: %(message)s.") % {"message": problem.message}


def _called(kind: str, code: str, *documents: Document) -> str:
    """The name of a rule, level or unit that the engine names by its code."""
    lists = {"rule": "rules", "level": "tiers.levels", "unit": "units"}
    parts = [part for one in documents for part in _parts(one, lists[kind])] if kind in lists else []
    return next((str(part.get("name")) for part in parts if part.get("code") == code), code)


def _parts(document: Document, name: str) -> Sequence[Document]:
    if name == "tiers.levels":
        return (document.get("tiers") or {}).get("levels") or ()
    return document.get(name) or ()


_Say = Callable[[], str]
_WORDS: Final[dict[re.Pattern[str], _Say]] = {
    re.compile(pattern): say
    for pattern, say in {
        r"is missing.*": lambda: _("This is needed."),
        r"must not be (?P<code>\S+) twice": lambda: _("There is another one with the same code."),
        r"must be a unit of this program, and (?P<unit>\S+) is not": lambda: _("%(unit)s is not collected any more."),
        r"must be a level of this program, and (?P<level>\S+) is not": lambda: _(
            "The level “%(level)s” does not exist any more; this rule is still for its members."
        ),
        r"must not be above enter": lambda: _("Keeping a level cannot take more than reaching it."),
        r"must be above that of (?P<level>\S+): levels.*": lambda: _("This must be more than for %(level)s."),
        r"must not be below that of (?P<level>\S+): levels.*": lambda: _("This must not be less than for %(level)s."),
        r"must be a rule that is no multiplier, and (?P<rule>\S+) is not": lambda: _(
            "“%(rule)s” is gone, or is a multiple itself; this rule still multiplies it."
        ),
        r"must be a rule of the unit (?P<unit>\S+), and (?P<rule>\S+) is not": lambda: _(
            "“%(rule)s” does not give %(unit)s."
        ),
        r"finds no rule of the unit (?P<unit>\S+) to multiply": lambda: _("No other rule gives %(unit)s to multiply."),
        r"must not join (?P<rule>\S+): one is judged by line.*": lambda: _(
            "“%(rule)s” is in this group, and only one of the two is for each item."
        ),
        r"must not join (?P<rule>\S+): one is a multiplier.*": lambda: _(
            "“%(rule)s” is in this group, and only one of the two is a multiple."
        ),
        r"must not be before valid_from": lambda: _("The last day is before the first."),
        r"must begin with the lower value": lambda: _("The first value must be the lower one."),
        r"must be in ascending order of their bounds": lambda: _("Each step must begin above the one before."),
        r"cannot be per_amount: .*": lambda: _("There is no amount to count by; choose another way."),
        r"must be quantity in a rule for the trigger line": lambda: _(
            "Items of a purchase are counted by pieces only."
        ),
        r"cannot be (?P<field>\S+) in a rule for the trigger (?P<trigger>\S+)": lambda: _(
            "This cannot be asked of what earns here."
        ),
        r"must be (down|drop) .*": lambda: _("This does not go with how much the rule gives."),
        r"must be one of .*|must be (eq|ne|in).*": lambda: _("Choose another comparison."),
        r"must be a whole number( above 0| of at least -?\d+)?": lambda: _(
            "Enter a whole number that is large enough."
        ),
        r"must be a number from .*": lambda: _("Enter a number that is large enough."),
        r"must be a whole number, or a number of up to three places.*": lambda: _(
            "Enter a number with at most three places."
        ),
        r"must be at most (?P<most>\d+)": lambda: _("Enter at most %(most)s."),
        r"must be at most (?P<most>\d+) characters long": lambda: _("Use at most %(most)s characters."),
        r"must be at most (?P<most>\d+) small letters.*": lambda: _("This name is not known."),
        r"must hold at most (?P<most>\d+) entries": lambda: _("There may be at most %(most)s."),
        r"must be a list that is not empty": lambda: _("Choose at least one."),
        r"must be a text that is not empty": lambda: _("Enter a text."),
        r"must not hold control characters": lambda: _("There are signs in it that cannot be shown."),
        r"cannot change: members already collect this unit": lambda: _("Members collect this already."),
        r"is given by a rule: .*": lambda: _("Points are given by a rule, not by an offer."),
    }.items()
}


def add_to_rows(rows: list[forms.Form], path: str, words: str, fields: Mapping[str, str]) -> bool:
    """Put words at a field of a row by a path such as `2.keep`; whether there was one."""
    place, _dot, rest = path.partition(".")
    name = fields.get(rest, fields.get(rest.partition("[")[0], ""))
    if not place.isdecimal() or int(place) >= len(rows) or name not in rows[int(place)].fields:
        return False
    rows[int(place)].add_error(name, words)
    return True
