"""What the evidence on a machine amounts to. Pure: evidence, settings and time in, one verdict out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from understudy_contracts.machine import OwnCameras, Serving
from understudy_contracts.model import (
    CameraState,
    FailoverRange,
    RecorderState,
    Role,
    StorageState,
    Verdict,
)
from understudy_contracts.servers import Server
from understudy_contracts.settings import FailoverSettings

from understudy_monitor.actions import is_armed
from understudy_monitor.evidence import Beat, CameraBeat, Evidence, Growth, Sighting

# Machines of this version's major number understand each other.
VERSION = "0.1.0"
LATE_AFTER_BEATS = 1.5
# After the monitor could not hear, machines come back one by one: so long none of them is silent yet. After a
# long cut a client tries again within 5.25 s (time-out of a connection and pause between two, libs/bus).
SETTLING_S = 8.0
# A peer's word counts while it is fresher than this.
WITNESS_FRESH_S = 2.0


@dataclass(frozen=True)
class Finding:
    """A verdict and its reason in words for people; `silent_s` is for how long a heartbeat has been due.
    `matters` are all that hold at once, this one among them, where there are such."""

    verdict: Verdict
    reason: str = ""
    silent_s: float = 0.0
    matters: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Listening:
    """Since when the monitor has been able to hear (its monotonic clock), and whether it can now.

    Silence before that says nothing about the machines (promise P7).
    """

    since: float
    connected: bool = True


_RECORDER = {
    RecorderState.DISABLED: Verdict.RECORDER_DISABLED,
    RecorderState.NOT_INSTALLED: Verdict.RECORDER_MISSING,
    RecorderState.CRASHING: Verdict.RECORDER_CRASHING,
    RecorderState.INCOMPATIBLE: Verdict.INCOMPATIBLE,
}
_STORAGE = {
    StorageState.DAMAGED: Verdict.STORAGE_DAMAGED,
    StorageState.FULL: Verdict.STORAGE_DAMAGED,
    StorageState.DEGRADED: Verdict.STORAGE_DEGRADED,
}


def judge(
    server: Server,
    evidence: Evidence,
    settings: FailoverSettings,
    listening: Listening,
    previous: Verdict,
    now: float,
    witnesses: Iterable[Sighting] = (),
) -> Finding:
    """The verdict on `server`'s machine; `previous` is kept while nothing can be known."""
    if server.disabled:
        return Finding(Verdict.DISABLED, "disabled by a person")
    if server.machine is None:
        return Finding(Verdict.UNKNOWN, "no machine has joined as this server yet")
    if evidence.heartbeat is None and not evidence.seen_before:
        return Finding(Verdict.UNKNOWN, "not seen yet")
    if not listening.connected:
        return Finding(previous, "the monitor itself cannot hear at the moment")
    silent_s = silence(evidence, listening, now)
    if silent_s >= settings.disconnection.after_s:
        if _vouched_for(server, witnesses, now):
            return Finding(Verdict.PARTITIONED, "the host does not hear it, but its peers see it", silent_s)
        return Finding(Verdict.DISCONNECTED, "connection lost", silent_s)
    heartbeat = evidence.heartbeat
    if heartbeat is None or evidence.heard_at is None:
        # After a restart of ours: what was known holds until the machine is heard or its time is up.
        return Finding(previous, "not heard since the monitor started", silent_s)
    if evidence.heard_at < listening.since and previous in {Verdict.DISCONNECTED, Verdict.PARTITIONED}:
        return Finding(previous, "connection lost", silent_s)
    late = silent_s > LATE_AFTER_BEATS * heartbeat.heartbeat_s
    return _condition(evidence, heartbeat, settings) or (
        Finding(Verdict.LATE, "heartbeats are late", silent_s) if late else Finding(Verdict.HEALTHY)
    )


