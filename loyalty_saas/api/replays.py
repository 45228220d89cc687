"""A program tried on purchases that really happened, before it is published."""

from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

from django.utils import timezone
from django.utils.translation import gettext as _
from rest_framework import serializers
from rest_framework.response import Response

from loyalty_saas.api.base import (
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
from loyalty_saas.api.fields import OPTIONAL, Input, Whole
from loyalty_saas.api.keys import once, respond
from loyalty_saas.api.pages import Listing, page_shape
from loyalty_saas.api.program import storable
from loyalty_saas.flows import replays as flow
from loyalty_saas.tasks import send_replay
from members.models import Replay
from members.services.purchases import Key
from members.services.refusals import Refused
from members.services.replays import RUNNING
from programs.queries import draft
from tenants.access import Actor, admits

State = Replay.State
REPLAY_IN_PATH = id_in_path("replay", "replay")


class NewReplay(Input):
    """What to try, and over which purchases."""

    months = Whole(min_value=1, max_value=24, help_text="Over the last 3, 6, 12 or 24 months, up to yesterday.")
    document = serializers.DictField(
        help_text="The program to try, written as for publishing; the draft of the portal unless given.", **OPTIONAL
    )


class TriedUnitShape(serializers.Serializer[Any]):
    """What was given of one unit under both programs, in its smallest step."""

    code = serializers.CharField()
    name = serializers.CharField()
    decimals = serializers.IntegerField()
    published = serializers.IntegerField()
    draft = serializers.IntegerField()


class TriedCostShape(serializers.Serializer[Any]):
    """What those points are worth in minor units, if all go for the reward that gives most."""

    published = serializers.IntegerField()
    draft = serializers.IntegerField()


class TriedMonthShape(serializers.Serializer[Any]):
    """Points of one month by unit."""

    month = serializers.CharField()
    published = serializers.DictField(child=serializers.IntegerField())
    draft = serializers.DictField(child=serializers.IntegerField())


class TriedCountShape(serializers.Serializer[Any]):
    """What one rule gave, and how often it did or did not."""

    points = serializers.IntegerField()
    fired = serializers.IntegerField()
    capped = serializers.IntegerField()
    lost = serializers.IntegerField()
    not_eligible = serializers.IntegerField()


class TriedRuleShape(serializers.Serializer[Any]):
    """One rule under both programs; null where a program lacks it."""

    code = serializers.CharField()
    name = serializers.CharField()
    unit = serializers.CharField()
    published = TriedCountShape(allow_null=True)
    draft = TriedCountShape(allow_null=True)


class TriedMembersShape(serializers.Serializer[Any]):
    """How many of the members who bought would have got more, as much, or less."""

    more = serializers.IntegerField()
    same = serializers.IntegerField()
    less = serializers.IntegerField()


class TriedMoveShape(serializers.Serializer[Any]):
    """How many members would hold another tier at the end; an empty code is no tier."""

    before = serializers.CharField(allow_blank=True)
    after = serializers.CharField(allow_blank=True)
    members = serializers.IntegerField()


class TriedMemberShape(serializers.Serializer[Any]):
    """One of those who gain or lose most, by unit, with the purchase that tells most."""

    member = serializers.UUIDField()
    published = serializers.DictField(child=serializers.IntegerField())
    draft = serializers.DictField(child=serializers.IntegerField())
    purchase = serializers.UUIDField(allow_null=True)


class ReplayResultShape(serializers.Serializer[Any]):
    """What came of it: the draft beside the program in force."""

    units = TriedUnitShape(many=True)
    cost = TriedCostShape(allow_null=True)
    members = TriedMembersShape()
    months = TriedMonthShape(many=True)
    rules = TriedRuleShape(many=True)
    tier_moves = TriedMoveShape(many=True)
    winners = TriedMemberShape(many=True)
    losers = TriedMemberShape(many=True)


class ReplayShape(serializers.Serializer[Any]):
    """A try: how far it is. Nothing of it is written to the ledger."""

    id = serializers.UUIDField()
    state = serializers.ChoiceField(choices=State.choices)
    first_day = serializers.DateField()
    last_day = serializers.DateField()
    purchases = serializers.IntegerField(help_text="How many there are to go through; 0 until they are counted.")
    purchases_done = serializers.IntegerField()
    started_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)

    class Meta:
        ref_name = "Replay"


