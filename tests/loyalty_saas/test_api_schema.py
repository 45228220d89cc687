"""The description of the API: committed, served, true, and with nothing behind it that breaks."""

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import yaml
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import Case, GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import positive_data_acceptance

from loyalty_saas.api.problems import PROBLEMS
from loyalty_saas.api.schema import described
from loyalty_saas.management.commands import api_schema
from loyalty_saas.wsgi import application
from programs.services.catalogue import add_location
from tenants.context import client_connection
from tenants.models import Client, Onboarding, Provider
from tests.loyalty_saas.shops import PROGRAM, credit, sale
from tests.loyalty_saas.test_api_door import operations
from tests.machines import API, Answer, Machine

EXAMPLES = 20
SEED = 20261122


# ── what is said ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_committed_descriptions_are_those_of_the_code() -> None:
    call_command("api_schema", check=True)


def test_a_description_that_differs_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    other = tmp_path / "openapi.yaml"
    other.write_bytes(api_schema.FILES["client"].read_bytes() + b"\n")
    monkeypatch.setattr(django_settings, "BASE_DIR", tmp_path)
    monkeypatch.setitem(api_schema.FILES, "client", other)
    monkeypatch.setitem(api_schema.FILES, "platform", tmp_path / "missing.yaml")

    with pytest.raises(CommandError, match=r"openapi\.yaml, missing\.yaml"):
        call_command("api_schema", check=True)


@pytest.mark.parametrize("face", ["client", "platform"])
def test_anyone_may_read_the_description_as_json_or_yaml(acme: Client, face: str) -> None:
    nobody = Machine(acme if face == "client" else None, token="")

    plain = nobody.get("/schema/")
    as_yaml = nobody.get("/schema/?format=yaml")

    assert plain["openapi"].startswith("3.1")
    assert plain.body == described(face) == yaml.safe_load(as_yaml.raw)
    assert nobody.get("/schema/", accept="application/yaml").raw == as_yaml.raw
    assert nobody.get("/schema").raw == plain.raw


@pytest.mark.parametrize("face", ["client", "platform"])
def test_every_operation_names_its_problems(face: str) -> None:
    for path, methods in described(face)["paths"].items():
        for method, operation in methods.items():
            answers = operation["responses"]
            where = (method, path)
            assert {"401", "403", "405", "503"} <= set(answers), where
            assert operation["summary"], where
            if "{" in path:
                assert "404" in answers, where
            if "requestBody" in operation:
                assert {"400", "413", "415"} <= set(answers), where
            if any(one["name"] == "Idempotency-Key" for one in operation.get("parameters", [])):
                assert "`key_missing`" in answers["400"]["description"], where
                assert "`in_flight`" in answers["409"]["description"], where
                assert "`key_reused`" in answers["422"]["description"], where
            for status, answer in answers.items():
                if status >= "400":
                    assert list(answer["content"]) == ["application/problem+json"], where


def test_the_guide_names_every_problem() -> None:
    guide = (Path(django_settings.BASE_DIR) / "docs" / "integrators.md").read_text()

    assert [code for code in PROBLEMS if f"`{code}`" not in guide] == []


# ── what is done ────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class World:
    """Something that there is for every place in a path, and words that mean something for the fields of a body."""

    paths: dict[str, Callable[[], str]]
    fields: dict[str, dict[str, Any]]
    counter: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def give_sense(self, case: Case) -> None:
        """Turn what was made up into something that can succeed: things that exist, keys that are new."""
        name = case.operation.definition.raw["operationId"]
        for place in case.path_parameters or {}:
            case.path_parameters[place] = self.paths[place]()
        if isinstance(case.body, dict):
            case.body.update({k: v() if callable(v) else v for k, v in self.fields.get(name, {}).items()})
        if case.query:
            case.query.pop("cursor", None)
        self.renew_key(case)

    def renew_key(self, case: Case) -> None:
        """No two requests of a run have the same key by chance."""
        if case.headers is not None and "Idempotency-Key" in case.headers:
            case.headers["Idempotency-Key"] = f"fuzz-{next(self.counter)}"


def on_host(host: str) -> Any:
    """The application as a server calls it for one host; the test stands afterwards where it stood."""

    def outside(environ: Any, start_response: Any) -> Any:
        connection = client_connection()
        stood = connection.tenant
        connection.forget_client()
        try:
            return application({**environ, "HTTP_HOST": host}, start_response)
        finally:
            if stood is not None:
                connection.set_tenant(stood)

    return outside


def storm(machine: Machine, world: World, *, only: str = "") -> dict[str, set[int]]:
    """
    Fire at every operation (or `only` one): what makes sense, what fits the description, and what does not.

    Returns the statuses that each answered with.
    """
    headers = {"Authorization": f"Bearer {machine.token}"}
    host = machine.browser.defaults["HTTP_HOST"]
    schema = schemathesis.openapi.from_wsgi(f"{API}/schema/", on_host(host))
    answered: dict[str, set[int]] = defaultdict(set)
    for found in schema.get_all_operations():
        operation = found.ok()
        name = operation.definition.raw["operationId"]
        if only in {"", name}:
            answered[name] = set()
            shoot = partial(_shoot, operation, headers=headers, answered=answered[name])
            shoot(GenerationMode.POSITIVE, prepare=world.give_sense)
            shoot(GenerationMode.POSITIVE, prepare=world.renew_key)
            if operation.definition.raw.get("parameters") or operation.body:
                shoot(GenerationMode.NEGATIVE, prepare=lambda case: None)
    return answered


