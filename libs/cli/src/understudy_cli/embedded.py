"""Keeps the embedded NATS and MongoDB running: one that crashed is started again, with its port and data."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final

from understudy_contracts.errors import UnderstudyError
from understudy_lab.embedded import EmbeddedMongo, EmbeddedNats
from understudy_runtime.retry import pauses
from understudy_runtime.waiting import go_on

Servers = Mapping[str, EmbeddedNats | EmbeddedMongo]
"""By the name that people know: NATS, MongoDB."""

LOOK_EVERY_S: Final = 0.25
LONGEST_PAUSE_S: Final = 5.0


@contextlib.asynccontextmanager
async def kept_running(servers: Servers, say: Callable[[str], None]) -> AsyncIterator[None]:
    """While the context is open, start each server again that ended; `say` hears one line of it."""
    watching = [
        asyncio.create_task(_keep_running(name, server, say), name=f"watch-{name}")
        for name, server in servers.items()
    ]
    try:
        yield
    finally:
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)


async def _keep_running(name: str, server: EmbeddedNats | EmbeddedMongo, say: Callable[[str], None]) -> None:
    waiting = pauses(LOOK_EVERY_S, LONGEST_PAUSE_S)
    while go_on():
        await asyncio.sleep(LOOK_EVERY_S)
        if server.running:
            continue
        say(f"{name} ended; starting it again (see {server.log})")
        restarting = asyncio.ensure_future(asyncio.to_thread(server.restart))
        try:
            await asyncio.shield(restarting)
        except UnderstudyError as error:
            say(f"{name} does not start: {error.message}")
            await asyncio.sleep(next(waiting))
        finally:
            # A start in its thread cannot be cancelled: who ends the servers must find it finished.
            await asyncio.wait({restarting})
