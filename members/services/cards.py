"""A member's card on a phone: one-time links that open it, the phones it is open on, and the code its QR shows."""

import hashlib
import secrets
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from django.db import IntegrityError, transaction

from members.models import CardLink, CardSession, Member
from tenants.keys import random_code

LIVES: Final = {
    CardLink.Way.MAIL: timedelta(minutes=30),
    CardLink.Way.TILL: timedelta(minutes=15),
    CardLink.Way.STAFF: timedelta(hours=24),
}
CODE_LENGTH: Final = 16
"""Characters of a card's code: 80 bits."""


class Gone(StrEnum):
    """Why a link opens nothing."""

    UNKNOWN = "unknown"
    USED = "used"
    EXPIRED = "expired"
    CLOSED = "closed"


class LinkGone(Exception):
    """The link opens no card; `why` says what became of it."""

    def __init__(self, why: Gone) -> None:
        super().__init__(why)
        self.why = why


def make_link(*, member_id: UUID, way: str, at: datetime) -> str:
    """
    The token of a new one-time link to a member's card, of which only the hash is kept; older ones of its way end.

    :raises Member.DoesNotExist: if nobody active is behind the id
    """
    token = secrets.token_urlsafe(32)
    kind = CardLink.Way(way)
    with transaction.atomic():
        member = _active(member_id)
        CardLink.objects.filter(member=member, way=kind, used_at=None, expires_at__gt=at).update(expires_at=at)
        CardLink.objects.create(
            member=member, token_hash=_hash(token), way=kind, made_at=at, expires_at=at + LIVES[kind]
        )
    return token


def check_link(*, token: str, at: datetime) -> CardLink:
    """The link of a token if it would open a card, without using it up. :raises LinkGone: if it would not"""
    link = CardLink.objects.select_related("member").filter(token_hash=_hash(token)).first()
    if link is None:
        raise LinkGone(Gone.UNKNOWN)
    if link.used_at is not None:
        raise LinkGone(Gone.USED)
    if link.expires_at <= at:
        raise LinkGone(Gone.EXPIRED)
    if link.member.status == Member.Status.CLOSED:
        raise LinkGone(Gone.CLOSED)
    return link


def open_link(*, token: str, label: str, at: datetime) -> tuple[CardSession, str]:
    """
    Use a link up and open the card on a phone: the session, and the token for its cookie.

    :raises LinkGone: unless it is fresh; of many at once one alone opens it
    """
    with transaction.atomic():
        used = CardLink.objects.filter(token_hash=_hash(token), used_at=None, expires_at__gt=at).update(used_at=at)
        if not used:
            check_link(token=token, at=at)
            raise LinkGone(Gone.USED)
        link = CardLink.objects.get(token_hash=_hash(token))
        return _begin(member_id=link.member_id, label=label, at=at)


def end_session(*, session_id: UUID, member_id: UUID, at: datetime) -> bool:
    """Close a member's card on one phone; whether it was open there."""
    mine = CardSession.objects.filter(pk=session_id, member_id=member_id, ended_at=None)
    return bool(mine.update(ended_at=at))


def forget_old(*, before: datetime) -> int:
    """Drop links that ended and phones that were signed out before `before`; how many. For the night's work."""
    links, _of = CardLink.objects.filter(expires_at__lt=before).delete()
    phones, _of = CardSession.objects.filter(ended_at__lt=before).delete()
    return links + phones


def card_code_of(member: Member) -> str:
    """What the card's QR shows, in upper case so that the QR stays small; made when first asked for."""
    if member.merged_into_id:
        member = Member.objects.get(pk=member.merged_into_id)
    while member.card_code is None:
        try:
            with transaction.atomic():
                code = random_code(CODE_LENGTH).upper()
                Member.objects.filter(pk=member.pk, card_code=None).update(card_code=code)
        except IntegrityError:
            continue
        member.refresh_from_db(fields=["card_code"])
    return member.card_code


def _begin(*, member_id: UUID, label: str, at: datetime) -> tuple[CardSession, str]:
    token = secrets.token_urlsafe(32)
    try:
        member = _active(member_id)
    except Member.DoesNotExist:
        raise LinkGone(Gone.CLOSED) from None
    session = CardSession.objects.create(
        member=member, token_hash=_hash(token), label=label[:100], began_at=at, seen_at=at
    )
    return session, token


def _active(member_id: UUID) -> Member:
    """The member, or the one it became, held until the transaction ends."""
    held = Member.objects.select_for_update(no_key=True)
    member = held.get(pk=member_id)
    if member.merged_into_id:
        member = held.get(pk=member.merged_into_id)
    if member.status != Member.Status.ACTIVE:
        raise Member.DoesNotExist(f"Member {member_id} is closed.")
    return member


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
