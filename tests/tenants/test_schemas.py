"""Schemas from the kept script are what migrations make; each is handed out once and dropped when nobody's."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connections, transaction

from tenants.context import public_atomic
from tenants.keys import new_schema_name
from tenants.models import Client, SpareSchema
from tenants.routers import OWNER
from tenants.schemas import catalog, roles, script
from tenants.schemas.owner import owner_atomic, rows, run, standing_in
from tenants.services import schemas
from tests.conftest import NewClient

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def _exists(name: str) -> tuple[bool, bool]:
    """Whether there is a schema, and a role, of that name."""
    ((found),) = rows(
        "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = %s), EXISTS (SELECT FROM pg_roles WHERE rolname = %s)",
        [name, name],
    )
    return found[0], found[1]


@pytest.fixture(scope="module")
def spare() -> Iterator[str]:
    """A schema from the kept script that nobody else will be given."""
    (name,) = schemas.make_spares(1, at=NOW)
    SpareSchema.objects.filter(pk=name).update(taken_at=datetime.now(UTC))
    yield name
    schemas.drop_schema(name)


# ── the script ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def stock() -> Iterator[catalog.Facts]:
    """A schema that Django's migrations made one by one, described."""
    name = new_schema_name()
    roles.create_roles([name])
    script.migrate_stock(name)
    yield catalog.describe(name)
    schemas.drop_schema(name)


def test_the_script_makes_what_the_migrations_make(stock: catalog.Facts, spare: str) -> None:
    assert catalog.differences(stock, catalog.describe(spare)) == []
    assert {kind for kind, facts in stock.items() if not facts} == {"others"}


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE members_member ADD COLUMN extra int",
        "ALTER TABLE members_member ALTER COLUMN number TYPE varchar(17)",
        "ALTER TABLE members_member ALTER COLUMN number DROP NOT NULL",
        "ALTER TABLE members_member ALTER COLUMN number SET DEFAULT 'x'",
        "ALTER TABLE members_member RENAME CONSTRAINT member_merged_names_the_other TO other",
        "ALTER TABLE members_purchase DROP CONSTRAINT purchase_sign_fits_kind",
        "DROP INDEX purchase_member_spend",
        "DROP INDEX purchase_of_sale; CREATE INDEX purchase_of_sale ON members_purchase (sale_id)",
        "DROP TRIGGER pgtrigger_purchase_never_changes_{} ON members_purchase",
        "ALTER TABLE members_purchase DISABLE TRIGGER USER",
        "CREATE OR REPLACE FUNCTION new_id() RETURNS uuid LANGUAGE sql VOLATILE AS 'SELECT gen_random_uuid()'",
        "ALTER SEQUENCE django_migrations_id_seq CACHE 5",
        "GRANT UPDATE ON members_purchase TO {role}",
        "GRANT UPDATE (amount) ON members_purchaseline TO {role}",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA {role} GRANT TRUNCATE ON TABLES TO {role}",
        "GRANT CREATE ON SCHEMA {role} TO {role}",
        "CREATE TYPE mood AS ENUM ('good')",
        "INSERT INTO django_migrations (app, name, applied) VALUES ('members', '0009', now())",
    ],
)
def test_negative_control_a_schema_that_differs_is_found_out(stock: catalog.Facts, spare: str, change: str) -> None:
    trigger = rows("SELECT tgname FROM pg_trigger WHERE tgname LIKE 'pgtrigger_purchase_never_changes_%%'")[0][0]
    with standing_in(spare), owner_atomic():
        run(change.replace("pgtrigger_purchase_never_changes_{}", trigger).replace("{role}", spare))
        found = catalog.differences(stock, catalog.describe(spare))
        transaction.set_rollback(True, using=OWNER)

    assert found != []


def test_a_migration_that_puts_rows_into_clients_is_refused(spare: str) -> None:
    with owner_atomic():
        run(f"INSERT INTO {spare}.programs_location (id, code, name) VALUES (gen_random_uuid(), 'x', 'x')")
        with pytest.raises(schemas.ScriptError, match="programs_location"):
            script.write_script(spare)
        transaction.set_rollback(True, using=OWNER)


def test_the_hash_follows_the_words_of_the_migrations(monkeypatch: pytest.MonkeyPatch) -> None:
    before = script.migrations_hash.__wrapped__()
    monkeypatch.setattr(script, "_source", lambda migration: "other words")

    assert script.migrations_hash.__wrapped__() != before
    assert script.migrations_hash() == before


