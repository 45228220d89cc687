"""The laws of the ledger, held by the database itself: plain SQL against them, under the client's own role."""

from contextlib import AbstractContextManager
from typing import Any
from uuid import UUID

import psycopg2
import pytest
from django.db import DatabaseError, transaction
from django.db.transaction import Atomic

from members.models import Allocation, LedgerEntry, Lot, Member, PointsAccount
from tenants.keys import uuid7
from tenants.models import Client
from tenants.schemas.owner import owner_atomic, standing_in
from tests.members.world import bring_back, buy, credit, line, live, unit
from tests.tenants.sql import ask

APPEND_ONLY = ("ledgerentry", "allocation", "ruletrace", "purchase", "returnmatch", "activity", "tierchange")
ENTRY = """
    INSERT INTO members_ledgerentry (id, account_id, kind, amount, balance_after, key, reason, occurred_at, at, corrects_id)
    SELECT r.id, a.id, r.kind, r.amount, a.balance + r.amount, r.key, '', now(), now(), r.corrects
    FROM (VALUES (%s::uuid, %s::uuid, %s, %s, %s, %s::uuid)) AS r(id, account, kind, amount, key, corrects)
    JOIN members_pointsaccount a ON a.id = r.account
"""
LOT = """
    INSERT INTO members_lot (entry_id, account_id, remaining, held, available_at, expires_at)
    VALUES (%s, %s, %s, %s, now(), NULL)
"""
ALLOCATION = "INSERT INTO members_allocation (id, entry_id, lot_id, amount) VALUES (%s, %s, %s, %s)"


@pytest.fixture
def account(ana: Member) -> PointsAccount:
    """Ana's account: a lot of 1000, of which 300 came back, and a lot of 500."""
    live()
    buy(ana, receipt="R-1", lines=[line(700, sku="tea"), line(300, sku="cup")])
    buy(ana, receipt="R-2", lines=[line(500, sku="tea")])
    bring_back(ana, receipt="B-1", sale="R-1", lines=[line(300, sku="cup")])
    credit()
    return PointsAccount.objects.get(member=ana)


def first_lot(account: PointsAccount) -> Lot:
    return Lot.objects.filter(account=account).order_by("entry_id")[0]


def enter(account_id: UUID, amount: int, *, kind: str = "earn", key: str = "", corrects: UUID | None = None) -> UUID:
    entry_id = uuid7()
    ask(ENTRY, [entry_id, account_id, kind, amount, key or str(entry_id), corrects])
    return entry_id


def refused(words: str) -> AbstractContextManager[Any]:
    """The block, a transaction of its own, is refused by the database for that reason."""
    return _Refused(words)


class _Refused:
    def __init__(self, words: str) -> None:
        self._raises, self._atomic = pytest.raises(DatabaseError, match=words), Atomic("default", True, False)

    def __enter__(self) -> None:
        self._raises.__enter__()
        self._atomic.__enter__()

    def __exit__(self, *error: Any) -> bool:
        try:
            self._atomic.__exit__(*error)
        except DatabaseError as late:
            error = (type(late), late, late.__traceback__)
        return bool(self._raises.__exit__(*error))


# ── what is written stays ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("table", APPEND_ONLY)
@pytest.mark.parametrize(
    "sql", ["UPDATE members_{0} SET {1} = {1}", "DELETE FROM members_{0}", "TRUNCATE members_{0} CASCADE"]
)
def test_r01_the_client_s_role_may_not_change_what_is_written(account: PointsAccount, table: str, sql: str) -> None:
    column = "source_id" if table == "ruletrace" else "id"
    with refused("permission denied"):
        ask(sql.format(table, column))


