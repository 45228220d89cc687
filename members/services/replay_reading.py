# ruff: noqa: S608 (put together of our own constants; values travel apart)
"""What a replay reads: members in parts, their purchases and activities in order, all in read-only transactions."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import connections, transaction

from programs.rules import Event, EventKind, Line
from programs.rules.sql import Bounds
from tenants.context import client_connection
from tenants.routers import CLIENT

PART: Final = 25_000
"""About so many purchases are replayed at once."""


@dataclass(frozen=True)
class Span:
    """The days replayed, by the shop's clock; what was received after `until` belongs to no part of it."""

    first: date
    last: date
    until: datetime
    zone: ZoneInfo

    @property
    def values(self) -> dict[str, Any]:
        """The parameters that every statement here takes."""
        return {"first": self.first, "last": self.last, "until": self.until, "zone": self.zone.key}


@dataclass(frozen=True)
class Part:
    """Some members, from one id to another, and how many purchases they made."""

    first: UUID
    last: UUID
    purchases: int

    @property
    def values(self) -> dict[str, Any]:
        """The parameters that name the members."""
        return {"from": self.first, "to": self.last, "some": None}


@dataclass(frozen=True)
class Some:
    """Members by name."""

    ids: Sequence[UUID]

    @property
    def values(self) -> dict[str, Any]:
        """The parameters that name the members."""
        return {"from": None, "to": None, "some": list(self.ids)}


Whom = Part | Some
EVERYBODY: Final = Part(UUID(int=0), UUID(int=2**128 - 1), 0)


class Back(NamedTuple):
    """So much of a sale's line came back, after `before` of it had already."""

    day: date
    sale_id: UUID
    position: int
    sold: Decimal
    before: Decimal
    quantity: Decimal


class Deed(NamedTuple):
    """One purchase or activity of a member, as the rules see it; what a return took back stands in `back`."""

    id: UUID
    member_id: UUID
    document: str
    event: Event | None
    back: tuple[Back, ...]
    counts_as_purchase: bool


@dataclass
class Returned:
    """What came back in the span, by the return, and the sales it came from."""

    by_return: dict[UUID, list[Back]] = field(default_factory=dict)
    sales: set[UUID] = field(default_factory=set)


@contextmanager
def only_reading() -> Iterator[None]:
    """A transaction in which the database itself refuses to write."""
    with transaction.atomic(), client_connection().trusted(), connections[CLIENT].cursor() as cursor:
        cursor.execute("SET TRANSACTION READ ONLY")
        cursor.execute("SET LOCAL work_mem = '64MB'")
        cursor.execute("SET LOCAL random_page_cost = 1.1")
        yield


def parts(span: Span, *, size: int = PART) -> list[Part]:
    """Members in parts of about so many purchases, in the order of their ids."""
    with only_reading(), connections[CLIENT].cursor() as cursor:
        cursor.execute(_SELECT_PARTS, {**span.values, "size": size})
        return [Part(UUID(first), UUID(last), int(count)) for first, last, count in cursor.fetchall()]


def days(span: Span, *, size: int = PART) -> list[tuple[Span, int]]:
    """The span in stretches of about so many purchases, for rules that look at all members at once."""
    with only_reading(), connections[CLIENT].cursor() as cursor:
        cursor.execute(_SELECT_STRETCHES, {**span.values, "size": size})
        return [(Span(first, last, span.until, span.zone), int(count)) for first, last, count in cursor.fetchall()]


def counted(span: Span) -> tuple[int, int, int]:
    """How many purchases, of them returns, and activities the span holds."""
    with only_reading(), connections[CLIENT].cursor() as cursor:
        cursor.execute(_COUNT, span.values)
        return cursor.fetchone()  # type: ignore[no-any-return]


def bounds() -> Bounds:
    """What all sales add up to."""
    with only_reading(), connections[CLIENT].cursor() as cursor:
        cursor.execute(_SELECT_BOUNDS)
        amount, pieces, lines = cursor.fetchone()
    return Bounds(int(amount), int(pieces), int(lines))


