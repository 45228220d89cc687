"""What the shop may take along at any time, as files: members, purchases, points."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from babel.numbers import get_currency_precision
from django.http import StreamingHttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _

from loyalty_saas.portal.shared import standing_in
from loyalty_saas.tables import csv_response
from members import queries
from members.models import LedgerEntry, Purchase
from programs.queries import Unit, units
from tenants.models import Client

CHUNK = 2000
Cells = Sequence[object]


def members(*, client: Client, asked: Any, at: datetime) -> StreamingHttpResponse:
    """These members with all we know of them; `asked` gives their ids."""
    kinds = units()
    head = [
        _("Number"), _("Name"), _("Phone"), _("E-mail"), _("Card number"), _("Birthday"), _("Language"), _("Joined"),
        _("Tier"), _("Segment"), _("Purchases"), _("Spent"), _("Last visit"), _("Agrees to news and offers"),
        *(unit.name for unit in kinds),
    ]  # fmt: skip
    lines = (
        _member_cells(line, kinds, client)
        for part in _parts(lambda: asked.order_by("pk"))
        for line in queries.member_lines(part, with_consents=True)
    )
    return _file("members", client=client, head=head, lines=lines, at=at)


def purchases(*, client: Client, at: datetime) -> StreamingHttpResponse:
    """Every line of every receipt, oldest first."""
    head = [
        _("Receipt"), _("Kind"), _("Time"), _("Member"), _("Location"), _("Channel"), _("Position"),
        _("Article number"), _("Category"), _("Quantity"), _("Amount"), _("Currency"),
    ]  # fmt: skip
    lines = (
        cells
        for part in _parts(lambda: Purchase.objects.order_by("pk").values_list("pk", flat=True))
        for purchase in _in_order(part)
        for cells in _purchase_cells(purchase)
    )
    return _file("purchases", client=client, head=head, lines=lines, at=at)


def points(*, client: Client, at: datetime) -> StreamingHttpResponse:
    """Every movement of points, oldest first."""
    head = [
        _("Time"), _("Member"), _("Unit"), _("Kind"), _("Amount"), _("Balance after"), _("Receipt"), _("Reason"),
    ]  # fmt: skip
    lines = (
        _entry_cells(entry)
        for part in _parts(lambda: LedgerEntry.objects.order_by("pk").values_list("pk", flat=True))
        for entry in LedgerEntry.objects.filter(pk__in=part)
        .select_related("account__unit", "account__member", "purchase")
        .order_by("pk")
    )
    return _file("points", client=client, head=head, lines=lines, at=at)


def _file(
    name: str, *, client: Client, head: Sequence[str], lines: Iterable[Cells], at: datetime
) -> StreamingHttpResponse:
    day = timezone.localtime(at).strftime("%Y-%m-%d")
    return csv_response(name=f"{client.slug}-{name}-{day}", head=head, lines=standing_in(client, lines))


def _parts(ids: Callable[[], Any]) -> Iterator[list[UUID]]:
    """Ids in chunks, each found by where the last one ended: no cursor stays open, and none is read twice."""
    part = list(ids()[:CHUNK])
    while part:
        yield part
        part = list(ids().filter(pk__gt=part[-1])[:CHUNK])


def _in_order(ids: Sequence[UUID]) -> Any:
    found = Purchase.objects.filter(pk__in=list(ids)).select_related("member", "location")
    return found.prefetch_related("lines").order_by("pk")


def _member_cells(line: queries.MemberLine, kinds: Sequence[Unit], client: Client) -> Cells:
    member, identity = line.member, getattr(line.member, "identity", None)
    insight, status = getattr(member, "insight", None), getattr(member, "tier_status", None)
    return [
        member.number,
        identity.name if identity else "",
        *(line.identifier(kind) for kind in ("phone", "email", "card")),
        identity.birthday if identity else "",
        identity.language if identity else "",
        _day(member.joined_at, client),
        status.tier if status else "",
        insight.get_segment_display() if insight and insight.segment else "",
        insight.purchases if insight else 0,
        _money(insight.spend if insight else 0, client.currency),
        insight.last_visit if insight else "",
        _("yes") if line.agrees_to_news else _("no"),
        *(Decimal(line.balances.get(unit.id, 0)).scaleb(-unit.decimals) for unit in kinds),
    ]


def _purchase_cells(purchase: Purchase) -> Iterator[Cells]:
    for line in sorted(purchase.lines.all(), key=lambda one: one.position):
        yield [
            purchase.document,
            purchase.get_kind_display(),
            timezone.localtime(purchase.occurred_at).isoformat(timespec="minutes"),
            purchase.member.number,
            purchase.location.code if purchase.location else "",
            purchase.channel,
            line.position,
            line.sku,
            line.category,
            line.quantity,
            _money(line.amount, purchase.currency),
            purchase.currency,
        ]


def _entry_cells(entry: LedgerEntry) -> Cells:
    unit = entry.account.unit
    return [
        timezone.localtime(entry.occurred_at).isoformat(timespec="minutes"),
        entry.account.member.number,
        unit.code,
        entry.get_kind_display(),
        Decimal(entry.amount).scaleb(-unit.decimals),
        Decimal(entry.balance_after).scaleb(-unit.decimals),
        entry.purchase.document if entry.purchase else "",
        entry.reason,
    ]


def _day(moment: datetime, client: Client) -> str:
    return timezone.localtime(moment).date().isoformat()


def _money(minor: int, currency: str) -> Decimal:
    return Decimal(minor).scaleb(-get_currency_precision(currency))
