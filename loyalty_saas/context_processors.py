"""What every page's frame shows: the house, its way around, and who is signed in."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from tenants.access import Actor
from tenants.models import Client, Provider
from tenants.queries import Standing, primary_url

_MANAGERS = {Actor.OWNER, Actor.MANAGER}
_NOBODY = Standing(frozenset())


@dataclass(frozen=True)
class Place:
    """One entry of the way around."""

    route: str
    words: str | Promise
    icon: str
    actors: frozenset[Actor]

    @property
    def url(self) -> str:
        """Its address."""
        return reverse(self.route)


def _place(route: str, words: str | Promise, icon: str, *actors: Actor) -> Place:
    return Place(route, words, icon, frozenset(actors))


CLIENT_PLACES = [
    _place("portal:overview", gettext_lazy("Overview"), "layout-dashboard", *_MANAGERS, Actor.PROVIDER),
    _place("portal:members", gettext_lazy("Members"), "users", *_MANAGERS, Actor.CLERK),
    _place("portal:program", gettext_lazy("Program"), "gift", *_MANAGERS, Actor.PROVIDER, Actor.CLERK),
    _place("portal:parked", gettext_lazy("Parked returns"), "undo-2", *_MANAGERS),
    _place("portal:imports", gettext_lazy("Import"), "upload", *_MANAGERS),
]
PLATFORM_PLACES = [
    _place("console:overview", gettext_lazy("Overview"), "layout-dashboard", Actor.PLATFORM, Actor.PROVIDER),
    _place("console:add_client", gettext_lazy("Add a client"), "plus", Actor.PLATFORM, Actor.PROVIDER),
]


class Face:
    """The frame of the pages on this host, for this visitor."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request
        self.client: Client | None = getattr(request, "client", None)

    @cached_property
    def places(self) -> list[Place]:
        """Where the visitor may go."""
        actors = self._standing.actors
        return [place for place in (CLIENT_PLACES if self.client else PLATFORM_PLACES) if place.actors & actors]

    @cached_property
    def homes(self) -> list[tuple[str, str]]:
        """The clients where somebody who came to the platform's host has a role, with their addresses."""
        user = getattr(self._request, "user", None)
        if self.client or user is None or not user.is_authenticated:
            return []
        mine = Client.objects.filter(grants__user=user).distinct().order_by("name")[:10]
        return [(client.name, primary_url(client)) for client in mine]

    @property
    def house(self) -> str:
        """Whose pages these are."""
        return self.client.name if self.client else self._provider

    @property
    def kind(self) -> str:
        """What these pages are."""
        return _("Loyalty program") if self.client else _("Loyalty operations")

    @property
    def role(self) -> str:
        """The widest role of the visitor here, in words."""
        words = {
            Actor.PLATFORM: _("Platform operator"),
            Actor.PROVIDER: _("Provider staff"),
            Actor.OWNER: _("Owner"),
            Actor.MANAGER: _("Manager"),
            Actor.CLERK: _("Clerk"),
        }
        return next((said for actor, said in words.items() if actor in self._standing.actors), "")

    @cached_property
    def _provider(self) -> str:
        user = getattr(self._request, "user", None)
        if user is None or not user.is_authenticated or Actor.PLATFORM in self._standing.actors:
            return _("Loyalty")
        names = list(Provider.objects.filter(grants__user=user).values_list("name", flat=True).distinct()[:2])
        return names[0] if len(names) == 1 else _("Loyalty")

    @property
    def _standing(self) -> Standing:
        standing: Standing = getattr(self._request, "standing", _NOBODY)
        return standing


def face(request: HttpRequest) -> dict[str, Any]:
    """``face`` in every template."""
    return {"face": Face(request)}
