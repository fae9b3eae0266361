"""Live video in the agent: one feed for each camera that is watched, handed to any number of viewers."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog
from understudy_contracts.errors import NotFound, Unavailable, UnderstudyError

from understudy_recording_server.live_protocol import (
    FRAGMENT,
    HEADER,
    INIT,
    LARGEST_BODY,
    REFUSED,
    StreamName,
    WatchRequest,
)

MOST_VIEWERS = 500
LARGEST_BACKLOG = 8 << 20
"""What is kept for a viewer beyond the beginning; one that is further behind is dropped."""
LARGEST_GROUP = 24 << 20
AGAIN_S = 0.25
"""How long until a feed that has ended is asked for again."""
REFUSED_S = 3.0
"""How long the recorder may say no to what is wanted: it may not have been told of the camera yet."""
LOOK_S = 1.0
"""How often a feed that brings nothing looks whether the camera still is this machine's."""
NOT_HERE = "this server does not serve the camera"
NO_SECOND = "the camera has no second stream"

log = structlog.get_logger()


class Recorder(Protocol):
    """What feeds want of the recorder."""

    def folder_of(self, camera: str, stream: StreamName = "main") -> str | None:
        """The folder for which the camera runs now; None if it does not, or has no such stream."""

    def watch(self, request: WatchRequest) -> socket.socket | None:
        """A socket on which its live video comes."""


@dataclass(frozen=True)
class Begin:
    """A connection to the camera begins, and with it a new head."""

    init: bytes


@dataclass(frozen=True)
class Video:
    """A frame: a fragment of MP4. `at_ms` is when it came from the camera, UTC."""

    data: bytes
    is_key: bool
    at_ms: int


@dataclass(frozen=True)
class Waiting:
    """Nothing comes at the moment; the viewer may stay."""


Item = Begin | Video | Waiting


class TooSlow(UnderstudyError):
    """The viewer did not keep up."""

    code = "too-slow"


class Viewer:
    """One who watches: what has not been taken yet, within bounds."""

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self._bytes = 0
        self._allowance = LARGEST_BACKLOG
        self._news = asyncio.Event()
        self._end: UnderstudyError | None = None

    def put(self, item: Item, *, free: bool = False) -> None:
        """`free`: it belongs to the beginning, which may be large."""
        if self._end is not None:
            return
        size = len(item.data) if isinstance(item, Video) else 0
        self._allowance += size if free else 0
        self._bytes += size
        if self._bytes > self._allowance:
            self.end(TooSlow("you did not read fast enough"))
            return
        self._items.append(item)
        self._news.set()

    def end(self, error: UnderstudyError) -> None:
        """What is waiting is thrown away: the viewer is told at once."""
        self._end = self._end or error
        self._items.clear()
        self._news.set()

    async def next(self) -> Item:
        """Raises:
        UnderstudyError: there will be no more, and why.
        """
        while not self._items:
            if self._end is not None:
                raise self._end
            self._news.clear()
            await self._news.wait()
        item = self._items.popleft()
        if isinstance(item, Video):
            self._bytes -= len(item.data)
        return item


