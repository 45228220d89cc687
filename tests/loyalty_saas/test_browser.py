"""The first pages in a real browser: signing in with a code, figures, a form that keeps what was typed."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from django.conf import settings
from django.utils import timezone

from loyalty_saas.flows import figures
from loyalty_saas.flows.programs import apply_template
from loyalty_saas.flows.purchases import credit_next_batch
from members.services.accrual import NOTHING
from members.services.enrolment import NewMember, enrol
from members.services.purchases import LineInput, PurchaseInput, record_purchase
from tenants.context import use_client
from tenants.models import Client, Provider, Role
from tests.browsers import NARROW, WIDE, Watched, chromium, watch
from tests.people import give_second_factor, person

__all__ = ["chromium", "watch"]


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
    one.go(f"/clients/?q={shop.slug}")
    assert shop.name in one.page.inner_text("main")
    one.is_sound()

    one.page.click("a:has-text('Add client') >> visible=true")
    one.page.wait_for_load_state()
    one.page.fill("input[name=name]", "Nowhere Books")
    one.page.click("main button[value=next]")
    one.page.wait_for_load_state()

    assert one.page.input_value("input[name=name]") == "Nowhere Books"
    assert one.page.query_selector("[aria-invalid=true]"), "The field that is wrong says so."
    one.is_sound()
