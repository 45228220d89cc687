"""
Jepsen's bank on our own services: processes that move points between a few members, and read what there is.

Whatever they do, members' points and what they have spent add up to what was there in the beginning.
"""

import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty
from random import Random
from typing import Any
from uuid import UUID

from django.db import InterfaceError, OperationalError, connections, transaction
from django.utils import timezone

from members import ledger
from members.ledger import NotEnoughPoints
from members.models import PointsAccount
from members.services.households import make_household
from members.services.refusals import Refused
from members.services.transfers import transfer_points
from programs.queries import unit_by_code
from rewards.services import capture_redemption, redeem, take_back_redemption, void_redemption
from tenants.context import client_connection, use_client
from tenants.models import Client
from tests.members import invariants
from tests.members.world import BERLIN, adjust, live, new_member

MEMBERS, EACH = 8, 300
REWARD = {"code": "cup", "name": "Cup", "kind": "product", "unit": "points", "price": 20, "value": 100}
READ_ALL = """
    SELECT COALESCE(sum(a.balance), 0), min(a.balance), min(a.in_lots), count(*) FILTER (WHERE a.balance <> a.in_lots),
           (SELECT COALESCE(-sum(e.amount), 0) FROM members_ledgerentry e WHERE e.kind IN ('spend', 'restore'))
    FROM members_pointsaccount a
"""
Deed = Callable[[], Any]


@dataclass
class Tally:
    """What one teller did, and what should not have been."""

    done: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    tried_again: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Count another teller's work in."""
        self.done += other.done
        self.refused += other.refused
        self.tried_again += other.tried_again
        self.wrong += other.wrong

    @property
    def committed(self) -> int:
        """Deeds that were committed, reads apart."""
        return self.done.total() - self.done["read"]


