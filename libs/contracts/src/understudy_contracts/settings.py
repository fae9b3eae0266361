"""The settings document of a server: everything that its understudy must apply (M11)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from understudy_contracts.ids import Id
from understudy_contracts.model import FailoverRange, Restoration, Role

Name = Annotated[str, Meta(min_length=1, max_length=120)]
CameraUrl = Annotated[str, Meta(min_length=1, max_length=2000)]
Bounded = Annotated[list["Device"], Meta(max_length=2000)]

# Of one server; more than any recorder of ours can hold.
MAXIMUM_CAMERAS = 2000
MINIMUM_TRIGGER_S = 1.0
MAXIMUM_TRIGGER_S = 3600.0
TriggerSeconds = Annotated[float, Meta(ge=MINIMUM_TRIGGER_S, le=MAXIMUM_TRIGGER_S)]


class CameraSource(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a camera's stream is fetched. The password goes to the camera's servers only."""

    url: CameraUrl
    username: Annotated[str, Meta(max_length=200)] = ""
    password: Annotated[str, Meta(max_length=200)] = ""
    transport: Literal["tcp", "udp"] = "tcp"

    def __repr__(self) -> str:
        # Structs end up in logs and tracebacks; the password must not (promise P13).
        return f"CameraSource(url={self.url!r}, username={self.username!r}, password=***)"


RecordingMode = Literal["continuous", "event", "off"]
SnapshotSeconds = Annotated[int, Meta(ge=1, le=86400)]
PreRecordSeconds = Annotated[int, Meta(ge=0, le=60)]
PostRecordSeconds = Annotated[int, Meta(ge=1, le=3600)]


class Camera(msgspec.Struct, frozen=True, omit_defaults=True):
    """One IP camera. Its id is global and never reused; it belongs to a server.

    `source` is what is recorded; `sub_source`, the same picture in small, is for watching live only. `audio`
    is copied (AAC, G.711), or left out: nothing is ever transcoded.

    `recording` by `event` begins `pre_record_s` before an event, from memory, and ends `post_record_s` after
    the last; with each event a snapshot is taken. `snapshot_every_s`: None takes none by itself.
    """

    id: Id
    name: Name
    source: CameraSource
    enabled: bool = True
    recording: RecordingMode = "continuous"
    audio: Literal["copy", "off"] = "copy"
    sub_source: CameraSource | None = None
    snapshot_every_s: SnapshotSeconds | None = None
    pre_record_s: PreRecordSeconds = 5
    post_record_s: PostRecordSeconds = 10


class Device(msgspec.Struct, frozen=True, omit_defaults=True):
    """Anything else that is replicated as a whole: its owner understands `configuration`, we carry it."""

    id: Id
    name: Name
    address: Annotated[str, Meta(max_length=2000)] = ""
    configuration: dict[str, Any] = {}


# A century, and a thousand terabytes: beyond them is a mistake, not a wish.
RetentionDays = Annotated[int, Meta(ge=1, le=36_500)]
RetentionBytes = Annotated[int, Meta(ge=0, le=10**15)]
WhenFull = Literal["oldest-first", "stop"]


class ServerSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """The settings of one server, replicated to the failover servers that may take it over (M11).

    Retention removes the oldest footage first: what is older than `retention_days` (UTC days), what is more
    than `retention_bytes`, and what must go so that `minimum_free_bytes` stay free (None: 4 % of the disk, at
    most a gigabyte). None keeps for ever, as long as there is room.

    `when_full` is for a failover server whose disk fills up with footage that has not come home: it lets go
    of the oldest, and the gap is named, or it stops recording. It lies here and not in the failover
    settings because these are what a failover server has on its disk, as the failover's own copy, when the
    host is gone.
    """

    cameras: Annotated[list[Camera], Meta(max_length=2000)] = []
    io_modules: Bounded = []
    door_controllers: Bounded = []
    display_clients: Bounded = []
    e_maps: Bounded = []
    action_rules: Bounded = []
    layouts: Bounded = []
    notifications: Bounded = []
    audio_patterns: Bounded = []
    segment_s: Annotated[int, Meta(ge=2, le=3600)] = 60
    retention_days: RetentionDays | None = None
    retention_bytes: RetentionBytes | None = None
    minimum_free_bytes: RetentionBytes | None = None
    when_full: WhenFull = "oldest-first"


class VersionedSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """Settings of `server` at a version.

    `version` grows by one with each change and is never reused. `failover` is set on the copy that is
    operated during a failover; edits made there end with it (M14).
    """

    server: Id
    server_name: str
    version: int
    settings: ServerSettings
    failover: str | None = None


class TriggerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One trigger: whether it is on, and how long its condition must hold, in seconds (M5)."""

    enabled: bool = True
    after_s: TriggerSeconds = 5.0


class StorageTrigger(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    enabled: bool = True
    after_s: TriggerSeconds = 5.0
    degraded_too: bool = False


class FailoverSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Triggers, range and restoration of a server; copied into a failover at its start (M5 to M8)."""

    disconnection: TriggerSettings = TriggerSettings()
    storage: StorageTrigger = StorageTrigger()
    recorder: TriggerSettings = TriggerSettings()
    stop_automatically: bool = False
    settling_s: Annotated[float, Meta(ge=0, le=3600)] = 5.0
    hold_down_s: Annotated[float, Meta(ge=0, le=86400)] = 300.0
    range: FailoverRange = FailoverRange.FULL
    restoration: Restoration = Restoration.RESTORE


class Peer(msgspec.Struct, frozen=True):
    """A paired machine, and the HTTP address where its agent can be seen from the site."""

    machine: Id
    address: Annotated[str, Meta(max_length=300)]


class MachineConfiguration(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an agent must know about itself beyond its cameras; pushed by the config-replicator."""

    server: Id
    server_name: str
    role: Role
    heartbeat_s: Annotated[float, Meta(ge=0.05, le=5)] = 1.0
    disabled: bool = False
    peers: list[Peer] = []
