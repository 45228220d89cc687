"""The member's card: links that open it once, the phones it is open on, the code that it shows."""

import hashlib
from datetime import datetime, timedelta
from threading import Barrier

import pytest
from django.db import transaction

from members.models import CardLink, CardSession, Member
from members.services import cards
from members.services.cards import (
    Gone,
    LinkGone,
    card_code_of,
    check_link,
    end_session,
    forget_old,
    make_link,
    open_link,
)
from members.services.enrolment import merge_members
from tenants.context import use_client
from tenants.models import Client
from tests.members.world import BERLIN, NOON, crowd

MINUTE = timedelta(minutes=1)
LIFE = {"mail": 30 * MINUTE, "till": 15 * MINUTE, "staff": 24 * 60 * MINUTE}


def why(token: str, *, at: datetime = NOON) -> str:
    with pytest.raises(LinkGone) as gone:
        open_link(token=token, label="", at=at)
    return gone.value.why


def merge(kept: Member, double: Member) -> None:
    with transaction.atomic():
        merge_members(kept_id=kept.pk, double_id=double.pk, at=NOON, by=None, zone=BERLIN)


def test_a_link_opens_the_card_on_one_phone_and_only_hashes_are_kept(ana: Member) -> None:
    token = make_link(member_id=ana.pk, way="mail", at=NOON)
    session, cookie = open_link(token=token, label="iPhone · Safari", at=NOON + MINUTE)

    assert (session.member_id, session.label, session.began_at) == (ana.pk, "iPhone · Safari", NOON + MINUTE)
    assert CardLink.objects.get().token_hash == hashlib.sha256(token.encode()).hexdigest()
    assert CardSession.objects.get().token_hash == hashlib.sha256(cookie.encode()).hexdigest()
    assert len(token) == len(cookie) == 43


def test_a_link_is_used_once(ana: Member) -> None:
    token = make_link(member_id=ana.pk, way="till", at=NOON)
    open_link(token=token, label="", at=NOON)
    assert why(token) == Gone.USED
    assert CardSession.objects.count() == 1


def test_looking_at_a_link_does_not_use_it_up(ana: Member) -> None:
    token = make_link(member_id=ana.pk, way="mail", at=NOON)
    assert check_link(token=token, at=NOON).member_id == ana.pk
    assert check_link(token=token, at=NOON).used_at is None
    assert open_link(token=token, label="", at=NOON)[0].member_id == ana.pk


@pytest.mark.parametrize("way", LIFE)
def test_a_link_lives_as_long_as_its_way_allows(ana: Member, way: str) -> None:
    token = make_link(member_id=ana.pk, way=way, at=NOON)
    assert check_link(token=token, at=NOON + LIFE[way] - timedelta(seconds=1))
    assert why(token, at=NOON + LIFE[way]) == Gone.EXPIRED


def test_an_unknown_token_opens_nothing(acme: Client) -> None:
    assert why("x" * 43) == Gone.UNKNOWN


def test_a_new_link_ends_the_one_before_of_the_same_way_only(ana: Member, bob: Member) -> None:
    mailed, shown = (make_link(member_id=ana.pk, way=way, at=NOON) for way in ("mail", "till"))
    of_bob = make_link(member_id=bob.pk, way="mail", at=NOON)
    again = make_link(member_id=ana.pk, way="mail", at=NOON + MINUTE)

    assert why(mailed, at=NOON + MINUTE) == Gone.EXPIRED
    for token in (shown, of_bob, again):
        assert open_link(token=token, label="", at=NOON + MINUTE)


def test_a_merged_members_link_leads_to_the_one_kept(ana: Member, bob: Member) -> None:
    before = make_link(member_id=bob.pk, way="mail", at=NOON)
    merge(ana, bob)
    after = make_link(member_id=bob.pk, way="till", at=NOON)

    assert [open_link(token=token, label="", at=NOON)[0].member_id for token in (before, after)] == [ana.pk, ana.pk]
    assert card_code_of(Member.objects.get(pk=bob.pk)) == card_code_of(Member.objects.get(pk=ana.pk))


