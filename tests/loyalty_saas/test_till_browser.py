"""A clerk at the till, in a real browser, through the real server and worker."""

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import segno
from django.db import transaction
from django.utils import timezone
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, expect

from members.models import Member, Purchase
from members.queries import balances
from members.services import cards
from members.services.enrolment import NewMember, enrol
from programs.models import Location, Product
from programs.services import tills
from rewards.models import RewardIssue
from tenants.models import Client
from tests.browsers import launching
from tests.live import Worker, wait_until
from tests.loyalty_saas.shops import credit, open_shop

COUNTER, PHONE = (1024, 768), (390, 844)
PIN = "829417"
LOSE_ONE_ANSWER = """() => {
    const whole = window.fetch;
    window.fetch = async (url, options) => {
        if (!String(url).endsWith("/till/sales/")) return whole(url, options);
        window.fetch = whole;
        await whole(url, options);
        throw new TypeError("The answer was lost.");
    };
}"""
FAULTLESS = re.compile(r"status of 422|ERR_INTERNET_DISCONNECTED")


@pytest.fixture(scope="module")
def launch() -> Iterator[Callable[..., Browser]]:
    """`launch(*args)` starts the system's Chromium."""
    with launching() as start:
        yield start


@pytest.fixture(scope="module")
def browser(launch: Callable[..., Browser]) -> Iterator[Browser]:
    """A browser without a camera."""
    one = launch()
    yield one
    one.close()


@pytest.fixture
def shop(acme: Client) -> Client:
    """Acme with its program, a clerk with a PIN, and Ana with 50 points."""
    open_shop()
    Product.objects.create(sku="latte", name="Latte", category="coffee")
    place = Location.objects.create(code="pier", name="Pier 4")
    tills.add_clerk(name="Mia Klein", role="clerk", location=place, at=timezone.now(), pin=PIN)
    with transaction.atomic():
        enrol(
            new=NewMember(identifiers={"phone": "+4915112345678", "card": "40001234"}, name="Ana Ray"),
            region="DE",
            at=timezone.now(),
        )
    credit()
    return acme


class Counter:
    """A device at the counter."""

    def __init__(self, browser: Browser, base: str, size: tuple[int, int] = COUNTER) -> None:
        self.base, self.faults = base, list[str]()
        self.context: BrowserContext = browser.new_context(viewport={"width": size[0], "height": size[1]})
        self.page: Page = self.context.new_page()
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))

    def _heard(self, said: Any) -> None:
        if said.type in {"error", "warning"} and not FAULTLESS.search(said.text):
            self.faults.append(said.text)

    def enrol(self) -> None:
        """Make it a till, with the code from the portal."""
        place = Location.objects.get()
        code = tills.make_device_code(name="Till 2", location=place, by=None, at=timezone.now())[1]
        self.page.goto(f"{self.base}/till/")
        self.page.get_by_label("Code").fill(code)
        self.page.get_by_role("button", name="Set up this till").click()

    def unlock(self) -> None:
        """As Mia."""
        self.page.get_by_text("Mia Klein", exact=True).click()
        self.page.locator("#pin").fill(PIN)
        self.page.get_by_role("button", name="Unlock").click()
        expect(self.page.locator("#find-text")).to_be_enabled()

    def find(self, text: str) -> None:
        """Type it into the one field."""
        self.page.locator("#find-text").fill(text)
        self.page.keyboard.press("Enter")

    def scan(self, text: str) -> None:
        """As a scanner types: fast, wherever the focus is."""
        self.page.keyboard.type(text)
        self.page.keyboard.press("Enter")

    def tap(self, digits: str) -> None:
        """The keys."""
        for digit in digits:
            self.page.locator(f"#keys [data-digit='{digit}']").click()

    def sees(self, *texts: str) -> None:
        """On the member's side, sooner or later."""
        for text in texts:
            expect(self.page.locator("#panel")).to_contain_text(text, timeout=15_000)

    def is_sound(self) -> None:
        """Fail if anything was wrong, or the page is wider than its window."""
        wide = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0
        assert not self.faults, self.faults


