"""A provider with a few clients, one of them a hiking club with a year behind it: what pages are looked at with."""

import copy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from uuid import UUID
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from loyalty_saas.bearers import CARD_COOKIE, DEVICE_COOKIE
from loyalty_saas.demo_data import hiking, loading
from loyalty_saas.flows import figures, nights, replays
from loyalty_saas.flows.purchases import credit_next_batch
from members.models import ApiRequest, ImportJob, LedgerEntry, Member, Purchase
from members.services import cards, households
from members.services.accrual import NOTHING
from members.services.approvals import ask_for_adjustment
from programs.models import Clerk, Device, Location, Product, Program
from programs.queries import units
from programs.services import tills
from programs.services.drafts import begin_draft
from tenants.context import current_client, public_atomic, use_client
from tenants.keys import uuid7
from tenants.models import Client, KpiDay, Onboarding, Provider, Role, User
from tests.browsers import Watched, carry, come_signed_in
from tests.clients import make_client
from tests.machines import Machine
from tests.people import person

PIN = "274951"
NEIGHBOURS = ("Harbor Coffee Roasters", "Petal and Stem", "Lumen Yoga")


@dataclass
class Houses:
    """Who is there, and what the addresses of their pages need."""

    provider: Provider
    club: Client
    neighbours: list[Client]
    technician: User
    owner: User
    clerk: Clerk
    device_token: str
    locked_token: str
    card_token: str
    ids: dict[str, UUID | str] = field(default_factory=dict)

    def come(self, watched: Watched, who: str) -> None:
        """Give the page's browser what this visitor carries."""
        if who == "technician":
            come_signed_in(watched, client=None, user=self.technician)
        elif who == "owner":
            come_signed_in(watched, client=self.club, user=self.owner)
        elif who in {"till", "locked till"}:
            if who == "till":
                self.unlock()
            token = self.device_token if who == "till" else self.locked_token
            carry(watched, name=DEVICE_COOKIE, value=token)
        elif who == "member":
            carry(watched, name=CARD_COOKIE, value=self.card_token)

    def unlock(self) -> None:
        """Let Mia type her PIN at the first till."""
        with use_client(self.club):
            device = Device.objects.get(pk=self.ids["device_id"])
            tills.begin_session(device=device, clerk_id=self.clerk.pk, pin=PIN, at=timezone.now())

    def host(self, who: str) -> str:
        """Where this visitor looks."""
        return settings.PLATFORM_HOST if who in {"technician", "stranger"} else self.club.domains.get().host


def build(*, spare_batch: int) -> Houses:
    """Load them all; about half a minute."""
    provider = Provider.objects.create(slug="beacon", name="Beacon IT")
    club = make_client(
        "Ridgeline Hiking Club", provider=provider, spare_batch=spare_batch, template="hiking", trade="outdoor",
        currency="USD", time_zone="America/Denver", languages=["en", "de"],
    )  # fmt: skip
    at = timezone.now()
    with use_client(club):
        _live_a_year(at=at)
        device, token = _till("Counter 1", at=at)
        _locked, locked_token = _till("Counter 2", at=at)
        clerk = tills.add_clerk(name="Mia Keller", role=Clerk.Role.CLERK, location=None, at=at, pin=PIN)
        tills.add_clerk(name="Jonas Brandt", role=Clerk.Role.MANAGER, location=None, at=at, pin=PIN)
        tills.begin_session(device=device, clerk_id=clerk.pk, pin=PIN, at=at)
        member = _regular()
        card = cards.make_link(member_id=member.pk, way="till", at=at)
        _session, card_token = cards.open_link(token=card, label="Phone", at=at)
        ids = _ids(member, clerk=clerk, device=device, at=at)
    technician = person(Role.PROVIDER, provider=provider)
    ids |= {"client_id": club.pk, **_onboardings(provider, by=technician, at=at)}
    neighbours = [_neighbour(name, provider=provider, spare_batch=spare_batch, at=at) for name in NEIGHBOURS]
    return Houses(
        provider=provider,
        club=club,
        neighbours=neighbours,
        technician=technician,
        owner=person(Role.OWNER, client=club),
        clerk=clerk,
        device_token=token,
        locked_token=locked_token,
        card_token=card_token,
        ids=ids,
    )


def _live_a_year(*, at: datetime) -> None:
    zone = ZoneInfo("America/Denver")
    until = at.astimezone(zone).date() - timedelta(days=1)
    loading.load(shop=hiking.generate(seed=2026, until=until, zone=zone), progress=lambda words: None)
    while credit_next_batch(at=at) != NOTHING:
        pass
    nights.spend_night(at=at)
    figures.roll_up_days(days=400, at=at)


