"""Points: what a member has and holds, what moved and why, and corrections by hand."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.utils import timezone
from rest_framework import serializers
from rest_framework.response import Response

from loyalty_saas.api.base import MEMBER_IN_PATH, ApiRequest, ApiView, Body, body_of, note, operation, page
from loyalty_saas.api.fields import Amount, Input, Text
from loyalty_saas.api.keys import once, respond
from loyalty_saas.api.lookups import member_id_of, unit_of
from loyalty_saas.api.pages import Listing, page_shape
from loyalty_saas.flows.purchases import zone
from loyalty_saas.sentences import Why, what_happened, why_points
from loyalty_saas.sentences_tiers import given, to_keep, to_reach
from members import queries
from members.models import LedgerEntry, RuleTrace
from members.services.points import adjust_points
from members.services.purchases import Key
from programs.queries import NoProgram, program_in_force
from tenants.access import Actor, admits

# ── what goes out ───────────────────────────────────────────────────────────────────────────────────────────────────


class BalanceShape(serializers.Serializer[Any]):
    """What a member has of one unit, in its smallest step."""

    unit = serializers.CharField()
    name = serializers.CharField()
    kind = serializers.CharField()
    decimals = serializers.IntegerField()
    balance = serializers.IntegerField(help_text="Everything: available, pending and held, less the debt.")
    available = serializers.IntegerField(help_text="What can be spent now.")
    pending = serializers.IntegerField()
    held = serializers.IntegerField(help_text="Set aside for rewards that are reserved.")
    debt = serializers.IntegerField(help_text="Taken back with returns after it had been spent.")
    next_expiry = serializers.DateTimeField(allow_null=True)
    next_expiry_amount = serializers.IntegerField()
    shared = serializers.IntegerField(help_text="What others of the household could add to a reward.")

    class Meta:
        ref_name = "Balance"


class BalancesShape(serializers.Serializer[Any]):
    """What a member has."""

    member = serializers.UUIDField()
    balances = BalanceShape(many=True)

    class Meta:
        ref_name = "Balances"


class TraceShape(serializers.Serializer[Any]):
    """What one rule made of a purchase or activity."""

    rule = serializers.CharField(help_text="The rule's code.")
    name = serializers.CharField()
    unit = serializers.CharField()
    result = serializers.ChoiceField(choices=RuleTrace.Result.values)
    amount = serializers.IntegerField()
    line_amounts = serializers.ListField(child=serializers.IntegerField(), help_text="By line, in their order.")
    reason = serializers.CharField(
        help_text="Why it did not give all, or anything: `condition:category`, `cap:budget`."
    )
    sentence = serializers.CharField()

    class Meta:
        ref_name = "Trace"


class EntryShape(serializers.Serializer[Any]):
    """One movement of points, with what it is about and why."""

    id = serializers.UUIDField()
    unit = serializers.CharField()
    kind = serializers.ChoiceField(choices=LedgerEntry.Kind.values)
    amount = serializers.IntegerField()
    balance_after = serializers.IntegerField()
    occurred_at = serializers.DateTimeField()
    at = serializers.DateTimeField()
    purchase = serializers.UUIDField(allow_null=True)
    document = serializers.CharField(allow_null=True)
    activity = serializers.UUIDField(allow_null=True)
    corrects = serializers.UUIDField(allow_null=True)
    reason = serializers.CharField()
    available_at = serializers.DateTimeField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True)
    sentence = serializers.CharField()
    traces = TraceShape(many=True)

    class Meta:
        ref_name = "LedgerEntry"


class LevelShape(serializers.Serializer[Any]):
    """A tier."""

    code = serializers.CharField()
    name = serializers.CharField()

    class Meta:
        ref_name = "Tier"


class NextLevelShape(LevelShape):
    """The tier above, and what is missing to it in the program's basis."""

    missing = serializers.IntegerField()
    by = serializers.DateField(allow_null=True, help_text="The last day for it, where figures begin anew each year.")

    class Meta:
        ref_name = "NextTier"


