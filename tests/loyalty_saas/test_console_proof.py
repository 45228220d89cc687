"""How the ledger stands, in the console: what waits, the last proof, and books that do not add up before all else."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from loyalty_saas import tasks, workers
from members.models import WorkItem
from tenants.access import Actor
from tenants.context import client_connection, use_client
from tenants.models import AuditEvent, Client, KpiDay, LedgerCheck, Provider, WaitingClient
from tenants.schemas.owner import owner_atomic, standing_in
from tests.http import ClientBrowser
from tests.loyalty_saas.consoles import a_client, a_day, clients_without_a_schema_go, msp, staff
from tests.loyalty_saas.portals import words
from tests.loyalty_saas.shops import credit, open_shop, sale
from tests.machines import Machine
from tests.people import browser, person

__all__ = ["clients_without_a_schema_go", "msp", "staff"]

LAW = "balance is the sum of the entries"


def checked(client: Client, *, back: timedelta = timedelta(minutes=5), **broken: int) -> LedgerCheck:
    """A proof of that client's books, so long ago."""
    at = timezone.now() - back
    return LedgerCheck.objects.create(
        client=client, checked_at=at, checks=39, broken=broken, entries=12_345, held_at=None if broken else at
    )


@pytest.fixture
def console(provider: Provider) -> ClientBrowser:
    """The console, open before one of Northwind's people."""
    return browser(None, person(Actor.PROVIDER, provider=provider))


# ── what is shown ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_books_that_do_not_add_up_come_before_every_other_trouble(msp: Provider, staff: ClientBrowser) -> None:
    stuck, wrong = a_client(msp, "Aardvark"), a_client(msp, "Zebra")
    for one in (stuck, wrong):
        a_day(one)
    WaitingClient.objects.create(schema_name=stuck.schema_name, since=timezone.now() - timedelta(hours=1))
    checked(stuck)
    checked(wrong, **{LAW: 2})
    said = words(staff.get("/clients/"))
    assert said.index("Zebra") < said.index("Aardvark")
    overview = words(staff.get("/"))
    assert f"The books do not add up. This does not hold: {LAW}." in overview
    assert "1 client does not add up" in overview
    assert "1 of 2" in overview
    exported = b"".join(staff.get("/clients/?format=csv").streaming_content).decode()
    assert "The books do not add up" in exported


def test_books_not_proven_for_long_want_somebody_today(msp: Provider, staff: ClientBrowser) -> None:
    client = a_client(msp)
    a_day(client)
    checked(client, back=timedelta(hours=40))
    assert "The books have not been proven for more than a day." in words(staff.get("/"))


def test_the_page_tells_the_last_proof_and_the_laws_that_did_not_hold(msp: Provider, staff: ClientBrowser) -> None:
    client = a_client(msp)
    a_day(client, waiting=7)
    checked(client, **{LAW: 2, "debt only where the unit allows it": 1})
    said = words(staff.get(f"/clients/{client.pk}/"))
    for part in ("Does not add up", "37 of 39", "12,345", "Balance is the sum of the entries", "2 rows", "1 row"):
        assert part in said, part


def test_a_client_never_proven_says_so(msp: Provider, staff: ClientBrowser) -> None:
    client = a_client(msp)
    assert "Not proven yet" in words(staff.get(f"/clients/{client.pk}/"))


def test_what_waits_is_counted_in_the_clients_own_books(console: ClientBrowser, acme: Client) -> None:
    open_shop()
    till = Machine(acme)
    till.post("/members", {"identifiers": {"pos": "ana-1"}})
    for receipt in ("R-1", "R-2"):
        sale(till, receipt)
    WorkItem.objects.filter(pk=WorkItem.objects.first().pk).update(quarantined_at=timezone.now())  # type: ignore[union-attr]
    set_aside, waiting = WorkItem.objects.exclude(quarantined_at=None).count(), WorkItem.objects.count()
    said = words(console.get(f"/clients/{acme.pk}/ledger/"))
    assert f"Waiting for points {waiting - set_aside}" in said
    assert f"Set aside {set_aside}" in said


