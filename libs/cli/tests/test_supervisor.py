"""Real processes: kept running, killed on purpose, never left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from understudy_cli.processes import ProcessPlan, Seen, child_environment, running_processes, tree_of
from understudy_cli.supervisor import ProcessFailed, Supervisor
from understudy_contracts.errors import ConfigurationError

Finder = Callable[[str], list[int]]
Eventually = Callable[..., None]

WAITS = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text('up'); time.sleep(600)"
CRASHES = "import sys; print('cannot go on', flush=True); sys.exit(1)"
REFUSES = "import sys; print('understudy it: the setting is wrong', flush=True); sys.exit(2)"
STUBBORN = (
    "import pathlib, signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "pathlib.Path(sys.argv[1]).write_text('up'); time.sleep(600)"
)
HAS_CHILD = (
    "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', sys.argv[2], sys.argv[1]]);"
    "child.wait()"
)


async def until(condition: Callable[[], object], within_s: float = 15.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.02)


def alive(pid: int) -> bool:
    return any(seen.pid == pid for seen in running_processes())


async def test_runs_and_logs_and_ends(tmp_path: Path) -> None:
    up = tmp_path / "up"
    async with Supervisor(tmp_path / "logs", print) as supervisor:
        await supervisor.start(ProcessPlan("one", ["-c", f"print('hello', flush=True);{WAITS}", str(up)]))
        await until(up.exists)
        pid = supervisor.pid("one")
        assert alive(pid)
    assert not alive(pid)
    assert (tmp_path / "logs" / "one.log").read_text() == "hello\n"


async def test_a_crash_is_told_and_repaired_with_growing_pauses(tmp_path: Path) -> None:
    said: list[str] = []
    async with Supervisor(tmp_path / "logs", said.append) as supervisor:
        await supervisor.start(ProcessPlan("one", ["-c", CRASHES]))
        await until(lambda: supervisor.restarts("one") >= 4)
    assert said[0].startswith("one ended with status 1; starting it again in 0.1 s")
    paused = [float(line.split(" in ")[1].split(" s")[0]) for line in said]
    assert max(paused) > 2 * paused[0]


async def test_kill_is_a_crash_unless_it_is_to_stay_down(tmp_path: Path) -> None:
    up = tmp_path / "up"
    said: list[str] = []
    async with Supervisor(tmp_path / "logs", said.append) as supervisor:
        await supervisor.start(ProcessPlan("one", ["-c", WAITS, str(up)]))
        await until(up.exists)
        first = supervisor.pid("one")
        up.unlink()
        before = time.time_ns() // 1_000_000
        killed_at = await supervisor.kill("one", restart=True)
        assert before <= killed_at <= time.time_ns() // 1_000_000
        await until(up.exists)
        second = supervisor.pid("one")
        assert second != first
        assert len(said) == 1
        assert said[0].startswith("one was ended by SIGKILL; starting it again in ")
        up.unlink()
        await supervisor.kill("one", restart=False)
        assert not alive(second)
        assert supervisor.restarts("one") == 1
        assert len(said) == 1
        await supervisor.start_again("one")
        await until(up.exists)


async def test_kill_takes_all_that_runs_below(tmp_path: Path) -> None:
    up = tmp_path / "up"
    async with Supervisor(tmp_path / "logs", print) as supervisor:
        await supervisor.start(ProcessPlan("one", ["-c", HAS_CHILD, str(up), WAITS]))
        await until(up.exists)
        tree = tree_of(supervisor.pid("one"), running_processes())
        assert len(tree) == 2
        await supervisor.kill("one", restart=False)
        await until(lambda: not any(alive(seen.pid) for seen in tree))


async def test_who_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy_cli.supervisor.STOP_GRACE_S", 0.5)
    up = tmp_path / "up"
    async with Supervisor(tmp_path / "logs", print) as supervisor:
        await supervisor.start(ProcessPlan("one", ["-c", HAS_CHILD, str(up), STUBBORN]))
        await supervisor.start(ProcessPlan("two", ["-c", STUBBORN, str(tmp_path / "two")]))
        await until(lambda: up.exists() and (tmp_path / "two").exists())
        trees = [tree_of(supervisor.pid(name), running_processes()) for name in ("one", "two")]
    assert [len(tree) for tree in trees] == [2, 1]
    assert not any(alive(seen.pid) for tree in trees for seen in tree)


async def test_wrong_configuration_is_not_tried_again(tmp_path: Path) -> None:
    said: list[str] = []
    async with Supervisor(tmp_path / "logs", said.append) as supervisor:
        await supervisor.start(ProcessPlan("one", ["-c", REFUSES]))
        await until(lambda: said)
        with pytest.raises(ProcessFailed, match="one cannot run: understudy it: the setting is wrong"):
            supervisor.raise_if_failed()
        assert supervisor.restarts("one") == 0
    assert len(said) == 1


async def test_logs_that_cannot_be_written_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file")
    with pytest.raises(ConfigurationError, match="cannot write logs"):
        async with Supervisor(tmp_path / "logs", print):
            pytest.fail("it started")


async def test_stop_in_the_middle_of_a_restart_leaves_nothing(
    tmp_path: Path, marked_processes: Finder
) -> None:
    mark = f"understudy-test-{os.getpid()}-{time.time_ns()}"
    for hundredths in range(0, 20, 2):
        async with Supervisor(tmp_path / "logs", print) as supervisor:
            await supervisor.start(ProcessPlan("one", ["-c", CRASHES], {"MARK": mark}))
            await asyncio.sleep(hundredths / 100)  # not a wait for anything: it moves the moment of the stop
    await until(lambda: not marked_processes(mark))


SUPERVISES = """
import asyncio, pathlib, sys
from understudy_cli.processes import ProcessPlan
from understudy_cli.supervisor import Supervisor

