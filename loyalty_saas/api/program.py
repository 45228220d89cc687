"""The program: what is promised, where it holds, and what has come of it."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.response import Response

from loyalty_saas.api.base import ApiRequest, ApiView, Body, body_of, note, operation, page, query_of
from loyalty_saas.api.fields import OPTIONAL, Input, Text
from loyalty_saas.api.pages import Listing, page_shape
from loyalty_saas.flows import programs as flow
from members import queries
from members.models import ParkedReturn
from programs.models import Location, Program
from programs.queries import NoProgram
from programs.services.catalogue import add_location
from tenants.access import Actor, admits


@extend_schema_field(OpenApiTypes.OBJECT)
class Document(serializers.Field[Any, Any, Any, Any]):
    """A program document as it was published."""

    def to_representation(self, value: Any) -> Any:
        return value


class ProgramDocument(serializers.Serializer[Any]):
    """A whole program: units, rules, tiers, rewards and offers. The guide for integrators describes every field."""

    name = serializers.CharField(max_length=100)
    units = serializers.ListField(child=serializers.DictField(), allow_empty=False)
    rules = serializers.ListField(child=serializers.DictField(), required=False)
    tiers = serializers.DictField(required=False, allow_null=True)
    rewards = serializers.ListField(child=serializers.DictField(), required=False)
    offers = serializers.ListField(child=serializers.DictField(), required=False)


class ProgramShape(serializers.Serializer[Any]):
    """The program in force."""

    version = serializers.IntegerField()
    name = serializers.CharField()
    published_at = serializers.DateTimeField()
    document = Document()

    class Meta:
        ref_name = "Program"


class NewLocation(Input):
    """A place where purchases happen: a shop, a web shop, a van."""

    code = Text(max_length=50, help_text="What purchases name it by.")
    name = Text(max_length=100, **OPTIONAL)


class LocationShape(serializers.Serializer[Any]):
    """A place where purchases happen."""

    id = serializers.UUIDField()
    code = serializers.CharField()
    name = serializers.CharField()

    class Meta:
        ref_name = "Location"


class ParkedShape(serializers.Serializer[Any]):
    """What of a return found no sale: it waits for a manager and has not changed any points."""

    line = serializers.UUIDField()
    purchase = serializers.UUIDField()
    document = serializers.CharField()
    member = serializers.UUIDField()
    sku = serializers.CharField()
    quantity = serializers.DecimalField(max_digits=14, decimal_places=3)
    occurred_at = serializers.DateTimeField()

    class Meta:
        ref_name = "ParkedReturn"


class TopMemberShape(serializers.Serializer[Any]):
    """One of the members with the largest balances."""

    member = serializers.CharField()
    balance = serializers.IntegerField()

    class Meta:
        ref_name = "TopMember"


class FiguresShape(serializers.Serializer[Any]):
    """What has come of the program, counted now."""

    lines = serializers.IntegerField()
    members = serializers.IntegerField()
    sales = serializers.IntegerField()
    returns = serializers.IntegerField()
    earned = serializers.IntegerField()
    reversed = serializers.IntegerField()
    unmatched_lines = serializers.IntegerField()
    balance = serializers.IntegerField()
    top_members = TopMemberShape(many=True)
    segments = serializers.DictField(child=serializers.IntegerField(), help_text="Members by segment.")

    class Meta:
        ref_name = "Figures"


class FiguresQuery(Input):
    """Of which unit."""

    unit = Text(required=False, max_length=30, help_text="Points of this unit; the first by code unless given.")


LocationPage, ParkedPage = page_shape(LocationShape), page_shape(ParkedShape)
_LOCATION, _LISTING, _FIGURES = NewLocation(), Listing(), FiguresQuery()


@admits(Actor.MACHINE, GET="program:read", POST="program:write", PUT="program:write")
class TheProgram(ApiView):
    """The program in force."""

    @operation("The program in force", name="program_read", gives=ProgramShape, refuses=("no_program",))
    def get(self, request: ApiRequest) -> Response:
        program = Program.objects.filter(status=Program.Status.PUBLISHED).first()
        if program is None:
            raise NoProgram
        return Response(_written_program(program))

    @operation(
        "Publish a program as the next version",
        name="program_publish",
        takes=ProgramDocument,
        gives={201: ProgramShape},
        refuses=("program_invalid", "conflict"),
    )
    def post(self, request: ApiRequest) -> Response:
        """All of it or nothing; the version before is kept, and purchases from now on are judged by the new one."""
        return Response(_publish(request), status=201)

    @operation(
        "Put another program in force, as the next version",
        name="program_replace",
        takes=ProgramDocument,
        gives=ProgramShape,
        refuses=("program_invalid", "conflict"),
    )
    def put(self, request: ApiRequest) -> Response:
        """The same as POST."""
        return Response(_publish(request))


def _publish(request: ApiRequest) -> Body:
    at = timezone.now()
    program = flow.publish(document=storable(request.data), at=at, by=request.auth.pk)
    note(request, action="program.published", subject=str(program.version), at=at)
    return _written_program(program)


def storable(value: Any) -> Any:
    """The document with its fractions as texts, which is how a program writes them."""
    if isinstance(value, dict):
        return {key: storable(one) for key, one in value.items()}
    if isinstance(value, list):
        return [storable(one) for one in value]
    return str(value) if isinstance(value, Decimal) else value


def _written_program(program: Program) -> Body:
    return {
        "version": program.version,
        "name": program.name,
        "published_at": program.published_at,
        "document": program.document,
    }


@admits(Actor.MACHINE, GET="program:read", POST="program:write")
class Locations(ApiView):
    """Where purchases happen."""

    @operation("Locations, newest first", name="locations_list", query=Listing, gives=LocationPage)
    def get(self, request: ApiRequest) -> Response:
        return page(request, _LISTING, _locations, lambda found: [_written_location(one) for one in found])

    @operation(
        "Make a location, or find it by its code", name="locations_make", takes=NewLocation, gives={201: LocationShape}
    )
    def post(self, request: ApiRequest) -> Response:
        form = body_of(request, _LOCATION)
        return Response(_written_location(add_location(code=form["code"], name=form.get("name") or "")), status=201)


def _locations(asked: Body) -> QuerySet[Location]:
    return Location.objects.all()


def _written_location(location: Location) -> Body:
    return {"id": location.pk, "code": location.code, "name": location.name}


@admits(Actor.MACHINE, GET="purchases:read")
class ParkedReturns(ApiView):
    """Returns without a sale."""

    @operation(
        "Return lines that found no sale and wait for a manager",
        name="parked_returns_list",
        query=Listing,
        gives=ParkedPage,
    )
    def get(self, request: ApiRequest) -> Response:
        return page(request, _LISTING, lambda asked: queries.parked_returns(), _written_parked)


def _written_parked(found: Sequence[ParkedReturn]) -> list[Body]:
    return [
        {
            "line": parked.line_id,
            "purchase": parked.line.purchase_id,
            "document": parked.line.purchase.document,
            "member": parked.line.purchase.member_id,
            "sku": parked.line.sku,
            "quantity": f"{parked.quantity:.3f}",
            "occurred_at": parked.line.purchase.occurred_at,
        }
        for parked in found
    ]


@admits(Actor.MACHINE, GET="program:read")
class Figures(ApiView):
    """What has come of it."""

    @operation("The client's figures, counted now", name="figures_read", query=FiguresQuery, gives=FiguresShape)
    def get(self, request: ApiRequest) -> Response:
        asked = query_of(request, _FIGURES)
        figures = queries.client_figures(unit_code=asked.get("unit"))
        return Response({**figures, "segments": queries.segments()})
