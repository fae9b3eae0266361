"""What the monitor knows of one machine. Ages are seconds of the monitor's monotonic clock."""

from __future__ import annotations

from dataclasses import dataclass, field

from understudy_contracts.machine import Heartbeat


@dataclass(frozen=True)
class Growth:
    """One camera's footage: its size, when that last grew, and how many frames had come in by then."""

    bytes: int
    at: float
    frames_then: int


@dataclass(frozen=True)
class Sighting:
    """A peer's word on a machine: when it looked, whether it saw it, and whether it saw it record."""

    at: float
    reachable: bool
    records: bool


@dataclass(frozen=True)
class Evidence:
    """`heard_at` is None if the machine was not heard in this life of the monitor; `seen_before` says that
    it was in an earlier one. `skew_ms` is how far its wall clock is ahead of ours."""

    heartbeat: Heartbeat | None = None
    heard_at: float | None = None
    seen_before: bool = False
    last_seen_ms: int | None = None
    skew_ms: int = 0
    growth: dict[str, Growth] = field(default_factory=dict)


def add_heartbeat(evidence: Evidence, heartbeat: Heartbeat, now: float, wall_ms: int) -> Evidence:
    """The evidence after `heartbeat` was heard; a late or repeated one changes nothing (promise P5)."""
    last = evidence.heartbeat
    if last is not None and last.boot == heartbeat.boot and heartbeat.sequence <= last.sequence:
        return evidence
    return Evidence(
        heartbeat=heartbeat,
        heard_at=now,
        seen_before=True,
        last_seen_ms=wall_ms,
        skew_ms=heartbeat.sent_at - wall_ms,
        growth=_grown(evidence.growth, heartbeat, now),
    )


def _grown(before: dict[str, Growth], heartbeat: Heartbeat, now: float) -> dict[str, Growth]:
    grown = {}
    for camera in heartbeat.cameras:
        known = before.get(camera.camera)
        if known is not None and known.bytes == camera.bytes_written:
            grown[camera.camera] = known
        else:
            grown[camera.camera] = Growth(camera.bytes_written, now, camera.frames_received or 0)
    return grown


def weighs_the_same(one: Heartbeat, other: Heartbeat) -> bool:
    """Whether two heartbeats lead to the same verdict and status, growth of footage apart."""
    return (
        one.duty == other.duty
        and one.recorder == other.recorder
        and one.storage == other.storage
        and one.staged == other.staged
        and one.settings_version == other.settings_version
        and one.version == other.version
        and one.heartbeat_s == other.heartbeat_s
        and len(one.cameras) == len(other.cameras)
        and all(a.state is b.state for a, b in zip(one.cameras, other.cameras, strict=True))
    )
