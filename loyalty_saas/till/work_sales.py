"""What a till records: sales, those kept while the network was away, what is undone, what comes back."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final
from uuid import UUID

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from loyalty_saas.flows.purchases import Receipt, preview_credits, take_purchase, with_rewards, zone
from loyalty_saas.till import work_find
from loyalty_saas.till.work_input import Body, ClientKey, amount_of, id_of, key_of, lines_of, moment_of, quantity_of
from members.models import Member, Purchase, PurchaseLine
from members.services.purchases import Key, LineInput, PurchaseInput
from members.services.refusals import Refused, UnknownMember, UnknownPurchase
from programs.models import Clerk, Device, Product, TillSession
from programs.queries import NoProgram, program_in_force
from programs.rules import reversal
from tenants.context import current_client

Kind = Purchase.Kind
SOURCE: Final = "till"
CHANNEL: Final = "store"
UNDO_FOR: Final = timedelta(minutes=10)
CLOCKS_DIFFER_BY: Final = timedelta(minutes=5)
OFFLINE_FOR: Final = timedelta(days=14)
LONGEST_SHIFT: Final = timedelta(hours=24)
RECENT: Final = 8
ARTICLES: Final = 8


class TooLate(Refused):
    """What was done is too old to be undone with one tap."""

    code = "too_late"


@dataclass(frozen=True)
class Stand:
    """Where and by whom: the till and the clerk at it."""

    device: Device
    clerk_id: UUID

    @property
    def prefix(self) -> str:
        """How the numbers of this till's documents begin."""
        return f"T-{self.device.pk.hex[-8:].upper()}-"

    def document(self, key: ClientKey) -> str:
        """The number of the document that a key makes: always the same, and no other key's."""
        return f"{self.prefix}{key.made_at.astimezone(zone()):%y%m%d}-{key.mark}"

    def key(self, key: ClientKey, *, route: str, body: Any) -> Key:
        """The key bound to this till and to what was asked."""
        return Key.of(caller=f"device:{self.device.pk}", route=route, key=str(key.value), body=body)


# ── sales ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Sale:
    """What a clerk has typed: an amount, or lines."""

    amount: int
    lines: tuple[LineInput, ...]

    @staticmethod
    def of(body: Body) -> "Sale":
        """:raises Refused: naming what is wrong"""
        if not body.get("lines"):
            return Sale(amount_of(body.get("amount")), ())
        lines = lines_of(body["lines"])
        return Sale(amount_of(sum(line.amount for line in lines), field="lines"), lines)

    def written(self) -> list[Any]:
        """What two requests with one key must agree on."""
        return [self.amount, [[line.sku, line.quantity, line.amount] for line in self.lines]]


def preview(
    *, stand: Stand, member_id: UUID, sale: Sale, at: datetime, redemptions: Sequence[UUID] = ()
) -> dict[str, int]:
    """What the sale would earn now, by unit, with these rewards used on it."""
    purchase = _sale(stand=stand, member_id=member_id, sale=sale, document="", occurred_at=at)
    return preview_credits(with_rewards(purchase=purchase, redemptions=redemptions))


def earns_by_article() -> bool:
    """Whether a rule of the program in force looks at what was bought."""
    try:
        rules = program_in_force().spec.rules
    except NoProgram:
        return False
    return any(condition.field in {"sku", "category"} for rule in rules for condition in rule.conditions)


def record(
    *,
    stand: Stand,
    member_id: UUID,
    sale: Sale,
    key: ClientKey,
    occurred_at: datetime,
    at: datetime,
    redemptions: Sequence[UUID] = (),
) -> Receipt:
    """Record a sale once per key, whether it came at once or from what was kept without network; with rewards used."""
    document = stand.document(key)
    purchase = _sale(stand=stand, member_id=member_id, sale=sale, document=document, occurred_at=occurred_at)
    bound = stand.key(key, route="till.sale", body=[str(member_id), *sale.written()])
    return take_purchase(
        purchase=purchase,
        at=at,
        key=bound,
        answer={"document": document},
        redemptions=redemptions,
        by=stand.clerk_id,
    )


