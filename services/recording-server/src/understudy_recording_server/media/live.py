"""Live view over WebSocket: fragmented MP4 from the last key frame on.

A text message is JSON: `begin` says what follows (`mime`, `width`, `height`), `waiting` that the camera sends
nothing now. After `begin` come binary messages: first the head, then fragments. A new `begin` starts anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket

import msgspec
import structlog
from aiohttp import WSMsgType, web
from understudy_contracts.errors import InvalidInput, NotFound, UnderstudyError

from understudy_recording_server.live_protocol import StreamName
from understudy_recording_server.media.access import Access
from understudy_recording_server.media.answers import handled
from understudy_recording_server.media.codecs import kind_of
from understudy_recording_server.media.feeds import Begin, Feeds, TooSlow, Video, Viewer
from understudy_recording_server.media.mp4 import Unreadable

SEND_PATIENCE_S = 5.0
SOCKET_BUFFER_BYTES = 256 << 10
"""Seconds of video: else the kernel alone would keep minutes of a small stream for who does not read."""
HEARTBEAT_S = 15.0
LARGEST_MESSAGE_IN = 1024
# RFC 6455, 7.4.2: 4000 to 4999 are ours to give a meaning.
CLOSE_NOT_HERE = 4404
CLOSE_TOO_SLOW = 4408
CLOSE_UNPLAYABLE = 4415

log = structlog.get_logger()


class Live:
    """`/media/cameras/<id>/live`; `?stream=sub` for the camera's second stream."""

    def __init__(self, access: Access, feeds: Feeds) -> None:
        self._access = access
        self._feeds = feeds

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get("/media/cameras/{camera}/live", handled(self._live), allow_head=False)

    async def _live(self, request: web.Request) -> web.StreamResponse:
        camera = self._access.camera_of(request)
        stream = _stream_of(request)
        answer = web.WebSocketResponse(heartbeat=HEARTBEAT_S, max_msg_size=LARGEST_MESSAGE_IN, compress=False)
        if not answer.can_prepare(request).ok:
            raise InvalidInput("live view is a WebSocket: connect with one")
        viewer, leave = self._feeds.join(camera, stream)
        try:
            await answer.prepare(request)
            connection = request.get_extra_info("socket")
            if connection is not None:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER_BYTES)
            await self._serve(request, answer, viewer)
        finally:
            leave()
        return answer

    async def _serve(self, request: web.Request, answer: web.WebSocketResponse, viewer: Viewer) -> None:
        # Somebody must read, for pings to be answered and the end to be noticed.
        reading = asyncio.create_task(_until_gone(answer))
        sending = asyncio.create_task(_send(answer, viewer))
        try:
            await asyncio.wait({reading, sending}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done() and not sending.cancelled():
                await _close(request, answer, sending.exception())
        finally:
            for task in (reading, sending):
                task.cancel()
            await asyncio.gather(reading, sending, return_exceptions=True)


def _stream_of(request: web.Request) -> StreamName:
    given = request.query.get("stream", "main")
    if given == "main":
        return "main"
    if given == "sub":
        return "sub"
    raise InvalidInput("'stream' is 'main' or 'sub'")


async def _send(answer: web.WebSocketResponse, viewer: Viewer) -> None:
    while True:
        item = await viewer.next()
        try:
            async with asyncio.timeout(SEND_PATIENCE_S):
                if isinstance(item, Video):
                    await answer.send_bytes(item.data)
                elif isinstance(item, Begin):
                    kind = kind_of(item.init)
                    begin = {"type": "begin", "mime": kind.mime, "width": kind.width, "height": kind.height}
                    await answer.send_str(msgspec.json.encode(begin).decode())
                    await answer.send_bytes(item.init)
                else:
                    await answer.send_str('{"type":"waiting"}')
        except TimeoutError:
            raise TooSlow("you did not read fast enough") from None


async def _until_gone(answer: web.WebSocketResponse) -> None:
    async for message in answer:
        if message.type is WSMsgType.ERROR:
            return


async def _close(request: web.Request, answer: web.WebSocketResponse, error: BaseException | None) -> None:
    """Say why, to somebody who may not listen any more."""
    match error:
        case TooSlow():
            code, reason = CLOSE_TOO_SLOW, error.message
        case NotFound():
            code, reason = CLOSE_NOT_HERE, error.message
        case UnderstudyError():
            code, reason = 1011, error.message
        case Unreadable():
            code, reason = CLOSE_UNPLAYABLE, "the camera's video is of a kind that cannot be shown"
        case ConnectionError() | None:
            return
        case _:
            log.error("live view failed", error=type(error).__name__)
            code, reason = 1011, "the live view failed"
    if code == CLOSE_TOO_SLOW and request.transport is not None:
        # What is on its way to who does not read must not be waited for.
        request.transport.abort()
        return
    with contextlib.suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(1.0):
            await answer.close(code=code, message=reason.encode()[:120])
