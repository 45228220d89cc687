"""Files of purchases."""

from uuid import UUID

from django.core.files.storage import default_storage
from django.core.paginator import Paginator
from django.http import FileResponse, Http404, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from loyalty_saas import workers
from loyalty_saas.faces import ClientRequest
from loyalty_saas.flows import imports as import_flow
from loyalty_saas.portal.forms import ImportFile
from loyalty_saas.portal.shared import MANAGERS, note
from loyalty_saas.tables import csv_response
from loyalty_saas.tasks import run_import
from members.models import ImportJob
from members.services.refusals import Refused
from tenants.access import admits

SHOWN = 10
# One receipt of two lines, as a till writes it.
_HEAD = (
    "document", "member", "timestamp", "amount", "sku", "description", "category", "quantity", "unit_price",
)  # fmt: skip
_RECEIPT = ("R-1001", "ana@example.com", "2026-01-31T09:15:00")
EXAMPLE = (
    (*_RECEIPT, "3.80", "latte", "Caffè latte", "coffee", "1", "3.80"),
    (*_RECEIPT, "5.00", "scone", "Scone", "pastry", "2", "2.50"),
)


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
    page = Paginator(ImportJob.objects.order_by("-id"), SHOWN).get_page(request.GET.get("page"))
    context = {"form": form, "page": page, "kept": "", "section": "portal:imports"}
    return render(request, "portal/imports.html", context, status=422 if form.errors else 200)


@admits(*MANAGERS)
@require_safe
def import_template(request: ClientRequest) -> StreamingHttpResponse:
    """A file with the columns we know and one receipt of two lines, to show how."""
    return csv_response(name="purchases", head=_HEAD, lines=EXAMPLE)


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
    note(request, action="import.started", subject=str(job.pk))
    _wake(request, job)
    return job


def _wake(request: ClientRequest, job: ImportJob) -> None:
    """Send the job to the workers, also again from its page where the first hint was lost."""
    name = f"import:{job.pk}"
    workers.send_once(
        task=run_import, name=name, seconds=60, schema_name=request.client.schema_name, job_id=str(job.pk)
    )
