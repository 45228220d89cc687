"""Tills at work while something breaks: each deed is asked for with one key until it is answered."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from random import Random
from threading import Event
from typing import Any

from tests.live import wait_until
from tests.proof.callers import Caller
from tests.proof.deeds import DEEDS, Deed

TILLS = 4


@dataclass
class Traffic:
    """Deeds prepared beforehand, since the test's own connections break like the others."""

    till: Caller
    seed: int
    deeds: list[Deed] = field(default_factory=list)
    met: Counter[Any] = field(default_factory=Counter)
    strange: list[str] = field(default_factory=list)

    def prepare(self, number: int) -> None:
        """So many deeds of all kinds."""
        chance = Random(self.seed)
        self.deeds = [chance.choice(DEEDS)(self.till) for _place in range(number)]

    def during(self, fault: Callable[[], None]) -> None:
        """Send them, in some order, from before the fault until after it; all have their answer at the end."""
        waiting: SimpleQueue[tuple[int, Deed]] = SimpleQueue()
        for numbered in enumerate(self.deeds):
            waiting.put(numbered)
        over = Event()
        with ThreadPoolExecutor(TILLS) as pool:
            tills = [pool.submit(self._work, self.till.twin(), waiting, over) for _till in range(TILLS)]
            wait_until(lambda: waiting.qsize() < len(self.deeds), what="the first deed")
            try:
                fault()
            finally:
                over.set()
            _results(tills)

    def judge(self) -> None:
        """:raises AssertionError: unless each deed had one effect, and callers were told nothing but to try again"""
        assert not self.strange, self.strange[:3]
        assert set(self.met) <= {503, 409}, self.met
        twice_or_never = [deed.path for deed in self.deeds if deed.effects() != 1]
        assert not twice_or_never

    def _work(self, till: Caller, waiting: "SimpleQueue[tuple[int, Deed]]", over: Event) -> None:
        while True:
            try:
                number, deed = waiting.get_nowait()
            except Empty:
                return
            answer, before = till.insist(deed.path, deed.body, key=f"{self.seed} {number}")
            self.met.update(before)
            if answer.status_code not in {200, 201}:
                self.strange.append(f"{deed.path}: {answer.status_code} {answer.text[:200]}")
            over.wait(0.03)


def _results(futures: Sequence["Future[None]"]) -> None:
    for one in futures:
        one.result(120)
