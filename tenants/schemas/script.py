"""
One SQL script that makes a client's schema in a single message, instead of every migration over again.

It is read from the catalogs of a schema that Django's own migrations made, and kept only after a schema made from it
has been found equal to that one.
"""

import hashlib
import inspect
import re
from functools import lru_cache
from typing import Any

from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader

from tenants.models import SchemaScript
from tenants.routers import OWNER, belongs_to_client
from tenants.schemas import catalog, rights
from tenants.schemas.owner import owner_atomic, quoted, rows, run, standing_in

# Stands for the schema and its role in kept scripts; no client can have this name, which has a 0 in it.
TEMPLATE = "c_template0000"
# Raised when this file makes other scripts or rights from the same migrations.
_EDITION = "1"
# Read again, PostgreSQL's way of writing `kind IN ('a', 'b')` becomes something longer; so it is written as it was.
_IN_LIST = re.compile(
    r"\((\w+)\)::text = ANY \(\(ARRAY\[((?:'(?:[^']|'')*'::character varying(?:, )?)+)\]\)::text\[\]\)"
)


class ScriptError(Exception):
    """The migrations make something that a script cannot make again."""


@lru_cache(maxsize=1)
def migrations_hash() -> str:
    """Stands for the client migrations of this code, their names and words."""
    digest = hashlib.sha256(_EDITION.encode())
    for key, migration in sorted(MigrationLoader(None).disk_migrations.items()):
        if belongs_to_client(key[0]):
            digest.update(f"\n{key}\n{_source(migration)}".encode())
    return digest.hexdigest()


def client_targets(loader: MigrationLoader) -> list[tuple[str, str]]:
    """The last migrations of the apps whose tables stand in client schemas."""
    return [node for node in loader.graph.leaf_nodes() if belongs_to_client(node[0])]


def migrate_stock(schema_name: str) -> None:
    """Run every client migration in a new schema, by Django's own executor."""
    with owner_atomic():
        run("; ".join([f"CREATE SCHEMA {quoted(schema_name)}", *rights.defaults(schema_name)]))
    with standing_in(schema_name) as connection, rights.triggers_kept_on():
        executor = MigrationExecutor(connection)
        executor.migrate(client_targets(executor.loader))
    with owner_atomic():
        run(rights.rights_of(schema_name))


def write_script(schema_name: str) -> str:
    """The script that makes a schema like that one, under the template's name. :raises ScriptError:"""
    _refuse_rows(schema_name)
    # Asked from outside that schema, PostgreSQL writes every name in full.
    statements = [
        "SET LOCAL check_function_bodies = off",
        f"CREATE SCHEMA {quoted(schema_name)}",
        *rights.defaults(schema_name),
        *_definitions(_FUNCTIONS, schema_name),
        *_tables(schema_name),
        *_definitions(_INDEXES, schema_name),
        *_definitions(_FOREIGN_KEYS, schema_name),
        *_definitions(_TRIGGERS, schema_name),
        _records(schema_name),
        *rights.exceptions(schema_name, role=schema_name),
        f"REVOKE ALL ON {quoted(schema_name)}.{rights.RECORDS} FROM {quoted(schema_name)}",
    ]
    text = ";\n".join(statements) + ";\n"
    return _IN_LIST.sub(r"\1 IN (\2)", text).replace(schema_name, TEMPLATE)


def keep(script: str, *, like: str) -> SchemaScript:
    """Keep a script under the hash of this code's migrations, with the rights of the schema it was read from."""
    values = {"script": script, "rights": rights.rights_of(like).replace(like, TEMPLATE)}
    return SchemaScript.objects.using(OWNER).update_or_create(hash=migrations_hash(), defaults=values)[0]


def kept_script() -> SchemaScript | None:
    """The script for this code's migrations, if one has been made here."""
    return SchemaScript.objects.using(OWNER).filter(hash=migrations_hash()).first()


def make_from(script: str, schema_name: str) -> None:
    """Make the schema of that name, whose role is there already, in one message."""
    run(script.replace(TEMPLATE, schema_name))


def check_equal(made: str, *, like: str) -> None:
    """:raises ScriptError: if two schemas differ in anything but their names"""
    if found := catalog.differences(catalog.describe(like), catalog.describe(made)):
        raise ScriptError("The script does not make what the migrations make:\n" + "\n".join(found[:20]))


def _source(migration: Migration) -> str:
    return inspect.getsource(inspect.getmodule(type(migration)) or type(migration))


