"""Joins the parts of recording-sync."""

from __future__ import annotations

import asyncio
import uuid
from functools import partial

from understudy_bus.connection import Bus, connect_bus
from understudy_bus.events import ensure_stream, publish_event
from understudy_bus.hearing import hear_machines
from understudy_bus.serving import serve_verbs
from understudy_contracts.machine import Heartbeat, RestorationProgress
from understudy_contracts.model import Service
from understudy_runtime.clock import SystemClock
from understudy_runtime.configuration import ControlSettings
from understudy_runtime.grants import Signer
from understudy_store.database import Database, connect_database
from understudy_store.leases import Lease
from understudy_store.outbox import Outbox

from understudy_recording_sync.driver import Driver
from understudy_recording_sync.handlers import Handlers
from understudy_recording_sync.restorations import Restorations


async def main(settings: ControlSettings, stopping: asyncio.Event) -> None:
    """Run until `stopping` is set.

    Raises:
        ConfigurationError: there is no signing key.
    """
    signer = Signer.from_file(settings.signing_key)
    async with (
        connect_database(settings) as database,
        connect_bus(settings, Service.RECORDING_SYNC) as bus,
    ):
        await ensure_stream(bus)
        await _serve(database, bus, signer, stopping)


async def _serve(database: Database, bus: Bus, signer: Signer, stopping: asyncio.Event) -> None:
    clock = SystemClock()
    instance = uuid.uuid4().hex
    outbox = Outbox(database, Service.RECORDING_SYNC, clock)
    restorations = Restorations(database, outbox, clock)
    await outbox.prepare()
    await restorations.prepare()
    async with asyncio.TaskGroup() as group:
        lease = Lease(database, "drive-restorations", instance)
        driver = Driver(bus, restorations, signer, clock, lease, group)
        machines = driver.machines
        await hear_machines(bus, Heartbeat, machines.heard)
        progress = bus.subjects.all_reports("restoration")
        await bus.hear(progress, RestorationProgress, machines.heard_progress)
        background = [
            group.create_task(outbox.relay(partial(publish_event, bus), instance)),
            group.create_task(driver.run()),
        ]
        async with serve_verbs(bus, Handlers(restorations, driver).verbs()):
            await stopping.wait()
        for task in background:
            task.cancel()
