"""Purchases: sales, returns and voids come in, and show what they earned and why."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _
from rest_framework.response import Response

from loyalty_saas.api.base import ApiRequest, ApiView, Body, an_id, body_of, id_in_path, nothing, operation, page
from loyalty_saas.api.fields import (
    LARGEST,
)
from loyalty_saas.api.keys import key_of, respond
from loyalty_saas.api.lookups import location_for, member_id_of
from loyalty_saas.api.points import written_entries, written_traces
from loyalty_saas.api.problems import Problem
from loyalty_saas.api.purchase_shapes import (
    CREDITED,
    SET_ASIDE,
    WAITING,
    NewPurchase,
    PreviewShape,
    PurchaseListing,
    PurchasePage,
    ReceiptShape,
    SaleForPreview,
    WholePurchaseShape,
)
from loyalty_saas.flows.purchases import preview_evaluation, take_purchase, with_rewards
from loyalty_saas.sentences import Why, why_points
from members import queries
from members.models import LedgerEntry, Purchase, PurchaseLine, WorkItem
from members.services import idempotency
from members.services.idempotency import Answer
from members.services.purchases import Key, LineInput, PurchaseInput
from members.services.refusals import UnknownMember
from programs.models import Product
from programs.queries import NoProgram, products_by_sku, program_in_force
from programs.rules import Evaluation
from tenants.access import Actor, admits

Kind = Purchase.Kind
CLOCKS_DIFFER_BY = timedelta(minutes=5)

# ── reading a purchase ──────────────────────────────────────────────────────────────────────────────────────────────


def read_purchase(request: ApiRequest, form: Body, *, at: datetime) -> PurchaseInput:
    """
    A purchase with its member and location found, its lines completed and its signs set.

    :raises Problem: naming the field that cannot be so
    """
    kind, sale = form.get("kind", Kind.SALE), form.get("sale") or ""
    _check_kind(kind=kind, sale=sale, form=form)
    _check_currency(form.get("currency"), request.client.currency)
    rows = form.get("lines") or []
    lines = _lines_of_sale(rows) if sale else _lines(rows)
    location_id, location_code = location_for(request, form.get("location"))
    return PurchaseInput(
        kind=kind,
        document=form.get("document", ""),
        member_id=member_id_of(form["member"], field="member"),
        currency=request.client.currency,
        amount=_amount(form, lines=lines, named=bool(sale)) * (1 if kind == Kind.SALE else -1),
        occurred_at=_moment(form.get("occurred_at"), at=at),
        lines=lines if kind == Kind.SALE else tuple(_back(line) for line in lines),
        location_id=location_id,
        location_code=location_code,
        terminal=form.get("terminal") or "",
        channel=form.get("channel") or "",
        sale_document=sale,
        paid_by_points=_paid(form, kind=kind),
    )


def _paid(form: Body, *, kind: str) -> int:
    """What points paid of a sale. :raises Problem: of anything else, nothing is paid"""
    for name in ("paid_by_points", "redemptions"):
        if kind != Kind.SALE and form.get(name):
            raise Problem("refused", _("Only a sale can be paid by points."), field=name)
    return form.get("paid_by_points") or 0


def _check_kind(*, kind: str, sale: str, form: Body) -> None:
    lines, amount = form.get("lines"), form.get("amount")
    if kind == Kind.SALE and sale:
        raise Problem("refused", _("Only a return or void names a sale."), field="sale")
    if kind == Kind.VOID and not sale:
        raise Problem("refused", _("A void names the sale that it takes back."), field="sale")
    if kind == Kind.VOID and lines:
        words = _("A void takes the whole sale back; send a return for some of its lines.")
        raise Problem("refused", words, field="lines")
    if kind == Kind.RETURN and not sale and not lines:
        raise Problem("refused", _("A return names its sale, or the lines that come back."), field="lines")
    if kind == Kind.SALE and not lines and amount is None:
        raise Problem("amount_missing", _("Give an amount, or lines."), field="amount")


def _check_currency(given: str | None, currency: str) -> None:
    if given and given != currency:
        words = _("Purchases here are in %(currency)s.") % {"currency": currency}
        raise Problem("wrong_currency", words, field="currency")


def _moment(given: datetime | None, *, at: datetime) -> datetime:
    if given and given > at + CLOCKS_DIFFER_BY:
        raise Problem("in_the_future", _("This is more than five minutes ahead."), field="occurred_at")
    return given or at


def _amount(form: Body, *, lines: Sequence[LineInput], named: bool) -> int:
    """The total; 0 for lines that come back from a named sale, since it knows what they cost."""
    given = form.get("amount")
    if not lines:
        return given or 0
    total = sum(line.amount for line in lines)
    told = not named or all(row.get("amount") is not None for row in form["lines"])
    if given is not None and told and given != total:
        words = _("The lines add up to %(total)s.") % {"total": total}
        raise Problem("amount_mismatch", words, field="amount")
    if named:
        return 0
    if not 0 <= total <= LARGEST:
        raise Problem("too_much", _("The lines add up to less than 0, or to more than 10^12."), field="lines")
    return total


def _lines(rows: Sequence[Body]) -> tuple[LineInput, ...]:
    known = _catalogue(rows)
    return tuple(_line(row, place, known.get(row.get("sku") or "")) for place, row in enumerate(rows))


def _catalogue(rows: Sequence[Body]) -> dict[str, Product]:
    """The products of lines that leave something to the catalogue."""
    open_rows = [row for row in rows if row.get("sku") and (row.get("category") is None or row.get("earning") is None)]
    return products_by_sku([row["sku"] for row in open_rows]) if open_rows else {}


def _line(row: Body, place: int, product: Product | None) -> LineInput:
    category, earning = row.get("category"), row.get("earning")
    return LineInput(
        quantity=row["quantity"],
        amount=_line_amount(row, place),
        sku=row.get("sku") or "",
        category=category if category is not None else product.category if product else "",
        unit_price=row.get("unit_price"),
        discount=row.get("discount") or 0,
        earning=earning if earning is not None else product.earning if product else True,
    )


def _line_amount(row: Body, place: int) -> int:
    amount, price = row.get("amount"), row.get("unit_price")
    if amount is not None:
        return int(amount)
    if price is None:
        raise Problem("amount_missing", _("Give an amount, or a unit price."), field=f"lines.{place}.amount")
    exact = row["quantity"] * price - (row.get("discount") or 0)
    if abs(exact) > LARGEST:
        raise Problem("too_much", _("The line comes to more than 10^12."), field=f"lines.{place}.quantity")
    return int(exact.to_integral_value(ROUND_HALF_UP))


def _lines_of_sale(rows: Sequence[Body]) -> tuple[LineInput, ...]:
    """Lines of a return that names its sale: which, and how much of each; what they come to is the sale's to say."""
    return tuple(
        LineInput(
            quantity=row["quantity"],
            amount=row.get("amount") or 0,
            sku=row.get("sku") or "",
            position=row.get("position"),
        )
        for row in rows
    )


