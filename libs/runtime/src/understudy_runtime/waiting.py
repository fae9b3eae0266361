"""Waiting that can be cancelled.

`asyncio.wait_for` of Python 3.11 loses a cancellation that comes together with what it waits for; a loop that
uses it may then never end. `asyncio.timeout` does not.
"""

from __future__ import annotations

import asyncio


async def wait_at_most(event: asyncio.Event, seconds: float) -> bool:
    """Wait for `event`, at most so many seconds. Returns whether it was set."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return event.is_set()
    return True


def go_on() -> bool:
    """Whether this task may go on: the condition of every loop that runs until it is cancelled.

    Libraries that we call may lose a cancellation too, by the same fault or by turning it into an error of
    theirs; the task itself still knows that it was told to end.
    """
    task = asyncio.current_task()
    return task is None or task.cancelling() == 0