def _sale(*, stand: Stand, member_id: UUID, sale: Sale, document: str, occurred_at: datetime) -> PurchaseInput:
    return _document(
        stand=stand,
        kind=Kind.SALE,
        document=document,
        member_id=member_id,
        amount=sale.amount,
        lines=sale.lines,
        occurred_at=occurred_at,
    )


def _document(*, stand: Stand, **given: Any) -> PurchaseInput:
    return PurchaseInput(
        currency=current_client().currency,
        source=SOURCE,
        channel=CHANNEL,
        location_id=stand.device.location_id,
        location_code=stand.device.location.code,
        terminal=stand.device.name,
        clerk_id=stand.clerk_id,
        **given,
    )


def articles(text: str) -> QuerySet[Product]:
    """Articles of the catalogue by number or a part of their name; an exact number comes first."""
    bare = text.strip()
    if not bare or "\x00" in bare:
        return Product.objects.none()
    exact = Product.objects.filter(sku=bare)
    if exact.exists():
        return exact
    found = Product.objects.filter(sku__istartswith=bare) | Product.objects.filter(name__icontains=bare)
    return found.order_by("name", "sku")[:ARTICLES]


# ── kept while the network was away ─────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Synced:
    """What became of one sale that a till had kept."""

    key: str
    state: str
    words: str = ""


def sync(*, device: Device, items: Sequence[Any], at: datetime) -> list[Synced]:
    """Record what a till kept while the network was away, each by itself: taken, known already, or refused in words."""
    return [_synced(device=device, item=item if isinstance(item, dict) else {}, at=at) for item in items]


def _synced(*, device: Device, item: Body, at: datetime) -> Synced:
    name = str(item.get("key", ""))[:40]
    try:
        key, occurred_at = key_of(item.get("key")), _occurred(item, at=at)
        stand = Stand(device, _clerk_then(item, device=device, occurred_at=occurred_at))
        member_id = _member_then(item)
        receipt = record(stand=stand, member_id=member_id, sale=Sale.of(item), key=key, occurred_at=occurred_at, at=at)
    except Refused as refused:
        return Synced(name, "refused", refused.words)
    return Synced(name, "known" if receipt.accepted.repeated else "taken")


def _occurred(item: Body, *, at: datetime) -> datetime:
    occurred_at = moment_of(item.get("occurred_at"), field="occurred_at")
    if occurred_at < at - OFFLINE_FOR:
        raise Refused(_("This was kept for more than two weeks: a manager can record it."), field="occurred_at")
    if occurred_at > at + CLOCKS_DIFFER_BY:
        raise Refused(_("This till's clock is fast: set it, then try again."), field="occurred_at")
    return min(occurred_at, at)


def _clerk_then(item: Body, *, device: Device, occurred_at: datetime) -> UUID:
    """The clerk named, who must have been the last to unlock this till by then. :raises Refused: if it was not so"""
    clerk_id = id_of(item.get("clerk"), field="clerk")
    begun = TillSession.objects.filter(device=device, began_at__lte=occurred_at + CLOCKS_DIFFER_BY)
    last = begun.filter(began_at__gte=occurred_at - LONGEST_SHIFT).order_by("-began_at")
    # Clocks differ: around a change of clerks both of them may have been meant.
    for session in last.select_related("clerk")[:RECENT]:
        if session.clerk_id == clerk_id and not _had_left(session.clerk, occurred_at):
            return clerk_id
        if session.began_at <= occurred_at - CLOCKS_DIFFER_BY:
            break
    raise Refused(_("The clerk was not at this till then: a manager can record it."), field="clerk")


def _had_left(clerk: Clerk, occurred_at: datetime) -> bool:
    return clerk.left_at is not None and clerk.left_at < occurred_at


