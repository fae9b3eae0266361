"""What the monitor knows of one machine. Ages are seconds of the monitor's monotonic clock."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
from understudy_contracts.machine import (
    Duty,
    Heartbeat,
    PeerSighting,
    Recorder,
    Storage,
    Unassigned,
    is_behind,
)
from understudy_contracts.model import CameraState


class CameraBeat(msgspec.Struct, frozen=True, gc=False):
    """What of a `CameraEvidence` is weighed."""

    camera: str
    state: CameraState
    bytes_written: int = 0
    frames_received: int | None = None


class Beat(msgspec.Struct, frozen=True):
    """What of a `Heartbeat` is weighed. The rest of it is passed over, not read: a thousand machines speak
    several times a second."""

    machine: str
    site: str
    boot: str
    sequence: int
    sent_at: int
    version: str = ""
    duty: Duty = Unassigned()
    settings_version: int = 0
    heartbeat_s: float = 1.0
    staged: dict[str, int] = {}
    storage: Storage = Storage()
    recorder: Recorder = Recorder()
    cameras: list[CameraBeat] = []
    peers: list[PeerSighting] = []

    @classmethod
    def of(cls, heartbeat: Heartbeat) -> Beat:
        """The same of one that was read whole."""
        return msgspec.convert(heartbeat, cls, from_attributes=True)


class Growth(msgspec.Struct, frozen=True, gc=False):
    """One camera's footage: its size, and how many frames had come in when last all was well, at `at`: it had
    grown, or there was nothing to write.

    `unwritten` is how many had come in when first there were more and no more footage, at `unwritten_at`.
    """

    bytes: int
    at: float
    frames_then: int
    unwritten: int | None = None
    unwritten_at: float = 0.0


_WRITES = frozenset({CameraState.RECORDING, CameraState.FAILED})


class Sighting(NamedTuple):
    """A peer's word on a machine: when it looked, whether it saw it, and whether it saw it record."""

    at: float
    reachable: bool
    records: bool


class Evidence(msgspec.Struct, frozen=True):
    """`heard_at` is None if the machine was not heard in this life of the monitor; `seen_before` says that
    it was in an earlier one. `skew_ms` is how far its wall clock is ahead of ours."""

    heartbeat: Beat | None = None
    heard_at: float | None = None
    seen_before: bool = False
    last_seen_ms: int | None = None
    skew_ms: int = 0
    growth: dict[str, Growth] = {}


def add_heartbeat(evidence: Evidence, heartbeat: Beat, now: float, wall_ms: int) -> Evidence:
    """The evidence after `heartbeat` was heard; a late or repeated one changes nothing (promise P5)."""
    if is_behind(heartbeat, evidence.heartbeat):
        return evidence
    return Evidence(
        heartbeat=heartbeat,
        heard_at=now,
        seen_before=True,
        last_seen_ms=wall_ms,
        skew_ms=heartbeat.sent_at - wall_ms,
        growth=_grown(evidence.growth, heartbeat, now),
    )


def _grown(before: dict[str, Growth], heartbeat: Beat, now: float) -> dict[str, Growth]:
    # Some ten thousand cameras pass here several times a second.
    grown = {}
    for camera in heartbeat.cameras:
        name, written = camera.camera, camera.bytes_written
        known = before.get(name)
        if known is None or known.bytes != written or camera.state not in _WRITES:
            # One that was away for long, and whose frames come again, is not behind at once.
            grown[name] = Growth(written, now, camera.frames_received or 0)
        elif known.unwritten is None and (camera.frames_received or 0) > known.frames_then:
            grown[name] = Growth(written, known.at, known.frames_then, camera.frames_received, now)
        else:
            grown[name] = known
    return grown


def weighs_the_same(one: Beat, other: Beat) -> bool:
    """Whether two heartbeats lead to the same verdict and status, growth of footage apart."""
    return (
        one.duty == other.duty
        and one.recorder == other.recorder
        and one.storage == other.storage
        and one.staged == other.staged
        and one.settings_version == other.settings_version
        and one.version == other.version
        and one.heartbeat_s == other.heartbeat_s
        and [camera.state for camera in one.cameras] == [camera.state for camera in other.cameras]
    )
