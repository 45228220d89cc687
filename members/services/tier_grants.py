"""Tiers given by hand: with a reason and an end; what the member earns goes on being judged beside them."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import F
from django.utils.translation import gettext as _

from members import ledger
from members.models import Member, TierGrant, TierStatus
from members.rules import midnight
from members.services import tiers
from members.services.refusals import Refused, UnknownMember
from programs.queries import NoProgram, ProgramInForce, program_in_force
from programs.rules import TierSpec, add_months, rank_of

LONGEST_MONTHS: Final = 24


def give_tier(
    *,
    member_id: UUID,
    tier: str,
    last_day: date,
    reason: str,
    by: UUID | None,
    program: ProgramInForce,
    at: datetime,
    zone: ZoneInfo,
) -> TierGrant:
    """
    Give a member a tier to the end of a local day, in place of one given before; inside the caller's transaction.

    :raises Refused: naming `tier`, `last_day`, `reason` or `member`
    """
    levels = program.spec.tiers.levels if program.spec.tiers else ()
    if not rank_of(levels, tier):
        raise Refused(_("The program has no such tier."), field="tier")
    if not reason.strip():
        raise Refused(_("Enter a reason."), field="reason")
    _check_end(last_day, today=at.astimezone(zone).date())
    _hold(member_id)
    TierGrant.objects.filter(member=member_id, ended_at=None).update(ended_at=at)
    until = midnight(day=last_day + timedelta(days=1), zone=zone)
    grant = TierGrant.objects.create(
        member_id=member_id, tier=tier, reason=reason.strip()[:200], made_by=by, since=at, until=until
    )
    tiers.settle_again(member_ids=[member_id], program=program, at=at, by_hand=True)
    return grant


def _check_end(last_day: date, *, today: date) -> None:
    if last_day < today:
        raise Refused(_("Choose today or a later day."), field="last_day")
    if last_day > add_months(today, LONGEST_MONTHS):
        raise Refused(_("A tier can be given for two years at most."), field="last_day")


def _hold(member_id: UUID) -> None:
    ledger.lock([member_id])
    member = Member.objects.filter(pk=member_id).first()
    if member is None:
        raise UnknownMember(_("No such member."), field="member")
    if member.status != Member.Status.ACTIVE:
        raise Refused(_("This member is merged or closed."), field="member")


def take_back_tier(*, member_id: UUID, program: ProgramInForce, at: datetime) -> TierGrant:
    """
    End a given tier before its day, inside the caller's transaction.

    :raises Refused: if none is given
    """
    ledger.lock([member_id])
    grant = TierGrant.objects.filter(member=member_id, ended_at=None, until__gt=at).first()
    if grant is None:
        raise Refused(_("No tier is given to this member."), field="member")
    grant.ended_at = at
    grant.save(update_fields=["ended_at"])
    tiers.settle_again(member_ids=[member_id], program=program, at=at, by_hand=True)
    return grant


def note_ends(*, at: datetime) -> int:
    """After tiers were judged at `at`: note the end of those given until then; how many."""
    due = TierGrant.objects.filter(ended_at=None, until__lte=at)
    return due.update(ended_at=F("until"))


def join(*, kept_id: UUID, double_id: UUID, at: datetime) -> None:
    """
    After a member was merged into another: keep the better of the tiers given to them, and judge the one that is left.

    Both histories count from now on; inside the caller's transaction, which holds both members.
    """
    TierStatus.objects.filter(pk=double_id).delete()
    try:
        program = program_in_force()
    except NoProgram:
        return
    levels = program.spec.tiers.levels if program.spec.tiers else ()
    rows = TierGrant.objects.filter(member__in=[kept_id, double_id], ended_at=None)
    given = {grant.member_id: grant for grant in rows}
    better, own = given.get(double_id), given.get(kept_id)
    if better:
        better.ended_at = at
        better.save(update_fields=["ended_at"])
    if better and better.until > at and (own is None or _worth(better, levels) > _worth(own, levels)):
        TierGrant.objects.filter(member=kept_id, ended_at=None).update(ended_at=at)
        TierGrant.objects.create(
            member_id=kept_id,
            tier=better.tier,
            reason=better.reason,
            made_by=better.made_by,
            since=at,
            until=better.until,
        )
    tiers.settle_again(member_ids=[kept_id], program=program, at=at)


def _worth(grant: TierGrant, levels: Sequence[TierSpec]) -> tuple[int, datetime]:
    return rank_of(levels, grant.tier), grant.until
