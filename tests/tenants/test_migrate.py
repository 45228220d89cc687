"""`migrate` brings public, clients and spares up to date; what fails is closed, what was interrupted goes on."""

import io
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connections

import rewards.migrations
from tenants.context import use_client
from tenants.models import AuditEvent, Client, SchemaScript, SpareSchema
from tenants.routers import OWNER
from tenants.schemas import catalog, migrating, roles, script
from tenants.schemas.owner import rows, run
from tenants.services import schemas
from tests.conftest import NewClient
from tests.tenants.sql import ask

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
MODULE = "probe_migrations"
HEAD = "from django.db import migrations, models\n\n"
LANDED = sorted(path.stem for path in Path(rewards.migrations.__file__).parent.glob("0*.py"))
# Adds a column, fills it by Python, and refuses a client with a reward called `bad`.
PROBE = """
def fill(apps, schema_editor):
    rewards = apps.get_model("rewards", "Reward").objects.using(schema_editor.connection.alias)
    if rewards.filter(code="bad").exists():
        raise ValueError("a bad reward")
    rewards.update(probe=7)


class Migration(migrations.Migration):
    dependencies = [("rewards", "LEAF")]
    operations = [
        migrations.AddField("reward", "probe", models.IntegerField(default=0)),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.AddIndex("reward", models.Index(fields=["probe"], name="reward_probe")),
        migrations.CreateModel("Extra", [("id", models.BigAutoField(primary_key=True))]),
    ]
"""
BROKEN = """
class Migration(migrations.Migration):
    dependencies = [("rewards", "LEAF")]
    operations = [migrations.RunSQL("SELECT no_such_column FROM rewards_reward")]
"""
CONCURRENT = """
from django.contrib.postgres.operations import AddIndexConcurrently


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("rewards", "9001_probe")]
    operations = [AddIndexConcurrently("reward", models.Index(fields=["name"], name="reward_name"))]
"""

AddMigration = Callable[..., SchemaScript]


