"""A provider with three clients, running on this machine."""

import fcntl
import json
import os
import secrets
import signal
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, TextIO
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from loyalty_saas import embedded
from loyalty_saas.demo_data import cafe, hiking, loading, redeeming
from loyalty_saas.demo_data.common import DemoShop
from loyalty_saas.flows import figures, imports, nights, onboarding, programs
from loyalty_saas.management.commanding import Progress
from loyalty_saas.processes import Processes, answers, free_port
from members.models import ImportJob, Purchase
from members.queries import client_figures
from members.services.accrual import waiting
from members.services.refusals import Refused
from programs.services.tills import new_pin
from tenants.context import client_connection, public_atomic, use_client
from tenants.models import Client, Provider, Role
from tenants.queries import primary_url, url_on
from tenants.services.api_keys import CLIENT_SCOPES, issue_key
from tenants.services.people import add_user, grant_role

_SEED = 20260101


@dataclass(frozen=True)
class Shop:
    """One client of the demo."""

    slug: str
    name: str
    trade: str
    currency: str
    time_zone: str
    template: str


MUSIC = Shop("music", "Groove Music", "retail", "USD", "America/New_York", "retail")
CAFE = Shop("cafe", "Corner Café", "cafe", "USD", "America/New_York", "cafe")
HIKING = Shop("hiking", "Ridgeline Hiking Club", "outdoor", "USD", "America/Denver", "hiking")
LOG = Shop("log", "Your shop", "other", "", "Europe/London", "retail")


