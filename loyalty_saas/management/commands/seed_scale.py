"""A made-up installation of any size, to see and measure how pages and jobs bear it."""

import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connections
from django.utils import timezone

from loyalty_saas.flows import onboarding
from loyalty_saas.management.commanding import Progress
from loyalty_saas.seeding import books, shops
from loyalty_saas.seeding.plan import Plan
from tenants.context import client_connection, use_client
from tenants.models import Client, Provider, Role
from tenants.queries import primary_url
from tenants.routers import OWNER
from tenants.schemas.owner import quoted, rows, run, standing_in
from tenants.services import schemas
from tenants.services.people import add_user, grant_role

_AT_A_TIME = 50


class Command(BaseCommand):
    """Makes one large client and many small ones, each with a schema of its own; again changes nothing."""

    help = (
        "Makes one client with many members and purchases, and many small clients, for measuring. "
        "Needs the owner's login. What is there already is left as it is."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--clients", type=int, default=500, help="How many small clients.")
        parser.add_argument("--members", type=int, default=200_000, help="Members of the large one.")
        parser.add_argument("--purchases", type=int, default=1_000_000, help="Purchases of the large one.")
        parser.add_argument("--small-members", type=int, default=60, help="Members of each small one.")
        parser.add_argument("--small-purchases", type=int, default=300, help="Purchases of each small one.")
        parser.add_argument("--client", default="scale", metavar="SLUG", help="The large one's short name.")
        parser.add_argument("--provider", default="northwind", metavar="SLUG", help="Who looks after them.")
        parser.add_argument("--seed", type=int, default=20260101, help="The same number makes the same installation.")
        parser.add_argument("--password", help="Make msp@scale.example and owner@scale.example with this password.")

    def handle(self, *args: Any, **options: Any) -> None:
        """:raises CommandError: for sizes that cannot be, or without the owner's login"""
        _check(options)
        self.began, self.progress, self.at = time.monotonic(), Progress(sys.stdout), timezone.now()
        provider, _new = Provider.objects.get_or_create(slug=options["provider"], defaults={"name": "Northwind IT"})
        large = self._large(provider, options)
        for number in range(1, options["clients"] + 1):
            self._small(provider, number, options)
        if options["password"]:
            self._people(provider, large, password=options["password"])
        if options["clients"]:
            with self._step("the planner's statistics of the public tables"):
                _take_statistics("public")
        self._tell(f"{primary_url(large)}  ({time.monotonic() - self.began:.0f} s in all)")

    # ── the large one ───────────────────────────────────────────────────────────────────────────────────────────────

    def _large(self, provider: Provider, options: dict[str, Any]) -> Client:
        client = Client.objects.filter(slug=options["client"]).first()
        if client is None:
            with self._step(f"client {options['client']}"):
                client = self._onboard(
                    provider, slug=options["client"], name="Scale", trade="retail", place=shops.PLACES[0]
                )
        with self._standing_in(client):
            plan = _plan(
                client, members=options["members"], purchases=options["purchases"], options=options, at=self.at
            )
            if books.is_filled(plan=plan):
                self._tell(f"{client.slug}: is there already")
            else:
                with self._step(f"{client.slug}: {plan.members:,} members, {plan.purchases:,} purchases") as show:
                    books.fill(plan=plan, at=self.at, progress=show)
        with self._step(f"{client.slug}: the planner's statistics"):
            _take_statistics(client.schema_name)
        return client

    # ── the small ones ──────────────────────────────────────────────────────────────────────────────────────────────

    def _small(self, provider: Provider, number: int, options: dict[str, Any]) -> None:
        slug = f"{options['client']}-{number:04d}"
        place, (business, trade) = shops.PLACES[number % len(shops.PLACES)], shops.TRADES[number % len(shops.TRADES)]
        family = shops.FAMILY_NAMES[number * 7 % len(shops.FAMILY_NAMES)]
        client = Client.objects.filter(slug=slug).first()
        if client is None:
            if (number - 1) % _AT_A_TIME == 0:
                left = options["clients"] - number + 1
                schemas.refill_spares(target=min(_AT_A_TIME, left), at=timezone.now())
            client = self._onboard(provider, slug=slug, name=f"{family} {business} {number}", trade=trade, place=place)
        with self._standing_in(client):
            members, purchases = options["small_members"], options["small_purchases"]
            plan = _plan(client, members=members, purchases=purchases, options=options, at=self.at, number=number)
            if not books.is_filled(plan=plan):
                books.fill(plan=plan, at=self.at, progress=lambda words: None)
        self._show(f"small clients: {number:,} of {options['clients']:,}", last=number == options["clients"])

    def _onboard(self, provider: Provider, *, slug: str, name: str, trade: str, place: tuple[str, str]) -> Client:
        wanted = onboarding.request_onboarding(
            provider=provider,
            at=timezone.now(),
            wake=False,
            slug=slug,
            name=name,
            trade=trade,
            currency=place[1],
            time_zone=place[0],
            languages=["en", "de"],
            domain=f"{slug}.{settings.CLIENT_HOST_SUFFIX}",
            template="retail",
        )
        done = onboarding.onboard(onboarding_id=wanted.pk, at=timezone.now())
        if done.client is None:
            raise CommandError(f"{name} could not be onboarded: {done.onboarding.error}")
        return done.client

    def _people(self, provider: Provider, large: Client, *, password: str) -> None:
        technician = add_user(email="msp@scale.example", name="Mika Technician", password=password)
        grant_role(user=technician, role=Role.PROVIDER, provider=provider, at=self.at)
        owner = add_user(email="owner@scale.example", name="Olga Owner", password=password)
        grant_role(user=owner, role=Role.OWNER, client=large, at=self.at)

    # ── telling ─────────────────────────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def _standing_in(self, client: Client) -> Iterator[None]:
        with use_client(client):
            yield
        client_connection().forget_client()

    @contextmanager
    def _step(self, title: str) -> Iterator[Callable[[str], None]]:
        began = time.monotonic()
        yield lambda words: self._show(f"{title} … {words}")
        self._show(f"{title}: {time.monotonic() - began:.1f} s", last=True)

    def _show(self, words: str, *, last: bool = False) -> None:
        self.progress.show(f"{time.monotonic() - self.began:5.0f} s  {words}", last=last)

    def _tell(self, words: str) -> None:
        self._show(words, last=True)


def _check(options: dict[str, Any]) -> None:
    for name in ("members", "small_members"):
        if options[name] < 1:
            raise CommandError(f"--{name.replace('_', '-')}: at least 1.")
    if OWNER not in connections:
        raise CommandError("DATABASE_URL, the owner's login, is needed to make schemas.")


def _take_statistics(schema_name: str) -> None:
    """Tell the planner at once what autovacuum would tell it in time."""
    tables = rows("SELECT tablename FROM pg_tables WHERE schemaname = %s ORDER BY tablename", [schema_name])
    with standing_in("public"):
        rows("SELECT 1")
        run(f"VACUUM (ANALYZE) {', '.join(f'{quoted(schema_name)}.{quoted(table)}' for (table,) in tables)}")


def _plan(
    client: Client, *, members: int, purchases: int, options: dict[str, Any], at: datetime, number: int = 0
) -> Plan:
    """Yesterday is the last complete day."""
    zone = ZoneInfo(client.time_zone)
    until = at.astimezone(zone).date() - timedelta(days=1)
    return Plan(members=members, purchases=purchases, seed=options["seed"] + number, until=until, zone=zone)