def _member_then(item: Body) -> UUID:
    if item.get("member"):
        return active(id_of(item["member"], field="member"))
    found = work_find.exactly(str(item.get("text") or "")[: work_find.LONGEST])
    if found is None:
        raise UnknownMember(_("No member has this card, phone or e-mail."), field="member")
    return found


def active(member_id: UUID) -> UUID:
    """The member, or the one it was merged into. :raises UnknownMember: if nobody active is behind the id"""
    row = Member.objects.filter(pk=member_id).values_list("status", "merged_into_id").first()
    if row is None or row[0] == Member.Status.CLOSED:
        raise UnknownMember(_("This membership is closed."), field="member")
    return row[1] or member_id


# ── undoing ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def last_sale(*, stand: Stand, at: datetime) -> Purchase | None:
    """The last sale of this till that one tap can still undo."""
    return _own_sales(stand=stand, at=at).exclude(taken_back_by__kind=Kind.VOID).order_by("-pk").first()


def undo_sale(*, stand: Stand, purchase_id: UUID, key: ClientKey, at: datetime) -> Purchase:
    """
    Void a sale of this very till within ten minutes; again changes nothing.

    :raises TooLate: after ten minutes, or for a sale of another till
    """
    sale = _own_sales(stand=stand, at=at).filter(pk=purchase_id).first()
    if sale is None:
        raise TooLate(_("This can no longer be undone here: take it back as a return."), field="sale")
    void = _document(
        stand=stand,
        kind=Kind.VOID,
        document=sale.document,
        member_id=sale.member_id,
        amount=0,
        occurred_at=at,
        sale_document=sale.document,
    )
    bound = stand.key(key, route="till.undo", body=str(purchase_id))
    # A merged member's sale is voided for the one who has its points now.
    take_purchase(purchase=replace(void, member_id=active(sale.member_id)), at=at, key=bound, answer={})
    return sale


def _own_sales(*, stand: Stand, at: datetime) -> QuerySet[Purchase]:
    recent = Purchase.objects.filter(pk__gte=first_id(at - UNDO_FOR), received_at__gte=at - UNDO_FOR)
    return recent.filter(kind=Kind.SALE, source=SOURCE, document__startswith=stand.prefix)


def first_id(at: datetime) -> UUID:
    """The smallest id that a row made at that moment can have: ids begin with their time."""
    return UUID(int=int(at.timestamp() * 1000) << 80)


# ── what comes back ─────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class LineLeft:
    """A line of a sale and what is left of it."""

    line: PurchaseLine
    name: str

    @property
    def quantity(self) -> Decimal:
        """How much has not come back."""
        return self.line.quantity - self.line.returned

    @property
    def amount(self) -> int:
        """What that cost."""
        gone = reversal(abs(self.line.amount), self.line.quantity, Decimal(0), self.line.returned)
        return abs(self.line.amount) - gone

    @property
    def by_amount(self) -> bool:
        """Whether only a total is known: then a part of it can come back."""
        return not self.line.sku and self.line.quantity == 1


@dataclass(frozen=True)
class SaleLeft:
    """A sale and what of it can come back."""

    sale: Purchase
    lines: tuple[LineLeft, ...] = field(default=())

    @property
    def amount(self) -> int:
        """What is left of it."""
        return sum(line.amount for line in self.lines)


def returnable(*, member_id: UUID, document: str = "") -> list[SaleLeft]:
    """The last sales of a member of which something is left, or those of a receipt's number."""
    sales = Purchase.objects.filter(kind=Kind.SALE, member__in=_selves(member_id))
    if document:
        sales = sales.filter(document__iexact=document.strip()[:64])
    rows = sales.prefetch_related("lines").order_by("-occurred_at", "-pk")[:RECENT]
    return _left(list(rows))


