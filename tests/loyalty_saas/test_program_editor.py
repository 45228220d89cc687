"""The program editor: what the owner sees, types and publishes; what others may; and that nothing gets lost."""

import json
import re
from datetime import date
from typing import Any

import pytest
from django.conf import settings
from django.db import connections
from django.template.loader import render_to_string
from django.test.utils import CaptureQueriesContext
from django.utils.datastructures import MultiValueDict
from django.utils.translation import override
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from loyalty_saas.portal.editor import Bench, settled, with_part
from loyalty_saas.portal.editor_rules import RuleForm
from programs.models import Program
from programs.queries import draft, program_in_force
from programs.rules import parse_program
from tenants.access import Actor
from tenants.models import AuditEvent, Client, Provider
from tests.controls import controls
from tests.http import ClientBrowser
from tests.loyalty_saas.shops import PROGRAM, open_shop
from tests.loyalty_saas.test_portal import text
from tests.people import browser, person

Sent = dict[str, Any]


@pytest.fixture
def owner(shop: Client) -> ClientBrowser:
    """The portal, open before the owner."""
    return browser(shop, person(Actor.OWNER, client=shop))


def form_at(page: ClientBrowser, url: str, **changes: Any) -> Sent:
    """What the form there would send, with some fields typed in."""
    answer = page.get(url)
    assert answer.status_code == 200, (url, answer.status_code)
    return {**controls(answer.content.decode()), **changes}


def send(page: ClientBrowser, url: str, **changes: Any) -> Any:
    """Fill in the form there and send it."""
    return page.post(url, form_at(page, url, **changes))


# ── what is said ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_program_stands_there_in_sentences_made_from_its_rules(owner: ClientBrowser) -> None:
    page = text(owner.get("/program/"))
    assert "1 point for every whole €1.00 of each item of a purchase." in page
    assert "1 stamp for every piece bought, item by item, only for the category “coffee”, at most 3 stamps" in page
    assert "From €500.00, kept with €400.00." in page
    assert "500 points → 5 off (discount), worth €5.00: 1 point is worth €0.01." in page


@pytest.mark.parametrize("role", [Actor.CLERK, Actor.PROVIDER])
def test_clerk_and_provider_read_but_find_nothing_to_change(shop: Client, provider: Provider, role: Any) -> None:
    given = {"provider": provider} if role == Actor.PROVIDER else {"client": shop}
    page = browser(shop, person(role, **given))
    assert "/program/rules/edit/" not in page.get("/program/").content.decode()
    assert page.get("/program/rules/edit/euro/").status_code == 403
    assert page.post("/program/rules/edit/euro/", {"name": "Mine"}).status_code == 403
    assert page.post("/program/publish/").status_code == 403


def test_a_clerk_sees_what_is_in_force_and_not_the_draft(shop: Client, owner: ClientBrowser) -> None:
    send(owner, "/program/rules/edit/euro/", name="Two points per euro", points="2")
    clerk = browser(shop, person(Actor.CLERK, client=shop, factor=False))
    assert "Two points per euro" in text(owner.get("/program/"))
    assert "Two points per euro" not in text(clerk.get("/program/?show=draft"))


# ── the draft ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_owner_changes_a_rule_looks_at_what_changes_and_publishes(shop: Client, owner: ClientBrowser) -> None:
    answer = send(owner, "/program/rules/edit/euro/", points="2", weekdays=["6"], cap_member="50", cap_period="day")
    assert answer["Location"] == "/program/"
    assert program_in_force().version == 1
    page = text(owner.get("/program/publish/"))
    assert "Until now: 1 point for every whole €1.00 of each item of a purchase." in page
    assert (
        "From now on: 2 points for every €1.00 of each item of a purchase, rounded down, on Saturday, "
        "at most 50 points per member and day." in page
    )
    assert send(owner, "/program/publish/")["Location"] == "/program/"
    rule = program_in_force().spec.rules[0]
    assert (program_in_force().version, rule.effect.points, draft()) == (2, 2, None)
    assert "Version 2 is in force." in text(owner.get("/program/"))
    actions = AuditEvent.objects.filter(client=shop).values_list("action", flat=True)
    assert {"program.draft_changed", "program.published"} <= set(actions)


