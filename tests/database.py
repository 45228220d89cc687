"""A fresh database on real servers for one run of the suite; gone at its end, and what crashed runs left with it."""

import fcntl
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import psycopg2.extensions
import redis

from loyalty_saas import embedded

STATE = Path(__file__).resolve().parent.parent / ".state" / "test"
# Tests crash servers, but never the machine.
FAST = ("fsync = off", "synchronous_commit = off", "full_page_writes = off")
_ALONE = 4_812_077_136
# A database that stands already, and stays, for many short runs one after the other (tests/mutation_worker.py).
KEPT = "KEPT_DATABASE"


@dataclass(frozen=True)
class Run:
    """Where this run's data lie."""

    server_url: str
    database: str
    redis_url: str
    media: str

    @property
    def database_url(self) -> str:
        """The owner's address of this run's database."""
        return urlunsplit(urlsplit(self.server_url)._replace(path=f"/{self.database}"))

    @property
    def environment(self) -> dict[str, str]:
        """What settings read, in this process and in those that tests start."""
        return {
            "DJANGO_SETTINGS_MODULE": "loyalty_saas.settings",
            "DATABASE_URL": self.database_url,
            "DATABASE_APP_URL": "",
            "REDIS_URL": self.redis_url,
            "MEDIA_ROOT": self.media,
            "SPARE_SCHEMAS": "0",
            "LOG_FORMAT": "json",
            "LOG_LEVEL": "WARNING",
            "EMAIL_BACKEND": "django.core.mail.backends.locmem.EmailBackend",
        }


def choose() -> Run:
    """Servers that were given, or embedded ones of the suite's own, and names that no other run has."""
    database_url, redis_url = os.environ.get("DATABASE_URL"), os.environ.get("REDIS_URL")
    if not (database_url and redis_url):
        servers = embedded.ensure(STATE)
        _hurry(servers.superuser_url)
        database_url = database_url or servers.database_url
        redis_url = redis_url or _own_redis_database(servers.redis_url)
    name = os.environ.get(KEPT) or f"test_{secrets.token_hex(4)}"
    return Run(database_url, name, redis_url, tempfile.mkdtemp(prefix="loyalty-test-media-"))


@contextmanager
def database(run: Run) -> Iterator[None]:
    """The run's empty database, kept from others by an open connection, dropped with its roles at the end."""
    if run.database == os.environ.get(KEPT):
        yield
        return
    with _alone(run) as server:
        for abandoned in _abandoned(server):
            _drop(server, abandoned)
        _execute(server, f'CREATE DATABASE "{run.database}"')
        keeper = psycopg2.connect(run.database_url)
    try:
        yield
    finally:
        keeper.close()
        with _alone(run) as server:
            _drop(server, run.database)


@contextmanager
def _alone(run: Run) -> Iterator[psycopg2.extensions.connection]:
    server = psycopg2.connect(run.server_url)
    server.autocommit = True
    try:
        _execute(server, f"SELECT pg_advisory_lock({_ALONE})")
        yield server
    finally:
        server.close()


def _abandoned(server: psycopg2.extensions.connection) -> list[str]:
    unused = "SELECT datname FROM pg_database d WHERE datname ~ '^test_[0-9a-f]{8}$'"
    unused += " AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datname = d.datname)"
    return [name for (name,) in _execute(server, unused)]


def _drop(server: psycopg2.extensions.connection, name: str) -> None:
    members = "SELECT m.rolname FROM pg_auth_members a JOIN pg_roles m ON m.oid = a.member"
    members += " JOIN pg_roles g ON g.oid = a.roleid WHERE g.rolname = %s AND NOT m.rolcanlogin"
    roles = [role for (role,) in _execute(server, members, [f"{name}_clients"])]
    if _execute(server, "SELECT 1 FROM pg_roles WHERE rolname = %s", [f"{name}_app"]):
        # So that sessions left by killed processes can be ended; WITH (FORCE) fails where autovacuum is at work.
        _execute(server, f'GRANT "{name}_app" TO CURRENT_USER')
    sessions = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s"
    _execute(server, f"{sessions} AND backend_type = 'client backend'", [name])
    _execute(server, f'DROP DATABASE IF EXISTS "{name}"')
    for role in [*roles, f'"{name}_clients"', f'"{name}_app"']:
        _execute(server, f"DROP ROLE IF EXISTS {role}")


def _execute(
    server: psycopg2.extensions.connection, sql: str, params: list[Any] | None = None
) -> list[tuple[Any, ...]]:
    with server.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall() if cursor.description else []


def _hurry(superuser_url: str) -> None:
    server = psycopg2.connect(superuser_url)
    server.autocommit = True
    try:
        if _execute(server, "SHOW fsync") == [("on",)]:
            for setting in FAST:
                _execute(server, f"ALTER SYSTEM SET {setting}")
            _execute(server, "SELECT pg_reload_conf()")
    finally:
        server.close()


def _own_redis_database(url: str) -> str:
    """One of the server's numbered databases, held by a file lock until this process ends."""
    for number in range(1, 16):
        file = (STATE / f"redis-{number}.lock").open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            continue
        _held.append(file)
        own = urlunsplit(urlsplit(url)._replace(path=f"/{number}"))
        redis.Redis.from_url(own).flushdb()
        return own
    raise RuntimeError("Fifteen runs of the suite share this Redis already.")


_held: list[Any] = []
