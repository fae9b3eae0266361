"""The broker over the bus, with real MongoDB."""

import asyncio
import json
import random
import time

import msgspec
import pytest
from understudy_bus.events import follow_events
from understudy_contracts.errors import Conflict, InvalidInput, InvalidMessage, StaleEpoch, UnderstudyError
from understudy_contracts.events import KeysMoved
from understudy_contracts.licenses import overlapping_holdings
from understudy_contracts.model import Service
from understudy_contracts.verbs import (
    IMPORT_KEYS,
    ISSUE_PERMIT,
    MOVE_KEYS,
    READ_LEDGER,
    READ_LICENSES,
    RETURN_KEYS,
    ImportKeys,
    IssuePermit,
    MoveKeys,
    ReadLedger,
    ReadLicenses,
    ReturnKeys,
)
from understudy_runtime.grants import verify_grant


async def holders(bus):
    return {key.key: key.holder for key in (await bus.ask(READ_LICENSES, ReadLicenses())).keys}


async def ledger(bus):
    return (await bus.ask(READ_LEDGER, ReadLedger(limit=10000))).entries


def names(count, prefix="KEY"):
    return [f"{prefix}-{number:04}" for number in range(count)]


async def test_keys_are_imported_lent_and_returned_each_once(host, broker, gateway, orchestrator):
    events = []

    async def note(event):
        events.append(event)

    async with host.bus(Service.MONITOR) as monitor, broker():
        following = asyncio.create_task(follow_events(monitor, "license.>", note, durable="monitor-licenses"))
        async with asyncio.timeout(10):
            while not await monitor.jetstream.consumers_info(monitor.subjects.events_stream):
                await asyncio.sleep(0.02)
        imported = await gateway.ask(IMPORT_KEYS, ImportKeys(names(3), "north", "ann"))
        assert [key.holder for key in imported.keys] == ["north"] * 3
        move = MoveKeys("f-1", 1, "north", "spare", 2)
        lent = await orchestrator.ask(MOVE_KEYS, move)
        assert [(key.key, key.holder, key.home, key.failover) for key in lent.keys] == [
            ("KEY-0000", "spare", "north", "f-1"),
            ("KEY-0001", "spare", "north", "f-1"),
        ]
        # Again, as after a lost answer, and with another number: what was moved then.
        assert await orchestrator.ask(MOVE_KEYS, move) == lent
        assert await orchestrator.ask(MOVE_KEYS, msgspec.structs.replace(move, count=0)) == lent
        assert (await gateway.ask(READ_LICENSES, ReadLicenses("spare"))).keys == lent.keys
        returned = await orchestrator.ask(RETURN_KEYS, ReturnKeys("f-1", 1))
        assert {key.key: (key.holder, key.home, key.failover) for key in returned.keys} == {
            "KEY-0000": ("north", None, None),
            "KEY-0001": ("north", None, None),
        }
        assert await orchestrator.ask(RETURN_KEYS, ReturnKeys("f-1", 1)) == returned
        # A request of before that arrives late moves nothing.
        with pytest.raises(StaleEpoch, match="f-1 has returned"):
            await orchestrator.ask(MOVE_KEYS, move)
        entries = await ledger(gateway)
        assert [entry.position for entry in entries] == list(range(1, 8))
        assert [(e.source, e.target) for e in entries[3:]] == [("north", "spare")] * 2 + [
            ("spare", "north")
        ] * 2
        assert overlapping_holdings(entries) == 0
        page = (await gateway.ask(READ_LEDGER, ReadLedger(after=2, limit=3))).entries
        assert [entry.position for entry in page] == [3, 4, 5]
        async with asyncio.timeout(10):
            while len(events) < 3:
                await asyncio.sleep(0.02)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    assert [(event.subject, event.event) for event in events] == [
        ("north", "imported"),
        ("spare", "moved"),
        ("north", "returned"),
    ]
    assert msgspec.json.decode(events[1].data, type=KeysMoved) == KeysMoved(lent.keys, "f-1")


async def test_a_failover_that_goes_on_after_all_borrows_again(host, broker, gateway, orchestrator):
    """Its original died again after the keys had gone home; what arrives late of before does nothing."""
    async with broker():
        await gateway.ask(IMPORT_KEYS, ImportKeys(names(2), "north", "ann"))
        first = MoveKeys("f-1", 1, "north", "spare", 2, step=1)
        again = msgspec.structs.replace(first, step=9)
        await orchestrator.ask(MOVE_KEYS, first)
        await orchestrator.ask(RETURN_KEYS, ReturnKeys("f-1", 1, step=7))
        with pytest.raises(StaleEpoch, match="step 1 of f-1 is older"):
            await orchestrator.ask(MOVE_KEYS, first)
        with pytest.raises(StaleEpoch, match="f-1 has returned"):
            await orchestrator.ask(MOVE_KEYS, msgspec.structs.replace(first, step=7))
        lent = await orchestrator.ask(MOVE_KEYS, again)
        assert len(lent.keys) == 2
        assert await orchestrator.ask(MOVE_KEYS, again) == lent
        with pytest.raises(StaleEpoch, match="step 7 of f-1 is older"):
            await orchestrator.ask(RETURN_KEYS, ReturnKeys("f-1", 1, step=7))
        assert set((await holders(gateway)).values()) == {"spare"}
        await orchestrator.ask(RETURN_KEYS, ReturnKeys("f-1", 1, step=15))
        assert set((await holders(gateway)).values()) == {"north"}
        assert overlapping_holdings(await ledger(gateway)) == 0


