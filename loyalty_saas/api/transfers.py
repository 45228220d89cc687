"""Transfers: points that go from one member to another."""

from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.response import Response

from loyalty_saas.api.base import ApiRequest, ApiView, Body, body_of, note, operation
from loyalty_saas.api.fields import Amount, Input, Text
from loyalty_saas.api.keys import once, respond
from loyalty_saas.api.lookups import member_id_of, unit_of
from loyalty_saas.flows.purchases import zone
from members.models import Transfer
from members.services.purchases import Key
from members.services.transfers import transfer_points
from programs.queries import Unit
from tenants.access import Actor, admits


class NewTransfer(Input):
    """Points that one member gives another."""

    from_member = Text(max_length=254, help_text="Whose points: id, number or any identifier.")
    to_member = Text(max_length=254, help_text="Who gets them: id, number or any identifier.")
    unit = Text(max_length=30, help_text="The unit's code.")
    amount = Amount(min_value=1, help_text="Smallest steps of the unit.")
    reason = Text(max_length=200, help_text="Stands in the ledgers of both.")


class TransferShape(serializers.Serializer[Any]):
    """Points that went from one member to another, lot by lot with their dates."""

    id = serializers.UUIDField()
    from_member = serializers.UUIDField()
    to_member = serializers.UUIDField()
    unit = serializers.CharField()
    amount = serializers.IntegerField()
    reason = serializers.CharField()
    at = serializers.DateTimeField()

    class Meta:
        ref_name = "Transfer"


_NEW = NewTransfer()


@admits(Actor.MACHINE, POST="points:write")
class Transfers(ApiView):
    """Points from one member to another."""

    @operation(
        "Move points from one member to another",
        name="transfers_make",
        takes=NewTransfer,
        gives={201: TransferShape},
        keyed=True,
        refuses=("unknown_member", "unknown_unit", "not_enough_points", "refused"),
    )
    def post(self, request: ApiRequest) -> Response:
        """Available points alone, those that expire soonest first; they keep their dates."""
        at, form = timezone.now(), body_of(request, _NEW)

        def work(key: Key) -> Body:
            unit = unit_of(form["unit"])
            made = transfer_points(
                from_id=member_id_of(form["from_member"], field="from_member"),
                to_id=member_id_of(form["to_member"], field="to_member"),
                unit=unit,
                amount=form["amount"],
                key=f"api:{key.key}",
                reason=form["reason"],
                at=at,
                zone=zone(),
                by=request.auth.pk,
            )
            return _written(made, unit)

        answer = once(request, route="transfers", at=at, work=work)
        if not answer.replayed:
            detail = {"amount": form["amount"], "unit": form["unit"], "reason": form["reason"]}
            note(request, action="points.transferred", subject=str(answer.body["id"]), detail=detail, at=at)
        return respond(answer)


def _written(made: Transfer, unit: Unit) -> Body:
    return {
        "id": made.pk,
        "from_member": made.from_member_id,
        "to_member": made.to_member_id,
        "unit": unit.code,
        "amount": made.amount,
        "reason": made.reason,
        "at": made.at,
    }
