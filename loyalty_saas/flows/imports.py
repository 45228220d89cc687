"""A file of purchases on its way into a client: kept, read, recorded, credited by the workers."""

import csv
import gzip
import hashlib
import io
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any
from uuid import UUID

from babel.numbers import get_currency_precision
from django.conf import settings
from django.core.files.base import File
from django.core.files.storage import default_storage
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from loyalty_saas import workers
from loyalty_saas.flows.purchases import zone
from loyalty_saas.tables import safe_cell
from members.models import ImportJob
from members.services import imports
from members.services.imports import RowError, RowReader
from members.services.refusals import Refused
from tenants.context import current_client

State = ImportJob.State
# How files break: no CSV, no UTF-8, an archive that is cut off or damaged.
_UNREADABLE = (csv.Error, UnicodeDecodeError, EOFError, zlib.error, OSError)
Progress = Callable[[ImportJob], None]


class ImportRefused(Refused):
    """The file as a whole cannot be imported."""

    code = "import_refused"


def start(
    *, file: IO[bytes], name: str, mapping: Mapping[str, str], dry_run: bool, at: datetime, by: UUID | None = None
) -> ImportJob:
    """
    Keep a file and make the job that imports it; its header is checked at once.

    The same file again takes up the job that was left unfinished.

    :raises Refused: for a header without the columns needed, an empty or oversized file
    """
    digest, size = _digest(file)
    if size > settings.IMPORT_MAX_BYTES:
        raise ImportRefused(
            _("The file is larger than %(n)d MB.") % {"n": settings.IMPORT_MAX_BYTES // 2**20}, field="file"
        )
    unfinished = ImportJob.objects.filter(content_hash=digest, dry_run=dry_run, mapping=dict(mapping)).exclude(
        state__in=[State.DONE, State.FAILED]
    )
    if job := unfinished.order_by("-id").first():
        return job
    with _opened(file) as text:
        imports.match_header(_header(text), mapping)
    file.seek(0)
    job = ImportJob(
        name=name[:200], content_hash=digest, mapping=dict(mapping), dry_run=dry_run, started_by=by, started_at=at
    )
    suffix = ".csv.gz" if file.read(2) == b"\x1f\x8b" else ".csv"
    file.seek(0)
    job.path = default_storage.save(f"imports/{job.pk}{suffix}", File(file))
    job.save(force_insert=True)
    return job


def run(
    *, job_id: UUID, at: datetime, progress: Progress = lambda job: None, shift: timedelta = timedelta(0)
) -> ImportJob:
    """
    Read and record a job's file from where it was left; a failure is kept with its reason.

    Does nothing while another process is at it.
    """
    if not imports.hold(job_id=job_id):
        return ImportJob.objects.get(pk=job_id)
    try:
        return _run(job=ImportJob.objects.get(pk=job_id), at=at, progress=progress, shift=shift)
    finally:
        imports.let_go(job_id=job_id)


def _run(*, job: ImportJob, at: datetime, progress: Progress, shift: timedelta) -> ImportJob:
    try:
        if job.state in {State.WAITING, State.READING}:
            _read(job=job, progress=progress, shift=shift)
        if job.state == State.RECORDING:
            _record(job=job, at=at, progress=progress)
    except Refused as error:
        imports.clear_staged(job=job)
        _finish(job, state=State.FAILED, error=error.words)
    progress(job)
    return job


def unfinished() -> list[UUID]:
    """Jobs that wait or were left in the middle."""
    open_states = [State.WAITING, State.READING, State.RECORDING]
    return list(ImportJob.objects.filter(state__in=open_states).order_by("pk").values_list("pk", flat=True))


def _read(*, job: ImportJob, progress: Progress, shift: timedelta) -> None:
    _save(job, state=State.READING)
    _drop_errors(job)

    imports.clear_staged(job=job)

    def so_far(rows: int) -> None:
        _save(job, rows=rows)
        progress(job)

    with _opened(default_storage.open(job.path)) as text:
        rows = csv.DictReader(text)
        columns = imports.match_header(rows.fieldnames or (), job.mapping)
        reading = imports.stage(job=job, rows=_rows(rows), reader=_reader(columns, shift=shift), progress=so_far)
    with transaction.atomic():
        documents, mixed = imports.sort_into_batches(job=job)
        _keep_errors(job, [*reading.errors, *mixed])
        _save(
            job,
            rows=reading.rows + reading.refused,
            rows_refused=reading.refused + len(mixed),
            documents=documents,
            state=State.RECORDING,
        )
    if job.dry_run:
        _finish(job, state=State.DONE)


def _reader(columns: Mapping[str, str], *, shift: timedelta) -> RowReader:
    client = current_client()
    return RowReader(
        columns=columns,
        currency=client.currency,
        minor_digits=get_currency_precision(client.currency),
        zone=zone(),
        shift=shift,
    )


def _rows(rows: "csv.DictReader[str]") -> Iterator[Mapping[str, Any]]:
    try:
        yield from rows
    except _UNREADABLE as error:
        raise ImportRefused(_("The file cannot be read: %(error)s") % {"error": error}, field="file") from error


def _record(*, job: ImportJob, at: datetime, progress: Progress) -> None:
    while True:
        with transaction.atomic():
            recorded = imports.record_next_batch(job=job, at=at)
            if recorded is None:
                break
            _keep_errors(job, recorded.conflicts)
            _save(
                job,
                documents_done=job.documents_done + recorded.documents,
                documents_new=job.documents_new + recorded.new,
                rows_refused=job.rows_refused + len(recorded.conflicts),
            )
        workers.wake(current_client().schema_name)
        progress(job)
    _finish(job, state=State.DONE)


def _finish(job: ImportJob, *, state: str, error: str = "") -> None:
    _save(job, state=state, error=error[:500], finished_at=timezone.now())
    if state == State.DONE and job.path and default_storage.exists(job.path):
        default_storage.delete(job.path)


def _save(job: ImportJob, **values: Any) -> None:
    for name, value in values.items():
        setattr(job, name, value)
    job.save(update_fields=list(values))


def _drop_errors(job: ImportJob) -> None:
    """Forget what an interrupted reading had listed: it is read again from the top."""
    # It may have ended before the job could say where.
    default_storage.delete(_errors_path(job))
    _save(job, errors_path="")


def _errors_path(job: ImportJob) -> str:
    return f"imports/{job.pk}.errors.csv"


def _keep_errors(job: ImportJob, errors: list[RowError]) -> None:
    """Append refused rows to the job's error file."""
    if not errors:
        return
    relative = _errors_path(job)
    path = Path(default_storage.path(relative))
    path.parent.mkdir(parents=True, exist_ok=True)
    is_new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if is_new:
            writer.writerow(["row", "column", "problem"])
        writer.writerows((e.number, safe_cell(e.column), safe_cell(e.message)) for e in errors)
    if not job.errors_path:
        _save(job, errors_path=relative)


# ── files ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _digest(file: IO[bytes]) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    file.seek(0)
    while block := file.read(1024 * 1024):
        digest.update(block)
        size += len(block)
    file.seek(0)
    return digest.hexdigest(), size


@contextmanager
def _opened(file: Any) -> Iterator[io.TextIOWrapper]:
    """The text of a CSV file, unpacked if it is gzip, up to a bounded size."""
    file.seek(0)
    packed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    raw = io.BufferedReader(_Bounded(gzip.GzipFile(fileobj=file) if packed else file))
    text = io.TextIOWrapper(raw, encoding="utf-8-sig", newline="")
    try:
        yield text
    finally:
        text.detach()


class _Bounded(io.RawIOBase):
    """Unpacked bytes, refused beyond twenty times what a file may weigh: an archive can unfold without end."""

    def __init__(self, inner: Any) -> None:
        self._inner, self._left = inner, settings.IMPORT_MAX_BYTES * 20

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = self._inner.read(len(buffer))
        self._left -= len(block)
        if self._left < 0:
            raise ImportRefused(_("The file unpacks to more than can be imported."), field="file")
        buffer[: len(block)] = block
        return len(block)


def _header(text: io.TextIOWrapper) -> list[str]:
    try:
        header = next(csv.reader(text), None)
    except _UNREADABLE as error:
        raise ImportRefused(_("The file cannot be read: %(error)s") % {"error": error}, field="file") from error
    if not header:
        raise ImportRefused(_("The file is empty."), field="file")
    return header


def copy_errors(*, job: ImportJob, to: Path) -> Path:
    """Copy a job's error file to where a person can open it."""
    shutil.copyfile(default_storage.path(job.errors_path), to)
    return to


def currency_of(path: Path) -> str | None:
    """The currency that a log's first row names, if it has such a column."""
    with path.open("rb") as file, _opened(file) as text:
        rows = csv.DictReader(text)
        first = next(rows, None)
    named = next((name for name in rows.fieldnames or () if name.strip().lower() == "currency"), None)
    return (first or {}).get(named or "", "").strip().upper() or None
