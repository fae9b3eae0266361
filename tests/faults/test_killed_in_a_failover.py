"""kill -9 of whatever there is, when a failover begins and again when it ends: it ends all the same (P3, P4),
and what does not record costs no frame (B4)."""

from __future__ import annotations

import asyncio

import pytest
from understudy_cli.api import CONFIRMATION_REQUIRED, ApiProblem
from understudy_cli.demo.files import inspect, is_clean
from understudy_cli.demo.waiting import NotYet, wait_for
from understudy_contracts.errors import Unavailable
from understudy_contracts.model import Phase, Service

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


async def insist(work, what):
    """Ask until somebody answers: the one who would is being started again."""

    async def ask():
        try:
            return await work()
        except Unavailable as error:
            raise NotYet(error.message) from None

    return await wait_for(what, ask, within_s=30)


async def stop_failover(house, failover):
    """Stopped without a confirmation, which is asked for while the original is away: it is being started."""
    try:
        await house.stop_failover(failover)
    except ApiProblem as problem:
        if problem.kind != CONFIRMATION_REQUIRED:
            raise
        raise NotYet(problem.message) from None


async def one_failover(house, kill):
    failover = await insist(lambda: house.start_failover("server-1"), "the start")
    await kill()
    await insist(lambda: house.reaches(failover, Phase.ACTIVE), "takeover")
    await insist(lambda: stop_failover(house, failover), "the stop")
    await kill()
    await insist(lambda: house.reaches(failover, Phase.DONE), "the end")
    assert await insist(house.holders, "who holds the keys") == {"server-1"}
    assert is_clean(house.site.data_dir("spare-1"))
    await wait_for("ready again", house.site.look_ready, within_s=30)


async def test_every_process_killed_twice_in_a_failover(house):
    # Whoever is killed here is back before it counts as lost, however slowly this machine starts a process.
    async with house(1, 1, threshold_s=15.0) as built:
        for service in Service:
            await one_failover(built, lambda name=service: built.processes.kill(name, restart=True))
        for server in built.control.servers.values():
            await one_failover(built, lambda server=server: asyncio.to_thread(server.kill))
        # Up to here nobody was hurt who records.
        await built.site.halt()
        machines = [built.site.data_dir("server-1"), built.site.data_dir("spare-1")]
        seen = await asyncio.to_thread(inspect, machines, 25)
        assert {camera: footage.gaps for camera, footage in seen.footage.items()} == {
            camera: [] for camera in built.site.recording_servers[0].cameras
        }
        assert (seen.unreadable, seen.unfinished) == ([], [])
        await built.site.go_on()
        for machine in ("spare-1", "server-1"):
            await one_failover(built, lambda name=machine: built.processes.kill(name, restart=True))


async def test_the_failover_server_is_lost_and_returns(house):
    async with house(1, 2) as built:
        first = await built.start_failover("server-1", "spare-1")
        await built.reaches(first, Phase.ACTIVE)
        await built.processes.kill("spare-1", restart=False)
        second = await built.successor_of(first)
        await built.reaches(second, Phase.ACTIVE)
        assert (await built.failover(second))["failover_server"] == "spare-2"
        await built.processes.start_again("spare-1")
        # It comes back serving; it lets go, and its footage comes home while the other one serves on.
        await built.reaches(first, Phase.DONE)
        restored = (await built.failover(first))["restoration"]
        assert restored["files"] == restored["verified"] > 0
        assert is_clean(built.site.data_dir("spare-1"))
        await built.status_is("spare-1", "standby")
        # Now the last one is lost, too, and the original is alive: it records again, though it stood down.
        await built.processes.stop(["spare-1"])
        await built.status_is("spare-1", "disconnected")
        await built.processes.kill("spare-2", restart=False)
        third = await built.successor_of(second)
        await built.status_is("server-1", "others", active=2)
        await built.stop_failover(third)
        await built.status_is("server-1", "normal", active=2)
        assert await built.holders() == {"server-1"}


async def test_the_original_dies_again(house):
    async with house(1, 1) as built:
        # While it is handed back to, after its keys have gone home: the failover goes on.
        await built.processes.kill("server-1", restart=False)
        failover = await wait_for("a failover", lambda: begun(built), within_s=30)
        await built.reaches(failover, Phase.ACTIVE)
        await built.processes.start_again("server-1")
        await built.reaches(failover, Phase.HANDING_BACK)
        await built.processes.kill("server-1", restart=False)
        await built.reaches(failover, Phase.ACTIVE, Phase.RESTORING)
        await built.processes.start_again("server-1")
        await built.reaches(failover, Phase.DONE)
        assert await built.holders() == {"server-1"}
        await wait_for("ready again", built.site.look_ready, within_s=30)

        # While it stands down, and a person stops the failover without it: it records when it returns.
        failover = await built.start_failover("server-1")
        await built.reaches(failover, Phase.ACTIVE)
        await built.processes.kill("server-1", restart=False)
        await wait_for("its silence", lambda: original_away(built, failover), within_s=20)
        with pytest.raises(ApiProblem) as refused:
            await built.stop_failover(failover)
        assert refused.value.kind == CONFIRMATION_REQUIRED
        await built.stop_failover(failover, confirmation=refused.value.details["confirmation"])
        await built.reaches(failover, Phase.RESTORING)
        await built.processes.start_again("server-1")
        await built.reaches(failover, Phase.DONE)
        await built.status_is("server-1", "normal", active=2)


async def original_away(house, failover):
    if (await house.failover(failover)).get("original", "away") != "away":
        raise NotYet("it still answers")


async def begun(house):
    for each in await house.site.api.items("/failovers"):
        return str(each["id"])
    raise NotYet("no failover")