# ── the schema, told in SQL ─────────────────────────────────────────────────────────────────────────────────────────

_COLUMNS = """
SELECT c.oid, c.relname, array_to_string(c.reloptions, ', '), a.attname, format_type(a.atttypid, a.atttypmod),
       CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::regcollation::text END,
       a.attnotnull, a.attidentity, a.attgenerated, pg_get_expr(d.adbin, d.adrelid),
       pg_get_serial_sequence(quote_ident(n.nspname) || '.' || quote_ident(c.relname), a.attname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE n.nspname = %s AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped ORDER BY c.relname, a.attnum
"""
_OWN_CONSTRAINTS = """
SELECT k.conrelid, 'CONSTRAINT ' || quote_ident(k.conname) || ' ' || pg_get_constraintdef(k.oid)
FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace
WHERE n.nspname = %s AND k.contype IN ('p', 'u', 'c', 'x', 'n') ORDER BY k.contype DESC, k.conname
"""
_INDEXES = """
SELECT pg_get_indexdef(i.indexrelid)
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relkind = 'i'
  AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = c.oid AND k.contype IN ('p', 'u', 'x'))
ORDER BY c.relname
"""
_FOREIGN_KEYS = """
SELECT 'ALTER TABLE ' || k.conrelid::regclass || ' ' || string_agg(
           'ADD CONSTRAINT ' || quote_ident(k.conname) || ' ' || pg_get_constraintdef(k.oid), ', ' ORDER BY k.conname)
FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace
WHERE n.nspname = %s AND k.contype = 'f' GROUP BY k.conrelid ORDER BY 1
"""
_FUNCTIONS = """
SELECT pg_get_functiondef(p.oid) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = %s AND p.prokind = 'f' ORDER BY p.proname
"""
_TRIGGERS = """
SELECT pg_get_triggerdef(t.oid)
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND NOT t.tgisinternal ORDER BY c.relname, t.tgname
"""


def _definitions(query: str, schema_name: str) -> list[str]:
    return [definition for (definition,) in rows(query, [schema_name])]


def _tables(schema_name: str) -> list[str]:
    constraints: dict[int, list[str]] = {}
    for table, constraint in rows(_OWN_CONSTRAINTS, [schema_name]):
        constraints.setdefault(table, []).append(constraint)
    tables: dict[tuple[int, str, str | None], list[str]] = {}
    for oid, name, options, *column in rows(_COLUMNS, [schema_name]):
        tables.setdefault((oid, name, options), []).append(_column(*column))
    return [
        f"CREATE TABLE {quoted(schema_name)}.{quoted(name)} ({', '.join(columns + constraints.get(oid, []))})"
        + (f" WITH ({options})" if options else "")
        for (oid, name, options), columns in tables.items()
    ]


def _column(
    name: str,
    kind: str,
    collation: str | None,
    required: bool,
    identity: str,
    generated: str,
    value: Any,
    sequence: str,
) -> str:
    parts = [quoted(name), kind]
    if collation:
        parts.append(f"COLLATE {collation}")
    if identity:
        parts.append(
            f"GENERATED {'ALWAYS' if identity == 'a' else 'BY DEFAULT'} AS IDENTITY (SEQUENCE NAME {sequence})"
        )
    elif generated:
        parts.append(f"GENERATED ALWAYS AS ({value}) {'STORED' if generated == 's' else 'VIRTUAL'}")
    elif value is not None:
        parts.append(f"DEFAULT {value}")
    if required and not identity:
        parts.append("NOT NULL")
    return " ".join(parts)


def _records(schema_name: str) -> str:
    table = f"{quoted(schema_name)}.{rights.RECORDS}"
    records = rows(f"SELECT quote_literal(app), quote_literal(name) FROM {table} ORDER BY id")  # noqa: S608 (quoted)
    values = ", ".join(f"({app}, {name}, now())" for app, name in records)
    return f"INSERT INTO {table} (app, name, applied) VALUES {values}"  # noqa: S608 (quoted)


def _refuse_rows(schema_name: str) -> None:
    """Rows that migrations insert would get the same keys in every client."""
    tables = rows(
        "SELECT tablename FROM pg_tables WHERE schemaname = %s AND tablename <> %s", [schema_name, rights.RECORDS]
    )
    for (table,) in tables:
        if rows(f"SELECT 1 FROM {quoted(schema_name)}.{quoted(table)} LIMIT 1"):  # noqa: S608 (quoted)
            raise ScriptError(f"A migration puts rows into {table}: give them to clients by their templates instead.")
