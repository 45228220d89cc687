"""
A business becomes a client: a spare schema is taken, the template's program published in it, then the rows made.

The schema is taken in a transaction of its own, so that it is never handed out twice; all public rows come together at
the end. What fails half-way leaves a schema without a client, which is dropped here or, without the owner's login, by
the worker that refills the spares.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from django.db import connections, transaction
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from loyalty_saas import workers
from loyalty_saas.flows import programs
from loyalty_saas.flows.invitations import NOT_MAILED, mail_owner
from tenants.context import public_atomic, use_client
from tenants.models import Client, Onboarding, Provider, Role
from tenants.queries import url_on
from tenants.routers import CLIENT, OWNER, PUBLIC
from tenants.services import onboarding as service
from tenants.services import schemas
from tenants.services.onboarding import ClientRequest, OnboardingRefused

__all__ = ["STEPS", "ClientRequest", "Onboarded", "OnboardingRefused", "onboard", "request_onboarding", "start_draft"]

log = structlog.get_logger(__name__)

STEPS = (
    gettext_lazy("Checking what was asked for"),
    gettext_lazy("Taking a database schema"),
    gettext_lazy("Setting up the program"),
    gettext_lazy("Opening the client and its address"),
    gettext_lazy("Inviting the owner"),
    gettext_lazy("Ready"),
)
CHECK, CLAIM, TEMPLATE, ADMIT, INVITE, READY = range(len(STEPS))

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Onboarded:
    """Where an onboarding stands; with a client once it is done. The invitation's link is told here only."""

    onboarding: Onboarding
    client: Client | None = None
    host: str = ""
    url: str = ""
    invitation_url: str = ""


def request_onboarding(
    *, provider: Provider, at: datetime, requested_by: UUID | None = None, wake: bool = True, **asked: Any
) -> Onboarding:
    """
    Ask for a client; `asked` are the fields of :class:`ClientRequest`. A worker carries it out, or :func:`onboard` now.

    :raises OnboardingRefused: naming every field that is wrong; nothing is written then
    """
    request = ClientRequest(**asked)
    service.check(request, templates=programs.templates())
    wanted = service.note_request(provider=provider, request=request, requested_by=requested_by, at=at)
    if wake:
        transaction.on_commit(lambda: _wake(wanted.pk), using=PUBLIC)
    return wanted


def start_draft(*, draft: Onboarding, at: datetime, requested_by: UUID | None = None, wake: bool = True) -> Onboarding:
    """
    Ask for the client that a draft describes. Starting again what was started, or is under way, does nothing.

    :raises OnboardingRefused: naming every field that is wrong; it stays a draft then
    """
    request = service.request_of(draft.request)
    if draft.state == Onboarding.State.DRAFT:
        service.check(request, templates=programs.templates())
    with public_atomic():
        started = service.start_draft(draft_id=draft.pk, request=request, requested_by=requested_by, at=at)
        if started and wake:
            transaction.on_commit(lambda: _wake(draft.pk), using=PUBLIC)
    return Onboarding.objects.get(pk=draft.pk)


def onboard(*, onboarding_id: UUID, at: datetime, progress: Progress = lambda words: None) -> Onboarded:
    """
    Carry an onboarding to its end; it is `failed` when something went wrong, and back to `waiting` without a schema.

    Does nothing when another has it, or it is over. `progress` is told each step.
    """
    wanted = service.begin(onboarding_id=onboarding_id, at=at)
    if wanted is None:
        return Onboarded(Onboarding.objects.get(pk=onboarding_id))
    try:
        return _carry(wanted, at=at, progress=progress)
    except Exception as error:
        # One that took so long that another took over has no say any more.
        with suppress(service.OnboardingTakenOver):
            _end(wanted, error)
    return Onboarded(Onboarding.objects.get(pk=onboarding_id))


def _end(wanted: Onboarding, error: Exception) -> None:
    """Write down how an onboarding without a client ended."""
    if isinstance(error, schemas.NoSpareSchema):
        service.put_back(wanted)
    elif isinstance(error, OnboardingRefused):
        service.fail(wanted, words=" ".join(error.problems.values()))
    else:
        log.error("onboarding.failed", onboarding=str(wanted.pk), exc_info=error)
        service.fail(wanted, words=_("Something went wrong on our side. It has been written down."))


def _carry(wanted: Onboarding, *, at: datetime, progress: Progress) -> Onboarded:
    request = ClientRequest(**wanted.request)
    _reach(wanted, CHECK, progress)
    service.check(request, templates=programs.templates())
    _reach(wanted, CLAIM, progress)
    schema_name = _claim(at=at)
    try:
        client = service.new_client(provider=wanted.provider, request=request, schema_name=schema_name, at=at)
        _reach(wanted, TEMPLATE, progress)
        with use_client(client), transaction.atomic(using=CLIENT):
            programs.apply_template(template=request.template, at=at, by=wanted.requested_by)
        _reach(wanted, ADMIT, progress)
        host, token = _admit(client, wanted=wanted, request=request, at=at)
    except BaseException:
        _give_up(schema_name)
        raise
    _reach(wanted, INVITE, progress)
    link = url_on(host, f"/invitation/{token}/") if token else ""
    missed = "" if not token or mail_owner(client=client, email=request.owner_email, link=link) else NOT_MAILED
    service.finish(wanted, step=READY, words=str(missed))
    progress(str(STEPS[READY]))
    return Onboarded(wanted, client, host, url_on(host), link)


def _claim(*, at: datetime) -> str:
    """A spare schema, made first where none is left and this process may. :raises NoSpareSchema: if it may not"""
    try:
        return _claim_ready(at=at)
    except schemas.NoSpareSchema:
        if OWNER not in connections:
            raise
    schemas.refill_spares(target=1, at=at)
    return _claim_ready(at=at)


def _claim_ready(*, at: datetime) -> str:
    with transaction.atomic(using=PUBLIC, durable=True):
        return schemas.claim_spare(at=at)


def _admit(client: Client, *, wanted: Onboarding, request: ClientRequest, at: datetime) -> tuple[str, str]:
    """Its host and the token of the owner's invitation, if there is an owner to invite."""
    with public_atomic():
        host = service.admit(client, onboarding=wanted, request=request, at=at)
        if not request.owner_email:
            return host, ""
        actor, by = service.actor_of(wanted), wanted.requested_by
        return host, service.invite(
            client=client, email=request.owner_email, role=Role.OWNER, invited_by=by, actor=actor, at=at
        )


def _give_up(schema_name: str) -> None:
    """Drop a schema that came to nothing, where this process may; else the refilling worker does."""
    if OWNER in connections:
        try:
            schemas.drop_schema(schema_name)
        except Exception:
            log.exception("onboarding.schema_left", schema=schema_name)


def _reach(wanted: Onboarding, step: int, progress: Progress) -> None:
    service.reach(wanted, step=step)
    progress(str(STEPS[step]))


def _wake(onboarding_id: UUID) -> None:
    from loyalty_saas.tasks import onboard as task

    workers.send_once(task=task, name=f"onboard:{onboarding_id}", seconds=60, onboarding_id=str(onboarding_id))
