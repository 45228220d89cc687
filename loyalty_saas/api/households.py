"""Households: members who spend together."""

from collections.abc import Sequence
from typing import Any

from django.db import transaction
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
    note,
    nothing,
    operation,
    page,
)
from loyalty_saas.api.fields import Input, Text
from loyalty_saas.api.keys import once, respond
from loyalty_saas.api.lookups import member_id_of
from loyalty_saas.api.pages import Listing, page_shape
from members import queries
from members.models import Household
from members.services import households
from members.services.purchases import Key
from tenants.access import Actor, admits


class NewHousehold(Input):
    """Members who are to spend together."""

    name = Text(max_length=100)
    members = serializers.ListField(
        child=Text(max_length=254),
        min_length=1,
        max_length=households.MOST_MEMBERS,
        help_text="Id, number or any identifier of each.",
    )


class NewMate(Input):
    """One more of a household."""

    member = Text(max_length=254, help_text="Id, number or any identifier.")


class MateShape(serializers.Serializer[Any]):
    """A member of a household."""

    member = serializers.UUIDField()
    number = serializers.CharField()
    joined_at = serializers.DateTimeField()

    class Meta:
        ref_name = "HouseholdMember"


class HouseholdShape(serializers.Serializer[Any]):
    """Members who spend together: what one of them lacks for a reward comes from the others."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    made_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)
    members = MateShape(many=True)

    class Meta:
        ref_name = "Household"


HouseholdPage = page_shape(HouseholdShape)
HOUSEHOLD_IN_PATH = id_in_path("household", "household")
_NEW, _MATE, _LISTING = NewHousehold(), NewMate(), Listing()


@admits(Actor.MACHINE, GET="members:read", POST="members:write")
class Households(ApiView):
    """All that have not ended."""

    @operation("Households, newest first", name="households_list", query=Listing, gives=HouseholdPage)
    def get(self, request: ApiRequest) -> Response:
        return page(request, _LISTING, lambda asked: queries.households(), _written)

    @operation(
        "Make a household of some members",
        name="households_make",
        takes=NewHousehold,
        gives={201: HouseholdShape},
        keyed=True,
        refuses=("unknown_member", "refused"),
    )
    def post(self, request: ApiRequest) -> Response:
        """Each keeps their own points; a reward that one cannot pay alone takes what is missing from the others."""
        at, form = timezone.now(), body_of(request, _NEW)

        def work(key: Key) -> Body:
            member_ids = [member_id_of(one, field=f"members.{n}") for n, one in enumerate(form["members"])]
            made = households.make_household(name=form["name"], member_ids=member_ids, at=at)
            return _found(str(made.pk))

        answer = once(request, route="households", at=at, work=work)
        if not answer.replayed:
            note(request, action="household.made", subject=str(answer.body["id"]), at=at)
        return respond(answer)


@admits(Actor.MACHINE, GET="members:read", DELETE="members:write")
class OneHousehold(ApiView):
    """One of them."""

    @operation("One household", name="households_read", path=[HOUSEHOLD_IN_PATH], gives=HouseholdShape)
    def get(self, request: ApiRequest, household: str) -> Response:
        return Response(_found(household))

    @operation("End a household", name="households_end", path=[HOUSEHOLD_IN_PATH], gives=HouseholdShape)
    def delete(self, request: ApiRequest, household: str) -> Response:
        """Each goes with their own points; ending one that has ended changes nothing."""
        at, found = timezone.now(), _found(household)
        with transaction.atomic():
            households.end_household(household_id=found["id"], at=at)
        note(request, action="household.ended", subject=household, at=at)
        return Response(_found(household))


@admits(Actor.MACHINE, POST="members:write")
class HouseholdMembers(ApiView):
    """Who is in it."""

    @operation(
        "Let one more member spend with a household",
        name="households_add",
        path=[HOUSEHOLD_IN_PATH],
        takes=NewMate,
        gives=HouseholdShape,
        refuses=("unknown_member", "unknown_household", "refused"),
    )
    def post(self, request: ApiRequest, household: str) -> Response:
        """One who is in it already changes nothing; one who is in another is refused."""
        at, form, found = timezone.now(), body_of(request, _MATE), _found(household)
        member_id = member_id_of(form["member"], field="member")
        with transaction.atomic():
            households.add_to_household(household_id=found["id"], member_id=member_id, at=at)
        note(request, action="household.joined", subject=household, detail={"member": str(member_id)}, at=at)
        return Response(_found(household))


@admits(Actor.MACHINE, DELETE="members:write")
class OneHouseholdMember(ApiView):
    """One who is in it."""

    @operation(
        "Let a member leave a household",
        name="households_remove",
        path=[HOUSEHOLD_IN_PATH, MEMBER_IN_PATH],
        gives=HouseholdShape,
        refuses=("unknown_member",),
    )
    def delete(self, request: ApiRequest, household: str, member: str) -> Response:
        """They go with their own points; a household ends when its last member leaves."""
        at, found, member_id = timezone.now(), _found(household), member_id_of(member)
        with transaction.atomic():
            households.remove_from_household(household_id=found["id"], member_id=member_id, at=at)
        note(request, action="household.left", subject=household, detail={"member": str(member_id)}, at=at)
        return Response(_found(household))


def _found(household: str) -> Body:
    """:raises NotFound: if there is no such household"""
    row = queries.household_by_id(an_id(household))
    if row is None:
        raise nothing()
    return _written([row])[0]


def _written(rows: Sequence[Household]) -> list[Body]:
    return [
        {
            "id": row.pk,
            "name": row.name,
            "made_at": row.made_at,
            "ended_at": row.ended_at,
            "members": [
                {"member": one.member_id, "number": one.member.number, "joined_at": one.joined_at}
                for one in row.present  # type: ignore[attr-defined]
            ],
        }
        for row in rows
    ]
