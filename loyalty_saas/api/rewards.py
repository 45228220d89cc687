"""Rewards and offers: what a member can have, is offered, reserves and gets."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone
from rest_framework import serializers
from rest_framework.response import Response

from loyalty_saas.api.base import (
    MEMBER_IN_PATH,
    ApiRequest,
    ApiView,
    Body,
    an_id,
    body_of,
    id_in_path,
    nothing,
    operation,
    page,
)
from loyalty_saas.api.fields import OPTIONAL, Choice, Input, Text
from loyalty_saas.api.keys import once, respond
from loyalty_saas.api.lookups import location_for, member_id_of
from loyalty_saas.api.pages import Listing, page_shape
from loyalty_saas.flows.purchases import zone
from loyalty_saas.sentences import why_offer
from members.services.purchases import Key
from members.services.refusals import UnknownMember
from rewards import services
from rewards.models import Reward, RewardIssue
from rewards.queries import current_offer, redemptions, shelf
from tenants.access import Actor, admits


class NewRedemption(Input):
    """A reward that a member wants."""

    member = Text(max_length=254, help_text="Id, number or any identifier.")
    reward = Text(max_length=50, help_text="The reward's code.")
    location = Text(max_length=50, help_text="The location's code.", **OPTIONAL)


class Captured(Input):
    """What the reward was used on."""

    purchase = serializers.UUIDField(
        help_text="The sale it was used on: what comes back of that gives back its share of the points.", **OPTIONAL
    )


class RedemptionListing(Listing):
    """Which redemptions."""

    member = Text(required=False, max_length=254, help_text="Of this member: id, number or any identifier.")
    state = Choice(required=False, choices=RewardIssue.State.values)


class RewardShape(serializers.Serializer[Any]):
    """Something that a member can have for points."""

    code = serializers.CharField()
    name = serializers.CharField()
    kind = serializers.ChoiceField(choices=Reward.Kind.values)
    unit = serializers.CharField()
    price = serializers.IntegerField(help_text="Smallest steps of the unit.")
    value = serializers.IntegerField(help_text="What it costs the shop, in minor units.")

    class Meta:
        ref_name = "Reward"


class ShelfShape(serializers.Serializer[Any]):
    """All rewards that can be had now, cheapest first."""

    results = RewardShape(many=True)

    class Meta:
        ref_name = "Shelf"


class OfferShape(serializers.Serializer[Any]):
    """What is put before a member, and why."""

    code = serializers.CharField()
    name = serializers.CharField()
    text = serializers.CharField()
    reason = serializers.CharField(help_text="The reason's code.")
    sentence = serializers.CharField(help_text="The reason in a sentence that a clerk can say.")
    assigned_at = serializers.DateTimeField()

    class Meta:
        ref_name = "Offer"


class MemberOfferShape(serializers.Serializer[Any]):
    """A member's offer."""

    member = serializers.UUIDField()
    offer = OfferShape(allow_null=True)

    class Meta:
        ref_name = "MemberOffer"


class RedemptionShape(serializers.Serializer[Any]):
    """One reward on its way to one member: reserved with points held, then issued (captured) or cancelled (void)."""

    id = serializers.UUIDField()
    member = serializers.UUIDField()
    reward = serializers.CharField()
    name = serializers.CharField()
    unit = serializers.CharField()
    price = serializers.IntegerField()
    state = serializers.ChoiceField(choices=RewardIssue.State.values)
    code = serializers.CharField(help_text="To be shown at the till.")
    location = serializers.CharField()
    at = serializers.DateTimeField()
    purchase = serializers.UUIDField(allow_null=True, help_text="The sale it was used on.")
    given_back = serializers.IntegerField(help_text="How much of the price came back with what came back of that sale.")
    held_until = serializers.DateTimeField(help_text="When the points are let go unless captured.")
    settled_at = serializers.DateTimeField(allow_null=True)

    class Meta:
        ref_name = "Redemption"


RedemptionPage = page_shape(RedemptionShape)
REDEMPTION_IN_PATH = id_in_path("redemption", "redemption")
_NEW, _CAPTURED, _LISTING = NewRedemption(), Captured(), RedemptionListing()


@admits(Actor.MACHINE, GET="rewards:read")
class Rewards(ApiView):
    """The shelf."""

    @operation("Rewards that members can have now", name="rewards_list", gives=ShelfShape)
    def get(self, request: ApiRequest) -> Response:
        return Response({"results": [_written_reward(reward) for reward in shelf()]})


def _written_reward(reward: Reward) -> Body:
    return {
        "code": reward.code,
        "name": reward.name,
        "kind": reward.kind,
        "unit": reward.unit_code,
        "price": reward.price,
        "value": reward.value,
    }


