"""What a proof tried, how often, from which seed, and which broken variants it caught: one JSON line each."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

PROVING = os.environ.get("PROVE") == "1"
_SHARE = min(1.0, float(os.environ.get("PROVE_SHARE", "1")))
_NUMBERS = re.compile(r"::test_((?:r\d\d_)+)")
# Tests that wrote something themselves, and what kind of it.
spoke: set[tuple[str, str]] = set()


def often(short: int, long: int) -> int:
    """How often, or for how many seconds: `short` in CI, `long` with PROVE=1, less where MINUTES leave less."""
    return max(short, round(long * _SHARE)) if PROVING else short


def requirements_of(test: str) -> list[str]:
    """The numbers in the quality bar that a test's name tells: R07 and R10 of test_r07_r10_…; none for other tests."""
    found = _NUMBERS.search(test)
    return [one.upper() for one in found[1].strip("_").split("_")] if found else []


class Record:
    """Notes of one test; they are printed, and kept where PROOF_RECORD says."""

    def __init__(self, test: str) -> None:
        self.test = test

    def tried(self, count: int, what: str, **figures: Any) -> None:
        """So many of what: ``tried(200, "examples of 50 commands", seed=7, accepted="62 %")``."""
        self._write("tried", count=count, what=what, figures={name: str(value) for name, value in figures.items()})

    def caught(self, broken: str) -> None:
        """A broken variant was tried, and found: ``caught("spending newest lots first")``."""
        self._write("caught", broken=broken)

    def _write(self, kind: str, **told: Any) -> None:
        spoke.add((self.test, kind))
        line = json.dumps({"kind": kind, "test": self.test, "requirements": requirements_of(self.test), **told})
        print(line)  # noqa: T201
        write_line(line)


def write_line(line: str) -> None:
    """Add a line to the file of records, if there is one."""
    if path := os.environ.get("PROOF_RECORD"):
        with Path(path).open("a") as file:
            file.write(line + "\n")


def here() -> Record:
    """The record of the test that runs now, for tests that run without our fixtures too."""
    return Record(os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0])


@pytest.fixture
def proof_record(request: pytest.FixtureRequest) -> Record:
    """Takes down what the test tried and caught, for `make prove`."""
    return Record(request.node.nodeid)
