"""The control plane as one command, and its clients: real services, real servers, real processes."""

from __future__ import annotations

import json
import os
import select
import signal
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Finder = Callable[[str], list[int]]
Eventually = Callable[..., None]

pytestmark = pytest.mark.timeout(180)


class Running:
    """`understudy up` in a process of its own, and a client of it."""

    def __init__(self, command: Any, data: Path) -> None:
        self.command = command
        self.data = data
        self.mark = f"understudy-test-{os.getpid()}-{time.time_ns()}"
        self.process: subprocess.Popen[str] = command.start(
            "up", "--data-dir", str(data), "--listen", "127.0.0.1:0", MARK=self.mark
        )
        self.said: list[str] = []
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line.rstrip("\n"))
            if line.startswith("ready"):
                break
        else:
            pytest.fail(f"it did not become ready: {self.said} {self.process.communicate()[1]}")
        self.url = next(line.split()[1] for line in self.said if line.startswith("console")).rstrip("/")

    def __call__(self, *arguments: str, stdin: str = "") -> Any:
        """A client command with --json."""
        finished = self.command.run(*arguments, "--json", stdin=stdin)
        assert finished.returncode == 0, finished.stderr
        return json.loads(finished.stdout)

    def login(self) -> None:
        finished = self.command.run(
            "login",
            "--url",
            self.url,
            "--password-file",
            str(self.data / "authority" / "administrator-password"),
        )
        assert finished.returncode == 0, finished.stderr


@pytest.fixture
def running(command: Any, tmp_path: Path) -> Running:
    return Running(command, tmp_path / "data")


def test_a_day_with_the_command(running: Running, marked_processes: Finder, eventually: Eventually) -> None:
    run = running.command.run
    refused = run("status", "--url", running.url)
    assert refused.returncode == 1
    assert "understudy login" in refused.stderr
    wrong = run("login", "--url", running.url, stdin="not the password\n")
    assert (wrong.returncode, len(wrong.stderr.splitlines())) == (1, 1)

    running.login()
    session = running.command.home / ".config" / "understudy" / "session.json"
    assert stat.S_IMODE(session.stat().st_mode) == 0o600
    password = running.data / "authority" / "administrator-password"
    assert stat.S_IMODE(password.stat().st_mode) == 0o600
    assert password.read_text().strip() not in "\n".join(running.said)

    unconfirmed = run("servers", "add", "Spare", "--role", "failover")
    assert unconfirmed.returncode == 1
    assert "erased" in unconfirmed.stderr
    running("servers", "add", "Spare", "--role", "failover", "--yes")
    added = running("servers", "add", "North gate", "--role", "recording", "--pair", "all")
    assert added["server"]["id"] == "north-gate"
    assert added["join_token"]
    keys = running.data / "keys.txt"
    keys.write_text("KEY-0001\nKEY-0002\n")
    running("licenses", "import", "north-gate", str(keys))
    assert [key["holder"] for key in running("licenses")["keys"]] == ["north-gate"] * 2
    camera = running("cameras", "add", "north-gate", "Gate", "rtsp://192.0.2.1/stream")
    assert [(each["id"], each["server"]) for each in running("cameras")] == [(camera["id"], "north-gate")]
    assert running("settings", "set", "disconnection.after_s=2", "stop_automatically=true")
    assert running("settings")["disconnection"]["after_s"] == 2
    nonsense = run("settings", "set", "disconection.after_s=2")
    assert (nonsense.returncode, len(nonsense.stderr.splitlines())) == (2, 1)
    assert running("status")["counts"]["recording"]["disconnected"] == 1
    assert [server["name"] for server in running("servers")] == ["North gate", "Spare"]
    table = run("servers")
    assert "North gate" in table.stdout
    assert running("users", "add", "eve", stdin="a long enough password\n")["role"] == "viewer"
    assert [user["username"] for user in running("users")] == ["admin", "eve"]
    assert running("failover") == []
    nobody = run("failover", "watch", "f-1")
    assert (nobody.returncode, len(nobody.stderr.splitlines())) == (1, 1)

    events = running.command.start("events", "--json", "--kinds", "server")
    assert events.stdout is not None
    # It says nothing when it listens: so change something until it says that.
    changes = 0

    def heard() -> bool:
        nonlocal changes
        changes += 1
        running("servers", "add", f"More {changes}", "--role", "recording")
        ready, _, _ = select.select([events.stdout], [], [], 0.5)
        return bool(ready)

    eventually(heard, 30)
    assert json.loads(events.stdout.readline())["kind"] == "server"
    events.send_signal(signal.SIGINT)
    _, errors = events.communicate(timeout=20)
    assert (events.returncode, errors) == (130, "")

    assert run("logout").returncode == 0
    assert not session.exists()

    running.process.send_signal(signal.SIGINT)
    _, errors = running.process.communicate(timeout=60)
    assert (running.process.returncode, errors) == (130, "")
    assert marked_processes(running.mark) == []


