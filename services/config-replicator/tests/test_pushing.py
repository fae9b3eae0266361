"""What the machines should have reaches them, over the real bus."""

import asyncio
from functools import partial

import msgspec
import pytest
from understudy_bus.events import publish_event
from understudy_contracts.commands import Configure, Stage, Unstage
from understudy_contracts.errors import StaleEpoch, Unavailable
from understudy_contracts.events import ServerChanged, SettingsChanged
from understudy_contracts.model import Role, Service
from understudy_contracts.settings import FailoverSettings, ServerSettings, TriggerSettings
from understudy_contracts.verbs import (
    FORGET_SERVER,
    OPEN_COPY,
    PUT_CAMERA,
    WRITE_SETTINGS,
    ForgetServer,
    OpenCopy,
    PutCamera,
    WriteSettings,
)
from understudy_runtime.clock import SystemClock
from understudy_store.collections import servers
from understudy_store.outbox import Outbox


async def test_a_new_recording_server_is_configured_and_its_failover_server_gets_its_settings(
    site, gateway, camera
):
    await site.add("north", pairing="all", failover_settings=FailoverSettings(TriggerSettings(after_s=2)))
    await site.add("spare", Role.FAILOVER)
    await site.follow()
    north, spare = await site.machine("north"), await site.machine("spare")
    async with site.service():
        await gateway.ask(PUT_CAMERA, PutCamera("north", camera(1), "ann"))
        await north.until(lambda state: state.configured and state.settings_version == 1)
        assert (north.state.role, north.state.server, north.state.heartbeat_s) == (
            Role.RECORDING,
            "north",
            0.4,
        )
        await spare.until(lambda state: state.configured and state.staged == {"north": 1})
        told = spare.commands[-1]
        assert isinstance(told, Stage)
        assert told.settings.settings.cameras == [camera(1)]
        # At once after a change: no further heartbeat is needed.
        await gateway.ask(PUT_CAMERA, PutCamera("north", camera(2), "ann"))
        async with asyncio.timeout(5):
            while (north.state.settings_version, spare.state.staged) != (2, {"north": 2}):
                await asyncio.sleep(0.01)
        async with asyncio.timeout(10):
            while site.names("north").count("staged") < 2:
                await asyncio.sleep(0.02)
        staged = [
            msgspec.json.decode(event.data, type=SettingsChanged)
            for event in site.events
            if event.event == "staged"
        ]
        assert staged[-1] == SettingsChanged("north", 2, machine="m-spare")


async def test_what_is_no_longer_paired_is_unstaged(site, camera, gateway):
    await site.add("north", pairing=["spare"])
    await site.add("spare", Role.FAILOVER)
    spare = await site.machine("spare")
    async with site.service():
        await spare.until(lambda state: state.staged == {"north": 0})
        await site.add("north", pairing=[])
        await _announce(site, "north")
        await spare.until(lambda state: state.staged == {})
        assert spare.count(Unstage) == 1


async def test_a_refusal_is_not_met_with_a_storm_of_pushes(site, gateway):
    await site.add("north", pairing=[])
    north = await site.machine("north")
    north.refuse = StaleEpoch("no")
    async with site.service():
        loop = asyncio.get_running_loop()
        started = loop.time()
        while loop.time() < started + 2.0:
            await north.beat()
            await asyncio.sleep(0.005)
        assert 1 <= len(north.commands) <= 5
        north.refuse = None
        # A change resets the pause: no need to wait it out.
        await gateway.ask(WRITE_SETTINGS, WriteSettings("north", ServerSettings(segment_s=9), "a"))
        await north.until(lambda state: state.settings_version == 1, within_s=5)


async def test_a_restarted_service_tells_nothing_twice_and_a_rename_is_told(site, gateway, camera):
    await site.add("north", pairing="all")
    await site.add("spare", Role.FAILOVER)
    await site.follow()
    north, spare = await site.machine("north"), await site.machine("spare")
    async with site.service():
        await gateway.ask(PUT_CAMERA, PutCamera("north", camera(1), "ann"))
        await north.until(lambda state: state.settings_version == 1)
        await spare.until(lambda state: state.staged == {"north": 1})
        async with asyncio.timeout(10):
            while "staged" not in site.names("north"):
                await spare.beat()
                await asyncio.sleep(0.02)
    told_north, told_spare = len(north.commands), len(spare.commands)
    await site.add("north", pairing="all", name="North gate")
    async with site.service():
        await _announce(site, "north")
        async with asyncio.timeout(15):
            while len(north.commands) == told_north or len(spare.commands) == told_spare:
                await asyncio.gather(north.beat(), spare.beat())
                await asyncio.sleep(0.02)
    assert isinstance(north.commands[-1], Configure)
    assert north.commands[-1].configuration.server_name == "North gate"
    assert isinstance(spare.commands[-1], Stage)
    assert spare.commands[-1].settings.server_name == "North gate"
    assert (len(north.commands), len(spare.commands)) == (told_north + 1, told_spare + 1)
    assert site.names("north").count("staged") == 1


async def test_opening_a_copy_that_is_staged_already_commands_nothing(site, host, gateway, camera):
    await site.add("north", pairing="all")
    await site.add("spare", Role.FAILOVER)
    spare = await site.machine("spare")
    async with host.bus(Service.ORCHESTRATOR) as orchestrator, site.service():
        await gateway.ask(PUT_CAMERA, PutCamera("north", camera(1), "ann"))
        await spare.until(lambda state: state.configured and state.staged == {"north": 1})
        spare.hold.clear()  # whoever commands it now waits for ever
        before = len(spare.commands)
        copy = await orchestrator.ask(OPEN_COPY, OpenCopy("f-1", "north", "m-spare"), timeout_s=10)
        assert copy.version == 1
        assert len(spare.commands) == before
        spare.hold.set()


async def test_a_machine_that_nobody_hears_is_named(site, host):
    await site.add("north")
    async with host.bus(Service.ORCHESTRATOR) as orchestrator, site.service():
        with pytest.raises(Unavailable, match="machine m-9 did not stage"):
            await orchestrator.ask(OPEN_COPY, OpenCopy("f-1", "north", "m-9"), timeout_s=8)


async def test_a_deleted_server_is_pushed_nowhere_any_more(site, gateway):
    await site.add("north", pairing="all")
    await site.add("spare", Role.FAILOVER)
    spare = await site.machine("spare")
    async with site.service():
        await gateway.ask(WRITE_SETTINGS, WriteSettings("north", ServerSettings(segment_s=9), "a"))
        await spare.until(lambda state: state.staged == {"north": 1})
        await servers(site.database).delete("north")
        await gateway.ask(FORGET_SERVER, ForgetServer("north", "ann"))
        await spare.until(lambda state: state.staged == {})


async def _announce(site, server: str) -> None:
    """What the gateway tells when a server's document has changed."""
    outbox = Outbox(site.database, Service.API_GATEWAY, SystemClock())
    document = await servers(site.database).get(server)
    assert document is not None

    async def work(session):
        await outbox.append(session, "server", server, "changed", ServerChanged(document))

    await site.database.transact(work)
    async with site.host.bus(Service.API_GATEWAY) as bus:
        relay = asyncio.create_task(outbox.relay(partial(publish_event, bus), "gateway-1"))
        async with asyncio.timeout(10):
            while await site.database.raw["outbox-api-gateway"].count_documents({"waiting": True}):
                await asyncio.sleep(0.02)
        relay.cancel()
        await asyncio.gather(relay, return_exceptions=True)
