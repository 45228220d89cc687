"""Members join, and are found again by whatever they gave."""

from datetime import date

import pytest
from django.db import transaction

from members.models import Consent, Identifier, Member, WorkItem
from members.queries import find_members, member_ids_for
from members.services.enrolment import (
    IdentifierTaken,
    NewMember,
    add_identifier,
    enrol,
    new_number,
    normalise,
    record_consents,
)
from members.services.refusals import Refused
from tenants.models import Client
from tests.members.world import NOON, crowd, tell


def join(name: str = "", **identifiers: str) -> Member:
    with transaction.atomic():
        return enrol(new=NewMember(identifiers=identifiers, name=name), region="DE", at=NOON)


@pytest.mark.parametrize(
    ("kind", "typed", "kept"),
    [
        ("phone", " 0151 12345678 ", "+4915112345678"),
        ("phone", "+49 (151) 123-45678", "+4915112345678"),
        ("phone", "0049 151 12345678", "+4915112345678"),
        ("phone", "+1 212 555 0123", "+12125550123"),
        ("email", " Ana@Example.COM", "ana@example.com"),
        ("card", "4000 12ab", "400012AB"),
        ("pos", " 00019 ", "00019"),
    ],
)
def test_an_identifier_is_kept_in_one_form(kind: str, typed: str, kept: str) -> None:
    assert normalise(kind=kind, value=typed, region="DE") == kept


@pytest.mark.parametrize(
    ("kind", "typed"),
    [
        ("phone", "call me"), ("phone", "+49"), ("email", "ana"), ("email", "@example.com"),
        ("email", "a b@example.com"), ("email", "ana@host"), ("card", ""), ("card", "  "), ("pos", "x\x00"), ("pos", "x" * 255),
    ],
)  # fmt: skip
def test_what_is_no_identifier_is_refused_at_its_field(kind: str, typed: str) -> None:
    with pytest.raises(Refused) as refusal:
        normalise(kind=kind, value=typed, region="DE")
    assert refusal.value.field == f"identifiers.{kind}"


def test_a_member_is_found_by_any_identifier_number_or_id(acme: Client) -> None:
    ana = join("Ana Díaz", phone="0151 12345678", email="Ana@example.com", card="4000 1", pos="p-1")
    keys = ["+4915112345678", "ana@example.com", "40001", "p-1", ana.number, str(ana.pk)]

    assert member_ids_for([*keys, "nobody"]) == dict.fromkeys(keys, ana.pk)
    for text in ("ANA@example.com", "4000 1", "+49 151 12345678", ana.number.lower(), "díaz", "Ana"):
        assert list(find_members(text)) == [ana], text
    assert list(find_members("nobody")) == []


def test_an_identifier_leads_to_one_member(acme: Client) -> None:
    ana, bob = join(phone="0151 12345678"), join(email="bob@example.com")
    with pytest.raises(IdentifierTaken) as refusal:
        join(phone="+49151 12345678", email="other@example.com")
    assert refusal.value.field == "identifiers.phone"
    assert Member.objects.count() == 2

    add_identifier(member=ana, kind="phone", value="+4915112345678", region="DE")
    with pytest.raises(IdentifierTaken):
        add_identifier(member=ana, kind="email", value="BOB@example.com", region="DE")
    add_identifier(member=bob, kind="card", value="77", region="DE")
    assert Identifier.objects.count() == 3


def test_several_who_join_with_one_phone_at_once_become_one_member(acme: Client) -> None:
    with crowd(5, acme) as people:
        ends = people.act(lambda _place: join(phone="+4915112345678"))

    assert [type(end) for end in ends if not isinstance(end, IdentifierTaken)] == [Member]
    assert (Member.objects.count(), WorkItem.objects.count()) == (1, 1)


def test_consents_are_kept_one_after_the_other(acme: Client) -> None:
    new = NewMember(identifiers={"pos": "p-1"}, birthday=date(1990, 5, 31), consents={"news": True}, consent_text="v1")
    with transaction.atomic():
        ana = enrol(new=new, region="DE", at=NOON)
    record_consents(member=ana, consents={"news": False}, text_version="v2", source="card", at=NOON)

    assert tell(Consent.objects.order_by("id"), "granted", "text_version") == [(True, "v1"), (False, "v2")]
    assert ana.identity.birthday == date(1990, 5, 31)


def test_member_numbers_can_be_read_out_and_do_not_repeat(acme: Client) -> None:
    numbers = {new_number() for _number in range(2000)}
    assert len(numbers) == 2000
    assert not set("".join(numbers)) & set("01IO")
    assert {len(number) for number in numbers} == {8}