@pytest.fixture
def counter(shop: Client, browser: Browser, live_server_url: Callable[[str], str]) -> Iterator[Counter]:
    """A till that Mia has unlocked."""
    one = Counter(browser, live_server_url(shop.domains.get().host))
    one.enrol()
    one.unlock()
    yield one
    one.context.close()


def points() -> int:
    """What Ana has."""
    held = balances(member_id=Member.objects.get(identity__name="Ana Ray").pk, at=timezone.now())
    return next(one.balance for one in held if one.unit.code == "points")


@pytest.mark.parametrize("size", [COUNTER, PHONE], ids=["counter", "phone"])
def test_a_clerk_finds_records_undoes_takes_back_redeems_and_enrols(
    shop: Client, browser: Browser, live_server_url: Callable[[str], str], worker: Worker, size: tuple[int, int]
) -> None:
    worker.start()
    one = Counter(browser, live_server_url(shop.domains.get().host), size)
    page = one.page
    one.enrol()
    one.unlock()

    one.find("0151 12345678")
    one.sees("Ana Ray", "•••• 5678")
    one.tap("1840")
    main = page.get_by_role("button", name="Record purchase · earn 18 points")
    expect(main).to_be_in_viewport()
    main.click()
    one.sees("€18.40 earned 18 points.")
    assert points() == 68

    page.get_by_role("button", name="Undo last: €18.40").click()
    one.sees("€18.40 was undone: 18 points taken back.")
    assert points() == 50

    one.tap("2")
    one.scan("40001234")
    one.sees("Ana Ray")
    expect(page.locator("#amount")).to_have_text("€0.02")
    page.locator("label:has([value=lines])").click()
    page.locator("#article-text").fill("lat")
    page.get_by_role("button", name="Latte").click()
    one.tap("1000")
    page.get_by_role("button", name="One more").click()
    page.get_by_role("button", name="Record purchase · earn 20 points + 2 stamps").click()
    one.sees("€20.00 earned 20 points + 2 stamps.")

    page.get_by_role("button", name="Take something back").click()
    page.locator("#sheet .reward").first.click()
    page.locator("#sheet").get_by_label("Latte").fill("1")
    page.get_by_role("button", name="Take these back").click()
    one.sees("€10.00 given back: 10 points + 1 stamp taken back.")
    assert points() == 60

    page.get_by_role("button", name="A mug").click()
    expect(page.locator("#sheet")).to_contain_text("20 points")
    page.get_by_role("button", name="Redeem and hand over").click()
    one.sees("A mug is theirs: hand it over.")
    assert RewardIssue.objects.get().state == RewardIssue.State.ISSUED
    assert points() == 20

    one.find("0151 7654321")
    one.sees("Nobody is known as “0151 7654321”")
    page.locator("#panel").get_by_role("button", name="Enrol a member").click()
    expect(page.locator("[name=phone]")).to_have_value("0151 7654321")
    page.locator("[name=name]").fill("Cleo Park")
    page.get_by_role("button", name="Enrol", exact=True).click()
    one.sees("Cleo Park", "The card opens with this code.")
    one.is_sound()
    one.context.close()


def test_everything_goes_by_keyboard_alone(counter: Counter) -> None:
    page = counter.page
    page.keyboard.press("/")
    page.keyboard.type("ana ray", delay=80)
    page.keyboard.press("Enter")
    counter.sees("Ana Ray")
    page.keyboard.type("620", delay=80)
    expect(page.locator("#record")).to_have_text("Record purchase · earn 6 points")
    page.keyboard.press("Enter")
    counter.sees("€6.20 recorded")
    expect(page.locator("#undo")).to_contain_text("Undo last: €6.20")
    page.keyboard.press("F8")
    counter.sees("€6.20 was undone")
    page.keyboard.press("Escape")
    counter.sees("Who is buying?")
    counter.is_sound()


def test_the_camera_reads_the_qr_of_a_card(
    shop: Client, launch: Callable[..., Browser], live_server_url: Callable[[str], str], tmp_path: Path
) -> None:
    film = tmp_path / "card.mjpeg"
    film.write_bytes(_frame(cards.card_code_of(Member.objects.get())) * 2)
    fake = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
    seeing = launch(*fake, f"--use-file-for-fake-video-capture={film}")
    one = Counter(seeing, live_server_url(shop.domains.get().host))
    asked: list[str] = []
    one.page.on("request", lambda request: asked.append(request.url))
    one.enrol()
    one.unlock()
    assert not any("barcode-detector" in url for url in asked), "The scanner is loaded when it is wanted."
    one.page.get_by_role("button", name="Camera").click()
    one.sees("Ana Ray")
    expect(one.page.locator("video")).to_have_count(0)
    one.is_sound()
    seeing.close()


