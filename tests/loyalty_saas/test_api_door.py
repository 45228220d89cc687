"""Who may come in, what is read, and how the API says no."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import OperationalError, connections, transaction
from django.utils import timezone

from loyalty_saas.api.schema import described
from members.models import Member, Purchase
from members.services.enrolment import NewMember, enrol
from tenants.context import public_atomic, use_client
from tenants.models import ApiKey, Client, Provider
from tenants.queries import client_of_host, key_of_prefix
from tenants.services.api_keys import CLIENT_SCOPES, PROVIDER_SCOPES, revoke_key
from tests.loyalty_saas.shops import credit, open_shop, sale
from tests.machines import API, Answer, Machine

VERBS = ("get", "post", "put", "patch", "delete")


def operations(face: str = "client") -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every operation that the description names: method, path under /api/v1 and what is said of it."""
    for path, methods in described(face)["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path.removeprefix(API), operation


def filled(path: str, value: str | None = None) -> str:
    """A path with its places filled."""
    parts = path.split("/")
    return "/".join((value or str(uuid4())) if part.startswith("{") else part for part in parts)


# ── keys ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("face", ["client", "platform"])
def test_every_operation_asks_for_a_key_and_for_its_scope(acme: Client, provider: Provider, face: str) -> None:
    at, owner, every = (acme, None, CLIENT_SCOPES) if face == "client" else (None, provider, PROVIDER_SCOPES)
    machines = {scope: Machine(at, provider=owner, scopes=every - {scope}) for scope in every}
    nobody, seen = Machine(at, token=""), set()
    for method, path, operation in operations(face):
        (scope,) = operation["security"][0]["apiKey"]
        seen.add(scope)
        anonymous = nobody.send(method, filled(path), {})
        assert (anonymous.status, anonymous.code) == (401, "not_authenticated"), (method, path)
        assert anonymous.headers["WWW-Authenticate"] == 'Bearer realm="api"'
        lesser = machines[scope].send(method, filled(path), {})
        assert (lesser.status, lesser.code) == (403, "permission_denied"), (method, path)
        alone = Machine(at, provider=owner, scopes={scope}).send(method, filled(path), {})
        assert alone.status not in {401, 403, 500}, (method, path)
    assert seen == every if face == "platform" else seen <= every


def test_head_asks_for_the_scope_of_get(shop: Client) -> None:
    assert Machine(shop, scopes={"members:read"}).send("HEAD", "/members").status == 200
    assert Machine(shop, scopes={"members:write"}).send("HEAD", "/members").status == 403


def test_a_key_is_good_for_one_house_and_only_while_it_lasts(till: Machine, bravo: Client, provider: Provider) -> None:
    key, token = till.key, till.token
    assert key is not None
    assert token is not None

    def status(at: Client | None, token: str) -> int:
        key_of_prefix.forget()
        return Machine(at, token=token).get("/members" if at else "/clients").status

    of_provider = Machine(None, provider=provider)
    assert of_provider.token is not None
    assert status(till.at, token) == 200
    assert status(bravo, token) == 401
    assert status(None, token) == 401
    assert status(till.at, of_provider.token) == 401
    assert status(till.at, token[:-1] + ("0" if token[-1] != "0" else "1")) == 401
    for nonsense in ("lk_", "lk__", "x", f"lk_{'a' * 5000}_b", "lk_ä_b", "Basic"):
        assert status(till.at, nonsense) == 401
    ApiKey.objects.filter(pk=key.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert status(till.at, token) == 401
    ApiKey.objects.filter(pk=key.pk).update(expires_at=timezone.now() + timedelta(hours=1))
    assert status(till.at, token) == 200
    with public_atomic():
        revoke_key(key, at=timezone.now())
    assert status(till.at, token) == 401


def test_a_suspended_client_answers_nobody(shop: Client, till: Machine) -> None:
    Client.objects.filter(pk=shop.pk).update(status="suspended")
    client_of_host.forget()

    assert till.get("/members").status == 503


# ── another client's things ─────────────────────────────────────────────────────────────────────────────────────────


def test_r20_what_is_another_clients_is_answered_like_what_is_not(till: Machine, ana: Answer, bravo: Client) -> None:
    with use_client(bravo):
        open_shop()
        theirs = Machine(bravo)
        member = theirs.post("/members", {"name": "Canary Bird", "identifiers": {"email": "canary@example.com"}})
        credit()
        purchase = theirs.post("/purchases", sale(member["id"], "CANARY-1"))
        trip = theirs.post("/activities", {"kind": "trip", "reference": "CANARY", "member": member["id"]})
        redemption = theirs.post("/redemptions", {"member": member["id"], "reward": "mug"})
    foreign = {
        "member": member["id"],
        "purchase": purchase["id"],
        "activity": trip["id"],
        "redemption": redemption["id"],
    }
    assert all(len(value) == 36 for value in foreign.values())
    before = _sums(bravo)

    for method, path, _operation in operations():
        for body in ({}, {"member": member["id"]}, {"double": member["id"]}, {"kind": "card", "value": "1"}):
            mine = till.send(method, _with_ids(path, foreign), body)
            unknown = till.send(method, _with_ids(path, dict.fromkeys(foreign, str(uuid4()))), body)
            if "{" in path:
                assert mine.status == 404 or mine.code in {"invalid", "refused"}, (method, path, mine.raw)
            assert (mine.status, _plain(mine)) == (unknown.status, _plain(unknown)), (method, path)
            assert b"anary" not in mine.raw
    for query in (f"/purchases?member={member['id']}", "/members?identifier=canary@example.com"):
        assert till.get(query)["results"] == []
    assert _sums(bravo) == before


def _with_ids(path: str, ids: dict[str, str]) -> str:
    for name, value in ids.items():
        path = path.replace(f"{{{name}}}", value)
    return path


def _plain(answer: Answer) -> Any:
    """The body without what is made anew each time."""
    if answer.status >= 400 or not isinstance(answer.body, dict):
        return answer.body
    return sorted(answer.body)


def _sums(client: Client) -> list[int]:
    with use_client(client):
        return [Member.objects.count(), Purchase.objects.count()]


# ── what is read ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [
        (b"{", 400, "parse_error"),
        (b"[]", 400, "parse_error"),
        (b"null", 400, "parse_error"),
        (b'"text"', 400, "parse_error"),
        (b'{"name": NaN}', 400, "parse_error"),
        (b'{"name": Infinity}', 400, "parse_error"),
        (b'{"name": 1e99999999999999999999}', 400, "parse_error"),
        (b'{"amount": ' + b"9" * 5000 + b"}", 400, "parse_error"),
        (b'{"name": "a", "name": "b"}', 400, "parse_error"),
        (b'{"name": "\\u0000"}', 400, "parse_error"),
        (b'{"name": "\\ud800"}', 400, "parse_error"),
        (b'{"\\udfff": 1}', 400, "parse_error"),
        (b'{"name": "\xff"}', 400, "parse_error"),
        (b"\xff\xfe{\x00}\x00", 400, "parse_error"),
        (b'{"a": ' * 30 + b"1" + b"}" * 30, 400, "parse_error"),
        (b"[" * 100_000, 400, "parse_error"),
        (b'{"name": "' + b"x" * 1024 * 1024 + b'"}', 413, "too_large"),
    ],
)
def test_r50_a_body_that_cannot_be_read_is_refused(till: Machine, raw: bytes, status: int, code: str) -> None:
    for path in ("/members", "/purchases", "/program", "/redemptions"):
        answer = till.send("POST", path, raw)
        assert (answer.status, answer.code) == (status, code), path
        assert answer.headers["Content-Type"] == "application/problem+json"


