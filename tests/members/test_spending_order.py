"""
R08: random histories beside a plain model of lots: what is spent first, what holds pin, what lapses and when.

Many members live side by side, each a history of their own, so that a thousand deeds are a few statements. With PROVE=1
there are 10,000 histories; SEED=… lives them again.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest
from django.db import transaction

from members import ledger
from members.ledger import expiry
from members.models import Lot, Member
from members.services.points import expire_points
from tenants.models import Client
from tests.members.world import BERLIN, DAY, NOON, live, the_unit, unit
from tests.proof.record import Record, often

SEED = int(os.environ.get("SEED", "88"))
HISTORIES = often(300, 10_000)
AT_ONCE = 100
ROUNDS = 14


@dataclass
class Pot:
    """A lot on paper."""

    id: UUID
    left: int
    available: datetime
    expires: datetime | None
    held: int = 0


@dataclass
class Paper:
    """One member's lots on paper, in the order in which they came."""

    id: UUID
    pots: list[Pot] = field(default_factory=list)
    spends: list[tuple[UUID, list[tuple[Pot, int]]]] = field(default_factory=list)

    def free(self, pot: Pot, at: datetime) -> int:
        over = pot.expires is not None and pot.expires <= at
        return 0 if over or pot.available > at else pot.left - pot.held

    def pick(self, amount: int, at: datetime) -> list[tuple[Pot, int]]:
        """Soonest expiry first, then what became available first, then the oldest; never-expiring last."""
        never = datetime.max.replace(tzinfo=BERLIN) - 400 * DAY
        order = sorted(self.pots, key=lambda pot: (pot.expires or never, pot.available, self.pots.index(pot)))
        parts = []
        for pot in order:
            if part := min(self.free(pot, at), amount):
                parts.append((pot, part))
                amount -= part
        return parts

    def lapse(self, at: datetime) -> int:
        due = [pot for pot in self.pots if pot.expires is not None and pot.expires <= at and pot.left > pot.held]
        for pot in due:
            pot.left = pot.held
        return len(due)