def test_a_new_rule_gets_a_code_and_its_place(owner: ClientBrowser) -> None:
    send(owner, "/program/rules/add/", name="Welcome!", trigger="sign_up", kind="fixed", points="10")
    made = draft()
    assert made is not None
    assert made.document["rules"][-1] == {
        "code": "welcome-2",
        "name": "Welcome!",
        "unit": "points",
        "trigger": "sign_up",
        "effect": {"kind": "fixed", "points": 10},
    }


def test_money_is_typed_as_people_write_it(shop: Client, owner: ClientBrowser) -> None:
    send(owner, "/program/rules/edit/euro/", per_money="2.50")
    made = draft()
    assert made is not None
    assert made.document["rules"][0]["effect"]["per"] == 250
    german = person(Actor.OWNER, client=shop)
    german.language = "de"
    german.save()
    page = browser(shop, german)
    assert controls(page.get("/program/rules/edit/euro/").content.decode())["per_money"] == ["2,50"]
    send(page, "/program/rules/edit/euro/", per_money="3,75")
    made = draft()
    assert made is not None
    assert made.document["rules"][0]["effect"]["per"] == 375


def test_what_is_wrong_is_said_at_the_field_and_nothing_typed_is_lost(owner: ClientBrowser) -> None:
    answer = send(
        owner, "/program/rules/edit/euro/", name="Better", per_money="a lot", cap_purchase="0", starts="09:00"
    )
    body = answer.content.decode()
    assert answer.status_code == 422
    for name, words in {
        "per_money": "Enter a number.",
        "cap_purchase": "Enter at least 1.",
        "ends": "both hours",
    }.items():
        assert re.search(f'id="id_{name}_errors">.*?{words}', body, re.DOTALL), name
    kept = controls(body)
    assert (kept["name"], kept["per_money"], kept["starts"]) == (["Better"], ["a lot"], ["09:00"])
    assert draft() is None


def test_what_the_engine_refuses_is_said_at_the_field_too(owner: ClientBrowser) -> None:
    answer = send(owner, "/program/rules/edit/euro/", trigger="birthday")
    assert answer.status_code == 422
    assert re.search('id="id_kind_errors">.*?There is no amount to count by', answer.content.decode(), re.DOTALL)
    answer = send(owner, "/program/rules/edit/euro/", valid_from="2026-05-02", valid_until="2026-05-01")
    assert re.search('id="id_valid_until_errors">.*?before the first', answer.content.decode(), re.DOTALL)


def test_a_condition_is_added_filled_in_and_said(owner: ClientBrowser) -> None:
    url = "/program/rules/edit/euro/"
    added = owner.post(url, form_at(owner, url, do="add:c"))
    assert (added.status_code, draft()) == (200, None)
    sent = controls(added.content.decode())
    assert sent["c-n"] == ["1"]
    chosen = owner.post(url, {**sent, "c-0-field": "tier", "do": "refresh"})
    assert "Silver" in chosen.content.decode()
    sent = {**controls(chosen.content.decode()), "c-0-ticked": ["silver"]}
    assert "only for Silver members" in owner.post("/program/rules/said/", sent).content.decode()
    assert owner.post(url, sent).status_code == 302
    made = draft()
    assert made is not None
    assert made.document["rules"][0]["conditions"] == [{"field": "tier", "op": "eq", "value": "silver"}]


def test_without_script_a_tier_can_be_typed_by_its_name(owner: ClientBrowser) -> None:
    url = "/program/rules/edit/coffee/"
    sent = {"c-0-field": "tier", "c-0-op": "eq", "c-0-value": "silver "}
    assert owner.post(url, form_at(owner, url, **sent)).status_code == 302
    made = draft()
    assert made is not None
    assert made.document["rules"][1]["conditions"] == [{"field": "tier", "op": "eq", "value": "silver"}]


def test_a_condition_is_removed_and_others_keep_what_was_typed(owner: ClientBrowser) -> None:
    url = "/program/rules/edit/coffee/"
    sent = form_at(owner, url, do="add:c", **{"c-0-value": "tea, cocoa", "c-0-op": "in"})
    sent = {
        **controls(owner.post(url, sent).content.decode()),
        "c-1-field": "sku",
        "c-1-value": "x",
        "do": "remove:c:0",
    }
    left = controls(owner.post(url, sent).content.decode())
    assert (left["c-n"], left["c-0-field"], left["c-0-value"]) == (["1"], ["sku"], ["x"])