async def main(folder, mark, child):
    async with Supervisor(folder / "logs", print) as supervisor:
        for name in ("one", "two"):
            await supervisor.start(ProcessPlan(name, ["-c", child, str(folder / name)], {"MARK": mark}))
        await asyncio.sleep(600)

asyncio.run(main(pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
"""


@pytest.mark.parametrize("at_once", [False, True])
def test_nothing_is_left_when_the_supervisor_is_killed(
    tmp_path: Path, marked_processes: Finder, eventually: Eventually, at_once: bool
) -> None:
    import subprocess

    mark = f"understudy-test-{os.getpid()}-{time.time_ns()}"
    with subprocess.Popen([sys.executable, "-c", SUPERVISES, str(tmp_path), mark, STUBBORN]) as supervisor:
        if at_once:  # while the children still are on their way to becoming what they are to be
            eventually(lambda: len(marked_processes(mark)) > 1)
        else:
            eventually(lambda: (tmp_path / "one").exists() and (tmp_path / "two").exists())
        os.kill(supervisor.pid, signal.SIGKILL)
    eventually(lambda: not marked_processes(mark))


def test_a_tree_has_children_and_the_session_and_nobody_else() -> None:
    processes = [
        Seen(1, 0, 1, 0),
        Seen(10, 1, 10, 5),
        Seen(11, 10, 10, 6),
        Seen(12, 11, 12, 7),  # a session of its own, but a child
        Seen(13, 1, 10, 8),  # its parent has died, but it is of the session
        Seen(14, 13, 14, 9),
        Seen(20, 1, 20, 5),
    ]
    assert {seen.pid for seen in tree_of(10, processes)} == {10, 11, 12, 13, 14}
    assert tree_of(99, processes) == []


def test_children_do_not_get_what_is_ours_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_TOKEN", "canary")
    monkeypatch.setenv("UNDERSTUDY_LOG_LEVEL", "debug")
    environment: dict[str, Any] = child_environment({"UNDERSTUDY_LISTEN": "127.0.0.1:1"})
    assert "UNDERSTUDY_TOKEN" not in environment
    assert environment["UNDERSTUDY_LOG_LEVEL"] == "debug"
    assert environment["UNDERSTUDY_LISTEN"] == "127.0.0.1:1"
    assert environment["UNDERSTUDY_SUPERVISED"] == "1"
