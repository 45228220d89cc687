"""Requests that move points, each with another of its kind and how often it has taken effect."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from members.models import Activity, Hold, LedgerEntry, Member, Purchase, Transfer
from tests.loyalty_saas.shops import sale
from tests.members.world import adjust, new_member
from tests.proof.callers import Caller

A_LOT = 1000


@dataclass(frozen=True)
class Deed:
    """A request and another of its kind; `mark` are words of the statement after which the next commit counts."""

    path: str
    body: dict[str, Any] | None
    other: dict[str, Any] | None
    effects: Callable[[], int]
    mark: tuple[bytes, ...] = (b'INSERT INTO "members_idempotencyrecord"', b"COMMIT")


def earn(till: Caller) -> Deed:
    """A sale; one statement, committed by itself."""
    who, receipt = _member(), secrets.token_hex(8)
    sales = Purchase.objects.filter(kind="sale", member_id=who)
    mark = (b"INSERT INTO members_purchaseline",)
    return Deed("/purchases", sale(who, receipt), sale(who, receipt + "x"), lambda: sales.all().count(), mark)


def refund(till: Caller) -> Deed:
    """A sale comes back."""
    who, receipt = _member(), secrets.token_hex(8)
    till.tell("/purchases", sale(who, receipt))
    body = {"kind": "return", "document": f"{receipt} back", "member": who, "sale": receipt}
    returns = Purchase.objects.filter(kind="return", member_id=who)
    mark = (b"INSERT INTO members_purchaseline", b"COMMIT")
    return Deed("/purchases", body, {**body, "document": "other"}, lambda: returns.all().count(), mark)


def activity(till: Caller) -> Deed:
    """A trip."""
    who = _member()
    body = {"kind": "trip", "reference": secrets.token_hex(8), "member": who, "properties": {"days": 1}}
    trips = Activity.objects.filter(kind="trip", member_id=who)
    return Deed("/activities", body, {**body, "reference": "other"}, lambda: trips.all().count())


def redeem(till: Caller) -> Deed:
    """A reward is reserved."""
    who = _member()
    body = {"member": who, "reward": "mug"}
    holds = Hold.objects.filter(account__member_id=who)
    return Deed("/redemptions", body, {**body, "reward": "five-off"}, lambda: holds.all().count())


def capture(till: Caller) -> Deed:
    """A reserved reward is handed over."""
    who = _member()
    issue_id = till.tell("/redemptions", {"member": who, "reward": "mug"}).json()["id"]
    spends = LedgerEntry.objects.filter(kind="spend", account__member_id=who)
    other = {"purchase": str(uuid4())}
    return Deed(f"/redemptions/{issue_id}/capture", None, other, lambda: spends.all().count())


def correct(till: Caller) -> Deed:
    """A correction by hand."""
    who = _member()
    body = {"member": who, "unit": "points", "amount": -5, "reason": "x"}
    taken = LedgerEntry.objects.filter(kind="adjust", amount=-5, account__member_id=who)
    return Deed("/adjustments", body, {**body, "amount": -6}, lambda: taken.all().count())


def transfer(till: Caller) -> Deed:
    """A gift from one member to another."""
    giver, taker = _member(), _member()
    body = {"from_member": giver, "to_member": taker, "unit": "points", "amount": 5, "reason": "A gift"}
    gifts = Transfer.objects.filter(from_member_id=giver)
    return Deed("/transfers", body, {**body, "amount": 6}, lambda: gifts.all().count())


DEEDS = [earn, refund, activity, redeem, capture, correct, transfer]
DeedOf = Callable[[Caller], Deed]


def _member() -> str:
    who: Member = new_member(secrets.token_hex(8))
    adjust(who, A_LOT)
    return str(who.pk)
