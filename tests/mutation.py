"""
Mutation testing of what decides about points (R69): ``python -m tests.mutation rules`` or ``ledger``.

Cosmic Ray changes one operator, number or decision of the code at a time; the tests that run the changed line have to
fail, those first that caught most so far. A sample drawn by a printed seed gives the score with its 95 % interval
(Wilson, 1927). All works on copies of the tree as it was at the start, one for each worker (tests/mutation_worker.py).
"""

import argparse
import ast
import json
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from queue import Queue
from typing import Any, Final

from cosmic_ray.commands.init import _all_work_items
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator

from tests import database

ROOT: Final = Path(__file__).resolve().parent.parent
GOAL: Final = 0.85
# Properties find most of what they find at all in few examples.
FEWER_EXAMPLES: Final = {"RULE_EXAMPLES": "100", "SQL_EXAMPLES": "60"}
# That two equal texts are one object, or None equal to None, is no decision of the program.
SAME: Final = ("Eq_Is", "Is_Eq", "NotEq_IsNot", "IsNot_NotEq")


@dataclass(frozen=True)
class Part:
    """
    What is mutated, the tests that must notice, and for how many seconds they are asked about one mutant.

    `aside` is what a test takes beside its own time: a client, its schema, and the invariants afterwards.
    """

    files: tuple[str, ...]
    tests: tuple[str, ...]
    seconds: int
    aside: float


PARTS: Final = {
    "rules": Part(
        files=("programs/rules/*.py",),
        tests=(
            "tests/programs/test_rules.py",
            "tests/programs/test_bounds.py",
            "tests/programs/test_domains.py",
            "tests/programs/test_what_earns.py",
            "tests/programs/test_tiers.py",
            "tests/programs/test_conflicts.py",
            "tests/programs/test_sql_features.py",
            "tests/programs/test_sql_rules.py",
            "tests/programs/test_rule_properties.py",
        ),
        seconds=45,
        aside=0.01,
    ),
    "ledger": Part(
        files=(
            "members/ledger/*.py",
            "members/services/accrual*.py",
            "members/services/points.py",
            "members/services/returns.py",
            "members/services/tiers.py",
            "members/services/transfers.py",
        ),
        tests=(
            "tests/members/test_accrual.py",
            "tests/members/test_approvals.py",
            "tests/members/test_baskets.py",
            "tests/members/test_closing.py",
            "tests/members/test_events.py",
            "tests/members/test_expiry.py",
            "tests/members/test_giving_back.py",
            "tests/members/test_households.py",
            "tests/members/test_ledger_bounds.py",
            "tests/members/test_ledger_laws.py",
            "tests/members/test_points.py",
            "tests/members/test_returns.py",
            "tests/members/test_set_aside.py",
            "tests/members/test_sliding.py",
            "tests/members/test_spending_order.py",
            "tests/members/test_tier_bounds.py",
            "tests/members/test_tier_histories.py",
            "tests/members/test_tiers.py",
            "tests/members/test_time.py",
            "tests/members/test_transfers.py",
            "tests/members/test_waiting_returns.py",
            "tests/rewards",
        ),
        seconds=30,
        aside=0.3,
    ),
}


# ── mutants ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Mutant:
    """One change: the file, the operator, which of its occurrences, the line, and the code before it."""

    file: str
    operator: str
    occurrence: int
    line: int
    before: str

    @cached_property
    def code(self) -> str:
        """The file as the mutant has it."""
        return str(mutate_code(self.before, get_operator(self.operator)(), self.occurrence))

    @property
    def change(self) -> str:
        """The line before and after."""
        pairs = zip(self.before.splitlines(), self.code.splitlines(), strict=False)
        return next((f"{old.strip()}  →  {new.strip()}" for old, new in pairs if old != new), "")

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.operator.split('/')[-1]}: {self.change}"


def mutants(part: Part, *, tree: Path) -> list[Mutant]:
    """Every mutant of a part, most of which are other programs."""
    return [mutant for path in _files(part, tree=tree) for mutant in _mutants_of(path, tree=tree)]


def _mutants_of(path: Path, *, tree: Path) -> Iterator[Mutant]:
    file, before = str(path.relative_to(tree)), path.read_text()
    for item in _all_work_items([path], {}):
        (spec,) = item.mutations
        if not spec.operator_name.endswith(SAME):
            yield Mutant(file, spec.operator_name, spec.occurrence, spec.start_pos[0], before)


def _files(part: Part, *, tree: Path) -> list[Path]:
    return sorted(path for pattern in part.files for path in tree.glob(pattern))


def is_another_program(mutant: Mutant) -> bool:
    """Whether the change can be noticed: not what only changes an annotation, nor what is no Python at all."""
    try:
        return _bare(mutant.code) != _bare(mutant.before)
    except SyntaxError:
        return False


def _bare(code: str) -> str:
    return ast.dump(_WithoutAnnotations().visit(ast.parse(code)))


