"""
A connection that stands in one schema at a time and refuses to answer from any other.

django-tenants sets the path in a statement of its own and goes on when that fails; here role and path travel in one
message with the first statement that needs them, and PostgreSQL's own report of the path is believed, not our memory.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
import psycopg2.extensions
from django.db.backends.postgresql.introspection import DatabaseIntrospection
from django.db.utils import InterfaceError, ProgrammingError
from django.utils.asyncio import async_unsafe
from django_tenants.postgresql_backend.base import DatabaseWrapper as TenantWrapper
from django_tenants.postgresql_backend.base import FakeTenant, is_valid_schema_name
from psycopg2.sql import Composable

from tenants.postgresql import guard

CLIENTS_PER_CONNECTION = 100
NOBODY = "nobody_here"
_REPORTS_SEARCH_PATH = 180000


class NoClient(InterfaceError):
    """A query ran outside any client's context."""


class SwitchInsideTransaction(ProgrammingError):
    """The client was changed while a transaction of another client was open."""


class ClientCursor(psycopg2.extensions.cursor):
    """A cursor that puts its connection into the right role and path before it speaks."""

    wrapper: "DatabaseWrapper"

    def execute(self, query: str | bytes | Composable, vars: Any = None) -> None:
        sql = query if isinstance(query, str) else _text(query, self)
        prefix = self.wrapper.standing_prefix(sql)
        if prefix and self.name:
            with self.connection.cursor() as plain:
                plain.execute(prefix)
            prefix = ""
        super().execute(prefix + sql if prefix else sql, vars)

    def executemany(self, query: str | bytes | Composable, vars_list: Any) -> None:
        for values in vars_list:
            self.execute(query, values)

    def copy_expert(self, sql: str | bytes | Composable, file: Any, size: int = 8192) -> None:
        # Django wraps what execute() raises and not this: a lost connection would look like a mistake of ours.
        with self.wrapper.wrap_database_errors:
            self._stand(_text(sql, self))
            super().copy_expert(sql, file, size)

    def copy_from(self, *args: Any, **kwargs: Any) -> None:
        raise ProgrammingError("Use copy_expert: it is checked.")

    copy_to = copy_from

    def callproc(self, procname: str | bytes, parameters: Any = None) -> None:
        self._stand("")
        super().callproc(procname, parameters)

    def _stand(self, sql: str) -> None:
        if prefix := self.wrapper.standing_prefix(sql):
            with self.connection.cursor() as plain:
                plain.execute(prefix)


def _text(query: bytes | str | Composable, cursor: Any) -> str:
    if isinstance(query, str):
        return query
    return query.decode() if isinstance(query, bytes) else query.as_string(cursor)


