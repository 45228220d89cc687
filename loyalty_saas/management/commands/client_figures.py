"""Print a client's figures."""

from argparse import ArgumentParser
from typing import Any

from loyalty_saas.management.commanding import JsonCommand
from members.queries import client_figures
from members.services.accrual import waiting


class Command(JsonCommand):
    """Counts a client's figures from its rows."""

    help = (
        "Prints a client's figures as JSON: lines of sales and returns, members, sales and returns as documents, "
        "points earned and reversed, return lines wholly or partly unmatched, balance and top members."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        self.add_client(parser)
        parser.add_argument("--unit", help="The unit of the points, by its code; the first by code unless given.")
        parser.add_argument("--top", type=int, default=10, help="How many top members to list.")

    def handle(self, *args: Any, client: str, unit: str | None, top: int, **options: Any) -> None:
        """Says on stderr when purchases still wait to be credited."""
        with self.in_client(client):
            if left := waiting():
                self.stderr.write(f"{left} purchases still wait to be credited.")
            self.say(client_figures(unit_code=unit, top=top))
