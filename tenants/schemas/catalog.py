"""What a schema is made of, told from PostgreSQL's catalogs, so that two schemas can be held against each other."""

from typing import Any

from tenants.schemas.owner import quoted, rows

Facts = dict[str, list[tuple[Any, ...]]]

# Answers hold the schema's own name in places; `describe` writes it as one word, so that schemas compare.
_QUERIES = {
    "relations": """
        SELECT c.relname, c.relkind, c.relpersistence, c.relreplident, c.relrowsecurity, c.reloptions,
               c.relowner::regrole::text
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = %(schema)s AND c.relkind <> 't' ORDER BY 1""",
    "columns": """
        SELECT c.relname, row_number() OVER (PARTITION BY c.oid ORDER BY a.attnum), a.attname,
               format_type(a.atttypid, a.atttypmod), a.attcollation::regcollation::text, a.attnotnull,
               pg_get_expr(d.adbin, d.adrelid), a.attidentity, a.attgenerated, a.attstorage, a.attcompression,
               a.attoptions
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE n.nspname = %(schema)s AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c')
          AND a.attnum > 0 AND NOT a.attisdropped
        ORDER BY 1, 2""",
    "constraints": """
        SELECT c.relname, k.conname, k.contype, pg_get_constraintdef(k.oid), k.convalidated, k.condeferrable,
               k.condeferred
        FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = k.connamespace
        WHERE n.nspname = %(schema)s AND k.contype <> 't' ORDER BY 1, 2""",
    "indexes": """
        SELECT c.relname, pg_get_indexdef(c.oid), i.indisvalid, i.indisclustered, i.indisreplident
        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = %(schema)s AND c.relkind IN ('i', 'I') ORDER BY 1""",
    "triggers": """
        SELECT c.relname, t.tgname, pg_get_triggerdef(t.oid), t.tgenabled
        FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = %(schema)s AND NOT t.tgisinternal ORDER BY 1, 2""",
    "functions": """
        SELECT p.proname, pg_get_functiondef(p.oid), p.proowner::regrole::text
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname = %(schema)s AND p.prokind IN ('f', 'p') ORDER BY 1, 2""",
    "sequences": """
        SELECT c.relname, s.seqtypid::regtype::text, s.seqstart, s.seqincrement, s.seqmax, s.seqmin, s.seqcache,
               s.seqcycle, d.deptype, t.relname
        FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')
        LEFT JOIN pg_class t ON t.oid = d.refobjid
        WHERE n.nspname = %(schema)s ORDER BY 1""",
    "others": """
        SELECT 'type', t.typname FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
        WHERE n.nspname = %(schema)s AND t.typtype IN ('d', 'e', 'r', 'm')
        UNION ALL SELECT 'statistics', s.stxname FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace
        WHERE n.nspname = %(schema)s
        UNION ALL SELECT 'policy', p.polname FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %(schema)s
        UNION ALL SELECT 'rule', r.rulename FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
        JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %(schema)s
        ORDER BY 1, 2""",
    "grants": """
        SELECT * FROM (
            SELECT 'schema', '', '', g.grantee::regrole::text, g.privilege_type
            FROM pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) g
            WHERE n.nspname = %(schema)s
            UNION ALL
            SELECT c.relkind::text, c.relname, '', g.grantee::regrole::text, g.privilege_type
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,
                 aclexplode(coalesce(
                     c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner))) g
            WHERE n.nspname = %(schema)s AND c.relkind IN ('r', 'p', 'S', 'v', 'm')
            UNION ALL
            SELECT 'column', c.relname, a.attname, g.grantee::regrole::text, g.privilege_type
            FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace,
                 aclexplode(a.attacl) g
            WHERE n.nspname = %(schema)s AND a.attnum > 0
            UNION ALL
            SELECT 'function', p.proname, '', g.grantee::regrole::text, g.privilege_type
            FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace,
                 aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) g
            WHERE n.nspname = %(schema)s
            UNION ALL
            SELECT 'default', d.defaclobjtype::text, '', g.grantee::regrole::text, g.privilege_type
            FROM pg_default_acl d JOIN pg_namespace n ON n.oid = d.defaclnamespace, aclexplode(d.defaclacl) g
            WHERE n.nspname = %(schema)s
        ) granted ORDER BY 1, 2, 3, 4, 5""",
}


def describe(schema_name: str) -> Facts:
    """All that the schema is made of, with its own name written as `schema`; and the migrations it has seen."""
    facts = {kind: _answers(query, schema_name) for kind, query in _QUERIES.items()}
    records = f"{quoted(schema_name)}.django_migrations"
    facts["migrations"] = rows(f"SELECT app, name FROM {records} ORDER BY app, name")  # noqa: S608 (quoted)
    return facts


def differences(one: Facts, other: Facts) -> list[str]:
    """What stands in one description and not in the other, as lines that begin with `-` and `+`."""
    return [
        f"{sign} {kind}: {fact}"
        for kind in one
        for sign, here, there in (("-", one[kind], other[kind]), ("+", other[kind], one[kind]))
        for fact in here
        if fact not in there
    ]


def _answers(query: str, schema_name: str) -> list[tuple[Any, ...]]:
    return [tuple(_plain(value, schema_name) for value in answer) for answer in rows(query, {"schema": schema_name})]


def _plain(value: Any, schema_name: str) -> Any:
    return value.replace(schema_name, "schema") if isinstance(value, str) else value
