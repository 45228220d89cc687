"""One member: what they have, what happened, who they are."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from loyalty_saas.faces import ClientRequest
from loyalty_saas.portal import member_sentences, sentences
from loyalty_saas.portal.member_sentences import insight_sentences
from loyalty_saas.portal.shared import MANAGERS, PAGE, is_manager, published
from loyalty_saas.sentences import change_of, what_happened, why_offer
from loyalty_saas.sentences_program import figure_of_basis
from loyalty_saas.sentences_tiers import given, to_keep, to_reach
from loyalty_saas.templatetags.loyalty import day, signed
from members import queries
from members.models import LedgerEntry, Member, Purchase, TierChange, TierGrant
from programs.queries import ProgramInForce, Unit, products_by_sku, units
from rewards.queries import current_offer, issues_of
from tenants.access import Actor, admits

Kind = LedgerEntry.Kind
# What the statement can be narrowed to: words, and the kinds of entries.
KINDS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "earned": (gettext_lazy("Earned"), (Kind.EARN, Kind.RESTORE)),
    "spent": (gettext_lazy("Spent"), (Kind.SPEND,)),
    "returned": (gettext_lazy("Taken back"), (Kind.REVERSE,)),
    "expired": (gettext_lazy("Expired"), (Kind.EXPIRE,)),
    "hand": (gettext_lazy("By hand"), (Kind.ADJUST, Kind.MOVE)),
}
TABS = {
    "points": gettext_lazy("Points"),
    "purchases": gettext_lazy("Purchases"),
    "rewards": gettext_lazy("Tier and rewards"),
    "person": gettext_lazy("Person"),
}


@admits(*MANAGERS, Actor.CLERK)
@require_safe
def member(request: ClientRequest, member_id: UUID) -> HttpResponse:
    """One member: balance, tier and what is missing, and each movement with its reasons."""
    found = queries.member_by_id(member_id)
    if found is None:
        raise Http404
    if found.status == Member.Status.MERGED and found.merged_into_id:
        return redirect("portal:member", found.merged_into_id)
    tab = request.GET.get("tab", "")
    tab = tab if tab in TABS else "points"
    at, current = timezone.now(), published()
    context = {
        "member": found,
        "tab": tab,
        "tabs": TABS.items(),
        "is_manager": is_manager(request),
        "is_active": found.status == Member.Status.ACTIVE,
        "balances": queries.balances(member_id=member_id, at=at),
        **_standing(found, current, request.client.currency, at),
        **_OF_TABS[tab](request, found, current, at),
        "client": request.client,
        "section": "portal:members",
    }
    return render(request, "portal/member.html", context)


@admits(*MANAGERS, Actor.CLERK)
@require_safe
def receipt(request: ClientRequest, purchase_id: UUID) -> HttpResponse:
    """One sale or return: its lines, the points of each with the reasons, and what came back of it."""
    purchase = queries.purchase_by_id(purchase_id)
    if purchase is None:
        raise Http404
    traces = queries.traces_of([purchase.pk])[purchase.pk]
    lines = sorted(purchase.lines.all(), key=lambda line: line.position)
    products = products_by_sku([line.sku for line in lines if line.sku])
    entries = list(queries.entries_of_purchase(purchase.pk))
    context = {
        "purchase": purchase,
        "lines": [(line, products.get(line.sku), member_sentences.points_of_line(line, traces)) for line in lines],
        "entries": [(what_happened(one), signed(one.amount, one.account.unit.decimals), one) for one in entries],
        **member_sentences.reasons(traces),
        "returns": list(queries.returns_of(purchase.pk)) if purchase.kind == Purchase.Kind.SALE else [],
        "is_waiting": queries.is_waiting(purchase.pk),
        "may_move": is_manager(request) and purchase.kind == Purchase.Kind.SALE and not purchase.taken_back_by.exists(),
        "section": "portal:members",
    }
    return render(request, "portal/receipt.html", context)


# ── the head ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _standing(found: Member, current: ProgramInForce | None, currency: str, at: datetime) -> dict[str, Any]:
    tier = queries.tier_of(member_id=found.pk, program=current, at=at) if current else None
    offer = current_offer(found.pk)
    return {
        "tier": tier,
        "missing": _missing(tier, current, currency),
        "ladder": _ladder(tier, current, currency),
        "offer": offer,
        "offer_reason": why_offer(offer, currency=currency) if offer else "",
    }


def _ladder(
    tier: queries.TierView | None, current: ProgramInForce | None, currency: str
) -> member_sentences.Ladder | None:
    if tier is None or current is None or current.spec.tiers is None:
        return None
    return member_sentences.ladder(tier, current.spec.tiers, currency=currency)


def _missing(tier: queries.TierView | None, current: ProgramInForce | None, currency: str) -> dict[str, str]:
    if tier is None or current is None or current.spec.tiers is None:
        return {}
    tiers = current.spec.tiers
    return {
        "basis": figure_of_basis(tier.basis, tiers, currency),
        "next": figure_of_basis(tier.missing_to_next, tiers, currency) if tier.next_code else "",
        "keep": to_keep(tier, tiers, currency=currency),
        "reach": to_reach(tier, tiers, currency=currency),
        "given": given(tier),
    }


# ── the parts ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _points(request: ClientRequest, found: Member, current: ProgramInForce | None, at: datetime) -> dict[str, Any]:
    kind = request.GET.get("kind", "")
    entries = queries.movements_of(found.pk)
    if kind in KINDS:
        entries = entries.filter(kind__in=KINDS[kind][1])
    page = Paginator(entries, PAGE).get_page(request.GET.get("page"))
    traces = queries.traces_of([source for entry in page if (source := sentences.source_of(entry))])
    together = queries.moved_together(page)
    return {
        "page": page,
        "kept": f"kind={kind}&" if kind in KINDS else "",
        "kind": kind if kind in KINDS else "",
        "kinds": [(code, words) for code, (words, _kinds) in KINDS.items()],
        "lines": [sentences.statement_line(entry, traces, together) for entry in page],
        "lots": [
            (lot, member_sentences.lot_amount(lot), member_sentences.lot_source(lot))
            for lot in queries.lots_of(found.pk)[:PAGE]
        ],
        "household": (home := queries.household_of(found.pk)),
        "mates": queries.mates(household_id=home.pk, at=at) if home else [],
        "at": at,
    }


def _purchases(request: ClientRequest, found: Member, current: ProgramInForce | None, at: datetime) -> dict[str, Any]:
    family = queries.family_of(found.pk)
    page = Paginator(queries.purchases_of(family), PAGE).get_page(request.GET.get("page"))
    moved = queries.points_of_purchases([one.pk for one in page])
    by_id = {unit.id: unit for unit in units()}
    rows = [(one, [_moved(by_id[unit], total) for unit, total in moved.get(one.pk, [])]) for one in page]
    return {
        "page": page,
        "kept": "tab=purchases&",
        "purchases": rows,
        "insights": insight_sentences(getattr(found, "insight", None), currency=request.client.currency),
    }


def _moved(unit: Unit, total: int) -> str:
    return change_of(total, decimals=unit.decimals, unit=unit.name)


def _rewards(request: ClientRequest, found: Member, current: ProgramInForce | None, at: datetime) -> dict[str, Any]:
    family = queries.family_of(found.pk)
    tiers = current.spec.tiers if current else None
    names = {level.code: level.name for level in tiers.levels} if tiers else {}
    changes = list(queries.tier_changes_of(family)[:PAGE])
    return {
        "changes": [(change, _change(change, names)) for change in changes],
        "issues": list(issues_of(family)[:PAGE]),
        "units": {unit.code: unit for unit in units()},
        "grant": (grant := queries.grant_of(found.pk, at=at)),
        "grant_words": _given(grant, names) if grant else "",
    }


def _given(grant: TierGrant, names: dict[str, str]) -> str:
    """Said whether or not the member has earned as much meanwhile."""
    last = timezone.localtime(grant.until - timedelta(seconds=1)).date()
    return _("%(tier)s was given until %(day)s.") % {"tier": names.get(grant.tier, grant.tier), "day": day(last)}


def _change(change: TierChange, names: dict[str, str]) -> str:
    before, after = (names.get(code, code) for code in (change.before, change.after))
    if not change.before:
        return _("Reached %(after)s") % {"after": after}
    if not change.after:
        return _("Left %(before)s") % {"before": before}
    return _("From %(before)s to %(after)s") % {"before": before, "after": after}


def _person(request: ClientRequest, found: Member, current: ProgramInForce | None, at: datetime) -> dict[str, Any]:
    family = queries.family_of(found.pk)
    return {
        "consents": list(queries.consents_of(family)[:50]),
        "merged": list(Member.objects.filter(pk__in=family[1:]).order_by("pk")),
        "insights": insight_sentences(getattr(found, "insight", None), currency=request.client.currency),
    }


_OF_TABS: dict[str, Callable[[ClientRequest, Member, ProgramInForce | None, datetime], dict[str, Any]]] = {
    "points": _points,
    "purchases": _purchases,
    "rewards": _rewards,
    "person": _person,
}
