"""What the visitor of the console may see: a page asks here before it looks anything up."""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from uuid import UUID

from django.db.models import QuerySet
from django.http import Http404
from django.utils import timezone

from loyalty_saas.console import figures
from loyalty_saas.faces import PlatformRequest
from tenants.access import Actor
from tenants.context import public_atomic
from tenants.models import Client, Onboarding, Provider
from tenants.services import audit

STAFF = (Actor.PLATFORM, Actor.PROVIDER)


@dataclass
class Scope:
    """The providers and clients of one visitor, at one moment."""

    request: PlatformRequest
    at: datetime

    @property
    def actor(self) -> str:
        """The visitor, as the audit names him."""
        return f"user:{self.request.user.pk}"

    @property
    def is_operator(self) -> bool:
        """Whether the visitor runs the whole platform."""
        return Actor.PLATFORM in self.request.standing.actors

    @cached_property
    def providers(self) -> QuerySet[Provider]:
        """The houses the visitor works for, all for the operator."""
        return figures.providers_of(user=self.request.user, standing=self.request.standing, at=self.at)

    @cached_property
    def houses(self) -> list[Provider]:
        """The same, looked up."""
        return list(self.providers)

    @property
    def clients(self) -> QuerySet[Client]:
        """Their clients that are not closed."""
        return figures.clients_of(self.providers)

    @property
    def onboardings(self) -> QuerySet[Onboarding]:
        """Clients on their way in, newest first."""
        mine = Onboarding.objects.filter(provider__in=self.providers).exclude(state=Onboarding.State.DONE)
        return mine.select_related("provider").order_by("-requested_at")

    def client(self, client_id: UUID) -> Client:
        """One of the clients. :raises Http404: for any other"""
        found = Client.objects.filter(provider__in=self.providers, pk=client_id).select_related("provider").first()
        if found is None:
            raise Http404
        return found

    def house(self, slug: str = "") -> Provider:
        """The provider of that short name, else the first. :raises Http404: for one the visitor may not see"""
        found = [one for one in self.houses if one.slug == slug] if slug else self.houses
        if not found:
            raise Http404
        return found[0]

    def note(
        self,
        *,
        action: str,
        subject: str,
        client: Client | None = None,
        provider: Provider | None = None,
        **detail: object,
    ) -> None:
        """An event in the audit trail of a client, or of the platform for a provider."""
        known = {**detail, **({"provider": str(provider.pk)} if provider else {})}
        with public_atomic():
            audit.record(action=action, actor=self.actor, subject=subject, client=client, detail=known, at=self.at)


def scope_of(request: PlatformRequest) -> Scope:
    """What the visitor may see now."""
    return Scope(request, timezone.now())
