"""The phases in which the original records again, its footage comes home, and the failover server goes on
standby. Pure."""

from __future__ import annotations

from understudy_contracts.failovers import Failover, RestorationSummary
from understudy_contracts.model import FailoverRange, Outcome, Phase, Restoration

from understudy_orchestrator.cameras import not_yet_back
from understudy_orchestrator.moves import Enter, Move, Step, Update, Wait
from understudy_orchestrator.step_records import taken, tried
from understudy_orchestrator.world import World


def handing_back(failover: Failover, world: World) -> Move:
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
        missing = [] if without_original else not_yet_back(failover, world)
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


def restoring(failover: Failover, world: World) -> Move:
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


def clearing(failover: Failover, world: World) -> Move:
    left = _let_go(failover, world)
    if left is not None:
        return left
    if taken(failover, "clear-footage"):
        return Enter(Phase.DONE, {"outcome": Outcome.RETURNED})
    if not world.stand_in_answers:
        return Wait(f"{failover.failover_server_name} is away; its footage of {failover.id} is still on it")
    return Step("clear-footage")
