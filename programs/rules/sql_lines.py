# ruff: noqa: S608 (put together of our own constants; values travel apart)
"""Rules that are judged line by line, as stages of the SQL form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from programs.rules.specs import Caps, RuleSpec
from programs.rules.sql_terms import (
    OF_ANY_LINE,
    Terms,
    awarded,
    line_conditions,
    line_value,
    rate,
    some_line,
)
from programs.rules.sql_wins import Bidder, lost, won


class LineRules:
    """
    What the lines of a sale say: its sums, the answers to conditions, and what line rules give for each line.

    A multiplier for lines is `late` if what it multiplies is only known once whole sales have been judged: rules for
    whole sales, and rules for lines that are capped or carry a remainder.
    """

    def __init__(self, asked: Sequence[RuleSpec], targets: Mapping[str, Sequence[RuleSpec]], terms: Terms) -> None:
        self.asked, self.targets, self.terms = asked, targets, terms
        self.places = [place for place, rule in enumerate(asked) if rule.trigger == "line"]
        more = [place for place in self.places if asked[place].effect.kind == "multiplier"]
        self.late = self._late(more)
        self.early = [place for place in more if place not in self.late]
        self.plain = [place for place in self.places if place not in more]

    def _late(self, more: Sequence[int]) -> list[int]:
        late = {place for place in more if any(map(self._is_known_late, self.targets[self.asked[place].code]))}
        # The rules of a group are judged together.
        groups = {self.asked[place].group for place in late} - {None}
        return [place for place in more if place in late or self.asked[place].group in groups]

    def _is_known_late(self, rule: RuleSpec) -> bool:
        # Where amounts are so large, even what has no cap of its own may be cut.
        return rule.trigger != "line" or rule.remainder == "carry" or rule.caps != Caps() or self.terms.wide

    # ── the stage ───────────────────────────────────────────────────────────────────────────────────────────────

    def text(self) -> str:
        """Return the query with a row for each sale that has lines."""
        gates = "".join(f", o.g{place}" for place in self.places)
        query = f"SELECT l.*{gates} FROM lines l JOIN opened o ON o.id = l.sale_id"
        for step in (self.bids(), self._won(self.plain), self._more(), self._won(self.early)):
            if columns := "".join(f", {term} AS {name}" for name, term in step):
                query = f"SELECT l.*{columns} FROM ({query}) l"
        sums = "".join(f", {term} AS {name}" for name, term in self._sums())
        return _LINED.format(sums=sums, query=query)

    @property
    def columns(self) -> list[tuple[str, str]]:
        """The names of the stage's columns, each with what stands for it where a sale has no lines."""
        answers = [(name, "false" if op in ("eq", "in") else "true") for name, op, _ in self._answers()]
        points = [(f"v{place}", "0") for place in (*self.plain, *self.early)]
        losses = [(f"x{place}", "false") for place in (*self.plain, *self.early) if self.asked[place].group]
        return [*answers, *points, *losses]

    def _answers(self) -> Iterator[tuple[str, str, str]]:
        for place, rule in enumerate(self.asked):
            if rule.trigger == "line":
                continue
            for at, condition in enumerate(rule.conditions):
                if condition.field in OF_ANY_LINE:
                    yield f"c{place}_{at}", condition.op, some_line(condition, self.terms)

    def _sums(self) -> Iterator[tuple[str, str]]:
        for name, _, term in self._answers():
            yield name, term
        for place in (*self.plain, *self.early):
            yield f"v{place}", f"sum(l.p{place})::{self.terms.whole}"
            if self.asked[place].group:
                yield f"x{place}", f"bool_or(l.x{place})"

    # ── line by line ────────────────────────────────────────────────────────────────────────────────────────────

    def bids(self) -> Iterator[tuple[str, str]]:
        """What each line rule would give for a line; of one that carries, the value not yet divided."""
        for place in self.plain:
            rule = self.asked[place]
            applies = f"l.g{place} AND {line_conditions(rule, self.terms)}"
            yield f"b{place}", f"CASE WHEN {applies} THEN {points_of_line(rule, self.terms)} ELSE 0 END"

    def _more(self) -> Iterator[tuple[str, str]]:
        for place in self.early:
            rule = self.asked[place]
            base = " + ".join(f"l.p{self.asked.index(other)}" for other in self.targets[rule.code]) or "0"
            applies = f"l.g{place} AND {line_conditions(rule, self.terms)}"
            points = awarded(rule, f"({base})::{self.terms.whole}", self.terms)
            yield f"b{place}", f"CASE WHEN {applies} THEN {points} ELSE 0 END"

    def _won(self, places: Sequence[int]) -> Iterator[tuple[str, str]]:
        yield from won_on_lines(self.asked, places)


def points_of_line(rule: RuleSpec, terms: Terms) -> str:
    """What a rule that is no multiplier gives for a line; if it carries, the value not yet divided."""
    value = line_value(rule.effect, terms)
    if rule.remainder == "carry":
        return f"greatest({value}, 0) * {terms.put(rate(rule)[0])}"
    return awarded(rule, value, terms)


def won_on_lines(asked: Sequence[RuleSpec], places: Sequence[int]) -> Iterator[tuple[str, str]]:
    """What each rule gets of a line, and whether it lost it to another of its group."""
    for place in places:
        name = asked[place].group
        if name is None:
            yield f"p{place}", f"l.b{place}"
            continue
        group = [Bidder(at, asked[at].priority) for at in places if asked[at].group == name]
        yield f"p{place}", won(place, group, "l.b")
        yield f"x{place}", lost(place, group, "l.b")


_LINED: Final = """
    SELECT l.sale_id, bool_or(l.earning) AS earns, COALESCE(sum(l.amount) FILTER (WHERE l.earning), 0) AS total,
           COALESCE(sum(l.quantity) FILTER (WHERE l.earning), 0) AS pieces{sums}
    FROM ({query}) l GROUP BY l.sale_id"""
