"""Pages of the portal."""

from uuid import UUID

from django.core.files.storage import default_storage
from django.core.paginator import Paginator
from django.db import transaction
from django.http import FileResponse, Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from loyalty_saas import workers
from loyalty_saas.faces import ClientRequest
from loyalty_saas.flows import imports as import_flow
from loyalty_saas.portal import figures, sentences
from loyalty_saas.portal.forms import Dismissal, ImportFile
from loyalty_saas.sentences import why_offer
from loyalty_saas.tasks import run_import
from members import queries
from members.models import ImportJob, Member
from members.services.parked import dismiss_parked_return
from members.services.refusals import Refused
from programs.queries import NoProgram, ProgramInForce, program_in_force, units
from rewards.queries import current_offer, shelf
from tenants.access import Actor, admits
from tenants.context import public_atomic
from tenants.services import audit

PAGE = 25
MANAGERS = (Actor.OWNER, Actor.MANAGER)


@admits(*MANAGERS, Actor.PROVIDER, Actor.CLERK)
@require_safe
def overview(request: ClientRequest) -> HttpResponse:
    """Three numbers, what wants attention, and the trend; a clerk is shown the members instead."""
    if not request.standing.actors & {*MANAGERS, Actor.PROVIDER}:
        return redirect("portal:members")
    at = timezone.now()
    days = figures.days_of(request.client)
    numbers = figures.three_numbers(days=days, at=at)
    counted = queries.client_figures(top=5)
    return render(
        request,
        "portal/overview.html",
        {
            "numbers": numbers,
            "counted": counted,
            "unit": next(iter(units()), None),
            "client": request.client,
            "chart": figures.trend(
                days=days, until=numbers.until, today=timezone.localdate(at), currency=request.client.currency
            ),
            "program": _program(),
            # Names and numbers of members are not the provider's to see.
            "knows_members": bool(request.standing.actors & set(MANAGERS)),
            "parked": queries.parked_returns().count(),
        },
    )


@admits(*MANAGERS, Actor.PROVIDER, Actor.CLERK)
@require_safe
def program(request: ClientRequest) -> HttpResponse:
    """What was promised, in sentences."""
    current = _program()
    tiers = current.spec.tiers if current else None
    return render(
        request,
        "portal/program.html",
        {
            "program": current,
            "units": current.units.values() if current else (),
            "tiers": list(sentences.tier_sentences(tiers, request.client.currency)) if tiers else (),
            "rewards": [(reward, current.units.get(reward.unit_code)) for reward in shelf()] if current else (),
        },
    )


@admits(*MANAGERS, Actor.CLERK)
@require_safe
def members(request: ClientRequest) -> HttpResponse:
    """Members by one field: phone, e-mail, card, number or name."""
    text = request.GET.get("q", "").strip()[:254].replace("\x00", "")
    found = list(queries.find_members(text)) if text else []
    return render(request, "portal/members.html", {"query": text, "found": found, "section": "portal:members"})


@admits(*MANAGERS, Actor.CLERK)
@require_safe
def member(request: ClientRequest, member_id: UUID) -> HttpResponse:
    """One member: balance, tier and what is missing, and each movement with its reasons."""
    found = queries.member_by_id(member_id)
    if found is None:
        raise Http404
    if found.status == Member.Status.MERGED and found.merged_into_id:
        return redirect("portal:member", found.merged_into_id)
    at, current = timezone.now(), _program()
    page = Paginator(queries.entries_of(member_id), PAGE).get_page(request.GET.get("page"))
    traces = queries.traces_of([source for entry in page if (source := sentences.source_of(entry))])
    offer = current_offer(member_id)
    tier = queries.tier_of(member_id=member_id, program=current) if current else None
    return render(
        request,
        "portal/member.html",
        {
            "member": found,
            "balances": queries.balances(member_id=member_id, at=at),
            "tier": tier,
            "missing": _missing(tier, current, request.client.currency),
            "offer": offer,
            "offer_reason": why_offer(offer, currency=request.client.currency) if offer else "",
            "page": page,
            "lines": [sentences.statement_line(entry, traces) for entry in page],
            "section": "portal:members",
        },
    )


@admits(*MANAGERS)
@require_safe
def parked(request: ClientRequest) -> HttpResponse:
    """Returns that found no sale and wait for a manager."""
    page = Paginator(queries.parked_returns(), PAGE).get_page(request.GET.get("page"))
    return render(request, "portal/parked.html", {"page": page, "form": Dismissal(), "section": "portal:parked"})


