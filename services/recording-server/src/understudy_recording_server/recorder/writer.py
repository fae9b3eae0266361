"""The files of one camera, one after another: cut at key frames, about a minute each."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from concurrent.futures import Future

from understudy_footage import FootageRoot

from understudy_recording_server.recorder.frames import Frame, Streams
from understudy_recording_server.recorder.segments import Segment, WrittenPart
from understudy_recording_server.recorder.timestamps import FileClock

Finish = Callable[[WrittenPart, int], Future[None]]


class Writer:
    """Decides where files begin and end. Not thread-safe: its camera's lock guards it."""

    def __init__(self, root: FootageRoot, camera: str, segment_s: float, finish: Finish) -> None:
        self.segment_s = segment_s
        self._root = root
        self._camera = camera
        self._finish = finish
        self._segment: Segment | None = None
        self._clock = FileClock()
        self._cut_next = False
        self._pending: set[Future[None]] = set()
        self._bytes_before = 0
        # The first file is shorter, by a share of the camera's own: else all cameras that were started
        # together would fsync together, every minute.
        self._first_share = 0.5 + zlib.crc32(camera.encode()) / 2**33

    @property
    def segment(self) -> Segment | None:
        """The file being written."""
        return self._segment

    @property
    def bytes_written(self) -> int:
        """Bytes that the kernel has taken, all files together."""
        return self._bytes_before + (self._segment.size if self._segment else 0)

    def connected(self) -> None:
        """A new connection begins, with a timeline of its own."""
        self._clock = FileClock()
        self._cut_next = False

    def cut(self) -> None:
        """The next key frame begins a file, whatever the length of this one."""
        self._cut_next = True

    def write(self, frame: Frame, streams: Streams) -> bool:
        """Write a frame; False if it had to be left out because no file has begun at a key frame yet.

        Raises:
            OSError: the disk said no. The file is torn: `end` it; the next key frame may begin another.
        """
        self._cut_next |= frame.jumped
        if frame.is_key and (self._segment is None or self._is_due(self._segment, frame.dts)):
            self._begin(frame, streams)
        if self._segment is None:
            return False
        self._segment.write(frame)
        return True

    def end(self) -> None:
        """Close the file being written, if there is one, and have it finished."""
        if self._segment is not None:
            self._close(self._segment, None)

    @property
    def pending(self) -> set[Future[None]]:
        """Files that are closed and not yet finished."""
        self._pending = {future for future in self._pending if not future.done()}
        return set(self._pending)

    def _is_due(self, segment: Segment, dts: int) -> bool:
        return self._cut_next or segment.media_s(dts) >= self.segment_s * self._first_share

    def _begin(self, frame: Frame, streams: Streams) -> None:
        start_ms, continuous = self._clock.start_ms(frame.dts * streams.video_tick_s, frame.arrival_ms)
        if self._segment is not None:
            # Files that follow each other without a lost frame also do so by their names.
            self._close(self._segment, start_ms - self._segment.start_ms if continuous else None)
            self._first_share = 1.0
        self._cut_next = False
        self._segment = Segment(self._root, self._camera, start_ms, streams, frame.dts)

    def _close(self, segment: Segment, duration_ms: int | None) -> None:
        self._segment = None
        written = segment.close()
        self._bytes_before += written.size
        self._pending = self.pending
        self._pending.add(
            self._finish(written, max(0, written.media_ms if duration_ms is None else duration_ms))
        )
