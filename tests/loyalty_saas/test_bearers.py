"""Tills and cards are known by a cookie: what it opens, how long, and what it never opens."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.utils import timezone

from loyalty_saas import bearers, translations
from loyalty_saas.access_table import routes
from members.models import CardSession, Identity, Member
from members.services.cards import make_link
from programs.models import Clerk, Device, Location, TillSession
from programs.services import tills
from tenants.access import Actor
from tenants.context import use_client
from tenants.keys import uuid7
from tenants.models import Client
from tests.http import ClientBrowser
from tests.people import browser

PIN = "493021"
CLIENT_URLS = settings.ROOT_URLCONF
JSON = {"accept": "application/json"}
SECRET = "Zelda Canary"


@pytest.fixture
def counter(acme: Client) -> ClientBrowser:
    """A till of Acme at which Mia works."""
    at, place = timezone.now(), Location.objects.create(code="pier", name="Pier 4")
    mia = tills.add_clerk(name="Mia", role="clerk", location=place, pin=PIN, at=at)
    code = tills.make_device_code(name="Till 2", location=place, by=None, at=at)[1]
    till = ClientBrowser(acme)
    till.post("/till/enrol/", {"code": code})
    assert till.post("/till/unlock/", {"clerk": mia.pk, "pin": PIN})["Location"] == "/till/"
    return till


@pytest.fixture
def phone(acme: Client) -> ClientBrowser:
    """A phone with the card of a member of Acme."""
    member = Member.objects.create(number="Z1")
    Identity.objects.create(member=member, name=SECRET)
    token = make_link(member_id=UUID(str(member.pk)), way="till", at=timezone.now())
    one = ClientBrowser(acme)
    assert one.post(f"/card/open/{token}/")["Location"] == "/card/"
    return one


def carrying(at: Client | None, *others: ClientBrowser) -> ClientBrowser:
    """A browser on the host of `at` with the cookies of the others."""
    one = browser(at)
    for other in others:
        for name in (bearers.DEVICE_COOKIE, bearers.CARD_COOKIE):
            if name in other.cookies:
                one.cookies[name] = other.cookies[name].value
    return one


def of_bearers(urlconf: str, *, theirs: bool) -> list[str]:
    """The addresses that are for tills and cards alone, or those that are for people alone."""
    found = []
    for route in routes(urlconf):
        path = route.pattern
        for name, kind in (("token", "str"), ("kind", "slug"), ("size", "int")):
            path = path.replace(f"<{kind}:{name}>", "1")
        path = path if "<uuid:" not in path else "".join(
            str(uuid7()) + part.partition(">")[2] if place else part for place, part in enumerate(path.split("<uuid:"))
        )  # fmt: skip
        actors = route.access.actors
        is_theirs = bool(actors) and actors <= bearers.BEARERS
        is_peoples = bool(actors) and not actors & (bearers.BEARERS | {Actor.ANYONE, Actor.MACHINE})
        if (is_theirs if theirs else is_peoples) and not set("<[^\\(?$") & set(path) and not path.startswith("/api/"):
            found.append(path)
    return found


# ── what a cookie opens ─────────────────────────────────────────────────────────────────────────────────────────────


def test_control_at_home_the_cookies_open_their_pages(counter: ClientBrowser, phone: ClientBrowser) -> None:
    assert counter.get("/till/").status_code == 200
    page = phone.get("/card/")
    assert (page.status_code, SECRET in page.content.decode()) == (200, True)


def test_r21_at_another_client_every_page_of_till_and_card_sends_them_away(
    bravo: Client, counter: ClientBrowser, phone: ClientBrowser
) -> None:
    stray, addresses = carrying(bravo, counter, phone), of_bearers(CLIENT_URLS, theirs=True)
    assert len(addresses) > 20
    for path in addresses:
        for answer in (stray.get(path), stray.post(path)):
            to = "/card/sign-in/" if path.startswith("/card/") else "/till/enrol/"
            assert (path, answer.status_code, answer.get("Location")) == (path, 302, to)
            assert SECRET not in answer.content.decode()
    with use_client(bravo):
        assert not Member.objects.exists()
        assert not TillSession.objects.exists()


def test_r21_the_platform_has_no_tills_and_cards(counter: ClientBrowser, phone: ClientBrowser) -> None:
    stray = carrying(None, counter, phone)
    assert {stray.get(path).status_code for path in ("/till/", "/till/lock/", "/card/", "/card/me/")} == {404}
    assert stray.get("/")["Location"].startswith("/accounts/login/")


def test_no_cookie_of_a_till_or_card_opens_a_page_for_people(
    acme: Client, counter: ClientBrowser, phone: ClientBrowser
) -> None:
    both, addresses = carrying(acme, counter, phone), of_bearers(CLIENT_URLS, theirs=False)
    assert {"/", "/members/", "/settings/data/members/"} <= set(addresses)
    for path in addresses:
        for answer in (both.get(path), both.post(path)):
            assert (path, answer.status_code) == (path, 302)
            assert answer["Location"].startswith("/accounts/login/"), path
            assert SECRET not in answer.content.decode()


def test_a_tills_cookie_is_no_card_and_a_cards_no_till(
    acme: Client, counter: ClientBrowser, phone: ClientBrowser
) -> None:
    swapped = browser(acme)
    swapped.cookies[bearers.DEVICE_COOKIE] = phone.cookies[bearers.CARD_COOKIE].value
    swapped.cookies[bearers.CARD_COOKIE] = counter.cookies[bearers.DEVICE_COOKIE].value
    assert swapped.get("/till/")["Location"] == "/till/enrol/"
    assert swapped.get("/card/")["Location"] == "/card/sign-in/"


def test_what_is_kept_of_a_cookie_opens_nothing(acme: Client, counter: ClientBrowser, phone: ClientBrowser) -> None:
    thief = browser(acme)
    thief.cookies[bearers.DEVICE_COOKIE] = Device.objects.get().token_hash
    thief.cookies[bearers.CARD_COOKIE] = CardSession.objects.get().token_hash
    assert thief.get("/till/")["Location"] == "/till/enrol/"
    assert thief.get("/card/")["Location"] == "/card/sign-in/"


@pytest.mark.parametrize("token", ["", " ", "x" * 5000, "%00", "'; --", "é"])
def test_a_made_up_cookie_is_nobody(acme: Client, token: str) -> None:
    stranger = browser(acme)
    stranger.cookies[bearers.DEVICE_COOKIE] = stranger.cookies[bearers.CARD_COOKIE] = token
    assert stranger.get("/till/")["Location"] == "/till/enrol/"
    assert stranger.get("/card/")["Location"] == "/card/sign-in/"


# ── how it ends ─────────────────────────────────────────────────────────────────────────────────────────────────────


def revoke() -> None:
    tills.revoke_device(device=Device.objects.get(), at=timezone.now())


def lock() -> None:
    TillSession.objects.update(seen_at=timezone.now() - bearers.TILL_IDLE - timedelta(seconds=1))


def leave() -> None:
    Clerk.objects.update(left_at=timezone.now())


def end_card() -> None:
    CardSession.objects.update(ended_at=timezone.now())


def idle_card() -> None:
    CardSession.objects.update(seen_at=timezone.now() - timedelta(days=180, seconds=5))


ENDS: list[tuple[Callable[[], Any], str, str]] = [
    (revoke, "/till/", "/till/enrol/"),
    (lock, "/till/", "/till/lock/"),
    (leave, "/till/", "/till/lock/"),
    (end_card, "/card/", "/card/sign-in/"),
    (idle_card, "/card/", "/card/sign-in/"),
]


@pytest.mark.parametrize(("end", "path", "to"), ENDS)
def test_what_ended_is_sent_to_begin_again_each_in_its_own_way(
    acme: Client, counter: ClientBrowser, phone: ClientBrowser, end: Callable[[], Any], path: str, to: str
) -> None:
    both = carrying(acme, counter, phone)
    assert both.get(path).status_code == 200
    end()

    page = both.get(path)
    assert (page.status_code, page["Location"]) == (302, to)

    part = both.get(path, headers={"hx-request": "true"})
    assert (part.status_code, part["HX-Redirect"], part.content) == (200, to, b"")

    for told in (both.get(path, headers=JSON), both.post(path, headers=JSON)):
        assert (told.status_code, told["Content-Type"]) == (401, "application/problem+json")
        problem = told.json()
        assert (problem["status"], problem["location"]) == (401, to)
        assert problem["type"].endswith("/not_authenticated")
        assert problem["title"]
        assert SECRET not in told.content.decode()


def test_a_problem_speaks_the_browsers_language(acme: Client) -> None:
    told = ClientBrowser(acme, HTTP_ACCEPT_LANGUAGE="de").get("/till/", headers=JSON).json()
    assert told["title"] == translations.catalogue("de").get("Sign in again.").string != "Sign in again."


def test_a_card_lives_half_a_year_from_its_last_use(phone: ClientBrowser) -> None:
    for _time in range(2):
        before = timezone.now() - timedelta(days=179)
        CardSession.objects.update(seen_at=before)
        assert phone.get("/card/").status_code == 200
        assert CardSession.objects.get().seen_at > before + timedelta(days=178)
    idle_card()
    assert phone.get("/card/")["Location"] == "/card/sign-in/"
    assert phone.get("/card/")["Location"] == "/card/sign-in/", "a refused try must not wake it"


def test_the_last_use_is_noted_seldom(counter: ClientBrowser, phone: ClientBrowser) -> None:
    hour = timezone.now() - timedelta(hours=1)
    few = timezone.now() - timedelta(seconds=5)
    CardSession.objects.update(seen_at=hour)
    Device.objects.update(seen_at=few)
    TillSession.objects.update(seen_at=few)
    phone.get("/card/")
    counter.get("/till/")
    assert CardSession.objects.get().seen_at == hour
    assert (Device.objects.get().seen_at, TillSession.objects.get().seen_at) == (few, few)


def test_a_refused_till_is_not_kept_awake(counter: ClientBrowser) -> None:
    lock()
    before = TillSession.objects.get().seen_at
    counter.get("/till/")
    assert TillSession.objects.get().seen_at == before
