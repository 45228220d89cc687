"""Schemas for clients: made in advance, taken for good, migrated together, dropped. The owner's login makes them."""

from collections.abc import Callable
from datetime import datetime, timedelta

from django.db.migrations.executor import MigrationExecutor

from tenants.context import public_atomic
from tenants.keys import new_schema_name
from tenants.models import Client, SchemaScript, SpareSchema
from tenants.routers import OWNER, belongs_to_client
from tenants.schemas import migrating, roles, script
from tenants.schemas.migrating import MigrationsBroken, Outcome
from tenants.schemas.owner import owner_atomic, owner_connection, quoted, run, schemas_held
from tenants.schemas.script import ScriptError
from tenants.services import audit

__all__ = ["MigrationsBroken", "NoSpareSchema", "Outcome", "SchemaInUse", "ScriptError"]

TAKEN_FOR = timedelta(minutes=10)
_MIGRATION_FAILED = "Migration failed: "

Progress = Callable[[str], None]


class NoSpareSchema(Exception):
    """No schema stands ready: a worker has to make some."""


class SchemaInUse(Exception):
    """An open client lives in the schema."""


# ── spares ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def claim_spare(*, at: datetime) -> str:
    """
    Take a spare schema for good, in the caller's transaction over the public tables; commit it before using it.

    :raises NoSpareSchema: if none stands ready for the migrations of this code
    """
    ready = SpareSchema.objects.filter(taken_at=None, script_hash=script.migrations_hash()).order_by("made_at")
    spare = ready.select_for_update(skip_locked=True).first()
    if spare is None:
        raise NoSpareSchema("No spare schema stands ready.")
    spare.taken_at = at
    spare.save(update_fields=["taken_at"])
    return spare.schema_name


def settle_claim(schema_name: str) -> None:
    """
    Say, in the transaction that makes its client, that a taken schema has found its owner.

    :raises NoSpareSchema: if that took so long that the schema was given up, and may be gone
    """
    deleted, _ = SpareSchema.objects.filter(schema_name=schema_name).exclude(taken_at=None).delete()
    if not deleted:
        raise NoSpareSchema(f"{schema_name} was given up.")


def refill_spares(*, target: int, at: datetime) -> int:
    """Make spare schemas until `target` stand ready, dropping what failed onboardings left; how many were made."""
    with schemas_held():
        _drop_abandoned(at=at)
        ready = SpareSchema.objects.using(OWNER).filter(taken_at=None, script_hash=script.migrations_hash()).count()
        return len(make_spares(max(0, target - ready), at=at))


def make_spares(count: int, *, at: datetime) -> list[str]:
    """Make that many schemas with their roles from the kept script. :raises NoSpareSchema: without a script"""
    kept = script.kept_script()
    if kept is None:
        raise NoSpareSchema("No script is kept for these migrations: run `manage.py migrate`.")
    names = [new_schema_name() for _ in range(count)]
    roles.create_roles(names)
    for name in names:
        with owner_atomic():
            script.make_from(kept.script, name)
            SpareSchema.objects.using(OWNER).create(schema_name=name, script_hash=kept.hash, made_at=at)
    return names


def drop_schema(schema_name: str) -> None:
    """Remove a schema with its role and all that is in it. :raises SchemaInUse: if its client is not closed"""
    client = Client.objects.using(OWNER).filter(schema_name=schema_name).first()
    if client and client.status != Client.Status.CLOSED:
        raise SchemaInUse(f"{schema_name} belongs to {client.slug}.")
    with owner_atomic():
        run(f"DROP SCHEMA IF EXISTS {quoted(schema_name)} CASCADE")
        roles.drop_roles([schema_name])
        SpareSchema.objects.using(OWNER).filter(schema_name=schema_name).delete()


def _drop_abandoned(*, at: datetime) -> None:
    """Drop what onboardings took and left, and roles whose schema was never made."""
    left = SpareSchema.objects.using(OWNER).filter(taken_at__lt=at - TAKEN_FOR)
    for name in left.values_list("schema_name", flat=True):
        drop_schema(name)
    roles.drop_roles(roles.roles_without_schema())


# ── migrating ───────────────────────────────────────────────────────────────────────────────────────────────────────


def public_executor(progress: Callable[..., None] | None = None) -> MigrationExecutor:
    """Django's executor over the public schema."""
    return MigrationExecutor(owner_connection(), progress)


