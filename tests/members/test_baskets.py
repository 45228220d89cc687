"""
R07 and R10 over random baskets: a full return is the exact inverse, and any split of returns is the whole.

Some hundred baskets of each program; `PROVE=1` tries 10,000. A failure prints the seed; `BASKETS_SEED=<n>` tries again.
"""

import ast
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import members.ledger
import programs.rules
from members.models import LedgerEntry, Lot, Member, PointsAccount, RuleBudget, RuleState, TierStatus
from members.services import returns
from members.services.purchases import LineInput
from members.services.refusals import OverReturn
from tenants.models import Client
from tests.members.world import (
    DAY,
    NOON,
    PENNY,
    bring_back,
    buy,
    credit,
    fixed,
    level,
    live,
    new_member,
    per_amount,
    points,
    rule,
    spend,
    times,
    unit,
    when,
)
from tests.proof.record import PROVING, Record, often

BASKETS, ROUNDS, SPENDERS = often(60, 100), often(1, 25), often(15, 400)
SEED = int(os.environ.get("BASKETS_SEED", "20261122"))
LATER = NOON + DAY
QUANTITIES = [Decimal(text) for text in ("1", "2", "3", "7", "0.5", "1.250", "0.003", "40")]
AMOUNTS = [0, 1, 2, 99, 100, 101, 333, 999, 1_000, 4_999, 10**12]
MONTHLY = {"per_member": {"period": "month", "points": 900}, "per_purchase": 700}


def _programs() -> dict[str, dict[str, Any]]:
    """Programs that between them use every way to earn by sale."""
    tiers = {"basis": "spend", "levels": [level("silver", 4_000), level("gold", 90_000)]}
    owing = [unit(may_owe=True, pending_days=2, expiry={"policy": "rolling", "months": 9})]
    tea = [when("sku", "eq", "tea")]
    pieces = {"kind": "per_quantity", "points": 5, "per": 2}
    return {
        "rates": {
            "rules": [
                rule("euro", per_amount(3, 70)),
                rule("tea", per_amount(7, 9), trigger="line", conditions=tea, rounding="up"),
                rule("pieces", pieces, trigger="line", rounding="nearest"),
                rule("double", times("2.5", "tea")),
            ],
            "units": owing,
            "tiers": tiers,
        },
        "carried": {
            "rules": [
                rule("euro", per_amount(1, 100), remainder="carry"),
                rule("line", per_amount(2, 170), trigger="line", remainder="carry", conditions=tea),
                rule("pieces", pieces, remainder="carry"),
            ],
            "units": owing,
        },
        "limited": {
            "rules": [
                rule("euro", per_amount(1, 10), caps=MONTHLY),
                rule("bonus", fixed(11), caps={"budget": 100_000}),
                rule("both", per_amount(1, 9), remainder="carry", caps={**MONTHLY, "budget": 10**9}),
            ],
            "units": owing,
            "tiers": tiers,
        },
        "groups": {
            "rules": [
                rule("one", per_amount(1, 100), trigger="line", group="g", remainder="carry"),
                rule("two", fixed(3), trigger="line", group="g", priority=1, conditions=tea),
                rule("cards", fixed(9), group="h"),
                rule("most", per_amount(1, 50), group="h"),
            ],
            "units": owing,
            "earning": {"gift_cards": True},
        },
    }


@dataclass(frozen=True)
class Basket:
    """What is bought, how much of it points paid, and in which parts it comes back: line by line, in some order."""

    lines: tuple[LineInput, ...]
    paid: int
    parts: tuple[tuple[int, Decimal], ...]

    @staticmethod
    def some(rng: random.Random) -> "Basket":
        """A random basket."""
        lines = tuple(
            LineInput(
                quantity=rng.choice(QUANTITIES),
                amount=rng.choice(AMOUNTS) if rng.random() < 0.6 else rng.randrange(5_000),
                sku=rng.choice(("tea", "cup", "jam")),
                earning=rng.random() < 0.8,
            )
            for _ in range(rng.randrange(1, 5))
        )
        total = sum(line.amount for line in lines)
        parts = [(place, part) for place, line in enumerate(lines, 1) for part in _cut(line.quantity, rng)]
        rng.shuffle(parts)
        return Basket(lines, rng.randrange(total + 1) if rng.random() < 0.3 else 0, tuple(parts))


