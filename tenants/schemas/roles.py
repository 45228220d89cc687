"""
Database roles: the application's login, the group of all clients, and one role per client.

The login has no rights in client schemas and inherits none; it stands in a client by SET ROLE. The group carries the
little that every client's role needs of the public schema: to look up names there, and to call `note_work()`.
"""

from collections.abc import Iterable, Sequence

import psycopg2.extensions
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connections

from tenants.routers import CLIENT, OWNER, PUBLIC
from tenants.schemas.owner import owner_atomic, owner_connection, quoted, rows, run

_GRANTS_WITH_OPTIONS = 160000


def app_role() -> str:
    """The application's login role."""
    return str(settings.DATABASES[CLIENT]["USER"])


def clients_role() -> str:
    """The group that all client roles of this database belong to."""
    return f"{settings.DATABASES[OWNER]['NAME']}_clients"


def prepare_roles() -> None:
    """
    Make the login and the group where they are missing, and close the database and its public schema to all others.

    :raises ImproperlyConfigured: if the login is the owner's, or mightier than a login of the application may be
    """
    app, clients = app_role(), clients_role()
    if app == settings.DATABASES[OWNER]["USER"]:
        raise ImproperlyConfigured("The application needs a login of its own: DATABASE_APP_URL names the owner's.")
    with owner_atomic():
        if not _exists(clients):
            run(f"CREATE ROLE {quoted(clients)} NOLOGIN")
        if not _exists(app):
            run(f"CREATE ROLE {quoted(app)} LOGIN NOINHERIT PASSWORD %s", [_scrambled_password()])
        database = quoted(settings.DATABASES[OWNER]["NAME"])
        run(
            f"REVOKE ALL ON DATABASE {database} FROM PUBLIC; GRANT CONNECT ON DATABASE {database} TO {quoted(app)};"
            "REVOKE ALL ON SCHEMA public FROM PUBLIC;"
            f"GRANT USAGE ON SCHEMA public TO {quoted(app)}, {quoted(clients)}"
        )
    _let_in(app)
    _refuse_mighty(app)


def set_config_is_open() -> bool:
    """Whether the application could change its role inside a query, which only a superuser can forbid."""
    return bool(
        rows("SELECT has_function_privilege(%s, 'pg_catalog.set_config(text,text,boolean)', 'EXECUTE')", [app_role()])[
            0
        ][0]
    )


def create_roles(names: Sequence[str]) -> None:
    """Make one role per client, which the login can stand in but inherits nothing of."""
    if not names:
        return
    options = " WITH INHERIT FALSE, SET TRUE" if _server_version() >= _GRANTS_WITH_OPTIONS else ""
    made = "".join(f"CREATE ROLE {quoted(name)} NOLOGIN IN ROLE {quoted(clients_role())};" for name in names)
    run(f"{made} GRANT {', '.join(map(quoted, names))} TO {quoted(app_role())}{options}")


def drop_roles(names: Iterable[str]) -> None:
    """Remove roles that own nothing and have no rights left."""
    for name in names:
        run(f"DROP ROLE IF EXISTS {quoted(name)}")


def roles_without_schema() -> list[str]:
    """Client roles of this database that an interrupted making left behind."""
    found = rows(
        "SELECT r.rolname FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member"
        " WHERE m.roleid = (SELECT oid FROM pg_roles WHERE rolname = %s) AND NOT r.rolcanlogin"
        " AND NOT EXISTS (SELECT FROM pg_namespace n WHERE n.nspname = r.rolname)",
        [clients_role()],
    )
    return [name for (name,) in found]


def _exists(role: str) -> bool:
    return bool(rows("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]))


def _let_in(app: str) -> None:
    """Give an existing login the password we know it by, if it has another."""
    public = connections[PUBLIC]
    try:
        public.ensure_connection()
    except OperationalError:
        run(f"ALTER ROLE {quoted(app)} LOGIN NOINHERIT PASSWORD %s", [_scrambled_password()])
        public.ensure_connection()


def _refuse_mighty(app: str) -> None:
    columns = ("rolsuper", "rolbypassrls", "rolcreaterole", "rolcreatedb", "rolreplication", "rolinherit")
    listed = ", ".join(columns)
    ((*rights,),) = rows(f"SELECT {listed} FROM pg_roles WHERE rolname = %s", [app])  # noqa: S608 (ours)
    if held := [column for column, right in zip(columns, rights, strict=True) if right]:
        raise ImproperlyConfigured(f"The application's login {app} has {', '.join(held)}: take that from it.")


def _scrambled_password() -> str:
    """The login's password as the server keeps it, so that no log shows the plain one."""
    owner = owner_connection()
    owner.ensure_connection()
    known = settings.DATABASES[CLIENT]
    return psycopg2.extensions.encrypt_password(known["PASSWORD"], known["USER"], owner.connection, "scram-sha-256")


def _server_version() -> int:
    owner = owner_connection()
    owner.ensure_connection()
    return int(owner.connection.server_version)
