"""Requests handed on to the machine that holds the media, and answers streamed back as they come."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
import msgspec
from litestar.types import Receive, Scope, Send
from understudy_contracts.errors import InvalidInput, NotFound, Unavailable, UnderstudyError

from understudy_api_gateway.parts import Parts
from understudy_api_gateway.resources.media.holders import Holder
from understudy_api_gateway.resources.media.tickets import media_grant

CONNECT_S = 3.0
SILENCE_S = 20.0
CHUNK_BYTES = 256 << 10
LARGEST_JSON = 16 << 20
_ASKED = ("Range", "If-Range")
_ANSWERED = (
    "Content-Type", "Content-Length", "Content-Range", "Accept-Ranges", "ETag", "Last-Modified",
    "Understudy-Start", "Understudy-End", "Understudy-Next", "Understudy-Time",
)  # fmt: skip

Query = Sequence[tuple[str, str]]


class Relay:
    """The gateway's way to the machines."""

    def __init__(self, parts: Parts) -> None:
        self.machines = parts.machine_states
        self.http = parts.http
        self._parts = parts

    def headers(self, holder: Holder, camera: str) -> dict[str, str]:
        """The right to see the camera at this machine, for as long as a request takes to begin."""
        return {"Authorization": f"Bearer {media_grant(self._parts, holder.machine, camera)[0]}"}

    async def ask(
        self,
        holder: Holder,
        camera: str,
        path: str,
        query: Query,
        *,
        method: str = "GET",
        given: Mapping[str, str] | None = None,
    ) -> aiohttp.ClientResponse:
        """The answer of one machine, its body not read yet.

        Raises:
            Unavailable: it cannot be reached.
        """
        if holder.address is None:
            raise Unavailable(f"{holder.server} has not been heard of")
        headers = self.headers(holder, camera)
        headers.update({name: given[name] for name in _ASKED if given and name in given})
        url = f"{holder.address}/media/cameras/{camera}/{path}"
        try:
            return await self.http.request(
                method, url, params=query, headers=headers, allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S),
            )  # fmt: skip
        except (aiohttp.ClientError, TimeoutError, ValueError):
            raise Unavailable(f"{holder.server} cannot be reached") from None

    async def json(self, holder: Holder, camera: str, path: str, query: Query, *, method: str = "GET") -> Any:
        """What one machine says.

        Raises:
            InvalidInput: it was asked for something that makes no sense.
            NotFound: it has none.
            Unavailable: it cannot be reached, or refuses.
        """
        answer = await self.ask(holder, camera, path, query, method=method)
        body = await self._body(answer, holder)
        if answer.status not in {200, 201}:
            raise _problem(answer.status, body, holder)
        return msgspec.json.decode(body)

    async def problem(self, answer: aiohttp.ClientResponse, holder: Holder) -> UnderstudyError:
        """What a machine says that did not answer what was asked."""
        try:
            return _problem(answer.status, await self._body(answer, holder), holder)
        except Unavailable as error:
            return error

    async def _body(self, answer: aiohttp.ClientResponse, holder: Holder) -> bytes:
        try:
            async with answer:
                body = await answer.content.read(LARGEST_JSON)
                while chunk := await answer.content.read(LARGEST_JSON - len(body)):
                    body += chunk
        except (aiohttp.ClientError, TimeoutError):
            raise Unavailable(f"{holder.server} broke off") from None
        return body


def _problem(status: int, body: bytes, holder: Holder) -> UnderstudyError:
    match status:
        case 400:
            return InvalidInput(_detail(body))
        case 404:
            return NotFound(_detail(body))
        case _:
            return Unavailable(f"{holder.server} refuses: {_detail(body)}")


def _detail(body: bytes) -> str:
    try:
        return str(msgspec.json.decode(body).get("detail", ""))[:300]
    except (msgspec.DecodeError, AttributeError):
        return "it says nothing"


class Streamed:
    """An answer of a machine, given on as it comes."""

    def __init__(self, answer: aiohttp.ClientResponse, server: str) -> None:
        self._answer = answer
        self._server = server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._answer
        headers = [
            (name.lower().encode(), answer.headers[name].encode("latin-1"))
            for name in _ANSWERED
            if name in answer.headers
        ]
        headers.append((b"understudy-server", self._server.encode()))
        gone = asyncio.create_task(_until_gone(receive))
        try:
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            # A body that breaks off leaves the connection short of its length, which the reader notices.
            async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
                if gone.done():
                    return
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            gone.cancel()
            answer.close()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
