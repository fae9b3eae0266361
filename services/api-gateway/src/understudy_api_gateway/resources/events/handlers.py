"""`/events`: `id:` is the position in the stream, `event:` is `<kind>.<event>`, `data:` the envelope.

An event `reset` says that some events are no longer kept: read everything again. A comment every ten
seconds shows that the connection lives. It ends when the login does.
"""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any

import msgspec
import structlog
from litestar import Request, Router, get
from litestar.params import FromQuery, HeaderParameter
from litestar.types import ASGIApp, Receive, Scope, Send
from understudy_contracts.errors import Unavailable
from understudy_contracts.events import Event

from understudy_api_gateway.identity import Identity
from understudy_api_gateway.injection import AccountsOf, IdentityOf, PartsOf
from understudy_api_gateway.parts import Parts
from understudy_api_gateway.problems import Unauthenticated
from understudy_api_gateway.resources.events.reading import EventReader, bounds_of_stream
from understudy_api_gateway.resources.events.resuming import Begin, begin_at, wanted_kinds
from understudy_api_gateway.resources.sessions.accounts import Accounts

MOST_READERS = 500
COMMENT_EVERY_S = 10.0
LOGIN_CHECKED_EVERY_S = 2.0

log = structlog.get_logger()


@get("/", media_type="text/event-stream")
async def follow(
    request: Request[Identity, Any, Any],
    parts: PartsOf,
    accounts: AccountsOf,
    identity: IdentityOf,
    kinds: FromQuery[str | None] = None,
    last_event_id: Annotated[str | None, HeaderParameter(name="Last-Event-ID")] = None,
) -> ASGIApp:
    """Events as they happen, and first those after `Last-Event-ID`."""
    wanted = wanted_kinds(kinds, identity)
    begin = begin_at(last_event_id, *await bounds_of_stream(parts.bus))
    if parts.readers >= MOST_READERS:
        raise Unavailable(f"{MOST_READERS} readers follow the events already")
    return _EventStream(parts, accounts, identity, wanted, begin)


class _EventStream:
    """One reader's answer."""

    def __init__(
        self, parts: Parts, accounts: Accounts, identity: Identity, kinds: frozenset[str], begin: Begin
    ) -> None:
        self._parts = parts
        self._accounts = accounts
        self._identity = identity
        self._kinds = kinds
        self._begin = begin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._parts.readers += 1
        reader = EventReader(self._parts.bus, self._begin.position)
        tasks = {
            asyncio.create_task(self._write(reader, send)),
            asyncio.create_task(_until_gone(receive)),
            asyncio.create_task(_until_set(self._parts.closing)),
        }
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await reader.close()
            self._parts.readers -= 1
        for task in done:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error
        if self._parts.closing.is_set():
            await _end(send)

    async def _write(self, reader: EventReader, send: Send) -> None:
        headers = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"x-accel-buffering", b"no"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        greeting = ": connected\n"
        if self._begin.missed:
            greeting += f"id: {self._begin.position - 1}\nevent: reset\ndata: {{}}\n"
        await _body(send, f"{greeting}\n".encode())
        said = checked = time.monotonic()
        while True:
            found = await self._next(reader)
            now = time.monotonic()
            if now - checked >= LOGIN_CHECKED_EVERY_S:
                if not await self._still_logged_in():
                    await _end(send)
                    return
                checked = now
            chunk = b"" if found is None else frame_of(*found, self._kinds)
            if not chunk and now - said >= COMMENT_EVERY_S:
                chunk = b": still here\n\n"
            if chunk:
                await _body(send, chunk)
                said = now

    async def _next(self, reader: EventReader) -> tuple[int, bytes] | None:
        try:
            return await reader.next(LOGIN_CHECKED_EVERY_S)
        except Unavailable as error:
            log.info("events wait for the bus", error=error.message)
            await asyncio.sleep(0.5)
            return None

    async def _still_logged_in(self) -> bool:
        try:
            return (await self._accounts.identity_of(self._identity.session)).role is self._identity.role
        except Unauthenticated:
            return False
        except Unavailable:
            return True  # not known; asked again soon


def frame_of(position: int, body: bytes, kinds: frozenset[str]) -> bytes:
    """The event as it goes over the wire; empty when it is not wanted, or is none."""
    try:
        event = msgspec.json.decode(body, type=Event)
    except msgspec.DecodeError:
        return b""
    if event.kind not in kinds:
        return b""
    data = msgspec.json.encode(event)
    if b"\n" in data or b"\r" in data:  # `data` is raw and may be laid out by whoever wrote it
        data = msgspec.json.format(data, indent=-1)
    return b"id: %d\nevent: %s.%s\ndata: %s\n\n" % (position, event.kind.encode(), event.event.encode(), data)


async def _body(send: Send, chunk: bytes) -> None:
    await send({"type": "http.response.body", "body": chunk, "more_body": True})


async def _end(send: Send) -> None:
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _until_set(event: asyncio.Event) -> None:
    await event.wait()


events_router = Router("/events", route_handlers=[follow])
