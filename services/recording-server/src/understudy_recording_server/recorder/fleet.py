"""All cameras of the process, in one or more folders."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Lock

import msgspec
from understudy_contracts.errors import NotFound
from understudy_footage import FootageRoot
from understudy_runtime.clock import Clock

from understudy_recording_server.live_protocol import StreamName
from understudy_recording_server.recorder.camera import Camera
from understudy_recording_server.recorder.changes import changes
from understudy_recording_server.recorder.fan_out import FanOut, Sink
from understudy_recording_server.recorder.finishing import Finisher
from understudy_recording_server.recorder.protocol import (
    Applied,
    Apply,
    CameraSpec,
    CameraStatus,
    Report,
    Trouble,
)
from understudy_recording_server.recorder.recent import Recent
from understudy_recording_server.recorder.sources.read_loop import ReadLoop
from understudy_recording_server.recorder.sub_streams import SubStreams


class Fleet:
    """Starts and stops cameras so that the wanted ones run. `apply` and `close` come from one thread."""

    def __init__(
        self, data: FootageRoot, report: Callable[[Report], None], clock: Clock, segment_s: float
    ) -> None:
        self._data = data
        self._report = report
        self._clock = clock
        self._default_segment_s = segment_s
        self._segment_s: dict[str, float] = {}
        self._finisher = Finisher(data, report)
        self._loop = ReadLoop(self._loop_failed)
        self._stoppers = ThreadPoolExecutor(8, "stopper")
        self._lock = Lock()
        self._cameras: dict[tuple[str, str], Camera] = {}
        self._fan_outs: dict[tuple[str, str, StreamName], FanOut] = {}
        self._subs = SubStreams(self._make_sub, lambda camera: self._stoppers.submit(camera.stop))
        self._measured: dict[tuple[str, str], _Rates] = {}
        self._recents: dict[tuple[str, str], Recent] = {}

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
                self._make(folder, spec, stopping.get(spec.id), command.generation, segment_s)
                for spec in change.start
            ]
            self._cameras.update({(folder, camera.spec.id): camera for camera in started})
            kept = [self._cameras[folder, id_] for id_ in change.keep]
            self._serve_subs(folder, {spec.id: spec for spec in command.cameras}, change.stop)
        self._report(
            Applied(folder, command.generation, [spec.id for spec in change.start], change.stop, change.keep)
        )
        for camera in started:
            camera.start()
        for camera in kept:
            camera.keep(command.generation, segment_s)

    def attach(self, folder: str, camera: str, sink: Sink, stream: StreamName = "main") -> None:
        """Give `sink` the camera's frames from the next one on, through reconnections and changes of its
        address, until `detach` or until the camera is taken out of the set. From any thread.

        Raises:
            NotFound: no such camera runs in this folder, or it has no second stream.
        """
        with self._lock:
            running = self._cameras.get((folder, camera))
            if running is None or (stream == "sub" and running.spec.sub is None):
                raise NotFound(f"camera {camera} has no such stream here")
            fan_out = self._fan_out(folder, camera, stream)
            fan_out.attach(sink)
            if stream == "sub":
                self._subs.want(folder, camera, running.spec.sub, fan_out)

    def detach(self, folder: str, camera: str, sink: Sink, stream: StreamName = "main") -> None:
        """Give it no more frames. Harmless when it gets none anyway. From any thread."""
        with self._lock:
            fan_out = self._fan_outs.get((folder, camera, stream))
            if fan_out is None:
                return
            fan_out.detach(sink)
            running = self._cameras.get((folder, camera))
            if stream == "sub" and running is not None:
                self._subs.want(folder, camera, running.spec.sub, fan_out)

    def happened(self, folder: str, camera: str, for_s: float) -> None:
        """An event at a camera; nothing if it does not run."""
        with self._lock:
            running = self._cameras.get((folder, camera))
        if running is not None:
            running.happened(for_s)

    def recent(self, folder: str, camera: str) -> Recent | None:
        """What the camera has sent last. From any thread; its frames are for the camera's own."""
        return self._recents.get((folder, camera))

    def statuses(self, *, measure: bool) -> list[CameraStatus]:
        """Every camera's state. With `measure`, the rates are taken anew, since the last such call."""
        with self._lock:
            cameras, subs = dict(self._cameras), self._subs.cameras()
        if measure:
            for sub in subs:
                sub.check()
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
            cameras, self._cameras = [*self._cameras.values(), *self._subs.cameras()], {}
        wait([self._stoppers.submit(camera.stop) for camera in cameras])
        self._stoppers.shutdown(wait=True)
        self._loop.close()
        self._finisher.close()

    def _loop_failed(self, error: Exception) -> None:
        self._report(Trouble(f"reading cameras met an unexpected {type(error).__name__}, and goes on"))

    def _serve_subs(self, folder: str, wanted: dict[str, CameraSpec], stopped: list[str]) -> None:
        for id_, spec in wanted.items():
            self._cameras[folder, id_].spec = spec  # Those that are kept may have another second stream.
            sub = self._fan_outs.get((folder, id_, "sub"))
            if sub is not None:
                self._subs.want(folder, id_, spec.sub, sub)
        for id_ in stopped:
            if id_ not in wanted:
                self._fan_outs.pop((folder, id_, "main"), None)
                self._recents.pop((folder, id_), None)
                sub = self._fan_outs.pop((folder, id_, "sub"), None)
                if sub is not None:
                    self._subs.want(folder, id_, None, sub)

    def _fan_out(self, folder: str, camera: str, stream: StreamName) -> FanOut:
        key = folder, camera, stream
        if key not in self._fan_outs:
            self._fan_outs[key] = FanOut(lambda sink, error: self._sink_failed(folder, camera, sink, error))
            if stream == "main":
                self._recents[folder, camera] = Recent()
                self._fan_outs[key].attach(self._recents[folder, camera])
        return self._fan_outs[key]

    def _sink_failed(self, folder: str, camera: str, sink: Sink, error: Exception) -> None:
        reason = f"{type(sink).__name__} failed with {type(error).__name__} and gets no more frames"
        self._report(Trouble(reason, folder, camera))

    def _make(
        self,
        folder: str,
        spec: CameraSpec,
        after: Future[None] | None,
        generation: int,
        segment_s: float,
    ) -> Camera:
        fan_out = self._fan_out(folder, spec.id, "main")
        recent = self._recents[folder, spec.id]
        recent.keep_s = spec.pre_record_s if spec.by_event else 0.0
        return Camera(
            folder,
            spec,
            generation,
            data=self._data,
            finisher=self._finisher,
            report=self._report,
            clock=self._clock,
            segment_s=segment_s,
            loop=self._loop,
            fan_out=fan_out,
            recent=recent,
            after=after,
        )

    def _make_sub(self, folder: str, spec: CameraSpec, after: Future[None] | None) -> Camera:
        return Camera(
            folder,
            spec,
            0,
            data=self._data,
            finisher=self._finisher,
            report=_unheard,  # The agent counts main streams only.
            clock=self._clock,
            segment_s=0.0,
            loop=self._loop,
            fan_out=self._fan_out(folder, spec.id, "sub"),
            after=after,
        )


def _unheard(_report: Report) -> None:
    """For what nobody has to be told."""


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
