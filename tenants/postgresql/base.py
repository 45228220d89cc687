"""
A connection that stands in one schema at a time and refuses to answer from any other.

django-tenants sets the path in a statement of its own and goes on when that fails; here role and path travel in one
message with the first statement that needs them, and PostgreSQL's own report of the path is believed, not our memory.
"""

import select
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg2
import psycopg2.extensions
from django.db.backends.postgresql.introspection import DatabaseIntrospection
from django.db.utils import InterfaceError, ProgrammingError
from django.utils.asyncio import async_unsafe
from django_tenants.postgresql_backend.base import DatabaseWrapper as TenantWrapper
from django_tenants.postgresql_backend.base import FakeTenant, is_valid_schema_name
from psycopg2.sql import Composable

from tenants.keys import as_uuid
from tenants.postgresql import guard

CLIENTS_PER_CONNECTION = 100
NOBODY = "nobody_here"
_LEAVE = f"RESET ROLE; SET search_path TO {NOBODY}; SET application_name TO {NOBODY}"
_REPORTS_SEARCH_PATH = 180000


def _uuid(written: Any, _cursor: Any) -> UUID | None:
    return None if written is None else as_uuid(int(written.replace("-", ""), 16))


# PostgreSQL sends none that is not one: without the checks of the class a third of the time, with every row.
_UUID = psycopg2.extensions.new_type((2950,), "UUID", _uuid)
_UUIDS = psycopg2.extensions.new_array_type((2951,), "UUID[]", _UUID)


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
        super().execute(f"{prefix}{sql}{self.wrapper.leaving_suffix()}", vars)

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
        self._is_leaving = False
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

    def forget_client(self, *, goes_on: bool = False) -> None:
        """
        Stand nowhere (in public, for the others), and give the role back if the database still holds it.

        Whoever has one thing more to write and then forgets the client again says so by `goes_on`: until then nothing
        can be asked for lack of a client, and a message is saved.
        """
        self.tenant, self.schema_name = None, None if self.standing == "client" else "public"
        if goes_on or self.standing != "client" or self.connection is None or self.in_atomic_block:
            return
        if len(self._seen) >= CLIENTS_PER_CONNECTION or not self._reset():
            self.close()

    def _reset(self) -> bool:
        try:
            if self._reported() == NOBODY:
                return True
            with self.connection.cursor() as plain:
                plain.execute(_LEAVE)
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

    @contextmanager
    def leaving(self) -> Iterator[None]:
        """Give the role back in the message of the next statement, which is the last one in this client."""
        self._is_leaving = self.standing == "client" and not self.in_atomic_block
        try:
            yield
        finally:
            self._is_leaving = False

    def leaving_suffix(self) -> str:
        """What follows a statement: nothing, but after the last."""
        return f"; {_LEAVE}" if self._is_leaving else ""

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

    def is_usable(self) -> bool:
        """
        Whether the server is there, asked before each request.

        One that hung up has left word on the line: only then, or after an error, does a statement have to ask.
        """
        if self.connection is None or self.connection.closed:
            return False
        return bool((not self.errors_occurred and _is_silent(self.connection)) or super().is_usable())

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """A connection that reads ids our way."""
        connection = super().get_new_connection(conn_params)
        for kind in (_UUID, _UUIDS):
            psycopg2.extensions.register_type(kind, connection)
        return connection

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


def _is_silent(connection: Any) -> bool:
    line = select.poll()
    line.register(connection.fileno(), select.POLLIN)
    return not line.poll(0)


def _ends_transaction(sql: str) -> bool:
    return sql.startswith(("ROLLBACK", "RELEASE"))
