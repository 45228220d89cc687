"""A pytest plugin of `make prove`: takes down how each proof ended and how long it took, and keeps to the time there is."""

import json
import os
import time
from collections.abc import Iterator

import pytest

from tests.proof.record import requirement_of, write_line

_UNTIL = time.monotonic() + 60 * float(os.environ.get("PROVE_MINUTES", "inf"))
NO_TIME = "the minutes given were used up"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Note what is there to be proved, so that what is not reached is told."""
    for item in items:
        _note("found", item.nodeid)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin nothing more once the time is used up."""
    # Never in the suite, which has no such limit; the page of the proof then says of this one that it was not reached.
    if time.monotonic() > _UNTIL:
        pytest.skip(NO_TIME)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: "pytest.CallInfo[None]") -> Iterator[None]:
    """How a part of a test ended."""
    report = yield
    _note("ended", item.nodeid, part=report.when, outcome=report.outcome, seconds=round(report.duration, 2))
    return report  # type: ignore[return-value]


def _note(kind: str, test: str, **told: object) -> None:
    write_line(json.dumps({"kind": kind, "test": test, "requirement": requirement_of(test), **told}))