class _WithoutAnnotations(ast.NodeTransformer):
    """Annotations, aliases of types, and whether an argument must be named, mean nothing at run time here."""

    def visit_arguments(self, node: ast.arguments) -> ast.arguments:
        node.args = [*node.posonlyargs, *node.args, *node.kwonlyargs]
        node.defaults = [*node.defaults, *(default for default in node.kw_defaults if default)]
        node.posonlyargs, node.kwonlyargs, node.kw_defaults = [], [], []
        self.generic_visit(node)
        return node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Any:
        node.annotation = ast.Constant(None)
        is_alias = isinstance(node.target, ast.Name) and node.target.id[:1].isupper() and _is_type(node.value)
        return None if is_alias else self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        node.returns = None
        return self.generic_visit(node)


def _is_type(value: ast.expr | None) -> bool:
    return isinstance(value, ast.BinOp | ast.Subscript) and not any(
        isinstance(one, ast.Call | ast.Constant) and not isinstance(getattr(one, "value", None), str | None)
        for one in ast.walk(value)
    )


# ── which tests are asked ───────────────────────────────────────────────────────────────────────────────────────────


class Tests:
    """The tests by the lines they run, and how many mutants each has caught."""

    def __init__(self, told: dict[str, Any], *, part: Part) -> None:
        self.lines: dict[str, dict[str, list[int]]] = told["lines"]
        self.took: dict[str, float] = {test: took + part.aside for test, took in told["seconds"].items()}
        self.seconds = part.seconds
        self.caught: Counter[str] = Counter()

    def of(self, mutant: Mutant) -> list[str]:
        """Those that run the mutant's statement, the most telling for their time first, as many as there is time for."""
        statement = _statement(mutant)
        found = [test for test in self.took if statement.intersection(self._lines(test, mutant.file))]
        if not found and statement.intersection(self._lines("", mutant.file)):
            found = [test for test in self.took if self._lines(test, mutant.file)]
        found.sort(key=lambda test: (self.took[test] / (1 + self.caught[test]), test))
        return list(self._in_time(found))

    def _in_time(self, tests: Sequence[str]) -> Iterator[str]:
        left = float(self.seconds)
        for test in tests:
            left -= self.took[test]
            if left < 0:
                return
            yield test

    def _lines(self, test: str, file: str) -> list[int]:
        return self.lines.get(test, {}).get(file, [])


def _statement(mutant: Mutant) -> set[int]:
    """The lines of the innermost statement around the mutant; of one with a body, those before the body."""
    best = {mutant.line}
    size = math.inf
    for node in ast.walk(ast.parse(mutant.before)):
        if not isinstance(node, ast.stmt | ast.comprehension | ast.ExceptHandler) or isinstance(node, ast.ClassDef):
            continue
        body = getattr(node, "body", None)
        first, end = getattr(node, "lineno", 0), body[0].lineno if body else (getattr(node, "end_lineno", 0) or 0) + 1
        if first <= mutant.line < max(end, first + 1) and end - first < size:
            best, size = set(range(first, max(end, first + 1))), end - first
    return best


# ── trying them ─────────────────────────────────────────────────────────────────────────────────────────────────────


class Worker:
    """A process in a copy of the tree, with a database of its own."""

    def __init__(self, *, tree: Path, part: Part) -> None:
        self.tree, self.part = tree, part
        self.apart = [_module(path.relative_to(tree)) for path in _files(part, tree=tree)]
        run = database.choose()
        given = {"DATABASE_URL": run.server_url, "REDIS_URL": run.redis_url, "PYTHONPATH": str(tree)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.mutation_worker"],
            cwd=tree,
            env={**os.environ, **FEWER_EXAMPLES, **given},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(
        self, tests: Sequence[str] = (), *, trace: bool = False, keep: bool = False, seconds: float
    ) -> dict[str, Any]:
        """What pytest says of these tests (of all, if none is named)."""
        assert self.process.stdin
        assert self.process.stdout
        files = [str(path.relative_to(self.tree)) for path in _files(self.part, tree=self.tree)]
        job = {
            "tests": list(tests),
            "from": sorted({test.partition("::")[0] for test in tests}) or [t for t in self.part.tests if (self.tree / t).exists()],
            "files": files,
            "apart": self.apart,
            "trace": trace,
            "keep": keep,
            "seconds": seconds,
        }  # fmt: skip
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"The worker in {self.tree} is gone.")
        told: dict[str, Any] = json.loads(answer)
        return told

    def with_change(self, mutant: Mutant, tests: Sequence[str]) -> dict[str, Any]:
        """What pytest says of these tests while the mutant stands in the tree."""
        path = self.tree / mutant.file
        path.write_text(mutant.code)
        # Compiled code is told apart by second and size only.
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
            compiled.unlink()
        try:
            told = self.ask(tests, seconds=60 + 3 * self.part.seconds)
            # Once more, with much more time: what only waited for a busy machine is not noticed.
            return told if told["code"] != "timeout" else self.ask(tests, seconds=300 + 10 * self.part.seconds)
        finally:
            path.write_text(mutant.before)

    def end(self) -> None:
        """Let it drop its database and go."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def _module(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


@dataclass(frozen=True)
class Score:
    """How many of the mutants tried were noticed; `low` and `high` bound the share over all (Wilson, 95 %)."""

    part: str
    of: int
    tried: int
    killed: int
    survived: tuple[str, ...]

    @property
    def share(self) -> float:
        """The share noticed."""
        return self.killed / self.tried

    @property
    def interval(self) -> tuple[float, float]:
        """Where the share over all mutants lies, in 95 of 100 samples."""
        n, p, z = self.tried, self.share, 1.96
        middle, spread = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return (middle - spread) / (1 + z * z / n), (middle + spread) / (1 + z * z / n)


def run(*, name: str, sample: int, seed: int, workers: int) -> Score:
    """Try a sample of a part's mutants, each in a copy of the tree."""
    part = PARTS[name]
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        trees = [_copy(Path(folder) / str(number)) for number in range(workers)]
        every = mutants(part, tree=trees[0])
        random.Random(seed).shuffle(every)
        staff = [Worker(tree=tree, part=part) for tree in trees]
        try:
            tests = _unchanged(staff, part=part)
            chosen = _first(every, count=sample)
            noticed = _try_all(chosen, tests=tests, staff=staff)
        finally:
            for worker in staff:
                worker.end()
    survived = tuple(str(mutant) for mutant, is_killed in zip(chosen, noticed, strict=True) if not is_killed)
    return Score(name, len(every), len(chosen), len(chosen) - len(survived), survived)


