"""What a failover does next. Pure: the failover and a snapshot of the world in, one move out.

The driver carries out the move, records it, and asks again: so any instance can go on after a crash, from
whatever was recorded last. A step counts as taken if it ended without error since its phase was entered.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
from understudy_contracts.failovers import CameraTakeover, Failover, RestorationSummary
from understudy_contracts.model import CameraState, FailoverRange, Outcome, Phase, Restoration

from understudy_orchestrator.selection import Candidate, select
from understudy_orchestrator.world import RECORDS, World

# A camera that has not confirmed by then does not hold up the others any longer; it goes on being tried.
CONFIRM_WITHIN_S = 15.0


@dataclass(frozen=True)
class Step:
    """Take this step. A `soft` one that fails is noted and passed: its failing must not hold up the rest."""

    name: str
    soft: bool = False


@dataclass(frozen=True)
class Enter:
    """Enter this phase, with these changes to the document."""

    phase: Phase
    changes: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Assign:
    """Reserve this failover server and enter `licensing`."""

    candidate: Candidate


@dataclass(frozen=True)
class Succeed:
    """The failover server is lost: this failover waits in `restoring`, a new one goes on (house.md, 5)."""

    reason: str


@dataclass(frozen=True)
class Update:
    """Record these changes within the phase."""

    changes: dict[str, object]


@dataclass(frozen=True)
class Wait:
    """Nothing to do until something changes; `reason` is shown when it is worth telling."""

    reason: str = ""
    rejected: dict[str, str] | None = None


Move = Step | Enter | Assign | Succeed | Update | Wait


def next_move(failover: Failover, world: World) -> Move:
    """The one next move of `failover` in `world`."""
    match failover.phase:
        case Phase.WAITING:
            return _waiting(failover, world)
        case Phase.LICENSING:
            return _licensing(failover, world)
        case Phase.ACTIVATING:
            return _activating(failover, world)
        case Phase.STANDING_DOWN:
            return _standing_down(failover, world)
        case Phase.ACTIVE:
            return _active(failover, world)
        case Phase.HANDING_BACK:
            return _handing_back(failover, world)
        case Phase.RESTORING:
            return _restoring(failover, world)
        case Phase.CLEARING:
            return _clearing(failover, world)
        case Phase.REPLACING | Phase.DONE:
            return Wait()


def taken(failover: Failover, name: str) -> bool:
    """Whether the step was taken since the present phase was entered."""
    return any(
        step.name == name
        and step.phase is failover.phase
        and step.number > failover.steps_before_phase
        and step.ended_at is not None
        and not step.error
        for step in failover.steps
    )


def tried(failover: Failover, name: str) -> bool:
    """Whether a soft step was at least tried since the present phase was entered."""
    return any(
        step.name == name
        and step.phase is failover.phase
        and step.number > failover.steps_before_phase
        and step.ended_at is not None
        for step in failover.steps
    )


def _waiting(failover: Failover, world: World) -> Move:
    if failover.stop_requested:
        return Enter(Phase.DONE, {"outcome": Outcome.ABANDONED})
    if failover.automatic and world.original_healthy_s > failover.settings.settling_s:
        return Enter(Phase.DONE, {"outcome": Outcome.RETURNED})
    selection = select(
        world.candidates,
        site=failover.site,
        cameras=world.cameras,
        requested=failover.requested_failover_server,
    )
    if selection.chosen is not None:
        return Assign(selection.chosen)
    return Wait("no failover server is free and fit", dict(selection.rejected))


def _licensing(failover: Failover, world: World) -> Move:
    interruption = _interrupted(failover, world)
    if interruption is not None:
        return interruption
    if not taken(failover, "move-keys"):
        return Step("move-keys")
    if world.original_answers and not tried(failover, "permit-original"):
        return Step("permit-original", soft=True)
    return Enter(Phase.ACTIVATING)


def _activating(failover: Failover, world: World) -> Move:
    interruption = _interrupted(failover, world)
    if interruption is not None:
        return interruption
    if not taken(failover, "open-copy"):
        return Step("open-copy")
    if not taken(failover, "activate"):
        return Step("activate")
    cameras = cameras_now(failover, world)
    waited_s = (world.now_ms - failover.phase_since) / 1000
    missing = [c.camera for c in cameras if not _settled(c)]
    if missing and waited_s < CONFIRM_WITHIN_S:
        if cameras != failover.cameras:
            return Update({"cameras": cameras})
        return Wait()
    changes: dict[str, object] = {"cameras": cameras, "taken_over_at": taken_over_at(cameras)}
    if world.original_answers and _all_confirmed(cameras) and _should_stand_down(failover, world):
        return Enter(Phase.STANDING_DOWN, changes)
    return Enter(Phase.ACTIVE, changes)


def _standing_down(failover: Failover, world: World) -> Move:
    interruption = _interrupted(failover, world)
    if interruption is not None:
        return interruption
    if world.original_answers and not taken(failover, "stand-down"):
        return Step("stand-down")
    original = "back" if world.original_answers else "away"
    return Enter(Phase.ACTIVE, {"original": original})


def _active(failover: Failover, world: World) -> Move:
    if world.stand_in_lost:
        return _lost(failover, world)
    if failover.stop_requested and (world.original_answers or failover.stop_confirmed):
        return Enter(Phase.HANDING_BACK)
    if _reason_has_cleared(failover, world):
        return Enter(Phase.HANDING_BACK)
    cameras = cameras_now(failover, world)
    if (
        world.original_answers
        and world.original is not None
        and world.original.records_own_cameras
        and _all_confirmed(cameras)
        and _should_stand_down(failover, world)
    ):
        return Step("stand-down")
    original = "back" if world.original_answers else "away"
    if original != failover.original or cameras != failover.cameras:
        at = failover.taken_over_at or taken_over_at(cameras)
        return Update({"original": original, "cameras": cameras, "taken_over_at": at})
    if failover.stop_requested:
        return Wait(f"{failover.server_name} is away; stopping now would leave its cameras dark")
    return Wait()


def _handing_back(failover: Failover, world: World) -> Move:
    without_original = failover.stop_confirmed and not world.original_answers
    released = taken(failover, "release")
    if not released and not world.original_answers and not failover.stop_confirmed:
        # A stop that a person asked for stays asked for: it is carried out when the original is back.
        return Enter(Phase.LICENSING, {"original": "away"})
    if not tried(failover, "permit-stand-in") and world.stand_in_answers and not released:
        return Step("permit-stand-in", soft=True)
    if not taken(failover, "return-keys"):
        return Step("return-keys")
    # Also when the failover server is lost: an original that stood down records only when it is told to.
    if not released and not without_original and not taken(failover, "resume-original"):
        return Step("resume-original")
    if not released and not world.stand_in_lost:
        missing = [] if without_original else _not_yet_back(failover, world)
        if missing:
            return Wait(f"{failover.server_name} does not record {', '.join(missing)} yet")
        if not world.stand_in_answers:
            return Wait(f"{failover.failover_server_name} does not answer")
        return Step("release")
    if not taken(failover, "close-copy"):
        return Step("close-copy")
    return Enter(Phase.RESTORING, {"original": "away" if without_original else "back"})


def _let_go(failover: Failover, world: World) -> Move | None:
    """What is left to do about a failover server that was lost: its keys and copy were not given back, and
    when it returns it serves on, as its disk tells it. None when nothing of that is left."""
    if world.stand_in_answers and world.stand_in is not None and world.stand_in.serves(failover.id):
        if world.nobody_else_records:
            return Wait(f"{failover.failover_server_name} goes on: nobody else records the cameras yet")
        return Step("release")
    before = failover.phases[-2].phase if len(failover.phases) > 1 else None
    if failover.phase is Phase.RESTORING and before is not Phase.HANDING_BACK:
        for name in ("return-keys", "close-copy"):
            if not taken(failover, name):
                return Step(name)
    return None


def _restoring(failover: Failover, world: World) -> Move:
    left = _let_go(failover, world)
    if left is not None:
        return left
    nothing_recorded = failover.settings.range is FailoverRange.FULL_EXCEPT_RECORDING
    if failover.settings.restoration is Restoration.DISCARD or nothing_recorded:
        return Enter(Phase.CLEARING)
    if failover.stop_restoration_requested:
        if taken(failover, "start-restoration") and not taken(failover, "halt-restoration"):
            return Step("halt-restoration")
        return Enter(Phase.CLEARING)
    if world.original_machine is None:
        return Wait(f"{failover.server_name} has no machine to bring footage home to")
    if not taken(failover, "start-restoration"):
        return Step("start-restoration")
    job = world.restoration
    if job is None:
        return Wait("recording-sync has not taken it up yet")
    summary = RestorationSummary(
        files=job.files_total,
        bytes=job.bytes_total,
        verified=job.files_verified,
        missing=job.missing,
        percent=round(job.percent, 1),
        digest=job.digest,
        state=job.state,
        reason=job.reason,
    )
    if job.state == "done":
        return Enter(Phase.CLEARING, {"restoration": summary})
    if job.state in {"stopped", "discarded"}:
        return Enter(Phase.CLEARING, {"restoration": summary, "stop_restoration_requested": True})
    if summary != failover.restoration:
        return Update({"restoration": summary})
    return Wait(job.reason)


def _clearing(failover: Failover, world: World) -> Move:
    left = _let_go(failover, world)
    if left is not None:
        return left
    if taken(failover, "clear-footage"):
        return Enter(Phase.DONE, {"outcome": Outcome.RETURNED})
    if not world.stand_in_answers:
        return Wait(f"{failover.failover_server_name} is away; its footage of {failover.id} is still on it")
    return Step("clear-footage")


def _interrupted(failover: Failover, world: World) -> Move | None:
    """What breaks off a takeover that is not complete yet: a stop, or the loss of its failover server."""
    if world.stand_in_lost:
        return _lost(failover, world)
    if failover.stop_requested and (world.original_answers or failover.stop_confirmed):
        return Enter(Phase.HANDING_BACK)
    return None


def _lost(failover: Failover, world: World) -> Move:
    if world.original_answers and world.original is not None and world.original.records_own_cameras:
        return Enter(Phase.HANDING_BACK) if failover.phase is not Phase.HANDING_BACK else Wait()
    return Succeed(f"{failover.failover_server_name} was lost while it stood in")


def _reason_has_cleared(failover: Failover, world: World) -> bool:
    """M6, M15: only an automatic failover ends by itself, and only if that is set."""
    return (
        failover.automatic
        and failover.settings.stop_automatically
        and world.original_answers
        and world.original_healthy_s > failover.settings.settling_s
    )


def _should_stand_down(failover: Failover, world: World) -> bool:
    """An original that is about to be handed back to goes on recording: twice is harmless, a gap is not."""
    if world.original is None or not world.original.records_own_cameras:
        return False
    return not (failover.automatic and failover.settings.stop_automatically)


def cameras_now(failover: Failover, world: World) -> list[CameraTakeover]:
    """The failover's cameras with what its failover server reports of them."""
    if world.stand_in is None or not world.stand_in.serves(failover.id):
        return failover.cameras
    evidence = {c.camera: c for c in world.stand_in.heartbeat.cameras if c.failover == failover.id}
    cameras: list[CameraTakeover] = []
    for camera in failover.cameras:
        seen = evidence.get(camera.camera)
        if seen is None or camera.state is CameraState.DISABLED:
            cameras.append(camera)
            continue
        cameras.append(
            msgspec.structs.replace(
                camera,
                state=seen.state,
                reason=seen.reason,
                connected_at=camera.connected_at or seen.connected_at,
                first_key_frame_at=camera.first_key_frame_at or seen.first_key_frame_at,
            )
        )
    return cameras


def taken_over_at(cameras: list[CameraTakeover]) -> int | None:
    """When the last camera's first key frame was written (UTC ms); None if there is none."""
    return max((c.first_key_frame_at for c in cameras if c.first_key_frame_at is not None), default=None)


def _settled(camera: CameraTakeover) -> bool:
    return camera.first_key_frame_at is not None or camera.state in {
        CameraState.DISABLED,
        CameraState.REFUSED,
        CameraState.FAILED,
    }


def _all_confirmed(cameras: list[CameraTakeover]) -> bool:
    return all(c.first_key_frame_at is not None or c.state is CameraState.DISABLED for c in cameras)


def _not_yet_back(failover: Failover, world: World) -> list[str]:
    """Cameras that the failover server records and the original does not yet (make before break, B4)."""
    if world.original is None or not world.original.records_own_cameras:
        return ["its cameras"]
    own = {c.camera: c for c in world.original.heartbeat.cameras if c.failover is None}
    missing = []
    for camera in cameras_now(failover, world):
        if camera.state not in RECORDS:
            continue
        seen = own.get(camera.camera)
        if seen is None or seen.state not in RECORDS or seen.first_key_frame_at is None:
            missing.append(camera.camera)
    return missing
