"""Programs that run beside a command and end with it: the web server, the workers, the scheduler."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

FIRST_PORT = 8000
_PROJECT = Path(__file__).resolve().parent.parent


def free_port(first: int = FIRST_PORT) -> int:
    """The first port from `first` on that nobody listens on."""
    for port in range(first, first + 200):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("No free port was found.")


class Processes:
    """A set of programs with their logs; Ctrl-C reaches none of them, `stop` ends all of them."""

    def __init__(self, *, logs: Path, environment: Mapping[str, str]) -> None:
        self._logs, self._environment = logs, {**os.environ, **environment}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, name: str, *arguments: str) -> None:
        """Run a module of our Python with arguments, its output going to a log of that name."""
        with (self._logs / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=_PROJECT,
                env=self._environment,
                start_new_session=True,
            )

    def run(self, name: str, *arguments: str) -> bool:
        """Run a program of our Python to its end, its output going to a log of that name; whether it went well."""
        with self.log_of(name).open("ab") as log:
            done = subprocess.run(
                [sys.executable, *arguments], stdout=log, stderr=log, env=self._environment, cwd=_PROJECT, check=False
            )
        return done.returncode == 0

    def start_web(self, *, port: int, workers: int = 1, threads: int = 8) -> None:
        """The web server on 127.0.0.1."""
        self.start(
            "web", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port),
            "--workers", str(workers), "--blocking-threads", str(threads), "--no-access-log",
            "loyalty_saas.wsgi:application",
        )  # fmt: skip

    def start_workers(self, *, concurrency: int = 1) -> None:
        """Workers for what members wait for, others for all else, and the scheduler that wakes them by the clock."""
        for name, queue in (("drains", "drains"), ("worker", "celery")):
            self.start(
                name, "celery", "-A", "loyalty_saas", "worker", "--queues", queue, "--hostname", f"{name}@%h",
                "--loglevel", "INFO", "--concurrency", str(concurrency), "--without-mingle", "--without-gossip",
            )  # fmt: skip
        self.start(
            "scheduler", "celery", "-A", "loyalty_saas", "beat", "--loglevel", "INFO", "--pidfile=",
            "--schedule", str(self._logs / "scheduler.db"),
        )  # fmt: skip

    def ended(self) -> str | None:
        """The name of a program that has ended by itself, if one has."""
        return next((name for name, process in self._running.items() if process.poll() is not None), None)

    def log_of(self, name: str) -> Path:
        """Where a program's output is kept."""
        return self._logs / f"{name}.log"

    def stop(self, *, patience: float = 15.0) -> None:
        """Ask all of them to end, and after `patience` seconds end them."""
        for process in self._running.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        until = time.monotonic() + patience
        for process in self._running.values():
            try:
                process.wait(timeout=max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self._running.clear()


def answers(url: str, *, host: str, seconds: float) -> bool:
    """Whether `url` answers 200 for that host within so many seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            with urlopen(Request(url, headers={"Host": host}), timeout=2) as answer:  # noqa: S310 (our own address)
                if answer.status == 200:
                    return True
        except (URLError, OSError):
            time.sleep(0.2)
    return False
