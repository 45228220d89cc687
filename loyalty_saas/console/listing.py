"""The table of clients: tabs, a text filter, order, pages and the export, all by the address."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Final
from uuid import UUID

from babel.numbers import get_currency_precision
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from loyalty_saas.console.figures import Span, trends
from loyalty_saas.console.lines import ClientLine
from loyalty_saas.console.troubles import AT_RISK
from loyalty_saas.tables import Column, Listing
from tenants.models import Onboarding

PAGE: Final = 25
_BEGIN: Final = "-trouble"

EXPORTED: Final = [
    Column("name", gettext_lazy("Client"), ("name",), value=lambda line: line.client.name),
    Column("provider", gettext_lazy("Provider"), ("provider",), value=lambda line: line.provider),
    Column("trade", gettext_lazy("Trade"), value=lambda line: line.client.get_trade_display()),
    Column("address", gettext_lazy("Address"), value=lambda line: line.url),
    Column("since", gettext_lazy("Client since"), ("since",), value=lambda line: line.since.date().isoformat()),
    Column("members", gettext_lazy("Members"), ("members",), value=lambda line: line.members),
    Column("sales", gettext_lazy("Sales"), ("sales",), value=lambda line: line.sales),
    Column("currency", gettext_lazy("Currency"), value=lambda line: line.client.currency),
    Column("revenue", gettext_lazy("Revenue"), ("revenue",), value=lambda line: _plain(line.revenue, line)),
    Column("repeat", gettext_lazy("Repeat share"), ("repeat_share",), value=lambda line: _plain_share(line)),
    Column("liability", gettext_lazy("Liability"), ("liability",), value=lambda line: _plain(line.liability, line)),
    Column("trouble", gettext_lazy("Status"), ("weight",), value=lambda line: line.status),
    Column("why", gettext_lazy("Why"), value=lambda line: " ".join(trouble.words for trouble in line.troubles)),
    Column("sold", gettext_lazy("Last sale"), ("sold",), value=lambda line: _last_sale(line)),
]


@dataclass(frozen=True)
class Tab:
    """One choice of which clients to show."""

    key: str
    words: str
    count: int
    is_open: bool
    url: str


class ClientTable:
    """What the address asks to see of the clients; the full one shows more columns."""

    def __init__(
        self,
        request: HttpRequest,
        *,
        lines: Sequence[ClientLine],
        onboardings: Sequence[Onboarding],
        span: Span,
        full: bool,
        several_houses: bool,
    ) -> None:
        self._request, self.all, self.onboardings, self.span = request, lines, onboardings, span
        self.full, self.several_houses = full, several_houses

    @cached_property
    def show(self) -> str:
        """Which tab is open."""
        asked = self._request.GET.get("show", "")
        return asked if asked in {"risk", "onboarding"} else ""

    @cached_property
    def query(self) -> str:
        """What to look for in names and addresses."""
        return self._request.GET.get("q", "").strip()[:100]

    @property
    def tabs(self) -> list[Tab]:
        """All, those at risk, those on their way in."""
        starting = sum(line.is_starting for line in self.all)
        counts = [
            ("", _("All"), len(self.all)),
            ("risk", _("At risk"), sum(line.weight >= AT_RISK for line in self.all)),
            ("onboarding", _("Onboarding"), starting + len(self.onboardings)),
        ]
        return [Tab(key, words, n, key == self.show, self._url(key)) for key, words, n in counts]

    @cached_property
    def lines(self) -> list[ClientLine]:
        """The clients of the tab in which the text is found."""
        wanted = self.query.casefold()
        return [line for line in self.all if self._is_in_tab(line) and (not wanted or _says(line, wanted))]

    @cached_property
    def listing(self) -> Listing:
        """The lines in order, by pages."""
        return Listing(self._request, self.lines, columns=self._columns, default=_BEGIN, size=PAGE)

    @cached_property
    def rows(self) -> list[tuple[ClientLine, list[float]]]:
        """The lines of the page with their trends."""
        page = list(self.listing.page)
        drawn: dict[UUID, list[float]] = trends(client_ids=[line.client.pk for line in page], span=self.span)
        return [(line, drawn[line.client.pk]) for line in page]

    @property
    def export(self) -> Listing:
        """The same lines with all that is known of them."""
        return Listing(self._request, self.lines, columns=EXPORTED, default=_BEGIN)

    @property
    def export_url(self) -> str:
        """The address of the export."""
        return self._url(self.show, keep=("q", "sort", "days"), format="csv")

    @property
    def _columns(self) -> list[Column]:
        period = self.span.period
        more = [
            Column("sales", gettext_lazy("Sales"), ("sales",), figure=True),
            Column("revenue", gettext_lazy("Revenue"), ("revenue",), figure=True),
        ]
        return [
            Column("name", gettext_lazy("Client"), ("name",)),
            Column("members", gettext_lazy("Members"), ("members",), figure=True),
            *(more if self.full else []),
            Column("repeat", gettext_lazy("Repeat share"), ("repeat_share",), figure=True),
            Column("liability", gettext_lazy("Liability"), ("liability",), figure=True),
            *([] if self.full else [Column("trend", period.table)]),
            Column("trouble", gettext_lazy("Status"), ("weight",)),
            Column("sold", gettext_lazy("Last sale"), ("sold",)),
            Column("more", format_html('<span class="sr-only">{}</span>', _("Actions"))),
        ]

    def _is_in_tab(self, line: ClientLine) -> bool:
        if self.show == "risk":
            return line.weight >= AT_RISK
        return line.is_starting if self.show == "onboarding" else True

    def _url(self, show: str, keep: tuple[str, ...] = ("q", "sort", "days"), **more: str) -> str:
        query = self._request.GET.copy()
        for name in set(query) - set(keep):
            del query[name]
        query.update({**({"show": show} if show else {}), **more})
        return f"?{query.urlencode()}"


def _says(line: ClientLine, wanted: str) -> bool:
    """Whether a text stands in the client's name, short name, address or provider's name."""
    return any(wanted in text.casefold() for text in (line.name, line.client.slug, line.host, line.provider))


def _plain(minor: int, line: ClientLine) -> Decimal:
    """Money as a number for spreadsheets."""
    return Decimal(minor).scaleb(-get_currency_precision(line.client.currency))


def _plain_share(line: ClientLine) -> object:
    return None if line.repeat_share is None else round(line.repeat_share, 4)


def _last_sale(line: ClientLine) -> str:
    return line.last_sale_at.isoformat(timespec="minutes") if line.last_sale_at else str(line.last_sale_day or "")