def in_python_only(whom: Whom, span: Span) -> list[UUID]:
    """Members whose returns, purchases paid by points, visits or paid trips only the Python form follows."""
    with connections[CLIENT].cursor() as cursor:
        cursor.execute(_SELECT_HARD, {**span.values, **whom.values})
        return [member_id for (member_id,) in cursor.fetchall()]


def returned(whom: Whom, span: Span) -> Returned:
    """What came back."""
    found = Returned()
    with connections[CLIENT].cursor() as cursor:
        cursor.execute(_SELECT_RETURNED, {**span.values, **whom.values})
        for return_id, *match in cursor.fetchall():
            back = Back(*match)
            found.by_return.setdefault(return_id, []).append(back)
            found.sales.add(back.sale_id)
    return found


def deeds(
    whom: Whom,
    span: Span,
    *,
    back: Returned,
    but: Sequence[UUID] = (),
    only_activities: bool = False,
    most: int | None = None,
) -> Iterator[Deed]:
    """Purchases and activities in order of occurrence, without those of members in `but`; the first `most` of them."""
    selects = [_ACTIVITIES] if only_activities else [_PURCHASES, _ACTIVITIES]
    sql = f"""
        WITH {_OWNERS}, deeds AS ({" UNION ALL ".join(selects)} ORDER BY occurred_at, id LIMIT %(most)s)
        SELECT d.*, {_LINES_OF} FROM deeds d ORDER BY d.occurred_at, d.id
    """
    with connections[CLIENT].cursor() as cursor:
        cursor.execute(sql, {**span.values, **whom.values, "but": list(but), "most": most})
        for row in cursor:
            yield _deed(row, span.zone, back)


def known_of(whom: Whom, span: Span) -> dict[UUID, tuple[str, str, int]]:
    """The tier, the segment and the purchases before the span, of members who have any."""
    with connections[CLIENT].cursor() as cursor:
        cursor.execute(_SELECT_KNOWN, {**span.values, **whom.values})
        return {member_id: (tier, segment, earlier) for member_id, tier, segment, earlier in cursor.fetchall()}


def _deed(row: tuple[Any, ...], zone: ZoneInfo, back: Returned) -> Deed:
    (id_, member_id, kind, document, occurred_at, day, amount, paid, channel, location, activity, properties,
     lines) = row  # fmt: skip
    if kind in {"return", "void"}:
        return Deed(id_, member_id, document, None, tuple(back.by_return.get(id_, ())), False)
    event = Event(
        kind=_kind(kind, activity),
        local=occurred_at.astimezone(zone),
        day=day,
        amount=amount,
        lines=tuple(_line(one) for one in json.loads(lines)) if lines else (),
        location=location,
        channel=channel,
        activity=activity,
        properties=_properties(properties),
        paid_by_points=paid,
    )
    return Deed(id_, member_id, document, event, (), kind == "activity" and amount > 0)


def _kind(kind: str, activity: str) -> EventKind:
    if kind == "sale":
        return "sale"
    return activity if activity in {"sign_up", "birthday"} else "activity"  # type: ignore[return-value]


def _line(one: Sequence[Any]) -> Line:
    position, sku, category, quantity, amount, earning = one
    return Line(position, sku, category, Decimal(quantity), amount, earning)


def _properties(text: str | None) -> Mapping[str, Decimal | str]:
    if not text or text == "{}":
        return {}
    return {k: v if isinstance(v, str) else Decimal(str(v)) for k, v in json.loads(text).items()}