def _ids(member: Member, *, clerk: Clerk, device: Device, at: datetime) -> dict[str, UUID | str]:
    published = Program.objects.get(status=Program.Status.PUBLISHED)
    document = copy.deepcopy(published.document)
    document["rules"][0]["name"] = "Now with a better name"
    begin_draft(document=document, at=at)
    tried = replays.start(document=document, months=12, at=at)
    replays.run(replay_id=tried.pk)
    sale = Purchase.objects.filter(member=member, kind="sale").latest("occurred_at")
    location = Location.objects.order_by("code")[0]
    code, _spoken = tills.make_device_code(name="Counter 3", location=location, by=None, at=at)
    machine = Machine(current_client())
    machine.get("/members?limit=2")
    machine.post("/purchases", {"document": "R-1"})
    assert machine.key
    other = Member.objects.exclude(pk=member.pk).filter(status=Member.Status.ACTIVE).order_by("pk")[0]
    _share(member, other, at=at)
    return {
        "member_id": member.pk,
        "other_id": other.pk,
        "entry_id": LedgerEntry.objects.filter(account__member=member).latest("at").pk,
        "purchase_id": sale.pk,
        "document": sale.document,
        "token": cards.make_link(member_id=member.pk, way="till", at=at),
        "job_id": ImportJob.objects.latest("started_at").pk,
        "program_id": published.pk,
        "replay_id": tried.pk,
        "rule_code": document["rules"][0]["code"],
        "offer_code": document["offers"][0]["code"],
        "reward_code": document["rewards"][0]["code"],
        "location_id": location.pk,
        "product_id": Product.objects.order_by("sku")[0].pk,
        "clerk_id": clerk.pk,
        "code_id": code.pk,
        "device_id": device.pk,
        "key_id": machine.key.pk,
        "request_id": ApiRequest.objects.latest("at").pk,
    }


def _share(member: Member, other: Member, *, at: datetime) -> None:
    """A household of two, and something that waits for a second person."""
    unit = units()[0]
    with transaction.atomic():
        households.make_household(name="The Okafors", member_ids=[member.pk, other.pk], at=at)
        ask_for_adjustment(
            member_id=member.pk, unit=unit, amount=20_000, reason="A trip that was never booked", key="asked",
            by=uuid7(), at=at,
        )  # fmt: skip


def _till(name: str, *, at: datetime) -> tuple[Device, str]:
    location = Location.objects.order_by("code")[0]
    _code, code = tills.make_device_code(name=name, location=location, by=None, at=at)
    return tills.enrol_device(code=code, at=at)


def _regular() -> Member:
    """A member with a tier, something to redeem and a long history."""
    found = Member.objects.filter(tier_status__tier__gt="", status=Member.Status.ACTIVE)
    return found.filter(identifiers__kind="phone").order_by("-insight__purchases", "pk")[0]


def _onboardings(provider: Provider, *, by: User, at: datetime) -> dict[str, UUID | str]:
    """One that is being filled in, one that waits for a worker."""
    asked = {"name": "Nowhere Books", "trade": "retail", "template": "retail"}
    made = [
        Onboarding.objects.create(provider=provider, request=asked, state=state, requested_by=by.pk, requested_at=at)
        for state in (Onboarding.State.DRAFT, Onboarding.State.FAILED)
    ]
    return {"draft_id": made[0].pk, "onboarding_id": made[1].pk}


def _neighbour(name: str, *, provider: Provider, spare_batch: int, at: datetime) -> Client:
    client = make_client(name, provider=provider, spare_batch=spare_batch, trade="cafe", currency="USD")
    chance, today = Random(name), at.date()
    rows = []
    for back in range(120):
        sales = chance.randint(20, 60)
        revenue = sales * chance.randint(700, 1900)
        rows.append(
            KpiDay(
                client=client,
                day=today - timedelta(days=back + (4 if name == NEIGHBOURS[1] else 0)),
                sales=sales,
                members=900 - back * 2,
                new_members=3,
                active_members=300,
                returns=1,
                revenue=revenue,
                repeat_revenue=revenue * chance.randint(30, 55) // 100,
                earned=revenue // 100,
                spent=revenue // 250,
                outstanding=90_000,
                liability=45_000,
                redemptions=4,
                counted_at=at,
                last_sale_at=at - timedelta(days=back),
            )
        )
    with public_atomic():
        KpiDay.objects.bulk_create(rows)
    return client
