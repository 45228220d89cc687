"""Machines with API keys: they speak JSON to the API of one host."""

import json
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from tenants.context import public_atomic
from tenants.models import ApiKey, Client, Provider
from tenants.queries import key_of_prefix
from tenants.services.api_keys import CLIENT_SCOPES, PROVIDER_SCOPES, issue_key
from tests.http import ClientBrowser

API = "/api/v1"


@dataclass
class Answer:
    """What came back: the status, the body read as JSON, and as it came."""

    status: int
    body: Any
    raw: bytes
    headers: Any

    def __getitem__(self, name: str) -> Any:
        return self.body[name]

    @property
    def code(self) -> str:
        """Which problem it is."""
        return str(self.body["code"])

    @property
    def fields(self) -> list[str]:
        """Which fields it names."""
        return [error["field"] for error in self.body.get("errors", [])]


class Machine:
    """A caller with a key of its own (or `token`), on the host of `at` (None: the platform's)."""

    def __init__(
        self,
        at: Client | None,
        *,
        provider: Provider | None = None,
        scopes: Collection[str] | None = None,
        key: ApiKey | None = None,
        token: str | None = None,
    ) -> None:
        self.at, self.key, self.token = at, key, token
        if token is None:
            self.key, self.token = new_key(client=None if provider else at, provider=provider, scopes=scopes)
        self.browser = ClientBrowser(at, raise_request_exception=True)

    def send(self, method: str, path: str, body: Any = None, *, key: str | None = "new", **headers: str) -> Answer:
        """
        A request to ``/api/v1`` + `path`; `body` is JSON unless it is bytes.

        `key` is the Idempotency-Key: a new one unless given, none if None.
        """
        extra: dict[str, Any] = {f"HTTP_{name.upper()}": value for name, value in headers.items()}
        if key is not None and method in {"POST", "PUT", "PATCH"}:
            extra["HTTP_IDEMPOTENCY_KEY"] = secrets.token_hex(8) if key == "new" else key
        if self.token:
            extra.setdefault("HTTP_AUTHORIZATION", f"Bearer {self.token}")
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        given: dict[str, Any] = {"content_type": "application/json"} if body is not None else {}
        given |= {"content_type": extra.pop("HTTP_CONTENT_TYPE")} if "HTTP_CONTENT_TYPE" in extra else {}
        response = self.browser.generic(method, API + path, data, **given, **extra)
        is_json = "json" in response.headers.get("Content-Type", "")
        read = json.loads(response.content) if is_json and response.content else None
        return Answer(response.status_code, read, response.content, response.headers)

    def get(self, path: str, **given: Any) -> Answer:
        """GET."""
        return self.send("GET", path, **given)

    def post(self, path: str, body: Any = None, **given: Any) -> Answer:
        """POST, with a new Idempotency-Key unless one is given."""
        return self.send("POST", path, body, **given)


def new_key(
    *, client: Client | None = None, provider: Provider | None = None, scopes: Collection[str] | None = None
) -> tuple[ApiKey, str]:
    """A key with all scopes that there are for such a one, unless some are given, and its token."""
    every = PROVIDER_SCOPES if provider else CLIENT_SCOPES
    with public_atomic():
        return issue_key(
            name="till", scopes=every if scopes is None else scopes, client=client, provider=provider, at=timezone.now()
        )


def bind(machine: Machine, *, location_id: Any) -> Machine:
    """The machine, whose key is for one location from now on."""
    ApiKey.objects.filter(pk=machine.key.pk if machine.key else None).update(location_id=location_id)
    key_of_prefix.forget()
    return machine
