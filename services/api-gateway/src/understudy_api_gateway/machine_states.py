"""What machines said last, for whoever asks: kept as it came, and read only then.

A thousand machines speak several times a second, and somebody looks at one of them now and then.
"""

from __future__ import annotations

import time
from typing import Final

import msgspec
from nats.aio.msg import Msg
from understudy_bus.connection import Bus
from understudy_contracts.machine import CameraEvidence, Heartbeat

# Older words say nothing about now.
FRESH_S: Final = 5.0


class MachineStates:
    """The last heartbeat or report of state of each machine."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, bytes]] = {}

    async def listen(self, bus: Bus) -> None:
        """Hear the machines from now on. The subject, which the bus guards, tells which one speaks."""

        async def heard(message: Msg) -> None:
            address = bus.subjects.machine_of(message.subject)
            if address is not None:
                self._last[address.machine] = (time.monotonic(), message.data)

        await bus.client.subscribe(bus.subjects.all_heartbeats, cb=heard)
        await bus.client.subscribe(f"{bus.subjects.prefix}.site.*.machine.*.report.state", cb=heard)

    def cameras(self, machine: str | None) -> dict[str, CameraEvidence] | None:
        """What `machine` does with each camera, by camera id; None if it was not heard lately."""
        at, body = self._last.get(machine or "", (0.0, b""))
        if not body or time.monotonic() - at > FRESH_S:
            return None
        try:
            heartbeat = msgspec.json.decode(body, type=Heartbeat)
        except msgspec.DecodeError:
            return None
        return {evidence.camera: evidence for evidence in heartbeat.cameras}