class Feed:
    """One camera's live video while it has viewers."""

    def __init__(self, recorder: Recorder, camera: str, stream: StreamName) -> None:
        self._recorder = recorder
        self._camera = camera
        self._stream = stream
        self._viewers: set[Viewer] = set()
        self._begin: Begin | None = None
        self._group: list[Video] = []
        self._group_bytes = 0
        self._refusal = ""

    @property
    def watched(self) -> bool:
        return bool(self._viewers)

    def join(self, viewer: Viewer) -> None:
        """It begins with the last key frame."""
        self._viewers.add(viewer)
        if self._begin is not None:
            viewer.put(self._begin)
            for video in self._group:
                viewer.put(video, free=True)

    def leave(self, viewer: Viewer) -> None:
        self._viewers.discard(viewer)

    async def run(self) -> None:
        """Feed until cancelled, or until the camera is not this machine's any more."""
        patient_until = asyncio.get_running_loop().time() + REFUSED_S
        try:
            while (folder := self._place()) is not None:
                connection = self._recorder.watch(WatchRequest(folder, self._camera, self._stream))
                if connection is not None:
                    await self._read(connection, folder)
                now = asyncio.get_running_loop().time()
                if self._begin is not None:
                    patient_until = now + REFUSED_S
                if self._refusal and now > patient_until:
                    break
                self._refusal = ""
                self._pause()
                await asyncio.sleep(AGAIN_S)
        finally:
            for viewer in self._viewers:
                viewer.end(NotFound(self._refusal or _why_not(self._recorder, self._camera)))

    def _place(self) -> str | None:
        return self._recorder.folder_of(self._camera, self._stream)

    async def _read(self, connection: socket.socket, folder: str) -> None:
        reader, writer = await asyncio.open_unix_connection(sock=connection)
        try:
            while self._place() == folder:
                try:
                    async with asyncio.timeout(LOOK_S):
                        kind, is_key, length, at_ms = HEADER.unpack(await reader.readexactly(HEADER.size))
                except TimeoutError:
                    continue  # `readexactly` takes all or nothing.
                if length > LARGEST_BODY:
                    return
                self._hear(kind, bool(is_key), at_ms, await reader.readexactly(length))
                if self._refusal:
                    return
        except (asyncio.IncompleteReadError, OSError):
            return  # The recorder has ended, or cut us off: it is asked again.
        finally:
            writer.close()

    def _hear(self, kind: bytes, is_key: bool, at_ms: int, body: bytes) -> None:
        if kind == INIT:
            self._begin, self._group, self._group_bytes = Begin(body), [], 0
            self._tell(self._begin)
        elif kind == FRAGMENT:
            self._keep(Video(body, is_key, at_ms))
        elif kind == REFUSED:
            self._refusal = body.decode("utf-8", "replace")[:300]
        else:
            self._pause()

    def _keep(self, video: Video) -> None:
        if video.is_key:
            self._group, self._group_bytes = [], 0
        if video.is_key or self._group:
            self._group.append(video)
            self._group_bytes += len(video.data)
        if self._group_bytes > LARGEST_GROUP:
            self._group, self._group_bytes = [], 0  # Who joins now waits for the next key frame.
        self._tell(video)

    def _pause(self) -> None:
        if self._begin is not None:
            self._begin, self._group, self._group_bytes = None, [], 0
            self._tell(Waiting())

    def _tell(self, item: Item) -> None:
        for viewer in self._viewers:
            viewer.put(item)


def _why_not(recorder: Recorder, camera: str) -> str:
    return NOT_HERE if recorder.folder_of(camera) is None else NO_SECOND


class Feeds:
    """All feeds; one ends when its last viewer leaves."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._running: dict[tuple[str, StreamName], tuple[Feed, asyncio.Task[None]]] = {}
        self._count = 0

    def join(self, camera: str, stream: StreamName) -> tuple[Viewer, Callable[[], None]]:
        """A new viewer, and what to call when it leaves.

        Raises:
            NotFound: this machine does not serve the camera now, or it has no such stream.
            Unavailable: too many watch already.
        """
        if self._recorder.folder_of(camera, stream) is None:
            raise NotFound(_why_not(self._recorder, camera))
        if self._count >= MOST_VIEWERS:
            raise Unavailable(f"{MOST_VIEWERS} viewers watch this server already")
        key = camera, stream
        feed, task = self._running.get(key, (None, None))
        if feed is None or task is None or task.done():
            feed = Feed(self._recorder, camera, stream)
            task = asyncio.create_task(feed.run(), name=f"live {camera}")
            self._running[key] = feed, task
        viewer = Viewer()
        feed.join(viewer)
        self._count += 1
        return viewer, lambda: self._leave(key, feed, viewer)

    def _leave(self, key: tuple[str, StreamName], feed: Feed, viewer: Viewer) -> None:
        self._count -= 1
        feed.leave(viewer)
        running = self._running.get(key)
        if not feed.watched and running is not None and running[0] is feed:
            del self._running[key]
            running[1].cancel()

    @property
    def watched(self) -> list[str]:
        """The cameras that somebody watches."""
        return sorted({camera for camera, _ in self._running})