def test_a_closed_members_link_opens_nothing(ana: Member) -> None:
    token = make_link(member_id=ana.pk, way="mail", at=NOON)
    Member.objects.filter(pk=ana.pk).update(status="closed")
    assert why(token) == Gone.CLOSED
    with pytest.raises(Member.DoesNotExist):
        make_link(member_id=ana.pk, way="mail", at=NOON)
    assert CardSession.objects.count() == 0


def test_a_link_of_one_client_opens_nothing_at_another(ana: Member, bravo: Client) -> None:
    token = make_link(member_id=ana.pk, way="mail", at=NOON)
    with use_client(bravo):
        assert why(token) == Gone.UNKNOWN


def test_only_its_own_member_closes_a_card(ana: Member, bob: Member) -> None:
    session, _cookie = open_link(token=make_link(member_id=ana.pk, way="mail", at=NOON), label="", at=NOON)
    assert not end_session(session_id=session.pk, member_id=bob.pk, at=NOON)
    assert end_session(session_id=session.pk, member_id=ana.pk, at=NOON)
    assert not end_session(session_id=session.pk, member_id=ana.pk, at=NOON)


def test_what_ended_long_ago_is_forgotten_and_an_open_card_stays(ana: Member) -> None:
    phones = [
        open_link(token=make_link(member_id=ana.pk, way="till", at=NOON), label="", at=NOON)[0] for _phone in range(2)
    ]
    end_session(session_id=phones[0].pk, member_id=ana.pk, at=NOON + MINUTE)
    assert forget_old(before=NOON) == 0
    assert forget_old(before=NOON + 20 * MINUTE) == 3
    assert list(CardSession.objects.values_list("pk", flat=True)) == [phones[1].pk]


# ── at once ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def opened_by_ten(client: Client, member: Member) -> int:
    """How many of ten phones open the card with one link at the same moment."""
    token = make_link(member_id=member.pk, way="mail", at=NOON)
    with crowd(10, client) as people:
        outcomes = people.act(lambda place: open_link(token=token, label=str(place), at=NOON), atomic=False)
    assert all(isinstance(one, tuple | LinkGone) for one in outcomes), outcomes
    return sum(isinstance(one, tuple) for one in outcomes)


def test_of_ten_at_once_one_opens_the_card(acme: Client, ana: Member) -> None:
    assert opened_by_ten(acme, ana) == 1
    assert CardSession.objects.count() == 1


def test_control_a_check_before_the_use_would_let_several_in(
    acme: Client, ana: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = Barrier(10)

    def careless(*, token: str, label: str, at: datetime) -> tuple[CardSession, str]:
        with transaction.atomic():
            link = check_link(token=token, at=at)
            together.wait(20)
            CardLink.objects.filter(pk=link.pk).update(used_at=at)
            return cards._begin(member_id=link.member_id, label=label, at=at)

    monkeypatch.setitem(globals(), "open_link", careless)
    assert opened_by_ten(acme, ana) == 10


def test_a_code_is_made_once_also_by_ten_at_once(acme: Client, ana: Member) -> None:
    with crowd(10, acme) as people:
        codes = people.act(lambda _place: card_code_of(Member.objects.get(pk=ana.pk)), atomic=False)
    assert len(set(codes)) == 1
    code = str(codes[0])
    assert (len(code), set(code) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")) == (16, True)
    assert Member.objects.get(pk=ana.pk).card_code == code


def test_a_code_that_another_has_is_drawn_again(ana: Member, bob: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter(["a" * 16, "a" * 16, "b" * 16])
    monkeypatch.setattr(cards, "random_code", lambda _length: next(drawn))
    assert [card_code_of(ana), card_code_of(bob)] == ["A" * 16, "B" * 16]