def test_a_row_in_error_says_so_in_its_place(owner: ClientBrowser) -> None:
    url = "/program/rules/edit/coffee/"
    answer = send(owner, url, **{"c-0-field": "amount", "c-0-op": "gt", "c-0-value": "much"})
    assert answer.status_code == 422
    assert re.search('id="id_c-0-value_errors">.*?Enter a number.', answer.content.decode(), re.DOTALL)


def test_an_example_stands_beside_the_rule(owner: ClientBrowser) -> None:
    said = text(owner.post("/program/rules/said/", form_at(owner, "/program/rules/edit/euro/")))
    assert "A purchase of €23.50 earns 23 points." in said
    missing = text(owner.post("/program/rules/said/", form_at(owner, "/program/rules/edit/euro/", points="")))
    assert "Still missing Gives: Enter a number." in missing


def test_a_rule_is_deleted_from_the_draft_and_back_when_it_is_discarded(owner: ClientBrowser) -> None:
    owner.post("/program/rules/edit/welcome/remove/", {"seen": ""})
    assert "Fifty for joining" not in text(owner.get("/program/"))
    assert "Removed Fifty for joining" in text(owner.get("/program/publish/"))
    made = draft()
    assert made is not None
    assert made.edited_at is not None
    owner.post("/program/discard/", {"seen": made.edited_at.isoformat()})
    assert "Fifty for joining" in text(owner.get("/program/"))


def test_a_level_that_a_rule_is_for_is_not_dropped_unseen(owner: ClientBrowser) -> None:
    url = "/program/rules/edit/euro/"
    sent = form_at(owner, url, **{"c-n": "1", "c-0-field": "tier", "c-0-op": "eq", "c-0-ticked": "silver"})
    owner.post(url, sent)
    answer = send(owner, "/program/tiers/", **{"l-n": "0"})
    assert answer.status_code == 422
    assert "“A point per euro”: The level “Silver” does not exist any more" in text(answer)


# ── two people at once ──────────────────────────────────────────────────────────────────────────────────────────────


def test_whoever_comes_second_is_told_and_loses_nothing(shop: Client, owner: ClientBrowser) -> None:
    url = "/program/rules/edit/euro/"
    first, second = form_at(owner, url, points="3"), form_at(owner, url, points="4", name="Mine")
    assert owner.post(url, first).status_code == 302
    answer = owner.post(url, second)
    assert answer.status_code == 409
    assert "Sam Doe changed the draft" in text(answer)
    kept = controls(answer.content.decode())
    assert (kept["points"], kept["name"]) == (["4"], ["Mine"])
    # Sent again, knowing it: the second one counts, and what the first changed elsewhere stays.
    assert owner.post(url, kept).status_code == 302
    made = draft()
    assert made is not None
    assert made.document["rules"][0]["effect"]["points"] == 4


def test_a_draft_that_was_not_looked_at_is_not_published(shop: Client, owner: ClientBrowser) -> None:
    send(owner, "/program/rules/edit/euro/", points="3")
    looked_at = form_at(owner, "/program/publish/")
    send(owner, "/program/rules/edit/euro/", points="30")
    answer = owner.post("/program/publish/", looked_at)
    assert (answer.status_code, program_in_force().version) == (422, 1)
    assert "Nothing was published." in text(answer)


def test_a_draft_is_not_published_over_a_version_nobody_looked_at(shop: Client, owner: ClientBrowser) -> None:
    send(owner, "/program/rules/edit/euro/", points="3")
    looked_at = form_at(owner, "/program/publish/")
    open_shop({**PROGRAM, "name": "From the shop's system"})
    assert owner.post("/program/publish/", looked_at).status_code == 422
    page = text(owner.get("/program/publish/"))
    assert "Version 2 was published after this draft was begun." in page
    assert "Until now: From the shop's system From now on: Corner club" in page
    assert owner.post("/program/publish/", form_at(owner, "/program/publish/")).status_code == 302
    assert program_in_force().version == 3


