"""What has become of one camera's run, and what is told of it."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

import msgspec
from understudy_contracts.model import CameraState
from understudy_runtime.clock import Clock

from understudy_recording_server.recorder.frames import Arrived, Frame
from understudy_recording_server.recorder.protocol import (
    CameraChanged,
    CameraStatus,
    CameraStopped,
    FirstKeyFrame,
    Report,
    Trouble,
)

_WAS_WELL = frozenset({CameraState.RECORDING, CameraState.LIVE, CameraState.FAILED})
"""States that only a connected camera has."""


class RunRecord:
    """Counts and states of a run; changes are reported at once.

    The camera's lock guards what changes it, but for `keep`. Reading needs none, for a status must not wait
    for a disk that who reads the camera waits for.
    """

    def __init__(
        self, folder: str, camera: str, generation: int, report: Callable[[Report], None], clock: Clock
    ) -> None:
        self._folder = folder
        self._camera = camera
        self._generation = generation
        self._report = report
        self._clock = clock
        self._telling = Lock()  # Never held while the disk is waited for.
        self._state = CameraState.CONNECTING
        self._reason = ""
        self._last_error = ""
        self._connected_at: int | None = None
        self._first_key_frame: FirstKeyFrame | None = None
        self._last_frame_at: int | None = None
        self._frames_written = 0
        self._frames_received = 0
        self._reconnects = 0
        self._skew_ms: int | None = None
        self.bytes_received = 0
        """Bytes of the camera's frames, written or not."""

    @property
    def state(self) -> CameraState:
        return self._state

    def announce(self) -> None:
        """Report the present state."""
        self._report(
            CameraChanged(
                self._folder,
                self._camera,
                self._generation,
                self._state,
                self._reason,
                self._clock.wall_ms(),
            )
        )

    def change(self, state: CameraState, reason: str) -> None:
        """Take this state, and report it if it is another."""
        if (state, reason) != (self._state, self._reason):
            self._state, self._reason = state, reason
            if reason:
                self._last_error = reason
            self.announce()

    def keep(self, generation: int) -> None:
        """The run goes on as part of a new set. From any thread."""
        with self._telling:
            self._generation = generation
            if self._first_key_frame is not None:
                self._first_key_frame = msgspec.structs.replace(self._first_key_frame, generation=generation)
                self._report(self._first_key_frame)

    def connected(self, first: Arrived) -> None:
        self._connected_at = first.arrival_ms

    def received(self, frame: Frame) -> None:
        """A frame of video has come."""
        self._frames_received += 1
        if frame.captured_ms is not None:
            self._skew_ms = frame.captured_ms - frame.arrival_ms

    def written(self, frame: Frame) -> None:
        """A frame of video has gone to the file."""
        self._frames_written += 1
        self._last_frame_at = frame.arrival_ms

    def watched(self, frame: Frame) -> None:
        """A frame of video has come that is not to be written."""
        self._last_frame_at = frame.arrival_ms

    def first_key_frame(self, frame: Frame, at_ms: int, file: str | None) -> None:
        """The run's first key frame is there since `at_ms`, in `file` if it is recorded; told once."""
        if self._first_key_frame is not None:
            return
        with self._telling:
            connected_at = self._connected_at or frame.arrival_ms
            self._first_key_frame = FirstKeyFrame(
                self._folder, self._camera, self._generation, at_ms, connected_at, file
            )
            self._report(self._first_key_frame)

    def lost(self, state: CameraState, reason: str) -> None:
        """The connection is over, or could not be made."""
        if self._state in _WAS_WELL:
            self._reconnects += 1
        self.change(state, reason)

    def trouble(self, reason: str) -> None:
        """Something that no state tells."""
        self._report(Trouble(reason, self._folder, self._camera))

    def stopped(self) -> None:
        self._report(CameraStopped(self._folder, self._camera, self._generation, self._clock.wall_ms()))

    def status(self, bytes_written: int, failing: str) -> CameraStatus:
        """The present state; rates are for the caller. `failing`: why it is failing without being able to
        say so itself, or nothing."""
        first = self._first_key_frame
        return CameraStatus(
            self._folder,
            self._camera,
            self._generation,
            CameraState.FAILED if failing else self._state,
            failing or self._reason,
            connected_at_ms=self._connected_at,
            first_key_frame_at_ms=first.at_ms if first else None,
            last_frame_at_ms=self._last_frame_at,
            bytes_written=bytes_written,
            frames_written=self._frames_written,
            frames_received=self._frames_received,
            reconnects=self._reconnects,
            last_error=self._last_error,
            clock_skew_ms=self._skew_ms,
        )