# A double's deeds are those of the member it was merged into.
_OWNERS: Final = """
    owners AS (
        SELECT m.id AS by, COALESCE(m.merged_into_id, m.id) AS id FROM members_member m
        WHERE m.id BETWEEN %(from)s::uuid AND %(to)s::uuid AND m.merged_into_id IS NULL
           OR m.merged_into_id BETWEEN %(from)s::uuid AND %(to)s::uuid
           OR m.id = ANY(%(some)s::uuid[]) OR m.merged_into_id = ANY(%(some)s::uuid[])
    )
"""
_IN_SPAN: Final = "p.day BETWEEN %(first)s AND %(last)s AND p.received_at <= %(until)s"
_PURCHASES: Final = f"""
    SELECT p.id, w.id AS member_id, p.kind, p.document, p.occurred_at, p.day, p.amount, p.paid_by_points, p.channel,
           COALESCE(o.code, '') AS location, '' AS activity, NULL AS properties
    FROM owners w JOIN members_purchase p ON p.member_id = w.by LEFT JOIN programs_location o ON o.id = p.location_id
    WHERE {_IN_SPAN} AND NOT w.id = ANY(%(but)s::uuid[])
"""
_ACTIVITIES: Final = f"""
    SELECT p.id, w.id AS member_id, 'activity' AS kind, p.reference, p.occurred_at, p.day, p.amount, 0, p.channel,
           COALESCE(o.code, '') AS location, p.kind AS activity, p.properties::text AS properties
    FROM owners w JOIN members_activity p ON p.member_id = w.by LEFT JOIN programs_location o ON o.id = p.location_id
    WHERE {_IN_SPAN} AND NOT w.id = ANY(%(but)s::uuid[])
"""
_LINES_OF: Final = """
    CASE WHEN d.kind = 'sale' THEN (
        SELECT json_agg(json_build_array(l.position, l.sku, l.category, l.quantity::text, l.amount, l.earning)
                        ORDER BY l.position)::text
        FROM members_purchaseline l WHERE l.purchase_id = d.id) END
"""
_BEFORE: Final = """
    before AS (
        SELECT w.id, sum(b.n + a.n)::integer AS n
        FROM owners w
        CROSS JOIN LATERAL (SELECT count(*) AS n FROM members_purchase p
                            WHERE p.member_id = w.by AND p.kind = 'sale' AND p.day < %(first)s) b
        CROSS JOIN LATERAL (SELECT count(*) AS n FROM members_activity p
                            WHERE p.member_id = w.by AND p.amount > 0 AND p.day < %(first)s) a
        GROUP BY w.id
    )
"""
_ORDER: Final = "PARTITION BY w.id ORDER BY p.occurred_at, p.id"


def relations(*, first_purchase: bool, visits: bool) -> str:
    """The relations that the SQL form of rules reads; what no rule asks about is not looked up."""
    earlier = f"row_number() OVER ({_ORDER}) - 1 + COALESCE(before.n, 0)" if first_purchase else "0"
    last_visit = f"max(p.day) OVER ({_ORDER} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"
    return f"""
    {_OWNERS}{f", {_BEFORE}" if first_purchase else ""}, sales AS (
        SELECT p.id, w.id AS member_id, p.occurred_at, p.occurred_at AT TIME ZONE %(zone)s AS local, p.day, p.amount,
               COALESCE(o.code, '') AS location, p.channel, COALESCE(t.tier, '') AS tier,
               COALESCE(NULLIF(i.segment, ''), 'none') AS segment, {earlier} AS earlier,
               {last_visit if visits else "NULL::date"} AS last_visit
        FROM owners w JOIN members_purchase p ON p.member_id = w.by
        LEFT JOIN programs_location o ON o.id = p.location_id
        LEFT JOIN members_tierstatus t ON t.member_id = w.id
        LEFT JOIN members_insight i ON i.member_id = w.id
        {"LEFT JOIN before ON before.id = w.id" if first_purchase else ""}
        WHERE p.kind = 'sale' AND {_IN_SPAN} AND NOT w.id = ANY(%(but)s::uuid[])
    ), lines AS (
        SELECT l.purchase_id AS sale_id, l.position, l.sku, l.category, l.quantity, l.amount,
               l.earning OR %(gift_cards)s AS earning
        FROM sales s JOIN members_purchaseline l ON l.purchase_id = s.id
    )"""


