"""The audit chain: nothing in it can be changed, taken out, put in or moved unseen."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from django.db import ProgrammingError, connections

from tenants.context import public_atomic
from tenants.models import AuditEvent, Client
from tenants.schemas.owner import run
from tenants.services import audit

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def _record(client: Client | None, count: int = 1) -> list[AuditEvent]:
    with public_atomic():
        return [
            audit.record(
                action="member.merged",
                actor="user:1",
                on_behalf_of="provider:2",
                subject=f"member {number}",
                detail={"ünïcode": [number, None, True], "at": NOW},
                client=client,
                at=NOW + timedelta(microseconds=number),
            )
            for number in range(count)
        ]


def _tamper(sql: str, client: Client) -> None:
    """Change rows as only the owner of the tables could."""
    run("ALTER TABLE tenants_auditevent DISABLE TRIGGER USER")
    try:
        run(sql, {"client": client.pk})
    finally:
        run("ALTER TABLE tenants_auditevent ENABLE TRIGGER USER")


def test_an_untouched_chain_has_no_problems_and_each_client_its_own(bravo: Client, acme: Client) -> None:
    _record(acme, 5)
    _record(bravo, 2)
    _record(None)

    assert audit.verify_chain(acme) == audit.verify_chain(bravo) == audit.verify_chain(None) == []
    assert list(AuditEvent.objects.filter(client=acme).order_by("sequence").values_list("sequence", flat=True)) == [
        1,
        2,
        3,
        4,
        5,
    ]
    assert audit.head(bravo)[0] == 2


@pytest.mark.parametrize(
    ("how", "problem"),
    [
        ("UPDATE {} SET actor = 'nobody' WHERE sequence = 3", "Event 3 was changed."),
        ("UPDATE {} SET detail = '{{}}' WHERE sequence = 3", "Event 3 was changed."),
        ("UPDATE {} SET at = at - interval '1 day' WHERE sequence = 3", "Event 3 was changed."),
        ("UPDATE {} SET hash = repeat('0', 64) WHERE sequence = 3", "Event 4 does not follow event 3."),
        ("DELETE FROM {} WHERE sequence = 3", "Event 3 is missing."),
        ("DELETE FROM {} WHERE sequence = 1", "Event 1 is missing."),
        (
            "UPDATE {} SET sequence = CASE sequence WHEN 2 THEN 103 ELSE 102 END WHERE sequence IN (2, 3)",
            "Event 2 is missing.",
        ),
        ("UPDATE {} SET sequence = sequence + 1 WHERE sequence = 5", "Event 5 is missing."),
    ],
)
def test_r29_tampering_is_found(acme: Client, how: str, problem: str) -> None:
    _record(acme, 5)

    _tamper(how.format("tenants_auditevent").replace("WHERE", "WHERE client_id = %(client)s AND"), acme)

    assert problem in audit.verify_chain(acme)


def test_r29_a_cut_tail_and_a_chain_written_anew_are_found_through_the_anchor(acme: Client) -> None:
    _record(acme, 5)
    anchor = audit.head(acme)
    assert audit.verify_chain(acme, anchor=anchor) == []

    _tamper("DELETE FROM tenants_auditevent WHERE client_id = %(client)s AND sequence = 5", acme)
    assert audit.verify_chain(acme) == []
    assert audit.verify_chain(acme, anchor=anchor) == ["Event 5 is not the one that was anchored."]

    _tamper("DELETE FROM tenants_auditevent WHERE client_id = %(client)s", acme)
    _record(acme, 6)
    assert audit.verify_chain(acme) == []
    assert audit.verify_chain(acme, anchor=anchor) == []  # the same events, so the same chain
    _tamper("DELETE FROM tenants_auditevent WHERE client_id = %(client)s", acme)
    with public_atomic():
        for number in range(6):
            audit.record(action="other", actor="user:1", subject=str(number), client=acme, at=NOW)
    assert audit.verify_chain(acme, anchor=anchor) == ["Event 5 is not the one that was anchored."]


@pytest.mark.parametrize("how", ["UPDATE tenants_auditevent SET actor = ''", "DELETE FROM tenants_auditevent"])
def test_the_application_cannot_change_an_event(acme: Client, how: str) -> None:
    _record(acme)

    with pytest.raises(ProgrammingError, match="permission denied"), connections["public"].cursor() as cursor:
        cursor.execute(how)


def test_an_event_is_there_only_if_its_transaction_is(acme: Client) -> None:
    def fail() -> None:
        with public_atomic():
            audit.record(action="client.closed", actor="user:1", client=acme, at=NOW)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert audit.head(acme)[0] == 0


def _at_once(work: Callable[[], object]) -> None:
    def one(_: int) -> None:
        try:
            with public_atomic():
                work()
        finally:
            connections["public"].close()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(one, range(40)))


def test_events_recorded_at_once_stand_in_one_chain(acme: Client) -> None:
    _at_once(lambda: audit.record(action="x", actor="user:1", client=acme, at=NOW))

    assert audit.verify_chain(acme) == []
    assert audit.head(acme)[0] == 40


def test_negative_control_without_the_lock_events_take_each_others_place(
    acme: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "_hold_chain", lambda client: None)

    with pytest.raises(Exception, match="auditevent_sequence_has_no_fork"):
        _at_once(lambda: audit.record(action="x", actor="user:1", client=acme, at=NOW))
