"""What the status lists show (M22): one pure function of verdict and failover."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from understudy_contracts.failovers import Failover
from understudy_contracts.machine import StoodDown
from understudy_contracts.model import CameraState, Phase, Role, Status, Verdict
from understudy_contracts.servers import FailoverGlance, Server, ServerStatus

from understudy_monitor.evidence import Beat

_RESTORES = frozenset({Phase.RESTORING, Phase.CLEARING})
_RECORDS = frozenset({CameraState.RECORDING, CameraState.LIVE})


@dataclass(frozen=True)
class Subject:
    """A server with all that its status follows from. `failovers` are the unfinished ones it is part of;
    `maintenance` says until when planned work holds its triggers."""

    server: Server
    verdict: Verdict
    reason: str
    heartbeat: Beat | None
    failovers: Sequence[Failover]
    maintenance: str = ""


@dataclass(frozen=True)
class Spare:
    """A failover server as far as it protects others."""

    server: Server
    verdict: Verdict
    busy_with: str | None
    staged: dict[str, int]


def status_of(subject: Subject, spares: Sequence[Spare]) -> ServerStatus:
    """The status of one server; `spares` are all failover servers."""
    server = subject.server
    shown = _role_status(subject)
    protected, protection = _protection(subject, spares)
    heartbeat = subject.heartbeat
    return ServerStatus(
        server=server.id,
        role=server.role,
        status=shown.status,
        reason=_with_maintenance(shown, subject.maintenance),
        failover=shown.failover,
        protected=protected,
        protection=protection,
        cameras_active=_cameras_active(subject),
        cameras_maximum=server.maximum_cameras,
        version=heartbeat.version if heartbeat else "",
    )


def _cameras_active(subject: Subject) -> int:
    """How many of its cameras are recorded or shown now; in a failover that is the other server's work."""
    failover = _failover_shown(subject)
    if failover is not None and subject.server.role is Role.RECORDING and failover.phase is not Phase.WAITING:
        return sum(camera.state in _RECORDS for camera in failover.cameras)
    if subject.heartbeat is None or subject.verdict in {Verdict.DISCONNECTED, Verdict.UNKNOWN}:
        return 0
    return sum(camera.state in _RECORDS for camera in subject.heartbeat.cameras)


@dataclass(frozen=True)
class _Shown:
    status: Status
    reason: str = ""
    failover: FailoverGlance | None = None


def _with_maintenance(shown: _Shown, maintenance: str) -> str:
    """The reason, with planned maintenance named once; a disabled server triggers nothing anyway."""
    if not maintenance or maintenance in shown.reason or shown.status is Status.DISABLED:
        return shown.reason
    return f"{shown.reason}; {maintenance}" if shown.reason else maintenance


def _role_status(subject: Subject) -> _Shown:
    server = subject.server
    if server.disabled:
        return _Shown(Status.DISABLED, "disabled by a person")
    failover = _failover_shown(subject)
    if failover is not None:
        if server.role is Role.RECORDING:
            if failover.phase is Phase.WAITING:
                text = f"{failover.reason.text}; {failover.waiting_for}"
                return _Shown(Status.OTHERS, text, _glance(failover, server))
            return _Shown(Status.FAILED_OVER, failover.reason.text, _glance(failover, server))
        reason = "" if failover.phase in _RESTORES else failover.reason.text
        return _Shown(Status.FAILED_OVER, reason or failover.waiting_for, _glance(failover, server))
    return _by_verdict(subject)


def _failover_shown(subject: Subject) -> Failover | None:
    """A recording server whose footage is coming home is what its verdict says (house.md, Statuses)."""
    for failover in subject.failovers:
        if subject.server.role is Role.FAILOVER or failover.holds_original:
            return failover
    return None


def _by_verdict(subject: Subject) -> _Shown:
    good = Status.NORMAL if subject.server.role is Role.RECORDING else Status.STANDBY
    match subject.verdict:
        case Verdict.HEALTHY | Verdict.LATE:
            if subject.heartbeat is not None and isinstance(subject.heartbeat.duty, StoodDown):
                return _Shown(Status.OTHERS, "stood down, and no failover holds it")
            return _Shown(good, "heartbeats are late" if subject.verdict is Verdict.LATE else "")
        case Verdict.DISABLED:
            return _Shown(Status.DISABLED, subject.reason)
        case Verdict.DISCONNECTED | Verdict.PARTITIONED | Verdict.UNKNOWN:
            return _Shown(Status.DISCONNECTED, subject.reason)
        case Verdict.INCOMPATIBLE:
            return _Shown(Status.INCOMPATIBLE, subject.reason)
        case _:
            return _Shown(Status.OTHERS, subject.reason)


def _glance(failover: Failover, server: Server) -> FailoverGlance:
    recording = server.role is Role.RECORDING
    percent = None
    if failover.phase in _RESTORES:
        percent = failover.restoration.percent if failover.restoration else 0.0
        if failover.phase is Phase.CLEARING:
            percent = 100.0
    return FailoverGlance(
        id=failover.id,
        phase=failover.phase.value,
        partner=failover.failover_server if recording else failover.server,
        partner_name=failover.failover_server_name if recording else failover.server_name,
        percent=percent,
        waiting_for=failover.waiting_for,
    )


def _protection(subject: Subject, spares: Sequence[Spare]) -> tuple[bool, str]:
    """*Protected* only when a paired failover server could take over now; else what is missing (M4)."""
    server = subject.server
    if server.role is not Role.RECORDING:
        return False, ""
    paired = [spare for spare in spares if server.is_paired_with(spare.server)]
    if not paired:
        return False, "paired with no failover server"
    missing = []
    for spare in paired:
        why = _not_ready(spare, server, subject.heartbeat)
        if why is None:
            return True, ""
        missing.append(f"{spare.server.name}: {why}")
    return False, "; ".join(missing)


def _not_ready(spare: Spare, server: Server, heartbeat: Beat | None) -> str | None:
    if spare.verdict is not Verdict.HEALTHY:
        return spare.verdict.value.replace("-", " ")
    if spare.busy_with is not None:
        return f"busy with {spare.busy_with}"
    wanted = heartbeat.settings_version if heartbeat else 0
    staged = spare.staged.get(server.id)
    if staged is None or staged < wanted:
        return "settings not staged yet"
    return None
