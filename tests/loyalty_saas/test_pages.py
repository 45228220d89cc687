"""
Every page in every size: sound, usable by all, light, and cheap to answer.

With SCREENSHOTS=folder each is kept as a picture there: `make screenshots`.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connections
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext

from loyalty_saas.access_table import routes
from loyalty_saas.bearers import CARD_COOKIE, DEVICE_COOKIE
from tests.browsers import NARROW, TABLET, WIDE, Watched, chromium, watch
from tests.http import ClientBrowser
from tests.loyalty_saas import houses
from tests.people import browser

__all__ = ["chromium", "watch"]

KILOBYTES = 60
QUERIES = 30
SIZES = {"wide": WIDE, "tablet": TABLET, "narrow": NARROW}
BOTH, TILL, CARD = ("wide", "narrow"), ("wide", "tablet", "narrow"), ("narrow", "wide")


@dataclass(frozen=True)
class PageToSee:
    """One page: its address with ``{ids}`` of the world, who looks at it, and in which sizes."""

    name: str
    path: str
    who: str
    sizes: tuple[str, ...] = BOTH


PAGES = [
    PageToSee("console:overview", "/", "technician"),
    PageToSee("console:clients", "/clients/", "technician"),
    PageToSee("console:client", "/clients/{client_id}/", "technician"),
    PageToSee("console:add_client", "/clients/add/", "technician"),
    PageToSee("console:draft", "/clients/add/{draft_id}/2/", "technician"),
    PageToSee("console:onboarding", "/clients/onboarding/{onboarding_id}/", "technician"),
    PageToSee("console:team", "/team/", "technician"),
    PageToSee("console:activity", "/activity/", "technician"),
    PageToSee("console:settings", "/settings/", "technician"),
    PageToSee("console:search", "/search/?q=harbor", "technician"),
    PageToSee("account_change_password", "/accounts/password/change/", "technician"),
    PageToSee("mfa_index", "/accounts/2fa/", "technician"),
    PageToSee("portal:overview", "/", "owner"),
    PageToSee("portal:search", "/search/?q={document}", "owner"),
    PageToSee("portal:members", "/members/", "owner"),
    PageToSee("portal:new_member", "/members/new/", "owner"),
    PageToSee("portal:export_members", "/members/export/", "owner"),
    PageToSee("portal:member", "/members/{member_id}/", "owner"),
    PageToSee("portal:adjust", "/members/{member_id}/adjust/", "owner"),
    PageToSee("portal:tier_grant", "/members/{member_id}/tier/", "owner"),
    PageToSee("portal:merge", "/members/{member_id}/merge/", "owner"),
    PageToSee("portal:close", "/members/{member_id}/close/", "owner"),
    PageToSee("portal:transfer", "/members/{member_id}/transfer/?to={other_id}", "owner"),
    PageToSee("portal:household", "/members/{member_id}/household/", "owner"),
    PageToSee("portal:approvals", "/approvals/", "owner"),
    PageToSee("portal:receipt_move", "/receipts/{purchase_id}/move/?to={other_id}", "owner"),
    PageToSee("portal:identity", "/members/{member_id}/identity/", "owner"),
    PageToSee("portal:card_link", "/members/{member_id}/card/", "owner"),
    PageToSee("portal:receipt", "/receipts/{purchase_id}/", "owner"),
    PageToSee("portal:parked", "/returns/", "owner"),
    PageToSee("portal:set_aside", "/set-aside/", "owner"),
    PageToSee("portal:liability", "/liability/", "owner"),
    PageToSee("portal:imports", "/imports/", "owner"),
    PageToSee("portal:import_job", "/imports/{job_id}/", "owner"),
    PageToSee("portal:program", "/program/", "owner"),
    PageToSee("portal:program_publish", "/program/publish/", "owner"),
    PageToSee("portal:program_try", "/program/try/", "owner"),
    PageToSee("portal:replays", "/program/replays/", "owner"),
    PageToSee("portal:replay", "/program/replays/{replay_id}/", "owner"),
    PageToSee("portal:program_versions", "/program/versions/", "owner"),
    PageToSee("portal:program_version", "/program/versions/{program_id}/", "owner"),
    PageToSee("portal:program_basics", "/program/basics/", "owner"),
    PageToSee("portal:program_tiers", "/program/tiers/", "owner"),
    PageToSee("portal:program_add_rule", "/program/rules/add/", "owner"),
    PageToSee("portal:program_rule", "/program/rules/edit/{rule_code}/", "owner"),
    PageToSee("portal:program_add_offer", "/program/offers/add/", "owner"),
    PageToSee("portal:program_offer", "/program/offers/edit/{offer_code}/", "owner"),
    PageToSee("portal:rewards", "/rewards/", "owner"),
    PageToSee("portal:rewards_add", "/rewards/add/", "owner"),
    PageToSee("portal:rewards_edit", "/rewards/edit/{reward_code}/", "owner"),
    PageToSee("portal:settings", "/settings/", "owner"),
    PageToSee("portal:look", "/settings/look/", "owner"),
    PageToSee("portal:locations", "/settings/locations/", "owner"),
    PageToSee("portal:location", "/settings/locations/{location_id}/", "owner"),
    PageToSee("portal:products", "/settings/products/", "owner"),
    PageToSee("portal:new_product", "/settings/products/new/", "owner"),
    PageToSee("portal:product", "/settings/products/{product_id}/", "owner"),
    PageToSee("portal:data", "/settings/data/", "owner"),
    PageToSee("portal:staff", "/staff/", "owner"),
    PageToSee("portal:clerks", "/staff/clerks/", "owner"),
    PageToSee("portal:clerk", "/staff/clerks/{clerk_id}/", "owner"),
    PageToSee("portal:tills", "/staff/tills/", "owner"),
    PageToSee("portal:till", "/staff/tills/{device_id}/", "owner"),
    PageToSee("machines:overview", "/machines/", "owner"),
    PageToSee("machines:new_key", "/machines/keys/new/", "owner"),
    PageToSee("machines:rotate", "/machines/keys/{key_id}/rotate/", "owner"),
    PageToSee("machines:requests", "/machines/requests/", "owner"),
    PageToSee("machines:request", "/machines/requests/{request_id}/", "owner"),
    PageToSee("machines:reference", "/machines/reference/", "owner"),
    PageToSee("till:till", "/till/", "till", TILL),
    PageToSee("till:lock", "/till/lock/", "locked till", TILL),
    PageToSee("till:enrol", "/till/enrol/", "guest", TILL),
    PageToSee("card:card", "/card/", "member", CARD),
    PageToSee("card:history", "/card/history/", "member", CARD),
    PageToSee("card:movement", "/card/history/{entry_id}/", "member", CARD),
    PageToSee("card:rewards", "/card/rewards/", "member", CARD),
    PageToSee("card:me", "/card/me/", "member", CARD),
    PageToSee("card:leave", "/card/me/leave/", "member", CARD),
    PageToSee("card:sign_in", "/card/sign-in/", "guest", CARD),
    PageToSee("card:open", "/card/open/{token}/", "guest", CARD),
    PageToSee("card:offline", "/card/offline/", "guest", CARD),
    PageToSee("account_login", "/accounts/login/", "guest"),
    PageToSee("account_reset_password", "/accounts/password/reset/", "guest"),
    PageToSee("styleguide", "/styleguide/", "stranger", TILL),
]
WEIGHTS: dict[str, int] = {}
SHOTS = os.environ.get("SCREENSHOTS")


# Addresses that answer with no page of their own.
PIECES = {
    "livez": "for machines",
    "readyz": "for machines",
    "portal:import_errors": "a download",
    "portal:journal": "a download",
    "portal:import_template": "a download",
    "portal:export_all_members": "a download",
    "portal:export_purchases": "a download",
    "portal:export_points": "a download",
    "portal:till_code": "shown to whoever made the code: looked at in the journey of a till's enrolment",
    "portal:overview_heat": "a piece of the overview",
    "portal:program_rule_said": "a piece of the rule's form",
    "portal:program_tiers_said": "a piece of the tiers' form",
    "portal:rewards_said": "a piece of the reward's form",
    "console:address": "a piece of the wizard",
    "console:ledger": "a piece of the client's page",
    "machines:openapi_yaml": "a download",
    "machines:openapi_json": "a download",
    "brand:tokens": "a style sheet",
    "brand:logo": "a picture",
    "card:manifest": "for the browser",
    "card:sw": "for the browser",
    "card:icon": "a picture",
    "card:download": "a download",
    "till:service_worker": "for the browser",
    "till:articles": "a piece of the till",
    "till:credited": "a piece of the till",
    "till:find": "a piece of the till",
    "till:member": "a piece of the till",
    "till:preview": "a piece of the till",
    "till:returns": "a piece of the till",
}


@pytest.fixture(scope="module")
def world(spare_batch: int) -> houses.Houses:
    """The provider Beacon IT and its clients."""
    return houses.build(spare_batch=spare_batch)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_is_sound_in_every_size(page: PageToSee, world: houses.Houses, watch: Callable[..., Watched]) -> None:
    one = watch(world.host(page.who), SIZES[page.sizes[0]])
    world.come(one, page.who)
    one.go(page.path.format(**world.ids))
    for size in page.sizes:
        one.resize(SIZES[size])
        one.page.wait_for_load_state("networkidle")
        keep(one, f"{page.name}-{SIZES[size][0]}")
        one.is_sound()
    one.page.emulate_media(color_scheme="dark")
    keep(one, f"{page.name}-{SIZES[page.sizes[-1]][0]}-dark")
    one.is_sound()
    WEIGHTS[page.name] = one.weight
    assert one.weight < KILOBYTES * 1000, one.weights


def keep(one: Watched, name: str) -> None:
    """The picture, where somebody asked for it."""
    if SHOTS:
        folder = Path(SHOTS)
        folder.mkdir(parents=True, exist_ok=True)
        one.page.screenshot(path=folder / f"{name}.png", full_page=True)


def visitor(world: houses.Houses, who: str) -> ClientBrowser:
    """The same visitor without a window."""
    if who == "technician":
        return browser(None, world.technician)
    if who == "owner":
        return browser(world.club, world.owner, fresh=True)
    one = ClientBrowser(None if who == "stranger" else world.club)
    if who == "till":
        world.unlock()
    if who in {"till", "locked till"}:
        one.cookies[DEVICE_COOKIE] = world.device_token if who == "till" else world.locked_token
    if who == "member":
        one.cookies[CARD_COOKIE] = world.card_token
    return one


def queries_of(page: PageToSee, world: houses.Houses) -> int:
    """What the database is asked for the page, once the process is warm."""
    one, path = visitor(world, page.who), page.path.format(**world.ids)
    one.get(path)
    with (
        CaptureQueriesContext(connections["default"]) as client,
        CaptureQueriesContext(connections["public"]) as public,
    ):
        answer = one.get(path)
    return len(client) + len(public) if answer.status_code == 200 else -answer.status_code


def test_every_page_asks_the_database_few_questions(world: houses.Houses, capsys: pytest.CaptureFixture[str]) -> None:
    counts = {page.name: queries_of(page, world) for page in PAGES if page.name != "styleguide"}
    with capsys.disabled():
        print(f"\nQueries per page, at most {QUERIES}:", ", ".join(f"{name} {n}" for name, n in counts.items()))  # noqa: T201
    assert {name: n for name, n in counts.items() if not 0 <= n <= QUERIES} == {}


def test_what_the_pages_weigh_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    heaviest = sorted(WEIGHTS.items(), key=lambda item: -item[1])
    said = ", ".join(f"{name} {weight / 1000:.1f}" for name, weight in heaviest)
    with capsys.disabled():
        print(f"\nScripts and styles per page, compressed, in kB, below {KILOBYTES}:", said)  # noqa: T201
    assert all(weight < KILOBYTES * 1000 for weight in WEIGHTS.values())


def only_changes(view: Any) -> bool:
    """Whether the view, or one that it is wrapped around, refuses GET before it does anything."""
    while hasattr(view, "__wrapped__"):
        with suppress(AttributeError, TypeError):
            if view(RequestFactory().get("/")).status_code == 405:
                return True
        view = view.__wrapped__
    return False


@pytest.mark.parametrize("table", [settings.ROOT_URLCONF, settings.PLATFORM_URLCONF])
def test_no_page_is_left_unseen(table: str) -> None:
    seen = {page.name for page in PAGES} | set(PIECES)
    ours = [route for route in routes(table) if "/api/" not in route.pattern and ":" in route.name]
    unseen = [route.name for route in ours if route.name not in seen and not only_changes(route.view)]
    assert unseen == [], unseen
