"""Processes of this machine: who runs below whom, and how to start one that ends with us."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from understudy_cli import tied

_ENDED = {"Z", "X"}
_OURS_ALONE = {
    "UNDERSTUDY_TOKEN",
    "UNDERSTUDY_URL",
    "UNDERSTUDY_LISTEN",
    "UNDERSTUDY_DATA_DIR",
    "UNDERSTUDY_JOIN",
    "UNDERSTUDY_JOIN_TOKEN",
}


@dataclass(frozen=True)
class ProcessPlan:
    """How to start a process: `arguments` after the Python interpreter, `environment` on top of ours.

    `before` is put before the interpreter: a program by its whole path, and its arguments, that becomes the
    process (as `ip netns exec` does).
    """

    name: str
    arguments: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    before: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Seen:
    """A running process as /proc shows it."""

    pid: int
    parent: int
    session: int
    started: int
    """In ticks since boot: with it, a number that the kernel gave out again is told from the old one."""


async def start_tied(
    plan: ProcessPlan,
    *,
    output: IO[bytes] | int,
    errors: IO[bytes] | int = asyncio.subprocess.STDOUT,
    stdin: int = asyncio.subprocess.DEVNULL,
) -> asyncio.subprocess.Process:
    """Start a process in a session of its own, so that Ctrl-C in a terminal is for us alone; it dies with us.

    Must be called in the main thread (see tied.py).
    """
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-S",
        tied.__file__,
        str(os.getpid()),
        *plan.before,
        sys.executable,
        *plan.arguments,
        stdin=stdin,
        stdout=output,
        stderr=errors,
        env=child_environment(plan.environment),
        start_new_session=True,
    )


def child_environment(more: dict[str, str]) -> dict[str, str]:
    """Our environment for a child, without what is meant for this command alone, and with `more`."""
    own = {key: value for key, value in os.environ.items() if key not in _OURS_ALONE}
    return {**own, "UNDERSTUDY_SUPERVISED": "1", "PYTHONUNBUFFERED": "1", **more}


def running_processes() -> list[Seen]:
    """Every process that has not ended (a zombie has), read from /proc."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # The name in brackets may hold anything, brackets too: what follows the last one is fixed.
                fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
                if fields[0] not in _ENDED:
                    found.append(Seen(int(entry.name), int(fields[1]), int(fields[3]), int(fields[19])))
    return found


def tree_of(pid: int, processes: list[Seen]) -> list[Seen]:
    """`pid` with everything below it and everything in the session that it leads."""
    found = [p for p in processes if pid in {p.pid, p.session}]
    for current in found:
        found.extend(p for p in processes if p.parent == current.pid and p not in found)
    return found


def still_running(processes: list[Seen]) -> list[Seen]:
    """Those that have not ended."""
    running = {(seen.pid, seen.started) for seen in running_processes()}
    return [seen for seen in processes if (seen.pid, seen.started) in running]


def kill_all(processes: list[Seen]) -> None:
    """kill -9 each; those that have ended already are passed over."""
    for seen in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(seen.pid, signal.SIGKILL)
