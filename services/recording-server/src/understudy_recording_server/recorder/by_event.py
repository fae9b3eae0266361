"""Recording by event: begins some seconds before it, from memory, and ends some time after the last one."""

from __future__ import annotations

from collections.abc import Callable

from understudy_recording_server.recorder.frames import Frame, Streams
from understudy_recording_server.recorder.recent import Recent
from understudy_recording_server.recorder.recording import Recording


class ByEvent:
    """Lets frames through to the recording while an event lasts. Belongs to whoever holds the camera's lock;
    `happened` may be called from any thread."""

    def __init__(self, recording: Recording, recent: Recent, watch: Callable[[Frame], None]) -> None:
        """`recent` holds what came before the present frame, `watch` takes video that is not recorded."""
        self._recording = recording
        self._recent = recent
        self._watch = watch
        self._streams: Streams | None = None
        self._until_s = 0.0
        self._open = False
        self._recorded_to_s = 0.0

    def happened(self, until_s: float) -> None:
        """Record until then (monotonic), from the next frame on, if not longer already."""
        self._until_s = max(self._until_s, until_s)

    def began(self, streams: Streams) -> None:
        self._streams = streams
        if self._open:
            self._recording.began(streams)

    def take(self, frame: Frame) -> None:
        # Sound may come behind the picture that ended it: it begins nothing.
        if frame.arrival_s < self._until_s and (self._open or frame.is_video):
            if not self._open:
                self._begin(frame.arrival_s)
            self._recording.take(frame)
            self._recorded_to_s = frame.arrival_s
            return
        if self._open:
            self._end()
        if frame.is_video:
            self._watch(frame)

    def ended(self, *, without_last: bool = False) -> None:
        if self._open:
            self._end(without_last=without_last)
        self._streams = None

    def _begin(self, now_s: float) -> None:
        if self._streams is None:
            return
        self._open = True
        self._recording.began(self._streams)
        for group in self._recent.groups(now_s):
            # What an event just before has recorded already is not recorded again.
            if group[-1].arrival_s > self._recorded_to_s:
                for frame in group:
                    self._recording.take(frame)

    def _end(self, *, without_last: bool = False) -> None:
        self._open = False
        self._recording.ended(without_last=without_last)
