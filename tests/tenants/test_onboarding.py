"""A business becomes a client, or nothing of it is left."""

import io
import json
import re
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.core import mail
from django.core.management import CommandError, call_command
from django.db import connections

from loyalty_saas import tasks
from loyalty_saas.flows import invitations
from loyalty_saas.flows import onboarding as flow
from loyalty_saas.flows import programs as program_flow
from programs.models import Program
from rewards.models import Reward
from tenants.context import public_atomic, use_client
from tenants.models import AuditEvent, Client, Domain, Invitation, Onboarding, Provider, SpareSchema
from tenants.schemas.owner import rows
from tenants.services import audit, schemas
from tenants.services import onboarding as service
from tenants.services.invitations import accept_invitation

State = Onboarding.State


def _now() -> datetime:
    return datetime.now(UTC)


def _ask(provider: Provider, **given: Any) -> Onboarding:
    asked = {
        "name": f"Café Krümel {secrets.token_hex(3)}",
        "trade": "cafe",
        "currency": "EUR",
        "time_zone": "Europe/Berlin",
        "languages": ["de", "en"],
        "template": "cafe",
        "domain": "",
        "owner_email": "",
        **given,
    }
    return flow.request_onboarding(provider=provider, at=_now(), wake=False, **asked)


def _problems(provider: Provider, **given: Any) -> dict[str, str]:
    with pytest.raises(flow.OnboardingRefused) as refused:
        _ask(provider, **given)
    return refused.value.problems


def _traces() -> dict[str, set[str]]:
    """Everything an onboarding makes, wherever it stands."""
    made = (
        rows("SELECT nspname FROM pg_namespace WHERE nspname ~ '^c_'"),
        rows("SELECT rolname FROM pg_roles WHERE rolname ~ '^c_'"),
    )
    spares = set(SpareSchema.objects.values_list("pk", flat=True))
    return {
        "schemas": {name for (name,) in made[0]} - spares,
        "roles": {name for (name,) in made[1]} - spares,
        "clients": set(Client.objects.values_list("slug", flat=True)),
        "hosts": set(Domain.objects.values_list("host", flat=True)),
        "invitations": set(Invitation.objects.values_list("token_hash", flat=True)),
        "taken": set(SpareSchema.objects.exclude(taken_at=None).values_list("pk", flat=True)),
    }


# ── what is made ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_business_becomes_a_client_with_program_address_and_invitation(provider: Provider) -> None:
    said: list[str] = []
    wanted = _ask(provider, owner_email="Owner@Example.com")

    made = flow.onboard(onboarding_id=wanted.pk, at=_now(), progress=said.append)

    client = Client.objects.get(onboardings=wanted)
    assert (made.client, client.languages, client.is_open) == (client, ["de", "en"], True)
    assert Domain.objects.get(client=client).host == made.host == f"{client.slug}.{settings.CLIENT_HOST_SUFFIX}"
    assert said == [str(step) for step in flow.STEPS]
    onboarding = Onboarding.objects.get(pk=wanted.pk)
    assert (onboarding.state, onboarding.step, onboarding.error) == (State.DONE, flow.READY, "")
    with use_client(client):
        assert Program.objects.get().status == Program.Status.PUBLISHED
        assert Reward.objects.exists()
    assert not SpareSchema.objects.filter(pk=client.schema_name).exists()
    assert [event.action for event in AuditEvent.objects.filter(client=client)] == [
        "client.onboarded",
        "invitation.sent",
    ]
    assert audit.verify_chain(client) == []


def test_the_owner_is_mailed_a_link_on_the_clients_own_host_that_lets_him_in(provider: Provider) -> None:
    address = f"{secrets.token_hex(4)}@example.com"
    made = flow.onboard(onboarding_id=_ask(provider, owner_email=address).pk, at=_now())

    (letter,) = [message for message in mail.outbox if message.to == [address]]
    (link,) = re.findall(r"http\S+", str(letter.body))
    assert link == made.invitation_url
    assert link.startswith(f"http://{made.host}/invitation/")
    token = link.rstrip("/").rpartition("/")[2]
    assert len(token) >= 43
    assert not Invitation.objects.filter(token_hash__contains=token).exists()
    with public_atomic():
        user = accept_invitation(token=token, client=made.client, password="a long password", name="Olga", at=_now())
    assert [(grant.role, grant.client) for grant in user.grants.all()] == [("owner", made.client)]


def test_without_an_owner_nobody_is_invited(provider: Provider) -> None:
    made = flow.onboard(onboarding_id=_ask(provider).pk, at=_now())

    assert made.invitation_url == ""
    assert not Invitation.objects.filter(client=made.client).exists()


def test_two_businesses_of_one_name_get_different_addresses(provider: Provider) -> None:
    name = f"Zwei {secrets.token_hex(3)}"

    made = [flow.onboard(onboarding_id=_ask(provider, name=name).pk, at=_now()) for _ in range(2)]

    first, second = [one.client.slug for one in made if one.client]
    assert second == f"{first}-2"


