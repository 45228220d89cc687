"""R13: the answer is lost after the commit, before the application or behind it; the caller tries again with its key."""

import secrets
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import pytest
import requests

from tenants.models import Client
from tests.live import RedisServer
from tests.proof.callers import Caller
from tests.proof.deeds import DeedOf, capture, correct, earn, redeem, refund, transfer
from tests.proof.proxy import Proxy
from tests.proof.record import Record, often
from tests.proof.servers import House, Web

# Six kinds at two places: 204 answers in the long form.
ROUNDS = often(2, 17)
DEEDS = [earn, redeem, capture, refund, correct, transfer]


@pytest.fixture(scope="module")
def to_database(_house: House) -> Iterator[Proxy]:
    """Between the application and PostgreSQL."""
    proxy = Proxy(_house.port)
    yield proxy
    proxy.close()


@pytest.fixture(scope="module")
def behind_proxy(
    _house: House, _house_redis: RedisServer, to_database: Proxy, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Web]:
    address = urlsplit(_house.database_url)
    login = address.netloc.rpartition("@")[0]
    url = urlunsplit(address._replace(netloc=f"{login}@127.0.0.1:{to_database.port}"))
    log = tmp_path_factory.mktemp("cut") / "web.log"
    one = Web(log, redis_server=_house_redis, threads=2, environment={"DATABASE_URL": url})
    yield one
    one.stop()


@pytest.fixture
def server(behind_proxy: Web, house: House, house_redis: RedisServer) -> Web:
    """The application, whose database connections pass the proxy."""
    if not behind_proxy.runs:
        behind_proxy.start()
    return behind_proxy


@pytest.fixture
def to_server(server: Web) -> Iterator[Proxy]:
    """Between the caller and the application."""
    proxy = Proxy(server.port)
    yield proxy
    proxy.close()


@pytest.mark.parametrize("deed_of", DEEDS, ids=lambda deed: deed.__name__)
@pytest.mark.parametrize("place", ["database", "caller"])
def test_r13_an_answer_lost_after_the_commit_and_asked_for_again_has_one_effect(
    shop: Client, server: Web, to_database: Proxy, to_server: Proxy, place: str, deed_of: DeedOf, proof_record: Record
) -> None:
    till = Caller(shop, port=server.port)
    through = till.twin(port=to_server.port)
    lost = 0
    for _round in range(ROUNDS):
        deed, key = deed_of(till), secrets.token_hex(8)
        if place == "database":
            to_database.lose_answer_to(*deed.mark)
            first = till.tell(deed.path, deed.body, key=key)
            assert (first.status_code, first.json()["code"], first.headers["Retry-After"]) == (503, "unavailable", "1")
        else:
            to_server.lose_answer_to(b"POST ")
            with pytest.raises(requests.ConnectionError):
                through.tell(deed.path, deed.body, key=key)
        lost += deed.effects()

        answer, before = till.insist(deed.path, deed.body, key=key)
        assert (answer.status_code in {200, 201}, answer.headers.get("Idempotency-Replayed")) == (True, "true"), before
        assert deed.effects() == 1
    # Each answer was lost after the effect, or nothing would be shown.
    assert lost == ROUNDS
    proof_record.tried(ROUNDS, f"answers lost on the way to the {place}", of=deed_of.__name__)


def test_r13_negative_control_trying_again_with_another_key_doubles(
    shop: Client, server: Web, to_server: Proxy, proof_record: Record
) -> None:
    till = Caller(shop, port=server.port)
    through = till.twin(port=to_server.port)
    for deed_of in (correct, redeem):
        deed = deed_of(till)
        to_server.lose_answer_to(b"POST ")
        with pytest.raises(requests.ConnectionError):
            through.tell(deed.path, deed.body, key="first")
        assert till.tell(deed.path, deed.body, key="second").status_code == 201
        assert deed.effects() == 2
    proof_record.caught("callers that try again with another key")
