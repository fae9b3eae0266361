"""Settings and cameras over the bus, with real MongoDB."""

import asyncio

import msgspec
import pytest
from understudy_contracts.errors import Conflict, InvalidInput, NotFound, StaleEpoch
from understudy_contracts.model import Role, Service
from understudy_contracts.settings import Device, ServerSettings
from understudy_contracts.verbs import (
    CLOSE_COPY,
    FORGET_SERVER,
    OPEN_COPY,
    PUT_CAMERA,
    READ_SETTINGS,
    READ_VERSIONS,
    REMOVE_CAMERA,
    WRITE_SETTINGS,
    CloseCopy,
    ForgetServer,
    OpenCopy,
    PutCamera,
    ReadSettings,
    ReadVersions,
    RemoveCamera,
    WriteSettings,
)


async def test_settings_grow_by_versions_and_the_past_stays_readable(site, gateway, camera):
    await site.add("north")
    await site.follow()
    async with site.service():
        assert (await gateway.ask(READ_SETTINGS, ReadSettings("north"))).version == 0
        first = await gateway.ask(PUT_CAMERA, PutCamera("north", camera(1), "ann", create=True))
        assert (first.version, first.server_name) == (1, "North")
        again = await gateway.ask(PUT_CAMERA, PutCamera("north", camera(1), "ann", create=True))
        assert again == first
        second = await gateway.ask(
            WRITE_SETTINGS, WriteSettings("north", ServerSettings(segment_s=10), "bob")
        )
        assert (second.version, second.settings.cameras) == (2, [])
        assert await gateway.ask(READ_SETTINGS, ReadSettings("north", version=1)) == first
        versions = (await gateway.ask(READ_VERSIONS, ReadVersions("north"))).versions
        assert [(each.version, each.by) for each in versions] == [(1, "ann"), (2, "bob")]
        async with asyncio.timeout(10):
            while site.names("north") != ["changed", "changed"]:
                await asyncio.sleep(0.02)
    assert b"rtsp" not in b"".join(bytes(event.data) for event in site.events)


async def test_a_change_that_one_has_not_seen_is_not_overwritten(site, gateway):
    await site.add("north")
    async with site.service():
        for seconds in (10, 20):
            await gateway.ask(WRITE_SETTINGS, WriteSettings("north", ServerSettings(segment_s=seconds), "a"))
        with pytest.raises(Conflict, match="at version 2, not 1") as refusal:
            await gateway.ask(WRITE_SETTINGS, WriteSettings("north", ServerSettings(segment_s=30), "b", 1))
        assert refusal.value.details == {"version": 2}
        request = WriteSettings("north", ServerSettings(segment_s=30), "b", 2)
        assert (await gateway.ask(WRITE_SETTINGS, request)).version == 3
        # The same request once more, as after a lost answer: the same result.
        assert (await gateway.ask(WRITE_SETTINGS, request)).version == 3


async def test_camera_ids_are_unique_among_all_servers_and_never_used_again(site, gateway, camera):
    await site.add("north")
    await site.add("south")
    async with site.service():
        await gateway.ask(PUT_CAMERA, PutCamera("north", camera(1), "ann"))
        with pytest.raises(Conflict, match="cam-1 belongs to server north"):
            await gateway.ask(PUT_CAMERA, PutCamera("south", camera(1), "ann"))
        with pytest.raises(Conflict, match="camera cam-1 already"):
            await gateway.ask(PUT_CAMERA, PutCamera("north", camera(1, "rtsp://other"), "ann", create=True))
        removed = await gateway.ask(REMOVE_CAMERA, RemoveCamera("north", "cam-1", "ann"))
        assert removed.settings.cameras == []
        assert await gateway.ask(REMOVE_CAMERA, RemoveCamera("north", "cam-1", "ann")) == removed
        for server in ("north", "south"):
            with pytest.raises(Conflict, match="used before"):
                await gateway.ask(PUT_CAMERA, PutCamera(server, camera(1), "ann"))
        with pytest.raises(NotFound, match="no camera cam-9"):
            await gateway.ask(REMOVE_CAMERA, RemoveCamera("north", "cam-9", "ann"))


async def test_of_two_servers_that_want_one_camera_id_at_once_one_gets_it(site, gateway, camera):
    for name in ("north", "south"):
        await site.add(name)
    async with site.service():
        for number in range(1, 6):
            results = await asyncio.gather(
                *(
                    gateway.ask(PUT_CAMERA, PutCamera(name, camera(number), "ann"))
                    for name in ("north", "south")
                ),
                return_exceptions=True,
            )
            assert sorted(isinstance(each, Conflict) for each in results) == [False, True]