def test_a_name_without_latin_letters_gets_an_address_too(provider: Provider) -> None:
    made = flow.onboard(onboarding_id=_ask(provider, name="茶屋").pk, at=_now())

    assert made.host.startswith("client")


def test_a_domain_is_kept_as_browsers_ask_for_it(provider: Provider) -> None:
    label = secrets.token_hex(4)

    made = flow.onboard(onboarding_id=_ask(provider, domain=f" {label}.Bäckerei.Example. ").pk, at=_now())

    assert made.host == f"{label}.xn--bckerei-5wa.example"


# ── what is refused ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("name", ["", "   ", "x" * 101, "two\nlines", "a\x00b"]),
        ("trade", ["", "piracy"]),
        ("currency", ["", "eur", "EURO", "ZZZ", "€"]),
        ("time_zone", ["", "Berlin", "Europe/Atlantis", "../../etc/passwd"]),
        ("languages", [[], ["xx"], ["en", "tlh"]]),
        ("template", ["", "casino", "../retail"]),
        ("slug", ["-a", "a-", "A", "a.b", "ä", "x" * 51, "www"]),
        (
            "domain",
            [
                "no dots",
                "nodots",
                "a..b",
                "-a.example",
                "a_b.example",
                "x" * 64 + ".example",
                "1" * 254,
                "www.localhost",
            ],
        ),
        ("owner_email", ["nobody", "a@", "a@b@c", "x" * 250 + "@example.com", "a@example.com\nBcc: b@example.com"]),
    ],
)
def test_each_refusal_names_its_field_and_writes_nothing(provider: Provider, field: str, values: list[Any]) -> None:
    before = Onboarding.objects.count()

    for value in values:
        assert list(_problems(provider, **{field: value})) == [field], value

    assert Onboarding.objects.count() == before


def test_all_wrong_fields_are_named_together(provider: Provider) -> None:
    assert set(_problems(provider, name="", currency="x", template="x")) == {"name", "currency", "template"}


def test_a_taken_slug_or_domain_and_the_platforms_own_are_refused(provider: Provider, acme: Client) -> None:
    host = acme.domains.get().host

    assert list(_problems(provider, slug=acme.slug)) == ["slug"]
    assert list(_problems(provider, domain=host.upper())) == ["domain"]
    assert list(_problems(provider, domain=settings.PLATFORM_HOST)) == ["domain"]
    assert list(_problems(provider, domain=f"x.{settings.PLATFORM_HOST}")) == ["domain"]


def test_an_address_given_away_meanwhile_fails_the_onboarding_and_leaves_nothing(provider: Provider) -> None:
    slug = f"s{secrets.token_hex(4)}"
    first, second = _ask(provider, slug=slug), _ask(provider, slug=slug)
    flow.onboard(onboarding_id=first.pk, at=_now())
    before = _traces()

    made = flow.onboard(onboarding_id=second.pk, at=_now())

    assert (made.onboarding.state, made.client) == (State.FAILED, None)
    assert made.onboarding.error == "This short name is taken."
    assert _traces() == before


# ── what goes wrong ─────────────────────────────────────────────────────────────────────────────────────────────────


class _Dropped(Exception):
    pass


def _breaks(*args: Any, **kwargs: Any) -> Any:
    raise _Dropped


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (program_flow, "publish_rewards"),
        (program_flow, "apply_template"),
        (service, "new_client"),
        (service, "admit"),
        (service, "invite"),
        (schemas, "settle_claim"),
    ],
)
def test_a_failure_half_way_leaves_nothing_behind(
    provider: Provider, monkeypatch: pytest.MonkeyPatch, place: Any, name: str
) -> None:
    wanted = _ask(provider, owner_email="owner@example.com")
    before = _traces()
    with monkeypatch.context() as broken:
        broken.setattr(place, name, _breaks)
        made = flow.onboard(onboarding_id=wanted.pk, at=_now())

    assert made.onboarding.state == State.FAILED
    assert "Something went wrong" in made.onboarding.error
    assert _traces() == before
    assert made.client is None


