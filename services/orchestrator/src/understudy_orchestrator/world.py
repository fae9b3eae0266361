"""What the plan of a failover looks at: one snapshot of everything around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from understudy_contracts.machine import Heartbeat, OwnCameras, Serving
from understudy_contracts.model import CameraState, Phase, Verdict
from understudy_contracts.restorations import RestorationJob
from understudy_contracts.servers import ServerVerdict

from understudy_orchestrator.selection import Candidate

# A machine answers if it was heard within this many of its own heartbeat intervals, and not less than this.
SILENT_AFTER_BEATS = 3.0
SILENT_AFTER_S = 1.0

RECORDS = frozenset({CameraState.RECORDING, CameraState.LIVE})


@dataclass(frozen=True)
class MachineView:
    """The last heartbeat of a machine and how long ago it was heard, in seconds."""

    heartbeat: Heartbeat
    age_s: float

    @property
    def answers(self) -> bool:
        return self.age_s <= max(SILENT_AFTER_S, SILENT_AFTER_BEATS * self.heartbeat.heartbeat_s)

    @property
    def records_own_cameras(self) -> bool:
        return isinstance(self.heartbeat.duty, OwnCameras)

    def serves(self, failover: str) -> bool:
        duty = self.heartbeat.duty
        return isinstance(duty, Serving) and duty.failover == failover


@dataclass(frozen=True)
class World:
    """`original` and `stand_in` are the machines of the two servers, None if never heard by this instance."""

    now_ms: int
    original_machine: str | None
    original: MachineView | None
    stand_in: MachineView | None
    original_verdict: ServerVerdict | None
    stand_in_verdict: ServerVerdict | None
    restoration: RestorationJob | None = None
    candidates: Sequence[Candidate] = ()
    cameras: int = 0
    # The phase of the failover that protects the server now, if this one does not.
    holder: Phase | None = None

    @property
    def nobody_else_records(self) -> bool:
        """Whether the server's cameras would be dark if this failover's server stopped: another failover is
        to protect them and does not yet, and the original does not record them itself."""
        recorded = self.original_answers and self.original is not None and self.original.records_own_cameras
        return self.holder in {Phase.WAITING, Phase.LICENSING, Phase.ACTIVATING} and not recorded

    @property
    def original_answers(self) -> bool:
        return self.original is not None and self.original.answers

    @property
    def stand_in_answers(self) -> bool:
        return self.stand_in is not None and self.stand_in.answers

    @property
    def stand_in_lost(self) -> bool:
        """The monitor's word, not a missed heartbeat: a takeover must not be given up for a hiccup."""
        return self.stand_in_verdict is not None and self.stand_in_verdict.verdict is Verdict.DISCONNECTED

    @property
    def original_healthy_s(self) -> float:
        """For how many seconds the monitor has found the original healthy without a break; 0 if it is not."""
        verdict = self.original_verdict
        if verdict is None or verdict.verdict is not Verdict.HEALTHY or verdict.healthy_since is None:
            return 0.0
        return (self.now_ms - verdict.healthy_since) / 1000
