"""What all forms of the editor do when they are sent: read, check, keep in the draft, or say what is wrong."""

from collections.abc import Callable
from typing import Any, Protocol

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _

from loyalty_saas.faces import ClientRequest
from loyalty_saas.portal.editor import Bench, Document, bench_of, names_of, seen_in, settled
from loyalty_saas.portal.editor_problems import TakesProblems, tell
from loyalty_saas.portal.editor_problems import told as problems_told
from loyalty_saas.portal.editor_rows import Data, rearranged
from loyalty_saas.portal.shared import note
from loyalty_saas.templatetags.loyalty import ago
from programs.rules import ProgramError
from programs.services.drafts import DraftChanged, change_draft


class EditorForm(TakesProblems, Protocol):
    """A form of the editor."""

    part: str

    def is_valid(self) -> bool: ...
    def hush(self) -> None: ...


Make = Callable[[Data | None], EditorForm]
Write = Callable[[Any], tuple[Document, int | None]]


def workbench(request: ClientRequest) -> Bench:
    """The workbench of the client whose host this is."""
    return bench_of(currency=request.client.currency)


def keep(request: ClientRequest, *, bench: Bench, document: Document, subject: str) -> bool:
    """
    Put a document into the draft, or begin one with it; False if it says what was said before.

    :raises ProgramError: if it is not sound
    :raises DraftChanged: if somebody else was faster
    """
    base = bench.base.document if bench.base else {}
    document = settled(base, document)
    if document == base:
        return False
    with transaction.atomic():
        change_draft(document=document, seen=seen_in(request), at=timezone.now(), by=request.user.pk)
    note(request, action="program.draft_changed", subject=subject)
    return True


def edit(
    request: ClientRequest,
    *,
    bench: Bench,
    make: Make,
    write: Write,
    template: str,
    context: Callable[[EditorForm], dict[str, Any]],
    subject: str,
    prefixes: tuple[str, ...] = (),
    back: str = "portal:program",
) -> HttpResponse:
    """A form shown, its rows arranged, or what it says kept in the draft; 422 or 409 with what was typed otherwise."""
    if request.method != "POST":
        return _page(request, template, bench, make(None), context)
    if (arranged := rearranged(request.POST, prefixes=prefixes)) is not None:
        form = make(arranged)
        form.hush()
        return _page(request, template, bench, form, context)
    form = make(request.POST)
    status = _kept(request, bench, form, write, subject)
    if status == 200:
        return redirect(back)
    # The form now carries the draft as it is: to send it again is to decide in its favour.
    return _page(request, template, workbench(request) if status == 409 else bench, form, context, status=status)


def _page(
    request: ClientRequest,
    template: str,
    bench: Bench,
    form: EditorForm,
    context: Callable[[EditorForm], dict[str, Any]],
    *,
    status: int = 200,
) -> HttpResponse:
    return render(request, template, {"bench": bench, "form": form, **context(form)}, status=status)


def _kept(request: ClientRequest, bench: Bench, form: EditorForm, write: Write, subject: str) -> int:
    if not form.is_valid():
        return 422
    document, place = write(form)
    try:
        changed = keep(request, bench=bench, document=document, subject=subject)
    except ProgramError as error:
        tell(form, error, part=form.part, place=place, document=document, before=bench.document)
        return 422
    except DraftChanged as error:
        form.add_error(None, overtaken(error))
        return 409
    told(request, changed)
    return 200


def told(request: ClientRequest, changed: bool) -> None:
    """Say whether anything was kept."""
    if changed:
        messages.success(request, _("Kept in the draft. It counts for members once you publish it."))
    else:
        messages.info(request, _("Nothing was changed."))


def overtaken(error: DraftChanged) -> str:
    """Who was faster, and what became of what was typed."""
    kept = _("What you typed is still here: save again to keep it.")
    if error.draft is None:
        return f"{_('The draft was published or discarded meanwhile.')} {kept}"
    values = {
        "name": names_of([error.draft.edited_by]).get(error.draft.edited_by or error.draft.pk, _("Somebody")),
        "ago": ago(error.draft.edited_at),
    }
    said = _("%(name)s changed the draft %(ago)s, after you opened this page.") % values
    return f"{said} {kept}"


def take_out(request: ClientRequest, *, bench: Bench, document: Document, subject: str) -> None:
    """Take a part out of the draft, and say so or why not."""
    try:
        changed = keep(request, bench=bench, document=document, subject=subject)
    except ProgramError as error:
        for words in problems_told(error, document, bench.document):
            messages.error(request, words)
    except DraftChanged as error:
        messages.error(request, overtaken(error))
    else:
        told(request, changed)
