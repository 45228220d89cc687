"""Import purchases from a CSV file."""

import time
from argparse import ArgumentParser
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from loyalty_saas import workers
from loyalty_saas.flows import imports
from loyalty_saas.management.commanding import JsonCommand, Progress
from members.models import ImportJob
from members.queries import set_aside
from members.services.accrual import waiting
from members.services.refusals import Refused
from tenants.context import current_client


class Command(JsonCommand):
    """Imports a log of purchases; again does no harm, and an interrupted import goes on where it stopped."""

    help = (
        "Imports purchases from a CSV file (.csv or .csv.gz). Columns: purchase_id, member_id, timestamp, amount; and, "
        "where there are any, currency, sku, description, category, qty, unit_price, location, channel. Rows of one "
        "purchase_id make one document; negative amounts or quantities make a return. Documents recorded before are "
        "not counted again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="The file, plain or packed with gzip.")
        self.add_client(parser)
        parser.add_argument(
            "--map",
            action="append",
            default=[],
            metavar="FIELD=COLUMN",
            help="Where the file names a column otherwise.",
        )
        parser.add_argument("--dry-run", action="store_true", help="Check every row and record nothing.")
        parser.add_argument("--errors", type=Path, help="Where to write the rows refused (CSV).")
        parser.add_argument("--wait", action="store_true", help="Return when workers have credited everything.")
        parser.add_argument(
            "--wait-seconds", type=int, default=3600, help="Give up waiting after so long without progress."
        )
        parser.add_argument("--shift-days", type=int, default=0, help="Move every time by so many days, for old logs.")

    def handle(self, *args: Any, file: Path, client: str, **options: Any) -> None:
        """:raises CommandError: if the file cannot be read, or is refused as a whole"""
        with self.in_client(client):
            job = self._import(file, options)
            if options["wait"] and not job.dry_run:
                self._wait(seconds=options["wait_seconds"])
            errors = self._copy_errors(job, options["errors"])
            self.say(
                {
                    "client": client,
                    "job": str(job.pk),
                    "state": job.state,
                    "dry_run": job.dry_run,
                    "rows": job.rows,
                    "rows_refused": job.rows_refused,
                    "documents": job.documents,
                    "documents_new": job.documents_new,
                    "errors": errors,
                    "waiting": waiting(),
                    "set_aside": set_aside().count(),
                }
            )
            if options["wait"] and (left := set_aside().count()):
                raise CommandError(f"{left} purchases could not be credited and were set aside.")

    def _import(self, file: Path, options: dict[str, Any]) -> ImportJob:
        progress = Progress()
        try:
            with file.open("rb") as opened:
                job = imports.start(
                    file=opened,
                    name=file.name,
                    mapping=_mapping(options["map"]),
                    dry_run=options["dry_run"],
                    at=timezone.now(),
                )
            job = imports.run(
                job_id=job.pk,
                at=timezone.now(),
                progress=lambda job: progress.show(_words(job)),
                shift=timedelta(days=options["shift_days"]),
            )
        except OSError as error:
            raise CommandError(f"{file}: {error.strerror}") from error
        except Refused as error:
            raise CommandError(f"{error.field}: {error.words}") from error
        progress.show(_words(job), last=True)
        if job.state == ImportJob.State.FAILED:
            raise CommandError(job.error)
        return job

    def _wait(self, *, seconds: int) -> None:
        progress, least, since = Progress(), waiting(), time.monotonic()
        while left := waiting():
            if left < least:
                least, since = left, time.monotonic()
            elif time.monotonic() - since > seconds:
                raise CommandError(f"{left} purchases still wait; is a worker running?")
            progress.show(f"crediting: {left:,} purchases wait")
            workers.wake(current_client().schema_name)
            time.sleep(0.2)
        progress.show("crediting: nothing waits", last=True)

    @staticmethod
    def _copy_errors(job: ImportJob, to: Path | None) -> str | None:
        if not job.errors_path:
            return None
        if to is None:
            return job.errors_path
        return str(imports.copy_errors(job=job, to=to))


def _mapping(pairs: list[str]) -> dict[str, str]:
    mapping = {}
    for pair in pairs:
        ours, equals, theirs = pair.partition("=")
        if not equals or not theirs:
            raise CommandError(f"--map: write FIELD=COLUMN, not '{pair}'.")
        mapping[ours.strip()] = theirs.strip()
    return mapping


def _words(job: ImportJob) -> str:
    if job.state == ImportJob.State.READING:
        return f"{job.name}: {job.rows:,} rows read"
    return (
        f"{job.name}: {job.documents_done:,} of {job.documents:,} documents recorded, {job.rows_refused:,} rows refused"
    )
