"""Tiers given by hand through the API."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone
from rest_framework import serializers
from rest_framework.response import Response

from loyalty_saas.api.base import MEMBER_IN_PATH, ApiRequest, ApiView, Body, body_of, note, operation
from loyalty_saas.api.fields import Input, Text
from loyalty_saas.api.keys import once, respond
from loyalty_saas.api.lookups import member_id_of
from loyalty_saas.flows.purchases import zone
from members import queries
from members.models import TierGrant
from members.services.purchases import Key
from members.services.tier_grants import give_tier, take_back_tier
from programs.queries import program_in_force
from tenants.access import Actor, admits


class TierGrantInput(Input):
    """A tier to give."""

    tier = Text(max_length=30, help_text="The tier's code.")
    last_day = serializers.DateField(help_text="The last local day on which it is held; two years ahead at most.")
    reason = Text(max_length=200)


class TierGrantShape(serializers.Serializer[Any]):
    """The tier given to a member by hand; null without one."""

    member = serializers.UUIDField()
    tier = serializers.CharField(allow_null=True)
    reason = serializers.CharField(allow_null=True)
    since = serializers.DateTimeField(allow_null=True)
    last_day = serializers.DateField(allow_null=True)

    class Meta:
        ref_name = "TierGrant"


_INPUT = TierGrantInput()


def _written(member_id: UUID, grant: TierGrant | None) -> Body:
    if grant is None:
        return {"member": member_id, "tier": None, "reason": None, "since": None, "last_day": None}
    last_day = (grant.until - timedelta(seconds=1)).astimezone(zone()).date()
    values = {"tier": grant.tier, "reason": grant.reason, "since": grant.since, "last_day": last_day.isoformat()}
    return {"member": member_id, **values}


@admits(Actor.MACHINE, GET="points:read", POST="points:write", DELETE="points:write")
class MemberTierGrant(ApiView):
    """The tier given to a member."""

    @operation(
        "The tier given to a member by hand",
        name="tier_grant_show",
        path=[MEMBER_IN_PATH],
        gives=TierGrantShape,
        refuses=("unknown_member",),
    )
    def get(self, request: ApiRequest, member: str) -> Response:
        member_id = member_id_of(member)
        return Response(_written(member_id, queries.grant_of(member_id, at=timezone.now())))

    @operation(
        "Give a member a tier until a day",
        name="tier_grant_give",
        path=[MEMBER_IN_PATH],
        takes=TierGrantInput,
        gives={201: TierGrantShape},
        keyed=True,
        refuses=("unknown_member", "no_program", "refused"),
    )
    def post(self, request: ApiRequest, member: str) -> Response:
        """In place of one given before. What the member earns goes on being judged; the higher of the two counts."""
        at, form = timezone.now(), body_of(request, _INPUT)
        member_id = member_id_of(member)

        def work(key: Key) -> Body:
            grant = give_tier(
                member_id=member_id,
                tier=form["tier"],
                last_day=form["last_day"],
                reason=form["reason"],
                by=request.auth.pk,
                program=program_in_force(),
                at=at,
                zone=zone(),
            )
            return _written(member_id, grant)

        answer = once(request, route="tier-grants", at=at, work=work, about=member_id)
        if not answer.replayed:
            detail = {"tier": form["tier"], "last_day": form["last_day"].isoformat(), "reason": form["reason"]}
            note(request, action="member.tier_given", subject=str(member_id), detail=detail, at=at)
        return respond(answer)

    @operation(
        "Take a given tier back before its day",
        name="tier_grant_take_back",
        path=[MEMBER_IN_PATH],
        gives=TierGrantShape,
        refuses=("unknown_member", "no_program", "refused"),
    )
    def delete(self, request: ApiRequest, member: str) -> Response:
        """Answers as if none were given; refused if none is."""
        at, member_id = timezone.now(), member_id_of(member)
        with transaction.atomic():
            grant = take_back_tier(member_id=member_id, program=program_in_force(), at=at)
        note(request, action="member.tier_taken_back", subject=str(member_id), detail={"tier": grant.tier}, at=at)
        return Response(_written(member_id, None))
