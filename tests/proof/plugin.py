"""
A pytest plugin of `make prove`: takes down how each proof ended and how long it took, and keeps to the time there is.

For a test that says nothing of itself, its name speaks: what held, in how many cases or random examples; or, of a
negative control, what was broken.
"""

import json
import os
import re
import time
from collections.abc import Iterator

import pytest

from tests.proof.record import requirements_of, spoke, write_line

_UNTIL = time.monotonic() + 60 * float(os.environ.get("PROVE_MINUTES", "inf"))
NO_TIME = "the minutes given were used up"


_CONTROL = re.compile(r"_(negative_control|control|sees|catches|check_catches)_")
_EXAMPLES = re.compile(r"(\d+) passing examples")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Note what is there to be proved, so that what is not reached is told."""
    for item in session.items:
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
    if report.when == "teardown":
        _speak_for(item)
    return report  # type: ignore[return-value]


def _speak_for(item: pytest.Item) -> None:
    """What the name tells, where the test told nothing; the page leaves out what did not pass."""
    name = re.sub(r"^test_(r\d\d_)+", "", getattr(item, "originalname", None) or item.name)
    if control := _CONTROL.search(f"_{name}"):
        if (item.nodeid, "caught") not in spoke:
            which = getattr(getattr(item, "callspec", None), "id", "")
            broken = f"_{name}"[control.end() :].replace("_", " ")
            _note("caught", item.nodeid, broken=f"{broken} ({which})" if which else broken)
    elif (item.nodeid, "tried") not in spoke:
        examples = sum(map(int, _EXAMPLES.findall(getattr(item, "hypothesis_statistics", ""))))
        _note("held", item.nodeid, what=name.replace("_", " "), count=examples or 1, examples=bool(examples))


def _note(kind: str, test: str, **told: object) -> None:
    write_line(json.dumps({"kind": kind, "test": test, "requirements": requirements_of(test), **told}))
