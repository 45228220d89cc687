"""`make demo` as a new user runs it, from nothing to the addresses, and Ctrl-C."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

PROJECT = Path(__file__).resolve().parents[2]
FIGURES = {
    "music": "6,919 sales, 0 returns, 2,357 members, balance 24,409,194",
    "cafe": "600 members",
    "hiking": "members",
}


def _environment(state: Path) -> dict[str, str]:
    given = ("DATABASE_URL", "DATABASE_APP_URL", "REDIS_URL", "MEDIA_ROOT", "DJANGO_SETTINGS_MODULE")
    return {**{k: v for k, v in os.environ.items() if k not in given}, "STATE_DIR": str(state), "PYTHONUNBUFFERED": "1"}


def _wait_for(output: Path, words: str, *, process: subprocess.Popen[bytes], seconds: float) -> str:
    until = time.monotonic() + seconds
    while words not in (text := output.read_text()):
        assert process.poll() is None, f"The demo ended early:\n{text}"
        assert time.monotonic() < until, f"The demo took too long:\n{text}"
        time.sleep(0.5)
    return text


@pytest.mark.timeout(400)
def test_demo_loads_its_clients_serves_pages_and_stops_on_ctrl_c(tmp_path: Path) -> None:
    output = tmp_path / "output"
    with output.open("wb") as out:
        demo = subprocess.Popen(
            [sys.executable, "manage.py", "demo"],
            cwd=PROJECT, env=_environment(tmp_path / "state"), stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip
    try:
        text = _wait_for(output, "Ctrl-C stops everything.", process=demo, seconds=300)
        for slug, figures in FIGURES.items():
            assert re.search(rf"--client {slug}: .*{re.escape(figures)}", text), text
        _see_the_pages(text)
    finally:
        os.killpg(demo.pid, signal.SIGINT)
        code = demo.wait(timeout=60)

    assert code == 0
    assert "Stopped. What was loaded is kept" in output.read_text()
    assert not _running(str(tmp_path)), "Nothing of the demo runs any more."


def _running(words: str) -> list[str]:
    """Command lines on this machine that contain `words`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if words in line:
            found.append(line)
    return found


def _see_the_pages(text: str) -> None:
    port = re.search(r"http://platform\.localhost:(\d+)/", text)
    key = re.search(r"key (lk_\S+)", text)
    assert port
    assert key
    for host, path, headers in (
        ("platform.localhost", "/accounts/login/", {}),
        ("music.localhost", "/accounts/login/", {}),
        ("music.localhost", "/api/v1/members/19339/balance", {"Authorization": f"Bearer {key[1]}"}),
    ):
        request = Request(f"http://127.0.0.1:{port[1]}{path}", headers={"Host": host, **headers})
        with urlopen(request, timeout=10) as answer:  # noqa: S310 (our own address)
            body = answer.read().decode()
        assert answer.status == 200
    assert '"balance":655270' in body.replace(" ", "")
