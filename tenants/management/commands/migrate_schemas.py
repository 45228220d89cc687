"""django-tenants' own way of migrating, shut: it takes seconds per client and no rights are set."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    """Points to `migrate`."""

    help = "Not used here: `manage.py migrate` migrates the public schema and all clients' schemas."

    def handle(self, *args: Any, **options: Any) -> None:
        """:raises CommandError: always"""
        raise CommandError("Use `manage.py migrate`: it migrates the public schema and all clients' schemas.")

    def run_from_argv(self, argv: list[str]) -> None:
        """Refuse whatever the arguments."""
        super().run_from_argv(argv[:2])
