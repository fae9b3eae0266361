"""The service run in-process against real NATS and MongoDB."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from understudy_contracts.errors import Unavailable
from understudy_contracts.model import Service
from understudy_contracts.verbs import READ_LICENSES, ReadLicenses
from understudy_license_broker import app


@pytest.fixture
def broker(host):
    """Start one; several at once are instances beside each other."""

    @asynccontextmanager
    async def start():
        stopping = asyncio.Event()
        running = asyncio.create_task(app.main(host.settings(Service.LICENSE_BROKER), stopping))
        async with host.bus(Service.API_GATEWAY) as probe, asyncio.timeout(20):
            while True:
                if running.done():
                    running.result()
                try:
                    await probe.ask(READ_LICENSES, ReadLicenses(), timeout_s=1)
                    break
                except Unavailable:
                    await asyncio.sleep(0.02)
        try:
            yield
        finally:
            stopping.set()
            await asyncio.wait_for(running, 10)

    return start


@pytest.fixture
async def orchestrator(host):
    async with host.bus(Service.ORCHESTRATOR) as bus:
        yield bus


@pytest.fixture
async def gateway(host):
    async with host.bus(Service.API_GATEWAY) as bus:
        yield bus
