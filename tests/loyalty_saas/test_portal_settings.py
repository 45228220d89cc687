"""The shop's settings: its name and languages, its look, its locations and products, its data to take along."""

import io
import re
from typing import Any

import pytest
from django.utils import timezone
from PIL import Image

from programs.models import Device, Location, Product
from tenants.access import Actor
from tenants.models import AuditEvent, Brand, Client
from tests.conftest import NewClient
from tests.http import ClientBrowser
from tests.loyalty_saas.portals import at_portal, cost, file_of, show_who, words
from tests.loyalty_saas.shops import credit, sale
from tests.machines import Answer, Machine

OWNERS = ("/settings/look/", "/settings/data/", "/settings/data/members/", "/settings/data/purchases/",
          "/settings/data/points/")  # fmt: skip


@pytest.fixture
def owner(shop: Client) -> ClientBrowser:
    """The portal, open before the owner."""
    return at_portal(shop)


def actions(client: Client) -> list[str]:
    """What stands in the client's record, in order."""
    return list(AuditEvent.objects.filter(client=client).order_by("sequence").values_list("action", flat=True))


# ── whose they are ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_manager_looks_after_locations_and_products_alone(shop: Client) -> None:
    manager = at_portal(shop, Actor.MANAGER)
    assert manager.get("/settings/")["Location"] == "/settings/locations/"
    assert manager.post("/settings/", {"name": "Mine now", "main": "en"}).status_code == 403
    assert [manager.get(url).status_code for url in OWNERS] == [403] * len(OWNERS)
    body = manager.get("/settings/locations/").content.decode()
    assert re.findall(r'href="(/settings/[a-z/]*)"[^>]*>(?:Business|Look|Locations|Products|Data)<', body) == [
        "/settings/locations/",
        "/settings/products/",
    ]


def test_a_clerk_has_no_settings(shop: Client) -> None:
    clerk = at_portal(shop, Actor.CLERK)
    assert {clerk.get(url).status_code for url in ("/settings/", "/settings/locations/", "/settings/products/")} == {
        403
    }


# ── the business ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_shop_gets_another_name_and_languages(shop: Client, owner: ClientBrowser) -> None:
    assert owner.post("/settings/", {"name": "Acme & Sons", "main": "de", "languages": ["en"]}).status_code == 302
    shop.refresh_from_db()
    assert (shop.name, shop.languages) == ("Acme & Sons", ["de", "en"])
    event = AuditEvent.objects.get(client=shop, action="client.changed")
    assert event.detail["before"]["name"] == "Acme"
    assert event.actor.startswith("user:")


def test_currency_and_time_zone_stand_there_with_why_they_stay(owner: ClientBrowser) -> None:
    page = words(owner.get("/settings/"))
    for said in ("Currency EUR", "Time zone Europe/Berlin", "they are set once"):
        assert said in page
    assert owner.post("/settings/", {"name": "Acme", "main": "en", "currency": "USD"}).status_code == 302
    assert "Currency EUR" in words(owner.get("/settings/"))


@pytest.mark.parametrize("given", [{"name": "", "main": "en"}, {"name": "Acme", "main": "xx"}])
def test_a_name_and_a_language_are_needed(shop: Client, owner: ClientBrowser, given: dict[str, str]) -> None:
    assert owner.post("/settings/", given).status_code == 422
    shop.refresh_from_db()
    assert (shop.name, shop.languages) == ("Acme", ["en"])


# ── the look ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_look_is_seen_before_it_is_saved_and_then_everywhere(shop: Client, owner: ClientBrowser) -> None:
    given = {"own_colour": "on", "accent": "#0f766e", "typeface": "serif", "corners": "square"}
    before = owner.get("/settings/look/", given, headers={"HX-Request": "true"})
    assert (before.status_code, "<html" in before.content.decode()) == (200, False)
    assert not Brand.objects.filter(client=shop).exists()
    logo = io.BytesIO()
    Image.new("RGB", (40, 40), "teal").save(logo, "PNG")
    logo.seek(0)
    logo.name = "logo.png"
    assert owner.post("/settings/look/", {**given, "logo": logo}).status_code == 302
    brand = Brand.objects.get(client=shop)
    assert (brand.accent, brand.typeface, brand.corners, bool(brand.logo)) == ("#0f766e", "serif", "square", True)
    assert "/brand/" in owner.get("/settings/").content.decode()
    assert "brand.changed" in actions(shop)


def test_a_logo_that_is_none_is_refused_at_its_field(shop: Client, owner: ClientBrowser) -> None:
    fake = io.BytesIO(b"<svg onload=alert(1)>")
    fake.name = "logo.svg"
    answer = owner.post("/settings/look/", {"typeface": "inter", "corners": "soft", "logo": fake})
    assert (answer.status_code, 'id="id_logo_errors"' in answer.content.decode()) == (422, True)
    assert not Brand.objects.filter(client=shop).exists()


