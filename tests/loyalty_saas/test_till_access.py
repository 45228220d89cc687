"""How a device becomes a till, how clerks unlock it, and what opens it to nobody else. (R21, R30, R32)"""

import re
import secrets
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import cache
from django.utils import timezone

from loyalty_saas import bearers
from programs.models import Clerk, Device, Location, TillSession
from programs.services import tills
from tenants.context import use_client
from tenants.models import AuditEvent, Client
from tests.conftest import NewClient
from tests.http import ClientBrowser

PIN = "493021"
WRONG = "777771"


@pytest.fixture
def shop(acme: Client) -> Location:
    return Location.objects.create(code="pier", name="Pier 4")


@pytest.fixture
def mia(shop: Location) -> Clerk:
    return tills.add_clerk(name="Mia Klein", role="clerk", location=shop, pin=PIN, at=timezone.now())


@pytest.fixture
def till(acme: Client, shop: Location) -> ClientBrowser:
    """A browser on a device that was enrolled through its page."""
    return enrolled(acme, shop)


def new_code(location: Location, *, at: datetime | None = None) -> str:
    return tills.make_device_code(name="Till 2", location=location, by=None, at=at or timezone.now())[1]


def enrolled(client: Client, location: Location) -> ClientBrowser:
    browser = ClientBrowser(client)
    answer = browser.post("/till/enrol/", {"code": new_code(location)})
    assert (answer.status_code, answer["Location"]) == (302, "/till/lock/")
    return browser


def unlock(browser: ClientBrowser, clerk: Clerk, pin: str = PIN) -> Any:
    return browser.post("/till/unlock/", {"clerk": clerk.pk, "pin": pin})


def is_open(browser: ClientBrowser) -> bool:
    """Whether the till is unlocked: a page for clerks at work says so."""
    return bool(browser.post("/till/awake/").status_code == 204)


def token_of(browser: ClientBrowser) -> str:
    return browser.cookies[bearers.DEVICE_COOKIE].value


# ── enrolment ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_code_from_the_portal_makes_a_browser_a_till(acme: Client, shop: Location, mia: Clerk) -> None:
    code, browser = new_code(shop), ClientBrowser(acme)
    assert f'value="{code}"' in browser.get(f"/till/enrol/?code={code}").content.decode()
    browser.post("/till/enrol/", {"code": tills.spoken(code).lower()})
    page = browser.get("/till/lock/").content.decode()
    assert "Pier 4 · Till 2" in page
    assert "Mia Klein" in page
    assert AuditEvent.objects.filter(client=acme, action="till.enrolled").count() == 1


def test_opening_the_link_of_a_qr_code_uses_nothing_up(acme: Client, shop: Location) -> None:
    code = new_code(shop)
    ClientBrowser(acme).get(f"/till/enrol/?code={code}")
    assert not Device.objects.exists()
    assert ClientBrowser(acme).post("/till/enrol/", {"code": code}).status_code == 302


def test_an_enrolled_device_says_so_and_keeps_what_it_is(till: ClientBrowser, shop: Location) -> None:
    page = till.get("/till/enrol/")
    assert "This device is a till" in page.content.decode()
    till.post("/till/enrol/", {"code": new_code(shop)})
    assert Device.objects.count() == 1


@pytest.mark.parametrize(
    ("code", "words"),
    [("", "This field is required."), ("ABC", "A code has 8 letters"), ("ABCD-EFGH", "This code is not good")],
)
def test_a_code_that_is_not_good_is_refused_at_the_field(acme: Client, code: str, words: str) -> None:
    answer = ClientBrowser(acme).post("/till/enrol/", {"code": code})
    assert answer.status_code == 422
    assert words in answer.content.decode()
    assert f'value="{code}"' in answer.content.decode()


def test_an_old_code_is_refused(acme: Client, shop: Location) -> None:
    code = new_code(shop, at=timezone.now() - timedelta(minutes=16))
    assert ClientBrowser(acme).post("/till/enrol/", {"code": code}).status_code == 422


