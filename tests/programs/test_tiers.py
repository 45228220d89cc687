"""Which tier a history leads to: periods, downgrades, dates; R12 over random histories, each with a broken variant."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from programs.rules import (
    ProgramError,
    Standing,
    TierSetSpec,
    add_months,
    parse_program,
    period_of,
    standing,
    to_keep,
    to_next,
    window_start,
)
from programs.rules import tiers as under_test
from programs.rules.specs import DOWNGRADES, TIER_PERIODS, TierSpec
from programs.rules.tiers import leaves_on
from tests.proof.record import here, often

JOINED = date(2024, 2, 29)
HISTORIES = often(400, 5000)
Day = tuple[date, int]


def levels(*thresholds: tuple[int, int]) -> tuple[TierSpec, ...]:
    names = ("silver", "gold", "platinum", "black")
    return tuple(
        TierSpec(code=name, name=name.title(), enter=enter, keep=keep)
        for name, (enter, keep) in zip(names, thresholds, strict=False)
    )


LEVELS = levels((500, 400), (1000, 800), (2000, 1500))


def tiers(period: Any = "calendar", downgrade: Any = "to_level", *, months: int = 12) -> TierSetSpec:
    return TierSetSpec(
        basis="spend",
        levels=LEVELS,
        period=period,
        downgrade=downgrade,
        period_months=months if period == "rolling" else None,
    )


def ranks(spec: TierSetSpec, days: list[Day], *untils: date, joined: date = JOINED) -> list[int]:
    return [standing(spec, days, joined=joined, until=until).rank for until in untils]


def moves(spec: TierSetSpec, days: list[Day], until: date, joined: date = JOINED) -> list[tuple[Any, ...]]:
    found = standing(spec, days, joined=joined, until=until).moves
    return [(move.day, move.at_midnight, move.before, move.after, move.basis) for move in found]


# ── periods ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_reached_in_a_year_is_held_to_the_end_of_the_next() -> None:
    days = [(date(2026, 3, 1), 1200), (date(2027, 5, 1), 500)]
    assert moves(tiers(), days, date(2028, 6, 1)) == [
        (date(2026, 3, 1), False, 0, 2, 1200),
        # Kept through 2027 by 2026; 500 keep silver and not gold.
        (date(2028, 1, 1), True, 2, 1, 500),
    ]
    assert ranks(tiers(), days, date(2027, 12, 31), date(2028, 1, 1), date(2029, 1, 1)) == [2, 1, 0]


def test_the_year_of_an_anniversary_begins_on_the_day_of_joining() -> None:
    days = [(date(2026, 2, 27), 1200)]
    spec = tiers("anniversary")
    # Joined on 29 February: in other years it begins on the 28th.
    assert period_of(spec, date(2026, 2, 27), JOINED) == (date(2025, 2, 28), date(2026, 2, 28))
    assert period_of(spec, date(2026, 2, 28), JOINED) == (date(2026, 2, 28), date(2027, 2, 28))
    assert period_of(spec, date(2028, 2, 28), JOINED) == (date(2027, 2, 28), date(2028, 2, 29))
    assert period_of(spec, date(2028, 2, 29), JOINED) == (date(2028, 2, 29), date(2029, 2, 28))
    assert ranks(spec, days, date(2026, 2, 28), date(2027, 2, 27), date(2027, 2, 28)) == [2, 2, 0]


def test_what_happened_before_joining_falls_into_a_year_before() -> None:
    spec = tiers("anniversary")
    assert period_of(spec, date(2023, 3, 1), JOINED) == (date(2023, 2, 28), date(2024, 2, 29))
    assert ranks(spec, [(date(2023, 3, 1), 1200)], date(2024, 2, 28), date(2025, 2, 27), date(2025, 2, 28)) == [2, 2, 0]


def test_a_window_that_rolls_counts_a_day_until_the_same_day_months_later() -> None:
    spec = tiers("rolling", months=12)
    days = [(date(2026, 6, 17), 600), (date(2026, 8, 1), 500)]
    assert ranks(spec, days, date(2026, 8, 1), date(2027, 6, 17), date(2027, 6, 18)) == [2, 2, 1]
    assert moves(spec, days, date(2027, 8, 2))[-2:] == [
        (date(2027, 6, 18), True, 2, 1, 500),
        (date(2027, 8, 2), True, 1, 0, 0),
    ]


@pytest.mark.parametrize(
    ("day", "months", "last"),
    [
        (date(2027, 1, 31), 1, date(2027, 2, 28)),
        (date(2028, 2, 29), 12, date(2029, 2, 28)),
        (date(2027, 2, 28), 12, date(2028, 2, 28)),
        (date(2026, 12, 31), 2, date(2027, 2, 28)),
        (date(2027, 8, 31), 18, date(2029, 2, 28)),
    ],
)
def test_short_months_end_a_window_on_their_last_day(day: date, months: int, last: date) -> None:
    spec = tiers("rolling", months=months)
    assert ranks(spec, [(day, 700)], last, last + timedelta(days=1)) == [1, 0]


def test_the_start_of_a_window_and_the_day_a_day_leaves_it_agree() -> None:
    for months in (1, 2, 6, 12, 18):
        for n in range(800):
            today = date(2026, 12, 1) + timedelta(days=n)
            start = window_start(today, months)
            assert leaves_on(start, months) > today >= leaves_on(start - timedelta(days=1), months)


def test_all_time_never_ends() -> None:
    assert ranks(tiers("lifetime"), [(date(2001, 1, 1), 2500)], date(2001, 1, 1), date(2090, 1, 1)) == [3, 3]


def test_a_level_from_nothing_is_everybody_s() -> None:
    spec = TierSetSpec(basis="spend", levels=levels((0, 0), (500, 400)), period="calendar")
    assert ranks(spec, [], date(2026, 1, 1)) == [1]
    assert ranks(spec, [(date(2026, 1, 1), 500)], date(2027, 12, 31), date(2028, 1, 1)) == [2, 1]


# ── downgrades ──────────────────────────────────────────────────────────────────────────────────────────────────────

GREAT = [(date(2026, 3, 1), 2500)]


@pytest.mark.parametrize("period", ["calendar", "anniversary"])
@pytest.mark.parametrize(("downgrade", "path"), [("to_level", [3, 0, 0]), ("one_step", [3, 2, 1]), ("none", [3, 3, 3])])
def test_a_year_without_anything_downgrades_as_the_policy_says(period: str, downgrade: str, path: list[int]) -> None:
    untils = [date(2027, 12, 30), date(2028, 12, 30), date(2029, 12, 30)]
    assert ranks(tiers(period, downgrade), GREAT, *untils, joined=date(2024, 1, 1)) == path


def test_a_window_lets_a_level_fall_one_step_in_a_period() -> None:
    spec = tiers("rolling", "one_step")
    out = date(2027, 3, 2)
    path = [
        out - timedelta(days=1),
        out,
        add_months(out, 12) - timedelta(days=1),
        add_months(out, 12),
        add_months(out, 24),
    ]
    assert ranks(spec, GREAT, *path) == [3, 2, 2, 1, 0]
    found = standing(spec, GREAT, joined=JOINED, until=out)
    assert found.ends == add_months(out, 12)
    # Reached anew, it is as safe as any: from the day the window forgets it.
    again = [*GREAT, (date(2027, 9, 1), 2000)]
    assert ranks(spec, again, date(2027, 9, 1), date(2028, 9, 1), date(2028, 9, 2)) == [3, 3, 2]


def test_without_downgrades_a_window_keeps_what_was_reached() -> None:
    assert ranks(tiers("rolling", "none"), GREAT, date(2050, 1, 1)) == [3]


def test_less_than_it_takes_to_enter_keeps() -> None:
    days = [(date(2026, 3, 1), 1000), (date(2027, 3, 1), 800)]
    assert ranks(tiers(), days, date(2028, 12, 31), date(2029, 1, 1)) == [2, 0]
    assert ranks(tiers("rolling"), days, date(2028, 3, 1), date(2028, 3, 2)) == [2, 0]
    # On 1 March 2027 both count; a day later 800 alone keep gold.
    assert ranks(tiers("rolling"), days, date(2027, 3, 2)) == [2]


# ── what is missing ─────────────────────────────────────────────────────────────────────────────────────────────────


def missing(spec: TierSetSpec, days: list[Day], today: date) -> tuple[Any, Any]:
    found = standing(spec, days, joined=JOINED, until=today)
    start = window_start(today, spec.period_months or 1)
    window = [one for one in days if start <= one[0] <= today]
    keep = to_keep(spec, rank=found.rank, basis=found.basis, ends=found.ends, window=window, today=today)
    following = to_next(spec, rank=found.rank, basis=found.basis, ends=found.ends)
    return tuple((one.amount, one.by) if one else None for one in (keep, following))  # type: ignore[return-value]


def test_years_say_what_is_missing_by_their_last_day() -> None:
    days = [(date(2026, 3, 1), 1000), (date(2027, 3, 1), 300)]
    assert missing(tiers(), days, date(2027, 6, 1)) == ((500, date(2027, 12, 31)), (1700, date(2027, 12, 31)))
    spec = tiers("anniversary")
    assert missing(spec, days, date(2027, 6, 1)) == ((500, date(2028, 2, 28)), (1700, date(2028, 2, 28)))


def test_a_window_says_what_is_missing_before_too_much_leaves_it() -> None:
    days = [(date(2026, 3, 1), 700), (date(2026, 9, 1), 400)]
    assert missing(tiers("rolling"), days, date(2026, 10, 1)) == ((400, date(2027, 3, 1)), (900, None))


def test_nothing_is_missing_to_keep_what_cannot_fall() -> None:
    assert missing(tiers("lifetime"), GREAT, date(2026, 4, 1)) == (None, None)
    assert missing(tiers("calendar", "none"), GREAT, date(2026, 4, 1)) == (None, None)


@pytest.mark.parametrize("seed", range(60))
def test_what_is_missing_to_keep_is_exactly_enough_until_its_day(seed: int) -> None:
    chance = Random(seed)
    spec = tiers(chance.choice(["rolling", "calendar", "anniversary"]), chance.choice(["to_level", "one_step"]))
    days, today = history(chance), date(2028, 6, 1)
    days = [one for one in days if one[0] < today]
    found = missing(spec, days, today)[0]
    rank = ranks(spec, days, today)[0]
    if found is None:
        assert rank == 0 or seed < 0
        return
    amount, by = found
    after = by + timedelta(days=1)
    enough = [*days, *([(by if spec.period == "rolling" else today, amount)] if amount else [])]
    enough = sum_by_day(enough)
    assert ranks(spec, enough, after)[0] >= rank
    if amount:
        short = sum_by_day([*days, *([(by if spec.period == "rolling" else today, amount - 1)] if amount > 1 else [])])
        assert ranks(spec, short, after)[0] < rank


# ── R12 ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def history(chance: Random) -> list[Day]:
    """Some years of purchases, dense or sparse, some days with more coming back than was bought."""
    size, span = chance.choice([3, 8, 25]), chance.choice([200, 900, 1800])
    most = chance.choice([300, 900, 2500])
    found: dict[date, int] = {}
    for _one in range(size):
        day = date(2025, 1, 1) + timedelta(days=chance.randrange(span))
        amount = -chance.randrange(1, 200) if chance.random() < 0.1 else chance.randrange(0, most)
        found[day] = found.get(day, 0) + amount
    return sorted(found.items())


def sum_by_day(days: list[Day]) -> list[Day]:
    found: dict[date, int] = {}
    for day, amount in days:
        found[day] = found.get(day, 0) + amount
    return sorted(found.items())


Lead = Callable[..., Standing]


def violations(lead: Lead, *, seed: int, histories: int) -> Iterator[str]:
    """Histories in which one more earn at a random place left a lower tier on some later day."""
    chance = Random(seed)
    for n in range(histories):
        spec = tiers(chance.choice(TIER_PERIODS), chance.choice(DOWNGRADES), months=chance.choice([1, 3, 12]))
        days, joined = history(chance), date(2024, 1, 1) + timedelta(days=chance.randrange(800))
        more = (date(2025, 1, 1) + timedelta(days=chance.randrange(1800)), chance.randrange(1, 1500))
        blessed = sum_by_day([*days, more])
        for _look in range(6):
            until = date(2025, 1, 1) + timedelta(days=chance.randrange(2600))
            ranks = [lead(spec, one, joined=joined, until=until).rank for one in (days, blessed)]
            if ranks[1] < ranks[0]:
                yield f"seed {seed}, history {n}: {spec.period} {spec.downgrade} {days} + {more}, {until}: {ranks}"


def test_r12_one_more_earn_anywhere_never_lowers_a_tier() -> None:
    seed = int(os.environ.get("SEED", "12"))
    assert list(violations(standing, seed=seed, histories=HISTORIES)) == []
    here().tried(HISTORIES, "random histories of years, each with one more earn anywhere", seed=seed, fallen=0)


def by_the_last_purchase_alone(spec: TierSetSpec, days: list[Day], *, joined: date, until: date) -> Standing:
    """Broken: a rise begins a period of its own, so that a purchase moves its end and with it what counts."""
    told = [one for one in days if one[0] <= until]
    if told:
        start = told[-1][0].replace(day=1)
        told = [one for one in told if one[0] >= start]
    return standing(spec, told, joined=joined, until=until)


def without_memory_of_safety(spec: TierSetSpec, days: list[Day], *, joined: date, until: date) -> Standing:
    """Broken: a figure that reaches the level held takes away the safety that a fall had given."""
    return _Forgetful(spec, [one for one in days if one[0] <= until], joined, until).run()


class _Forgetful(under_test._Rolling):
    def _rise(self, day: date) -> None:
        if self.judge.entered(self.total) >= self.rank:
            self.safe_until = None
        super()._rise(day)


def test_r12_sees_a_rule_by_which_a_purchase_can_lower_a_tier() -> None:
    assert next(violations(by_the_last_purchase_alone, seed=12, histories=400), "")


def test_r12_sees_a_subtle_one_too() -> None:
    """Two levels down, one step a year: found by the same search among one-step windows only."""

    def lead(spec: TierSetSpec, days: list[Day], *, joined: date, until: date) -> Standing:
        if spec.period != "rolling" or spec.downgrade != "one_step":
            return standing(spec, days, joined=joined, until=until)
        return without_memory_of_safety(spec, days, joined=joined, until=until)

    found = next((one for seed in range(40) for one in violations(lead, seed=seed, histories=400)), "")
    assert "one_step" in found


@pytest.mark.parametrize("period", TIER_PERIODS)
@pytest.mark.parametrize("downgrade", DOWNGRADES)
def test_r12_within_a_period_a_tier_never_falls(period: str, downgrade: str) -> None:
    """Where nothing comes back, each fall is at a period's end: a year's, or as a day leaves the window."""
    chance = Random(f"{period} {downgrade}")
    for _n in range(HISTORIES // 20):
        days = [(day, abs(amount)) for day, amount in history(chance)]
        spec = tiers(period, downgrade)
        for move in standing(spec, days, joined=JOINED, until=date(2031, 1, 1)).moves:
            if move.after > move.before:
                continue
            assert move.at_midnight, move
            assert downgrade != "none", move
            assert downgrade != "one_step" or move.after == move.before - 1, move
            if period in ("calendar", "anniversary"):
                assert period_of(spec, move.day, JOINED)[0] == move.day  # type: ignore[index]


def test_figures_with_decimals_count_to_the_last_one() -> None:
    days = [(date(2026, 3, day), Decimal("166.7")) for day in (1, 2, 3)]
    found = standing(tiers(), days, joined=JOINED, until=date(2026, 4, 1))
    assert (found.rank, found.basis) == (1, 500)
    assert standing(tiers(), days[:2], joined=JOINED, until=date(2026, 4, 1)).rank == 0


# ── documents ───────────────────────────────────────────────────────────────────────────────────────────────────────


def read(**given: Any) -> TierSetSpec:
    unit = {"name": "Points", "kind": "points"}
    document = {
        "name": "Club",
        "units": [{"code": "stamps", "name": "Stamps", "kind": "stamps"}, {"code": "points", **unit}],
        "tiers": {"basis": "spend", "levels": [{"code": "a", "name": "A", "enter": 5}], **given},
    }
    found = parse_program(document).tiers
    assert found is not None
    return found


def test_documents_that_exist_keep_their_meaning() -> None:
    assert (read().period, read().downgrade) == ("lifetime", "to_level")
    assert (read(period_months=12).period, read(period_months=None).period) == ("rolling", "lifetime")
    assert read(period_months=12) == read(period_months=12, period="rolling", downgrade="to_level")


def test_what_is_earned_is_counted_in_one_unit() -> None:
    assert read(basis="earned").counted.code == "points"  # type: ignore[union-attr]
    assert read(basis="earned", unit="stamps").counted.code == "stamps"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("given", "path", "words"),
    [
        ({"period": "rolling"}, "tiers.period_months", "is missing: a window that rolls counts in months"),
        ({"period": "calendar", "period_months": 12}, "tiers.period_months", "is not for calendar"),
        ({"period": "weekly"}, "tiers.period", "must be rolling, calendar, anniversary or lifetime"),
        ({"downgrade": "two"}, "tiers.downgrade", "must be to_level, one_step or none"),
        ({"unit": "points"}, "tiers.unit", "is not for spend"),
        ({"basis": "earned", "unit": "stars"}, "tiers.unit", "must be a unit of this program, and stars is not"),
    ],
)
def test_what_does_not_fit_together_is_refused(given: dict[str, Any], path: str, words: str) -> None:
    with pytest.raises(ProgramError) as refused:
        read(**given)
    assert [(one.path, one.message) for one in refused.value.problems] == [(path, words)]


# ── a level that nothing at all reaches ─────────────────────────────────────────────────────────────────────────────

BEFORE, AFTER = JOINED - timedelta(days=40), JOINED + timedelta(days=400)


@pytest.mark.parametrize("period", TIER_PERIODS)
@pytest.mark.parametrize(("first", "until"), [(BEFORE, AFTER), (JOINED, AFTER), (AFTER, AFTER)])
def test_a_level_from_nothing_on_is_held_from_the_start_and_never_lost(period: Any, first: date, until: date) -> None:
    spec = replace(tiers(period), levels=levels((0, 0), (500, 400)))
    for days in ([], [(first, 100)], [(first, 600), (first + timedelta(days=1), -600)]):
        begun, *others = standing(spec, days, joined=JOINED, until=until).moves
        assert (begun.before, begun.after, begun.basis, begun.at_midnight) == (0, 1, 0, True)
        assert begun.day <= min([first, until] if days else [until])
        assert all(move.after >= 1 for move in others)
        if period in ("rolling", "lifetime"):
            assert begun.day == min([JOINED, until, *(day for day, _amount in days[:1])])


def test_what_is_missing_at_the_very_edges() -> None:
    for period in TIER_PERIODS:
        assert to_next(tiers(period), rank=2, basis=2000, ends=None) == under_test.Missing(0, None)
        assert to_next(tiers(period), rank=2, basis=1999, ends=None) == under_test.Missing(1, None)
        assert to_next(tiers(period), rank=3, basis=0, ends=None) is None
        assert to_keep(tiers(period), rank=0, basis=0, ends=JOINED, today=JOINED) is None


@pytest.mark.parametrize("period", TIER_PERIODS)
def test_of_pieces_only_whole_ones_are_told(period: Any) -> None:
    spec = replace(tiers(period), levels=levels((1, 1)), basis="quantity")
    day = JOINED + timedelta(days=3)
    days = [(day, Decimal("1.75")), (day + timedelta(days=1), Decimal("-2.5"))]
    found = standing(spec, days, joined=JOINED, until=day + timedelta(days=800))
    assert found.moves[0].basis == 1
    assert standing(spec, days[:1], joined=JOINED, until=day).basis == 1
    assert standing(spec, days, joined=JOINED, until=day + timedelta(days=1)).basis == 0
    if period in ("rolling", "lifetime"):
        assert [(move.after, move.basis) for move in found.moves] == [(1, 1), (0, 0)]


@pytest.mark.parametrize("period", ["calendar", "anniversary", "rolling"])
def test_a_level_that_nothing_keeps_needs_nothing_to_be_kept(period: Any) -> None:
    ends, window = JOINED + timedelta(days=9), [(JOINED, 700)]
    for keep, missing in ((0, None), (1, 1)):
        spec = replace(tiers(period), levels=levels((500, keep)))
        basis = 700 if period == "rolling" else 0
        found = to_keep(spec, rank=1, basis=basis, ends=ends, window=window, today=JOINED)
        assert (found and found.amount) == missing
