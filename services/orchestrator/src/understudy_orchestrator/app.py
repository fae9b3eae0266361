"""Joins the orchestrator's parts."""

from __future__ import annotations

import asyncio
import uuid
from functools import partial

from understudy_bus.connection import connect_bus
from understudy_bus.events import ensure_stream, publish_event
from understudy_bus.serving import serve_verbs
from understudy_contracts.events import Event
from understudy_contracts.model import Service
from understudy_runtime.clock import SystemClock
from understudy_runtime.configuration import ControlSettings
from understudy_store.database import connect_database
from understudy_store.outbox import Outbox

from understudy_orchestrator.driver import Driver
from understudy_orchestrator.failovers import Failovers
from understudy_orchestrator.handlers import Requests
from understudy_orchestrator.machines import Machines
from understudy_orchestrator.steps import Steps
from understudy_orchestrator.strays import Strays
from understudy_orchestrator.surroundings import Surroundings
from understudy_orchestrator.triggers import Triggers


async def main(settings: ControlSettings, stopping: asyncio.Event) -> None:
    """Run until `stopping` is set."""
    clock = SystemClock()
    instance = uuid.uuid4().hex
    async with (
        connect_database(settings) as database,
        connect_bus(settings, Service.ORCHESTRATOR.value) as bus,
    ):
        await ensure_stream(bus)
        outbox = Outbox(database, Service.ORCHESTRATOR.value, clock)
        failovers = Failovers(database, outbox, clock)
        await outbox.prepare()
        await failovers.prepare()
        machines = Machines(clock)
        surroundings = Surroundings(database, bus, machines, failovers, clock)
        driver = Driver(database, failovers, surroundings, Steps(database, bus, machines), clock, instance)
        triggers = Triggers(database, failovers, surroundings, driver, clock)
        machines.heard = driver.machine_spoke

        async def verdict_changed(_subject: str, _event: Event) -> None:
            triggers.wake()
            driver.wake()

        async def restoration_changed(_subject: str, event: Event) -> None:
            driver.wake(event.subject)

        await machines.listen(bus)
        # Events only wake us: what they tell is read from the database, so that a lost one does no harm.
        await bus.hear(f"{bus.subjects.prefix}.evt.server.*.verdict", Event, verdict_changed)
        await bus.hear(f"{bus.subjects.prefix}.evt.restoration.>", Event, restoration_changed)
        requests = Requests(failovers, surroundings, driver, triggers)
        async with serve_verbs(bus, requests.handlers()), asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(outbox.relay(partial(publish_event, bus), instance)),
                tasks.create_task(driver.run()),
                tasks.create_task(triggers.run()),
                tasks.create_task(Strays(database, bus, machines, failovers).run()),
            ]
            await stopping.wait()
            for task in running:
                task.cancel()