async def test_concurrent_edits_of_one_server_are_all_kept(site, gateway, camera):
    await site.add("north")
    async with site.service():
        await asyncio.gather(
            *(gateway.ask(PUT_CAMERA, PutCamera("north", camera(n), "ann")) for n in range(12))
        )
        settings = await gateway.ask(READ_SETTINGS, ReadSettings("north"))
    assert {each.id for each in settings.settings.cameras} == {f"cam-{n}" for n in range(12)}
    assert settings.version == 12


async def test_what_makes_no_sense_is_refused_with_its_reason(site, gateway, camera):
    await site.add("north")
    await site.add("spare", Role.FAILOVER)
    async with site.service():
        with pytest.raises(NotFound, match="no server nowhere"):
            await gateway.ask(WRITE_SETTINGS, WriteSettings("nowhere", ServerSettings(), "a"))
        with pytest.raises(InvalidInput, match="spare is a failover server"):
            await gateway.ask(READ_SETTINGS, ReadSettings("spare"))
        twice = ServerSettings(cameras=[camera(1), camera(1)])
        with pytest.raises(InvalidInput, match="cam-1 occurs twice in cameras"):
            await gateway.ask(WRITE_SETTINGS, WriteSettings("north", twice, "a"))
        huge = ServerSettings(layouts=[Device("l-1", "Wall", configuration={"text": "x" * 4_200_000})])
        with pytest.raises(InvalidInput, match="a machine can take"):
            await gateway.ask(WRITE_SETTINGS, WriteSettings("north", huge, "a"))
        with pytest.raises(NotFound, match="version 7"):
            await gateway.ask(READ_SETTINGS, ReadSettings("north", version=7))
        assert (await gateway.ask(READ_SETTINGS, ReadSettings("north"))).version == 0


async def test_names_that_mean_something_to_the_database_are_carried_as_they_are(site, gateway):
    await site.add("north")
    strange = {"$set": {"a.b": 1}, "": None, "nul\0": 2**63, "deep": [[{"$where": "1"}]]}
    settings = ServerSettings(action_rules=[Device("r-1", "Rule", configuration=strange)])
    async with site.service():
        await gateway.ask(WRITE_SETTINGS, WriteSettings("north", settings, "a"))
        assert (await gateway.ask(READ_SETTINGS, ReadSettings("north"))).settings == settings


async def test_a_copy_is_operated_and_its_edits_end_with_the_failover(site, gateway, host, camera):
    await site.add("north")
    await site.add("spare", Role.FAILOVER)
    machine = await site.machine("spare")
    async with host.bus(Service.ORCHESTRATOR) as orchestrator, site.service():
        original = await gateway.ask(PUT_CAMERA, PutCamera("north", camera(1), "ann"))
        opening = asyncio.create_task(orchestrator.ask(OPEN_COPY, OpenCopy("f-1", "north", "m-spare")))
        await machine.until(lambda state: state.staged == {"north": 1})
        copy = await opening
        assert copy == msgspec.structs.replace(original, failover="f-1")
        assert await orchestrator.ask(OPEN_COPY, OpenCopy("f-1", "north", "m-spare")) == copy

        edited = await gateway.ask(PUT_CAMERA, PutCamera("north", camera(1, "rtsp://elsewhere"), "ann"))
        edited = await gateway.ask(PUT_CAMERA, PutCamera("north", camera(2), "ann"))
        assert (edited.version, edited.failover) == (3, "f-1")
        assert await gateway.ask(READ_SETTINGS, ReadSettings("north")) == edited
        assert await gateway.ask(READ_SETTINGS, ReadSettings("north", original=True)) == original
        # At the machine that operates it, the copy is staged in the place of the original.
        await machine.until(lambda state: state.staged == {"north": 3})

        for _ in range(2):
            await orchestrator.ask(CLOSE_COPY, CloseCopy("f-1"))
        after = await gateway.ask(READ_SETTINGS, ReadSettings("north"))
        assert after.settings == original.settings
        assert after.version == 4
        assert after.failover is None
        # A late request does not open it again; what was only in the copy is never used again.
        with pytest.raises(Conflict, match="closed already"):
            await orchestrator.ask(OPEN_COPY, OpenCopy("f-1", "north", "m-spare"))
        with pytest.raises(Conflict, match="used before"):
            await gateway.ask(PUT_CAMERA, PutCamera("north", camera(2), "ann"))