def test_r32_codes_are_tried_ten_times_from_one_address_whatever_headers_say(acme: Client, shop: Location) -> None:
    address = f"10.{secrets.randbelow(250)}.{secrets.randbelow(250)}.{secrets.randbelow(250)}"
    answers = [
        ClientBrowser(acme, REMOTE_ADDR=address, HTTP_X_FORWARDED_FOR=f"198.51.100.{n}").post(
            "/till/enrol/", {"code": "ABCDEFGH"}
        )
        for n in range(12)
    ]
    assert [answer.status_code for answer in answers] == [422] * 10 + [429] * 2
    assert "Too many wrong codes" in answers[-1].content.decode()
    right = {"code": new_code(shop)}
    assert ClientBrowser(acme, REMOTE_ADDR=address).post("/till/enrol/", right).status_code == 429
    assert ClientBrowser(acme, REMOTE_ADDR="203.0.113.9").post("/till/enrol/", right).status_code == 302


def test_r32_addresses_of_one_ipv6_network_count_together(acme: Client) -> None:
    network = f"2001:db8:{secrets.randbelow(9999)}:1"
    answers = [
        ClientBrowser(acme, REMOTE_ADDR=f"{network}::{n:x}").post("/till/enrol/", {"code": "ABCDEFGH"}).status_code
        for n in range(1, 12)
    ]
    assert answers == [422] * 10 + [429]


# ── the device's token ──────────────────────────────────────────────────────────────────────────────────────────────


def test_the_cookie_is_out_of_reach_of_scripts_and_of_other_hosts(till: ClientBrowser) -> None:
    cookie = till.cookies[bearers.DEVICE_COOKIE]
    assert (cookie["httponly"], cookie["samesite"], cookie["domain"], cookie["path"]) == (True, "Lax", "", "/")
    assert len(cookie.value) == 43


def test_r21_a_till_of_one_client_is_a_stranger_at_another(till: ClientBrowser, bravo: Client) -> None:
    with use_client(bravo):
        there = tills.add_clerk(name="Bo", role="clerk", location=None, pin=PIN, at=timezone.now())
    stray = ClientBrowser(bravo)
    stray.cookies[bearers.DEVICE_COOKIE] = token_of(till)
    for answer in (stray.get("/till/lock/"), unlock(stray, there), stray.get("/till/"), stray.post("/till/leave/")):
        assert (answer.status_code, answer["Location"]) == (302, "/till/enrol/")
    with use_client(bravo):
        assert not TillSession.objects.exists()


def test_r21_a_code_of_one_client_is_not_good_at_another(shop: Location, bravo: Client) -> None:
    assert ClientBrowser(bravo).post("/till/enrol/", {"code": new_code(shop)}).status_code == 422


def test_r30_a_device_put_out_of_use_is_out_at_once(till: ClientBrowser, mia: Clerk) -> None:
    unlock(till, mia)
    assert is_open(till)
    tills.revoke_device(device=Device.objects.get(), at=timezone.now())
    for answer in (till.get("/till/"), till.get("/till/lock/"), unlock(till, mia)):
        assert (answer.status_code, answer["Location"]) == (302, "/till/enrol/")
    assert till.post("/till/awake/", headers={"accept": "application/json"}).status_code == 401


# ── PINs ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_r30_a_pin_works_on_enrolled_devices_alone(acme: Client, mia: Clerk) -> None:
    home = ClientBrowser(acme)
    assert unlock(home, mia)["Location"] == "/till/enrol/"
    home.cookies[bearers.DEVICE_COOKIE] = secrets.token_urlsafe(32)
    assert unlock(home, mia)["Location"] == "/till/enrol/"
    assert not TillSession.objects.exists()
    assert not is_open(home)


