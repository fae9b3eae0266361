"""Playback over HTTP: the timeline of a camera, its files, and any span of it as one file."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from typing import TypeVar

import structlog
from aiohttp import hdrs, web
from understudy_contracts.errors import InvalidInput, NotFound
from understudy_footage import FootageRoot, RecordingName, SnapshotName
from understudy_runtime.clock import Clock

from understudy_recording_server.media.access import Access, period_of, whole_number
from understudy_recording_server.media.answers import handled, json
from understudy_recording_server.media.finding import (
    Clip,
    clips_of,
    file_of,
    snapshots_in,
    spans_of,
)
from understudy_recording_server.media.span import SpanFile, cuts_of, open_span, read_span

LONGEST_TIMELINE_MS = 31 * 86_400_000
LONGEST_SPAN_MS = 86_400_000
MOST_FILES = 5000

T = TypeVar("T")

log = structlog.get_logger()


class Playback:
    """GET only. Everything is read beside the event loop: a disk may be slow."""

    def __init__(self, data: FootageRoot, access: Access, clock: Clock) -> None:
        self._data = data
        self._access = access
        self._clock = clock

    def add_to(self, router: web.UrlDispatcher) -> None:
        camera = "/media/cameras/{camera}"
        router.add_get(f"{camera}/timeline", handled(self._timeline))
        router.add_get(f"{camera}/recordings", handled(self._recordings))
        router.add_get(f"{camera}/recordings/{{name}}", handled(self._recording))
        router.add_get(f"{camera}/span.mp4", handled(self._span))
        router.add_get(f"{camera}/snapshots", handled(self._snapshots))
        router.add_get(f"{camera}/snapshots/{{name}}", handled(self._snapshot))

    async def _timeline(self, request: web.Request) -> web.StreamResponse:
        camera, (begin, end) = self._access.camera_of(request), self._period(request, LONGEST_TIMELINE_MS)
        clips = await self._clips(camera, begin, end)
        spans = [
            {
                "start_ms": max(span.start_ms, begin),
                "end_ms": min(span.end_ms, end),
                "failover": span.failover,
            }
            for span in spans_of(clips)
        ]
        return json({"camera": camera, "from": begin, "to": end, "spans": spans})

    async def _recordings(self, request: web.Request) -> web.StreamResponse:
        camera, (begin, end) = self._access.camera_of(request), self._period(request, LONGEST_TIMELINE_MS)
        limit = whole_number(request, "limit", MOST_FILES)
        if not 1 <= limit <= MOST_FILES:
            raise InvalidInput(f"'limit' must be 1 to {MOST_FILES}")
        clips = await self._clips(camera, begin, end)
        shown, next_from = _page([(clip.start_ms, clip) for clip in clips], limit, begin)
        return json(
            {
                "camera": camera,
                "items": [_described(clip) for clip in shown],
                # Who goes on from here gets those again that still run then: names tell them apart.
                "next_from": next_from,
            }
        )

    async def _recording(self, request: web.Request) -> web.StreamResponse:
        camera = self._access.camera_of(request)
        name = RecordingName.parse(request.match_info["name"])
        path = await asyncio.to_thread(file_of, self._data, camera, name)
        if path is None:
            raise NotFound(f"this server has no such recording of {camera}")
        return web.FileResponse(path, chunk_size=1 << 20, headers={hdrs.CONTENT_TYPE: "video/mp4"})

    async def _snapshots(self, request: web.Request) -> web.StreamResponse:
        camera, (begin, end) = self._access.camera_of(request), self._period(request, LONGEST_TIMELINE_MS)
        limit = whole_number(request, "limit", MOST_FILES)
        if not 1 <= limit <= MOST_FILES:
            raise InvalidInput(f"'limit' must be 1 to {MOST_FILES}")
        found = await asyncio.to_thread(snapshots_in, self._data, camera, begin, end)
        shown, next_from = _page([(name.time_ms, (name, size)) for name, size in found], limit, begin)
        items = [
            {"name": name.file_name, "time_ms": name.time_ms, "size": size, "failover": name.failover}
            for name, size in shown
        ]
        return json({"camera": camera, "items": items, "next_from": next_from})

    async def _snapshot(self, request: web.Request) -> web.StreamResponse:
        camera = self._access.camera_of(request)
        name = SnapshotName.parse(request.match_info["name"])
        path = await asyncio.to_thread(file_of, self._data, camera, name)
        if path is None:
            raise NotFound(f"this server has no such snapshot of {camera}")
        return web.FileResponse(path, headers={hdrs.CONTENT_TYPE: "image/jpeg"})

    async def _span(self, request: web.Request) -> web.StreamResponse:
        camera, (begin, end) = self._access.camera_of(request), self._period(request, LONGEST_SPAN_MS)
        cuts = cuts_of(await self._clips(camera, begin, end), begin, end)
        span = await asyncio.to_thread(open_span, cuts)
        if span is None:
            raise NotFound(f"this server has no footage of {camera} in that period")
        return await _answer_span(request, span)

    def _period(self, request: web.Request, longest_ms: int) -> tuple[int, int]:
        return period_of(request, longest_ms, now_ms=self._clock.wall_ms())

    async def _clips(self, camera: str, begin: int, end: int) -> list[Clip]:
        return await asyncio.to_thread(clips_of, self._data, camera, begin, end)


async def _answer_span(request: web.Request, span: SpanFile) -> web.StreamResponse:
    etag = f'"{span.etag}"'
    headers = {
        hdrs.CONTENT_TYPE: "video/mp4",
        hdrs.ACCEPT_RANGES: "bytes",
        hdrs.ETAG: etag,
        "Understudy-Start": str(span.start_ms),
        "Understudy-End": str(span.end_ms),
    }
    if span.next_ms is not None:
        headers["Understudy-Next"] = str(span.next_ms)
    start, end, status = 0, span.size, 200
    if hdrs.RANGE in request.headers and request.headers.get(hdrs.IF_RANGE, etag) == etag:
        wanted = _range_of(request, span.size)
        if wanted is None:
            return web.Response(status=416, headers={hdrs.CONTENT_RANGE: f"bytes */{span.size}"})
        (start, end), status = wanted, 206
        headers[hdrs.CONTENT_RANGE] = f"bytes {start}-{end - 1}/{span.size}"
    answer = web.StreamResponse(status=status, headers=headers)
    answer.content_length = end - start
    await answer.prepare(request)
    if request.method == hdrs.METH_HEAD:
        return answer
    chunks = read_span(span, start, end)
    try:
        while (chunk := await asyncio.to_thread(_next, chunks)) is not None:
            await answer.write(chunk)
    except OSError as error:
        # The head is out: all that is left is to break the connection, so that nobody takes it for whole.
        log.warning("playback broke off", error=error.strerror)
        if request.transport is not None:
            request.transport.abort()
        return answer
    finally:
        await asyncio.to_thread(chunks.close)
    await answer.write_eof()
    return answer


def _next(chunks: Generator[bytes, None, None]) -> bytes | None:
    return next(chunks, None)


def _range_of(request: web.Request, size: int) -> tuple[int, int] | None:
    """First byte and the one after the last; None when the range is malformed or beyond the end."""
    try:
        wanted = request.http_range
    except ValueError:
        return None
    if wanted.start == 0 and wanted.stop is None and "=-" in request.headers[hdrs.RANGE]:
        return None  # The last 0 bytes.
    start, end, _ = wanted.indices(size)
    return (start, end) if start < end else None


def _page(found: Sequence[tuple[int, T]], limit: int, begin_ms: int) -> tuple[list[T], int | None]:
    """The first `limit`, and the time from which on there are more. It is more if that many begin no later
    than `begin_ms`: the next page must begin after this one, or there would be no end of pages."""
    while limit < len(found) and found[limit][0] <= begin_ms:
        limit += 1
    return [one for _, one in found[:limit]], found[limit][0] if limit < len(found) else None


def _described(clip: Clip) -> dict[str, object]:
    return {
        "name": clip.name,
        "start_ms": clip.start_ms,
        "duration_ms": clip.end_ms - clip.start_ms,
        "size": clip.size,
        "failover": clip.failover,
    }
