"""Log lines name the client and nobody's person."""

import pytest

from loyalty_saas.logs import bare_path, name_client
from tenants.models import Client


@pytest.mark.parametrize(
    ("path", "logged"),
    [
        ("/api/v1/members/ana@example.com/balance", "/api/v1/members/…/balance"),
        ("/api/v1/members/+4915112345678", "/api/v1/members/…"),
        ("/invitation/3fT9-secret-Token/", "/invitation/…/"),
        (
            "/api/v1/purchases/01a203a9-7ba9-7616-9820-4584f715ebb8",
            "/api/v1/purchases/01a203a9-7ba9-7616-9820-4584f715ebb8",
        ),
        ("/accounts/login/", "/accounts/login/"),
    ],
)
def test_path_is_logged_without_what_may_be_personal(path: str, logged: str) -> None:
    assert bare_path(path) == logged


def test_line_names_the_client_it_is_written_in(acme: Client) -> None:
    assert name_client(None, "info", {"event": "x"})["client"] == acme.schema_name


def test_line_outside_any_client_says_public() -> None:
    assert name_client(None, "info", {"event": "x"})["client"] == "public"


def test_line_of_a_task_keeps_the_client_the_task_named(acme: Client) -> None:
    assert name_client(None, "info", {"event": "x", "client": "c_other"})["client"] == "c_other"