@pytest.fixture
def add_migration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AddMigration]:
    """Gives the app `rewards` further migrations in this test; answers the script that is kept for them then."""
    package = tmp_path / MODULE
    shutil.copytree(Path(rewards.migrations.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(settings, "MIGRATION_MODULES", {"rewards": MODULE}, raising=False)
    hidden = list(SpareSchema.objects.filter(taken_at=None).values_list("pk", flat=True))
    SpareSchema.objects.filter(pk__in=hidden).update(taken_at=datetime.now(UTC))

    def add(**named: str) -> SchemaScript:
        for name, text in named.items():
            (package / f"{name.removeprefix('m')}.py").write_text(HEAD + text.replace("LEAF", LANDED[-1]))
        return schemas.ensure_script(at=NOW, progress=lambda words: None)

    yield add
    monkeypatch.undo()
    for module in [name for name in sys.modules if name.startswith(MODULE)]:
        del sys.modules[module]
    script.migrations_hash.cache_clear()
    SpareSchema.objects.filter(pk__in=hidden).update(taken_at=None)


@pytest.fixture
def migrate(monkeypatch: pytest.MonkeyPatch) -> Callable[..., schemas.Outcome]:
    """Migrates these clients and no others."""

    def run_over(clients: list[Client], kept: SchemaScript, progress: Any = lambda words: None) -> schemas.Outcome:
        monkeypatch.setattr(schemas, "schemas_in_use", lambda: [client.schema_name for client in clients])
        return schemas.migrate_clients(kept, at=NOW, progress=progress)

    return run_over


def _reward(client: Client, code: str) -> None:
    with use_client(client):
        ask(
            "INSERT INTO rewards_reward (id, code, name, kind, unit_code, price, value, active)"
            " VALUES (gen_random_uuid(), %s, 'x', 'money', 'points', 1, 1, true)",
            [code],
        )


def _has_probe(client: Client) -> bool:
    with use_client(client):
        return bool(ask("SELECT 1 FROM pg_attribute WHERE attrelid = 'rewards_reward'::regclass AND attname = 'probe'"))


def _records(client: Client) -> list[str]:
    return [name for (name,) in rows(f"SELECT name FROM {client.schema_name}.django_migrations WHERE app = 'rewards'")]


def _status(client: Client) -> str:
    return Client.objects.get(pk=client.pk).status


# ── over several clients ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_new_migration_reaches_every_client_with_its_data(
    new_client: NewClient, add_migration: AddMigration, migrate: Callable[..., schemas.Outcome]
) -> None:
    clients = [new_client() for _ in range(3)]
    _reward(clients[0], "good")

    outcome = migrate(clients, add_migration(m9001_probe=PROBE))

    assert (sorted(outcome.migrated), outcome.failed) == (sorted(client.schema_name for client in clients), {})
    assert all(_has_probe(client) and _records(client) == [*LANDED, "9001_probe"] for client in clients)
    with use_client(clients[0]):
        assert ask("SELECT probe FROM rewards_reward") == [(7,)]
        assert ask("SELECT count(*) FROM rewards_extra") == [(0,)]


def test_a_migrated_client_equals_a_new_one(
    acme: Client, add_migration: AddMigration, migrate: Callable[..., schemas.Outcome]
) -> None:
    kept = add_migration(m9001_probe=PROBE)
    migrate([acme], kept)
    (new,) = schemas.make_spares(1, at=NOW)

    assert catalog.differences(catalog.describe(new), catalog.describe(acme.schema_name)) == []
    schemas.drop_schema(new)


def test_a_client_whose_migration_fails_is_closed_and_the_others_go_on(
    new_client: NewClient, add_migration: AddMigration, migrate: Callable[..., schemas.Outcome]
) -> None:
    clients = [new_client() for _ in range(3)]
    bad = clients[1]
    _reward(bad, "bad")

    outcome = migrate(clients, add_migration(m9001_probe=PROBE))

    assert outcome.failed == {bad.schema_name: "ValueError: a bad reward"}
    assert [_status(client) for client in clients] == ["active", "closed", "active"]
    assert [_has_probe(client) for client in clients] == [True, False, True]
    assert _records(bad) == LANDED
    assert "a bad reward" in Client.objects.get(pk=bad.pk).closed_reason
    assert [event.action for event in AuditEvent.objects.filter(client=bad)] == ["client.closed"]


def test_a_closed_client_is_opened_again_when_its_migration_succeeds(
    new_client: NewClient, add_migration: AddMigration, migrate: Callable[..., schemas.Outcome]
) -> None:
    good, bad = new_client(), new_client()
    _reward(bad, "bad")
    kept = add_migration(m9001_probe=PROBE)
    migrate([good, bad], kept)
    run(f"DELETE FROM {bad.schema_name}.rewards_reward")

    outcome = migrate([good, bad], kept)

    assert outcome.migrated == [bad.schema_name]
    assert _status(bad) == "active"


def test_a_client_closed_by_its_provider_stays_closed(
    acme: Client, add_migration: AddMigration, migrate: Callable[..., schemas.Outcome]
) -> None:
    Client.objects.filter(pk=acme.pk).update(status="closed", closed_reason="Out of business")

    assert migrate([acme], add_migration(m9001_probe=PROBE)).migrated == [acme.schema_name]
    assert _status(acme) == "closed"


def test_a_client_whose_schema_is_missing_is_closed_and_the_others_go_on(
    new_client: NewClient, add_migration: AddMigration, migrate: Callable[..., schemas.Outcome]
) -> None:
    good, gone = new_client(), new_client()
    run(f"DROP SCHEMA {gone.schema_name} CASCADE")

    outcome = migrate([good, gone], add_migration(m9001_probe=PROBE))

    assert outcome.migrated == [good.schema_name]
    assert list(outcome.failed) == [gone.schema_name]
    assert _status(gone) == "closed"
    _forget(gone)


def test_when_the_first_two_fail_nothing_more_is_touched_and_nobody_is_closed(
    new_client: NewClient, add_migration: AddMigration, migrate: Callable[..., schemas.Outcome]
) -> None:
    clients = [new_client() for _ in range(3)]
    for client in clients[:2]:
        _reward(client, "bad")

    with pytest.raises(schemas.MigrationsBroken):
        migrate(clients, add_migration(m9001_probe=PROBE))

    assert [_status(client) for client in clients] == ["active"] * 3
    assert not any(_has_probe(client) for client in clients)


def test_a_spare_of_the_former_kind_goes_first_and_stale_spares_are_dropped(
    acme: Client, add_migration: AddMigration, migrate: Callable[..., schemas.Outcome]
) -> None:
    stale = schemas.make_spares(2, at=NOW)
    kept = add_migration(m9001_probe=PROBE)
    seen: list[str] = []

    migrate([acme], kept, progress=lambda words: seen.append(f"{words} {_has_probe(acme)}"))

    assert seen[0].endswith("False")
    assert seen[1].endswith("True")
    assert not SpareSchema.objects.filter(pk__in=stale).exists()
    assert not rows("SELECT 1 FROM pg_roles WHERE rolname = ANY(%s)", [stale])


def test_migrations_that_make_no_whole_schema_stop_before_any_client(acme: Client, add_migration: AddMigration) -> None:
    with pytest.raises(Exception, match="no_such_column"):
        add_migration(m9001_broken=BROKEN)

    assert _records(acme) == LANDED
    assert _status(acme) == "active"


def test_an_interrupted_run_goes_on_where_it_was(
    new_client: NewClient, add_migration: AddMigration, migrate: Callable[..., schemas.Outcome]
) -> None:
    clients = [new_client() for _ in range(3)]
    kept = add_migration(m9001_probe=PROBE)

    def interrupt(words: str) -> None:
        if any(_has_probe(client) for client in clients):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        migrate(clients, kept, progress=interrupt)
    first = [client.schema_name for client in clients if _has_probe(client)]
    outcome = migrate(clients, kept)

    assert len(first) == 1
    assert sorted(outcome.migrated + first) == sorted(client.schema_name for client in clients)


def test_clients_at_different_migrations_all_arrive(
    new_client: NewClient, add_migration: AddMigration, migrate: Callable[..., schemas.Outcome]
) -> None:
    ahead, behind = new_client(), new_client()
    migrate([ahead], add_migration(m9001_probe=PROBE))

    outcome = migrate([ahead, behind], add_migration(m9002_concurrent=CONCURRENT))

    assert sorted(outcome.migrated) == sorted([ahead.schema_name, behind.schema_name])
    for client in (ahead, behind):
        with use_client(client):
            assert ask("SELECT count(*) FROM pg_index WHERE indexrelid = 'reward_name'::regclass AND indisvalid") == [
                (1,)
            ]


def test_a_locked_client_is_tried_again_when_the_others_are_through(
    new_client: NewClient,
    add_migration: AddMigration,
    migrate: Callable[..., schemas.Outcome],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    locked, free = new_client(), new_client()
    kept = add_migration(m9001_probe=PROBE)
    monkeypatch.setattr(migrating, "LOCK_TIMEOUT", "100ms")
    monkeypatch.setattr(migrating, "RETRY_PAUSES", (0.5,) * 10)
    said: list[str] = []

    with ThreadPoolExecutor(1) as threads, _held(locked) as let_go:
        running = threads.submit(_apart, lambda: migrate([locked, free], kept, progress=said.append))
        while not any(words.startswith("once more") for words in said):
            assert not running.done()
        let_go()
        outcome = running.result()

    assert sorted(outcome.migrated) == sorted([locked.schema_name, free.schema_name])
    assert outcome.failed == {}


def test_a_client_that_stays_locked_is_named_as_failed(
    new_client: NewClient,
    add_migration: AddMigration,
    migrate: Callable[..., schemas.Outcome],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free, locked = new_client(), new_client()
    kept = add_migration(m9001_probe=PROBE)
    monkeypatch.setattr(migrating, "LOCK_TIMEOUT", "50ms")
    monkeypatch.setattr(migrating, "RETRY_PAUSES", (0.01,))

    with ThreadPoolExecutor(1) as threads, _held(locked):
        outcome = threads.submit(_apart, lambda: migrate([free, locked], kept)).result()

    assert list(outcome.failed) == [locked.schema_name]
    assert "locked" in outcome.failed[locked.schema_name]


class _held:  # noqa: N801 (reads as a verb)
    """A client whose rewards somebody is reading, in a transaction that does not end."""

    def __init__(self, client: Client) -> None:
        self.standing = use_client(client)

    def __enter__(self) -> Callable[[], None]:
        self.standing.__enter__()
        connections["default"].set_autocommit(False)
        ask("SELECT * FROM rewards_reward")
        return self.let_go

    def let_go(self) -> None:
        connections["default"].rollback()

    def __exit__(self, *failure: Any) -> None:
        self.let_go()
        connections["default"].set_autocommit(True)
        self.standing.__exit__(None, None, None)


def _apart(work: Callable[[], schemas.Outcome]) -> schemas.Outcome:
    try:
        return work()
    finally:
        connections.close_all()


# ── the command ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _command(*arguments: str) -> dict[str, Any]:
    out = io.StringIO()
    call_command("migrate", *arguments, stdout=out, stderr=io.StringIO())
    return json.loads(out.getvalue()) if out.getvalue() else {}


def test_a_second_run_finds_nothing_to_do(acme: Client) -> None:
    summary = _command()

    assert {name: summary[name] for name in ("public", "clients", "failed", "spares")} == {
        "public": [], "clients": 0, "failed": {}, "spares": 0,
    }  # fmt: skip
    assert _command("--check") == {"public": [], "clients": {}}


def test_check_fails_and_names_what_a_client_lacks(acme: Client, add_migration: AddMigration) -> None:
    add_migration(m9001_probe=PROBE)
    out = io.StringIO()

    with pytest.raises(CommandError):
        call_command("migrate", "--check", stdout=out, stderr=io.StringIO())

    assert json.loads(out.getvalue())["clients"][acme.schema_name] == ["rewards.9001_probe"]
    assert _command("--plan")["clients"][acme.schema_name] == ["rewards.9001_probe"]
    assert not _has_probe(acme)


def test_an_app_of_public_can_be_migrated_alone_and_one_of_clients_cannot() -> None:
    assert _command("sessions")["public"] == []
    assert _command("sessions", "0001")["public"] == []
    with pytest.raises(CommandError, match="all apps together"):
        _command("members")
    with pytest.raises(CommandError, match="no single migration"):
        _command("sessions", "9999")


def test_migrate_schemas_points_to_migrate() -> None:
    with pytest.raises(CommandError, match=r"manage\.py migrate"):
        call_command("migrate_schemas")


def test_without_the_owners_login_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(connections.settings, OWNER)

    with pytest.raises(CommandError, match="DATABASE_URL"):
        _command()


def test_a_login_with_rights_of_its_own_is_refused() -> None:
    app = roles.app_role()
    run(f"ALTER ROLE {app} CREATEDB")
    try:
        with pytest.raises(CommandError, match="rolcreatedb"):
            _command()
    finally:
        run(f"ALTER ROLE {app} NOCREATEDB")


def test_a_login_whose_password_changed_gets_in_again() -> None:
    run(f"ALTER ROLE {roles.app_role()} PASSWORD 'another'")
    connections["public"].close()

    _command()

    assert Client.objects.using("public").count() >= 0


def _forget(client: Client) -> None:
    """Take a client out of the list that has no schema any more, which later runs would find missing."""
    run(
        "ALTER TABLE tenants_auditevent DISABLE TRIGGER USER;"
        f"DELETE FROM tenants_auditevent WHERE client_id = '{client.pk}';"
        "ALTER TABLE tenants_auditevent ENABLE TRIGGER USER"
    )
    roles.drop_roles([client.schema_name])
    client.delete()
