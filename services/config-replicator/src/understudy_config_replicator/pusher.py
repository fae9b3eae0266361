"""Brings machines to what they should have: hears them, compares, sends what is missing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import structlog
from understudy_bus.connection import Bus
from understudy_contracts.commands import AgentCommand, Configure, Done, Stage, name_of
from understudy_contracts.errors import Unavailable, UnderstudyError
from understudy_contracts.machine import Heartbeat, is_behind
from understudy_contracts.settings import VersionedSettings
from understudy_contracts.subjects import MachineAddress
from understudy_runtime.retry import pauses
from understudy_runtime.waiting import go_on

from understudy_config_replicator.desired import Desired
from understudy_config_replicator.pushes import pending_pushes
from understudy_config_replicator.staged_marks import StagedMarks

REFRESH_S: Final = 5.0
FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
STAGE_WITHIN_S: Final = 4.0

_UNKNOWN: Final = ""

log = structlog.get_logger()


def _pauses() -> Iterator[float]:
    return pauses(FIRST_PAUSE_S, LONGEST_PAUSE_S)


@dataclass
class _Machine:
    """What we know of one machine; `names` are the server names that it was told."""

    address: MachineAddress
    heartbeat: Heartbeat
    pushing: asyncio.Lock = field(default_factory=asyncio.Lock)
    names: dict[str, str] = field(default_factory=dict)
    not_before: float = 0.0
    pauses: Iterator[float] = field(default_factory=_pauses)
    task: asyncio.Task[None] | None = None

    def take(self, heartbeat: Heartbeat) -> None:
        """The newest state counts, whether it came by heartbeat or in an answer."""
        if not is_behind(heartbeat, self.heartbeat):
            self.heartbeat = heartbeat

    def back_off(self, now: float) -> None:
        self.not_before = now + next(self.pauses)

    def calm(self) -> None:
        self.not_before = 0.0
        self.pauses = _pauses()


class Pusher:
    """One push at a time to each machine: at once after a change, again with its heartbeats."""

    def __init__(
        self,
        bus: Bus,
        load: Callable[[Mapping[str, str]], Awaitable[dict[str, Desired]]],
        marks: StagedMarks,
        group: asyncio.TaskGroup,
    ) -> None:
        self._bus = bus
        self._load = load
        self._marks = marks
        self._group = group
        self._desired: dict[str, Desired] = {}
        self._machines: dict[str, _Machine] = {}
        self._changed = asyncio.Event()
        self._heard = asyncio.Condition()
        self._uncertain: set[str] = set()
        self._closed = False

    # --- hearing ----------------------------------------------------------------------------------------

    async def heard(self, address: MachineAddress, heartbeat: Heartbeat) -> None:
        """A heartbeat or a report of the state."""
        machine = self._machines.get(address.machine)
        if machine is None:
            machine = _Machine(address, heartbeat, names=dict.fromkeys(self._uncertain, _UNKNOWN))
            self._machines[address.machine] = machine
            self._changed.set()
            async with self._heard:
                self._heard.notify_all()
        else:
            if heartbeat.boot != machine.heartbeat.boot:
                machine.calm()
            if heartbeat.address != machine.heartbeat.address:
                self._changed.set()
            machine.address = address
            machine.take(heartbeat)
        self._see_to(machine)

    def changed(self) -> None:
        """Something was written that may change what machines should have."""
        self._changed.set()

    def renamed(self, server: str) -> None:
        """The server's document changed, perhaps its name. Which name a machine was told by an earlier life
        of this process is not known, so it is told again."""
        self._uncertain.add(server)
        for machine in self._machines.values():
            machine.names.setdefault(server, _UNKNOWN)
        self._changed.set()

    def close(self) -> None:
        """Push no more; what is under way is let go, to be sent again by the next life."""
        self._closed = True
        for machine in self._machines.values():
            if machine.task is not None:
                machine.task.cancel()

    async def refresh(self) -> None:
        """Keep the desired states up to date; runs until cancelled."""
        while go_on():
            try:
                async with asyncio.timeout(REFRESH_S):
                    await self._changed.wait()
            except TimeoutError:
                pass
            self._changed.clear()
            try:
                await self._reload()
            except UnderstudyError as error:
                log.warning("what machines should have is not known", error=error.message)
                await asyncio.sleep(FIRST_PAUSE_S)
                self._changed.set()

    def _addresses(self) -> dict[str, str]:
        return {name: machine.heartbeat.address for name, machine in self._machines.items()}

    async def _reload(self) -> None:
        before, self._desired = self._desired, await self._load(self._addresses())
        for machine_id, machine in self._machines.items():
            old, new = before.get(machine_id), self._desired.get(machine_id)
            if old != new:
                machine.calm()
            if old and new:
                _note_names(machine, old)
            self._see_to(machine)

    # --- pushing ----------------------------------------------------------------------------------------

    def _see_to(self, machine: _Machine) -> None:
        desired = self._desired.get(machine.address.machine)
        if self._closed or desired is None or machine.task is not None or _now() < machine.not_before:
            return
        if self._pending(machine, desired) or self._marks.untold(desired, machine.heartbeat):
            machine.task = self._group.create_task(self._bring_up_to_date(machine))

    def _pending(self, machine: _Machine, desired: Desired) -> list[AgentCommand]:
        renamed = {
            server for server, name in machine.names.items() if name != _name_of(desired, server, name)
        }
        return pending_pushes(desired, machine.heartbeat, renamed)

    async def _bring_up_to_date(self, machine: _Machine) -> None:
        try:
            async with machine.pushing:
                await self._push(machine)
        except UnderstudyError as error:
            machine.back_off(_now())
            log.warning("push failed", machine=machine.address.machine, error=error.message, code=error.code)
        finally:
            machine.task = None

    async def _push(self, machine: _Machine) -> None:
        """Raises:
        UnderstudyError: the machine refused, did not answer, or said done and is not.
        """
        while (desired := self._desired.get(machine.address.machine)) is not None:
            pending = self._pending(machine, desired)
            if not pending:
                break
            await self._send(machine, pending[0])
            after = self._desired.get(machine.address.machine)
            if after is desired and self._pending(machine, desired)[:1] == pending[:1]:
                raise Unavailable(f"the machine carried out {name_of(pending[0])} and shows no sign of it")
        if desired is not None:
            await self._marks.tell(machine.address.machine, self._marks.untold(desired, machine.heartbeat))
        machine.calm()

    async def _send(self, machine: _Machine, command: AgentCommand, timeout_s: float = 5.0) -> Done:
        done = await self._bus.command(machine.address, command, timeout_s=timeout_s)
        machine.take(done.state)
        if isinstance(command, Configure):
            machine.names[command.configuration.server] = command.configuration.server_name
        elif isinstance(command, Stage):
            machine.names[command.settings.server] = command.settings.server_name
        return done

    async def stage_now(self, machine_id: str, settings: VersionedSettings) -> None:
        """Return once `settings` are staged on that machine; at once, if its heartbeat says so.

        Raises:
            Unavailable: the machine was not heard, or did not answer in time.
            UnderstudyError: the machine refused.
        """
        try:
            async with asyncio.timeout(STAGE_WITHIN_S):
                async with self._heard:
                    await self._heard.wait_for(lambda: machine_id in self._machines)
                machine = self._machines[machine_id]
                if _has(machine, settings):
                    return
                async with machine.pushing:
                    if not _has(machine, settings):
                        await self._send(machine, Stage(settings), timeout_s=STAGE_WITHIN_S)
        except TimeoutError:
            raise Unavailable(
                f"machine {machine_id} did not stage the settings of {settings.server} within "
                f"{STAGE_WITHIN_S:g} s"
            ) from None


def _note_names(machine: _Machine, desired: Desired) -> None:
    """Names that the machine must have been told while they were what it should have."""
    configuration = desired.configuration
    machine.names.setdefault(configuration.server, configuration.server_name)
    for server, settings in desired.staged.items():
        machine.names.setdefault(server, settings.server_name)


def _has(machine: _Machine, settings: VersionedSettings) -> bool:
    return machine.heartbeat.staged.get(settings.server) == settings.version


def _name_of(desired: Desired, server: str, otherwise: str = "") -> str:
    if desired.configuration.server == server:
        return desired.configuration.server_name
    staged = desired.staged.get(server)
    return staged.server_name if staged else otherwise


def _now() -> float:
    return asyncio.get_running_loop().time()
