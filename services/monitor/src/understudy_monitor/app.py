"""Joins the monitor's parts: hears, looks, writes."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from functools import partial

import msgspec
import structlog
from understudy_bus.connection import Bus, connect_bus
from understudy_bus.events import ensure_stream, publish_event
from understudy_bus.hearing import hear_machines
from understudy_bus.serving import VerbHandlers, serve_verbs
from understudy_contracts.commands import ReportState
from understudy_contracts.errors import UnderstudyError
from understudy_contracts.events import Event, FailoverChanged
from understudy_contracts.model import Service
from understudy_contracts.servers import ServerStatus, ServerVerdict
from understudy_contracts.subjects import MachineAddress
from understudy_contracts.verbs import (
    READ_STATUSES,
    READ_VERDICTS,
    ReadStatuses,
    ReadVerdicts,
    Statuses,
    Verdicts,
)
from understudy_runtime.clock import SystemClock
from understudy_runtime.configuration import ControlSettings
from understudy_runtime.waiting import go_on, wait_at_most
from understudy_store.collections import failovers, read_defaults, servers
from understudy_store.database import Database, connect_database
from understudy_store.outbox import Outbox

from understudy_monitor.evidence import Beat
from understudy_monitor.records import Records
from understudy_monitor.watch import Watch

LOOK_EVERY_S = 0.05
READ_EVERY_S = 5.0
"""What changes is read at once, by its event: this is for events that got lost."""
WRITE_AGAIN_S = 0.2
HOUSEKEEPING_EVERY_S = 10.0
PROBE_EVERY_S = 0.5
PROBES_AT_ONCE = 50
SKEW_LIMIT_MS = 2000

log = structlog.get_logger()


class Monitor:
    """The loops around the watch."""

    def __init__(self, database: Database, bus: Bus, watch: Watch, records: Records) -> None:
        self._database = database
        self._bus = bus
        self._watch = watch
        self._records = records
        self._addresses: dict[str, MachineAddress] = {}
        self._look = asyncio.Event()
        self._read = asyncio.Event()
        self._write = asyncio.Event()
        self._verdicts_to_write: dict[str, ServerVerdict] = {}
        self._statuses_to_write: dict[str, ServerStatus] = {}

    async def listen(self) -> None:
        """Hear machines, and wake up for what changes in the database."""
        prefix = self._bus.subjects.prefix
        await hear_machines(self._bus, Beat, self._heard, at_once=self._heard_at_once)
        await self._bus.hear(f"{prefix}.evt.failover.>", Event, self._failover_changed)
        for event in ("added", "changed", "removed", "joined", "defaults"):
            await self._bus.hear(f"{prefix}.evt.server.*.{event}", Event, self._servers_changed)

    async def _heard(self, address: MachineAddress, heartbeat: Beat) -> None:
        self._addresses[address.machine] = address
        self._watch.hear(heartbeat)

    async def _heard_at_once(self, address: MachineAddress, heartbeat: Beat) -> None:
        await self._heard(address, heartbeat)
        self._look.set()

    async def _failover_changed(self, _subject: str, event: Event) -> None:
        with contextlib.suppress(msgspec.DecodeError):  # then the regular reading finds it
            self._watch.know_failover(msgspec.json.decode(event.data, type=FailoverChanged).failover)
        self._look.set()

    async def _servers_changed(self, _subject: str, _event: Event) -> None:
        self._read.set()

    async def read(self) -> None:
        """Servers, settings and failovers, as they are in the database."""
        self._watch.know_servers(await servers(self._database).find(), await read_defaults(self._database))
        self._watch.know_failovers(await failovers(self._database).find({"phase": {"$ne": "done"}}))

    async def keep_reading(self) -> None:
        while go_on():
            self._read.clear()
            try:
                await self.read()
                self._look.set()
            except UnderstudyError as error:
                log.warning("cannot read servers", error=str(error))
            await wait_at_most(self._read, READ_EVERY_S)

    async def keep_looking(self) -> None:
        """Judge and write, often, and at once after a report."""
        while go_on():
            self._look.clear()
            self._watch.connected = self._bus.connected
            self._watch.interrupted(self._bus.interrupted_at)
            await self.look()
            await wait_at_most(self._look, LOOK_EVERY_S)

    async def look(self) -> None:
        """One look. What could not be written is written after the next one."""
        verdicts = self._watch.look()
        for verdict in verdicts:
            log.info(
                "verdict",
                server=verdict.server,
                verdict=verdict.verdict.value,
                action=verdict.action.value,
                reason=verdict.reason,
            )
        self._verdicts_to_write |= {verdict.server: verdict for verdict in verdicts}
        self._statuses_to_write |= {status.server: status for status in self._watch.statuses_now(verdicts)}
        if self._verdicts_to_write or self._statuses_to_write:
            self._write.set()

    async def keep_writing(self) -> None:
        """Beside the looking: a slow database must not look like a silence of the machines."""
        while go_on():
            await self._write.wait()
            self._write.clear()
            verdicts, self._verdicts_to_write = self._verdicts_to_write, {}
            statuses, self._statuses_to_write = self._statuses_to_write, {}
            try:
                await self._records.write(list(verdicts.values()), list(statuses.values()))
            except UnderstudyError as error:
                log.warning("cannot write verdicts", error=str(error))
                # What was found meanwhile is newer.
                self._verdicts_to_write = verdicts | self._verdicts_to_write
                self._statuses_to_write = statuses | self._statuses_to_write
                self._write.set()
                await asyncio.sleep(WRITE_AGAIN_S)

    async def keep_housekeeping(self) -> None:
        """When machines were last heard, what deleted servers left, whose clock is off."""
        while go_on():
            await asyncio.sleep(HOUSEKEEPING_EVERY_S)
            try:
                await self._records.write_last_seen(self._watch.last_seen())
                await self._records.forget_all_but(self._watch.servers)
            except UnderstudyError as error:
                log.warning("housekeeping failed", error=str(error))
            for machine, skew_ms in self._watch.skewed(SKEW_LIMIT_MS).items():
                log.warning("the machine's clock is off", machine=machine, ahead_ms=skew_ms)

    async def keep_probing(self) -> None:
        """Ask machines whose heartbeats are late directly; an answer is as good as a heartbeat."""
        while go_on():
            await asyncio.gather(*(self._probe(machine) for machine in self._watch.late()[:PROBES_AT_ONCE]))
            await asyncio.sleep(PROBE_EVERY_S)

    async def _probe(self, machine: str) -> None:
        address = self._addresses.get(machine)
        if address is None:
            return
        with contextlib.suppress(UnderstudyError):  # no answer is what the verdict says already
            done = await self._bus.command(address, ReportState(), timeout_s=PROBE_EVERY_S)
            self._watch.hear(Beat.of(done.state))
            self._look.set()

    async def read_statuses(self, _: ReadStatuses) -> Statuses:
        return Statuses(list(self._watch.statuses.values()))

    async def read_verdicts(self, _: ReadVerdicts) -> Verdicts:
        return Verdicts(list(self._watch.verdicts.values()))


async def main(settings: ControlSettings, stopping: asyncio.Event) -> None:
    """Run until `stopping` is set."""
    clock = SystemClock()
    instance = uuid.uuid4().hex
    async with (
        connect_database(settings) as database,
        connect_bus(settings, Service.MONITOR.value) as bus,
    ):
        await ensure_stream(bus)
        outbox = Outbox(database, Service.MONITOR.value, clock)
        await outbox.prepare()
        records = Records(database, outbox)
        watch = Watch(clock, listening_since=clock.monotonic())
        watch.remember(await records.verdicts())
        monitor = Monitor(database, bus, watch, records)
        await monitor.listen()
        await monitor.read()
        handlers = VerbHandlers(Service.MONITOR)
        handlers.add(READ_STATUSES, monitor.read_statuses)
        handlers.add(READ_VERDICTS, monitor.read_verdicts)
        async with serve_verbs(bus, handlers), asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(outbox.relay(partial(publish_event, bus), instance)),
                tasks.create_task(monitor.keep_reading()),
                tasks.create_task(monitor.keep_looking()),
                tasks.create_task(monitor.keep_writing()),
                tasks.create_task(monitor.keep_probing()),
                tasks.create_task(monitor.keep_housekeeping()),
            ]
            await stopping.wait()
            for task in running:
                task.cancel()