def _unchanged(staff: Sequence[Worker], *, part: Part) -> Tests:
    """The tests on the code as it is, to see their lines; those that fail are told, and not asked. Warms each worker."""
    told = staff[0].ask(trace=True, keep=True, seconds=3_000)
    if told["code"] not in {0, 1}:
        raise SystemExit(f"The tests do not run on the code as it is: {told['code']}")
    tests = Tests(told, part=part)
    say(f"{len(tests.took)} tests pass on the code as it is in {told['took']} s")
    for test in told["all_failed"]:
        say(f"NOT ASKED, fails on the code as it is: {test}")
    for worker in staff[1:]:
        worker.ask(sorted(tests.took, key=tests.took.__getitem__)[:20], trace=True, keep=True, seconds=600)
    return tests


def _try_all(chosen: Sequence[Mutant], *, tests: Tests, staff: Sequence[Worker]) -> list[bool]:
    free: Queue[Worker] = Queue()
    for worker in staff:
        free.put(worker)
    counting = threading.Lock()

    def is_killed(mutant: Mutant) -> bool:
        asked = tests.of(mutant)
        if not asked:
            say(f"SURVIVED, run by no test: {mutant}")
            return False
        worker = free.get()
        try:
            told = worker.with_change(mutant, asked)
        finally:
            free.put(worker)
        killed = _is_noticed(told)
        if told.get("failed"):
            with counting:
                tests.caught[told["failed"]] += 1
        by = told.get("failed") or told["code"]
        say(f"killed by {by}: {mutant}" if killed else f"SURVIVED {len(asked)} tests in {told['took']} s: {mutant}")
        return killed

    with ThreadPoolExecutor(len(staff)) as pool:
        return list(pool.map(is_killed, chosen))


def _is_noticed(told: dict[str, Any]) -> bool:
    """A failed test, a module that cannot be imported, a process that crashes, or one that runs for ever."""
    if told["code"] not in {0, 1, 2, 3, "timeout", "crashed"}:
        raise SystemExit(f"pytest did not run the tests: {told}")
    return bool(told["code"] != 0)


def _first(every: Sequence[Mutant], *, count: int) -> list[Mutant]:
    chosen: list[Mutant] = []
    for mutant in every:
        if len(chosen) == count:
            break
        if is_another_program(mutant):
            chosen.append(mutant)
    return chosen


def _copy(target: Path) -> Path:
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


def say(words: str) -> None:
    """One line of the report, at once."""
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


def main() -> None:
    """Print each mutant and the score; exit with 1 below the goal."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("part", choices=PARTS)
    asked.add_argument("--sample", type=int, default=300, help="how many mutants are tried")
    asked.add_argument("--seed", type=int, default=random.randrange(10**6))
    asked.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    given = asked.parse_args()
    say(f"seed {given.seed}")
    score = run(name=given.part, sample=given.sample, seed=given.seed, workers=given.workers)
    low, high = score.interval
    for survivor in score.survived:
        say(f"survived {survivor}")
    numbers = {"part": score.part, "seed": given.seed, "of": score.of, "tried": score.tried, "killed": score.killed}
    say(json.dumps({**numbers, "share": round(score.share, 3), "low": round(low, 3), "high": round(high, 3)}))
    sys.exit(score.share < GOAL)


if __name__ == "__main__":
    main()
