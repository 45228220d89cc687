"""The forms of the program's parts: each change goes into the draft."""

from typing import Any, cast

from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from loyalty_saas.faces import ClientRequest
from loyalty_saas.portal.editor import Bench, known_categories, with_part, without_part
from loyalty_saas.portal.editor_conflicts import hints_of
from loyalty_saas.portal.editor_flow import edit, take_out, workbench
from loyalty_saas.portal.editor_parts import BasicsForm, OfferForm, TiersForm
from loyalty_saas.portal.editor_problems import told
from loyalty_saas.portal.editor_rows import Data, rearranged
from loyalty_saas.portal.editor_rules import RuleForm
from loyalty_saas.portal.editor_samples import example
from loyalty_saas.portal.shared import MANAGERS
from loyalty_saas.sentences_program import rule_sentence, tier_sentence, tier_set_sentence
from loyalty_saas.sentences_words import Wording
from programs.rules import ProgramError, ProgramSpec, RuleSpec, parse_program
from tenants.access import admits

_FORM = require_http_methods(["GET", "HEAD", "POST"])
_SECTION = {"section": "portal:program"}


# ── rules ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@admits(*MANAGERS)
@_FORM
def add_rule(request: ClientRequest) -> HttpResponse:
    """A new earning rule."""
    return _rule(request, workbench(request), None)


@admits(*MANAGERS)
@_FORM
def rule(request: ClientRequest, code: str) -> HttpResponse:
    """An earning rule, to be changed."""
    bench = workbench(request)
    return _rule(request, bench, _rule_of(bench, code))


def _rule(request: ClientRequest, bench: Bench, found: RuleSpec | None) -> HttpResponse:
    if bench.spec is None:
        return redirect("portal:program")
    return edit(
        request,
        bench=bench,
        make=lambda data: RuleForm(data, bench=bench, rule=found),
        write=lambda form: with_part(bench.document, "rules", form.document()),
        template="portal/program_rule.html",
        context=lambda form: {"rule": found, **_said(cast(RuleForm, form), bench), **_lists(bench), **_SECTION},
        subject=f"rule:{found.code if found else 'new'}",
        prefixes=("c", "s"),
    )


@admits(*MANAGERS)
@require_POST
def rule_said(request: ClientRequest) -> HttpResponse:
    """What a rule that is being typed says, and an example."""
    bench = workbench(request)
    old = bench.spec.rules if bench.spec else ()
    found = next((one for one in old if one.code == request.POST.get("code")), None)
    # A button of a row that is pressed does not judge what is typed.
    form = RuleForm(rearranged(request.POST, prefixes=()) or request.POST, bench=bench, rule=found)
    return render(request, "portal/program_rule_said.html", _said(form, bench))


def _said(form: RuleForm, bench: Bench) -> dict[str, Any]:
    """The sentence and the example of what stands in the form, or what is missing for them."""
    judged = RuleForm(cast(Data, form.data), bench=bench, rule=form.rule) if form.is_bound else None
    if judged is None:
        return _sentence(form.rule, bench.spec, bench) if form.rule and bench.spec else {}
    if not judged.is_valid():
        return {"missing": _first_error(judged)}
    document, place = with_part(bench.document, "rules", judged.document())
    try:
        spec = parse_program(document)
    except ProgramError as error:
        return {"missing": told(error, document, bench.document)[0]}
    return _sentence(spec.rules[place], spec, bench)


def _sentence(found: RuleSpec, spec: ProgramSpec, bench: Bench) -> dict[str, Any]:
    wording = Wording.of(spec, currency=bench.currency, places=bench.places)
    return {
        "sentence": rule_sentence(found, wording),
        "example": example(found, spec, wording, today=timezone.localdate()),
        "hints": hints_of(spec, bench, code=found.code, today=timezone.localdate()),
    }


def _first_error(form: RuleForm) -> str:
    forms = [*form.conditions.filled, *form.steps.forms[:1], *form.steps.filled, form]
    for one in forms:
        for name, errors in one.errors.items():
            label = one.fields[name].label if name in one.fields else ""
            return _("%(label)s: %(words)s") % {"label": label, "words": errors[0]} if label else str(errors[0])
    return ""


