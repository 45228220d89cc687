"""How a client's ledger stands: what waits, and whether the last proof of its books held."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from loyalty_saas.console.troubles import Trouble
from tenants.models import Client, KpiDay, LedgerCheck

PROVEN_TOO_LONG_AGO: Final = timedelta(hours=36)
_NAMED: Final = 2


@dataclass(frozen=True)
class Ledger:
    """One client's ledger as the console shows it; `set_aside` is known only where its books were looked into."""

    check: LedgerCheck | None
    waiting_since: datetime | None
    waiting: int
    set_aside: int | None = None

    @property
    def held(self) -> int:
        """How many laws held."""
        return self.check.checks - len(self.check.broken) if self.check else 0

    @property
    def broken(self) -> list[tuple[str, int]]:
        """The laws that did not hold, as sentences, and how many rows break each."""
        return broken_laws(self.check) if self.check else []


@dataclass(frozen=True)
class Ledgers:
    """The ledgers of all clients together."""

    clients: int
    proven: int
    sound: int
    broken: int
    oldest: datetime | None
    waiting: int
    waiting_since: datetime | None


def troubles(client: Any, *, at: datetime) -> Iterator[Trouble]:
    """What is wrong with the books of a client whose last proof is at hand."""
    check: LedgerCheck | None = getattr(client, "ledger_check", None)
    if check and check.broken:
        yield _does_not_add_up(check)
    if at - (check.checked_at if check else client.created_at) > PROVEN_TOO_LONG_AGO:
        yield Trouble(
            2,
            _("The books have not been proven for more than a day."),
            _("Have them proven on the client's page; if nothing comes, look whether the workers run."),
        )


def broken_laws(check: LedgerCheck) -> list[tuple[str, int]]:
    """The laws that did not hold, in the viewer's language, those with most rows first."""
    return [(_(name), rows) for name, rows in sorted(check.broken.items(), key=lambda one: (-one[1], one[0]))]


def together(lines: Iterable[Any], *, at: datetime) -> Ledgers:
    """The ledgers of these clients (lines of the list) in sum; no query."""
    rows = [line for line in lines if line.client.is_open]
    checks: Sequence[LedgerCheck] = [c for line in rows if (c := getattr(line.client, "ledger_check", None))]
    fresh = [check for check in checks if at - check.checked_at <= PROVEN_TOO_LONG_AGO]
    since = [line.client.waiting_since for line in rows if line.client.waiting_since]
    return Ledgers(
        clients=len(rows),
        proven=len(fresh),
        sound=sum(not check.broken for check in fresh),
        broken=sum(bool(check.broken) for check in checks),
        oldest=min((check.checked_at for check in checks), default=None),
        waiting=sum(line.newest.waiting for line in rows if line.newest),
        waiting_since=min(since, default=None),
    )


def of_line(line: Any) -> Ledger:
    """A client's ledger from public rows alone."""
    newest: KpiDay | None = line.newest
    check = getattr(line.client, "ledger_check", None)
    return Ledger(check, line.client.waiting_since, newest.waiting if newest else 0)


def looked_into(client: Client, *, waiting_since: datetime | None, waiting: int, set_aside: int) -> Ledger:
    """A client's ledger with what was counted in its own books just now."""
    check = LedgerCheck.objects.filter(client=client).first()
    return Ledger(check, waiting_since, waiting - set_aside, set_aside)


def _does_not_add_up(check: LedgerCheck) -> Trouble:
    laws = broken_laws(check)
    named = "; ".join(words for words, _rows in laws[:_NAMED])
    more = len(laws) - _NAMED
    if more > 0:
        named = ngettext("%(named)s; and %(n)d more", "%(named)s; and %(n)d more", more) % {"named": named, "n": more}
    return Trouble(
        4,
        _("The books do not add up. This does not hold: %(laws)s.") % {"laws": named},
        _("Nothing is put right by itself: see what it is on the client's page, and call the developers."),
    )
