"""The pages of a member's card."""

import hashlib
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import segno
from allauth.account.adapter import get_adapter
from django import forms
from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from loyalty_saas.bearers import CARD_COOKIE, card_of, give_cookie
from loyalty_saas.card import consents, movements
from loyalty_saas.card.glance import glance_of, purses_of, rewards_of
from loyalty_saas.card.mails import mail_link
from loyalty_saas.card.own_data import own_data
from loyalty_saas.card.phones import label_of
from loyalty_saas.card.speaking import for_anybody, for_member, languages_of
from loyalty_saas.faces import CardRequest, FaceRequest
from loyalty_saas.portal.shared import published
from members.models import CardSession, Identifier, Member
from members.services.cards import Gone, LinkGone, card_code_of, check_link, end_session, open_link
from members.services.identity import change_identity
from tenants.access import Actor, admits
from tenants.context import public_atomic
from tenants.services import audit, lockouts

LAST: Final = 4
SPAN: Final = timedelta(minutes=15)
MAILS_A_SPAN: Final = 3
ASKED_A_SPAN: Final = 30


def note(request: FaceRequest, *, member_id: UUID, action: str, subject: str = "") -> None:
    """An event in the client's audit trail, by a member."""
    with public_atomic():
        audit.record(
            action=action,
            actor=f"member:{member_id}",
            subject=subject or f"member:{member_id}",
            client=request.client,
            at=timezone.now(),
        )


# ── opening ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class SignIn(forms.Form):
    """The address to which the link goes."""

    email = forms.EmailField(
        label=gettext_lazy("E-mail"),
        max_length=254,
        widget=forms.EmailInput({"autocomplete": "email", "inputmode": "email", "autofocus": True}),
    )


@admits(Actor.ANYONE)
@for_anybody
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: FaceRequest) -> HttpResponse:
    """Ask for the link: the answer is the same whether somebody has the address, and comes as soon."""
    if request.method != "POST" and card_of(request, at=timezone.now()):
        return redirect("card:card")
    form = SignIn(request.POST or None)
    if request.method != "POST" or not form.is_valid():
        return render(request, "card/sign_in.html", {"form": form}, status=422 if form.errors else 200)
    _ask(request, address=form.cleaned_data["email"])
    return render(request, "card/sent.html", {"address": form.cleaned_data["email"]})


def _ask(request: FaceRequest, *, address: str) -> None:
    at, client = timezone.now(), _client(request)
    limits = [
        lockouts.Try(f"card-asked:{get_adapter().get_client_ip(request)}"[:120], ASKED_A_SPAN, window=SPAN),
        lockouts.Try(_mails_to(address), MAILS_A_SPAN, window=SPAN),
    ]
    try:
        lockouts.take_tries(client=client, tries=limits, at=at)
    except lockouts.Locked:
        return
    mail_link(client=client, address=address, language=translation.get_language() or "")


def _mails_to(address: str) -> str:
    return f"card-mail:{hashlib.sha256(address.strip().lower().encode()).hexdigest()}"


@admits(Actor.ANYONE)
@for_anybody
@require_http_methods(["GET", "HEAD", "POST"])
def open_card(request: FaceRequest, token: str) -> HttpResponse:
    """Ask before the link is used up, since mail scanners follow links; then open the card on this phone."""
    at = timezone.now()
    try:
        if request.method != "POST":
            check_link(token=token, at=at)
            return render(request, "card/open.html")
        session, secret = open_link(token=token, label=label_of(request), at=at)
    except LinkGone as gone:
        return _gone(request, gone)
    _forget_tries(request, member_id=session.member_id)
    note(request, member_id=session.member_id, action="card.opened", subject=f"card_session:{session.pk}")
    response = redirect("card:card")
    give_cookie(response, name=CARD_COOKIE, token=secret)
    return response


def _gone(request: FaceRequest, gone: LinkGone) -> HttpResponse:
    if gone.why == Gone.USED and card_of(request, at=timezone.now()):
        return redirect("card:card")
    status = 404 if gone.why == Gone.UNKNOWN else 410
    return render(request, "card/gone.html", {"why": gone.why.value}, status=status)


def _forget_tries(request: FaceRequest, *, member_id: UUID) -> None:
    """Whoever opens the mail has it: asking again is free once more."""
    mine = Identifier.objects.filter(member_id=member_id, kind=Identifier.Kind.EMAIL)
    for address in mine.values_list("value", flat=True):
        lockouts.clear(client=request.client, subject=_mails_to(address))


# ── looking ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@admits(Actor.MEMBER)
@for_member
@require_safe
def card(request: CardRequest) -> HttpResponse:
    """The card itself."""
    member, at = request.card.session.member, timezone.now()
    code = card_code_of(member)
    return _page(
        request,
        "card/card.html",
        code=code,
        groups=[code[place : place + 4] for place in range(0, len(code), 4)],
        qr=_qr(code),
        glance=glance_of(member_id=member.pk, currency=request.client.currency, at=at),
        last=movements.last_of(member_id=member.pk, count=LAST),
    )


