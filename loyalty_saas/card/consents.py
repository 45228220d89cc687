"""By which channels a member may be written to: the newest word counts, and each word stays in the books."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from members.models import Consent, Member
from members.services.enrolment import record_consents

TEXT_VERSION: Final = "card-2026-11"
"""The version of the words beside the switches: a change of them is a new version."""
EVERYTHING: Final = "marketing"
CHANNELS: Final[dict[str, tuple[str | Promise, str | Promise, str]]] = {
    "marketing_email": (gettext_lazy("E-mail"), gettext_lazy("Offers and news by e-mail"), "mail"),
    "marketing_sms": (gettext_lazy("SMS"), gettext_lazy("Offers and news by text message"), "message-circle"),
    "marketing_post": (gettext_lazy("Post"), gettext_lazy("Offers and news by letter"), "send"),
}


@dataclass(frozen=True)
class Switch:
    """One thing a member can allow or withdraw."""

    purpose: str
    name: str | Promise
    words: str | Promise
    icon: str
    granted: bool
    since: datetime | None


def switches_of(member_id: UUID) -> list[Switch]:
    """A switch for each channel, and for whatever else the member has allowed, so that it can be withdrawn here."""
    newest = _newest(Consent.objects.filter(member_id=member_id).order_by("id"))
    general = newest.get(EVERYTHING)
    channels = [_channel(purpose, _later(newest.get(purpose), general)) for purpose in CHANNELS]
    return channels + [
        Switch(purpose, purpose.replace("_", " ").capitalize(), _("Allowed elsewhere"), "check", True, said.at)
        for purpose, said in newest.items()
        if purpose not in CHANNELS and purpose != EVERYTHING and said.granted
    ]


def turn(*, member: Member, purpose: str, granted: bool, at: datetime) -> bool:
    """Keep what a member says now; whether that is a change. Unknown purposes can only be withdrawn."""
    now = {switch.purpose: switch.granted for switch in switches_of(member.pk)}
    if now.get(purpose, granted) == granted:
        return False
    record_consents(member=member, consents={purpose: granted}, text_version=TEXT_VERSION, source="card", at=at)
    return True


def _newest(rows: Iterable[Consent]) -> dict[str, Consent]:
    return {row.purpose: row for row in rows}


def _later(own: Consent | None, general: Consent | None) -> Consent | None:
    """A word for all channels counts for each until one of its own comes later."""
    said: Sequence[Consent] = [one for one in (own, general) if one]
    return max(said, key=lambda one: one.pk, default=None)


def _channel(purpose: str, said: Consent | None) -> Switch:
    name, words, icon = CHANNELS[purpose]
    return Switch(purpose, name, words, icon, bool(said and said.granted), said.at if said else None)
