"""Members come, are found again, and turn out to be the same person."""

import secrets
from dataclasses import dataclass, field
from datetime import date, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

import phonenumbers
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from members.models import Consent, Identifier, Identity, Insight, Member, RuleState, WorkItem
from members.services import households, tier_grants
from members.services.activities import record_activity
from members.services.points import move_balance
from members.services.refusals import Refused, UnknownMember

_NUMBER_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"


class IdentifierTaken(Refused):
    """Another member has this phone, e-mail, card or POS id."""

    code = "identifier_taken"


@dataclass(frozen=True)
class NewMember:
    """What is known of somebody who joins; identifiers as typed, by kind."""

    identifiers: dict[str, str]
    name: str = ""
    birthday: date | None = None
    language: str = ""
    consents: dict[str, bool] = field(default_factory=dict)
    consent_text: str = ""
    source: str = "api"


def enrol(*, new: NewMember, region: str, at: datetime) -> Member:
    """
    Take somebody in, inside the caller's transaction.

    :raises IdentifierTaken: naming the identifier that already leads to a member
    :raises Refused: for a phone or e-mail that is none
    """
    values = {
        kind: normalise(kind=kind, value=value, region=region) for kind, value in new.identifiers.items() if value
    }
    for kind, value in values.items():
        if Identifier.objects.filter(kind=kind, value=value).exists():
            raise IdentifierTaken(_("Another member has this identifier."), field=f"identifiers.{kind}")
    member = Member.objects.create(number=new_number(), joined_at=at)
    Identity.objects.create(member=member, name=new.name, birthday=new.birthday, language=new.language)
    _add_identifiers(member=member, values=values)
    record_consents(member=member, consents=new.consents, text_version=new.consent_text, source=new.source, at=at)
    record_activity(
        member_id=member.pk, kind="sign_up", reference=str(member.pk), source=new.source, occurred_at=at, at=at
    )
    return member


def _add_identifiers(*, member: Member, values: dict[str, str]) -> None:
    try:
        with transaction.atomic():
            Identifier.objects.bulk_create(
                Identifier(member=member, kind=kind, value=value) for kind, value in values.items()
            )
    except IntegrityError as error:
        raise IdentifierTaken(_("Another member has this identifier."), field="identifiers") from error


def add_identifier(*, member: Member, kind: str, value: str, region: str) -> None:
    """A further way to find a member. :raises IdentifierTaken: if it leads to another"""
    normal = normalise(kind=kind, value=value, region=region)
    known = Identifier.objects.filter(kind=kind, value=normal).first()
    if known is None:
        _add_identifiers(member=member, values={kind: normal})
    elif known.member_id != member.pk:
        raise IdentifierTaken(_("Another member has this identifier."), field=f"identifiers.{kind}")


def drop_identifier(*, member: Member, identifier_id: UUID) -> str:
    """Take away one way to find a member; which kind it was. :raises Refused: it is not there any more"""
    found = Identifier.objects.select_for_update().filter(pk=identifier_id, member=member).first()
    if found is None:
        raise Refused(_("This is not there any more."), field="identifier")
    found.delete()
    return found.kind


def record_consents(*, member: Member, consents: dict[str, bool], text_version: str, source: str, at: datetime) -> None:
    """Keep what a member allowed or withdrew as further rows; the newest counts."""
    Consent.objects.bulk_create(
        Consent(member=member, purpose=purpose, granted=granted, text_version=text_version, source=source, at=at)
        for purpose, granted in consents.items()
    )


def normalise(*, kind: str, value: str, region: str) -> str:
    """An identifier as it is stored: E.164, lower case, or without spaces. :raises Refused: if it is none"""
    bare = value.strip()
    if "\x00" in bare or not bare or len(bare) > 254:
        raise Refused(_("Enter between 1 and 254 characters."), field=f"identifiers.{kind}")
    if kind == Identifier.Kind.PHONE:
        return _phone(bare, region=region)
    if kind == Identifier.Kind.EMAIL:
        local, _at, host = bare.lower().partition("@")
        if not local or "." not in host or " " in bare:
            raise Refused(_("This is not an e-mail address."), field="identifiers.email")
        return bare.lower()
    if kind == Identifier.Kind.CARD:
        return bare.replace(" ", "").upper()
    return bare


