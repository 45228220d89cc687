"""The till's work screen: find a member, record, undo, take back, redeem, enrol; each step is one short request."""

import json
from collections.abc import Callable
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import segno
from babel.numbers import get_currency_precision
from csp.decorators import csp_update
from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.templatetags.static import static
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import mark_safe
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django_permissions_policy.decorators import permissions_policy_override

from loyalty_saas import workers
from loyalty_saas.api.problems import status_of
from loyalty_saas.faces import TillRequest
from loyalty_saas.identifiers import region_of
from loyalty_saas.templatetags.loyalty import money, number
from loyalty_saas.till import work_find, work_rewards, work_sales, work_undo
from loyalty_saas.till.forms import EnrolmentForm
from loyalty_saas.till.work_input import amount_of, body_of, id_of, key_of, quantity_of
from loyalty_saas.till.work_panel import Panel, in_units, panel
from loyalty_saas.till.work_sales import Sale, Stand
from members.models import LedgerEntry, ParkedReturn, Purchase
from members.queries import is_waiting
from members.services import cards, enrolment, idempotency
from members.services.points import NotEnoughPoints
from members.services.refusals import Refused, UnknownPurchase
from programs.queries import NoProgram, program_in_force
from rewards.models import Reward
from tenants.access import Actor, admits
from tenants.context import public_atomic
from tenants.services import audit

View = Callable[..., HttpResponse]
STATUSES: Final = {"too_late": 409, "too_many": 429}
WORKER: Final = Path(settings.BASE_DIR) / "loyalty_saas" / "static" / "js" / "till-sw.js"
MOST_SYNCED: Final = 50