# ── other parts ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_earns_is_switched_in_the_basics_and_off_again(owner: ClientBrowser) -> None:
    assert send(owner, "/program/basics/", gift_cards="on", paid_by_points="on").status_code == 302
    assert _drafted()["earning"] == {"gift_cards": True, "paid_by_points": True}
    sent = form_at(owner, "/program/basics/")
    assert (sent["gift_cards"], sent["paid_by_points"]) == (["on"], ["on"])
    del sent["gift_cards"], sent["paid_by_points"]
    assert owner.post("/program/basics/", {**sent, "do": "save"}).status_code == 302
    assert "earning" not in _drafted()


def _drafted() -> dict[str, Any]:
    found = draft()
    assert found is not None
    return found.document


def test_levels_are_added_moved_and_removed(owner: ClientBrowser) -> None:
    url = "/program/tiers/"
    sent = controls(owner.post(url, form_at(owner, url, do="add:l")).content.decode())
    sent |= {"l-1-name": "Gold", "l-1-enter": "1,000", "l-1-benefits": "Free wrapping\nA seat"}
    moved = controls(owner.post(url, {**sent, "do": "up:l:1"}).content.decode())
    assert (moved["l-0-name"], moved["l-1-name"]) == (["Gold"], ["Silver"])
    refused = owner.post(url, moved)
    assert re.search('id="id_l-1-enter_errors">.*?more than for Gold', refused.content.decode(), re.DOTALL)
    assert owner.post(url, sent).status_code == 302
    assert "From €1,000.00: Free wrapping; A seat." in text(owner.get("/program/"))


def test_the_kind_of_a_unit_in_use_is_fixed_whatever_is_sent(owner: ClientBrowser) -> None:
    answer = send(owner, "/program/basics/", **{"u-0-name": "Stars", "u-0-kind": "stamps", "u-0-decimals": "2"})
    assert answer.status_code == 302
    made = draft()
    assert made is not None
    assert [made.document["units"][0][name] for name in ("code", "name", "kind", "decimals")] == [
        "points",
        "Stars",
        "points",
        0,
    ]


def test_an_offer_is_made_and_taken_out(owner: ClientBrowser) -> None:
    sent = form_at(
        owner, "/program/offers/add/", name="Come in", text="It is warm here.", segments=["slipping", "lapsed"]
    )
    assert owner.post("/program/offers/add/", sent).status_code == 302
    assert "For the groups Slipping away and Lapsed: “It is warm here.”" in text(owner.get("/program/"))
    made = draft()
    assert made is not None
    assert made.edited_at is not None
    owner.post("/program/offers/edit/come-in/remove/", {"seen": made.edited_at.isoformat()})
    assert "It is warm here." not in text(owner.get("/program/"))


def test_without_a_program_the_owner_begins_with_one_of_ours(acme: Client) -> None:
    page = browser(acme, person(Actor.OWNER, client=acme))
    assert "Nothing is promised yet" in text(page.get("/program/"))
    page.post("/program/begin/", {"template": "cafe"})
    assert "Draft, not live yet. Nothing is in force." in text(page.get("/program/"))
    assert page.post("/program/publish/", form_at(page, "/program/publish/")).status_code == 302
    assert program_in_force().spec.name == "Coffee card"


# ── versions ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_versions_are_listed_with_whom_and_one_becomes_the_draft_again(shop: Client, owner: ClientBrowser) -> None:
    send(owner, "/program/rules/edit/euro/", points="7")
    send(owner, "/program/publish/")
    assert re.search(r"Version 2 · Corner club .+? · Sam Doe", text(owner.get("/program/versions/")))
    first = Program.objects.get(version=1)
    assert "1 point for every whole €1.00" in text(owner.get(f"/program/versions/{first.pk}/"))
    owner.post(f"/program/versions/{first.pk}/draft/", {"seen": ""})
    made = draft()
    assert made is not None
    assert made.document == first.document
    again = owner.post(f"/program/versions/{first.pk}/draft/", {"seen": ""})
    assert again["Location"] == f"/program/versions/{first.pk}/"


