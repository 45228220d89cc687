"""Prove the books of one client or of all."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from loyalty_saas.flows.proofs import Proof, prove_and_tell
from loyalty_saas.management.commanding import JsonCommand, Progress
from tenants.models import Client


class Command(JsonCommand):
    """Asks every law of the ledger and compares all that is derived with a rebuild; changes nothing in the books."""

    help = (
        "Proves the books: asks every law of the ledger, rebuilds all that is derived from entries and compares it "
        "with what is stored. Prints what was found as JSON and in plain words; nothing is put right by itself. "
        "Exit code 1 when something does not add up."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--client", metavar="SLUG", help="Only this client, by its slug; all that are open else.")

    def handle(self, *args: Any, client: str | None, **options: Any) -> None:
        """:raises CommandError: naming what does not add up"""
        open_ones = Client.objects.filter(status=Client.Status.ACTIVE).order_by("slug")
        slugs = [client] if client else list(open_ones.values_list("slug", flat=True))
        progress, wrong = Progress(), list[str]()
        for place, slug in enumerate(slugs, start=1):
            progress.show(f"Proving the books of {slug} ({place} of {len(slugs)}) …", last=place == len(slugs))
            with self.in_client(slug):
                found = prove_and_tell(at=timezone.now())
            self.say(_told(slug, found))
            wrong += [f"{slug}: {sentence}" for sentence in _sentences(found)]
        if wrong:
            raise CommandError("The books do not add up.\n" + "\n".join(wrong))


def _told(slug: str, found: Proof) -> dict[str, Any]:
    return {
        "client": slug,
        "asked": found.asked,
        "entries": found.entries,
        "milliseconds": found.milliseconds,
        "broken": found.broken,
        "checksums": {one.name: one.fresh for one in found.tables},
    }


def _sentences(found: Proof) -> list[str]:
    """What does not hold, with some of the rows that break it."""
    laws = [f"not “{one.name}”: {one.rows} rows, such as {', '.join(one.examples)}" for one in found.breaches]
    tables = [
        f"not “{one.name}”: {one.different} rows, such as {', '.join(one.examples)}"
        for one in found.tables
        if not one.is_same
    ]
    return laws + tables
