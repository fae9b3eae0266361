"""Joins the parts of the license-broker."""

from __future__ import annotations

import asyncio
import uuid
from functools import partial

from understudy_bus.connection import connect_bus
from understudy_bus.events import ensure_stream, publish_event
from understudy_bus.serving import serve_verbs
from understudy_contracts.model import Service
from understudy_runtime.clock import SystemClock
from understudy_runtime.configuration import ControlSettings
from understudy_runtime.grants import Signer
from understudy_store.database import connect_database
from understudy_store.outbox import Outbox

from understudy_license_broker.handlers import Handlers
from understudy_license_broker.ledger import Ledger


async def main(settings: ControlSettings, stopping: asyncio.Event) -> None:
    """Run until `stopping` is set.

    Raises:
        ConfigurationError: there is no signing key.
    """
    signer = Signer.from_file(settings.signing_key)
    async with (
        connect_database(settings) as database,
        connect_bus(settings, Service.LICENSE_BROKER) as bus,
    ):
        await ensure_stream(bus)
        clock = SystemClock()
        outbox = Outbox(database, Service.LICENSE_BROKER, clock)
        ledger = Ledger(database, outbox, clock)
        await outbox.prepare()
        await ledger.prepare()
        async with asyncio.TaskGroup() as group:
            relay = group.create_task(outbox.relay(partial(publish_event, bus), uuid.uuid4().hex))
            async with serve_verbs(bus, Handlers(ledger, signer, clock).verbs()):
                await stopping.wait()
            relay.cancel()
