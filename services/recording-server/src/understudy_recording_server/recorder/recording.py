"""The sink that matters most: a camera's frames into files."""

from __future__ import annotations

from collections.abc import Callable

from understudy_recording_server.recorder.frames import Frame, Streams
from understudy_recording_server.recorder.writer import Writer

CANNOT_WRITE = "cannot write: "
"""How a camera's reason begins when the disk is at fault."""
DISK_PAUSE_S = 1.0
"""After a failed write: how long before a key frame may begin another file."""


class Recording:
    """Writes what it is given, and says when a frame was written and when the disk refused one."""

    def __init__(
        self,
        writer: Writer,
        on_written: Callable[[Frame, Writer], None],
        on_disk_error: Callable[[str], None],
    ) -> None:
        self._writer = writer
        self._on_written = on_written
        self._on_disk_error = on_disk_error
        self._streams: Streams | None = None
        self._rests_until = 0.0

    def began(self, streams: Streams) -> None:
        if self._streams is None:
            self._writer.connected()
        else:
            self._writer.cut()
        self._streams = streams

    def take(self, frame: Frame) -> None:
        writer = self._writer
        if self._streams is None:
            return
        if self._rests_until:
            if frame.arrival_s < self._rests_until:
                return
            self._rests_until = 0.0
        try:
            written = writer.write(frame, self._streams)
        except OSError as error:
            self._rests_until = frame.arrival_s + DISK_PAUSE_S
            writer.end()
            self._on_disk_error(f"{CANNOT_WRITE}{error.strerror or type(error).__name__}")
            return
        if written and frame.is_video:
            self._on_written(frame, writer)

    def ended(self, *, without_last: bool = False) -> None:
        self._streams = None
        self._writer.end(without_last=without_last)