@admits(Actor.MEMBER)
@for_member
@require_safe
def history(request: CardRequest) -> HttpResponse:
    """All movements, each with why."""
    page, told = movements.page_of(member_id=_member(request).pk, number=request.GET.get("page"))
    return _page(request, "card/history.html", page=page, movements=told)


@admits(Actor.MEMBER)
@for_member
@require_safe
def movement(request: CardRequest, entry_id: UUID) -> HttpResponse:
    """One movement alone, with what was bought."""
    found = movements.one_of(member_id=_member(request).pk, entry_id=entry_id)
    if found is None:
        raise Http404
    return _page(request, "card/movement.html", movement=found)


@admits(Actor.MEMBER)
@for_member
@require_safe
def rewards(request: CardRequest) -> HttpResponse:
    """The shelf, and how far each reward is."""
    purses = purses_of(member_id=_member(request).pk, program=published(), at=timezone.now())
    now, ahead = rewards_of(purses)
    return _page(request, "card/rewards.html", now=now, ahead=ahead, purses=[one for one in purses if not one.is_empty])


# ── the member's own ────────────────────────────────────────────────────────────────────────────────────────────────


@admits(Actor.MEMBER)
@for_member
@require_safe
def me(request: CardRequest) -> HttpResponse:
    """Who one is here, what one allows, and where the card is open."""
    member = _member(request)
    return _page(
        request,
        "card/me.html",
        identifiers=list(member.identifiers.order_by("kind", "id")),
        languages=languages_of(request.client),
        language=translation.get_language(),
        switches=consents.switches_of(member.pk),
        phones=list(CardSession.objects.filter(member=member, ended_at=None).order_by("-seen_at")),
        here=request.card.session.pk,
    )


@admits(Actor.MEMBER)
@require_POST
@for_member
def change_language(request: CardRequest) -> HttpResponse:
    """Speak another language from now on."""
    wanted, member = request.POST.get("language", ""), _member(request)
    if wanted not in languages_of(request.client):
        raise Http404
    with transaction.atomic():
        change_identity(member_id=member.pk, changes={"language": wanted})
    note(request, member_id=member.pk, action="card.language_changed")
    with translation.override(wanted):
        messages.success(request, _("This is your card's language from now on."))
    return redirect("card:me")


@admits(Actor.MEMBER)
@require_POST
@for_member
def change_consent(request: CardRequest) -> HttpResponse:
    """Allow or withdraw one thing."""
    member, purpose = _member(request), request.POST.get("purpose", "")[:30]
    granted = request.POST.get("granted") == "yes"
    if purpose not in {switch.purpose for switch in consents.switches_of(member.pk)}:
        raise Http404
    with transaction.atomic():
        changed = consents.turn(member=member, purpose=purpose, granted=granted, at=timezone.now())
    if changed:
        action = "card.consent_granted" if granted else "card.consent_withdrawn"
        note(request, member_id=member.pk, action=action, subject=f"consent:{purpose}")
    return redirect(f"{reverse('card:me')}#allowed")


@admits(Actor.MEMBER)
@require_POST
@for_member
def end_phone(request: CardRequest, session_id: UUID) -> HttpResponse:
    """Close the card on another phone."""
    member = _member(request)
    if not end_session(session_id=session_id, member_id=member.pk, at=timezone.now()):
        raise Http404
    note(request, member_id=member.pk, action="card.closed", subject=f"card_session:{session_id}")
    messages.success(request, _("The card is closed there."))
    return redirect("card:me")


@admits(Actor.MEMBER)
@require_POST
@for_member
def sign_out(request: CardRequest) -> HttpResponse:
    """Close the card on this phone."""
    session = request.card.session
    end_session(session_id=session.pk, member_id=session.member_id, at=timezone.now())
    note(request, member_id=session.member_id, action="card.closed", subject=f"card_session:{session.pk}")
    response = redirect("card:sign_in")
    response.delete_cookie(CARD_COOKIE, samesite="Lax")
    return response


@admits(Actor.MEMBER)
@require_POST
@for_member
def download(request: CardRequest) -> HttpResponse:
    """All that is kept of the member, as a file."""
    member, at = _member(request), timezone.now()
    note(request, member_id=member.pk, action="card.data_downloaded")
    text = own_data(member=member, client=request.client, at=at)
    response = HttpResponse(text, content_type="application/json; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="my-data-{member.number}-{at:%Y-%m-%d}.json"'
    return response


def _page(request: CardRequest, template: str, **shown: Any) -> HttpResponse:
    return render(request, template, {"member": _member(request), "as_of": timezone.now(), **shown})


def _member(request: CardRequest) -> Member:
    return request.card.session.member


def _client(request: FaceRequest) -> Any:
    return request.client


def _qr(code: str) -> SafeString:
    """The code as a drawing without a style of its own; its sixteen characters fit the smallest QR there is."""
    drawn = segno.make(code, error="q", boost_error=False, micro=False)
    return SafeString(drawn.svg_inline(border=2, svgclass="qr", lineclass=None, omitsize=True, dark="#000"))
