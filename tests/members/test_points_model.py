"""R02: random lives of a few members through the services, beside books on paper that say what must come."""

import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import count
from typing import Any, ClassVar
from uuid import UUID

import pytest
from django.db import connections, transaction
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from members import ledger
from members.ledger import NotEnoughPoints
from members.models import Allocation, Hold, LedgerEntry, Member
from members.services import closing, households
from members.services import points as service
from members.services.enrolment import IdentifierTaken, NewMember, enrol, merge_members
from members.services.points import HoldSettled
from members.services.refusals import KeyReused, OverReturn, ReceiptConflict, Refused
from members.services.transfers import transfer_points
from tenants.models import Client
from tests.members import world
from tests.members.paper import NOWHERE, PENDING_DAYS, Paper, Person, Pledge, Pot, Sale, Spend, balance
from tests.members.world import BERLIN, DAY, NOON, balance_of, bring_back, buy, credit, expire, line, live, the_unit
from tests.proof.record import Record, often

SEED = 2
EXAMPLES, STEPS = often(30, 2000), often(50, 100)
MOST_PEOPLE = 6
EXPIRY = {"policy": "rolling", "months": 1}
CLUBS: dict[str, dict[str, Any]] = {
    "nobody may owe": {},
    "all may owe": {"may_owe": True},
    "some may be owed": {"may_owe": True, "debt_limit": 150},
}
DEEDS = (
    "enrol", "enrol_twice", "merge", "close", "household", "household", "leave", "wait", "wait", "wait", "buy", "buy", "buy",
    "bring_back", "bring_back", "lapse", "give", "deduct", "transfer", "transfer", "again", "hold", "hold", "redeem",
    "redeem", "settle", "settle", "refund", "refund",
)  # fmt: skip
somebody, so_many = st.integers(0, MOST_PEOPLE - 1), st.integers(1, 400)
_lives = count()


