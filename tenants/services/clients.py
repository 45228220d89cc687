"""A client's program rests and goes on."""

from datetime import datetime

from tenants.models import Client
from tenants.queries import client_of_host
from tenants.services import audit


class ClientClosed(Exception):
    """The client is closed for good, or until its schema is mended."""


def suspend_client(*, client: Client, actor: str, reason: str, at: datetime) -> Client:
    """
    Close a client's doors until it is resumed; again changes nothing. Runs in the caller's transaction.

    :raises ClientClosed: if it is closed
    """
    return _change(client, to=Client.Status.SUSPENDED, action="client.suspended", actor=actor, reason=reason, at=at)


def resume_client(*, client: Client, actor: str, at: datetime, reason: str = "") -> Client:
    """
    Open a suspended client's doors; again changes nothing. Runs in the caller's transaction.

    :raises ClientClosed: if it is closed
    """
    return _change(client, to=Client.Status.ACTIVE, action="client.resumed", actor=actor, reason=reason, at=at)


def _change(client: Client, *, to: Client.Status, action: str, actor: str, reason: str, at: datetime) -> Client:
    held = Client.objects.select_for_update().get(pk=client.pk)
    if held.status == Client.Status.CLOSED:
        raise ClientClosed(held.slug)
    if held.status == to:
        return held
    held.status, held.closed_reason = to, reason[:200] if to == Client.Status.SUSPENDED else ""
    held.save(update_fields=["status", "closed_reason"])
    audit.record(action=action, actor=actor, client=held, subject=held.slug, detail={"reason": reason}, at=at)
    client_of_host.forget()
    return held


def change_house(*, client: Client, name: str, languages: list[str], actor: str, at: datetime) -> Client:
    """Give a client another name or other languages, in the caller's transaction over the public tables."""
    held = Client.objects.select_for_update().get(pk=client.pk)
    before = {"name": held.name, "languages": held.languages}
    held.name, held.languages = name, languages
    held.save(update_fields=["name", "languages"])
    detail = {"before": before, "after": {"name": name, "languages": languages}}
    audit.record(action="client.changed", actor=actor, client=held, subject=held.slug, detail=detail, at=at)
    client_of_host.forget()
    return held
