"""No SQL of ours carries a second statement or changes role or path, however it is dressed up."""

import pytest

from tenants.postgresql import guard
from tenants.postgresql.base import NoClient
from tests.tenants.sql import ask

STACKED = [
    "SELECT 1; SELECT 2",
    "SELECT 1; SET ROLE other",
    "SELECT ';'; RESET ROLE",
    "SELECT 1 /* a comment */; RESET ROLE",
    "SELECT $$;$$; RESET ROLE",
    "SELECT $tag$;$tag$; RESET ROLE",
    # A backslash escapes the quote in E'' strings alone.
    r"SELECT E'\''; RESET ROLE --'",
    r"SELECT '\'; RESET ROLE --'",
    # A comment ends at a carriage return as well.
    "SELECT 1 --\r; RESET ROLE",
    # Comments nest.
    "SELECT 1 /* /* */ ' */; RESET ROLE --'",
    # A dollar may stand inside a name.
    "SELECT 1 AS a$$; RESET ROLE; SELECT 1 AS b$$",
    "SELECT 1 AS é$$; RESET ROLE; SELECT 1 AS b$$",
    "SELECT $é$'$é$; RESET ROLE --'",
    'SELECT 1 AS "a;"; RESET ROLE',
    'SELECT 1 AS "a""b"; RESET ROLE',
]
LEAVING = [
    "SET ROLE other",
    "  set search_path to other",
    "SET LOCAL search_path TO other",
    "SET SESSION AUTHORIZATION other",
    "RESET ROLE",
    "RESET ALL",
    "DISCARD ALL",
    "DO $$ BEGIN EXECUTE 'RESET ROLE'; END $$",
    "/* harmless */ SET ROLE other",
    "-- harmless\nSET ROLE other",
    "SELECT set_config('role', 'other', false)",
    "SELECT SET_CONFIG ('role', 'other', false)",
    "SELECT set_config/**/('role', 'other', false)",
    "SELECT pg_catalog.set_config('role', 'other', false)",
    "SELECT \"set_config\"('role', 'other', false)",
    r"SELECT U&'\0027' || U&\"\0073et_config\"('role', 'other', false)".replace('\\"', '"'),
]
HARMLESS = [
    "SELECT ';'",
    "SELECT 'it''s; fine'",
    r"SELECT E'a\'; b'",
    "SELECT $$a; b$$",
    "SELECT $a$ $$;$$ $a$",
    "SELECT 1 -- a; b\n",
    "SELECT 1 /* a; b */",
    'SELECT 1 AS "a;b"',
    "SELECT 1;",
    "SET CONSTRAINTS ALL IMMEDIATE",
    "UPDATE rewards_reward SET name = 'x' WHERE id = NULL",
    "SELECT 'set_config('",
    "SELECT 'SET ROLE other'",
]


@pytest.mark.parametrize("sql", STACKED + LEAVING)
def test_a_statement_that_could_leave_the_client_is_refused(sql: str) -> None:
    with pytest.raises(guard.ForbiddenStatement):
        guard.check(sql)


@pytest.mark.parametrize("sql", HARMLESS)
def test_a_plain_statement_passes_whatever_its_literals_say(sql: str) -> None:
    guard.check(sql)


@pytest.mark.parametrize("sql", STACKED)
@pytest.mark.usefixtures("acme")
def test_p7_nothing_stacked_reaches_the_database(sql: str) -> None:
    here = ask("SELECT current_user")

    with pytest.raises(guard.ForbiddenStatement):
        ask(sql)

    assert ask("SELECT current_user") == here


@pytest.mark.parametrize("sql", [sql for sql in HARMLESS if sql.startswith("SELECT")])
@pytest.mark.usefixtures("acme")
def test_postgresql_takes_what_passes_for_one_statement(sql: str) -> None:
    assert len(ask(sql)) == 1


def test_outside_any_client_every_statement_is_refused() -> None:
    with pytest.raises(NoClient):
        ask("SELECT 1")