def _frame(text: str) -> bytes:
    """A frame of a film that shows a QR."""
    drawn, picture = io.BytesIO(), Image.new("RGB", (640, 480), "white")
    segno.make(text, micro=False).save(drawn, kind="png", scale=12)
    code = Image.open(drawn).convert("RGB")
    picture.paste(code, ((640 - code.width) // 2, (480 - code.height) // 2))
    frame = io.BytesIO()
    picture.save(frame, "JPEG", quality=90)
    return frame.getvalue()


def test_what_is_kept_offline_is_sent_exactly_once(counter: Counter) -> None:
    page = counter.page
    counter.find("40001234")
    counter.sees("Ana Ray")
    page.wait_for_function("navigator.serviceWorker.ready.then((one) => one.active !== null)")
    page.reload()
    page.wait_for_function("navigator.serviceWorker.controller !== null")
    page.wait_for_load_state("networkidle")
    counter.find("40001234")
    counter.sees("Ana Ray")

    counter.context.set_offline(True)
    counter.tap("620")
    page.locator("#record").click()
    expect(page.locator("#till-offline")).to_contain_text("1 saved")
    page.get_by_role("button", name="A mug").click()
    expect(page.locator("#toast")).to_have_text("Not possible while offline.")
    counter.find("Ana")
    expect(page.locator("#find-said")).to_contain_text("Names need the connection")
    counter.find("0151 12345678")
    counter.tap("500")
    page.locator("#record").click()
    expect(page.locator("#till-offline")).to_contain_text("2 saved")

    page.reload()
    expect(page.locator("#till-offline")).to_contain_text("2 saved")
    page.locator("#till-offline").click()
    expect(page.locator("#sheet")).to_contain_text("€6.20")
    assert Purchase.objects.count() == 0

    counter.context.set_offline(False)
    wait_until(lambda: Purchase.objects.count() == 2, what="what was kept is sent")
    expect(page.locator("#till-offline")).to_be_hidden()
    page.reload()
    page.wait_for_load_state("networkidle")
    assert sorted(Purchase.objects.values_list("amount", flat=True)) == [500, 620]
    credit()
    assert points() == 61


def test_an_answer_that_is_lost_on_the_way_counts_once(counter: Counter) -> None:
    page = counter.page
    counter.find("40001234")
    counter.sees("Ana Ray")

    page.evaluate(LOSE_ONE_ANSWER)
    counter.tap("700")
    page.locator("#record").click()
    expect(page.locator("#toast")).to_contain_text("Kept on this till")
    expect(page.locator("#till-offline")).to_be_hidden(timeout=15_000)
    assert Purchase.objects.get().amount == 700


def test_it_locks_itself_after_two_idle_minutes_and_stays_locked_offline(counter: Counter) -> None:
    page = counter.page
    page.wait_for_function("navigator.serviceWorker.ready.then((one) => one.active !== null)")
    page.clock.install()
    page.reload()
    page.wait_for_function("navigator.serviceWorker.controller !== null")
    page.wait_for_load_state("networkidle")
    page.keyboard.press("5")
    page.clock.fast_forward(110_000)
    expect(page.locator("#till-veil")).to_be_hidden()
    counter.context.set_offline(True)
    page.clock.fast_forward(20_000)
    expect(page.locator("#till-veil")).to_be_visible()
    expect(page.locator("#till-veil")).to_contain_text("There is no connection.")
    page.reload()
    expect(page.locator("#till-veil")).to_be_visible()
    page.keyboard.press("7")
    expect(page.locator("#amount")).to_have_text("€0.00")

    counter.context.set_offline(False)
    page.clock.fast_forward(10_000)
    expect(page.get_by_text("Who is at the till?").first).to_be_visible()
    counter.unlock()