class Command(BaseCommand):
    """Sets up, starts, loads, prints where to go, and waits for Ctrl-C."""

    help = (
        "Starts the embedded servers, web and workers, and loads a demo provider with three clients. "
        "Ctrl-C stops all of it; what was loaded is kept for the next time."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--log", type=Path, help="A purchase log (CSV, .gz) that becomes a fourth client.")
        parser.add_argument("--log-currency", help="Its currency; the file's own unless given.")
        parser.add_argument("--port", type=int, default=None, help="The web server's port; 8000 or the next one free.")
        parser.add_argument("--exit", action="store_true", help="Stop everything once it is loaded.")

    def handle(self, *args: Any, log: Path | None, **options: Any) -> None:
        """:raises CommandError: saying what could not be done and where its log is"""
        if log and not log.is_file():
            raise CommandError(f"--log: there is no file {log}.")
        self.state = Path(settings.STATE_DIR)
        alone = _hold_alone(self.state / "demo.lock")
        self.steps = Steps(total=int(os.environ.get("DEMO_STEPS", "7" if log else "6")))
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _interrupt)
        try:
            self._run(log=log, options=options)
        except KeyboardInterrupt:
            self._tell("")
        finally:
            self._tell("Stopping …")
            embedded.stop(self.state / "servers")
            alone.close()
            self._tell("Stopped. What was loaded is kept; `make demo` finds it again.")

    def _run(self, *, log: Path | None, options: dict[str, Any]) -> None:
        with self.steps.step("Database tables"):
            call_command("migrate", stdout=_Nowhere(), stderr=_Nowhere())
        port = options["port"] or free_port()
        settings.PUBLIC_PORT = str(port)
        processes = Processes(logs=self.state / "logs", environment=self._environment(port))
        try:
            with self.steps.step("Web server"):
                # With the servers' own settings: theirs write the list of hashed files.
                if not processes.run("static", "manage.py", "collectstatic", "--noinput", "--verbosity", "0"):
                    raise CommandError(f"Style sheets could not be collected; see {processes.log_of('static')}.")
                processes.start_web(port=port)
                page = f"http://127.0.0.1:{port}/accounts/login/"
                if not answers(page, host=settings.PLATFORM_HOST, seconds=60):
                    raise CommandError(f"The web server does not answer; see {processes.log_of('web')}.")
            clients = self._load(log=log, currency=options["log_currency"])
            with self.steps.step("Workers: points, tiers, offers and figures") as step:
                # Only now: a year that comes in bit by bit would be judged bit by bit.
                processes.start_workers()
                for client in clients:
                    self._settle(client, step)
            self._introduce(clients)
            while not options["exit"] and not (ended := processes.ended()):
                time.sleep(0.5)
            if not options["exit"]:
                raise CommandError(f"The {ended} has ended by itself; see {processes.log_of(str(ended))}.")
        finally:
            processes.stop()

    def _environment(self, port: int) -> dict[str, str]:
        return {
            "DEBUG": "0",
            "SECRET_KEY": settings.SECRET_KEY,
            "DATABASE_URL": settings.DATABASE_URL,
            "REDIS_URL": settings.REDIS_URL,
            "PLATFORM_HOST": settings.PLATFORM_HOST,
            "STATE_DIR": str(self.state),
            "PUBLIC_SCHEME": "http",
            "PUBLIC_PORT": str(port),
            "REQUIRE_SECOND_FACTOR": "0",
            "PYTHONUNBUFFERED": "1",
        }

    # ── loading ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _load(self, *, log: Path | None, currency: str | None) -> list[Client]:
        self.password = _remembered(self.state / "demo.json", "password", lambda: secrets.token_urlsafe(9))
        provider, _new = Provider.objects.get_or_create(slug="northwind", defaults={"name": "Northwind IT"})
        operator = add_user(email="operator@demo.example", name="Olga Operator", password=self.password)
        grant_role(user=operator, role=Role.PLATFORM, at=timezone.now())
        technician = add_user(email="msp@demo.example", name="Mika Technician", password=self.password)
        grant_role(user=technician, role=Role.PROVIDER, provider=provider, at=timezone.now())
        clients = [self._load_music(provider)]
        clients.append(self._load_made_up(provider, CAFE, cafe.generate))
        clients.append(self._load_made_up(provider, HIKING, hiking.generate))
        if log:
            clients.append(self._load_log(provider, log=log, currency=currency))
        self.pins = {client.slug: self._add_staff(client) for client in clients}
        return clients

    def _add_staff(self, client: Client) -> dict[str, str]:
        """Clerks for the till, with the same PINs at every start."""
        with self._inside(client):
            return loading.add_staff(
                staff=loading.STAFF.get(client.slug, loading.OTHERS),
                pin_of=lambda name: _remembered(self.state / "demo.json", f"pin {client.slug} {name}", new_pin),
                at=timezone.now(),
            )

    def _load_music(self, provider: Provider) -> Client:
        file = Path(settings.BASE_DIR) / "data" / "cdnow_sample.csv.gz"
        with self.steps.step(f"{MUSIC.name}: 6,919 real purchases") as step:
            client = self._client(provider, MUSIC, step)
            with self._inside(client):
                # The log ends in June 1998; whole weeks keep its weekdays.
                weeks = (timezone.now().date() - date(1998, 7, 1)).days // 7
                self._import(file, step, shift=timedelta(weeks=weeks), program="penny")
        return client

    def _load_made_up(self, provider: Provider, shop: Shop, generate: Any) -> Client:
        with self.steps.step(f"{shop.name}: a year of made-up visits") as step:
            client = self._client(provider, shop, step)
            with self._inside(client):
                if not Purchase.objects.filter(source="demo").exists():
                    # Yesterday is the last complete day; the first load decides which day that was.
                    until = _remembered(self.state / "demo.json", shop.slug, lambda: _yesterday(shop.time_zone))
                    made: DemoShop = generate(
                        seed=_SEED, until=date.fromisoformat(until), zone=ZoneInfo(shop.time_zone)
                    )
                    loading.load(shop=made, progress=step.show)
        return client

    def _load_log(self, provider: Provider, *, log: Path, currency: str | None) -> Client:
        slug = f"log-{_slug(log)}"
        shop = Shop(
            slug, log.name[:100], LOG.trade, currency or imports.currency_of(log) or "USD", LOG.time_zone, LOG.template
        )
        with self.steps.step(f"{log.name}: your log") as step:
            client = self._client(provider, shop, step)
            with self._inside(client):
                self._import(log, step, shift=timedelta(0), program="penny")
        return client

    def _client(self, provider: Provider, shop: Shop, step: "Step") -> Client:
        client = Client.objects.filter(slug=shop.slug).first()
        if client is None:
            client = self._onboard(provider, shop, step)
        owner = add_user(email=f"owner@{shop.slug}.example", name=f"Owner of {shop.name}", password=self.password)
        grant_role(user=owner, role=Role.OWNER, client=client, at=timezone.now())
        return client

    def _onboard(self, provider: Provider, shop: Shop, step: "Step") -> Client:
        wanted = onboarding.request_onboarding(
            provider=provider,
            at=timezone.now(),
            wake=False,
            slug=shop.slug,
            name=shop.name,
            trade=shop.trade,
            currency=shop.currency,
            time_zone=shop.time_zone,
            languages=["en", "de"],
            domain=f"{shop.slug}.{settings.CLIENT_HOST_SUFFIX}",
            template=shop.template,
        )
        done = onboarding.onboard(onboarding_id=wanted.pk, at=timezone.now(), progress=step.show)
        if done.client is None:
            raise CommandError(f"{shop.name} could not be onboarded: {done.onboarding.error}")
        return done.client

    def _import(self, file: Path, step: "Step", *, shift: timedelta, program: str) -> None:
        if Purchase.objects.exists() and not ImportJob.objects.exclude(state__in=["done", "failed"]).exists():
            return
        if not Purchase.objects.exists():
            document = json.loads((Path(settings.BASE_DIR) / "data" / f"{program}.program.json").read_text("utf-8"))
            programs.publish(document=document, at=timezone.now())
        try:
            with file.open("rb") as opened:
                job = imports.start(file=opened, name=file.name, mapping={}, dry_run=False, at=timezone.now())
            job = imports.run(
                job_id=job.pk,
                at=timezone.now(),
                shift=shift,
                progress=lambda job: step.show(f"{job.documents_done:,} of {job.documents:,} documents"),
            )
        except Refused as error:
            raise CommandError(f"{file.name}: {error.field}: {error.words}") from error
        if job.state != ImportJob.State.DONE:
            raise CommandError(f"{file.name}: {job.error}")

    def _settle(self, client: Client, step: "Step") -> None:
        with self._inside(client):
            while left := waiting():
                step.show(f"{client.name}: {left:,} wait for their points")
                time.sleep(0.2)
            if client.slug in {CAFE.slug, HIKING.slug}:
                step.show(f"{client.name}: rewards taken")
                redeeming.redeem_some(at=timezone.now(), zone=ZoneInfo(client.time_zone))
            step.show(f"{client.name}: figures")
            nights.spend_night(at=timezone.now())
            figures.roll_up_days(days=400, at=timezone.now())

    @contextmanager
    def _inside(self, client: Client) -> Iterator[None]:
        with use_client(client):
            yield
        client_connection().forget_client()

    # ── telling ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _introduce(self, clients: list[Client]) -> None:
        self._tell(f"\nReady after {self.steps.seconds():.0f} s. Log in with the password  {self.password}\n")
        self._tell(f"  Console   {url_on(settings.PLATFORM_HOST)}   msp@demo.example (provider), operator@demo.example")
        for client in clients:
            self._tell(f"  {client.name:<24} {primary_url(client)}   owner@{client.slug}.example")
            with self._inside(client):
                counted = client_figures(top=0)
            self._tell(
                f"    --client {client.slug}: {counted['sales']:,} sales, {counted['returns']:,} returns, "
                f"{counted['members']:,} members, balance {counted['balance']:,}"
            )
            pins = ", ".join(f"{name} {pin}" for name, pin in self.pins[client.slug].items())
            self._tell(f"    Till: make its code at {primary_url(client, '/staff/tills/')}   PINs: {pins}")
        self._tell(f"\n  API       {primary_url(clients[0], '/api/v1/')}   key {self._api_key(clients[0])}")
        self._tell("\nCtrl-C stops everything.\n")

    def _api_key(self, client: Client) -> str:
        """A key for trying the API, the same at every start."""

        def issue() -> str:
            with public_atomic():
                return issue_key(name="Demo", scopes=CLIENT_SCOPES, client=client, at=timezone.now())[1]

        return _remembered(self.state / "demo.json", "api_key", issue)

    @staticmethod
    def _tell(words: str) -> None:
        sys.stdout.write(f"{words}\n")
        sys.stdout.flush()


