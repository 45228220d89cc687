"""
Tries against a limit, counted in PostgreSQL: a try is taken before the secret is looked at, and given back after.

Each counter is one row, and each try one statement over it, so that parallel guesses cannot share a try.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connections, transaction
from django.db.models import F, Q
from django.db.models.functions import Greatest

from tenants.context import public_atomic
from tenants.keys import uuid7
from tenants.models import Client, Lockout
from tenants.routers import PUBLIC

LOCK: Final = timedelta(minutes=15)
LONGEST: Final = timedelta(hours=24)
# Nobody has tried for so long that the counter says nothing any more.
FORGOTTEN_AFTER: Final = timedelta(days=30)

_TAKE = """
INSERT INTO tenants_lockout AS kept (id, client_id, subject, tries, level, since, locked_until)
VALUES (%(id)s, %(client)s, %(subject)s, %(cost)s, %(full)s::int, %(at)s, %(first_lock)s)
ON CONFLICT (client_id, subject) DO UPDATE SET (tries, level, since, locked_until) = (
    SELECT counted.tries,
           kept.level + counted.is_full::int,
           CASE WHEN counted.is_new THEN %(at)s ELSE kept.since END,
           CASE WHEN counted.is_full
                THEN %(at)s + LEAST(%(lock)s * power(2, LEAST(kept.level, 12)), GREATEST(%(longest)s, %(lock)s)) END
    FROM (SELECT is_new, before + %(cost)s AS tries, before + 2 * %(cost)s > %(limit)s AS is_full
          FROM (SELECT is_new, CASE WHEN is_new THEN 0 ELSE kept.tries END AS before
                FROM (SELECT kept.locked_until IS NOT NULL
                             OR COALESCE(kept.since + %(window)s::interval <= %(at)s, false) AS is_new) n) b) counted)
WHERE kept.locked_until IS NULL OR kept.locked_until <= %(at)s
RETURNING tries, xmax = 0
"""


class Locked(Exception):
    """There have been too many tries; `until` says when the next one counts, `subject` of whom."""

    def __init__(self, until: datetime, subject: str) -> None:
        super().__init__(f"{subject} until {until.isoformat()}")
        self.until, self.subject = until, subject


@dataclass(frozen=True)
class Try:
    """
    What one try counts against: at most `limit` of them, in a row or within `window`, then a lock that grows.

    A try that guesses more easily may cost more than one.
    """

    subject: str
    limit: int
    window: timedelta | None = None
    lock: timedelta = LOCK
    cost: int = 1


def take_try(
    *,
    client: Client | None,
    subject: str,
    limit: int,
    at: datetime,
    window: timedelta | None = None,
    lock: timedelta = LOCK,
) -> int:
    """
    Take one try, for good unless it is given back or cleared; how many are left after it.

    The lock begins with the last try that is allowed, so that the one after it finds it whatever became of this one.

    :raises Locked: when there is none left; then nothing may be looked at
    """
    return take_tries(client=client, tries=[Try(subject, limit, window=window, lock=lock)], at=at)[0]


def take_tries(*, client: Client | None, tries: Sequence[Try], at: datetime) -> list[int]:
    """
    Take a try of each, or of none; how many are left of each.

    :raises Locked: naming the first that has none left
    """
    # Its own transaction: whatever fails afterwards, the tries have counted.
    with transaction.atomic(using=PUBLIC, durable=True):
        return [_take(one, client=client, at=at) for one in tries]


def clear(*, client: Client | None, subject: str) -> None:
    """Forget all tries and locks of the subject: the secret was right, or somebody in charge says so."""
    with public_atomic():
        Lockout.objects.filter(client=client, subject=subject).delete()


def give_back(*, client: Client | None, subject: str, cost: int = 1) -> None:
    """Give back a try that was no failure, with the lock it began; those before it stay counted."""
    with public_atomic():
        kept = Lockout.objects.filter(client=client, subject=subject)
        kept.filter(locked_until__isnull=False).update(level=Greatest(F("level") - 1, 0))
        kept.update(tries=Greatest(F("tries") - cost, 0), locked_until=None)


def is_locked(*, client: Client | None, subject: str, at: datetime) -> datetime | None:
    """Until when the subject is locked, or None."""
    return locks(client=client, subjects=[subject], at=at).get(subject)


def locks(*, client: Client | None, subjects: Iterable[str], at: datetime) -> dict[str, datetime]:
    """Those of the subjects that are locked, and until when."""
    found = Lockout.objects.filter(client=client, subject__in=list(subjects), locked_until__gt=at)
    return {subject: until for subject, until in found.values_list("subject", "locked_until") if until}


def _take(one: Try, *, client: Client | None, at: datetime) -> int:
    with connections[PUBLIC].cursor() as cursor:
        cursor.execute(_TAKE, _values(one, client=client, at=at))
        row = cursor.fetchone()
    if row is None:
        raise Locked(_until(one, client=client, at=at), one.subject)
    tries, is_new = int(row[0]), row[1]
    if is_new:
        _forget_old(client=client, at=at)
    return max(one.limit - tries, 0) // one.cost


def _values(one: Try, *, client: Client | None, at: datetime) -> dict[str, Any]:
    full = 2 * one.cost > one.limit
    return {
        "id": uuid7(),
        "client": client.pk if client else None,
        "subject": one.subject,
        "cost": one.cost,
        "limit": one.limit,
        "full": full,
        "at": at,
        "first_lock": at + one.lock if full else None,
        "lock": one.lock,
        "longest": LONGEST,
        "window": one.window,
    }


def _until(one: Try, *, client: Client | None, at: datetime) -> datetime:
    until = Lockout.objects.filter(client=client, subject=one.subject).values_list("locked_until", flat=True).first()
    return until or at


def _forget_old(*, client: Client | None, at: datetime) -> None:
    """Counters that nobody has touched for weeks; looked for only when a new one begins."""
    old = at - FORGOTTEN_AFTER
    unlocked = Q(locked_until=None) | Q(locked_until__lt=old)
    left = Lockout.objects.filter(unlocked, client=client, since__lt=old).select_for_update(skip_locked=True)
    Lockout.objects.filter(pk__in=list(left.values_list("pk", flat=True))).delete()