@pytest.mark.parametrize("table", ["ledgerentry", "allocation", "ruletrace", "purchase", "returnmatch"])
@pytest.mark.parametrize(
    "sql", ["UPDATE members_{0} SET {1} = {1}", "DELETE FROM members_{0}", "TRUNCATE members_{0} CASCADE"]
)
def test_r01_not_even_the_owner_changes_what_is_written(
    acme: Client, account: PointsAccount, table: str, sql: str
) -> None:
    column = "source_id" if table == "ruletrace" else "id"
    with standing_in(acme.schema_name) as owner, pytest.raises(DatabaseError, match="annot|never"), owner_atomic():
        owner.cursor().execute(sql.format(table, column))


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE members_ledgerentry DISABLE TRIGGER ALL",
        "DROP TABLE members_lot",
        "ALTER TABLE members_pointsaccount DROP CONSTRAINT pointsaccount_debt_only_where_allowed",
        "CREATE FUNCTION sneak() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    ],
)
def test_r01_the_client_s_role_cannot_take_the_laws_away(account: PointsAccount, sql: str) -> None:
    with refused("must be owner|permission denied"):
        ask(sql)


def test_a_line_of_a_sale_changes_only_in_what_came_back(account: PointsAccount) -> None:
    with refused("permission denied"):
        ask("UPDATE members_purchaseline SET amount = 1")
    with refused("permission denied"):
        ask("DELETE FROM members_purchaseline")
    with refused("purchaseline_never_returned_twice"):
        ask("UPDATE members_purchaseline SET returned = quantity + 1 WHERE quantity > 0")


# ── balances and lots move by entries and allocations alone ─────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "change", ["balance = balance + 1", "in_lots = in_lots + 1", "balance = balance + 1, in_lots = in_lots + 1"]
)
def test_r01_an_account_is_not_moved_by_hand(account: PointsAccount, change: str) -> None:
    with refused("Cannot update"):
        ask(f"UPDATE members_pointsaccount SET {change}")


def test_r01_an_account_does_not_begin_with_points(account: PointsAccount, bob: Member) -> None:
    with refused("Cannot insert"):
        ask(
            "INSERT INTO members_pointsaccount (id, member_id, unit_id, balance, in_lots, debt, may_owe)"
            " VALUES (%s, %s, %s, 5, 5, 0, false)",
            [uuid7(), bob.pk, account.unit_id],
        )


@pytest.mark.parametrize(
    "change",
    [
        "remaining = remaining - 1",
        "expires_at = now()",
        "available_at = now()",
        "account_id = new_id()",
        "entry_id = new_id()",
    ],
)
def test_a_lot_is_not_changed_by_hand(account: PointsAccount, change: str) -> None:
    with refused("Cannot update|permission denied"):
        ask(f"UPDATE members_lot SET {change}")


def test_a_lot_is_not_deleted(account: PointsAccount) -> None:
    with refused("Cannot delete|permission denied"):
        ask("DELETE FROM members_lot")


def test_an_account_with_entries_is_not_deleted(account: PointsAccount) -> None:
    with refused("foreign key|permission denied|Cannot delete"):
        ask("DELETE FROM members_pointsaccount")


def test_r01_triggers_of_one_s_own_are_no_way_round(account: PointsAccount) -> None:
    """A trigger on a temporary table would run one level deep, where balances may move."""
    sneak = """
        CREATE FUNCTION pg_temp.sneak() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN UPDATE members_pointsaccount SET balance = balance + 9, in_lots = in_lots + 9; RETURN NULL; END $$
    """
    with refused("permission denied|Cannot"):
        ask("CREATE TEMP TABLE door (n integer)")
        ask(sneak)
        ask("CREATE TRIGGER opens AFTER INSERT ON door FOR EACH ROW EXECUTE FUNCTION pg_temp.sneak()")
        ask("INSERT INTO door VALUES (1)")


# ── lots and allocations ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("remaining", "held"), [(99, 0), (101, 0), (100, 1)])
def test_r01_a_lot_opens_with_the_points_of_its_entry(account: PointsAccount, remaining: int, held: int) -> None:
    with refused("A lot opens with the points of its entry"):
        entry_id = enter(account.pk, 100)
        ask(LOT, [entry_id, account.pk, remaining, held])


def test_a_lot_opens_in_its_entry_s_account(account: PointsAccount, bob: Member) -> None:
    other = PointsAccount.objects.create(member=bob, unit_id=account.unit_id)
    with refused("A lot opens with the points of its entry"):
        entry_id = enter(account.pk, 100)
        ask(LOT, [entry_id, other.pk, 100, 0])


