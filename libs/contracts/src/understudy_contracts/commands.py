"""Commands to an agent: `understudy.site.<site>.machine.<id>.do.<command>`.

A command that changes who records carries `(epoch, step)`. The agent keeps the highest it has accepted and
refuses lower ones with `stale-epoch`; the same again is carried out again, to the same end (promise P2, P5).
Settings are fenced by their version instead, footage of a failover by that failover's own (epoch, step).
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from understudy_contracts.ids import FailoverId, Id
from understudy_contracts.machine import Authority, Heartbeat
from understudy_contracts.model import FailoverRange
from understudy_contracts.settings import MachineConfiguration, VersionedSettings

Epoch = Annotated[int, Meta(ge=0)]
StepNumber = Annotated[int, Meta(ge=0)]


class Configure(msgspec.Struct, frozen=True, tag_field="command", tag="configure"):
    """Become this server, with these settings of its own (None for a failover server: it has none)."""

    configuration: MachineConfiguration
    settings: VersionedSettings | None = None


class Stage(msgspec.Struct, frozen=True, tag_field="command", tag="stage"):
    """Keep these settings of another server at hand, to be activated at once when told."""

    settings: VersionedSettings


class Unstage(msgspec.Struct, frozen=True, tag_field="command", tag="unstage"):
    """Forget the staged settings of a server that is no longer paired."""

    server: Id


class Activate(msgspec.Struct, frozen=True, tag_field="command", tag="activate"):
    """Serve for `server`: start these cameras from the staged settings of this version.

    Cameras left out of `cameras` stay off (M12: beyond capacity).
    """

    epoch: Epoch
    step: StepNumber
    failover: FailoverId
    server: Id
    settings_version: int
    cameras: list[Id]
    range: FailoverRange = FailoverRange.FULL
    authority: Authority = Authority()


class Permit(msgspec.Struct, frozen=True, tag_field="command", tag="permit"):
    """Go on recording without keys, under this signed permit, until the other side has taken over."""

    epoch: Epoch
    step: StepNumber
    token: str


class StandDown(msgspec.Struct, frozen=True, tag_field="command", tag="stand-down"):
    """Stop recording: the failover server has every camera's key frame."""

    epoch: Epoch
    step: StepNumber
    failover: FailoverId


class Resume(msgspec.Struct, frozen=True, tag_field="command", tag="resume"):
    """Record your own cameras again, with these keys."""

    epoch: Epoch
    step: StepNumber
    failover: FailoverId
    authority: Authority = Authority()


class Release(msgspec.Struct, frozen=True, tag_field="command", tag="release"):
    """Stop serving: the original records again. The footage stays until it is cleared."""

    epoch: Epoch
    step: StepNumber
    failover: FailoverId


class FetchFootage(msgspec.Struct, frozen=True, tag_field="command", tag="fetch-footage"):
    """Bring the footage of `failover` home from the server at `source` (an HTTP address)."""

    epoch: Epoch
    step: StepNumber
    failover: FailoverId
    source: str
    grant: str
    bytes_per_second: int | None = None


class StopFetching(msgspec.Struct, frozen=True, tag_field="command", tag="stop-fetching"):
    """Fetch no more of this failover's footage; what is verified stays, what is half there is removed."""

    epoch: Epoch
    step: StepNumber
    failover: FailoverId


class ClearFootage(msgspec.Struct, frozen=True, tag_field="command", tag="clear-footage"):
    """Remove the folder of `failover`.

    With `verified_digest`, only if the folder still is what the receiver verified; without it, `discard`
    must say that the footage is given up on purpose (M18, M20).
    """

    epoch: Epoch
    step: StepNumber
    failover: FailoverId
    verified_digest: str | None = None
    discard: bool = False


class Erase(msgspec.Struct, frozen=True, tag_field="command", tag="erase"):
    """Erase all footage and settings. `token` is single-use, signed by the host, and names the machine."""

    token: str


class ReportState(msgspec.Struct, frozen=True, tag_field="command", tag="report-state"):
    """Say how you are; also the monitor's direct probe."""


AgentCommand = (
    Configure
    | Stage
    | Unstage
    | Activate
    | Permit
    | StandDown
    | Resume
    | Release
    | FetchFootage
    | StopFetching
    | ClearFootage
    | Erase
    | ReportState
)
DutyCommand = Activate | Permit | StandDown | Resume | Release
FootageCommand = FetchFootage | StopFetching | ClearFootage


class Done(msgspec.Struct, frozen=True):
    """The command was carried out (or had been before); `state` is the machine's state after it."""

    state: Heartbeat


def name_of(command: AgentCommand) -> str:
    """The command's name, as it ends the subject."""
    return str(command.__struct_config__.tag)
