"""
Runs chosen tests on one changed file, again and again: ``python -m tests.mutation_worker`` inside a copy of the tree.

One JSON line in, one out. The worker sets Django and one database up once and forks for each job, so a job costs its
tests only; what is mutated is imported after the fork.
"""

import contextlib
import importlib
import json
import os
import select
import signal
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from types import FrameType
from typing import Any, Final

import pytest
from hypothesis import Phase, settings

from tests import database

HERE: Final = Path.cwd()
PROJECT: Final = ("loyalty_saas", "members", "programs", "rewards", "tenants", "tests", "training")
ALWAYS: Final = ("-q", "-p", "no:cacheprovider", "--disable-warnings", "--hypothesis-profile=mutation")


class Chosen:
    """Keeps the named tests, in the order named, and notes the first that failed and how long each took."""

    def __init__(self, tests: list[str]) -> None:
        self.place = {name: place for place, name in enumerate(tests)}
        self.failed: str | None = None
        self.all_failed: set[str] = set()
        self.seconds: dict[str, float] = {}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """In the order asked for; all of them if none is named."""
        if self.place:
            items[:] = sorted((i for i in items if i.nodeid in self.place), key=lambda item: self.place[item.nodeid])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """What a test took, its own database aside."""
        if report.failed:
            self.failed = self.failed or report.nodeid
            self.all_failed.add(report.nodeid)
        if report.when == "call" and report.passed:
            self.seconds[report.nodeid] = round(report.duration, 3)


class Lines:
    """Notes which tests run which lines of some files; what runs on import belongs to the test named ''."""

    def __init__(self, files: list[str]) -> None:
        self.files = {str(HERE / file): file for file in files}
        self.found: defaultdict[str, defaultdict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
        self.test = ""
        self.hits = self.found[""]

    def start(self) -> None:
        """From now on, in every thread."""
        threading.settrace(self._enter)
        sys.settrace(self._enter)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Between two tests nothing is noted for either."""
        self.hits = self.found[item.nodeid]
        sys.settrace(self._enter)
        try:
            return (yield)
        finally:
            self.hits = self.found[""]

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Callable[..., Any] | None:
        file = self.files.get(frame.f_code.co_filename)
        if file is None:
            return None

        def line(frame: FrameType, event: str, argument: Any) -> Callable[..., Any]:
            self.hits[file].add(frame.f_lineno)
            return line

        return line

    def as_rows(self) -> dict[str, dict[str, list[int]]]:
        """By test and file."""
        return {
            test: {file: sorted(lines) for file, lines in files.items()} for test, files in self.found.items() if files
        }


def main() -> None:
    """Answer jobs until there are no more."""
    run = database.choose()
    os.environ.update(run.environment)
    answers = os.fdopen(os.dup(1), "w")
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        with database.database(run):
            os.environ[database.KEPT] = run.database
            _set_up()
            for job in sys.stdin:
                answers.write(json.dumps(_answer(json.loads(job))) + "\n")
                answers.flush()
            del os.environ[database.KEPT]


def _set_up() -> None:
    """What no mutant changes: Django, the tables, pytest's plugins."""
    import django
    from django.core.management import call_command
    from django.db import connections

    django.setup()
    with open(os.devnull, "w") as nowhere:
        call_command("migrate", stdout=nowhere, stderr=nowhere)
    connections.close_all()
    for plugin in entry_points(group="pytest11"):
        plugin.load()
    # The smallest example that fails is nobody's concern here.
    settings.register_profile("mutation", phases=[Phase.explicit, Phase.generate], database=None)


def _answer(job: dict[str, Any]) -> dict[str, Any]:
    """Run a job in a fork; what runs for ever is ended, with all that it started."""
    imported = [name for name in job["apart"] if name in sys.modules]
    if imported:
        raise SystemExit(f"Imported before the fork, so mutants of it would not be seen: {imported}")
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        child = os.fork()
        if child == 0:
            _be_the_run(job, result)
        done = _wait(child, seconds=job["seconds"])
        told = json.loads(result.read_text()) if result.exists() else {"code": "crashed"}
    for name in told.pop("modules", ()):
        if name.split(".")[0] not in PROJECT and name not in sys.modules:
            with contextlib.suppress(Exception):
                importlib.import_module(name)
    return {**(told if done else {"code": "timeout"}), "took": round(time.monotonic() - began, 2)}


def _be_the_run(job: dict[str, Any], result: Path) -> None:
    os.setsid()
    sys.dont_write_bytecode = not job["keep"]
    chosen = Chosen(job["tests"])
    plugins: list[Any] = [chosen]
    lines = Lines(job["files"]) if job["trace"] else None
    if lines:
        plugins.append(lines)
        lines.start()
    code = int(pytest.main([*ALWAYS, *([] if lines else ["-x"]), *job["from"]], plugins=plugins))
    told: dict[str, Any] = {"code": code, "failed": chosen.failed}
    if lines:
        sys.settrace(None)
        passed = {test: took for test, took in chosen.seconds.items() if test not in chosen.all_failed}
        told |= {"lines": lines.as_rows(), "seconds": passed, "modules": sorted(sys.modules)}
        told["all_failed"] = sorted(chosen.all_failed)
    result.with_suffix(".new").write_text(json.dumps(told))
    result.with_suffix(".new").rename(result)
    os._exit(0)


def _wait(child: int, *, seconds: float) -> bool:
    """Whether the run came to an end by itself in time."""
    watch = os.pidfd_open(child)
    in_time = bool(select.select([watch], [], [], seconds)[0])
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(watch)
    return in_time


if __name__ == "__main__":
    main()
