"""A small known world: programs as small documents, members, purchases at a fixed noon, and crediting them."""

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from datetime import datetime, timedelta
from decimal import Decimal
from threading import Barrier
from typing import Any, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import connections, transaction

from loyalty_saas.flows.programs import publish
from loyalty_saas.flows.purchases import credit_next_batch
from members.models import Hold, Identifier, LedgerEntry, Member, PointsAccount, Purchase
from members.queries import Balance, balances
from members.services import points as service
from members.services.accrual import NOTHING
from members.services.activities import RecordedActivity, record_activity
from members.services.purchases import Accepted, LineInput, PurchaseInput, record_purchase
from programs.models import Program
from programs.queries import Unit, unit_by_code
from tenants.context import current_client, use_client
from tenants.models import Client

BERLIN = ZoneInfo("Europe/Berlin")
# A Wednesday.
NOON = datetime(2026, 6, 17, 12, 0, tzinfo=BERLIN)
DAY = timedelta(days=1)
T = TypeVar("T")

# ── programs ────────────────────────────────────────────────────────────────────────────────────────────────────────


def unit(code: str = "points", **given: Any) -> dict[str, Any]:
    """A unit that never expires, is spendable at once, and may not be owed."""
    return {"code": code, "name": code.title(), "kind": "points", **given}


def rule(code: str, effect: Mapping[str, Any], *, trigger: str = "purchase", **given: Any) -> dict[str, Any]:
    """An earning rule of the unit `points`."""
    return {"code": code, "name": code.title(), "unit": "points", "trigger": trigger, "effect": effect, **given}


def per_amount(points: int = 1, per: int = 1) -> dict[str, Any]:
    """So many points for so many minor units."""
    return {"kind": "per_amount", "points": points, "per": per}


def fixed(points: int) -> dict[str, Any]:
    """Always the same."""
    return {"kind": "fixed", "points": points}


def times(factor: str, *of: str) -> dict[str, Any]:
    """A multiple of what other rules give."""
    return {"kind": "multiplier", "factor": factor, "of": list(of)}


def when(field: str, op: str, value: Any) -> dict[str, Any]:
    """A condition."""
    return {"field": field, "op": op, "value": value}


def level(code: str, enter: int, keep: int | None = None) -> dict[str, Any]:
    """A tier."""
    return {"code": code, "name": code.title(), "enter": enter, "keep": enter if keep is None else keep}


PENNY = rule("penny", per_amount(), trigger="line")
"""One point for each minor unit of a line."""


def program(*rules: Mapping[str, Any], units: Iterable[Mapping[str, Any]] = (), **given: Any) -> dict[str, Any]:
    """A program document; with the unit `points` unless told otherwise."""
    return {"name": "Club", "units": list(units) or [unit()], "rules": list(rules), **given}


def live(*rules: Mapping[str, Any], **given: Any) -> Program:
    """Publish a program of these rules, the penny rule unless there are any."""
    return publish(document=program(*(rules or (PENNY,)), **given), at=NOON)


# ── members and purchases ───────────────────────────────────────────────────────────────────────────────────────────


def new_member(name: str = "") -> Member:
    """Somebody who is a member already, found by their name as POS id."""
    member = Member.objects.create(number=secrets.token_hex(4).upper(), joined_at=NOON - 30 * DAY)
    Identifier.objects.create(member=member, kind="pos", value=name or member.number)
    return member


def line(amount: int, *, sku: str = "", quantity: str | int = 1, **given: Any) -> LineInput:
    """One line; the amount is the whole line's, in minor units."""
    return LineInput(quantity=Decimal(quantity), amount=amount, sku=sku, **given)


def purchase(
    member: Member,
    *,
    receipt: str,
    kind: str = "sale",
    lines: Sequence[LineInput] = (),
    amount: int | None = None,
    at: datetime = NOON,
    **given: Any,
) -> PurchaseInput:
    """A purchase as a till would send it."""
    total = sum(one.amount for one in lines) if amount is None else amount
    return PurchaseInput(
        kind=kind,
        document=receipt,
        member_id=member.pk,
        currency=current_client().currency,
        amount=total,
        occurred_at=at,
        lines=tuple(lines),
        **given,
    )


def buy(member: Member, *, receipt: str, received: datetime | None = None, **given: Any) -> Accepted:
    """Record a sale."""
    sale = purchase(member, receipt=receipt, **given)
    return record_purchase(purchase=sale, at=received or sale.occurred_at)


def bring_back(
    member: Member, *, receipt: str, sale: str = "", kind: str = "return", lines: Sequence[LineInput] = (), **given: Any
) -> Accepted:
    """Record a return of these lines (positive figures), of the sale with that receipt if it is named."""
    back = [
        LineInput(quantity=-one.quantity, amount=-one.amount, sku=one.sku, category=one.category, position=one.position)
        for one in lines
    ]
    returned = purchase(member, receipt=receipt, kind=kind, lines=back, sale_document=sale, **given)
    return record_purchase(purchase=returned, at=returned.occurred_at)