def speaks(view: View) -> View:
    """A view whose refusals are answered in words, as JSON; nothing of it is cached."""

    @wraps(view)
    def speaking(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except Refused as refused:
            return _no(refused.words, code=refused.code, field=refused.field)
        except NotEnoughPoints as few:
            words = _("There are not enough points: %(available)s are available.")
            return _no(words % {"available": number(few.available)}, code="not_enough_points", field="reward")

    return never_cache(speaking)


def _no(words: str, *, code: str, field: str) -> HttpResponse:
    problem = {"title": words, "field": field, "code": code}
    return JsonResponse(problem, status=STATUSES.get(code) or status_of(code))


# ── the page ────────────────────────────────────────────────────────────────────────────────────────────────────────


@admits(Actor.TILL)
@csp_update({"script-src": ["'wasm-unsafe-eval'"]})
@permissions_policy_override({"camera": "self", "geolocation": [], "microphone": []})
@never_cache
@require_safe
def till(request: TillRequest) -> HttpResponse:
    """The work screen."""
    currency = request.client.currency
    shown = {
        "undoable": work_undo.last_done(stand=_stand(request), at=timezone.now()),
        "decimals": get_currency_precision(currency),
        "csrf_cookie": settings.CSRF_COOKIE_NAME,
        "form": EnrolmentForm(),
    }
    return render(request, "till/till.html", shown)


@admits(Actor.ANYONE)
@require_safe
def service_worker(request: HttpRequest) -> HttpResponse:
    """The script that keeps the till's page when the network is away; it holds the addresses of what the page needs."""
    fonts = ("inter-latin-wght-normal", "inter-latin-ext-wght-normal")
    shell = [static(f"fonts/{name}.woff2") for name in fonts]
    kept = {"page": reverse("till:till"), "shell": shell, "parts": [settings.STATIC_URL, "/brand/"]}
    text = f"const KEPT = {json.dumps(kept)};\n{WORKER.read_text('utf-8')}"
    return HttpResponse(text, content_type="text/javascript; charset=utf-8", headers={"Cache-Control": "no-cache"})


# ── finding ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@admits(Actor.TILL)
@require_POST
@speaks
def find(request: TillRequest) -> HttpResponse:
    """Whom the text of the one field leads to: a member's panel, several to choose from, or the offer to enrol."""
    at, text = timezone.now(), request.POST.get("text", "")
    work_find.check_misses(device_id=request.till.device.pk, at=at)
    found = work_find.find(text)
    if found.member_id:
        return _shown(request, member_id=found.member_id, at=at, reward=found.reward)
    if not found.candidates:
        work_find.count_miss(device_id=request.till.device.pk, at=at)
    html = render_to_string("till/found.html", {"found": found, "text": text.strip()}, request)
    return JsonResponse({"kind": "several" if found.candidates else "nobody", "html": html})


@admits(Actor.TILL)
@require_safe
@speaks
def member(request: TillRequest, member_id: UUID) -> HttpResponse:
    """One member's panel."""
    return _shown(request, member_id=member_id, at=timezone.now())


# ── sales ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@admits(Actor.TILL)
@require_POST
@speaks
def preview(request: TillRequest) -> HttpResponse:
    """What the sale typed so far would earn, in words for the main button."""
    body = body_of(request)
    member_id = id_of(body.get("member"), field="member")
    sale = Sale.of(body)
    at, stand = timezone.now(), _stand(request)
    used = work_rewards.for_next_sale(stand=stand, member_id=member_id, at=at)
    credits = work_sales.preview(stand=stand, member_id=member_id, sale=sale, at=at, redemptions=used)
    earned = _earned(credits)
    words = _("Record purchase · earn %(points)s") % {"points": earned} if earned else _("Record purchase")
    wants_lines = not earned and not sale.lines and work_sales.earns_by_article()
    hint = _("An amount alone earns nothing here: enter the articles under “Lines”.") if wants_lines else ""
    return JsonResponse({"label": words, "hint": hint, "credits": credits})


@admits(Actor.TILL)
@require_safe
@speaks
def articles(request: TillRequest) -> HttpResponse:
    """Articles of the catalogue for the lines of a sale or return."""
    text = request.GET.get("q", "")
    shown = {"articles": list(work_sales.articles(text)), "text": text.strip()[:64]}
    return JsonResponse({"html": render_to_string("till/articles.html", shown, request)})


@admits(Actor.TILL)
@require_POST
@speaks
def record(request: TillRequest) -> HttpResponse:
    """Record a sale, once per key."""
    at, body = timezone.now(), body_of(request)
    member_id = work_sales.active(id_of(body.get("member"), field="member"))
    sale, stand = Sale.of(body), _stand(request)
    receipt = work_sales.record(
        stand=stand,
        member_id=member_id,
        sale=sale,
        key=key_of(body.get("key")),
        occurred_at=at,
        at=at,
        redemptions=work_rewards.for_next_sale(stand=stand, member_id=member_id, at=at),
    )
    recorded = Purchase.objects.get(pk=receipt.accepted.purchase_id)
    return _shown(
        request,
        member_id=member_id,
        at=at,
        banner=_recorded(recorded, receipt.credits, follow=not receipt.woken),
        undoable=work_undo.of_sale(recorded),
        follow=reverse("till:credited", args=[recorded.pk]),
        status=200 if receipt.accepted.repeated else 201,
    )


@admits(Actor.TILL)
@require_safe
@speaks
def credited(request: TillRequest, purchase_id: UUID) -> HttpResponse:
    """Whether a sale has its points: the member's panel with them, or that they follow."""
    at = timezone.now()
    mine = Purchase.objects.filter(pk=purchase_id, terminal=request.till.device.name)
    purchase = mine.filter(document__contains=_stand(request).prefix[1:]).first()
    if purchase is None:
        raise UnknownPurchase(_("There is no such purchase."))
    if is_waiting(purchase.pk):
        return JsonResponse({"kind": "waiting"})
    entries = LedgerEntry.objects.filter(purchase=purchase).select_related("account__unit")
    words = _credit_words(purchase, list(entries))
    return _shown(request, member_id=work_sales.active(purchase.member_id), at=at, banner=words)


@admits(Actor.TILL)
@require_POST
@speaks
def undo(request: TillRequest) -> HttpResponse:
    """Undo the last sale or reward of this till."""
    at, stand, key = timezone.now(), _stand(request), key_of(request.POST.get("key"))
    done = id_of(request.POST.get("id"), field="id")
    if request.POST.get("kind") == work_undo.REWARD:
        issue = work_rewards.undo_redemption(stand=stand, issue_id=done, at=at)
        member_id = issue.member_id
        words = _("%(reward)s was undone, and its points are back.") % {"reward": issue.reward.name}
        follow = ""
    else:
        sale = work_sales.undo_sale(stand=stand, purchase_id=done, key=key, at=at)
        member_id = sale.member_id
        words = _("%(amount)s was undone. Its points are taken back.") % {"amount": money(sale.amount, sale.currency)}
        void = Purchase.objects.get(kind=Purchase.Kind.VOID, sale=sale)
        follow = reverse("till:credited", args=[void.pk])
    _note(request, action="till.undone", subject=str(done), at=at)
    return _shown(
        request,
        member_id=work_sales.active(member_id),
        at=at,
        banner=words,
        undoable=work_undo.last_done(stand=stand, at=at),
        follow=follow,
    )


# ── what comes back ─────────────────────────────────────────────────────────────────────────────────────────────────


@admits(Actor.TILL)
@require_http_methods(["GET", "HEAD", "POST"])
@speaks
def returns(request: TillRequest, member_id: UUID) -> HttpResponse:
    """The member's sales of which something can come back, one of them with its lines; a return is recorded once."""
    member_id = work_sales.active(member_id)
    if request.method == "POST":
        return _returned(request, member_id=member_id, at=timezone.now())
    asked, document = request.GET.get("sale", ""), request.GET.get("document", "")
    shown: dict[str, Any] = {"member_id": member_id, "document": document, "currency": request.client.currency}
    if asked:
        shown["left"] = work_sales.sale_of(id_of(asked, field="sale"), member_id=member_id)
        shown["decimals"] = get_currency_precision(request.client.currency)
    else:
        shown["sales"] = work_sales.returnable(member_id=member_id, document=document)
    return JsonResponse({"html": render_to_string("till/returns.html", shown, request)})


def _returned(request: TillRequest, *, member_id: UUID, at: datetime) -> HttpResponse:
    body, stand = body_of(request), _stand(request)
    key = key_of(body.get("key"))
    if body.get("sale"):
        left = work_sales.sale_of(id_of(body["sale"], field="sale"), member_id=member_id)
        back = _back(left, body.get("lines"))
        receipt = work_sales.take_back(stand=stand, member_id=member_id, left=left, back=back, key=key, at=at)
    else:
        sku = str(body.get("sku") or "").strip()
        if not sku or len(sku) > 64 or "\x00" in sku:
            raise Refused(_("Enter the article's number."), field="sku")
        receipt = work_sales.take_back_without_receipt(
            stand=stand,
            member_id=member_id,
            sku=sku,
            quantity=quantity_of(body.get("quantity"), field="quantity"),
            amount=amount_of(body.get("amount")),
            key=key,
            at=at,
        )
    recorded = Purchase.objects.get(pk=receipt.accepted.purchase_id)
    _note(request, action="till.returned", subject=str(recorded.pk), at=at)
    words = _("%(amount)s given back. The points it earned are taken back.") % {
        "amount": money(-recorded.amount, recorded.currency)
    }
    follow = reverse("till:credited", args=[recorded.pk])
    return _shown(request, member_id=member_id, at=at, banner=words, follow=follow, status=201)


def _back(left: work_sales.SaleLeft, rows: Any) -> list[tuple[work_sales.LineLeft, Any, int]]:
    if not rows:
        return []
    if not isinstance(rows, dict):
        raise Refused(_("This request cannot be read."), field="lines")
    by_position = {str(line.line.position): line for line in left.lines}
    chosen = [(by_position[place], given) for place, given in rows.items() if place in by_position]
    return [work_sales.part_of(line, quantity=given, amount=given) for line, given in chosen]


# ── rewards ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@admits(Actor.TILL)
@require_POST
@speaks
def redeem(request: TillRequest) -> HttpResponse:
    """Hand a reward over and spend its points, once per key."""
    at, stand = timezone.now(), _stand(request)
    member_id = work_sales.active(id_of(request.POST.get("member"), field="member"))
    code = request.POST.get("reward", "")[:50]
    answer = work_rewards.redeem(
        stand=stand, member_id=member_id, reward_code=code, key=key_of(request.POST.get("key")), at=at
    )
    if not answer.replayed:
        _note(request, action="till.redeemed", subject=answer.body["id"], at=at)
    issue = work_rewards.issue_of(UUID(answer.body["id"]))
    return _handed_over(request, issue=issue, member_id=member_id, at=at)


@admits(Actor.TILL)
@require_POST
@speaks
def hand_over(request: TillRequest, issue_id: UUID) -> HttpResponse:
    """Hand over a reward that was reserved elsewhere and whose code was scanned here."""
    at = timezone.now()
    issue = work_rewards.hand_over(stand=_stand(request), issue_id=issue_id, at=at)
    _note(request, action="till.redeemed", subject=str(issue.pk), at=at)
    return _handed_over(request, issue=issue, member_id=work_sales.active(issue.member_id), at=at)


def _handed_over(request: TillRequest, *, issue: Any, member_id: UUID, at: datetime) -> HttpResponse:
    return _shown(
        request,
        member_id=member_id,
        at=at,
        banner=_theirs(issue.reward),
        undoable=work_undo.last_done(stand=_stand(request), at=at),
    )


# ── enrolment ───────────────────────────────────────────────────────────────────────────────────────────────────────


@admits(Actor.TILL)
@require_POST
@speaks
def join(request: TillRequest) -> HttpResponse:
    """Take somebody in, once per key, and show the QR that opens the card."""
    at, form, key = timezone.now(), EnrolmentForm(request.POST), key_of(request.POST.get("key"))
    if not form.is_valid():
        return _form_again(request, form)
    new, region = form.new_member(), region_of(request.client)
    asked = [new.name, sorted(new.identifiers.items()), sorted(new.consents.items())]

    def work() -> dict[str, str]:
        return {"id": str(enrolment.enrol(new=new, region=region, at=at).pk)}

    try:
        bound = _stand(request).key(key, route="till.join", body=asked)
        answer = idempotency.once(key=bound, status=201, at=at, work=work)
    except Refused as refused:
        form.refuse(refused.field, refused.words)
        return _form_again(request, form)
    member_id = UUID(answer.body["id"])
    if not answer.replayed:
        workers.wake(request.client.schema_name)
        _note(request, action="till.enrolled_member", subject=str(member_id), at=at)
    return _shown(request, member_id=member_id, at=at, card=_card_qr(request, member_id=member_id, at=at), status=201)


def _form_again(request: TillRequest, form: EnrolmentForm) -> HttpResponse:
    html = render_to_string("till/enrolment.html", {"form": form}, request)
    return JsonResponse({"kind": "form", "html": html}, status=422)


def _card_qr(request: TillRequest, *, member_id: UUID, at: datetime) -> str:
    token = cards.make_link(member_id=member_id, way="till", at=at)
    address = request.build_absolute_uri(reverse("card:open", args=[token]))
    drawn = segno.make(address, error="m", micro=False).svg_inline(scale=6, border=2, light="#fff", omitsize=True)
    return mark_safe(drawn)  # noqa: S308 (drawn by segno from an address of ours)


# ── kept while the network was away ─────────────────────────────────────────────────────────────────────────────────


@admits(Actor.DEVICE)
@require_POST
@speaks
def sync(request: TillRequest) -> HttpResponse:
    """Take the sales that the till kept while the network was away; a locked till may bring them too."""
    items = body_of(request).get("items")
    if not isinstance(items, list) or len(items) > MOST_SYNCED:
        raise Refused(_("This request cannot be read."), field="items")
    done = work_sales.sync(device=request.till.device, items=items, at=timezone.now())
    return JsonResponse({"items": [{"key": one.key, "state": one.state, "words": one.words} for one in done]})


# ── what all of these share ─────────────────────────────────────────────────────────────────────────────────────────


def _stand(request: TillRequest) -> Stand:
    session = request.till.session
    if session is None:
        raise Refused(_("This till is locked."))
    return Stand(request.till.device, session.clerk_id)


def _shown(
    request: TillRequest,
    *,
    member_id: UUID,
    at: datetime,
    banner: str = "",
    follow: str = "",
    status: int = 200,
    **more: Any,
) -> HttpResponse:
    """The member's panel with what was just done; `undoable` is given where the button that undoes it changes."""
    shown: Panel = panel(member_id=member_id, currency=request.client.currency, at=at)
    html = render_to_string("till/panel.html", {"panel": shown, "banner": banner, **more}, request)
    answer: dict[str, Any] = {"kind": "member", "member": str(shown.id), "html": html, "said": banner, "follow": follow}
    answer["strip"] = render_to_string("till/strip.html", {"panel": shown}, request)
    if "undoable" in more:
        answer["undo"] = render_to_string("till/undo.html", {"undoable": more["undoable"]}, request)
    return JsonResponse(answer, status=status)


def _theirs(reward: Reward) -> str:
    if reward.kind in work_rewards.LESS_TO_PAY:
        return _("%(reward)s is theirs, and counts as used on the purchase that you record next.") % {
            "reward": reward.name
        }
    return _("%(reward)s is theirs: hand it over.") % {"reward": reward.name}


def _recorded(purchase: Purchase, credits: dict[str, int], *, follow: bool) -> str:
    amount, earned = money(purchase.amount, purchase.currency), _earned(credits)
    if not earned:
        return _("%(amount)s recorded.") % {"amount": amount}
    if follow:
        return _("%(amount)s recorded. %(points)s follow.") % {"amount": amount, "points": earned}
    return _("%(amount)s recorded: %(points)s.") % {"amount": amount, "points": earned}


def _earned(credits: dict[str, int]) -> str:
    """Credits by unit in words: 28 points + 1 stamp."""
    try:
        program = program_in_force()
    except NoProgram:
        return ""
    # As the program names its units.
    named = [(unit.code, credits.get(unit.code, 0)) for unit in program.spec.units]
    return " + ".join(in_units(amount, program.units[code]) for code, amount in named if amount)


def _credit_words(purchase: Purchase, entries: list[LedgerEntry]) -> str:
    moved = _earned({entry.account.unit.code: abs(entry.amount) for entry in entries})
    values = {"amount": money(abs(purchase.amount), purchase.currency), "points": moved}
    if purchase.kind == Purchase.Kind.SALE:
        return (_("%(amount)s earned %(points)s.") if moved else _("%(amount)s recorded; it earned nothing.")) % values
    if ParkedReturn.objects.filter(line__purchase=purchase, state=ParkedReturn.State.OPEN).exists():
        said = _(
            "%(amount)s given back. It waits for its purchase: the points are taken back when that arrives, "
            "or a manager looks at it."
        )
        return said % values
    if purchase.kind == Purchase.Kind.VOID:
        said = _("%(amount)s was undone: %(points)s taken back.") if moved else _("%(amount)s was undone.")
    else:
        said = _("%(amount)s given back: %(points)s taken back.") if moved else _("%(amount)s given back.")
    return said % values


def _note(request: TillRequest, *, action: str, subject: str, at: datetime) -> None:
    session = request.till.session
    actor = f"clerk:{session.clerk_id}" if session else f"till:{request.till.device.pk}"
    with public_atomic():
        audit.record(action=action, actor=actor, subject=subject, client=request.client, at=at)
