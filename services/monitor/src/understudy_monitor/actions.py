"""What a verdict leads to: one table, read with the settings of the trigger that it belongs to. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from understudy_contracts.model import Action, Role, Verdict
from understudy_contracts.servers import Server
from understudy_contracts.settings import FailoverSettings

SEEN_BY_PEERS: Final = "its peers see it at work: only the host's line to it is down"


@dataclass(frozen=True)
class Decision:
    action: Action
    reason: str = ""


@dataclass(frozen=True)
class Trigger:
    """Whether a trigger is on, and for how long its condition must hold, in seconds (M5)."""

    enabled: bool
    after_s: float


def _disconnection(settings: FailoverSettings) -> Trigger:
    return Trigger(settings.disconnection.enabled, 0.0)  # the verdict itself waited for the set time


def _storage(settings: FailoverSettings) -> Trigger:
    return Trigger(settings.storage.enabled, settings.storage.after_s)


def _degraded(settings: FailoverSettings) -> Trigger:
    return Trigger(settings.storage.enabled and settings.storage.degraded_too, settings.storage.after_s)


def _recorder(settings: FailoverSettings) -> Trigger:
    return Trigger(settings.recorder.enabled, settings.recorder.after_s)


def _not_recording(settings: FailoverSettings) -> Trigger:
    return Trigger(settings.recorder.enabled, 0.0)  # as above


# Every verdict stands here: what it leads to, or the trigger whose settings say so.
TABLE: Final[Mapping[Verdict, Decision | Callable[[FailoverSettings], Trigger]]] = {
    Verdict.HEALTHY: Decision(Action.NONE),
    Verdict.DISABLED: Decision(Action.NONE),
    Verdict.UNKNOWN: Decision(Action.NONE),
    Verdict.LATE: Decision(Action.WARN),
    Verdict.INCOMPATIBLE: Decision(Action.WARN),
    Verdict.PARTITIONED: Decision(Action.HOLD, SEEN_BY_PEERS),
    Verdict.DISCONNECTED: _disconnection,
    Verdict.STORAGE_DAMAGED: _storage,
    Verdict.STORAGE_DEGRADED: _degraded,
    Verdict.RECORDER_DISABLED: _recorder,
    Verdict.RECORDER_MISSING: _recorder,
    Verdict.RECORDER_CRASHING: _recorder,
    Verdict.NOT_RECORDING: _not_recording,
}


def is_armed(verdict: Verdict, settings: FailoverSettings) -> bool:
    """Whether the settings let `verdict` trigger a failover."""
    entry = TABLE[verdict]
    return not isinstance(entry, Decision) and entry(settings).enabled


def explains(cause: Verdict, settings: FailoverSettings) -> bool:
    """Whether footage that does not grow is put down to `cause`: if its own trigger acts as soon."""
    entry = TABLE[cause]
    if cause is Verdict.NOT_RECORDING or isinstance(entry, Decision):
        return False
    trigger = entry(settings)
    return trigger.enabled and trigger.after_s <= settings.recorder.after_s


def decide(
    server: Server, verdict: Verdict, held_s: float, settings: FailoverSettings, brake: str | None
) -> Decision:
    """The action on `verdict` that has held for `held_s` seconds; `brake` names why triggers are held."""
    entry = TABLE[verdict]
    if isinstance(entry, Decision):
        if entry.action is Action.HOLD and server.role is Role.FAILOVER:
            return Decision(Action.WARN)
        return entry
    trigger = entry(settings)
    if server.role is Role.FAILOVER:
        return Decision(Action.WARN)
    if not trigger.enabled:
        return Decision(Action.WARN, "its trigger is off")
    if held_s < trigger.after_s:
        return Decision(Action.WARN)
    if brake is not None:
        return Decision(Action.HOLD, brake)
    return Decision(Action.TRIGGER)
