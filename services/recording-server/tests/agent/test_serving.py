"""The machine's web server as it ends."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from understudy_lab.listening import connection_ends_with
from understudy_recording_server.serving import serving


@pytest.mark.parametrize("rounds", range(6))
async def test_a_connection_ends_with_the_server(rounds: int) -> None:
    assert await connection_ends_with(serving(web.Application(), "127.0.0.1:0"), rounds=rounds)


@pytest.mark.parametrize("rounds", range(6))
async def test_it_ends_also_when_its_end_is_cut_short(rounds: int) -> None:
    address: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def serve() -> None:
        async with serving(web.Application(), "127.0.0.1:0") as port:
            address.set_result(port)
            await asyncio.Event().wait()

    running = asyncio.create_task(serve())
    port = await address
    running.cancel()
    for _ in range(rounds):
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait({running})
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
