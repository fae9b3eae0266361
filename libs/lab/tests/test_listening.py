"""The lab's servers as they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from understudy_lab.cameras import SimulatedCameras
from understudy_lab.listening import connection_ends_with, listening

Server = Callable[[Path], AbstractAsyncContextManager[int]]


@asynccontextmanager
async def cameras(folder: Path) -> AsyncIterator[int]:
    async with SimulatedCameras(["door"], cache_dir=folder) as simulated:
        yield simulated.port


def listener(_: Path) -> AbstractAsyncContextManager[int]:
    async def serve(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    return listening(serve)


@pytest.mark.parametrize("server", [cameras, listener])
@pytest.mark.parametrize("rounds", range(6))
async def test_a_connection_ends_with_its_server(server: Server, rounds: int, clip_folder: Path) -> None:
    assert await connection_ends_with(server(clip_folder), rounds=rounds)