class Lives(RuleBasedStateMachine):
    """What can happen to members, told to the services and to the paper alike."""

    club: ClassVar[dict[str, Any]] = {}
    fired: ClassVar[Counter[str]] = Counter()
    accepted: ClassVar[int] = 0
    refused: ClassVar[int] = 0

    @initialize()
    def begin(self) -> None:
        self.name, self.told = f"life {next(_lives)} {secrets.token_hex(3)}", count()
        self.now = NOON.replace(day=1)
        self.paper = Paper(may_owe=bool(self.club.get("may_owe")), debt_limit=self.club.get("debt_limit"))
        self.members: dict[Person, Member] = {}
        self.sales: list[Sale] = []
        self.pledges: list[tuple[Pledge, Hold]] = []
        self.spends: list[tuple[Spend, UUID]] = []
        self.homes: dict[int, UUID] = {}
        self.once: tuple[Callable[[int], Any], type[Exception]] | None = None
        self.seen = UUID(int=0)
        self.looked: dict[Person, tuple[datetime, Sequence[int]]] = {}
        for _member in range(3):
            self._enrol(f"{self.name} {len(self.members)}")

    def teardown(self) -> None:
        # Nothing of this life may be due in the next one.
        if hasattr(self, "now"):
            expire(at=self.now + 400 * DAY)

    @rule(deed=st.sampled_from(DEEDS), who=somebody, other=somebody, amount=so_many)
    def happens(self, deed: str, who: int, other: int, amount: int) -> None:
        """Any deed, each as likely: rules of their own would be left out of most lives, to find other mistakes."""
        getattr(self, deed)(who, other, amount)

    # ── who is there ────────────────────────────────────────────────────────────────────────────────────────────

    def enrol(self, who: int, other: int, amount: int) -> None:
        if not (len(self.members) < MOST_PEOPLE):
            return
        self._deed("enrol", None, lambda: self._enrol(f"{self.name} {len(self.members)}"))

    def enrol_twice(self, who: int, other: int, amount: int) -> None:
        known = self.paper.people[who % len(self.members)]
        if known.now.has_left:
            # Their name is free again.
            return
        taken = known.name
        self._deed("enrol twice", IdentifierTaken, lambda: self._enrol(taken))

    def merge(self, who: int, other: int, amount: int) -> None:
        one, double = self._person(who), self._person(other)
        if len(self._active()) < 3 and one is not double:
            return
        pinned = any(pledge.owner is double and pledge.state == "held" for pledge, _hold in self.pledges)
        done = self._deed(
            "merge", Refused if one is double or pinned else None,
            lambda: merge_members(kept_id=self._id(one), double_id=self._id(double), at=self.now, by=None, zone=BERLIN),
        )  # fmt: skip
        if done:
            self.paper.merge(one, double, self.now, order=self._arrived())

    def close(self, who: int, other: int, amount: int) -> None:
        one, reason = self.paper.people[who % len(self.members)], "" if amount % 7 == 0 else "Moves away"
        if len(self._active()) < 3 and reason and one.merged_into is None and not one.has_left:
            return
        mine = [pledge for pledge, _hold in self.pledges if pledge.owner is one and pledge.state == "held"]
        done = self._deed(
            "close", Refused if one.merged_into or not reason else None,
            lambda: closing.close_member(member_id=self._id(one), reason=reason, at=self.now, zone=BERLIN, by=None),
        )  # fmt: skip
        if done and not one.has_left:
            self.paper.leave(one, mine, self.now, order=self._arrived())

    def household(self, who: int, other: int, amount: int) -> None:
        one, mate = self._person(who), self._person(other)
        if one is mate:
            return
        if one.home is None and mate.home is None:
            made = self._deed(
                "household", None,
                lambda: households.make_household(
                    name="Home", member_ids=[self._id(one), self._id(mate)], at=self.now
                ),
            )  # fmt: skip
            one.home = mate.home = len(self.homes)
            self.homes[one.home] = made.pk
            return
        joins, home = (one, mate.home) if mate.home is not None else (mate, one.home)
        assert home is not None
        elsewhere = joins.home not in {None, home}
        add = lambda: households.add_to_household(  # noqa: E731
            household_id=self.homes[home], member_id=self._id(joins), at=self.now
        )
        if self._deed("household", Refused if elsewhere else None, add):
            joins.home = home

    def leave(self, who: int, other: int, amount: int) -> None:
        if not (any(one.home is not None for one in self.members)):
            return
        at_home = [one for one in self.paper.people if one.home is not None]
        one = at_home[who % len(at_home)]
        home = self.homes[one.home]  # type: ignore[index]
        self._deed(
            "leave", None,
            lambda: households.remove_from_household(household_id=home, member_id=self._id(one), at=self.now),
        )  # fmt: skip
        one.home = None

    # ── earning and what comes back ─────────────────────────────────────────────────────────────────────────────

    def wait(self, who: int, other: int, amount: int) -> None:
        self.now += (amount % 12 + 1) * DAY
        if self.now.astimezone(BERLIN).day > 28:
            self.now += 4 * DAY

    def buy(self, who: int, other: int, amount: int) -> None:
        one, receipt = self._person(who), self._key()

        def sell(worth: int) -> Any:
            sold = buy(self.members[one], receipt=receipt, lines=[line(worth, quantity=2)], at=self.now)
            credit(at=self.now)
            return sold

        self._deed("buy", None, lambda: sell(amount))
        self.sales.append(Sale(one, receipt, amount, self.paper.earn(one, amount, self.now)))
        self.once = (lambda more: sell(amount + more), ReceiptConflict)

    def bring_back(self, who: int, other: int, amount: int) -> None:
        if not (self.sales):
            return
        sale, pieces = self.sales[amount % len(self.sales)], other % 3 // 2 + 1
        one = sale.owner.now

        def back() -> Any:
            lines = [line(0, quantity=pieces)]
            come = bring_back(self.members[one], receipt=self._key(), sale=sale.receipt, lines=lines, at=self.now)
            credit(at=self.now)
            return come

        if self._deed("bring back", OverReturn if sale.back + pieces > 2 else None, back):
            half = sale.worth // 2
            worth = {(0, 1): half, (0, 2): sale.worth, (1, 1): sale.worth - half}[sale.back, pieces]
            sale.back += pieces
            self.paper.take_back(one, worth, self.now, sale.pot)
            self.paper.empty(self.now)

    def lapse(self, who: int, other: int, amount: int) -> None:
        lapsed = self._deed("expire", None, lambda: (expire(at=self.now), expire(at=self.now)))
        assert lapsed == (self.paper.lapse(self.now), 0)

    # ── by hand, and from one to another ────────────────────────────────────────────────────────────────────────

    def give(self, who: int, other: int, amount: int) -> None:
        one, adjust = self._person(who), self._adjust(who)
        self._deed("give", None, lambda: adjust(amount))
        self.paper.earn(one, amount, self.now)
        self.once = (lambda more: adjust(amount + more), KeyReused)

    def deduct(self, who: int, other: int, amount: int) -> None:
        one, adjust = self._person(who), self._adjust(who)
        fits = one.available(self.now) >= amount
        if self._deed("deduct", None if fits else NotEnoughPoints, lambda: adjust(-amount)):
            self.paper.take(one, amount, self.now)
            self.once = (lambda more: adjust(-amount - more), KeyReused)

    def _adjust(self, who: int) -> Callable[[int], LedgerEntry]:
        member, key = self.members[self._person(who)], self._key()
        return lambda amount: world.adjust(member, amount, key=key, at=self.now)

    def transfer(self, who: int, other: int, amount: int) -> None:
        giver, taker, key = self._person(who), self.paper.people[other % len(self.members)], self._key()

        def send(worth: int) -> Any:
            return transfer_points(
                from_id=self._id(giver), to_id=self._id(taker), unit=the_unit(), amount=worth, key=key,
                reason="A gift", at=self.now, zone=BERLIN,
            )  # fmt: skip

        wrong = giver is taker or taker.merged_into is not None or taker.has_left
        fits = giver.available(self.now) >= amount
        if self._deed("transfer", Refused if wrong else None if fits else NotEnoughPoints, lambda: send(amount)):
            self.paper.send(giver, taker, amount, self.now)
            self.once = (lambda more: send(amount + more), KeyReused)

    def again(self, who: int, other: int, amount: int) -> None:
        if not (self.once):
            return
        deed, refusal = self.once
        if other % 2:
            self._deed("the same key with another content", refusal, lambda: deed(7))
        else:
            before = self._state()
            self._deed("the same key again", None, lambda: deed(0))
            assert self._state() == before

    # ── spending ────────────────────────────────────────────────────────────────────────────────────────────────

    def hold(self, who: int, other: int, amount: int) -> None:
        self._hold(self._person(who), amount)

    def redeem(self, who: int, other: int, amount: int) -> None:
        if self._hold(self._person(who), amount % 120 + 1):
            self._settle(len(self.pledges) - 1, "captured")

    def _hold(self, one: Person, amount: int) -> bool:
        key, lasts = self._key(), timedelta(days=5)

        def set_aside(worth: int) -> Hold:
            return world.hold(self.members[one], worth, key=key, at=self.now, lasts=lasts)

        missing = amount - one.available(self.now) + one.debt
        others = [pot for mate in self.paper.mates(one) for pot in mate.pots]
        fits = one.available(self.now) >= amount or self.paper.pick(others, missing, self.now) is not None
        held = self._deed("hold", None if fits else NotEnoughPoints, lambda: set_aside(amount))
        if not held:
            return False
        pledge = self.paper.pledge(one, amount, self.now, lasts=lasts)
        assert pledge
        self._place_new_pots()
        self.paper.pin(pledge, self.now)
        self.pledges.append((pledge, held))
        self.once = (lambda more: set_aside(amount + more), KeyReused)
        return True

    def settle(self, who: int, other: int, amount: int) -> None:
        if not (self.pledges):
            return
        self._settle(amount % len(self.pledges), "captured" if other % 2 else "voided")

    def _settle(self, place: int, end: str) -> None:
        pledge, held = self.pledges[place]
        over = pledge.state not in {"held", end} or (
            pledge.state == "held" and end == "captured" and pledge.until <= self.now
        )
        settle = world.capture if end == "captured" else world.void
        done = self._deed(end, HoldSettled if over else None, lambda: settle(held, at=self.now))
        if not done or pledge.state != "held":
            return
        self.paper.let_go(pledge, spent=end == "captured")
        if end == "voided":
            self.paper.hand_back(pledge, order=self._arrived())
            self.paper.empty(self.now)
            return
        order = list(Allocation.objects.filter(entry=done).order_by("pk").values_list("lot_id", flat=True))
        assert {pot.place for pot, _part in pledge.parts} == set(order), "Other lots were spent than those pinned."
        parts = sorted(pledge.parts, key=lambda part: order.index(part[0].place))
        self.spends.append((Spend(pledge.owner, parts), done.pk))

    def refund(self, who: int, other: int, amount: int) -> None:
        if not (any(spend.back < spend.amount for spend, _entry in self.spends)):
            return
        open_spends = [(spend, entry) for spend, entry in self.spends if spend.back < spend.amount]
        spend, entry = open_spends[amount % len(open_spends)]
        left = spend.amount - spend.back
        amount = max(left // (other % 3 + 1), 1)
        whole = spend.back == 0 and amount == left

        def give_back() -> LedgerEntry:
            if whole:
                return service.restore_spend(entry_id=entry, reason="A mistake", at=self.now, zone=BERLIN)
            return service.restore_part(
                entry_id=entry, amount=amount, before=spend.back, key=self._key(), reason="A part", at=self.now, zone=BERLIN
            )  # fmt: skip

        self._deed("refund" if whole else "refund in parts", None, give_back)
        self.paper.restore(spend, amount, self.now, order=self._arrived())
        self.paper.empty(self.now)

    # ── telling and comparing ───────────────────────────────────────────────────────────────────────────────────

    def _deed(self, name: str, refusal: type[Exception] | None, deed: Callable[[], Any]) -> Any:
        """Do it; it is accepted unless a refusal is due, which must leave everything as it was."""
        Lives.fired[name] += 1
        before = self._state() if refusal else None
        try:
            with transaction.atomic():
                done = deed()
        except (NotEnoughPoints, Refused) as error:
            assert refusal is not None, f"{name} was refused: {error!r}"
            assert isinstance(error, refusal), f"{name}: {error!r}, not {refusal}"
            assert self._state() == before, f"{name} was refused and left something behind"
            Lives.refused += 1
            return None
        assert refusal is None, f"{name} should have been refused with {refusal}"
        Lives.accepted += 1
        return done

    def check_invariants(self, *args: Any, **given: Any) -> None:
        """After each step: every lot and every account is what the paper says."""
        super().check_invariants(*args, **given)
        if not hasattr(self, "members"):
            return
        lots = self._place_new_pots()
        found = {entry: (member, left, held) for member, entry, _gave, left, held, _from, _to in lots}
        drawn = {pot.place: (self._id(one), pot.left, pot.held) for one in self.paper.people for pot in one.pots}
        assert found == drawn
        self._look_at_balances()
        self.seen = max([self.seen, *found])

    def _look_at_balances(self) -> None:
        """What is stored of everybody; and what queries say of those for whom it, or the time, is another than before."""
        stored = {member: (total, debt) for member, total, debt in self._rows(_BALANCES)}
        for one, member in self.members.items():
            wanted = balance(one, self.now)
            assert stored.get(member.pk, (0, 0)) == (wanted[0], wanted[3])
            if self.looked.get(one) != (self.now, wanted) and (one.pots or one.debt):
                sight = balance_of(member, at=self.now)
                assert (sight.balance, sight.available, sight.held, sight.debt) == wanted
                self.looked[one] = self.now, wanted

    def _place_new_pots(self) -> list[Any]:
        """Tell pots that are new on paper which lots they are; all lots there are."""
        lots = self._rows(_LOTS)
        known = {pot.place for one in self.paper.people for pot in one.pots}
        new = [row for row in lots if row[1] not in known]
        for one in self.paper.people:
            for pot in [pot for pot in one.pots if pot.place == NOWHERE]:
                same = [row for row in new if (row[0], row[2], row[5], row[6]) == self._looks(pot)]
                assert same, f"There is no lot of {pot.gave} for {one.name}"
                # Where two look alike, the one with as much in it.
                best = next((row for row in same if row[3] == pot.left), same[0])
                pot.place = best[1]
                new.remove(best)
        assert not new, f"Lots that nobody expects: {new}"
        return lots

    def _looks(self, pot: Pot) -> tuple[Any, ...]:
        return self._id(pot.owner), pot.gave, pot.available, pot.expires

    def _arrived(self) -> list[UUID]:
        """The lots from which points were moved since the last step, in the order in which they went."""
        entries = LedgerEntry.objects.filter(
            kind="move", corrects__isnull=False, pk__gt=self.seen, account__member__in=list(self.members.values())
        )
        keys = entries.exclude(key__contains=":debt:").order_by("pk").values_list("key", flat=True)
        return [UUID(key.split(":")[-2]) for key in keys]

    def _state(self) -> list[Any]:
        """All that a refusal may not change."""
        return self._rows(_STATE)

    def _rows(self, sql: str) -> list[Any]:
        with connections["default"].cursor() as cursor:
            cursor.execute(sql, {"members": [member.pk for member in self.members.values()]})
            return list(cursor.fetchall())

    def _enrol(self, name: str) -> Member:
        with transaction.atomic():
            member = enrol(new=NewMember(identifiers={"pos": name}), region="DE", at=self.now)
        credit(at=self.now)
        person = Person(name)
        self.paper.people.append(person)
        self.members[person] = member
        return member

    def _active(self) -> list[Person]:
        return [one for one in self.paper.people if one.merged_into is None and not one.has_left]

    def _person(self, place: int) -> Person:
        active = self._active()
        return active[place % len(active)]

    def _id(self, one: Person) -> UUID:
        return self.members[one].pk

    def _key(self) -> str:
        return f"{self.name} {next(self.told)}"


_LOTS = """
    SELECT a.member_id, l.entry_id, e.amount, l.remaining, l.held, l.available_at, l.expires_at
    FROM members_lot l JOIN members_pointsaccount a ON a.id = l.account_id JOIN members_ledgerentry e ON e.id = l.entry_id
    WHERE a.member_id = ANY(%(members)s::uuid[]) ORDER BY l.entry_id
"""
_BALANCES = """
    SELECT a.member_id, a.balance, a.debt FROM members_pointsaccount a WHERE a.member_id = ANY(%(members)s::uuid[])
"""
_STATE = """
    SELECT m.id, m.status, m.merged_into_id, a.balance, a.in_lots, a.debt,
           (SELECT md5(string_agg(concat_ws(' ', l.entry_id, l.remaining, l.held), ',' ORDER BY l.entry_id))
            FROM members_lot l WHERE l.account_id = a.id),
           (SELECT count(*) FROM members_ledgerentry e WHERE e.account_id = a.id),
           (SELECT md5(string_agg(concat_ws(' ', h.id, h.state), ',' ORDER BY h.id))
            FROM members_hold h WHERE h.account_id = a.id),
           (SELECT count(*) FROM members_purchase p WHERE p.member_id = m.id),
           (SELECT count(*) FROM members_transfer t WHERE m.id IN (t.from_member_id, t.to_member_id)),
           (SELECT md5(string_agg(concat_ws(' ', h.household_id, h.left_at), ',' ORDER BY h.id))
            FROM members_householdmember h WHERE h.member_id = m.id),
           (SELECT count(*) FROM members_identifier i WHERE i.member_id = m.id)
    FROM members_member m LEFT JOIN members_pointsaccount a ON a.member_id = m.id
    WHERE m.id = ANY(%(members)s::uuid[]) ORDER BY m.id
"""


def live_them(club: str, *, examples: int, steps: int = STEPS, **given: Any) -> None:
    """So many lives of so many steps in a club."""
    Lives.club = CLUBS[club]
    Lives.fired, Lives.accepted, Lives.refused = Counter(), 0, 0
    live(units=[world.unit(pending_days=PENDING_DAYS, expiry=EXPIRY, **Lives.club)])
    run_state_machine_as_test(
        seed(SEED + list(CLUBS).index(club))(Lives),
        settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None, database=None,
            suppress_health_check=list(HealthCheck), **given,
        ),
    )  # fmt: skip


