"""Purchases that wait to be credited, as many as a test likes, by one statement each table."""

from django.db import connections

from tenants.routers import CLIENT


def add_backlog(count: int, *, members: int, lines: int = 1) -> None:
    """So many purchases of new members in turn, each of 100 minor units a line."""
    with connections[CLIENT].cursor() as cursor:
        cursor.execute(_BACKLOG, {"count": count, "members": members, "lines": lines})


_BACKLOG = """
    WITH m AS (
        INSERT INTO members_member (id, number, status, joined_at)
        SELECT new_id(), upper(substr(md5(random()::text), 1, 12)), 'active', now() - interval '1 year'
        FROM generate_series(1, %(members)s) RETURNING id
    ), who AS MATERIALIZED (
        SELECT id, row_number() OVER () - 1 AS place FROM m
    ), bought AS MATERIALIZED (
        SELECT new_id() AS id, n, w.id AS member_id, now() - make_interval(secs => n) AS at
        FROM generate_series(0, %(count)s - 1) AS n JOIN who w ON w.place = n %% %(members)s
    ), p AS (
        INSERT INTO members_purchase (id, kind, document, terminal, channel, source, member_id, currency, amount,
                                      occurred_at, received_at, day, fingerprint)
        SELECT id, 'sale', 'W' || id, '', '', 'test', member_id, 'EUR', 100 * %(lines)s, at, now(), at::date,
               gen_random_uuid()
        FROM bought
    ), l AS (
        INSERT INTO members_purchaseline (id, purchase_id, position, sku, category, quantity, discount, amount, earning,
                                          returned)
        SELECT new_id(), id, line, 'tea', '', 1, 0, 100, true, 0
        FROM bought CROSS JOIN generate_series(1, %(lines)s) AS line
    )
    INSERT INTO members_workitem (source_id, kind, member_id, occurred_at, attempts, error)
    SELECT id, 'purchase', member_id, at, 0, '' FROM bought
"""