def sale_of(purchase_id: UUID, *, member_id: UUID) -> SaleLeft:
    """One sale of the member. :raises UnknownPurchase: if there is none"""
    sale = Purchase.objects.filter(pk=purchase_id, kind=Kind.SALE, member__in=_selves(member_id)).first()
    found = _left([sale]) if sale else []
    if not found:
        raise UnknownPurchase(_("Nothing is left of this sale to take back."), field="sale")
    return found[0]


def take_back(
    *,
    stand: Stand,
    member_id: UUID,
    left: SaleLeft,
    back: Sequence[tuple[LineLeft, Decimal, int]],
    key: ClientKey,
    at: datetime,
) -> Receipt:
    """Record a return of some lines of a sale, or of all that is left when `back` is empty."""
    lines = tuple(
        LineInput(quantity=quantity, amount=0, sku=line.line.sku, position=line.line.position)
        for line, quantity, _amount in back
    )
    purchase = _document(
        stand=stand,
        kind=Kind.RETURN,
        document=f"R{stand.document(key)[1:]}",
        member_id=member_id,
        amount=-sum(amount for _line, _quantity, amount in back),
        lines=lines,
        occurred_at=at,
        sale_document=left.sale.document,
    )
    asked = [str(left.sale.pk), [[line.position, line.quantity] for line in lines]]
    return take_purchase(purchase=purchase, at=at, key=stand.key(key, route="till.return", body=asked), answer={})


def take_back_without_receipt(
    *, stand: Stand, member_id: UUID, sku: str, quantity: Decimal, amount: int, key: ClientKey, at: datetime
) -> Receipt:
    """Record a return of an article whose receipt is not there: it looks for earlier sales, or waits for a manager."""
    product = Product.objects.filter(sku=sku).first()
    line = LineInput(-quantity, -amount, sku, product.category if product else "")
    purchase = _document(
        stand=stand,
        kind=Kind.RETURN,
        document=f"R{stand.document(key)[1:]}",
        member_id=member_id,
        amount=-amount,
        lines=(line,),
        occurred_at=at,
    )
    bound = stand.key(key, route="till.return", body=[str(member_id), sku, str(quantity), amount])
    return take_purchase(purchase=purchase, at=at, key=bound, answer={})


def part_of(line: LineLeft, *, quantity: Any = None, amount: Any = None) -> tuple[LineLeft, Decimal, int]:
    """How much of a line comes back, by pieces or of a mere total by amount. :raises Refused: more than is left"""
    name = f"line_{line.line.position}"
    if line.by_amount:
        back = amount_of(amount, field=name)
        if back > line.amount:
            raise Refused(_("More would come back than is left of this sale."), field=name)
        if back == line.amount:
            return line, line.quantity, back
        share = (Decimal(back) / line.line.amount).quantize(Decimal("0.001"), ROUND_HALF_UP)
        return line, min(max(share, Decimal("0.001")), line.quantity), back
    pieces = quantity_of(quantity, field=name)
    if pieces > line.quantity:
        raise Refused(_("More would come back than is left of this line."), field=name)
    gone = line.line.returned
    return line, pieces, reversal(abs(line.line.amount), line.line.quantity, gone, gone + pieces)


def _selves(member_id: UUID) -> list[UUID]:
    """The member and those merged into it: their purchases keep their rows."""
    return [member_id, *Member.objects.filter(merged_into=member_id).values_list("pk", flat=True)]


def _left(sales: Sequence[Purchase]) -> list[SaleLeft]:
    skus = {line.sku for sale in sales for line in sale.lines.all() if line.sku}
    names = dict(Product.objects.filter(sku__in=skus).values_list("sku", "name")) if skus else {}
    found = [
        SaleLeft(
            sale,
            tuple(
                LineLeft(line, names.get(line.sku) or line.sku)
                for line in sorted(sale.lines.all(), key=lambda one: one.position)
                if line.quantity > line.returned
            ),
        )
        for sale in sales
    ]
    return [one for one in found if one.lines]
