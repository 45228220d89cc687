"""The shop's own log of what its machines asked: written after each answer, kept for a while."""

from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from uuid import UUID

from django.db import connections

from members.models import ApiRequest
from tenants.context import client_connection
from tenants.routers import CLIENT

KEPT = timedelta(days=14)
MOST = 20_000


@dataclass(frozen=True, slots=True)
class Asked:
    """One call as it may be kept: what names a person has been masked by the caller."""

    id: UUID
    at: datetime
    key_prefix: str
    method: str
    path: str
    query: str
    status: int
    milliseconds: int
    body: str
    answer: str
    problem: str


_COLUMNS = [column.name for column in fields(Asked)]


def keep(asked: Asked) -> None:
    """
    Write one call down, in a transaction of its own and in one message, the last one in the client.

    An id that is there already changes nothing.

    A crash may lose the last moment's lines: the log does not make callers wait for the disk.
    """
    connection = client_connection()
    with connection.trusted(), connection.leaving(), connections[CLIENT].cursor() as cursor:
        cursor.execute(_KEEP, {name: getattr(asked, name) for name in _COLUMNS})


def prune(*, at: datetime, most: int = MOST) -> int:
    """Forget what is older than two weeks, and all but the newest; how many lines went."""
    gone, _all = ApiRequest.objects.filter(at__lt=at - KEPT).delete()
    last = ApiRequest.objects.order_by("-at").values_list("at", flat=True)[most : most + 1].first()
    if last is not None:
        gone += ApiRequest.objects.filter(at__lte=last).delete()[0]
    return gone


_KEEP = """
    SET LOCAL synchronous_commit TO off;
    INSERT INTO members_apirequest (id, at, key_prefix, method, path, query, status, milliseconds, body, answer,
                                    problem)
    VALUES (%(id)s, %(at)s, %(key_prefix)s, %(method)s, %(path)s, %(query)s, %(status)s, %(milliseconds)s, %(body)s,
            %(answer)s, %(problem)s)
    ON CONFLICT (id) DO NOTHING
"""
