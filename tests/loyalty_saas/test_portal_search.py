"""One search over the portal: members, receipts, products and pages, each for those who may see them."""

import pytest

from programs.models import Product
from tenants.access import Actor
from tenants.models import Client, Provider
from tests.conftest import NewClient
from tests.http import ClientBrowser
from tests.loyalty_saas.portals import at_portal, cost, words
from tests.loyalty_saas.shops import join, sale
from tests.machines import Answer, Machine
from tests.people import browser, person


@pytest.fixture
def owner(shop: Client) -> ClientBrowser:
    """The portal, open before the owner."""
    return at_portal(shop)


def found(page: ClientBrowser, text: str) -> str:
    """What the search box shows."""
    answer = page.get("/search/", {"q": text}, headers={"HX-Request": "true"})
    assert answer.status_code == 200
    assert "<html" not in answer.content.decode()
    return words(answer)


@pytest.mark.parametrize("typed", ["Ana", "0151 12345678", "+4915112345678", "ANA@example.com", "4000 1234 5678"])
def test_a_member_is_found_by_anything(owner: ClientBrowser, ana: Answer, typed: str) -> None:
    assert "Members Ana" in found(owner, typed)


def test_a_receipt_is_found_by_its_number(owner: ClientBrowser, till: Machine, ana: Answer) -> None:
    till.post("/purchases", sale(ana["id"], "R-4711", 1250))
    assert "Receipts R-4711 Sale · €12.50" in found(owner, "R-4711")
    assert "Receipts" not in found(owner, "R-47")


def test_products_and_pages_are_found(owner: ClientBrowser) -> None:
    Product.objects.create(sku="LAT-1", name="Caffè latte", category="coffee")
    assert "Products Caffè latte LAT-1 · coffee" in found(owner, "lat")
    assert "Pages Import" in found(owner, "impor")
    assert "Take your data along" in found(owner, "data")


def test_what_is_not_found_is_said_with_what_was_typed(owner: ClientBrowser) -> None:
    assert "Nothing found for “<b>zzz”." in found(owner, "<b>zzz").replace("&lt;", "<").replace("&gt;", ">")
    assert "A name, phone, e-mail, card or receipt number." in found(owner, " ")


@pytest.mark.parametrize("typed", ["\x00", "%", "x" * 5000, "'; --", "\\", "_"])
def test_a_strange_text_is_only_a_text(owner: ClientBrowser, ana: Answer, typed: str) -> None:
    assert "Ana" not in found(owner, typed)


def test_without_script_it_is_a_page(owner: ClientBrowser, ana: Answer) -> None:
    answer = owner.get("/search/", {"q": "Ana"})
    assert "<html" in answer.content.decode()
    assert f'href="/members/{ana["id"]}/"' in answer.content.decode()
    assert 'value="Ana"' in answer.content.decode()


def test_everybody_finds_only_where_they_may_go(shop: Client, owner: ClientBrowser, provider: Provider) -> None:
    Product.objects.create(sku="settings-box")
    manager, clerk = at_portal(shop, Actor.MANAGER), at_portal(shop, Actor.CLERK)
    assert ("Look" in found(owner, "look"), "Look" in found(manager, "look")) == (True, False)
    assert "Settings" in found(manager, "settings")
    assert "Nothing found" in found(clerk, "settings")
    assert browser(shop, person(Actor.PROVIDER, provider=provider)).get("/search/?q=a").status_code == 403


def test_r20_nobody_of_another_client_is_found(
    owner: ClientBrowser, till: Machine, ana: Answer, new_client: NewClient
) -> None:
    till.post("/purchases", sale(ana["id"], "R-4711", 1250))
    stranger = at_portal(new_client("Bravo"))
    for typed in ("Ana", "R-4711", ana["id"], ana["number"]):
        assert "Nothing found" in found(stranger, typed)


def test_the_search_costs_the_same_for_any_number_of_hits(owner: ClientBrowser, till: Machine) -> None:
    counts = []
    for number in (1, 9):
        for n in range(number):
            join(till, f"Zoe {number}-{n}")
            Product.objects.create(sku=f"zoe-{number}-{n}")
        counts.append(cost(owner, "/search/", q="zoe"))
    assert counts[0] == counts[1] <= 12
