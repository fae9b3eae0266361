"""The machines as this instance hears them: last heartbeat of each, and when, by the monotonic clock."""

from __future__ import annotations

from collections.abc import Callable

from understudy_bus.connection import Bus
from understudy_contracts.machine import Heartbeat
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

        async def received(subject: str, heartbeat: Heartbeat) -> None:
            address = bus.subjects.machine_of(subject)
            # The subject is guarded by the server, the body is only what the machine says of itself.
            if address == MachineAddress(heartbeat.site, heartbeat.machine):
                self.learn(heartbeat)

        await bus.hear(bus.subjects.all_heartbeats, Heartbeat, received)
        await bus.hear(f"{bus.subjects.prefix}.site.*.machine.*.report.state", Heartbeat, received)

    def learn(self, heartbeat: Heartbeat) -> None:
        """Take over what a machine says, also in an answer; older than what is known is passed by."""
        known = self._last.get(heartbeat.machine)
        if known is not None and known[0].boot == heartbeat.boot and known[0].sequence >= heartbeat.sequence:
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