class Town:
    """Members who live side by side, told to the books and to the paper alike."""

    def __init__(self, random: Random, *, place: int) -> None:
        self.random, self.now, self.told, self.place = random, NOON, 0, place
        made = [Member(number=f"T{place}-{n}", joined_at=NOON) for n in range(AT_ONCE)]
        self.papers = [Paper(one.pk) for one in Member.objects.bulk_create(made)]
        self.unit = the_unit()

    def live(self) -> None:
        for _round in range(ROUNDS):
            deeds: dict[Callable[[Any, Paper], None], list[Paper]] = {}
            for paper in self.papers:
                deed = self.random.choices(
                    [self.earn, self.spend, self.restore, self.hold, self.let_go], weights=[4, 4, 1, 1, 1]
                )[0]
                deeds.setdefault(deed, []).append(paper)
            for deed, papers in deeds.items():
                self.all_at_once(deed, papers)
            self.now += self.random.choice([timedelta(minutes=1), DAY, 3 * DAY, 9 * DAY])
            self.night()
            self.compare()

    def all_at_once(self, deed: Callable[[Any, Paper], None], papers: list[Paper]) -> None:
        with transaction.atomic():
            member_ids = [paper.id for paper in papers]
            ledger.lock(member_ids)
            book = ledger.Book(member_ids=member_ids, at=self.now, zone=BERLIN)
            for paper in papers:
                deed(book, paper)
            book.write()

    def account(self, book: Any, paper: Paper) -> Any:
        return book.account(member_id=paper.id, unit=self.unit)

    def cause(self) -> ledger.Cause:
        self.told += 1
        return ledger.Cause(key=f"{self.place}:{self.told}", occurred_at=self.now)

    # ── what can happen ─────────────────────────────────────────────────────────────────────────────────────────

    def earn(self, book: Any, paper: Paper) -> None:
        available = self.now + self.random.choice([0, 0, 0, 2]) * DAY
        expires = self.random.choice([None, self.now + self.random.choice([1, 4, 4, 10, 20]) * DAY])
        amount = self.random.randint(1, 100)
        lot = book.earn(account=self.account(book, paper), unit=self.unit, amount=amount, cause=self.cause(),
                        kind="adjust", dates=(available, expires))  # fmt: skip
        paper.pots.append(Pot(lot, amount, available, expires))

    def spend(self, book: Any, paper: Paper) -> None:
        amount = self.random.randint(1, 120)
        parts = paper.pick(amount, self.now)
        account = self.account(book, paper)
        if sum(part for _pot, part in parts) < amount:
            with pytest.raises(ledger.NotEnoughPoints):
                book.spend(account=account, amount=amount, cause=self.cause())
            return
        entry = book.spend(account=account, amount=amount, cause=self.cause())
        for pot, part in parts:
            pot.left -= part
        paper.spends.append((entry, parts))

    def restore(self, book: Any, paper: Paper) -> None:
        if not paper.spends:
            return
        entry, parts = paper.spends.pop(self.random.randrange(len(paper.spends)))
        self.told += 1
        cause = ledger.Cause(key=f"{self.place}:{self.told}", occurred_at=self.now, corrects_id=entry)
        book.restore(account=self.account(book, paper), parts=[(pot.id, part) for pot, part in parts], cause=cause)
        for pot, part in parts:
            pot.left += part

    def hold(self, _book: Any, paper: Paper) -> None:
        """What a hold pins, without the hold: the books see nothing but what is held of a lot."""
        for pot, part in paper.pick(self.random.randint(1, 60), self.now):
            pot.held += part
            Lot.objects.filter(pk=pot.id).update(held=pot.held)

    def let_go(self, _book: Any, paper: Paper) -> None:
        for pot in paper.pots:
            if pot.held:
                pot.held = 0
                Lot.objects.filter(pk=pot.id).update(held=0)

    def night(self) -> None:
        due = sum(paper.lapse(self.now) for paper in self.papers)
        for expected in (due, 0):
            with transaction.atomic():
                assert expire_points(at=self.now, zone=BERLIN) == expected

    def compare(self) -> None:
        wanted = {pot.id: (pot.left, pot.held) for paper in self.papers for pot in paper.pots}
        lots = Lot.objects.filter(account__member__in=[paper.id for paper in self.papers])
        found = {pk: (remaining, held) for pk, remaining, held in lots.values_list("pk", "remaining", "held")}
        assert found == wanted

    def end(self) -> None:
        """Nothing stays held without a hold."""
        with transaction.atomic():
            for paper in self.papers:
                self.let_go(None, paper)
        self.now += 1000 * DAY
        self.night()


def live_all(histories: int) -> None:
    for place in range(histories // AT_ONCE):
        town = Town(Random(SEED + place), place=place)
        town.live()
        town.end()


@pytest.mark.timeout(1800)
def test_r08_random_histories_spend_and_lapse_as_on_paper(acme: Client, proof_record: Record) -> None:
    proof_record.tried(HISTORIES, f"histories of {ROUNDS} deeds and nights", seed=SEED)
    live(units=[unit()])
    live_all(HISTORIES)


@pytest.mark.parametrize("broken", ["oldest first", "held parts lapse", "lapses a moment late"])
def test_r08_negative_control_another_order_or_another_end_is_caught(
    acme: Client, broken: str, monkeypatch: pytest.MonkeyPatch, proof_record: Record
) -> None:
    live(units=[unit()])
    if broken == "oldest first":
        monkeypatch.setattr(ledger, "_spending_order", lambda lot: (lot.available_at, lot.entry_id))
    elif broken == "held parts lapse":
        wrong = expiry._LAPSE.replace("l.remaining - l.held AS amount", "l.remaining AS amount")
        monkeypatch.setattr(expiry, "_LAPSE", wrong)
    else:
        monkeypatch.setattr(expiry, "_LAPSE", expiry._LAPSE.replace("l.expires_at <= %(at)s", "l.expires_at < %(at)s"))
    town = Town(Random(SEED), place=0)
    with pytest.raises(Exception, match="assert|NotEnough|DID NOT RAISE|lot_never_below_what_is_held"):
        town.live()
    proof_record.caught(broken)
    Lot.objects.filter(held__gt=0).update(held=0)
