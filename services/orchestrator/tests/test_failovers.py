"""The mutexes and fences on a real MongoDB."""

import asyncio
import random

import pytest
from understudy_contracts.errors import Conflict
from understudy_contracts.failovers import Reason
from understudy_contracts.model import Phase, Role, StorageState, Verdict
from understudy_contracts.servers import Server
from understudy_contracts.settings import FailoverSettings
from understudy_orchestrator.failovers import Failovers
from understudy_orchestrator.selection import Candidate
from understudy_runtime.clock import SystemClock
from understudy_store.outbox import Outbox

REASON = Reason("manual", "manual failover", by="me")
SETTINGS = FailoverSettings()


def server(number: int) -> Server:
    return Server(
        f"rs-{number}", f"Server {number}", Role.RECORDING, "a", machine=f"m-{number}", pairing="all"
    )


def spare(number: int) -> Candidate:
    return Candidate(
        f"fs-{number}", f"Spare {number}", "a", f"s-{number}", 10, Verdict.HEALTHY, StorageState.NORMAL
    )


@pytest.fixture
async def failovers(database):
    outbox = Outbox(database, "orchestrator", SystemClock())
    await outbox.prepare()
    made = Failovers(database, outbox, SystemClock())
    await made.prepare()
    return made


async def create(failovers, number, candidate):
    return await failovers.create(
        server(number), reason=REASON, automatic=False, settings=SETTINGS, candidate=candidate, rejected={}
    )


async def test_a_failover_has_the_next_epoch_and_its_event_in_the_outbox(failovers, database):
    first = await create(failovers, 1, spare(1))
    second = await create(failovers, 2, None)
    assert (first.id, first.epoch, first.phase) == ("f-1", 1, Phase.LICENSING)
    assert (second.id, second.phase) == ("f-2", Phase.WAITING)
    assert await failovers.get("f-1") == first
    events = [entry async for entry in database.raw["outbox-orchestrator"].find().sort("_id")]
    assert len(events) == 2


async def test_one_failover_per_server_and_per_failover_server(failovers):
    await create(failovers, 1, spare(1))
    with pytest.raises(Conflict):
        await create(failovers, 1, spare(2))
    with pytest.raises(Conflict):
        await create(failovers, 2, spare(1))
    assert (await create(failovers, 2, spare(2))).failover_server == "fs-2"


async def test_while_footage_comes_home_the_server_may_fail_over_again_but_not_to_the_same_spare(failovers):
    first = await create(failovers, 1, spare(1))
    for phase in (Phase.HANDING_BACK, Phase.RESTORING):
        first = await failovers.change(first, {"phase": phase})
    with pytest.raises(Conflict):
        await create(failovers, 1, spare(1))
    second = await create(failovers, 1, spare(2))
    assert second.epoch > first.epoch


async def test_a_writer_with_an_old_revision_is_refused(failovers):
    failover = await create(failovers, 1, spare(1))
    await failovers.change(failover, {"waiting_for": "one"})
    with pytest.raises(Conflict, match="changed meanwhile"):
        await failovers.change(failover, {"waiting_for": "two"})
    assert (await failovers.get(failover.id)).waiting_for == "one"


async def test_a_phase_that_may_not_follow_is_refused(failovers):
    failover = await create(failovers, 1, spare(1))
    with pytest.raises(Conflict, match="cannot go"):
        await failovers.change(failover, {"phase": Phase.DONE})


async def test_concurrent_starts_never_assign_a_failover_server_twice(failovers):
    """Promise P6: 1,000 starts at once of 100 servers onto 20 failover servers."""
    randomness = random.Random(6)
    wishes = [(randomness.randrange(100), randomness.randrange(20)) for _ in range(1000)]
    room = asyncio.Semaphore(50)

    async def start(number: int, candidate: int) -> bool:
        async with room:
            try:
                await create(failovers, number, spare(candidate))
            except Conflict:
                return False
            return True

    won = await asyncio.gather(*(start(*wish) for wish in wishes))
    unfinished = await failovers.unfinished()
    assert len(unfinished) == sum(won) == 20
    assert len({f.failover_server for f in unfinished}) == 20
    assert len({f.server for f in unfinished}) == 20
    epochs = [f.epoch for f in unfinished]
    assert epochs == sorted(set(epochs))
