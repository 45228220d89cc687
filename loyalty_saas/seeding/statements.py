# ruff: noqa: S608 (put together of our own constants; values travel apart)
"""
The statements that write one slice of members with their past, in the order in which they run.

Chance is a hash of a number, so it comes out the same each time; ids carry the moment, as those made one by one do.
The rules of the template `retail` are worked out here as `programs.rules` would; a test holds the books to the laws.
"""

from typing import Final


def _chance(of: str, about: int) -> str:
    """A number from 0 up to 1, another for each thing it is `about`."""
    hashed = f"hashint8extended(({of})::bigint, (%(seed)s + {about})::bigint)"
    return f"((({hashed} >> 16) & 4294967295)::float8 / 4294967296.0)"


def _id(at: str, of: str) -> str:
    """A UUID of version 7 for that moment."""
    mark = f"md5(%(salt)s || {of})"
    moment = f"lpad(to_hex((extract(epoch FROM {at}) * 1000)::bigint), 12, '0')"
    return f"({moment} || '7' || substr({mark}, 1, 3) || '8' || substr({mark}, 4, 15))::uuid"


def _one_of(names: str, chance: str) -> str:
    return f"(%({names})s::text[])[1 + floor({chance} * cardinality(%({names})s::text[]))::integer]"


_MEMBER: Final = f"""
    member AS (
        SELECT i, joined, sales, last_day, number, {_id("joined", "'m' || i")} AS id
        FROM unnest(%(i)s::integer[], %(joined)s::timestamptz[], %(number)s::text[], %(sales)s::integer[],
                    %(last_day)s::date[]) AS r(i, joined, number, sales, last_day)
    )"""
_IN_SLICE: Final = f"""
    slice AS (
        SELECT min(id::text)::uuid AS first, max(id::text)::uuid AS last, min(account::text)::uuid AS first_account,
               max(account::text)::uuid AS last_account
        FROM (SELECT id, {_id("joined", "'a' || i")} AS account FROM member) AS one
    )"""

_MEMBERS: Final = f"""
    WITH {_MEMBER}
    INSERT INTO members_member (id, number, status, joined_at) SELECT id, number, 'active', joined FROM member
"""
_IDENTITIES: Final = f"""
    WITH {_MEMBER}
    INSERT INTO members_identity (member_id, name, birthday, language)
    SELECT id, {_one_of("given_names", _chance("i", 1))} || ' ' || {_one_of("family_names", _chance("i", 2))},
           CASE WHEN {_chance("i", 3)} < 0.5 THEN date '1948-01-01' + floor({_chance("i", 4)} * 21000)::integer END, ''
    FROM member
"""
_IDENTIFIERS: Final = f"""
    WITH {_MEMBER}
    INSERT INTO members_identifier (id, member_id, kind, value)
    SELECT {_id("joined", "kind || i")}, id, kind, value
    FROM member CROSS JOIN LATERAL (VALUES
        ('phone', '+49151' || (10000000 + i), {_chance("i", 5)} < 0.85),
        ('email', 'member.' || i || '@example.com', {_chance("i", 6)} < 0.6),
        ('card', '4000' || lpad(i::text, 8, '0'), {_chance("i", 5)} >= 0.85 OR {_chance("i", 7)} < 0.3)
    ) AS way(kind, value, has) WHERE has
"""
_CONSENTS: Final = f"""
    WITH {_MEMBER}
    INSERT INTO members_consent (id, member_id, purpose, granted, text_version, source, at)
    SELECT {_id("joined", "'c' || i")}, id, 'marketing', {_chance("i", 8)} < 0.55, '2026-01', 'seed', joined FROM member
"""
_SIGN_UPS: Final = f"""
    WITH {_MEMBER}
    INSERT INTO members_activity (id, kind, reference, member_id, channel, source, amount, properties, occurred_at,
                                  received_at, day, fingerprint)
    SELECT {_id("joined", "'j' || i")}, 'sign_up', id, id, '', 'seed', 0, '{{}}', joined, joined,
           (joined AT TIME ZONE %(zone)s)::date,
           substr(encode(sha256(convert_to('{{"amount": 0, "member": "' || id || '", "properties": {{}}}}', 'UTF8')),
                         'hex'), 1, 32)::uuid
    FROM member
"""
_SIGN_UP_TRACES: Final = f"""
    WITH {_MEMBER}
    INSERT INTO members_ruletrace (source_id, rule_id, result, amount, line_amounts, reason, detail)
    SELECT {_id("joined", "'j' || i")}, %(welcome)s, 'fired', 50, '{{}}', '', '{{}}' FROM member
"""
_ACCOUNTS: Final = f"""
    WITH {_MEMBER}
    INSERT INTO members_pointsaccount (id, member_id, unit_id, balance, in_lots, debt, may_owe)
    SELECT {_id("joined", "'a' || i")}, id, %(unit)s, 0, 0, 0, true FROM member
"""

