"""R12 in the database: whatever comes in whatever order, and whichever nights are missed, a stored tier is its history's."""

import os
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from random import Random
from typing import Any

import pytest
from django.db import transaction

from loyalty_saas.flows.nights import spend_night
from members.models import Member, TierChange, TierStatus
from members.queries import judge_tiers
from members.rules import midnight
from members.services import tiers
from programs.queries import program_in_force
from programs.rules import Standing, standing
from tenants.context import use_client
from tenants.models import Client
from tests.members.world import BERLIN, bring_back, buy, credit, do, fixed, level, line, live, new_member, rule

HISTORIES = 200 if os.environ.get("PROVE") else 14
LEVELS = [level("silver", 5000, 4000), level("gold", 9000, 8000), level("black", 20_000, 12_000)]
FIRST = datetime(2026, 6, 20, 15, 0, tzinfo=BERLIN)
PERIODS = ({"period": "rolling", "period_months": 12}, {"period": "rolling", "period_months": 2}, {"period": "calendar"},
           {"period": "anniversary"}, {"period": "lifetime"})  # fmt: skip


@dataclass
class Sale:
    receipt: str
    at: datetime
    amount: int
    left: int


@dataclass
class Twin:
    """A member, and what the test itself knows of them."""

    member: Member
    sales: list[Sale] = field(default_factory=list)
    alone: dict[date, int] = field(default_factory=dict)

    def days(self, basis: str) -> list[tuple[date, int]]:
        """What counts on each day: what is left of each sale, on the day of the sale."""
        found = dict(self.alone) if basis == "quantity" else {}
        for sale in self.sales if basis != "quantity" else ():
            worth = {"spend": sale.left, "count": int(sale.left > 0), "earned": sale.left}[basis]
            day = sale.at.astimezone(BERLIN).date()
            found[day] = found.get(day, 0) + worth
        return sorted(found.items())


