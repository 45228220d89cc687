"""
Migrating many schemas: the states of the models are worked out once, then each schema gets the operations.

Every schema is changed in a transaction of its own together with its records, so an interrupted run goes on where it
was. Operations are Django's own, RunPython included; such code uses the connection of its schema editor.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg2
from django.db import Error
from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.operations.base import Operation
from django.db.migrations.recorder import MigrationRecorder
from django.db.migrations.state import ProjectState

from tenants.schemas import rights
from tenants.schemas.owner import owner_atomic, owner_connection, quoted, rows, run, standing_in
from tenants.schemas.script import TEMPLATE, client_targets

LOCK_TIMEOUT = "2s"
RETRY_PAUSES = (0.5, 2.0, 5.0)
_SCHEMAS_PER_LOOK = 200

Progress = Callable[[str], None]
Records = frozenset[tuple[str, str]]


class MigrationsBroken(Exception):
    """The first schemas all failed: the fault is in the migrations, and no further schema was touched."""


class SchemaMissing(Exception):
    """A client's schema, or its migration records, are not there."""


@dataclass(frozen=True)
class Step:
    """One migration with each of its operations between the states before and after it."""

    migration: Migration
    operations: tuple[tuple[Operation, ProjectState, ProjectState], ...]

    @property
    def name(self) -> str:
        return f"{self.migration.app_label}.{self.migration.name}"


@dataclass(frozen=True)
class Pending:
    """Schemas that lack the same migrations; no steps where the schemas themselves or their records are missing."""

    names: list[str]
    steps: list[Step] | None


@dataclass
class Outcome:
    """What a run did: the schemas it brought up to date, and why others are not."""

    migrated: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def pending(schema_names: Iterable[str]) -> list[Pending]:
    """The schemas that lack migrations, those that lack the same ones together."""
    by_records: dict[Records, list[str]] = {}
    for name, records in _records_of(list(schema_names)).items():
        by_records.setdefault(records, []).append(name)
    found = [Pending(names, _steps_for(names[0]) if records else None) for records, names in by_records.items()]
    return [one for one in found if one.steps != []]


def _steps_for(schema_name: str) -> list[Step]:
    """What that schema lacks, ready to be applied to it and to all schemas with the same records."""
    with standing_in(schema_name) as connection:
        executor = MigrationExecutor(connection)
        plan = executor.migration_plan(client_targets(executor.loader))
        if not plan:
            return []
        loader = executor.loader
        state = loader.project_state([node for node in loader.applied_migrations if node in loader.graph.nodes])
    steps = []
    for migration, _ in plan:
        step, state = _prepared(migration, state)
        steps.append(step)
    return steps


def migrate_schemas(schema_names: Sequence[str], *, rights_text: str, progress: Progress) -> Outcome:
    """
    Bring the schemas up to date in the order given; the first goes alone, as a canary.

    What fails on a lock is tried again when the others are through.
    :raises MigrationsBroken: if the first two schemas that need it both fail
    """
    outcome = Outcome()
    locked: dict[str, list[Step]] = {}
    with rights.triggers_kept_on():
        for group in pending(schema_names):
            for name in group.names:
                if _attempt(name, group.steps, rights_text=rights_text, outcome=outcome) == "locked":
                    locked[name] = group.steps or []
                _stop_if_broken(outcome)
                progress(f"client schemas: {len(outcome.migrated)} migrated, {len(outcome.failed)} failed")
        for name, steps in locked.items():
            progress(f"once more, for it was locked: {name}")
            _insist(name, steps, rights_text=rights_text, outcome=outcome)
    return outcome


def _stop_if_broken(outcome: Outcome) -> None:
    if not outcome.migrated and len(outcome.failed) == 2:
        raise MigrationsBroken("; ".join(f"{name}: {error}" for name, error in outcome.failed.items()))


def _insist(name: str, steps: list[Step], *, rights_text: str, outcome: Outcome) -> None:
    for pause in RETRY_PAUSES:
        if _attempt(name, steps, rights_text=rights_text, outcome=outcome) != "locked":
            return
        time.sleep(pause)
    outcome.failed[name] = f"{steps[0].name}: other work held its tables locked"


def _attempt(name: str, steps: list[Step] | None, *, rights_text: str, outcome: Outcome) -> str:
    """Whether the schema was `migrated`, `failed`, or is `locked` by other work."""
    try:
        if not steps:
            raise SchemaMissing("the schema or its migration records are missing")
        apply(name, steps, rights_text=rights_text)
    except Exception as error:
        if isinstance(error, Error) and isinstance(error.__cause__, _PASSING):
            return "locked"
        outcome.failed[name] = f"{type(error).__name__}: {error}".strip().replace("\n", " ")
        return "failed"
    outcome.migrated.append(name)
    return "migrated"


_PASSING = (psycopg2.errors.LockNotAvailable, psycopg2.errors.DeadlockDetected)


def apply(schema_name: str, steps: Sequence[Step], *, rights_text: str) -> None:
    """Apply the steps to one schema: in one transaction, but for migrations that want none."""
    *others, last = _grouped(steps)
    with standing_in(schema_name):
        for group in others:
            with _transaction(group):
                _apply_steps(group)
        with _transaction(last):
            _apply_steps(last)
            run(rights_text.replace(TEMPLATE, schema_name))


def _apply_steps(steps: Sequence[Step]) -> None:
    connection = owner_connection()
    recorder = MigrationRecorder(connection)
    for step in steps:
        with connection.schema_editor(atomic=False) as editor:
            for operation, before, after in step.operations:
                operation.database_forwards(step.migration.app_label, editor, before, after)
        for app, name in [*step.migration.replaces, (step.migration.app_label, step.migration.name)]:
            recorder.migration_qs.create(app=app, name=name)
        # Rows written by this migration must not hold up the next one's ALTER TABLE.
        run("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")


@contextmanager
def _transaction(steps: Sequence[Step]) -> Iterator[None]:
    """One transaction, or none for a migration that wants none; waiting for locks is bounded in both."""
    if steps[0].migration.atomic:
        with owner_atomic():
            run(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
            yield
        return
    run(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
    try:
        yield
    finally:
        run("RESET lock_timeout")


def _grouped(steps: Sequence[Step]) -> list[list[Step]]:
    """Neighbours that may share a transaction together, each migration that may not alone."""
    groups: list[list[Step]] = []
    for step in steps:
        if groups and step.migration.atomic and groups[-1][0].migration.atomic:
            groups[-1].append(step)
        else:
            groups.append([step])
    return groups


def _prepared(migration: Migration, state: ProjectState) -> tuple[Step, ProjectState]:
    operations = []
    for operation in migration.operations:
        after = state.clone()
        operation.state_forwards(migration.app_label, after)
        operations.append((operation, state, after))
        state = after
    return Step(migration, tuple(operations)), state


def _records_of(schema_names: list[str]) -> dict[str, Records]:
    found: dict[str, set[tuple[str, str]]] = {name: set() for name in schema_names}
    for start in range(0, len(schema_names), _SCHEMAS_PER_LOOK):
        known = rows(
            "SELECT name FROM unnest(%s) name WHERE to_regclass(format('%%I.%%I', name, %s)) IS NOT NULL",
            [schema_names[start : start + _SCHEMAS_PER_LOOK], rights.RECORDS],
        )
        parts = [f"SELECT '{name}', app, name FROM {quoted(name)}.{rights.RECORDS}" for (name,) in known]  # noqa: S608
        for schema_name, app, name in rows(" UNION ALL ".join(parts)) if parts else []:
            found[schema_name].add((app, name))
    return {name: frozenset(records) for name, records in found.items()}
