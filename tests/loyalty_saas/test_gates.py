"""What the speed rests on, counted instead of timed: statements for each drain, sessions for each task, rows read."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from celery.fixups.django import DjangoWorkerFixup
from django.db import connections

from loyalty_saas.celery import app
from loyalty_saas.tasks import drain
from members.models import LedgerEntry
from members.services import accrual
from tenants.context import use_client
from tenants.models import Client
from tenants.postgresql.base import ClientCursor
from tenants.routers import CLIENT, PUBLIC
from tests.conftest import NewClient
from tests.loyalty_saas.backlogs import add_backlog
from tests.members.world import PENNY, credit, level, live, per_amount, rule

SILVER = {"basis": "spend", "period_months": 12, "levels": [level("silver", 50)]}


@contextmanager
def statements(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What is sent to the database meanwhile, COPY included."""
    sent: list[str] = []
    execute, copy = ClientCursor.execute, ClientCursor.copy_expert

    def counted(cursor: Any, query: Any, *rest: Any) -> None:
        sent.append(" ".join(str(query).split()))
        execute(cursor, query, *rest)

    def counted_copy(cursor: Any, query: Any, *rest: Any) -> None:
        sent.append(" ".join(str(query).split()))
        copy(cursor, query, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(ClientCursor, "execute", counted)
        patch.setattr(ClientCursor, "copy_expert", counted_copy)
        yield sent


def cost_of_batch(client: Client, monkeypatch: pytest.MonkeyPatch, *, purchases: int, lines: int) -> list[str]:
    """The statements of one batch with so many purchases, each by another member who had none before."""
    with use_client(client):
        add_backlog(purchases, members=purchases, lines=lines)
        before = LedgerEntry.objects.count()
        with statements(monkeypatch) as sent:
            credit(limit=500)
        assert LedgerEntry.objects.count() - before == purchases
    return sent


def test_a_batch_costs_as_many_statements_for_400_purchases_as_for_two(
    acme: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(PENNY, rule("euro", per_amount(1, 50), remainder="carry"), tiers=SILVER)
    cost_of_batch(acme, monkeypatch, purchases=1, lines=1)
    few = cost_of_batch(acme, monkeypatch, purchases=2, lines=1)
    many = cost_of_batch(acme, monkeypatch, purchases=400, lines=5)

    assert [sql[:60] for sql in many] == [sql[:60] for sql in few]
    # Two of them found that nothing was left.
    assert len(few) <= 40


def test_negative_control_a_batch_that_writes_one_by_one_is_counted(
    acme: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    live()
    cost_of_batch(acme, monkeypatch, purchases=1, lines=1)
    settle = accrual.tiers.settle

    def one_by_one(*, member_ids: Any, **given: Any) -> int:
        with connections[CLIENT].cursor() as cursor:
            for member_id in member_ids:
                cursor.execute("SELECT %s", [member_id])
        return settle(member_ids=member_ids, **given)

    monkeypatch.setattr(accrual.tiers, "settle", one_by_one)
    few = cost_of_batch(acme, monkeypatch, purchases=2, lines=1)
    many = cost_of_batch(acme, monkeypatch, purchases=400, lines=1)

    assert len(many) - len(few) == 398


def sessions() -> dict[str, int]:
    """The database's own number of each connection of this thread."""
    numbers = {}
    for alias in (CLIENT, PUBLIC):
        connections[alias].ensure_connection()
        numbers[alias] = connections[alias].connection.info.backend_pid
    return numbers


def run_tasks(worker: DjangoWorkerFixup, clients: list[Client]) -> list[dict[str, int]]:
    """A drain for each client in turn, three times, as a worker runs them; the sessions after each."""
    seen = []
    for client in clients * 3:
        with use_client(client):
            add_backlog(1, members=1)
        assert drain(schema_name=client.schema_name) == 1
        worker.close_database()
        seen.append(sessions())
    return seen


def test_no_task_opens_a_new_session(new_client: NewClient) -> None:
    clients = [new_client(name) for name in ("Acme", "Bravo", "Coda")]
    for client in clients:
        with use_client(client):
            live()
    before = sessions()

    assert run_tasks(DjangoWorkerFixup(app), clients) == [before] * 9


def test_negative_control_with_celery_s_default_each_task_does(
    new_client: NewClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = new_client()
    with use_client(client):
        live()
    worker = DjangoWorkerFixup(app)
    worker.db_reuse_max = None
    seen = [one[CLIENT] for one in run_tasks(worker, [client])]

    assert len(set(seen)) == 3


@pytest.mark.parametrize("backlog", [1_000, 20_000])
def test_claiming_and_taking_read_as_much_whatever_waits(acme: Client, backlog: int) -> None:
    """Of a backlog of any size, a batch reads what it claims: no scan, and no sort of all."""
    live()
    add_backlog(backlog, members=backlog // 20)
    connections["owner"].set_schema(acme.schema_name)
    with connections["owner"].cursor() as owner:
        owner.execute("ANALYZE members_workitem")
    connections["owner"].set_schema_to_public()

    with connections[CLIENT].cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {accrual._CLAIM_MEMBERS}", [20])
        claim = read_rows(cursor.fetchone()[0][0]["Plan"], table="members_workitem")
        cursor.execute(
            "SELECT array_agg(id) FROM (SELECT member_id AS id FROM members_workitem ORDER BY 1 LIMIT 20) AS w"
        )
        members = cursor.fetchone()[0]
        given = {"members": members, "shares": [1] * 20}
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {accrual._SELECT_ITEMS}", given)
        take = read_rows(cursor.fetchone()[0][0]["Plan"], table="members_workitem")

    assert (claim, take <= 20 * 20) == (20, True)


def read_rows(plan: dict[str, Any], *, table: str) -> int:
    """How many rows of the table a plan has read."""
    own = plan["Actual Rows"] * plan["Actual Loops"] if plan.get("Relation Name") == table else 0
    return round(own) + sum(read_rows(part, table=table) for part in plan.get("Plans", []))
