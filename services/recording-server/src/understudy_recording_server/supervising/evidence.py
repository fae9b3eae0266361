"""What the recorder has shown of each camera, kept over the recorder's own crashes. No I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass, field

from understudy_contracts.machine import CameraEvidence
from understudy_contracts.model import CameraState

from understudy_recording_server.recorder.changes import same_recording
from understudy_recording_server.recorder.protocol import (
    CameraChanged,
    CameraSpec,
    CameraStatus,
    CameraStopped,
    FirstKeyFrame,
    Ready,
    Report,
    Status,
)
from understudy_recording_server.wanted import CameraSet

RESTARTING = "the recorder is being restarted"


@dataclass
class _Camera:
    """One camera since `since`, the generation that started it. The `earlier_` counts are those of recorder
    processes that are gone."""

    spec: CameraSpec
    since: int
    state: CameraState = CameraState.CONNECTING
    reason: str = ""
    connected_at: int | None = None
    first_key_frame_at: int | None = None
    last_frame_at: int | None = None
    bytes: int = 0
    frames: int = 0
    received: int = 0
    reconnects: int = 0
    earlier_bytes: int = 0
    earlier_frames: int = 0
    earlier_received: int = 0
    earlier_reconnects: int = 0
    bitrate_bps: int = 0
    fps: float = 0.0
    skew_ms: int | None = None

    def recorder_gone(self, state: CameraState, reason: str) -> None:
        self.state, self.reason = state, reason
        self.bitrate_bps, self.fps = 0, 0.0
        self.earlier_bytes, self.bytes = self.earlier_bytes + self.bytes, 0
        self.earlier_frames, self.frames = self.earlier_frames + self.frames, 0
        self.earlier_received, self.received = self.earlier_received + self.received, 0
        self.earlier_reconnects, self.reconnects = self.earlier_reconnects + self.reconnects + 1, 0


@dataclass
class _Set:
    wanted: CameraSet
    generation: int
    cameras: dict[str, _Camera] = field(default_factory=dict)


class Evidence:
    """Times of first packet and first key frame are those since the camera was started for its folder."""

    def __init__(self) -> None:
        self._sets: dict[str, _Set] = {}
        self._stopping: set[tuple[str, str]] = set()

    def expect(self, folder: str, wanted: CameraSet | None, generation: int) -> None:
        """From now on the recorder is to run this set (None: nothing) in `folder`."""
        before = self._sets.pop(folder, None)
        known = before.cameras if before else {}
        if wanted is None:
            self._stopping.update((folder, camera) for camera in known)
            return
        now = _Set(wanted, generation)
        for spec in wanted.cameras:
            camera = known.get(spec.id)
            now.cameras[spec.id] = (
                camera
                if camera is not None and same_recording(camera.spec, spec)
                else _Camera(spec, generation)
            )
        self._stopping.update((folder, camera) for camera in known if camera not in now.cameras)
        self._sets[folder] = now

    def take(self, report: Report) -> bool:
        """Note what the recorder said. Whether the host should hear of it at once."""
        match report:
            case Ready():
                # It has finished what its predecessor left, so nothing is being closed any more.
                stopping, self._stopping = self._stopping, set()
                return bool(stopping)
            case CameraStopped():
                key = (report.folder, report.camera)
                if key not in self._stopping:
                    return False
                self._stopping.remove(key)
                return not any(folder == report.folder for folder, _ in self._stopping)
            case CameraChanged():
                camera = self._camera(report.folder, report.camera, report.generation)
                return camera is not None and _change(camera, report.state, report.reason)
            case FirstKeyFrame():
                camera = self._camera(report.folder, report.camera, report.generation)
                return camera is not None and _first(camera, report.connected_at_ms, report.at_ms)
            case Status():
                news = [self._take_status(status) for status in report.cameras]
                return any(news)
            case _:
                return False

    def recorder_gone(self, state: CameraState = CameraState.RECONNECTING, reason: str = RESTARTING) -> None:
        """The recorder has ended; its successor, if there is one, will be told the same sets."""
        for one in self._sets.values():
            for camera in one.cameras.values():
                camera.recorder_gone(state, reason)

    def is_stopped(self, folder: str) -> bool:
        """Whether no camera of `folder` is wanted, and the files of all that ran are closed and named."""
        return folder not in self._sets and not any(where == folder for where, _ in self._stopping)

    def cameras(self) -> list[CameraEvidence]:
        found: list[CameraEvidence] = []
        for folder in sorted(self._sets):
            one = self._sets[folder]
            failover = one.wanted.failover
            found.extend(_evidence(camera, failover) for camera in one.cameras.values())
            found.extend(
                CameraEvidence(camera, CameraState.DISABLED, failover, reason)
                for camera, reason in one.wanted.off.items()
            )
        return found

    def _camera(self, folder: str, camera: str, generation: int) -> _Camera | None:
        one = self._sets.get(folder)
        found = one.cameras.get(camera) if one else None
        # What was said of an earlier run of the same camera no longer counts.
        return found if found is not None and generation >= found.since else None

    def _take_status(self, status: CameraStatus) -> bool:
        camera = self._camera(status.folder, status.camera, status.generation)
        if camera is None:
            return False
        camera.last_frame_at = status.last_frame_at_ms or camera.last_frame_at
        camera.bytes, camera.frames = status.bytes_written, status.frames_written
        camera.received, camera.skew_ms = status.frames_received, status.clock_skew_ms
        camera.bitrate_bps, camera.fps = status.bitrate_bps, status.fps
        camera.reconnects = status.reconnects
        news = _first(camera, status.connected_at_ms, status.first_key_frame_at_ms)
        return _change(camera, status.state, status.reason) or news


def _change(camera: _Camera, state: CameraState, reason: str) -> bool:
    changed = (camera.state, camera.reason) != (state, reason)
    camera.state, camera.reason = state, reason
    return changed


def _first(camera: _Camera, connected_at: int | None, key_frame_at: int | None) -> bool:
    news = camera.first_key_frame_at is None and key_frame_at is not None
    if camera.connected_at is None:
        camera.connected_at = connected_at
    if camera.first_key_frame_at is None:
        camera.first_key_frame_at = key_frame_at
    return news


def _evidence(camera: _Camera, failover: str | None) -> CameraEvidence:
    return CameraEvidence(
        camera=camera.spec.id,
        state=camera.state,
        failover=failover,
        reason=camera.reason,
        connected_at=camera.connected_at,
        first_key_frame_at=camera.first_key_frame_at,
        last_frame_at=camera.last_frame_at,
        bytes_written=camera.earlier_bytes + camera.bytes,
        frames_written=camera.earlier_frames + camera.frames,
        frames_received=camera.earlier_received + camera.received,
        reconnects=camera.earlier_reconnects + camera.reconnects,
        bitrate_bps=camera.bitrate_bps,
        fps=camera.fps,
        clock_skew_ms=camera.skew_ms,
    )