# ── spares ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def only_spares() -> Iterator[Callable[[], set[str]]]:
    """The pool emptied of what stood in it; answers what stands in it now."""
    others = list(SpareSchema.objects.filter(taken_at=None).values_list("pk", flat=True))
    SpareSchema.objects.filter(pk__in=others).update(script_hash="put aside")
    yield lambda: set(SpareSchema.objects.filter(taken_at=None).exclude(pk__in=others).values_list("pk", flat=True))
    SpareSchema.objects.filter(pk__in=others).update(script_hash=script.migrations_hash())


def _claim() -> str | None:
    try:
        with public_atomic():
            return schemas.claim_spare(at=datetime.now(UTC))
    except schemas.NoSpareSchema:
        return None


def test_the_pool_is_filled_to_the_target_and_no_further(only_spares: Callable[[], set[str]]) -> None:
    assert schemas.refill_spares(target=2, at=NOW) == 2
    assert schemas.refill_spares(target=2, at=NOW) == 0
    assert schemas.refill_spares(target=1, at=NOW) == 0

    assert all(_exists(name) == (True, True) for name in only_spares())


def test_a_spare_is_handed_out_once(only_spares: Callable[[], set[str]]) -> None:
    schemas.refill_spares(target=2, at=NOW)

    claimed = [_claim(), _claim(), _claim()]

    assert claimed[2] is None
    assert len(set(claimed)) == 3
    assert only_spares() == set()


def test_without_the_owners_login_a_spare_can_still_be_claimed(
    only_spares: Callable[[], set[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    schemas.refill_spares(target=1, at=NOW)
    monkeypatch.delitem(connections.settings, "owner")

    assert _claim() is not None


def test_a_spare_of_other_migrations_is_not_handed_out(
    only_spares: Callable[[], set[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    schemas.refill_spares(target=1, at=NOW)
    monkeypatch.setattr(script, "migrations_hash", lambda: "of newer code")

    assert _claim() is None


def test_many_claims_at_once_never_get_the_same_spare(only_spares: Callable[[], set[str]]) -> None:
    schemas.refill_spares(target=6, at=NOW)

    claimed = _at_once(_claim)

    assert sorted(name for name in claimed if name) == sorted(set(claimed) - {None})
    assert len(set(claimed) - {None}) == 6


def test_negative_control_a_claim_that_does_not_lock_gives_one_spare_to_several(
    only_spares: Callable[[], set[str]],
) -> None:
    schemas.refill_spares(target=6, at=NOW)

    def careless() -> str | None:
        spare = SpareSchema.objects.filter(taken_at=None, script_hash=script.migrations_hash()).first()
        if spare:
            SpareSchema.objects.filter(pk=spare.pk).update(taken_at=datetime.now(UTC))
        return spare.schema_name if spare else None

    claimed = _at_once(careless)

    assert len(set(claimed) - {None}) < len([name for name in claimed if name])


def _at_once(claim: Callable[[], str | None]) -> list[str | None]:
    """What twelve claims in six threads get."""

    def one(_: int) -> str | None:
        try:
            return claim()
        finally:
            connections["public"].close()

    with ThreadPoolExecutor(6) as threads:
        return list(threads.map(one, range(12)))


# ── dropping ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_schema_of_an_open_client_is_not_dropped(acme: Client) -> None:
    with pytest.raises(schemas.SchemaInUse):
        schemas.drop_schema(acme.schema_name)

    assert _exists(acme.schema_name) == (True, True)


def test_the_schema_of_a_closed_client_is_dropped_with_its_role(new_client: NewClient) -> None:
    client = new_client()
    Client.objects.filter(pk=client.pk).update(status=Client.Status.CLOSED)

    schemas.drop_schema(client.schema_name)

    assert _exists(client.schema_name) == (False, False)
    client.delete()


def test_what_an_onboarding_took_and_left_is_dropped_after_a_while(only_spares: Callable[[], set[str]]) -> None:
    schemas.refill_spares(target=2, at=NOW)
    first, second = sorted(only_spares())
    SpareSchema.objects.filter(pk=first).update(taken_at=datetime.now(UTC) - schemas.TAKEN_FOR - timedelta(seconds=1))
    SpareSchema.objects.filter(pk=second).update(taken_at=datetime.now(UTC))

    schemas.refill_spares(target=0, at=datetime.now(UTC))

    assert _exists(first) == (False, False)
    assert _exists(second) == (True, True)
    with pytest.raises(schemas.NoSpareSchema), public_atomic():
        schemas.settle_claim(first)
    schemas.drop_schema(second)


def test_a_role_whose_schema_was_never_made_is_dropped() -> None:
    name = new_schema_name()
    roles.create_roles([name])

    schemas.refill_spares(target=0, at=NOW)

    assert _exists(name) == (False, False)
