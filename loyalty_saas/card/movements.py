"""The movements of a member's points, each with why, and the lines of the purchase behind it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.core.paginator import Page, Paginator
from django.db.models import Prefetch, QuerySet
from django.utils.translation import gettext as _

from loyalty_saas.portal.sentences import Line, source_of, statement_line
from members.models import LedgerEntry, PurchaseLine
from members.queries import entries_of, moved_together, movements_of, traces_of
from programs.queries import products_by_sku

PAGE = 25
_ICONS = {
    LedgerEntry.Kind.EARN: "circle-plus",
    LedgerEntry.Kind.REVERSE: "undo-2",
    LedgerEntry.Kind.SPEND: "gift",
    LedgerEntry.Kind.RESTORE: "rotate-ccw",
    LedgerEntry.Kind.EXPIRE: "hourglass",
    LedgerEntry.Kind.ADJUST: "pencil",
    LedgerEntry.Kind.MOVE: "merge",
}


@dataclass(frozen=True)
class Bought:
    """A line of a purchase, by the name of its product."""

    name: str
    line: PurchaseLine


@dataclass(frozen=True)
class Movement:
    """One movement as the card tells it."""

    line: Line
    bought: Sequence[Bought]

    @property
    def entry(self) -> LedgerEntry:
        """Its row."""
        return self.line.entry

    @property
    def title(self) -> str:
        """What it was, in few words: where one bought, or what else it was for."""
        return title_of(self.entry)

    @property
    def about(self) -> str:
        """What was bought, as far as a line of the phone goes."""
        return ", ".join(dict.fromkeys(one.name for one in self.bought if one.name))

    @property
    def icon(self) -> str:
        """Its drawing."""
        return _ICONS[LedgerEntry.Kind(self.entry.kind)]

    @property
    def has_reasons(self) -> bool:
        """Whether rules had a say in it."""
        return bool(self.line.counted or self.line.not_counted)


def page_of(*, member_id: UUID, number: str | None) -> tuple[Page[LedgerEntry], list[Movement]]:
    """A page of the member's movements, newest first."""
    page = Paginator(_about(movements_of(member_id)), PAGE).get_page(number)
    return page, told(page)


def last_of(*, member_id: UUID, count: int) -> list[Movement]:
    """The newest movements."""
    return told(_about(movements_of(member_id))[:count])


def one_of(*, member_id: UUID, entry_id: UUID) -> Movement | None:
    """One movement, if it is the member's."""
    return next(iter(told(_about(entries_of(member_id)).filter(pk=entry_id))), None)


def told(entries: Iterable[LedgerEntry]) -> list[Movement]:
    """Movements with their reasons and what was bought; as many queries for one as for fifty."""
    rows = list(entries)
    traces = traces_of([source for entry in rows if (source := source_of(entry))])
    names, together = _names(rows), moved_together(rows)
    return [Movement(statement_line(entry, traces, together), _bought(entry, names)) for entry in rows]


def title_of(entry: LedgerEntry) -> str:
    """What a movement was, for the one whose points moved."""
    if entry.purchase is not None:
        return _of_purchase(entry)
    if entry.activity is not None:
        return _of_activity(entry.activity.kind)
    if entry.kind == LedgerEntry.Kind.SPEND:
        hold = getattr(entry, "hold", None)
        issue = getattr(hold, "reward_issue", None)
        return issue.reward.name if issue else _("Reward")
    words = {
        LedgerEntry.Kind.RESTORE: _("Given back"),
        LedgerEntry.Kind.EXPIRE: _("Expired"),
        LedgerEntry.Kind.MOVE: _of_move(entry),
    }
    return words.get(LedgerEntry.Kind(entry.kind)) or entry.reason or _("Put right by hand")


def _of_purchase(entry: LedgerEntry) -> str:
    purchase = entry.purchase
    if purchase is None:
        return ""
    if purchase.kind == "void":
        return _("Purchase cancelled")
    if purchase.kind == "return":
        return _("Brought back")
    return purchase.location.name if purchase.location else _("Purchase")


def _of_move(entry: LedgerEntry) -> str:
    came, values = entry.amount > 0, {"number": getattr(entry, "other_number", None) or "–"}
    kind = entry.key.partition(":")[0]
    if kind == "transfer":
        return (_("From member %(number)s") if came else _("To member %(number)s")) % values
    if kind in {"pool", "back"}:
        words = _("From your household, member %(number)s") if came else _("To your household, member %(number)s")
        return words % values
    return _("From another card of yours") if came else _("To another card of yours")


def _of_activity(kind: str) -> str:
    words = {
        "sign_up": _("Welcome"),
        "birthday": _("Birthday"),
        "visit": _("Visit"),
        "trip": _("Trip"),
        "review": _("Review"),
    }
    return words.get(kind, kind.replace("_", " ").capitalize())


def _about(entries: QuerySet[LedgerEntry]) -> QuerySet[LedgerEntry]:
    lines = Prefetch("purchase__lines", PurchaseLine.objects.order_by("position"))
    about = ("purchase__location", "activity__location", "hold__reward_issue__reward")
    return entries.select_related(*about).prefetch_related(lines)


def _names(entries: Sequence[LedgerEntry]) -> dict[str, str]:
    skus = {line.sku for entry in entries if entry.purchase for line in entry.purchase.lines.all()}
    return {sku: str(product) for sku, product in products_by_sku(sorted(skus)).items()}


def _bought(entry: LedgerEntry, names: dict[str, str]) -> list[Bought]:
    if entry.purchase is None:
        return []
    return [Bought(names.get(line.sku, line.sku or line.category), line) for line in entry.purchase.lines.all()]
