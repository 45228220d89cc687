"""R05: the contract of the Idempotency-Key, case by case, by HTTP with real servers."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg2
import pytest
import redis
from django.db import connections
from django.utils import timezone
from requests import Response

from loyalty_saas.flows.purchases import credit_next_batch
from members.models import IdempotencyRecord
from members.services.accrual import NOTHING
from members.services.purchases import Key
from tenants.models import Client
from tests.live import RedisServer
from tests.proof.callers import Caller, at_once
from tests.proof.deeds import DEEDS, Deed, DeedOf, correct
from tests.proof.record import Record, often
from tests.proof.servers import House, Web

ROUNDS = often(1, 20)
DONE = {200, 201}
each_deed = pytest.mark.parametrize("deed_of", DEEDS, ids=lambda deed: deed.__name__)


def code(answer: Response) -> tuple[int, str]:
    return answer.status_code, str(answer.json()["code"])


def is_replay(answer: Response, first: Response) -> bool:
    """Whether it is the first answer again, byte for byte, and says so."""
    same = (answer.status_code, answer.content) == (first.status_code, first.content)
    return same and answer.headers.get("Idempotency-Replayed") == "true"


@pytest.fixture(autouse=True)
def _is_recorded(request: pytest.FixtureRequest, proof_record: Record) -> Iterator[None]:
    yield
    proof_record.tried(ROUNDS, request.node.originalname.removeprefix("test_r05_").replace("_", " "))


@each_deed
def test_r05_case_1_ten_times_in_a_row_has_one_effect_and_one_answer(till: Caller, deed_of: DeedOf) -> None:
    for _round in range(ROUNDS):
        deed = deed_of(till)
        first = till.tell(deed.path, deed.body, key="K" * 3 + str(_round))
        while credit_next_batch(at=timezone.now()) != NOTHING:
            # Points that come meanwhile change nothing of what is answered.
            pass
        again = [till.tell(deed.path, deed.body, key="K" * 3 + str(_round)) for _time in range(10)]

        assert first.status_code in DONE, first.text
        assert "Idempotency-Replayed" not in first.headers
        assert all(is_replay(one, first) for one in again)
        assert deed.effects() == 1


@each_deed
def test_r05_case_2_twenty_at_once_have_one_effect(till: Caller, deed_of: DeedOf) -> None:
    tills = [till.twin() for _place in range(20)]
    with ThreadPoolExecutor(20) as pool:
        for round_ in range(ROUNDS):
            deed, key = deed_of(till), f"K{round_}"
            answers = at_once(
                [lambda one=one, deed=deed, key=key: one.tell(deed.path, deed.body, key=key) for one in tills],
                pool=pool,
            )
            done = [one for one in answers if one.status_code in DONE]
            assert deed.effects() == 1
            assert len({(one.status_code, one.content) for one in done}) == 1
            assert sum("Idempotency-Replayed" not in one.headers for one in done) == 1
            assert {code(one) for one in answers if one not in done} <= {(409, "in_flight")}


@each_deed
def test_r05_case_3_the_same_key_with_another_body_is_refused(till: Caller, deed_of: DeedOf) -> None:
    deed = deed_of(till)
    till.tell(deed.path, deed.body, key="K")

    assert code(till.tell(deed.path, deed.other, key="K")) == (422, "key_reused")
    assert deed.effects() == 1


def test_r05_case_4_another_machine_has_keys_of_its_own(till: Caller, shop: Client) -> None:
    deed, other = correct(till), Caller(shop, port=till.port)
    first = till.tell(deed.path, deed.body, key="K")
    second = other.tell(deed.path, deed.body, key="K")

    assert (first.status_code, second.status_code, deed.effects()) == (201, 201, 2)
    assert "Idempotency-Replayed" not in second.headers


def test_r05_case_5_another_shop_has_keys_of_its_own(
    till: Caller, web: Web, found_shop: Callable[[str], Client]
) -> None:
    neighbour = Caller(found_shop("Neighbour"), port=web.port)
    first = till.tell("/members", {"name": "Bo"}, key="K")
    second = neighbour.tell("/members", {"name": "Bo"}, key="K")

    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json()["id"] != second.json()["id"]
    assert "Idempotency-Replayed" not in second.headers


@each_deed
def test_r05_case_6_without_a_key_or_with_a_bad_one_nothing_happens(till: Caller, deed_of: DeedOf) -> None:
    deed = deed_of(till)
    before = deed.effects()
    for key in (None, "", "x" * 256, "tab\there"):
        assert code(till.tell(deed.path, deed.body, key=key)) == (400, "key_missing"), key
    assert deed.effects() == before


@each_deed
def test_r05_case_7_an_empty_redis_forgets_no_answer(till: Caller, deed_of: DeedOf, house_redis: RedisServer) -> None:
    deed = deed_of(till)
    first = till.tell(deed.path, deed.body, key="K")
    redis.Redis.from_url(house_redis.url).flushall()

    assert is_replay(till.tell(deed.path, deed.body, key="K"), first)
    assert deed.effects() == 1


def test_r05_case_8_a_restart_forgets_no_answer(till: Caller, web: Web) -> None:
    deeds = [deed_of(till) for deed_of in DEEDS]
    first = [till.tell(deed.path, deed.body, key="K restart") for deed in deeds]
    web.kill()
    web.start()

    again = [till.tell(deed.path, deed.body, key="K restart") for deed in deeds]
    replays = [is_replay(*pair) for pair in zip(again, first, strict=True)]
    # The two purchases and the two redemptions share a route and so a key: the later of the two is refused.
    assert [one.status_code for one in first] == [201, 422, 201, 201, 200, 201, 201]
    assert replays == [True, False, True, True, True, True, True]
    assert [deed.effects() for deed in deeds] == [1, 0, 1, 1, 1, 1, 1]


def test_r05_case_9_while_the_first_is_at_work_the_second_is_told_so(till: Caller) -> None:
    deed = correct(till)
    with held(till, deed, key="K"):
        answer = till.tell(deed.path, deed.body, key="K")

    assert (code(answer), answer.headers["Retry-After"]) == ((409, "in_flight"), "1")
    assert till.tell(deed.path, deed.body, key="K").status_code == 201
    assert deed.effects() == 1


@contextmanager
def held(till: Caller, deed: Deed, *, key: str) -> Iterator[None]:
    """Another session holds the key, as a request at work does."""
    from tenants.queries import key_of_prefix

    caller = key_of_prefix(till.token.split("_")[1])
    number = int.from_bytes(
        Key.of(caller=str(caller.pk), route="adjustments", key=key, body=deed.body).key.bytes[:8], "big", signed=True
    )
    login = connections.settings["owner"]
    session = psycopg2.connect(
        dbname=login["NAME"], user=login["USER"], password=login["PASSWORD"], host=login["HOST"], port=login["PORT"]
    )
    try:
        session.cursor().execute("SELECT pg_advisory_xact_lock(%s)", [number])
        yield
    finally:
        session.close()


@each_deed
def test_r05_case_10_a_refusal_is_not_kept(till: Caller, deed_of: DeedOf) -> None:
    deed = deed_of(till)
    before = IdempotencyRecord.objects.count()
    if deed.body:
        assert till.tell(deed.path, {**deed.body, "nonsense": 1}, key="K").status_code == 400
        who = "member" if "member" in deed.body else "to_member"
        assert code(till.tell(deed.path, {**deed.body, who: "nobody"}, key="K")) == (404, "unknown_member")
    assert till.twin_with("lk_no_body").tell(deed.path, deed.body, key="K").status_code == 401
    assert IdempotencyRecord.objects.count() == before

    assert till.tell(deed.path, deed.body, key="K").status_code in DONE
    assert deed.effects() == 1


@each_deed
def test_r05_case_11_after_a_failure_before_the_commit_the_same_key_works(
    till: Caller, shop: Client, house: House, deed_of: DeedOf
) -> None:
    """The database itself fails at the last statement, the one that keeps the answer."""
    deed = deed_of(till)
    before = deed.effects()
    with failing(house, shop):
        failed = till.tell(deed.path, deed.body, key="K")

    assert code(failed) == (500, "error")
    assert "power" not in failed.text
    assert deed.effects() == before == 0
    assert till.tell(deed.path, deed.body, key="K").status_code in DONE
    assert deed.effects() == 1


@contextmanager
def failing(house: House, client: Client) -> Iterator[None]:
    """No answer can be kept at this client."""
    table = f'"{client.schema_name}".members_idempotencyrecord'
    function = f'"{client.schema_name}".power_cut'
    raises = "BEGIN RAISE EXCEPTION 'the power went' USING ERRCODE = 'internal_error'; END"
    house.do(
        f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $${raises}$$",
        f"CREATE TRIGGER power_cut AFTER INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION {function}()",
    )
    try:
        yield
    finally:
        house.do(f"DROP TRIGGER power_cut ON {table}", f"DROP FUNCTION {function}()")
