"""Work in a daemon thread of its own: for calls that a sick disk may never end.

The pools of asyncio wait for their threads when the process ends, and so would this process for that disk.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


def beside(work: Callable[[], T], name: str) -> asyncio.Future[T]:
    """Begin `work` beside the event loop; the future has its result or its error."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(error: BaseException | None, result: T | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type] # the result of `work`

    def run() -> None:
        error: BaseException | None = None
        result: T | None = None
        try:
            result = work()
        except BaseException as caught:  # noqa: BLE001 - handed to whoever waits
            error = caught
        # The loop may have been closed meanwhile: then nobody waits any more.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, error, result)

    Thread(target=run, name=name, daemon=True).start()
    return future