def test_what_was_acknowledged_is_there_after_kill_9_and_nothing_is_left_running(
    running: Running, marked_processes: Finder, eventually: Eventually
) -> None:
    running.login()
    running("servers", "add", "North gate", "--role", "recording")
    assert len(marked_processes(running.mark)) > 8
    running.process.kill()
    running.process.communicate(timeout=20)
    eventually(lambda: not marked_processes(running.mark), 20)

    again = Running(running.command, running.data)
    again.login()
    assert [server["name"] for server in again("servers")] == ["North gate"]
    second = running.command.run("up", "--data-dir", str(running.data), "--listen", "127.0.0.1:0")
    assert (second.returncode, len(second.stderr.splitlines())) == (1, 1)
    assert "data folder" in second.stderr
    again.process.send_signal(signal.SIGTERM)
    again.process.communicate(timeout=60)
    assert again.process.returncode == 143
    assert marked_processes(again.mark) == []


def test_a_recording_server_that_cannot_join_says_why(running: Running, tmp_path: Path) -> None:
    finished = running.command.run(
        "recording-server", "--data-dir", str(tmp_path / "machine"), "--join", running.url, "--token", "wrong"
    )
    assert finished.returncode != 0
    assert "Traceback" not in finished.stderr
    assert "token" in finished.stderr


def test_ctrl_c_while_the_servers_start_leaves_nothing_running(
    command: Any, tmp_path: Path, marked_processes: Finder, eventually: Eventually
) -> None:
    data = tmp_path / "data"
    process = command.start("up", "--data-dir", str(data), "--listen", "127.0.0.1:0", PYTHONUNBUFFERED="1")
    eventually((data / "mongo" / "mongod.log").exists)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    # At once: that the kernel or a keeper ends them later is for crashes.
    assert marked_processes(str(data)) == []
    assert (process.returncode, errors) == (130, "")


def test_nats_and_mongodb_that_crash_are_started_again_and_nothing_is_lost(
    running: Running, eventually: Eventually
) -> None:
    running.login()
    running("servers", "add", "North gate", "--role", "recording")
    for program, folder in (("nats-server", "nats"), ("mongod", "mongo")):
        for pid in processes_running(program, running.data / folder):
            os.kill(pid, signal.SIGKILL)
        assert running.process.stdout is not None
        assert "ended; starting it again" in running.process.stdout.readline()
        # It serves again, with what was acknowledged before: adding asks MongoDB, settings ask over NATS.
        name = f"After {program}"
        eventually(
            lambda name=name: (
                running.command.run("servers", "add", name, "--role", "recording").returncode == 0
            ),
            40,
        )
        eventually(lambda: running.command.run("settings", "--json").returncode == 0, 40)
    assert [server["name"] for server in running("servers")] == [
        "After mongod",
        "After nats-server",
        "North gate",
    ]
    running.process.send_signal(signal.SIGINT)
    _, errors = running.process.communicate(timeout=60)
    assert (running.process.returncode, errors) == (130, "")


def processes_running(program: str, folder: Path) -> list[int]:
    """Processes of `program` that work on `folder`; not who keeps them, which has the name as an argument."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                arguments = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            if Path(arguments[0]).name == program and any(str(folder) in each for each in arguments):
                found.append(int(entry.name))
    assert found
    return found
