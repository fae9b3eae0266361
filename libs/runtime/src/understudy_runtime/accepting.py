"""Ending a server so that no connection stays open behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Protocol


class Listener(Protocol):
    """A socket that a server of asyncio listens on."""

    def fileno(self) -> int: ...


async def close_server(server: asyncio.Server) -> None:
    """Close `server`, also if this is cancelled; all its connections are known then, and stay open."""
    try:
        await stop_accepting(server.sockets)
    finally:
        server.close()


async def stop_accepting(listeners: Iterable[Listener]) -> None:
    """Take no connection any more, and wait until those taken are known to the server. It is called before
    the server's `close`.

    asyncio takes a connection over in three rounds of its loop. If the server closes between them, the new
    connection stays open and nobody learns of it; and who ends all known connections at once, as aiohttp and
    uvicorn do, misses it (`BaseSelectorEventLoop._accept_connection2` of Python 3.11).
    """
    loop = asyncio.get_running_loop()
    for listener in listeners:
        loop.remove_reader(listener.fileno())
    for _ in range(3):
        await asyncio.sleep(0)
