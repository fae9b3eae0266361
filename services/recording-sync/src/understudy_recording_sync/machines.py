"""What the machines say of themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from understudy_contracts.machine import Heartbeat, RestorationProgress, is_behind
from understudy_contracts.subjects import MachineAddress, Subjects

from understudy_recording_sync.jobs import Seen


@dataclass
class _Machine:
    address: MachineAddress
    heartbeat: Heartbeat
    heard_at: float
    progress: dict[str, RestorationProgress] = field(default_factory=dict)


class Machines:
    """The last word of each machine. `news` is called when one says something about a restoration."""

    def __init__(self, subjects: Subjects, news: Callable[[], None]) -> None:
        self._subjects = subjects
        self._news = news
        self._machines: dict[str, _Machine] = {}

    async def heard(self, address: MachineAddress, heartbeat: Heartbeat) -> None:
        """A heartbeat or a report of the state."""
        self.take(address, heartbeat)

    def take(self, address: MachineAddress, heartbeat: Heartbeat) -> None:
        known = self._machines.get(address.machine)
        if known and is_behind(heartbeat, known.heartbeat):
            return
        progress = {each.failover: each for each in heartbeat.restorations}
        machine = _Machine(address, heartbeat, _now(), progress)
        self._machines[address.machine] = machine
        if known is None or known.progress != progress or _now() - known.heard_at > 1:
            self._news()

    async def heard_progress(self, subject: str, progress: RestorationProgress) -> None:
        """What a machine reports of one restoration between two heartbeats."""
        address = self._subjects.machine_of(subject)
        machine = self._machines.get(address.machine) if address else None
        if machine is not None:
            machine.progress[progress.failover] = progress
            self._news()

    def seen(self, machine: str, failover: str) -> Seen | None:
        """What was last heard of `machine`, with what it says of this failover's footage."""
        known = self._machines.get(machine)
        if known is None:
            return None
        return Seen(known.heartbeat, _now() - known.heard_at, known.progress.get(failover))

    def address(self, machine: str) -> MachineAddress | None:
        known = self._machines.get(machine)
        return known.address if known else None

    def fetching(self) -> set[str]:
        """The failovers whose footage some machine says that it is fetching now."""
        return {
            progress.failover
            for machine in self._machines.values()
            for progress in machine.progress.values()
            if progress.state == "running"
        }


def _now() -> float:
    return asyncio.get_running_loop().time()
