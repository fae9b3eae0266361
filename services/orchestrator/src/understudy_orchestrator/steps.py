"""The steps of a failover, each an effect on another service or a machine; each may be taken twice."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from understudy_bus.connection import Bus
from understudy_contracts.commands import (
    Activate,
    AgentCommand,
    ClearFootage,
    Permit,
    Release,
    Resume,
    StandDown,
)
from understudy_contracts.errors import Conflict, NotFound, SettingsMissing
from understudy_contracts.failovers import CameraTakeover, Failover
from understudy_contracts.machine import Authority
from understudy_contracts.model import CameraState
from understudy_contracts.settings import MAXIMUM_CAMERAS, VersionedSettings
from understudy_contracts.verbs import (
    CLOSE_COPY,
    HALT_RESTORATION,
    ISSUE_PERMIT,
    MOVE_KEYS,
    OPEN_COPY,
    RETURN_KEYS,
    START_RESTORATION,
    CloseCopy,
    HaltRestoration,
    IssuePermit,
    MoveKeys,
    OpenCopy,
    ReturnKeys,
    StartRestoration,
)
from understudy_store.collections import servers
from understudy_store.database import Database

from understudy_orchestrator.machines import Machines

Changes = dict[str, object]
BEYOND_CAPACITY = "beyond the capacity of the failover server"

# Releasing waits for files to be closed and synced; the others answer at once.
RELEASE_TIMEOUT_S = 15.0


class Steps:
    """Carries out a step by its name and returns what the failover's document learns from it."""

    def __init__(self, database: Database, bus: Bus, machines: Machines) -> None:
        self._servers = servers(database)
        self._bus = bus
        self._machines = machines
        self._effects: dict[str, Callable[[Failover, int], Awaitable[Changes]]] = {
            "move-keys": self._move_keys,
            "permit-original": self._permit_original,
            "open-copy": self._open_copy,
            "activate": self._activate,
            "stand-down": self._stand_down,
            "permit-stand-in": self._permit_stand_in,
            "return-keys": self._return_keys,
            "resume-original": self._resume_original,
            "release": self._release,
            "close-copy": self._close_copy,
            "start-restoration": self._start_restoration,
            "halt-restoration": self._halt_restoration,
            "clear-footage": self._clear_footage,
        }

    async def take(self, name: str, failover: Failover, number: int) -> Changes:
        """Take step `name` as step `number` of `failover`.

        Raises:
            UnderstudyError: it failed, or it is unknown whether it was done; take it again.
        """
        return await self._effects[name](failover, number)

    async def _move_keys(self, failover: Failover, number: int) -> Changes:
        # All that the original holds, or that an earlier failover of it has lent: the broker finds them.
        request = MoveKeys(
            failover=failover.id,
            epoch=failover.epoch,
            source=failover.server,
            target=_failover_server(failover),
            count=MAXIMUM_CAMERAS,
            step=number,
        )
        moved = await self._bus.ask(MOVE_KEYS, request)
        return {"keys": [key.key for key in moved.keys]}

    async def _permit_original(self, failover: Failover, number: int) -> Changes:
        await self._permit(failover, number, await self._original_machine(failover))
        return {}

    async def _permit_stand_in(self, failover: Failover, number: int) -> Changes:
        await self._permit(failover, number, _failover_machine(failover))
        return {}

    async def _permit(self, failover: Failover, number: int, machine: str) -> None:
        permit = await self._bus.ask(ISSUE_PERMIT, IssuePermit(failover.id, failover.epoch, machine))
        await self._command(failover, machine, Permit(failover.epoch, number, permit.token), timeout_s=2.0)

    async def _open_copy(self, failover: Failover, _: int) -> Changes:
        if failover.predecessor is not None:
            await self._bus.ask(CLOSE_COPY, CloseCopy(failover.predecessor))
        copy = await self._ask_for_copy(failover)
        spare = await self._servers.get(_failover_server(failover))
        capacity = spare.maximum_cameras if spare else len(copy.settings.cameras)
        cameras = [
            CameraTakeover(camera=camera.id)
            if position < capacity
            else CameraTakeover(camera=camera.id, state=CameraState.DISABLED, reason=BEYOND_CAPACITY)
            for position, camera in enumerate(c for c in copy.settings.cameras if c.enabled)
        ]
        return {"settings_version": copy.version, "cameras": cameras}

    async def _ask_for_copy(self, failover: Failover) -> VersionedSettings:
        request = OpenCopy(failover.id, failover.server, _failover_machine(failover))
        return await self._bus.ask(OPEN_COPY, request, timeout_s=10.0)

    async def _activate(self, failover: Failover, number: int) -> Changes:
        try:
            await self._send_activate(failover, number, failover.settings_version)
        except SettingsMissing:
            # The machine lost what was staged on it (a new disk, an erased one): stage again, once.
            copy = await self._ask_for_copy(failover)
            await self._send_activate(failover, number, copy.version)
            return {"settings_version": copy.version}
        return {}

    async def _send_activate(self, failover: Failover, number: int, version: int) -> None:
        command = Activate(
            epoch=failover.epoch,
            step=number,
            failover=failover.id,
            server=failover.server,
            settings_version=version,
            cameras=[c.camera for c in failover.cameras if c.state is not CameraState.DISABLED],
            range=failover.settings.range,
            authority=Authority(keys=failover.keys),
        )
        await self._command(failover, _failover_machine(failover), command)

    async def _stand_down(self, failover: Failover, number: int) -> Changes:
        command = StandDown(failover.epoch, number, failover.id)
        await self._command(
            failover, await self._original_machine(failover), command, timeout_s=RELEASE_TIMEOUT_S
        )
        return {"original": "back"}

    async def _return_keys(self, failover: Failover, number: int) -> Changes:
        await self._bus.ask(RETURN_KEYS, ReturnKeys(failover.id, failover.epoch, number))
        return {}

    async def _resume_original(self, failover: Failover, number: int) -> Changes:
        command = Resume(failover.epoch, number, failover.id, Authority(keys=failover.keys))
        await self._command(failover, await self._original_machine(failover), command)
        return {}

    async def _release(self, failover: Failover, number: int) -> Changes:
        command = Release(failover.epoch, number, failover.id)
        await self._command(failover, _failover_machine(failover), command, timeout_s=RELEASE_TIMEOUT_S)
        return {}

    async def _close_copy(self, failover: Failover, _: int) -> Changes:
        await self._bus.ask(CLOSE_COPY, CloseCopy(failover.id))
        return {}

    async def _start_restoration(self, failover: Failover, number: int) -> Changes:
        request = StartRestoration(
            failover=failover.id,
            epoch=failover.epoch,
            step=number,
            server=failover.server,
            source_machine=_failover_machine(failover),
            target_machine=await self._original_machine(failover),
        )
        await self._bus.ask(START_RESTORATION, request)
        return {}

    async def _halt_restoration(self, failover: Failover, number: int) -> Changes:
        await self._bus.ask(HALT_RESTORATION, HaltRestoration(failover.id, failover.epoch, number))
        return {}

    async def _clear_footage(self, failover: Failover, number: int) -> Changes:
        verified = failover.restoration.digest if failover.restoration else ""
        home = failover.restoration is not None and failover.restoration.state == "done"
        command = ClearFootage(
            epoch=failover.epoch,
            step=number,
            failover=failover.id,
            verified_digest=verified if home else None,
            discard=not home,
        )
        await self._command(failover, _failover_machine(failover), command, timeout_s=60.0)
        return {}

    async def _command(
        self, failover: Failover, machine: str, command: AgentCommand, timeout_s: float = 3.0
    ) -> None:
        done = await self._bus.command(
            self._machines.address(machine, failover.site), command, timeout_s=timeout_s
        )
        self._machines.learn(done.state)

    async def _original_machine(self, failover: Failover) -> str:
        server = await self._servers.get(failover.server)
        if server is None or server.machine is None:
            raise NotFound(f"{failover.server_name} has no machine")
        return server.machine


def _failover_server(failover: Failover) -> str:
    if failover.failover_server is None:
        raise Conflict(f"{failover.id} has no failover server")
    return failover.failover_server


def _failover_machine(failover: Failover) -> str:
    if failover.failover_machine is None:
        raise Conflict(f"{failover.id} has no failover machine")
    return failover.failover_machine
