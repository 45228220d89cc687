"""The first pages in a real browser: signing in with a code, figures, a form that keeps what was typed."""

import os
import shutil
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.utils import timezone
from playwright.sync_api import Browser, Page, sync_playwright

from loyalty_saas.flows import figures
from loyalty_saas.flows.programs import apply_template
from loyalty_saas.flows.purchases import credit_next_batch
from members.services.accrual import NOTHING
from members.services.enrolment import NewMember, enrol
from members.services.purchases import LineInput, PurchaseInput, record_purchase
from tenants.context import use_client
from tenants.models import Client, Provider, Role, User
from tests.people import PASSWORD, code_of, give_second_factor, person

WIDE, NARROW = (1440, 900), (390, 844)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The system's Chromium."""
    assert CHROMIUM, "Install Chromium: these tests look at pages as people do."
    # Playwright keeps a loop running in this thread, and Django would take every query for one inside it.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


class Watched:
    """A page, and what went wrong on it: console errors, requests to other hosts, sideways scrolling."""

    def __init__(self, page: Page, *, base: str) -> None:
        self.page, self.base = page, base
        self.faults: list[str] = []
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("request", self._stays)

    def _heard(self, said: Any) -> None:
        # The browser reports the status of a refused form as an error; it is the right answer.
        if said.type in {"error", "warning"} and "status of 422" not in said.text:
            self.faults.append(said.text)

    def _stays(self, request: Any) -> None:
        asked = urlsplit(request.url)
        if asked.scheme != "data" and asked.netloc != urlsplit(self.base).netloc:
            self.faults.append(f"asked {asked.netloc}")

    def go(self, path: str) -> Page:
        """Open a path of the host."""
        self.page.goto(f"{self.base}{path}")
        return self.page

    def sign_in(self, user: User, *, secret: str) -> None:
        """Through the form, with password and code."""
        self.go("/accounts/login/")
        self.page.fill("input[name=login]", user.email)
        self.page.fill("input[name=password]", PASSWORD)
        self.page.click("button[type=submit]")
        self.page.fill("input[name=code]", code_of(secret))
        self.page.click("button[type=submit]")
        self.page.wait_for_load_state()

    def is_sound(self) -> None:
        """Fail if anything was wrong, or the page is wider than its window."""
        wide = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{self.page.url} scrolls sideways by {wide} px"
        assert not self.faults, self.faults


@pytest.fixture
def watch(chromium: Browser, live_server_url: Callable[[str], str]) -> Iterator[Callable[..., Watched]]:
    """`watch(host, size)` opens a page on that host in a window of that size."""
    opened = []

    def open_page(host: str, size: tuple[int, int]) -> Watched:
        context = chromium.new_context(viewport={"width": size[0], "height": size[1]})
        opened.append(context)
        return Watched(context.new_page(), base=live_server_url(host))

    yield open_page
    for context in opened:
        context.close()


@pytest.fixture
def shop(acme: Client) -> Client:
    """Acme with its program, and Ana's purchase of 25.00 credited."""
    at = timezone.now()
    apply_template(template="retail", at=at)
    ana = enrol(new=NewMember(identifiers={"card": "C-1"}, name="Ana Ray"), region="DE", at=at)
    line = LineInput(quantity=Decimal(1), amount=2500, sku="book")
    record_purchase(purchase=PurchaseInput("sale", "R-1", ana.pk, "EUR", 2500, at, lines=(line,), source="till"), at=at)
    while credit_next_batch(at=at) != NOTHING:
        pass
    figures.roll_up_days(days=2, at=at)
    return acme


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_owner_signs_in_with_a_code_and_sees_why_ana_has_her_points(
    shop: Client, watch: Callable[..., Watched], size: tuple[int, int]
) -> None:
    owner = person(Role.OWNER, client=shop, factor=False)
    one = watch(shop.domains.get().host, size)
    one.sign_in(owner, secret=give_second_factor(owner))
    assert "Are people coming back?" in one.page.inner_text("main")
    one.is_sound()

    for path in ("/program/", "/returns/", "/imports/", "/members/?q=Ana"):
        one.go(path)
        one.is_sound()
    one.page.click("main a:has-text('Ana Ray')")
    one.page.wait_for_load_state()

    assert "R-1" in one.page.inner_text("main")
    one.is_sound()


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_provider_sees_its_clients_and_a_wrong_form_keeps_what_was_typed(
    shop: Client, provider: Provider, watch: Callable[..., Watched], size: tuple[int, int]
) -> None:
    with use_client(shop):
        technician = person(Role.PROVIDER, provider=provider, factor=False)
    one = watch(settings.PLATFORM_HOST, size)
    one.sign_in(technician, secret=give_second_factor(technician))
    assert shop.name in one.page.inner_text("main")
    one.is_sound()

    one.page.click("a:has-text('Add client') >> visible=true")
    one.page.wait_for_load_state()
    one.page.fill("input[name=name]", "Nowhere Books")
    one.page.fill("input[name=owner_email]", "owner@nowhere.example")
    one.page.fill("input[name=time_zone]", "Mars/Olympus") if one.page.query_selector("input[name=time_zone]") else None
    one.page.fill("input[name=domain]", "not a host!")
    one.page.click("main button[type=submit]")
    one.page.wait_for_load_state()

    assert one.page.input_value("input[name=name]") == "Nowhere Books"
    assert one.page.query_selector("[aria-invalid=true]"), "The field that is wrong says so."
    one.is_sound()