async def test_a_key_that_is_there_already_is_named_and_nothing_is_imported(broker, gateway):
    async with broker():
        await gateway.ask(IMPORT_KEYS, ImportKeys(["AAAA", "BBBB"], "north", "ann"))
        with pytest.raises(Conflict, match="BBBB is in the ledger already, held by north") as refusal:
            await gateway.ask(IMPORT_KEYS, ImportKeys(["CCCC", "BBBB"], "south", "ann"))
        assert refusal.value.details["key"] == "BBBB"
        with pytest.raises(InvalidInput, match="DDDD occurs twice"):
            await gateway.ask(IMPORT_KEYS, ImportKeys(["DDDD", "DDDD"], "south", "ann"))
        with pytest.raises(InvalidMessage):
            await gateway.ask(IMPORT_KEYS, ImportKeys(["$where"], "south", "ann"))
        assert await holders(gateway) == {"AAAA": "north", "BBBB": "north"}
        assert len(await ledger(gateway)) == 2


async def test_ten_thousand_keys_go_in_at_once_and_move_in_time(broker, gateway, orchestrator):
    async with broker():
        imported = await gateway.ask(IMPORT_KEYS, ImportKeys(names(10_000), "north", "ann"), timeout_s=30)
        assert len(imported.keys) == 10_000
        started = time.monotonic()
        lent = await orchestrator.ask(MOVE_KEYS, MoveKeys("f-1", 1, "north", "spare", 200), timeout_s=5)
        assert len(lent.keys) == 200
        assert time.monotonic() - started < 3


async def test_concurrent_moves_of_the_same_keys_give_each_key_to_one(broker, gateway, orchestrator):
    async with broker(), broker():
        await gateway.ask(IMPORT_KEYS, ImportKeys(names(6), "north", "ann"))
        moves = [
            MoveKeys(f"f-{epoch}", epoch, "north", f"spare-{epoch}", 4)
            for epoch in (1, 2, 3)
            for _ in range(3)
        ]
        answers = await asyncio.gather(*(orchestrator.ask(MOVE_KEYS, move, timeout_s=20) for move in moves))
        entries = await ledger(gateway)
        assert overlapping_holdings(entries) == 0
        now = await holders(gateway)
        assert len(now) == 6
        # The latest failover got what it asked for, whoever came first.
        assert [len(answer.keys) for answer in answers[6:]] == [4, 4, 4]
        assert sum(holder == "spare-3" for holder in now.values()) == 4
        for epoch in (1, 2, 3):
            await orchestrator.ask(RETURN_KEYS, ReturnKeys(f"f-{epoch}", epoch))
        assert set((await holders(gateway)).values()) == {"north"}
        assert overlapping_holdings(await ledger(gateway)) == 0


@pytest.mark.parametrize("seed", range(3))
async def test_random_requests_from_many_sides_at_once_never_give_a_key_two_holders(
    broker, gateway, orchestrator, seed
):
    chance = random.Random(seed)
    async with broker(), broker():
        for server in ("a", "b"):
            await gateway.ask(IMPORT_KEYS, ImportKeys(names(4, server.upper() * 4), server, "ann"))
        homes = await holders(gateway)

        async def anything():
            epoch = chance.randint(1, 5)
            failover = f"f-{epoch}"
            source, target = chance.sample(["a", "b", "s-1", "s-2"], 2)
            try:
                if chance.random() < 0.7:
                    request = MoveKeys(failover, epoch, source, target, chance.randint(0, 4))
                    await orchestrator.ask(MOVE_KEYS, request, timeout_s=20)
                else:
                    await orchestrator.ask(RETURN_KEYS, ReturnKeys(failover, epoch), timeout_s=20)
            except StaleEpoch:
                pass

        for _ in range(5):
            await asyncio.gather(*(anything() for _ in range(8)))
        assert (await holders(gateway)).keys() == homes.keys()
        for epoch in range(1, 6):
            await orchestrator.ask(RETURN_KEYS, ReturnKeys(f"f-{epoch}", epoch))
        assert await holders(gateway) == homes
        entries = await ledger(gateway)
        assert overlapping_holdings(entries) == 0
        assert [entry.position for entry in entries] == list(range(1, len(entries) + 1))


async def test_a_permit_can_be_checked_by_its_machine_alone_and_runs_out(host, broker, orchestrator):
    trust = json.loads((host.authority / "trust.json").read_text())
    async with broker():
        answer = await orchestrator.ask(ISSUE_PERMIT, IssuePermit("f-7", 7, "m-1"))
        with pytest.raises(InvalidInput):
            await orchestrator.ask(ISSUE_PERMIT, IssuePermit("f-7", 8, "m-1"))
    now = time.time_ns() // 1_000_000
    grant = verify_grant(answer.token, trust["permit"], purpose="permit", machine="m-1", now_ms=now)
    assert (grant.failover, grant.epoch, grant.expires_at) == ("f-7", 7, answer.expires_at)
    assert 3_500_000 < grant.expires_at - now <= 3_600_000
    for machine, at in (("m-2", now), ("m-1", now + 3_600_001)):
        with pytest.raises(UnderstudyError):
            verify_grant(answer.token, trust["permit"], purpose="permit", machine=machine, now_ms=at)


async def test_the_ledger_goes_on_after_a_restart(broker, gateway, orchestrator):
    async with broker():
        await gateway.ask(IMPORT_KEYS, ImportKeys(names(2), "north", "ann"))
        await orchestrator.ask(MOVE_KEYS, MoveKeys("f-1", 1, "north", "spare", 2))
    async with broker():
        await orchestrator.ask(RETURN_KEYS, ReturnKeys("f-1", 1))
        assert set((await holders(gateway)).values()) == {"north"}
        assert [entry.position for entry in await ledger(gateway)] == list(range(1, 7))
