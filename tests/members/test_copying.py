"""Rows sent by COPY while they are being made."""

from collections.abc import Iterator

import pytest
from django.db import IntegrityError, connections, transaction

from members.copying import copy_lines
from tenants.models import Client
from tenants.routers import CLIENT

TABLE, COLUMNS = "members_rulebudget", ("rule_code", "used")


def copy(lines: Iterator[str]) -> None:
    with transaction.atomic(), connections[CLIENT].cursor() as cursor:
        copy_lines(cursor=cursor, table=TABLE, columns=COLUMNS, lines=lines)


def kept() -> int:
    with connections[CLIENT].cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {TABLE}")
        count: int = cursor.fetchone()[0]
        return count


@pytest.mark.usefixtures("acme")
@pytest.mark.parametrize("rows", [0, 1, 99, 100, 101, 5000])
def test_all_rows_arrive_however_many_there_are(rows: int) -> None:
    copy(f"r{n}\t{n}" for n in range(rows))

    assert kept() == rows


@pytest.mark.usefixtures("acme")
@pytest.mark.parametrize("at", [0, 99, 100, 4000])
def test_what_their_maker_raises_comes_out_as_it_was_and_nothing_is_kept(at: int) -> None:
    """As psycopg2 tells it, it would look as if the database had been away."""

    def failing() -> Iterator[str]:
        for n in range(5000):
            if n == at:
                raise LookupError("poison")
            yield f"r{n}\t{n}"

    with pytest.raises(LookupError, match="poison"):
        copy(failing())
    assert kept() == 0


@pytest.mark.usefixtures("acme")
def test_what_the_database_refuses_is_its_own_error() -> None:
    with pytest.raises(IntegrityError):
        copy(f"r{n % 4000}\t{n}" for n in range(5000))
    assert kept() == 0


def test_a_maker_who_asks_the_database_meanwhile_fails_and_nothing_is_kept(acme: Client) -> None:
    def asking() -> Iterator[str]:
        for n in range(5000):
            if n == 4000:
                kept()
            yield f"r{n}\t{n}"

    with pytest.raises(Exception, match=r"."):
        copy(asking())
    assert kept() == 0
