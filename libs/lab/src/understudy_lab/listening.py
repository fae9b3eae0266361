"""A test's own server on loopback, which leaves no connection behind, and whether others do."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from understudy_runtime.accepting import close_server

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(serve: Serve, port: int = 0) -> AsyncIterator[int]:
    """Serve each connection with `serve` while the context is open; gives the port. Connections end with it:
    Python 3.11 leaves them open, and tells of each in whatever test comes next."""
    handling: dict[asyncio.Future[None], asyncio.StreamWriter] = {}

    # No coroutine, so that a connection is known before its task has begun.
    def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handling[asyncio.ensure_future(serve(reader, writer))] = writer

    server = await asyncio.start_server(handle, "127.0.0.1", port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        try:
            await close_server(server)
        finally:
            for task in handling:
                task.cancel()
        await asyncio.gather(*handling, return_exceptions=True)
        for writer in handling.values():
            writer.transport.abort()
        await asyncio.gather(*(writer.wait_closed() for writer in handling.values()), return_exceptions=True)


async def connection_ends_with(server: AbstractAsyncContextManager[int], *, rounds: int) -> bool:
    """Whether a connection to `server`, which gives its port, ends with it although it was made only so many
    rounds of the event loop before: asyncio takes some to hand it over."""
    async with server as port:
        client = socket.create_connection(("127.0.0.1", port))
        for _ in range(rounds):
            await asyncio.sleep(0)
    with client:
        client.settimeout(10)
        try:
            return await asyncio.to_thread(client.recv, 1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False