def _lists(bench: Bench) -> dict[str, Any]:
    return {"categories": known_categories()}


def _rule_of(bench: Bench, code: str) -> RuleSpec:
    rules = bench.spec.rules if bench.spec else ()
    found = next((one for one in rules if one.code == code), None)
    if found is None:
        raise Http404
    return found


@admits(*MANAGERS)
@require_POST
def remove_rule(request: ClientRequest, code: str) -> HttpResponse:
    """Take a rule out of the draft."""
    return _remove(request, "rules", code)


@admits(*MANAGERS)
@require_POST
def remove_offer(request: ClientRequest, code: str) -> HttpResponse:
    """Take an offer out of the draft."""
    return _remove(request, "offers", code)


def _remove(request: ClientRequest, part: str, code: str) -> HttpResponse:
    bench = workbench(request)
    take_out(
        request, bench=bench, document=without_part(bench.document, part, code), subject=f"{part[:-1]}:{code}:removed"
    )
    return redirect("portal:program")


# ── tiers, units, offers ────────────────────────────────────────────────────────────────────────────────────────────


@admits(*MANAGERS)
@_FORM
def tiers(request: ClientRequest) -> HttpResponse:
    """The levels, and what they go by."""
    bench = workbench(request)
    if bench.spec is None:
        return redirect("portal:program")
    return edit(
        request,
        bench=bench,
        make=lambda data: TiersForm(data, bench=bench),
        write=lambda form: (form.document(), None),
        template="portal/program_tiers.html",
        context=lambda form: {"said": _tiers_said(cast(TiersForm, form), bench), **_SECTION},
        subject="tiers",
        prefixes=("l",),
    )


def _tiers_said(form: TiersForm, bench: Bench) -> list[str]:
    """What the levels in the form say, as far as they can be read."""
    judged = TiersForm(cast(Data, form.data) if form.is_bound else None, bench=bench)
    if form.is_bound and not judged.is_valid():
        return []
    document = judged.document() if form.is_bound else bench.document
    try:
        spec = parse_program(document)
    except ProgramError as error:
        return told(error, document, bench.document)
    wording = Wording.of(spec, currency=bench.currency)
    if spec.tiers is None:
        return []
    levels = [
        _("%(name)s: %(words)s") % {"name": one.name, "words": tier_sentence(one, spec.tiers, wording)}
        for one in spec.tiers.levels
    ]
    return [tier_set_sentence(spec.tiers), *levels]


@admits(*MANAGERS)
@require_POST
def tiers_said(request: ClientRequest) -> HttpResponse:
    """What levels that are being typed say."""
    bench = workbench(request)
    form = TiersForm(request.POST, bench=bench)
    return render(request, "portal/program_tiers_said.html", {"said": _tiers_said(form, bench)})


@admits(*MANAGERS)
@_FORM
def basics(request: ClientRequest) -> HttpResponse:
    """The program's name and what members collect."""
    bench = workbench(request)
    return edit(
        request,
        bench=bench,
        make=lambda data: BasicsForm(data, bench=bench),
        write=lambda form: (form.document(), None),
        template="portal/program_basics.html",
        context=lambda form: _SECTION,
        subject="basics",
        prefixes=("u",),
    )


@admits(*MANAGERS)
@_FORM
def add_offer(request: ClientRequest) -> HttpResponse:
    """A new offer."""
    return _offer(request, workbench(request), None)


@admits(*MANAGERS)
@_FORM
def offer(request: ClientRequest, code: str) -> HttpResponse:
    """An offer, to be changed."""
    bench = workbench(request)
    if code not in {one.code for one in (bench.spec.offers if bench.spec else ())}:
        raise Http404
    return _offer(request, bench, code)


def _offer(request: ClientRequest, bench: Bench, code: str | None) -> HttpResponse:
    if bench.spec is None:
        return redirect("portal:program")
    found = next((one for one in bench.spec.offers if one.code == code), None)
    return edit(
        request,
        bench=bench,
        make=lambda data: OfferForm(data, bench=bench, part=found),
        write=lambda form: with_part(bench.document, "offers", form.document()),
        template="portal/program_offer.html",
        context=lambda form: {"offer": found, **_SECTION},
        subject=f"offer:{code or 'new'}",
    )
