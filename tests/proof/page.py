"""docs/proof.md: what was tried, how often, from which seeds, and which broken variants were caught."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

TITLES: Mapping[str, str] = {
    "R01": "Books are balanced and only added to: the database refuses all else",
    "R02": "Random lives of members: the services do what a plain model on paper says",
    "R03": "Eight processes move points among eight members, and every read finds them all",
    "R04": "What is asked for many times at once is given once",
    "R05": "One effect and one answer for each Idempotency-Key",
    "R06": "A receipt counts once over all channels",
    "R07": "A return is the exact inverse of its sale, however it is split",
    "R08": "Points lapse in order, once, and not before their day is over",
    "R09": "Late, early, repeated and reordered events give one end state",
    "R10": "Integers throughout: shares add up, and hostile figures are refused",
    "R11": "Days are the client's days, also where the clock jumps",
    "R12": "More activity never lowers a tier; tiers are a function of history",
    "R13": "An answer lost after the commit: asked again, the effect is one",
    "R14": "What is stored equals what is rebuilt from the entries; planted damage is found",
    "R40": "Workers are killed in the middle of their work",
    "R41": "Redis is emptied, killed, away, unwilling or full",
    "R42": "PostgreSQL is restarted, killed, away or impatient",
}
# What a page of passed tests must not make one believe.
LIMITS: Mapping[str, str] = {
    "R42": "There is one PostgreSQL and none to fail over to. While it is away, callers are told 503 with Retry-After and"
    " nothing is recorded for them; asked again with the same key after its return, each deed has its one effect, and the"
    " first requests are answered. Swapping to a promoted standby has not been tried here: the application knows one"
    " address, and reconnects to whatever answers there.",
}
PASSED, FAILED, NOT_REACHED = "passed", "FAILED", "not reached"


@dataclass
class Test:
    """How one test ended, and what it took down."""

    outcome: str = NOT_REACHED
    seconds: float = 0.0
    notes: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Proof:
    """All tests of one requirement."""

    requirement: str
    tests: dict[str, Test] = field(default_factory=lambda: defaultdict(Test))

    @property
    def result(self) -> str:
        """Failed if one test did; passed only if all were reached and did."""
        outcomes = {test.outcome for test in self.tests.values()}
        if FAILED in outcomes:
            return FAILED
        return PASSED if outcomes == {PASSED} else NOT_REACHED if outcomes <= {NOT_REACHED} else "in part"

    @property
    def seconds(self) -> float:
        """What they took together."""
        return sum(test.seconds for test in self.tests.values())

    @property
    def caught(self) -> list[str]:
        """The broken variants that were found."""
        return sorted({note["broken"] for note in self._notes("caught")})

    @property
    def tried(self) -> dict[str, tuple[int, dict[str, str]]]:
        """How often each thing was tried, and the figures that came of it."""
        found: dict[str, tuple[int, dict[str, str]]] = {}
        for note in self._notes("tried"):
            count, figures = found.get(note["what"], (0, {}))
            found[note["what"]] = (count + note["count"], _join(figures, note["figures"]))
        return found

    @property
    def held(self) -> dict[str, tuple[int, bool]]:
        """What held by the words of a test that says no more, in how many cases or random examples."""
        found: dict[str, tuple[int, bool]] = {}
        for note in self._notes("held"):
            found[note["what"]] = (found.get(note["what"], (0, False))[0] + note["count"], note["examples"])
        return found

    @property
    def count(self) -> int:
        """How much was tried in all."""
        return sum(count for count, _figures in self.tried.values()) + sum(count for count, _e in self.held.values())

    def _notes(self, kind: str) -> list[dict[str, Any]]:
        passed = [test for test in self.tests.values() if test.outcome == PASSED]
        return [note for test in passed for note in test.notes if note["kind"] == kind]


def _join(one: Mapping[str, str], other: Mapping[str, str]) -> dict[str, str]:
    joined = dict(one)
    for name, value in other.items():
        before = joined.get(name)
        if before is None or before == value:
            joined[name] = value
        elif name != "seed" and before.isdigit() and value.isdigit():
            joined[name] = str(int(before) + int(value))
        elif value not in before.split(", "):
            joined[name] = f"{before}, {value}"
    return joined


def read(lines: Iterable[Mapping[str, Any]]) -> dict[str, Proof]:
    """The proofs that the lines of a record tell of, by requirement, in order."""
    proofs = {requirement: Proof(requirement) for requirement in TITLES}
    for line in lines:
        for proof in filter(None, map(proofs.get, line["requirements"])):
            test = proof.tests[line["test"]]
            if line["kind"] == "ended":
                _end(test, line)
            elif line["kind"] != "found":
                test.notes.append(dict(line))
    return proofs


def _end(test: Test, line: Mapping[str, Any]) -> None:
    test.seconds += line["seconds"]
    if line["outcome"] == "failed":
        test.outcome = FAILED
    elif line["part"] == "call" and line["outcome"] == "passed" and test.outcome != FAILED:
        test.outcome = PASSED


def write(proofs: Mapping[str, Proof], *, commit: str, date: str, form: str) -> str:
    """The page."""
    shown = [proof for proof in proofs.values() if proof.tests]
    parts = [_HEAD.format(commit=commit, date=date, form=form), _table(shown)]
    parts += [_chapter(proof) for proof in shown]
    if missing := [name for name, proof in proofs.items() if not proof.tests]:
        parts.append(f"Not asked for in this run: {', '.join(missing)}.\n")
    return "\n".join(parts)


def _table(proofs: Sequence[Proof]) -> str:
    rows = [
        f"| {p.requirement} | {TITLES[p.requirement]} | {len(p.tests)} | {p.count:,} "
        f"| {len(p.caught)} | {p.seconds:,.0f} | {p.result} |"
        for p in proofs
    ]
    head = "| | What holds | Tests | Tried | Broken variants caught | Seconds | Result |\n|---|---|--:|--:|--:|--:|---|"
    return "\n".join([head, *rows, ""])


def _chapter(proof: Proof) -> str:
    lines = [f"## {proof.requirement} · {TITLES[proof.requirement]}", ""]
    lines += [f"- Tried: {count:,} {what}{_figures(figures)}" for what, (count, figures) in proof.tried.items()]
    lines += [f"- Held: {what}{_how_often(count, of_examples)}" for what, (count, of_examples) in proof.held.items()]
    lines += [f"- Caught: {broken}" for broken in proof.caught]
    lines += [f"- {FAILED}: `{name}`" for name, test in proof.tests.items() if test.outcome == FAILED]
    lines += [f"- Not proved: {LIMITS[proof.requirement]}"] if proof.requirement in LIMITS else []
    outcomes = Counter(test.outcome for test in proof.tests.values())
    left = f", {outcomes[NOT_REACHED]} not reached" if outcomes[NOT_REACHED] else ""
    return "\n".join([*lines, f"- {outcomes[PASSED]} of {len(proof.tests)} tests passed{left}", ""])


def _how_often(count: int, of_examples: bool) -> str:
    return f" ({count:,} {'random examples' if of_examples else 'cases'})" if count > 1 else ""


def _figures(figures: Mapping[str, str]) -> str:
    told = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in sorted(figures.items()))
    return f" ({told})" if told else ""


_HEAD = """\
# Proof of the ledger

Written by `make prove` on {date} at commit {commit}: {form}.

Everything runs on real servers (PostgreSQL, Redis, web server, workers), from seeds that are told, and ends with the laws
of the books asked in plain SQL. A broken variant is our own code with one thing taken away or done otherwise: a test that
does not find it proves nothing. Anyone can run it: `make prove`, or `make prove MINUTES=20` for less of the same.
"""
