"""The invariants are worth something only if each finds what it is for: corruptions are planted and must be found."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction

from loyalty_saas.flows.proofs import laws
from members.models import Member
from members.queries.invariants import breaches
from members.services.enrolment import merge_members
from rewards.services import capture_redemption, redeem
from tenants.context import client_connection
from tenants.models import Client
from tenants.schemas.owner import owner_atomic, standing_in
from tests.members import invariants
from tests.members.world import (
    BERLIN,
    DAY,
    NOON,
    adjust,
    bring_back,
    buy,
    credit,
    expire,
    hold,
    line,
    live,
    restore,
    spend,
    unit,
)
from tests.proof.record import Record

_TABLES = (
    "pointsaccount",
    "ledgerentry",
    "lot",
    "allocation",
    "ruletrace",
    "purchaseline",
    "returnmatch",
    "parkedreturn",
    "transfer",
    "adjustmentrequest",
    "tierchange",
)

COFFEE = {"code": "coffee", "name": "Coffee", "kind": "product", "unit": "points", "price": 60, "value": 60}
_REQUEST = (
    "INSERT INTO members_adjustmentrequest (id, member_id, unit_id, amount, reason, key, state, asked_by, asked_at,"
    " expires_at, settled_by, settled_at, entry_id) SELECT new_id(), a.member_id, a.unit_id, {amount}, 'x', e.id, 'agreed',"
    " new_id(), now(), now(), new_id(), now(), e.id FROM members_ledgerentry e JOIN members_pointsaccount a"
    " ON a.id = e.account_id WHERE e.key = 'goodwill'"
)

PLANTED: dict[str, tuple[str, ...]] = {
    "balance is the sum of the entries": (
        "UPDATE members_pointsaccount SET balance = balance + 1, in_lots = in_lots + 1",
        "DELETE FROM members_ledgerentry WHERE kind = 'expire'",
        "UPDATE members_ledgerentry SET amount = amount + 1 WHERE id = (SELECT id FROM members_ledgerentry LIMIT 1)",
    ),
    "in_lots is what remains in the lots": ("UPDATE members_lot SET remaining = remaining - 1 WHERE remaining > held",),
    "balance is what the lots hold less the debt": ("UPDATE members_pointsaccount SET in_lots = in_lots + 1",),
    "debt only where the unit allows it": (
        "ALTER TABLE members_pointsaccount DROP CONSTRAINT pointsaccount_debt_only_where_allowed;"
        "UPDATE members_pointsaccount SET debt = debt + 1, may_owe = false",
    ),
    "each entry carries the balance it left": ("UPDATE members_ledgerentry SET balance_after = balance_after + 1",),
    "a lot holds its entry's points less its allocations": (
        "DELETE FROM members_allocation",
        "UPDATE members_allocation SET amount = amount + 1",
    ),
    "a lot stands in its entry's account": ("UPDATE members_lot SET account_id = new_id()",),
    "every credit opens a lot": ("DELETE FROM members_lot",),
    "allocations stay within one account": ("UPDATE members_lot SET account_id = new_id()",),
    "what is spent, expired or given back is allocated in full": (
        "DELETE FROM members_allocation WHERE amount < 0",
        "UPDATE members_ledgerentry SET amount = amount - 1 WHERE kind = 'spend'",
    ),
    "nothing is taken from lots beyond an entry's amount": ("UPDATE members_allocation SET amount = amount + 1000",),
    "what is held is what open holds pin": (
        "UPDATE members_lot SET held = held + 1 WHERE remaining > held",
        "DELETE FROM members_holdlot",
        "UPDATE members_hold SET state = 'voided' WHERE state = 'held'",
    ),
    "an open hold pins all it asks for": ("UPDATE members_hold SET amount = amount + 1",),
    "a captured hold was spent in full": ("UPDATE members_hold SET amount = amount + 1 WHERE state = 'captured'",),
    "a sale is traced once by each rule": (
        "INSERT INTO members_ruletrace (source_id, rule_id, result, amount, line_amounts, reason, detail)"
        " SELECT source_id, r.id, result, amount, line_amounts, reason, detail"
        " FROM members_ruletrace t, programs_earningrule r WHERE r.id <> t.rule_id",
    ),
    "every earning is the sum of its traces": (
        "DELETE FROM members_ruletrace",
        "UPDATE members_ruletrace SET amount = amount + 1",
        "DELETE FROM members_ledgerentry WHERE kind = 'earn'",
    ),
    "a trace's lines add up to it": ("UPDATE members_ruletrace SET line_amounts[1] = line_amounts[1] + 1",),
    "a return takes back no more than its sale earned": (
        "UPDATE members_ledgerentry SET amount = amount - 2000 WHERE kind = 'reverse'",
    ),
    "what came back of a line is what returns took of it": (
        "UPDATE members_purchaseline SET returned = 1 WHERE quantity > 0",
        "DELETE FROM members_returnmatch",
    ),
    "returns of a line take one part after the other": ("UPDATE members_returnmatch SET before = before + 0.5",),
    "a credited return is matched or parked, to the last piece": (
        "DELETE FROM members_parkedreturn",
        "UPDATE members_returnmatch SET quantity = quantity / 2",
    ),
    "what is credited waits no more": (
        "INSERT INTO members_workitem (source_id, kind, member_id, occurred_at, attempts, error)"
        " SELECT id, 'purchase', member_id, occurred_at, 0, '' FROM members_purchase",
    ),
    "a move stands twice, in two accounts of one unit, and the two sum to nothing": (
        "UPDATE members_ledgerentry SET kind = 'move' WHERE kind = 'spend'",
        "UPDATE members_ledgerentry SET amount = amount - 1 WHERE kind = 'move' AND amount < 0",
        "UPDATE members_ledgerentry SET corrects_id = NULL WHERE kind = 'move'",
        "UPDATE members_ledgerentry e SET account_id = o.account_id FROM members_ledgerentry o"
        " WHERE e.corrects_id = o.id AND e.kind = 'move'",
    ),
    "a transfer moved its amount, from the one member to the other": (
        "INSERT INTO members_transfer (id, from_member_id, to_member_id, unit_id, amount, key, reason, at)"
        " SELECT new_id(), m.id, o.id, u.id, 5, m.id, '', now()"
        " FROM members_member m, members_member o, programs_unittype u WHERE m.id <> o.id",
    ),
    "a correction that a second person agreed to was booked in its amount": (
        _REQUEST.format(amount="e.amount + 1"),
        "UPDATE members_ledgerentry SET kind = 'earn' WHERE kind = 'adjust';" + _REQUEST.format(amount="e.amount"),
    ),
    "nobody owes more than the limit": (
        "ALTER TABLE members_pointsaccount DROP CONSTRAINT pointsaccount_debt_within_its_limit;"
        "UPDATE members_pointsaccount SET debt_limit = debt - 1",
    ),
    "an account that slides lasts so long as its entries give": (
        "UPDATE members_pointsaccount SET slides_until = now()",
    ),
    "nights let lapse what was over": ("UPDATE members_lot SET expires_at = '2026-06-01' WHERE remaining > held",),
    "each change of tier begins where the one before ended": (
        "INSERT INTO members_tierchange (id, member_id, program_id, before, after, basis, at)"
        " SELECT new_id(), id, new_id(), 'gold', 'silver', 0, now() FROM members_member",
    ),
    "the tier held is the one that the last change led to": (
        "INSERT INTO members_tierstatus (member_id, tier, basis, since, settled_at)"
        " SELECT id, 'gold', 0, now(), now() FROM members_member",
    ),
    "who has left has nothing, owes nothing, and is held nothing": (
        "UPDATE members_member SET status = 'closed' WHERE status = 'active'",
    ),
    "what waits is a purchase or an activity": (
        "INSERT INTO members_workitem (source_id, kind, member_id, occurred_at, attempts, error)"
        " SELECT new_id(), 'purchase', id, now(), 0, '' FROM members_member",
    ),
    "a reward gave back what its spend had restored": ("UPDATE rewards_rewardissue SET given_back = given_back + 1",),
    "a reward given out was paid for with the points that it held": (
        "UPDATE members_hold SET state = 'voided', entry_id = NULL WHERE state = 'captured'",
    ),
}


@pytest.fixture
def busy(ana: Member, bob: Member) -> None:
    """Books in which everything has happened that the invariants speak of."""
    for _version in (1, 2):
        live(units=[unit(may_owe=True, expiry={"policy": "rolling", "months": 1})], rewards=[COFFEE])
    buy(ana, receipt="R-1", lines=[line(1000, sku="tea", quantity=2)], at=NOON - 60 * DAY)
    buy(ana, receipt="R-2", lines=[line(600, sku="cup")])
    credit()
    restore(spend(ana, 100))
    spend(ana, 100)
    hold(ana, 50)
    assert expire(at=NOON) == 1
    bring_back(ana, receipt="B-1", sale="R-1", lines=[line(500, sku="tea")])
    bring_back(ana, receipt="B-2", lines=[line(500, sku="tea", quantity=2)])
    credit()
    buy(ana, receipt="R-3", lines=[line(700, sku="jam")])
    credit()
    adjust(ana, 20, key="goodwill")
    buy(bob, receipt="R-4", lines=[line(90, sku="jam")])
    credit()
    with transaction.atomic():
        coffee = redeem(member_id=ana.pk, reward_code="coffee", key="K", at=NOON, zone=BERLIN)
    with transaction.atomic():
        capture_redemption(issue_id=coffee.pk, at=NOON, zone=BERLIN)
    with transaction.atomic():
        merge_members(kept_id=ana.pk, double_id=bob.pk, at=NOON, by=None, zone=BERLIN)


@pytest.fixture
def owner(acme: Client) -> Iterator[Any]:
    """The owner's cursor in Acme, past all triggers; what it does is undone."""
    with standing_in(acme.schema_name) as connection, owner_atomic(), connection.cursor() as cursor:
        for table in _TABLES:
            cursor.execute(f"ALTER TABLE members_{table} DISABLE TRIGGER USER")
        yield cursor
        transaction.set_rollback(True, using="owner")


def broken(cursor: Any) -> set[str]:
    """The names of the laws that do not hold, those about nights as of a week after noon."""
    asked = breaches(cursor=cursor, laws=laws(), zone="Europe/Berlin", at=NOON + 7 * DAY)
    return {one.name for one in asked}


def test_books_in_which_everything_happened_have_no_problem(busy: None) -> None:
    with client_connection().cursor() as cursor:
        assert broken(cursor) == set()
        assert invariants.problems(cursor) == []


def test_every_invariant_has_a_corruption_that_it_must_find() -> None:
    assert set(PLANTED) == set(invariants.CHECKS)


def test_r14_each_planted_corruption_is_found(busy: None, owner: Any, proof_record: Record) -> None:
    missed = []
    for name, corruptions in PLANTED.items():
        for corruption in corruptions:
            owner.execute("SAVEPOINT sound")
            owner.execute(corruption)
            if name not in broken(owner):
                missed.append((name, corruption))
            owner.execute("ROLLBACK TO SAVEPOINT sound")

    assert missed == []
    proof_record.tried(
        sum(map(len, PLANTED.values())), "corruptions planted in sound books", laws=len(PLANTED), missed=0
    )
    proof_record.caught("each planted corruption, by the law that it breaks")
