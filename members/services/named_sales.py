"""Returns and voids that name their sale: met with it when they are recorded, or kept until it arrives."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from uuid import UUID

from django.db import IntegrityError, connections
from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from members import ledger
from members.models import Purchase, PurchaseLine
from members.services.purchase_input import LineInput, PurchaseInput
from members.services.refusals import OverReturn, Refused, UnknownPurchase
from programs.rules import reversal
from tenants.routers import CLIENT

Kind = Purchase.Kind


def same_receipt(purchase: PurchaseInput) -> QuerySet[Purchase]:
    """What is recorded of that kind under that number at that location."""
    at_location = Q(location=purchase.location_id) if purchase.location_id else Q(location=None)
    return Purchase.objects.filter(at_location, document=purchase.document, kind=purchase.kind)


def meet_sale(purchase: PurchaseInput) -> tuple[PurchaseInput, list[PurchaseLine]]:
    """
    Find the sale and turn the lines into lines of that sale; a void or a bare return takes all that is left.

    A return whose sale has not arrived is taken as it is: it waits, and is matched when that sale is credited.
    """
    if not purchase.sale_document:
        if purchase.kind == Kind.VOID:
            raise Refused(_("A void names the sale that it takes back."), field="sale")
        if not purchase.lines:
            raise Refused(_("A return names its sale, or the lines that come back."), field="lines")
        return purchase, []
    # A worker may be crediting this member's returns without a receipt, which take from the same lines.
    ledger.lock([purchase.member_id])
    sale = _sale(purchase)
    if sale is None:
        return _awaiting(purchase), []
    if purchase.member_id not in {sale.member_id, sale.member.merged_into_id}:
        raise Refused(_("This sale belongs to another member."), field="sale")
    sold = list(PurchaseLine.objects.select_for_update().filter(purchase=sale).order_by("position"))
    if same_receipt(purchase).exists():
        return _with(purchase, sale=sale, lines=purchase.lines), []
    lines = _lines_back(purchase=purchase, sold=sold)
    return _with(purchase, sale=sale, lines=tuple(lines)), sold


def _sale(purchase: PurchaseInput) -> Purchase | None:
    """The sale of that number at the same location, or the only one of the member anywhere; None if none arrived."""
    sales = Purchase.objects.select_related("member").filter(kind=Kind.SALE, document=purchase.sale_document)
    if purchase.location_id and (here := sales.filter(location=purchase.location_id).first()):
        return here
    own = sales.filter(Q(member=purchase.member_id) | Q(member__merged_into=purchase.member_id))
    found = list(own[:2]) or list(sales[:1] if not purchase.location_id else ())
    if len(found) > 1:
        raise UnknownPurchase(_("Several sales have this document number: name the location."), field="sale")
    if not found and purchase.kind == Kind.VOID:
        raise UnknownPurchase(_("No sale has this document number."), field="sale")
    return found[0] if found else None


def _with(purchase: PurchaseInput, *, sale: Purchase, lines: tuple[LineInput, ...]) -> PurchaseInput:
    return replace(
        purchase,
        sale_id=sale.pk,
        lines=lines,
        amount=(purchase.kind != Kind.VOID and purchase.amount) or sum(line.amount for line in lines),
        not_before=sale.occurred_at,
    )


def _lines_back(*, purchase: PurchaseInput, sold: Sequence[PurchaseLine]) -> list[LineInput]:
    left = {line.pk: line.quantity - line.returned for line in sold}
    if not purchase.lines or purchase.kind == Kind.VOID:
        back = [_line_back(line, left=left[line.pk], part=left[line.pk]) for line in sold if left[line.pk]]
        if not back:
            raise OverReturn(_("Nothing is left of this sale to take back."), field="sale")
        if purchase.kind == Kind.RETURN and purchase.amount not in {0, sum(line.amount for line in back)}:
            raise Refused(_("This is not what is left of the sale: name the lines that come back."), field="amount")
        return back
    back = []
    for i, wanted in enumerate(purchase.lines):
        back += _take(wanted=wanted, sold=sold, left=left, field=f"lines.{i}")
    return back


def _take(*, wanted: LineInput, sold: Sequence[PurchaseLine], left: dict[UUID, Decimal], field: str) -> list[LineInput]:
    """The sale's lines that one line of the return takes from: the one at its position, or those of its sku."""
    need = abs(wanted.quantity)
    candidates = [
        line for line in sold if (line.position == wanted.position if wanted.position else line.sku == wanted.sku)
    ]
    if not candidates:
        raise OverReturn(_("The sale has no such line."), field=f"{field}.sku")
    back = []
    for line in candidates:
        if part := min(need, left[line.pk]):
            back.append(_line_back(line, left=left[line.pk], part=part))
            left[line.pk] -= part
            need -= part
    if need:
        raise OverReturn(_("More would come back than is left of this line."), field=f"{field}.quantity")
    return back