# ── trying out ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_purchase_is_tried_against_both_programs(owner: ClientBrowser) -> None:
    send(owner, "/program/rules/edit/euro/", points="2")
    asked = {
        "what": "sale",
        "amount": "12.50",
        "quantity": "2",
        "category": "coffee",
        "day": "2026-06-17",
        "time": "12:00",
    }
    page = text(owner.get("/program/try/", asked))
    assert (
        "In force 2 stamps · 12 points “A stamp per coffee” gave 2 stamps. “A point per euro” gave 12 points." in page
    )
    assert "Draft 2 stamps · 25 points “A stamp per coffee” gave 2 stamps. “A point per euro” gave 25 points." in page
    refused = owner.get("/program/try/", {**asked, "amount": "much"})
    assert (refused.status_code, "Amount: Enter a number." in text(refused)) == (422, True)


def test_try_it_knows_activities_and_who_asks(owner: ClientBrowser) -> None:
    asked = {
        "what": "activity",
        "activity": "trip",
        "figure": "days",
        "figure_value": "7",
        "day": "2026-06-17",
        "time": "12:00",
    }
    assert "In force 10,000 points “Trips by days” gave 10,000 points." in text(owner.get("/program/try/", asked))
    fragment = owner.get("/program/try/", asked, headers={"HX-Request": "true"}).content.decode()
    assert "<html" not in fragment
    assert "10,000 points" in fragment


def test_the_pages_have_no_inline_style_or_script(owner: ClientBrowser) -> None:
    send(owner, "/program/rules/edit/euro/", points="2")
    urls = ("program/", "program/publish/", "program/tiers/", "program/basics/", "program/try/", "program/versions/")
    for url in (*urls, "program/rules/edit/coffee/", "program/offers/add/", "rewards/", "rewards/add/"):
        body = owner.get(f"/{url}").content.decode()
        assert not re.search(r"\sstyle=|<style|<script(?![^>]*\ssrc=)|\son\w+=", body), url


def test_the_program_costs_the_same_for_any_number_of_rules(owner: ClientBrowser) -> None:
    counts = []
    for number in (1, 40):
        rules = [{**PROGRAM["rules"][0], "code": f"r{n}", "name": f"Rule {n}"} for n in range(number)]
        open_shop({**PROGRAM, "rules": rules})
        with CaptureQueriesContext(connections["default"]) as asked:
            assert f"Rule {number - 1}" in text(owner.get("/program/"))
        counts.append(len(asked))
    assert counts[0] == counts[1]


@pytest.mark.parametrize(
    "typed",
    [
        {"c-n": "99999999999"},
        {"c-n": "-1"},
        {"c-n": "1", "c-0-field": "amount", "c-0-op": "gt", "c-0-value": "9" * 500},
        {"c-n": "1", "c-0-field": "figure", "c-0-name": "a b", "c-0-op": "eq", "c-0-value": "x"},
        {"c-n": "1", "c-0-field": "weekday", "c-0-op": "eq", "c-0-ticked": "eight"},
        {"points": "1e999999"},
        {"points": "NaN"},
        {"per_money": "-5"},
        {"factor": "Infinity", "kind": "multiplier"},
        {"priority": "9" * 40},
        {"name": "x\x00y"},
        {"kind": "table", "s-n": "1", "s-0-bound": "1", "s-0-points": ""},
        {"unit": "none"},
        {"seen": "yesterday"},
    ],
)  # fmt: skip
def test_hostile_input_is_refused_and_breaks_nothing(owner: ClientBrowser, typed: Sent) -> None:
    answer = send(owner, "/program/rules/edit/euro/", **typed)
    assert answer.status_code in (302, 409, 422)
    assert owner.post("/program/rules/said/", form_at(owner, "/program/rules/edit/euro/", **typed)).status_code == 200
    assert draft() is None


@pytest.mark.parametrize(
    "do", ["add:x", "remove:c:99", "remove:c:-1", "up:c:0", "down:c:x", "::::", "remove:c:" + "9" * 300]
)
def test_a_button_that_does_not_exist_does_nothing(owner: ClientBrowser, do: str) -> None:
    assert send(owner, "/program/rules/edit/coffee/", do=do).status_code in (200, 302)
    assert draft() is None


# ── there and back ──────────────────────────────────────────────────────────────────────────────────────────────────

