"""Which machine serves a camera now, and where it is reached: told by the machines' own heartbeats."""

from __future__ import annotations

import msgspec
from understudy_contracts.ids import FailoverId, Id
from understudy_contracts.model import CameraState
from understudy_contracts.subjects import Subjects
from understudy_runtime.clock import Clock

FRESH_S = 5.0
_NOT_SERVED = {CameraState.DISABLED, CameraState.STOPPED}


class SeenCamera(msgspec.Struct, frozen=True):
    """What a heartbeat says of a camera, as far as it matters here."""

    camera: Id
    state: CameraState
    failover: FailoverId | None = None


class SeenMachine(msgspec.Struct, frozen=True):
    """What a heartbeat says of a machine, as far as it matters here: there are many of them."""

    machine: Id
    boot: str
    sequence: int
    address: str = ""
    server: Id | None = None
    cameras: list[SeenCamera] = []


class Machines:
    """The last word of each machine."""

    def __init__(self, subjects: Subjects, clock: Clock) -> None:
        self._subjects = subjects
        self._clock = clock
        self._seen: dict[str, tuple[SeenMachine, float]] = {}

    async def heard(self, subject: str, machine: SeenMachine) -> None:
        """A heartbeat or a report of the state."""
        address = self._subjects.machine_of(subject)
        if address is None or address.machine != machine.machine:
            return
        known = self._seen.get(machine.machine)
        if known and known[0].boot == machine.boot and machine.sequence < known[0].sequence:
            return
        self._seen[machine.machine] = machine, self._clock.monotonic()

    def of(self, machine: str) -> SeenMachine | None:
        known = self._seen.get(machine)
        return known[0] if known and known[0].address else None

    def serving(self, camera: str) -> SeenMachine | None:
        """The machine that runs the camera now. While two do (when one takes over from the other), the one in
        a failover: it is what people operate."""
        found = [
            (seen.failover is not None, heard_at, machine)
            for machine, heard_at in self._seen.values()
            if machine.address and self._clock.monotonic() - heard_at < FRESH_S
            for seen in machine.cameras
            if seen.camera == camera and seen.state not in _NOT_SERVED
        ]
        return max(found, key=lambda one: one[:2])[2] if found else None
