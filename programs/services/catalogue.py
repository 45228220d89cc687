"""Locations and products."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from programs.models import Location, Product


class CodeTaken(Exception):
    """Another location or product has this code; the text says so."""


def add_location(*, code: str, name: str = "") -> Location:
    """The location of that code, made if it is new."""
    location, _new = Location.objects.get_or_create(code=code, defaults={"name": name or code})
    return location


def put_products(products: Iterable[Product]) -> int:
    """Add products to the catalogue or bring name and category up to date; how many were given."""
    rows = list(products)
    Product.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["sku"], update_fields=["name", "category", "earning"]
    )
    return len(rows)


def new_location(*, code: str, name: str) -> Location:
    """A further location. :raises CodeTaken: one has that code"""
    try:
        with transaction.atomic():
            return Location.objects.create(code=code, name=name)
    except IntegrityError as error:
        raise CodeTaken(_("Another location has this code.")) from error


def rename_location(*, location_id: UUID, name: str) -> Location:
    """Give a location another name; its code stays, for tills and files know it by that."""
    location = Location.objects.select_for_update().get(pk=location_id)
    location.name = name
    location.save(update_fields=["name"])
    return location


def close_location(*, location_id: UUID, at: datetime) -> Location:
    """Close a location; what happened there stays, and closing again changes nothing."""
    location = Location.objects.select_for_update().get(pk=location_id)
    if location.closed_at is None:
        location.closed_at = at
        location.save(update_fields=["closed_at"])
    return location


def reopen_location(*, location_id: UUID) -> Location:
    """Open a closed location again."""
    location = Location.objects.select_for_update().get(pk=location_id)
    location.closed_at = None
    location.save(update_fields=["closed_at"])
    return location


def add_product(*, sku: str, name: str, category: str, earning: bool) -> Product:
    """A further product. :raises CodeTaken: one has that article number"""
    try:
        with transaction.atomic():
            return Product.objects.create(sku=sku, name=name, category=category, earning=earning)
    except IntegrityError as error:
        raise CodeTaken(_("Another product has this article number.")) from error


def change_product(*, product_id: UUID, name: str, category: str, earning: bool) -> Product:
    """Bring a product up to date; purchases to come are judged by it, those recorded stay as they are."""
    product = Product.objects.select_for_update().get(pk=product_id)
    product.name, product.category, product.earning = name, category, earning
    product.save(update_fields=["name", "category", "earning"])
    return product
