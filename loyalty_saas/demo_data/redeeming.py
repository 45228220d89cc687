"""Members of a made-up shop take rewards now and then, so that its figures can say how much of what is owed is used."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import transaction

from loyalty_saas.demo_data.common import seeded
from members.models import Identifier, Purchase
from members.services.points import NotEnoughPoints
from rewards.models import Reward, RewardIssue
from rewards.services.redemptions import capture_redemption, redeem

_SEED: Final = 2026
_NEVER_ASK: Final = 0.4
_ASK_EVERY: Final = (5, 13)


def redeem_some(*, at: datetime, zone: ZoneInfo) -> int:
    """
    Let some members ask for a reward at some of their visits, the same ones each time; how many got one.

    Belongs after the points of the shop are credited; a shop in which rewards were taken already is left alone.
    """
    shelf = list(Reward.objects.filter(active=True).order_by("price", "code"))
    if not shelf or RewardIssue.objects.exists():
        return 0
    wishes = _wishes(shelf, at)
    return sum(_asked(member_id, wish, key=key, at=when, zone=zone) for member_id, when, wish, key in wishes)


def _wishes(shelf: Sequence[Reward], at: datetime) -> Iterator[tuple[UUID, datetime, str, str]]:
    """Who asks when for what, in the order in which it happened."""
    visits: dict[UUID, list[datetime]] = {}
    sales = Purchase.objects.filter(kind=Purchase.Kind.SALE, occurred_at__lt=at).order_by("occurred_at")
    for member_id, when in sales.values_list("member_id", "occurred_at"):
        visits.setdefault(member_id, []).append(when)
    chance, numbers = seeded(_SEED), Identifier.objects.filter(kind=Identifier.Kind.POS).order_by("value")
    made = [
        (when, number, member_id, chance.choice(shelf[:3]).code)
        for number, member_id in numbers.values_list("value", "member_id")
        if chance.random() >= _NEVER_ASK
        for when in visits.get(member_id, [])[:: chance.randint(*_ASK_EVERY)]
    ]
    for when, number, member_id, wish in sorted(made):
        yield member_id, when, wish, f"demo:{number}:{when.isoformat()}"


def _asked(member_id: UUID, reward: str, *, key: str, at: datetime, zone: ZoneInfo) -> int:
    with suppress(NotEnoughPoints), transaction.atomic():
        issue = redeem(member_id=member_id, reward_code=reward, key=key, at=at, zone=zone)
        capture_redemption(issue_id=issue.pk, at=at, zone=zone)
        return 1
    return 0