def public_targets(executor: MigrationExecutor) -> list[tuple[str, str]]:
    """The last migrations of the apps whose tables stand in public."""
    return [node for node in executor.loader.graph.leaf_nodes() if not belongs_to_client(node[0])]


def ensure_script(*, at: datetime, progress: Progress) -> SchemaScript:
    """
    The script for this code's migrations, made and proved if there is none yet.

    :raises ScriptError: if a schema made from it would differ from one that the migrations make
    """
    script.migrations_hash.cache_clear()
    if known := script.kept_script():
        return known
    progress("making a schema by all migrations, and the script from it")
    stock, trial = new_schema_name(), new_schema_name()
    roles.create_roles([stock, trial])
    try:
        script.migrate_stock(stock)
        text = script.write_script(stock)
        with owner_atomic():
            script.make_from(text, trial)
        script.check_equal(trial, like=stock)
        return script.keep(text, like=stock)
    finally:
        drop_schema(stock)
        drop_schema(trial)


def schemas_in_use() -> list[str]:
    """Schemas that hold a client or are about to, oldest first."""
    clients = list(Client.objects.using(OWNER).order_by("created_at").values_list("schema_name", flat=True))
    taken = SpareSchema.objects.using(OWNER).exclude(taken_at=None).exclude(schema_name__in=clients)
    return [*clients, *taken.values_list("schema_name", flat=True)]


def migrate_clients(kept: SchemaScript, *, at: datetime, progress: Progress) -> Outcome:
    """
    Bring every client's schema up to date; a spare of the former kind goes first. Clients that fail are closed.

    :raises MigrationsBroken: if that spare fails, or the first two clients do; then nobody is closed
    """
    stale = _withdraw_stale(kept, at=at)
    try:
        _migrate_canary(stale[:1], kept, progress=progress)
        in_use = [name for name in schemas_in_use() if name not in stale]
        outcome = migrating.migrate_schemas(in_use, rights_text=kept.rights, progress=progress)
    finally:
        for name in stale:
            drop_schema(name)
    _close_failed(outcome, at=at)
    _reopen(outcome, at=at)
    return outcome


def _withdraw_stale(kept: SchemaScript, *, at: datetime) -> list[str]:
    """Take spares of other migrations out of the pool, so that nobody claims one from now on."""
    with owner_atomic():
        spares = SpareSchema.objects.using(OWNER).filter(taken_at=None).exclude(script_hash=kept.hash)
        names = list(spares.select_for_update().values_list("schema_name", flat=True))
        SpareSchema.objects.using(OWNER).filter(schema_name__in=names).update(taken_at=at)
    return names


def _migrate_canary(names: list[str], kept: SchemaScript, *, progress: Progress) -> None:
    for error in migrating.migrate_schemas(names, rights_text=kept.rights, progress=progress).failed.values():
        raise MigrationsBroken(f"a spare schema: {error}")


def unmigrated(schema_names: list[str]) -> dict[str, list[str]]:
    """The names of the migrations that schemas lack; of a schema that is not there, `missing`."""
    return {
        name: ["missing"] if group.steps is None else [step.name for step in group.steps]
        for group in migrating.pending(schema_names)
        for name in group.names
    }


def _close_failed(outcome: Outcome, *, at: datetime) -> None:
    for schema_name, error in outcome.failed.items():
        reason = f"{_MIGRATION_FAILED}{error}"[:200]
        _set_status(schema_name, of=Client.Status.ACTIVE, to=Client.Status.CLOSED, reason=reason, at=at)


def _reopen(outcome: Outcome, *, at: datetime) -> None:
    """Open again what a former failure closed, and only that."""
    closed = Client.objects.filter(schema_name__in=outcome.migrated, closed_reason__startswith=_MIGRATION_FAILED)
    for schema_name in closed.values_list("schema_name", flat=True):
        _set_status(schema_name, of=Client.Status.CLOSED, to=Client.Status.ACTIVE, reason="", at=at)


def _set_status(schema_name: str, *, of: Client.Status, to: Client.Status, reason: str, at: datetime) -> None:
    with public_atomic():
        client = Client.objects.select_for_update().filter(schema_name=schema_name, status=of).first()
        if client:
            client.status, client.closed_reason = to, reason
            client.save(update_fields=["status", "closed_reason"])
            audit.record(action=f"client.{to}", actor="migrate", client=client, detail={"reason": reason}, at=at)
