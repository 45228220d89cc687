"""From a purchase at the till to points, tier and offer."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import structlog
from django.conf import settings
from django.db import OperationalError, transaction

from loyalty_saas import workers
from members.models import Purchase
from members.services import accrual, insights, purchases
from members.services.accrual import Credited, Item, ItemLine
from members.services.known import Known, budgets_left, load_known, load_known_and_program
from members.services.purchases import Accepted, Key, PurchaseInput
from programs.queries import NoProgram, ProgramInForce, program_in_force
from programs.rules import Evaluation, preview
from rewards.services import give_back, paid_with, refresh_offers, use_on_sale
from tenants.context import current_client

log = structlog.get_logger(__name__)
# Of a sale that has not happened yet.
_NO_ID = UUID(int=0)


@dataclass(frozen=True)
class Receipt:
    """The answer to a purchase: whether it is new, what it will earn by unit, and whether workers were woken."""

    accepted: Accepted
    credits: dict[str, int]
    woken: bool


def zone() -> ZoneInfo:
    """The time zone of the client we stand in."""
    return ZoneInfo(current_client().time_zone)


def take_purchase(
    *,
    purchase: PurchaseInput,
    at: datetime,
    key: Key | None = None,
    answer: dict[str, Any],
    redemptions: Sequence[UUID] = (),
    by: UUID | None = None,
) -> Receipt:
    """
    Accept a purchase, show the credit it will bring and wake the worker that gives it.

    `answer` is completed with the credit and kept for the caller's key. `redemptions` are rewards used on the sale:
    money off among them is what points paid of it, unless the purchase says how much that was.

    :raises members.services.refusals.Refused: with the reason; nothing is recorded
    """
    purchase = with_rewards(purchase=purchase, redemptions=redemptions)
    credits = preview_credits(purchase)
    answer["credits"] = [{"unit": unit, "amount": amount} for unit, amount in sorted(credits.items())]
    if redemptions:
        with transaction.atomic():
            accepted = purchases.record_purchase(purchase=purchase, at=at, key=key, answer=answer)
            if not accepted.repeated:
                use_on_sale(redemptions=redemptions, sale_id=accepted.purchase_id, at=at, zone=zone(), by=by)
    else:
        accepted = purchases.record_purchase(purchase=purchase, at=at, key=key, answer=answer)
    woken = workers.wake(current_client().schema_name)
    return Receipt(accepted, credits, woken)


def with_rewards(*, purchase: PurchaseInput, redemptions: Sequence[UUID]) -> PurchaseInput:
    """The purchase with what rewards used on it paid, unless it says so itself."""
    if not redemptions or purchase.paid_by_points or purchase.kind != Purchase.Kind.SALE:
        return purchase
    return replace(purchase, paid_by_points=paid_with(redemptions=redemptions, amount=purchase.amount))


def preview_credits(purchase: PurchaseInput) -> dict[str, int]:
    """What a sale will earn by unit under the program in force; nothing for returns, or without a program."""
    if purchase.kind != Purchase.Kind.SALE:
        return {}
    try:
        known, program = load_known_and_program(purchase.member_id)
    except NoProgram:
        return {}
    made = _evaluated(purchase=purchase, known=known, program=program)
    return {unit: amount for unit, amount in made.credits.items() if amount}


def preview_evaluation(*, purchase: PurchaseInput, program: ProgramInForce) -> Evaluation:
    """The outcome of every rule for a sale that has not happened yet; nothing is written."""
    known = load_known(member_ids=[purchase.member_id], program=program)[purchase.member_id]
    return _evaluated(purchase=purchase, known=known, program=program)


def _evaluated(*, purchase: PurchaseInput, known: Known, program: ProgramInForce) -> Evaluation:
    event = accrual.event_of(_as_item(purchase), zone=zone())
    budgets = budgets_left(program) if "budget" in program.compiled.needs else {}
    return preview(program.compiled, event, known.state, budgets)


def _as_item(purchase: PurchaseInput) -> Item:
    lines = [
        ItemLine("", position, line.sku, line.category, str(line.quantity), line.amount, line.earning, None)
        for position, line in enumerate(purchase.lines, start=1)
    ]
    return Item(
        source_id=_NO_ID,
        key="",
        member_id=purchase.member_id,
        kind=str(purchase.kind),
        occurred_at=purchase.occurred_at,
        day=purchase.occurred_at.astimezone(zone()).date(),
        amount=purchase.amount,
        channel=purchase.channel,
        location=purchase.location_code,
        sale_id=None,
        activity="",
        document=purchase.document,
        sale_document="",
        paid_by_points=purchase.paid_by_points,
        awaited=False,
        properties={},
        rows=lines,
    )


def credit_next_batch(*, at: datetime, limit: int | None = None) -> Credited:
    """
    Carry one batch of what waits to points, tiers and offers, in one transaction.

    A batch that fails is rolled back and tried in quarters; an item that fails alone three times is set aside.
    """
    try:
        program = program_in_force()
    except NoProgram:
        return accrual.NOTHING
    size = limit or settings.BATCH_SIZE
    while True:
        credited = _credited_or_error(program=program, at=at, size=size)
        if isinstance(credited, Credited):
            return credited
        if size == 1:
            return _set_aside(error=credited, at=at)
        size = size // 4 or 1


def _credited_or_error(*, program: ProgramInForce, at: datetime, size: int) -> Credited | Exception:
    """One try. :raises OperationalError: when it is the database that is away, not the batch that is wrong"""
    try:
        with transaction.atomic():
            credited = accrual.credit_waiting(program=program, at=at, zone=zone(), limit=size)
            if credited.taken_back:
                returns = [(back.source_id, sale_id) for back, sale_id in credited.taken_back]
                give_back(returns=returns, at=at, zone=zone())
            refresh_offers(member_ids=credited.member_ids, at=at, zone=zone())
    except OperationalError:
        raise
    except Exception as error:
        log.exception("accrual.batch_failed", size=size)
        return error
    return credited


def _set_aside(*, error: Exception, at: datetime) -> Credited:
    with transaction.atomic():
        set_aside = accrual.note_failure(error=error, at=at)
    return Credited(purchases=0, member_ids=tuple(set_aside))


def settle_in(*, at: datetime) -> None:
    """After a drain: take the shop's yardsticks anew where it has grown, and follow with segments and offers."""
    with transaction.atomic():
        has_grown = insights.rescale_if_grown(at=at, zone=zone())
    if has_grown:
        member_ids = insights.refresh_all(at=at, zone=zone())
        for start in range(0, len(member_ids), insights.PART):
            with transaction.atomic():
                refresh_offers(member_ids=member_ids[start : start + insights.PART], at=at, zone=zone())