def silence(evidence: Evidence, listening: Listening, now: float) -> float:
    """Seconds since the first heartbeat that did not come was due: counted from the last one that came, a
    fault just after it would seem longer than it is, and a short one would trigger (promise P7)."""
    settled = listening.since + SETTLING_S
    if evidence.heartbeat is None or evidence.heard_at is None:
        return now - settled
    if evidence.heard_at < listening.since:
        return now - max(evidence.heard_at + evidence.heartbeat.heartbeat_s, settled)
    return now - (evidence.heard_at + evidence.heartbeat.heartbeat_s)


def stands_still(evidence: Evidence, after_s: float) -> list[str]:
    """Cameras whose frames have arrived for `after_s`, which are to be recorded, and whose footage has not
    grown meanwhile (B2). A camera that sends nothing is not the server's fault; of one that failed the server
    could not write what came."""
    heartbeat = evidence.heartbeat
    if heartbeat is None or evidence.heard_at is None or not isinstance(heartbeat.duty, OwnCameras | Serving):
        return []
    if isinstance(heartbeat.duty, Serving) and heartbeat.duty.range is not FailoverRange.FULL:
        return []
    grew_before = evidence.heard_at - after_s
    if all(growth.at > grew_before for growth in evidence.growth.values()):
        return []
    still = []
    for camera in heartbeat.cameras:
        growth = evidence.growth[camera.camera]
        if growth.at > grew_before:
            continue
        if camera.state is CameraState.FAILED or (
            camera.state is CameraState.RECORDING and _frames_arrive(camera, growth, grew_before)
        ):
            still.append(camera.camera)
    return still


def _frames_arrive(camera: CameraBeat, growth: Growth, since: float) -> bool:
    """Whether frames came before `since` and have come after it, none of them written: one that is being
    written right now, or a count that is older than the state beside it, proves nothing."""
    return (
        growth.unwritten is not None
        and growth.unwritten_at <= since
        and (camera.frames_received or 0) > growth.unwritten
    )


def _vouched_for(server: Server, witnesses: Iterable[Sighting], now: float) -> bool:
    """Whether a fresh witness saw it at work: a recording server recording, a failover server at all."""
    return any(
        sighting.reachable and (sighting.records or server.role is Role.FAILOVER)
        for sighting in witnesses
        if now - sighting.at < WITNESS_FRESH_S
    )


def _condition(evidence: Evidence, heartbeat: Beat, settings: FailoverSettings) -> Finding | None:
    """What is the matter with a machine that speaks. Of several matters one whose trigger is on: a trigger
    that people switched off must not hide another."""
    matters = _matters(evidence, heartbeat, settings)
    armed = [matter for matter in matters if is_armed(matter.verdict, settings)]
    found = next(iter(armed or matters), None)
    return None if found is None else replace(found, matters=tuple(matters))


def _matters(evidence: Evidence, heartbeat: Beat, settings: FailoverSettings) -> list[Finding]:
    if heartbeat.version and heartbeat.version.split(".")[0] != VERSION.split(".", maxsplit=1)[0]:
        return [Finding(Verdict.INCOMPATIBLE, f"runs version {heartbeat.version}, the host runs {VERSION}")]
    matters = []
    if heartbeat.recorder.state in _RECORDER:
        reason = heartbeat.recorder.reason or f"recorder {heartbeat.recorder.state.value}"
        if heartbeat.recorder.state is RecorderState.INCOMPATIBLE:
            # That it records nothing follows from it, and is no other matter.
            return [Finding(Verdict.INCOMPATIBLE, reason)]
        matters.append(Finding(_RECORDER[heartbeat.recorder.state], reason))
    if heartbeat.storage.state in _STORAGE:
        reason = heartbeat.storage.reason or f"storage {heartbeat.storage.state.value}"
        matters.append(Finding(_STORAGE[heartbeat.storage.state], reason))
    still = stands_still(evidence, settings.recorder.after_s)
    if still:
        matters.append(Finding(Verdict.NOT_RECORDING, f"footage of {', '.join(still[:3])} does not grow"))
    return matters
