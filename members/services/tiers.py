"""
Tiers: what members hold follows from what they did, and each move keeps the figures it was judged by.

Whose tier stays as it is gets its new figure set-based; who may move, and who did something late or brought something
back, is judged from their whole history, so that what is stored is always what the history makes of it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import connections, transaction

from members import ledger
from members.models import TierChange
from members.queries.tier_days import EVER, basis_of
from members.queries.tiers import Judged, State, granted_rank, judge_states, states_of, tiers_since
from members.rules import midnight
from members.services import tier_rows
from members.services.tier_sql import DUE, FIGURES, MANY_DUE, MEMBERS_UNTIL, NIGHT, TOTALS, YEARS
from programs.queries import ProgramInForce
from programs.rules import Move, TierSetSpec, over, period_of, rank_of, window_start
from tenants.context import current_client
from tenants.routers import CLIENT

Cause = TierChange.Cause
# Judged from their history in one go.
_PART = 1000


def settle(
    *,
    member_ids: Sequence[UUID],
    as_of: Mapping[UUID, datetime],
    program: ProgramInForce,
    earliest: Mapping[UUID, datetime] | None = None,
) -> int:
    """
    Judge these members after what they did, each as of the latest of it; how many moved.

    They are locked by the caller. `earliest` is the earliest of what each did: with it, those who did nothing late
    need not be judged from their whole history. What is late is judged by the period it falls in.
    """
    tiers = program.spec.tiers
    if tiers is None or not member_ids:
        return 0
    desk = _Desk(program=program, tiers=tiers)
    states = states_of(member_ids)
    moments = {s.member_id: max(as_of[s.member_id], s.settled_at or as_of[s.member_id]) for s in states}
    plain = [s for s in states if earliest and desk.is_plain(s, moments[s.member_id], earliest[s.member_id])]
    stays = desk.figures(plain, moments) if plain else {}
    rows = [
        tier_rows.new_figure(s, basis=stays[s.member_id], moment=moments[s.member_id])
        for s in plain
        if stays.get(s.member_id, s.basis) != s.basis
    ]
    anew = [s for s in states if s.member_id not in stays]
    return desk.write(anew, moments, rows=rows)


def settle_again(*, member_ids: Sequence[UUID], program: ProgramInForce, at: datetime, by_hand: bool = False) -> int:
    """
    Judge these members from their whole history as of now, inside the caller's transaction; how many moved.

    `by_hand`: because a tier was given or taken back.
    """
    tiers = program.spec.tiers
    if tiers is None or not member_ids:
        return 0
    ledger.lock(member_ids)
    states = states_of(member_ids)
    moments = {s.member_id: max(at, s.settled_at or at) for s in states}
    return _Desk(program=program, tiers=tiers).write(states, moments, by_hand=by_hand)


def settle_all(*, program: ProgramInForce, at: datetime, chunk: int = 20_000) -> int:
    """
    Judge everybody as of now, chunk by chunk, and write only what changes; how many moved. Twice is harmless.

    A window that rolls is counted anew for all; where figures begin anew each year only those are looked at whose
    period has ended. Nights that were missed are made up for in order.
    """
    tiers = program.spec.tiers
    if tiers is None:
        return 0
    desk, moved = _Desk(program=program, tiers=tiers), 0
    for first, last in _ranges(chunk):
        anew = desk.spend_night(first=first, last=last, at=at)
        for start in range(0, len(anew), _PART):
            with transaction.atomic():
                moved += settle_again(member_ids=anew[start : start + _PART], program=program, at=at)
    return moved


def _ranges(chunk: int) -> Iterator[tuple[UUID, UUID]]:
    """Members by id, in ranges after the first and up to the last."""
    after = UUID(int=0)
    while True:
        with connections[CLIENT].cursor() as cursor:
            cursor.execute(MEMBERS_UNTIL, [after, chunk])
            found = cursor.fetchone()
        if found is None:
            return
        yield after, found[0]
        after = found[0]


@dataclass(frozen=True)
class _Bounds:
    """From when on is counted, and from when on was counted at the last judgement."""

    since: datetime | str
    before: datetime | str


class _Desk:
    """Judges the members of one client by one program."""

    def __init__(self, *, program: ProgramInForce, tiers: TierSetSpec) -> None:
        self.program, self.tiers = program, tiers
        self.zone = ZoneInfo(current_client().time_zone)
        self.codes = ["", *(level.code for level in tiers.levels)]
        self.basis = basis_of(program, tiers)
        self.judged_since = tiers_since(program)

    # ── by day: those whose tier stays as it is ─────────────────────────────────────────────────────────────────

    def is_plain(self, state: State, moment: datetime, earliest: datetime) -> bool:
        """Whether what was done since can only raise the figure of the period under way."""
        settled = state.settled_at
        if settled is None or self._is_old(state) or not self._stands(state, moment):
            return False
        day, first = self._day(moment), self._day(earliest)
        if over(self.tiers) == "rolling":
            safe = state.period_ends_at is None or state.period_ends_at > moment
            return safe and first >= self._day(settled)
        period = period_of(self.tiers, day, self._day(state.joined_at))
        if period is None:
            return True
        return first >= period[0] and state.period_ends_at == midnight(day=period[1], zone=self.zone)

    def _stands(self, state: State, moment: datetime) -> bool:
        held = max(rank_of(self.tiers.levels, state.earned), granted_rank(self.tiers, state, moment))
        return state.tier == self.codes[held] and (state.granted_until is None or state.granted_until > moment)

    def figures(self, states: Sequence[State], moments: Mapping[UUID, datetime]) -> dict[UUID, int]:
        """The figures of those among these who stay as they are."""
        bounds = [self._bounds(s, self._day(moments[s.member_id])) for s in states]
        values = {
            "ids": [s.member_id for s in states],
            "sinces": [b.since for b in bounds],
            "untils": [moments[s.member_id] for s in states],
            "befores": [b.before for b in bounds],
            **self.basis,
        }
        with connections[CLIENT].cursor() as cursor:
            cursor.execute(TOTALS[self.tiers.basis], values)
            found = {row[0]: row[1:] for row in cursor.fetchall()}
        return {s.member_id: found[s.member_id][0] for s in states if self._stays(s, *found[s.member_id])}

    def _stays(self, state: State, total: int, came_back: int, left: int) -> bool:
        if came_back or left:
            return False
        earned = rank_of(self.tiers.levels, state.earned)
        return earned == len(self.tiers.levels) or total < self.tiers.levels[earned].enter

    def _bounds(self, state: State, day: date) -> _Bounds:
        if over(self.tiers) == "rolling":
            months, settled = self.tiers.period_months or 1, state.settled_at
            before = window_start(self._day(settled) if settled else day, months)
            return _Bounds(self._midnight(window_start(day, months)), self._midnight(before))
        period = period_of(self.tiers, day, self._day(state.joined_at))
        since = self._midnight(period[0]) if period else EVER
        return _Bounds(since, since)

    def _day(self, at: datetime) -> date:
        return at.astimezone(self.zone).date()

    def _midnight(self, day: date) -> datetime:
        return _midnight(day, self.zone)

    # ── by night ────────────────────────────────────────────────────────────────────────────────────────────────

    def spend_night(self, *, first: UUID, last: UUID, at: datetime) -> list[UUID]:
        """New figures for those in a range whose tier stays; who is to be judged from their history."""
        levels, day = self.tiers.levels, self._day(at)
        values: dict[str, Any] = {
            "first": first,
            "last": last,
            "at": at,
            "judged_since": self.judged_since,
            "codes": self.codes[1:],
            "enters": [level.enter for level in levels],
            "keeps": [0 if self.tiers.downgrade == "none" else level.keep for level in levels],
            **self._night(day),
            **self.basis,
        }
        with transaction.atomic(), connections[CLIENT].cursor() as cursor:
            cursor.execute(self._statement(cursor, values), values)
            return [member_id for (member_id,) in cursor.fetchall()]

    def _statement(self, cursor: Any, values: dict[str, Any]) -> str:
        """What settles a range tonight: all figures, a year's end, or the few whose period has ended."""
        if over(self.tiers) == "rolling":
            return NIGHT.format(figure=FIGURES[self.tiers.basis])
        cursor.execute(MANY_DUE, values)
        is_new_year = over(self.tiers) == "calendar" and cursor.fetchone()[0]
        return NIGHT.format(figure=YEARS[self.tiers.basis]) if is_new_year else DUE

    def _night(self, day: date) -> dict[str, Any]:
        """From when is counted tonight, what period has just ended, and when the one that has begun ends."""
        today = self._midnight(day)
        if over(self.tiers) == "rolling":
            since = self._midnight(window_start(day, self.tiers.period_months or 1))
            return {"rolls": True, "today": today, "before": since, "since": since, "ends": None}
        return {
            "rolls": False,
            "today": today,
            "before": self._midnight(date(day.year - 1, 1, 1)),
            "since": self._midnight(date(day.year, 1, 1)),
            "ends": self._midnight(date(day.year + 1, 1, 1)),
        }

    # ── from the whole history ──────────────────────────────────────────────────────────────────────────────────

    def write(
        self,
        states: Sequence[State],
        moments: Mapping[UUID, datetime],
        *,
        rows: Sequence[dict[str, Any]] = (),
        by_hand: bool = False,
    ) -> int:
        """Judge these from their history, and write what changes beside the given rows; how many moved."""
        judged = judge_states(states=states, moments=moments, program=self.program, zone=self.zone) if states else {}
        changes: list[dict[str, Any]] = []
        written = list(rows)
        for state in states:
            found, moment = judged[state.member_id], moments[state.member_id]
            moves = list(self._changes(state, found, moment, by_hand))
            if moves or self._differs(state, found):
                changes += moves
                moved_at = moves[-1]["at"] if moves else None
                written.append(tier_rows.status(state, found, moment=moment, moved_at=moved_at))
        tier_rows.write(rows=written, changes=changes)
        return len({change["member_id"] for change in changes})

    def _is_old(self, state: State) -> bool:
        """Whether a member was never judged, or by other tiers."""
        return state.settled_at is None or state.settled_at <= self.judged_since

    def _differs(self, state: State, found: Judged) -> bool:
        stored = (state.tier, state.earned, state.basis, state.period_ends_at)
        return self._is_old(state) or stored != (found.tier, found.earned, found.basis, found.period_ends_at)

    def _changes(self, state: State, found: Judged, moment: datetime, by_hand: bool) -> Iterator[dict[str, Any]]:
        """The moves since the last judgement in order; what does not follow from them is one move now."""
        granted, held = granted_rank(self.tiers, state, moment), state.tier or ""
        for move in self._recent(state, found):
            after = self.codes[max(move.after, granted)]
            if after != held:
                yield self._by_move(state, found, before=held, after=after, move=move)
                held = after
        if found.tier == held:
            return
        last = found.standing.moves[-1] if found.standing.moves else None
        if (by_hand or state.granted) and (found.tier != found.earned or found.earned == (state.earned or "")):
            yield self._by_grant(state, found, before=held, moment=moment)
        elif state.settled_at is None and last:
            yield self._by_move(state, found, before=held, after=found.tier, move=last)
        else:
            yield self._by_history(state, found, before=held, moment=moment)

    def _recent(self, state: State, found: Judged) -> list[Move]:
        """Moves after the last judgement; none where that was by other tiers."""
        settled = state.settled_at
        if settled is None or self._is_old(state):
            return []
        return [move for move in found.standing.moves if self._instant(move, found) > settled]

    def _instant(self, move: Move, found: Judged) -> datetime:
        begun = self._midnight(move.day)
        return begun if move.at_midnight else found.moments.get(move.day, begun)

    def _by_move(self, state: State, found: Judged, *, before: str, after: str, move: Move) -> dict[str, Any]:
        falls = move.at_midnight and move.after < move.before
        cause = Cause.PERIOD if falls else Cause.JUDGED
        rule = "not_kept" if falls else "reached" if move.after > move.before else "taken_back"
        moment, days = self._instant(move, found), (move.first, move.last)
        return self._change(state, found, before, after, cause=cause, rule=rule, at=moment, basis=move.basis, days=days)

    def _by_grant(self, state: State, found: Judged, *, before: str, moment: datetime) -> dict[str, Any]:
        if self._rises(before, found.tier):
            cause, at = Cause.GRANTED, moment
        else:
            cause, at = Cause.GRANT_ENDED, min(moment, state.granted_until or moment)
        return self._change(state, found, before, found.tier, cause=cause, rule=str(cause), at=at, basis=found.basis)

    def _by_history(self, state: State, found: Judged, *, before: str, moment: datetime) -> dict[str, Any]:
        """What came late, was taken back, or is judged by new tiers."""
        rule = "reached" if self._rises(before, found.tier) else "taken_back"
        rule = "new_tiers" if self._is_old(state) and state.settled_at else rule
        day = self._day(moment)
        days: tuple[date | None, date | None] = (None, None)
        if over(self.tiers) == "rolling":
            days = (window_start(day, self.tiers.period_months or 1), day)
        elif period := period_of(self.tiers, day, self._day(state.joined_at)):
            days = (period[0], day)
        return self._change(
            state, found, before, found.tier, cause=Cause.JUDGED, rule=rule, at=moment, basis=found.basis, days=days
        )

    def _rises(self, before: str, after: str) -> bool:
        return rank_of(self.tiers.levels, after) > rank_of(self.tiers.levels, before)

    def _change(
        self,
        state: State,
        found: Judged,
        before: str,
        after: str,
        *,
        cause: str,
        rule: str,
        at: datetime,
        basis: int,
        days: tuple[date | None, date | None] = (None, None),
    ) -> dict[str, Any]:
        rises = self._rises(before, after)
        level = next((one for one in self.tiers.levels if one.code == (after if rises else before)), None)
        inputs = {
            "counts": self.tiers.basis,
            "rule": rule,
            "threshold": (level.enter if rises else level.keep) if level else None,
            "period": over(self.tiers),
            "from": days[0].isoformat() if days[0] else None,
            "to": days[1].isoformat() if days[1] else None,
            "version": self.program.version,
            "earned": found.earned,
        }
        return tier_rows.change(
            state, program=self.program, before=before, after=after, at=at, cause=cause, basis=basis, inputs=inputs
        )


@lru_cache(maxsize=10_000)
def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return midnight(day=day, zone=zone)
