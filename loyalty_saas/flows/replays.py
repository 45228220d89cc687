"""A draft tried on real purchases before it is published."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.utils import timezone

from loyalty_saas.flows.purchases import zone
from members.models import Replay
from members.services import replays
from programs.models import Program
from programs.queries import NoProgram, program_in_force
from programs.rules import ProgramSpec, add_months, parse_program

SPANS = replays.SPANS


def start(*, document: Mapping[str, Any], months: int, at: datetime, by: UUID | None = None) -> Replay:
    """
    Make a replay of a document over the last full days of so many months, against the program in force.

    :raises programs.rules.ProgramError: if the document is not sound
    :raises ValueError: for a span that is not offered
    """
    if months not in SPANS:
        raise ValueError(f"months must be one of {SPANS}")
    last = at.astimezone(zone()).date() - timedelta(days=1)
    first = add_months(last, -months) + timedelta(days=1)
    return replays.start(document=dict(document), against=_in_force(), first=first, last=last, at=at, by=by)


def run(*, replay_id: UUID) -> Replay:
    """Run a replay to its end, unless somebody else is at it."""
    replay = Replay.objects.get(pk=replay_id)
    return replays.run(replay_id=replay_id, published=_spec(replay.against), zone=zone(), clock=timezone.now)


def stop(*, replay_id: UUID, at: datetime) -> bool:
    """Stop a replay that is under way; whether it was."""
    return replays.stop(replay_id=replay_id, at=at)


def unfinished(*, at: datetime) -> list[UUID]:
    """Replays that no worker has begun, or whose worker has gone."""
    return list(replays.unfinished(at=at).values_list("pk", flat=True))


def _in_force() -> UUID | None:
    try:
        return program_in_force().id
    except NoProgram:
        return None


def _spec(program_id: UUID | None) -> ProgramSpec | None:
    found = Program.objects.filter(pk=program_id).first() if program_id else None
    return parse_program(found.document) if found else None
