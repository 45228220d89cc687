"""What several pages of the portal need."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import cached_property
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from babel.core import get_global
from django.core.paginator import Paginator
from django.db.models import F
from django.utils import timezone, translation

from loyalty_saas.faces import ClientRequest
from loyalty_saas.tables import Listing
from members.services.enrolment import normalise
from members.services.refusals import Refused
from programs.queries import NoProgram, ProgramInForce, program_in_force
from tenants.access import Actor
from tenants.context import public_atomic, use_client
from tenants.models import Client
from tenants.services import audit

PAGE = 25
MANAGERS = (Actor.OWNER, Actor.MANAGER)
PAGES = 400
"""As far as a long list is turned over; beyond it one filters."""

T = TypeVar("T")


def published() -> ProgramInForce | None:
    """The program in force, if one is."""
    try:
        return program_in_force()
    except NoProgram:
        return None


def note(request: ClientRequest, *, action: str, subject: str, detail: dict[str, Any] | None = None) -> None:
    """An event in the client's audit trail, by whoever asks."""
    with public_atomic():
        audit.record(
            action=action,
            actor=f"user:{request.user.pk}",
            subject=subject,
            detail=detail,
            client=request.client,
            at=timezone.now(),
        )


def is_manager(request: ClientRequest) -> bool:
    """Whether whoever asks looks after the shop."""
    return bool(request.standing.actors & set(MANAGERS))


def is_owner(request: ClientRequest) -> bool:
    """Whether the shop belongs to whoever asks."""
    return Actor.OWNER in request.standing.actors


def zone_of(client: Client) -> ZoneInfo:
    """Where the shop's days begin and end."""
    return ZoneInfo(client.time_zone)


def region_of(client: Client) -> str:
    """The country whose phone numbers may be written without a country code: that of the client's time zone."""
    return str(get_global("zone_territories").get(client.time_zone) or "ZZ")


def asked_text(request: ClientRequest, name: str = "q") -> str:
    """What was typed into a search field, without what no text of ours contains."""
    return request.GET.get(name, "").strip()[:254].replace("\x00", "")


def phone_spellings(text: str, client: Client) -> tuple[str, ...]:
    """The text as a phone number with its country code, if it can be one."""
    if sum(c.isdigit() for c in text) < 6:
        return ()
    try:
        return (normalise(kind="phone", value=text, region=region_of(client)),)
    except Refused:
        return ()


def standing_in(client: Client, rows: Iterable[T]) -> Iterator[T]:
    """Rows read in the client, by its hours and in the visitor's language, also when the request is over."""
    language = translation.get_language()

    def within() -> Iterator[T]:
        with use_client(client), timezone.override(client.time_zone), translation.override(language):
            yield from rows

    return within()


class LongListing(Listing):
    """A list of any length: unknown figures come last, and it is turned over so many pages and no more."""

    @property
    def rows(self) -> Any:
        """All rows in order."""
        down, key = self.sort.startswith("-"), self.sort.removeprefix("-")
        names = next((column.order for column in self.columns if column.key == key), ())
        order = [F(n).desc(nulls_last=True) if down else F(n).asc(nulls_last=True) for n in names]
        return self._rows.order_by(*order, "-pk" if down else "pk")

    @cached_property
    def page(self) -> Any:
        """The page asked for, the nearest there is otherwise."""
        return LongPaginator(self.rows, self._size).get_page(self._request.GET.get("page"))


class LongPaginator(Paginator):  # type: ignore[type-arg]
    """Pages up to a limit, with the whole count beside them."""

    @cached_property
    def num_pages(self) -> int:
        """How many pages can be turned."""
        return min(super().num_pages, PAGES)

    @property
    def is_cut(self) -> bool:
        """Whether there is more than can be turned over."""
        return self.count > PAGES * self.per_page


def local_midnight(day: Any, client: Client) -> datetime:
    """The instant at which a day begins at the shop."""
    return datetime(day.year, day.month, day.day, tzinfo=zone_of(client))
