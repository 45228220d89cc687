"""R08: lots lapse in bulk as the book would let them, once, however often, from where and how far the night gets."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from random import Random
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from members import ledger
from members.ledger import expiry
from members.models import Allocation, LedgerEntry, Lot, Member, PointsAccount
from members.services.points import expire_points
from programs.queries import Unit
from tenants.models import Client
from tenants.routers import CLIENT
from tests.members.world import BERLIN, DAY, NOON, crowd, expire, hold, live, new_member, the_unit, unit
from tests.proof.record import Record

SEED = int(os.environ.get("SEED", "8"))
MONTH = {"policy": "rolling", "months": 1}
LATE = NOON + 45 * DAY


def fill(who: Member, random: Random, *, of: Unit, at: datetime = NOON) -> None:
    """Some lots with dates of their own, some held in part, some spent in part."""
    with transaction.atomic():
        ledger.lock([who.pk])
        book = ledger.Book(member_ids=[who.pk], at=at, zone=BERLIN)
        account = book.account(member_id=who.pk, unit=of)
        for n in range(random.randint(1, 6)):
            cause = ledger.Cause(key=f"fill:{who.pk}:{n}", occurred_at=at - random.randint(0, 30) * DAY)
            dates = random.choice([None, (at, at + random.randint(1, 60) * DAY), (at + 3 * DAY, None)])
            book.earn(account=account, unit=of, amount=random.randint(1, 500), cause=cause, kind="adjust", dates=dates)
        book.write()
    for deed in ("hold", "spend"):
        if (free := account.available(at)) and random.random() < 0.5:
            amount = random.randint(1, min(free, 200))
            if deed == "hold":
                hold(who, amount, at=at, lasts=90 * DAY)
            else:
                with transaction.atomic():
                    spent = ledger.Book(member_ids=[who.pk], at=at, zone=BERLIN)
                    one = spent.account(member_id=who.pk, unit=of)
                    if one.available(at) >= amount:
                        spent.spend(account=one, amount=amount, cause=ledger.Cause(f"spent:{who.pk}", at))
                        spent.write()


def by_the_book(*, at: datetime) -> int:
    """What `expire_points` does, lot by lot."""
    with transaction.atomic():
        member_ids = expiry.hold_due(at=at, limit=10_000)
        book = ledger.Book(member_ids=member_ids, at=at, zone=BERLIN)
        for member_id in member_ids:
            book.account(member_id=member_id, unit=the_unit())
        done = book.expire_due()
        book.write()
    return done


def effects() -> list[tuple[Any, ...]]:
    """What lapsed, as it stands in the books."""
    entries = LedgerEntry.objects.filter(kind="expire").order_by("account", "pk")
    return list(entries.values_list("account", "amount", "balance_after", "key", "corrects", "occurred_at", "at",
                                    "allocations__lot", "allocations__amount", "reason", "made_by"))  # fmt: skip


class _Undone(Exception):
    """Takes back what was tried."""


@contextmanager
def undone() -> Iterator[None]:
    """Try something and take it back."""
    try:
        with transaction.atomic():
            yield
            raise _Undone
    except _Undone:
        return


def both_forms(*, at: datetime) -> tuple[Any, Any]:
    """What lapses by the book, and in bulk; neither stays."""
    with undone():
        said = by_the_book(at=at), sorted(map(str, effects())), _left()
    with undone():
        done = expire_points(at=at, zone=BERLIN), sorted(map(str, effects())), _left()
    return said, done


def _left() -> list[tuple[Any, ...]]:
    return list(Lot.objects.order_by("pk").values_list("pk", "remaining", "held"))


def _forty_members(policy: dict[str, Any]) -> None:
    live(units=[unit(expiry=policy)])
    random = Random(SEED)
    for n in range(40):
        fill(new_member(f"m{n}"), random, of=the_unit())


@pytest.mark.parametrize("policy", [MONTH, {"policy": "sliding", "months": 1}, {"policy": "none"}])
def test_r08_in_bulk_the_same_lapses_as_by_the_book(acme: Client, policy: dict[str, Any], proof_record: Record) -> None:
    proof_record.tried(4 * 40, f"members' lots, {policy['policy']}, by the book and in bulk", seed=SEED)
    _forty_members(policy)
    for at in (NOON + DAY, NOON + 20 * DAY, NOON + 45 * DAY, NOON + 100 * DAY):
        said, done = both_forms(at=at)
        assert said == done, f"SEED={SEED}"
        expire(at=at)
    assert LedgerEntry.objects.filter(kind="expire").exists()


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("l.remaining - l.held AS amount", "l.remaining AS amount"),
        ("<= %(at)s OR", "< %(at)s OR"),
        ("PARTITION BY account_id ORDER BY", "ORDER BY account_id,"),
        ("|| remaining ||", "|| amount ||"),
    ],
)
def test_r08_negative_control_a_wrong_bulk_form_is_caught(
    acme: Client, right: str, wrong: str, monkeypatch: pytest.MonkeyPatch, proof_record: Record
) -> None:
    _forty_members(MONTH)
    free = Lot.objects.filter(expires_at__isnull=False, remaining__gt=0, held=0)
    at = free.values_list("expires_at", flat=True)[0] if "<= " in right and "AND" not in right else LATE + 90 * DAY
    assert right in expiry._LAPSE
    monkeypatch.setattr(expiry, "_LAPSE", expiry._LAPSE.replace(right, wrong))

    assert _differs(at=at)
    proof_record.caught(f"the bulk form of expiry with {wrong.split(chr(10))[0]}")


def _differs(*, at: datetime) -> bool:
    try:
        said, done = both_forms(at=at)
    except IntegrityError:
        return True
    return said != done


def test_r08_a_second_night_posts_nothing(acme: Client) -> None:
    _shop(60)
    assert _whole_night(limit=25) > 100
    before = LedgerEntry.objects.count()

    assert _whole_night(limit=25) == 0
    assert LedgerEntry.objects.count() == before


def test_r08_a_night_killed_half_way_is_finished_by_the_next(acme: Client) -> None:
    lots = _shop(60)
    first = expire(at=LATE, limit=40)
    with undone():
        # Killed within a chunk: all of it is undone.
        expire_points(at=LATE, zone=BERLIN, limit=40)

    assert 0 < first < lots
    assert first + _whole_night(limit=40) == lots
    assert not Lot.objects.filter(expires_at__lte=LATE, remaining__gt=0).exists()


def test_r08_two_nights_at_once_let_each_lot_lapse_once(acme: Client) -> None:
    lots = _shop(80)
    with crowd(2, acme) as people:
        done = [sum(people.act(lambda _n: expire_points(at=LATE, zone=BERLIN, limit=30))) for _round in range(30)]  # type: ignore[arg-type]

    assert sum(done) == lots
    assert LedgerEntry.objects.filter(kind="expire").count() == lots
    assert PointsAccount.objects.exclude(balance=0).count() == 0


def test_r08_negative_control_without_the_lock_two_nights_collide(
    acme: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    _shop(80)
    monkeypatch.setattr(expiry, "_HOLD_DUE", expiry._HOLD_DUE.replace("FOR NO KEY UPDATE", ""))
    with crowd(2, acme) as people:
        met = [one for _n in range(10) for one in people.act(lambda _n: expire_points(at=LATE, zone=BERLIN, limit=300))]

    assert any(isinstance(one, Exception) for one in met)


def test_r08_a_night_takes_the_same_few_statements_whatever_lapses(
    acme: Client, django_assert_num_queries: Any
) -> None:
    _shop(30)
    with django_assert_num_queries(6, using=CLIENT), transaction.atomic():  # begin; units, hold; units, lapse; commit
        expire_points(at=LATE, zone=BERLIN)


def _shop(members: int) -> int:
    """So many members with some lots that are due when it is LATE; how many lots."""
    live(units=[unit(expiry=MONTH)])
    random, of, made = Random(SEED), the_unit(), 0
    people = [new_member(f"m{n}") for n in range(members)]
    with transaction.atomic():
        ledger.lock([one.pk for one in people])
        book = ledger.Book(member_ids=[one.pk for one in people], at=NOON, zone=BERLIN)
        for one in people:
            for n in range(random.randint(1, 5)):
                cause = ledger.Cause(key=f"{one.pk}:{n}", occurred_at=NOON - n * timedelta(hours=30))
                book.earn(
                    account=book.account(member_id=one.pk, unit=of), unit=of, amount=n + 1, cause=cause, kind="adjust"
                )
                made += 1
        book.write()
    return made


def _whole_night(*, limit: int) -> int:
    done = 0
    while lapsed := expire(at=LATE, limit=limit):
        done += lapsed
    return done


def test_allocations_of_a_night_name_their_entries(acme: Client) -> None:
    lots = _shop(10)
    _whole_night(limit=1000)
    assert Allocation.objects.filter(entry__kind="expire").count() == lots