TEMPLATES = sorted((settings.BASE_DIR / "data" / "templates").glob("*.program.json"))


@pytest.mark.parametrize("template", [path.stem.removesuffix(".program") for path in TEMPLATES])
def test_a_form_sent_as_it_came_changes_nothing(acme: Client, template: str) -> None:
    document = json.loads((settings.BASE_DIR / "data" / "templates" / f"{template}.program.json").read_text())
    open_shop(document)
    page = browser(acme, person(Actor.OWNER, client=acme))
    urls = ["/program/tiers/", "/program/basics/"]
    urls += [f"/program/rules/edit/{rule['code']}/" for rule in document["rules"]]
    urls += [f"/program/offers/edit/{offer['code']}/" for offer in document["offers"]]
    urls += [f"/rewards/edit/{reward['code']}/" for reward in document["rewards"]]
    for url in urls:
        answer = send(page, url)
        assert (answer.status_code, draft()) == (302, None), url
    assert len(urls) > 15


def test_control_a_form_sent_with_one_change_changes_something(owner: ClientBrowser) -> None:
    send(owner, "/program/tiers/", **{"l-0-enter": "501"})
    assert draft() is not None


WORDS = st.text("abcdefghijklmnopqrstuvwxyzäé ,;\"'0123456789.-", min_size=1, max_size=12).map(str.strip).filter(bool)
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,9}", fullmatch=True)
FIGURES = st.one_of(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6).map(lambda n: f"{n / 1000:.3f}"))
ORDER = ["gt", "gte", "lt", "lte"]


def condition(field: Any, values: Any, *, ordered: bool) -> Any:
    one = st.sampled_from(["eq", "ne", *(ORDER if ordered else [])])
    single = st.builds(lambda f, op, value: {"field": f, "op": op, "value": value}, field, one, values)
    many = st.builds(
        lambda f, op, found: {"field": f, "op": op, "value": found},
        field,
        st.sampled_from(["in", "not_in"]),
        st.lists(values, min_size=1, max_size=4),
    )
    return st.one_of(single, many)


