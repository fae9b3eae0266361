"""Says what monitor and orchestrator say: the same documents, the same events, over the same bus.

The gateway shows what they wrote; what they decide is tested with them.
"""

from __future__ import annotations

from typing import Any

import msgspec
from understudy_bus.connection import Bus
from understudy_bus.events import publish_event
from understudy_contracts.events import Event, FailoverChanged, StatusChanged
from understudy_contracts.failovers import Failover, PhaseEntry, Reason, StepRecord
from understudy_contracts.model import Phase, Role, Status
from understudy_contracts.servers import FailoverGlance, ServerStatus
from understudy_contracts.settings import FailoverSettings
from understudy_store import collections
from understudy_store.database import Database


class Teller:
    """Writes a document, then publishes its event."""

    def __init__(self, database: Database, monitor: Bus, orchestrator: Bus) -> None:
        self._database = database
        self._monitor = monitor
        self._orchestrator = orchestrator
        self._told = 0

    async def status(self, server: str, role: Role, status: Status, **more: Any) -> None:
        document = ServerStatus(server, role, status, **more)
        await collections.statuses(self._database).replace(document, upsert=True)
        await self._publish(self._monitor, "server", server, "status", StatusChanged(document))

    async def failover(self, failover: Failover) -> None:
        await collections.failovers(self._database).replace(failover, upsert=True)
        await self._publish(
            self._orchestrator, "failover", failover.id, str(failover.phase), FailoverChanged(failover)
        )

    async def _publish(self, bus: Bus, kind: Any, subject: str, event: str, body: msgspec.Struct) -> None:
        self._told += 1
        data = msgspec.Raw(msgspec.json.encode(body))
        name = f"told-{bus.subjects.prefix}-{self._told}"
        await publish_event(bus, Event(name, kind, subject, event, self._told, 1_800_000_000_000, data))


def a_failover(server: str, spare: str | None, phase: Phase, *, epoch: int = 1, **more: Any) -> Failover:
    """A failover of `server` that has come to `phase`."""
    began = 1_800_000_000_000
    values: dict[str, Any] = {
        "id": f"f-{epoch}",
        "epoch": epoch,
        "server": server,
        "server_name": server.replace("-", " ").capitalize(),
        "site": "default",
        "machine": "m-1",
        "reason": Reason("disconnected", "No sign of life for 5.0 s", fault_at=began),
        "automatic": True,
        "settings": FailoverSettings(),
        "phase": phase,
        "created_at": began,
        "phase_since": began,
        "failover_server": spare,
        "failover_server_name": spare.replace("-", " ").capitalize() if spare else "",
        "steps": [
            StepRecord(number + 1, name, Phase.ACTIVATING, began + number * 90, began + number * 90 + 80)
            for number, name in enumerate(("move-keys", "open-copy", "activate"))
        ],
        "phases": [PhaseEntry(phase, began)],
        "revision": 1,
    }
    return Failover(**{**values, **more})


def glance(
    failover: Failover, partner: str, partner_name: str, percent: float | None = None
) -> FailoverGlance:
    return FailoverGlance(failover.id, str(failover.phase), partner, partner_name, percent)
