"""The machines as this instance hears them: last heartbeat of each, and when, by the monotonic clock."""

from __future__ import annotations

from collections.abc import Callable

from understudy_bus.connection import Bus
from understudy_bus.hearing import hear_machines
from understudy_contracts.machine import Heartbeat, is_behind
from understudy_contracts.subjects import MachineAddress
from understudy_runtime.clock import Clock

from understudy_orchestrator.world import MachineView


class Machines:
    """Rebuilt by listening for a heartbeat interval; nothing of it is stored.

    `heard(machine)` is called for each thing that is learned.
    """

    heard: Callable[[str], None] | None = None

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last: dict[str, tuple[Heartbeat, float]] = {}

    async def listen(self, bus: Bus) -> None:
        """Hear heartbeats and reports of state from now on."""

        async def received(_: MachineAddress, heartbeat: Heartbeat) -> None:
            self.learn(heartbeat)

        await hear_machines(bus, Heartbeat, received)

    def learn(self, heartbeat: Heartbeat) -> None:
        """Take over what a machine says, also in an answer; older than what is known is passed by."""
        known = self._last.get(heartbeat.machine)
        if known is not None and is_behind(heartbeat, known[0]):
            return
        self._last[heartbeat.machine] = (heartbeat, self._clock.monotonic())
        if self.heard is not None:
            self.heard(heartbeat.machine)

    def view(self, machine: str | None) -> MachineView | None:
        if machine is None or machine not in self._last:
            return None
        heartbeat, at = self._last[machine]
        return MachineView(heartbeat, self._clock.monotonic() - at)

    def address(self, machine: str, site: str) -> MachineAddress:
        known = self._last.get(machine)
        return MachineAddress(known[0].site if known else site, machine)
