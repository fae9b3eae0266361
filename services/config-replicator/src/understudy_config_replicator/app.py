"""Joins the parts of the config-replicator."""

from __future__ import annotations

import asyncio
import uuid
from functools import partial
from typing import Final

from understudy_bus.connection import Bus, connect_bus
from understudy_bus.events import ensure_stream, follow_events, publish_event
from understudy_bus.hearing import hear_machines
from understudy_bus.serving import serve_verbs
from understudy_contracts.events import Event
from understudy_contracts.machine import Heartbeat
from understudy_contracts.model import Service
from understudy_runtime.clock import SystemClock
from understudy_runtime.configuration import ControlSettings
from understudy_store.database import Database, connect_database
from understudy_store.outbox import Outbox

from understudy_config_replicator.desired_source import DesiredSource
from understudy_config_replicator.handlers import Handlers
from understudy_config_replicator.pusher import Pusher
from understudy_config_replicator.settings_store import SettingsStore
from understudy_config_replicator.staged_marks import StagedMarks

# Events about servers that say nothing new about what machines should have.
PASSED_BY: Final = frozenset({"verdict", "status"})


async def main(settings: ControlSettings, stopping: asyncio.Event) -> None:
    """Run until `stopping` is set."""
    async with (
        connect_database(settings) as database,
        connect_bus(settings, Service.CONFIG_REPLICATOR) as bus,
    ):
        await ensure_stream(bus)
        await _serve(database, bus, stopping)


async def _serve(database: Database, bus: Bus, stopping: asyncio.Event) -> None:
    clock = SystemClock()
    outbox = Outbox(database, Service.CONFIG_REPLICATOR, clock)
    store = SettingsStore(database, outbox, clock)
    marks = StagedMarks(database, outbox)
    for part in (outbox, store, marks):
        await part.prepare()
    source = DesiredSource(database, store)
    async with asyncio.TaskGroup() as group:
        pusher = Pusher(bus, source.load, marks, group)

        async def server_changed(event: Event) -> None:
            if event.event not in PASSED_BY:
                pusher.renamed(event.subject)

        background = [
            group.create_task(outbox.relay(partial(publish_event, bus), uuid.uuid4().hex)),
            group.create_task(pusher.refresh()),
            group.create_task(
                follow_events(bus, "server.>", server_changed, durable="config-replicator-servers")
            ),
        ]
        pusher.changed()
        await hear_machines(bus, Heartbeat, pusher.heard)
        async with serve_verbs(bus, Handlers(store, pusher).verbs()):
            await stopping.wait()
        pusher.close()
        for task in background:
            task.cancel()
