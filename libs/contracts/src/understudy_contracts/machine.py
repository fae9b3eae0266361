"""What an agent says about its machine: the heartbeat carries the whole state, so that nothing hangs on
a single report."""

from __future__ import annotations

from typing import Protocol

import msgspec

from understudy_contracts.ids import FailoverId, Id
from understudy_contracts.model import (
    CameraState,
    FailoverRange,
    RecorderState,
    Role,
    StorageState,
)


class Unassigned(msgspec.Struct, frozen=True, tag_field="kind", tag="unassigned"):
    """Joined, but not told yet which server it is."""


class OwnCameras(msgspec.Struct, frozen=True, tag_field="kind", tag="own-cameras"):
    """A recording server that records its own cameras."""


class StoodDown(msgspec.Struct, frozen=True, tag_field="kind", tag="stood-down"):
    """A recording server that another serves for, and that records nothing until it is resumed."""

    failover: FailoverId


class Standby(msgspec.Struct, frozen=True, tag_field="kind", tag="standby"):
    """A failover server that waits (M23: it does nothing else)."""


class Serving(msgspec.Struct, frozen=True, tag_field="kind", tag="serving"):
    """A failover server that stands in for `server`."""

    failover: FailoverId
    server: Id
    settings_version: int
    cameras: list[Id] = []
    range: FailoverRange = FailoverRange.FULL


Duty = Unassigned | OwnCameras | StoodDown | Standby | Serving


class Fence(msgspec.Struct, frozen=True, order=True):
    """The highest (epoch, step) that an agent has accepted (house.md, Epochs)."""

    epoch: int = 0
    step: int = 0


class Storage(msgspec.Struct, frozen=True):
    """Sizes in bytes. `hours_left` is told while footage fills the disk that may not be removed yet: at the
    present rate, until none fits any more. `warnings` are for people, and trigger nothing."""

    state: StorageState = StorageState.NORMAL
    total_bytes: int = 0
    free_bytes: int = 0
    reason: str = ""
    hours_left: float | None = None
    warnings: list[str] = []


class FootageGap(msgspec.Struct, frozen=True, omit_defaults=True):
    """Footage of a failover that was let go before it came home, from `start` to `end` (UTC ms), and why.

    Named before it is removed (promise P15): between the two, `files` may still be there.
    """

    failover: FailoverId
    camera: Id
    start: int
    end: int
    files: int
    bytes: int
    cause: str


class Recorder(msgspec.Struct, frozen=True):
    state: RecorderState = RecorderState.RUNNING
    restarts: int = 0
    reason: str = ""


class CameraEvidence(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a server does with one camera. Times are UTC milliseconds, None when it has not happened yet.

    `frames_received` counts what the camera sent, written or not; None where the recorder does not tell.
    `bitrate_bps` is of what it sent, `fps` of what was written, both in the last second.
    `clock_skew_ms` is how far the camera's clock is ahead of the server's; None until it told the time.
    """

    camera: Id
    state: CameraState
    failover: FailoverId | None = None
    reason: str = ""
    connected_at: int | None = None
    first_key_frame_at: int | None = None
    last_frame_at: int | None = None
    bytes_written: int = 0
    frames_written: int = 0
    frames_received: int | None = None
    reconnects: int = 0
    bitrate_bps: int = 0
    fps: float = 0.0
    clock_skew_ms: int | None = None


class Authority(msgspec.Struct, frozen=True, omit_defaults=True):
    """By what right the machine records: keys it holds, or a signed permit while handing over."""

    keys: list[str] = []
    permit_failover: FailoverId | None = None
    permit_expires_at: int | None = None


class PeerSighting(msgspec.Struct, frozen=True, omit_defaults=True):
    """What this machine saw when it last probed a paired machine at `address`; `age_ms` is how long ago that
    was, by its monotonic clock. `records` is whether the other said that it records."""

    machine: Id
    reachable: bool
    age_ms: int
    records: bool = False
    address: str = ""


class RestorationProgress(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far a recording server has come with bringing one failover's footage home."""

    failover: FailoverId
    state: str = "running"  # running, done, stopped, failed
    files_total: int = 0
    files_verified: int = 0
    bytes_total: int = 0
    bytes_copied: int = 0
    missing: int = 0
    digest: str = ""
    reason: str = ""


class Heartbeat(msgspec.Struct, frozen=True, omit_defaults=True):
    """The whole state of a machine, about once a second and at once after every change.

    `boot` names one life of the agent: a new value means that it was restarted. `sequence` grows within it.
    """

    machine: Id
    site: Id
    boot: str
    sequence: int
    sent_at: int
    version: str = ""
    server: Id | None = None
    role: Role | None = None
    duty: Duty = Unassigned()
    fence: Fence = Fence()
    settings_version: int = 0
    configured: bool = False
    heartbeat_s: float = 1.0
    staged: dict[str, int] = {}
    storage: Storage = Storage()
    recorder: Recorder = Recorder()
    cameras: list[CameraEvidence] = []
    authority: Authority = Authority()
    peers: list[PeerSighting] = []
    restorations: list[RestorationProgress] = []
    address: str = ""
    maximum_cameras: int = 0
    disabled: bool = False
    footage_bytes: int = 0
    footage_files: int = 0
    gaps: list[FootageGap] = []


class Word(Protocol):
    """What tells a word's place among those of its machine, as in `Heartbeat`."""

    @property
    def boot(self) -> str: ...

    @property
    def sequence(self) -> int: ...


def is_behind(word: Word, known: Word | None) -> bool:
    """Whether `word` came late, or twice, when `known` was heard of the same machine (promise P5)."""
    return known is not None and word.boot == known.boot and word.sequence <= known.sequence