@admits(Actor.MACHINE, GET="rewards:read")
class MemberOffer(ApiView):
    """What is offered."""

    @operation(
        "A member's offer, and why this one",
        name="members_offer",
        path=[MEMBER_IN_PATH],
        gives=MemberOfferShape,
        refuses=("unknown_member",),
    )
    def get(self, request: ApiRequest, member: str) -> Response:
        member_id = member_id_of(member)
        assignment = current_offer(member_id)
        if assignment is None:
            return Response({"member": member_id, "offer": None})
        offer = {
            "code": assignment.offer.code,
            "name": assignment.offer.name,
            "text": assignment.offer.text,
            "reason": assignment.reason,
            "sentence": why_offer(assignment, currency=request.client.currency),
            "assigned_at": assignment.assigned_at,
        }
        return Response({"member": member_id, "offer": offer})


@admits(Actor.MACHINE, GET="rewards:read", POST="rewards:write")
class Redemptions(ApiView):
    """Rewards on their way."""

    @operation("Redemptions, newest first", name="redemptions_list", query=RedemptionListing, gives=RedemptionPage)
    def get(self, request: ApiRequest) -> Response:
        return page(request, _LISTING, _found, _written)

    @operation(
        "Reserve a reward, holding its points",
        name="redemptions_hold",
        takes=NewRedemption,
        gives={201: RedemptionShape},
        keyed=True,
        refuses=("unknown_member", "unknown_reward", "unknown_location", "other_location", "not_enough_points"),
    )
    def post(self, request: ApiRequest) -> Response:
        """The points are held for half an hour: capture them when the reward is handed over, or void."""
        at, form = timezone.now(), body_of(request, _NEW)

        def work(key: Key) -> Body:
            _location_id, location = location_for(request, form.get("location"))
            issue = services.redeem(
                member_id=member_id_of(form["member"], field="member"),
                reward_code=form["reward"],
                key=f"redeem:{key.key}",
                at=at,
                zone=zone(),
                location=location,
            )
            return _one(issue.pk)

        return respond(once(request, route="redemptions", at=at, work=work))


def _found(asked: Body) -> QuerySet[RewardIssue]:
    found = redemptions()
    if reference := asked.pop("member", None):
        try:
            found = found.filter(member_id=member_id_of(reference))
        except UnknownMember:
            return found.none()
    return found.filter(**asked)


def _written(issues: Sequence[RewardIssue]) -> list[Body]:
    return [
        {
            "id": issue.pk,
            "member": issue.member_id,
            "reward": issue.reward.code,
            "name": issue.reward.name,
            "unit": issue.reward.unit_code,
            "price": issue.hold.amount,
            "state": issue.state,
            "code": issue.code,
            "location": issue.location,
            "at": issue.at,
            "purchase": issue.purchase_id,
            "given_back": issue.given_back,
            "held_until": issue.hold.expires_at,
            "settled_at": issue.settled_at,
        }
        for issue in issues
    ]


def _one(issue_id: UUID) -> Body:
    found = _written(list(redemptions().filter(pk=issue_id)))
    if not found:
        raise nothing()
    return found[0]


@admits(Actor.MACHINE, GET="rewards:read")
class OneRedemption(ApiView):
    """One redemption."""

    @operation("One redemption", name="redemptions_read", path=[REDEMPTION_IN_PATH], gives=RedemptionShape)
    def get(self, request: ApiRequest, redemption: str) -> Response:
        return Response(_one(an_id(redemption)))


@admits(Actor.MACHINE, POST="rewards:write")
class CaptureRedemption(ApiView):
    """The reward is handed over."""

    @operation(
        "Spend the points held and issue the reward",
        name="redemptions_capture",
        path=[REDEMPTION_IN_PATH],
        takes=Captured,
        gives=RedemptionShape,
        keyed=True,
        refuses=("hold_settled", "refused"),
    )
    def post(self, request: ApiRequest, redemption: str) -> Response:
        sale_id = body_of(request, _CAPTURED).get("purchase")

        def capture(issue_id: UUID, at: datetime) -> None:
            services.capture_redemption(issue_id=issue_id, at=at, zone=zone(), by=request.auth.pk)
            if sale_id:
                services.use_on_sale(redemptions=[issue_id], sale_id=sale_id, at=at, zone=zone(), by=request.auth.pk)

        return _settle(request, redemption, route="redemptions.capture", settle=capture)


@admits(Actor.MACHINE, POST="rewards:write")
class VoidRedemption(ApiView):
    """The reward is not wanted any more."""

    @operation(
        "Let the points go and cancel the reward",
        name="redemptions_void",
        path=[REDEMPTION_IN_PATH],
        gives=RedemptionShape,
        keyed=True,
        refuses=("hold_settled",),
    )
    def post(self, request: ApiRequest, redemption: str) -> Response:
        def void(issue_id: UUID, at: datetime) -> None:
            services.void_redemption(issue_id=issue_id, at=at)

        return _settle(request, redemption, route="redemptions.void", settle=void)


def _settle(request: ApiRequest, redemption: str, *, route: str, settle: Callable[[UUID, datetime], None]) -> Response:
    at, issue_id = timezone.now(), an_id(redemption)

    def work(key: Key) -> Body:
        # One that is not there is told like any other unknown id.
        _one(issue_id)
        settle(issue_id, at)
        return _one(issue_id)

    return respond(once(request, route=route, about=issue_id, at=at, status=200, work=work))
