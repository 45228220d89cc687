"""Two programs compared over the same purchases: points, cost, rules, tiers, who gets more and who less."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from heapq import nlargest
from math import lcm
from typing import Any, Final
from uuid import UUID

from django.db import connections

from members.models import Member
from members.services.replay_reading import Deed, Part, Returned, Some, Span, Whom, deeds, known_of, returned
from members.services.replay_trials import RuleCount, Trial
from programs.rules import Evaluation, Outcome, ProgramSpec
from programs.rules.tiers import standing
from tenants.routers import CLIENT

TOP: Final = 10
EXPLAINED: Final = 300
"""An example is sought among so many of a member's first purchases and activities."""
EDGES: Final = (-50, -25, -10, 0, 10, 25, 50, 100)
"""Where the histogram's bars end, in percent; those without change stand apart."""


@dataclass(frozen=True)
class Changed:
    """What one member would have had: by unit under the published program and under the draft, and the difference."""

    member_id: UUID
    published: dict[str, int]
    draft: dict[str, int]
    difference: int


@dataclass
class Comparison:
    """All members of a replay, each looked at once; only the ten at both ends are kept."""

    published: Trial
    draft: Trial
    more: int = 0
    less: int = 0
    same: int = 0
    bars: Counter[int] = field(default_factory=Counter)
    moves: Counter[tuple[str, str]] = field(default_factory=Counter)
    winners: list[Changed] = field(default_factory=list)
    losers: list[Changed] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Weigh the units against each other by what they are worth."""
        self.weights = weights(self.published.spec, self.draft.spec)

    def close(self, whom: Whom, span: Span) -> None:
        """Compare the members replayed so far, and let go of them."""
        ours, theirs = self.published.tally.members, self.draft.tally.members
        changes = [self._changed(one, ours.get(one, {}), theirs.get(one, {})) for one in {**ours, **theirs}]
        for change in changes:
            self._place(change)
        self.winners = nlargest(TOP, [*self.winners, *(c for c in changes if c.difference > 0)], _gain)
        self.losers = nlargest(TOP, [*self.losers, *(c for c in changes if c.difference < 0)], _loss)
        self._move(whom, span)
        self.published.forget()
        self.draft.forget()

    def _changed(self, member_id: UUID, published: dict[str, int], draft: dict[str, int]) -> Changed:
        return Changed(member_id, published, draft, self._worth(draft) - self._worth(published))

    def _worth(self, points: dict[str, int]) -> int:
        return sum(amount * self.weights.get(unit, 0) for unit, amount in points.items())

    def _place(self, change: Changed) -> None:
        if not change.difference:
            self.same += 1
            return
        if change.difference > 0:
            self.more += 1
        else:
            self.less += 1
        self.bars[_bar(change.difference, self._worth(change.published))] += 1

    # ── tiers ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _move(self, whom: Whom, span: Span) -> None:
        """Count who would hold another tier by the span's end; nobody where both judge the same alike."""
        ours, theirs = self.published.spec.tiers, self.draft.spec.tiers
        if ours == theirs and (ours is None or ours.basis != "earned"):
            return
        by_id = {}
        for trial in (self.published, self.draft):
            by_id[trial] = _tiers(trial, whom, span)
        for member_id in {**by_id[self.published], **by_id[self.draft]}:
            before, after = by_id[self.published].get(member_id, ""), by_id[self.draft].get(member_id, "")
            if before != after:
                self.moves[before, after] += 1

    # ── the result ──────────────────────────────────────────────────────────────────────────────────────────────

    def told(self) -> dict[str, Any]:
        """Everything counted, ready to be kept as JSON."""
        return {
            "units": self._units(),
            "cost": self._cost(),
            "months": self._months(),
            "rules": self._rules(),
            "members": {"more": self.more, "less": self.less, "same": self.same},
            "bars": [self.bars[place] for place in range(len(EDGES) + 1)],
            "moves": [{"before": b, "after": a, "members": n} for (b, a), n in self.moves.most_common()],
            "levels": _levels(self.published.spec, self.draft.spec),
        }

    def _units(self) -> list[dict[str, Any]]:
        named = {unit.code: unit for trial in (self.published, self.draft) for unit in trial.spec.units}
        totals = [_totals(trial) for trial in (self.published, self.draft)]
        return [
            {
                "code": code,
                "name": unit.name,
                "decimals": unit.decimals,
                "published": totals[0].get(code, 0),
                "draft": totals[1].get(code, 0),
            }
            for code, unit in named.items()
        ]

    def _cost(self) -> dict[str, int] | None:
        """What the points are worth in minor units, each program's at its own best reward; None if none has any."""
        rates = [worth(trial.spec) for trial in (self.published, self.draft)]
        if not any(rates):
            return None
        published, draft = (
            int(sum((amount * rate.get(unit, Fraction(0)) for unit, amount in _totals(trial).items()), Fraction(0)))
            for trial, rate in zip((self.published, self.draft), rates, strict=True)
        )
        return {"published": published, "draft": draft}

    def _months(self) -> list[dict[str, Any]]:
        ours, theirs = self.published.tally.months, self.draft.tally.months
        return [
            {"month": month, "published": ours.get(month, {}), "draft": theirs.get(month, {})}
            for month in sorted({*ours, *theirs})
        ]

    def _rules(self) -> list[dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for key, trial in (("published", self.published), ("draft", self.draft)):
            for rule in trial.spec.rules:
                entry = found.setdefault(rule.code, {"code": rule.code, "published": None, "draft": None})
                entry |= {"name": rule.name, "unit": rule.unit}
                entry[key] = _count(trial.tally.rules.get(rule.code, RuleCount()))
        return list(found.values())


def _count(count: RuleCount) -> dict[str, int]:
    not_eligible, fired, capped, lost = count.results
    return {"points": count.points, "fired": fired, "capped": capped, "lost": lost, "not_eligible": not_eligible}


def _totals(trial: Trial) -> dict[str, int]:
    totals: Counter[str] = Counter()
    for month in trial.tally.months.values():
        totals.update(month)
    return dict(totals)


def _gain(change: Changed) -> tuple[int, int]:
    return change.difference, -change.member_id.int


def _loss(change: Changed) -> tuple[int, int]:
    return -change.difference, -change.member_id.int


def _bar(difference: int, before: int) -> int:
    """The place of a change among the bars: each ends at its edge, the last has none."""
    if before <= 0:
        return len(EDGES) if difference > 0 else 0
    rising = difference > 0
    for place, edge in enumerate(EDGES):
        reached = difference * 100 <= edge * before if rising else difference * 100 < edge * before
        if reached:
            return place
    return len(EDGES)


def worth(spec: ProgramSpec) -> dict[str, Fraction]:
    """What one step of each unit is worth in minor units, at the reward that gives most for it."""
    found: dict[str, Fraction] = {}
    for reward in spec.rewards:
        if reward.active and reward.value:
            found[reward.unit] = max(found.get(reward.unit, Fraction(0)), Fraction(reward.value, reward.price))
    return found


def weights(published: ProgramSpec, draft: ProgramSpec) -> dict[str, int]:
    """How much a step of each unit counts for a member, in whole numbers: by its worth, or alike if none has any."""
    rates = {**worth(draft), **worth(published)}
    if not rates:
        return {unit.code: 1 for spec in (published, draft) for unit in spec.units}
    common = lcm(*(rate.denominator for rate in rates.values()))
    return {unit: int(rate * common) for unit, rate in rates.items()}


def _levels(*specs: ProgramSpec) -> dict[str, str]:
    return {level.code: level.name for spec in specs if spec.tiers for level in spec.tiers.levels}


# ── tiers at the end of the span ────────────────────────────────────────────────────────────────────────────────────


def _tiers(trial: Trial, whom: Whom, span: Span) -> dict[UUID, str]:
    """The tier that each member replayed has earned by the span's last day, from all that they ever did."""
    tiers = trial.spec.tiers
    if tiers is None:
        return {}
    history = _done(trial, whom, span)
    found = {}
    for member_id in trial.tally.members:
        joined, days = history.get(member_id, (span.first, {}))
        for day, amount in trial.tally.earned.get(member_id, {}).items():
            days[day] = days.get(day, 0) + amount
        reached = standing(tiers, sorted(days.items()), joined=joined, until=span.last).rank
        found[member_id] = tiers.levels[reached - 1].code if reached else ""
    return found


def _done(trial: Trial, whom: Whom, span: Span) -> dict[UUID, tuple[date, dict[date, Any]]]:
    """When members joined, and what counts for the program's tiers by day; of what is earned, that before the span."""
    tiers = trial.spec.tiers
    if tiers is None:
        return {}
    given = {**span.values, **whom.values, "property": tiers.property, "unit": trial.counts}
    with connections[CLIENT].cursor() as cursor:
        cursor.execute(f"WITH {_WHO} {_DONE[tiers.basis]}", given)
        found: dict[UUID, tuple[date, dict[date, Any]]] = {}
        for member_id, joined, day, amount in cursor.fetchall():
            days = found.setdefault(member_id, (joined, {}))[1]
            if day is not None:
                days[day] = days.get(day, 0) + amount
    return found


_WHO: Final = """
    who AS (
        SELECT m.id AS by, COALESCE(m.merged_into_id, m.id) AS id,
               (COALESCE(k.joined_at, m.joined_at) AT TIME ZONE %(zone)s)::date AS joined
        FROM members_member m LEFT JOIN members_member k ON k.id = m.merged_into_id
        WHERE m.id BETWEEN %(from)s::uuid AND %(to)s::uuid AND m.merged_into_id IS NULL
           OR m.merged_into_id BETWEEN %(from)s::uuid AND %(to)s::uuid
           OR m.id = ANY(%(some)s::uuid[]) OR m.merged_into_id = ANY(%(some)s::uuid[])
    )
"""
# What comes back counts on the day of the sale it came from, as if it had not been bought.
_BOUGHT: Final = """
    SELECT w.id, w.joined, COALESCE(s.day, p.day), {counted}
    FROM who w LEFT JOIN members_purchase p ON p.member_id = w.by AND p.day <= %(last)s AND p.received_at <= %(until)s
    LEFT JOIN members_purchase s ON s.id = p.sale_id
    GROUP BY w.id, w.joined, COALESCE(s.day, p.day)
"""
_DONE: Final = {
    "spend": _BOUGHT.format(counted="sum(p.amount)::bigint"),
    "count": _BOUGHT.format(
        counted="count(*) FILTER (WHERE p.kind = 'sale') - count(*) FILTER (WHERE p.kind = 'void')"
    ),
    "quantity": """
        SELECT w.id, w.joined, a.day, sum((a.properties->>%(property)s)::numeric)
        FROM who w LEFT JOIN members_activity a ON a.member_id = w.by AND a.day <= %(last)s
             AND a.received_at <= %(until)s AND a.properties->>%(property)s ~ '^[0-9]+(\\.[0-9]+)?$'
        GROUP BY w.id, w.joined, a.day
    """,
    "earned": """
        SELECT w.id, w.joined, (e.occurred_at AT TIME ZONE %(zone)s)::date, sum(e.amount)::bigint
        FROM who w LEFT JOIN members_pointsaccount a ON a.member_id = w.by
             AND a.unit_id IN (SELECT u.id FROM programs_unittype u WHERE u.code = %(unit)s)
        LEFT JOIN members_ledgerentry e ON e.account_id = a.id AND e.kind IN ('earn', 'reverse')
             AND (e.occurred_at AT TIME ZONE %(zone)s)::date < %(first)s
        GROUP BY w.id, w.joined, (e.occurred_at AT TIME ZONE %(zone)s)::date
    """,
}


# ── examples ────────────────────────────────────────────────────────────────────────────────────────────────────────


def examples(specs: tuple[ProgramSpec, ProgramSpec], changes: Sequence[Changed], span: Span) -> list[dict[str, Any]]:
    """Members with what they would have had, each with the purchase that made the most of the difference, and why."""
    found = _Listener(specs, span).listen([change.member_id for change in changes])
    numbers = dict(Member.objects.filter(pk__in=[c.member_id for c in changes]).values_list("pk", "number"))
    return [
        {
            "member_id": str(change.member_id),
            "number": numbers.get(change.member_id, ""),
            "published": change.published,
            "draft": change.draft,
            "example": found.get((change.member_id, change.difference > 0)),
        }
        for change in changes
    ]


class _Listener:
    """Hears both programs judge the same deeds, and keeps the one with the largest difference either way."""

    def __init__(self, specs: tuple[ProgramSpec, ProgramSpec], span: Span) -> None:
        self.trials, self.span = [Trial(spec) for spec in specs], span
        self.weights = weights(*specs)
        self._heard: dict[Trial, Evaluation] = {}
        self._best: dict[tuple[UUID, bool], tuple[int, Deed, list[Evaluation]]] = {}

    def listen(self, member_ids: Sequence[UUID]) -> dict[tuple[UUID, bool], dict[str, Any]]:
        """Replay these members and tell what was kept, by member and whether it brought more."""
        some, span = Some(member_ids), self.span
        back, known = returned(some, span), known_of(some, span)
        for member_id in member_ids:
            for deed in deeds(Some([member_id]), span, back=back, most=EXPLAINED):
                self._heard = {}
                for trial in self.trials:
                    trial.take(deed, back=back, known=known, heard=self._hear)
                self._weigh(deed)
        return {key: _example(deed, made) for key, (_worth, deed, made) in self._best.items()}

    def _hear(self, trial: Trial, deed: Deed, made: Evaluation) -> None:
        self._heard[trial] = made

    def _weigh(self, deed: Deed) -> None:
        if not self._heard:
            return
        made = [self._heard[trial] for trial in self.trials]
        published, draft = (sum(a * self.weights.get(u, 0) for u, a in one.credits.items()) for one in made)
        key = deed.member_id, draft > published
        if draft != published and abs(draft - published) > self._best.get(key, (0,))[0]:
            self._best[key] = abs(draft - published), deed, made


def _example(deed: Deed, made: Sequence[Evaluation]) -> dict[str, Any]:
    event = deed.event
    return {
        "id": str(deed.id),
        "document": deed.document if event and event.kind == "sale" else "",
        "activity": event.activity if event else "",
        "day": event.day.isoformat() if event else "",
        "amount": event.amount if event else 0,
        "published": [_outcome(one) for one in _telling(made[0].outcomes)],
        "draft": [_outcome(one) for one in _telling(made[1].outcomes)],
    }


def _telling(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Those that gave something or were kept from it."""
    return [one for one in outcomes if one.amount or one.result in {"capped", "lost_to"}]


def _outcome(outcome: Outcome) -> dict[str, Any]:
    detail = {key: value for key, value in outcome.detail.items() if not key.startswith("carried")}
    return {
        "code": outcome.code,
        "unit": outcome.unit,
        "result": outcome.result,
        "amount": outcome.amount,
        "reason": outcome.reason,
        "detail": detail,
    }


__all__ = ["Comparison", "Part", "Returned", "examples", "weights", "worth"]
