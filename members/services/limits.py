"""How much a person may give, take or move by hand, at a time and in a day."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import connections
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from members.rules import midnight
from members.services.refusals import Refused
from tenants.routers import CLIENT


@dataclass(frozen=True)
class HandLimits:
    """How many whole units a person may give, take or move by hand, at a time and, taken together, in a day."""

    at_a_time: int
    a_day: int | None = None


MANAGERS_LIMITS: Final = HandLimits(at_a_time=500, a_day=2_000)
OWNERS_LIMITS: Final = HandLimits(at_a_time=10_000)


class OverLimit(Refused):
    """More than the person may give, take or move by hand."""

    code = "over_limit"


def stay_at_a_time(*, amount: int, step: int, limits: HandLimits) -> None:
    """:raises OverLimit: more than the person may at a time"""
    if abs(amount) > limits.at_a_time * step:
        words = _("%(n)s at a time is the most that one person may do alone.")
        raise OverLimit(words % {"n": number_format(limits.at_a_time, force_grouping=True)}, field="amount")


def stay_in_day(*, amount: int, step: int, most: int, by: UUID, at: datetime, zone: ZoneInfo) -> None:
    """:raises OverLimit: with what the person has given and moved today it would be too much"""
    given = given_by_hand(by=by, at=at, zone=zone)
    if given * step + amount > most * step:
        left = max(most - given, 0)
        words = _("You may give %(most)s a day over all members, and %(left)s of it are left today.")
        raise OverLimit(
            words
            % {"most": number_format(most, force_grouping=True), "left": number_format(left, force_grouping=True)},
            field="amount",
        )


def given_by_hand(*, by: UUID, at: datetime, zone: ZoneInfo) -> int:
    """How many whole units the person has given and moved on the local day of `at`, over all members and units."""
    since = midnight(day=at.astimezone(zone).date(), zone=zone)
    with connections[CLIENT].cursor() as cursor:
        cursor.execute(_GIVEN, {"by": by, "since": since, "floor": _first_id(since)})
        (total,) = cursor.fetchone()
    return int(total)


def _first_id(since: datetime) -> UUID:
    """Ids tell their time: nothing made since then has a smaller one, a day's grace for clocks included."""
    return UUID(int=int((since - timedelta(days=1)).timestamp() * 1000) << 80)


def hold_person(by: UUID) -> None:
    """Two awards at once would both find the day's room."""
    with connections[CLIENT].cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [int.from_bytes(by.bytes[8:], "big", signed=True)])


_GIVEN = """
    WITH given AS (
        SELECT e.amount, a.unit_id FROM members_ledgerentry e JOIN members_pointsaccount a ON a.id = e.account_id
        WHERE e.id >= %(floor)s AND e.kind = 'adjust' AND e.amount > 0 AND e.made_by = %(by)s AND e.at >= %(since)s
          AND NOT EXISTS (SELECT 1 FROM members_adjustmentrequest r WHERE r.entry_id = e.id)
        UNION ALL
        SELECT t.amount, t.unit_id FROM members_transfer t
        WHERE t.id >= %(floor)s AND t.made_by = %(by)s AND t.at >= %(since)s
    )
    SELECT COALESCE(ceil(sum(g.amount / power(10, u.decimals))), 0)::bigint
    FROM given g JOIN programs_unittype u ON u.id = g.unit_id
"""
