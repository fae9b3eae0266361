"""Talking to the machine that holds the footage: its manifest, and its files from any offset on."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote

import aiohttp
import msgspec
from understudy_footage import Manifest, ManifestEntry, digest_of

from understudy_recording_server.restoring.incoming import Damaged

MAXIMUM_MANIFEST_BYTES = 512 << 20
CONNECT_S = 5.0
SILENCE_S = 30.0
CHUNK_BYTES = 1 << 20

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-\d{1,19}/(\d{1,19})", re.ASCII)


class SourceTrouble(Exception):
    """The source cannot give it now; trying again later may help. The text is for people."""


class StillHashing(SourceTrouble):
    """The source is at work on the manifest."""


class _Problem(msgspec.Struct):
    detail: str = ""


class SourceClient:
    """One source. `grant` is what the host has signed."""

    def __init__(self, session: aiohttp.ClientSession, source: str, failover: str, grant: str) -> None:
        self._session = session
        self._base = f"{source.rstrip('/')}/footage/{failover}"
        self._headers = {"Authorization": f"Bearer {grant}", "Accept-Encoding": "identity"}

    async def manifest(self) -> Manifest:
        """The list of what there is.

        Raises:
            SourceTrouble: not now.
            Damaged: what came is no manifest.
        """
        async with self._get(f"{self._base}/manifest", {}) as response:
            if response.status == 202:
                raise StillHashing("the failover server is computing hashes")
            body = bytearray()
            async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                body += chunk
                if len(body) > MAXIMUM_MANIFEST_BYTES:
                    raise Damaged("the manifest has no end")
        try:
            manifest = msgspec.json.decode(body, type=Manifest)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise Damaged(f"what came is no manifest: {error}") from None
        if digest_of(manifest.entries) != manifest.digest:
            raise Damaged("the manifest does not match its own digest")
        return manifest

    @asynccontextmanager
    async def file(
        self, entry: ManifestEntry, offset: int
    ) -> AsyncIterator[tuple[int, aiohttp.StreamReader]]:
        """The bytes of a file from `offset` on; with them, where they really begin: there, or at 0.

        Raises:
            SourceTrouble: not now.
            Damaged: the source has another file than the manifest says.
        """
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        async with self._get(f"{self._base}/files/{quote(entry.path)}", headers) as response:
            begins = 0
            if response.status == 206:
                found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
                if found is None or int(found[2]) != entry.size or int(found[1]) != offset:
                    raise Damaged("the source's file has another size than the manifest says")
                begins = offset
            elif response.content_length not in {None, entry.size}:
                raise Damaged("the source's file has another size than the manifest says")
            yield begins, response.content

    @asynccontextmanager
    async def _get(self, url: str, headers: dict[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            async with self._session.get(
                url, headers={**self._headers, **headers}, allow_redirects=False
            ) as response:
                if response.status in {404, 416}:
                    raise Damaged(f"the source no longer has it (HTTP status {response.status})")
                if response.status == 410:
                    raise Damaged(await _detail(response))
                if response.status not in {200, 202, 206}:
                    raise SourceTrouble(await _refusal(response))
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise SourceTrouble(f"the failover server is out of reach: {reason}") from None


async def _refusal(response: aiohttp.ClientResponse) -> str:
    return f"the failover server refuses: {await _detail(response)}"


async def _detail(response: aiohttp.ClientResponse) -> str:
    body = await response.content.read(64 << 10)
    try:
        detail = msgspec.json.decode(body, type=_Problem).detail
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        detail = ""
    return " ".join(detail.split())[:300] or f"HTTP status {response.status}"


def open_session() -> aiohttp.ClientSession:
    """A session for any number of sources; a source that falls silent is given up after SILENCE_S."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S),
        auto_decompress=False,
        read_bufsize=CHUNK_BYTES,
    )