def _back(line: LineInput) -> LineInput:
    return LineInput(
        quantity=-line.quantity,
        amount=-line.amount,
        sku=line.sku,
        category=line.category,
        unit_price=line.unit_price,
        discount=line.discount,
        earning=line.earning,
        position=line.position,
    )


# ── answering ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _take(
    purchase: PurchaseInput, *, key: Key, at: datetime, redemptions: Sequence[UUID] = (), by: UUID | None = None
) -> Answer:
    body: Body = {
        "kind": str(purchase.kind),
        "document": purchase.document,
        "member": str(purchase.member_id),
        "occurred_at": purchase.occurred_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "points_follow": False,
        "repeated": False,
        "waits_for_sale": False,
    }
    receipt = take_purchase(purchase=purchase, at=at, key=key, answer=body, redemptions=redemptions, by=by)
    accepted = receipt.accepted
    if accepted.answer is not None:
        return Answer(accepted.status, accepted.answer, replayed=True)
    body["id"] = str(accepted.purchase_id)
    if not accepted.repeated and receipt.woken:
        return Answer(accepted.status, body)
    body |= {"points_follow": not receipt.woken, "repeated": accepted.repeated}
    idempotency.keep(key=key, status=accepted.status, body=body, at=at)
    return Answer(accepted.status, body)


def written_purchases(purchases: Sequence[Purchase]) -> list[Body]:
    """Purchases as JSON, each with whether its points are there."""
    open_items = WorkItem.objects.filter(pk__in=[purchase.pk for purchase in purchases])
    waiting = dict(open_items.values_list("source_id", "quarantined_at"))
    parked = set(queries.awaiting_a_sale([purchase.pk for purchase in purchases]))
    return [
        _written(
            purchase,
            credit=credit_state(purchase.pk, waiting),
            waits=purchase.pk in parked or (purchase.pk in waiting and _names_no_sale_yet(purchase)),
        )
        for purchase in purchases
    ]


def _names_no_sale_yet(purchase: Purchase) -> bool:
    return bool(purchase.sale_document) and purchase.sale_id is None


def credit_state(source_id: UUID, waiting: dict[UUID, datetime | None]) -> str:
    """Whether a purchase or activity has its points, given the open work items and when they were set aside."""
    if source_id not in waiting:
        return CREDITED
    return SET_ASIDE if waiting[source_id] else WAITING


def _written(purchase: Purchase, *, credit: str, waits: bool) -> Body:
    return {
        "id": purchase.pk,
        "kind": purchase.kind,
        "document": purchase.document,
        "sale": purchase.sale.document if purchase.sale else purchase.sale_document or None,
        "waits_for_sale": waits,
        "member": purchase.member_id,
        "location": purchase.location.code if purchase.location else None,
        "terminal": purchase.terminal,
        "channel": purchase.channel,
        "source": purchase.source,
        "currency": purchase.currency,
        "amount": purchase.amount,
        "paid_by_points": purchase.paid_by_points,
        "occurred_at": purchase.occurred_at,
        "received_at": purchase.received_at,
        "credit": credit,
    }


