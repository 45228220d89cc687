"""The catalogues of complete languages, brought up to date or held complete."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from loyalty_saas import translations


class Command(BaseCommand):
    """Writes the texts of code and templates to locale/, or checks that nothing is missing."""

    help = "Brings locale/*/django.po and .mo up to date, or with --check fails where a language is not complete."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--check", action="store_true", help="Write nothing; fail if a language lacks something.")

    def handle(self, *args: Any, check: bool, **options: Any) -> None:
        """:raises CommandError: naming what is missing"""
        for language in translations.complete_languages():
            if not check:
                translations.write(translations.update(language), language=language)
            missing = list(translations.faults(language))
            if check and missing:
                raise CommandError(f"{language} is not complete:\n" + "\n".join(missing[:50]))
            self.stdout.write(f"{language}: {len(missing)} missing")
