"""Rewards: what stands on the shelf, what the draft makes of it, and what was given out."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from loyalty_saas.faces import ClientRequest
from loyalty_saas.portal.editor import Bench, part_of, with_part
from loyalty_saas.portal.editor_flow import edit, take_out, workbench
from loyalty_saas.portal.editor_parts import RewardForm
from loyalty_saas.portal.editor_rows import Data
from loyalty_saas.portal.shared import MANAGERS, PAGE
from loyalty_saas.sentences_program import reward_kind, reward_sentence
from loyalty_saas.sentences_words import Wording
from programs.rules import RewardSpec
from rewards.models import RewardIssue
from rewards.queries import given_since, issues
from tenants.access import Actor, admits

_DAYS = 30
_SECTION = {"section": "portal:rewards"}


@dataclass(frozen=True)
class Shelved:
    """One reward as the list shows it."""

    reward: RewardSpec
    kind: str
    words: str
    price: str
    given: int
    state: str


@admits(*MANAGERS, Actor.PROVIDER, Actor.CLERK)
@require_safe
def rewards(request: ClientRequest) -> HttpResponse:
    """All rewards with how often each was given, and the last that were."""
    bench, actors = workbench(request), request.standing.actors
    counts = given_since(timezone.now() - timedelta(days=_DAYS))
    # Names and numbers of members are not the provider's to see.
    knows_members = bool(actors & {*MANAGERS, Actor.CLERK})
    page = Paginator(issues() if knows_members else RewardIssue.objects.none(), PAGE).get_page(request.GET.get("page"))
    shelved = _shelved(bench, counts, drafts=bool(actors & {*MANAGERS, Actor.PROVIDER}))
    return render(
        request,
        "portal/rewards.html",
        {
            "bench": bench,
            "shelved": shelved,
            "waiting": [one for one in shelved if one.state],
            "given": sum(counts.values()),
            "page": page,
            "places": bench.places,
            "knows_members": knows_members,
            "may_edit": bool(actors & set(MANAGERS)),
            **_SECTION,
        },
    )


def _shelved(bench: Bench, counts: Mapping[str, int], *, drafts: bool) -> list[Shelved]:
    spec, live = (bench.spec if drafts else bench.live), bench.live
    if spec is None:
        return []
    wording = Wording.of(spec, currency=bench.currency)
    old = {one.code: one for one in live.rewards} if live else {}
    return [
        _one(one, old, counts, wording) for one in sorted(spec.rewards, key=lambda one: (not one.active, one.price))
    ]


def _one(reward: RewardSpec, old: Mapping[str, RewardSpec], counts: Mapping[str, int], wording: Wording) -> Shelved:
    before = old.get(reward.code)
    return Shelved(
        reward=reward,
        kind=reward_kind(reward.kind),
        words=reward_sentence(reward, wording),
        price=wording.amount(reward.price, reward.unit),
        given=counts.get(reward.code, 0),
        state=_("New") if before is None else _("Changed") if before != reward else "",
    )


@admits(*MANAGERS)
@require_http_methods(["GET", "HEAD", "POST"])
def add_reward(request: ClientRequest) -> HttpResponse:
    """A new reward."""
    return _reward(request, workbench(request), None)


@admits(*MANAGERS)
@require_http_methods(["GET", "HEAD", "POST"])
def reward(request: ClientRequest, code: str) -> HttpResponse:
    """A reward, to be changed."""
    bench = workbench(request)
    return _reward(request, bench, _reward_of(bench, code))


def _reward(request: ClientRequest, bench: Bench, found: RewardSpec | None) -> HttpResponse:
    if bench.spec is None:
        return redirect("portal:rewards")
    return edit(
        request,
        bench=bench,
        make=lambda data: RewardForm(data, bench=bench, part=found),
        write=lambda form: with_part(bench.document, "rewards", form.document()),
        template="portal/rewards_edit.html",
        context=lambda form: {"reward": found, "said": _said(cast(RewardForm, form), bench), **_SECTION},
        subject=f"reward:{found.code if found else 'new'}",
        back="portal:rewards",
    )


@admits(*MANAGERS)
@require_POST
def reward_said(request: ClientRequest) -> HttpResponse:
    """What a reward that is being typed says."""
    bench = workbench(request)
    found = next(
        (one for one in (bench.spec.rewards if bench.spec else ()) if one.code == request.POST.get("code")), None
    )
    said = _said(RewardForm(request.POST, bench=bench, part=found), bench)
    return render(request, "portal/rewards_said.html", {"said": said})


def _said(form: RewardForm, bench: Bench) -> str:
    """The sentence of what stands in the form, once it can be read."""
    if not form.is_bound:
        return reward_sentence(form.old, bench.wording) if form.old else ""
    judged = RewardForm(cast(Data, form.data), bench=bench, part=form.old)
    if not judged.is_valid():
        return ""
    return reward_sentence(RewardSpec(**{"active": True, **judged.document()}), bench.wording)


def _reward_of(bench: Bench, code: str) -> RewardSpec:
    known = bench.spec.rewards if bench.spec else ()
    found = next((one for one in known if one.code == code), None)
    if found is None:
        raise Http404
    return found


@admits(*MANAGERS)
@require_POST
def shelve(request: ClientRequest, code: str) -> HttpResponse:
    """Take a reward off the shelf, or put it back: in the draft, like every change."""
    bench = workbench(request)
    found = part_of(bench.document, "rewards", code)
    if found is None:
        raise Http404
    part: dict[str, Any] = {**found[1], "active": not found[1].get("active", True)}
    document, _place = with_part(bench.document, "rewards", part)
    take_out(request, bench=bench, document=document, subject=f"reward:{code}:shelf")
    return redirect("portal:rewards")