def test_an_allocation_stays_within_one_account(account: PointsAccount, bob: Member) -> None:
    live_bob = PointsAccount.objects.create(member=bob, unit_id=account.unit_id)
    with refused("An allocation stays within one account"):
        entry_id = enter(live_bob.pk, -10, kind="spend")
        ask(ALLOCATION, [uuid7(), entry_id, first_lot(account).pk, 10])


def test_r01_a_lot_is_never_below_zero(account: PointsAccount) -> None:
    lot = first_lot(account)
    with refused("lot_never_below_what_is_held"):
        entry_id = enter(account.pk, -lot.remaining - 1, kind="spend")
        ask(ALLOCATION, [uuid7(), entry_id, lot.pk, lot.remaining + 1])


def test_a_lot_never_gives_what_is_held(account: PointsAccount) -> None:
    lot = first_lot(account)
    Lot.objects.filter(pk=lot.pk).update(held=1)
    with refused("lot_never_below_what_is_held"):
        entry_id = enter(account.pk, -lot.remaining, kind="spend")
        ask(ALLOCATION, [uuid7(), entry_id, lot.pk, lot.remaining])
    Lot.objects.filter(pk=lot.pk).update(held=0)


def test_a_lot_never_holds_more_than_its_entry_gave(account: PointsAccount) -> None:
    lot = first_lot(account)
    gave = lot.entry.amount - lot.remaining
    with refused("A lot never holds more than its entry gave"):
        entry_id = enter(account.pk, gave + 1, kind="restore", corrects=lot.pk)
        ask(ALLOCATION, [uuid7(), entry_id, lot.pk, -gave - 1])


def test_an_allocation_moves_something_and_once_per_entry_and_lot(account: PointsAccount) -> None:
    taken = Allocation.objects.get(entry__account=account)
    with refused("allocation_moves_something"):
        ask(ALLOCATION, [uuid7(), taken.entry_id, first_lot(account).pk, 0])
    with refused("allocation_once_per_entry_and_lot"):
        ask(ALLOCATION, [uuid7(), taken.entry_id, taken.lot_id, 1])


# ── what must fit at commit ─────────────────────────────────────────────────────────────────────────────────────────


def test_r01_a_credit_without_a_lot_is_refused_at_commit(account: PointsAccount) -> None:
    with refused("Balance is not what the lots hold less the debt"):
        enter(account.pk, 100)


def test_r01_a_spend_that_takes_from_no_lot_is_refused_at_commit(account: PointsAccount) -> None:
    with refused("Balance is not what the lots hold less the debt"):
        enter(account.pk, -100, kind="spend")


def test_r01_a_spend_that_takes_less_than_it_says_is_refused_at_commit(account: PointsAccount) -> None:
    with refused("Balance is not what the lots hold less the debt"):
        entry_id = enter(account.pk, -100, kind="spend")
        ask(ALLOCATION, [uuid7(), entry_id, first_lot(account).pk, 99])


def test_an_allocation_without_a_movement_is_refused_at_commit(account: PointsAccount) -> None:
    with refused("Balance is not what the lots hold less the debt"):
        ask(
            ALLOCATION,
            [uuid7(), LedgerEntry.objects.filter(account=account, kind="earn")[1].pk, first_lot(account).pk, 1],
        )


def test_r01_debt_does_not_appear_where_the_unit_allows_none(account: PointsAccount) -> None:
    with refused("pointsaccount_debt_only_where_allowed"):
        enter(account.pk, -2000, kind="reverse")
        ask("UPDATE members_pointsaccount SET debt = 2000")


def test_debt_where_it_is_allowed_still_has_to_fit_the_balance(ana: Member) -> None:
    live(units=[unit(may_owe=True)])
    buy(ana, receipt="R-1", lines=[line(100)])
    credit()
    with refused("Balance is not what the lots hold less the debt"):
        ask("UPDATE members_pointsaccount SET debt = 5")
    with refused("pointsaccount_debt_only_where_allowed"):
        ask("UPDATE members_pointsaccount SET debt = -5")


