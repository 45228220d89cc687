"""Who may call what: every route and task declares it, and one that does not is refused."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

V = TypeVar("V", bound=Callable[..., Any])


class Actor(StrEnum):
    """Everyone who can knock."""

    ANYONE = "anyone"
    SIGNED_IN = "signed_in"
    PLATFORM = "platform"
    PROVIDER = "provider"
    OWNER = "owner"
    MANAGER = "manager"
    CLERK = "clerk"
    MACHINE = "machine"
    # Not users: an enrolled till, a clerk who unlocked it with a PIN, a member whose card is open on a phone.
    DEVICE = "device"
    TILL = "till"
    MEMBER = "member"


@dataclass(frozen=True)
class Access:
    """The actors a route admits; for machines, the scope each HTTP method asks for."""

    actors: frozenset[Actor]
    scopes: dict[str, str] = field(default_factory=dict)

    def admits(self, actors: Iterable[Actor]) -> bool:
        """Whether any of `actors` may pass."""
        return bool(self.actors & set(actors))


class Undeclared(Exception):
    """A route or task that does not say who may call it."""


def admits(*actors: Actor, **scopes: str) -> Callable[[V], V]:
    """Declare on a view who may call it: ``@admits(Actor.OWNER)``, ``@admits(Actor.MACHINE, GET="members:read")``."""

    def declare(view: V) -> V:
        view.access = Access(frozenset(actors), scopes)  # type: ignore[attr-defined]
        return view

    return declare


def access_of(view: Any, *, name: str | None = None, others: dict[str, Access] | None = None) -> Access:
    """
    The declaration of a resolved view; `others` speaks for views of libraries, by route name.

    :raises Undeclared: if there is none
    """
    for holder in (view, getattr(view, "cls", None), getattr(view, "view_class", None)):
        access = getattr(holder, "access", None)
        if isinstance(access, Access):
            return access
    if others and name in others:
        return others[name]
    raise Undeclared(name or repr(view))
