"""Waiting for something to become true, with a time limit and the reason why it is not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from understudy_contracts.errors import Unavailable, UnderstudyError

T = TypeVar("T")


class DemoFailed(UnderstudyError):
    """The scenario could not be carried out to its end; the message says what did not happen."""

    code = "demo-failed"


class NotYet(Exception):
    """What is still missing."""


async def wait_for(
    what: str, look: Callable[[], Awaitable[T]], *, within_s: float, every_s: float = 0.1
) -> T:
    """Look again and again until `look` returns instead of raising NotYet. An API that asks to try again
    (a service is being started again) is asked again.

    Raises:
        DemoFailed: not within the time; with what was missing last.
    """
    deadline = time.monotonic() + within_s
    missing = "nothing was seen of it"
    while True:
        try:
            return await look()
        except NotYet as not_yet:
            missing = str(not_yet)
        except Unavailable as error:
            missing = error.message
        if time.monotonic() > deadline:
            raise DemoFailed(f"{what}: not within {within_s:.0f} s; {missing}")
        await asyncio.sleep(every_s)