# ── entries ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_r01_a_key_makes_one_effect(account: PointsAccount) -> None:
    known = LedgerEntry.objects.filter(account=account)[0].key
    with refused("ledgerentry_effect_happens_once"):
        enter(account.pk, 100, key=known)


@pytest.mark.parametrize("amount", ["1.5", "'1.5'", "'NaN'", "'many'"])
def test_r01_points_are_whole(account: PointsAccount, amount: str) -> None:
    """Text that is no whole number is refused; a fraction never gets in as one."""
    before = account.balance
    with transaction.atomic():
        try:
            with transaction.atomic():
                ask(
                    "INSERT INTO members_ledgerentry (id, account_id, kind, amount, balance_after, key, reason, occurred_at, at)"
                    f" VALUES (%s, %s, 'earn', {amount}, 0, %s, '', now(), now())",
                    [uuid7(), account.pk, str(uuid7())],
                )
        except DatabaseError as error:
            assert isinstance(error.__cause__, psycopg2.errors.InvalidTextRepresentation)
        else:
            # PostgreSQL rounds 1.5 to 2, so a whole number stands there, and no lot fits a fraction.
            assert amount == "1.5"
        transaction.set_rollback(True)
    account.refresh_from_db()
    assert account.balance == before


@pytest.mark.parametrize(
    ("kind", "amount"),
    [
        ("earn", -1),
        ("earn", 0),
        ("restore", -1),
        ("reverse", 1),
        ("spend", 1),
        ("expire", 1),
        ("adjust", 0),
        ("move", 0),
        ("gift", 1),
    ],
)
def test_r01_the_sign_of_an_entry_fits_its_kind(account: PointsAccount, kind: str, amount: int) -> None:
    known = LedgerEntry.objects.filter(account=account)[0].pk
    with refused("ledgerentry_sign_fits_kind"):
        enter(account.pk, amount, kind=kind, corrects=known)


def test_a_restoring_entry_names_what_it_corrects(account: PointsAccount) -> None:
    with refused("ledgerentry_correction_names_the_corrected"):
        enter(account.pk, 100, kind="restore")


# ── purchases ───────────────────────────────────────────────────────────────────────────────────────────────────────

PURCHASE = """
    INSERT INTO members_purchase (id, kind, document, terminal, channel, source, member_id, sale_id, currency, amount,
                                  occurred_at, received_at, day, fingerprint)
    VALUES (%s, %s, %s, '', '', 'test', %s, %s, 'EUR', %s, now(), now(), now(), new_id())
"""


@pytest.mark.parametrize(("kind", "amount"), [("sale", -1), ("return", 1), ("void", 1), ("gift", 1)])
def test_the_sign_of_a_purchase_fits_its_kind(account: PointsAccount, kind: str, amount: int) -> None:
    with refused("purchase_sign_fits_kind|purchase_void_names_its_sale"):
        ask(PURCHASE, [uuid7(), kind, "X", account.member_id, None, amount])


def test_a_void_names_its_sale_and_a_receipt_counts_once(account: PointsAccount) -> None:
    with refused("purchase_void_names_its_sale"):
        ask(PURCHASE, [uuid7(), "void", "X", account.member_id, None, -1])
    with refused("purchase_receipt_counts_once"):
        ask(PURCHASE, [uuid7(), "sale", "R-1", account.member_id, None, 1])


# ── negative control ────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_adds_up_is_let_through(account: PointsAccount) -> None:
    """Negative control: the database does not simply refuse everything."""
    before = account.balance
    with transaction.atomic():
        entry_id = enter(account.pk, 100, kind="adjust")
        ask(LOT, [entry_id, account.pk, 100, 0])
    with transaction.atomic():
        entry_id = enter(account.pk, -10, kind="spend")
        ask(ALLOCATION, [uuid7(), entry_id, first_lot(account).pk, 10])

    account.refresh_from_db()
    assert (account.balance, account.in_lots) == (before + 90, before + 90)
