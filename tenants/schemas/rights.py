"""
Rights on tables follow from their triggers: what a trigger always refuses, no role of ours is granted.

Nobody but the owner may TRUNCATE, make triggers or references.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tenants.schemas.owner import quoted, rows, run
from tenants.schemas.roles import app_role, clients_role

GRANTED = "SELECT, INSERT, UPDATE, DELETE"
RECORDS = "django_migrations"
# The owner runs what stands there: no other login reads or writes it.
OWNERS_OWN = "tenants_schemascript"

_GUARDS = r"""
SELECT c.relname, t.tgtype & 16 > 0, t.tgtype & 8 > 0, t.tgqual IS NULL, pg_get_triggerdef(t.oid),
       (SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND t.tgname ~ '_never_(changes|deleted)_[0-9a-f]+$' AND t.tgtype & 3 = 3
ORDER BY c.relname, t.tgname
"""
# A trigger that names each column it guards leaves the others open.
_GUARDED = re.compile(r'\bold\."?(\w+)"?\)?(?:::[\w ]+)? IS DISTINCT FROM', re.IGNORECASE)


@dataclass(frozen=True)
class _Guard:
    table: str
    update: bool
    delete: bool
    always: bool
    definition: str
    columns: list[str]

    def exceptions(self, schema_name: str, role: str) -> list[str]:
        """What is taken from `role` because this trigger refuses it."""
        table = f"{quoted(schema_name)}.{quoted(self.table)}"
        if self.always:
            refused = [right for right, is_refused in (("UPDATE", self.update), ("DELETE", self.delete)) if is_refused]
            return [f"REVOKE {', '.join(refused)} ON {table} FROM {quoted(role)}"]
        guarded = set(_GUARDED.findall(self.definition)) if self.update else set()
        open_columns = [quoted(column) for column in self.columns if column not in guarded]
        if not guarded or len(open_columns) == len(self.columns):
            return []
        granted = [f"GRANT UPDATE ({', '.join(open_columns)}) ON {table} TO {quoted(role)}"] if open_columns else []
        return [f"REVOKE UPDATE ON {table} FROM {quoted(role)}", *granted]


def exceptions(schema_name: str, *, role: str) -> list[str]:
    """Statements that take from `role` what triggers in that schema refuse, and the migration records."""
    guards = [_Guard(*row) for row in rows(_GUARDS, [schema_name])]
    return [statement for guard in guards for statement in guard.exceptions(schema_name, role)]


def defaults(schema_name: str) -> list[str]:
    """Statements that let the schema's role use what the owner makes there from now on."""
    name = quoted(schema_name)
    return [
        f"GRANT USAGE ON SCHEMA {name} TO {name}",
        f"ALTER DEFAULT PRIVILEGES IN SCHEMA {name} GRANT {GRANTED} ON TABLES TO {name}",
    ]


def rights_of(schema_name: str) -> str:
    """Statements that set the rights of the schema's role on all its tables anew, whatever they were."""
    name = quoted(schema_name)
    listed = ", ".join(f"{name}.{quoted(table)}" for table in _tables(schema_name))
    statements = [
        f"REVOKE ALL ON {listed} FROM {name}",
        f"GRANT {GRANTED} ON {listed} TO {name}",
        *exceptions(schema_name, role=schema_name),
        f"REVOKE ALL ON {name}.{quoted(RECORDS)} FROM {name}",
    ]
    return ";\n".join(statements) + ";\n"


def open_public_schema() -> None:
    """Let the application's login use the public tables as their triggers allow, and clients call `note_work()`."""
    app, clients = quoted(app_role()), quoted(clients_role())
    statements = [
        f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT {GRANTED} ON TABLES TO {app}",
        f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO {app}",
        f"GRANT {GRANTED} ON ALL TABLES IN SCHEMA public TO {app}",
        f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {app}",
        *exceptions("public", role=app_role()),
        f"REVOKE INSERT, UPDATE, DELETE ON public.{RECORDS} FROM {app}",
        f"REVOKE ALL ON public.{OWNERS_OWN} FROM {app}",
        f"GRANT EXECUTE ON FUNCTION public.note_work() TO {clients}",
    ]
    run(";\n".join(statements))


@contextmanager
def triggers_kept_on() -> Iterator[None]:
    """After migrations: replace pgtrigger's off-switch, which they bring and any session could turn, by a fixed one."""
    try:
        yield
    finally:
        run(
            "CREATE OR REPLACE FUNCTION public._pgtrigger_should_ignore(trigger_name name) RETURNS boolean"
            " LANGUAGE sql IMMUTABLE AS 'SELECT false'"
        )


def _tables(schema_name: str) -> list[str]:
    found = rows(
        "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relkind IN ('r', 'p') ORDER BY c.relname",
        [schema_name],
    )
    return [name for (name,) in found]