class Bank:
    """Eight members with points, and as many processes as are wanted."""

    def __init__(self, client: Client, *, seed: int) -> None:
        self.client, self.seed = client, seed
        with use_client(client):
            live(rewards=[REWARD])
            members = [new_member(f"saver {place}") for place in range(MEMBERS)]
            for member in members * 3:
                adjust(member, EACH // 3, at=timezone.now())
            with transaction.atomic():
                # What one of these lacks for a reward comes from the others.
                make_household(name="Together", member_ids=[one.pk for one in members[:3]], at=timezone.now())
        self.members = sorted(member.pk for member in members)

    @property
    def total(self) -> int:
        """What was there in the beginning."""
        return MEMBERS * EACH

    def open(self, *, processes: int, seconds: float, outlives: bool = False, broken: str = "") -> "Opened":
        """Let so many processes work for so many seconds; `outlives` where they meet a database that goes away."""
        connections.close_all()
        context = multiprocessing.get_context("fork")
        told: Any = context.Queue()
        until = time.time() + seconds
        tellers = [
            context.Process(target=_work, args=(self, place, until, outlives, broken, told))
            for place in range(processes)
        ]
        for teller in tellers:
            teller.start()
        return Opened(self, tellers, told, seconds)

    def audit(self) -> list[str]:
        """What does not hold in the books now."""
        with use_client(self.client), client_connection().cursor() as cursor:
            cursor.execute(READ_ALL)
            wrong = _misread(self, cursor.fetchone())
            return wrong + invariants.problems(cursor)


@dataclass
class Opened:
    """A bank at work."""

    bank: Bank
    tellers: list[Any]
    told: Any
    seconds: float

    def close(self) -> Tally:
        """Wait until all have ended; what they did, and what the books say."""
        tally = Tally()
        for _teller in self.tellers:
            try:
                tally.add(self.told.get(timeout=self.seconds + 120))
            except Empty:
                tally.wrong.append("A process did not come back.")
        for teller in self.tellers:
            teller.join(20)
            if teller.is_alive():
                teller.kill()
        tally.wrong += self.bank.audit()
        pace = f"{tally.committed / self.seconds:.0f} committed/s"
        told = f"bank: seed {self.bank.seed}, {dict(tally.done)}, {tally.refused} refused, {tally.tried_again} again"
        print(f"{told}, {pace}, {len(tally.wrong)} wrong")  # noqa: T201
        return tally


def _work(bank: Bank, place: int, until: float, outlives: bool, broken: str, told: Any) -> None:
    """One process from its first deed to its last."""
    teller = Teller(bank, Random(f"{bank.seed} {place}"), outlives=outlives)
    try:
        _break(teller, broken)
        with use_client(bank.client):
            while time.time() < until:
                teller.act()
    except BaseException as error:
        teller.tally.wrong.append(f"A process ended: {type(error).__name__}: {error}")
    finally:
        told.put(teller.tally)
        told.close()
        told.join_thread()
        os._exit(0)


def _break(teller: "Teller", broken: str) -> None:
    """The variants that must be caught."""
    if broken == "no lock":
        ledger.lock = lambda _ids: None
    elif broken == "torn reads":
        teller.read = teller.read_one_by_one  # type: ignore[method-assign]
    elif broken:
        raise ValueError(broken)


class Teller:
    """One process' work: a third of it reads, the rest moves points."""

    def __init__(self, bank: Bank, chance: Random, *, outlives: bool) -> None:
        self.bank, self.chance, self.outlives = bank, chance, outlives
        self.tally, self.spent, self.number = Tally(), [], 0  # type: ignore[var-annotated]
        self.deeds = {"read": 30, "transfer": 25, "ring": 10, "rings at once": 5, "redeem": 15, "void": 5, "refund": 10}

    def act(self) -> None:
        """Do one thing, and count it."""
        (name,) = self.chance.choices(list(self.deeds), list(self.deeds.values()))
        deed: Callable[[], None] = getattr(self, name.replace(" ", "_"))
        try:
            deed()
        except (NotEnoughPoints, Refused):
            self.tally.refused += 1
        except Exception as error:
            self.tally.wrong.append(f"{name}: {type(error).__name__}: {str(error).splitlines()[:1]}")
            connections.close_all()
        else:
            self.tally.done[name] += 1

    def commit(self, work: Deed) -> Any:
        """Do it in a transaction; where the database may go away, again and again until it is there."""
        while True:
            try:
                with transaction.atomic():
                    return work()
            except (OperationalError, InterfaceError):
                if not self.outlives:
                    raise
                self.tally.tried_again += 1
                connections.close_all()
                time.sleep(self.chance.random() * 0.2)

    # ── deeds ───────────────────────────────────────────────────────────────────────────────────────────────────

    def read(self) -> None:
        """Everything at one moment."""
        self.tally.wrong += _misread(self.bank, self.commit(_read))

    def read_one_by_one(self) -> None:
        """Member after member: others move points in between."""
        found = [PointsAccount.objects.get(member_id=member_id).balance for member_id in self.bank.members]
        *_rest, spent = _read()
        self.tally.wrong += _misread(self.bank, (sum(found), min(found), 0, 0, spent))

    def transfer(self) -> None:
        """From one to another."""
        self._transfer(*self.chance.sample(self.bank.members, 2), self.chance.randint(1, 30))

    def ring(self) -> None:
        """Round a ring of three to five, each step by itself, this way round or the other."""
        ring = self._ring()
        amount = self.chance.randint(1, 30)
        for giver, taker in zip(ring, [*ring[1:], ring[0]], strict=True):
            self._transfer(giver, taker, amount)

    def rings_at_once(self) -> None:
        """Round a ring in one transaction, whose members are all locked first."""
        ring, amount = self._ring(), self.chance.randint(1, 30)
        keys = [self._key() for _member in ring]

        def work() -> None:
            ledger.lock(ring)
            for giver, taker, key in zip(ring, [*ring[1:], ring[0]], keys, strict=True):
                _send(giver, taker, amount, key)

        self.commit(work)

    def redeem(self) -> None:
        """Hold and capture, each in a transaction of its own."""
        issue = self._reserve()
        captured = self.commit(lambda: capture_redemption(issue_id=issue.pk, at=timezone.now(), zone=BERLIN))
        self.spent.append(captured.pk)

    def void(self) -> None:
        """Hold and let go."""
        issue = self._reserve()
        self.commit(lambda: void_redemption(issue_id=issue.pk, at=timezone.now()))

    def refund(self) -> None:
        """Give a spend of this process back, now and then twice."""
        if not self.spent:
            return
        issue_id = self.chance.choice(self.spent)
        with suppress(ValueError):
            self.spent.remove(issue_id if self.chance.random() < 0.8 else None)
        self.commit(lambda: _give_back(issue_id))

    def _ring(self) -> list[UUID]:
        return self.chance.sample(self.bank.members, self.chance.randint(3, 5))

    def _transfer(self, giver: UUID, taker: UUID, amount: int) -> None:
        key = self._key()
        self.commit(lambda: _send(giver, taker, amount, key))

    def _reserve(self) -> Any:
        who, key = self.chance.choice(self.bank.members), self._key()
        return self.commit(lambda: redeem(member_id=who, reward_code="cup", key=key, at=timezone.now(), zone=BERLIN))

    def _key(self) -> str:
        self.number += 1
        return f"bank {os.getpid()} {time.time_ns()} {self.number}"


def _send(giver: UUID, taker: UUID, amount: int, key: str) -> None:
    unit = unit_by_code("points")
    assert unit is not None
    transfer_points(
        from_id=giver,
        to_id=taker,
        unit=unit,
        amount=amount,
        key=key,
        reason="A gift",
        at=timezone.now(),
        zone=BERLIN,
        by=None,
    )


def _give_back(issue_id: UUID) -> None:
    take_back_redemption(issue_id=issue_id, reason="A mistake", at=timezone.now(), zone=BERLIN)


def _read() -> Sequence[int]:
    with client_connection().cursor() as cursor:
        cursor.execute(READ_ALL)
        found: Sequence[int] = cursor.fetchone()
    return found


def _misread(bank: Bank, read: Sequence[int]) -> list[str]:
    total, least, least_lots, uneven, spent = (int(one) for one in read)
    wrong = [] if total + spent == bank.total else [f"read {total} and {spent} spent, of {bank.total}"]
    wrong += [f"below nothing: {least}, {least_lots}"] if min(least, least_lots) < 0 else []
    return wrong + ([f"{uneven} balances are not what is in their lots"] if uneven else [])