def _written_line(line: PurchaseLine) -> Body:
    return {
        "position": line.position,
        "sku": line.sku,
        "category": line.category,
        "quantity": _places(line.quantity, 3),
        "unit_price": None if line.unit_price is None else _places(line.unit_price, 4),
        "discount": line.discount,
        "amount": line.amount,
        "earning": line.earning,
        "returned": _places(line.returned, 3),
    }


def _places(value: Decimal, places: int) -> str:
    return f"{value:.{places}f}"


def _credits(amounts: Iterable[tuple[str, int]]) -> list[Body]:
    return [{"unit": unit, "amount": amount} for unit, amount in sorted(amounts) if amount]


# ── the views ───────────────────────────────────────────────────────────────────────────────────────────────────────

_NEW, _PREVIEW, _LISTING = NewPurchase(), SaleForPreview(), PurchaseListing()
_REFUSES = (
    "unknown_member",
    "unknown_location",
    "other_location",
    "wrong_currency",
    "amount_missing",
    "amount_mismatch",
    "too_much",
    "in_the_future",
    "refused",
)


@admits(Actor.MACHINE, GET="purchases:read", POST="purchases:write")
class Purchases(ApiView):
    """All purchases."""

    @operation("Purchases, newest first", name="purchases_list", query=PurchaseListing, gives=PurchasePage)
    def get(self, request: ApiRequest) -> Response:
        return page(request, _LISTING, _found, written_purchases)

    @operation(
        "Record a sale, return or void",
        name="purchases_record",
        takes=NewPurchase,
        gives={200: ReceiptShape, 201: ReceiptShape},
        keyed=True,
        refuses=(
            *_REFUSES,
            "unknown_purchase",
            "receipt_conflict",
            "over_return",
            "unknown_redemption",
            "hold_settled",
        ),
    )
    def post(self, request: ApiRequest) -> Response:
        """
        Accepted at once; a worker gives the points shortly after.

        A document that was recorded before, by whatever channel, counts once and is answered with 200.
        """
        at, key = timezone.now(), key_of(request, route="purchases")
        form = body_of(request, _NEW)
        purchase = read_purchase(request, form, at=at)
        used = form.get("redemptions") or ()
        return respond(_take(purchase, key=key, at=at, redemptions=used, by=request.auth.pk))


def _found(asked: Body) -> QuerySet[Purchase]:
    found = queries.purchases().prefetch_related(None)
    if reference := asked.pop("member", None):
        try:
            found = found.filter(member_id=member_id_of(reference))
        except UnknownMember:
            return found.none()
    return found.filter(**asked)


@admits(Actor.MACHINE, POST="purchases:read")
class PurchasePreview(ApiView):
    """What would be."""

    @operation(
        "What a sale would bring, and why",
        name="purchases_preview",
        takes=SaleForPreview,
        gives=PreviewShape,
        refuses=_REFUSES,
    )
    def post(self, request: ApiRequest) -> Response:
        """Nothing is recorded."""
        form = body_of(request, _PREVIEW)
        purchase = read_purchase(request, form, at=timezone.now())
        purchase = with_rewards(purchase=purchase, redemptions=form.get("redemptions") or ())
        try:
            program = program_in_force()
        except NoProgram:
            return Response({"member": purchase.member_id, "credits": [], "traces": []})
        made = preview_evaluation(purchase=purchase, program=program)
        whys = [Why.of_outcome(outcome, program=program) for outcome in made.outcomes]
        return Response(
            {
                "member": purchase.member_id,
                "credits": _credits(made.credits.items()),
                "traces": _written_outcomes(made, whys),
            }
        )


def _written_outcomes(made: Evaluation, whys: Sequence[Why]) -> list[Body]:
    return [
        {
            "rule": outcome.code,
            "name": why.rule,
            "unit": outcome.unit,
            "result": outcome.result,
            "amount": outcome.amount,
            "line_amounts": list(outcome.line_amounts),
            "reason": outcome.reason,
            "sentence": why_points(why),
        }
        for outcome, why in zip(made.outcomes, whys, strict=True)
    ]


@admits(Actor.MACHINE, GET="purchases:read")
class OnePurchase(ApiView):
    """One purchase."""

    @operation(
        "One purchase with its lines, what it moved, and why",
        name="purchases_read",
        path=[id_in_path("purchase", "purchase")],
        gives=WholePurchaseShape,
    )
    def get(self, request: ApiRequest, purchase: str) -> Response:
        found = queries.purchase_by_id(an_id(purchase))
        if found is None:
            raise nothing()
        entries = list(_entries(found))
        lines = [_written_line(line) for line in sorted(found.lines.all(), key=lambda line: line.position)]
        traces = queries.traces_of([found.pk])[found.pk]
        return Response(
            {
                **written_purchases([found])[0],
                "lines": lines,
                "entries": written_entries(entries),
                "traces": written_traces(traces),
            }
        )


def _entries(purchase: Purchase) -> QuerySet[LedgerEntry]:
    related = ("account__unit", "purchase", "activity", "lot")
    return LedgerEntry.objects.select_related(*related).filter(purchase=purchase).order_by("pk")
