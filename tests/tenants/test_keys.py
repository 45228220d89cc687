"""Ids made one after the other ascend, whatever the clock says."""

import pytest
import time_machine

from tenants import keys
from tenants.keys import uuid7, uuid7_above


def test_ids_ascend_though_the_clock_stands_still() -> None:
    with time_machine.travel("2026-06-17T12:00:00Z", tick=False):
        made = [uuid7() for _ in range(10_000)]
    assert made == sorted(made)
    assert {one.version for one in made} == {7}


def test_an_id_lies_above_one_of_a_clock_that_is_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    with time_machine.travel("2100-01-01T00:00:00Z", tick=False):
        made = [uuid7()]
    monkeypatch.setattr(keys, "_last_tick", 0)
    assert uuid7() < made[0]
    for _ in range(5000):
        made.append(uuid7_above(made[-1].int))
    assert made == sorted(set(made))
    assert {(one.version, one.variant) for one in made} == {(7, "specified in RFC 4122")}
    # The clock of this process is as it was.
    assert uuid7() < made[0]


def test_an_id_above_an_older_one_is_of_this_moment() -> None:
    older = uuid7()
    assert uuid7_above(older.int) > older
    assert uuid7_above(0).int >> 80 >= older.int >> 80