def test_no_body_is_an_empty_one(till: Machine) -> None:
    assert till.send("POST", "/purchases", b"").fields == ["member", "kind", "document"]


@pytest.mark.parametrize(
    "media_type",
    ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", "application/xml"],
)
def test_a_body_that_is_not_json_is_refused(till: Machine, media_type: str) -> None:
    answer = till.send("POST", "/members", b"name=Ana", content_type=media_type)

    assert (answer.status, answer.code) == (415, "unsupported_media_type")


def test_json_may_name_its_encoding(till: Machine) -> None:
    assert (
        till.send("POST", "/members", b'{"name": "Ana"}', content_type="Application/JSON; charset=utf-8").status == 201
    )


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "*/*", "application/problem+json", "nonsense"])
def test_the_answer_is_json_whatever_is_asked_for(till: Machine, accept: str) -> None:
    answer = till.get("/members?format=html" if accept == "nonsense" else "/members", accept=accept)

    assert answer.headers["Content-Type"] in {"application/json", "application/problem+json"}
    assert answer.status == (400 if accept == "nonsense" else 200)


HOSTILE = [
    "%00",
    "a%00b",
    "%0A",
    "%ED%A0%80",
    "%FF%FE",
    "%F4%90%80%80",
    "..%2F..%2Fetc",
    "%25",
    "%27%20OR%201=1--",
    "%3Cscript%3E",
    "a" * 5000,
    "9" * 400,
    "-1",
    "1e400",
    "00000000-0000-0000-0000-00000000000g",
    "{member}",
    "%E2%80%AE",
    "+",
    "++49",
    "@",
    "0" * 36,
]


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda one: one[:20])
def test_r45_hostile_references_are_nobodys(till: Machine, ana: Answer, hostile: str) -> None:
    for method, path, _operation in operations():
        if "{" in path:
            answer = till.send(method, filled(path, hostile), {})
            assert answer.status in {400, 404, 422}, (method, path, answer.status)
    assert till.post("/purchases", {**sale("ana-1", "R"), "member": hostile}).status in {400, 404}
    for query in ("member", "cursor", "limit", "kind", "document", "identifier", "nonsense"):
        answer = till.get(f"/purchases?{query}={hostile}")
        assert answer.status in {200, 400}, query
        if answer.status == 200:
            assert answer["results"] == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=-1", "limit"),
        ("limit=x", "limit"),
        ("limit=" + "9" * 2000, "limit"),
        ("cursor=", "cursor"),
        ("cursor=x", "cursor"),
        ("cursor=%00", "cursor"),
        ("cursor=" + "A" * 29, "cursor"),
        ("cursor=" + "A" * 5000, "cursor"),
    ],
)
def test_a_page_that_is_none_is_refused(till: Machine, query: str, field: str) -> None:
    for path in ("/members", "/purchases", "/activities", "/redemptions", "/locations", "/parked-returns"):
        answer = till.get(f"{path}?{query}")
        assert (answer.status, answer.fields) == (400, [field]), path


