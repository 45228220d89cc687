"""
Which level a member has: a pure function of what they did by local days, and of the program.

Levels are in ascending order throughout; a rank counts them, 0 being none. What comes back counts on the day of the
sale it came from, as if it had never been bought. Within a period more never lowers a level: it is judged for falling
only when a period ends (calendar, anniversary) or as a day leaves the window (rolling).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TypeAlias

from programs.rules.arithmetic import add_months
from programs.rules.specs import Number, TierPeriod, TierSetSpec, TierSpec

_DAY = timedelta(days=1)
Days: TypeAlias = Sequence[tuple[date, Number]]
"""What was done on each local day, in ascending order, each day once; below 0 where more came back."""


@dataclass(frozen=True, slots=True)
class Move:
    """One change of rank: on which day, whether as it began, and the figure and days it was judged by."""

    day: date
    at_midnight: bool
    before: int
    after: int
    basis: int
    first: date | None
    last: date | None


@dataclass(frozen=True, slots=True)
class Standing:
    """The rank reached, its figure, how it came about, and the day at whose beginning the period under way ends."""

    rank: int
    basis: int
    moves: tuple[Move, ...]
    ends: date | None = None


@dataclass(frozen=True, slots=True)
class Missing:
    """How much is missing and the last day for it; None if it has no end."""

    amount: int
    by: date | None


class Judge:
    """The thresholds of a tier set, and how ranks follow from figures."""

    def __init__(self, tiers: TierSetSpec) -> None:
        self.enters = [level.enter for level in tiers.levels]
        self.keeps = [level.keep for level in tiers.levels]
        self.downgrade = tiers.downgrade

    def entered(self, basis: Number) -> int:
        """Return the rank that a figure reaches by itself."""
        return bisect_right(self.enters, basis)

    def kept(self, held: int, basis: Number) -> int:
        """Return what remains of a rank when a period ends with this figure."""
        if self.downgrade == "none":
            return held
        kept = min(held, bisect_right(self.keeps, basis))
        return max(kept, held - 1) if self.downgrade == "one_step" else kept


def standing(tiers: TierSetSpec, days: Days, *, joined: date, until: date) -> Standing:
    """Return where a history leads by the end of the day `until`; `joined` begins the years of anniversaries."""
    told = [(day, amount) for day, amount in days if day <= until]
    match over(tiers):
        case "rolling":
            return _Rolling(tiers, told, joined, until).run()
        case "lifetime":
            return _lifetime(tiers, told, joined, until)
        case _:
            return _yearly(tiers, told, joined, until)


def over(tiers: TierSetSpec) -> TierPeriod:
    """Return the period counted over; a set that names none rolls if it has months, and else never ends."""
    return tiers.period or ("rolling" if tiers.period_months else "lifetime")


# ── years, and all time ─────────────────────────────────────────────────────────────────────────────────────────────


def period_of(tiers: TierSetSpec, day: date, joined: date) -> tuple[date, date] | None:
    """Return the first day of the year that `day` counts in and the day after its last; None without such years."""
    if over(tiers) == "calendar":
        return date(day.year, 1, 1), date(day.year + 1, 1, 1)
    if over(tiers) != "anniversary":
        return None
    years = day.year - joined.year
    years -= add_months(joined, 12 * years) > day
    return add_months(joined, 12 * years), add_months(joined, 12 * (years + 1))


def _yearly(tiers: TierSetSpec, days: Days, joined: date, until: date) -> Standing:
    judge, moves = Judge(tiers), list[Move]()
    first, ends = _years(tiers, days[0][0] if days else until, joined)
    rank = _begun(judge, moves, first)
    place = 0
    while True:
        carried, total, last = rank, Number0, min(ends - _DAY, until)
        while place < len(days) and days[place][0] < ends:
            day, amount = days[place]
            total, place = total + amount, place + 1
            rank = _moved(moves, rank, max(carried, judge.entered(total)), (day, False, int(total // 1), first, last))
        if ends > until:
            return Standing(rank, int(total // 1), tuple(moves), ends)
        fallen = max(judge.kept(rank, total), judge.entered(0))
        rank = _moved(moves, rank, fallen, (ends, True, int(total // 1), first, ends - _DAY))
        first, ends = _years(tiers, ends, joined)


def _years(tiers: TierSetSpec, day: date, joined: date) -> tuple[date, date]:
    found = period_of(tiers, day, joined)
    if found is None:
        raise ValueError("only calendar years and anniversaries are years")
    return found


def _lifetime(tiers: TierSetSpec, days: Days, joined: date, until: date) -> Standing:
    judge, moves, total = Judge(tiers), list[Move](), Number0
    rank = _begun(judge, moves, min([joined, until, *(day for day, _amount in days[:1])]))
    for day, amount in days:
        total += amount
        rank = _moved(moves, rank, judge.entered(total), (day, False, int(total // 1), None, None))
    return Standing(rank, int(total // 1), tuple(moves))


def _begun(judge: Judge, moves: list[Move], day: date) -> int:
    """Return the rank that nothing at all reaches."""
    return _moved(moves, 0, judge.entered(0), (day, True, 0, None, None))


def _moved(moves: list[Move], before: int, after: int, judged: tuple[date, bool, int, date | None, date | None]) -> int:
    if after != before:
        day, at_midnight, basis, first, last = judged
        moves.append(Move(day, at_midnight, before, after, basis, first, last))
    return after


Number0: Number = 0


# ── a window that rolls ─────────────────────────────────────────────────────────────────────────────────────────────


def window_start(day: date, months: int) -> date:
    """Return the earliest day that still counts on `day`: what was done on it counts to the same day months later."""
    start = add_months(day, -months)
    return start if add_months(start, months) >= day else start + _DAY


def leaves_on(day: date, months: int) -> date:
    """Return the first day on which what was done on `day` counts no more."""
    return add_months(day, months) + _DAY


class _Rolling:
    """
    A window walked from change to change.

    As a day begins, what is too old leaves, and a level that is no longer kept falls: by one step at most in a period
    where the policy says so. What is done on the day can only raise it, until the day is over.
    """

    def __init__(self, tiers: TierSetSpec, days: Days, joined: date, until: date) -> None:
        self.judge, self.months, self.until = Judge(tiers), tiers.period_months or 1, until
        self.days = days
        self.total: Number = 0
        self.moves: list[Move] = []
        self.safe_until: date | None = None
        self.rank = _begun(self.judge, self.moves, min([joined, until, *(day for day, _amount in days[:1])]))

    def run(self) -> Standing:
        for day, leaving, coming in self._changes():
            while self.safe_until and self.safe_until < day:
                self._begin(self.safe_until)
            self.total -= leaving
            self._begin(day)
            self.total += coming
            self._rise(day)
        while self.safe_until and self.safe_until <= self.until:
            self._begin(self.safe_until)
        return Standing(self.rank, int(self.total // 1), tuple(self.moves), self.safe_until)

    def _changes(self) -> Iterator[tuple[date, Number, Number]]:
        """Yield each day on which the window changes, with what leaves it and what comes into it."""
        found: dict[date, list[Number]] = {}
        for day, amount in self.days:
            found.setdefault(day, [0, 0])[1] += amount
            found.setdefault(leaves_on(day, self.months), [0, 0])[0] += amount
            if amount < 0:
                found.setdefault(day + _DAY, [0, 0])
        for day in sorted(found):
            if day > self.until:
                return
            yield day, found[day][0], found[day][1]

    def _begin(self, day: date) -> None:
        """Judge, as a day begins, whether the level is kept."""
        if self.safe_until and day < self.safe_until:
            return
        self.safe_until = None
        after = max(self.judge.kept(self.rank, self.total), self.judge.entered(0))
        if after < self.rank and after and self.judge.downgrade == "one_step":
            self.safe_until = add_months(day, self.months)
        self._move(day, after, at_midnight=True)

    def _rise(self, day: date) -> None:
        after = max(self.rank, self.judge.entered(self.total))
        if after > self.rank:
            self.safe_until = None
        self._move(day, after, at_midnight=False)

    def _move(self, day: date, after: int, *, at_midnight: bool) -> None:
        if after != self.rank:
            last = day - _DAY if at_midnight else day
            judged = (day, at_midnight, int(self.total // 1), window_start(day, self.months), last)
            self.rank = _moved(self.moves, self.rank, after, judged)


# ── what is missing ─────────────────────────────────────────────────────────────────────────────────────────────────


def to_next(tiers: TierSetSpec, *, rank: int, basis: int, ends: date | None) -> Missing | None:
    """Return what is missing to the level above `rank`; it has an end where figures begin anew each year."""
    if rank >= len(tiers.levels):
        return None
    by = ends - _DAY if ends and over(tiers) in ("calendar", "anniversary") else None
    return Missing(max(0, tiers.levels[rank].enter - basis), by)


def to_keep(
    tiers: TierSetSpec, *, rank: int, basis: int, ends: date | None, window: Days = (), today: date
) -> Missing | None:
    """
    Return what keeps the rank held beyond the next day on which it could fall; None where it cannot.

    `window` holds the days that count today, for a window that rolls.
    """
    keep = tiers.levels[rank - 1].keep if rank else 0
    if not rank or tiers.downgrade == "none" or over(tiers) == "lifetime" or keep <= 0:
        return None
    if over(tiers) != "rolling":
        return Missing(max(0, keep - basis), ends - _DAY) if ends else None
    left: Number = sum(amount for _day, amount in window)
    for day, amount in _exits(window, tiers.period_months or 1, ends, today):
        left -= amount
        if left < keep and not (ends and day < ends):
            return Missing(int(keep - left // 1), day - _DAY)
    return None


def _exits(window: Days, months: int, ends: date | None, today: date) -> Iterable[tuple[date, Number]]:
    """Return when each day leaves the window, and the day on which a fallen level can fall again."""
    leaving: list[tuple[date, Number]] = [(leaves_on(day, months), amount) for day, amount in window]
    if ends and ends > today:
        leaving.append((ends, 0))
    return sorted(leaving, key=lambda one: one[0])


# ── one figure alone ────────────────────────────────────────────────────────────────────────────────────────────────


def rank_of(levels: Sequence[TierSpec], code: str | None) -> int:
    """Return the rank of a level by its code; 0 for none, and for one that a later version dropped."""
    return next((rank for rank, level in enumerate(levels, start=1) if level.code == code), 0)


def tier_for(levels: Sequence[TierSpec], basis: int, current: str | None) -> str | None:
    """
    Return the level that `basis` gives to a member who holds `current`, or None below the first.

    A member rises by `enter`; one who holds a level keeps it by `keep`, or falls to the highest that `keep` allows.
    """
    kept = min(rank_of(levels, current), bisect_right([level.keep for level in levels], basis))
    rank = max(bisect_right([level.enter for level in levels], basis), kept)
    return levels[rank - 1].code if rank else None


def missing_to_next(levels: Sequence[TierSpec], basis: int, current: str | None) -> tuple[str, int] | None:
    """Return the level above the one held or reached, and what is missing to enter it; None at the top."""
    following = max(rank_of(levels, current), bisect_right([level.enter for level in levels], basis))
    if following >= len(levels):
        return None
    return levels[following].code, levels[following].enter - basis


def missing_to_keep(levels: Sequence[TierSpec], basis: int, current: str | None) -> int:
    """Return what is missing to keep the level held; 0 if it is safe or none is held."""
    held = rank_of(levels, current)
    return max(0, levels[held - 1].keep - basis) if held else 0
