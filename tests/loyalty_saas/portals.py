"""What the tests of the portal share: reading a page, owners and managers before it, and having shown who one is."""

import csv
import re
from typing import Any

from tenants.access import Actor
from tenants.models import Client
from tests.http import ClientBrowser
from tests.loyalty_saas.shops import counted_queries
from tests.people import PASSWORD, browser, person


def words(answer: Any) -> str:
    """What a page says, without its tags, in one line."""
    body = re.sub(r"<(script|style|svg).*?</\1>", " ", answer.content.decode(), flags=re.DOTALL)
    plain = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))
    return plain.replace("&#x27;", "'").replace("&amp;", "&").replace("\xa0", " ").replace("\u202f", " ")


def at_portal(client: Client, role: str = Actor.OWNER) -> ClientBrowser:
    """The portal, open before somebody of that role."""
    return browser(client, person(role, client=client))


def show_who(page: ClientBrowser) -> None:
    """Type the password once more."""
    answer = page.post("/accounts/reauthenticate/", {"password": PASSWORD})
    assert answer.status_code == 302, words(answer)


def file_of(answer: Any) -> list[list[str]]:
    """The rows of a CSV download."""
    text = b"".join(answer.streaming_content).decode("utf-8-sig")
    return list(csv.reader(text.splitlines()))


def cost(page: ClientBrowser, address: str, **given: Any) -> int:
    """
    How many queries a page takes once the process knows the house.

    Who a host is and how it looks is remembered for a second, which may end between two requests: the least counts.
    """
    counts = []
    for _time in range(3):
        with counted_queries() as so_far:
            page.get(address, given)
        counts.append(so_far())
    return min(counts)
