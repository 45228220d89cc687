"""
Tiers: what members hold follows from what they did, and each move keeps the figures it was judged by.

Whose tier stays as it is gets its new figure set-based; who may move, and who did something late or brought something
back, is judged from their whole history, so that what is stored is always what the history makes of it.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import connections, transaction

from members import ledger
from members.models import TierChange
from members.queries.tier_days import EVER, as_array, basis_of
from members.queries.tiers import Judged, State, granted_rank, judge_states, states_of, tiers_since
from members.rules import midnight
from members.services import tier_rows
from members.services.tier_sql import DUE, MANY_DUE, MEMBERS_UNTIL, ROLLING, TOTALS, YEARS
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
    moments, plain, anew = dict[UUID, datetime](), list[_Asked](), list[_Asked]()
    for state in states_of(member_ids):
        moment = max(as_of[state.member_id], state.settled_at or as_of[state.member_id])
        asked = _Asked(state, moment, earliest[state.member_id] if earliest else moment)
        moments[state.member_id] = moment
        (plain if earliest and desk.is_plain(*asked) else anew).append(asked)
    changed, others = desk.figures(plain) if plain else ({}, [])
    tier_rows.write_figures(changed)
    return desk.write([asked.state for asked in (*anew, *others)], moments, notes=True)


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


def settle_all(*, program: ProgramInForce, at: datetime, chunk: int = 40_000) -> int:
    """
    Judge everybody as of now, chunk by chunk, and write only what changes; how many moved. Twice is harmless.

    A window that rolls is counted anew for all; where figures begin anew each year only those are looked at whose
    period has ended. Nights that were missed are made up for in order.
    """
    tiers = program.spec.tiers
    if tiers is None:
        return 0
    desk, moved, anew = _Desk(program=program, tiers=tiers), 0, list[UUID]()
    for first, last in _ranges(chunk):
        anew += desk.spend_night(first=first, last=last, at=at)
        while len(anew) >= _PART:
            moved += _settle_part(anew[:_PART], program=program, at=at)
            del anew[:_PART]
    return moved + _settle_part(anew, program=program, at=at)


def _settle_part(member_ids: Sequence[UUID], *, program: ProgramInForce, at: datetime) -> int:
    with transaction.atomic():
        return settle_again(member_ids=member_ids, program=program, at=at)


def _ranges(chunk: int) -> Iterator[tuple[UUID, UUID]]:
    """Members by id, in ranges after the first and up to the last."""
    after = UUID(int=0)
    while True:
        with connections[CLIENT].cursor() as cursor:
            cursor.execute(MEMBERS_UNTIL, {"after": after, "count": chunk})
            (last,) = cursor.fetchone()
        if last is None:
            return
        yield after, last
        after = last


class _Asked(NamedTuple):
    """A member to be judged as of the latest of what they did since, and the earliest of it."""

    state: State
    moment: datetime
    first: datetime


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
        if over(self.tiers) == "rolling":
            safe = state.period_ends_at is None or state.period_ends_at > moment
            return safe and (earliest >= settled or self._day(earliest) >= self._day(settled))
        period = period_of(self.tiers, self._day(moment), self._day(state.joined_at))
        if period is None:
            return True
        return self._day(earliest) >= period[0] and state.period_ends_at == midnight(day=period[1], zone=self.zone)

    def _stands(self, state: State, moment: datetime) -> bool:
        held = max(rank_of(self.tiers.levels, state.earned), granted_rank(self.tiers, state, moment))
        return state.tier == self.codes[held] and (state.granted_until is None or state.granted_until > moment)

    def figures(self, asked: Sequence[_Asked]) -> tuple[dict[UUID, tuple[int, datetime]], list[_Asked]]:
        """Of those who stay as they are the figures that are new, each with its moment; and the others."""
        days = {moment: self._day(moment) for moment in {one.moment for one in asked}}
        bounds = [self._bounds(one.state, days[one.moment]) for one in asked]
        values = {
            "ids": as_array(one.state.member_id for one in asked),
            "sinces": as_array(since for since, _before in bounds),
            "untils": as_array(one.moment for one in asked),
            "befores": as_array(before for _since, before in bounds),
            "firsts": as_array(one.first for one in asked),
            **self.basis,
        }
        with connections[CLIENT].cursor() as cursor:
            cursor.execute(TOTALS[self.tiers.basis], values)
            found = {row[0]: row[1:] for row in cursor.fetchall()}
        changed, others = dict[UUID, tuple[int, datetime]](), list[_Asked]()
        for one in asked:
            figure = self._figure(one, *found[one.state.member_id])
            if figure is None:
                others.append(one)
            elif figure != one.state.basis:
                changed[one.state.member_id] = figure, one.moment
        return changed, others

    def _figure(self, asked: _Asked, total: int, added: int, came_back: int, back_before: int, left: int) -> int | None:
        """The figure of a member who stays as they are; None if that is for their history to tell."""
        if back_before:
            if not self._adds(asked.state, asked.first):
                return None
            total = (asked.state.basis or 0) + added
        return total if self._stays(asked.state, total, came_back, left) else None

    def _adds(self, state: State, first: datetime) -> bool:
        """Whether, with something brought back before, what was done since is just more: no fall waits for midnight."""
        if state.settled_at is None or first <= state.settled_at:
            return False
        rank = rank_of(self.tiers.levels, state.earned)
        return over(self.tiers) != "rolling" or not rank or (state.basis or 0) >= self.tiers.levels[rank - 1].keep

    def _stays(self, state: State, total: int, came_back: int, left: int) -> bool:
        if came_back or left:
            return False
        earned = rank_of(self.tiers.levels, state.earned)
        return earned == len(self.tiers.levels) or total < self.tiers.levels[earned].enter

    def _bounds(self, state: State, day: date) -> tuple[str, str]:
        """From when on is counted, and from when on was counted at the last judgement."""
        if over(self.tiers) == "rolling":
            months, settled = self.tiers.period_months or 1, state.settled_at
            now = _window_began(day, months, self.zone)
            return now, _window_began(self._day(settled), months, self.zone) if settled else now
        period = period_of(self.tiers, day, self._day(state.joined_at))
        since = self._midnight(period[0]).isoformat() if period else EVER
        return since, since

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
            return ROLLING[self.tiers.basis]
        cursor.execute(MANY_DUE, values)
        is_new_year = over(self.tiers) == "calendar" and cursor.fetchone()[0]
        return YEARS[self.tiers.basis] if is_new_year else DUE

    def _night(self, day: date) -> dict[str, Any]:
        """From when is counted tonight, what period has just ended, and when the one that has begun ends."""
        today = self._midnight(day)
        if over(self.tiers) == "rolling":
            months = self.tiers.period_months or 1
            since = self._midnight(window_start(day, months))
            window = {"window": f"{months} months", "zone": self.zone.key}
            return {"today": today, "before": since, "since": since, **window}
        return {
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
        notes: bool = False,
        by_hand: bool = False,
    ) -> int:
        """Judge these from their history, and write what changes, or `notes` until when they were; how many moved."""
        judged = judge_states(states=states, moments=moments, program=self.program, zone=self.zone) if states else {}
        changes: list[dict[str, Any]] = []
        written: list[dict[str, Any]] = []
        for state in states:
            found, moment = judged[state.member_id], moments[state.member_id]
            moves = list(self._changes(state, found, moment, by_hand))
            if moves or self._differs(state, found) or (notes and moment != state.settled_at):
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
def _window_began(day: date, months: int, zone: ZoneInfo) -> str:
    return midnight(day=window_start(day, months), zone=zone).isoformat()


@lru_cache(maxsize=10_000)
def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return midnight(day=day, zone=zone)