def _cut(quantity: Decimal, rng: random.Random) -> list[Decimal]:
    left, parts = int(quantity * 1000), []
    while left:
        part = left if rng.random() < 0.5 else rng.randrange(1, left + 1)
        parts.append(Decimal(part) / 1000)
        left -= part
    return parts


def state(who: Member) -> Any:
    """All that a sale can change of a member, and what is left of every budget."""
    rules = RuleState.objects.filter(member=who).order_by("rule_code").values_list("rule_code", "remainder", "used")
    tier = TierStatus.objects.filter(pk=who.pk).values_list("tier", "basis").first()
    return (
        list(PointsAccount.objects.filter(member=who, balance__gt=0).values_list("unit__code", "balance", "debt")),
        sorted(Lot.objects.filter(account__member=who, remaining__gt=0)
               .values_list("remaining", "available_at", "expires_at")),
        [(code, left, used) for code, left, used in rules if left or used],
        tier if tier and any(tier) else None,
    )  # fmt: skip


class Round:
    """Many baskets at once: each bought by two members, of whom one brings all of it back and the other its parts."""

    def __init__(self, name: str, baskets: list[Basket], rng: random.Random) -> None:
        self.name, self.baskets, self.rng = name, baskets, rng
        self.whole = [new_member(f"{name} whole {n}") for n in range(len(baskets))]
        self.split = [new_member(f"{name} split {n}") for n in range(len(baskets))]

    def run(self) -> list[str]:
        """What went wrong, basket by basket."""
        self._sell("before", lambda basket: (LineInput(Decimal(1), 1_234, sku="cup"),), paid=False)
        before = [state(who) for who in (*self.whole, *self.split)], self._budgets()
        self._sell("basket", lambda basket: basket.lines, paid=True)
        earned = [points(who) for who in self.whole]
        for n, who in enumerate(self.whole):
            bring_back(who, receipt=f"B-{self.name}-{n}", sale=f"basket-{self.name}-{who.number}", at=LATER)
        self._bring_parts(0, 2)
        credit(at=LATER)
        self._bring_parts(1, 2)
        credit(at=LATER)
        after = [state(who) for who in (*self.whole, *self.split)], self._budgets()
        return [*self._differences(before, after), *self._minted(earned), *self._returned_again()]

    def _sell(self, receipt: str, lines: Callable[[Basket], Any], *, paid: bool) -> None:
        for basket, *both in zip(self.baskets, self.whole, self.split, strict=True):
            for who in both:
                given = {"paid_by_points": basket.paid} if paid else {}
                buy(who, receipt=f"{receipt}-{self.name}-{who.number}", lines=lines(basket), **given)
        credit()

    def _bring_parts(self, first: int, step: int) -> None:
        for n, (basket, who) in enumerate(zip(self.baskets, self.split, strict=True)):
            for place, (position, quantity) in list(enumerate(basket.parts))[first::step]:
                back = [LineInput(quantity=quantity, amount=0, position=position)]
                sale = f"basket-{self.name}-{who.number}"
                bring_back(who, receipt=f"P-{self.name}-{n}-{place}", sale=sale, lines=back, at=LATER)

    def _budgets(self) -> list[tuple[str, int]]:
        return sorted(RuleBudget.objects.values_list("rule_code", "used"))

    def _differences(self, before: Any, after: Any) -> list[str]:
        pairs = zip(before[0], after[0], [*self.baskets, *self.baskets], strict=True)
        found = [f"{basket}: {one} became {other}" for one, other, basket in pairs if one != other]
        return [*found, *([f"budgets: {before[1]} became {after[1]}"] if before[1] != after[1] else [])]

    def _minted(self, earned: list[int]) -> list[str]:
        taken = LedgerEntry.objects.filter(kind="reverse", account__member__in=[*self.whole, *self.split])
        too_much = [one for one in taken if one.corrects is None or -one.amount > one.corrects.amount]
        return [f"took more than was earned: {one.pk}" for one in too_much]

    def _returned_again(self) -> list[str]:
        who = self.split[0]
        try:
            bring_back(who, receipt=f"again-{self.name}", sale=f"basket-{self.name}-{who.number}", at=LATER)
        except OverReturn:
            return []
        return ["a second full return was taken"]


