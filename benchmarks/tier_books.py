"""A client with many members and their purchases, written set-based, to settle tiers in."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connections, transaction

from benchmarks import shops
from loyalty_saas.flows import programs
from members.services import tiers
from programs.queries import program_in_force
from tenants.context import current_client
from tenants.routers import CLIENT, OWNER

MEMBERS = 100_000
PURCHASES = 400_000
DAYS = 380
# 17,090 of a million members, as was measured.
OF_A_DAY = 0.01709
BEGAN = shops.NOON - timedelta(days=DAYS)


@contextmanager
def books(name: str) -> Iterator[None]:
    """A client whose members have bought for somewhat more than a year, and whose tiers have been settled once."""
    with shops.client(name):
        programs.publish(document=shops.PROGRAM, at=BEGAN)
        _write(_MEMBERS, {"n": MEMBERS, "at": BEGAN})
        _write(_PURCHASES, {"n": PURCHASES, "at": BEGAN, "seconds": DAYS * 86400 - 3600})
        _tidy("members_member", "members_purchase")
        settle(shops.NOON)
        _tidy("members_tierstatus")
        yield


def settle(at: datetime) -> None:
    """All tiers, as the night does."""
    tiers.settle_all(program=program_in_force(), at=at)


def bare_sum(at: datetime) -> None:
    """What each member spent in the twelve months before, and nothing else, from the same index, by one process."""
    # The application's own cursor refuses SET; what settles tiers runs in one process too, since it writes.
    with transaction.atomic(), connections[CLIENT].cursor(), connections[CLIENT].connection.cursor() as bare:
        bare.execute("SET LOCAL max_parallel_workers_per_gather = 0")
        bare.execute(_BARE, [at - timedelta(days=365), at])


def buy(at: datetime) -> list[UUID]:
    """One purchase of each member of a day; who they are."""
    _write(_DAY, {"share": OF_A_DAY, "at": at})
    with connections[CLIENT].cursor() as cursor:
        cursor.execute("SELECT member_id FROM members_purchase WHERE occurred_at = %s", [at])
        return [member_id for (member_id,) in cursor.fetchall()]


def settle_some(*, member_ids: list[UUID], at: datetime) -> None:
    """The tiers of these members, as crediting does in batches of 500."""
    program = program_in_force()
    for start in range(0, len(member_ids), 500):
        part = member_ids[start : start + 500]
        as_of = dict.fromkeys(part, at)
        with transaction.atomic():
            tiers.settle(member_ids=part, as_of=as_of, earliest=as_of, program=program)


def _write(statement: str, values: dict[str, Any]) -> None:
    """As the owner, with the triggers off: it is not crediting that is measured."""
    connections[OWNER].set_schema(current_client().schema_name)
    with connections[OWNER].cursor() as cursor:
        for table in ("members_member", "members_purchase"):
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        cursor.execute(statement, values)
        for table in ("members_member", "members_purchase"):
            cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


def _tidy(*tables: str) -> None:
    connections[OWNER].set_schema(current_client().schema_name)
    with connections[OWNER].cursor() as cursor:
        for table in tables:
            cursor.execute(f"VACUUM (ANALYZE) {table}")


_MEMBERS = """
    INSERT INTO members_member (id, number, status, joined_at)
    SELECT md5('m' || i)::uuid, 'M' || i, 'active', %(at)s FROM generate_series(1, %(n)s) AS r(i)
"""
# Half of the purchases are of a tenth of the members. Every fiftieth is a return of the one before.
_PURCHASES = """
    INSERT INTO members_purchase (id, kind, document, source, channel, terminal, member_id, sale_id, sale_document,
                                  currency, amount, paid_by_points, occurred_at, received_at, day, fingerprint)
    SELECT md5('p' || i)::uuid, CASE WHEN i %% 50 = 0 THEN 'return' ELSE 'sale' END, 'D' || i, 'bench', '', '',
           md5('m' || 1 + who %% (CASE WHEN who %% 2 = 0 THEN n / 10 ELSE n END))::uuid,
           CASE WHEN i %% 50 = 0 THEN md5('p' || i - 1)::uuid END, '', 'EUR',
           CASE WHEN i %% 50 = 0 THEN -1000 ELSE 1000 + abs(hashint8(i)) %% 30000 END, 0, moment, moment,
           (moment AT TIME ZONE 'UTC')::date, md5('f' || i)::uuid
    FROM (SELECT i, 100000::bigint AS n, abs(hashint8(i - CASE WHEN i %% 50 = 0 THEN 1 ELSE 0 END)::bigint) AS who,
                 %(at)s::timestamptz + make_interval(secs => i::float8 * %(seconds)s / %(n)s) AS moment
          FROM generate_series(1, %(n)s::bigint) AS r(i)) AS one
"""
_DAY = """
    INSERT INTO members_purchase (id, kind, document, source, channel, terminal, member_id, sale_document, currency,
                                  amount, paid_by_points, occurred_at, received_at, day, fingerprint)
    SELECT md5(m.id::text || %(at)s)::uuid, 'sale', m.number || %(at)s::timestamptz::date, 'bench', '', '', m.id, '',
           'EUR', 1500, 0, %(at)s, %(at)s, %(at)s::timestamptz::date, md5(m.number)::uuid
    FROM members_member m WHERE abs(hashtext(m.id::text || %(at)s)) %% 100000 < %(share)s * 100000
"""
_BARE = """
    SELECT count(*), max(total) FROM (
        SELECT member_id, sum(amount) AS total FROM members_purchase
        WHERE occurred_at > %s AND occurred_at <= %s GROUP BY member_id
    ) AS bare
"""