@admits(*MANAGERS)
@require_POST
def dismiss(request: ClientRequest, line_id: UUID) -> HttpResponse:
    """Close a parked return with a reason."""
    at, form = timezone.now(), Dismissal(request.POST)
    if form.is_valid():
        try:
            with transaction.atomic():
                dismiss_parked_return(line_id=line_id, reason=form.cleaned_data["reason"], by=request.user.pk, at=at)
        except Refused as refused:
            form.add_error(None, refused.words)
        else:
            _note(request, action="parked_return.dismissed", subject=str(line_id))
            return redirect("portal:parked")
    page = Paginator(queries.parked_returns(), PAGE).get_page(request.GET.get("page"))
    context = {"page": page, "form": form, "refused_line": line_id, "section": "portal:parked"}
    return render(request, "portal/parked.html", context, status=422)


@admits(*MANAGERS)
@require_http_methods(["GET", "HEAD", "POST"])
def imports(request: ClientRequest) -> HttpResponse:
    """Files of purchases: the last ones, and a new one."""
    form = ImportFile(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        try:
            job = _start(request, form)
        except Refused as refused:
            field = f"column_{refused.field}"
            form.add_error(field if field in form.fields else "file", refused.words)
        else:
            return redirect("portal:import_job", job.pk)
    jobs = ImportJob.objects.order_by("-id")[:10]
    context = {"form": form, "jobs": jobs, "section": "portal:imports"}
    return render(request, "portal/imports.html", context, status=422 if form.errors else 200)


@admits(*MANAGERS)
@require_safe
def import_job(request: ClientRequest, job_id: UUID) -> HttpResponse:
    """How far a file is, or what came of it."""
    job = get_object_or_404(ImportJob, pk=job_id)
    running = job.state not in {ImportJob.State.DONE, ImportJob.State.FAILED}
    if job.state == ImportJob.State.WAITING:
        _wake(request, job)
    template = "portal/import_progress.html" if request.htmx else "portal/import_job.html"
    return render(request, template, {"job": job, "running": running, "section": "portal:imports"})


@admits(*MANAGERS)
@require_safe
def import_errors(request: ClientRequest, job_id: UUID) -> FileResponse:
    """The rows of a file that were refused, each with its reason."""
    job = get_object_or_404(ImportJob, pk=job_id)
    if not job.errors_path or not default_storage.exists(job.errors_path):
        raise Http404
    name = job.name.rpartition(".")[0] or job.name
    return FileResponse(default_storage.open(job.errors_path), as_attachment=True, filename=f"{name}.errors.csv")


def _program() -> ProgramInForce | None:
    try:
        return program_in_force()
    except NoProgram:
        return None


def _missing(tier: queries.TierView | None, current: ProgramInForce | None, currency: str) -> dict[str, str]:
    if tier is None or current is None or current.spec.tiers is None:
        return {}
    tiers = current.spec.tiers
    return {
        "basis": sentences.basis_text(tier.basis, tiers, currency),
        "next": sentences.basis_text(tier.missing_to_next, tiers, currency) if tier.next_code else "",
        "keep": sentences.basis_text(tier.missing_to_keep, tiers, currency) if tier.missing_to_keep else "",
    }


def _start(request: ClientRequest, form: ImportFile) -> ImportJob:
    upload = form.cleaned_data["file"]
    job = import_flow.start(
        file=upload.file,
        name=upload.name,
        mapping=form.mapping,
        dry_run=form.cleaned_data["dry_run"],
        at=timezone.now(),
        by=request.user.pk,
    )
    _note(request, action="import.started", subject=str(job.pk))
    _wake(request, job)
    return job


def _wake(request: ClientRequest, job: ImportJob) -> None:
    """Send the job to the workers, also again from its page where the first hint was lost."""
    name = f"import:{job.pk}"
    workers.send_once(
        task=run_import, name=name, seconds=60, schema_name=request.client.schema_name, job_id=str(job.pk)
    )


def _note(request: ClientRequest, *, action: str, subject: str) -> None:
    with public_atomic():
        audit.record(
            action=action, actor=f"user:{request.user.pk}", subject=subject, client=request.client, at=timezone.now()
        )
