"""What a proof tried, how often, from which seed, and which broken variants it caught: one JSON line each."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

PROVING = os.environ.get("PROVE") == "1"
_SHARE = min(1.0, float(os.environ.get("PROVE_SHARE", "1")))
_NUMBER = re.compile(r"::test_r(\d\d)_")


def often(short: int, long: int) -> int:
    """How often, or for how many seconds: `short` in CI, `long` with PROVE=1, less where MINUTES leave less."""
    return max(short, round(long * _SHARE)) if PROVING else short


def requirement_of(test: str) -> str | None:
    """The number in the quality bar that a test's name tells: R03 of test_r03_…; None for tests that prove none."""
    found = _NUMBER.search(test)
    return f"R{found[1]}" if found else None


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
        line = json.dumps({"kind": kind, "test": self.test, "requirement": requirement_of(self.test), **told})
        print(line)  # noqa: T201
        write_line(line)


def write_line(line: str) -> None:
    """Add a line to the file of records, if there is one."""
    if path := os.environ.get("PROOF_RECORD"):
        with Path(path).open("a") as file:
            file.write(line + "\n")


@pytest.fixture
def proof_record(request: pytest.FixtureRequest) -> Record:
    """Takes down what the test tried and caught, for `make prove`."""
    return Record(request.node.nodeid)
