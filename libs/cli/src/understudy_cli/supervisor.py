"""Keeps processes running: starts them, starts them again when they crash, ends them in order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from understudy_contracts.errors import ConfigurationError, UnderstudyError
from understudy_lab.embedded.process import last_log_line
from understudy_runtime.process import EXIT_CONFIGURATION
from understudy_runtime.retry import pauses

from understudy_cli.processes import (
    ProcessPlan,
    Seen,
    kill_all,
    running_processes,
    start_tied,
    still_running,
    tree_of,
)

FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 5.0
STEADY_AFTER_S: Final = 30.0
"""A process that ran this long is not crashing in a row: its pauses begin anew."""
STOP_GRACE_S: Final = 10.0
KILLED_WITHIN_S: Final = 5.0
"""What was killed is gone soon, unless it waits for a disk that hangs."""
_POLL_S: Final = 0.05


class ProcessFailed(UnderstudyError):
    """A process cannot run as configured: starting it again would not help."""

    code = "process-failed"


@dataclass
class _Child:
    plan: ProcessPlan
    log: Path
    process: asyncio.subprocess.Process
    started: float
    wanted: bool = True
    restarts: int = 0
    failure: str = ""
    pauses: Iterator[float] = field(default_factory=lambda: pauses(FIRST_PAUSE_S, LONGEST_PAUSE_S))
    watch: asyncio.Task[None] | None = None


class Supervisor:
    """The processes under one command. Use it in the main thread, as a context: leaving it ends them all.

    `say` hears one line for each crash. Output goes to `<logs>/<name>.log`.
    """

    def __init__(self, logs: Path, say: Callable[[str], None]) -> None:
        self._logs = logs
        self._say = say
        self._children: dict[str, _Child] = {}

    async def __aenter__(self) -> Supervisor:
        try:
            self._logs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"cannot write logs to {self._logs}: {error.strerror}") from None
        return self

    async def __aexit__(self, *_: object) -> None:
        # Last started, first ended: servers before the services that they talk to.
        await self.stop(reversed(list(self._children)))

    async def start(self, plan: ProcessPlan) -> None:
        """Start a process and keep it running; one of that name that was stopped or killed runs again."""
        known = self._children.get(plan.name)
        if known is not None and known.wanted:
            raise ValueError(f"{plan.name} is supervised already")
        log = self._logs / f"{plan.name}.log"
        process = await _spawn(plan, log)
        child = _Child(plan, log, process, time.monotonic(), restarts=known.restarts if known else 0)
        self._children.pop(plan.name, None)
        self._children[plan.name] = child
        child.watch = asyncio.create_task(self._watch(child), name=f"watch-{plan.name}")

    async def start_again(self, name: str) -> None:
        """Start a process that was killed or stopped, as it was started before."""
        await self.start(self._children[name].plan)

    def pid(self, name: str) -> int:
        return self._children[name].process.pid

    def restarts(self, name: str) -> int:
        """How often it was started again after a crash."""
        return self._children[name].restarts

    def raise_if_failed(self) -> None:
        """
        Raises:
            ProcessFailed: a process said that it cannot run as configured; with its last words.
        """
        for child in self._children.values():
            if child.failure:
                raise ProcessFailed(f"{child.plan.name} cannot run: {child.failure}")

    async def kill(self, name: str, *, restart: bool) -> int:
        """End a process and all below it by kill -9, as a crash or power cut would.

        With `restart` it is then treated as any crash, else it stays down until `start_again`.
        Returns the moment of the kill, UTC milliseconds.
        """
        child = self._children[name]
        if not restart:
            await _unwatch(child)
        pids = tree_of(child.process.pid, running_processes())
        killed_at = time.time_ns() // 1_000_000
        kill_all(pids)
        await child.process.wait()
        await _gone(pids, time.monotonic() + KILLED_WITHIN_S)
        return killed_at

    async def stop(self, names: Iterable[str]) -> None:
        """End processes one after the other: SIGTERM, and after ten seconds kill -9 for all that is left."""
        for name in names:
            await self._stop(self._children[name])

    async def stop_together(self, names: Iterable[str]) -> None:
        """The same, all at once."""
        await asyncio.gather(*(self._stop(self._children[name]) for name in names))

    async def _stop(self, child: _Child) -> None:
        await _unwatch(child)
        deadline = time.monotonic() + STOP_GRACE_S
        tree = tree_of(child.process.pid, running_processes())
        try:
            if child.process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    child.process.terminate()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(STOP_GRACE_S):
                        await child.process.wait()
            await _gone(tree, deadline)
        finally:
            kill_all(still_running(tree))
        await child.process.wait()
        await _gone(tree, time.monotonic() + KILLED_WITHIN_S)

    async def _watch(self, child: _Child) -> None:
        try:
            await self._keep_running(child)
        except UnderstudyError as error:
            self._give_up(child, error.message)

    def _give_up(self, child: _Child, why: str) -> None:
        child.wanted = False
        child.failure = why
        self._say(f"{child.plan.name} cannot run: {why}")

    async def _keep_running(self, child: _Child) -> None:
        while True:
            status = await child.process.wait()
            if status == EXIT_CONFIGURATION:
                self._give_up(child, last_log_line(child.log))
                return
            if time.monotonic() - child.started > STEADY_AFTER_S:
                child.pauses = pauses(FIRST_PAUSE_S, LONGEST_PAUSE_S)
            pause = next(child.pauses)
            self._say(
                f"{child.plan.name} {_how_it_ended(status)}; starting it again in {pause:.1f} s "
                f"(see {child.log})"
            )
            await asyncio.sleep(pause)
            child.restarts += 1
            child.started = time.monotonic()
            child.process = await _spawn(child.plan, child.log)


async def _gone(tree: list[Seen], deadline: float) -> None:
    """Wait until all have ended, at most until `deadline`: nobody tells us when a child's child ends."""
    while still_running(tree) and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(_POLL_S)


async def _unwatch(child: _Child) -> None:
    """From now on nobody starts it again; a start that is under way is undone."""
    child.wanted = False
    if child.watch is not None:
        child.watch.cancel()
        await asyncio.wait([child.watch])


async def _spawn(plan: ProcessPlan, log: Path) -> asyncio.subprocess.Process:
    try:
        with log.open("ab") as output:
            return await start_tied(plan, output=output)
    except OSError as error:
        raise ConfigurationError(f"cannot start {plan.name}: {error}") from None


def _how_it_ended(status: int) -> str:
    if status < 0:
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(-status).name}"
    return f"ended with status {status}"
