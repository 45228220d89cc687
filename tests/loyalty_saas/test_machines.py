"""The pages for developers: keys made, renewed and ended; a log that tells everything but who; the reference."""

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from loyalty_saas.api import journal
from loyalty_saas.api.masking import MASK, MOST_BYTES, kept_path, kept_query, kept_text, masked
from loyalty_saas.api.problems import PROBLEMS
from loyalty_saas.machines.reference import reference
from members.models import ApiRequest
from members.services import api_requests
from programs.services.catalogue import add_location
from tenants.access import Actor
from tenants.context import public_atomic, use_client
from tenants.keys import uuid7
from tenants.models import ApiKey, AuditEvent, Client, Provider
from tenants.queries import key_of_prefix
from tenants.services.api_keys import rotate_key
from tests.http import ClientBrowser
from tests.loyalty_saas.shops import join, sale
from tests.machines import Answer, Machine, new_key
from tests.people import PASSWORD, browser, person

CANARIES = {
    "name": "Zenobia Canary-Quux",
    "phone": "+4915199988877",
    "email": "zenobia.canary@example.com",
    "birthday": "1987-03-29",
    "card": "4000777766665555",
}


def newest(client: Client, **wanted: Any) -> ApiRequest:
    with use_client(client):
        return ApiRequest.objects.filter(**wanted).order_by("-at", "-id")[0]


def everything_kept(client: Client) -> str:
    with use_client(client):
        return json.dumps(list(ApiRequest.objects.values()), default=str, ensure_ascii=False)


def again_signed_in(visitor: ClientBrowser) -> ClientBrowser:
    """The visitor, who has just said the password."""
    assert visitor.post("/accounts/reauthenticate/", {"password": PASSWORD}).status_code == 302
    return visitor


def key_in(page: Any) -> str:
    found = re.search(r'value="(lk_[a-z2-7]{12}_[0-9a-f]{64})"', page.content.decode())
    assert found, page.content.decode()[:500]
    return found[1]


# ── the log ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_request_of_a_machine_leaves_one_line_with_its_id(shop: Client, till: Machine, ana: Answer) -> None:
    answer = till.post("/purchases", sale("ana-1", "R-1"))
    line = newest(shop)

    assert answer.headers["Request-Id"] == str(line.pk)
    assert till.key is not None
    assert (line.method, line.path, line.status, line.problem) == ("POST", "/api/v1/purchases", 201, "")
    assert line.key_prefix == till.key.prefix
    assert json.loads(line.body)["document"] == "R-1"
    assert json.loads(line.answer)["id"] == answer["id"]


def test_a_refused_request_names_its_problem(shop: Client, till: Machine) -> None:
    assert till.post("/purchases", {"kind": "sale"}).status == 400
    line = newest(shop)

    assert (line.status, line.problem) == (400, "invalid")
    assert {"document", "member"} <= {error["field"] for error in json.loads(line.answer)["errors"]}


def test_r43_nothing_that_names_a_person_is_kept(shop: Client, till: Machine) -> None:
    identifiers = {"phone": CANARIES["phone"], "email": CANARIES["email"], "card": CANARIES["card"]}
    joined = till.post(
        "/members", {"name": CANARIES["name"], "birthday": CANARIES["birthday"], "identifiers": identifiers}
    )
    assert joined.status == 201, joined.body
    for value in (CANARIES["phone"], CANARIES["email"], CANARIES["card"]):
        written = value.replace("+", "%2B").replace("@", "%40")
        assert till.get(f"/members/{written}").status == 200
        assert till.get(f"/members/{written}/balance").status == 200
        assert till.get(f"/purchases?member={written}").status == 200
        assert till.post("/purchases", sale(value, f"R-{value[-4:]}")).status == 201
        till.get(f"/nowhere/{written}/{CANARIES['name'].split()[0]}")
    assert till.get("/members").status == 200
    # Values where none belongs: a wrong field, a wrong choice, a name of a field, a number.
    till.post("/members", {"nmae": CANARIES["name"], CANARIES["email"]: 1, "phone": 4915199988877})
    till.post("/purchases", {"kind": CANARIES["email"], "document": CANARIES["email"], "member": CANARIES["name"]})
    till.post("/purchases", sale("nobody", "R-9") | {"channel": CANARIES["phone"], "terminal": CANARIES["email"]})
    till.send("PATCH", f"/members/{joined['id']}", {"name": CANARIES["name"], "birthday": CANARIES["birthday"]})
    till.post(f"/members/{joined['id']}/consents", {"purpose": "marketing", "granted": True, "text_version": "1"})
    till.post("/members", b'{"name": "' + CANARIES["name"].encode() + b'", broken')

    kept = everything_kept(shop)
    for what, canary in CANARIES.items():
        for part in {canary, canary.lstrip("+"), canary.split("@")[0], canary.split()[0]}:
            assert part not in kept, what
    assert till.token is not None
    assert till.token.rpartition("_")[2] not in kept
    for shown in (MASK, "R-8877"):
        assert shown in kept, "nothing at all was kept"