class StandingShape(serializers.Serializer[Any]):
    """Where a member stands in the program's tiers."""

    member = serializers.UUIDField()
    tier = LevelShape(allow_null=True)
    basis = serializers.IntegerField(help_text="What the tier rests on: spend in minor units, a count, points or days.")
    since = serializers.DateTimeField(allow_null=True)
    next = NextLevelShape(allow_null=True)
    missing_to_keep = serializers.IntegerField()
    keep_by = serializers.DateField(allow_null=True, help_text="The last day on which that can still come in.")
    earned = LevelShape(allow_null=True, help_text="The tier without what was given by hand.")
    granted_until = serializers.DateTimeField(allow_null=True, help_text="When a tier given by hand ends.")
    period_ends_at = serializers.DateTimeField(allow_null=True)
    sentences = serializers.ListField(
        child=serializers.CharField(), help_text="What is missing to rise and to keep it, in words."
    )

    class Meta:
        ref_name = "Standing"


EntryPage = page_shape(EntryShape)


class Adjustment(Input):
    """A correction by hand."""

    member = Text(max_length=254, help_text="Id, number or any identifier.")
    unit = Text(max_length=30, help_text="The unit's code.")
    amount = Amount(signed=True, help_text="Smallest steps of the unit; below 0 takes away.")
    reason = Text(max_length=200, help_text="Stands in the member's ledger.")


# ── writing ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def rule_names() -> Mapping[str, str]:
    """What the rules in force are called, by code."""
    try:
        return program_in_force().rule_names
    except NoProgram:
        return {}


def written_trace(trace: RuleTrace, *, names: Mapping[str, str]) -> Body:
    """What one rule made of something, as JSON; `names` are those of rules by code."""
    return {
        "rule": trace.rule.code,
        "name": trace.rule.name,
        "unit": trace.rule.unit.code,
        "result": trace.result,
        "amount": trace.amount,
        "line_amounts": list(trace.line_amounts),
        "reason": trace.reason,
        "sentence": why_points(Why.of_trace(trace, names=names)),
    }


def written_traces(traces: Sequence[RuleTrace]) -> list[Body]:
    """All that rules made of one purchase or activity, as JSON."""
    names = {**rule_names(), **{trace.rule.code: trace.rule.name for trace in traces}} if traces else {}
    return [written_trace(trace, names=names) for trace in traces]


def written_entries(entries: Sequence[LedgerEntry]) -> list[Body]:
    """Movements as JSON, each with the traces of its unit."""
    traces = queries.traces_of([source for entry in entries if (source := entry.purchase_id or entry.activity_id)])
    return [_written_entry(entry, traces) for entry in entries]


def _written_entry(entry: LedgerEntry, traces: Mapping[UUID, list[RuleTrace]]) -> Body:
    unit, lot = entry.account.unit, getattr(entry, "lot", None)
    source = entry.purchase_id or entry.activity_id
    beside = traces.get(source, []) if source else []
    names = {trace.rule.code: trace.rule.name for trace in beside}
    return {
        "id": entry.pk,
        "unit": unit.code,
        "kind": entry.kind,
        "amount": entry.amount,
        "balance_after": entry.balance_after,
        "occurred_at": entry.occurred_at,
        "at": entry.at,
        "purchase": entry.purchase_id,
        "document": entry.purchase.document if entry.purchase else None,
        "activity": entry.activity_id,
        "corrects": entry.corrects_id,
        "reason": entry.reason,
        "available_at": lot.available_at if lot else None,
        "expires_at": lot.expires_at if lot else None,
        "sentence": what_happened(entry),
        "traces": [written_trace(trace, names=names) for trace in beside if trace.rule.unit_id == unit.pk],
    }


# ── the views ───────────────────────────────────────────────────────────────────────────────────────────────────────

_LISTING, _ADJUSTMENT = Listing(), Adjustment()


@admits(Actor.MACHINE, GET="points:read")
class MemberBalance(ApiView):
    """What a member has."""

    @operation(
        "A member's balance in every unit",
        name="members_balance",
        path=[MEMBER_IN_PATH],
        gives=BalancesShape,
        refuses=("unknown_member",),
    )
    def get(self, request: ApiRequest, member: str) -> Response:
        member_id = member_id_of(member)
        found = queries.balances(member_id=member_id, at=timezone.now())
        return Response({"member": member_id, "balances": [_written_balance(one) for one in found]})


