"""The mail that invites somebody to a client's staff."""

import structlog
from django.conf import settings
from django.core.mail import send_mail
from django.utils import translation
from django.utils.translation import gettext as _

from tenants.models import Client, Role
from tenants.services.invitations import INVITATION_LASTS

log = structlog.get_logger(__name__)


def mail_staff(*, client: Client, email: str, role: Role, link: str) -> bool:
    """Send the link, in the client's language; whether that could be done."""
    with translation.override(client.language):
        subject = _("You are invited to %(name)s") % {"name": client.name}
        body = _(
            "Hello,\n\nyou have been invited to the loyalty program of %(name)s as %(role)s.\n"
            "Choose your password here:\n\n%(link)s\n\nThe link works once, for %(days)d days.\n"
        ) % {"name": client.name, "role": role.label, "link": link, "days": INVITATION_LASTS.days}
    try:
        send_mail(subject, body, settings.DEFAULT_FROM_EMAIL, [email])
    except OSError:
        log.exception("invitation.mail_not_sent", client=client.schema_name)
        return False
    return True