@pytest.mark.parametrize("club", CLUBS)
def test_r02_the_services_do_what_the_paper_says(acme: Client, club: str, proof_record: Record) -> None:
    live_them(club, examples=EXAMPLES // len(CLUBS))

    steps = sum(Lives.fired.values())
    assert min(Lives.fired.values()) >= (100 if EXAMPLES >= 2000 else 1)
    assert Lives.accepted > steps / 2
    proof_record.tried(
        EXAMPLES // len(CLUBS), f"random lives of {STEPS} steps, where {club}", commands=steps, accepted=Lives.accepted,
        refused=Lives.refused, seed=SEED + list(CLUBS).index(club), differences=0,
    )  # fmt: skip


def _newest_first(lot: ledger.OpenLot) -> tuple[float, UUID]:
    return -lot.available_at.timestamp(), lot.entry_id


def _held_or_not(lot: ledger.OpenLot, at: datetime) -> int:
    return lot.remaining if lot.available_at <= at and (lot.expires_at is None or at < lot.expires_at) else 0


BROKEN: dict[str, tuple[Any, str, Any]] = {
    "spending newest lots first": (ledger, "_spending_order", _newest_first),
    "debts forgotten": (ledger, "_UPDATE_DEBTS", "SELECT %s::jsonb"),
    "held points spent once more": (ledger.OpenLot, "free", _held_or_not),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_r02_negative_control_books_kept_otherwise_are_caught(
    acme: Client, broken: str, monkeypatch: pytest.MonkeyPatch, proof_record: Record
) -> None:
    monkeypatch.setattr(*BROKEN[broken])

    with pytest.raises(Exception, match="assert|Balance is not|lot_never_below"):
        live_them("all may owe", examples=40, phases=[Phase.generate])
    monkeypatch.undo()
    credit(at=NOON + 90 * DAY)
    proof_record.caught(broken)
