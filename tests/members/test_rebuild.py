"""Derived state equals what a rebuild from what happened gives; a corruption of one point in any place is found."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connections, transaction

from loyalty_saas.flows import proofs
from members.models import Insight, Member
from members.queries import invariants, rebuild
from members.queries.rebuild import DERIVED, Compared, Counted, compare
from members.services.tiers import settle_again
from programs.queries import program_in_force
from tenants.context import client_connection
from tenants.models import Client, LedgerCheck
from tenants.schemas.owner import owner_atomic, standing_in
from tests.members.world import (
    DAY,
    NOON,
    PENNY,
    adjust,
    bring_back,
    buy,
    credit,
    expire,
    hold,
    level,
    line,
    live,
    new_member,
    restore,
    spend,
    unit,
)
from tests.proof.record import Record

TIERS = {"basis": "spend", "period_months": 12, "levels": [level("silver", 1000), level("gold", 3000)]}
_GUARDED = ("pointsaccount", "ledgerentry", "lot", "allocation", "purchaseline", "returnmatch")


def lived_in(ana: Member) -> None:
    """Earned, spent, restored, held, expired, brought back, owed, and a tier reached."""
    live(PENNY, units=[unit(may_owe=True, expiry={"policy": "rolling", "months": 1})], tiers=TIERS)
    buy(ana, receipt="R-1", lines=[line(1000, sku="tea", quantity=2)], at=NOON - 60 * DAY)
    buy(ana, receipt="R-2", lines=[line(600, sku="cup")])
    credit()
    restore(spend(ana, 100))
    spend(ana, 100)
    expire(at=NOON)
    bring_back(ana, receipt="B-1", sale="R-1", lines=[line(500, sku="tea")])
    credit()
    adjust(ana, 30)
    hold(ana, 20)
    poor = new_member("poor")
    buy(poor, receipt="R-9", lines=[line(200, sku="jam")])
    credit()
    spend(poor, 150)
    bring_back(poor, receipt="B-9", sale="R-9", lines=[line(200, sku="jam")])
    credit()
    # After the program came into force: by then tiers are judged by it.
    buy(ana, receipt="R-3", lines=[line(100)], at=NOON + DAY)
    buy(poor, receipt="R-8", lines=[line(40)], at=NOON + DAY)
    credit(at=NOON + DAY)


@pytest.fixture
def owner(ana: Member, acme: Client) -> Iterator[Any]:
    """The owner's cursor in the books, past all triggers; what it does is undone."""
    lived_in(ana)
    with standing_in(acme.schema_name) as connection, owner_atomic(), connection.cursor() as cursor:
        for table in _GUARDED:
            cursor.execute(f"ALTER TABLE members_{table} DISABLE TRIGGER USER")
        yield cursor
        transaction.set_rollback(True, using="owner")


def compared(cursor: Any, counted: tuple[Counted, ...] = ()) -> list[Compared]:
    """Every derived table beside its rebuild."""
    return list(compare(cursor=cursor, tables=DERIVED, zone="Europe/Berlin", counted=counted))


def test_what_is_stored_is_what_a_rebuild_gives(owner: Any) -> None:
    found = compared(owner)
    assert [(one.name, one.examples) for one in found if not one.is_same] == []
    assert [one.rows for one in found] == [2, 6, 2, 2, 0]


# What a rebuild writes into tables that have been emptied: nothing but what its own SQL gives.
_EMPTIED = """
    UPDATE members_pointsaccount SET balance = 0, in_lots = 0, debt = 0, slides_until = NULL;
    UPDATE members_lot SET remaining = 0, held = 0;
    UPDATE members_purchaseline SET returned = 0;
    TRUNCATE members_insight
"""
_REBUILT = (
    f"""UPDATE members_pointsaccount a SET balance = f.balance, in_lots = f.in_lots, debt = f.debt,
        slides_until = f.slides_until FROM ({rebuild.ACCOUNTS.fresh}) AS f WHERE f.id = a.id""",
    f"""UPDATE members_lot l SET remaining = f.remaining, held = f.held
        FROM ({rebuild.LOTS.fresh}) AS f WHERE f.entry_id = l.entry_id""",
    f"UPDATE members_purchaseline l SET returned = f.returned FROM ({rebuild.LINES.fresh}) AS f WHERE f.id = l.id",
    f"""INSERT INTO members_insight (member_id, purchases, spend, first_day, last_day, last_visit, recency, frequency,
        value, segment, favourite)
        SELECT member_id, purchases, spend, first_day, last_day, last_visit, 0, 0, 0, '', ''
        FROM ({rebuild.INSIGHTS.fresh}) AS f""",
)