def _written_balance(one: queries.Balance) -> Body:
    return {
        "unit": one.unit.code,
        "name": one.unit.name,
        "kind": one.unit.kind,
        "decimals": one.unit.decimals,
        "balance": one.balance,
        "available": one.available,
        "pending": one.pending,
        "held": one.held,
        "debt": one.debt,
        "next_expiry": one.next_expiry,
        "next_expiry_amount": one.next_expiry_amount,
        "shared": one.shared,
    }


@admits(Actor.MACHINE, GET="points:read")
class MemberLedger(ApiView):
    """What moved."""

    @operation(
        "A member's movements, newest first, each with why",
        name="members_ledger",
        path=[MEMBER_IN_PATH],
        query=Listing,
        gives=EntryPage,
        refuses=("unknown_member",),
    )
    def get(self, request: ApiRequest, member: str) -> Response:
        member_id = member_id_of(member)
        return page(request, _LISTING, lambda asked: queries.entries_of(member_id), written_entries)


@admits(Actor.MACHINE, GET="points:read")
class MemberTier(ApiView):
    """Where a member stands."""

    @operation(
        "A member's tier, and what is missing to the next",
        name="members_tier",
        path=[MEMBER_IN_PATH],
        gives=StandingShape,
        refuses=("unknown_member", "no_program"),
    )
    def get(self, request: ApiRequest, member: str) -> Response:
        member_id = member_id_of(member)
        found = queries.tier_of(member_id=member_id, program=program_in_force(), at=timezone.now())
        return Response(_written_tier(member_id, found, request.client.currency))


_NO_TIERS: Body = {
    "tier": None,
    "basis": 0,
    "since": None,
    "next": None,
    "missing_to_keep": 0,
    "keep_by": None,
    "earned": None,
    "granted_until": None,
    "period_ends_at": None,
    "sentences": [],
}


def _written_tier(member_id: UUID, found: queries.TierView | None, currency: str) -> Body:
    tiers = program_in_force().spec.tiers
    if found is None or tiers is None:
        return {"member": member_id, **_NO_TIERS}
    following = {
        "code": found.next_code,
        "name": found.next_name,
        "missing": found.missing_to_next,
        "by": found.next_by,
    }
    said = (to_reach(found, tiers, currency=currency), to_keep(found, tiers, currency=currency), given(found))
    return {
        "member": member_id,
        "tier": {"code": found.code, "name": found.name} if found.code else None,
        "basis": found.basis,
        "since": found.since,
        "next": following if found.next_code else None,
        "missing_to_keep": found.missing_to_keep,
        "keep_by": found.keep_by,
        "earned": {"code": found.earned_code, "name": found.earned_name} if found.earned_code else None,
        "granted_until": found.granted_until,
        "period_ends_at": found.period_ends_at,
        "sentences": [words for words in said if words],
    }


@admits(Actor.MACHINE, POST="points:write")
class Adjustments(ApiView):
    """Corrections by hand."""

    @operation(
        "Put a balance right by hand",
        name="adjustments_make",
        takes=Adjustment,
        gives={201: EntryShape},
        keyed=True,
        refuses=("unknown_member", "unknown_unit", "not_enough_points", "refused"),
    )
    def post(self, request: ApiRequest) -> Response:
        """Adds points or takes them away, with a reason; never below what is available."""
        at, form = timezone.now(), body_of(request, _ADJUSTMENT)

        def work(key: Key) -> Body:
            entry = adjust_points(
                member_id=member_id_of(form["member"], field="member"),
                unit=unit_of(form["unit"]),
                amount=form["amount"],
                reason=form["reason"],
                key=f"adjust:{key.key}",
                at=at,
                zone=zone(),
                by=request.auth.pk,
            )
            return written_entries([entry])[0]

        answer = once(request, route="adjustments", at=at, work=work)
        if not answer.replayed:
            detail = {"amount": form["amount"], "unit": form["unit"], "reason": form["reason"]}
            note(request, action="points.adjusted", subject=str(answer.body["id"]), detail=detail, at=at)
        return respond(answer)