class Step:
    """One step under way."""

    def __init__(self, head: str) -> None:
        self._head, self._progress = head, Progress(sys.stdout)

    def show(self, words: str, *, last: bool = False) -> None:
        """Say how far it is."""
        self._progress.show(f"{self._head} … {words}", last=last)


class Steps:
    """The steps of the set-up, counted on from where make's own ended."""

    def __init__(self, *, total: int) -> None:
        self._count, self._total = int(os.environ.get("DEMO_STEP", "0")), total
        self._began = time.monotonic()

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Number a step and say how long it took."""
        self._count += 1
        began, step = time.monotonic(), Step(f"[{self._count}/{self._total}] {title}")
        step.show("begun")
        yield step
        step.show(f"{time.monotonic() - began:.0f} s", last=True)

    def seconds(self) -> float:
        """How long it has been since the first step."""
        return time.monotonic() - self._began


class _Nowhere:
    """An output that nobody reads."""

    def write(self, text: str) -> None:
        """Take no notice."""

    def flush(self) -> None:
        """Nothing is kept back."""


def _hold_alone(path: Path) -> TextIO:
    """A lock that ends with this process. :raises CommandError: while another demo runs here"""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise CommandError("A demo is running here already; stop it with Ctrl-C where it runs.") from error
    return file


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


def _yesterday(zone: str) -> str:
    return (datetime.now(UTC).astimezone(ZoneInfo(zone)).date() - timedelta(days=1)).isoformat()


def _slug(file: Path) -> str:
    letters = "".join(c if c.isalnum() and c.isascii() else "-" for c in file.name.split(".")[0].lower())
    return "-".join(filter(None, letters.split("-")))[:40] or "file"


def _remembered(path: Path, name: str, make: Any) -> str:
    """A value kept from the first start on, so that the next one finds the same."""
    kept: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    if name not in kept:
        kept[name] = str(make())
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(json.dumps(kept))
    return kept[name]
