"""What a verdict leads to: the table, and the brakes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from understudy_contracts.model import Action, Role, Verdict
from understudy_contracts.servers import Server
from understudy_contracts.settings import FailoverSettings

_DISCONNECTION: Final = frozenset({Verdict.DISCONNECTED})
_STORAGE: Final = frozenset({Verdict.STORAGE_DAMAGED, Verdict.STORAGE_DEGRADED})
_RECORDER: Final = frozenset(
    {
        Verdict.RECORDER_DISABLED,
        Verdict.RECORDER_MISSING,
        Verdict.RECORDER_CRASHING,
        Verdict.NOT_RECORDING,
    }
)
_WARNS: Final = frozenset({Verdict.LATE, Verdict.PARTITIONED, Verdict.INCOMPATIBLE})


@dataclass(frozen=True)
class Decision:
    action: Action
    reason: str = ""


def decide(
    server: Server, verdict: Verdict, held_s: float, settings: FailoverSettings, brake: str | None
) -> Decision:
    """The action on `verdict` that has held for `held_s` seconds; `brake` names why triggers are held."""
    if verdict in {Verdict.HEALTHY, Verdict.DISABLED, Verdict.UNKNOWN}:
        return Decision(Action.NONE)
    if verdict in _WARNS or server.role is Role.FAILOVER:
        return Decision(Action.WARN)
    enabled, after_s = _trigger(verdict, settings)
    if not enabled:
        return Decision(Action.WARN, "its trigger is off")
    if held_s < after_s:
        return Decision(Action.WARN)
    if brake is not None:
        return Decision(Action.HOLD, brake)
    return Decision(Action.TRIGGER)


def _trigger(verdict: Verdict, settings: FailoverSettings) -> tuple[bool, float]:
    if verdict in _DISCONNECTION:
        return settings.disconnection.enabled, 0.0  # the verdict itself waited for the set time
    if verdict in _STORAGE:
        wanted = verdict is Verdict.STORAGE_DAMAGED or settings.storage.degraded_too
        return settings.storage.enabled and wanted, settings.storage.after_s
    return settings.recorder.enabled and verdict in _RECORDER, settings.recorder.after_s


@dataclass(frozen=True)
class Silence:
    """One joined machine, for the brake: where it is, what it is for, and whether it is silent."""

    site: str
    role: Role
    silent: bool


def suspect_ourselves(machines: Mapping[str, Silence]) -> dict[str, str]:
    """Sites whose triggers are held, each with the reason (B3).

    When most machines vanish together, the host or its line is the likelier culprit; a site of which a
    failover server still answers is not cut off, whatever else is silent there.
    """
    if not machines:
        return {}
    silent = sum(machine.silent for machine in machines.values())
    most_vanished = silent >= 2 and silent * 2 > len(machines)
    held: dict[str, str] = {}
    for site in {machine.site for machine in machines.values()}:
        here = [machine for machine in machines.values() if machine.site == site]
        if any(machine.role is Role.FAILOVER and not machine.silent for machine in here):
            continue
        if most_vanished:
            held[site] = "most machines vanished together: the host or its line is suspected"
        elif len(here) > 1 and all(machine.silent for machine in here):
            held[site] = "the whole site vanished, its failover servers too: the line to it is suspected"
    return held
