"""
Mutation testing of what decides about points (R69): ``python -m tests.mutation rules`` or ``ledger``.

Cosmic Ray changes one operator, number or decision of the code at a time; the tests that stand for it have to fail.
A sample drawn by a printed seed gives the score with its 95 % interval (Wilson, 1927). Works on copies of the tree.
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
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Queue
from typing import Any, Final

from cosmic_ray.commands.init import _all_work_items
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator

ROOT: Final = Path(__file__).resolve().parent.parent
GOAL: Final = 0.85


@dataclass(frozen=True)
class Part:
    """What is mutated, and the tests that must notice, in the order in which they are asked."""

    files: tuple[str, ...]
    tests: tuple[tuple[str, ...], ...]
    seconds: int


PLAIN: Final = ("--noconftest", "-p", "no:django", "-o", "addopts=")
PARTS: Final = {
    "rules": Part(
        files=("programs/rules/*.py",),
        tests=(
            (
                *PLAIN,
                "tests/programs/test_rules.py",
                "tests/programs/test_bounds.py",
                "tests/programs/test_what_earns.py",
            ),
            (*PLAIN, "tests/programs/test_rule_properties.py"),
        ),
        seconds=240,
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
            ("tests/members", "--ignore=tests/members/test_points_model.py"),
            ("tests/members/test_points_model.py",),
        ),
        seconds=900,
    ),
}


@dataclass(frozen=True)
class Mutant:
    """One change: the file, the operator, which of its occurrences, and the line."""

    file: str
    operator: str
    occurrence: int
    line: int

    def code(self) -> str:
        """The file as the mutant has it."""
        changed = mutate_code((ROOT / self.file).read_text(), get_operator(self.operator)(), self.occurrence)
        return str(changed)


def mutants(part: Part) -> Iterator[Mutant]:
    """Every mutant that is another program: what only changes an annotation is none."""
    for path in sorted(path for pattern in part.files for path in ROOT.glob(pattern)):
        file = str(path.relative_to(ROOT))
        for item in _all_work_items([path], {}):
            (spec,) = item.mutations
            yield Mutant(file, spec.operator_name, spec.occurrence, spec.start_pos[0])


def is_another_program(mutant: Mutant) -> bool:
    """Whether the change can be noticed at all; what cannot be parsed is a change too."""
    try:
        return _bare(mutant.code()) != _bare((ROOT / mutant.file).read_text())
    except SyntaxError:
        return False


def _bare(code: str) -> str:
    return ast.dump(_WithoutAnnotations().visit(ast.parse(code)))


class _WithoutAnnotations(ast.NodeTransformer):
    """Annotations, aliases of types and decorators' order mean nothing at run time here."""

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
    part, chance = PARTS[name], random.Random(seed)
    every = list(mutants(part))
    chance.shuffle(every)
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copies: Queue[Path] = Queue()
        for number in range(workers):
            copies.put(_copy(Path(folder) / str(number)))
        _passes_unchanged(part=part, copies=copies)
        chosen = _first(every, count=sample)
        with ThreadPoolExecutor(workers) as pool:
            results = list(pool.map(lambda one: (one, _is_killed(one, part=part, copies=copies)), chosen))
        for copy in list(copies.queue):
            subprocess.run([sys.executable, "-m", "loyalty_saas.embedded", "stop", "--state", ".state/test"], cwd=copy)
    survived = tuple(f"{one.file}:{one.line} {one.operator}" for one, killed in results if not killed)
    return Score(name, len(every), len(results), len(results) - len(survived), survived)


def _first(every: Sequence[Mutant], *, count: int) -> list[Mutant]:
    chosen: list[Mutant] = []
    for mutant in every:
        if len(chosen) == count:
            break
        if is_another_program(mutant):
            chosen.append(mutant)
    return chosen


def _copy(target: Path) -> Path:
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target / name)
    return target


def _passes_unchanged(*, part: Part, copies: "Queue[Path]") -> None:
    copy = copies.get()
    for tests in part.tests:
        if _fails(tests, copy=copy, seconds=part.seconds * 4):
            raise SystemExit(f"These tests fail on the code as it is: {' '.join(tests)}")
    copies.put(copy)


def _is_killed(mutant: Mutant, *, part: Part, copies: "Queue[Path]") -> bool:
    copy = copies.get()
    try:
        (copy / mutant.file).write_text(mutant.code())
        killed = any(_fails(tests, copy=copy, seconds=part.seconds) for tests in part.tests)
    finally:
        shutil.copyfile(ROOT / mutant.file, copy / mutant.file)
        copies.put(copy)
    say(f"{'killed  ' if killed else 'SURVIVED'} {mutant.file}:{mutant.line} {mutant.operator}")
    return killed


def _fails(tests: Sequence[str], *, copy: Path, seconds: int) -> bool:
    """Whether pytest finds something wrong; a mutant that runs for ever is noticed as well."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return True
    if done.returncode not in {0, 1, 2, 3, 4}:
        raise SystemExit(done.stdout.decode()[-2000:] + done.stderr.decode()[-2000:])
    return done.returncode != 0


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
    say(json.dumps({**asdict(score), "share": round(score.share, 3), "low": round(low, 3), "high": round(high, 3)}))
    sys.exit(score.share < GOAL)


if __name__ == "__main__":
    main()
