"""The night's work of one client, closing its last local day."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from django.db import transaction

from loyalty_saas.flows import figures
from loyalty_saas.flows.purchases import zone
from members.queries import birthdays_on
from members.rules import day_bounds
from members.services import api_requests, approvals, cards, insights, tier_grants, tiers
from members.services.activities import record_activity
from members.services.idempotency import forget_answers
from members.services.points import expire_points
from programs.queries import NoProgram, program_in_force
from rewards.services import refresh_offers

# A caller may repeat a request for so long and still get its answer.
KEPT_ANSWERS = timedelta(days=30)


def closing(*, day: date, zone: ZoneInfo) -> datetime:
    """The instant at which a local day is over."""
    return day_bounds(day=day, zone=zone)[1]


def spend_night(*, at: datetime) -> None:
    """Expire points, greet birthdays, settle tiers, refresh segments, offers; count yesterday. Twice is harmless."""
    while _expire(at=at):
        pass
    greet_birthdays(day=at.astimezone(zone()).date(), at=at)
    _settle(at=at)
    approvals.lapse_requests(at=at)
    forget_answers(before=at - KEPT_ANSWERS)
    cards.forget_old(before=at - KEPT_ANSWERS)
    api_requests.prune(at=at)
    figures.roll_up_days(days=2, at=at)


def _expire(*, at: datetime) -> int:
    with transaction.atomic():
        return expire_points(at=at, zone=zone())


def greet_birthdays(*, day: date, at: datetime) -> int:
    """Record a birthday for each member who has it on `day`, once a year; how many have it."""
    member_ids = birthdays_on(day)
    for member_id in member_ids:
        record_activity(
            member_id=member_id,
            kind="birthday",
            reference=f"{member_id}:{day.year}",
            source="night",
            occurred_at=day_bounds(day=day, zone=zone())[0] + timedelta(hours=12),
            at=at,
        )
    return len(member_ids)


def _settle(*, at: datetime) -> None:
    try:
        tiers.settle_all(program=program_in_force(), at=at)
    except NoProgram:
        return
    tier_grants.note_ends(at=at)
    with transaction.atomic():
        insights.rescale(at=at, zone=zone())
    member_ids = insights.refresh_all(at=at, zone=zone())
    for start in range(0, len(member_ids), insights.PART):
        with transaction.atomic():
            refresh_offers(member_ids=member_ids[start : start + insights.PART], at=at, zone=zone())
