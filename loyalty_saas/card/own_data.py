"""All that is kept of a member, as a file that people and programs can read."""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from babel.numbers import get_currency_precision
from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Prefetch, Q

from loyalty_saas.portal.sentences import Line, source_of, statement_line
from members.models import (
    Activity,
    AdjustmentRequest,
    CardLink,
    CardSession,
    Consent,
    Hold,
    HouseholdMember,
    Identifier,
    Identity,
    Insight,
    LedgerEntry,
    Lot,
    Member,
    PointsAccount,
    Purchase,
    PurchaseLine,
    RuleState,
    TierChange,
    TierGrant,
    TierStatus,
    WorkItem,
)
from members.queries import entries_of, traces_of
from rewards.models import OfferAssignment, RewardIssue
from tenants.models import Client

Section = list[dict[str, Any]]

PLACES: Final[dict[str, str]] = {
    "members.Member": "member",
    "members.Identity": "identity",
    "members.Identifier": "identifiers",
    "members.Consent": "consents",
    "members.CardLink": "card_links",
    "members.CardSession": "phones",
    "members.Purchase": "purchases",
    "members.PurchaseLine": "purchases.lines",
    "members.ParkedReturn": "purchases.lines.waiting",
    "members.Activity": "activities",
    "members.WorkItem": "waiting_for_points",
    "members.PointsAccount": "accounts",
    "members.LedgerEntry": "movements",
    "members.RuleTrace": "movements.why",
    "members.Lot": "lots",
    "members.Hold": "set_aside",
    "members.RuleState": "kept_by_rules",
    "members.TierStatus": "tier",
    "members.TierChange": "tier_changes",
    "members.TierGrant": "tiers_given",
    "members.HouseholdMember": "households",
    "members.AdjustmentRequest": "corrections_asked_for",
    "members.Insight": "insight",
    "rewards.RewardIssue": "rewards",
    "rewards.OfferAssignment": "offer",
}
"""Where in the file the rows of each table stand."""
LEFT_OUT: Final[dict[str, str]] = {
    "members.ReturnMatch": "Which line took which back is told by the returned quantity of each line.",
    "members.Allocation": "Which lot a movement took is told by what each lot has left.",
    "members.Transfer": "What came from and went to another member stands among the movements, with the reason.",
    "members.HoldLot": "Which lot is set aside is told by each lot.",
}
"""Tables that lead to a member and say nothing that the file does not say elsewhere."""


def own_data(*, member: Member, client: Client, at: datetime) -> str:
    """Everything kept of a member and of those who were merged into it."""
    ids = [member.pk, *Member.objects.filter(merged_into=member).values_list("pk", flat=True)]
    told = {"house": client.name, "made_at": at, "amounts": f"Money in {client.currency}", **_sections(ids)}
    return json.dumps(told, cls=DjangoJSONEncoder, indent=2, ensure_ascii=False) + "\n"


def _sections(ids: Sequence[UUID]) -> dict[str, Section]:
    of = Q(member_id__in=ids)
    plain = {"member_id__in": ids}
    return {
        "member": _rows(Member.objects.filter(pk__in=ids), "id", "number", "status", "merged_into_id", "joined_at",
                        "card_code"),
        "identity": _rows(Identity.objects.filter(of), "member_id", "name", "birthday", "language"),
        "identifiers": _rows(Identifier.objects.filter(of), "kind", "value"),
        "consents": _rows(Consent.objects.filter(of), "purpose", "granted", "text_version", "source", "at"),
        "phones": _rows(CardSession.objects.filter(of), "label", "began_at", "seen_at", "ended_at"),
        "card_links": _rows(CardLink.objects.filter(of), "way", "made_at", "expires_at", "used_at"),
        "tier": _rows(TierStatus.objects.filter(**plain), "tier", "basis", "since", "settled_at"),
        "tier_changes": _rows(TierChange.objects.filter(of), "before", "after", "basis", "at"),
        "tiers_given": _rows(TierGrant.objects.filter(of), "tier", "reason", "since", "until", "ended_at"),
        "households": _rows(HouseholdMember.objects.filter(of), "household__name", "joined_at", "left_at"),
        "corrections_asked_for": list(_asked(ids)),
        "accounts": list(_accounts(ids)),
        "movements": list(_movements(ids)),
        "lots": list(_lots(ids)),
        "set_aside": list(_holds(ids)),
        "purchases": list(_purchases(ids)),
        "activities": list(_activities(ids)),
        "waiting_for_points": _rows(WorkItem.objects.filter(of).order_by("occurred_at"), "kind", "source_id",
                                    "occurred_at"),
        "rewards": list(_rewards(ids)),
        "offer": _rows(OfferAssignment.objects.filter(**plain), "offer__name", "offer__text", "reason", "figures",
                       "assigned_at"),
        "insight": _rows(Insight.objects.filter(**plain), "purchases", "spend", "first_day", "last_day", "last_visit",
                         "recency", "frequency", "value", "segment", "favourite", "refreshed_at"),
        "kept_by_rules": _rows(RuleState.objects.filter(of).order_by("rule_code"), "rule_code", "remainder", "used"),
    }  # fmt: skip