def try_baskets(name: str, *, baskets: int, rounds: int) -> list[str]:
    """Publish the program and try so many baskets in so many rounds; what went wrong."""
    document = _programs()[name]
    live(*document.pop("rules"), **document)
    rng, found = random.Random(f"{SEED} {name}"), []
    for turn in range(rounds):
        found += Round(f"{name}-{turn}", [Basket.some(rng) for _ in range(baskets)], rng).run()
    return found


@pytest.mark.timeout(7_200 if PROVING else 300)
@pytest.mark.parametrize("name", sorted(_programs()))
def test_r07_r10_a_full_return_is_the_inverse_and_any_split_of_it_the_whole(
    acme: Client, name: str, proof_record: Record
) -> None:
    print(f"BASKETS_SEED={SEED}")  # noqa: T201 (shown when it fails)
    assert try_baskets(name, baskets=BASKETS, rounds=ROUNDS)[:3] == []
    proof_record.tried(BASKETS * ROUNDS, "random baskets, returned whole and in random parts", seed=SEED, differences=0)


@pytest.mark.parametrize("broken", ["rounds by part", "forgets the rule's state"])
def test_r07_negative_control_broken_returns_are_caught(
    acme: Client, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def by_part(earned: int, quantity: Decimal, before: Decimal, after: Decimal) -> int:
        return int(earned * (after - before) / quantity)

    if broken == "rounds by part":
        monkeypatch.setattr(returns, "reversal", by_part)
    else:
        monkeypatch.setattr(returns.TakenBack, "_give_back", lambda self, **given: None)
    assert try_baskets("carried", baskets=20, rounds=1) != []


@pytest.mark.timeout(3_600 if PROVING else 300)
def test_r07_points_that_are_gone_are_never_made_anew(acme: Client, proof_record: Record) -> None:
    """Spent, and owing allowed or not: what is left and what was spent is never more than what was kept."""
    rng = random.Random(SEED)
    for may_owe in (True, False):
        live(PENNY, units=[unit(may_owe=may_owe)])
        for n in range(SPENDERS):
            who, receipt = new_member(f"spender {may_owe} {n}"), f"{may_owe}-{n}"
            kept, back = rng.randrange(1_000), rng.randrange(1, 1_000)
            buy(who, receipt=f"kept {receipt}", lines=[LineInput(Decimal(1), kept)])
            buy(who, receipt=f"back {receipt}", lines=[LineInput(Decimal(1), back, sku="tea")])
            credit()
            if gone := rng.randrange(kept + back):
                spend(who, gone)
            bring_back(who, receipt=f"B {receipt}", sale=f"back {receipt}", at=LATER)
            credit()
            assert points(who) == (kept - gone if may_owe else max(0, kept - gone))
    proof_record.tried(2 * SPENDERS, "returns of what was spent already", seed=SEED, points_minted=0)


# ── no fractions that are not exact ─────────────────────────────────────────────────────────────────────────────────

SERVICES = ("accrual", "named_sales", "points", "purchase_input", "purchases", "returns", "sold", "waiting")


def _books() -> list[Path]:
    """What counts points: the rules, the ledger, and what posts to it."""
    folders = [Path(str(module.__file__)).parent for module in (programs.rules, members.ledger)]
    services = Path(str(returns.__file__)).parent
    return [*(path for folder in folders for path in folder.glob("*.py")),
            *(services / f"{name}.py" for name in SERVICES)]  # fmt: skip


def _floats(source: str) -> list[str]:
    """Where a piece of Python uses a float: a number with a point, the name, a true division."""
    found = []
    for node in ast.walk(ast.parse(source)):
        is_number = isinstance(node, ast.Constant) and isinstance(node.value, float)
        is_name = isinstance(node, ast.Name) and node.id == "float"
        is_division = isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div)
        if is_number or is_name or is_division:
            found.append(f"line {getattr(node, 'lineno', 0)}: {ast.unparse(node)}")
    return found


def test_r10_no_float_is_in_rules_and_ledger() -> None:
    files = _books()
    assert len(files) > 20
    assert {path.name: found for path in files if (found := _floats(path.read_text("utf-8")))} == {}


def test_r10_negative_control_each_way_to_a_float_is_found() -> None:
    assert [bool(_floats(one)) for one in ("x = 0.5", "float(x)", "x = a / b", "x /= 2", "a // b")] == [
        True, True, True, True, False,
    ]  # fmt: skip
