"""What services can be asked: `understudy.host.<service>.<verb>`, request and reply."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

import msgspec
from msgspec import Meta

from understudy_contracts.failovers import Failover
from understudy_contracts.ids import FailoverId, Id
from understudy_contracts.licenses import LedgerEntry, LicenseKey
from understudy_contracts.model import Service
from understudy_contracts.restorations import RestorationJob
from understudy_contracts.servers import ServerStatus, ServerVerdict
from understudy_contracts.settings import Camera, ServerSettings, VersionedSettings

Q = TypeVar("Q", bound=msgspec.Struct)
A = TypeVar("A")


@dataclass(frozen=True)
class Verb(Generic[Q, A]):
    """One verb of a service, with the types of its request and its answer."""

    service: Service
    name: str
    request: type[Q]
    answer: type[A]


class Nothing(msgspec.Struct, frozen=True):
    """No arguments, or nothing to say but that it is done."""


# --- orchestrator -------------------------------------------------------------------------------------


class StartFailover(msgspec.Struct, frozen=True, omit_defaults=True):
    """Start a failover by hand; without `failover_server` the host assigns one (M9, M10)."""

    server: Id
    by: str
    failover_server: Id | None = None


class StopFailover(msgspec.Struct, frozen=True, omit_defaults=True):
    """Stop a failover. While the original is away this leaves its cameras dark and needs `confirmed`."""

    failover: FailoverId
    by: str
    confirmed: bool = False


class StopRestoration(msgspec.Struct, frozen=True):
    """M18: what has not come across is removed."""

    failover: FailoverId
    by: str


START_FAILOVER = Verb(Service.ORCHESTRATOR, "start-failover", StartFailover, Failover)
STOP_FAILOVER = Verb(Service.ORCHESTRATOR, "stop-failover", StopFailover, Failover)
STOP_RESTORATION = Verb(Service.ORCHESTRATOR, "stop-restoration", StopRestoration, Failover)

# --- license-broker -----------------------------------------------------------------------------------


class ImportKeys(msgspec.Struct, frozen=True):
    """Put new keys into the ledger, held by `server`. A key that is there already is refused."""

    keys: Annotated[list[Annotated[str, Meta(pattern=r"^[A-Z0-9-]{4,64}(?![\s\S])")]], Meta(max_length=10000)]
    server: Id
    by: str


class MoveKeys(msgspec.Struct, frozen=True):
    """Lend up to `count` keys of `source` to `target` for a failover; doing it twice moves them once.

    `step` is the failover's: a request older than one that the broker has accepted is refused.
    """

    failover: FailoverId
    epoch: int
    source: Id
    target: Id
    count: Annotated[int, Meta(ge=0)]
    step: Annotated[int, Meta(ge=0)] = 0


class ReturnKeys(msgspec.Struct, frozen=True):
    """Give back every key that `failover` moved; doing it twice gives back once. `step` as in MoveKeys."""

    failover: FailoverId
    epoch: int
    step: Annotated[int, Meta(ge=0)] = 0


class IssuePermit(msgspec.Struct, frozen=True):
    """A signed permit for `machine` to record without keys while `failover` hands over."""

    failover: FailoverId
    epoch: int
    machine: Id


class SignedToken(msgspec.Struct, frozen=True):
    token: str
    expires_at: int


class Licenses(msgspec.Struct, frozen=True):
    keys: list[LicenseKey]


class Ledger(msgspec.Struct, frozen=True):
    entries: list[LedgerEntry]


class ReadLicenses(msgspec.Struct, frozen=True, omit_defaults=True):
    """All keys, or those that `server` holds."""

    server: Id | None = None


class ReadLedger(msgspec.Struct, frozen=True, omit_defaults=True):
    """Entries after `after`, at most `limit`, oldest first."""

    after: int = 0
    limit: Annotated[int, Meta(ge=1, le=10000)] = 1000


IMPORT_KEYS = Verb(Service.LICENSE_BROKER, "import-keys", ImportKeys, Licenses)
MOVE_KEYS = Verb(Service.LICENSE_BROKER, "move-keys", MoveKeys, Licenses)
RETURN_KEYS = Verb(Service.LICENSE_BROKER, "return-keys", ReturnKeys, Licenses)
ISSUE_PERMIT = Verb(Service.LICENSE_BROKER, "issue-permit", IssuePermit, SignedToken)
READ_LICENSES = Verb(Service.LICENSE_BROKER, "read-licenses", ReadLicenses, Licenses)
READ_LEDGER = Verb(Service.LICENSE_BROKER, "read-ledger", ReadLedger, Ledger)

# --- config-replicator --------------------------------------------------------------------------------


class ReadSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """The settings that are in force for `server` now: during a failover, the copy that lives with it.

    `original` asks for the server's own, whatever goes on; `version` for one of the past.
    """

    server: Id
    original: bool = False
    version: int | None = None


class WriteSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """Replace the settings in force. `expected_version` refuses to overwrite a change one has not seen."""

    server: Id
    settings: ServerSettings
    by: str
    expected_version: int | None = None


class PutCamera(msgspec.Struct, frozen=True):
    """Add a camera to `server`, or change the one with this id."""

    server: Id
    camera: Camera
    by: str
    create: bool = False


class RemoveCamera(msgspec.Struct, frozen=True):
    server: Id
    camera: Id
    by: str


class SettingsVersion(msgspec.Struct, frozen=True, omit_defaults=True):
    version: int
    written_at: int
    by: str
    failover: FailoverId | None = None


class SettingsVersions(msgspec.Struct, frozen=True):
    versions: list[SettingsVersion]


class ReadVersions(msgspec.Struct, frozen=True):
    server: Id


class ForgetServer(msgspec.Struct, frozen=True):
    """The server was deleted: its settings are kept as versions, and pushed nowhere any more."""

    server: Id
    by: str


class OpenCopy(msgspec.Struct, frozen=True):
    """Begin the copy of `server`'s settings that is operated during `failover` (M14, M19).

    Returns the copy once it is staged on `machine`; doing it twice opens one copy.
    """

    failover: FailoverId
    server: Id
    machine: Id


class CloseCopy(msgspec.Struct, frozen=True):
    """The failover is over: edits made in its copy end with it; the original was never touched."""

    failover: FailoverId


READ_SETTINGS = Verb(Service.CONFIG_REPLICATOR, "read-settings", ReadSettings, VersionedSettings)
WRITE_SETTINGS = Verb(Service.CONFIG_REPLICATOR, "write-settings", WriteSettings, VersionedSettings)
PUT_CAMERA = Verb(Service.CONFIG_REPLICATOR, "put-camera", PutCamera, VersionedSettings)
REMOVE_CAMERA = Verb(Service.CONFIG_REPLICATOR, "remove-camera", RemoveCamera, VersionedSettings)
READ_VERSIONS = Verb(Service.CONFIG_REPLICATOR, "read-versions", ReadVersions, SettingsVersions)
FORGET_SERVER = Verb(Service.CONFIG_REPLICATOR, "forget-server", ForgetServer, Nothing)
OPEN_COPY = Verb(Service.CONFIG_REPLICATOR, "open-copy", OpenCopy, VersionedSettings)
CLOSE_COPY = Verb(Service.CONFIG_REPLICATOR, "close-copy", CloseCopy, Nothing)

# --- recording-sync -----------------------------------------------------------------------------------


class StartRestoration(msgspec.Struct, frozen=True):
    """Bring the footage of `failover` home; doing it twice runs one job."""

    failover: FailoverId
    epoch: int
    step: int
    server: Id
    source_machine: Id
    target_machine: Id


class HaltRestoration(msgspec.Struct, frozen=True):
    """Fetch no more (M18)."""

    failover: FailoverId
    epoch: int
    step: int


class ReadRestoration(msgspec.Struct, frozen=True):
    failover: FailoverId


START_RESTORATION = Verb(Service.RECORDING_SYNC, "start-restoration", StartRestoration, RestorationJob)
HALT_RESTORATION = Verb(Service.RECORDING_SYNC, "halt-restoration", HaltRestoration, RestorationJob)
READ_RESTORATION = Verb(Service.RECORDING_SYNC, "read-restoration", ReadRestoration, RestorationJob)

# --- monitor ------------------------------------------------------------------------------------------


class Statuses(msgspec.Struct, frozen=True):
    statuses: list[ServerStatus]


class Verdicts(msgspec.Struct, frozen=True):
    verdicts: list[ServerVerdict]


class ReadStatuses(msgspec.Struct, frozen=True):
    """The status lists as they are now."""


class ReadVerdicts(msgspec.Struct, frozen=True):
    """Every server's verdict as it is now, with the action it leads to."""


READ_STATUSES = Verb(Service.MONITOR, "read-statuses", ReadStatuses, Statuses)
READ_VERDICTS = Verb(Service.MONITOR, "read-verdicts", ReadVerdicts, Verdicts)
