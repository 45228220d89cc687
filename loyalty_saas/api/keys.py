"""The Idempotency-Key at the door: read from the header, bound to caller and route, its answer given again."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _
from rest_framework.response import Response

from loyalty_saas.api.base import ApiRequest, Body, in_order, plain
from loyalty_saas.api.problems import Problem
from members.services import idempotency
from members.services.idempotency import Answer
from members.services.purchases import Key

_WRITTEN = re.compile(r"[ -~]{1,255}")


def key_of(request: ApiRequest, *, route: str, about: Any = None) -> Key:
    """
    The caller's key for a request to `route`, `about` being what its path names.

    :raises Problem: if there is none, or it is not 1 to 255 printable characters
    """
    written = request.META.get("HTTP_IDEMPOTENCY_KEY", "")
    if not _WRITTEN.fullmatch(written):
        words = _("Send an Idempotency-Key of 1 to 255 printable ASCII characters.")
        raise Problem("key_missing", words, field="Idempotency-Key")
    body = {"about": str(about), "body": request.data} if about is not None else request.data
    return Key.of(caller=str(request.auth.pk), route=route, key=written, body=body)


def once(
    request: ApiRequest, *, route: str, at: datetime, work: Callable[[Key], Body], status: int = 201, about: Any = None
) -> Answer:
    """Do the work of a request once for its key; `work` is told the key, to make its own effect unique with."""
    key = key_of(request, route=route, about=about)
    return idempotency.once(key=key, status=status, at=at, work=lambda: plain(work(key)))


def respond(answer: Answer) -> Response:
    """The answer, marked if it was given before."""
    headers = {"Idempotency-Replayed": "true"} if answer.replayed else None
    return Response(in_order(answer.body), status=answer.status, headers=headers)
