"""A database server and a web server of a test's own: they may be killed, starved and cut off."""

import os
import secrets
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg2
from django.conf import settings
from django.core.management import call_command
from django.db import connections

from loyalty_saas import embedded
from loyalty_saas.settings import _app_database
from tests.live import Program, RedisServer, WebServer, wait_until

ALIASES = ("owner", "default", "public")


class House:
    """A PostgreSQL that no other test uses, with a migrated database."""

    def __init__(self, state: Path) -> None:
        self.state, self.name = state, f"test_{secrets.token_hex(4)}"
        self.servers = embedded.ensure(state)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.servers.postgresql_port

    @property
    def database_url(self) -> str:
        """The owner's address of the database."""
        return self._within(self.servers.database_url)

    def furnish(self) -> None:
        """Make the database and its tables; the caller stands at the house."""
        # It is killed, but the machine is not: what it has written is there, on a disk or not.
        self.do("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()", within="postgres")
        self.do(f'CREATE DATABASE "{self.name}" OWNER loyalty_owner', within="postgres")
        with Path(os.devnull).open("w") as nowhere:
            call_command("migrate", stdout=nowhere, stderr=nowhere)

    def do(self, *statements: str, within: str = "") -> list[tuple[Any, ...]]:
        """Run statements as the superuser; the rows of the last."""
        url = urlunsplit(urlsplit(self.servers.superuser_url)._replace(path=f"/{within or self.name}"))
        connection = psycopg2.connect(url)
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def end_sessions(self, *, most: int = 1000) -> int:
        """End so many sessions at random, as an administrator would, and see them gone; how many there were."""
        chosen = "SELECT pid FROM pg_stat_activity WHERE datname = '{}' AND pid <> pg_backend_pid() ORDER BY random()"
        ended = self.do(f"SELECT pg_terminate_backend(pid, 5000) FROM ({chosen.format(self.name)} LIMIT {most}) AS s")
        return len(ended)

    def stop(self, *, kill: bool = False) -> None:
        """Shut PostgreSQL down, or kill it in the middle of its work."""
        pid = self.servers.postgresql_pid
        os.kill(pid, signal.SIGKILL if kill else signal.SIGINT)
        wait_until(lambda: embedded.status(self.state).postgresql_pid is None, what="PostgreSQL is gone")

    def start(self) -> None:
        """Start it again, where it was."""
        port = self.port
        self.servers = embedded.ensure(self.state)
        assert self.port == port, "Somebody took the port meanwhile."

    def remove(self) -> None:
        """Stop it and delete its data."""
        embedded.remove(self.state)

    def _within(self, url: str) -> str:
        return urlunsplit(urlsplit(url)._replace(path=f"/{self.name}"))


@contextmanager
def standing_at(database_url: str) -> Iterator[None]:
    """This process, and those it forks, use another database, or the same by another way."""
    address = urlsplit(database_url)
    before = {alias: dict(connections.settings[alias]) for alias in ALIASES}
    owner = {"HOST": address.hostname, "PORT": str(address.port), "NAME": address.path[1:]}
    owner |= {"USER": address.username, "PASSWORD": address.password}
    app = _app_database(owner, standing="client")
    connections.close_all()
    connections.settings["owner"].update(owner)
    for alias in ALIASES[1:]:
        connections.settings[alias].update({name: app[name] for name in owner})
    try:
        yield
    finally:
        connections.close_all()
        for alias in ALIASES:
            connections.settings[alias].update(before[alias])


class Web(WebServer):
    """granian with many threads, with whatever database and Redis it is told."""

    def __init__(
        self, log: Path, *, redis_server: RedisServer, threads: int = 8, environment: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(log, redis_server=redis_server)
        self.command = tuple(str(threads) if one == "4" else one for one in self.command)
        # As in production: without Django's page for developers in the place of our answers.
        production = {"DEBUG": "0", "SECRET_KEY": settings.SECRET_KEY, "PLATFORM_HOST": settings.PLATFORM_HOST}
        production |= {"PUBLIC_SCHEME": "http", "SECURE_SSL_REDIRECT": "0"}
        self.environment = {**self.environment, **production, **(environment or {})}


class Supervised(Program):
    """A Celery worker with two children, and a scheduler beside it, started again by `keep_up` when they have ended."""

    def __init__(self, log: Path, *, redis_server: RedisServer, environment: Mapping[str, str] | None = None) -> None:
        celery = (sys.executable, "-m", "celery", "-A", "loyalty_saas")
        worker = ("worker", "--concurrency", "2", "--queues", "drains,celery", "--loglevel", "WARNING")
        beat = ("beat", "--pidfile=", "--schedule", str(log.with_suffix(".schedule")), "--loglevel", "WARNING")
        given = {"REDIS_URL": redis_server.url, "CELERY_VISIBILITY_TIMEOUT": "5", "SWEEP_SECONDS": "1"}
        given |= {"SPARE_SCHEMAS": "0", **(environment or {})}
        super().__init__(*celery, *worker, "--without-mingle", "--without-gossip", environment=given, log=log)
        self.scheduler = Program(*celery, *beat, environment=given, log=log.with_suffix(".beat.log"))
        self.starts = 0

    def keep_up(self) -> None:
        """Start what is not there; does not wait until it works."""
        if not self.runs:
            self.starts += 1
            self.start()
        if not self.scheduler.runs:
            self.scheduler.start()

    def stop(self) -> None:
        """Let both end by themselves."""
        self.scheduler.stop()
        super().stop()

    def children(self) -> list[int]:
        """The processes that do its tasks."""
        if self.process is None:
            return []
        with suppress(OSError):
            listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
            return [int(pid) for pid in listed.split()]
        return []

    def kill_child(self, place: int) -> bool:
        """Kill one of its children; whether there was one."""
        children = self.children()
        if children:
            with suppress(ProcessLookupError):
                os.kill(children[place % len(children)], signal.SIGKILL)
        return bool(children)
