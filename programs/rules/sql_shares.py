# ruff: noqa: S608 (put together of our own constants; values travel apart)
"""
Multipliers for lines over what is known of whole sales: the points of a sale's rules taken apart to its lines again.

As `programs.rules.arithmetic.distribute` shares points out and `cut_from_the_end` cuts them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from programs.rules.specs import RuleSpec
from programs.rules.sql_lines import LineRules, won_on_lines
from programs.rules.sql_terms import Terms, awarded, line_conditions, rate

_ALONG: Final = "PARTITION BY l.sale_id ORDER BY l.position ROWS UNBOUNDED PRECEDING"
Column = tuple[str, str]


def taken_apart(asked: Sequence[RuleSpec], lines: LineRules, terms: Terms, before: str) -> list[tuple[str, str]]:
    """Return the stages after `before` that give what late multipliers get of each sale's lines."""
    return _Shares(asked, lines, terms, before).stages()


class _Shares:
    def __init__(self, asked: Sequence[RuleSpec], lines: LineRules, terms: Terms, before: str) -> None:
        self.asked, self.lines, self.terms, self.before = asked, lines, terms, before
        codes = {one.code for place in lines.late for one in lines.targets[asked[place].code]}
        self.wanted = [place for place, rule in enumerate(asked) if rule.code in codes]
        self.whole = [place for place in self.wanted if asked[place].trigger != "line"]
        self.by_line = [place for place in self.wanted if asked[place].trigger == "line"]

    def stages(self) -> list[tuple[str, str]]:
        """Return the sums of late multipliers by sale, and the sales with them."""
        query = self._start()
        steps = [self.lines.bids(), won_on_lines(self.asked, self.lines.plain), self._marks()]
        if self.whole:
            steps += [self._first_weights(), self._second_weights(), self._weights(), self._floors(), self._shares()]
        steps += [self._reached(), self._kept(), self._more(), won_on_lines(self.asked, self.lines.late)]
        for step in steps:
            if columns := "".join(f", {term} AS {name}" for name, term in step):
                query = f"SELECT l.*{columns} FROM ({query}) l"
        sums = "".join(f", {term} AS {name}" for name, term in self._sums())
        back = "".join(f", COALESCE(l.{name}, {default}) AS {name}" for name, default in self._back())
        return [
            ("shared", f"SELECT l.sale_id{sums} FROM ({query}) l GROUP BY l.sale_id"),
            ("rejoined", f"SELECT s.*{back} FROM {self.before} s LEFT JOIN shared l ON l.sale_id = s.id"),
        ]

    def _start(self) -> str:
        gates = "".join(f", s.g{place}" for place in self.lines.places)
        known = "".join(f", s.a{place}, s.e{place}" for place in self.wanted)
        carried = "".join(f", s.z{place}" for place in self.by_line if self.asked[place].remainder == "carry")
        return f"SELECT l.*, s.earns{gates}{known}{carried} FROM lines l JOIN {self.before} s ON s.id = l.sale_id"

    # ── line rules: their points along the lines ────────────────────────────────────────────────────────────────

    def _marks(self) -> Iterator[Column]:
        """How far each line rule has come with each line (`t`), and had before it (`f`)."""
        for place in self.by_line:
            rule, so_far = self.asked[place], f"(sum(l.p{place}) OVER ({_ALONG}))"
            if rule.remainder == "carry":
                per = rate(rule)[1]
                yield f"t{place}", f"div(l.z{place} + {so_far}, {self.terms.put(per)})"
                yield f"f{place}", f"div(l.z{place} + {so_far} - l.p{place}, {self.terms.put(per)})"
            else:
                yield f"t{place}", so_far
                yield f"f{place}", f"{so_far} - l.p{place}"

    # ── rules for whole sales: their points by largest remainder ────────────────────────────────────────────────

    def _first_weights(self) -> Iterator[Column]:
        weight = "CASE WHEN l.earning THEN greatest(l.amount, 0) ELSE 0 END"
        yield "w1", weight
        yield "all1", f"sum({weight}) OVER (PARTITION BY l.sale_id)"

    def _second_weights(self) -> Iterator[Column]:
        weight = (
            "CASE WHEN l.all1 > 0 THEN l.w1 WHEN l.earns THEN CASE WHEN l.earning THEN 1 ELSE 0 END "
            "ELSE greatest(l.amount, 0) END"
        )
        yield "w2", weight
        yield "all2", f"sum({weight}) OVER (PARTITION BY l.sale_id)"

    def _weights(self) -> Iterator[Column]:
        yield "w", "CASE WHEN l.all2 > 0 THEN l.w2 ELSE 1 END::numeric"
        yield "whole", "CASE WHEN l.all2 > 0 THEN l.all2 ELSE count(*) OVER (PARTITION BY l.sale_id) END::numeric"

    def _floors(self) -> Iterator[Column]:
        for place in self.whole:
            yield f"d{place}", f"div(l.e{place} * l.w, l.whole)"
            yield f"m{place}", f"mod(l.e{place} * l.w, l.whole)"

    def _shares(self) -> Iterator[Column]:
        for place in self.whole:
            left = f"l.e{place} - sum(l.d{place}) OVER (PARTITION BY l.sale_id)"
            turn = f"row_number() OVER (PARTITION BY l.sale_id ORDER BY l.m{place} DESC, l.position)"
            yield f"p{place}", f"l.d{place} + CASE WHEN {turn} <= {left} THEN 1 ELSE 0 END"

    def _reached(self) -> Iterator[Column]:
        for place in self.whole:
            so_far = f"(sum(l.p{place}) OVER ({_ALONG}))"
            yield f"t{place}", so_far
            yield f"f{place}", f"{so_far} - l.p{place}"

    # ── multipliers ─────────────────────────────────────────────────────────────────────────────────────────────

    def _kept(self) -> Iterator[Column]:
        """What caps leave on each line: they cut from the end."""
        for place in self.wanted:
            yield f"h{place}", f"(least(l.a{place}, l.t{place}) - least(l.a{place}, l.f{place}))::{self.terms.whole}"

    def _more(self) -> Iterator[Column]:
        for place in self.lines.late:
            rule = self.asked[place]
            base = " + ".join(f"l.h{self.asked.index(other)}" for other in self.lines.targets[rule.code]) or "0"
            applies = f"l.g{place} AND {line_conditions(rule, self.terms)}"
            points = awarded(rule, f"({base})::{self.terms.whole}", self.terms)
            yield f"b{place}", f"CASE WHEN {applies} THEN {points} ELSE 0 END"

    def _sums(self) -> Iterator[Column]:
        for place in self.lines.late:
            yield f"v{place}", f"sum(l.p{place})::{self.terms.whole}"
            if self.asked[place].group:
                yield f"x{place}", f"bool_or(l.x{place})"

    def _back(self) -> Iterator[Column]:
        for name, _ in self._sums():
            yield name, "0" if name.startswith("v") else "false"
