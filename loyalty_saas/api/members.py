"""Members: they join, are found, change, consent and turn out to be the same person."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _
from rest_framework import serializers
from rest_framework.response import Response

from loyalty_saas import workers
from loyalty_saas.api.base import MEMBER_IN_PATH, ApiRequest, ApiView, Body, body_of, note, operation, page
from loyalty_saas.api.fields import OPTIONAL, Choice, Day, Input, Text, Truth
from loyalty_saas.api.keys import once, respond
from loyalty_saas.api.lookups import member_id_of
from loyalty_saas.api.pages import Listing, page_shape
from loyalty_saas.flows.purchases import zone
from loyalty_saas.identifiers import region_of
from members.models import Identifier, Member
from members.queries import member_by_id
from members.services import enrolment
from members.services.enrolment import NewMember
from members.services.identity import change_identity
from members.services.purchases import Key
from members.services.refusals import UnknownMember
from tenants.access import Actor, admits

# ── what comes in ───────────────────────────────────────────────────────────────────────────────────────────────────


class Identifiers(Input):
    """Ways to find a member, as typed; a phone number may lack its country code if it is of the client's country."""

    phone = Text(max_length=40, **OPTIONAL)
    email = Text(max_length=254, **OPTIONAL)
    card = Text(max_length=254, **OPTIONAL)
    pos = Text(max_length=254, **OPTIONAL)


class ConsentGiven(Input):
    """What a member allowed or withdrew, to which words."""

    purpose = Text(max_length=30)
    granted = Truth()
    text_version = Text(max_length=30, help_text="Which version of the words the member saw.")


class Enrolment(Input):
    """Somebody who joins."""

    name = Text(max_length=100, **OPTIONAL)
    birthday = Day(**OPTIONAL)
    language = Choice(choices=[code for code, _name in settings.LANGUAGES], **OPTIONAL)
    identifiers = Identifiers(**OPTIONAL)
    consents = ConsentGiven(many=True, max_length=20, **OPTIONAL)  # type: ignore[call-arg]


class IdentityChange(Input):
    """What is to be another; what is left out stays, null or an empty name takes it away."""

    name = Text(max_length=100, required=False, allow_null=True, allow_blank=True)
    birthday = Day(**OPTIONAL)
    language = Choice(choices=[code for code, _name in settings.LANGUAGES], **OPTIONAL)


class NewIdentifier(Input):
    """A further way to find a member."""

    kind = Choice(choices=Identifier.Kind.values)
    value = Text(max_length=254)


class Merge(Input):
    """Two members who are one person."""

    double = Text(
        max_length=254, help_text="The other one: id, number or any identifier. It is merged into the one in the path."
    )


class MemberListing(Listing):
    """Which members."""

    identifier = Text(
        required=False, max_length=254, help_text="Only the member whom this id, number or identifier leads to."
    )


# ── what goes out ───────────────────────────────────────────────────────────────────────────────────────────────────


class IdentifierShape(serializers.Serializer[Any]):
    """One way to find a member, as it is kept."""

    kind = serializers.ChoiceField(choices=Identifier.Kind.values)
    value = serializers.CharField()

    class Meta:
        ref_name = "Identifier"


class MemberShape(serializers.Serializer[Any]):
    """A member with what is known of the person."""

    id = serializers.UUIDField()
    number = serializers.CharField(help_text="The member number: eight characters that can be read out.")
    status = serializers.ChoiceField(choices=Member.Status.values)
    joined_at = serializers.DateTimeField()
    name = serializers.CharField()
    birthday = serializers.DateField(allow_null=True)
    language = serializers.CharField()
    identifiers = IdentifierShape(many=True)
    merged_into = serializers.UUIDField(allow_null=True)

    class Meta:
        ref_name = "Member"


MemberPage = page_shape(MemberShape)


def written(member: Member) -> Body:
    """A member as JSON."""
    identity = getattr(member, "identity", None)
    return {
        "id": member.pk,
        "number": member.number,
        "status": member.status,
        "joined_at": member.joined_at,
        "name": identity.name if identity else "",
        "birthday": identity.birthday if identity else None,
        "language": identity.language if identity else "",
        "identifiers": [
            {"kind": one.kind, "value": one.value}
            for one in sorted(member.identifiers.all(), key=lambda one: (one.kind, one.value))
        ],
        "merged_into": member.merged_into_id,
    }


def member_of(reference: str) -> Member:
    """The member whom a path names. :raises UnknownMember: if it names none"""
    member = member_by_id(member_id_of(reference))
    if member is None:
        raise UnknownMember(_("No member has this identifier."))
    return member


def _afresh(member_id: UUID) -> Body:
    member = member_by_id(member_id)
    return written(member) if member else {}


# ── the views ───────────────────────────────────────────────────────────────────────────────────────────────────────

_ENROLMENT, _CHANGE, _IDENTIFIER, _CONSENT, _MERGE = (
    Enrolment(),
    IdentityChange(),
    NewIdentifier(),
    ConsentGiven(),
    Merge(),
)
_LISTING = MemberListing()


