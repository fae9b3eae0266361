"""The moves among which a failover's plan chooses."""

from __future__ import annotations

from dataclasses import dataclass, field

from understudy_contracts.model import Phase

from understudy_orchestrator.selection import Candidate


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