class DatabaseWrapper(TenantWrapper):
    """
    Django's PostgreSQL connection, standing in `schema_name` or nowhere.

    ``OPTIONS["standing"]`` says what it may be: ``client`` (role and path of the client set with :meth:`set_client`),
    ``public`` (the login role, path public) or ``owner`` (the owner's login, any path, statements of any kind).
    """

    def __init__(self, settings_dict: dict[str, Any], alias: str = "default") -> None:
        self.standing: str = settings_dict["OPTIONS"].get("standing", "client")
        self._seen: set[str] = set()
        self._trusted = 0
        self._pinned: str | None = None
        super().__init__(settings_dict, alias)
        self.introspection = DatabaseIntrospection(self)
        self.forget_client()

    def get_connection_params(self) -> dict[str, Any]:
        """Django's parameters without ours, with a time zone that needs no statement of its own."""
        params: dict[str, Any] = super().get_connection_params()
        params.pop("standing", None)
        params["options"] = f"-c timezone=UTC {params.get('options', '')}".strip()
        return params

    # ── where the connection is to stand ────────────────────────────────────────────────────────────────────────

    def set_tenant(self, tenant: Any, include_public: bool = False) -> None:
        """Stand in the schema of `tenant` from the next statement on. :raises SwitchInsideTransaction:"""
        name = tenant.schema_name
        if self.standing == "public" and name != "public":
            raise ProgrammingError("The public connection stays in public.")
        if name == "public" and self.standing == "client":
            tenant, name = None, None
        elif not is_valid_schema_name(name):
            raise ProgrammingError("Not a schema name.")
        if self.in_atomic_block and self._pinned and name not in {None, self._pinned}:
            raise SwitchInsideTransaction("The client cannot change inside a transaction.")
        self.tenant, self.schema_name, self.include_public_schema = tenant, name, False

    def set_schema(self, schema_name: str, include_public: bool = False, tenant_type: str | None = None) -> None:
        """Stand in the schema of that name."""
        self.set_tenant(FakeTenant(schema_name=schema_name, tenant_type=tenant_type))

    def set_schema_to_public(self) -> None:
        """Stand in public; on the client connection: nowhere."""
        self.set_schema("public")

    def forget_client(self) -> None:
        """Stand nowhere (in public, for the others), and give the role back if the database still holds it."""
        self.tenant, self.schema_name = None, None if self.standing == "client" else "public"
        if self.standing != "client" or self.connection is None or self.in_atomic_block:
            return
        if len(self._seen) >= CLIENTS_PER_CONNECTION or not self._reset():
            self.close()

    def _reset(self) -> bool:
        try:
            if self._reported() == NOBODY:
                return True
            with self.connection.cursor() as plain:
                plain.execute(f"RESET ROLE; SET search_path TO {NOBODY}; SET application_name TO {NOBODY}")
        except psycopg2.Error:
            return False
        return True

    # ── putting it there ────────────────────────────────────────────────────────────────────────────────────────

    def standing_prefix(self, sql: str) -> str:
        """
        What must precede `sql` so that it runs where it should: nothing when PostgreSQL reports the right path.

        :raises NoClient: on the client connection outside any client
        :raises guard.ForbiddenStatement: for a statement that could leave the client
        """
        if self.standing != "owner" and not self._trusted and sql:
            guard.check(sql)
        if self.schema_name is None:
            if _ends_transaction(sql):
                return ""
            raise NoClient("No client is set: open one with tenants.context.client_context().")
        if self.in_atomic_block:
            self._pinned = self.schema_name
        if self._reported() == self.schema_name or _ends_transaction(sql):
            return ""
        self._seen.add(self.schema_name)
        role = f'SET ROLE "{self.schema_name}"; ' if self.standing == "client" else ""
        name = self.schema_name
        return f'{role}SET search_path TO "{name}"; SET application_name TO "{name}"; '

    def _reported(self) -> str:
        raw: Any = self.connection
        name = "search_path" if raw.server_version >= _REPORTS_SEARCH_PATH else "application_name"
        return str(raw.get_parameter_status(name)).strip('"')

    @contextmanager
    def trusted(self) -> Iterator[None]:
        """Statements of our own that the guard would refuse, such as SET LOCAL for a timeout."""
        self._trusted += 1
        try:
            yield
        finally:
            self._trusted -= 1

    # ── Django's hooks ──────────────────────────────────────────────────────────────────────────────────────────

    def _cursor(self, name: str | None = None) -> Any:
        # Past django-tenants' own _cursor, which would send a path of its own.
        return super(TenantWrapper, self)._cursor(name) if name else super(TenantWrapper, self)._cursor()

    @async_unsafe
    def create_cursor(self, name: str | None = None) -> Any:
        if name:
            cursor = self.connection.cursor(
                name, cursor_factory=ClientCursor, scrollable=False, withhold=self.connection.autocommit
            )
        else:
            cursor = self.connection.cursor(cursor_factory=ClientCursor)
        cursor.wrapper = self
        return cursor

    def rollback(self) -> None:
        super(TenantWrapper, self).rollback()

    def savepoint_rollback(self, sid: str) -> None:
        super(TenantWrapper, self).savepoint_rollback(sid)

    def _commit(self) -> None:
        self._pinned = None
        super()._commit()

    def _rollback(self) -> None:
        self._pinned = None
        super()._rollback()

    def close(self) -> None:
        self._seen.clear()
        self._pinned = None
        super(TenantWrapper, self).close()


def _ends_transaction(sql: str) -> bool:
    return sql.startswith(("ROLLBACK", "RELEASE"))
