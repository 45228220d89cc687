"""Machines that speak HTTP to a live web server, alone or fifty at the same moment."""

import random
import secrets
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import requests

from tests.live import LiveBrowser
from tests.machines import API, new_key

RETRYABLE = {503, 409}


class Caller(LiveBrowser):
    """A machine with a key of its own on one client's host."""

    def __init__(self, client: Any, *, port: int, token: str | None = None) -> None:
        super().__init__(port=port, host=client.domains.get(is_primary=True).host)
        self.token = token or new_key(client=client)[1]
        self.headers["Authorization"] = f"Bearer {self.token}"
        self.client, self.port = client, port

    def twin(self, *, port: int | None = None) -> "Caller":
        """Another connection with the same key."""
        return Caller(self.client, port=port or self.port, token=self.token)

    def twin_with(self, token: str) -> "Caller":
        """Another machine, with this token."""
        return Caller(self.client, port=self.port, token=token)

    def ask(self, path: str) -> Any:
        """GET, as JSON."""
        answer = self.get(API + path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def tell(self, path: str, body: Any = None, *, key: str | None = "new") -> requests.Response:
        """POST, with a new Idempotency-Key unless one is given, or none if None."""
        headers = {} if key is None else {"Idempotency-Key": secrets.token_hex(8) if key == "new" else key}
        return self.post(API + path, json=body, headers=headers)

    def insist(self, path: str, body: Any, *, key: str, seconds: float = 60) -> tuple[requests.Response, list[Any]]:
        """POST again and again with the same key until it is answered; that answer, and those before it."""
        until, before = time.monotonic() + seconds, []
        while True:
            try:
                answer = self.tell(path, body, key=key)
            except requests.RequestException as error:
                before.append(type(error).__name__)
            else:
                # The refusals that mean «again» say so.
                if answer.status_code != 503 and "Retry-After" not in answer.headers:
                    return answer, before
                before.append(answer.status_code)
            assert time.monotonic() < until, f"No answer in {seconds} s: {before[-5:]}"
            time.sleep(random.random() * 0.1)


def at_once(deeds: Sequence[Callable[[], Any]], *, pool: ThreadPoolExecutor) -> list[Any]:
    """All at the same moment; the pool has a place for each."""
    start = Barrier(len(deeds))

    def run(deed: Callable[[], Any]) -> Any:
        start.wait(30)
        return deed()

    return [one.result(60) for one in [pool.submit(run, deed) for deed in deeds]]


def codes(answers: Sequence[requests.Response]) -> list[tuple[int, str | None]]:
    """The status of each answer, with its problem's code."""
    return [(one.status_code, one.json().get("code") if one.status_code >= 400 else None) for one in answers]
