"""What needs a person first, and for a new shop what to do next."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from loyalty_saas.templatetags.loyalty import ago, number
from members import queries
from members.models import ImportJob, Member
from programs.models import Clerk, Device, Program

QUIET: Final = timedelta(days=3)
RECENT: Final = timedelta(days=7)


@dataclass(frozen=True)
class Matter:
    """One thing that wants a person, the gravest first: 3 now, 2 today, 1 this week."""

    weight: int
    icon: str
    words: str
    note: str
    url: str
    button: str

    @property
    def css(self) -> str:
        """The colour of its dot."""
        return {3: "dot-bad", 2: "dot-warn"}.get(self.weight, "dot-accent")


@dataclass(frozen=True)
class Step:
    """One thing a new shop does, and whether it is done."""

    words: str
    note: str
    url: str
    is_done: bool


def matters(*, has_program: bool, newest_sale: datetime | None, at: datetime) -> list[Matter]:
    """All that wants a person, the gravest first."""
    found = [*_program(has_program), *_purchases(newest_sale, at), *_approvals(at), *_tills(at), *_imports(at)]
    return sorted(found, key=lambda matter: -matter.weight)


def program_matters(*, has_program: bool) -> list[Matter]:
    """What there is to say about the program alone, to those who look after no members."""
    return list(_program(has_program))


def _program(has_program: bool) -> Iterator[Matter]:
    address = reverse("portal:program")
    if not has_program:
        words = _("No program is published yet, so purchases earn nothing.")
        yield Matter(3, "gift", words, "", address, _("Publish it"))
    draft = Program.objects.filter(status=Program.Status.DRAFT).only("edited_at").first()
    if draft is not None and has_program:
        note = _("Last changed %(when)s.") % {"when": ago(draft.edited_at)} if draft.edited_at else ""
        yield Matter(1, "pencil", _("A draft of the program is not published."), note, address, _("Look at it"))


def _purchases(newest_sale: datetime | None, at: datetime) -> Iterator[Matter]:
    if parked := queries.parked_returns().count():
        words = ngettext(
            "%(n)s return found no sale and waits for you.", "%(n)s returns found no sale and wait for you.", parked
        )
        yield Matter(2, "undo-2", words % {"n": number(parked)}, "", reverse("portal:parked"), _("Look at them"))
    if stuck := queries.set_aside().count():
        words = ngettext("%(n)s purchase could not be credited.", "%(n)s purchases could not be credited.", stuck)
        note = _("They failed three times; your provider sees them too.")
        address = reverse("portal:set_aside")
        yield Matter(3, "triangle-alert", words % {"n": number(stuck)}, note, address, _("Look at them"))
    if newest_sale is not None and at - newest_sale > QUIET:
        days = (at - newest_sale).days
        words = ngettext("No purchase for %(n)s day.", "No purchases for %(n)s days.", days) % {"n": number(days)}
        note = _("Is the shop closed, or is a till not connected any more?")
        yield Matter(2, "shopping-bag", words, note, reverse("portal:staff"), _("Tills"))


def _approvals(at: datetime) -> Iterator[Matter]:
    if waiting := queries.requests_waiting(at=at).count():
        words = ngettext(
            "%(n)s correction waits for a second person.", "%(n)s corrections wait for a second person.", waiting
        )
        yield Matter(2, "shield-check", words % {"n": number(waiting)}, "", reverse("portal:approvals"), _("Decide"))


def _tills(at: datetime) -> Iterator[Matter]:
    silent = list(Device.objects.filter(revoked_at=None, seen_at__lt=at - QUIET).order_by("seen_at")[:20])
    if silent:
        words = ngettext("%(n)s till has not been seen for 3 days.", "%(n)s tills have not been seen for 3 days.",
                         len(silent))  # fmt: skip
        note = ", ".join(device.name for device in silent[:3])
        yield Matter(1, "tablet", words % {"n": number(len(silent))}, note, reverse("portal:staff"), _("Tills"))


def _imports(at: datetime) -> Iterator[Matter]:
    failed = ImportJob.objects.filter(state=ImportJob.State.FAILED, started_at__gte=at - RECENT).order_by("-pk").first()
    if failed is not None:
        words = _("A file could not be read to its end.")
        address = reverse("portal:import_job", args=[failed.pk])
        yield Matter(2, "upload", words, failed.name, address, _("See why"))


def first_steps(*, has_program: bool, has_sale: bool) -> list[Step]:
    """What a new shop does until its first purchase, in order."""
    staff = reverse("portal:staff")
    return [
        Step(
            _("Publish the program"),
            _("What members earn, and what they get for it."),
            reverse("portal:program"),
            has_program,
        ),
        Step(
            _("Add somebody who works at the till"),
            _("A name and a PIN are enough."),
            staff,
            Clerk.objects.filter(left_at=None).exists(),
        ),
        Step(
            _("Make a tablet or computer a till"),
            _("With a code that is typed in once."),
            staff,
            Device.objects.filter(revoked_at=None).exists(),
        ),
        Step(
            _("Take in the first member"),
            _("At the till, or here."),
            reverse("portal:new_member"),
            Member.objects.filter(status=Member.Status.ACTIVE).exists(),
        ),
        Step(
            _("Record the first purchase"),
            _("At the till, by your cash register's connection, or with a file."),
            reverse("portal:imports"),
            has_sale,
        ),
    ]
