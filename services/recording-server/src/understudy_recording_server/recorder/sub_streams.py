"""Second streams of cameras: each open while a sink is attached to it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

from understudy_recording_server.recorder.camera import Camera
from understudy_recording_server.recorder.fan_out import FanOut
from understudy_recording_server.recorder.protocol import CameraSpec, SubStream


def sub_spec(camera: str, sub: SubStream) -> CameraSpec:
    """The second stream as a camera of its own that is not recorded."""
    return CameraSpec(camera, sub.url, sub.username, sub.password, sub.transport, record=False)


class SubStreams:
    """Runs the wanted ones. Not thread-safe: the fleet's lock guards it."""

    def __init__(
        self,
        make: Callable[[str, CameraSpec, Future[None] | None], Camera],
        stop: Callable[[Camera], Future[None]],
    ) -> None:
        self._make = make
        self._stop = stop
        self._running: dict[tuple[str, str], Camera] = {}
        self._ending: dict[tuple[str, str], Future[None]] = {}

    def want(self, folder: str, camera: str, sub: SubStream | None, fan_out: FanOut) -> None:
        """Make the second stream of a camera run if it has one and somebody takes it, else end it."""
        key = folder, camera
        running = self._running.get(key)
        spec = sub_spec(camera, sub) if sub is not None and fan_out.sinks else None
        if running is not None and running.spec == spec:
            return
        if running is not None:
            del self._running[key]
            self._ending[key] = self._stop(running)
        if spec is not None:
            # Its sinks take frames from one thread at a time: the one before must have ended, also when
            # it was not wanted any more for a moment.
            self._running[key] = started = self._make(folder, spec, self._ending.pop(key, None))
            started.start()
        self._ending = {key: ending for key, ending in self._ending.items() if not ending.done()}

    def cameras(self) -> list[Camera]:
        return list(self._running.values())
