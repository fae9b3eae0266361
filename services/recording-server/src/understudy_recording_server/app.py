"""Joins the parts of an agent, and lives until it is told to end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import nats.errors
import structlog
from understudy_bus.connection import connect_bus
from understudy_bus.serving import serve_commands
from understudy_contracts.errors import ConfigurationError, Refused
from understudy_contracts.machine import RestorationProgress, Serving
from understudy_contracts.model import Role
from understudy_runtime.clock import SystemClock
from understudy_runtime.retry import pauses

from understudy_recording_server.agent import Agent
from understudy_recording_server.capacity import stated_capacity
from understudy_recording_server.disk.storage import StorageWatch
from understudy_recording_server.erasing import check_erase_token
from understudy_recording_server.heartbeats import Heartbeats
from understudy_recording_server.identity import AgentFile, AgentRecord, check_writable, claim
from understudy_recording_server.joining import forget_joining_key, invitation, join
from understudy_recording_server.keeping.keeper import FootageKeeper
from understudy_recording_server.media.server import MediaServer
from understudy_recording_server.options import AgentSettings, host_and_port
from understudy_recording_server.recorder.protocol import FileRecovered, SegmentFinished
from understudy_recording_server.restoring.clearing import finish_clearing
from understudy_recording_server.restoring.fetching import Fetcher
from understudy_recording_server.restoring.footage_server import FootageServer
from understudy_recording_server.restoring.manifests import Manifests
from understudy_recording_server.serving import advertised, serving
from understudy_recording_server.settings_store import SettingsStore
from understudy_recording_server.supervising.supervisor import RecorderSupervisor
from understudy_recording_server.wanted import OWN_FOLDER

REJOIN_PATIENCE_S = 10.0
"""A machine that knows who it is does not wait longer for the host before it records."""
LONGEST_BUS_PAUSE_S = 30.0

log = structlog.get_logger()


async def main(settings: AgentSettings, stopping: asyncio.Event) -> None:
    """Run the agent until `stopping` is set.

    Raises:
        ConfigurationError: it cannot run as configured, or the host refuses it.
    """
    host_and_port(settings.listen)
    data_dir = claim(settings.data_dir)
    file = AgentFile(data_dir)
    identifying = asyncio.create_task(_identify(settings, data_dir, file))
    ending = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({identifying, ending}, return_when=asyncio.FIRST_COMPLETED)
        record = identifying.result() if identifying.done() else None
    finally:
        identifying.cancel()
        ending.cancel()
    if record is not None:
        structlog.contextvars.bind_contextvars(machine=record.machine)
        await _live(settings, data_dir, file, record, stopping)


async def _identify(settings: AgentSettings, data_dir: Path, file: AgentFile) -> AgentRecord:
    """Who this machine is: from its disk, or by joining, which an invitation does once."""
    record = file.load()
    if record is None and not settings.join:
        raise ConfigurationError(
            "this machine has not joined a host yet: add it there, and give --join URL and its token"
        )
    known = record is not None and record.joined_with == invitation(settings.join, settings.join_token)
    if record is not None and (known or not settings.join or not settings.join_token):
        return record
    try:
        check_writable(data_dir)
    except ConfigurationError as error:
        if record is None:
            raise
        log.warning("going on as who this machine is", machine=record.machine, reason=error.message)
        return record
    try:
        async with asyncio.timeout(None if record is None else REJOIN_PATIENCE_S):
            joined, erase_token = await join(
                settings.join,
                settings.join_token,
                data_dir,
                maximum_cameras=stated_capacity(settings.maximum_cameras, data_dir),
                before=record,
            )
    except TimeoutError:
        if record is None:
            raise
        log.warning("the host does not answer; going on as who this machine is", machine=record.machine)
        return record
    joined = _marked_for_erasing(joined, erase_token)
    await file.save(joined)
    await asyncio.to_thread(forget_joining_key, data_dir)
    log.info("joined", machine=joined.machine, server=joined.server, role=joined.role)
    return joined


def _marked_for_erasing(joined: AgentRecord, token: str | None) -> AgentRecord:
    """A new failover server is erased (M1), but never without the host's token, and never in a failover."""
    if token is None or joined.role is not Role.FAILOVER or isinstance(joined.duty, Serving):
        return joined
    try:
        grant = check_erase_token(token, joined, SystemClock().wall_ms())
    except Refused as error:
        log.warning("this machine is not erased", reason=error.message)
        return joined
    serials = [*joined.used_serials, grant.serial]
    return msgspec.structs.replace(joined, used_serials=serials, erasing=True)