def test_r44_fields_that_are_not_the_callers_to_write_are_refused(till: Machine, ana: Answer) -> None:
    names = ["id", "member_id", "number", "status", "balance", "points", "is_staff", "role", "client", "tenant_id"]
    names += ["created_at", "at", "by", "key", "source"]
    paths = {
        "/members": {"name": "Bo"},
        "/purchases": sale("ana-1", "R-1"),
        "/activities": {"kind": "trip", "reference": "T", "member": "ana-1"},
        "/adjustments": {"member": "ana-1", "unit": "points", "amount": 1, "reason": "x"},
        "/redemptions": {"member": "ana-1", "reward": "mug"},
        "/locations": {"code": "c"},
        "/members/ana-1/identifiers": {"kind": "card", "value": "1"},
        "/members/ana-1/consents": {"purpose": "p", "granted": True, "text_version": "1"},
    }
    for path, body in paths.items():
        for name in names:
            answer = till.post(path, {**body, name: "x"})
            assert (answer.status, answer.body["errors"]) == (
                400,
                [{"field": name, "code": "unknown_field", "detail": "This field is not known."}],
            ), (path, name)
    assert (Member.objects.count(), Purchase.objects.count()) == (1, 0)


# ── how it says no ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "path",
    ["/api/v1/nothing", "/api/v1/", "/api/v2/members", "/api/", "/api/v1/members/a/b", "/api/v1//members"],
)
def test_an_address_that_is_none_is_a_problem(till: Machine, path: str) -> None:
    for machine in (till, Machine(till.at, token="")):
        for method in ("GET", "POST", "DELETE", "OPTIONS"):
            response = machine.browser.generic(method, path)
            assert (response.status_code, response.headers["Content-Type"]) == (404, "application/problem+json")
            assert json.loads(response.content)["code"] == "not_found"


def test_an_address_with_a_slash_at_its_end_is_the_one_without(till: Machine, ana: Answer) -> None:
    assert till.get("/members/")["results"] == till.get("/members")["results"]
    assert till.get("/members/ana-1/")["id"] == ana["id"]
    assert till.post("/purchases/", sale("ana-1", "R-1")).status == 201
    assert Machine(till.at, token="").get("/members/").status == 401


def test_what_cannot_be_done_says_what_can(till: Machine) -> None:
    allowed: dict[str, set[str]] = {}
    for method, path, _operation in operations():
        allowed.setdefault(path, set()).add(method)
    for path, methods in allowed.items():
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} - methods:
            answer = till.send(method, filled(path))
            assert (answer.status, answer.code) == (405, "method_not_allowed"), (method, path)
            assert set(answer.headers["Allow"].split(", ")) - {"HEAD"} == methods


def test_a_failure_of_ours_tells_nothing_of_the_inside(till: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    till.browser.raise_request_exception = False

    def fail(*_args: Any, **_kwargs: Any) -> Any:
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr("loyalty_saas.api.rewards.shelf", fail)
    answer = till.get("/rewards")

    assert (answer.status, answer.code) == (500, "error")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert b"hunter2" not in answer.raw
    assert b"Traceback" not in answer.raw
    assert answer["request_id"]


def test_a_database_that_is_away_is_not_the_callers_fault(till: Machine) -> None:
    till.browser.raise_request_exception = False

    def away(*_args: Any) -> Any:
        raise OperationalError("could not connect to 10.0.0.5")

    with connections["default"].execute_wrapper(away):
        answer = till.get("/rewards")

    assert (answer.status, answer.code, answer.headers["Retry-After"]) == (503, "unavailable", "1")
    assert b"10.0.0.5" not in answer.raw


def test_who_joined_elsewhere_is_found_here(till: Machine) -> None:
    with transaction.atomic():
        member = enrol(new=NewMember({"card": "X-1"}), region="DE", at=timezone.now())

    assert till.get("/members/x-1")["id"] == str(member.pk)
