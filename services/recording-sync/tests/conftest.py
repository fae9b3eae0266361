"""The service run in-process against real NATS and MongoDB, and counterparts that speak an agent's side of
the bus: they stand for machines that are not here."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec
import pytest
from understudy_bus.events import follow_events
from understudy_bus.serving import serve_commands
from understudy_contracts.commands import Done, FetchFootage, StopFetching
from understudy_contracts.errors import NotFound, StaleEpoch, Unavailable
from understudy_contracts.events import RestorationChanged
from understudy_contracts.machine import Heartbeat, RestorationProgress
from understudy_contracts.model import Service
from understudy_contracts.subjects import MachineAddress
from understudy_contracts.verbs import READ_RESTORATION, ReadRestoration
from understudy_recording_sync import app


class MachineCounterpart:
    """Beats, and takes footage orders as an agent does: fenced by step, a repeat changes nothing that has
    ended. How far it comes is up to the test."""

    def __init__(self, bus, address, http):
        self.bus = bus
        self.address = address
        self.state = Heartbeat(
            machine=address.machine, site=address.site, boot="b", sequence=0, sent_at=0, address=http
        )
        self.commands = []
        self.step = 0
        self.beating = asyncio.Event()
        self.beating.set()

    async def beat(self):
        while True:
            await self.beating.wait()
            await self.say()
            await asyncio.sleep(0.1)

    async def say(self):
        await self.bus.say(self.bus.subjects.heartbeat(self.address), self.next_word())

    def next_word(self):
        self.state = msgspec.structs.replace(self.state, sequence=self.state.sequence + 1)
        return self.state

    async def carry_out(self, command):
        self.commands.append(command)
        if command.step < self.step:
            raise StaleEpoch("too late")
        repeated, self.step = command.step == self.step, command.step
        known = {each.failover: each for each in self.state.restorations}
        before = known.get(command.failover)
        match command:
            case FetchFootage() if not (repeated and before and before.state in {"running", "done"}):
                self.progress(RestorationProgress(command.failover))
            case StopFetching():
                self.progress(RestorationProgress(command.failover, "stopped"))
        return Done(self.next_word())

    def progress(self, progress):
        others = [each for each in self.state.restorations if each.failover != progress.failover]
        self.state = msgspec.structs.replace(self.state, restorations=[*others, progress])

    def count(self, kind):
        return sum(isinstance(command, kind) for command in self.commands)


class Scene:
    def __init__(self, host, stack):
        self.host = host
        self.stack = stack
        self.events = []

    @asynccontextmanager
    async def service(self):
        stopping = asyncio.Event()
        running = asyncio.create_task(app.main(self.host.settings(Service.RECORDING_SYNC), stopping))
        async with self.host.bus(Service.API_GATEWAY) as probe, asyncio.timeout(20):
            while True:
                if running.done():
                    running.result()
                try:
                    await probe.ask(READ_RESTORATION, ReadRestoration("f-999"), timeout_s=1)
                except NotFound:
                    break
                except Unavailable:
                    await asyncio.sleep(0.02)
        try:
            yield
        finally:
            stopping.set()
            await asyncio.wait_for(running, 10)

    async def machine(self, name, http=""):
        address = MachineAddress("site-a", name)
        bus = await self.stack.enter_async_context(self.host.machine_bus(address))
        counterpart = MachineCounterpart(bus, address, http)
        await self.stack.enter_async_context(serve_commands(bus, address, counterpart.carry_out))
        await self._until_the_end(counterpart.beat())
        return counterpart

    async def follow(self):
        bus = await self.stack.enter_async_context(self.host.bus(Service.MONITOR))

        async def note(event):
            self.events.append((event.event, msgspec.json.decode(event.data, type=RestorationChanged).job))

        await self._until_the_end(follow_events(bus, "restoration.>", note, durable="monitor-restorations"))
        async with asyncio.timeout(10):
            while not await bus.jetstream.consumers_info(bus.subjects.events_stream):
                await asyncio.sleep(0.02)

    async def _until_the_end(self, work):
        task = asyncio.create_task(work)

        async def stop():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self.stack.push_async_callback(stop)

    async def until_job(self, bus, condition, failover="f-1", within_s=20):
        async with asyncio.timeout(within_s):
            while True:
                job = await bus.ask(READ_RESTORATION, ReadRestoration(failover))
                if condition(job):
                    return job
                await asyncio.sleep(0.03)


@pytest.fixture
async def scene(host):
    async with AsyncExitStack() as stack:
        yield Scene(host, stack)


@pytest.fixture
async def orchestrator(host):
    async with host.bus(Service.ORCHESTRATOR) as bus:
        yield bus