async def test_a_copy_that_nobody_edited_leaves_the_version_as_it_was(site, gateway, host, camera):
    await site.add("north")
    await site.add("spare", Role.FAILOVER)
    machine = await site.machine("spare")
    async with host.bus(Service.ORCHESTRATOR) as orchestrator, site.service():
        original = await gateway.ask(PUT_CAMERA, PutCamera("north", camera(1), "ann"))
        opening = asyncio.create_task(orchestrator.ask(OPEN_COPY, OpenCopy("f-1", "north", "m-spare")))
        await machine.until(lambda state: state.staged == {"north": 1})
        await opening
        await orchestrator.ask(CLOSE_COPY, CloseCopy("f-1"))
        assert await gateway.ask(READ_SETTINGS, ReadSettings("north")) == original


async def test_a_camera_removed_from_the_copy_is_still_the_originals(site, gateway, host, camera):
    await site.add("north")
    await site.add("spare", Role.FAILOVER)
    machine = await site.machine("spare")
    async with host.bus(Service.ORCHESTRATOR) as orchestrator, site.service():
        original = await gateway.ask(PUT_CAMERA, PutCamera("north", camera(1), "ann"))
        opening = asyncio.create_task(orchestrator.ask(OPEN_COPY, OpenCopy("f-1", "north", "m-spare")))
        await machine.until(lambda state: state.staged == {"north": 1})
        await opening
        gone = await gateway.ask(REMOVE_CAMERA, RemoveCamera("north", "cam-1", "ann"))
        assert gone.settings.cameras == []
        back = await gateway.ask(PUT_CAMERA, PutCamera("north", camera(1), "ann"))
        assert back.settings == original.settings
        await gateway.ask(REMOVE_CAMERA, RemoveCamera("north", "cam-1", "ann"))
        await orchestrator.ask(CLOSE_COPY, CloseCopy("f-1"))
        assert (await gateway.ask(READ_SETTINGS, ReadSettings("north"))).settings == original.settings


async def test_the_next_failover_begins_with_the_original_and_an_earlier_one_is_too_late(
    site, gateway, host, camera
):
    await site.add("north")
    machines = []
    for name in ("spare-1", "spare-2"):
        await site.add(name, Role.FAILOVER)
        machines.append(await site.machine(name))
    async with host.bus(Service.ORCHESTRATOR) as orchestrator, site.service():
        original = await gateway.ask(PUT_CAMERA, PutCamera("north", camera(1), "ann"))

        async def opened(failover, machine):
            task = asyncio.create_task(
                orchestrator.ask(OPEN_COPY, OpenCopy(failover, "north", machine.address.machine))
            )
            async with asyncio.timeout(10):
                while not task.done():
                    await machine.beat()
                    await asyncio.sleep(0.02)
            return task.result()

        await opened("f-1", machines[0])
        await gateway.ask(PUT_CAMERA, PutCamera("north", camera(1, "rtsp://edited"), "ann"))
        # The same failover on another machine keeps its edits.
        moved = await opened("f-1", machines[1])
        assert (moved.version, moved.settings.cameras[0].source.url) == (2, "rtsp://edited")
        later = await opened("f-2", machines[1])
        assert (later.version, later.settings) == (3, original.settings)
        with pytest.raises(Conflict):
            await orchestrator.ask(OPEN_COPY, OpenCopy("f-1", "north", "m-spare-1"))
        await orchestrator.ask(CLOSE_COPY, CloseCopy("f-1"))
        assert (await gateway.ask(READ_SETTINGS, ReadSettings("north"))).failover == "f-2"
    async with host.bus(Service.ORCHESTRATOR) as orchestrator, site.service():
        # As if f-1 had never been opened, while f-2 is.
        await site.database.raw["settings-copies"].delete_one({"_id": "f-1"})
        with pytest.raises(StaleEpoch):
            await orchestrator.ask(OPEN_COPY, OpenCopy("f-1", "north", "m-spare-1"))


async def test_a_forgotten_server_keeps_its_versions_and_its_camera_ids_stay_used(site, gateway, camera):
    await site.add("north")
    await site.add("south")
    async with site.service():
        await gateway.ask(PUT_CAMERA, PutCamera("north", camera(1), "ann"))
        for _ in range(2):
            await gateway.ask(FORGET_SERVER, ForgetServer("north", "ann"))
        versions = (await gateway.ask(READ_VERSIONS, ReadVersions("north"))).versions
        assert [each.version for each in versions] == [1]
        with pytest.raises(Conflict, match="used before"):
            await gateway.ask(PUT_CAMERA, PutCamera("south", camera(1), "ann"))


async def test_settings_survive_a_restart(site, gateway, camera):
    await site.add("north")
    async with site.service():
        before = await gateway.ask(PUT_CAMERA, PutCamera("north", camera(1), "ann"))
    async with site.service():
        assert await gateway.ask(READ_SETTINGS, ReadSettings("north")) == before