def test_r14_emptied_tables_are_rebuilt_to_the_same_checksums(owner: Any) -> None:
    before = [(one.name, one.stored) for one in compared(owner)]
    owner.execute("ALTER TABLE members_pointsaccount DROP CONSTRAINT pointsaccount_debt_only_where_allowed")
    owner.execute(_EMPTIED)
    assert [one.is_same for one in compared(owner)[:4]] == [False] * 4
    for sql in _REBUILT:
        owner.execute(sql, {"zone": "Europe/Berlin"})

    assert [(one.name, one.stored) for one in compared(owner)] == before


def test_emptied_tiers_are_judged_anew_from_history_to_the_same(ana: Member) -> None:
    lived_in(ana)
    with transaction.atomic():
        before = _tiers()
        assert (before.is_same, before.rows) == (True, 2)
        with client_connection().cursor() as cursor:
            cursor.execute("UPDATE members_tierstatus SET tier = '', earned = '', basis = 0, period_ends_at = NULL")
        assert not _tiers().is_same
        ids = list(Member.objects.values_list("pk", flat=True))
        settle_again(member_ids=ids, program=program_in_force(), at=NOON)
        assert (_tiers().stored, _tiers().is_same) == (before.stored, True)
        transaction.set_rollback(True)


def _tiers() -> Compared:
    (found,) = proofs._tiers(_client())
    return found


def _client() -> Client:
    found = client_connection().tenant
    assert isinstance(found, Client)
    return found


# ── R14: one point wrong, in each place that points pass through ────────────────────────────────────────────────────

PLACES = {
    "an entry's amount": "UPDATE members_ledgerentry SET amount = amount + 1 WHERE kind = 'adjust'",
    "a balance": "UPDATE members_pointsaccount SET balance = balance + 1",
    "what is in lots": "UPDATE members_pointsaccount SET in_lots = in_lots - 1 WHERE in_lots > 0",
    "a lot's remainder": "UPDATE members_lot SET remaining = remaining + 1 WHERE held > 0",
    "an allocation": "UPDATE members_allocation SET amount = amount + 1"
    " WHERE entry_id IN (SELECT id FROM members_ledgerentry WHERE kind = 'expire')",
    "what a hold pins": "UPDATE members_holdlot SET amount = amount + 1"
    " WHERE hold_id IN (SELECT id FROM members_hold WHERE state = 'held')",
    "what is held": "UPDATE members_lot SET held = held - 1 WHERE held > 0",
    "a returned quantity": "UPDATE members_purchaseline SET returned = returned - 0.001 WHERE returned > 0",
    "a return's match": "UPDATE members_returnmatch SET quantity = quantity - 0.001",
    "a debt": "UPDATE members_pointsaccount SET debt = debt + 1 WHERE debt > 0",
    "a count of purchases": "UPDATE members_insight SET purchases = purchases + 1",
    "what was spent": "UPDATE members_insight SET spend = spend - 1",
    "the end of a slide": "UPDATE members_pointsaccount SET slides_until = now()",
}


@pytest.mark.parametrize("place", PLACES)
def test_r14_one_point_wrong_is_found_by_the_next_comparison(owner: Any, place: str, proof_record: Record) -> None:
    owner.execute(PLACES[place])
    found = [one for one in compared(owner) if not one.is_same]
    assert found, f"{place}: nobody noticed"
    assert all(one.different and one.examples for one in found)
    proof_record.tried(1, "places in which one point was made wrong")
    proof_record.caught(f"one point wrong in {place}")


def test_a_tier_or_its_figure_that_history_does_not_give_is_found(ana: Member) -> None:
    lived_in(ana)
    for column, value in (("tier", "gold"), ("earned", "gold"), ("basis", 4)):
        with transaction.atomic(), client_connection().cursor() as cursor:
            cursor.execute(f"UPDATE members_tierstatus SET {column} = %s", [value])
            assert _tiers().different > 0, column
            transaction.set_rollback(True)


