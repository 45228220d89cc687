"""What every page's frame shows: the house, its way around, and who is signed in."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from loyalty_saas import branding
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
    _place("portal:rewards", gettext_lazy("Rewards"), "ticket", *_MANAGERS, Actor.PROVIDER, Actor.CLERK),
    _place("portal:liability", gettext_lazy("Liability"), "wallet", *_MANAGERS),
    _place("portal:staff", gettext_lazy("Staff and tills"), "user-cog", *_MANAGERS),
    _place("portal:parked", gettext_lazy("Parked returns"), "undo-2", *_MANAGERS),
    _place("portal:approvals", gettext_lazy("Approvals"), "shield-check", *_MANAGERS),
    _place("portal:imports", gettext_lazy("Import"), "upload", *_MANAGERS),
    _place("machines:overview", gettext_lazy("Machines"), "plug", *_MANAGERS, Actor.PROVIDER),
    _place("portal:settings", gettext_lazy("Settings"), "settings", *_MANAGERS),
]
PLATFORM_PLACES = [
    _place("console:overview", gettext_lazy("Overview"), "layout-dashboard", Actor.PLATFORM, Actor.PROVIDER),
    _place("console:clients", gettext_lazy("Clients"), "store", Actor.PLATFORM, Actor.PROVIDER),
    _place("console:team", gettext_lazy("Team"), "users", Actor.PLATFORM, Actor.PROVIDER),
    _place("console:activity", gettext_lazy("Activity"), "scroll-text", Actor.PLATFORM, Actor.PROVIDER),
    _place("console:settings", gettext_lazy("Settings"), "settings", Actor.PLATFORM, Actor.PROVIDER),
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

    @cached_property
    def brand(self) -> branding.Look:
        """The colours, the typeface and the logo of these pages."""
        return branding.look_of(client=self.client, provider=None if self.client else self._only_provider)

    @cached_property
    def search_url(self) -> str:
        """Where the search of these pages is, or nothing where the visitor has none."""
        route, actors = (
            ("portal:search", _MANAGERS) if self.client else ("console:search", {Actor.PLATFORM, Actor.PROVIDER})
        )
        return reverse(route) if self._standing.actors & actors else ""

    @property
    def search_words(self) -> str:
        """What the search looks for."""
        return _("Search members, receipts, pages") if self.client else _("Search clients, people, pages")

    @property
    def search_hint(self) -> str:
        """What can be typed there."""
        if self.client:
            return _("A name, phone, e-mail, card or receipt number.")
        return _("A client's name or address, somebody's e-mail, or a page.")

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

    @property
    def _provider(self) -> str:
        return self._only_provider.name if self._only_provider else _("Loyalty")

    @cached_property
    def _only_provider(self) -> Provider | None:
        user = getattr(self._request, "user", None)
        if user is None or not user.is_authenticated or Actor.PLATFORM in self._standing.actors:
            return None
        found = list(Provider.objects.filter(grants__user=user).distinct()[:2])
        return found[0] if len(found) == 1 else None

    @property
    def _standing(self) -> Standing:
        standing: Standing = getattr(self._request, "standing", _NOBODY)
        return standing


def face(request: HttpRequest) -> dict[str, Any]:
    """``face`` in every template."""
    return {"face": Face(request)}
