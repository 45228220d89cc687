"""The member's card on a phone, in a real browser: opened by a link, why these points, the code, without a network."""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, expect

from members.services.cards import make_link
from tenants.models import Client
from tests.browsers import chromium
from tests.loyalty_saas.shops import credit, sale
from tests.machines import Answer, Machine

__all__ = ["chromium"]

PHONE: ViewportSize = {"width": 390, "height": 844}
KEPT = """async () => {
    const names = await caches.keys();
    if (!names.includes("card-pages")) return [];
    return (await (await caches.open("card-pages")).keys()).map((one) => new URL(one.url).pathname).sort();
}"""


class Phone:
    """A phone in a member's hand, and what went wrong on it."""

    def __init__(self, context: BrowserContext, *, base: str) -> None:
        self.context, self.base, self.page = context, base, context.new_page()
        self.faults: list[str] = []
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", self._stays)

    def _heard(self, said: Any) -> None:
        if said.type in {"error", "warning"} and "ERR_INTERNET_DISCONNECTED" not in said.text:
            self.faults.append(said.text)

    def _stays(self, request: Any) -> None:
        asked = urlsplit(request.url)
        if asked.scheme != "data" and asked.netloc != urlsplit(self.base).netloc:
            self.faults.append(f"asked {asked.netloc}")

    def go(self, path: str) -> Page:
        """Open a path of the shop's host."""
        self.page.goto(f"{self.base}{path}")
        return self.page

    def open_card(self, member_id: str) -> None:
        """By a link, as from the mail."""
        self.go(f"/card/open/{make_link(member_id=UUID(member_id), way='mail', at=timezone.now())}/")
        self.page.get_by_role("button", name="Open your card").click()
        self.page.wait_for_url("**/card/")

    def is_sound(self) -> None:
        """Fail if anything was wrong, or the page is wider than the phone."""
        wide = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{self.page.url} scrolls sideways by {wide} px"
        assert not self.faults, self.faults

    def has_kept(self, *paths: str) -> None:
        """Wait until the worker has these pages, and no others."""
        for _time in range(100):
            if (kept := self.page.evaluate(KEPT)) == sorted(paths):
                return
            self.page.wait_for_timeout(100)
        raise AssertionError(f"kept {kept}, not {sorted(paths)}")


@pytest.fixture
def phone(
    chromium: Browser, shop: Client, live_server_url: Callable[[str], str], till: Machine, ana: Answer
) -> Iterator[Phone]:
    """Ana's, with her card open after a purchase of 12.50."""
    till.post("/purchases", sale("ana-1", "R-1", 1250))
    credit()
    context = chromium.new_context(viewport=PHONE, has_touch=True, is_mobile=True)
    one = Phone(context, base=live_server_url(shop.domains.get().host))
    one.open_card(ana["id"])
    yield one
    context.close()


def test_every_page_of_the_card_is_sound_on_a_phone(phone: Phone) -> None:
    expect(phone.page.locator("[data-balance]")).to_have_text("62")
    phone.is_sound()
    for name, heading in (("Rewards", "Rewards"), ("History", "History"), ("Me", "Ana"), ("Card", "Ana")):
        phone.page.get_by_role("navigation", name="Main").get_by_role("link", name=name).click()
        expect(phone.page.get_by_role("heading", level=1)).to_have_text(heading)
        phone.is_sound()


def test_a_member_asks_why_these_points_and_sees_what_was_bought(phone: Phone) -> None:
    movement = phone.page.locator("details.moved").first
    movement.locator("summary").click()
    expect(movement).to_contain_text("“A point per euro” gave 12 points.")
    movement.get_by_role("link", name="What was bought").click()
    expect(phone.page.get_by_role("main")).to_contain_text("€12.50")
    phone.is_sound()


def test_the_code_stands_large_on_white_and_closes_again(phone: Phone) -> None:
    phone.page.get_by_role("button", name="Show your code large").click()
    dialog = phone.page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    size = dialog.locator("svg.qr").bounding_box()
    assert size is not None
    assert size["width"] >= 370
    colour = dialog.evaluate("one => getComputedStyle(one).backgroundColor")
    assert colour == "rgb(255, 255, 255)"
    assert len(dialog.locator(".code-groups span").all()) == 4
    phone.page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    phone.is_sound()


def test_once_opened_the_card_opens_without_a_network(phone: Phone) -> None:
    phone.has_kept("/card/", "/card/history/", "/card/rewards/")
    expect(phone.page.get_by_text("No network just now")).to_be_hidden()

    phone.context.set_offline(True)
    phone.go("/card/")
    expect(phone.page.get_by_text("No network just now")).to_be_visible()
    expect(phone.page.locator("[data-balance]")).to_have_text("62")
    phone.page.get_by_role("button", name="Show your code large").click()
    expect(phone.page.get_by_role("dialog")).to_be_visible()
    assert phone.page.locator("dialog svg.qr").bounding_box()["width"] >= 370  # type: ignore[index]
    phone.page.keyboard.press("Escape")

    phone.go("/card/history/")
    phone.page.locator("details.moved summary").first.click()
    expect(phone.page.get_by_role("main")).to_contain_text("“A point per euro” gave 12 points.")
    phone.go("/card/rewards/")
    expect(phone.page.get_by_role("main")).to_contain_text("A mug")
    phone.go("/card/me/")
    expect(phone.page.get_by_role("heading", level=1)).to_have_text("You are offline")
    phone.has_kept("/card/", "/card/history/", "/card/rewards/")
    phone.is_sound()

    phone.context.set_offline(False)
    phone.go("/card/")
    expect(phone.page.get_by_text("No network just now")).to_be_hidden()


def test_after_signing_out_nothing_of_the_card_is_left_on_the_phone(phone: Phone) -> None:
    phone.has_kept("/card/", "/card/history/", "/card/rewards/")
    phone.go("/card/me/")
    phone.page.get_by_role("button", name="Sign out on this phone").click()
    phone.page.wait_for_url("**/card/sign-in/")
    phone.has_kept()

    phone.context.set_offline(True)
    phone.go("/card/")
    expect(phone.page.get_by_role("heading", level=1)).to_have_text("You are offline")
    expect(phone.page.get_by_role("main")).not_to_contain_text("Ana")


def test_a_channel_is_allowed_and_withdrawn_by_one_tap_each(phone: Phone) -> None:
    phone.go("/card/me/")
    switch = phone.page.get_by_role("switch", name="SMS")
    for then in (True, False):
        switch.click()
        expect(switch).to_be_checked(checked=then)
    phone.is_sound()