# Monday to Sunday, and from nine in the morning to seven in the evening, as shares added up.
_WEEKDAYS: Final = "ARRAY[0.13, 0.26, 0.40, 0.55, 0.74, 0.97]::float8[]"
_HOURS: Final = "ARRAY[0.05, 0.13, 0.24, 0.36, 0.44, 0.51, 0.60, 0.72, 0.86, 0.96]::float8[]"
_SALE: Final = f"""
    sale AS (
        SELECT m.id AS member_id, m.i, j, m.i::bigint * 100000 + j AS k, last_day,
               (joined AT TIME ZONE %(zone)s)::date AS first_day,
               (joined AT TIME ZONE %(zone)s)::date + floor(
                   (j - 1 + {_chance("m.i::bigint * 100000 + j", 10)}) / m.sales
                   * (last_day - (joined AT TIME ZONE %(zone)s)::date))::integer AS about
        FROM member m CROSS JOIN LATERAL generate_series(1, m.sales) AS r(j)
    ), placed AS (
        SELECT *, CASE WHEN j = 1 THEN first_day ELSE greatest(first_day, least(last_day,
                       date_trunc('week', about)::date + width_bucket({_chance("k", 11)}, {_WEEKDAYS}))) END AS day
        FROM sale
    ), timed AS (
        SELECT *, (day + make_interval(hours => 9 + width_bucket({_chance("k", 12)}, {_HOURS}),
                                       secs => floor({_chance("k", 13)} * 3600000) / 1000.0))
                  AT TIME ZONE %(zone)s AS at
        FROM placed
    ), priced AS (
        SELECT *, least(100000, greatest(150, round(exp(
                   7.85 + 0.65 * sqrt(-2 * ln(1 - {_chance("k", 14)})) * cos(2 * pi() * {_chance("k", 15)})
                        + 0.35 * sqrt(-2 * ln(1 - {_chance("i", 16)})) * cos(2 * pi() * {_chance("i", 17)})))))::bigint
               AS amount, {_chance("k", 18)} < 0.14 AS online,
               1 + floor(power(CASE WHEN {_chance("k", 19)} < 0.88 THEN {_chance("i", 20)} ELSE {_chance("k", 21)} END,
                               1.5) * cardinality(%(shops)s::uuid[]))::integer AS shop
        FROM timed
    )"""
_PURCHASES: Final = f"""
    WITH {_MEMBER}, {_SALE}
    INSERT INTO members_purchase (id, kind, document, location_id, terminal, channel, source, member_id, currency,
                                  amount, occurred_at, received_at, day, fingerprint)
    SELECT {_id("at", "'p' || k")}, 'sale', 'S' || k,
           CASE WHEN online THEN %(web)s::uuid ELSE (%(shops)s::uuid[])[shop] END, '',
           CASE WHEN online THEN 'online' ELSE 'store' END, 'seed', member_id, %(currency)s, amount, at, at, day,
           substr(encode(sha256(convert_to(
               concat_ws(chr(10), 'sale', member_id, %(currency)s, amount, ''), 'UTF8')), 'hex'), 1, 32)::uuid
    FROM priced
"""
_LINES: Final = f"""
    WITH {_MEMBER}, {_IN_SLICE}, sold AS (
        SELECT p.id, p.occurred_at, p.amount, substr(p.document, 2)::bigint AS k,
               1 + ({_chance("substr(p.document, 2)::bigint", 30)} < 0.45)::integer
                 + ({_chance("substr(p.document, 2)::bigint", 30)} < 0.18)::integer AS n
        FROM members_purchase p WHERE p.member_id BETWEEN (SELECT first FROM slice) AND (SELECT last FROM slice)
    ), line AS (
        SELECT sold.*, position, floor(amount * power(position::float8 / n, 0.7))::bigint
                       - floor(amount * power((position - 1)::float8 / n, 0.7))::bigint AS part,
               1 + ({_chance("k * 4 + position", 31)} < 0.15)::integer AS pieces,
               1 + floor(power({_chance("k * 4 + position", 32)}, 1.6) * cardinality(%(skus)s::text[]))::integer AS item
        FROM sold CROSS JOIN LATERAL generate_series(1, n) AS r(position)
    )
    INSERT INTO members_purchaseline (id, purchase_id, position, sku, category, quantity, unit_price, discount, amount,
                                      earning, returned)
    SELECT {_id("occurred_at", "'l' || k || '.' || position")}, id, position, (%(skus)s::text[])[item],
           (%(categories)s::text[])[item], pieces, round(part / 100.0 / pieces, 4), 0, part, true, 0
    FROM line
"""