# ── locations ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_location_is_added_renamed_closed_and_reopened(shop: Client, owner: ClientBrowser) -> None:
    assert owner.post("/settings/locations/", {"code": "main", "name": "Main Street"}).status_code == 302
    place = Location.objects.get(code="main")
    assert owner.post(f"/settings/locations/{place.pk}/", {"name": "Main Street 1"}).status_code == 302
    assert "Main Street 1" in words(owner.get("/settings/locations/"))
    for is_closed in (True, False):
        assert owner.post(f"/settings/locations/{place.pk}/doors/").status_code == 302
        place.refresh_from_db()
        assert (place.closed_at is not None) == is_closed
    assert [one for one in actions(shop) if one.startswith("location.")] == [
        "location.added", "location.renamed", "location.closed", "location.reopened",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "field"),
    [({"code": "main", "name": "Again"}, "code"), ({"code": "a b", "name": "Spaces"}, "code"), ({"code": "x"}, "name")],
)
def test_a_location_that_cannot_be_is_refused_at_its_field(
    owner: ClientBrowser, given: dict[str, str], field: str
) -> None:
    Location.objects.create(code="main", name="Main Street")
    answer = owner.post("/settings/locations/", given)
    assert (answer.status_code, f'id="id_{field}_errors"' in answer.content.decode()) == (422, True)
    assert Location.objects.count() == 1


def test_before_a_location_with_tills_is_closed_one_is_warned(owner: ClientBrowser) -> None:
    place, at = Location.objects.create(code="main", name="Main Street"), timezone.now()
    assert "stands there still" not in words(owner.get("/settings/locations/"))
    Device.objects.create(name="Till 1", location=place, token_hash="x", enrolled_at=at, seen_at=at)
    assert "1 till stands there still" in words(owner.get("/settings/locations/"))


# ── products ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_product_is_added_found_and_changed(shop: Client, owner: ClientBrowser) -> None:
    given = {"sku": "latte", "name": "Caffè latte", "category": "coffee", "earning": "on"}
    assert owner.post("/settings/products/new/", given).status_code == 302
    made = Product.objects.get()
    assert "Caffè latte" in words(owner.get("/settings/products/", {"q": "LATTE"}))
    assert "No product has" in words(owner.get("/settings/products/", {"q": "tea"}))
    changed = owner.post(f"/settings/products/{made.pk}/", {"sku": "other", "name": "Latte", "category": "hot"})
    assert changed.status_code == 302
    made.refresh_from_db()
    assert (made.sku, made.name, made.category, made.earning) == ("latte", "Latte", "hot", False)
    assert [one for one in actions(shop) if one.startswith("product.")] == ["product.added", "product.changed"]


def test_an_article_number_is_given_once(owner: ClientBrowser) -> None:
    Product.objects.create(sku="latte")
    answer = owner.post("/settings/products/new/", {"sku": "latte", "name": "Another"})
    body = answer.content.decode()
    assert (answer.status_code, 'id="id_sku_errors"' in body, 'value="Another"' in body) == (422, True, True)


def test_what_does_not_earn_earns_nothing_from_then_on(owner: ClientBrowser, till: Machine, ana: Answer) -> None:
    owner.post("/settings/products/new/", {"sku": "thing", "name": "Gift card"})
    till.post("/purchases", sale(ana["id"], "R-1", 5000))
    credit()
    assert "Points 50" in words(owner.get(f"/members/{ana['id']}/"))


def test_the_catalogue_costs_the_same_for_any_length(owner: ClientBrowser) -> None:
    counts = []
    for number in (1, 20):
        Product.objects.bulk_create(Product(sku=f"{number}-{n}") for n in range(number))
        counts.append(cost(owner, "/settings/products/"))
    assert counts[0] == counts[1] <= 8


# ── data ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def bought(till: Machine, ana: Answer) -> None:
    """One receipt of Ana's, with its points."""
    till.post("/purchases", sale(ana["id"], "R-1", 1234))
    credit()


@pytest.mark.parametrize(
    ("what", "column", "cells"),
    [("members", "Name", ["Ana"]), ("purchases", "Amount", ["12.34"]), ("points", "Amount", ["50", "12"])],
)
def test_all_data_is_taken_along_and_that_stands_in_the_record(
    shop: Client, owner: ClientBrowser, bought: None, what: str, column: str, cells: list[str]
) -> None:
    address = f"/settings/data/{what}/"
    assert "reauthenticate" in owner.post(address)["Location"]
    show_who(owner)
    assert owner.get(address).status_code == 200
    assert f"{what}.exported" not in actions(shop)
    head, *rows = file_of(owner.post(address))
    assert [row[head.index(column)] for row in rows] == cells
    assert f"{what}.exported" in actions(shop)


def test_a_file_in_parts_is_whole(owner: ClientBrowser, bought: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loyalty_saas.portal.exports.CHUNK", 1)
    show_who(owner)
    assert len(file_of(owner.post("/settings/data/points/"))) == 3


def test_r19_nothing_of_another_client_is_in_the_files(bought: None, new_client: NewClient) -> None:
    bravo = new_client("Bravo")
    stranger = at_portal(bravo)
    show_who(stranger)
    answers: list[Any] = [stranger.post(f"/settings/data/{what}/") for what in ("members", "purchases", "points")]
    assert [len(file_of(answer)) for answer in answers] == [1, 1, 1]
