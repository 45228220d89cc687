"""The client connection stands where it should: after errors, cancels, reconnects, and only there."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from django.db import Error, OperationalError, connections, transaction

from members.models import Member
from tenants.context import client_connection, use_client
from tenants.models import Client
from tenants.postgresql.base import DatabaseWrapper, NoClient, SwitchInsideTransaction
from tenants.postgresql.guard import ForbiddenStatement
from tests.conftest import NewClient
from tests.tenants.sql import ask, canary

WHERE = "SELECT current_user, current_setting('search_path')"


def test_role_and_path_are_set_together(acme: Client) -> None:
    assert ask(WHERE) == [(acme.schema_name, f'"{acme.schema_name}"')] or ask(WHERE) == [(acme.schema_name,) * 2]


def test_leaving_a_client_gives_role_and_path_back(acme: Client) -> None:
    ask("SELECT 1")
    connection = client_connection()

    connection.forget_client()

    with connection.connection.cursor() as plain:
        plain.execute(WHERE)
        assert plain.fetchone() == (connection.settings_dict["USER"], "nobody_here")


def test_a_client_within_a_client_ends_where_it_began(acme: Client, bravo: Client) -> None:
    with use_client(bravo):
        assert ask("SELECT current_user") == [(bravo.schema_name,)]

    assert ask("SELECT current_user") == [(acme.schema_name,)]


@pytest.mark.usefixtures("acme")
def test_the_client_cannot_change_inside_a_transaction(bravo: Client) -> None:
    with transaction.atomic():
        ask("SELECT 1")
        with pytest.raises(SwitchInsideTransaction), use_client(bravo):
            pass


def test_a_rolled_back_transaction_leaves_nobody_in_the_wrong_place(acme: Client, bravo: Client) -> None:
    with suppress(ZeroDivisionError), use_client(bravo), transaction.atomic():
        ask("SELECT 1")
        raise ZeroDivisionError

    assert ask("SELECT current_user") == [(acme.schema_name,)]


def test_p2_a_new_thread_stands_nowhere(acme: Client) -> None:
    canary(acme, "acme")

    def count() -> int:
        try:
            return Member.objects.count()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as threads, pytest.raises(NoClient):
        threads.submit(count).result()


@pytest.mark.parametrize("statement", ["SET search_path TO {0}", "SET ROLE {0}", "SET LOCAL search_path TO {0}"])
@pytest.mark.usefixtures("acme")
def test_p9_a_raw_change_of_path_or_role_is_refused(statement: str, bravo: Client) -> None:
    with pytest.raises(ForbiddenStatement):
        ask(statement.format(bravo.schema_name))


def test_p9_a_path_changed_behind_our_back_is_put_right_before_the_next_statement(acme: Client, bravo: Client) -> None:
    canary(acme, "acme")
    canary(bravo, "bravo")
    ask("SELECT 1")
    with client_connection().connection.cursor() as plain:
        plain.execute(f"SET ROLE {bravo.schema_name}; SET search_path TO {bravo.schema_name}")

    assert list(Member.objects.values_list("number", flat=True)) == ["acme"]


def test_a_server_side_cursor_stands_in_the_client(acme: Client) -> None:
    canary(acme, "acme")
    client_connection().forget_client()

    with use_client(acme), transaction.atomic():
        assert [member.number for member in Member.objects.iterator(chunk_size=1)] == ["acme"]


def test_after_its_session_was_killed_the_connection_stands_in_the_client_again(acme: Client, bravo: Client) -> None:
    canary(acme, "acme")
    canary(bravo, "bravo")
    ((pid,),) = ask("SELECT pg_backend_pid()")
    _terminate(pid)

    with pytest.raises(OperationalError):
        ask("SELECT 1")
    client_connection().close_if_unusable_or_obsolete()

    assert ask("SELECT pg_backend_pid()") != [(pid,)]
    assert list(Member.objects.values_list("number", flat=True)) == ["acme"]


def test_a_connection_is_not_kept_after_a_hundred_clients(acme: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenants.postgresql.base.CLIENTS_PER_CONNECTION", 1)
    ask("SELECT 1")

    client_connection().forget_client()

    assert client_connection().connection is None


# ── fewer messages ──────────────────────────────────────────────────────────────────────────────────────────────────


def stands() -> tuple[str, str]:
    """Role and path of the session itself, whatever the connection believes."""
    with client_connection().connection.cursor() as plain:
        plain.execute(WHERE)
        role, path = plain.fetchone()
        return role, path


@pytest.mark.usefixtures("acme")
def test_a_session_that_is_there_is_believed_and_one_that_has_ended_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    ((pid,),) = ask("SELECT pg_backend_pid()")
    with monkeypatch.context() as patch:
        patch.setattr("tenants.postgresql.base.TenantWrapper.is_usable", lambda _self: pytest.fail("It was asked."))
        assert client_connection().is_usable()

    _terminate(pid)

    assert not client_connection().is_usable()


@pytest.mark.usefixtures("acme")
def test_after_an_error_a_session_is_asked_whether_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    ask("SELECT 1")
    monkeypatch.setattr(client_connection(), "errors_occurred", True)
    monkeypatch.setattr("tenants.postgresql.base.TenantWrapper.is_usable", lambda _self: False)

    assert not client_connection().is_usable()


def test_the_last_statement_gives_role_and_path_back_itself(acme: Client) -> None:
    connection = client_connection()
    with connection.leaving():
        ask("INSERT INTO members_member (id, number, status, joined_at) SELECT new_id(), 'last', 'active', now()")

    assert stands() == (connection.settings_dict["USER"], "nobody_here")
    with use_client(acme):
        assert Member.objects.filter(number="last").exists()


@pytest.mark.usefixtures("acme")
def test_if_the_last_statement_fails_role_and_path_are_given_back_all_the_same() -> None:
    connection = client_connection()
    with suppress(Error), connection.leaving():
        ask("SELECT 1 / 0")
    connection.forget_client()

    assert stands() == (connection.settings_dict["USER"], "nobody_here")


@pytest.mark.usefixtures("acme")
def test_who_goes_on_stands_nowhere_until_then() -> None:
    connection = client_connection()
    ask("SELECT 1")
    connection.forget_client(goes_on=True)

    with pytest.raises(NoClient):
        ask("SELECT 1")
    connection.forget_client()
    assert stands() == (connection.settings_dict["USER"], "nobody_here")


# ── cancelled while it changes clients ──────────────────────────────────────────────────────────────────────────────

SWITCHES = 300
# Makes the change of clients slow enough for a cancel to meet it.
SLOWLY = "SELECT pg_sleep(0.001); "


class Slow(DatabaseWrapper):
    """Ours, only that changing clients takes a moment."""

    def standing_prefix(self, sql: str) -> str:
        prefix = super().standing_prefix(sql)
        return SLOWLY + prefix if prefix else ""


class Careless(Slow):
    """Changes clients in a message of its own, goes on when that fails, and believes that it is there."""

    believed: str | None = None

    def standing_prefix(self, sql: str) -> str:
        if self.believed != self.schema_name:
            with suppress(Exception), self.connection.cursor() as plain:
                plain.execute(f"{SLOWLY} SET ROLE {self.schema_name}; SET search_path TO {self.schema_name}")
            self.believed = self.schema_name
        return ""


@contextmanager
def _cancelled_again_and_again(wrapper: DatabaseWrapper) -> Iterator[None]:
    """Cancel what the wrapper's session does, whatever it is, about every second millisecond."""
    wrapper.ensure_connection()
    session, over = wrapper.connection, []

    def cancel() -> None:
        while not over:
            session.cancel()
            time.sleep(0.0015)

    with ThreadPoolExecutor(1) as threads:
        done = threads.submit(cancel)
        try:
            yield
        finally:
            over.append(True)
            done.result()


