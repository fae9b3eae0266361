"""The phases from a failover's beginning until its failover server stands in, and while it does. Pure."""

from __future__ import annotations

from understudy_contracts.failovers import Failover
from understudy_contracts.model import Outcome, Phase

from understudy_orchestrator.cameras import all_confirmed, cameras_now, settled, taken_over_at
from understudy_orchestrator.moves import Assign, Enter, Move, Step, Succeed, Update, Wait
from understudy_orchestrator.selection import select
from understudy_orchestrator.step_records import taken, tried
from understudy_orchestrator.world import World

# A camera that has not confirmed by then does not hold up the others any longer; it goes on being tried.
CONFIRM_WITHIN_S = 15.0


def waiting(failover: Failover, world: World) -> Move:
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


def licensing(failover: Failover, world: World) -> Move:
    interruption = _interrupted(failover, world)
    if interruption is not None:
        return interruption
    if not taken(failover, "move-keys"):
        return Step("move-keys")
    if world.original_answers and not tried(failover, "permit-original"):
        return Step("permit-original", soft=True)
    return Enter(Phase.ACTIVATING)


def activating(failover: Failover, world: World) -> Move:
    interruption = _interrupted(failover, world)
    if interruption is not None:
        return interruption
    if not taken(failover, "open-copy"):
        return Step("open-copy")
    if not taken(failover, "activate"):
        return Step("activate")
    cameras = cameras_now(failover, world)
    waited_s = (world.now_ms - failover.phase_since) / 1000
    missing = [c.camera for c in cameras if not settled(c)]
    if missing and waited_s < CONFIRM_WITHIN_S:
        if cameras != failover.cameras:
            return Update({"cameras": cameras})
        return Wait()
    changes: dict[str, object] = {"cameras": cameras, "taken_over_at": taken_over_at(cameras)}
    if world.original_answers and all_confirmed(cameras) and _should_stand_down(failover, world):
        return Enter(Phase.STANDING_DOWN, changes)
    return Enter(Phase.ACTIVE, changes)


def standing_down(failover: Failover, world: World) -> Move:
    interruption = _interrupted(failover, world)
    if interruption is not None:
        return interruption
    if world.original_answers and not taken(failover, "stand-down"):
        return Step("stand-down")
    original = "back" if world.original_answers else "away"
    return Enter(Phase.ACTIVE, {"original": original})


def active(failover: Failover, world: World) -> Move:
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
        and all_confirmed(cameras)
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


def _interrupted(failover: Failover, world: World) -> Move | None:
    """What breaks off a takeover that is not complete yet: a stop, or the loss of its failover server."""
    if world.stand_in_lost:
        return _lost(failover, world)
    if failover.stop_requested and (world.original_answers or failover.stop_confirmed):
        return Enter(Phase.HANDING_BACK)
    return None


def _lost(failover: Failover, world: World) -> Move:
    if world.original_answers and world.original is not None and world.original.records_own_cameras:
        return Enter(Phase.HANDING_BACK)
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
