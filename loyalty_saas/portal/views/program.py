"""What was promised: the program in sentences, its draft and versions, publishing, and trying it out."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from loyalty_saas.faces import ClientRequest
from loyalty_saas.flows import programs as flow
from loyalty_saas.portal import editor_view
from loyalty_saas.portal.editor import Bench, names_of, seen_in
from loyalty_saas.portal.editor_conflicts import hints
from loyalty_saas.portal.editor_flow import overtaken, workbench
from loyalty_saas.portal.editor_problems import told
from loyalty_saas.portal.editor_samples import SampleForm, verdict
from loyalty_saas.portal.shared import MANAGERS, PAGE, note
from loyalty_saas.sentences_words import Wording
from members.models import Member
from programs.models import Program
from programs.queries import versions
from programs.rules import ProgramError, parse_program
from programs.services.drafts import DraftChanged, begin_draft, discard_draft
from tenants.access import Actor, admits

_ALL = (*MANAGERS, Actor.PROVIDER, Actor.CLERK)
_LOOKING = (*MANAGERS, Actor.PROVIDER)


@admits(*_ALL)
@require_safe
def program(request: ClientRequest) -> HttpResponse:
    """The program in sentences: the draft for those who work on it, what is in force for everybody."""
    bench, actors = workbench(request), request.standing.actors
    shows_draft = bool(bench.draft and actors & set(_LOOKING) and request.GET.get("show") != "live")
    spec = bench.spec if shows_draft else bench.live
    return render(
        request,
        "portal/program.html",
        {
            "bench": bench,
            "shows_draft": shows_draft,
            "may_edit": bool(actors & set(MANAGERS)),
            "may_look": bool(actors & set(_LOOKING)),
            "templates": flow.templates() if bench.base is None else {},
            "edited_by": names_of([bench.draft.edited_by]).get(bench.draft.edited_by or bench.draft.pk, "")
            if bench.draft
            else "",
            **(editor_view.overview(spec, bench, today=timezone.localdate(), marks=shows_draft) if spec else {}),
            "section": "portal:program",
        },
    )


# ── the draft ───────────────────────────────────────────────────────────────────────────────────────────────────────


@admits(*MANAGERS)
@require_POST
def begin(request: ClientRequest) -> HttpResponse:
    """Begin a first draft from a template."""
    try:
        document = flow.template_document(request.POST.get("template", ""))
        with transaction.atomic():
            begin_draft(document=document, at=timezone.now(), by=request.user.pk)
    except KeyError:
        messages.error(request, _("Choose a program to begin with."))
    except DraftChanged:
        messages.info(request, _("Somebody has begun a draft already: here it is."))
    else:
        note(request, action="program.draft_begun", subject=request.POST["template"])
    return redirect("portal:program")


@admits(*MANAGERS)
@require_POST
def discard(request: ClientRequest) -> HttpResponse:
    """Throw the draft away; what is in force stays as it is."""
    try:
        with transaction.atomic():
            discard_draft(seen=seen_in(request))
    except DraftChanged as error:
        messages.error(request, overtaken(error) if error.draft else _("There is no draft any more."))
        return redirect("portal:program")
    note(request, action="program.draft_discarded", subject="")
    messages.success(request, _("The draft is gone. The program in force is as it was."))
    return redirect("portal:program")


@admits(*MANAGERS)
@require_http_methods(["GET", "HEAD", "POST"])
def publish(request: ClientRequest) -> HttpResponse:
    """What changes, for whom, and the button that makes it so."""
    bench = workbench(request)
    if bench.draft is None:
        messages.info(request, _("There is nothing to publish."))
        return redirect("portal:program")
    problems: list[str] = []
    if request.method == "POST":
        problems = _publish(request, bench)
        if not problems:
            return redirect("portal:program")
        bench = workbench(request)
    context = {"bench": bench, "problems": problems, "members": Member.objects.filter(status="active").count()}
    groups = editor_view.grouped(bench.changes)
    context["hints"] = hints(bench.spec, bench, today=timezone.localdate()) if bench.spec else []
    return render(
        request,
        "portal/program_publish.html",
        {**context, "groups": groups, "section": "portal:program"},
        status=422 if problems else 200,
    )


def _publish(request: ClientRequest, bench: Bench) -> list[str]:
    """Publish the draft that was looked at; otherwise why not."""
    seen, in_force = seen_in(request), request.POST.get("in_force", "")
    try:
        if seen is None:
            raise DraftChanged(bench.draft)
        out = flow.publish_draft(
            seen=seen, in_force=int(in_force) if in_force.isdecimal() else None, at=timezone.now(), by=request.user.pk
        )
    except DraftChanged:
        return [
            _("The draft or the program in force was changed after you opened this page. Look at what changes now.")
        ]
    except ProgramError as error:
        return told(error, bench.document, bench.document)
    note(request, action="program.published", subject=str(out.version))
    messages.success(request, _("Version %(version)s is in force.") % {"version": out.version})
    return []


# ── versions ────────────────────────────────────────────────────────────────────────────────────────────────────────


@admits(*_LOOKING)
@require_safe
def history(request: ClientRequest) -> HttpResponse:
    """All versions there were, newest first."""
    found = versions().only("id", "version", "name", "status", "published_at", "published_by")
    page = Paginator(found, PAGE).get_page(request.GET.get("page"))
    names = names_of([one.published_by for one in page])
    rows = [(one, names.get(one.published_by or one.pk, "")) for one in page]
    return render(request, "portal/program_versions.html", {"page": page, "rows": rows, "section": "portal:program"})


@admits(*_LOOKING)
@require_safe
def version(request: ClientRequest, program_id: UUID) -> HttpResponse:
    """One version as it was, and what it changed."""
    bench, found = workbench(request), _version(program_id)
    spec = parse_program(found.document)
    before = versions().filter(version__lt=found.version).first()
    return render(
        request,
        "portal/program_version.html",
        {
            "bench": bench,
            "version": found,
            "by": names_of([found.published_by]).get(found.published_by or found.pk, ""),
            "groups": editor_view.grouped(editor_view.between(before, spec, bench)) if before else [],
            "may_edit": bool(request.standing.actors & set(MANAGERS)),
            **editor_view.overview(spec, bench, today=timezone.localdate(), marks=False),
            "section": "portal:program",
        },
    )


@admits(*MANAGERS)
@require_POST
def draft_from(request: ClientRequest, program_id: UUID) -> HttpResponse:
    """Make an earlier version the draft, in place of the one there may be."""
    found = _version(program_id)
    try:
        with transaction.atomic():
            if (seen := seen_in(request)) is not None:
                discard_draft(seen=seen)
            begin_draft(document=found.document, at=timezone.now(), by=request.user.pk)
    except DraftChanged as error:
        messages.error(request, overtaken(error))
        return redirect("portal:program_version", program_id)
    note(request, action="program.draft_begun", subject=f"version:{found.version}")
    messages.success(request, _("Version %(version)s is the draft now.") % {"version": found.version})
    return redirect("portal:program")


def _version(program_id: UUID) -> Program:
    found = versions().filter(pk=program_id).first()
    if found is None:
        raise Http404
    return found


# ── trying out ──────────────────────────────────────────────────────────────────────────────────────────────────────


@admits(*_LOOKING)
@require_safe
def try_it(request: ClientRequest) -> HttpResponse:
    """A made-up purchase put to the draft and to what is in force."""
    bench = workbench(request)
    asked = request.GET if "what" in request.GET else None
    form = SampleForm(asked, bench=bench, now=timezone.localtime())
    verdicts: list[tuple[str, Any]] = []
    if asked is not None and form.is_valid():
        verdicts = _verdicts(form, bench)
    template = "portal/program_tried.html" if request.htmx else "portal/program_try.html"
    context = {"bench": bench, "form": form, "verdicts": verdicts, "section": "portal:program"}
    return render(request, template, context, status=422 if form.errors and not request.htmx else 200)


def _verdicts(form: SampleForm, bench: Bench) -> list[tuple[str, Any]]:
    programs = [(_("In force"), bench.live), (_("Draft"), bench.spec if bench.draft else None)]
    return [
        (name, verdict(form.sample(), spec, Wording.of(spec, currency=bench.currency, places=bench.places)))
        for name, spec in programs
        if spec is not None
    ]