def test_r43_control_what_is_not_masked_would_be_found(shop: Client, till: Machine) -> None:
    till.get("/members")
    with use_client(shop):
        ApiRequest.objects.filter(pk=newest(shop).pk).update(body=json.dumps({"name": CANARIES["name"]}))

    assert CANARIES["name"] in everything_kept(shop)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"amount": 100, "kind": "sale"}, {"amount": 100, "kind": "sale"}),
        ({"note": "Ana"}, {"note": MASK}),
        ({"phone": 49151}, {"phone": MASK}),
        ({"member": "01998c2e-7d1f-7000-8000-000000000001"}, {"member": "01998c2e-7d1f-7000-8000-000000000001"}),
        ({"member": "ana-1"}, {"member": MASK}),
        ({"channel": "+49 151 1234567"}, {"channel": MASK}),
        ({"code": "not_found"}, {"code": "not_found"}),
        ({"code": "ABCD2345EFGH6723"}, {"code": MASK}),
        ({"Ana Example": 1}, {MASK: MASK}),
        ({"properties": {"days": 7, "guide": "Ana"}}, {"properties": {"days": MASK, "guide": MASK}}),
        ({"lines": [{"sku": "A", "quantity": 2}]}, {"lines": [{"sku": "A", "quantity": 2}]}),
        ({"title": "Ana"}, {"title": "Ana"}),
    ],
)
def test_only_listed_fields_are_shown(given: Any, kept: Any) -> None:
    assert masked(given) == kept


def test_a_long_body_is_cut_and_costs_no_more(shop: Client, till: Machine, ana: Answer) -> None:
    rows = [{"sku": f"s{n}", "quantity": 1, "amount": 100} for n in range(500)]
    assert till.post("/purchases", {"kind": "sale", "document": "R-1", "member": "ana-1", "lines": rows}).status == 201

    assert len(newest(shop).body.encode()) <= MOST_BYTES
    assert len(kept_text({"entries": [{"detail": "x" * 300}] * 10_000}).encode()) <= MOST_BYTES


def test_addresses_keep_the_words_of_the_api_alone() -> None:
    row = str(uuid7())
    assert kept_path(f"/api/v1/members/{row}/tier", given={"member": row}, known=True) == f"/api/v1/members/{row}/tier"
    assert kept_path("/api/v1/members/Ana/tier", given={"member": "Ana"}, known=True) == f"/api/v1/members/{MASK}/tier"
    assert kept_path("/api/v1/memberz/Ana", given={}, known=False) == f"/api/v1/memberz/{MASK}"
    assert kept_query("limit=5&member=ana%40example.com&x@y=1") == f"limit=5&member={MASK}&{MASK}={MASK}"


