"""Who may call what: every route and task says it, and only those it names pass."""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from itertools import product
from types import ModuleType
from typing import Any
from uuid import UUID

import pytest
from celery import Celery, Task
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import clear_url_caches, path
from django.utils import timezone

from loyalty_saas.access_table import LIBRARY_ACCESS, Route, routes
from loyalty_saas.bearers import BEARERS
from loyalty_saas.celery import app
from members.models import Identity, Member
from tenants.access import Actor
from tenants.context import use_client
from tenants.keys import uuid7
from tenants.models import Client, Onboarding, Provider, RoleGrant, User
from tenants.tasks import PlatformTask, TenantTask
from tests.conftest import NewClient
from tests.people import browser, person

TABLES = {"client": settings.ROOT_URLCONF, "platform": settings.PLATFORM_URLCONF}
CANARY = "Canary-of-Bravo"


# ── the register ────────────────────────────────────────────────────────────────────────────────────────────────────


def undeclared(urlconf: str) -> list[str]:
    return [route.pattern for route in routes(urlconf) if not route.is_declared]


def unplaced(celery: Celery) -> list[str]:
    """Tasks that neither name their client nor say that they work for the platform."""
    own = [task for name, task in celery.tasks.items() if not name.startswith("celery.")]
    return [task.name for task in own if not isinstance(task, TenantTask | PlatformTask)]


@pytest.mark.parametrize("table", TABLES)
def test_r15_every_route_says_who_may_call_it(table: str) -> None:
    assert undeclared(TABLES[table]) == []


@pytest.mark.parametrize("table", TABLES)
def test_r15_no_library_view_is_declared_that_is_not_there(table: str) -> None:
    assert set(LIBRARY_ACCESS) <= {route.name for route in routes(TABLES[table])}


def test_r15_every_task_says_whom_it_works_for() -> None:
    app.loader.import_default_modules()
    assert unplaced(app) == []
    assert [name for name in app.tasks if not name.startswith("celery.")], "no task was looked at"


def a_view(request: HttpRequest) -> HttpResponse:
    return HttpResponse("in the open")


@pytest.fixture
def careless_urls() -> Iterator[str]:
    """The client's addresses and one that nobody declared."""
    careless = ModuleType("careless_urls")
    careless.urlpatterns = [*import_module(settings.ROOT_URLCONF).urlpatterns, path("forgotten/", a_view)]  # type: ignore[attr-defined]
    sys.modules["careless_urls"] = careless
    yield "careless_urls"
    del sys.modules["careless_urls"]
    clear_url_caches()


def test_r15_control_a_forgotten_route_is_found(careless_urls: str) -> None:
    assert undeclared(careless_urls) == ["/forgotten/"]


def forgotten() -> None:
    """A task of nobody."""


def test_r15_control_a_forgotten_task_is_found() -> None:
    celery = Celery("careless", set_as_current=False)
    celery.task(name="careless.forgotten", base=Task)(forgotten)
    assert unplaced(celery) == ["careless.forgotten"]


def test_r17_a_forgotten_route_is_closed_to_everybody(acme: Client, careless_urls: str) -> None:
    owner = person(Actor.OWNER, client=acme)
    with override_settings(ROOT_URLCONF=careless_urls):
        answer = browser(acme, owner).get("/forgotten/")
    assert answer.status_code == 403
    assert b"in the open" not in answer.content


# ── the matrix ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class World:
    """Two clients of two providers, everybody who knocks, and what they must never see."""

    acme: Client
    bravo: Client
    people: dict[str, User | None]
    ids: dict[str, UUID]

    def actors(self, who: str, host: str) -> set[Actor]:
        """What the person should be on the host, said here by hand and not read from the code."""
        here = {
            ("clerk", "acme"): {Actor.CLERK},
            ("manager", "acme"): {Actor.MANAGER},
            ("owner", "acme"): {Actor.OWNER},
            ("own provider", "acme"): {Actor.PROVIDER},
            ("own provider", "platform"): {Actor.PROVIDER},
            ("other provider", "platform"): {Actor.PROVIDER},
            ("operator", "platform"): {Actor.PLATFORM},
        }.get((who, host), set())
        return here | ({Actor.SIGNED_IN} if who != "nobody" else set())


@pytest.fixture
def world(new_client: NewClient, provider: Provider) -> World:
    acme, bravo = new_client("Acme"), new_client(CANARY)
    other = Provider.objects.create(slug=f"other-{uuid7().hex[-8:]}", name="Other MSP")
    Client.objects.filter(pk=bravo.pk).update(provider=other)
    with use_client(bravo):
        member = Member.objects.create(number=f"M{uuid7().hex[-9:]}".upper())
        Identity.objects.create(member=member, name=CANARY)
    foreign = Onboarding.objects.create(provider=other, request={"name": CANARY, "owner_email": "x@example.com"})
    return World(
        acme=acme,
        bravo=bravo,
        people={
            "nobody": None,
            "stranger": person(),
            "clerk": person(Actor.CLERK, client=acme),
            "manager": person(Actor.MANAGER, client=acme),
            "owner": person(Actor.OWNER, client=acme),
            "owner of bravo": person(Actor.OWNER, client=bravo),
            "own provider": person(Actor.PROVIDER, provider=provider),
            "other provider": person(Actor.PROVIDER, provider=other),
            "operator": person(Actor.PLATFORM),
        },
        ids={"member_id": member.pk, "onboarding_id": foreign.pk},
    )


