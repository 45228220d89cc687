"""Who did what: one chain of hashes per client, and one for the platform, in which nothing can be changed unseen."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import IntegrityError, OperationalError, connections

from tenants.models import AuditEvent, Client
from tenants.routers import PUBLIC

_NOTHING_BEFORE = "0" * 64


def record(
    *,
    action: str,
    actor: str,
    at: datetime,
    subject: str = "",
    detail: dict[str, Any] | None = None,
    client: Client | None = None,
    on_behalf_of: str = "",
) -> AuditEvent:
    """
    Add an event to the chain of `client`, or the platform's, in the caller's transaction over the public tables.

    :raises OperationalError: another event took its place meanwhile; the same may be tried again
    """
    _hold_chain(client)
    last = AuditEvent.objects.filter(client=client).order_by("-sequence").first()
    event = AuditEvent(
        client=client,
        sequence=last.sequence + 1 if last else 1,
        action=action,
        actor=actor,
        on_behalf_of=on_behalf_of,
        subject=subject,
        detail=json.loads(json.dumps(detail or {}, cls=DjangoJSONEncoder)),
        at=at,
        previous_hash=last.hash if last else _NOTHING_BEFORE,
    )
    event.hash = AuditEvent.digest(previous_hash=event.previous_hash, content=_content(event))
    try:
        event.save(force_insert=True)
    except IntegrityError as error:
        # The transaction saw less of the chain than was committed by then, as serializable ones do: nothing is done.
        raise OperationalError(str(error)) from error
    return event


def head(client: Client | None) -> tuple[int, str]:
    """Sequence and hash of the chain's last event, to be kept elsewhere: with it a cut tail is found as well."""
    last = AuditEvent.objects.filter(client=client).order_by("-sequence").first()
    return (last.sequence, last.hash) if last else (0, _NOTHING_BEFORE)


def verify_chain(client: Client | None, *, anchor: tuple[int, str] | None = None) -> list[str]:
    """What is wrong with the chain of `client`, or the platform's; `anchor` is a head that was kept elsewhere."""
    events = list(AuditEvent.objects.filter(client=client).order_by("sequence"))
    problems = list(_problems(events))
    if anchor and anchor != (0, _NOTHING_BEFORE) and anchor not in {(event.sequence, event.hash) for event in events}:
        problems.append(f"Event {anchor[0]} is not the one that was anchored.")
    return problems


def _problems(events: list[AuditEvent]) -> Iterator[str]:
    start = AuditEvent(sequence=0, hash=_NOTHING_BEFORE)
    for before, event in pairwise([start, *events]):
        if event.sequence != before.sequence + 1:
            yield f"Event {before.sequence + 1} is missing."
        elif event.previous_hash != before.hash:
            yield f"Event {event.sequence} does not follow event {before.sequence}."
        if event.hash != AuditEvent.digest(previous_hash=event.previous_hash, content=_content(event)):
            yield f"Event {event.sequence} was changed."


def _hold_chain(client: Client | None) -> None:
    """Two events at once would take the same place in the chain."""
    with connections[PUBLIC].cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"audit:{client.pk if client else ''}"]
        )


def _content(event: AuditEvent) -> str:
    fields = [event.action, event.actor, event.on_behalf_of, event.subject, event.detail]
    place = [str(event.client_id or ""), event.sequence, event.at.astimezone(UTC).isoformat()]
    return json.dumps([*place, *fields], sort_keys=True, ensure_ascii=False)
