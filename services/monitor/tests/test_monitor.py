"""The monitor on a real bus and a real database: machines speak, fall silent, come back."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import msgspec
import pytest
from understudy_bus.connection import Bus
from understudy_bus.events import publish_event
from understudy_contracts.events import Event, ServerChanged, StatusChanged, VerdictChanged
from understudy_contracts.machine import Heartbeat, OwnCameras, Standby
from understudy_contracts.model import Action, Role, Service, Status, Verdict
from understudy_contracts.servers import Server, ServerStatus, ServerVerdict
from understudy_contracts.settings import FailoverSettings, TriggerSettings
from understudy_contracts.subjects import MachineAddress
from understudy_contracts.verbs import READ_STATUSES, ReadStatuses
from understudy_monitor.app import main
from understudy_store.collections import servers, verdicts

T = TypeVar("T")
SETTINGS = FailoverSettings(disconnection=TriggerSettings(after_s=1.0))
SERVERS = [
    Server("rs-1", "Gate", Role.RECORDING, "a", machine="m-1", pairing="all", failover_settings=SETTINGS),
    Server("rs-2", "Yard", Role.RECORDING, "a", machine="m-2", pairing="all", failover_settings=SETTINGS),
    Server("fs-1", "Spare", Role.FAILOVER, "a", machine="m-3", failover_settings=SETTINGS),
]


class Machine:
    """The bus side of an agent: real heartbeats over the real protocol, started and silenced by the test."""

    def __init__(self, bus: Bus, number: int) -> None:
        self._bus = bus
        self._address = MachineAddress("a", f"m-{number}")
        self._sequence = 0
        self._task: asyncio.Task[None] | None = None
        self._spare = number == 3

    def speak(self) -> None:
        self._task = asyncio.create_task(self._speak())

    async def fall_silent(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _speak(self) -> None:
        while True:
            self._sequence += 1
            beat = Heartbeat(
                machine=self._address.machine,
                site="a",
                boot="b",
                sequence=self._sequence,
                sent_at=0,
                version="0.1.0",
                duty=Standby() if self._spare else OwnCameras(),
                heartbeat_s=0.25,
                staged={"rs-1": 1, "rs-2": 1} if self._spare else {},
                settings_version=0 if self._spare else 1,
            )
            await self._bus.say(self._bus.subjects.heartbeat(self._address), beat)
            await asyncio.sleep(0.25)


@contextlib.asynccontextmanager
async def running_monitor(host) -> AsyncIterator[None]:
    stopping = asyncio.Event()
    task = asyncio.create_task(main(host.settings(Service.MONITOR), stopping))
    try:
        yield
    finally:
        stopping.set()
        await asyncio.wait_for(task, 10)


@pytest.fixture
async def machines(host, database):
    for server in SERVERS:
        await servers(database).insert(server)
    async with contextlib.AsyncExitStack() as stack:
        made = []
        for number in (1, 2, 3):
            bus = await stack.enter_async_context(host.machine_bus(MachineAddress("a", f"m-{number}")))
            made.append(Machine(bus, number))
        yield made
        for machine in made:
            await machine.fall_silent()


class Events:
    """What the observer hears. Each wait looks through all that came since `forget`, in any order."""

    def __init__(self) -> None:
        self._seen: list[Event] = []
        self._came = asyncio.Condition()

    async def heard(self, _subject: str, event: Event) -> None:
        async with self._came:
            self._seen.append(event)
            self._came.notify_all()

    def forget(self) -> None:
        self._seen.clear()

    async def until_verdict(self, server: str, verdict: Verdict, action: Action) -> ServerVerdict:
        event = await self.until_event(server, verdict, action)
        return msgspec.json.decode(event.data, type=VerdictChanged).verdict

    async def until_event(self, server: str, verdict: Verdict, action: Action) -> Event:
        def find() -> Event | None:
            for event in self._seen:
                if (event.subject, event.event) == (server, "verdict"):
                    found = msgspec.json.decode(event.data, type=VerdictChanged).verdict
                    if (found.verdict, found.action) == (verdict, action):
                        return event
            return None

        return await self._until(find)

    async def until_status(self, server: str, status: Status, *, protected: bool = False) -> ServerStatus:
        def find() -> ServerStatus | None:
            for event in self._seen:
                if (event.subject, event.event) == (server, "status"):
                    found = msgspec.json.decode(event.data, type=StatusChanged).status
                    if found.status is status and (found.protected or not protected):
                        return found
            return None

        return await self._until(find)

    async def _until(self, find: Callable[[], T | None]) -> T:
        async with asyncio.timeout(15), self._came:
            while (found := find()) is None:
                await self._came.wait()
            return found


async def test_a_silent_server_is_found_told_of_and_found_again_after_a_restart_of_the_monitor(
    host, database, machines
):
    async with host.observer_bus() as observer:
        events = Events()
        await observer.hear(f"{host.subjects.prefix}.evt.server.>", Event, events.heard)
        async with running_monitor(host):
            for machine in machines:
                machine.speak()
            await events.until_status("rs-1", Status.NORMAL, protected=True)
            await events.until_status("rs-2", Status.NORMAL)
            await events.until_status("fs-1", Status.STANDBY)
            # Each was told to be disconnected as long as nothing had been heard of it.
            events.forget()
            await machines[0].fall_silent()
            told = await events.until_verdict("rs-1", Verdict.DISCONNECTED, Action.TRIGGER)
            assert told.fault_at is not None
            assert told.since - told.fault_at >= 1000
            await events.until_status("rs-1", Status.DISCONNECTED)
            async with host.bus(Service.API_GATEWAY) as gateway:
                shown = await gateway.ask(READ_STATUSES, ReadStatuses())
            assert {s.server: s.status for s in shown.statuses} == {
                "rs-1": Status.DISCONNECTED,
                "rs-2": Status.NORMAL,
                "fs-1": Status.STANDBY,
            }
        async with running_monitor(host):
            stored = await verdicts(database).get("rs-1")
            assert stored is not None
            assert (stored.verdict, stored.action) == (Verdict.DISCONNECTED, Action.TRIGGER)
            events.forget()
            machines[0].speak()
            await events.until_verdict("rs-1", Verdict.HEALTHY, Action.NONE)


async def test_all_silent_together_is_held_not_triggered(host, machines):
    async with host.observer_bus() as observer:
        events = Events()
        await observer.hear(f"{host.subjects.prefix}.evt.server.>", Event, events.heard)
        async with running_monitor(host):
            for machine in machines:
                machine.speak()
            for server in ("rs-1", "rs-2"):
                await events.until_verdict(server, Verdict.HEALTHY, Action.NONE)
            await events.until_verdict("fs-1", Verdict.HEALTHY, Action.NONE)
            await asyncio.gather(*(machine.fall_silent() for machine in machines))
            held = await events.until_verdict("rs-1", Verdict.DISCONNECTED, Action.HOLD)
            assert "vanished together" in held.reason


async def test_planned_maintenance_is_heard_of_at_once_and_ends_by_itself(host, database, machines):
    async with (
        host.observer_bus() as observer,
        host.bus(Service.API_GATEWAY) as gateway,
        running_monitor(host),
    ):
        events = Events()
        await observer.hear(f"{host.subjects.prefix}.evt.server.>", Event, events.heard)
        for machine in machines:
            machine.speak()
        for server in ("rs-1", "rs-2", "fs-1"):
            await events.until_verdict(server, Verdict.HEALTHY, Action.NONE)
        until = time.time_ns() // 1_000_000 + 5000
        planned = msgspec.structs.replace(SERVERS[0], maintenance_until=until, revision=1)
        await servers(database).replace(planned)
        told = msgspec.Raw(msgspec.json.encode(ServerChanged(planned)))
        await publish_event(gateway, Event("api-gateway-1", "server", "rs-1", "changed", 1, 0, told))
        await machines[0].fall_silent()
        held = await events.until_verdict("rs-1", Verdict.DISCONNECTED, Action.HOLD)
        assert "planned maintenance until" in held.reason
        assert held.since < until
        triggered = await events.until_event("rs-1", Verdict.DISCONNECTED, Action.TRIGGER)
        assert triggered.at >= until
