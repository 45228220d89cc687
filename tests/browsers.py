"""Pages in the system's Chromium, watched: console, Content Security Policy, other hosts, axe-core, width, weight."""

import gzip
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tenants.models import Client, User
from tests.people import PASSWORD, browser, code_of

WIDE, TABLET, NARROW = (1440, 900), (1024, 768), (390, 844)
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text(encoding="utf-8")
# The browser reports the status of a refused form as an error; it is the right answer.
RIGHT_ANSWERS = ("status of 422", "status of 404", "status of 409")
LISTEN = "document.addEventListener('securitypolicyviolation', e => console.error('CSP: ' + e.violatedDirective + ' ' + e.blockedURI))"
RUN_AXE = """async () => {
  const found = await axe.run(document, {resultTypes: ['violations']});
  return found.violations.filter(one => ['serious', 'critical'].includes(one.impact))
    .map(one => one.id + ': ' + one.nodes.map(node => node.target.join(' ') + ' ' + (node.any[0]?.message ?? '')).join(' | '));
}"""


@contextmanager
def launching() -> Iterator[Callable[..., Browser]]:
    """A function that starts the system's Chromium with options of its own."""
    assert CHROMIUM, "Install Chromium: these tests look at pages as people do."
    # Playwright keeps a loop running in this thread, and Django would take every query for one inside it.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    # A machine that is busy with other things is no fault of the page.
    expect.set_options(timeout=20_000)
    with sync_playwright() as playwright:
        yield lambda *options: playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *options])
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The system's Chromium, one for all tests of a file."""
    with launching() as launch:
        one = launch()
        yield one
        one.close()


class Watched:
    """A page, and what went wrong on it: console errors, CSP reports, requests to other hosts, sideways scrolling."""

    def __init__(self, page: Page, *, base: str) -> None:
        self.page, self.base = page, base
        self.faults: list[str] = []
        self.weights: dict[str, int] = {}
        page.add_init_script(LISTEN)
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("request", self._stays)
        page.on("response", self._weighed)

    def _heard(self, said: Any) -> None:
        if said.type in {"error", "warning"} and not any(right in said.text for right in RIGHT_ANSWERS):
            self.faults.append(said.text)

    def _stays(self, request: Any) -> None:
        asked = urlsplit(request.url)
        if asked.scheme not in {"data", "blob"} and asked.netloc != urlsplit(self.base).netloc:
            self.faults.append(f"asked {asked.netloc}")

    def _weighed(self, response: Any) -> None:
        path = urlsplit(response.url).path
        if path.endswith((".js", ".css")) and response.status == 200:
            self.weights[path] = len(gzip.compress(response.body()))

    def go(self, path: str) -> Page:
        """Open a path of the host."""
        self.weights.clear()
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

    @property
    def weight(self) -> int:
        """Bytes of the style sheets and scripts that the page loaded, compressed."""
        return sum(self.weights.values())

    def resize(self, size: tuple[int, int]) -> None:
        """Another window."""
        self.page.set_viewport_size({"width": size[0], "height": size[1]})

    def accessibility_faults(self) -> list[str]:
        """What axe-core calls serious or critical."""
        self.page.evaluate(AXE)
        found: list[str] = self.page.evaluate(RUN_AXE)
        return found

    def is_sound(self, *, axe: bool = True) -> None:
        """Fail if anything was wrong, the page is wider than its window, or hard for some to use."""
        wide = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{self.page.url} scrolls sideways by {wide} px"
        assert not self.faults, self.faults
        if axe:
            assert not (found := self.accessibility_faults()), f"{self.page.url}: {found}"


@pytest.fixture
def watch(chromium: Browser, live_server_url: Callable[[str], str]) -> Iterator[Callable[..., Watched]]:
    """`watch(host, size)` opens a page on that host in a window of that size."""
    opened: list[BrowserContext] = []

    def open_page(host: str, size: tuple[int, int] = WIDE, **options: Any) -> Watched:
        context = chromium.new_context(viewport={"width": size[0], "height": size[1]}, **options)
        opened.append(context)
        return Watched(context.new_page(), base=live_server_url(host))

    yield open_page
    for context in opened:
        context.close()


def carry(watched: Watched, *, name: str, value: str) -> None:
    """Put a cookie of the host into the page's browser."""
    watched.page.context.add_cookies([{"name": name, "value": value, "url": watched.base}])


def come_signed_in(watched: Watched, *, client: Client | None, user: User) -> None:
    """Carry the session of a user who has signed in before."""
    carry(watched, name="sessionid", value=browser(client, user, fresh=True).cookies["sessionid"].value)
