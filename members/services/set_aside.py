"""Purchases and activities that could not be credited: tried once more, or dismissed with a reason, by a person."""

from datetime import datetime
from uuid import UUID

from django.db import connections
from django.utils.translation import gettext as _

from members import ledger
from members.models import ParkedReturn, Purchase, PurchaseLine, RuleTrace, WorkItem
from members.services.refusals import Refused
from programs.queries import NoProgram, program_in_force
from tenants.routers import CLIENT


def release_set_aside(*, source_id: UUID) -> None:
    """Let an item that failed too often be tried anew, from the first attempt. :raises Refused: it is not set aside"""
    _held(source_id)
    with connections[CLIENT].cursor() as cursor:
        cursor.execute(_RELEASE, [source_id])


def dismiss_set_aside(*, source_id: UUID, reason: str, at: datetime) -> None:
    """
    Give up an item that failed too often: it earns nothing, and its traces say why, under every rule in force.

    :raises Refused: it is not set aside, or there is no reason
    """
    if not reason.strip():
        raise Refused(_("Give a reason."), field="reason")
    _held(source_id)
    try:
        rules = program_in_force().rule_ids.values()
    except NoProgram:
        rules = {}.values()
    RuleTrace.objects.bulk_create(
        RuleTrace(
            source_id=source_id,
            rule_id=rule_id,
            result=RuleTrace.Result.NOT_ELIGIBLE,
            amount=0,
            reason="dismissed",
            detail={"why": reason.strip()[:200], "at": at.isoformat()},
        )
        for rule_id in rules
    )
    lines = PurchaseLine.objects.filter(purchase=source_id, purchase__kind=Purchase.Kind.RETURN, sale_line=None)
    ParkedReturn.objects.bulk_create(
        ParkedReturn(
            line=line, quantity=-line.quantity, state=ParkedReturn.State.DISMISSED, reason=reason[:200], settled_at=at
        )
        for line in lines
    )
    WorkItem.objects.filter(pk=source_id).delete()


def _held(source_id: UUID) -> WorkItem:
    member_id = WorkItem.objects.filter(pk=source_id).values_list("member", flat=True)
    ledger.lock(member_id)
    item = WorkItem.objects.select_for_update().filter(pk=source_id).exclude(quarantined_at=None).first()
    if item is None:
        raise Refused(_("This does not wait for a person any more."), field="item")
    return item


_RELEASE = """
    WITH w AS (
        UPDATE members_workitem SET attempts = 0, error = '', quarantined_at = NULL WHERE source_id = %s
        RETURNING public.note_work()
    )
    SELECT count(*) FROM w
"""
