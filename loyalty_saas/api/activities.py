"""Activities: whatever else earns, such as trips, visits and reviews."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _
from rest_framework import serializers
from rest_framework.response import Response

from loyalty_saas import workers
from loyalty_saas.api.base import ApiRequest, ApiView, Body, an_id, body_of, id_in_path, nothing, operation, page
from loyalty_saas.api.fields import OPTIONAL, Amount, Input, Moment, Properties, Text
from loyalty_saas.api.keys import once, respond
from loyalty_saas.api.lookups import location_for, member_id_of
from loyalty_saas.api.pages import Listing, page_shape
from loyalty_saas.api.points import EntryShape, TraceShape, written_entries, written_traces
from loyalty_saas.api.problems import Problem
from loyalty_saas.api.purchase_shapes import CREDITED, SET_ASIDE, WAITING
from loyalty_saas.api.purchases import CLOCKS_DIFFER_BY, credit_state
from members import queries
from members.models import Activity, LedgerEntry, WorkItem
from members.services.activities import record_activity
from members.services.refusals import UnknownMember
from tenants.access import Actor, admits

# We know these ourselves: a caller could mint points with them.
OURS = frozenset({"sign_up", "birthday"})


class NewActivity(Input):
    """Something that a member did."""

    kind = serializers.RegexField(
        r"^[a-z][a-z0-9_-]{0,29}$", help_text="`trip`, `visit`, `review`: what the rules know."
    )
    reference = Text(max_length=64, help_text="Your own number for it: counts once per kind.")
    member = Text(max_length=254, help_text="Id, number or any identifier.")
    location = Text(max_length=50, help_text="The location's code.", **OPTIONAL)
    channel = Text(max_length=20, **OPTIONAL)
    amount = Amount(help_text="What was paid for it, in minor units.", **OPTIONAL)
    properties = Properties(help_text="Figures and texts that the rules look at, such as days.", **OPTIONAL)
    occurred_at = Moment(help_text="Now, unless given; at most five minutes ahead.", **OPTIONAL)


class ActivityListing(Listing):
    """Which activities."""

    member = Text(required=False, max_length=254, help_text="Of this member: id, number or any identifier.")
    kind = Text(required=False, max_length=30)


class ActivityShape(serializers.Serializer[Any]):
    """An activity as recorded."""

    id = serializers.UUIDField()
    kind = serializers.CharField()
    reference = serializers.CharField()
    member = serializers.UUIDField()
    location = serializers.CharField(allow_null=True)
    channel = serializers.CharField()
    amount = serializers.IntegerField()
    properties = Properties()
    occurred_at = serializers.DateTimeField()
    received_at = serializers.DateTimeField()
    credit = serializers.ChoiceField(choices=[WAITING, CREDITED, SET_ASIDE], help_text="Whether its points are there.")

    class Meta:
        ref_name = "Activity"


class WholeActivityShape(ActivityShape):
    """An activity with what it moved, and why."""

    entries = EntryShape(many=True)
    traces = TraceShape(many=True)

    class Meta:
        ref_name = "ActivityWithEntries"


ActivityPage = page_shape(ActivityShape)
_NEW, _LISTING = NewActivity(), ActivityListing()


@admits(Actor.MACHINE, GET="purchases:read", POST="purchases:write")
class Activities(ApiView):
    """All activities."""

    @operation("Activities, newest first", name="activities_list", query=ActivityListing, gives=ActivityPage)
    def get(self, request: ApiRequest) -> Response:
        return page(request, _LISTING, _found, _written)

    @operation(
        "Record an activity",
        name="activities_record",
        takes=NewActivity,
        gives={201: ActivityShape},
        keyed=True,
        refuses=(
            "unknown_member",
            "unknown_location",
            "other_location",
            "in_the_future",
            "receipt_conflict",
            "refused",
        ),
    )
    def post(self, request: ApiRequest) -> Response:
        """A reference that was recorded before counts once. A worker gives the points shortly after."""
        at, form = timezone.now(), body_of(request, _NEW)
        answer = once(request, route="activities", at=at, work=lambda key: _record(request, form, at=at))
        workers.wake(request.client.schema_name)
        return respond(answer)


def _record(request: ApiRequest, form: Body, *, at: datetime) -> Body:
    if form["kind"] in OURS:
        raise Problem("refused", _("This kind of activity is recorded by the platform itself."), field="kind")
    occurred_at = form.get("occurred_at") or at
    if occurred_at > at + CLOCKS_DIFFER_BY:
        raise Problem("in_the_future", _("This is more than five minutes ahead."), field="occurred_at")
    location_id, _code = location_for(request, form.get("location"))
    recorded = record_activity(
        member_id=member_id_of(form["member"], field="member"),
        kind=form["kind"],
        reference=form["reference"],
        source="api",
        occurred_at=occurred_at,
        at=at,
        amount=form.get("amount") or 0,
        properties=form.get("properties") or {},
        location_id=location_id,
        channel=form.get("channel") or "",
    )
    return _written(list(queries.activities().filter(pk=recorded.id)))[0]


def _found(asked: Body) -> QuerySet[Activity]:
    found = queries.activities()
    if reference := asked.pop("member", None):
        try:
            found = found.filter(member_id=member_id_of(reference))
        except UnknownMember:
            return found.none()
    return found.filter(**asked)


def _written(activities: Sequence[Activity]) -> list[Body]:
    open_items = WorkItem.objects.filter(pk__in=[activity.pk for activity in activities])
    waiting = dict(open_items.values_list("source_id", "quarantined_at"))
    return [
        {
            "id": activity.pk,
            "kind": activity.kind,
            "reference": activity.reference,
            "member": activity.member_id,
            "location": activity.location.code if activity.location else None,
            "channel": activity.channel,
            "amount": activity.amount,
            "properties": activity.properties,
            "occurred_at": activity.occurred_at,
            "received_at": activity.received_at,
            "credit": credit_state(activity.pk, waiting),
        }
        for activity in activities
    ]


@admits(Actor.MACHINE, GET="purchases:read")
class OneActivity(ApiView):
    """One activity."""

    @operation(
        "One activity with what it moved, and why",
        name="activities_read",
        path=[id_in_path("activity", "activity")],
        gives=WholeActivityShape,
    )
    def get(self, request: ApiRequest, activity: str) -> Response:
        found = queries.activities().filter(pk=an_id(activity)).first()
        if found is None:
            raise nothing()
        related = ("account__unit", "purchase", "activity", "lot")
        entries = LedgerEntry.objects.select_related(*related).filter(activity=found).order_by("pk")
        traces = queries.traces_of([found.pk])[found.pk]
        written = _written([found])[0]
        return Response({**written, "entries": written_entries(list(entries)), "traces": written_traces(traces)})