async def _live(
    settings: AgentSettings, data_dir: Path, file: AgentFile, record: AgentRecord, stopping: asyncio.Event
) -> None:
    clock = SystemClock()
    heartbeats = Heartbeats(record.address, lambda: agent.state(), lambda: agent.heartbeat_s)  # noqa: PLW0108 - made below
    store, manifests = SettingsStore(data_dir), Manifests(data_dir)

    def finished(file: SegmentFinished | FileRecovered) -> None:
        if file.path is not None:
            keeper.note(file.path, file.size if isinstance(file, SegmentFinished) else file.kept_bytes)
            if file.folder != OWN_FOLDER:
                manifests.expect(data_dir / file.path)

    def progressed(progress: RestorationProgress) -> None:
        heartbeats.progress(progress)
        if progress.state != "running":
            keeper.look_again()

    def ended() -> None:
        keeper.look_again()

    recorder = RecorderSupervisor(data_dir, clock, heartbeats.change, finished, ended=ended)
    cameras = recorder.evidence.cameras
    places = [data_dir, *(data_dir / name for name in ("recordings", "failovers", "incoming"))]
    storage = StorageWatch(places, heartbeats.change, cameras)
    fetcher = Fetcher(data_dir, progressed)
    keeper = FootageKeeper(
        data_dir,
        clock,
        care=lambda: agent.care(),  # noqa: PLW0108 - made below
        cameras=cameras,
        changed=lambda: agent.take_up(),  # noqa: PLW0108 - made below
        lost=storage.saw,
    )
    agent = Agent(
        data_dir,
        file,
        record,
        settings=store,
        recorder=recorder,
        storage=storage,
        keeper=keeper,
        fetcher=fetcher,
        manifests=manifests,
        clock=clock,
        maximum_cameras=stated_capacity(settings.maximum_cameras, data_dir),
        changed=heartbeats.change,
    )
    await agent.try_erasing()
    await asyncio.to_thread(store.load)
    try:
        await asyncio.to_thread(finish_clearing, data_dir)
    except OSError as error:
        log.warning("footage that was being cleared is still here", error=error.strerror)
    server = FootageServer(data_dir, lambda: agent.record, manifests, clock, agent.alive)
    media = MediaServer(data_dir, lambda: agent.record, recorder, clock, keeper.note)
    agent.settle = media.snapshots.settled
    async with serving(server.application(media), settings.listen) as port:
        agent.address = await asyncio.to_thread(
            advertised, settings.listen, settings.advertise, port, record.nats_urls
        )
        log.info("agent started", address=agent.address, duty=type(record.duty).__name__)
        agent.begin()
        try:
            async with asyncio.TaskGroup() as group:
                loops = [
                    recorder.run(),
                    storage.run(),
                    keeper.run(),
                    agent.keep_identity(),
                    agent.keep_erasing(),
                    agent.peers.run(),
                    media.snapshots.run(),
                ]
                tasks = [group.create_task(loop) for loop in loops]
                on_bus = group.create_task(_on_bus(agent, file, heartbeats), name="bus")
                await stopping.wait()
                # First nobody commands us any more, then the files are finished.
                while not on_bus.done():
                    # Once is not enough: closing a connection can turn a cancellation into another error.
                    on_bus.cancel()
                    await asyncio.wait({on_bus}, timeout=2.0)
                for task in tasks:
                    task.cancel()
        finally:
            await fetcher.close()
            await media.snapshots.close()
    log.info("agent ended")


async def _on_bus(agent: Agent, file: AgentFile, heartbeats: Heartbeats) -> None:
    """Be commanded and tell the state, whenever the bus is there; recording does not depend on it."""
    record = agent.record
    for pause in pauses(1.0, LONGEST_BUS_PAUSE_S):
        try:
            async with (
                connect_bus(file.bus_settings(record), record.machine) as bus,
                serve_commands(bus, record.address, agent.carry_out),
            ):
                await heartbeats.run(bus)
        except (ConfigurationError, nats.errors.Error, OSError) as error:
            log.error("no bus", reason=str(error) or type(error).__name__)
        await asyncio.sleep(pause)
