"""What people come for, from the first click to the last, through the real server and worker."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.conf import settings
from django.utils import timezone
from playwright.sync_api import expect

from programs.models import Location, Program
from programs.services import tills
from tenants.context import use_client
from tenants.models import Client, Onboarding, Provider, Role
from tests.browsers import NARROW, TABLET, WIDE, Watched, chromium, come_signed_in, watch
from tests.live import Worker
from tests.loyalty_saas.shops import PROGRAM, open_shop
from tests.people import person

__all__ = ["chromium", "watch"]
SIZES = pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
PIN = "829417"


@SIZES
def test_technician_onboards_a_client_leaves_the_wizard_and_comes_back(
    provider: Provider,
    spare_batch: int,
    watch: Callable[..., Watched],
    worker: Worker,
    size: tuple[int, int],
) -> None:
    worker.start()
    technician = person(Role.PROVIDER, provider=provider)
    name = f"Harbor Books {size[0]} {technician.email[-20:-12]}"
    one = watch(settings.PLATFORM_HOST, size)
    come_signed_in(one, client=None, user=technician)
    page = one.go("/clients/add/")
    page.get_by_label("Name of the business").fill(name)
    page.get_by_label("Trade").select_option("retail")
    page.get_by_role("button", name="Save and finish later").click()

    page.wait_for_load_state()
    page.goto(f"{one.base}/clients/add/{Onboarding.objects.get(request__name=name).pk}/1/")
    expect(page.get_by_label("Name of the business")).to_have_value(name)
    page.get_by_role("button", name="Continue").click()
    page.locator("input[name=template][value=retail]").check()
    one.is_sound()
    page.get_by_role("button", name="Continue").click()
    page.locator("select[name=currency]").select_option("EUR")
    page.locator("select[name=time_zone]").select_option("Europe/Berlin")
    page.get_by_label("English").check()
    page.get_by_role("button", name="Continue").click()
    page.get_by_label("Owner's e-mail").fill("nobody at all")
    page.locator("button[value=next]").click()
    expect(page.locator("[aria-invalid=true]")).to_have_value("nobody at all")
    page.get_by_label("Owner's e-mail").fill("owner@harbor-books.example")
    page.locator("button[value=next]").click()

    expect(page.get_by_role("heading", name="Ready")).to_be_visible(timeout=30_000)
    one.is_sound()
    client = Client.objects.get(name=name)
    with use_client(client):
        assert Program.objects.get().status == Program.Status.PUBLISHED


@SIZES
def test_owner_changes_a_rule_and_publishes(acme: Client, watch: Callable[..., Watched], size: tuple[int, int]) -> None:
    open_shop()
    one = watch(acme.domains.get().host, size)
    come_signed_in(one, client=acme, user=person(Role.OWNER, client=acme))
    page = one.go("/program/")
    page.get_by_role("link", name="A point per euro").click()
    page.wait_for_load_state()
    one.is_sound()
    page.get_by_label("Gives", exact=True).first.fill("0")
    page.get_by_role("button", name="Keep in the draft").click()
    expect(page.locator("[aria-invalid=true]").first).to_have_value("0")
    page.get_by_label("Gives", exact=True).first.fill("3")
    page.get_by_role("button", name="Keep in the draft").click()
    page.wait_for_load_state()
    assert Program.objects.get(status="published").document["rules"][0]["effect"]["points"] == 1, "Not live yet."

    one.go("/program/publish/")
    assert "3 points" in page.inner_text("main")
    one.is_sound()
    page.get_by_role("button", name="Publish now").click()
    page.wait_for_load_state()
    assert Program.objects.get(status="published").document["rules"][0]["effect"]["points"] == 3
    one.is_sound()


def test_manager_sets_up_a_till_and_its_clerk_unlocks_it(acme: Client, watch: Callable[..., Watched]) -> None:
    open_shop(PROGRAM)
    place = Location.objects.create(code="pier", name="Pier 4")
    tills.add_clerk(name="Mia Klein", role="clerk", location=place, at=timezone.now() - timedelta(days=1), pin=PIN)
    host = acme.domains.get().host
    office = watch(host, WIDE)
    come_signed_in(office, client=acme, user=person(Role.MANAGER, client=acme))
    page = office.go("/staff/tills/")
    page.get_by_role("button", name="Set up a till").first.click()
    page.locator("dialog[open]").get_by_label("Name").fill("Till 2")
    page.locator("dialog[open] button[type=submit]").click()
    page.wait_for_load_state()
    code = page.locator("#code").inner_text()
    office.is_sound()

    counter = watch(host, TABLET)
    till = counter.go("/till/")
    till.get_by_label("Code").fill(code)
    till.get_by_role("button", name="Set up this till").click()
    till.get_by_text("Mia Klein", exact=True).click()
    till.locator("#pin").fill(PIN)
    till.get_by_role("button", name="Unlock").click()
    expect(till.locator("#find-text")).to_be_enabled()
    counter.is_sound()
    office.go("/staff/tills/")
    assert "Mia Klein" in office.page.inner_text("main")
