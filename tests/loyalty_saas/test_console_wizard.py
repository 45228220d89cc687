"""A new client step by step: left and resumed, gone back in, started once, and never taken up half filled in."""

import re
from typing import Any

import pytest
from django.conf import settings
from django.core import mail
from django.utils import timezone

from loyalty_saas import tasks, workers
from loyalty_saas.console.forms import PlaceForm
from loyalty_saas.flows.onboarding import onboard, start_draft
from tenants.access import Actor
from tenants.keys import uuid7
from tenants.models import AuditEvent, Onboarding, Provider
from tenants.services.onboarding import begin, unfinished
from tests.http import ClientBrowser
from tests.loyalty_saas.consoles import a_client, clients_without_a_schema_go, msp, staff
from tests.people import browser, person

__all__ = ["clients_without_a_schema_go", "msp", "staff"]

STEPS: list[dict[str, Any]] = [
    {"name": "Petal & Stem", "trade": "retail"},
    {"template": "retail"},
    {"currency": "USD", "time_zone": "America/Denver", "languages": ["en"], "slug": "", "domain": ""},
    {"owner_email": "rosa@example.com"},
]


@pytest.fixture(autouse=True)
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was sent to the workers, who are not there."""
    found: list[str] = []

    def send_once(*, name: str, **given: object) -> bool:
        found.append(name)
        return True

    monkeypatch.setattr(workers, "send_once", send_once)
    return found


def fill(staff: ClientBrowser, msp: Provider, *, until: int, **other: Any) -> Onboarding:
    """A draft with so many steps filled in."""
    values = [{**STEPS[0], "provider": str(msp.pk)}, *STEPS[1:]]
    values[2] = {**values[2], "slug": f"petal-{uuid7().hex[-10:]}"}
    staff.post("/clients/add/", {**values[0], **{k: v for k, v in other.items() if k in values[0]}})
    draft = Onboarding.objects.get(provider=msp)
    for number in range(1, until):
        given = {**values[number], **{k: v for k, v in other.items() if k in values[number]}}
        assert staff.post(step(draft, number + 1), given).status_code == 302
    return Onboarding.objects.get(pk=draft.pk)


def step(draft: Onboarding, number: int) -> str:
    """The address of a step."""
    return f"/clients/add/{draft.pk}/{number}/"


def test_a_new_client_goes_through_four_steps_to_its_address(msp: Provider, staff: ClientBrowser) -> None:
    draft = fill(staff, msp, until=3)
    review = staff.get(step(draft, 4)).content.decode()
    assert "Petal &amp; Stem" in review
    assert f"{draft.request['slug']}.{settings.CLIENT_HOST_SUFFIX}" in review
    answer = staff.post(step(draft, 4), STEPS[3])
    assert answer["Location"] == f"/clients/onboarding/{draft.pk}/"
    waiting = staff.get(answer["Location"]).content.decode()
    assert "Taking a database schema" in waiting
    assert 'hx-trigger="every 1s"' in waiting
    assert '<noscript><meta http-equiv="refresh"' in waiting
    done_ = onboard(onboarding_id=draft.pk, at=timezone.now())
    done = staff.get(answer["Location"]).content.decode()
    assert done_.client is not None
    assert f"/clients/{done_.client.pk}/" in done
    assert done_.url in done
    assert "every 1s" not in done, "a finished page must not go on asking"
    assert mail.outbox[-1].to == ["rosa@example.com"]


def test_a_fragment_is_answered_with_the_progress_alone(msp: Provider, staff: ClientBrowser) -> None:
    address = staff.post(step(fill(staff, msp, until=3), 4), STEPS[3])["Location"]
    fragment = staff.get(address, headers={"HX-Request": "true"}).content.decode()
    assert fragment.lstrip().startswith("<section")
    assert "<html" not in fragment


def test_a_draft_is_left_and_taken_up_where_it_was(msp: Provider, staff: ClientBrowser) -> None:
    draft = fill(staff, msp, until=2)
    left = staff.post(step(draft, 3), {**STEPS[2], "slug": "not a slug!", "go": "leave"})
    assert left["Location"] == "/"
    assert "Continue" in staff.get("/").content.decode()
    again = staff.get(f"/clients/onboarding/{draft.pk}/")
    assert again["Location"] == step(draft, 3)
    assert 'value="not a slug!"' in staff.get(again["Location"]).content.decode()


def test_back_keeps_what_was_typed_even_if_it_is_wrong(msp: Provider, staff: ClientBrowser) -> None:
    draft = fill(staff, msp, until=2)
    back = staff.post(step(draft, 3), {"currency": "CHF", "domain": "nonsense here", "go": "back"})
    assert back["Location"] == step(draft, 2)
    page = staff.get(step(draft, 3)).content.decode()
    assert re.search(r'value="CHF"\s+selected', page)
    assert 'value="nonsense here"' in page


def test_nothing_is_kept_of_a_page_that_was_left_empty(msp: Provider, staff: ClientBrowser) -> None:
    staff.post("/clients/add/", {"provider": str(msp.pk), "go": "leave"})
    assert not Onboarding.objects.filter(provider=msp).exists()


def test_a_template_is_shown_with_what_it_promises(msp: Provider, staff: ClientBrowser) -> None:
    page = staff.get(step(fill(staff, msp, until=1, trade="cafe"), 2)).content.decode()
    assert "One stamp for every coffee" in page
    assert "A coffee on the house for 10 Stamps" in page
    assert "Regular from $250.00 in 12 months" in page
    assert re.search(r'value="cafe"\s+checked', page), "the one for the trade is suggested"


@pytest.mark.parametrize(
    ("number", "field", "value"),
    [
        (1, "name", ""),
        (1, "trade", "piracy"),
        (2, "template", "nothing"),
        (3, "currency", "XXX"),
        (3, "time_zone", "Mars/Olympus"),
        (3, "languages", []),
        (3, "slug", "not a slug!"),
        (3, "domain", "not a host!"),
        (4, "owner_email", "rosa"),
    ],
)
def test_a_refusal_stands_at_its_field_and_the_rest_is_kept(
    msp: Provider, staff: ClientBrowser, number: int, field: str, value: Any
) -> None:
    draft = fill(staff, msp, until=3)
    before = draft.request
    given = {"provider": str(msp.pk), **STEPS[number - 1], "slug": draft.request["slug"], field: value}
    answer = staff.post(step(draft, number), given)
    body = answer.content.decode()
    assert answer.status_code == 422
    assert f'id="id_{field}_errors"' in body, "the error must be tied to its field"
    assert body.count('_errors"><p class="error"') == 1
    assert Onboarding.objects.get(pk=draft.pk).request == before


def test_all_that_is_wrong_in_a_step_is_said_at_once(msp: Provider) -> None:
    given = {**STEPS[2], "slug": "www", "domain": "not a host!", "currency": "XXX"}
    form = PlaceForm(given, kept={}, providers=Provider.objects.filter(pk=msp.pk))
    assert set(form.errors) == {"slug", "domain", "currency"}


def test_what_became_wrong_meanwhile_is_said_before_anything_starts(msp: Provider, staff: ClientBrowser) -> None:
    draft = fill(staff, msp, until=3)
    Onboarding.objects.filter(pk=draft.pk).update(request={**draft.request, "template": "gone"})
    answer = staff.post(step(draft, 4), STEPS[3])
    assert answer.status_code == 422
    assert "There is no such template." in answer.content.decode()
    assert Onboarding.objects.get(pk=draft.pk).state == "draft"


def test_an_address_is_checked_while_it_is_typed(msp: Provider, staff: ClientBrowser) -> None:
    taken = a_client(msp).slug
    assert "is free" in staff.get("/clients/add/address/?slug=surely-free-one").content.decode()
    assert "taken" in staff.get(f"/clients/add/address/?slug={taken}").content.decode()
    assert "host name" in staff.get("/clients/add/address/?slug=ok&domain=not+a+host!").content.decode()


# ── drafts and workers ──────────────────────────────────────────────────────────────────────────────────────────────


def test_no_sweep_and_no_worker_takes_up_a_draft(msp: Provider, staff: ClientBrowser, sent: list[str]) -> None:
    draft = fill(staff, msp, until=3)
    at = timezone.now()
    assert draft.pk not in unfinished(at=at)
    assert begin(onboarding_id=draft.pk, at=at) is None
    tasks.sweep_onboardings()
    assert f"onboard:{draft.pk}" not in sent
    assert onboard(onboarding_id=draft.pk, at=at).onboarding.state == "draft"
    start_draft(draft=_with_owner(draft), at=at, wake=False)
    assert draft.pk in unfinished(at=at), "once started it must be found"


def test_starting_twice_starts_once(msp: Provider, staff: ClientBrowser, sent: list[str]) -> None:
    draft = fill(staff, msp, until=3)
    first, second = (staff.post(step(draft, 4), STEPS[3]) for _time in range(2))
    assert first["Location"] == second["Location"] == f"/clients/onboarding/{draft.pk}/"
    assert sent.count(f"onboard:{draft.pk}") == 1
    assert Onboarding.objects.filter(provider=msp).count() == 1
    started = AuditEvent.objects.filter(action="onboarding.started", detail__provider=str(msp.pk))
    assert started.count() == 1


def test_a_second_start_does_not_disturb_one_that_is_under_way(msp: Provider, staff: ClientBrowser) -> None:
    draft = _with_owner(fill(staff, msp, until=3))
    start_draft(draft=draft, at=timezone.now(), wake=False)
    begun = begin(onboarding_id=draft.pk, at=timezone.now())
    assert start_draft(draft=draft, at=timezone.now(), wake=False).state == "running"
    assert begun is not None
    assert Onboarding.objects.get(pk=draft.pk).begun_at == begun.begun_at


def test_a_draft_can_be_discarded_but_not_one_that_is_under_way(msp: Provider, staff: ClientBrowser) -> None:
    draft = fill(staff, msp, until=3)
    Onboarding.objects.filter(pk=draft.pk).update(state="running")
    staff.post(f"/clients/add/{draft.pk}/discard/")
    assert Onboarding.objects.filter(pk=draft.pk).exists()
    Onboarding.objects.filter(pk=draft.pk).update(state="draft")
    staff.post(f"/clients/add/{draft.pk}/discard/")
    assert not Onboarding.objects.filter(pk=draft.pk).exists()
    event = AuditEvent.objects.filter(action="onboarding.discarded").latest("id")
    assert (event.subject, event.detail["provider"]) == ("Petal & Stem", str(msp.pk))


def test_one_that_failed_says_why_and_is_put_right_with_all_that_was_typed(msp: Provider, staff: ClientBrowser) -> None:
    draft = fill(staff, msp, until=3)
    Onboarding.objects.filter(pk=draft.pk).update(state="failed", error="The address was given away meanwhile.", step=3)
    body = staff.get(f"/clients/onboarding/{draft.pk}/").content.decode()
    assert "The address was given away meanwhile." in body
    assert "Nothing was left behind" in body
    again = staff.post(f"/clients/add/{draft.pk}/again/")
    assert again["Location"] == step(draft, 4)
    assert "Petal &amp; Stem" in staff.get(again["Location"]).content.decode()


# ── whose it is ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_client_cannot_be_put_under_another_provider(msp: Provider, staff: ClientBrowser, provider: Provider) -> None:
    assert staff.post("/clients/add/", {**STEPS[0], "provider": str(provider.pk)}).status_code == 422


@pytest.mark.parametrize("rest", ["2/", "discard/", "again/"])
def test_another_providers_draft_is_not_there(staff: ClientBrowser, provider: Provider, rest: str) -> None:
    foreign = Onboarding.objects.create(provider=provider, request={"name": "Hidden"}, state="draft")
    answers = [staff.post(f"/clients/add/{key}/{rest}") for key in (foreign.pk, uuid7())]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert staff.get(f"/clients/onboarding/{foreign.pk}/").status_code == 404
    assert Onboarding.objects.filter(pk=foreign.pk, state="draft").exists()
    foreign.delete()


def test_the_operator_chooses_the_provider(msp: Provider) -> None:
    operator = browser(None, person(Actor.PLATFORM))
    name = f"Chosen {uuid7()}"
    operator.post("/clients/add/", {"provider": str(msp.pk), "name": name, "trade": "retail"})
    assert Onboarding.objects.get(request__name=name).provider == msp


def test_a_place_begins_where_the_last_client_is(msp: Provider) -> None:
    a_client(msp, currency="CHF", time_zone="Europe/Zurich", languages=["de"])
    form = PlaceForm(kept={"name": "Neu"}, providers=Provider.objects.filter(pk=msp.pk))
    begun = [form.initial[name] for name in ("currency", "time_zone", "languages")]
    assert begun == ["CHF", "Europe/Zurich", ["de"]]
    assert form.initial["slug"].startswith("neu")


def _with_owner(draft: Onboarding) -> Onboarding:
    draft.request = {**draft.request, "owner_email": "rosa@example.com"}
    draft.save(update_fields=["request"])
    return draft
