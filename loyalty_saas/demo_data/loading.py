"""Bringing a made-up shop into a client through the same doors that a real one uses."""

import csv
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Final
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from loyalty_saas.demo_data import cafe, hiking_catalogue
from loyalty_saas.demo_data.common import DemoActivity, DemoMember, DemoPurchase, DemoShop
from loyalty_saas.flows import imports, purchases
from members.models import Member
from members.queries import member_ids_for
from members.services.activities import record_activity
from members.services.enrolment import NewMember, enrol
from members.services.purchases import LineInput, PurchaseInput
from programs.models import Clerk, Product
from programs.queries import location_by_code
from programs.services import tills
from programs.services.catalogue import add_location, put_products
from tenants.context import current_client

Progress = Callable[[str], None]
_HEADER = ("purchase_id", "member_id", "timestamp", "amount", "sku", "description", "category", "qty", "unit_price",
           "location", "channel")  # fmt: skip


@dataclass(frozen=True)
class DemoClerk:
    """Somebody at a till of the demo, at one location or at all."""

    name: str
    role: str = Clerk.Role.CLERK
    location: str = ""


@dataclass(frozen=True)
class DemoStaff:
    """Who works in a shop of the demo, and where one of its tills stands."""

    location: tuple[str, str]
    clerks: tuple[DemoClerk, ...]


STAFF: Final = {
    "music": DemoStaff(
        ("store", "Main Street store"),
        (DemoClerk("Ana Ruiz", Clerk.Role.MANAGER), DemoClerk("Ben Okafor"), DemoClerk("Mia Klein", location="store")),
    ),
    "cafe": DemoStaff(
        (cafe.STATION.code, cafe.STATION.name),
        (
            DemoClerk("Jo Park", Clerk.Role.MANAGER),
            DemoClerk("Lena Vogt"),
            DemoClerk("Tariq Aziz", location=cafe.HARBOUR.code),
        ),
    ),
    "hiking": DemoStaff(
        (hiking_catalogue.STORE.code, hiking_catalogue.STORE.name),
        (DemoClerk("Sam Rivera", Clerk.Role.MANAGER), DemoClerk("Noor Haddad")),
    ),
}
OTHERS: Final = DemoStaff(("store", "Your shop"), (DemoClerk("Alex Doe", Clerk.Role.MANAGER), DemoClerk("Kim Lee")))


def add_staff(*, staff: DemoStaff, pin_of: Callable[[str], str], at: datetime) -> dict[str, str]:
    """Clerks who can unlock a till, and a location for it; the PINs by name. Again changes nothing."""
    code, name = staff.location
    add_location(code=code, name=name)
    pins = {clerk.name: pin_of(clerk.name) for clerk in staff.clerks}
    for clerk in staff.clerks:
        if not Clerk.objects.filter(name=clerk.name).exists():
            place = location_by_code(clerk.location)
            tills.add_clerk(name=clerk.name, role=clerk.role, location=place, pin=pins[clerk.name], at=at)
    return pins


def load(*, shop: DemoShop, progress: Progress) -> None:
    """Catalogue, members, sales, activities, returns: again does no harm."""
    put_products(Product(sku=p.sku, name=p.name, category=p.category, earning=p.earning) for p in shop.products)
    for place in shop.locations:
        add_location(code=place.code, name=place.name)
    _enrol_members(shop=shop, progress=progress)
    _import_sales(shop=shop, progress=progress)
    members = member_ids_for([member.pos_id for member in shop.members])
    for number, activity in enumerate(shop.activities, start=1):
        _record(activity=activity, member_id=members[activity.member])
        progress(f"activities {number:,} of {len(shop.activities):,}")
    for back in (purchase for purchase in shop.purchases if purchase.kind != "sale"):
        purchases.take_purchase(
            purchase=_purchase(back=back, member_id=members[back.member]), at=timezone.now(), answer={}
        )


def _enrol_members(*, shop: DemoShop, progress: Progress) -> None:
    known = set(member_ids_for([member.pos_id for member in shop.members]))
    for number, member in enumerate(shop.members, start=1):
        if member.pos_id not in known:
            _enrol(member)
        progress(f"members {number:,} of {len(shop.members):,}")


def _enrol(member: DemoMember) -> Member:
    with transaction.atomic():
        return enrol(
            new=NewMember(
                identifiers={"pos": member.pos_id, "phone": member.phone or "", "email": member.email or ""},
                name=member.name,
                birthday=member.birthday,
                consents={"marketing": member.marketing_consent},
                consent_text="2026-01",
                source="demo",
            ),
            region="US",
            at=member.joined_at,
        )


def _import_sales(*, shop: DemoShop, progress: Progress) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sales.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(_HEADER)
            for sale in shop.purchases:
                if sale.kind == "sale":
                    writer.writerows(_rows(sale))
        with path.open("rb") as opened:
            job = imports.start(file=opened, name="sales.csv", mapping={}, dry_run=False, at=timezone.now())
    imports.run(
        job_id=job.pk,
        at=timezone.now(),
        progress=lambda job: progress(f"sales {job.documents_done:,} of {job.documents:,}"),
    )


def _rows(sale: DemoPurchase) -> list[tuple[object, ...]]:
    return [
        (
            sale.document,
            sale.member,
            sale.occurred_at.isoformat(),
            Decimal(line.amount_minor) / 100,
            line.sku,
            line.name,
            line.category,
            line.quantity,
            Decimal(line.unit_price_minor) / 100,
            sale.location,
            sale.channel,
        )
        for line in sale.lines
    ]


def _record(*, activity: DemoActivity, member_id: UUID) -> None:
    record_activity(
        member_id=member_id,
        kind=activity.kind,
        reference=activity.reference,
        source="demo",
        occurred_at=activity.occurred_at,
        at=timezone.now(),
        amount=activity.amount_minor,
        properties=dict(activity.properties),
    )


def _purchase(*, back: DemoPurchase, member_id: UUID) -> PurchaseInput:
    location = location_by_code(back.location)
    return PurchaseInput(
        kind=back.kind,
        document=back.document,
        member_id=member_id,
        currency=current_client().currency,
        amount=back.amount_minor,
        occurred_at=back.occurred_at,
        lines=tuple(
            LineInput(quantity=Decimal(line.quantity), amount=line.amount_minor, sku=line.sku, category=line.category)
            for line in back.lines
        ),
        source="demo",
        location_id=location.pk if location else None,
        location_code=back.location,
        channel=back.channel,
        sale_document=back.sale_document or "",
    )
