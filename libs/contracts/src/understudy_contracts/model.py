"""The closed sets of the system's world: roles, verdicts, phases, statuses."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """What a server is for (mission.md, Words)."""

    RECORDING = "recording"
    FAILOVER = "failover"


class Service(StrEnum):
    """The six control services, as they are named on the bus."""

    MONITOR = "monitor"
    ORCHESTRATOR = "orchestrator"
    LICENSE_BROKER = "license-broker"
    CONFIG_REPLICATOR = "config-replicator"
    RECORDING_SYNC = "recording-sync"
    API_GATEWAY = "api-gateway"


class StorageState(StrEnum):
    NORMAL = "normal"
    DEGRADED = "degraded"
    DAMAGED = "damaged"
    FULL = "full"


class RecorderState(StrEnum):
    RUNNING = "running"
    DISABLED = "disabled"
    NOT_INSTALLED = "not-installed"
    CRASHING = "crashing"
    INCOMPATIBLE = "incompatible"


class CameraState(StrEnum):
    """What a server's recorder does with one camera."""

    CONNECTING = "connecting"
    RECORDING = "recording"
    LIVE = "live"
    RECONNECTING = "reconnecting"
    REFUSED = "refused"
    FAILED = "failed"
    DISABLED = "disabled"
    STOPPED = "stopped"


class Verdict(StrEnum):
    """What the monitor makes of a machine's evidence."""

    HEALTHY = "healthy"
    LATE = "late"
    DISCONNECTED = "disconnected"
    PARTITIONED = "partitioned"
    STORAGE_DEGRADED = "storage-degraded"
    STORAGE_DAMAGED = "storage-damaged"
    RECORDER_DISABLED = "recorder-disabled"
    RECORDER_MISSING = "recorder-missing"
    RECORDER_CRASHING = "recorder-crashing"
    NOT_RECORDING = "not-recording"
    INCOMPATIBLE = "incompatible"
    DISABLED = "disabled"
    UNKNOWN = "unknown"


class Action(StrEnum):
    """What a verdict leads to; a hold always names its reason."""

    NONE = "none"
    WARN = "warn"
    TRIGGER = "trigger"
    HOLD = "hold"


class Phase(StrEnum):
    """The phases of a failover (house.md, How a failover flows)."""

    WAITING = "waiting"
    LICENSING = "licensing"
    ACTIVATING = "activating"
    STANDING_DOWN = "standing-down"
    ACTIVE = "active"
    HANDING_BACK = "handing-back"
    RESTORING = "restoring"
    CLEARING = "clearing"
    REPLACING = "replacing"
    DONE = "done"


class Outcome(StrEnum):
    RETURNED = "returned"
    REPLACED = "replaced"
    ABANDONED = "abandoned"


class Status(StrEnum):
    """What people see in the status lists (M22)."""

    NORMAL = "normal"
    STANDBY = "standby"
    DISABLED = "disabled"
    DISCONNECTED = "disconnected"
    FAILED_OVER = "failed-over"
    INCOMPATIBLE = "incompatible"
    OTHERS = "others"


class FailoverRange(StrEnum):
    """M7: what the failover server takes over."""

    FULL = "full"
    FULL_EXCEPT_RECORDING = "full-except-recording"


class Restoration(StrEnum):
    """M8: what becomes of the footage made during the failover."""

    RESTORE = "restore"
    DISCARD = "discard"


class UserRole(StrEnum):
    """`viewer` sees, `operator` also starts and stops failovers, `administrator` changes everything."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMINISTRATOR = "administrator"
