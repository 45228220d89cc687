"""The public side of taking a client in: what may be asked for, how far it is, and the rows that make it a client."""

import hashlib
import re
import secrets
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import available_timezones

from babel.numbers import is_currency
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError
from django.db.models import Q
from django.utils.text import slugify
from django.utils.translation import gettext as _

from tenants.models import Client, Domain, Invitation, Onboarding, Provider, Role
from tenants.services import audit, schemas
from tenants.services.invitations import INVITATION_LASTS
from tenants.services.schemas import TAKEN_FOR

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}\.)+{_LABEL}")
_RESERVED = {"www", "api", "admin", "mail", "static", "console", "platform"}


class OnboardingRefused(Exception):
    """What was asked for cannot be; `problems` says why, field by field."""

    def __init__(self, problems: dict[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {words}" for name, words in problems.items()))
        self.problems = problems


@dataclass(frozen=True)
class ClientRequest:
    """Who is to become a client, and how its program starts."""

    name: str
    trade: str
    currency: str
    time_zone: str
    template: str
    languages: list[str] = field(default_factory=lambda: ["en"])
    slug: str = ""
    domain: str = ""
    owner_email: str = ""

    @property
    def host(self) -> str:
        """The domain as browsers ask for it: lower case, in ASCII."""
        try:
            return self.domain.strip().rstrip(".").lower().encode("idna").decode() if self.domain.strip() else ""
        except UnicodeError:
            return self.domain


def request_of(filled: Mapping[str, Any]) -> ClientRequest:
    """What a draft asks for so far; what is missing is empty, and :func:`check` will say so."""
    known = {one.name for one in fields(ClientRequest)}
    empty = {"name": "", "trade": "", "currency": "", "time_zone": "", "template": "", "languages": []}
    return ClientRequest(**{**empty, **{name: value for name, value in filled.items() if name in known}})


def check(request: ClientRequest, *, templates: Collection[str]) -> None:
    """Look at all that was asked for. :raises OnboardingRefused: naming every field that is wrong"""
    found = {
        "name": _name_problem(request.name),
        "trade": "" if request.trade in Client.Trade.values else _("This trade is not known."),
        "currency": "" if _is_currency(request.currency) else _("This is not a currency's code, such as EUR."),
        "time_zone": "" if request.time_zone in available_timezones() else _("This time zone is not known."),
        "languages": _languages_problem(request.languages),
        "template": "" if request.template in templates else _("There is no such template."),
        **address_problems(slug=request.slug, host=request.host),
        "owner_email": _email_problem(request.owner_email),
    }
    if problems := {name: words for name, words in found.items() if words}:
        raise OnboardingRefused(problems)


def address_problems(*, slug: str, host: str) -> dict[str, str]:
    """What is wrong with a short name and a domain, each empty where nothing is."""
    return {"slug": _slug_problem(slug), "domain": _domain_problem(host)}


def free_slug(name: str) -> str:
    """A short name after the business' name that no client has, nor the address it leads to."""
    wanted = slugify(name)[:40].strip("-") or "client"
    candidates = [wanted, *(f"{wanted}-{number}" for number in range(2, 20)), f"{wanted}-{secrets.token_hex(4)}"]
    return next(slug for slug in candidates if slug not in _RESERVED and not _is_taken(slug))


# ── how far it is ───────────────────────────────────────────────────────────────────────────────────────────────────


def note_request(*, provider: Provider, request: ClientRequest, requested_by: UUID | None, at: datetime) -> Onboarding:
    """Write down who is to be taken in."""
    return Onboarding.objects.create(
        provider=provider, request=asdict(request), requested_by=requested_by, requested_at=at
    )


def save_draft(
    *,
    provider: Provider,
    filled: Mapping[str, Any],
    step: int,
    requested_by: UUID | None,
    at: datetime,
    draft_id: UUID | None = None,
) -> Onboarding:
    """
    Keep what has been filled in so far; nobody carries a draft out. A new one is made without `draft_id`.

    :raises DraftGone: if it was started or discarded meanwhile
    """
    if draft_id is None:
        return Onboarding.objects.create(
            provider=provider,
            request=dict(filled),
            step=step,
            state=Onboarding.State.DRAFT,
            requested_by=requested_by,
            requested_at=at,
        )
    draft = Onboarding.objects.filter(pk=draft_id, state=Onboarding.State.DRAFT)
    if not draft.update(provider=provider, request=dict(filled), step=step, requested_at=at):
        raise DraftGone(str(draft_id))
    return Onboarding.objects.select_related("provider").get(pk=draft_id)


def start_draft(*, draft_id: UUID, request: ClientRequest, requested_by: UUID | None, at: datetime) -> bool:
    """
    Let a draft wait for a worker, in the caller's transaction over the public tables.

    False if it is no draft any more, so that starting twice starts once.
    """
    draft = Onboarding.objects.filter(pk=draft_id, state=Onboarding.State.DRAFT)
    started = draft.update(
        state=Onboarding.State.WAITING, request=asdict(request), step=0, requested_by=requested_by, requested_at=at
    )
    if started:
        asked = Onboarding.objects.get(pk=draft_id)
        audit.record(
            action="onboarding.started",
            actor=actor_of(asked),
            subject=request.name,
            detail={"provider": str(asked.provider_id)},
            at=at,
        )
    return bool(started)


def reopen(*, onboarding_id: UUID, step: int, at: datetime) -> bool:
    """Make a draft of one that failed, so that what was wrong can be put right; False if it did not fail."""
    failed = Onboarding.objects.filter(pk=onboarding_id, state=Onboarding.State.FAILED, client=None)
    return bool(failed.update(state=Onboarding.State.DRAFT, step=step, requested_at=at, begun_at=None))


def discard(onboarding: Onboarding, *, actor: str, at: datetime) -> bool:
    """
    Throw away a draft, or one that failed, in the caller's transaction; False if it is neither any more.

    The audit keeps whose it was.
    """
    states = [Onboarding.State.DRAFT, Onboarding.State.FAILED]
    gone, _kinds = Onboarding.objects.filter(pk=onboarding.pk, state__in=states, client=None).delete()
    if gone:
        audit.record(
            action="onboarding.discarded",
            actor=actor,
            subject=str(onboarding.request.get("name", ""))[:200],
            detail={"provider": str(onboarding.provider_id)},
            at=at,
        )
    return bool(gone)


class DraftGone(Exception):
    """The draft was started or discarded meanwhile."""


def begin(*, onboarding_id: UUID, at: datetime) -> Onboarding | None:
    """Take an onboarding up, or one that was begun and left; None if another has it, or it is over."""
    left = Q(state=Onboarding.State.RUNNING, begun_at__lt=at - TAKEN_FOR)
    free = Onboarding.objects.filter(Q(state=Onboarding.State.WAITING) | left, pk=onboarding_id)
    begun = free.update(state=Onboarding.State.RUNNING, step=0, error="", begun_at=at)
    return Onboarding.objects.select_related("provider").get(pk=onboarding_id) if begun else None


def unfinished(*, at: datetime) -> list[UUID]:
    """Onboardings that nobody has taken up, or that were begun and left."""
    left = Q(state=Onboarding.State.RUNNING, begun_at__lt=at - TAKEN_FOR)
    found = Onboarding.objects.filter(Q(state=Onboarding.State.WAITING) | left).order_by("requested_at")
    return list(found.values_list("pk", flat=True))


def reach(onboarding: Onboarding, *, step: int) -> None:
    """Say for all to see that it is at this step. :raises OnboardingTakenOver: if another has begun it anew"""
    _update(onboarding, step=step)


def put_back(onboarding: Onboarding) -> None:
    """Let it wait for a worker that can make schemas."""
    _update(onboarding, state=Onboarding.State.WAITING, step=0)


def fail(onboarding: Onboarding, *, words: str) -> None:
    """Say that it is over, and why."""
    _update(onboarding, state=Onboarding.State.FAILED, error=words)


def finish(onboarding: Onboarding, *, step: int, words: str = "") -> None:
    """Say that the client is there; `words` tell what could not be done for it."""
    _update(onboarding, state=Onboarding.State.DONE, step=step, error=words)


class OnboardingTakenOver(Exception):
    """It took so long that another has begun it anew."""


def _update(onboarding: Onboarding, **values: Any) -> None:
    mine = Onboarding.objects.filter(pk=onboarding.pk, state=Onboarding.State.RUNNING, begun_at=onboarding.begun_at)
    if not mine.update(**values):
        raise OnboardingTakenOver(str(onboarding.pk))
    for name, value in values.items():
        setattr(onboarding, name, value)


# ── the rows ────────────────────────────────────────────────────────────────────────────────────────────────────────


def new_client(*, provider: Provider, request: ClientRequest, schema_name: str, at: datetime) -> Client:
    """The client that this is going to be, not saved: enough to stand in its schema."""
    return Client(
        provider=provider,
        slug=request.slug or free_slug(request.name),
        name=request.name.strip(),
        schema_name=schema_name,
        trade=request.trade,
        currency=request.currency,
        time_zone=request.time_zone,
        languages=request.languages,
        template=request.template,
        created_at=at,
    )


def admit(client: Client, *, onboarding: Onboarding, request: ClientRequest, at: datetime) -> str:
    """
    Make it a client with its domain, in the caller's transaction over the public tables; the host it answers at.

    :raises OnboardingRefused: if its slug or domain was given away meanwhile
    :raises tenants.services.schemas.NoSpareSchema: if its schema was given up meanwhile
    """
    schemas.settle_claim(client.schema_name)
    host = request.host or f"{client.slug}.{settings.CLIENT_HOST_SUFFIX}"
    try:
        client.save(force_insert=True)
        Domain.objects.create(client=client, host=host)
    except IntegrityError as error:
        raise OnboardingRefused({"domain": _("The address was given away meanwhile.")}) from error
    _update(onboarding, client=client)
    audit.record(
        action="client.onboarded",
        actor=actor_of(onboarding),
        client=client,
        subject=client.slug,
        detail={"host": host, "template": client.template},
        at=at,
    )
    return host


def invite(*, client: Client, email: str, role: Role, invited_by: UUID | None, actor: str, at: datetime) -> str:
    """An invitation to that role, in the caller's transaction; the token of its link, which is kept nowhere."""
    token = secrets.token_urlsafe(32)
    invitation = Invitation.objects.create(
        email=email.lower(),
        role=role,
        client=client,
        token_hash=hashlib.sha256(token.encode()).hexdigest(),
        invited_by=invited_by,
        invited_at=at,
        expires_at=at + INVITATION_LASTS,
    )
    audit.record(
        action="invitation.sent", actor=actor, client=client, subject=str(invitation.pk), detail={"role": role}, at=at
    )
    return token


def actor_of(onboarding: Onboarding) -> str:
    """Who asked for it, as the audit names him."""
    return f"user:{onboarding.requested_by}" if onboarding.requested_by else "command"


# ── what may be asked for ───────────────────────────────────────────────────────────────────────────────────────────


def _name_problem(name: str) -> str:
    if not name.strip():
        return _("The business needs a name.")
    if len(name) > 100 or not name.isprintable():
        return _("A name is one line of at most 100 characters.")
    return ""


def _is_currency(code: str) -> bool:
    return bool(re.fullmatch(r"[A-Z]{3}", code)) and is_currency(code)


def _languages_problem(languages: list[str]) -> str:
    if not languages:
        return _("Choose at least one language.")
    known = dict(settings.LANGUAGES)
    unknown = ", ".join(str(language) for language in languages if language not in known)
    return _("These languages are not available: %(languages)s.") % {"languages": unknown} if unknown else ""


def _slug_problem(slug: str) -> str:
    if not slug:
        return ""
    if not re.fullmatch(_LABEL, slug) or len(slug) > 50:
        return _("A short name has at most 50 lower-case letters, digits and hyphens.")
    if slug in _RESERVED or _is_taken(slug):
        return _("This short name is taken.")
    return ""


def _domain_problem(host: str) -> str:
    if not host:
        return ""
    if len(host) > 253 or not _HOST.fullmatch(host):
        return _("This is not a host name, such as club.example.com.")
    label, _dot, above = host.partition(".")
    if host == settings.PLATFORM_HOST or host.endswith(f".{settings.PLATFORM_HOST}"):
        return _("This address belongs to the platform.")
    if Domain.objects.filter(host=host).exists() or (above == settings.CLIENT_HOST_SUFFIX and label in _RESERVED):
        return _("This address is taken.")
    return ""


def _email_problem(email: str) -> str:
    try:
        if email:
            validate_email(email)
    except ValidationError:
        return _("This is not an e-mail address.")
    return _("This e-mail address is too long.") if len(email) > 254 else ""


def _is_taken(slug: str) -> bool:
    host = f"{slug}.{settings.CLIENT_HOST_SUFFIX}"
    return Client.objects.filter(slug=slug).exists() or Domain.objects.filter(host=host).exists()
