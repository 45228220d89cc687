"""A program tried on real purchases by a machine: begun, followed, read, stopped."""

import copy
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import transaction
from django.utils import timezone

from loyalty_saas import workers
from loyalty_saas.tasks import run_replay
from members.models import LedgerEntry, Replay
from programs.services.drafts import replace_draft
from tenants.context import use_client
from tenants.models import AuditEvent, Client
from tests.conftest import NewClient
from tests.loyalty_saas.shops import PROGRAM, credit, join, sale
from tests.machines import Answer, Machine


@pytest.fixture(autouse=True)
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What is sent to workers, who stay away."""
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(workers, "send_once", lambda **given: found.append(given) or True)
    return found


def twice() -> dict[str, Any]:
    """The shop's program, with two points per euro."""
    document = copy.deepcopy(PROGRAM)
    document["rules"][0]["effect"]["points"] = 2
    return document


def start(till: Machine, *, key: str | None = "new", **given: Any) -> Answer:
    return till.post("/program/replays", {"months": 3, "document": twice(), **given}, key=key)


def run(shop: Client, replay: str) -> None:
    """What the worker does."""
    run_replay(schema_name=shop.schema_name, replay_id=replay)


def test_a_machine_tries_a_program_and_reads_what_it_comes_to(
    shop: Client, till: Machine, ana: Answer, sent: list[dict[str, Any]]
) -> None:
    yesterday = (timezone.now() - timedelta(days=1)).isoformat()
    bought = till.post("/purchases", sale("ana-1", "R-1", 1_000, occurred_at=yesterday))
    credit()
    entries = LedgerEntry.objects.count()

    begun = start(till)
    assert (begun.status, begun["state"], begun["finished_at"]) == (202, "waiting", None)
    assert [one["replay_id"] for one in sent if "replay_id" in one] == [begun["id"]]
    assert till.get(f"/program/replays/{begun['id']}")["result"] is None
    run(shop, begun["id"])

    with use_client(shop):
        done = till.get(f"/program/replays/{begun['id']}")
        assert LedgerEntry.objects.count() == entries
    assert (done["state"], done["purchases"], done["purchases_done"]) == ("done", 1, 1)
    result = done["result"]
    points = next(one for one in result["units"] if one["code"] == "points")
    assert (points["published"], points["draft"]) == (10, 20)
    assert result["members"] == {"more": 1, "same": 0, "less": 0}
    assert result["winners"] == [
        {"member": ana["id"], "published": {"points": 10}, "draft": {"points": 20}, "purchase": bought["id"]}
    ]
    assert result["losers"] == []
    assert [one["id"] for one in till.get("/program/replays")["results"]] == [begun["id"]]
    event = AuditEvent.objects.get(client=shop, action="program.replay_started")
    assert (event.subject, event.detail) == (begun["id"], {"months": 3})


def test_without_a_document_the_draft_of_the_portal_is_tried(till: Machine, ana: Answer) -> None:
    refused = start(till, document=None)
    assert (refused.status, refused["code"], refused.fields) == (422, "refused", ["document"])
    with transaction.atomic():
        replace_draft(document=twice(), at=timezone.now())
    begun = start(till, document=None)
    assert begun.status == 202
    assert Replay.objects.get(pk=begun["id"]).document["rules"][0]["effect"]["points"] == 2


def test_r05_the_same_request_begins_one_try(shop: Client, till: Machine, sent: list[dict[str, Any]]) -> None:
    first, again, other = start(till, key="K"), start(till, key="K"), start(till, key="K", months=6)
    assert (first.status, again.status, again.body == first.body) == (202, 202, True)
    assert (other.status, other["code"]) == (422, "key_reused")
    assert (Replay.objects.count(), len([one for one in sent if "replay_id" in one])) == (1, 1)
    assert AuditEvent.objects.filter(client=shop, action="program.replay_started").count() == 1


@pytest.mark.parametrize(
    ("given", "status", "fields"),
    [
        ({"months": 5}, 422, ["months"]),
        ({"months": "3"}, 400, ["months"]),
        ({"months": None}, 400, ["months"]),
        ({"document": {"name": "Nothing"}}, 422, None),
        ({"document": "the draft"}, 400, ["document"]),
        ({"document": {**PROGRAM, "rules": [{"code": "euro"}]}}, 422, None),
        ({"since": "2026-01-01"}, 400, ["since"]),
    ],
)
def test_what_is_wrong_is_named(till: Machine, given: dict[str, Any], status: int, fields: list[str] | None) -> None:
    answer = start(till, **given)
    assert answer.status == status, answer.raw
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.fields == fields if fields else answer["code"] == "program_invalid"
    assert not Replay.objects.exists()


def test_a_try_is_stopped_once(shop: Client, till: Machine) -> None:
    begun = start(till)
    stopped = till.send("DELETE", f"/program/replays/{begun['id']}")
    assert (stopped.status, stopped["state"], stopped["result"]) == (200, "stopped", None)
    again = till.send("DELETE", f"/program/replays/{begun['id']}")
    assert (again.status, again["code"]) == (422, "refused")
    assert AuditEvent.objects.filter(client=shop, action="program.replay_stopped").count() == 1


def test_a_key_needs_the_scope_and_the_house(shop: Client, till: Machine, new_client: NewClient) -> None:
    begun = start(till)
    reader = Machine(shop, scopes=["program:read"])
    assert [start(reader).status, reader.get(f"/program/replays/{begun['id']}").status] == [403, 200]
    assert reader.send("DELETE", f"/program/replays/{begun['id']}").status == 403
    assert Machine(shop, scopes=["points:read"]).get("/program/replays").status == 403
    assert till.get(f"/program/replays/{uuid4()}").status == 404
    assert till.get("/program/replays/mine").status == 404
    other = Machine(new_client("Harbor"))
    assert other.get(f"/program/replays/{begun['id']}").status == 404
    assert other.send("DELETE", f"/program/replays/{begun['id']}").status == 404
    assert Replay.objects.get(pk=begun["id"]).state == "waiting"


def test_members_without_points_under_either_program_are_not_compared(shop: Client, till: Machine) -> None:
    join(till, "Bo", pos="bo-1")
    begun = start(till)
    run(shop, begun["id"])
    with use_client(shop):
        assert till.get(f"/program/replays/{begun['id']}")["result"]["winners"] == []
