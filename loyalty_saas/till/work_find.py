"""One field for everything a customer can show or say: card, QR, phone, e-mail, name, the code of a reward."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db.models import F, OuterRef, QuerySet, Subquery
from django.utils.translation import gettext as _

from loyalty_saas.identifiers import as_phone, spellings
from members.models import Identifier, Member
from members.queries import member_ids_for
from members.services.refusals import Refused
from rewards.models import RewardIssue
from tenants.context import current_client
from tenants.services import lockouts

SHORTEST: Final = 3
LONGEST: Final = 254
MOST: Final = 8
MISSES: Final = 60
MISSES_WITHIN: Final = timedelta(hours=1)
_CODE: Final = re.compile(r"[A-Z2-7]{16}")


class TooManyMisses(Refused):
    """This till has looked for too many people who are not there."""

    code = "too_many"


@dataclass(frozen=True)
class Candidate:
    """One of several members of a name, with a contact that tells them apart and gives nothing away."""

    id: UUID
    name: str
    contact: str
    since: datetime


@dataclass(frozen=True)
class Found:
    """What a text leads to: one member, perhaps by a reward's code, or several to choose from, or nobody."""

    member_id: UUID | None = None
    reward: RewardIssue | None = None
    candidates: tuple[Candidate, ...] = ()
    more: bool = False


def find(text: str) -> Found:
    """
    The member whom a card, QR, phone, e-mail, number or POS id leads to, else those whose name contains the text.

    :raises Refused: for a text that is too short to look for
    """
    bare = text.strip()
    if len(bare) < SHORTEST or len(bare) > LONGEST or "\x00" in bare:
        raise Refused(_("Type at least %(n)s characters.") % {"n": SHORTEST}, field="text")
    return _by_code(bare) or _by_identifier(bare) or _by_name(bare)


def exactly(text: str) -> UUID | None:
    """The one member whom a code or identifier leads to; names are for people to choose from."""
    found = _by_code(text.strip()) or _by_identifier(text.strip())
    return found.member_id if found else None


def check_misses(*, device_id: UUID, at: datetime) -> None:
    """:raises TooManyMisses: while this till may not search"""
    if lockouts.is_locked(client=current_client(), subject=_subject(device_id), at=at):
        raise TooManyMisses(_("Too many searches without a result. Wait a quarter of an hour, or scan a card."))


def count_miss(*, device_id: UUID, at: datetime) -> None:
    """A search that found nobody: whoever tries numbers in a row is stopped."""
    try:
        lockouts.take_try(
            client=current_client(), subject=_subject(device_id), limit=MISSES, at=at, window=MISSES_WITHIN
        )
    except lockouts.Locked:
        return


def masked(row: Any) -> str:
    """A member's contact to tell people apart by: •••• 4471."""
    if row.phone:
        return f"•••• {row.phone[-4:]}"
    if row.email:
        local, _at, host = row.email.partition("@")
        return f"{local[:1]}•••@{host}"
    return f"•••• {row.number[-4:]}"


def _subject(device_id: UUID) -> str:
    return f"search:device:{device_id}"


def _by_code(bare: str) -> Found | None:
    """By what a card's QR or a reward's code holds."""
    code = bare.upper()
    if not _CODE.fullmatch(code):
        return None
    row = Member.objects.exclude(status=Member.Status.CLOSED).filter(card_code=code).first()
    if row is not None:
        return Found(member_id=row.merged_into_id or row.pk)
    issue = RewardIssue.objects.select_related("reward", "member", "hold").filter(code=code).first()
    if issue is None or issue.member.status == Member.Status.CLOSED:
        return None
    return Found(member_id=issue.member.merged_into_id or issue.member_id, reward=issue)


def _by_identifier(bare: str) -> Found | None:
    written = [*spellings(bare), *as_phone(bare)]
    found = member_ids_for(written)
    return next((Found(member_id=found[one]) for one in written if one in found), None)


def _by_name(bare: str) -> Found:
    if not any(c.isalpha() for c in bare) or "@" in bare:
        return Found()
    named = Member.objects.filter(status=Member.Status.ACTIVE, identity__name__icontains=bare)
    rows = list(with_contacts(named).order_by("identity__name", "pk")[: MOST + 1])
    if len(rows) == 1:
        return Found(member_id=rows[0].pk)
    listed = [Candidate(row.pk, row.name, masked(row), row.joined_at) for row in rows[:MOST]]
    return Found(candidates=tuple(listed), more=len(rows) > MOST)


def with_contacts(members: QuerySet[Member]) -> QuerySet[Any]:
    """Members with `name`, and their first `phone` and `email`, as columns."""

    def first(kind: str) -> Subquery:
        of_kind = Identifier.objects.filter(member=OuterRef("pk"), kind=kind).order_by("pk")
        return Subquery(of_kind.values("value")[:1])

    return members.annotate(name=F("identity__name"), phone=first("phone"), email=first("email"))