def test_without_the_owners_login_what_is_left_is_dropped_later_and_never_handed_out_again(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    schemas.refill_spares(target=1, at=_now())
    wanted = _ask(provider)
    before = _traces()
    with monkeypatch.context() as web:
        web.delitem(connections.settings, "owner")
        web.setattr(program_flow, "publish_rewards", _breaks)
        flow.onboard(onboarding_id=wanted.pk, at=_now())

    (left,) = _traces()["taken"] - before["taken"]
    assert not Client.objects.filter(schema_name=left).exists()
    schemas.refill_spares(target=0, at=_now() + schemas.TAKEN_FOR + timedelta(seconds=5))
    assert left not in _traces()["taken"] | _traces()["schemas"] | _traces()["roles"]


def test_a_letter_that_cannot_be_sent_does_not_undo_the_client(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(invitations, "send_mail", refuse)
    made = flow.onboard(onboarding_id=_ask(provider, owner_email="owner@example.com").pk, at=_now())

    assert made.onboarding.state == State.DONE
    assert "could not be mailed" in made.onboarding.error


def test_without_a_spare_and_the_owners_login_it_waits_for_a_worker(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = _ask(provider)
    others = SpareSchema.objects.filter(taken_at=None)
    hidden = list(others.values_list("pk", flat=True))
    others.update(script_hash="hidden")
    with monkeypatch.context() as web:
        web.delitem(connections.settings, "owner")
        made = flow.onboard(onboarding_id=wanted.pk, at=_now())
    assert (made.onboarding.state, made.onboarding.step) == (State.WAITING, 0)
    assert wanted.pk in service.unfinished(at=_now())

    tasks.onboard.apply(kwargs={"onboarding_id": str(wanted.pk)})

    assert Onboarding.objects.get(pk=wanted.pk).state == State.DONE
    SpareSchema.objects.filter(pk__in=hidden).update(script_hash=_hash())


def test_one_that_was_begun_and_left_is_taken_up_again_and_the_late_one_gives_up(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = _ask(provider)
    later = _now() + schemas.TAKEN_FOR + timedelta(seconds=1)
    really = program_flow.apply_template

    def meanwhile(**given: Any) -> Program:
        monkeypatch.setattr(program_flow, "apply_template", really)
        with ThreadPoolExecutor(1) as threads:
            threads.submit(_apart, lambda: flow.onboard(onboarding_id=wanted.pk, at=later)).result()
        return really(**given)

    monkeypatch.setattr(program_flow, "apply_template", meanwhile)
    before = _traces()
    flow.onboard(onboarding_id=wanted.pk, at=_now())

    after = _traces()
    assert Onboarding.objects.get(pk=wanted.pk).state == State.DONE
    assert {kind: len(after[kind] - before[kind]) for kind in after} == {
        "schemas": 1, "roles": 1, "clients": 1, "hosts": 1, "invitations": 0, "taken": 0,
    }  # fmt: skip


def test_an_onboarding_is_carried_out_once_however_often_it_is_sent(provider: Provider) -> None:
    wanted = _ask(provider)
    before = _traces()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: _apart(lambda: flow.onboard(onboarding_id=wanted.pk, at=_now())), range(4)))
    flow.onboard(onboarding_id=wanted.pk, at=_now())

    assert len(_traces()["clients"] - before["clients"]) == 1
    assert len(_traces()["schemas"] - before["schemas"]) == 1


def test_a_request_wakes_a_worker_once_it_is_committed(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(flow.workers, "send_once", lambda **given: sent.append(given))
    with public_atomic():
        wanted = flow.request_onboarding(
            provider=provider, at=_now(), name="X", trade="cafe", currency="EUR", time_zone="UTC", template="cafe"
        )
        assert sent == []

    assert [given["onboarding_id"] for given in sent] == [str(wanted.pk)]


def _apart(work: Callable[[], Any]) -> Any:
    try:
        return work()
    finally:
        connections.close_all()


def _hash() -> str:
    from tenants.schemas.script import migrations_hash

    return migrations_hash()


# ── the command ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _command(*more: str, name: str = "Hiking Club", **options: str) -> dict[str, str]:
    given = {
        "provider": "northwind",
        "trade": "outdoor",
        "currency": "USD",
        "time-zone": "America/Denver",
        "template": "hiking",
    }
    words = [f"--{option}={value}" for option, value in ({**given, **options}).items()]
    out = io.StringIO()
    call_command("onboard_client", name, *words, *more, stdout=out, stderr=io.StringIO())
    return dict(json.loads(out.getvalue()))


@pytest.mark.usefixtures("provider")
def test_the_command_prints_what_it_made() -> None:
    slug = f"hiking-{secrets.token_hex(3)}"

    made = _command("--language=en", "--language=de", slug=slug, **{"owner-email": "owner@example.com"})

    client = Client.objects.get(slug=slug)
    assert made["schema"] == client.schema_name
    assert made["host"] == f"{slug}.localhost"
    assert made["url"] == f"http://{slug}.localhost/"
    assert made["invitation"].startswith(f"http://{slug}.localhost/invitation/")
    assert client.languages == ["en", "de"]


@pytest.mark.usefixtures("provider")
def test_mail_that_is_only_shown_stays_out_of_the_commands_result(
    settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"

    _command(**{"owner-email": "owner@example.com"})

    shown = capsys.readouterr()
    assert "/invitation/" in shown.err
    assert shown.out == ""


@pytest.mark.usefixtures("provider")
def test_the_command_names_the_option_that_is_wrong() -> None:
    with pytest.raises(CommandError, match="--time-zone: This time zone is not known"):
        _command(**{"time-zone": "Nowhere"})
    with pytest.raises(CommandError, match="--currency"):
        _command(currency="XXXX")


def test_the_command_makes_the_provider_if_it_is_told_to() -> None:
    slug = f"p-{secrets.token_hex(3)}"
    with pytest.raises(CommandError, match="--create-provider"):
        _command(provider=slug)

    _command(provider=slug, **{"create-provider": "New MSP"})

    assert Provider.objects.get(slug=slug).clients.count() == 1
