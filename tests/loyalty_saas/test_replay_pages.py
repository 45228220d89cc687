"""A draft tried on real purchases, as the owner sees it; and conflicts shown where rules are written."""

import copy
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from loyalty_saas import workers
from loyalty_saas.flows import replays as flow
from loyalty_saas.tasks import run_replay
from members.models import LedgerEntry, Replay
from programs.queries import draft
from programs.services.drafts import replace_draft
from tenants.context import use_client
from tenants.models import AuditEvent, Client, Role
from tests.http import ClientBrowser
from tests.loyalty_saas.portals import at_portal, words
from tests.loyalty_saas.shops import PROGRAM, credit, sale
from tests.machines import Answer, Machine
from tests.people import browser, person


@pytest.fixture
def owner(shop: Client) -> ClientBrowser:
    """The portal, open before the owner."""
    return at_portal(shop)


@pytest.fixture(autouse=True)
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What is sent to workers, who stay away."""
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(workers, "send_once", lambda **given: found.append(given) or True)
    return found


def begin_draft(**changes: Any) -> dict[str, Any]:
    """A draft of the shop's program that gives twice as much."""
    document = copy.deepcopy(PROGRAM)
    document["rules"][0]["effect"]["points"] *= 2
    document |= changes
    with transaction.atomic():
        replace_draft(document=document, at=timezone.now())
    return document


def bought(till: Machine, member: Answer, *amounts: int) -> None:
    """Sales of the last days."""
    for place, amount in enumerate(amounts, start=1):
        at = (timezone.now() - timedelta(days=place)).isoformat()
        assert till.post("/purchases", sale(member["id"], f"R-{place}", amount, occurred_at=at)).status == 201
    credit()


def tried(owner: ClientBrowser, *, months: int = 3) -> tuple[str, Replay]:
    """A try begun on the page; its address."""
    answer = owner.post("/program/replays/", {"months": str(months)})
    assert answer.status_code == 302, words(answer)
    return answer.headers["Location"], Replay.objects.latest("started_at")


def run(client: Client, replay: Replay) -> None:
    """What the worker does."""
    run_replay(schema_name=client.schema_name, replay_id=str(replay.pk))


# ── the try ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_owner_tries_the_draft_and_reads_what_it_comes_to(
    shop: Client, owner: ClientBrowser, till: Machine, ana: Answer, sent: list[dict[str, Any]]
) -> None:
    bought(till, ana, 1_000, 2_500)
    entries = LedgerEntry.objects.count()
    begin_draft()
    assert "Try on real purchases" in words(owner.get("/program/"))

    address, replay = tried(owner)
    assert [one["replay_id"] for one in sent if "replay_id" in one] == [str(replay.pk)]
    run(shop, replay)

    with use_client(shop):
        page = words(owner.get(address))
        assert LedgerEntry.objects.count() == entries
    assert "Members would have got" in page
    assert "100% more points" in page
    assert "get more 100" in page
    assert "Look and publish" in page
    assert "R-2" in page


def test_page_of_a_running_try_asks_again_and_its_end_shows_the_result(
    shop: Client, owner: ClientBrowser, till: Machine, ana: Answer
) -> None:
    bought(till, ana, 1_000)
    begin_draft()
    address, replay = tried(owner)
    Replay.objects.filter(pk=replay.pk).update(state="running", purchases=8, purchases_done=3, seen_at=timezone.now())

    part = owner.get(address, HTTP_HX_REQUEST="true")
    assert "3 of 8 purchases" in words(part)
    assert "every 1s" in part.content.decode()

    Replay.objects.filter(pk=replay.pk).update(state="waiting")
    run(shop, replay)
    with use_client(shop):
        assert owner.get(address, HTTP_HX_REQUEST="true").headers["HX-Refresh"] == "true"


def test_stopped_by_hand(shop: Client, owner: ClientBrowser) -> None:
    begin_draft()
    address, replay = tried(owner)

    owner.post(f"{address}stop/")

    assert "Stopped" in words(owner.get(address))
    run(shop, replay)
    with use_client(shop):
        assert Replay.objects.get(pk=replay.pk).state == "stopped"
        kinds = AuditEvent.objects.filter(client=shop, action__startswith="program.replay").values_list(
            "action", flat=True
        )
        assert sorted(kinds) == ["program.replay_started", "program.replay_stopped"]


def test_result_of_a_draft_that_was_changed_since_says_so(shop: Client, owner: ClientBrowser) -> None:
    begin_draft()
    address, replay = tried(owner)
    run(shop, replay)
    with use_client(shop):
        assert "has been changed" not in words(owner.get(address))
        begin_draft(name="Another club")

        page = words(owner.get(address))
        assert "has been changed" in page
        assert "Look and publish" not in page