def test_a_stranger_is_written_down_but_not_without_end(shop: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_strangers", journal._Strangers())
    monkeypatch.setattr(journal, "MOST_STRANGERS", 3)
    stranger = Machine(shop, token="lk_nobody_0000")
    for _ in range(6):
        assert stranger.get("/locations").status == 401

    with use_client(shop):
        kept = list(ApiRequest.objects.values_list("status", "problem", "key_prefix"))
    assert kept == [(401, "authentication_failed", "")] * 3


def test_a_log_that_cannot_be_written_fails_no_request(
    shop: Client, till: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(asked: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(api_requests, "keep", full)
    assert till.get("/locations").status == 200


def test_two_weeks_are_kept_and_only_the_newest(shop: Client, till: Machine) -> None:
    for _ in range(5):
        till.get("/locations")
    at = timezone.now()
    ApiRequest.objects.filter(pk=newest(shop).pk).update(at=at - timedelta(days=15))

    assert api_requests.prune(at=at, most=100) == 1
    assert api_requests.prune(at=at, most=2) == 2
    assert ApiRequest.objects.count() == 2


# ── reading it ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_list_is_filtered_turned_over_and_followed(shop: Client, till: Machine, ana: Answer) -> None:
    for n in range(60):
        till.get("/locations" if n % 2 else "/rewards")
    till.get("/members/nobody")
    visitor = browser(shop, person(Actor.MANAGER, client=shop))

    def shown(query: str, **given: Any) -> Any:
        return visitor.get(f"/machines/requests/{query}", **given).content.decode()

    assert shown("").count("<time") == 50
    assert shown("?failed=1").count("<time") == 1
    assert shown("?path=rewards").count("<time") == 30
    assert shown("?method=POST").count("<time") == 1
    assert shown("?method=DELETE&key=nobody&span=hour").count("<time") == 0
    first = shown("")
    following = re.search(r'rel="next" href="[^?]+(\?[^"]+)"', first)
    assert following is not None
    second = shown(following[1].replace("&amp;", "&"))
    assert 0 < second.count("<time") < 50
    assert not set(re.findall(r"/machines/requests/([0-9a-f-]{36})/", first)) & set(
        re.findall(r"/machines/requests/([0-9a-f-]{36})/", second)
    )
    part = shown("?live=1", headers={"HX-Request": "true", "HX-Target": "requests"})
    assert 'hx-trigger="every 5s"' in part
    assert "<html" not in part
    assert "every 5s" not in first
    assert "Nothing" not in shown("?before=rubbish")


def test_a_request_is_told_with_what_went_wrong_and_how_to_send_it_again(
    shop: Client, till: Machine, ana: Answer
) -> None:
    body = sale("ana-1", "R-1") | {"amount": 999, "lines": [{"sku": "it's", "quantity": 1, "amount": 5}]}
    assert till.post("/purchases", body).code == "amount_mismatch"
    page = browser(shop, person(Actor.OWNER, client=shop)).get(f"/machines/requests/{newest(shop).pk}/")
    text = page.content.decode()

    assert "The lines add up to 5." in text
    assert "reference/#problem-amount_mismatch" in text
    assert "Bearer $LOYALTY_KEY" in text
    assert "Idempotency-Key: $(uuidgen)" in text
    assert '<code class="code">member</code>' in text
    assert "ana-1" not in text


def test_another_clients_request_or_key_is_not_there(shop: Client, bravo: Client, till: Machine) -> None:
    till.get("/locations")
    foreign_line, (foreign_key, _token) = newest(shop), new_key(client=shop)
    owner = again_signed_in(browser(bravo, person(Actor.OWNER, client=bravo)))

    assert owner.get(f"/machines/requests/{foreign_line.pk}/").status_code == 404
    assert owner.get(f"/machines/keys/{foreign_key.pk}/rotate/").status_code == 404
    assert owner.post(f"/machines/keys/{foreign_key.pk}/rotate/", {"overlap": "24h"}).status_code == 404
    assert owner.post(f"/machines/keys/{foreign_key.pk}/revoke/").status_code == 404
    assert ApiKey.objects.get(pk=foreign_key.pk).revoked_at is None


# ── keys ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_owner_makes_a_key_which_is_shown_once_and_works(shop: Client) -> None:
    place = add_location(code="harbour", name="Harbour")
    owner = again_signed_in(browser(shop, user := person(Actor.OWNER, client=shop)))
    form = {"name": "Web shop", "scopes": ["program:read"], "location": str(place.pk), "lasts": "90"}
    made = owner.post("/machines/keys/new/", form)
    token = key_in(made)
    key = ApiKey.objects.get(client=shop, name="Web shop")

    assert made["Cache-Control"] == "no-store"
    assert (key.scopes, key.location_id, key.created_by) == (["program:read"], place.pk, user.pk)
    assert key.expires_at is not None
    assert key.expires_at - key.created_at == timedelta(days=90)
    assert Machine(shop, token=token).get("/locations").status == 200
    assert Machine(shop, token=token).get("/members").code == "permission_denied"
    overview = owner.get("/machines/").content.decode()
    assert key.prefix in overview
    assert token.rpartition("_")[2] not in overview
    assert AuditEvent.objects.filter(client=shop, action="api_key.issued", actor=f"user:{user.pk}").exists()


def test_a_key_form_with_faults_keeps_what_was_typed(shop: Client) -> None:
    owner = again_signed_in(browser(shop, person(Actor.OWNER, client=shop)))
    answer = owner.post("/machines/keys/new/", {"name": "Web shop", "scopes": ["clients:read"], "lasts": "90"})

    assert answer.status_code == 422
    assert 'value="Web shop"' in answer.content.decode()
    assert not ApiKey.objects.filter(client=shop).exists()


def test_a_key_is_made_only_by_an_owner_who_has_just_said_the_password(shop: Client) -> None:
    owner = browser(shop, person(Actor.OWNER, client=shop))
    form = {"name": "Web shop", "scopes": ["program:read"], "location": "", "lasts": "never"}
    sent_away = owner.get("/machines/keys/new/")
    assert sent_away.status_code == 302
    assert "reauthenticate" in sent_away["Location"]
    assert owner.post("/machines/keys/new/", form).status_code == 302
    assert not ApiKey.objects.filter(client=shop).exists()
    assert again_signed_in(owner).get("/machines/keys/new/").status_code == 200
    assert key_in(owner.post("/machines/keys/new/", form)).startswith("lk_")


@pytest.mark.parametrize("role", [Actor.MANAGER, Actor.PROVIDER, Actor.CLERK])
def test_others_make_and_end_no_keys(shop: Client, provider: Provider, role: Actor) -> None:
    key, _token = new_key(client=shop)
    who = person(role, provider=provider) if role == Actor.PROVIDER else person(role, client=shop)
    visitor = again_signed_in(browser(shop, who))
    form = {"name": "Mine", "scopes": ["program:read"], "location": "", "lasts": "never"}

    assert visitor.get("/machines/").status_code == (403 if role == Actor.CLERK else 200)
    assert visitor.get("/machines/keys/new/").status_code == 403
    assert visitor.post("/machines/keys/new/", form).status_code == 403
    assert visitor.post(f"/machines/keys/{key.pk}/rotate/", {"overlap": "24h"}).status_code == 403
    assert visitor.post(f"/machines/keys/{key.pk}/revoke/").status_code == 403
    assert ApiKey.objects.filter(client=shop).count() == 1


def test_a_renewed_key_leaves_the_old_one_for_a_while(shop: Client) -> None:
    old, token = new_key(client=shop, scopes=["program:read"])
    owner = again_signed_in(browser(shop, person(Actor.OWNER, client=shop)))
    fresh = key_in(owner.post(f"/machines/keys/{old.pk}/rotate/", {"overlap": "24h"}))
    old.refresh_from_db()
    new = ApiKey.objects.exclude(pk=old.pk).get(client=shop)

    assert new.scopes == ["program:read"]
    assert new.expires_at is None
    assert old.expires_at is not None
    assert timedelta(hours=23) < old.expires_at - timezone.now() < timedelta(hours=25)
    assert [Machine(shop, token=one).get("/locations").status for one in (token, fresh)] == [200, 200]
    ApiKey.objects.filter(pk=old.pk).update(expires_at=timezone.now())
    key_of_prefix.forget()
    assert [Machine(shop, token=one).get("/locations").status for one in (token, fresh)] == [401, 200]


def test_renewing_never_makes_an_old_key_last_longer(shop: Client) -> None:
    old, _token = new_key(client=shop)
    at = timezone.now()
    soon = at + timedelta(hours=1)
    ApiKey.objects.filter(pk=old.pk).update(expires_at=soon, location_id=add_location(code="x").pk)
    with public_atomic():
        new, _token = rotate_key(old, at=at, ends_at=at + timedelta(days=7))

    assert ApiKey.objects.get(pk=old.pk).expires_at == soon
    assert new.location_id == ApiKey.objects.get(pk=old.pk).location_id


def test_an_ended_key_opens_nothing_and_cannot_be_renewed(shop: Client) -> None:
    key, token = new_key(client=shop)
    owner = again_signed_in(browser(shop, person(Actor.OWNER, client=shop)))
    assert owner.post(f"/machines/keys/{key.pk}/revoke/").status_code == 302

    assert Machine(shop, token=token).get("/locations").status == 401
    assert owner.get(f"/machines/keys/{key.pk}/rotate/").status_code == 404
    assert AuditEvent.objects.filter(client=shop, action="api_key.revoked").exists()


def test_the_last_use_of_a_key_is_told_to_the_minute(shop: Client, till: Machine) -> None:
    assert till.key is not None

    def used() -> Any:
        return ApiKey.objects.get(client=shop if till.key else None).last_used_at

    till.get("/locations")
    first = used()
    key_of_prefix.forget()
    till.get("/locations")
    assert first is not None
    assert used() == first
    ApiKey.objects.filter(client=shop).update(last_used_at=first - timedelta(minutes=2))
    key_of_prefix.forget()
    till.get("/locations")
    assert used() > first - timedelta(minutes=1)


# ── the reference ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_reference_tells_every_operation_of_the_description(shop: Client, till: Machine) -> None:
    described = till.get("/schema/").body
    ids = {one["operationId"] for item in described["paths"].values() for one in item.values() if "operationId" in one}
    told = {one.id for group in reference().groups for one in group.operations}
    page = browser(shop, person(Actor.MANAGER, client=shop)).get("/machines/reference/").content.decode()

    assert told == ids
    assert len(ids) > 25
    assert all(f'id="{one}"' in page for one in ids)
    assert all(f'id="problem-{code}"' in page for code in PROBLEMS)
    assert "style=" not in page
    assert "onclick" not in page
    for group in reference().groups:
        assert all(trouble.code in PROBLEMS for one in group.operations for trouble in one.troubles)


def test_its_examples_are_accepted(shop: Client, till: Machine) -> None:
    join(till, "Ana", phone="+4915112345678")
    add_location(code="harbour")
    examples = {one.id: json.loads(one.example) for g in reference().groups for one in g.operations if one.example}

    for operation, path in {
        "purchases_record": "/purchases",
        "purchases_preview": "/purchases/preview",
        "activities_record": "/activities",
        "adjustments_make": "/adjustments",
    }.items():
        answer = till.post(path, examples[operation])
        assert answer.status in {200, 201}, (operation, answer.body)
    assert till.post("/program", examples["program_publish"]).status == 201


def test_python_samples_can_be_read_by_python() -> None:
    for group in reference().groups:
        for one in group.operations:
            if one.python:
                compile(one.python, one.id, "eval")


@pytest.mark.parametrize("kind", ["yaml", "json"])
def test_the_description_can_be_taken_along(shop: Client, kind: str) -> None:
    answer = browser(shop, person(Actor.MANAGER, client=shop)).get(f"/machines/reference/openapi.{kind}")

    assert answer.status_code == 200
    assert f'filename="loyalty-api.{kind}"' in answer["Content-Disposition"]
    assert b"purchases_record" in answer.content


def test_the_address_of_a_problem_says_what_it_is(shop: Client) -> None:
    stranger = Machine(shop, token="")

    assert stranger.get("/problems/amount_mismatch").body == {
        "code": "amount_mismatch",
        "status": 422,
        "title": "The amount is not the sum of the lines",
    }
    assert stranger.get("/problems/rubbish").status == 404
