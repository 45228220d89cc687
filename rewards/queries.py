"""Reads of rewards and offers."""

from collections.abc import Sequence
from datetime import date, datetime
from fractions import Fraction
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import Count, QuerySet
from django.db.models.functions import TruncDate
from django.utils.translation import gettext_noop

from members.queries.invariants import Law
from rewards.models import OfferAssignment, Reward, RewardIssue


def shelf() -> QuerySet[Reward]:
    """Rewards that members can have now, cheapest first."""
    return Reward.objects.filter(active=True).order_by("price", "code")


def worth() -> dict[str, Fraction]:
    """What one step of each unit is worth in money, at the reward that gives most for it, by the unit's code."""
    found: dict[str, Fraction] = {}
    for code, price, value in shelf().values_list("unit_code", "price", "value"):
        found[code] = max(found.get(code, Fraction(0)), Fraction(value, price))
    return {code: rate for code, rate in found.items() if rate}


def given_out_by_day(*, since: datetime, zone: ZoneInfo) -> dict[date, int]:
    """How many rewards members were given on each local day since an instant."""
    given = RewardIssue.objects.filter(
        state__in=[RewardIssue.State.ISSUED, RewardIssue.State.USED], settled_at__gte=since
    )
    days = given.annotate(local_day=TruncDate("settled_at", tzinfo=zone)).values_list("local_day")
    return dict(days.annotate(n=Count("pk")))


def redemptions() -> QuerySet[RewardIssue]:
    """Rewards reserved and issued, newest first."""
    return RewardIssue.objects.select_related("reward", "member", "hold").order_by("-id")


def issues_of(member_ids: Sequence[UUID]) -> QuerySet[RewardIssue]:
    """Rewards reserved for and issued to these members, newest first."""
    return redemptions().filter(member__in=list(member_ids))


def issues() -> QuerySet[RewardIssue]:
    """Rewards on their way to members with whose they are, newest first."""
    return redemptions().select_related("reward", "member__identity")


def given_since(since: datetime) -> dict[str, int]:
    """How often each reward was issued since then, by its code."""
    given = RewardIssue.objects.filter(at__gte=since, state__in=[RewardIssue.State.ISSUED, RewardIssue.State.USED])
    return dict(given.values_list("reward__code").annotate(n=Count("id")))


def current_offer(member_id: UUID) -> OfferAssignment | None:
    """The member's offer, if there is one."""
    return OfferAssignment.objects.select_related("offer").filter(pk=member_id, offer__active=True).first()


LAWS = (
    Law(
        gettext_noop("a reward gave back what its spend had restored"),
        """
        SELECT i.id, i.given_back, COALESCE(sum(e.amount), 0) FROM rewards_rewardissue i
        JOIN members_hold h ON h.id = i.hold_id
        LEFT JOIN members_ledgerentry e ON e.corrects_id = h.entry_id AND e.kind = 'restore'
        WHERE i.state <> 'cancelled' GROUP BY i.id HAVING i.given_back <> COALESCE(sum(e.amount), 0)""",
    ),
    Law(
        gettext_noop("a reward given out was paid for with the points that it held"),
        """
        SELECT i.id, i.state, h.state FROM rewards_rewardissue i JOIN members_hold h ON h.id = i.hold_id
        WHERE i.state IN ('issued', 'used') AND h.state <> 'captured'""",
    ),
)