# What the rules see: the sum so far, which sale it is, and the tier that the last twelve months had brought before it.
_HISTORY: Final = f"""
    {_IN_SLICE}, bought AS (
        SELECT p.id, p.member_id, p.occurred_at, p.amount, row_number() OVER w AS nth,
               (sum(p.amount) OVER w)::bigint AS total,
               (sum(p.amount) OVER (PARTITION BY p.member_id ORDER BY p.occurred_at
                                    RANGE BETWEEN INTERVAL '1 year' PRECEDING AND CURRENT ROW))::bigint AS basis,
               p.occurred_at AT TIME ZONE %(zone)s AS local
        FROM members_purchase p WHERE p.member_id BETWEEN (SELECT first FROM slice) AND (SELECT last FROM slice)
        WINDOW w AS (PARTITION BY p.member_id ORDER BY p.occurred_at, p.id)
    ), judged AS (
        SELECT *, CASE WHEN basis >= %(gold_from)s THEN 'gold' WHEN basis >= %(silver_from)s THEN 'silver'
                       WHEN basis >= %(bronze_from)s THEN 'bronze' ELSE '' END AS tier,
               total / 100 - (total - amount) / 100 AS points,
               extract(isodow FROM local) IN (2, 3)
                   AND local::time >= time '14:00' AND local::time < time '17:00' AS quiet
        FROM bought
    ), history AS (
        SELECT *, COALESCE(lag(tier) OVER (PARTITION BY member_id ORDER BY occurred_at, id), '') AS held FROM judged
    ), outcome AS (
        SELECT h.id, h.member_id, h.occurred_at, h.amount AS paid, r.rule_id, r.points, r.reason
        FROM history h CROSS JOIN LATERAL (VALUES
            (%(spend)s::uuid, h.points, 'too_small'),
            (%(first_purchase)s::uuid, CASE WHEN nth = 1 AND amount >= 2000 THEN 50 ELSE 0 END,
             CASE WHEN nth = 1 THEN 'condition:amount' ELSE 'condition:first_purchase' END),
            (%(quiet_afternoons)s::uuid, CASE WHEN quiet THEN h.points ELSE 0 END,
             CASE WHEN quiet THEN 'too_small' ELSE 'outside_schedule' END),
            (%(bronze_bonus)s::uuid, CASE held WHEN 'bronze' THEN h.points / 10 ELSE 0 END,
             CASE held WHEN 'bronze' THEN 'too_small' ELSE 'condition:tier' END),
            (%(silver_bonus)s::uuid, CASE held WHEN 'silver' THEN h.points / 4 ELSE 0 END,
             CASE held WHEN 'silver' THEN 'too_small' ELSE 'condition:tier' END),
            (%(gold_bonus)s::uuid, CASE held WHEN 'gold' THEN h.points / 2 ELSE 0 END,
             CASE held WHEN 'gold' THEN 'too_small' ELSE 'condition:tier' END)
        ) AS r(rule_id, points, reason)
    )"""
