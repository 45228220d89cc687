"""Take a client in from the command line."""

import sys
import time
from argparse import ArgumentParser
from contextlib import redirect_stdout
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from loyalty_saas.flows import programs
from loyalty_saas.flows.onboarding import Onboarded, OnboardingRefused, onboard, request_onboarding
from loyalty_saas.management.commanding import JsonCommand
from tenants.models import Client, Onboarding, Provider
from tenants.queries import primary_url

_PATIENCE_SECONDS = 60


class Command(JsonCommand):
    """Makes a client with its schema, its program and its address, and invites the owner."""

    help = "Takes in a client: schema, program from a template, address, invitation. Prints what was made as JSON."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="Name of the business.")
        parser.add_argument("--provider", required=True, metavar="SLUG", help="The provider that looks after it.")
        parser.add_argument(
            "--create-provider", metavar="NAME", help="Make that provider, of this name, if there is none."
        )
        parser.add_argument("--trade", required=True, choices=Client.Trade.values)
        parser.add_argument("--currency", required=True, help="ISO code, such as EUR.")
        parser.add_argument("--time-zone", required=True, help="Such as Europe/Berlin.")
        parser.add_argument("--template", required=True, help=f"One of: {', '.join(programs.templates())}.")
        parser.add_argument("--slug", default="", help="Short name, made from the name unless given.")
        parser.add_argument("--domain", default="", help="Host name, made from the short name unless given.")
        parser.add_argument(
            "--language", action="append", metavar="CODE", help="Repeat for several; the first is the main one."
        )
        parser.add_argument("--owner-email", default="", help="Invite the owner at this address.")

    def handle(self, *args: Any, **options: Any) -> None:
        """:raises CommandError: naming every option that is wrong, or if the client could not be made"""
        provider = self._provider(slug=options["provider"], name=options["create_provider"])
        fields = ("name", "trade", "currency", "time_zone", "template", "slug", "domain", "owner_email")
        asked = {name: options[name] for name in fields} | {"languages": options["language"] or ["en"]}
        at = timezone.now()
        try:
            wanted = request_onboarding(provider=provider, at=at, wake=False, **asked)
        except OnboardingRefused as refused:
            raise CommandError(
                "\n".join(f"{_option(name)}: {words}" for name, words in refused.problems.items())
            ) from refused
        # Where mail is only shown, it is shown beside the result, not in it.
        with redirect_stdout(sys.stderr):
            made = onboard(onboarding_id=wanted.pk, at=at, progress=self.stderr.write)
        self.say(self._result(made))

    def _provider(self, *, slug: str, name: str | None) -> Provider:
        known = list(Provider.objects.order_by("slug").values_list("slug", flat=True)[:20])
        if name or not known:
            # The first provider of an installation comes with its first client.
            return Provider.objects.get_or_create(slug=slug, defaults={"name": name or slug.title()})[0]
        if slug not in known and not Provider.objects.filter(slug=slug).exists():
            raise CommandError(
                f"--provider: there is no provider '{slug}', but {', '.join(known)}; --create-provider NAME makes it."
            )
        return Provider.objects.get(slug=slug)

    def _result(self, made: Onboarded) -> dict[str, str]:
        onboarding = self._awaited(made.onboarding)
        if onboarding.state != Onboarding.State.DONE or onboarding.client is None:
            raise CommandError(
                onboarding.error or "No schema stands ready, and this login may not make one: a worker will."
            )
        client = onboarding.client
        url = made.url or primary_url(client)
        result = {
            "slug": client.slug,
            "schema": client.schema_name,
            "host": client.domains.get(is_primary=True).host,
            "url": url,
        }
        return result | ({"invitation": made.invitation_url} if made.invitation_url else {})

    def _awaited(self, onboarding: Onboarding) -> Onboarding:
        """Its end, if a worker happened to take it up first."""
        until = time.monotonic() + _PATIENCE_SECONDS
        while onboarding.state == Onboarding.State.RUNNING and time.monotonic() < until:
            time.sleep(0.1)
            onboarding = Onboarding.objects.get(pk=onboarding.pk)
        return onboarding


def _option(field: str) -> str:
    return "name" if field == "name" else "--language" if field == "languages" else f"--{field.replace('_', '-')}"