class ReplayDoneShape(ReplayShape):
    """A try with its result; null until it is done."""

    result = ReplayResultShape(allow_null=True)

    class Meta:
        ref_name = "ReplayWithResult"


ReplayPage = page_shape(ReplayShape)
_NEW, _LISTING = NewReplay(), Listing()


@admits(Actor.MACHINE, GET="program:read", POST="program:write")
class Replays(ApiView):
    """What was tried, and a new try."""

    @operation("Tries, newest first", name="replays_list", query=Listing, gives=ReplayPage)
    def get(self, request: ApiRequest) -> Response:
        return page(request, _LISTING, lambda asked: Replay.objects.all(), _rows)

    @operation(
        "Try a program on purchases that really happened",
        name="replays_start",
        takes=NewReplay,
        gives={202: ReplayShape},
        keyed=True,
        refuses=("program_invalid", "refused"),
    )
    def post(self, request: ApiRequest) -> Response:
        """It runs in the background, a million purchases in a minute or two; ask for it by its id."""
        at, form = timezone.now(), body_of(request, _NEW)

        def work(key: Key) -> Body:
            return _written(_started(request, form, at=at))

        answer = once(request, route="replays", at=at, work=work, status=202)
        if not answer.replayed:
            made = UUID(str(answer.body["id"]))
            note(request, action="program.replay_started", subject=str(made), detail={"months": form["months"]}, at=at)
            send_replay(schema_name=request.client.schema_name, replay_id=made)
        return respond(answer)


def _started(request: ApiRequest, form: Body, *, at: Any) -> Replay:
    if form["months"] not in flow.SPANS:
        raise Refused(_("Choose 3, 6, 12 or 24 months."), field="months")
    # As it came: a form would drop what it does not know, and a program that is not understood is refused.
    document = cast(Body, request.data).get("document")
    document = _draft() if document is None else storable(document)
    return flow.start(document=document, months=form["months"], at=at, by=request.auth.pk)


def _draft() -> Body:
    found = draft()
    if found is None:
        raise Refused(_("There is no draft to try: send a document."), field="document")
    document: Body = found.document
    return document


@admits(Actor.MACHINE, GET="program:read", DELETE="program:write")
class OneReplay(ApiView):
    """One try."""

    @operation(
        "How far a try is, and what came of it", name="replay_show", path=[REPLAY_IN_PATH], gives=ReplayDoneShape
    )
    def get(self, request: ApiRequest, replay: str) -> Response:
        return Response(_with_result(_found(replay)))

    @operation(
        "Stop a try that is under way",
        name="replay_stop",
        path=[REPLAY_IN_PATH],
        gives=ReplayDoneShape,
        refuses=("refused",),
    )
    def delete(self, request: ApiRequest, replay: str) -> Response:
        at, found = timezone.now(), _found(replay)
        if not flow.stop(replay_id=found.pk, at=at):
            raise Refused(_("It is not under way any more."), field="replay")
        note(request, action="program.replay_stopped", subject=str(found.pk), at=at)
        return Response(_with_result(_found(replay)))


def _found(replay: str) -> Replay:
    found = Replay.objects.filter(pk=an_id(replay)).first()
    if found is None:
        raise nothing()
    return found


def _rows(found: Sequence[Replay]) -> list[Body]:
    return [_written(one) for one in found]


def _written(replay: Replay) -> Body:
    return {
        "id": replay.pk,
        "state": replay.state,
        "first_day": replay.first_day.isoformat(),
        "last_day": replay.last_day.isoformat(),
        "purchases": replay.purchases,
        "purchases_done": replay.purchases_done,
        "started_at": replay.started_at,
        "finished_at": replay.finished_at if replay.state not in RUNNING else None,
    }


def _with_result(replay: Replay) -> Body:
    return {**_written(replay), "result": _result(replay.result) if replay.state == State.DONE else None}


def _result(result: Body) -> Body:
    told = {name: result[name] for name in ("units", "cost", "members", "months", "rules")}
    people = {name: [_person(one) for one in result[name]] for name in ("winners", "losers")}
    return {**told, "tier_moves": result["moves"], **people}


def _person(one: Body) -> Body:
    example = one["example"] or {}
    purchase = example.get("id") if example.get("document") else None
    return {"member": one["member_id"], "published": one["published"], "draft": one["draft"], "purchase": purchase}