_TRACES: Final = f"""
    WITH {_MEMBER}, {_HISTORY}
    INSERT INTO members_ruletrace (source_id, rule_id, result, amount, line_amounts, reason, detail)
    SELECT o.id, o.rule_id, CASE WHEN points > 0 THEN 'fired' ELSE 'not_eligible' END, points,
           CASE WHEN points > 0 THEN (
               SELECT array_agg(o.points * reached / o.paid - o.points * (reached - amount) / o.paid ORDER BY position)
               FROM (SELECT l.position, l.amount, (sum(l.amount) OVER (ORDER BY l.position))::bigint AS reached
                     FROM members_purchaseline l WHERE l.purchase_id = o.id) AS part
           ) ELSE '{{}}' END,
           CASE WHEN points > 0 THEN '' ELSE reason END, '{{}}'
    FROM outcome o
"""
# Half of the members take the reward whenever they have collected its price.
_ENTRIES: Final = f"""
    WITH {_MEMBER}, {_HISTORY}, credit AS (
        SELECT member_id, id AS purchase_id, NULL::uuid AS activity_id, occurred_at, sum(points)::bigint AS amount
        FROM outcome GROUP BY id, member_id, occurred_at HAVING sum(points) > 0
        UNION ALL SELECT id, NULL, {_id("joined", "'j' || i")}, joined, 50 FROM member
    ), earned AS (
        SELECT a.id AS account_id, c.*, COALESCE(purchase_id, activity_id) AS source_id,
               c.occurred_at + interval '2 seconds' AS at,
               {_id("(c.occurred_at + interval '2 seconds')", "'e' || COALESCE(purchase_id, activity_id)::text")} AS id
        FROM credit c JOIN members_pointsaccount a ON a.member_id = c.member_id AND a.unit_id = %(unit)s
        WHERE a.id BETWEEN (SELECT first_account FROM slice) AND (SELECT last_account FROM slice)
    ), reached AS (
        SELECT *, (sum(amount) OVER (PARTITION BY account_id ORDER BY id))::bigint AS total FROM earned
    ), spent AS (
        SELECT account_id, nth, at + interval '3 minutes' + nth * interval '1 second' AS at
        FROM reached CROSS JOIN LATERAL generate_series((total - amount) / %(price)s + 1, total / %(price)s) AS r(nth)
        WHERE hashtextextended(account_id::text, %(seed)s::bigint) & 1 = 0
    ), moved AS (
        SELECT id, account_id, 'earn' AS kind, amount, 'earn:' || source_id || ':points' AS key, purchase_id,
               activity_id, occurred_at, at
        FROM reached
        UNION ALL
        SELECT {_id("at", "'s' || account_id || nth")}, account_id, 'spend', -%(price)s,
               'spend:' || {_id("at", "'h' || account_id || nth")}, NULL, NULL, at, at
        FROM spent
    )
    INSERT INTO members_ledgerentry (id, account_id, kind, amount, balance_after, key, purchase_id, activity_id, reason,
                                     occurred_at, at)
    SELECT id, account_id, kind, amount, sum(amount) OVER (PARTITION BY account_id ORDER BY id), key, purchase_id,
           activity_id, '', occurred_at, at
    FROM moved
"""
_ENTRY_OF_SLICE: Final = f"""
    {_MEMBER}, {_IN_SLICE}, entry AS (
        SELECT e.* FROM members_ledgerentry e
        WHERE e.account_id BETWEEN (SELECT first_account FROM slice) AND (SELECT last_account FROM slice)
    )"""
_LOTS: Final = f"""
    WITH {_ENTRY_OF_SLICE}
    INSERT INTO members_lot (entry_id, account_id, remaining, held, available_at, expires_at)
    SELECT id, account_id, amount, 0, occurred_at,
           (((occurred_at AT TIME ZONE %(zone)s)::date + interval '18 months')::date + 1)::timestamp
               AT TIME ZONE %(zone)s
    FROM entry WHERE kind = 'earn'
"""
# The points collected first are spent first: both lie on one line from nothing to all that was ever collected. The
# spends of an account come as an array: the planner knows nothing of rows this new, and would join them one by one.
_TAKEN: Final = f"""
    {_ENTRY_OF_SLICE}, moved AS (
        SELECT id, account_id, kind, amount,
               (sum(amount) FILTER (WHERE kind = 'earn') OVER (PARTITION BY account_id ORDER BY id))::bigint AS until,
               array_agg(id) FILTER (WHERE kind = 'spend') OVER whole AS spends,
               array_agg(substr(key, 7)) FILTER (WHERE kind = 'spend') OVER whole AS holds
        FROM entry WINDOW whole AS (PARTITION BY account_id ORDER BY id
                                    ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
    ), taken AS (
        SELECT spends[nth] AS entry_id, holds[nth]::uuid AS hold_id, id AS lot_id,
               least(until, nth * %(price)s) - greatest(until - amount, (nth - 1) * %(price)s) AS amount
        FROM moved CROSS JOIN LATERAL generate_series(
            (until - amount) / %(price)s + 1, least(cardinality(spends), (until - 1) / %(price)s + 1)) AS r(nth)
        WHERE kind = 'earn' AND spends IS NOT NULL
    )"""
