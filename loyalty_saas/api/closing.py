"""Members leave."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter
from rest_framework.response import Response

from loyalty_saas.api.base import MEMBER_IN_PATH, ApiRequest, ApiView, Body, body_of, note, operation
from loyalty_saas.api.fields import Input, Text
from loyalty_saas.api.keys import once, respond
from loyalty_saas.api.lookups import member_id_of
from loyalty_saas.api.members import MemberShape, written
from loyalty_saas.flows.leaving import leave
from loyalty_saas.flows.purchases import zone
from members.queries import member_by_id
from members.services.purchases import Key
from tenants.access import Actor, admits

LEAVER_IN_PATH = OpenApiParameter(
    "leaver", MEMBER_IN_PATH.type, OpenApiParameter.PATH, description=MEMBER_IN_PATH.description
)


class Closing(Input):
    """Why a membership ends."""

    reason = Text(max_length=150, help_text="It stands in the books beside what lapses.")


_CLOSING = Closing()


@admits(Actor.MACHINE, POST="members:write")
class MemberClose(ApiView):
    """A membership ends."""

    @operation(
        "End a membership",
        name="members_close",
        path=[LEAVER_IN_PATH],
        takes=Closing,
        gives=MemberShape,
        keyed=True,
        refuses=("unknown_member", "refused"),
    )
    def post(self, request: ApiRequest, leaver: str) -> Response:
        """
        What is held is let go of, all points lapse, debts and rewards not used end; name and identifiers are deleted.

        This cannot be undone. The same person may join anew.
        """
        at, form = timezone.now(), body_of(request, _CLOSING)

        def work(key: Key) -> Body:
            return _close(member_id=member_id_of(leaver), reason=form["reason"], by=request.auth.pk, at=at)

        answer = once(request, route="members.close", about=leaver, at=at, status=200, work=work)
        if not answer.replayed:
            detail = {"reason": form["reason"]}
            note(request, action="members.closed", subject=str(answer.body["id"]), detail=detail, at=at)
        return respond(answer)


def _close(*, member_id: UUID, reason: str, by: UUID, at: datetime) -> dict[str, Any]:
    leave(member_id=member_id, reason=reason, at=at, zone=zone(), by=by)
    member = member_by_id(member_id)
    return written(member) if member else {}
