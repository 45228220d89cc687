"""
`python -m tests.proof`: the long form of every proof, and docs/proof.md of what came of it.

With `--minutes N`, less is tried of what can be tried less often, and nothing is begun after N minutes. With
`--side-by-side`, what breaks servers runs beside the rest, each on servers of its own: less time on two cores.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from tests.proof import page

PROJECT = Path(__file__).resolve().parent.parent.parent
PAGE = PROJECT / "docs" / "proof.md"
PAGE_OF_LIVES = PROJECT / "tests" / "members" / "test_points_model.py"
# What the long form takes on two idle cores, one after another (side by side about 50): three parts of it measured, the
# rest reckoned from their processor time. With fewer minutes, counts shrink in proportion.
WHOLE_MINUTES = 85.0


def main(arguments: list[str]) -> int:
    """Run what is asked for; 0 if all of it held."""
    asked = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "record.jsonl"
        record.touch()
        code = _prove(asked, record)
        proofs = page.read(json.loads(line) for line in record.read_text().splitlines())
    form = f"the form of {asked.minutes:g} minutes" if asked.minutes else "the whole long form"
    text = page.write(proofs, commit=_commit(), date=f"{datetime.now(UTC):%Y-%m-%d}", form=form)
    asked.page.write_text(text)
    sys.stdout.write(text)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.proof", description=__doc__)
    minutes = os.environ.get("MINUTES")
    parser.add_argument("--minutes", type=float, default=float(minutes) if minutes else None)
    parser.add_argument("--only", nargs="*", default=list(page.TITLES), metavar="R03", choices=list(page.TITLES))
    parser.add_argument("--side-by-side", action="store_true")
    parser.add_argument("--page", type=Path, default=PAGE)
    return parser


def _prove(asked: argparse.Namespace, record: Path) -> int:
    names = " or ".join(f"_{requirement.lower()}_" for requirement in asked.only)
    environment = {**os.environ, "PROVE": "1", "PROOF_RECORD": str(record)}
    if asked.minutes:
        environment |= {"PROVE_MINUTES": str(asked.minutes), "PROVE_SHARE": str(asked.minutes / WHOLE_MINUTES)}
    options = [
        "-p",
        "tests.proof.plugin",
        "-o",
        "timeout=5400",
        "-p",
        "no:cacheprovider",
        "-k",
        names,
    ]
    files = _files(asked.only)
    breaking = [file for file in files if "/tests/proof/" in file]
    rest = [file for file in files if file not in breaking]
    groups = [breaking, rest] if asked.side_by_side and breaking and rest else [files]
    running = [_begin([*options, *group], environment, beside=place > 0) for place, group in enumerate(groups)]
    return max(_end(process, told) for process, told in running)


def _begin(options: list[str], environment: dict[str, str], *, beside: bool) -> tuple[Any, IO[str] | None]:
    """pytest at work; what one beside another says is kept until its end."""
    told = tempfile.TemporaryFile("w+") if beside else None  # noqa: SIM115 (closed at its end)
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", *options], cwd=PROJECT, env=environment, stdout=told, stderr=told
    )
    return process, told


def _end(process: Any, told: IO[str] | None) -> int:
    code = int(process.wait())
    if told is not None:
        told.seek(0)
        sys.stdout.write(told.read())
        told.close()
    return abs(code)


def _files(requirements: list[str]) -> list[str]:
    """The files that hold a proof: the others need not be read."""
    numbers = "|".join(requirement[1:] for requirement in requirements)
    named = re.compile(rf"^\s*def test_(r\d\d_)*r({numbers})_", re.MULTILINE)
    found = [file for file in (PROJECT / "tests").rglob("test_*.py") if named.search(file.read_text())]
    # Where minutes are few, what breaks servers and the lives of members come first.
    first = (PAGE_OF_LIVES, *sorted((PROJECT / "tests" / "proof").glob("test_*.py")))
    return [str(file) for file in sorted(found, key=lambda file: (file not in first, file))]


def _commit() -> str:
    told = subprocess.run(
        ["git", "describe", "--always", "--abbrev=12", "--dirty= with changes", "--exclude=*"],
        cwd=PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return told.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
