# ruff: noqa: S608 (put together of our own constants; values travel apart)
"""
The SQL form of rules: what a set of sales earns under each rule, in one statement.

It says what `programs.rules.evaluation` says, sale by sale and rule by rule; a property test holds the two together.
Sales must be those of members without returns among them, from the first sale of the span on: what a return gives back
(a cap's use, a remainder) is told in Python alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from programs.rules.evaluation import compile_rules
from programs.rules.specs import LIMIT, RuleSpec
from programs.rules.sql_lines import LineRules
from programs.rules.sql_shares import taken_apart
from programs.rules.sql_terms import OF_ANY_LINE, Terms, awarded, gate, rate, sale_value
from programs.rules.sql_wins import Bidder, lost, won

RESULTS: Final = ("not_eligible", "fired", "capped", "lost_to")
"""What the numbers in a rule's result column stand for."""

_ON_SALES: Final = frozenset({"line", "purchase", "visit"})
_MOST: Final = 2**62
_SO_FAR: Final = "PARTITION BY s.member_id{period} ORDER BY s.occurred_at, s.id ROWS UNBOUNDED PRECEDING"


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the sales of a span add up to at most: minor units, thousandths of pieces, and lines."""

    amount: int
    thousandths: int
    lines: int


@dataclass(frozen=True, slots=True)
class SqlRules:
    """
    A query over the relations `sales` and `lines`, with a row for each sale: `a0`, `r0`, `a1`, `r1`, … are the amount
    and the result of each of `rules` in their order.
    """

    text: str
    parameters: Mapping[str, object]
    rules: tuple[RuleSpec, ...]


def on_sales(rules: Sequence[RuleSpec]) -> tuple[RuleSpec, ...]:
    """Return the rules that a sale can set off, in the order in which they are asked."""
    return tuple(rule for rule in compile_rules(rules).rules if rule.trigger in _ON_SALES)


def not_in_sql(rules: Sequence[RuleSpec]) -> dict[str, str]:
    """Return why rules, by code, have no SQL form; empty if all that a sale sets off have one."""
    found = {}
    for rule in on_sales(rules):
        if rule.caps.budget is not None:
            found[rule.code] = "a budget is shared by all members in the order in which they buy"
        elif rule.remainder == "carry" and rule.group is not None:
            found[rule.code] = "within a group, what is carried decides who wins, and who wins decides what is carried"
        elif rule.remainder == "carry" and rule.effect.kind not in ("per_amount", "per_quantity"):
            found[rule.code] = "only a rate leaves a remainder"
    return found


def is_wide(rules: Sequence[RuleSpec], bounds: Bounds) -> bool:
    """Tell whether the sales are so large that 64-bit integers might not hold what is worked out over them."""
    asked, most = on_sales(rules), dict[str, int]()
    for rule in asked:
        value = _most_value(rule, asked, bounds, most)
        points, per = (1, 1) if rule.effect.kind == "table" else rate(rule)
        most[rule.code] = points * value // per + bounds.lines + 1
        if 2 * points * value + 2 * per >= _MOST or most[rule.code] >= _MOST:
            return True
    return False


def _most_value(rule: RuleSpec, asked: Sequence[RuleSpec], bounds: Bounds, most: Mapping[str, int]) -> int:
    match rule.effect.kind:
        case "multiplier":
            return sum(most[other.code] for other in targets(rule, asked))
        case "per_amount":
            return bounds.amount
        case "fixed":
            return bounds.lines + 1
        case "table":
            return max((points for _, points in rule.effect.steps), default=0) * (bounds.lines + 1)
        case "per_quantity":
            return bounds.thousandths


def targets(rule: RuleSpec, asked: Sequence[RuleSpec]) -> list[RuleSpec]:
    """Return the rules whose points a multiplier multiplies."""
    if rule.effect.kind != "multiplier":
        return []
    return [
        other
        for other in asked
        if other.effect.kind != "multiplier"
        and (other.code in rule.effect.of if rule.effect.of else other.unit == rule.unit)
    ]


def compile_sql(rules: Sequence[RuleSpec], *, wide: bool = True, prefix: str = "p") -> SqlRules:
    """
    Turn rules for which `not_in_sql` has nothing to say into a query.

    It reads a relation `sales` (id, member_id, occurred_at, local, day, amount, location, channel, tier, segment,
    earlier: how many sales came before, last_visit) and a relation `lines` (sale_id, position, sku, category, quantity,
    amount, earning). Amounts together must stay below 2^62 unless `wide`.

    :raises ValueError: if a rule has no SQL form
    """
    if missing := not_in_sql(rules):
        raise ValueError(f"has no SQL form: {', '.join(missing)}")
    terms = Terms(prefix, wide)
    asked = on_sales(rules)
    return SqlRules(_Query(asked, terms).text(), terms.values, asked)


class _Query:
    """The query in its stages, each of which selects from the one before."""

    def __init__(self, asked: Sequence[RuleSpec], terms: Terms) -> None:
        self.asked, self.terms = asked, terms
        self.lines = LineRules(asked, {m.code: targets(m, asked) for m in asked}, terms)
        self.plain = [place for place, rule in enumerate(asked) if rule.effect.kind != "multiplier"]
        self.more = [place for place, rule in enumerate(asked) if rule.effect.kind == "multiplier"]

    def text(self) -> str:
        """Return the whole statement."""
        stages = [("opened", f"SELECT s.*{_columns(self._line_gates())} FROM sales s"), ("lined", self.lines.text())]
        stages.append(("known", _KNOWN.format(columns=_columns(self._of_lines()))))
        stages.append(("asked", f"SELECT s.*{_columns(self._sale_gates())} FROM known s"))
        before = "asked"
        for mark, places in (("plain", self.plain), ("more", self.more)):
            if mark == "more" and self.lines.late:
                shared = taken_apart(self.asked, self.lines, self.terms, before)
                stages += shared
                before = shared[-1][0]
            for step in (self._bids, self._won, self._cut, self._given):
                name = f"{mark}_{step.__name__.strip('_')}"
                if columns := _columns(step(places)):
                    stages.append((name, f"SELECT s.*{columns} FROM {before} s"))
                    before = name
        amounts = "".join(f", s.a{place}, s.r{place}" for place in range(len(self.asked)))
        with_stages = ", ".join(f"{name} AS ({query})" for name, query in stages)
        return f"WITH {with_stages} SELECT s.id, s.member_id, s.occurred_at, s.day{amounts} FROM {before} s"

    # ── what the lines say ──────────────────────────────────────────────────────────────────────────────────────

    def _line_gates(self) -> Iterator[tuple[str, str]]:
        for place, rule in enumerate(self.asked):
            if rule.trigger == "line":
                yield f"g{place}", gate(rule, self.terms, {})

    def _of_lines(self) -> Iterator[tuple[str, str]]:
        for name, default in self.lines.columns:
            yield name, f"COALESCE(l.{name}, {default})"

    def _sale_gates(self) -> Iterator[tuple[str, str]]:
        for place, rule in enumerate(self.asked):
            if rule.trigger != "line":
                some = {at: f"s.c{place}_{at}" for at in asked_of_lines(rule)}
                yield f"g{place}", gate(rule, self.terms, some)

    # ── who bids, wins, is cut ──────────────────────────────────────────────────────────────────────────────────

    def _bids(self, places: Sequence[int]) -> Iterator[tuple[str, str]]:
        """What each rule for whole sales would give; of one that carries, the value not yet divided."""
        for place in places:
            rule = self.asked[place]
            if rule.trigger == "line":
                continue
            if rule.remainder == "carry":
                points = f"greatest({sale_value(rule.effect, self.terms)}, 0) * {self.terms.put(rate(rule)[0])}"
            else:
                points = awarded(rule, self._value(place), self.terms)
            yield f"b{place}", f"CASE WHEN s.g{place} THEN {points} ELSE 0 END"

    def _value(self, place: int) -> str:
        rule = self.asked[place]
        if rule.effect.kind == "multiplier":
            base = [f"s.a{self.asked.index(other)}" for other in targets(rule, self.asked)]
            return f"({' + '.join(base) or '0'})::{self.terms.whole}"
        return sale_value(rule.effect, self.terms)

    def _won(self, places: Sequence[int]) -> Iterator[tuple[str, str]]:
        """What each rule gives before caps (`e`), and whether it lost (`y`)."""
        for place in places:
            rule, bid = self.asked[place], f"s.{'v' if self.asked[place].trigger == 'line' else 'b'}{place}"
            if rule.remainder == "carry":
                so_far = f"(sum({bid}) OVER ({_SO_FAR.format(period='')}))::{self.terms.whole}"
                per = rate(rule)[1]
                if rule.trigger == "line":
                    yield f"z{place}", f"mod({so_far} - {bid}, {self.terms.put(per)})"
                yield f"e{place}", f"{self.terms.divided(so_far, per)} - {self.terms.divided(f'{so_far} - {bid}', per)}"
            elif rule.trigger == "line" or rule.group is None:
                yield f"e{place}", bid
            else:
                group = self._group(place, places)
                yield f"e{place}", won(place, group, "s.b")
                yield f"y{place}", lost(place, group, "s.b")

    def _group(self, place: int, places: Sequence[int]) -> list[Bidder]:
        name = self.asked[place].group
        return [Bidder(at, self.asked[at].priority) for at in places if self.asked[at].group == name]

    def _cut(self, places: Sequence[int]) -> Iterator[tuple[str, str]]:
        for place in places:
            limits = [LIMIT, *([most] if (most := self.asked[place].caps.per_purchase) else [])]
            yield f"k{place}", f"least(s.e{place}, {self.terms.put(min(limits))})"

    def _given(self, places: Sequence[int]) -> Iterator[tuple[str, str]]:
        for place in places:
            given = self._left_by_member_cap(place)
            yield f"a{place}", given
            is_lost = self._is_lost(place)
            yield (
                f"r{place}",
                (
                    f"CASE WHEN s.e{place} > 0 THEN CASE WHEN {given} < s.e{place} THEN 2 ELSE 1 END"
                    f"{f' WHEN {is_lost} THEN 3' if is_lost else ''} ELSE 0 END"
                ),
            )

    def _is_lost(self, place: int) -> str:
        rule = self.asked[place]
        if rule.group is None:
            return ""
        return f"s.x{place}" if rule.trigger == "line" else f"s.y{place}"

    def _left_by_member_cap(self, place: int) -> str:
        """What a running sum leaves: the limit is used up by all that came before and this one together."""
        cap, cut = self.asked[place].caps.per_member, f"s.k{place}"
        if cap is None:
            return cut
        period = "" if cap.period == "ever" else f", date_trunc('{_PERIODS[cap.period]}', s.day)"
        so_far = f"(sum({cut}) OVER ({_SO_FAR.format(period=period)}))::{self.terms.whole}"
        most = self.terms.put(cap.points)
        return f"(least({most}, {so_far}) - least({most}, {so_far} - {cut}))"


def asked_of_lines(rule: RuleSpec) -> list[int]:
    """Return the places of the conditions of a rule for whole sales to which the lines answer."""
    if rule.trigger == "line":
        return []
    return [place for place, one in enumerate(rule.conditions) if one.field in OF_ANY_LINE]


def _columns(terms: Iterator[tuple[str, str]]) -> str:
    return "".join(f", {term} AS {name}" for name, term in terms)


_PERIODS: Final = {"day": "day", "week": "week", "month": "month", "year": "year"}
_KNOWN: Final = """
    SELECT s.*, COALESCE(l.earns, true) AS earns, COALESCE(l.total, s.amount) AS total, l.pieces{columns}
    FROM opened s LEFT JOIN lined l ON l.sale_id = s.id"""