def test_earlier_tries_are_kept_in_a_list(shop: Client, owner: ClientBrowser) -> None:
    begin_draft()
    _address, replay = tried(owner, months=6)
    run(shop, replay)

    with use_client(shop):
        assert "Nobody bought anything" in words(owner.get("/program/replays/"))


@pytest.mark.parametrize("months", ["", "7", "x"])
def test_span_that_is_not_offered_is_refused_at_the_field(shop: Client, owner: ClientBrowser, months: str) -> None:
    begin_draft()

    answer = owner.post("/program/replays/", {"months": months})

    assert answer.status_code == 422
    assert not Replay.objects.exists()


def test_without_a_draft_there_is_nothing_to_try(shop: Client, owner: ClientBrowser) -> None:
    assert draft() is None
    assert "There is no draft to try" in words(owner.get("/program/replays/"))
    assert owner.post("/program/replays/", {"months": "3"}).status_code == 422


def test_provider_looks_and_may_not_begin(shop: Client) -> None:
    begin_draft()
    technician = browser(shop, person(Role.PROVIDER, provider=shop.provider))

    assert technician.get("/program/replays/").status_code == 200
    assert technician.post("/program/replays/", {"months": "3"}).status_code == 422
    assert not Replay.objects.exists()


def test_lost_hint_is_sent_again_from_the_page(shop: Client, owner: ClientBrowser, sent: list[dict[str, Any]]) -> None:
    begin_draft()
    replay = flow.start(document=begin_draft(), months=3, at=timezone.now())

    owner.get(f"/program/replays/{replay.pk}/")

    assert [one["replay_id"] for one in sent if "replay_id" in one] == [str(replay.pk)]


# ── conflicts ───────────────────────────────────────────────────────────────────────────────────────────────────────


def with_rules(*rules: dict[str, Any]) -> list[dict[str, Any]]:
    """The shop's rules and more."""
    return [*copy.deepcopy(PROGRAM["rules"]), *rules]


def bonus(code: str, points: int, **given: Any) -> dict[str, Any]:
    """A rule that always gives the same."""
    unit = PROGRAM["rules"][0]["unit"]
    return {"code": code, "name": f"The {code}", "unit": unit, "trigger": "purchase",
            "effect": {"kind": "fixed", "points": points}, **given}  # fmt: skip


def test_conflict_stands_at_the_rule_and_before_publishing(shop: Client, owner: ClientBrowser) -> None:
    begin_draft(rules=with_rules(bonus("one", 5, group="g"), bonus("other", 7, group="g")))

    for address in ("/program/rules/edit/one/", "/program/rules/edit/other/", "/program/publish/"):
        page = words(owner.get(address))
        assert "“The one” and “The other” exclude each other and have the same rank." in page, address
        assert "Give one of them a higher rank." in page


def test_every_kind_of_conflict_has_its_words(shop: Client, owner: ClientBrowser) -> None:
    unit = PROGRAM["rules"][0]["unit"]
    both = [{"field": "amount", "op": "gt", "value": 9}, {"field": "amount", "op": "lt", "value": 3}]
    monday, tuesdays = [{"field": "weekday", "op": "eq", "value": 1}], {"weekdays": [2]}
    rate = {"kind": "per_quantity", "points": 1, "per": 1}
    more = {"kind": "multiplier", "factor": "2", "of": ["birthday"]}
    begin_draft(
        rules=[
            bonus("never", 1, conditions=both),
            bonus("late", 1, valid_until="2020-01-01"),
            bonus("closed", 1, conditions=monday, schedule=tuesdays),
            bonus("strong", 1, group="g", priority=2),
            bonus("weak", 1, group="g"),
            bonus("birthday", 9, trigger="birthday"),
            bonus("apart", 1) | {"effect": more},
            bonus("capped", 10, caps={"per_purchase": 3}),
            bonus("left", 1) | {"trigger": "line", "effect": rate},
            bonus("right", 1) | {"trigger": "line", "effect": rate},
        ],
        units=[*PROGRAM["units"], {"code": "dust", "name": "Dust", "kind": "points"}],
        rewards=[{"code": "r", "name": "A prize", "kind": "product", "unit": "dust", "price": 1, "value": 1}],
        tiers={"basis": "earned", "unit": "dust", "levels": [{"code": "top", "name": "Top", "enter": 5, "keep": 5}]},
    )

    page = words(owner.get("/program/publish/"))

    for said in ("its conditions contradict each other", "is over: it was valid until", "leave no moment",
                 "“The weak” never counts", "“The apart” multiplies nothing", "“The capped” gives",
                 "“The left” and “The right” both give", "Nobody can reach the tier “Top”",
                 "“A prize” costs"):  # fmt: skip
        assert said in page, said
    assert unit


def test_sound_program_has_nothing_to_say(shop: Client, owner: ClientBrowser) -> None:
    begin_draft(rules=[bonus("only", 5)], rewards=[], tiers=None)

    assert "Worth a look first" not in words(owner.get("/program/publish/"))
