"""All cameras of the process, in one or more folders."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Lock

import msgspec
from understudy_footage import FootageRoot
from understudy_runtime.clock import Clock

from understudy_recording_server.recorder.camera import Camera
from understudy_recording_server.recorder.changes import changes
from understudy_recording_server.recorder.finishing import Finisher
from understudy_recording_server.recorder.protocol import Applied, Apply, CameraStatus, Report


class Fleet:
    """Starts and stops cameras so that the wanted ones run. Commands come from one thread."""

    def __init__(
        self, data: FootageRoot, report: Callable[[Report], None], clock: Clock, segment_s: float
    ) -> None:
        self._data = data
        self._report = report
        self._clock = clock
        self._default_segment_s = segment_s
        self._segment_s: dict[str, float] = {}
        self._finisher = Finisher(data, report)
        self._stoppers = ThreadPoolExecutor(8, "stopper")
        self._lock = Lock()
        self._cameras: dict[tuple[str, str], Camera] = {}
        self._measured: dict[tuple[str, str], _Rates] = {}

    def apply(self, command: Apply) -> None:
        """Make the set of a folder what the command says.

        Raises:
            InvalidInput: a folder that is none, or a camera listed twice; nothing has changed then.
        """
        folder = command.folder
        self._data.folder(folder)
        running = {id_: camera.spec for (place, id_), camera in self._cameras.items() if place == folder}
        change = changes(running, command.cameras)
        segment_s = command.segment_s or self._segment_s.get(folder, self._default_segment_s)
        self._segment_s[folder] = segment_s
        stopping: dict[str, Future[None]] = {}
        with self._lock:
            for id_ in change.stop:
                camera = self._cameras.pop((folder, id_))
                self._measured.pop((folder, id_), None)
                stopping[id_] = self._stoppers.submit(camera.stop)
            started = [
                Camera(
                    folder,
                    spec,
                    command.generation,
                    data=self._data,
                    finisher=self._finisher,
                    report=self._report,
                    clock=self._clock,
                    segment_s=segment_s,
                    after=stopping.get(spec.id),
                )
                for spec in change.start
            ]
            self._cameras.update({(folder, camera.spec.id): camera for camera in started})
            kept = [self._cameras[folder, id_] for id_ in change.keep]
        self._report(
            Applied(folder, command.generation, [spec.id for spec in change.start], change.stop, change.keep)
        )
        for camera in started:
            camera.start()
        for camera in kept:
            camera.keep(command.generation, segment_s)

    def statuses(self, *, measure: bool) -> list[CameraStatus]:
        """Every camera's state. With `measure`, the rates are taken anew, since the last such call."""
        with self._lock:
            cameras = dict(self._cameras)
        found: list[CameraStatus] = []
        for key, camera in cameras.items():
            if measure:
                camera.check()
            status = camera.status()
            rates = self._measured.get(key, _Rates(0.0, 0, 0))
            if measure:
                rates = rates.next(self._clock.monotonic(), camera.bytes_received, status.frames_written)
                self._measured[key] = rates
            found.append(
                msgspec.structs.replace(status, bitrate_bps=rates.bitrate_bps, fps=round(rates.fps, 1))
            )
        return found

    def close(self) -> None:
        """Stop every camera and wait until all files are finished."""
        with self._lock:
            cameras, self._cameras = list(self._cameras.values()), {}
        wait([self._stoppers.submit(camera.stop) for camera in cameras])
        self._stoppers.shutdown(wait=True)
        self._finisher.close()


class _Rates:
    """Bits and frames a second between two readings of growing counts."""

    def __init__(
        self, at_s: float, count_bytes: int, count_frames: int, bitrate_bps: int = 0, fps: float = 0.0
    ) -> None:
        self._at_s = at_s
        self._bytes = count_bytes
        self._frames = count_frames
        self.bitrate_bps = bitrate_bps
        self.fps = fps

    def next(self, at_s: float, count_bytes: int, count_frames: int) -> _Rates:
        passed = at_s - self._at_s
        if self._at_s == 0.0 or passed <= 0:
            return _Rates(at_s, count_bytes, count_frames)
        bits, frames = (count_bytes - self._bytes) * 8, count_frames - self._frames
        return _Rates(at_s, count_bytes, count_frames, round(bits / passed), frames / passed)