_SELECT_PARTS: Final = f"""
    WITH bought AS (
        SELECT COALESCE(m.merged_into_id, m.id) AS id, sum(n.done) AS done, sum(n.purchases) AS purchases
        FROM (SELECT p.member_id, count(*) AS done, count(*) AS purchases FROM members_purchase p
              WHERE {_IN_SPAN} GROUP BY p.member_id
              UNION ALL
              SELECT p.member_id, count(*), 0 FROM members_activity p WHERE {_IN_SPAN} GROUP BY p.member_id) n
        JOIN members_member m ON m.id = n.member_id GROUP BY 1
    ), placed AS (
        SELECT id, purchases, (sum(done) OVER (ORDER BY id) / %(size)s)::bigint AS part FROM bought
    )
    SELECT min(id::text), max(id::text), sum(purchases) FROM placed GROUP BY part ORDER BY part
"""
_SELECT_STRETCHES: Final = f"""
    WITH done AS (
        SELECT day, sum(n) AS n, sum(purchases) AS purchases
        FROM (SELECT p.day, count(*) AS n, count(*) AS purchases FROM members_purchase p WHERE {_IN_SPAN} GROUP BY p.day
              UNION ALL
              SELECT p.day, count(*), 0 FROM members_activity p WHERE {_IN_SPAN} GROUP BY p.day) one GROUP BY day
    ), placed AS (
        SELECT day, purchases, (sum(n) OVER (ORDER BY day) / %(size)s)::bigint AS part FROM done
    )
    SELECT min(day), max(day), sum(purchases) FROM placed GROUP BY part ORDER BY part
"""
_COUNT: Final = f"""
    SELECT (SELECT count(*) FROM members_purchase p WHERE {_IN_SPAN}),
           (SELECT count(*) FROM members_purchase p WHERE {_IN_SPAN} AND p.kind <> 'sale'),
           (SELECT count(*) FROM members_activity p WHERE {_IN_SPAN})
"""
# Over all there ever was, which is never less than the span and quicker to add up.
_SELECT_BOUNDS: Final = """
    SELECT p.amount + l.amount, l.pieces, p.n + l.n
    FROM (SELECT COALESCE(sum(abs(amount)), 0) AS amount, count(*) AS n FROM members_purchase) p,
         (SELECT COALESCE(sum(abs(amount)), 0) AS amount, COALESCE(sum(abs(quantity)) * 1000, 0) AS pieces,
                 count(*) AS n FROM members_purchaseline) l
"""
_SELECT_HARD: Final = f"""
    WITH {_OWNERS}
    SELECT w.id FROM owners w JOIN members_purchase p ON p.member_id = w.by
    WHERE {_IN_SPAN} AND (p.kind <> 'sale' OR p.paid_by_points > 0)
    UNION
    SELECT w.id FROM owners w JOIN members_activity p ON p.member_id = w.by
    WHERE {_IN_SPAN} AND (p.amount > 0 OR p.kind = 'visit')
"""
_SELECT_RETURNED: Final = f"""
    WITH {_OWNERS}
    SELECT p.id, p.day, s.purchase_id, s.position, s.quantity, m.before, m.quantity
    FROM owners w JOIN members_purchase p ON p.member_id = w.by AND p.kind <> 'sale'
    JOIN members_purchaseline l ON l.purchase_id = p.id
    JOIN members_returnmatch m ON m.return_line_id = l.id
    JOIN members_purchaseline s ON s.id = m.sale_line_id
    WHERE {_IN_SPAN}
"""
_SELECT_KNOWN: Final = f"""
    WITH {_OWNERS}, {_BEFORE}
    SELECT w.id, COALESCE(t.tier, ''), COALESCE(i.segment, ''), COALESCE(before.n, 0)
    FROM (SELECT DISTINCT id FROM owners) w LEFT JOIN before ON before.id = w.id
    LEFT JOIN members_tierstatus t ON t.member_id = w.id LEFT JOIN members_insight i ON i.member_id = w.id
"""
