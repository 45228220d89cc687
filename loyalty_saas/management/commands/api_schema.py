"""The descriptions of the APIs, committed beside the code and compared with it."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from loyalty_saas.api.front import YAML, description

FILES = {
    "client": Path(settings.BASE_DIR) / "docs" / "api" / "openapi.yaml",
    "platform": Path(settings.BASE_DIR) / "docs" / "api" / "platform-openapi.yaml",
}


class Command(BaseCommand):
    """Writes docs/api/*.yaml, or checks that they say what the code does."""

    help = "Writes the OpenAPI descriptions to docs/api, or with --check fails where they differ from the code."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--check", action="store_true", help="Write nothing; fail if a file is not up to date.")

    def handle(self, *args: Any, check: bool, **options: Any) -> None:
        """:raises CommandError: naming the files that differ"""
        stale = [
            path for face, path in FILES.items() if not path.exists() or path.read_bytes() != description(face, YAML)
        ]
        if check and stale:
            names = ", ".join(str(path.relative_to(settings.BASE_DIR)) for path in stale)
            raise CommandError(f"Not what the code does: {names}. Run `manage.py api_schema`.")
        if not check:
            for face, path in FILES.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(description(face, YAML))