def _line_back(line: PurchaseLine, *, left: Decimal, part: Decimal) -> LineInput:
    """So many pieces of what is left of a line; however it is split, the amounts add up to the line's."""
    before = line.quantity - left
    amount = reversal(abs(line.amount), line.quantity, before, before + part)
    return LineInput(
        quantity=-part,
        amount=amount if line.amount < 0 else -amount,
        sku=line.sku,
        category=line.category,
        unit_price=line.unit_price,
        earning=line.earning,
        sale_line_id=line.pk,
    )


# ── when that sale has not arrived ──────────────────────────────────────────────────────────────────────────────────


def _awaiting(purchase: PurchaseInput) -> PurchaseInput:
    """
    The return as it waits: it says itself what it came to, and which lines of the sale it is about.

    Its lines stand at the positions of the sale's, where they are named.

    :raises UnknownPurchase: it does not say what came back
    """
    lines = _in_place(purchase.lines)
    amount = purchase.amount or sum(line.amount for line in lines)
    if not amount:
        words = _(
            "No sale has this document number yet. Say what came back and its amount, and the return waits for it."
        )
        raise UnknownPurchase(words, field="sale")
    return replace(purchase, lines=lines, amount=amount)


def _in_place(lines: Sequence[LineInput]) -> tuple[LineInput, ...]:
    """Lines of which each has a position of its own: the one it names, or a free one."""
    named = [line.position for line in lines if line.position]
    for i, line in enumerate(lines):
        if not line.sku and not line.position:
            raise Refused(_("Name the article, or the position in the sale."), field=f"lines.{i}.sku")
        if line.position and named.count(line.position) > 1:
            raise Refused(_("Name each line of the sale once."), field=f"lines.{i}.position")
    free = iter(place for place in range(1, len(lines) + len(named) + 1) if place not in named)
    return tuple(replace(line, position=line.position or next(free)) for line in lines)


def match_named(*, purchase_id: UUID) -> None:
    try:
        with connections[CLIENT].cursor() as cursor:
            cursor.execute(_MATCH_NAMED, {"purchase": purchase_id})
    except IntegrityError as error:
        raise OverReturn(_("More would come back than is left of a line."), field="lines") from error


_MATCH_NAMED = """
    WITH back AS (
        SELECT l.id AS return_line_id, l.sale_line_id, -l.quantity AS quantity,
               sum(-l.quantity) OVER (PARTITION BY l.sale_line_id ORDER BY l.position) + l.quantity AS earlier
        FROM members_purchaseline l WHERE l.purchase_id = %(purchase)s AND l.sale_line_id IS NOT NULL
    ), matched AS (
        INSERT INTO members_returnmatch (id, return_line_id, sale_line_id, before, quantity)
        SELECT new_id(), b.return_line_id, b.sale_line_id, s.returned + b.earlier, b.quantity
        FROM back b JOIN members_purchaseline s ON s.id = b.sale_line_id
        RETURNING sale_line_id, quantity
    )
    UPDATE members_purchaseline s SET returned = s.returned + m.quantity
    FROM (SELECT sale_line_id, sum(quantity) AS quantity FROM matched GROUP BY sale_line_id) m
    WHERE s.id = m.sale_line_id
"""