def _phone(value: str, *, region: str) -> str:
    try:
        number = phonenumbers.parse(value, region)
    except phonenumbers.NumberParseException:
        number = None
    if number is None or not phonenumbers.is_possible_number(number):
        raise Refused(
            _("This is not a phone number; write it with its country code, as in +49…."), field="identifiers.phone"
        )
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


def new_number() -> str:
    """A member number that can be read out: eight characters without look-alikes, 40 random bits."""
    return "".join(secrets.choice(_NUMBER_ALPHABET) for _place in range(8))


def merge_members(*, kept_id: UUID, double_id: UUID, at: datetime, by: UUID | None, zone: ZoneInfo) -> Member:
    """
    Make two members one: identifiers, purchases to come and points go to the member kept.

    Purchases and entries already in the books keep their rows; points move by a pair of entries per unit.

    :raises Refused: if they are the same, or one is merged or closed already
    """
    if kept_id == double_id:
        raise Refused(_("A member cannot be merged with itself."), field="double")
    members = {
        m.pk: m
        for m in Member.objects.select_for_update(no_key=True).filter(pk__in=[kept_id, double_id]).order_by("pk")
    }
    if len(members) < 2:
        raise UnknownMember(_("No such member."), field="double" if kept_id in members else "kept")
    for name, member in (("kept", members[kept_id]), ("double", members[double_id])):
        if member.status != Member.Status.ACTIVE:
            raise Refused(_("This member is merged or closed already."), field=name)
    move_balance(from_id=double_id, to_id=kept_id, at=at, by=by, zone=zone)
    Identifier.objects.filter(member_id=double_id).update(member_id=kept_id)
    # What is sent at this very moment under the double still is credited to the one kept, by whoever credits it.
    WorkItem.objects.filter(member_id=double_id).update(member_id=kept_id)
    _join_insights(kept_id=kept_id, double_id=double_id)
    _join_rule_states(kept_id=kept_id, double_id=double_id)
    households.hand_on(kept_id=kept_id, double_id=double_id, at=at)
    Member.objects.filter(merged_into=double_id).update(merged_into=kept_id)
    Member.objects.filter(pk=double_id).update(status=Member.Status.MERGED, merged_into=kept_id)
    tier_grants.join(kept_id=kept_id, double_id=double_id, at=at)
    return members[kept_id]


def _join_rule_states(*, kept_id: UUID, double_id: UUID) -> None:
    """One person has one limit and one remainder: what both have used and carried is added up."""
    kept = {state.rule_code: state for state in RuleState.objects.filter(member_id=kept_id)}
    for double in RuleState.objects.filter(member_id=double_id):
        state = kept.get(double.rule_code) or RuleState(member_id=kept_id, rule_code=double.rule_code, used={})
        state.remainder += double.remainder
        state.used = {
            period: state.used.get(period, 0) + double.used.get(period, 0) for period in {*state.used, *double.used}
        }
        state.save(force_insert=double.rule_code not in kept, force_update=double.rule_code in kept)
    RuleState.objects.filter(member_id=double_id).delete()


def _join_insights(*, kept_id: UUID, double_id: UUID) -> None:
    double = Insight.objects.filter(pk=double_id).first()
    if double is None:
        return
    kept, _new = Insight.objects.get_or_create(pk=kept_id)
    kept.purchases += double.purchases
    kept.spend += double.spend
    kept.first_day = min(filter(None, [kept.first_day, double.first_day]), default=None)
    kept.last_day = max(filter(None, [kept.last_day, double.last_day]), default=None)
    kept.last_visit = max(filter(None, [kept.last_visit, double.last_visit]), default=None)
    kept.save()
    double.delete()
