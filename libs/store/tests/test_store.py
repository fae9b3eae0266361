"""The store against a real mongod."""

import asyncio

import msgspec
import pytest
from understudy_contracts.errors import Conflict
from understudy_contracts.events import DefaultsChanged, Event
from understudy_runtime.clock import SystemClock
from understudy_store.leases import Lease
from understudy_store.outbox import Outbox


class Thing(msgspec.Struct, frozen=True):
    id: str
    value: int


async def test_documents_round_trip_and_a_unique_index_is_a_mutex(database):
    things = database.documents("things", Thing, "id")
    await things.index("value", unique=True, where={"value": {"$gt": 0}}, name="mutex")
    await things.insert(Thing("a", 1))
    await things.insert(Thing("b", 0))
    await things.insert(Thing("c", 0))
    with pytest.raises(Conflict):
        await things.insert(Thing("d", 1))
    assert await things.get("a") == Thing("a", 1)
    assert [thing.id for thing in await things.find({"value": 0}, order=[("_id", 1)])] == ["b", "c"]
    assert not await things.replace(Thing("a", 2), where={"value": 7})
    assert await things.replace(Thing("a", 2), where={"value": 1})
    assert await things.delete("a")
    assert await things.get("a") is None


async def test_many_documents_go_in_together_and_one_that_is_taken_is_named(database):
    things = database.documents("things", Thing, "id")
    await things.insert_all([])
    await things.insert_all([Thing("a", 1), Thing("b", 2)])

    async def work(session):
        await things.insert_all([Thing("c", 3), Thing("b", 4)], session)

    with pytest.raises(Conflict, match="_id b"):
        await database.transact(work)
    assert [thing.id for thing in await things.find(order=[("_id", 1)])] == ["a", "b"]


async def test_a_transaction_that_fails_leaves_nothing(database):
    things = database.documents("things", Thing, "id")
    await things.insert(Thing("a", 1))

    async def work(session):
        await things.replace(Thing("a", 2), session)
        raise ValueError("midway")

    with pytest.raises(ValueError, match="midway"):
        await database.transact(work)
    assert await things.get("a") == Thing("a", 1)


async def test_transactions_that_meet_are_done_again_until_each_is_done(database):
    things = database.documents("things", Thing, "id")
    await things.insert(Thing("a", 0))

    async def increase():
        async def work(session):
            thing = await things.get("a", session)
            await things.replace(Thing("a", thing.value + 1), session)

        await database.transact(work)

    for _ in range(5):
        await asyncio.gather(*(increase() for _ in range(20)))
    assert await things.get("a") == Thing("a", 100)


async def test_numbers_are_never_given_twice(database):
    numbers = await asyncio.gather(*(database.next_number("epoch") for _ in range(50)))
    assert sorted(numbers) == list(range(1, 51))
    assert await database.next_numbers("epoch", 3) == range(51, 54)


async def test_a_lease_has_one_holder_and_its_term_fences(database):
    first = Lease(database, "drive", "one", ttl_s=0.3)
    second = Lease(database, "drive", "two", ttl_s=30)
    got = await asyncio.gather(first.acquire(), Lease(database, "drive", "three").acquire())
    assert sorted(got) == [False, True]
    holder = first if got[0] else Lease(database, "drive", "three")
    await holder.acquire()
    await holder.release()
    assert await second.acquire()
    assert second.term == holder.term + 1
    assert await second.still_mine()
    assert not await holder.still_mine()
    assert not await first.acquire()
    assert await second.acquire()


async def test_an_expired_lease_is_free(database):
    assert await Lease(database, "drive", "one", ttl_s=0.05).acquire()
    other = Lease(database, "drive", "two")
    async with asyncio.timeout(5):
        while not await other.acquire():
            await asyncio.sleep(0.01)
    assert other.term == 2


async def test_the_outbox_is_published_in_order_of_commits_by_one_of_several_relays(database):
    outbox = Outbox(database, "orchestrator", SystemClock())
    await outbox.prepare()
    published: list[Event] = []
    everything = asyncio.Event()

    async def publish(event: Event, _: str) -> None:
        published.append(event)
        if len(published) == 40:
            everything.set()

    async def append(subject: str) -> None:
        async def work(session):
            await outbox.append(session, "failover", subject, "changed", DefaultsChanged(by="me"))

        await database.transact(work)
        outbox.wake()

    relays = [asyncio.create_task(outbox.relay(publish, f"instance-{n}")) for n in range(2)]
    await asyncio.gather(*(append(f"f-{n % 4 + 1}") for n in range(40)))
    await asyncio.wait_for(everything.wait(), 30)
    for relay in relays:
        relay.cancel()
    await asyncio.gather(*relays, return_exceptions=True)
    assert [event.id for event in published] == [f"orchestrator-{n}" for n in range(1, 41)]
    for subject in ("f-1", "f-2", "f-3", "f-4"):
        assert [e.sequence for e in published if e.subject == subject] == list(range(1, 11))


async def test_an_event_whose_transaction_fails_is_never_published(database):
    outbox = Outbox(database, "orchestrator", SystemClock())

    async def work(session):
        await outbox.append(session, "failover", "f-1", "changed", DefaultsChanged(by="me"))
        raise ValueError("midway")

    with pytest.raises(ValueError, match="midway"):
        await database.transact(work)
    assert await database.raw["outbox-orchestrator"].count_documents({}) == 0
