"""The files of one camera, one after another: cut at key frames, about a minute each."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from understudy_footage import FootageRoot

from understudy_recording_server.recorder.frames import Frame, Streams
from understudy_recording_server.recorder.segments import Segment, WrittenPart
from understudy_recording_server.recorder.timestamps import FileClock, taken_ms

Finish = Callable[[WrittenPart, int], Future[None]]

LATE_AUDIO_S = 1.0
"""A file with sound is kept open for so long after its last frame: the sound may come later."""


@dataclass(frozen=True)
class _Closing:
    segment: Segment
    duration_ms: int | None
    until_s: float


class Writer:
    """Decides where files begin and end. Not thread-safe: its camera's lock guards it."""

    def __init__(self, root: FootageRoot, camera: str, segment_s: float, finish: Finish) -> None:
        self.segment_s = segment_s
        self._root = root
        self._camera = camera
        self._finish = finish
        self._segment: Segment | None = None
        self._closing: _Closing | None = None
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
        # Read by other threads too, without a lock: between two files the count may be behind for a moment.
        closing, segment = self._closing, self._segment
        open_bytes = (closing.segment.size if closing else 0) + (segment.size if segment else 0)
        return self._bytes_before + open_bytes

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
        if not frame.is_key and self._segment is not None and self._closing is None and frame.is_video:
            self._cut_next |= frame.jumped
            self._segment.write(frame)
            return True
        if not frame.is_video:
            return self._write_audio(frame)
        if self._closing is not None and frame.arrival_s > self._closing.until_s:
            self._close_last()
        self._cut_next |= frame.jumped
        if frame.is_key and (self._segment is None or self._is_due(self._segment, frame.dts)):
            self._begin(frame, streams)
        if self._segment is None:
            return False
        self._segment.write(frame)
        return True

    def _write_audio(self, frame: Frame) -> bool:
        if self._segment is None:
            return False
        if self._segment.is_before(frame):
            if self._closing is not None:
                self._closing.segment.write(frame)
            return self._closing is not None
        self._close_last()
        self._segment.write(frame)
        return True

    def end(self, *, without_last: bool = False) -> None:
        """Close the file being written, if there is one, and have it finished; `without_last`, without the
        frame that came last."""
        self._close_last()
        if self._segment is not None:
            self._close(self._segment, None, without_last=without_last)
            self._segment = None

    @property
    def pending(self) -> set[Future[None]]:
        """Files that are closed and not yet finished."""
        self._pending = {future for future in self._pending if not future.done()}
        return set(self._pending)

    def _is_due(self, segment: Segment, dts: int) -> bool:
        return self._cut_next or segment.media_s(dts) >= self.segment_s * self._first_share

    def _begin(self, frame: Frame, streams: Streams) -> None:
        start_ms, continuous = self._clock.start_ms(
            frame.dts * streams.video_tick_s, taken_ms(frame.arrival_ms, frame.captured_ms)
        )
        self._close_last()
        if self._segment is not None:
            # Files that follow each other without a lost frame also do so by their names.
            duration_ms = start_ms - self._segment.start_ms if continuous else None
            self._closing = _Closing(self._segment, duration_ms, frame.arrival_s + LATE_AUDIO_S)
            self._segment = None
            if streams.audio is None:
                self._close_last()
            self._first_share = 1.0
        self._cut_next = False
        self._segment = Segment(self._root, self._camera, start_ms, streams, frame.dts)

    def _close_last(self) -> None:
        closing, self._closing = self._closing, None
        if closing is not None:
            self._close(closing.segment, closing.duration_ms)

    def _close(self, segment: Segment, duration_ms: int | None, *, without_last: bool = False) -> None:
        written = segment.close(without_last=without_last)
        self._bytes_before += written.size
        self._pending = self.pending
        self._pending.add(
            self._finish(written, max(0, written.media_ms if duration_ms is None else duration_ms))
        )
