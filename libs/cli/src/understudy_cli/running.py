"""Runs a long command until it ends or somebody ends it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

INTERRUPTED = 130
TERMINATED = 143


class Ended(Exception):
    """A signal ended the command; `status` is what the shell expects then."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def run_until_ended(command: Coroutine[Any, Any, T]) -> T:
    """Run `command`; Ctrl-C, SIGTERM and SIGHUP cancel it, and it ends everything that it has started.

    A second Ctrl-C ends this process at once, and the kernel ends the others (tied.py).
    Raises Ended if a signal ended it.
    """

    async def body() -> T:
        task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        caught: list[int] = []

        def end(number: int) -> None:
            caught.append(number)
            for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                loop.remove_signal_handler(each)
            if task is not None:
                task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, end, number)
        try:
            return await command
        except asyncio.CancelledError:
            if caught:
                raise Ended(INTERRUPTED if caught[0] == signal.SIGINT else 128 + caught[0]) from None
            raise

    return asyncio.run(body())
