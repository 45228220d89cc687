"""What a manager changes at a member: who they are, how they are found, their points, two memberships into one."""

from typing import Any
from uuid import UUID

import segno
from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_POST

from loyalty_saas.faces import ClientRequest
from loyalty_saas.portal.member_forms import AdjustForm, IdentifierForm, IdentityForm
from loyalty_saas.portal.shared import (
    MANAGERS,
    asked_text,
    is_owner,
    note,
    phone_spellings,
    region_of,
    zone_of,
)
from loyalty_saas.portal.views.members import add_refusal
from loyalty_saas.templatetags.loyalty import number, unit_amount
from members import queries
from members.models import CardLink, Identifier, Member
from members.services import points
from members.services.approvals import ask_for_adjustment
from members.services.cards import LIVES, make_link
from members.services.enrolment import add_identifier, drop_identifier, merge_members
from members.services.identity import change_identity
from members.services.refusals import Refused
from programs.queries import units
from tenants.access import admits
from tenants.queries import primary_url

_PAGE = ["GET", "HEAD", "POST"]


def _member(member_id: UUID) -> Member:
    """The active member of a page that changes something."""
    found = queries.member_by_id(member_id)
    if found is None or found.status != Member.Status.ACTIVE:
        raise Http404
    return found


def _person_tab(member_id: UUID) -> str:
    return f"{reverse('portal:member', args=[member_id])}?tab=person"


# ── who they are ────────────────────────────────────────────────────────────────────────────────────────────────────


@admits(*MANAGERS)
@require_http_methods(_PAGE)
def identity(request: ClientRequest, member_id: UUID) -> HttpResponse:
    """Name, birthday and language; and beside it a further way to find the member."""
    found = _member(member_id)
    known = getattr(found, "identity", None)
    initial = {name: getattr(known, name, None) for name in ("name", "birthday", "language")}
    form = IdentityForm(request.POST or None, client=request.client, initial=initial)
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            change_identity(member_id=found.pk, changes=form.cleaned_data)
        note(request, action="member.identity_changed", subject=str(found.pk), detail={"fields": form.changed_data})
        messages.success(request, _("Saved."))
        return redirect(_person_tab(found.pk))
    return _identity_page(request, found, form, IdentifierForm())


@admits(*MANAGERS)
@require_POST
def new_identifier(request: ClientRequest, member_id: UUID) -> HttpResponse:
    """A further phone, e-mail address, card or POS id."""
    found, form = _member(member_id), IdentifierForm(request.POST)
    if form.is_valid():
        kind, value = form.cleaned_data["kind"], form.cleaned_data["value"]
        try:
            with transaction.atomic():
                add_identifier(member=found, kind=kind, value=value, region=region_of(request.client))
        except Refused as refused:
            form.add_error("value", refused.words)
        else:
            note(request, action="member.identifier_added", subject=str(found.pk), detail={"kind": kind})
            messages.success(request, _("Saved. The member is found by it from now on."))
            return redirect(_person_tab(found.pk))
    known = getattr(found, "identity", None)
    initial = {name: getattr(known, name, None) for name in ("name", "birthday", "language")}
    return _identity_page(request, found, IdentityForm(client=request.client, initial=initial), form)


@admits(*MANAGERS)
@require_POST
def remove_identifier(request: ClientRequest, member_id: UUID, identifier_id: UUID) -> HttpResponse:
    """Take a phone, e-mail address, card or POS id away from a member."""
    found = _member(member_id)
    try:
        with transaction.atomic():
            kind = drop_identifier(member=found, identifier_id=identifier_id)
    except Refused as refused:
        messages.warning(request, refused.words)
    else:
        note(request, action="member.identifier_removed", subject=str(found.pk), detail={"kind": kind})
        words = _("Removed: %(kind)s. The member is not found by it any more.")
        messages.success(request, words % {"kind": dict(Identifier.Kind.choices)[kind]})
    return redirect(_person_tab(found.pk))


def _identity_page(
    request: ClientRequest, found: Member, form: IdentityForm, identifier_form: IdentifierForm
) -> HttpResponse:
    context = {
        "member": found,
        "form": form,
        "identifier_form": identifier_form,
        "section": "portal:members",
    }
    status = 422 if form.errors or identifier_form.errors else 200
    return render(request, "portal/member_identity.html", context, status=status)


# ── points ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@admits(*MANAGERS)
@require_http_methods(_PAGE)
def adjust(request: ClientRequest, member_id: UUID) -> HttpResponse:
    """Points given or taken by hand, with a reason; above what the role may, a second person is asked."""
    found = _member(member_id)
    form = AdjustForm(request.POST or None, units=units())
    if request.method == "POST" and form.is_valid():
        book = _asked if request.POST.get("do") == "ask" else _adjusted
        if book(request, found, form):
            return redirect("portal:member", found.pk)
    context = {
        "member": found,
        "form": form,
        "balances": queries.balances(member_id=found.pk, at=timezone.now()),
        "limits": _limits(request),
        "may_ask": form.is_over_limit,
        "section": "portal:members",
    }
    return render(request, "portal/member_adjust.html", context, status=422 if form.errors else 200)


def _limits(request: ClientRequest) -> points.HandLimits:
    return points.OWNERS_LIMITS if is_owner(request) else points.MANAGERS_LIMITS


