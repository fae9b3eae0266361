"""A client of nats-py (2.16) that leaves no connection open behind it."""

from __future__ import annotations

import asyncio

from nats.aio.client import Client, Srv


class TidyClient(Client):
    """nats-py forgets a connection whose handshake fails while it connects again, and one that is being made
    when it is told to give up. Python tells of each whenever it is collected."""

    async def _connect_to_server(self, s: Srv) -> None:
        self._hang_up()
        await super()._connect_to_server(s)

    async def give_up(self, connecting: asyncio.Task[None]) -> None:
        """End `connecting`, a task that runs `connect`, and what it has made. Its result is not told."""
        while not connecting.done():
            # Once is not enough: `asyncio.wait_for` of Python 3.11 may pass a cancellation by.
            connecting.cancel()
            await asyncio.wait({connecting}, timeout=1.0)
        if not connecting.cancelled():
            connecting.exception()
        if self.is_connected or self.is_reconnecting:
            await self.leave()
        self._hang_up()

    async def leave(self) -> None:
        """Close, also if this is cancelled.

        nats-py closes although it may not have stopped connecting again: then it lives on, for ever.
        """
        try:
            while self._reconnection_task is not None and not self._reconnection_task.done():
                self._reconnection_task.cancel()
                await asyncio.wait({self._reconnection_task}, timeout=1.0)
            if not self.is_closed:
                await self.close()
        finally:
            self._hang_up()

    def _hang_up(self) -> None:
        if self._transport is not None:
            self._transport.close()  # type: ignore[no-untyped-call]
