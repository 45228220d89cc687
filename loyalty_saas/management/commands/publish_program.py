"""Publish a program from a file."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from loyalty_saas.flows import programs
from loyalty_saas.management.commanding import JsonCommand
from programs.rules import ProgramError


class Command(JsonCommand):
    """Publishes a program document as the client's next version."""

    help = "Publishes a program document (JSON) as the next version of a client's program."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="The program document.")
        self.add_client(parser)

    def handle(self, *args: Any, file: Path, client: str, **options: Any) -> None:
        """:raises CommandError: naming every field that is wrong; nothing is published then"""
        with self.in_client(client):
            try:
                program = programs.publish(document=_read(file), at=timezone.now())
            except ProgramError as error:
                raise CommandError("\n".join(str(problem) for problem in error.problems)) from error
            self.say(
                {"client": client, "program": program.name, "version": program.version, "rules": program.rules.count()}
            )


def _read(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CommandError(f"{file}: {error}") from error
    if not isinstance(document, dict):
        raise CommandError(f"{file}: a program document is a JSON object.")
    return document