def _adjusted(request: ClientRequest, found: Member, form: AdjustForm) -> bool:
    at, key = timezone.now(), f"hand:{form.cleaned_data['key']}"
    try:
        with transaction.atomic():
            entry = points.adjust_by_hand(
                member_id=found.pk,
                unit=form.chosen,
                amount=form.steps,
                reason=form.cleaned_data["reason"],
                key=key,
                limits=_limits(request),
                by=request.user.pk,
                at=at,
                zone=zone_of(request.client),
            )
    except points.NotEnoughPoints as short:
        words = _("Only %(available)s can be taken: the rest is not there, pending or held for a reward.")
        form.add_error("amount", words % {"available": unit_amount(short.available, form.chosen)})
        return False
    except Refused as refused:
        form.is_over_limit = isinstance(refused, points.OverLimit)
        add_refusal(form, refused)
        return False
    if entry.at == at:
        detail = {"unit": form.chosen.code, "amount": form.steps, "reason": form.cleaned_data["reason"]}
        note(request, action="points.adjusted", subject=str(found.pk), detail=detail)
    messages.success(request, _("Done. It stands in the statement with your reason."))
    return True


def _asked(request: ClientRequest, found: Member, form: AdjustForm) -> bool:
    """Leave it to a second person, who has a week to decide."""
    at, reason = timezone.now(), form.cleaned_data["reason"]
    try:
        with transaction.atomic():
            asked = ask_for_adjustment(
                member_id=found.pk,
                unit=form.chosen,
                amount=form.steps,
                reason=reason,
                key=f"hand:{form.cleaned_data['key']}",
                by=request.user.pk,
                at=at,
            )
    except Refused as refused:
        add_refusal(form, refused)
        return False
    if asked.asked_at == at:
        detail = {"request": str(asked.pk), "unit": form.chosen.code, "amount": form.steps, "reason": reason}
        note(request, action="points.adjustment_asked", subject=str(found.pk), detail=detail)
    messages.success(request, _("Asked. It is booked as soon as a second person agrees; they have seven days."))
    return True


# ── two memberships of one person ───────────────────────────────────────────────────────────────────────────────────


@admits(*MANAGERS)
@require_http_methods(_PAGE)
def merge(request: ClientRequest, member_id: UUID) -> HttpResponse:
    """Find the other membership, compare the two, and make them one."""
    kept = _member(member_id)
    double = _other(request, kept)
    refused = ""
    if request.method == "POST" and double is not None:
        refused = _merged(request, kept, double)
        if not refused:
            return redirect("portal:member", kept.pk)
    text = asked_text(request)
    found = queries.find_members(text, also=phone_spellings(text, request.client)) if text else ()
    context = {
        "member": kept,
        "query": text,
        "found": [one for one in found if one != kept],
        "sides": [_side(one, is_kept=one == kept) for one in (kept, double)] if double else (),
        "double": double,
        "refused": refused,
        "currency": request.client.currency,
        "section": "portal:members",
    }
    return render(request, "portal/member_merge.html", context, status=422 if refused else 200)


def _other(request: ClientRequest, kept: Member) -> Member | None:
    """The other one, as the address or the form names it."""
    try:
        asked = UUID(request.POST.get("double") or request.GET.get("with", ""))
    except ValueError:
        return None
    found = queries.member_by_id(asked)
    return found if found and found != kept and found.status == Member.Status.ACTIVE else None


def _side(one: Member, *, is_kept: bool) -> dict[str, Any]:
    return {
        "member": one,
        "is_kept": is_kept,
        "balances": queries.balances(member_id=one.pk, at=timezone.now()),
        "insight": getattr(one, "insight", None),
    }


def _merged(request: ClientRequest, kept: Member, double: Member) -> str:
    """Why it was refused; nothing when it is done."""
    try:
        with transaction.atomic():
            zone, by = zone_of(request.client), request.user.pk
            merge_members(kept_id=kept.pk, double_id=double.pk, at=timezone.now(), by=by, zone=zone)
    except Refused as refused:
        return refused.words
    note(request, action="member.merged", subject=str(kept.pk), detail={"double": str(double.pk)})
    messages.success(request, _("The two are one now; nothing was lost."))
    return ""


# ── the card ────────────────────────────────────────────────────────────────────────────────────────────────────────


@admits(*MANAGERS)
@require_http_methods(_PAGE)
def card_link(request: ClientRequest, member_id: UUID) -> HttpResponse:
    """A link that opens the member's card once, to be shown as a QR code or sent."""
    found = _member(member_id)
    hours = int(LIVES[CardLink.Way.STAFF].total_seconds() // 3600)
    words = ngettext("%(n)s hour", "%(n)s hours", hours) % {"n": number(hours)}
    context: dict[str, Any] = {"member": found, "lives": words, "section": "portal:members"}
    if request.method == "POST":
        token = make_link(member_id=found.pk, way=CardLink.Way.STAFF, at=timezone.now())
        note(request, action="member.card_link_made", subject=str(found.pk))
        url = primary_url(request.client, reverse("card:open", args=[token]))
        context |= {"url": url, "qr": qr_svg(url)}
    answer = render(request, "portal/member_card_link.html", context)
    answer["Cache-Control"] = "no-store"
    return answer


def qr_svg(text: str) -> SafeString:
    """A QR code as SVG for the page, dark on white on any screen so that every camera reads it."""
    drawn = segno.make(text, error="m", micro=False)
    svg = drawn.svg_inline(border=4, dark="#000000", light="#ffffff", omitsize=True, svgclass="block w-full h-auto")
    return mark_safe(svg)  # noqa: S308 (drawn from squares by segno; the text is not in it)
