"""After an answer has gone out: a line in the shop's log of it, and when its key was last used. Neither can fail it."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import structlog
from django.db.models import Q
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone
from rest_framework.request import Request

from loyalty_saas.api.masking import kept_path, kept_query, kept_text
from members.services import api_requests
from members.services.api_requests import Asked
from tenants.context import client_connection, use_client
from tenants.keys import uuid7
from tenants.models import ApiKey, Client

log = structlog.get_logger(__name__)

REQUEST_ID: Final = "Request-Id"
# The last use is told to the minute: writing it with every request would cost a row version each.
USED_EVERY: Final = timedelta(minutes=1)
# Without a key anyone can knock: so many lines a minute each process keeps of them.
MOST_STRANGERS: Final = 60


class _Strangers:
    """How many requests without a good key were kept in this minute."""

    def __init__(self) -> None:
        self._minute, self._kept = 0, 0

    def may_be_kept(self) -> bool:
        """Whether one more fits."""
        minute = int(time.monotonic() // 60)
        if minute != self._minute:
            self._minute, self._kept = minute, 0
        self._kept += 1
        return self._kept <= MOST_STRANGERS


_strangers = _Strangers()


def attend(request: HttpRequest, response: HttpResponseBase, *, view: Any, began: float, at: datetime) -> None:
    """Give the answer an id, and have it written down once it is out of the house."""
    request_id = uuid7()
    response[REQUEST_ID] = str(request_id)
    structlog.contextvars.bind_contextvars(api_request=str(request_id))
    asked: Request = view.request
    key = getattr(asked, "_auth", None)
    client: Client | None = getattr(request, "client", None)
    milliseconds = round((time.perf_counter() - began) * 1000)

    def write() -> None:
        if isinstance(key, ApiKey):
            _quietly(lambda: _note_use(key, at=at))
        if client is not None and (key or _strangers.may_be_kept()):
            _quietly(lambda: _keep(client, request, response, asked, key, request_id, at=at, milliseconds=milliseconds))
        client_connection().forget_client()

    # Run when the server has sent the answer and closes it; until then the door leaves the client's role as it is.
    request.something_follows = client is not None  # type: ignore[attr-defined]
    response._resource_closers.append(write)  # type: ignore[attr-defined]


def _keep(
    client: Client,
    request: HttpRequest,
    response: Any,
    asked: Request,
    key: ApiKey | None,
    request_id: UUID,
    *,
    at: datetime,
    milliseconds: int,
) -> None:
    match = request.resolver_match
    known = bool(match and match.url_name != "elsewhere")
    answer = getattr(response, "data", None)
    asked_for = Asked(
        id=request_id,
        at=at,
        key_prefix=key.prefix if key else "",
        method=(request.method or "")[:7],
        path=kept_path(request.path, given=match.kwargs if match else {}, known=known),
        query=kept_query(request.META.get("QUERY_STRING", "")),
        status=response.status_code,
        milliseconds=milliseconds,
        body=kept_text(_body(asked)),
        answer=kept_text(answer),
        problem=str(answer.get("code", ""))[:60] if response.status_code >= 400 and isinstance(answer, dict) else "",
    )
    with use_client(client):
        api_requests.keep(asked_for)


def _body(asked: Request) -> Any:
    """What the parser made of the body, if it was read at all."""
    read = getattr(asked, "_full_data", None)
    return read if isinstance(read, dict) and read else None


def _note_use(key: ApiKey, *, at: datetime) -> None:
    if key.last_used_at is not None and at - key.last_used_at < USED_EVERY:
        return
    # The key is remembered for a second: it is told as well.
    key.last_used_at = at
    stale = Q(last_used_at=None) | Q(last_used_at__lt=at - USED_EVERY)
    ApiKey.objects.filter(stale, pk=key.pk).update(last_used_at=at)


def _quietly(work: Callable[[], None]) -> None:
    try:
        work()
    except Exception as error:
        log.warning("api.not_written_down", reason=type(error).__name__)


def now() -> tuple[datetime, float]:
    """The moment, and a clock that only goes forward."""
    return timezone.now(), time.perf_counter()