def _rows(rows: Any, *names: str) -> Section:
    return list((rows if rows.query.order_by else rows.order_by("pk")).values(*names))


def _accounts(ids: Sequence[UUID]) -> Iterator[dict[str, Any]]:
    for row in PointsAccount.objects.filter(member_id__in=ids).select_related("unit").order_by("unit__code", "id"):
        places = row.unit.decimals
        yield {
            "unit": row.unit.name,
            "balance": _steps(row.balance, places),
            "owed": _steps(row.debt, places),
            "lasts_until": row.slides_until,
        }


def _asked(ids: Sequence[UUID]) -> Iterator[dict[str, Any]]:
    for row in AdjustmentRequest.objects.filter(member_id__in=ids).select_related("unit").order_by("pk"):
        amount = _steps(row.amount, row.unit.decimals)
        told = {"unit": row.unit.name, "amount": amount, "reason": row.reason, "state": row.state}
        yield {**told, "asked_at": row.asked_at, "settled_at": row.settled_at}


def _movements(ids: Sequence[UUID]) -> Iterator[dict[str, Any]]:
    entries = [entry for member_id in ids for entry in entries_of(member_id)]
    traces = traces_of([source for entry in entries if (source := source_of(entry))])
    for entry in entries:
        yield _movement(entry, statement_line(entry, traces))


def _movement(entry: LedgerEntry, said: Line) -> dict[str, Any]:
    places = entry.account.unit.decimals
    return {
        "id": entry.pk,
        "what": said.title,
        "kind": entry.kind,
        "unit": entry.account.unit.name,
        "amount": _steps(entry.amount, places),
        "balance_after": _steps(entry.balance_after, places),
        "occurred_at": entry.occurred_at,
        "booked_at": entry.at,
        "reason": entry.reason,
        "purchase": entry.purchase_id,
        "activity": entry.activity_id,
        "corrects": entry.corrects_id,
        "why": [*said.counted, *said.not_counted],
    }


def _lots(ids: Sequence[UUID]) -> Iterator[dict[str, Any]]:
    rows = Lot.objects.filter(account__member_id__in=ids).select_related("account__unit").order_by("pk")
    for row in rows:
        places = row.account.unit.decimals
        yield {
            "movement": row.entry_id,
            "unit": row.account.unit.name,
            "left": _steps(row.remaining, places),
            "set_aside": _steps(row.held, places),
            "available_at": row.available_at,
            "expires_at": row.expires_at,
        }


def _holds(ids: Sequence[UUID]) -> Iterator[dict[str, Any]]:
    for row in Hold.objects.filter(account__member_id__in=ids).select_related("account__unit").order_by("id"):
        amount = _steps(row.amount, row.account.unit.decimals)
        unit = row.account.unit.name
        yield {"unit": unit, "amount": amount, "state": row.state, "at": row.at, "expires_at": row.expires_at}


def _purchases(ids: Sequence[UUID]) -> Iterator[dict[str, Any]]:
    lines = Prefetch("lines", PurchaseLine.objects.select_related("parked").order_by("position"))
    rows = Purchase.objects.filter(member_id__in=ids).select_related("location", "sale").prefetch_related(lines)
    for row in rows.order_by("id"):
        places = get_currency_precision(row.currency)
        yield {
            "id": row.pk,
            "document": row.document,
            "kind": row.kind,
            "occurred_at": row.occurred_at,
            "received_at": row.received_at,
            "location": row.location.name if row.location else "",
            "terminal": row.terminal,
            "channel": row.channel,
            "source": row.source,
            "currency": row.currency,
            "amount": _steps(row.amount, places),
            "takes_back": row.sale.document if row.sale else "",
            "lines": [_line(line, places) for line in row.lines.all()],
        }


def _line(line: PurchaseLine, places: int) -> dict[str, Any]:
    parked = getattr(line, "parked", None)
    return {
        "position": line.position,
        "sku": line.sku,
        "category": line.category,
        "quantity": line.quantity,
        "unit_price": line.unit_price,
        "discount": _steps(line.discount, places),
        "amount": _steps(line.amount, places),
        "earns": line.earning,
        "returned": line.returned,
        "waiting": {"quantity": parked.quantity, "state": parked.state, "reason": parked.reason} if parked else None,
    }


def _activities(ids: Sequence[UUID]) -> Iterator[dict[str, Any]]:
    for row in Activity.objects.filter(member_id__in=ids).select_related("location").order_by("id"):
        yield {
            "id": row.pk,
            "kind": row.kind,
            "reference": row.reference,
            "occurred_at": row.occurred_at,
            "received_at": row.received_at,
            "location": row.location.name if row.location else "",
            "channel": row.channel,
            "source": row.source,
            "amount_in_minor_units": row.amount,
            "properties": row.properties,
        }


def _rewards(ids: Sequence[UUID]) -> Iterator[dict[str, Any]]:
    for row in RewardIssue.objects.filter(member_id__in=ids).select_related("reward").order_by("id"):
        yield {
            "reward": row.reward.name,
            "code": row.code,
            "state": row.state,
            "location": row.location,
            "at": row.at,
            "settled_at": row.settled_at,
        }


def _steps(amount: int, places: int) -> Decimal:
    return Decimal(amount).scaleb(-places)
