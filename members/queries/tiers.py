"""Where members stand in the program's tiers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import connections
from django.db.models import Count, FilteredRelation, Q, QuerySet

from members.models import (
    Member,
    TierChange,
    TierGrant,
    TierStatus,
)
from members.queries.tier_days import as_array, days_of
from members.rules import midnight
from programs.models import Program
from programs.queries import ProgramInForce
from programs.rules import Missing, Standing, TierSetSpec, over, rank_of, standing, to_keep, to_next, window_start
from tenants.context import current_client, current_schema
from tenants.routers import CLIENT


def tiers_held() -> dict[str, int]:
    """How many active members hold each tier, by code; none is an empty code."""
    rows = TierStatus.objects.filter(member__status=Member.Status.ACTIVE)
    held = dict(rows.exclude(tier="").values_list("tier").annotate(n=Count("pk")))
    members = Member.objects.filter(status=Member.Status.ACTIVE).count()
    return {**held, "": members - sum(held.values())}


def tier_changes_of(member_ids: Sequence[UUID]) -> QuerySet[TierChange]:
    """Moves between tiers, newest first."""
    return TierChange.objects.filter(member__in=list(member_ids)).order_by("-at", "-pk")


def grant_of(member_id: UUID, *, at: datetime) -> TierGrant | None:
    """The tier given by hand that counts at `at`; it has ended on its day, whether or not a night has noticed."""
    return TierGrant.objects.filter(member=member_id, ended_at=None, until__gt=at).first()


def grants_of(member_ids: Sequence[UUID]) -> QuerySet[TierGrant]:
    """Tiers given by hand, newest first."""
    return TierGrant.objects.filter(member__in=list(member_ids)).order_by("-since", "-pk")


# ── one member, as pages show it ────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class TierView:
    """The tier held, the figure it rests on, what is missing to rise and to keep it, and until when it was given."""

    code: str
    name: str
    basis: int
    since: datetime | None
    next_code: str
    next_name: str
    missing_to_next: int
    missing_to_keep: int
    next_by: date | None = None
    keep_by: date | None = None
    earned_code: str = ""
    earned_name: str = ""
    period_ends_at: datetime | None = None
    granted_until: datetime | None = None

    @property
    def is_granted(self) -> bool:
        """Whether it is held because it was given, not earned."""
        return self.granted_until is not None and self.code != self.earned_code


def tier_of(*, member_id: UUID, program: ProgramInForce, at: datetime) -> TierView | None:
    """Where the member stands in the program's tiers; None if the program has none."""
    tiers = program.spec.tiers
    if tiers is None:
        return None
    (status, grant), levels = _stored(member_id), tiers.levels
    # Rows from before tiers could be given by hand tell one of the two only.
    earned = rank_of(levels, status.earned or ("" if grant else status.tier))
    grant = grant if grant and grant.until > at else None
    held = max(earned, rank_of(levels, grant.tier if grant else None))
    names = ["", *(level.name for level in levels)]
    codes = ["", *(level.code for level in levels)]
    zone = ZoneInfo(current_client().time_zone)
    ends = status.period_ends_at.astimezone(zone).date() if status.period_ends_at else None
    following = to_next(tiers, rank=held, basis=status.basis, ends=ends)
    keeping = _to_keep(member_id, program, status, earned, ends, at, zone)
    return TierView(
        code=codes[held],
        name=names[held],
        basis=status.basis,
        since=status.since,
        next_code=codes[held + 1] if following else "",
        next_name=names[held + 1] if following else "",
        missing_to_next=following.amount if following else 0,
        next_by=following.by if following else None,
        missing_to_keep=keeping.amount if keeping else 0,
        keep_by=keeping.by if keeping else None,
        earned_code=codes[earned],
        earned_name=names[earned],
        period_ends_at=status.period_ends_at,
        granted_until=grant.until if grant else None,
    )


def _stored(member_id: UUID) -> tuple[TierStatus, TierGrant | None]:
    """What is stored of a member's tier, and the tier given to them that has not been ended, in one query."""
    grant = FilteredRelation("tier_grants", condition=Q(tier_grants__ended_at=None))
    names = ("tier", "earned", "basis", "since", "period_ends_at")
    rows = Member.objects.filter(pk=member_id).annotate(given=grant)
    found = rows.values_list(*(f"tier_status__{name}" for name in names), "given__tier", "given__until").first()
    *stored, tier, until = found or [None] * 7
    status = TierStatus(**dict(zip(names, stored, strict=True)))
    status.tier, status.earned, status.basis = status.tier or "", status.earned or "", status.basis or 0
    return status, TierGrant(tier=tier, until=until) if tier else None


