"""Proofs of a client's books: every law asked, every derived table rebuilt and compared, the console told."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import structlog
from django.db import transaction

from members.queries.invariants import LAWS, Breach, Law, breaches
from members.queries.rebuild import DERIVED, Compared, Counted, compare, compare_tiers
from programs.queries import NoProgram, program_in_force
from rewards.queries import LAWS as REWARDS_LAWS
from tenants.context import client_connection, current_client, public_atomic
from tenants.models import Client, KpiDay, LedgerCheck
from tenants.routers import CLIENT

log = structlog.get_logger(__name__)

# Days whose counted figures are compared.
COUNTED_DAYS: Final = 35


@dataclass(frozen=True)
class Proof:
    """What one proof found: how many laws were asked over how many entries, and what does not hold."""

    laws: int
    entries: int
    breaches: tuple[Breach, ...]
    tables: tuple[Compared, ...]
    milliseconds: int

    @property
    def broken(self) -> dict[str, int]:
        """What does not hold, by name, and how many rows break it."""
        differing = {one.name: max(one.different, 1) for one in self.tables if not one.is_same}
        return {one.name: one.rows for one in self.breaches} | differing

    @property
    def asked(self) -> int:
        """How many things were asked: laws, and tables compared."""
        return self.laws + len(self.tables)


def laws() -> tuple[Law, ...]:
    """The laws of all floors."""
    return LAWS + REWARDS_LAWS


def prove(*, at: datetime, whole: bool = True) -> Proof:
    """
    Ask all laws and compare all derived tables in one unmoving view of the client we stand in; changes nothing.

    Unless `whole`, of very many members only the day's share has its tiers judged anew.
    """
    client, began = current_client(), time.monotonic()
    counted = _counted(client)
    with _still_books() as cursor:
        cursor.execute("SELECT count(*) FROM members_ledgerentry")
        (entries,) = cursor.fetchone()
        found = tuple(breaches(cursor=cursor, laws=laws(), zone=client.time_zone, at=at))
        tables = [
            *compare(cursor=cursor, tables=DERIVED, zone=client.time_zone, counted=counted),
            *_tiers(client, day=None if whole else at.date()),
        ]
    return Proof(len(laws()), entries, found, tuple(tables), round(1000 * (time.monotonic() - began)))


def prove_and_tell(*, at: datetime, whole: bool = True) -> Proof:
    """Prove the books of the client we stand in and tell the console, in names and numbers alone."""
    client, found = current_client(), prove(at=at, whole=whole)
    told = {
        "checked_at": at,
        "checks": found.asked,
        "broken": found.broken,
        "entries": found.entries,
        "milliseconds": found.milliseconds,
    }
    with public_atomic():
        LedgerCheck.objects.update_or_create(client=client, defaults=told if found.broken else {**told, "held_at": at})
    say = log.error if found.broken else log.info
    say(
        "books.broken" if found.broken else "books.proven", broken=found.broken, laws=found.asked, entries=found.entries
    )
    return found


def _tiers(client: Client, *, day: date | None = None) -> Iterator[Compared]:
    with suppress(NoProgram):
        program = program_in_force()
        if program.spec.tiers is not None:
            yield compare_tiers(program=program, zone=ZoneInfo(client.time_zone), day=day)


def _counted(client: Client) -> list[Counted]:
    rows = KpiDay.objects.filter(client=client).order_by("-day")[:COUNTED_DAYS]
    return [Counted(row.day, row.outstanding, row.counted_at) for row in rows]


@contextmanager
def _still_books() -> Iterator[Any]:
    """A cursor that sees the books as they are now, whatever happens meanwhile, and can change nothing."""
    connection = client_connection()
    with transaction.atomic(using=CLIENT), connection.cursor() as cursor:
        with connection.trusted():
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield cursor
