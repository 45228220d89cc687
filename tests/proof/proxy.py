"""A TCP proxy that loses answers: what was asked has happened, and nobody is told."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from tests.live import free_port, wait_until

_PIECE = 1 << 16


@dataclass
class _Talk:
    """One connection: how many of the words to wait for it has heard, and whether its next answer is lost."""

    heard: int = 0
    is_lost: bool = False


class Proxy:
    """Stands before a server on 127.0.0.1; `lose_answer_to` loses one answer and ends its connection."""

    def __init__(self, target_port: int) -> None:
        self.port, self.target_port = free_port(), target_port
        self.lost = 0
        self._words: tuple[bytes, ...] = ()
        self._loop = asyncio.new_event_loop()
        self._pool = ThreadPoolExecutor(1)
        self._running = self._pool.submit(self._run)
        wait_until(self._loop.is_running, what="the proxy")

    def lose_answer_to(self, *words: bytes) -> None:
        """On the next connection that sends these words one after the other, lose the answer to the last."""
        self._words = words

    @property
    def is_armed(self) -> bool:
        """Whether it still waits for its words."""
        return bool(self._words)

    def close(self) -> None:
        """End it with all its connections."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._running.result(10)
        self._pool.shutdown()

    # ── in its own thread ───────────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._meet, "127.0.0.1", self.port))
        try:
            self._loop.run_forever()
        finally:
            server.close()
            talks = asyncio.all_tasks(self._loop)
            for talk in talks:
                talk.cancel()
            self._loop.run_until_complete(asyncio.gather(*talks, return_exceptions=True))
            self._loop.close()

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        with suppress(OSError, asyncio.CancelledError):
            answers, asker = await asyncio.open_connection("127.0.0.1", self.target_port)
            writers.append(asker)
            talk = _Talk()
            ways = [self._ask(reader, asker, talk), self._answer(answers, writer, talk)]
            tasks = [asyncio.ensure_future(way) for way in ways]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
        for one in writers:
            one.close()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, talk: _Talk) -> None:
        while piece := await reader.read(_PIECE):
            self._listen(piece, talk)
            writer.write(piece)
            await writer.drain()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, talk: _Talk) -> None:
        while piece := await reader.read(_PIECE):
            if talk.is_lost:
                self.lost += 1
                return
            writer.write(piece)
            await writer.drain()

    def _listen(self, piece: bytes, talk: _Talk) -> None:
        words: Sequence[bytes] = self._words
        while words and talk.heard < len(words) and words[talk.heard] in piece:
            piece = piece[piece.index(words[talk.heard]) + len(words[talk.heard]) :]
            talk.heard += 1
        if words and talk.heard == len(words):
            self._words, talk.is_lost = (), True