def do(member: Member, kind: str, *, reference: str = "", at: datetime = NOON, **given: Any) -> RecordedActivity:
    """Record an activity."""
    reference = reference or secrets.token_hex(8)
    return record_activity(
        member_id=member.pk, kind=kind, reference=reference, source="test", occurred_at=at, at=at, **given
    )


def credit(*, at: datetime = NOON, limit: int | None = None) -> int:
    """Credit all that waits; how many items that were."""
    done = 0
    while (credited := credit_next_batch(at=at, limit=limit)) != NOTHING:
        done += credited.purchases
    return done


# ── points by hand, each in a transaction of its own ────────────────────────────────────────────────────────────────


def hold(member: Member, amount: int, *, key: str = "", at: datetime = NOON, **given: Any) -> Hold:
    """Set points aside."""
    with transaction.atomic():
        return service.hold_points(
            member_id=member.pk,
            unit=the_unit(),
            amount=amount,
            key=key or secrets.token_hex(8),
            at=at,
            zone=BERLIN,
            **given,
        )


def capture(held: Hold, *, at: datetime = NOON) -> LedgerEntry:
    """Spend what is held."""
    with transaction.atomic():
        return service.capture_hold(hold_id=held.pk, at=at, zone=BERLIN)


def void(held: Hold, *, at: datetime = NOON) -> Hold:
    """Let go of what is held."""
    with transaction.atomic():
        return service.void_hold(hold_id=held.pk, at=at)


def spend(member: Member, amount: int, *, at: datetime = NOON) -> LedgerEntry:
    """Hold and capture at once."""
    return capture(hold(member, amount, at=at), at=at)


def restore(spent: LedgerEntry, *, at: datetime = NOON) -> LedgerEntry:
    """Give a spend back."""
    with transaction.atomic():
        return service.restore_spend(entry_id=spent.pk, reason="A mistake", at=at, zone=BERLIN)


def adjust(
    member: Member, amount: int, *, key: str = "", reason: str = "Goodwill", code: str = "points", at: datetime = NOON
) -> LedgerEntry:
    """Put a balance right."""
    key = key or secrets.token_hex(8)
    with transaction.atomic():
        return service.adjust_points(
            member_id=member.pk, unit=the_unit(code), amount=amount, reason=reason, key=key, at=at, zone=BERLIN, by=None
        )


def expire(*, at: datetime, limit: int = 10_000) -> int:
    """Let lapse what is due; how many lots."""
    with transaction.atomic():
        return service.expire_points(at=at, zone=BERLIN, limit=limit)


# ── what came of it ─────────────────────────────────────────────────────────────────────────────────────────────────


def balance_of(member: Member, code: str = "points", *, at: datetime = NOON) -> Balance:
    """What a member has of a unit."""
    return next(one for one in balances(member_id=member.pk, at=at) if one.unit.code == code)


def points(member: Member, code: str = "points") -> int:
    """The stored balance."""
    account = PointsAccount.objects.filter(member=member, unit__code=code).first()
    return account.balance if account else 0


def the_unit(code: str = "points") -> Unit:
    """The unit of that code."""
    found = unit_by_code(code)
    assert found is not None
    return found


def sold(receipt: str) -> Purchase:
    """The sale of that receipt."""
    return Purchase.objects.get(kind="sale", document=receipt)


def tell(rows: Iterable[Any], *names: str) -> list[Any]:
    """These attributes of each row, for comparing."""
    return [tuple(getattr(row, name) for name in names) if len(names) > 1 else getattr(row, names[0]) for row in rows]


# ── at once ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class Crowd:
    """Several people who act in a client at the same moment, each through a database connection of their own."""

    def __init__(self, size: int, client: Client) -> None:
        self.size, self._client = size, client
        self._pool = ThreadPoolExecutor(size)
        self._line = Barrier(size)

    def act(self, deed: Callable[[int], T], *, atomic: bool = True) -> list[T | Exception]:
        """What became of each one's deed (in a transaction unless told otherwise): its result, or the error it met."""
        sent = [self._pool.submit(self._one, deed, place, atomic) for place in range(self.size)]
        return [one.result() for one in sent]

    def _one(self, deed: Callable[[int], T], place: int, atomic: bool) -> T | Exception:
        with use_client(self._client):
            connections["default"].ensure_connection()
            self._line.wait(20)
            try:
                with transaction.atomic() if atomic else nullcontext():
                    return deed(place)
            except Exception as error:
                return error

    def go_home(self) -> None:
        """Close everybody's connections."""
        list(self._pool.map(self._leave, range(self.size)))
        self._pool.shutdown()

    def _leave(self, _place: int) -> None:
        self._line.wait(20)
        connections.close_all()


@contextmanager
def crowd(size: int, client: Client) -> Any:
    """So many people, who act when told and then go home."""
    people = Crowd(size, client)
    try:
        yield people
    finally:
        people.go_home()


def ids(rows: Iterable[Any]) -> list[UUID]:
    """The keys of rows."""
    return [row.pk for row in rows]
