"""One client's rows, tables, cache and files are out of another's reach, by the database and not by good manners."""

import secrets
from collections.abc import Iterator

import psycopg2
import pytest
from django.core.cache import cache
from django.db import DatabaseError, ProgrammingError, connections, transaction

from members.models import Member
from tenants import checks
from tenants.context import ClientUnavailable, client_connection, client_context, use_client
from tenants.keys import new_schema_name
from tenants.models import Client, WaitingClient, WrongClient
from tenants.schemas.owner import rows, run
from tests.conftest import NewClient
from tests.tenants.sql import answer, app_login, ask, canary, tables

NO_RIGHT = psycopg2.errors.InsufficientPrivilege
WRITES = ("INSERT INTO {} DEFAULT VALUES", "UPDATE {} SET {} = NULL", "DELETE FROM {}", "TRUNCATE {}")


def _columns(schema_name: str) -> dict[str, str]:
    """One column of each table."""
    found = rows("SELECT relname, attname FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid WHERE attnum = 1"
                 " AND relkind = 'r' AND relnamespace = %s::regnamespace", [schema_name])  # fmt: skip
    return dict(found)


def _is_refused(sql: str) -> bool:
    try:
        with transaction.atomic():
            ask(sql)
    except ProgrammingError as error:
        return isinstance(error.__cause__, NO_RIGHT)
    return False


# ── names and schemas ───────────────────────────────────────────────────────────────────────────────────────────────


def test_no_table_name_stands_in_public_and_in_a_client(acme: Client) -> None:
    assert set(tables("public")) & set(tables(acme.schema_name)) == {"django_migrations"}


def test_the_start_up_check_finds_an_app_in_both_schemas(settings: object) -> None:
    assert checks.no_app_in_both_schemas() == []
    settings.TENANT_APPS = [*settings.TENANT_APPS, "tenants"]  # type: ignore[attr-defined]

    assert "tenants.E002" in {problem.id for problem in checks.no_app_in_both_schemas()}


def test_p11_a_client_whose_schema_is_missing_gets_an_error_and_no_other_rows(acme: Client) -> None:
    client = Client(schema_name=new_schema_name())

    with use_client(client), pytest.raises(DatabaseError):
        Member.objects.count()

    assert Member.objects.count() == 0


@pytest.fixture
def public_decoy(acme: Client) -> Iterator[str]:
    """A table in public, open to all, with a name that a client's missing table has."""
    run("CREATE TABLE public.members_consent (n int); GRANT ALL ON public.members_consent TO PUBLIC")
    run(f"DROP TABLE {acme.schema_name}.members_consent")
    yield "members_consent"
    run("DROP TABLE public.members_consent")


def test_p3_a_missing_table_is_an_error_even_where_public_has_one_of_that_name(public_decoy: str) -> None:
    with pytest.raises(ProgrammingError, match="does not exist"):
        ask(f"SELECT * FROM {public_decoy}")
    with pytest.raises(ProgrammingError, match="does not exist"):
        ask(f"INSERT INTO {public_decoy} DEFAULT VALUES")


# ── rights in the database ──────────────────────────────────────────────────────────────────────────────────────────


def test_p6_no_table_of_another_client_can_be_read_or_written_by_its_full_name(acme: Client, bravo: Client) -> None:
    for here, there in ((acme, bravo), (bravo, acme)):
        columns = _columns(there.schema_name)
        with use_client(here):
            for table, column in columns.items():
                name = f"{there.schema_name}.{table}"
                for sql in ("SELECT 1 FROM {}", *WRITES):
                    assert _is_refused(sql.format(name, column)), sql.format(name, column)


def test_p6_negative_control_its_own_tables_can_be_read_by_their_full_names(acme: Client) -> None:
    assert not _is_refused(f"SELECT 1 FROM {acme.schema_name}.members_member")


@pytest.mark.usefixtures("acme")
def test_a_client_can_read_and_write_nothing_in_public() -> None:
    for table, column in _columns("public").items():
        for sql in ("SELECT 1 FROM {}", *WRITES):
            assert _is_refused(sql.format(f"public.{table}", column)), table


def test_r16_the_login_alone_can_read_no_client(acme: Client, bravo: Client) -> None:
    with app_login() as login:
        for client in (acme, bravo):
            for table in tables(client.schema_name):
                with pytest.raises(NO_RIGHT):
                    answer(login, f"SELECT 1 FROM {client.schema_name}.{table}")


def test_the_login_can_call_no_set_config_and_make_nothing() -> None:
    with app_login() as login:
        for sql in (
            "SELECT set_config('search_path', 'public', false)",
            "CREATE TABLE public.mine (n int)",
            "CREATE TEMPORARY TABLE mine (n int)",
            "CREATE SCHEMA mine",
            "CREATE ROLE mine",
            "SELECT * FROM public.tenants_schemascript",
            "UPDATE public.django_migrations SET name = ''",
            "UPDATE public.tenants_auditevent SET action = ''",
            "DELETE FROM public.tenants_auditevent",
            "TRUNCATE public.tenants_auditevent",
        ):
            with pytest.raises(NO_RIGHT):
                answer(login, sql)


