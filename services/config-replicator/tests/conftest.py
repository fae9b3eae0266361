"""The service run in-process against real NATS and MongoDB, and a counterpart that speaks an agent's side of
the bus: it stands for a machine that is not here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec
import pytest
from understudy_bus.events import follow_events
from understudy_bus.serving import serve_commands
from understudy_config_replicator import app
from understudy_contracts.commands import AgentCommand, Configure, Done, Stage, Unstage
from understudy_contracts.errors import NotFound, StaleEpoch, Unavailable
from understudy_contracts.events import Event
from understudy_contracts.machine import Heartbeat
from understudy_contracts.model import Role, Service
from understudy_contracts.servers import Server
from understudy_contracts.settings import Camera, CameraSource
from understudy_contracts.subjects import MachineAddress
from understudy_contracts.verbs import READ_SETTINGS, ReadSettings
from understudy_store import collections


async def eventually(condition: Callable[[], object], within_s: float = 15.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.01)


class MachineCounterpart:
    """Keeps what it is told as an agent does, and says so in heartbeats when the test asks for one."""

    def __init__(self, bus, subjects, machine: str, site: str) -> None:
        self.bus = bus
        self.subjects = subjects
        self.address = MachineAddress(site, machine)
        self.state = Heartbeat(machine=machine, site=site, boot="b-1", sequence=0, sent_at=0)
        self.commands: list[AgentCommand] = []
        self.refuse: Exception | None = None
        self.hold = asyncio.Event()
        self.hold.set()

    async def carry_out(self, command: AgentCommand) -> Done:
        self.commands.append(command)
        await self.hold.wait()
        if self.refuse:
            raise self.refuse
        match command:
            case Configure(configuration=told, settings=settings):
                version = settings.version if settings else 0
                if settings and told.server == self.state.server and version < self.state.settings_version:
                    raise StaleEpoch("older settings")
                self._change(
                    configured=True,
                    server=told.server,
                    role=told.role,
                    disabled=told.disabled,
                    heartbeat_s=told.heartbeat_s,
                    settings_version=version,
                )
            case Stage(settings=settings):
                if settings.version < self.state.staged.get(settings.server, 0):
                    raise StaleEpoch("older settings")
                self._change(staged={**self.state.staged, settings.server: settings.version})
            case Unstage(server=server):
                self._change(staged={k: v for k, v in self.state.staged.items() if k != server})
        return Done(self.state)

    def _change(self, **changes) -> None:
        self.state = msgspec.structs.replace(self.state, sequence=self.state.sequence + 1, **changes)

    async def beat(self, **changes) -> None:
        self._change(**changes)
        await self.bus.say(self.subjects.heartbeat(self.address), self.state)

    async def until(self, condition, within_s: float = 15.0) -> None:
        """Beat until the state is as wanted."""
        async with asyncio.timeout(within_s):
            while not condition(self.state):
                await self.beat()
                await asyncio.sleep(0.03)

    def count(self, kind) -> int:
        return sum(isinstance(command, kind) for command in self.commands)


class Site:
    """One test's service, servers and machines."""

    def __init__(self, host, database, stack: AsyncExitStack) -> None:
        self.host = host
        self.database = database
        self.stack = stack
        self.events: list[Event] = []

    @asynccontextmanager
    async def service(self):
        stopping = asyncio.Event()
        settings = self.host.settings(Service.CONFIG_REPLICATOR)
        running = asyncio.create_task(app.main(settings, stopping))
        async with self.host.bus(Service.API_GATEWAY) as probe:
            async with asyncio.timeout(20):
                while not await _answers(probe, running):
                    await asyncio.sleep(0.02)
        try:
            yield
        finally:
            stopping.set()
            await asyncio.wait_for(running, 10)

    async def add(self, server: str, role: Role = Role.RECORDING, **fields) -> Server:
        fields.setdefault("machine", f"m-{server}")
        document = Server(
            id=server, name=fields.pop("name", server.title()), role=role, site="site-a", **fields
        )
        await collections.servers(self.database).replace(document, upsert=True)
        return document

    async def machine(self, server: str) -> MachineCounterpart:
        address = MachineAddress("site-a", f"m-{server}")
        bus = await self.stack.enter_async_context(self.host.machine_bus(address))
        counterpart = MachineCounterpart(bus, self.host.subjects, address.machine, address.site)
        await self.stack.enter_async_context(serve_commands(bus, address, counterpart.carry_out))
        return counterpart

    async def follow(self) -> None:
        bus = await self.stack.enter_async_context(self.host.bus(Service.MONITOR))

        async def note(event: Event) -> None:
            self.events.append(event)

        task = asyncio.create_task(follow_events(bus, "settings.>", note, durable="monitor-settings"))

        async def stop() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self.stack.push_async_callback(stop)
        async with asyncio.timeout(10):
            while True:
                infos = await bus.jetstream.consumers_info(bus.subjects.events_stream)
                if any(info.name == "monitor-settings" for info in infos):
                    return
                await asyncio.sleep(0.02)

    def names(self, server: str) -> list[str]:
        return [event.event for event in self.events if event.subject == server]


async def _answers(probe, running) -> bool:
    if running.done():
        running.result()
    try:
        await probe.ask(READ_SETTINGS, ReadSettings("nobody"), timeout_s=1)
    except NotFound:
        return True
    except Unavailable:
        return False
    return False


@pytest.fixture
async def site(host, database) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        yield Site(host, database, stack)


@pytest.fixture
async def gateway(host):
    async with host.bus(Service.API_GATEWAY) as bus:
        yield bus


@pytest.fixture
def camera():
    def make(number: int, url: str = "rtsp://camera/stream") -> Camera:
        return Camera(f"cam-{number}", f"Camera {number}", CameraSource(url))

    return make
