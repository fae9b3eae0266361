"""What this machine is to do, decided from what it does now and the command that came. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from understudy_contracts.commands import Activate, DutyCommand, Permit, Release, Resume, StandDown
from understudy_contracts.errors import Conflict, InvalidInput, Refused, SettingsMissing
from understudy_contracts.machine import (
    Authority,
    Duty,
    Fence,
    OwnCameras,
    Serving,
    Standby,
    StoodDown,
    Unassigned,
)
from understudy_contracts.model import Role
from understudy_contracts.settings import ServerSettings, VersionedSettings
from understudy_runtime.grants import Grant

from understudy_recording_server.fences import check_epoch, pass_fence


class DutyState(msgspec.Struct, frozen=True):
    """What decides: saved before it takes effect, taken up again after a restart without asking anyone."""

    role: Role
    duty: Duty = Unassigned()
    fence: Fence = Fence()
    authority: Authority = Authority()


def decide(
    state: DutyState,
    command: DutyCommand,
    staged: Mapping[str, VersionedSettings],
    permit: Grant | None = None,
) -> DutyState:
    """The state after `command`. `staged` are the settings of other servers that are at hand; `permit` is
    what the token of a `Permit` grants, its signature checked.

    Raises:
        StaleEpoch: the command is older than one that was accepted.
        InvalidInput: its epoch is not its failover's, or it names cameras that the settings do not have.
        SettingsMissing: the settings to activate are not at hand.
        Conflict: this machine's role or present duty does not allow it; the message says why.
        Refused: the permit is for another epoch.
    """
    fence = pass_fence(state.fence, command.epoch, command.step)
    if not isinstance(command, Permit):
        check_epoch(command.failover, command.epoch)
    match command:
        case Activate():
            duty, authority = _activate(state, command, staged), command.authority
        case Permit():
            duty, authority = state.duty, _permitted(command, permit)
        case StandDown():
            _need(state, Role.RECORDING, "stand down")
            duty, authority = StoodDown(command.failover), Authority()
        case Resume():
            _need(state, Role.RECORDING, "resume")
            duty, authority = OwnCameras(), command.authority
        case Release():
            duty, authority = _release(state, command), Authority()
    return DutyState(state.role, duty, fence, authority)


def _activate(state: DutyState, command: Activate, staged: Mapping[str, VersionedSettings]) -> Duty:
    _need(state, Role.FAILOVER, "serve for another server")
    wanted = Serving(
        command.failover, command.server, command.settings_version, command.cameras, command.range
    )
    at_hand = staged.get(command.server)
    current = state.duty
    if isinstance(current, Serving):
        if (current.failover, current.server) != (command.failover, command.server):
            raise Conflict(
                f"this machine serves for {current.server} in {current.failover}: release it first"
            )
        edited = at_hand is not None and at_hand.version == current.settings_version
        if edited and current.settings_version > command.settings_version:
            # The settings were edited after the activation, and are in force: a repeat must not undo that.
            return current
    if at_hand is None:
        raise SettingsMissing(f"no settings of {command.server} are staged here")
    if at_hand.version != command.settings_version:
        raise SettingsMissing(
            f"version {at_hand.version} of the settings of {command.server} is staged here, "
            f"not version {command.settings_version}"
        )
    unknown = set(command.cameras) - {camera.id for camera in at_hand.settings.cameras}
    if unknown:
        raise InvalidInput(f"{command.server} has no camera {min(unknown)!r} in version {at_hand.version}")
    return wanted


def _permitted(command: Permit, permit: Grant | None) -> Authority:
    if permit is None or permit.epoch != command.epoch or permit.failover is None:
        raise Refused(f"the permit is not for epoch {command.epoch}")
    return Authority(permit_failover=permit.failover, permit_expires_at=permit.expires_at)


def _release(state: DutyState, command: Release) -> Duty:
    _need(state, Role.FAILOVER, "be released")
    if isinstance(state.duty, Serving) and state.duty.failover != command.failover:
        raise Conflict(f"this machine serves in {state.duty.failover}, not in {command.failover}")
    return Standby()


def _need(state: DutyState, role: Role, what: str) -> None:
    if state.role is not role:
        raise Conflict(f"a {state.role} server cannot {what}")


def duty_when_configured(duty: Duty, role: Role) -> Duty:
    """The duty after this machine has been told its role.

    Raises:
        Conflict: it serves in a failover, and would become a recording server.
    """
    if role is Role.FAILOVER:
        return duty if isinstance(duty, Serving) else Standby()
    if isinstance(duty, Serving):
        raise Conflict(
            f"this machine serves for {duty.server} in {duty.failover}: its role changes after that"
        )
    return duty if isinstance(duty, StoodDown) else OwnCameras()


def serving_with(
    duty: Serving, before: ServerSettings, after: VersionedSettings, maximum_cameras: int
) -> Serving:
    """The duty when the settings it operates have been edited: cameras that are new in them are served too,
    up to `maximum_cameras` (0: no limit); those that were left out stay off (M12, M14)."""
    known = {camera.id for camera in before.cameras}
    served = set(duty.cameras)
    cameras = [camera.id for camera in after.settings.cameras if camera.id in served]
    for camera in after.settings.cameras:
        full = maximum_cameras > 0 and len(cameras) >= maximum_cameras
        if camera.id not in known and camera.id not in served and not full:
            cameras.append(camera.id)
    return msgspec.structs.replace(duty, settings_version=after.version, cameras=cameras)
