"""The one way to bring a database up to date: roles, public tables, every client's schema, spare schemas."""

import json
import time
from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.core.management.commands import makemigrations
from django.core.management.sql import emit_post_migrate_signal, emit_pre_migrate_signal
from django.db.migrations import Migration
from django.db.migrations.loader import AmbiguityError

from tenants.routers import OWNER, belongs_to_client
from tenants.schemas import rights, roles
from tenants.schemas.owner import schemas_held
from tenants.services import schemas

Plan = list[tuple[Migration, bool]]


class Command(BaseCommand):
    """Run by the owner's login; safe to repeat, and to run again after it was interrupted."""

    help = (
        "Migrates the public schema and every client's schema, sets roles and rights, and makes spare schemas. "
        "A client whose migration fails is closed, the others go on, and the exit code is 1."
    )
    # pgtrigger's, which Django's own check compares with that of makemigrations.
    autodetector = makemigrations.Command.autodetector
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("app_label", nargs="?", help="An app of the public schema: migrate it alone.")
        parser.add_argument("migration_name", nargs="?", help="Bring that app to this migration, `zero` for none.")
        parser.add_argument("--plan", action="store_true", help="Show what would be done.")
        parser.add_argument("--check", action="store_true", help="Exit with 1 if anything is not applied anywhere.")
        parser.add_argument(
            "--noinput", "--no-input", action="store_false", dest="interactive", help="Nothing is asked."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """
        Do it, or show it; a summary in JSON goes to stdout, progress to stderr.

        :raises CommandError: if anything failed, or with `--check` is not applied
        """
        started = time.monotonic()
        try:
            if options["plan"] or options["check"]:
                return self._show(is_check=options["check"])
            with schemas_held():
                summary = self._one_app(**options) if options["app_label"] else self._everything()
        except (ImproperlyConfigured, schemas.ScriptError, schemas.MigrationsBroken) as error:
            raise CommandError(str(error)) from error
        summary["seconds"] = round(time.monotonic() - started, 2)
        self.stdout.write(json.dumps(summary))
        if summary["failed"]:
            raise CommandError(f"{len(summary['failed'])} clients were closed, for their migration failed.")
        return None

    # ── doing ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _everything(self) -> dict[str, Any]:
        at = datetime.now(UTC)
        roles.prepare_roles()
        public = self._public(targets=None)
        kept = schemas.ensure_script(at=at, progress=self._say)
        outcome = schemas.migrate_clients(kept, at=at, progress=self._say)
        spares = schemas.refill_spares(target=settings.SPARE_SCHEMAS, at=at)
        self._warn()
        return {"public": public, "clients": len(outcome.migrated), "failed": outcome.failed, "spares": spares}

    def _one_app(self, *, app_label: str, migration_name: str | None, **_: Any) -> dict[str, Any]:
        return {"public": self._public(targets=self._targets(app_label, migration_name)), "failed": {}}

    def _public(self, *, targets: list[tuple[str, str | None]] | None) -> list[str]:
        """Bring the public schema to the targets, or to the newest of all; the migrations that were run."""
        executor = schemas.public_executor(self._progress)
        executor.loader.check_consistent_history(executor.connection)
        wanted = targets or schemas.public_targets(executor)
        plan = executor.migration_plan(wanted)
        if plan:
            emit_pre_migrate_signal(0, False, OWNER, stdout=self.stderr, plan=plan)
            with rights.triggers_kept_on():
                state = executor.migrate(wanted, plan)
            emit_post_migrate_signal(0, False, OWNER, stdout=self.stderr, apps=state.apps, plan=plan)
        if not any(backwards for _, backwards in plan):
            rights.open_public_schema()
        return _names(plan)

    def _targets(self, app_label: str, migration_name: str | None) -> list[tuple[str, str | None]]:
        executor = schemas.public_executor()
        if app_label not in executor.loader.migrated_apps or belongs_to_client(app_label):
            raise CommandError(
                f"'{app_label}' is no app with migrations of the public schema. "
                "Client schemas go forward only, and all apps together: `manage.py migrate`."
            )
        if migration_name is None:
            return [node for node in schemas.public_targets(executor) if node[0] == app_label]
        if migration_name == "zero":
            return [(app_label, None)]
        try:
            migration = executor.loader.get_migration_by_prefix(app_label, migration_name)
        except (AmbiguityError, KeyError) as error:
            raise CommandError(f"'{migration_name}' names no single migration of '{app_label}'.") from error
        return [(app_label, migration.name)]

    # ── showing ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _show(self, *, is_check: bool) -> None:
        executor = schemas.public_executor()
        public = _names(executor.migration_plan(schemas.public_targets(executor)))
        # The list of clients can be read when its own tables are up to date.
        is_readable = not any(name.startswith("tenants.") for name in public)
        clients = schemas.unmigrated(schemas.schemas_in_use()) if is_readable else {}
        self.stdout.write(json.dumps({"public": public, "clients": clients}))
        if is_check and (public or clients):
            raise CommandError(f"{len(public)} migrations of the public schema and {len(clients)} clients are waiting.")

    def _progress(self, action: str, migration: Migration | None = None, fake: bool = False) -> None:
        if action in {"apply_start", "unapply_start"}:
            self._say(f"public: {migration}")

    def _say(self, words: str) -> None:
        self.stderr.write(words, self.style.NOTICE)

    def _warn(self) -> None:
        if roles.set_config_is_open():
            self._say(
                "Anyone may call set_config() in this database, and so leave a client. As its superuser run: "
                "REVOKE EXECUTE ON FUNCTION pg_catalog.set_config(text, text, boolean) FROM PUBLIC;"
            )


def _names(plan: Plan) -> list[str]:
    return [f"{'-' if backwards else ''}{migration.app_label}.{migration.name}" for migration, backwards in plan]
