"""No connection to the bus outlives who made it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
from understudy_bus.connection import connect_bus
from understudy_lab.listening import listening
from understudy_runtime.configuration import BusSettings

INFO = b'INFO {"server_id":"s","version":"2.10.0","max_payload":1048576,"headers":true}\r\n'


@pytest.fixture(autouse=True)
def uncollected() -> Iterator[None]:
    """Nothing is closed by having been forgotten."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class FakeBus:
    """Answers its connections, in their order, as told, and counts those that the client has closed."""

    def __init__(self, *moods: str) -> None:
        self._moods = list(moods)
        self.made = 0
        self.ended = 0
        self._news = asyncio.Condition()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mood = self._moods[self.made] if self.made < len(self._moods) else "silent"
        await self._count("made")
        with contextlib.suppress(ConnectionError):
            await self._answer(mood, reader, writer)
        await self._count("ended")

    async def _answer(self, mood: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if mood == "mute":
            writer.write_eof()
        elif mood != "silent":
            writer.write(INFO)
            while line := await reader.readline():
                if line == b"PING\r\n":
                    writer.write(b"PONG\r\n")
                    if mood == "restarts":
                        writer.write_eof()
                        break
        await reader.read()

    async def _count(self, what: str) -> None:
        async with self._news:
            setattr(self, what, getattr(self, what) + 1)
            self._news.notify_all()

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(10), self._news:
            await self._news.wait_for(true)


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[None]:
    async with connect_bus(BusSettings(nats_url=f"nats://127.0.0.1:{port}"), "m-1"):
        yield


async def test_one_that_is_being_made_ends_with_who_gives_up() -> None:
    bus = FakeBus("silent")
    async with listening(bus.serve) as port:
        entering = asyncio.create_task(connected(port).__aenter__())
        await bus.until(lambda: bus.made == 1)
        entering.cancel()
        await asyncio.wait({entering})
        assert entering.cancelled()
        await bus.until(lambda: bus.ended == 1)


@pytest.mark.parametrize("rounds", range(12))
async def test_one_that_has_just_been_made_ends_with_who_gives_up(rounds: int) -> None:
    bus = FakeBus("whole")
    async with listening(bus.serve) as port:
        entering = asyncio.create_task(connected(port).__aenter__())
        for _ in range(rounds):
            await asyncio.sleep(0)
        entering.cancel()
        await asyncio.wait({entering})
        # So that the bus has heard of it, if there was one: too early, nothing is proved, and nothing fails.
        await asyncio.sleep(0.05)
        await bus.until(lambda: bus.ended == bus.made)


async def test_one_whose_handshake_fails_as_the_bus_comes_back_ends() -> None:
    bus = FakeBus("restarts", "mute", "mute", "whole")
    async with listening(bus.serve) as port:
        async with connected(port):
            await bus.until(lambda: bus.made == 4)
            await bus.until(lambda: bus.ended == 3)
        await bus.until(lambda: bus.ended == 4)


def tasks_of_the_client() -> list[str]:
    tasks = [task for task in asyncio.all_tasks() if "nats" in inspect.getfile(task.get_coro().cr_code)]
    return [repr(task) for task in tasks]


@pytest.mark.parametrize("rounds", range(16))
async def test_who_leaves_while_the_bus_comes_back_has_left(rounds: int) -> None:
    bus = FakeBus("restarts", "whole")
    async with listening(bus.serve) as port:
        async with connected(port):
            await bus.until(lambda: bus.made == 2)
            for _ in range(rounds):
                await asyncio.sleep(0)
        for _ in range(3):
            await asyncio.sleep(0)
        assert tasks_of_the_client() == []
        await bus.until(lambda: bus.ended == bus.made)


async def test_one_ends_with_who_is_cancelled_while_leaving() -> None:
    bus = FakeBus("whole")

    async def come_and_go() -> None:
        async with connected(port):
            pass

    async with listening(bus.serve) as port:
        for rounds in range(8):
            going = asyncio.create_task(come_and_go())
            await bus.until(lambda rounds=rounds: bus.made == rounds + 1)
            for _ in range(rounds):
                await asyncio.sleep(0)
            going.cancel()
            await asyncio.wait({going})
        await bus.until(lambda: bus.ended == bus.made)
