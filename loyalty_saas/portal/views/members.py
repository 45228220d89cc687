"""All members: found, listed, taken in, taken along as a file."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from allauth.account.decorators import reauthentication_required
from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_safe

from loyalty_saas.faces import ClientRequest
from loyalty_saas.portal import exports
from loyalty_saas.portal.member_forms import CONSENT_TEXT, SOURCE, Filters, NewMemberForm
from loyalty_saas.portal.shared import (
    MANAGERS,
    PAGE,
    LongListing,
    asked_text,
    is_manager,
    is_owner,
    local_midnight,
    note,
    phone_spellings,
    published,
    region_of,
)
from loyalty_saas.tables import Column
from members import queries
from members.services.enrolment import NewMember, enrol
from members.services.refusals import Refused
from programs.queries import Unit, units
from tenants.access import Actor, admits

FEW = 20
COLUMNS = [
    Column("name", gettext_lazy("Member"), ("identity__name",)),
    Column("tier", gettext_lazy("Tier")),
    Column("balance", gettext_lazy("Balance"), ("account__balance",), figure=True),
    Column("purchases", gettext_lazy("Purchases"), ("insight__purchases",), figure=True),
    Column("spent", gettext_lazy("Spent"), ("insight__spend",), figure=True),
    Column("visit", gettext_lazy("Last visit"), ("insight__last_visit",)),
    Column("segment", gettext_lazy("Segment")),
    Column("joined", gettext_lazy("Joined"), ("joined_at",)),
]


@admits(*MANAGERS, Actor.CLERK)
@require_safe
def members(request: ClientRequest) -> HttpResponse:
    """Everybody, in a list that sorts and filters; clerks find members by one field and see no list."""
    text = asked_text(request)
    if not is_manager(request):
        return _few(request, text)
    unit, filters = next(iter(units()), None), Filters(request.GET, program=published())
    listing = LongListing(request, _asked(request, filters, text, unit), columns=_columns(unit), default="-joined",
                          size=PAGE)  # fmt: skip
    context = {
        "query": text,
        "filters": filters,
        "listing": listing,
        "lines": queries.member_lines(list(listing.page)),
        "unit": unit,
        "tiers": tier_names(),
        "currency": request.client.currency,
        "is_filtered": bool(text or filters.given),
        "may_export": is_owner(request),
        "section": "portal:members",
    }
    return render(request, "portal/members.html", context)


@admits(*MANAGERS)
@require_http_methods(["GET", "HEAD", "POST"])
def new_member(request: ClientRequest) -> HttpResponse:
    """Somebody joins, entered by hand."""
    form = NewMemberForm(request.POST or None, client=request.client, initial={"name": asked_text(request, "name")})
    if request.method == "POST" and form.is_valid() and (member_id := _enrolled(request, form)):
        messages.success(request, _("Welcome! The points for joining follow within moments."))
        return redirect("portal:member", member_id)
    context = {"form": form, "section": "portal:members"}
    return render(request, "portal/member_new.html", context, status=422 if form.errors else 200)


@admits(Actor.OWNER)
@require_http_methods(["GET", "HEAD", "POST"])
@reauthentication_required
def export_members(request: ClientRequest) -> HttpResponseBase:
    """The customer list as a file, for the owner who has just shown who they are; kept in the audit trail."""
    text, filters = asked_text(request), Filters(request.GET, program=published())
    asked = _asked(request, filters, text, None)
    if request.method == "POST":
        detail = {"members": asked.count(), "filters": sorted(filters.given) + ["text"] * bool(text)}
        note(request, action="members.exported", subject="members", detail=detail)
        return exports.members(client=request.client, asked=asked, at=timezone.now())
    context = {"count": asked.count(), "is_filtered": bool(text or filters.given), "section": "portal:members"}
    return render(request, "portal/members_export.html", context)


def tier_names() -> dict[str, str]:
    """The names of the tiers in force, by code."""
    current = published()
    tiers = current.spec.tiers if current else None
    return {level.code: level.name for level in tiers.levels} if tiers else {}


def _few(request: ClientRequest, text: str) -> HttpResponse:
    found = list(queries.find_members(text, also=phone_spellings(text, request.client), limit=FEW)) if text else []
    context = {"query": text, "found": found, "few": FEW, "section": "portal:members"}
    return render(request, "portal/members_search.html", context)


def _asked(request: ClientRequest, filters: Filters, text: str, unit: Unit | None) -> Any:
    given = filters.given
    since = None
    if days := given.get("joined"):
        since = local_midnight(timezone.localdate() - timedelta(days=int(days) - 1), request.client)
    asked = queries.Asked(
        text=text,
        also=phone_spellings(text, request.client),
        segment=given.get("segment", ""),
        tier=filters.tier_asked,
        has=given.get("has", ""),
        joined_from=since,
    )
    return queries.listed(asked, unit_id=unit.id if unit else None).values_list("pk", flat=True)


def _columns(unit: Unit | None) -> list[Column]:
    """The columns, with the balance under the name of what members collect."""
    named = Column("balance", unit.name, ("account__balance",), figure=True) if unit else None
    return [named if named and column.key == "balance" else column for column in COLUMNS]


def _enrolled(request: ClientRequest, form: NewMemberForm) -> UUID | None:
    given = form.cleaned_data
    new = NewMember(
        identifiers=form.identifiers,
        name=given["name"],
        birthday=given["birthday"],
        language=given["language"],
        consents={"marketing": True} if given["marketing"] else {},
        consent_text=CONSENT_TEXT,
        source=SOURCE,
    )
    try:
        with transaction.atomic():
            member = enrol(new=new, region=region_of(request.client), at=timezone.now())
    except Refused as refused:
        add_refusal(form, refused)
        return None
    note(request, action="member.enrolled", subject=str(member.pk))
    return member.pk


def add_refusal(form: Any, refused: Refused) -> None:
    """What a service refused, at the field it is about."""
    name = refused.field.removeprefix("identifiers.")
    form.add_error(name if name in form.fields else None, refused.words)
