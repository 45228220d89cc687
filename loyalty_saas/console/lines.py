"""The clients as lines of a list: their figures, what is wrong at each, and what to do about it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.db.models import Exists, OuterRef, QuerySet, Subquery
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from loyalty_saas.console import ledger
from loyalty_saas.console.figures import Span, kept, newest_days, share, sums_by_client
from loyalty_saas.console.troubles import Trouble
from tenants.models import Client, Domain, Invitation, KpiDay, Role, RoleGrant, WaitingClient
from tenants.queries import url_on

QUIET_DAYS: Final = 3
WAITING_TOO_LONG: Final = timedelta(minutes=5)
COUNTED_TOO_LONG_AGO: Final = timedelta(hours=36)
UNINVITED_TOO_LONG: Final = timedelta(days=3)


@dataclass(frozen=True)
class ClientLine:
    """One client with its figures of a period."""

    client: Client
    host: str
    newest: KpiDay | None
    sums: dict[str, Any]
    last_sale_day: date | None
    troubles: tuple[Trouble, ...]

    @property
    def url(self) -> str:
        """The client's own address."""
        return url_on(self.host)

    @property
    def weight(self) -> int:
        """How badly it wants a person."""
        return max((trouble.weight for trouble in self.troubles), default=0)

    @property
    def name(self) -> str:
        """By which lists sort."""
        return self.client.name.casefold()

    @property
    def provider(self) -> str:
        """Whose client it is."""
        return self.client.provider.name

    @property
    def members(self) -> int:
        """Active members at the last count."""
        return self.newest.members if self.newest else 0

    @property
    def liability(self) -> int:
        """What members hold, as money."""
        return self.newest.liability if self.newest else 0

    @property
    def last_sale_at(self) -> datetime | None:
        """When something was last sold, where that was counted to the minute."""
        return self.newest.last_sale_at if self.newest else None

    @property
    def sold(self) -> date:
        """By which the last sale sorts."""
        return self.last_sale_day or date.min

    @property
    def since(self) -> datetime:
        """When it became a client."""
        return self.client.created_at

    @property
    def sales(self) -> int:
        """Sales of the period."""
        return int(self.sums.get("sales_now", 0))

    @property
    def revenue(self) -> int:
        """Revenue of the period."""
        return int(self.sums.get("revenue_now", 0))

    @property
    def repeat_share(self) -> float | None:
        """The share of revenue from members who had bought before."""
        return share(self.sums.get("repeat_now", 0), self.sums.get("revenue_now", 0))

    @property
    def repeat_change(self) -> float | None:
        """How that share moved against the period before."""
        before = share(self.sums.get("repeat_past", 0), self.sums.get("revenue_past", 0))
        return None if self.repeat_share is None or before is None else self.repeat_share - before

    @property
    def is_starting(self) -> bool:
        """Whether nothing has been sold yet."""
        return self.last_sale_day is None

    @property
    def status(self) -> str:
        """How it stands, in a word or two."""
        words = {4: _("Needs help"), 3: _("Needs help"), 2: _("At risk"), 1: _("To look at")}
        return words.get(self.weight) or (_("Starting") if self.is_starting else _("Healthy"))

    @property
    def badge(self) -> str:
        """The colour of that word."""
        found = {4: "badge-bad", 3: "badge-bad", 2: "badge-warn", 1: "badge-accent"}
        return found.get(self.weight) or ("" if self.is_starting else "badge-good")


def client_lines(*, clients: QuerySet[Client], span: Span, at: datetime) -> list[ClientLine]:
    """The clients, those in trouble first; five queries however many there are."""
    rows = list(_noted(clients).select_related("provider", "ledger_check"))
    sums = kept(
        what="sums", of=[row.pk for row in rows], span=span, count=lambda: sums_by_client(clients=clients, span=span)
    )
    newest = newest_days(clients)
    lines = [_line(client, sums.get(client.pk, {}), newest.get(client.pk), at=at) for client in rows]
    return sorted(lines, key=lambda line: (-line.weight, line.name))


def _noted(clients: QuerySet[Client]) -> QuerySet[Client]:
    """With what the public tables know of each beside its figures."""
    host = Domain.objects.filter(client=OuterRef("pk"), is_primary=True).values("host")[:1]
    since = WaitingClient.objects.filter(schema_name=OuterRef("schema_name")).values("since")[:1]
    invited = Invitation.objects.filter(client=OuterRef("pk"), role=Role.OWNER, accepted_at=None)
    return clients.annotate(
        host=Subquery(host),
        waiting_since=Subquery(since),
        owner_invited_at=Subquery(invited.order_by("-invited_at").values("invited_at")[:1]),
        has_owner=Exists(RoleGrant.objects.filter(client=OuterRef("pk"), role=Role.OWNER)),
    )


def _line(client: Client, sums: dict[str, Any], newest: KpiDay | None, *, at: datetime) -> ClientLine:
    last = _last_day(client, sums, newest)
    found = tuple(_troubles(client, newest, last, at=at))
    return ClientLine(client, getattr(client, "host", None) or "", newest, sums, last, found)


def _last_day(client: Client, sums: dict[str, Any], newest: KpiDay | None) -> date | None:
    """The local day of the last sale."""
    if newest and newest.last_sale_at:
        return newest.last_sale_at.astimezone(ZoneInfo(client.time_zone)).date()
    day: date | None = sums.get("last_day")
    return day


def _troubles(client: Any, newest: KpiDay | None, last: date | None, *, at: datetime) -> Iterable[Trouble]:
    if not client.is_open:
        yield _suspended(client)
        return
    yield from ledger.troubles(client, at=at)
    if client.waiting_since and at - client.waiting_since > WAITING_TOO_LONG:
        yield _waiting(at - client.waiting_since)
    if at - (newest.counted_at if newest else client.created_at) > COUNTED_TOO_LONG_AGO:
        yield Trouble(
            3,
            _("No figures have come in for more than a day."),
            _("Recount the figures on the client's page; if none come, look whether the workers run."),
        )
    quiet = (at.date() - last).days if last else 0
    if quiet >= QUIET_DAYS:
        yield _quiet(quiet)
    if newest and newest.parked:
        yield _parked(newest.parked)
    if client.owner_invited_at and not client.has_owner and at - client.owner_invited_at > UNINVITED_TOO_LONG:
        yield Trouble(
            1,
            _("The owner has not accepted the invitation."),
            _("Ask whether the mail arrived, and send it again from the client's page."),
        )


def _suspended(client: Client) -> Trouble:
    said = _("The program is suspended.")
    if client.closed_reason:
        said = _("The program is suspended: %(reason)s") % {"reason": client.closed_reason}
    return Trouble(2, said, _("Resume it on the client's page once that is settled."))


def _waiting(since: timedelta) -> Trouble:
    n = int(since.total_seconds() // 60)
    words = ngettext(
        "Purchases have been waiting for points for %(n)d minute.",
        "Purchases have been waiting for points for %(n)d minutes.",
        n,
    )
    return Trouble(
        3, words % {"n": n}, _("Nothing is lost: look whether the workers run; they take it up by themselves.")
    )


def _quiet(days: int) -> Trouble:
    words = ngettext("No sale for %(n)d day.", "No sale for %(n)d days.", days) % {"n": days}
    return Trouble(2, words, _("Call the shop: is it open, and does its till still send purchases?"))


def _parked(count: int) -> Trouble:
    words = ngettext("%(n)d return found no sale.", "%(n)d returns found no sale.", count) % {"n": count}
    return Trouble(1, words, _("The shop's manager can match or dismiss them under “Parked returns”."))