def _shoot(
    operation: Any,
    mode: GenerationMode,
    *,
    prepare: Callable[[Case], None],
    headers: dict[str, str],
    answered: set[int],
) -> None:
    @seed(SEED)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def fire(case: Case) -> None:
        prepare(case)
        response = case.call(headers=headers)
        answered.add(response.status_code)
        # What the description cannot say, such as which members there are, is refused all the same.
        case.validate_response(response, headers=headers, excluded_checks=[positive_data_acceptance])

    fire()


def reached(answered: dict[str, set[int]]) -> float:
    """The share of operations that succeeded at least once; a storm that never gets in proves nothing."""
    return sum(any(status < 300 for status in statuses) for statuses in answered.values()) / len(answered)


@pytest.mark.timeout(1200)
def test_r45_nothing_that_a_caller_can_send_to_a_client_breaks_it(till: Machine, ana: Answer) -> None:
    add_location(code="main")
    till.post("/adjustments", {"member": "ana-1", "unit": "points", "amount": 10**9, "reason": "room"})
    purchase = till.post("/purchases", sale("ana-1", "R-1"))["id"]
    trip = till.post("/activities", {"kind": "trip", "reference": "T-1", "member": "ana-1"})["id"]
    credit()
    numbers = itertools.count()

    def held() -> str:
        return str(till.post("/redemptions", {"member": "ana-1", "reward": "mug"})["id"])

    def double() -> str:
        made = till.post("/members", {"name": "Double"})
        credit()
        return str(made["id"])

    def household() -> str:
        return str(till.post("/households", {"name": "Home", "members": [double()]})["id"])

    def tried() -> str:
        return str(till.post("/program/replays", {"months": 3, "document": PROGRAM})["id"])

    till.post("/members", {"name": "Bo", "identifiers": {"pos": "bo-1"}})
    program = {**dict.fromkeys(("tiers", "rules", "rewards", "offers")), **PROGRAM}
    line = {"quantity": 1, "amount": 100}
    shopping = {
        "member": "ana-1",
        "location": "main",
        "currency": "EUR",
        "amount": 100,
        "lines": [line],
        "occurred_at": None,
    }
    world = World(
        paths={
            "member": lambda: "ana-1",
            "leaver": double,
            "purchase": lambda: purchase,
            "activity": lambda: trip,
            "redemption": held,
            "household": household,
            "replay": tried,
        },
        fields={
            "members_enrol": {"identifiers": None},
            "members_add_identifier": {"kind": "pos", "value": lambda: f"pos-{next(numbers)}"},
            "members_merge": {"double": double},
            "purchases_record": {**shopping, "kind": "sale", "sale": None, "document": lambda: f"F-{next(numbers)}"},
            "purchases_preview": shopping,
            "activities_record": {
                "member": "ana-1",
                "location": "main",
                "kind": "trip",
                "properties": {"days": 2},
                "reference": lambda: f"F-{next(numbers)}",
                "occurred_at": None,
            },
            "adjustments_make": {"member": "ana-1", "unit": "points", "amount": 1},
            "transfers_make": {"from_member": "ana-1", "to_member": "bo-1", "unit": "points", "amount": 1},
            "households_make": {"members": lambda: [double()]},
            "households_add": {"member": double},
            "redemptions_hold": {"member": "ana-1", "reward": "mug", "location": "main"},
            "program_publish": program,
            "program_replace": program,
            "replays_start": {"months": 3, "document": program},
        },
    )

    answered = storm(till, world)

    assert len(answered) == len(list(operations()))
    assert reached(answered) >= 0.95, {name: sorted(found) for name, found in answered.items()}


@pytest.mark.timeout(1200)
def test_r45_nothing_that_a_caller_can_send_to_the_platform_breaks_it(acme: Client) -> None:
    house = Provider.objects.create(slug=f"storm-{acme.slug}", name="Storm")
    Client.objects.filter(pk=acme.pk).update(provider=house)
    onboarding = Onboarding.objects.create(provider=house, request={"name": "Theirs"})
    numbers = itertools.count()
    world = World(
        paths={"slug": lambda: acme.slug, "onboarding": lambda: str(onboarding.pk)},
        fields={
            "clients_onboard": {
                "name": lambda: f"Shop {next(numbers)}",
                "currency": "EUR",
                "time_zone": "Europe/Berlin",
                "template": "retail",
                "slug": None,
                "domain": None,
                "owner_email": None,
            }
        },
    )

    answered = storm(Machine(None, provider=house), world)

    assert reached(answered) == 1.0, {name: sorted(found) for name, found in answered.items()}


def test_a_storm_that_breaks_something_is_noticed(till: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative controls: a view that fails, one that answers in another shape, and one that nobody gets into."""

    def broken() -> Any:
        raise RuntimeError("broken")

    nowhere = World(paths={}, fields={})
    with monkeypatch.context() as patch:
        patch.setattr("loyalty_saas.api.rewards.shelf", broken)
        with pytest.raises(FailureGroup, match="Server error"):
            storm(till, nowhere, only="rewards_list")
    with monkeypatch.context() as patch:
        patch.setattr("loyalty_saas.api.rewards._written_reward", lambda reward: {"code": 5})
        with pytest.raises(FailureGroup, match="Response violates schema"):
            storm(till, nowhere, only="rewards_list")
    assert reached(storm(till, nowhere, only="adjustments_make")) == 0