class Story:
    """A member's years told at random to a client: late, early, returned, with nights that are missed."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.basis = self.chance.choice(["spend", "spend", "count", "earned", "quantity"])
        self.spec = {
            "basis": self.basis,
            "downgrade": self.chance.choice(["to_level", "one_step", "none"]),
            **self.chance.choice(PERIODS),
            "levels": LEVELS
            if self.basis != "count"
            else [level("silver", 2), level("gold", 4, 3), level("black", 8, 6)],
            **({"property": "days"} if self.basis == "quantity" else {}),
        }
        live(rule("penny", {"kind": "per_amount", "points": 1, "per": 1}), rule("trip", fixed(5), trigger="activity"),
             tiers=self.spec)  # fmt: skip
        self.plain, self.blessed = Twin(new_member("plain")), Twin(new_member("blessed"))
        self.clock, self.told = FIRST, f"seed {seed}: {self.spec}"

    def tell(self, steps: int = 22) -> None:
        """All of it; a difference is told with the step at which it showed."""
        more = self.chance.randrange(steps)
        for step in range(steps):
            self.clock += timedelta(days=self.chance.choice([0, 1, 3, 20, 60, 150]), hours=self.chance.randrange(9))
            for _deed in range(self.chance.choice([1, 1, 2, 4])):
                self._deed(step)
            if step == more:
                self._sell(self.blessed, f"more-{step}", self._moment(), self.chance.randrange(1, 4000))
            if self.chance.random() < 0.7:
                credit(at=self.clock)
            if self.chance.random() < 0.5:
                self._night(step)
        self.clock += timedelta(days=self.chance.randrange(500))
        self._night(steps)

    def _deed(self, step: int) -> None:
        name = f"{step}-{self.chance.randrange(10**9)}"
        open_sales = [n for n, sale in enumerate(self.plain.sales) if sale.left > 0]
        if self.basis == "quantity":
            return self._travel(name, self._moment(), self.chance.randrange(4000))
        if open_sales and self.chance.random() < 0.25:
            return self._give_back(name, self.chance.choice(open_sales))
        moment, amount = self._moment(), self.chance.randrange(1, 5000)
        for twin in (self.plain, self.blessed):
            self._sell(twin, f"{name}-{twin.member.number}", moment, amount)

    def _moment(self) -> datetime:
        """Mostly now; sometimes late by hours, weeks or years."""
        late = self.chance.choice([0, 0, 0, 1, 30, 24 * 40, 24 * 400, 24 * 800])
        return self.clock - timedelta(hours=late)

    def _travel(self, name: str, moment: datetime, days: int) -> None:
        for twin in (self.plain, self.blessed):
            do(twin.member, "trip", reference=f"{name}-{twin.member.number}", at=moment, properties={"days": days})
            day = moment.astimezone(BERLIN).date()
            twin.alone[day] = twin.alone.get(day, 0) + days

    def _sell(self, twin: Twin, receipt: str, moment: datetime, amount: int) -> None:
        if self.basis == "quantity":
            return
        buy(twin.member, receipt=receipt, lines=[line(amount, quantity=amount)], at=moment)
        twin.sales.append(Sale(receipt, moment, amount, amount))

    def _give_back(self, name: str, place: int) -> None:
        part = self.plain.sales[place].left if self.chance.random() < 0.5 else self.plain.sales[place].left // 2
        for twin in (self.plain, self.blessed):
            sale = twin.sales[place if twin is self.plain else self._same(place)]
            if part:
                back = [line(part, quantity=part, position=1)]
                bring_back(
                    twin.member, receipt=f"{name}-{twin.member.number}", sale=sale.receipt, lines=back, at=self.clock
                )
                sale.left -= part

    def _same(self, place: int) -> int:
        receipt = self.plain.sales[place].receipt.replace(self.plain.member.number, self.blessed.member.number)
        return next(n for n, sale in enumerate(self.blessed.sales) if sale.receipt == receipt)

    def _night(self, step: int) -> None:
        credit(at=self.clock)
        spend_night(at=self.clock)
        if self.chance.random() < 0.3:
            spend_night(at=self.clock)
        ranks = [self._check(twin, step) for twin in (self.plain, self.blessed)]
        assert ranks[1] >= ranks[0], f"{self.told}, step {step}: one more made it less: {ranks}"

    def _check(self, twin: Twin, step: int) -> int:
        program, today = program_in_force(), self.clock.astimezone(BERLIN).date()
        assert program.spec.tiers is not None
        joined = twin.member.joined_at.astimezone(BERLIN).date()
        wanted: Standing = standing(program.spec.tiers, twin.days(self.basis), joined=joined, until=today)
        codes = ["", *(one.code for one in program.spec.tiers.levels)]
        stored = TierStatus.objects.filter(pk=twin.member.pk).first()
        found = (stored.tier, stored.earned, stored.basis, stored.period_ends_at) if stored else ("", "", 0, None)
        ends = midnight(day=wanted.ends, zone=BERLIN) if wanted.ends else None
        code = codes[wanted.rank]
        assert found == (code, code, wanted.basis, ends), f"{self.told}, step {step}, {today}: {twin.days(self.basis)}"
        judged = judge_tiers(member_ids=[twin.member.pk], at=self.clock, program=program, zone=BERLIN)[twin.member.pk]
        assert (judged.tier, judged.basis) == (code, wanted.basis)
        self._check_chain(twin, code)
        return wanted.rank

    def _check_chain(self, twin: Twin, code: str) -> None:
        held = ""
        for change in TierChange.objects.filter(member=twin.member).order_by("id"):
            assert change.before == held, f"{self.told}: {change}"
            held = change.after
        assert held == code, self.told


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_r12_a_stored_tier_is_what_its_history_makes_of_it(acme: Client, seed: int) -> None:
    Story(seed).tell()


def late_in_the_year_before(year: int = 2026) -> str:
    """The tier of somebody whose December comes to light in March, together with a purchase of that day."""
    live(tiers={"basis": "spend", "period": "calendar", "levels": LEVELS})
    ana = new_member()
    for n, (moment, amount) in enumerate(((datetime(year, 11, 3, 12, tzinfo=BERLIN), 3000),
                                          (datetime(year + 1, 2, 1, 12, tzinfo=BERLIN), 100))):  # fmt: skip
        buy(ana, receipt=f"R-{n}", lines=[line(amount)], at=moment)
        credit(at=moment)
    march = datetime(year + 1, 3, 1, 12, tzinfo=BERLIN)
    buy(ana, receipt="late", lines=[line(2500)], at=datetime(year, 12, 30, 12, tzinfo=BERLIN), received=march)
    buy(ana, receipt="now", lines=[line(100)], at=march)
    credit(at=march)
    return TierStatus.objects.get(pk=ana.pk).tier


def test_what_is_late_is_judged_by_the_year_it_falls_in(acme: Client) -> None:
    assert late_in_the_year_before() == "silver"


def test_r12_sees_what_is_late_judged_as_if_it_were_not(acme: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiers._Desk, "is_plain", lambda desk, state, moment, earliest: state.settled_at is not None)
    assert late_in_the_year_before() == ""


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("_stays", lambda desk, state, total, came_back, left: True),
        ("spend_night", lambda desk, first, last, at: []),
    ],
    ids=["returns and rises are passed over", "nights do nothing"],
)
def test_r12_sees_a_settlement_that_is_wrong(
    new_client: Any, monkeypatch: pytest.MonkeyPatch, name: str, wrong: Any
) -> None:
    monkeypatch.setattr(tiers._Desk, name, wrong)
    for seed in range(12):
        with use_client(new_client("Acme")):
            try:
                Story(seed).tell()
            except AssertionError:
                return
    pytest.fail("Twelve histories were told without a difference.")


def test_judging_twice_changes_nothing(acme: Client) -> None:
    story = Story(3)
    story.tell(12)
    before = list(TierStatus.objects.order_by("pk").values())
    tiers.settle_all(program=program_in_force(), at=story.clock)
    with transaction.atomic():
        tiers.settle_again(
            member_ids=[twin.member.pk for twin in (story.plain, story.blessed)],
            program=program_in_force(),
            at=story.clock,
        )
    assert list(TierStatus.objects.order_by("pk").values()) == before
