"""R06 and R10 at the API's door: a receipt counts once however it comes, and no hostile figure changes anything."""

from typing import Any

import pytest

from members.models import LedgerEntry, Purchase, PurchaseLine, WorkItem
from members.services.purchases import record_purchase
from rewards.models import RewardIssue
from tenants.models import Client
from tests.loyalty_saas.shops import PROGRAM, credit, join, open_shop, points_of, sale
from tests.machines import Answer, Machine
from tests.members.world import crowd, line, purchase
from tests.proof.record import Record, often

ROUNDS = often(6, 100)


# ── R06: receipts count once over all channels ──────────────────────────────────────────────────────────────────────


def _race(acme: Client, people: Any, round_: int) -> list[int]:
    """The same receipt by five keys at once, three through the till's system and two through the web shop."""
    channels = ("till", "till", "web", "web", "till")
    machines = [Machine(acme) for _ in channels]

    def deed(place: int) -> int:
        body = sale("ana-1", f"R-{round_}", channel=channels[place])
        return machines[place].post("/purchases", body).status

    return [end if isinstance(end, int) else 500 for end in people.act(deed, atomic=False)]


def test_r06_a_receipt_by_five_keys_and_two_channels_at_once_counts_once(
    acme: Client, till: Machine, ana: Answer, proof_record: Record
) -> None:
    with crowd(5, acme) as people:
        ends = [sorted(_race(acme, people, round_)) for round_ in range(ROUNDS)]
    credit()
    assert ends == [[200, 200, 200, 200, 201]] * ROUNDS
    assert Purchase.objects.count() == ROUNDS
    assert points_of(till, "ana-1") == 50 + 10 * ROUNDS
    proof_record.tried(ROUNDS, "receipts sent by five keys and two channels at once", counted_twice=0)


def test_r06_negative_control_receipts_told_apart_by_channel_would_count_twice(
    acme: Client, till: Machine, ana: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from loyalty_saas.flows import purchases as flow

    def by_channel(*, purchase: Any, **given: Any) -> Any:
        return record_purchase(purchase=replace(purchase, document=f"{purchase.document} {purchase.channel}"), **given)

    monkeypatch.setattr(flow.purchases, "record_purchase", by_channel)
    for channel in ("till", "web", "till"):
        till.post("/purchases", sale("ana-1", "R-1", channel=channel))
    assert Purchase.objects.count() == 2


def test_r06_the_same_receipt_with_other_content_is_refused(till: Machine, ana: Answer) -> None:
    till.post("/purchases", sale("ana-1", "R-1"))
    for body in (sale("ana-1", "R-1", amount=1001), sale("ana-1", "R-1", paid_by_points=5)):
        assert till.post("/purchases", body).code == "receipt_conflict"


def test_old_documents_keep_their_fingerprint(till: Machine, ana: Answer) -> None:
    """As it was before purchases told what points paid of them."""
    import hashlib
    from uuid import UUID

    till.post("/purchases", sale("ana-1", "R-1"))
    made = Purchase.objects.get()
    told = f"sale\n{made.member_id}\nEUR\n1000\n"
    assert made.fingerprint == UUID(bytes=hashlib.sha256(told.encode()).digest()[:16])


# ── R10: hostile figures ────────────────────────────────────────────────────────────────────────────────────────────

FORTY = "1." + "1" * 40
HOSTILE = [
    '"NaN"', '"Infinity"', '"-Infinity"', '"1e400"', f'"{FORTY}"', FORTY, "1e400", "-1", "-0.001", "1.5e15",
    str(10**12 + 1), str(10**30), "true", "[]", "{}", '""',
]  # fmt: skip
RAW = '{{"kind": "sale", "document": "R-1", "member": "ana-1", "lines": [{{"sku": "a", {line}}}]{more}}}'
PLACES = {
    "quantity": '"amount": 100, "quantity": {}',
    "unit_price": '"quantity": 1, "unit_price": {}',
    "amount": '"quantity": 1, "amount": {}',
    "discount": '"quantity": 1, "amount": 100, "discount": {}',
}


def _nothing() -> tuple[int, ...]:
    counted = (Purchase, PurchaseLine, WorkItem, LedgerEntry)
    return tuple(model.objects.count() for model in counted)  # type: ignore[attr-defined]


@pytest.mark.parametrize("value", HOSTILE)
def test_r10_a_figure_that_is_none_is_refused_and_changes_nothing(till: Machine, ana: Answer, value: str) -> None:
    before = _nothing()
    bodies = [RAW.format(line=line.format(value), more="") for line in PLACES.values()]
    bodies += [RAW.format(line='"quantity": 1, "amount": 100', more=f', "{name}": {value}')
               for name in ("amount", "paid_by_points")]  # fmt: skip
    for body in bodies:
        assert till.post("/purchases", body.encode()).status in {400, 422}, body
        assert till.post("/purchases/preview", body.encode()).status in {400, 422}, body
    assert _nothing() == before


@pytest.mark.parametrize("raw", ["NaN", "Infinity", "-Infinity", "1" * 5000])
def test_r10_what_json_does_not_know_is_refused(till: Machine, ana: Answer, raw: str) -> None:
    before = _nothing()
    body = RAW.format(line=f'"quantity": 1, "amount": {raw}', more="")
    assert till.post("/purchases", body.encode()).status in {400, 422}
    assert _nothing() == before


@pytest.mark.parametrize(("amount", "earned"), [(0, 0), (1, 0), (10**12, 10**10)])
def test_r10_nothing_a_cent_and_the_largest_amount_are_taken_exactly(
    till: Machine, ana: Answer, amount: int, earned: int
) -> None:
    made = till.post("/purchases", sale("ana-1", "R-1", amount=amount))
    credit()
    assert (made.status, points_of(till, "ana-1")) == (201, 50 + earned)


# ── what points paid, and a return that waits ───────────────────────────────────────────────────────────────────────


def test_what_points_paid_earns_nothing_and_is_told(till: Machine, ana: Answer) -> None:
    body = sale("ana-1", "R-1", amount=5000, paid_by_points=2050)
    assert till.post("/purchases/preview", {k: v for k, v in body.items() if k not in ("kind", "document")})[
        "credits"
    ] == [{"unit": "points", "amount": 29}]
    made = till.post("/purchases", body)
    credit()
    assert made["credits"] == [{"unit": "points", "amount": 29}]
    assert till.get(f"/purchases/{made['id']}")["paid_by_points"] == 2050
    whole = till.post("/purchases", sale("ana-1", "R-2", amount=5000, paid_by_points=5000))
    credit()
    said = {one["sentence"] for one in till.get(f"/purchases/{whole['id']}")["traces"]}
    assert "“A point per euro” did not apply: what is paid by points earns nothing, and the rest was too small." in said


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"paid_by_points": 1001}, 422, "paid_by_points"),
        ({"kind": "return", "sale": "R-0", "paid_by_points": 1}, 422, "paid_by_points"),
        (
            {"kind": "return", "sale": "R-0", "redemptions": ["01a204f3-320c-748a-9d84-fa63332f4616"]},
            422,
            "redemptions",
        ),
        ({"redemptions": ["01a204f3-320c-748a-9d84-fa63332f4616"]}, 404, "redemptions"),
        ({"redemptions": ["x"]}, 400, "redemptions.0"),
    ],
)
def test_what_cannot_have_been_paid_so_is_refused(
    till: Machine, ana: Answer, change: dict[str, Any], status: int, field: str
) -> None:
    answer = till.post("/purchases", sale("ana-1", "R-1") | change)
    assert (answer.status, answer.fields) == (status, [field])
    assert not Purchase.objects.exists()


