"""Snapshots: a camera's last key frame as JPEG, shown or kept; on demand, by event, and at an interval."""

from __future__ import annotations

import asyncio
import secrets
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog
from understudy_contracts.errors import NotFound, Unavailable, UnderstudyError
from understudy_footage import FootageRoot, SnapshotName, finish_file

from understudy_recording_server.media.feeds import NOT_HERE, Begin, Feeds, Recorder, Video
from understudy_recording_server.media.pictures import Pictures

FRAME_PATIENCE_S = 8.0
AT_ONCE = 2
LOOK_S = 0.5
LARGEST_FRAME = 24 << 20
_UNFINISHED = ".snapshot-"

log = structlog.get_logger()


@dataclass(frozen=True)
class Picture:
    """A picture and when the camera took it (its arrival, UTC ms)."""

    jpeg: bytes
    time_ms: int


class Snapshots:
    """Takes and keeps snapshots of the cameras that this machine serves."""

    def __init__(
        self,
        data_dir: Path,
        feeds: Feeds,
        recorder: Recorder,
        wanted: Callable[[], Mapping[str, int]],
        kept: Callable[[str, int], None],
    ) -> None:
        """`wanted`: the cameras that a snapshot is taken of at an interval, with its seconds. `kept` is told
        of each new file: its path in the data folder, and its size in bytes."""
        self._data_dir = data_dir
        self._data = FootageRoot(data_dir)
        self._feeds = feeds
        self._recorder = recorder
        self._wanted = wanted
        self._kept = kept
        self._pictures = Pictures()
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._writing: Counter[str] = Counter()
        self._settled = asyncio.Condition()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def show(self, camera: str) -> Picture:
        """The camera's picture now.

        Raises:
            NotFound: this machine does not serve the camera.
            Unavailable: it sends nothing, or nothing that can be decoded.
        """
        begin, frame = await self._key_frame(camera)
        # Only from here in turn: cameras that send nothing must not keep the others waiting.
        async with self._slots:
            return Picture(await self._pictures.jpeg(begin.init + frame.data), frame.at_ms)

    async def take(self, camera: str) -> SnapshotName:
        """Take a snapshot and keep it where the camera's footage lies; the same key frame twice is one.

        Raises:
            NotFound: this machine does not serve the camera (any more).
            Unavailable: there is no picture, or the disk said no.
        """
        before = self._recorder.folder_of(camera)
        picture = await self.show(camera)
        folder = self._recorder.folder_of(camera)
        if folder is None or folder != before:
            raise NotFound(NOT_HERE)
        name = SnapshotName(picture.time_ms)
        # From here to the count nothing else runs: who closes the folder waits for what is counted.
        self._writing[folder] += 1
        try:
            written = await asyncio.shield(asyncio.to_thread(self._write, folder, camera, name, picture.jpeg))
        except OSError as error:
            raise Unavailable(f"the snapshot cannot be written: {error.strerror}") from None
        finally:
            async with self._settled:
                self._writing[folder] -= 1
                self._settled.notify_all()
        if written is not None:
            self._kept(written, len(picture.jpeg))
        return name

    async def settled(self, folder: str) -> None:
        """Wait until nothing is being written in a folder; to be called when its cameras are not served any
        more, so that nothing new begins."""
        async with self._settled:
            await self._settled.wait_for(lambda: self._writing[folder] == 0)

    def soon(self, camera: str) -> None:
        """Take one in the background, unless one is under way; what goes wrong is logged."""
        if camera in self._tasks:
            return
        task = asyncio.create_task(self._take_quietly(camera), name=f"snapshot {camera}")
        self._tasks[camera] = task
        task.add_done_callback(lambda _: self._tasks.pop(camera))

    async def run(self) -> None:
        """Take snapshots at their intervals until cancelled."""
        await asyncio.to_thread(self._tidy)
        due: dict[str, tuple[int, float]] = {}
        loop = asyncio.get_running_loop()
        while True:
            wanted = self._wanted()
            due = {camera: at for camera, at in due.items() if wanted.get(camera) == at[0]}
            for camera, every_s in wanted.items():
                _, at = due.setdefault(camera, (every_s, loop.time() + _share(camera) * every_s))
                if loop.time() >= at:
                    # What was missed while we were suspended is not made up for.
                    due[camera] = every_s, max(at + every_s, loop.time() + every_s / 2)
                    self.soon(camera)
            await asyncio.sleep(LOOK_S)

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._pictures.close()

    async def _key_frame(self, camera: str) -> tuple[Begin, Video]:
        """The camera's last key frame, and the head that goes before it."""
        viewer, leave = self._feeds.join(camera, "main")
        begin: Begin | None = None
        try:
            async with asyncio.timeout(FRAME_PATIENCE_S):
                while True:
                    item = await viewer.next()
                    if isinstance(item, Begin):
                        begin = item
                    elif isinstance(item, Video) and item.is_key and begin and len(item.data) < LARGEST_FRAME:
                        return begin, item
        except TimeoutError:
            raise Unavailable("the camera sends no picture now") from None
        finally:
            leave()

    async def _take_quietly(self, camera: str) -> None:
        try:
            await self.take(camera)
        except UnderstudyError as error:
            log.warning("no snapshot", camera=camera, reason=error.message)

    def _write(self, folder: str, camera: str, name: SnapshotName, jpeg: bytes) -> str | None:
        """The file's path in the data folder; None if it is there already."""
        final = self._data.folder(folder).snapshot(camera, name)
        if final.exists():
            return None
        # Not beside the final name: what a crash leaves there would be taken for somebody's file.
        part = self._data_dir / f"{_UNFINISHED}{secrets.token_hex(6)}"
        try:
            part.write_bytes(jpeg)
            finish_file(part, final)
        finally:
            part.unlink(missing_ok=True)
        return final.relative_to(self._data.path).as_posix()

    def _tidy(self) -> None:
        try:
            for left in self._data_dir.glob(f"{_UNFINISHED}*"):
                left.unlink(missing_ok=True)
        except OSError as error:
            log.warning("unfinished snapshots are still here", error=error.strerror)


def _share(camera: str) -> float:
    """A camera's own place in the interval: else all would be taken at once."""
    return zlib.crc32(camera.encode()) / 2**32
