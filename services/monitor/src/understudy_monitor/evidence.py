"""What the monitor knows of one machine. Ages are seconds of the monitor's monotonic clock."""

from __future__ import annotations

from dataclasses import dataclass, field

from understudy_contracts.machine import Heartbeat


@dataclass(frozen=True)
class Evidence:
    """`heard_at` is None if the machine was not heard in this life of the monitor; `seen_before` says that
    it was in an earlier one. `grown_at` tells per camera when its footage last grew."""

    heartbeat: Heartbeat | None = None
    heard_at: float | None = None
    seen_before: bool = False
    last_seen_ms: int | None = None
    grown_at: dict[str, float] = field(default_factory=dict)


def add_heartbeat(evidence: Evidence, heartbeat: Heartbeat, now: float, wall_ms: int) -> Evidence:
    """The evidence after `heartbeat` was heard; a late or repeated one changes nothing (promise P5)."""
    last = evidence.heartbeat
    if last is not None and last.boot == heartbeat.boot and heartbeat.sequence <= last.sequence:
        return evidence
    written = {c.camera: c.bytes_written for c in last.cameras} if last else {}
    grown_at = {
        camera.camera: now
        if camera.bytes_written != written.get(camera.camera)
        else evidence.grown_at.get(camera.camera, now)
        for camera in heartbeat.cameras
    }
    return Evidence(
        heartbeat=heartbeat, heard_at=now, seen_before=True, last_seen_ms=wall_ms, grown_at=grown_at
    )