def address(route: Route, ids: dict[str, UUID]) -> str | None:
    """The route's address with another client's ids in it; None for patterns of libraries we do not fill."""
    filled = re.sub(
        r"<(?:(\w+):)?(\w+)>", lambda m: "1" if m[1] == "int" else str(ids.get(m[2], uuid7())), route.pattern
    )
    return None if re.search(r"[\^\\(\[?$]", filled) else filled


def pages(urlconf: str) -> list[Route]:
    """The routes for people: not those of the API, which asks for keys."""
    return [
        route
        for route in routes(urlconf)
        if Actor.MACHINE not in route.access.actors and not route.pattern.startswith("/api/")
    ]


def judged(answer: Any) -> str:
    """What became of a request: passed, sent away to sign in, or refused."""
    if answer.status_code == 302 and answer["Location"].startswith("/accounts/login/"):
        return "sign in"
    if answer.status_code == 302 and answer["Location"] in {"/till/enrol/", "/till/lock/", "/card/sign-in/"}:
        return "to its till or card"
    return "refused" if answer.status_code == 403 else "passed"


def due(route: Route, actors: set[Actor]) -> str:
    if Actor.ANYONE in route.access.actors:
        return "passed"
    if route.access.actors and route.access.actors <= BEARERS:
        return "to its till or card"
    if not actors:
        return "sign in"
    return "passed" if route.access.actors & actors else "refused"


def text_of(answer: Any) -> str:
    """What an answer says, a download too."""
    return bytes(b"".join(answer.streaming_content) if answer.streaming else answer.content).decode(errors="replace")


LIBRARY_ANSWERS = {"account_logout", "mfa_authenticate", "account_reauthenticate", "mfa_reauthenticate"}


def test_r15_only_those_whom_a_route_names_pass_and_none_sees_another_client(world: World) -> None:
    wrong, seen, asked = [], [], 0
    hosts = {"acme": (world.acme, TABLES["client"]), "platform": (None, TABLES["platform"])}
    for (host, (client, urlconf)), (who, user) in product(hosts.items(), world.people.items()):
        visitor = browser(client, user)
        for route in pages(urlconf):
            url = address(route, world.ids)
            if url is None or route.name in LIBRARY_ANSWERS:
                continue
            answer = visitor.get(url)
            asked += 1
            if judged(answer) != due(route, world.actors(who, host)):
                wrong.append((host, who, url, answer.status_code, answer.get("Location", "")))
            sees_it = who in {"operator", "other provider", "owner of bravo"} and host == "platform"
            if CANARY in text_of(answer) and not sees_it:
                seen.append((host, who, url))
    assert (wrong, seen) == ([], [])
    assert asked > 300


def test_r15_control_the_matrix_would_see_the_canary_at_its_own_client(world: World) -> None:
    page = browser(world.bravo, world.people["owner of bravo"]).get(f"/members/{world.ids['member_id']}/")
    assert CANARY in page.content.decode()


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_r15_other_methods_pass_no_door_either(world: World, method: str) -> None:
    clerk = browser(world.acme, world.people["clerk"])
    for route in pages(TABLES["client"]):
        url = address(route, world.ids)
        if url and not route.access.actors & {Actor.ANYONE, Actor.SIGNED_IN, Actor.CLERK}:
            answer = getattr(clerk, method)(url)
            assert judged(answer) == due(route, {Actor.CLERK, Actor.SIGNED_IN}), url


# ── at the door ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_stranger_is_sent_to_sign_in_and_back_to_where_he_wanted(acme: Client) -> None:
    answer = browser(acme).get("/program/?a=1")
    assert (answer.status_code, answer["Location"]) == (302, "/accounts/login/?next=/program/%3Fa%3D1")


def test_a_fragment_asked_for_by_script_leads_the_whole_page_to_sign_in(acme: Client) -> None:
    answer = browser(acme).get("/program/", headers={"HX-Request": "true"})
    assert (answer.status_code, answer["HX-Redirect"]) == (200, "/accounts/login/")


def test_somebody_without_the_role_is_told_so(acme: Client) -> None:
    answer = browser(acme, person(Actor.CLERK, client=acme)).get("/imports/")
    assert answer.status_code == 403
    assert "Your role does not include this page." in answer.content.decode()


def test_r25_a_role_that_ended_opens_nothing_from_the_next_request_on(acme: Client) -> None:
    owner = person(Actor.OWNER, client=acme)
    page = browser(acme, owner)
    assert page.get("/program/").status_code == 200
    RoleGrant.objects.filter(user=owner).update(until=timezone.now() - timedelta(seconds=1))
    assert page.get("/program/").status_code == 403


@pytest.mark.parametrize("role", [Actor.OWNER, Actor.MANAGER])
def test_r28_a_role_above_the_till_sets_up_its_second_factor_first(acme: Client, role: Actor) -> None:
    page = browser(acme, person(role, client=acme, factor=False))
    for url in ("/", "/members/", "/accounts/password/change/", "/accounts/2fa/"):
        assert (page.get(url)["Location"]) == "/accounts/2fa/totp/activate/"


@pytest.mark.parametrize("role", [Actor.PLATFORM, Actor.PROVIDER])
def test_r28_the_console_asks_for_a_second_factor_too(provider: Provider, role: Actor) -> None:
    page = browser(None, person(role, provider=provider, factor=False))
    assert page.get("/")["Location"] == "/accounts/2fa/totp/activate/"


def test_a_clerk_needs_no_second_factor(acme: Client) -> None:
    page = browser(acme, person(Actor.CLERK, client=acme, factor=False))
    assert page.get("/members/").status_code == 200


def test_pages_carry_a_strict_policy(acme: Client) -> None:
    policy = browser(acme).get("/accounts/login/")["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