_ALLOCATIONS: Final = f"""
    WITH {_TAKEN}
    INSERT INTO members_allocation (id, entry_id, lot_id, amount)
    SELECT md5(%(salt)s || 'x' || entry_id || lot_id)::uuid, entry_id, lot_id, amount FROM taken
"""
_HOLDS: Final = f"""
    WITH {_ENTRY_OF_SLICE}
    INSERT INTO members_hold (id, account_id, amount, state, key, entry_id, at, expires_at)
    SELECT substr(key, 7)::uuid, account_id, -amount, 'captured', 'seed:' || substr(key, 7), id,
           at - interval '20 seconds', at + interval '30 minutes'
    FROM entry WHERE kind = 'spend'
"""
_HELD_LOTS: Final = f"""
    WITH {_TAKEN}
    INSERT INTO members_holdlot (hold_id, lot_id, amount) SELECT hold_id, lot_id, amount FROM taken
"""
_ISSUES: Final = f"""
    WITH {_ENTRY_OF_SLICE}
    INSERT INTO rewards_rewardissue (id, reward_id, member_id, hold_id, state, code, location, at, settled_at)
    SELECT {_id("e.at", "'r' || e.id")}, %(reward)s, a.member_id, substr(e.key, 7)::uuid, 'issued',
           translate(upper(substr(md5(%(salt)s || e.key), 1, 16)), '0189', 'WXYZ'), '',
           e.at - interval '20 seconds', e.at
    FROM entry e JOIN members_pointsaccount a ON a.id = e.account_id WHERE e.kind = 'spend'
"""
_RULE_STATES: Final = f"""
    WITH {_MEMBER}, {_HISTORY}
    INSERT INTO members_rulestate (member_id, rule_code, remainder, used)
    SELECT id, 'welcome', 0, '{{"ever": 50}}'::jsonb FROM member
    UNION ALL SELECT member_id, 'spend', mod(max(total), 100), '{{}}'::jsonb FROM history GROUP BY member_id
"""
_TIER_CHANGES: Final = f"""
    WITH {_MEMBER}, {_HISTORY}
    INSERT INTO members_tierchange (id, member_id, program_id, before, after, basis, at)
    SELECT {_id("occurred_at", "'t' || id")}, member_id, %(program)s, held, tier, basis, occurred_at
    FROM history WHERE held <> tier
"""
_TIERS: Final = f"""
    WITH {_MEMBER}, {_HISTORY}, last AS (
        SELECT DISTINCT ON (member_id) member_id, tier, basis, occurred_at,
               max(occurred_at) FILTER (WHERE held <> tier) OVER (PARTITION BY member_id) AS changed
        FROM history ORDER BY member_id, occurred_at DESC, id DESC
    )
    INSERT INTO members_tierstatus (member_id, tier, earned, basis, since, settled_at)
    SELECT m.id, COALESCE(tier, ''), COALESCE(tier, ''), COALESCE(basis, 0), COALESCE(changed, joined),
           COALESCE(occurred_at, joined)
    FROM member m LEFT JOIN last ON last.member_id = m.id
"""
_INSIGHTS: Final = f"""
    WITH {_MEMBER}, {_IN_SLICE}, counted AS (
        SELECT member_id, count(*) AS purchases, sum(amount) AS spend, min(day) AS first_day, max(day) AS last_day
        FROM members_purchase WHERE member_id BETWEEN (SELECT first FROM slice) AND (SELECT last FROM slice)
        GROUP BY member_id
    )
    INSERT INTO members_insight (member_id, purchases, spend, first_day, last_day, last_visit, recency, frequency,
                                 value, segment, favourite)
    SELECT m.id, COALESCE(purchases, 0), COALESCE(spend, 0), first_day, c.last_day, c.last_day, 0, 0, 0, '', ''
    FROM member m LEFT JOIN counted c ON c.member_id = m.id
"""

STATEMENTS: Final = (
    _MEMBERS, _IDENTITIES, _IDENTIFIERS, _CONSENTS, _SIGN_UPS, _SIGN_UP_TRACES, _ACCOUNTS, _PURCHASES, _LINES, _TRACES,
    _ENTRIES, _LOTS, _ALLOCATIONS, _HOLDS, _HELD_LOTS, _ISSUES, _RULE_STATES, _TIER_CHANGES, _TIERS, _INSIGHTS,
)  # fmt: skip