@admits(Actor.MACHINE, GET="members:read", POST="members:write")
class Members(ApiView):
    """All members."""

    @operation("Members, those who joined last first", name="members_list", query=MemberListing, gives=MemberPage)
    def get(self, request: ApiRequest) -> Response:
        return page(request, _LISTING, _members, lambda members: [written(member) for member in members])

    @operation(
        "Take somebody in",
        name="members_enrol",
        takes=Enrolment,
        gives={201: MemberShape},
        keyed=True,
        refuses=("identifier_taken", "refused"),
    )
    def post(self, request: ApiRequest) -> Response:
        """A new member, found by each identifier from now on; joining earns what the program gives for it."""
        at, form = timezone.now(), body_of(request, _ENROLMENT)
        region = region_of(request.client)
        answer = once(request, route="members", at=at, work=lambda key: _enrol(form, region=region, at=at))
        workers.wake(request.client.schema_name)
        return respond(answer)


def _members(asked: Body) -> QuerySet[Member]:
    found = Member.objects.select_related("identity").prefetch_related("identifiers")
    if reference := asked.get("identifier"):
        try:
            return found.filter(pk=member_id_of(reference))
        except UnknownMember:
            return found.none()
    return found.all()


def _enrol(form: Body, *, region: str, at: datetime) -> Body:
    identifiers = {kind: value for kind, value in (form.get("identifiers") or {}).items() if value}
    new = NewMember(
        identifiers=identifiers,
        name=form.get("name") or "",
        birthday=form.get("birthday"),
        language=form.get("language") or "",
    )
    member = enrolment.enrol(new=new, region=region, at=at)
    for consent in form.get("consents") or []:
        _keep_consent(member, consent, at=at)
    return _afresh(member.pk)


def _keep_consent(member: Member, consent: Body, *, at: datetime) -> None:
    enrolment.record_consents(
        member=member,
        consents={consent["purpose"]: consent["granted"]},
        text_version=consent["text_version"],
        source="api",
        at=at,
    )


@admits(Actor.MACHINE, GET="members:read", PATCH="members:write")
class OneMember(ApiView):
    """One member."""

    @operation(
        "One member, by id, number or any identifier",
        name="members_read",
        path=[MEMBER_IN_PATH],
        gives=MemberShape,
        refuses=("unknown_member",),
    )
    def get(self, request: ApiRequest, member: str) -> Response:
        return Response(written(member_of(member)))

    @operation(
        "Change name, birthday or language",
        name="members_change",
        path=[MEMBER_IN_PATH],
        takes=IdentityChange,
        gives=MemberShape,
        refuses=("unknown_member",),
    )
    def patch(self, request: ApiRequest, member: str) -> Response:
        asked, member_id = body_of(request, _CHANGE), member_id_of(member)
        changes = {name: value if name == "birthday" else value or "" for name, value in asked.items()}
        with transaction.atomic():
            change_identity(member_id=member_id, changes=changes)
        return Response(_afresh(member_id))


@admits(Actor.MACHINE, POST="members:write")
class MemberIdentifiers(ApiView):
    """The ways to find a member."""

    @operation(
        "Add a way to find a member",
        name="members_add_identifier",
        path=[MEMBER_IN_PATH],
        takes=NewIdentifier,
        gives={201: MemberShape},
        refuses=("unknown_member", "identifier_taken", "refused"),
    )
    def post(self, request: ApiRequest, member: str) -> Response:
        """Adding one that the member has already changes nothing."""
        form = body_of(request, _IDENTIFIER)
        found = member_of(member)
        with transaction.atomic():
            enrolment.add_identifier(
                member=found, kind=form["kind"], value=form["value"], region=region_of(request.client)
            )
        return Response(_afresh(found.pk), status=201)


@admits(Actor.MACHINE, POST="members:write")
class MemberConsents(ApiView):
    """What a member allows."""

    @operation(
        "Keep what a member allowed or withdrew",
        name="members_consent",
        path=[MEMBER_IN_PATH],
        takes=ConsentGiven,
        gives={201: MemberShape},
        refuses=("unknown_member",),
    )
    def post(self, request: ApiRequest, member: str) -> Response:
        """The newest word on a purpose counts; those before are kept."""
        form = body_of(request, _CONSENT)
        found = member_of(member)
        _keep_consent(found, form, at=timezone.now())
        return Response(_afresh(found.pk), status=201)


@admits(Actor.MACHINE, POST="members:write")
class MemberMerge(ApiView):
    """Two who are one."""

    @operation(
        "Merge a double into this member",
        name="members_merge",
        path=[MEMBER_IN_PATH],
        takes=Merge,
        gives=MemberShape,
        keyed=True,
        refuses=("unknown_member", "refused"),
    )
    def post(self, request: ApiRequest, member: str) -> Response:
        """Identifiers, points with their dates and purchases to come go to the member in the path."""
        at, form = timezone.now(), body_of(request, _MERGE)
        merged: list[UUID] = []

        def work(key: Key) -> Body:
            merged.append(double_id := member_id_of(form["double"], field="double"))
            return _merge(kept_id=member_id_of(member), double_id=double_id, by=request.auth.pk, at=at)

        answer = once(request, route="members.merge", about=member, at=at, status=200, work=work)
        if not answer.replayed:
            detail = {"double": str(merged[0])}
            note(request, action="members.merged", subject=str(answer.body["id"]), detail=detail, at=at)
        return respond(answer)


def _merge(*, kept_id: UUID, double_id: UUID, by: UUID, at: datetime) -> Body:
    member = enrolment.merge_members(kept_id=kept_id, double_id=double_id, at=at, by=by, zone=zone())
    return _afresh(member.pk)