def test_a_clerk_unlocks_with_the_pin_and_locks_again(acme: Client, till: ClientBrowser, mia: Clerk) -> None:
    answer = unlock(till, mia)
    assert (answer.status_code, answer["Location"]) == (302, "/till/")
    assert is_open(till)
    assert TillSession.objects.get(ended_at=None).clerk == mia
    assert AuditEvent.objects.get(client=acme, action="till.unlocked").subject == f"clerk:{mia.pk}"
    assert till.post("/till/leave/")["Location"] == "/till/lock/"
    assert not is_open(till)
    assert till.get("/till/")["Location"] == "/till/lock/"


def test_a_colleague_takes_over_with_another_pin(till: ClientBrowser, mia: Clerk) -> None:
    noor = tills.add_clerk(name="Noor", role="clerk", location=None, pin="810463", at=timezone.now())
    unlock(till, mia)
    assert "Back to the till of Mia Klein" in till.get("/till/lock/").content.decode()
    unlock(till, noor, "810463")
    assert TillSession.objects.get(ended_at=None).clerk == noor


def test_the_lock_shows_who_may_unlock_here_and_nobody_else(till: ClientBrowser, mia: Clerk) -> None:
    at, harbour = timezone.now(), Location.objects.create(code="harbour", name="Harbour")
    tills.add_clerk(name="Everywhere", role="manager", location=None, pin="810463", at=at)
    tills.add_clerk(name="Elsewhere", role="clerk", location=harbour, pin="810463", at=at)
    tills.add_clerk(name="Pinless", role="clerk", location=None, at=at)
    gone = tills.add_clerk(name="Retired", role="clerk", location=None, pin="810463", at=at)
    tills.retire_clerk(clerk=gone, at=at)
    page = till.get("/till/lock/").content.decode()
    assert [name for name in ("Mia Klein", "Everywhere", "Elsewhere", "Pinless", "Retired") if name in page] == [
        "Mia Klein",
        "Everywhere",
    ]


def test_a_till_without_clerks_says_what_to_do(till: ClientBrowser) -> None:
    assert "Nobody can unlock this till yet" in till.get("/till/lock/").content.decode()


@pytest.mark.parametrize(
    ("clerk", "pin", "words"),
    [("", PIN, "Choose who you are."), ("x", PIN, "Enter a valid UUID."), (None, "", "Enter your PIN."),
     (None, "12a4", "A PIN has 4 to 8 digits."), (None, "４９３０２１", "A PIN has 4 to 8 digits.")],
)  # fmt: skip
def test_what_cannot_be_a_pin_is_refused_and_costs_no_try(
    till: ClientBrowser, mia: Clerk, clerk: str | None, pin: str, words: str
) -> None:
    answer = till.post("/till/unlock/", {"clerk": mia.pk if clerk is None else clerk, "pin": pin})
    assert (answer.status_code, words in answer.content.decode()) == (422, True)
    assert "4 tries left" in unlock(till, mia, WRONG).content.decode()


def test_the_pin_is_in_no_address_and_comes_back_on_no_page(till: ClientBrowser, mia: Clerk) -> None:
    page = unlock(till, mia, WRONG)
    assert WRONG not in page.content.decode()
    assert "no-store" in page["Cache-Control"]
    assert till.get("/till/unlock/").status_code == 405


def test_r30_after_five_wrong_pins_a_clerk_is_locked_and_the_page_says_until_when(
    acme: Client, till: ClientBrowser, mia: Clerk
) -> None:
    said = [unlock(till, mia, WRONG).content.decode() for _ in range(5)]
    assert [re.search(r"(\d) tr(?:y|ies) left", page)[1] for page in said[:4]] == ["4", "3", "2", "1"]  # type: ignore[index]
    assert "Too many wrong PINs for Mia Klein. Locked until" in said[4]
    answer = unlock(till, mia)
    assert answer.status_code == 429
    assert 0 < int(answer["Retry-After"]) <= 900
    assert "Locked until" in till.get("/till/lock/").content.decode()
    assert not is_open(till)
    assert AuditEvent.objects.filter(client=acme, action="till.locked_out", subject=f"clerk:{mia.pk}").exists()


