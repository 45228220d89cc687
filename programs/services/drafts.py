"""The draft: the one version of the program that can still change."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from programs.models import Program
from programs.rules import parse_program
from programs.services.publishing import next_version

_TICK = timedelta(microseconds=1)


class DraftChanged(Exception):
    """The draft is not as it was when somebody looked at it: changed, discarded, published or begun meanwhile."""

    def __init__(self, draft: Program | None) -> None:
        super().__init__("The draft was changed meanwhile.")
        self.draft = draft


def begin_draft(*, document: Mapping[str, Any], at: datetime, by: UUID | None = None) -> Program:
    """
    Begin a draft with a document; belongs inside a transaction of the caller, as all here.

    :raises DraftChanged: if there is one already
    :raises programs.rules.ProgramError: if the document is not sound
    """
    spec = parse_program(document)
    draft = Program(
        version=next_version(),
        name=spec.name,
        document=dict(document),
        created_at=at,
        edited_at=at,
        edited_by=by,
    )
    # One that somebody begins at the same moment is waited for, and wins.
    Program.objects.bulk_create([draft], ignore_conflicts=True)
    found = Program.objects.filter(status=Program.Status.DRAFT).first()
    if found is None or found.pk != draft.pk:
        raise DraftChanged(found)
    return found


def change_draft(
    *, document: Mapping[str, Any], seen: datetime | None, at: datetime, by: UUID | None = None
) -> Program:
    """
    Put a document into the draft that was last edited at `seen`; without one seen, begin it.

    :raises DraftChanged: if the draft is another by now
    :raises programs.rules.ProgramError: naming each field that is wrong; nothing is changed
    """
    if seen is None:
        return begin_draft(document=document, at=at, by=by)
    spec = parse_program(document)
    draft = hold_draft(seen=seen)
    draft.name, draft.document = spec.name, dict(document)
    # However close two changes are, the second one shows.
    draft.edited_at, draft.edited_by = max(at, seen + _TICK), by
    draft.save(update_fields=["name", "document", "edited_at", "edited_by"])
    return draft


def replace_draft(*, document: Mapping[str, Any], at: datetime, by: UUID | None = None) -> Program:
    """Begin a draft with a document, in place of the one there may be."""
    Program.objects.filter(status=Program.Status.DRAFT).delete()
    return begin_draft(document=document, at=at, by=by)


def discard_draft(*, seen: datetime | None) -> None:
    """Throw the draft away that was last edited at `seen`. :raises DraftChanged: if it is another by now"""
    hold_draft(seen=seen).delete()


def hold_draft(*, seen: datetime | None) -> Program:
    """The draft, locked, if it was last edited at `seen`. :raises DraftChanged: otherwise"""
    draft = Program.objects.select_for_update().filter(status=Program.Status.DRAFT).first()
    if draft is None or draft.edited_at != seen:
        raise DraftChanged(draft)
    return draft