@pytest.mark.usefixtures("acme")
def test_rights_on_tables_follow_what_their_triggers_refuse() -> None:
    for sql in (
        "UPDATE members_ledgerentry SET amount = 1",
        "DELETE FROM members_ledgerentry",
        "TRUNCATE members_ledgerentry",
        "UPDATE members_purchaseline SET amount = 1",
        "DELETE FROM members_purchaseline",
        "SELECT 1 FROM django_migrations",
        "ALTER TABLE members_ledgerentry DISABLE TRIGGER ALL",
        "DROP TABLE members_member",
        "CREATE TABLE mine (n int)",
    ):
        assert _is_refused(sql), sql
    for sql in ("UPDATE members_purchaseline SET returned = 0", "UPDATE members_pointsaccount SET debt = 0"):
        assert not _is_refused(sql), sql


@pytest.mark.usefixtures("acme")
def test_triggers_cannot_be_switched_off_by_a_setting() -> None:
    Member.objects.create(number="acme")
    connection = client_connection()

    with transaction.atomic(), connection.trusted(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL pgtrigger.ignore = '{pgtrigger_consent_never_changes}'")
        cursor.execute("SELECT public._pgtrigger_should_ignore('pgtrigger_consent_never_changes')")
        assert cursor.fetchone() == (False,)


# ── noting work ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_client_marks_itself_as_having_work_and_reads_nothing_there(acme: Client, bravo: Client) -> None:
    ask("SELECT public.note_work()")
    ask("SELECT public.note_work()")

    noted = WaitingClient.objects.filter(schema_name__in=[acme.schema_name, bravo.schema_name])
    assert [one.schema_name for one in noted] == [acme.schema_name]
    assert _is_refused("SELECT * FROM public.tenants_waitingclient")
    assert _is_refused(f"INSERT INTO public.tenants_waitingclient (schema_name) VALUES ('{bravo.schema_name}')")


def test_nobody_but_a_client_can_note_work() -> None:
    with app_login() as login:
        with pytest.raises(NO_RIGHT):
            answer(login, "SELECT public.note_work()")
        answer(login, f'SET ROLE "{connections["default"].settings_dict["NAME"]}_clients"')
        with pytest.raises(NO_RIGHT, match="Only a client"):
            answer(login, "SELECT public.note_work()")


# ── objects in the wrong client ─────────────────────────────────────────────────────────────────────────────────────


def test_p4_a_query_built_in_one_client_does_not_answer_in_another(acme: Client, bravo: Client) -> None:
    canary(acme, "acme")
    query = Member.objects.filter(number="acme")

    with use_client(bravo), pytest.raises(WrongClient):
        list(query)
    assert query.count() == 1


def test_p5_an_object_loaded_in_one_client_is_not_saved_or_deleted_in_another(acme: Client, bravo: Client) -> None:
    canary(acme, "acme")
    member = Member.objects.get(number="acme")

    with use_client(bravo):
        with pytest.raises(WrongClient):
            member.save()
        with pytest.raises(WrongClient):
            member.delete()
        assert Member.objects.count() == 0


def test_p5_an_id_of_one_client_changes_no_row_in_another(acme: Client, bravo: Client) -> None:
    canary(acme, "same")
    canary(bravo, "same")
    member = Member.objects.get()

    with use_client(bravo):
        assert Member.objects.filter(pk=member.pk).update(number="stolen") == 0
        assert Member.objects.filter(pk=member.pk).delete() == (0, {})
        assert Member.objects.get().number == "same"


def test_r20_equal_objects_of_two_clients_have_different_keys(acme: Client, bravo: Client) -> None:
    keys = []
    for client in (acme, bravo):
        with use_client(client):
            Member.objects.bulk_create(Member(number=str(number)) for number in range(500))
            keys += Member.objects.values_list("pk", flat=True)

    assert len(set(keys)) == 1000


# ── beside the database ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("acme")
def test_p1_a_cached_value_of_one_client_is_none_in_another(bravo: Client) -> None:
    key = secrets.token_hex(8)
    cache.set(key, "acme")

    with use_client(bravo):
        assert cache.get(key) is None
        cache.set(key, "bravo")
    assert cache.get(key) == "acme"
    client_connection().forget_client()
    assert cache.get(key) is None


def test_p1_a_cache_without_the_client_in_its_keys_is_found_at_start(settings: object) -> None:
    assert checks.caches_carry_the_client() == []
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}  # type: ignore[attr-defined]

    assert [problem.id for problem in checks.caches_carry_the_client()] == ["tenants.E001"]


def test_an_unknown_a_suspended_and_a_closed_client_cannot_be_entered(new_client: NewClient) -> None:
    names = [new_schema_name()]
    for status in (Client.Status.SUSPENDED, Client.Status.CLOSED):
        client = new_client()
        Client.objects.filter(pk=client.pk).update(status=status)
        names.append(client.schema_name)

    for name in names:
        with pytest.raises(ClientUnavailable), client_context(name):
            pass
