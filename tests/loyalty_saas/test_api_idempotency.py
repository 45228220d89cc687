"""One effect for one key, whatever goes wrong on the way; and one for one receipt."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier
from typing import Any
from uuid import uuid4

import psycopg2
import pytest
from django.conf import settings
from django.db import OperationalError, connections

from loyalty_saas import workers
from members.models import Activity, Hold, IdempotencyRecord, LedgerEntry, Member, Purchase
from members.services import idempotency
from members.services.idempotency import Answer as KeptAnswer
from members.services.purchases import Key
from rewards.models import RewardIssue
from tenants.models import Client
from tests.loyalty_saas.shops import credit, join, sale
from tests.machines import Answer, Machine
from tests.proof.record import Record

AT_ONCE = 20


@dataclass(frozen=True)
class Deed:
    """A request that moves points: its address, its body, another body, and how often it has taken effect."""

    path: str
    body: dict[str, Any] | None
    other: dict[str, Any] | None
    effects: Callable[[], int]


def a_purchase(till: Machine) -> Deed:
    return Deed("/purchases", sale("ana-1", "R-1"), sale("ana-1", "R-2"), Purchase.objects.count)


def a_return(till: Machine) -> Deed:
    till.post("/purchases", sale("ana-1", "R-0"))
    body = {"kind": "return", "document": "B-1", "member": "ana-1", "sale": "R-0"}
    returns = Purchase.objects.filter(kind="return")
    return Deed("/purchases", body, {**body, "document": "B-2"}, lambda: returns.all().count())


def an_activity(till: Machine) -> Deed:
    body = {"kind": "trip", "reference": "T-1", "member": "ana-1", "properties": {"days": 1}}
    trips = Activity.objects.filter(kind="trip")
    return Deed("/activities", body, {**body, "reference": "T-2"}, lambda: trips.all().count())


def an_adjustment(till: Machine) -> Deed:
    body = {"member": "ana-1", "unit": "points", "amount": 5, "reason": "x"}
    entries = LedgerEntry.objects.filter(kind="adjust")
    return Deed("/adjustments", body, {**body, "amount": 6}, lambda: entries.all().count())


def a_member(till: Machine) -> Deed:
    members = Member.objects.exclude(identifiers__value="ana-1")
    return Deed("/members", {"name": "Bo"}, {"name": "Cy"}, lambda: members.all().count())


def a_merge(till: Machine) -> Deed:
    for name in ("d-1", "d-2"):
        join(till, name, pos=name)
    merged = Member.objects.filter(status="merged")
    return Deed("/members/ana-1/merge", {"double": "d-1"}, {"double": "d-2"}, lambda: merged.all().count())


def a_closing(till: Machine) -> Deed:
    join(till, "Leaver", pos="leaver-1")
    closed = Member.objects.filter(status="closed")
    return Deed("/members/leaver-1/close", {"reason": "a"}, {"reason": "b"}, lambda: closed.all().count())


def a_hold(till: Machine) -> Deed:
    body = {"member": "ana-1", "reward": "mug"}
    return Deed("/redemptions", body, {**body, "reward": "five-off"}, Hold.objects.count)


def a_capture(till: Machine) -> Deed:
    held = till.post("/redemptions", {"member": "ana-1", "reward": "mug"})
    spends = LedgerEntry.objects.filter(kind="spend")
    return Deed(f"/redemptions/{held['id']}/capture", None, {"purchase": str(uuid4())}, lambda: spends.all().count())


def a_void(till: Machine) -> Deed:
    held = till.post("/redemptions", {"member": "ana-1", "reward": "mug"})
    cancelled = RewardIssue.objects.filter(state="cancelled")
    return Deed(f"/redemptions/{held['id']}/void", None, {"x": 1}, lambda: cancelled.all().count())


DEEDS = [a_purchase, a_return, an_activity, an_adjustment, a_member, a_merge, a_closing, a_hold, a_capture, a_void]
each_deed = pytest.mark.parametrize("deed_of", DEEDS, ids=lambda deed: deed.__name__)
DeedOf = Callable[[Machine], Deed]


def together(*deeds: Callable[[], Answer]) -> list[Answer]:
    """All at the same moment, each on connections of its own."""
    start = Barrier(len(deeds))

    def run(deed: Callable[[], Answer]) -> Answer:
        start.wait()
        try:
            return deed()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(deeds)) as pool:
        return list(pool.map(run, deeds))


# ── R05: the contract of the key ────────────────────────────────────────────────────────────────────────────────────


@each_deed
def test_r05_without_a_key_or_with_a_bad_one_nothing_happens(till: Machine, ana: Answer, deed_of: DeedOf) -> None:
    deed = deed_of(till)
    for key in (None, "", "x" * 256, "töpfe", "tab\there"):
        answer = till.post(deed.path, deed.body, key=key)
        assert (answer.status, answer.code, answer.fields) == (400, "key_missing", ["Idempotency-Key"]), key
    assert deed.effects() == 0


@each_deed
def test_r05_the_same_request_again_gets_the_same_answer_and_no_second_effect(
    till: Machine, ana: Answer, deed_of: DeedOf
) -> None:
    deed = deed_of(till)
    first = till.post(deed.path, deed.body, key="K")
    # Neither the points given meanwhile nor an empty Redis change what is answered.
    credit()
    workers.redis_client().flushdb()
    again = [till.post(deed.path, deed.body, key="K") for _time in range(10)]

    assert first.status in {200, 201}
    assert "Idempotency-Replayed" not in first.headers
    assert {(one.status, one.raw) for one in again} == {(first.status, first.raw)}
    assert {one.headers["Idempotency-Replayed"] for one in again} == {"true"}
    assert deed.effects() == 1


@each_deed
def test_r05_the_same_key_with_another_body_is_refused(till: Machine, ana: Answer, deed_of: DeedOf) -> None:
    deed = deed_of(till)
    till.post(deed.path, deed.body, key="K")

    answer = till.post(deed.path, deed.other, key="K")

    assert (answer.status, answer.code, answer.fields) == (422, "key_reused", ["Idempotency-Key"])
    assert deed.effects() == 1


def test_r05_the_same_key_for_another_thing_of_the_same_kind_is_refused(till: Machine, ana: Answer) -> None:
    first = till.post("/redemptions", {"member": "ana-1", "reward": "mug"})
    till.post("/adjustments", {"member": "ana-1", "unit": "points", "amount": 50, "reason": "x"})
    second = till.post("/redemptions", {"member": "ana-1", "reward": "mug"})
    till.post(f"/redemptions/{first['id']}/capture", key="K")

    assert till.post(f"/redemptions/{second['id']}/capture", key="K").code == "key_reused"
    assert till.post(f"/redemptions/{second['id']}/void", key="K").status == 200


def test_r05_keys_of_other_callers_routes_and_clients_are_others(till: Machine, ana: Answer, bravo: Client) -> None:
    adjustment = {"member": "ana-1", "unit": "points", "amount": 5, "reason": "x"}
    other = Machine(till.at)

    answers = [
        till.post("/adjustments", adjustment, key="K"),
        other.post("/adjustments", adjustment, key="K"),
        till.post("/members", {"name": "Bo"}, key="K"),
        Machine(bravo).post("/members", {"name": "Bo"}, key="K"),
    ]

    assert [answer.status for answer in answers] == [201] * 4
    assert len({answer["id"] for answer in answers}) == 4


@each_deed
def test_r05_a_refusal_is_not_kept(till: Machine, ana: Answer, deed_of: DeedOf) -> None:
    deed = deed_of(till)
    before = IdempotencyRecord.objects.count()
    refused = till.post(deed.path, {"nonsense": 1} if deed.body else None, key="K", authorization="Bearer lk_no_body")
    assert refused.status == 401
    if deed.body:
        assert till.post(deed.path, {**deed.body, "nonsense": 1}, key="K").status == 400
        unknown = {name: "nobody" for name in ("member", "double") if name in deed.body}
        if unknown:
            assert till.post(deed.path, {**deed.body, **unknown}, key="K").status == 404
    assert IdempotencyRecord.objects.count() == before

    assert till.post(deed.path, deed.body, key="K").status in {200, 201}
    assert deed.effects() == 1


@pytest.mark.parametrize("deed_of", DEEDS[1:], ids=lambda deed: deed.__name__)
def test_r05_after_a_failure_before_the_commit_the_same_key_works(till: Machine, ana: Answer, deed_of: DeedOf) -> None:
    deed = deed_of(till)
    till.browser.raise_request_exception = False

    def fail(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        done = execute(sql, params, many, context)
        # All has been written but the commit: the last statement was the one that keeps the answer.
        if "members_idempotencyrecord" in sql and "INSERT" in sql:
            raise RuntimeError("the power went")
        return done

    with connections["default"].execute_wrapper(fail):
        failed = till.post(deed.path, deed.body, key="K")

    assert (failed.status, failed.code) == (500, "error")
    assert "power" not in failed.raw.decode()
    assert deed.effects() == 0
    assert till.post(deed.path, deed.body, key="K").status in {200, 201}
    assert deed.effects() == 1


def test_r05_a_sale_whose_answer_was_lost_after_the_commit_counts_once(till: Machine, ana: Answer) -> None:
    till.browser.raise_request_exception = False

    def lose(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        done = execute(sql, params, many, context)
        if "members_purchaseline" in sql:
            raise OperationalError("the line went dead")
        return done

    with connections["default"].execute_wrapper(lose):
        lost = till.post("/purchases", sale("ana-1", "R-1"), key="K")
    again = till.post("/purchases", sale("ana-1", "R-1"), key="K")

    assert (lost.status, lost.code, lost.headers["Retry-After"]) == (503, "unavailable", "1")
    assert (again.status, again.headers["Idempotency-Replayed"]) == (201, "true")
    assert Purchase.objects.count() == 1


@each_deed
def test_r05_twenty_at_once_have_one_effect(till: Machine, ana: Answer, deed_of: DeedOf) -> None:
    deed = deed_of(till)
    callers = [Machine(till.at, token=till.token) for _time in range(AT_ONCE)]

    answers = together(*(lambda one=one: one.post(deed.path, deed.body, key="K") for one in callers))

    assert deed.effects() == 1
    done = [answer for answer in answers if answer.status < 300]
    assert len({(answer.status, answer.raw) for answer in done}) == 1
    assert {answer.code for answer in answers if answer.status >= 300} <= {"in_flight"}
    assert sum("Idempotency-Replayed" not in answer.headers for answer in done) == 1


def test_r05_negative_control_twenty_at_once_are_told_from_one_when_the_key_is_not_held(
    till: Machine, ana: Answer, monkeypatch: pytest.MonkeyPatch, proof_record: Record
) -> None:
    """The negative control: an answer looked up first and kept last, with nothing that keeps others out."""

    def forgetful(*, key: Key, status: int, at: Any, work: Callable[[], dict[str, Any]]) -> KeptAnswer:
        known = idempotency.answered(key)
        return known or KeptAnswer(status, work())

    monkeypatch.setattr(idempotency, "once", forgetful)
    deed = a_member(till)
    callers = [Machine(till.at, token=till.token) for _time in range(AT_ONCE)]

    together(*(lambda one=one: one.post(deed.path, deed.body, key="K") for one in callers))

    assert deed.effects() > 1
    proof_record.caught("answers looked up and kept with nothing that keeps others with the key out")


def test_r05_one_key_with_twenty_receipts_at_once_records_one(till: Machine, ana: Answer) -> None:
    callers = [Machine(till.at, token=till.token) for _time in range(AT_ONCE)]

    answers = together(
        *(
            lambda one=one, n=n: one.post("/purchases", sale("ana-1", f"R-{n}"), key="K")
            for n, one in enumerate(callers)
        )
    )

    assert Purchase.objects.count() == 1
    assert Counter((answer.status, answer.body.get("code")) for answer in answers) == {
        (201, None): 1,
        (422, "key_reused"): AT_ONCE - 1,
    }


def test_r05_while_the_first_is_at_work_the_second_is_told_so(till: Machine, ana: Answer) -> None:
    assert till.key is not None
    body = {"member": "ana-1", "unit": "points", "amount": 5, "reason": "x"}
    key = Key.of(caller=str(till.key.pk), route="adjustments", key="K", body=body)
    number = int.from_bytes(key.key.bytes[:8], "big", signed=True)
    database = settings.DATABASES["owner"]
    first = psycopg2.connect(
        dbname=database["NAME"],
        user=database["USER"],
        password=database["PASSWORD"],
        host=database["HOST"],
        port=database["PORT"],
    )
    try:
        first.cursor().execute("SELECT pg_advisory_xact_lock(%s)", [number])
        answer = till.post("/adjustments", body, key="K")
    finally:
        first.close()

    assert (answer.status, answer.code, answer.headers["Retry-After"]) == (409, "in_flight", "1")
    assert till.post("/adjustments", body, key="K").status == 201


# ── R06: the receipt ────────────────────────────────────────────────────────────────────────────────────────────────


def test_r06_the_same_receipt_under_five_keys_counts_once(till: Machine, ana: Answer) -> None:
    answers = [till.post("/purchases", sale("ana-1", "R-1"), key=f"K-{n}") for n in range(5)]

    assert [answer.status for answer in answers] == [201, 200, 200, 200, 200]
    assert len({answer["id"] for answer in answers}) == 1
    assert [answer["repeated"] for answer in answers] == [False, True, True, True, True]
    assert Purchase.objects.count() == 1
    other = till.post("/purchases", sale("ana-1", "R-1", 999), key="K-9")
    assert (other.status, other.code, other.fields) == (409, "receipt_conflict", ["document"])
    replayed = till.post("/purchases", sale("ana-1", "R-1"), key="K-3")
    assert (replayed.raw, replayed.headers["Idempotency-Replayed"]) == (answers[3].raw, "true")
    assert till.post("/purchases", sale("ana-1", "R-2"), key="K-3").code == "key_reused"


def test_r06_the_same_receipt_by_five_callers_at_once_counts_once_in_each_of_twenty_rounds(
    till: Machine, ana: Answer
) -> None:
    callers = [Machine(till.at) for _time in range(5)]
    for round_ in range(20):
        document = f"R-{round_}"
        answers = together(
            *(lambda one=one, document=document: one.post("/purchases", sale("ana-1", document)) for one in callers)
        )
        assert Counter(answer.status for answer in answers) == {201: 1, 200: 4}

    assert Purchase.objects.count() == 20