# ── having them proven ──────────────────────────────────────────────────────────────────────────────────────────────


def test_the_books_are_proven_on_demand_by_a_worker_and_it_is_noted(
    console: ClientBrowser, acme: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[object] = []
    monkeypatch.setattr(
        workers, "send_once", lambda **given: sent.append((given["task"], given["schema_name"])) or True
    )
    assert console.post(f"/clients/{acme.pk}/prove/").status_code == 302
    assert sent == [(tasks.prove, acme.schema_name)]
    assert AuditEvent.objects.filter(client=acme, action="books.proof_asked").exists()


def test_nobody_elses_books_are_looked_into_or_proven(staff: ClientBrowser, bravo: Client) -> None:
    assert staff.get(f"/clients/{bravo.pk}/ledger/").status_code == 404
    assert staff.post(f"/clients/{bravo.pk}/prove/").status_code == 404


def test_a_worker_proves_and_tells(acme: Client) -> None:
    open_shop()
    client_connection().forget_client()
    assert tasks.prove(schema_name=acme.schema_name) == 0
    told = LedgerCheck.objects.get(client=acme)
    assert (told.broken, told.checks > 30, told.held_at) == ({}, True, told.checked_at)


def test_each_client_is_proven_once_after_each_night(acme: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    monkeypatch.setattr(workers, "send_once", lambda **given: sent.append(given["schema_name"]) or True)

    def is_sent() -> bool:
        sent.clear()
        tasks.dispatch_proofs()
        return acme.schema_name in sent

    client_connection().forget_client()
    assert not is_sent(), "before the night's work is done"
    now = timezone.now()
    for back in range(3):
        KpiDay.objects.create(client=acme, day=now.date() - timedelta(days=back), counted_at=now)
    assert is_sent()
    check = checked(acme, back=timedelta())
    assert not is_sent()
    LedgerCheck.objects.filter(pk=check.pk).update(checked_at=now - timedelta(days=1, hours=1))
    assert is_sent()


# ── from the command line ───────────────────────────────────────────────────────────────────────────────────────────


def prove(client: Client) -> dict[str, object]:
    """What the command says of a client."""
    out = StringIO()
    client_connection().forget_client()
    call_command("prove_books", client=client.slug, stdout=out)
    return dict(json.loads(out.getvalue()))


def test_the_command_proves_one_clients_books(acme: Client) -> None:
    open_shop()
    said = prove(acme)
    assert (said["client"], said["broken"], len(said["checksums"]) >= 5) == (acme.slug, {}, True)  # type: ignore[arg-type]


def test_the_command_fails_in_plain_words_when_the_books_do_not_add_up(acme: Client) -> None:
    open_shop()
    till = Machine(acme)
    till.post("/members", {"identifiers": {"pos": "ana-1"}})
    sale(till, "R-1")
    with use_client(acme):
        credit()
    _spoil(acme, "+ 1")
    with pytest.raises(CommandError, match=f"The books do not add up.\n{acme.slug}: not “") as refused:
        prove(acme)
    assert refused.value.returncode == 1
    assert LAW in str(refused.value)
    _spoil(acme, "- 1")
    assert prove(acme)["broken"] == {}


def test_the_command_knows_no_other_client() -> None:
    with pytest.raises(CommandError, match="there is no client"):
        call_command("prove_books", client="nobody")


def _spoil(client: Client, change: str) -> None:
    """As the owner, past all triggers."""
    table = "members_pointsaccount"
    with standing_in(client.schema_name) as connection, owner_atomic(), connection.cursor() as cursor:
        cursor.execute(
            f"ALTER TABLE {table} DISABLE TRIGGER USER; UPDATE {table} SET balance = balance {change};"
            f"ALTER TABLE {table} ENABLE TRIGGER USER"
        )