def _crossed(kind: type[DatabaseWrapper], clients: dict[str, Client]) -> tuple[int, int]:
    """Answers that came from another client than the one stood in, and answers in all, over many cancelled switches."""
    wrapper = kind({**connections["default"].settings_dict}, "cancelled")
    answers: list[tuple[str, Any]] = []
    try:
        with _cancelled_again_and_again(wrapper):
            for turn in range(SWITCHES):
                word = list(clients)[turn % 2]
                wrapper.set_tenant(clients[word])
                with suppress(Error), wrapper.cursor() as cursor:
                    cursor.execute("SELECT number FROM members_member")
                    answers.append((word, cursor.fetchall()))
    finally:
        wrapper.close()
    return sum(found != [(word,)] for word, found in answers), len(answers)


@pytest.fixture
def with_canaries(new_client: NewClient) -> dict[str, Client]:
    clients = {word: new_client(word) for word in ("Acme", "Bravo")}
    for word, client in clients.items():
        canary(client, word)
    return clients


def test_r17_a_cancelled_switch_never_answers_from_the_other_client(with_canaries: dict[str, Client]) -> None:
    crossed, answers = _crossed(Slow, with_canaries)

    assert crossed == 0
    assert 0 < answers < SWITCHES, "No cancel met a switch, or all did: the test proves nothing."


def test_negative_control_a_connection_that_swallows_the_error_does_answer_from_the_other_client(
    with_canaries: dict[str, Client],
) -> None:
    crossed, _ = _crossed(Careless, with_canaries)

    assert crossed > 0


def _terminate(pid: int) -> None:
    """End a session of the application's login, as that login itself."""
    from tests.tenants.sql import answer, app_login

    with app_login() as connection:
        assert answer(connection, f"SELECT pg_terminate_backend({pid}, 5000)") == [(True,)]
