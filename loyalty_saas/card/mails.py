"""The mail with the link to a card, sent beside the answer, whose time tells nobody whether an address is known."""

from concurrent.futures import Future, ThreadPoolExecutor
from email.utils import formataddr, parseaddr
from typing import Any, Final

import structlog
from django.conf import settings
from django.core.mail import EmailMessage, get_connection
from django.db import connections
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone, translation

from loyalty_saas.card.speaking import fitting, languages_of
from members.models import CardLink, Identifier, Identity, Member
from members.services.cards import make_link
from members.services.enrolment import normalise
from members.services.refusals import Refused
from tenants.context import use_client
from tenants.models import Client
from tenants.queries import primary_url

logger = structlog.get_logger(__name__)

# Not a task: an address must not stand in a queue, and a link must come without Redis too.
POST: Final = ThreadPoolExecutor(max_workers=1, thread_name_prefix="card-mail")
PATIENCE_SECONDS: Final = 10


def mail_link(*, client: Client, address: str, language: str) -> Future[bool]:
    """Send a member of that address the link; the answer, whether somebody has it, is for nobody's eyes."""
    return POST.submit(_work, client, address, language)


def _work(client: Client, address: str, language: str) -> bool:
    try:
        with use_client(client):
            return _send(client=client, address=address, language=language)
    except Exception:
        logger.exception("card_mail_not_sent")
        return False
    finally:
        connections.close_all()


def _send(*, client: Client, address: str, language: str) -> bool:
    member = _member_of(address)
    if member is None:
        return False
    token = make_link(member_id=member.pk, way=CardLink.Way.MAIL, at=timezone.now())
    said = {"house": client.name, "link": primary_url(client, reverse("card:open", args=[token]))}
    with translation.override(_language(client=client, member=member, asked_in=language)):
        _mail(client=client, address=address, said=said)
    return True


def _mail(*, client: Client, address: str, said: dict[str, Any]) -> None:
    name, sender = client.name.replace("\n", " ").replace("\r", " "), parseaddr(settings.DEFAULT_FROM_EMAIL)[1]
    subject = " ".join(render_to_string("card/mail/subject.txt", said).split())
    text = render_to_string("card/mail/text.txt", said)
    EmailMessage(
        subject,
        text,
        from_email=formataddr((name, sender)),
        to=[address],
        connection=get_connection(timeout=PATIENCE_SECONDS) if _is_smtp() else None,
    ).send()


def _is_smtp() -> bool:
    return str(settings.EMAIL_BACKEND).endswith("smtp.EmailBackend")


def _member_of(address: str) -> Member | None:
    try:
        value = normalise(kind=Identifier.Kind.EMAIL, value=address, region="")
    except Refused:
        return None
    found = Identifier.objects.select_related("member").filter(kind=Identifier.Kind.EMAIL, value=value).first()
    return found.member if found and found.member.status != Member.Status.CLOSED else None


def _language(*, client: Client, member: Member, asked_in: str) -> str:
    among = languages_of(client)
    own = Identity.objects.filter(pk=member.merged_into_id or member.pk).values_list("language", flat=True).first()
    return fitting(own or "", among=among) or fitting(asked_in, among=among) or among[0]
