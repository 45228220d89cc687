"""How allauth behaves here: nobody signs up alone, people come by invitation and keep their second factor."""

import base64
import hashlib
import time
from typing import Any

import structlog
from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.authentication import get_authentication_records
from allauth.core import context
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest
from django.urls import reverse

from loyalty_saas.passwords import needs_second_factor
from tenants.queries import primary_url, url_on

logger = structlog.get_logger(__name__)

FRESH_SECONDS = 300


class AccountAdapter(DefaultAccountAdapter):
    """Sign-in only; addresses in mails name our own hosts, and limits count people, not hosts."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        """The address of the connection; a header counts only where ``TRUSTED_PROXIES`` says how many wrote it."""
        forwarded = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",") if part.strip()]
        if 0 < settings.TRUSTED_PROXIES <= len(forwarded):
            return str(forwarded[-settings.TRUSTED_PROXIES])
        return str(request.META.get("REMOTE_ADDR") or "unknown")

    def get_reset_password_from_key_url(self, key: str) -> str:
        """The link on the client's verified host or the platform's, whatever the request called it."""
        path = reverse("account_reset_password_from_key", kwargs={"uidb36": "UID", "key": "KEY"})
        path = path.replace("UID-KEY", key)
        client = getattr(self.request, "client", None)
        return primary_url(client, path) if client else url_on(settings.PLATFORM_HOST, path)

    def is_reauthentication_required(self, *, app: str, **kwargs: Any) -> bool:
        """A password typed at sign-in minutes ago need not be typed again to set up the second factor."""
        records = get_authentication_records(context.request, context.request.user)
        fresh = any(time.time() - record["at"] < FRESH_SECONDS for record in records if record["method"] == "password")
        return not fresh and super().is_reauthentication_required(app=app, **kwargs)

    def add_message(
        self, request: HttpRequest, level: int, message_template: str | None = None, *args: Any, **kwargs: Any
    ) -> None:
        """Allauth's messages, but for the one that only says what everybody sees: that they are signed in."""
        if message_template != "account/messages/logged_in.txt" or level > messages.SUCCESS:
            super().add_message(request, level, message_template, *args, **kwargs)

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Send a mail; a server that does not take it is noted and not told, or it would tell who has an account."""
        try:
            super().send_mail(template_prefix, email, context)
        except OSError:
            logger.exception("mail_not_sent", template=template_prefix)

    def format_email_subject(self, subject: str) -> str:
        return str(subject)

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        # Without the host: guessing at a hundred clients' hosts must not give a hundred times the tries.
        return str(credentials.get("email", "")).lower()


class SecondFactorAdapter(DefaultMFAAdapter):
    """Secrets of authenticator apps are sealed in the database; roles that need a second factor keep theirs."""

    def encrypt(self, text: str) -> str:
        return _seal().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        return _seal().decrypt(encrypted_text.encode()).decode()

    def can_delete_authenticator(self, authenticator: Authenticator) -> bool:
        return not needs_second_factor(authenticator.user)


def _seal() -> MultiFernet:
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return MultiFernet(
        [Fernet(base64.urlsafe_b64encode(hashlib.sha256(f"second-factor:{key}".encode()).digest())) for key in keys]
    )
