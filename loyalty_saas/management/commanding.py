"""What our commands share: JSON on stdout, progress on stderr, exit code 0 only on success."""

import json
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from django.core.management.base import BaseCommand, CommandError

from tenants.context import ClientUnavailable, client_connection, client_context
from tenants.models import Client


class JsonCommand(BaseCommand):
    """A command whose result is one JSON document."""

    def say(self, result: Any) -> None:
        """Print the result."""
        self.stdout.write(json.dumps(result, default=str, ensure_ascii=False))

    def add_client(self, parser: ArgumentParser) -> None:
        """The option that names the client."""
        parser.add_argument("--client", required=True, metavar="SLUG", help="The client, by its slug.")

    @contextmanager
    def in_client(self, slug: str) -> Iterator[Client]:
        """Stand in the client of that slug. :raises CommandError: unknown or not open"""
        schema_name = Client.objects.filter(slug=slug).values_list("schema_name", flat=True).first()
        if schema_name is None:
            raise CommandError(f"--client: there is no client '{slug}'.")
        try:
            with client_context(schema_name) as client:
                yield client
        except ClientUnavailable as error:
            raise CommandError(f"--client: '{slug}' is not open.") from error
        finally:
            client_connection().forget_client()


class Progress:
    """A line on stderr that tells how far something is: redrawn on a terminal, a line now and then elsewhere."""

    def __init__(self, out: TextIO | None = None, *, every: float = 2.0) -> None:
        self._out: TextIO = out or sys.stderr
        self._redraws = self._out.isatty()
        self._every = 0.2 if self._redraws else every
        self._said = 0.0
        self._open = False

    def show(self, words: str, *, last: bool = False) -> None:
        """Show where it stands, unless something was shown a moment ago and this is not the `last` word."""
        now = time.monotonic()
        if not last and now - self._said < self._every:
            return
        self._said = now
        if self._redraws:
            self._out.write(f"\r\033[K{words}" + ("\n" if last else ""))
            self._open = not last
        else:
            self._out.write(f"{words}\n")
        self._out.flush()