def _to_keep(
    member_id: UUID,
    program: ProgramInForce,
    status: TierStatus,
    earned: int,
    ends: date | None,
    at: datetime,
    zone: ZoneInfo,
) -> Missing | None:
    tiers, today = program.spec.tiers, at.astimezone(zone).date()
    if tiers is None or not earned:
        return None
    window: list[tuple[date, Any]] = []
    if over(tiers) == "rolling" and tiers.downgrade != "none":
        since = midnight(day=window_start(today, tiers.period_months or 1), zone=zone)
        done = days_of(until={member_id: at}, program=program, zone=zone, since=since)[member_id]
        window = [(day, amount) for day, amount, _at in done]
    return to_keep(tiers, rank=earned, basis=status.basis, ends=ends, window=window, today=today)


# ── many, judged from their history ─────────────────────────────────────────────────────────────────────────────────


class State(NamedTuple):
    """What is stored of a member's tier, and the tier given to them that has not been ended."""

    member_id: UUID
    joined_at: datetime
    tier: str | None
    earned: str | None
    basis: int | None
    since: datetime | None
    settled_at: datetime | None
    period_ends_at: datetime | None
    granted: str | None
    granted_until: datetime | None


@dataclass(frozen=True)
class Judged:
    """What a member's history makes of them; `at` tells the instant of each move."""

    earned: str
    tier: str
    basis: int
    period_ends_at: datetime | None
    standing: Standing
    moments: Mapping[date, datetime]


def states_of(member_ids: Sequence[UUID]) -> list[State]:
    """What is stored of these members, in the order of their ids."""
    with connections[CLIENT].cursor() as cursor:
        cursor.execute(_SELECT_STATES, [as_array(member_ids)])
        return [State._make(row) for row in cursor.fetchall()]


def judge_tiers(
    *, member_ids: Sequence[UUID], at: datetime | Mapping[UUID, datetime], program: ProgramInForce, zone: ZoneInfo
) -> dict[UUID, Judged]:
    """
    What the whole history of these members makes of them at `at`: a pure function of it and of the program.

    Nothing is written; a stored tier that is settled as of `at` is the same.
    """
    states = states_of(member_ids)
    moments = at if isinstance(at, Mapping) else dict.fromkeys(member_ids, at)
    return judge_states(states=states, moments=moments, program=program, zone=zone)


def judge_states(
    *, states: Sequence[State], moments: Mapping[UUID, datetime], program: ProgramInForce, zone: ZoneInfo
) -> dict[UUID, Judged]:
    """The same for states that have been read."""
    tiers = program.spec.tiers
    if tiers is None:
        return {}
    until = {state.member_id: moments[state.member_id] for state in states}
    days = days_of(until=until, program=program, zone=zone)
    return {
        state.member_id: _judge(tiers, state, days[state.member_id], moments[state.member_id], zone) for state in states
    }


def _judge(tiers: TierSetSpec, state: State, done: Sequence[Any], moment: datetime, zone: ZoneInfo) -> Judged:
    found = standing(
        tiers,
        [(day, amount) for day, amount, _at in done],
        joined=state.joined_at.astimezone(zone).date(),
        until=moment.astimezone(zone).date(),
    )
    held = max(found.rank, granted_rank(tiers, state, moment))
    codes = ["", *(level.code for level in tiers.levels)]
    return Judged(
        earned=codes[found.rank],
        tier=codes[held],
        basis=found.basis,
        period_ends_at=midnight(day=found.ends, zone=zone) if found.ends else None,
        standing=found,
        moments={day: at for day, _amount, at in done},
    )


def granted_rank(tiers: TierSetSpec, state: State, moment: datetime) -> int:
    """The rank of the tier that was given, while it counts."""
    if state.granted_until is None or state.granted_until <= moment:
        return 0
    return rank_of(tiers.levels, state.granted)


def tiers_since(program: ProgramInForce) -> datetime:
    """When these tiers came into force: with the first version of those in a row that have them."""
    return _tiers_since(current_schema() or "", program.id)


@lru_cache(maxsize=2000)
def _tiers_since(_schema_name: str, program_id: UUID) -> datetime:
    rows = Program.objects.exclude(status=Program.Status.DRAFT).order_by("-version")
    found = rows.values_list("pk", "published_at", "document__tiers")
    told = [(pk, at, json.dumps(tiers, sort_keys=True)) for pk, at, tiers in found if at]
    place = next(n for n, row in enumerate(told) if row[0] == program_id)
    since = told[place][1]
    for _pk, at, words in told[place:]:
        if words != told[place][2]:
            break
        since = at
    return since


_SELECT_STATES = """
    SELECT m.id, m.joined_at, s.tier, s.earned, s.basis, s.since, s.settled_at, s.period_ends_at, g.tier, g.until
    FROM members_member m
    LEFT JOIN members_tierstatus s ON s.member_id = m.id
    LEFT JOIN members_tiergrant g ON g.member_id = m.id AND g.ended_at IS NULL
    WHERE m.id = ANY(%s::uuid[]) ORDER BY m.id
"""
