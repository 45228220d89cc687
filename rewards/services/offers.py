"""One offer for each member, with the figures behind its reason; refreshed for those whom a purchase touched."""

import json
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import connections

from members.models import Insight
from rewards.models import Offer, OfferAssignment
from rewards.rules import Candidate, best_offer, reason_for
from tenants.routers import CLIENT


def refresh_offers(*, member_ids: Sequence[UUID], at: datetime, zone: ZoneInfo) -> int:
    """Give each of these members the offer that suits now, or none; how many were given another than before."""
    if not member_ids:
        return 0
    offers = [
        Candidate(str(offer_id), frozenset(segments), priority)
        for offer_id, segments, priority in Offer.objects.filter(active=True).values_list("id", "segments", "priority")
    ]
    today = at.astimezone(zone).date()
    found = {insight.pk: _assignment(insight, offers, today) for insight in _insights(member_ids)}
    OfferAssignment.objects.filter(pk__in=[member_id for member_id, one in found.items() if one is None]).delete()
    wanted = [one for one in found.values() if one]
    if not wanted:
        return 0
    with connections[CLIENT].cursor() as cursor:
        cursor.execute(_UPSERT, {"rows": json.dumps(wanted), "at": at})
        return int(cursor.rowcount)


def _insights(member_ids: Sequence[UUID]) -> Any:
    return Insight.objects.filter(pk__in=list(member_ids)).exclude(segment="")


def _assignment(insight: Insight, offers: Sequence[Candidate], today: date) -> dict[str, Any] | None:
    offer = best_offer(segment=insight.segment, offers=offers)
    if offer is None:
        return None
    figures = {
        "purchases": insight.purchases,
        "spend": insight.spend,
        "last_day": insight.last_day.isoformat() if insight.last_day else None,
        "first_day": insight.first_day.isoformat() if insight.first_day else None,
        "favourite": insight.favourite,
    }
    return {
        "member_id": str(insight.pk),
        "offer_id": offer.id,
        "reason": reason_for(segment=insight.segment, figures=figures),
        "figures": figures,
    }


_UPSERT = """
    INSERT INTO rewards_offerassignment (member_id, offer_id, reason, figures, assigned_at)
    SELECT member_id, offer_id, reason, figures, %(at)s
    FROM jsonb_to_recordset(%(rows)s::jsonb) AS r(member_id uuid, offer_id uuid, reason text, figures jsonb)
    ON CONFLICT (member_id) DO UPDATE
    SET offer_id = excluded.offer_id, reason = excluded.reason, figures = excluded.figures,
        assigned_at = CASE WHEN rewards_offerassignment.offer_id = excluded.offer_id
                           THEN rewards_offerassignment.assigned_at ELSE excluded.assigned_at END
    WHERE (rewards_offerassignment.offer_id, rewards_offerassignment.reason, rewards_offerassignment.figures)
          IS DISTINCT FROM (excluded.offer_id, excluded.reason, excluded.figures)
"""
