"""A failover: one takeover, from trigger to standby again."""

from __future__ import annotations

import msgspec

from understudy_contracts.ids import FailoverId, Id
from understudy_contracts.model import CameraState, Outcome, Phase
from understudy_contracts.settings import FailoverSettings


class Reason(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a failover began: a trigger (`code` is the verdict) or a person (`manual`)."""

    code: str
    text: str
    by: str = ""
    fault_at: int | None = None
    verdict_at: int | None = None


class CameraTakeover(msgspec.Struct, frozen=True, omit_defaults=True):
    """One camera of the original and what became of it. Times are UTC milliseconds."""

    camera: Id
    state: CameraState = CameraState.CONNECTING
    reason: str = ""
    connected_at: int | None = None
    first_key_frame_at: int | None = None


class StepRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step, recorded before it is taken (`ended_at` None) and after."""

    number: int
    name: str
    phase: Phase
    started_at: int
    ended_at: int | None = None
    attempts: int = 1
    error: str = ""


class RestorationSummary(msgspec.Struct, frozen=True, omit_defaults=True):
    files: int = 0
    bytes: int = 0
    verified: int = 0
    missing: int = 0
    percent: float = 0.0
    digest: str = ""
    state: str = ""
    reason: str = ""


class PhaseEntry(msgspec.Struct, frozen=True):
    phase: Phase
    at: int


class Failover(msgspec.Struct, frozen=True, omit_defaults=True):
    """The one document of a failover; the orchestrator alone writes it.

    `revision` grows with each write and fences writers; `original` is `away` or `back`;
    `steps_before_phase` is the number of the last step before the present phase;
    `predecessor` is the failover whose failover server was lost and that this one goes on for;
    `waiting_for` names what the failover waits for, whenever it cannot go on (promise P4).
    """

    id: FailoverId
    epoch: int
    server: Id
    server_name: str
    site: Id
    machine: Id | None
    reason: Reason
    automatic: bool
    settings: FailoverSettings
    phase: Phase
    created_at: int
    phase_since: int
    failover_server: Id | None = None
    failover_server_name: str = ""
    failover_machine: Id | None = None
    requested_failover_server: Id | None = None
    settings_version: int = 0
    original: str = "away"
    cameras: list[CameraTakeover] = []
    keys: list[str] = []
    steps: list[StepRecord] = []
    steps_before_phase: int = 0
    phases: list[PhaseEntry] = []
    stop_requested: bool = False
    stop_requested_by: str = ""
    stop_confirmed: bool = False
    stop_restoration_requested: bool = False
    restoration: RestorationSummary | None = None
    predecessor: FailoverId | None = None
    waiting_for: str = ""
    rejected: dict[str, str] = {}
    outcome: Outcome | None = None
    taken_over_at: int | None = None
    traceparent: str = ""
    revision: int = 0

    @property
    def holds_original(self) -> bool:
        """Whether no other failover may protect the same server now: until `restoring` (house.md)."""
        return self.phase not in {Phase.RESTORING, Phase.CLEARING, Phase.DONE}

    @property
    def holds_failover_server(self) -> bool:
        """Whether its failover server is bound to it: until `done` (house.md)."""
        return self.phase is not Phase.DONE and self.failover_server is not None
