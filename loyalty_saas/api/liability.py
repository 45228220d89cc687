"""What the shop owes its members, for machines."""

from typing import Any

from django.utils import timezone
from rest_framework import serializers
from rest_framework.response import Response

from loyalty_saas.api.base import ApiRequest, ApiView, operation
from loyalty_saas.portal.liability import Books, Owed
from tenants.access import Actor, admits
from tenants.context import current_client


class EndShape(serializers.Serializer[Any]):
    """Points that lapse in one month; without a month, those that never do."""

    month = serializers.DateField(allow_null=True, help_text="Its first day.")
    amount = serializers.IntegerField()


class CohortShape(serializers.Serializer[Any]):
    """The points earned in one month and what became of them."""

    month = serializers.DateField(help_text="Its first day.")
    earned = serializers.IntegerField()
    redeemed = serializers.IntegerField()
    expired = serializers.IntegerField()
    taken_back = serializers.IntegerField()
    outstanding = serializers.IntegerField()
    expected = serializers.IntegerField(allow_null=True, help_text="Of those outstanding, how many will be used.")


class UnitLiabilityShape(serializers.Serializer[Any]):
    """What members hold of one unit, in its smallest step; estimates are null while there is too little history."""

    unit = serializers.CharField()
    outstanding = serializers.IntegerField(help_text="The sum of all balances.")
    owed = serializers.IntegerField(help_text="What members owe after returns; it is taken off already.")
    value = serializers.IntegerField(
        allow_null=True, help_text="In minor units, at the reward that gives most for a point; null without one."
    )
    expected = serializers.IntegerField(allow_null=True, help_text="How much of it will be used.")
    ends_soon = serializers.IntegerField(help_text="What lapses in this month and the two after it.")
    by_end = EndShape(many=True)
    cohorts = CohortShape(many=True)

    class Meta:
        ref_name = "UnitLiability"


class LiabilityShape(serializers.Serializer[Any]):
    """What the shop owes its members, counted at most an hour ago."""

    counted_at = serializers.DateTimeField()
    units = UnitLiabilityShape(many=True)

    class Meta:
        ref_name = "Liability"


@admits(Actor.MACHINE, GET="program:read")
class Liability(ApiView):
    """What is owed."""

    @operation("What members hold and have not used yet", name="figures_liability", gives=LiabilityShape)
    def get(self, request: ApiRequest) -> Response:
        """By the month in which it lapses, and by the month in which it was earned."""
        books = Books(current_client(), at=timezone.now())
        found = [owed for code, _name in books.codes if (owed := books.owed(code))]
        return Response({"counted_at": books.counted_at, "units": [_written(one) for one in found]})


def _written(owed: Owed) -> dict[str, Any]:
    found = owed.found
    return {
        "unit": found.unit.code,
        "outstanding": found.outstanding,
        "owed": found.owed,
        "value": owed.money(found.outstanding),
        "expected": found.expected if found.is_enough else None,
        "ends_soon": found.ends_soon,
        "by_end": [{"month": month, "amount": amount} for month, amount in found.by_end],
        "cohorts": [
            {
                "month": line.month,
                "earned": line.earned,
                "redeemed": line.redeemed,
                "expired": line.expired,
                "taken_back": line.taken_back,
                "outstanding": line.outstanding,
                "expected": line.expected if found.is_enough else None,
            }
            for line in found.cohorts
        ],
    }
