"""The audit trail in words: who did what, where."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from django.db.models import Q, QuerySet
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from loyalty_saas.console.scope import Scope
from tenants.models import ApiKey, AuditEvent, Role, User

SAID: Final[dict[str, str | Promise]] = {
    "api_key.issued": gettext_lazy("Made an API key"),
    "api_key.revoked": gettext_lazy("Revoked an API key"),
    "books.proof_asked": gettext_lazy("Had the books proven"),
    "client.onboarded": gettext_lazy("Took the client in"),
    "client.resumed": gettext_lazy("Resumed the program"),
    "client.suspended": gettext_lazy("Suspended the program"),
    "figures.recounted": gettext_lazy("Had the figures counted again"),
    "import.started": gettext_lazy("Started an import"),
    "invitation.accepted": gettext_lazy("Accepted an invitation"),
    "invitation.renewed": gettext_lazy("Sent an invitation again"),
    "invitation.sent": gettext_lazy("Sent an invitation"),
    "invitation.withdrawn": gettext_lazy("Withdrew an invitation"),
    "members.closed": gettext_lazy("Ended a membership"),
    "members.merged": gettext_lazy("Merged two members"),
    "onboarding.discarded": gettext_lazy("Discarded a client being added"),
    "onboarding.started": gettext_lazy("Started to set a client up"),
    "onboarding.reopened": gettext_lazy("Tried again to add a client"),
    "parked_return.dismissed": gettext_lazy("Dismissed a parked return"),
    "points.adjusted": gettext_lazy("Adjusted points"),
    "program.published": gettext_lazy("Published the program"),
    "program.replay_started": gettext_lazy("Tried a draft on real purchases"),
    "program.replay_stopped": gettext_lazy("Stopped trying a draft"),
    "provider.changed": gettext_lazy("Changed the provider's name or look"),
    "team.removed": gettext_lazy("Removed somebody from the team"),
}
KINDS: Final[list[tuple[str, str | Promise]]] = [
    ("client", gettext_lazy("Clients")),
    ("onboarding", gettext_lazy("Adding clients")),
    ("program", gettext_lazy("Programs")),
    ("points", gettext_lazy("Points")),
    ("members", gettext_lazy("Members")),
    ("books", gettext_lazy("Books")),
    ("invitation", gettext_lazy("Invitations")),
    ("team", gettext_lazy("Team")),
    ("api_key", gettext_lazy("API keys")),
    ("import", gettext_lazy("Imports")),
    ("provider", gettext_lazy("Settings")),
]


@dataclass(frozen=True)
class EventLine:
    """One event in words."""

    event: AuditEvent
    actor: str
    words: str
    about: str

    @property
    def where(self) -> str:
        """The client, or nothing for the platform."""
        return self.event.client.name if self.event.client else ""


def events_of(scope: Scope) -> QuerySet[AuditEvent]:
    """The events that the visitor may see, newest first."""
    mine = Q(client__provider__in=scope.providers)
    houses = [str(house.pk) for house in scope.houses]
    ours = Q(client=None) if scope.is_operator else Q(client=None, detail__provider__in=houses)
    return AuditEvent.objects.filter(mine | ours).select_related("client").order_by("-id")


def by_actor(text: str) -> Q:
    """Events by people whose name or e-mail holds a text."""
    people = User.objects.filter(Q(name__icontains=text) | Q(email__icontains=text)).values_list("pk", flat=True)
    return Q(actor__in=[f"user:{key}" for key in people[:200]])


def lines(events: Iterable[AuditEvent]) -> list[EventLine]:
    """Events in words; the names of people and keys are looked up together."""
    found = list(events)
    names = _names([event.actor for event in found])
    return [
        EventLine(event, names.get(event.actor) or _other(event.actor), said(event), _about(event)) for event in found
    ]


def said(event: AuditEvent) -> str:
    """What was done."""
    known = SAID.get(event.action)
    return str(known) if known else event.action.replace(".", " ").replace("_", " ").capitalize()


def _about(event: AuditEvent) -> str:
    """What it was done to, or why, as far as that tells a reader something."""
    detail: dict[str, Any] = event.detail
    subject = "" if _is_id(event.subject) else event.subject
    role = str(dict(Role.choices).get(str(detail.get("role", "")), ""))
    parts = [subject, role, str(detail.get("name", "")), str(detail.get("reason", ""))]
    return " · ".join(dict.fromkeys(part for part in parts if part))


def _names(actors: Sequence[str]) -> dict[str, str]:
    """People by name and keys by name: one query of each kind at most."""
    ids = {actor.removeprefix("user:") for actor in actors if actor.startswith("user:")}
    prefixes = {actor.removeprefix("key:") for actor in actors if actor.startswith("key:")}
    people = User.objects.filter(pk__in=[one for one in ids if _is_id(one)])
    keys = ApiKey.objects.filter(prefix__in=prefixes)
    found = {f"user:{one.pk}": str(one) for one in people} if ids else {}
    return found | ({f"key:{one.prefix}": _("Key “%(name)s”") % {"name": one.name} for one in keys} if prefixes else {})


def _other(actor: str) -> str:
    words = {"command": _("Command line"), "user": _("Somebody who is gone"), "key": _("A key that is gone")}
    return words.get(actor.partition(":")[0]) or actor


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
