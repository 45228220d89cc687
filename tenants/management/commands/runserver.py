"""Django's development server; whether anything is unmigrated is told by `migrate --check`."""

from django.contrib.staticfiles.management.commands.runserver import Command as StaticFilesRunserver


class Command(StaticFilesRunserver):
    """Starts without looking for unapplied migrations, which Django would do outside any client."""

    def check_migrations(self) -> None:
        """Nothing: see `migrate --check`."""
