"""The mails that carry an invitation's link."""

from typing import Final

import structlog
from django.conf import settings
from django.core.mail import send_mail
from django.utils import translation
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from tenants.models import Client, Provider
from tenants.services.invitations import INVITATION_LASTS

log = structlog.get_logger(__name__)

NOT_MAILED: Final = gettext_lazy("The invitation could not be mailed: send the owner a new one.")


def mail_owner(*, client: Client, email: str, link: str) -> bool:
    """Send the owner of a new client the link, in the client's language; whether that could be done."""
    with translation.override(client.language):
        subject = _("Your loyalty program %(name)s is ready") % {"name": client.name}
        body = _(
            "Hello,\n\nthe loyalty program of %(name)s has been set up for you.\n"
            "Choose your password here to look after it:\n\n%(link)s\n\nThe link works once, for %(days)d days.\n"
        ) % {"name": client.name, "link": link, "days": INVITATION_LASTS.days}
    return _send(subject, body, email, house=client.schema_name)


def mail_colleague(*, provider: Provider, email: str, link: str) -> bool:
    """Send somebody who is to work for a provider the link; whether that could be done."""
    subject = _("Look after loyalty programs at %(name)s") % {"name": provider.name}
    body = _(
        "Hello,\n\nyou have been invited to look after the loyalty programs of %(name)s.\n"
        "Choose your password here:\n\n%(link)s\n\nThe link works once, for %(days)d days.\n"
    ) % {"name": provider.name, "link": link, "days": INVITATION_LASTS.days}
    return _send(subject, body, email, house=provider.slug)


def _send(subject: str, body: str, email: str, *, house: str) -> bool:
    try:
        send_mail(subject, body, settings.DEFAULT_FROM_EMAIL, [email])
    except OSError:
        log.exception("invitation.mail_not_sent", house=house)
        return False
    return True