CONDITIONS = st.lists(
    st.one_of(
        condition(st.just("amount"), st.integers(-(10**7), 10**7), ordered=True),
        condition(st.sampled_from(["category", "sku", "channel"]), WORDS, ordered=False),
        condition(st.just("hour"), st.integers(0, 23), ordered=True),
        condition(st.just("weekday"), st.integers(1, 7), ordered=True),
        condition(st.just("tier"), st.sampled_from(["silver", "gold"]), ordered=False),
        condition(st.just("segment"), st.sampled_from(["new", "lapsed", "none"]), ordered=False),
        condition(NAMES.map("properties.{}".format), FIGURES, ordered=True),
        condition(NAMES.map("properties.{}".format), WORDS, ordered=False),
        st.builds(
            lambda op, value: {"field": "first_purchase", "op": op, "value": value},
            st.sampled_from(["eq", "ne"]),
            st.booleans(),
        ),
        st.builds(
            lambda low, more: {"field": "quantity", "op": "between", "value": [low, low + more]},
            st.integers(0, 99),
            st.integers(0, 99),
        ),
    ),
    max_size=3,
)
EFFECTS = st.one_of(
    st.builds(
        lambda p, per: {"kind": "per_amount", "points": p, "per": per}, st.integers(1, 10**6), st.integers(1, 10**6)
    ),
    st.builds(
        lambda p, per, name: {"kind": "per_quantity", "points": p, "per": per, **({"property": name} if name else {})},
        st.integers(1, 999),
        st.integers(1, 99),
        st.none() | NAMES,
    ),
    st.builds(lambda p: {"kind": "fixed", "points": p}, st.integers(1, 10**9)),
    st.builds(
        lambda bounds, p: {
            "kind": "table",
            "property": "days",
            "steps": [[bound, p + n] for n, bound in enumerate(sorted(bounds))],
        },
        st.sets(st.integers(0, 10**6), min_size=1, max_size=5),
        st.integers(0, 999),
    ),
    st.builds(lambda n: {"kind": "multiplier", "factor": f"{n / 1000:.3f}", "of": ["base"]}, st.integers(1001, 9999)),
)
CAPS = st.fixed_dictionaries(
    {},
    optional={
        "per_purchase": st.integers(1, 10**6),
        "budget": st.integers(1, 10**6),
        "per_member": st.builds(
            lambda period, points: {"period": period, "points": points},
            st.sampled_from(["day", "week", "month", "year", "ever"]),
            st.integers(1, 10**6),
        ),
    },
)
HOURS = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59))
SCHEDULES = st.builds(
    lambda days, hours: {
        "weekdays": sorted(days),
        **({"from": hours[0], "to": hours[1]} if hours[0] != hours[1] else {}),
    },
    st.sets(st.integers(1, 7), min_size=1),
    st.tuples(HOURS, HOURS),
)
DAYS = st.dates(date(2020, 1, 1), date(2030, 1, 1)).map(date.isoformat)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """A program with one rule of any shape, and one for it to multiply."""
    effect = draw(EFFECTS)
    rate = effect["kind"] in ("per_amount", "per_quantity")
    rounding = draw(st.sampled_from(["down", "nearest", "up"])) if rate else "down"
    first, last = sorted([draw(DAYS), draw(DAYS)])
    rule = {
        "code": "one",
        "name": draw(WORDS),
        "unit": "points",
        "trigger": "purchase",
        "conditions": draw(CONDITIONS),
        "effect": effect,
        "rounding": rounding,
        "remainder": draw(st.sampled_from(["drop", "carry"])) if rate and rounding == "down" else "drop",
        "caps": draw(CAPS),
        "priority": draw(st.integers(-9, 9)),
        "group": draw(st.none() | WORDS),
        "valid_from": draw(st.none() | st.just(first)),
        "valid_until": draw(st.none() | st.just(last)),
        "schedule": draw(st.none() | SCHEDULES),
    }
    base = {
        "code": "base",
        "name": "Base",
        "unit": "points",
        "trigger": "purchase",
        "effect": {"kind": "fixed", "points": 1},
    }
    levels = [{"code": code, "name": code.title(), "enter": n} for n, code in enumerate(("silver", "gold"), start=1)]
    unit = {"code": "points", "name": "Points", "kind": "points", "decimals": draw(st.sampled_from([0, 2]))}
    return {"name": "Club", "units": [unit], "rules": [rule, base], "tiers": {"basis": "spend", "levels": levels}}


class Paper(Bench):
    """A workbench that needs no shop."""

    places: Any = {"main": "Main"}
    used_units: Any = frozenset()


def sent_back(document: dict[str, Any], currency: str) -> dict[str, Any]:
    """The document after the form of its first rule was shown and sent as it came."""
    base = Program(document=document, status="published", version=1)
    bench = Paper(draft=None, in_force=base, currency=currency)
    assert bench.spec is not None
    form = RuleForm(None, bench=bench, rule=bench.spec.rules[0])
    html = render_to_string("portal/program_rule_fields.html", {"form": form, "bench": bench})
    back = RuleForm(MultiValueDict(controls(html)), bench=bench, rule=bench.spec.rules[0])
    assert back.is_valid(), (form_errors(back), document["rules"][0])
    return settled(document, with_part(bench.document, "rules", back.document())[0])


def form_errors(form: RuleForm) -> list[Any]:
    return [form.errors, *(row.errors for row in form.conditions.filled), *(row.errors for row in form.steps.filled)]


@hypothesis_settings(max_examples=120, deadline=None)
@given(documents(), st.sampled_from(["EUR", "JPY"]), st.sampled_from(["en", "de"]))
def test_any_rule_comes_back_from_its_form_as_it_was(document: dict[str, Any], currency: str, language: str) -> None:
    parse_program(document)
    with override(language):
        assert sent_back(document, currency) == document


def test_control_a_rule_that_comes_back_otherwise_is_noticed() -> None:
    document = json.loads(json.dumps(PROGRAM))
    other = json.loads(json.dumps(PROGRAM))
    other["rules"][0]["effect"]["per"] = 101
    assert settled(document, other) != document
    # Written otherwise, but meaning the same, is kept as it was.
    other["rules"][0]["effect"]["per"] = 100
    other["rules"][0] |= {"rounding": "down", "conditions": [], "caps": {}}
    assert settled(document, other) == document
