"""Issue an API key."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from loyalty_saas.management.commanding import JsonCommand
from tenants.context import public_atomic
from tenants.models import Client, Provider
from tenants.services.api_keys import CLIENT_SCOPES, PROVIDER_SCOPES, UnknownScope, issue_key


class Command(JsonCommand):
    """Issues a key for a client's or a provider's machines; the token is shown once and kept nowhere."""

    help = (
        "Issues an API key and prints its token, which is shown this once. Scopes of a client's key: "
        f"{', '.join(sorted(CLIENT_SCOPES))}; of a provider's: {', '.join(sorted(PROVIDER_SCOPES))}."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        holder = parser.add_mutually_exclusive_group(required=True)
        holder.add_argument("--client", metavar="SLUG", help="A key for this client's API.")
        holder.add_argument("--provider", metavar="SLUG", help="A key for this provider's API.")
        parser.add_argument("--name", required=True, help="What the key is for, such as the till's name.")
        parser.add_argument("--scope", action="append", metavar="SCOPE", help="Repeat for several; all unless given.")
        parser.add_argument("--days", type=int, help="How many days it is good for; for good unless given.")

    def handle(self, *args: Any, name: str, scope: list[str] | None, days: int | None, **options: Any) -> None:
        """:raises CommandError: naming the option that is wrong"""
        at = timezone.now()
        client = _found(Client, "--client", options["client"])
        provider = _found(Provider, "--provider", options["provider"])
        try:
            with public_atomic():
                key, token = issue_key(
                    name=name,
                    scopes=scope or (CLIENT_SCOPES if client else PROVIDER_SCOPES),
                    at=at,
                    client=client,
                    provider=provider,
                    expires_at=at + timedelta(days=days) if days else None,
                )
        except UnknownScope as error:
            raise CommandError(f"--scope: there is no {error} for such a key.") from error
        self.say(
            {"name": key.name, "prefix": key.prefix, "scopes": key.scopes, "expires_at": key.expires_at, "token": token}
        )


def _found(model: Any, option: str, slug: str | None) -> Any:
    if slug is None:
        return None
    row = model.objects.filter(slug=slug).first()
    if row is None:
        raise CommandError(f"{option}: there is no '{slug}'.")
    return row
