"""A task names its client, or runs nothing."""

from typing import Any

import pytest

from loyalty_saas.celery import app
from members.models import Member
from tenants.context import ClientUnavailable, client_connection, current_schema
from tenants.keys import new_schema_name
from tenants.models import Client
from tenants.postgresql.base import NoClient
from tenants.tasks import PlatformTask, TenantTask
from tests.conftest import NewClient
from tests.tenants.sql import canary

ran: list[Any] = []


@app.task(base=TenantTask, name="tests.look")  # type: ignore[untyped-decorator]
def look() -> list[str]:
    """Whom a task in a client sees."""
    ran.append(current_schema())
    return list(Member.objects.values_list("number", flat=True))


@app.task(base=PlatformTask, name="tests.look_over_clients")  # type: ignore[untyped-decorator]
def look_over_clients() -> int:
    """What a task of the platform sees of members."""
    return Member.objects.count()


@pytest.fixture(autouse=True, scope="module")
def _forgotten_afterwards() -> Any:
    yield
    for task in (look, look_over_clients):
        app.tasks.unregister(task.name)


def test_a_task_sees_the_client_it_names_and_stands_nowhere_afterwards(new_client: NewClient) -> None:
    acme, bravo = new_client("Acme"), new_client("Bravo")
    canary(acme, "acme")
    canary(bravo, "bravo")

    for client, word in ((acme, "acme"), (bravo, "bravo"), (acme, "acme")):
        assert look.apply(kwargs={"schema_name": client.schema_name}).get() == [word]
        assert client_connection().schema_name is None


def test_r18_a_task_for_an_unknown_suspended_or_closed_client_fails_and_runs_nothing(new_client: NewClient) -> None:
    names = [new_schema_name(), "public", ""]
    for status in (Client.Status.SUSPENDED, Client.Status.CLOSED):
        client = new_client()
        Client.objects.filter(pk=client.pk).update(status=status)
        names.append(client.schema_name)
    ran.clear()

    for name in names:
        result = look.apply(kwargs={"schema_name": name})
        assert isinstance(result.result, ClientUnavailable), name

    assert ran == []


def test_r18_a_task_without_a_client_fails_and_runs_nothing() -> None:
    ran.clear()

    assert isinstance(look.apply().result, TypeError)
    assert ran == []


def test_r18_a_task_of_the_platform_cannot_see_a_clients_rows() -> None:
    assert isinstance(look_over_clients.apply().result, NoClient)


def test_a_failing_task_leaves_nobody_in_its_client(acme: Client) -> None:
    schema_name = acme.schema_name
    client_connection().forget_client()

    @app.task(base=TenantTask, name="tests.fail")  # type: ignore[untyped-decorator]
    def fail() -> None:
        Member.objects.count()
        raise ZeroDivisionError

    try:
        assert isinstance(fail.apply(kwargs={"schema_name": schema_name}).result, ZeroDivisionError)
        assert client_connection().schema_name is None
    finally:
        app.tasks.unregister("tests.fail")
