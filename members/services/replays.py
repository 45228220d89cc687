"""
Replay before publish: a draft and the published program over what members really did.

What is read is read in transactions in which the database refuses to write; between them only the replay's own row is
written: how far it is, and in the end what came of it.
"""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import connections
from django.db.models import F, Q, QuerySet

from members.models import Replay
from members.services.replay_reading import EVERYBODY, Span, bounds, counted, days, only_reading, parts
from members.services.replay_result import Comparison, examples
from members.services.replay_trials import Trial, run_part, run_python
from programs.rules import ProgramSpec, parse_program
from programs.rules.sql import is_wide
from tenants.routers import CLIENT

State = Replay.State
RUNNING = (State.WAITING, State.RUNNING)
SPANS = (3, 6, 12, 24)
"""Over how many months a draft can be tried."""
GONE = timedelta(minutes=3)
"""A replay that nobody worked at for so long is taken up again."""
Clock = Callable[[], datetime]


class Stopped(Exception):
    """Somebody has stopped the replay."""


def start(
    *, document: dict[str, Any], against: UUID | None, first: date, last: date, at: datetime, by: UUID | None
) -> Replay:
    """Make a replay that a worker will run. :raises programs.rules.ProgramError: if the document is not sound"""
    parse_program(document)
    return Replay.objects.create(
        document=document, against=against, first_day=first, last_day=last, started_by=by, started_at=at
    )


def stop(*, replay_id: UUID, at: datetime) -> bool:
    """Stop a replay that is under way; whether it was."""
    open_ones = Replay.objects.filter(pk=replay_id, state__in=RUNNING)
    return bool(open_ones.update(state=State.STOPPED, finished_at=at))


def unfinished(*, at: datetime) -> QuerySet[Replay]:
    """Replays that no worker has begun, or whose worker has gone."""
    gone = Q(state=State.RUNNING) & (Q(seen_at=None) | Q(seen_at__lt=at - GONE))
    return Replay.objects.filter(Q(state=State.WAITING) | gone).order_by("pk")


def run(*, replay_id: UUID, published: ProgramSpec | None, zone: ZoneInfo, clock: Clock) -> Replay:
    """
    Run a replay to its end; one that was left in the middle begins anew. Nothing happens while another is at it.

    :raises Exception: whatever went wrong; the row then says so
    """
    replay = Replay.objects.get(pk=replay_id)
    if replay.state not in RUNNING or not _hold(replay_id):
        return replay
    try:
        _Run(replay, published=published, zone=zone, clock=clock).run()
    except Stopped:
        pass
    except Exception as error:
        _save(replay, state=State.FAILED, error=repr(error)[:500], finished_at=clock())
        raise
    finally:
        _let_go(replay_id)
    replay.refresh_from_db()
    return replay


class _Run:
    """A replay under way."""

    def __init__(self, replay: Replay, *, published: ProgramSpec | None, zone: ZoneInfo, clock: Clock) -> None:
        self.replay, self.clock = replay, clock
        draft = parse_program(replay.document)
        nothing = ProgramSpec(name="", units=draft.units)
        self.published, self.draft = Trial(published or nothing), Trial(draft)
        self.trials = [self.published, self.draft]
        self.span = Span(replay.first_day, replay.last_day, replay.started_at, zone)
        self.comparison = Comparison(self.published, self.draft)

    def run(self) -> None:
        """Read everything part by part, then keep the result."""
        purchases, returns, activities = counted(self.span)
        self._begin(purchases)
        reasons = {**self.published.reasons(), **self.draft.reasons()}
        if not reasons:
            most = bounds()
            wide = any(is_wide(trial.spec.rules, most) for trial in self.trials)
            for trial in self.trials:
                trial.prepare(wide=wide)
        self._run_by_days() if self._share_budgets() else self._run_by_members()
        result = self._result() | {"returns": returns, "activities": activities, "in_python": reasons}
        self._finish(result)

    def _share_budgets(self) -> bool:
        return any("budget" in trial.compiled.needs for trial in self.trials)

    def _run_by_members(self) -> None:
        for part in parts(self.span):
            with only_reading():
                run_part(self.trials, part, self.span)
                self.comparison.close(part, self.span)
            self._advance(part.purchases)

    def _run_by_days(self) -> None:
        """A budget is used up in the order in which all members buy."""
        for stretch, purchases in days(self.span):
            with only_reading():
                run_python(self.trials, EVERYBODY, stretch)
            self._advance(purchases)
        with only_reading():
            self.comparison.close(EVERYBODY, self.span)

    def _result(self) -> dict[str, Any]:
        specs, comparison = (self.published.spec, self.draft.spec), self.comparison
        with only_reading():
            return comparison.told() | {
                "winners": examples(specs, comparison.winners, self.span),
                "losers": examples(specs, comparison.losers, self.span),
            }

    # ── the row ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _begin(self, purchases: int) -> None:
        begun = {"state": State.RUNNING, "purchases": purchases, "purchases_done": 0, "seen_at": self.clock()}
        self._change(**begun)

    def _advance(self, purchases: int) -> None:
        self._change(purchases_done=F("purchases_done") + purchases, seen_at=self.clock())

    def _finish(self, result: dict[str, Any]) -> None:
        at = self.clock()
        self._change(state=State.DONE, result=result, seen_at=at, finished_at=at)

    def _change(self, **values: Any) -> None:
        """Write to the row. :raises Stopped: if it is not under way any more"""
        if not Replay.objects.filter(pk=self.replay.pk, state__in=RUNNING).update(**values):
            raise Stopped


def _save(replay: Replay, **values: Any) -> None:
    Replay.objects.filter(pk=replay.pk, state__in=RUNNING).update(**values)


def _hold(replay_id: UUID) -> bool:
    """Take a replay for this connection alone, until it is let go or the connection ends; False if another has it."""
    with connections[CLIENT].cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [str(replay_id)])
        return bool(cursor.fetchone()[0])


def _let_go(replay_id: UUID) -> None:
    with connections[CLIENT].cursor() as cursor:
        cursor.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [str(replay_id)])