def test_of_very_many_members_each_has_its_tier_judged_anew_within_days() -> None:
    ids = [uuid4() for _one in range(25)]
    days = [rebuild.turn(ids, day=NOON.date() + n * DAY, most=10) for n in range(3)]
    assert max(len(one) for one in days) <= 10
    assert sorted(pk for one in days for pk in one) == sorted(ids)
    assert rebuild.turn(ids, day=NOON.date(), most=25) == ids
    assert rebuild.turn([], day=NOON.date()) == []


def test_a_figure_counted_for_a_day_is_compared_unless_something_came_in_since(owner: Any) -> None:
    owner.execute("SELECT sum(balance) FROM members_pointsaccount")
    (held,) = owner.fetchone()
    day, later = (NOON + DAY).date(), NOON + DAY + timedelta(hours=1)

    def found(outstanding: int, at: Any) -> tuple[int, int]:
        one = compared(owner, (Counted(day, outstanding, at),))[-1]
        return one.rows, one.different

    assert found(held, later) == (1, 0)
    assert found(held + 1, later) == (1, 1)
    # Counted before the last entry was made, or in the same breath: left to the next count.
    assert found(held + 1, NOON + DAY) == (0, 0)


def test_a_checker_that_does_not_look_at_a_place_misses_what_is_wrong_there(owner: Any) -> None:
    """The negative control: without the comparison of lots, and the laws that speak of holds, a wrong pin goes unseen."""
    owner.execute(PLACES["what a hold pins"])
    about = ("held", "hold")
    laws = [law for law in invariants.LAWS if not any(word in law.name for word in about)]
    tables = [table for table in DERIVED if table is not rebuild.LOTS]
    assert not list(invariants.breaches(cursor=owner, laws=laws, zone="Europe/Berlin", at=None))
    assert all(one.is_same for one in compare(cursor=owner, tables=tables, zone="Europe/Berlin"))


# ── the whole proof ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def spoil(acme: Client) -> Iterator[Callable[[str], None]]:
    """Run SQL as the owner past all triggers and commit it; the books are put back at the end."""
    undo: list[str] = []

    def do(sql: str) -> None:
        with standing_in(acme.schema_name) as connection, owner_atomic(), connection.cursor() as cursor:
            table = sql.split()[1]
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER; {sql}; ALTER TABLE {table} ENABLE TRIGGER USER")

    def spoil(sql: str) -> None:
        undo.append(sql.replace("+ 1", "- 1"))
        do(sql)

    yield spoil
    for sql in undo:
        do(sql)


def test_a_proof_is_told_to_the_public_in_names_and_numbers(
    ana: Member, acme: Client, spoil: Callable[[str], None]
) -> None:
    lived_in(ana)
    assert proofs.prove_and_tell(at=NOON).broken == {}
    told = LedgerCheck.objects.get(client=acme)
    assert (told.broken, told.held_at, told.entries > 5) == ({}, NOON, True)
    assert told.checks > len(invariants.LAWS) + len(DERIVED)

    spoil("UPDATE members_pointsaccount SET balance = balance + 1")
    found = proofs.prove_and_tell(at=NOON + DAY)
    told.refresh_from_db()
    assert told.broken == found.broken
    assert {"balance is the sum of the entries", rebuild.ACCOUNTS.name} <= set(told.broken)
    assert set(told.broken.values()) == {2}
    assert (told.held_at, told.checked_at) == (NOON, NOON + DAY)


def test_a_proof_mends_nothing(ana: Member, spoil: Callable[[str], None]) -> None:
    lived_in(ana)
    spoil("UPDATE members_insight SET purchases = purchases + 1")
    before = list(Insight.objects.order_by("pk").values_list("pk", "purchases"))
    assert proofs.prove(at=NOON).broken
    assert proofs.prove(at=NOON).broken
    assert list(Insight.objects.order_by("pk").values_list("pk", "purchases")) == before


def test_a_proof_cannot_write(acme: Client) -> None:
    from django.db.utils import InternalError

    with pytest.raises(InternalError, match="read-only"), proofs._still_books() as cursor:
        cursor.execute("UPDATE members_member SET number = number")
    assert not connections["default"].in_atomic_block