def test_a_reward_used_on_a_sale_goes_back_with_it_by_either_way(till: Machine, ana: Answer) -> None:
    cash = {"code": "cash", "name": "Cash", "kind": "money", "unit": "points", "price": 10, "value": 200}
    open_shop({**PROGRAM, "rewards": [cash, *PROGRAM["rewards"]]})
    first = till.post("/redemptions", {"member": "ana-1", "reward": "cash"})
    used = till.post("/purchases", sale("ana-1", "R-1", amount=1000, redemptions=[first["id"]]))
    assert till.get(f"/purchases/{used['id']}")["paid_by_points"] == 200

    second = till.post("/redemptions", {"member": "ana-1", "reward": "mug"})
    taken = till.post(f"/redemptions/{second['id']}/capture", {"purchase": used["id"]})
    assert (taken["state"], taken["purchase"], taken["given_back"]) == ("used", used["id"], 0)
    credit()
    assert points_of(till, "ana-1") == 50 - 10 - 40 + 8
    till.post("/purchases", {"kind": "void", "document": "V-1", "member": "ana-1", "sale": "R-1"})
    credit()
    assert points_of(till, "ana-1") == 50
    assert {one.state for one in RewardIssue.objects.all()} == {"cancelled"}


def test_a_return_that_waits_for_its_sale_says_so_until_it_arrives(till: Machine, ana: Answer) -> None:
    lines = [{"sku": "thing", "quantity": 1, "amount": 1000}]
    body = {"kind": "return", "document": "B-1", "member": "ana-1", "sale": "R-1", "lines": lines}
    made = till.post("/purchases", body)
    assert (made.status, made["waits_for_sale"]) == (201, True)
    for _turn in range(2):
        found = till.get(f"/purchases/{made['id']}")
        assert (found["sale"], found["waits_for_sale"]) == ("R-1", True)
        credit()
    sold = till.post("/purchases", sale("ana-1", "R-1"))
    credit()
    assert (sold["waits_for_sale"], points_of(till, "ana-1")) == (False, 50)
    found = till.get(f"/purchases/{made['id']}")
    assert (found["waits_for_sale"], [one["amount"] for one in found["entries"]]) == (False, [-10])
    assert till.get("/parked-returns")["results"] == []


def test_a_return_of_a_sale_that_is_there_waits_for_nothing(till: Machine, ana: Answer) -> None:
    record_purchase(purchase=purchase(_member(ana), receipt="R-1", lines=[line(1000, sku="thing")]), at=_now())
    made = till.post("/purchases", {"kind": "return", "document": "B-1", "member": "ana-1", "sale": "R-1"})
    assert made["waits_for_sale"] is False
    join(till, "Bo", pos="bo")


def _member(ana: Answer) -> Any:
    from members.models import Member

    return Member.objects.get(pk=ana["id"])


def _now() -> Any:
    from django.utils import timezone

    return timezone.now()
