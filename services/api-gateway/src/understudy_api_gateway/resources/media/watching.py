"""Live view through the gateway: a WebSocket from the machine that serves the camera, and from its successor
when another takes over."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import structlog
from litestar import WebSocket
from litestar.exceptions import WebSocketDisconnect
from understudy_contracts.errors import NotFound, Unavailable, UnderstudyError

from understudy_api_gateway.parts import Parts
from understudy_api_gateway.resources.media.holders import Holder
from understudy_api_gateway.resources.media.relay import Relay

AGAIN_S = 0.5
LOGIN_CHECKED_EVERY_S = 2.0
SEND_PATIENCE_S = 10.0
LARGEST_MESSAGE = 40 << 20
MOST_WATCHERS = 300
# Ours to give a meaning (RFC 6455, 7.4.2): as the machines use them, and of the gateway.
CLOSE_NO_LOGIN = 4401
CLOSE_REFUSED = 4403
CLOSE_NOT_FOUND = 4404
CLOSE_TOO_SLOW = 4408
CLOSE_UNPLAYABLE = 4415
_WAITING = '{"type":"waiting"}'

log = structlog.get_logger()


def is_foreign(origin: str | None, host: str | None) -> bool:
    """Whether a page of another origin asks; programs send none."""
    return origin is not None and urlsplit(origin).netloc != (host or "")


class Ended(Exception):
    """The live view is over; the code and the reason are for who watched."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Watching:
    """One watcher."""

    def __init__(self, parts: Parts, socket: WebSocket[Any, Any, Any], camera: str) -> None:
        self._parts = parts
        self._relay = Relay(parts)
        self._socket = socket
        self._camera = camera

    async def run(self, still_logged_in: Any, stream: str) -> None:
        """Show the camera until the watcher leaves, or may not watch any more."""
        tasks = {
            asyncio.create_task(self._show(stream)),
            asyncio.create_task(self._until_gone()),
            asyncio.create_task(_until_logged_out(still_logged_in)),
            asyncio.create_task(self._until_closing()),
        }
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            error = None if task.cancelled() else task.exception()
            if error is not None:
                raise error

    async def _show(self, stream: str) -> None:
        while True:
            serving = self._relay.machines.serving(self._camera)
            if serving is not None:
                await self._pass_on(Holder(serving.server or "", serving.machine, serving.address), stream)
            await self._send_text(_WAITING)
            await asyncio.sleep(AGAIN_S)

    async def _pass_on(self, holder: Holder, stream: str) -> None:
        url = f"{holder.address}/media/cameras/{self._camera}/live"
        try:
            async with self._relay.http.ws_connect(
                url, params={"stream": stream}, headers=self._relay.headers(holder, self._camera),
                max_msg_size=LARGEST_MESSAGE, heartbeat=15.0, autoclose=True,
            ) as upstream:  # fmt: skip
                async for message in upstream:
                    if message.type is aiohttp.WSMsgType.BINARY:
                        await self._send_bytes(message.data)
                    elif message.type is aiohttp.WSMsgType.TEXT:
                        await self._send_text(message.data)
                if upstream.close_code in {CLOSE_TOO_SLOW, CLOSE_UNPLAYABLE}:
                    raise Ended(upstream.close_code, "the live view has ended: it cannot be shown here")
        except aiohttp.WSServerHandshakeError as error:
            if error.status == 400:
                raise Ended(CLOSE_NOT_FOUND, "the camera has no such stream") from None
            log.info("no live view", server=holder.server, status=error.status)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            log.info("no live view", server=holder.server, error=type(error).__name__)

    async def _send_bytes(self, data: bytes) -> None:
        try:
            async with asyncio.timeout(SEND_PATIENCE_S):
                await self._socket.send_bytes(data)
        except TimeoutError:
            raise Ended(CLOSE_TOO_SLOW, "you did not read fast enough") from None

    async def _send_text(self, text: str) -> None:
        try:
            async with asyncio.timeout(SEND_PATIENCE_S):
                await self._socket.send_text(text)
        except TimeoutError:
            raise Ended(CLOSE_TOO_SLOW, "you did not read fast enough") from None

    async def _until_gone(self) -> None:
        try:
            while True:
                message = await self._socket.receive()
                if message["type"] == "websocket.disconnect":
                    return
        except WebSocketDisconnect:
            return

    async def _until_closing(self) -> None:
        await self._parts.closing.wait()
        raise Ended(1012, "the host is being restarted")


async def _until_logged_out(still_logged_in: Any) -> None:
    while True:
        await asyncio.sleep(LOGIN_CHECKED_EVERY_S)
        if not await still_logged_in():
            raise Ended(CLOSE_NO_LOGIN, "this login has ended: log in again")


def ended_by(error: UnderstudyError) -> Ended:
    """The end that an error means."""
    code = {"unauthenticated": CLOSE_NO_LOGIN, "refused": CLOSE_REFUSED}.get(error.code, 1011)
    if isinstance(error, NotFound) or error.code in {"invalid-id", "invalid-input"}:
        code = CLOSE_NOT_FOUND
    return Ended(1013 if isinstance(error, Unavailable) else code, error.message)