def test_r30_an_emptied_redis_lets_nobody_try_again(till: ClientBrowser, mia: Clerk) -> None:
    for _ in range(5):
        unlock(till, mia, WRONG)
    cache.clear()
    assert unlock(till, mia).status_code == 429


def test_r30_a_clerk_is_locked_on_every_device(acme: Client, shop: Location, till: ClientBrowser, mia: Clerk) -> None:
    for _ in range(5):
        unlock(till, mia, WRONG)
    assert unlock(enrolled(acme, shop), mia).status_code == 429


def test_r30_a_device_is_locked_for_everybody_after_ten(till: ClientBrowser, mia: Clerk) -> None:
    at = timezone.now()
    others = [tills.add_clerk(name=f"Clerk {n}", role="clerk", location=None, at=at, pin=PIN) for n in range(2)]
    answers = [unlock(till, clerk, WRONG) for clerk in others for _ in range(5)]
    assert {answer.status_code for answer in answers} == {422}
    assert unlock(till, mia).status_code == 429
    assert "This till stays locked until" in till.get("/till/lock/").content.decode()


# ── left alone ──────────────────────────────────────────────────────────────────────────────────────────────────────


def seen(seconds: float) -> None:
    TillSession.objects.filter(ended_at=None).update(seen_at=timezone.now() - timedelta(seconds=seconds))


def test_r30_a_till_that_nobody_touches_is_locked_after_two_minutes(till: ClientBrowser, mia: Clerk) -> None:
    unlock(till, mia)
    seen(115)
    assert is_open(till)
    seen(121)
    assert not is_open(till)
    assert till.get("/till/")["Location"] == "/till/lock/"
    assert till.post("/till/awake/", headers={"accept": "application/json"}).status_code == 401


def test_a_touch_keeps_the_till_open(till: ClientBrowser, mia: Clerk) -> None:
    unlock(till, mia)
    for _ in range(3):
        seen(100)
        assert is_open(till)


def test_the_page_of_an_open_till_locks_itself_after_the_time_of_the_server(till: ClientBrowser, mia: Clerk) -> None:
    assert "till-lock.js" not in till.get("/till/lock/").content.decode()
    unlock(till, mia)
    page = till.get("/till/lock/").content.decode()
    assert "till-lock.js" in page
    assert f'data-idle="{bearers.TILL_IDLE.total_seconds():.0f}"' in page


def test_a_clerk_who_left_is_out_at_once(till: ClientBrowser, mia: Clerk) -> None:
    unlock(till, mia)
    Clerk.objects.filter(pk=mia.pk).update(left_at=timezone.now())
    assert not is_open(till)


@pytest.mark.parametrize("address", ["/till/leave/", "/till/awake/", "/till/unlock/"])
def test_nothing_is_changed_by_a_link(till: ClientBrowser, mia: Clerk, address: str) -> None:
    unlock(till, mia)
    assert till.get(address).status_code == 405


def test_foreign_pages_cannot_send_a_pin(acme: Client, shop: Location, till: ClientBrowser, mia: Clerk) -> None:
    strict = ClientBrowser(acme, enforce_csrf_checks=True)
    strict.cookies = till.cookies
    assert unlock(strict, mia).status_code == 403
    assert strict.post("/till/leave/").status_code == 403


def test_the_scripts_of_the_till_say_nothing_themselves() -> None:
    """All words are in the pages, where they are translated."""
    folder = Path(settings.BASE_DIR) / "loyalty_saas" / "static" / "js"
    for name in ("till-lock.js", "till-pin.js"):
        said = re.findall(r"textContent\s*=\s*[\"'`]", (folder / name).read_text())
        assert said == [], name


def test_clients_do_not_see_each_others_tills(new_client: NewClient, shop: Location, mia: Clerk) -> None:
    other = new_client("Other")
    with use_client(other):
        place = Location.objects.create(code="pier", name="Their pier")
        till = enrolled(other, place)
    assert "Mia Klein" not in till.get("/till/lock/").content.decode()
