"""A program goes live: rules, tiers, rewards and offers together, or not at all."""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils.translation import get_language

from loyalty_saas import workers
from programs.models import Program
from programs.rules import parse_program
from programs.services.drafts import DraftChanged, hold_draft
from programs.services.publishing import publish_program
from rewards.services import publish_rewards
from tenants.context import current_client

TEMPLATES = Path(settings.BASE_DIR) / "data" / "templates"
_PROGRAM = ".program.json"
_TEXTS = frozenset({"name", "text", "benefits"})


def publish(*, document: Mapping[str, Any], at: datetime, by: UUID | None = None) -> Program:
    """
    Publish a program document in the client we stand in.

    :raises programs.rules.ProgramError: naming every field that is wrong
    """
    schema_name = current_client().schema_name
    with transaction.atomic():
        program = publish_program(document=document, at=at, by=by)
        publish_rewards(spec=parse_program(document))
        # Purchases that came before there was a program have waited for it.
        transaction.on_commit(lambda: workers.wake(schema_name))
    return program


def publish_draft(*, seen: datetime, in_force: int | None, at: datetime, by: UUID | None = None) -> Program:
    """
    Publish the draft as it was when last edited at `seen`, in place of the version `in_force`.

    :raises programs.services.drafts.DraftChanged: if either is another by now
    :raises programs.rules.ProgramError: naming every field that is wrong
    """
    with transaction.atomic():
        draft = hold_draft(seen=seen)
        published = Program.objects.filter(status=Program.Status.PUBLISHED).values_list("version", flat=True).first()
        if published != in_force:
            raise DraftChanged(draft)
        document = draft.document
        draft.delete()
        return publish(document=document, at=at, by=by)


def templates() -> dict[str, str]:
    """The names of the templates by their code, in the viewer's language."""
    language = viewer_language()
    return {code: template_document(code, language=language)["name"] for code in _codes()}


def apply_template(*, template: str, at: datetime, by: UUID | None = None, language: str = "") -> Program:
    """
    Publish a template's program in the client we stand in, in `language` or else the client's first.

    :raises KeyError: unknown template
    """
    return publish(document=template_document(template, language=language), at=at, by=by)


def template_document(template: str, *, language: str = "") -> dict[str, Any]:
    """
    What a template holds, its texts in `language`, or else in the first language of the client we stand in.

    In a language that it was not translated to it is English.

    :raises KeyError: unknown template
    """
    if template not in _codes():
        raise KeyError(template)
    document = _read(TEMPLATES / f"{template}{_PROGRAM}")
    words = TEMPLATES / f"{template}.{(language or current_client().language).partition('-')[0]}.json"
    return _translated(document, words=_read(words)) if words.exists() else document


def viewer_language() -> str:
    """The language of whoever looks on."""
    return get_language() or settings.LANGUAGE_CODE


def _codes() -> list[str]:
    return sorted(path.name.removesuffix(_PROGRAM) for path in TEMPLATES.glob(f"*{_PROGRAM}"))


def _translated(found: Any, *, words: Mapping[str, str], is_text: bool = False) -> Any:
    """A document with its texts replaced, wherever they stand; codes and numbers stay."""
    if isinstance(found, dict):
        return {key: _translated(value, words=words, is_text=key in _TEXTS) for key, value in found.items()}
    if isinstance(found, list):
        return [_translated(value, words=words, is_text=is_text) for value in found]
    return words.get(found, found) if is_text and isinstance(found, str) else found


def _read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document
